//! Gnutella: a leaf that lives as long as the search.

use super::{Config as Means, Heard, Standing};
use crate::fetch::{Dialect, Host, Kind, Push, Pushed, Reach as Way, Stream};
use crate::net::Clock;
use crate::serve::gnutella::{Config, Gnutella, PushError, Role};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::overlay::gnutella::Found;
use gaggle_core::proto::gnutella::{Guid, Query};
use gaggle_core::scope::Scope;
use gaggle_core::search::{Hashes, Hit, Network, Question, Reach};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Our part in the network.
#[derive(Clone)]
pub(super) struct Part {
    servent: Gnutella,
}

impl Part {
    pub(super) fn join(servers: &[PeerHint], means: &Means, clock: Clock) -> Result<Self, String> {
        let mut config = Config {
            connect: servers.to_vec(),
            role: Role::Leaf,
            state_dir: means.memory(),
            lan: means.lan,
            peer_port: means.shares.as_ref().map_or(0, |shares| shares.peer_port),
            ..Config::new(SocketAddrV4::new(means.listen, 0))
        };
        config.uploads.limit = means.shares.as_ref().and_then(|shares| shares.up.clone());
        let library = means.shares.as_ref().map(|shares| shares.library.clone());
        let servent = Gnutella::start(config, library, clock).map_err(|error| error.to_string())?;
        Ok(Self { servent })
    }

    pub(super) const fn addr(&self) -> SocketAddrV4 {
        self.servent.addr()
    }

    /// How it stands with the neighbours that can be asked.
    pub(super) fn standing(&self) -> Standing {
        let status = self.servent.status();
        Standing { links: status.ultrapeers, shared: status.files, trouble: None }
    }

    pub(super) async fn stop(self) {
        self.servent.stop().await;
    }

    /// Asks, and tells what is answered until the end.
    pub(super) async fn ask(self, question: Question, clock: Clock, tell: mpsc::Sender<Heard>) {
        let mut end = None;
        match self.servent.search(Query::words(&question.text)).await {
            Err(error) => end = Some(error.to_string()),
            Ok(mut found) => {
                while let Some(found) = found.recv().await {
                    let hit = hit_of(found, clock.unix().as_secs());
                    if tell.send(Heard::Hit(Box::new(hit))).await.is_err() {
                        return;
                    }
                }
            }
        }
        _ = tell.send(Heard::Ended(Network::Gnutella, end)).await;
    }
}

/// The host of a hit; one that must be asked to connect to us only if we take part.
pub(super) fn host(hit: &Hit, ours: Option<&Part>) -> Option<Host> {
    let Reach::Gnutella { addr, servent, index, name } = &hit.reach else { return None };
    let by_hash = hit.hashes.sha1.map(Dialect::gnutella_sha1);
    let dialect = by_hash.unwrap_or_else(|| Dialect::gnutella_index(*index, name));
    let (reach, teller) = match addr {
        Some(addr) => (Way::Dial(SocketAddr::V4(*addr)), super::scope_of(*addr)),
        None => {
            let ours = ours?.servent.clone();
            let push = Servent { ours, servent: *servent, index: *index };
            (Way::Push(Arc::new(push)), Scope::Global)
        }
    };
    Some(Host { kind: Kind::Gnutella, reach, dialect, teller, worth: Arc::default() })
}

/// A servent that is asked to connect to us.
struct Servent {
    ours: Gnutella,
    servent: Guid,
    index: u32,
}

impl Push for Servent {
    fn push(&self) -> Pushed<'_> {
        Box::pin(async {
            loop {
                match self.ours.push(self.servent, self.index).await {
                    Ok(tcp) => return Ok(Stream::pushed(tcp)),
                    // The way there comes with an answer of its own, to the question that is asked again.
                    Err(PushError::NoPush(_)) => sleep(super::AGAIN).await,
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
    }
}

/// A file of a servent.
fn hit_of(found: Found, seen_s: u64) -> Hit {
    let torrent = found.torrent;
    // Some take an info hash for a SHA-1 and say so.
    let sha1 = found.sha1.filter(|sha1| torrent.is_none_or(|torrent| torrent.0 != *sha1));
    Hit {
        name: Hit::name_of(&found.name),
        size: Some(found.size),
        hashes: Hashes { torrent, file: found.nth, sha1, ..Hashes::default() },
        peer: found.peer.filter(|_| torrent.is_some()).map(SocketAddr::V4),
        reach: Reach::Gnutella {
            addr: found.addr,
            servent: found.servent,
            index: found.index,
            name: found.name,
        },
        speed: Some(found.speed).filter(|&kbit| kbit > 0),
        busy: found.busy,
        seen_s,
        ping: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::id::InfoHash;

    fn found() -> Found {
        Found {
            name: "../a/Blue Moon.mp3".into(),
            size: 9,
            sha1: Some([5; 20]),
            torrent: Some(InfoHash([7; 20])),
            nth: Some(3),
            peer: Some("198.18.0.1:6881".parse().unwrap()),
            index: 4,
            servent: Guid([8; 16]),
            addr: Some("198.18.0.1:6346".parse().unwrap()),
            busy: true,
            speed: 56,
            alternates: Vec::new(),
            proxies: Vec::new(),
            vendor: None,
            hops: 2,
        }
    }

    #[test]
    fn a_servent_names_file_torrent_and_port() {
        let hit = hit_of(found(), 7);
        assert_eq!((hit.name.as_str(), hit.size, hit.busy), ("Blue Moon.mp3", Some(9), true));
        let hashes = hit.hashes;
        assert_eq!((hashes.sha1, hashes.file), (Some([5; 20]), Some(3)));
        assert_eq!(hit.peer, Some("198.18.0.1:6881".parse().unwrap()));
        let Reach::Gnutella { name, .. } = &hit.reach else { panic!() };
        assert_eq!(name, "../a/Blue Moon.mp3", "a request repeats it");
        let confused = Found { sha1: Some([7; 20]), ..found() };
        assert_eq!(hit_of(confused, 7).hashes.sha1, None, "that is the info hash");
        let firewalled = Found { addr: None, peer: None, ..found() };
        assert_eq!(hit_of(firewalled, 7).reach.direct(), None);
    }
}
