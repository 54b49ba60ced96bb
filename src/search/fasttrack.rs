//! FastTrack: a node that lives as long as the search.

use super::{Config as Means, Heard};
use crate::fetch::{Dialect, Host, Kind, Push, Pushed, Reach as Way, Stream};
use crate::net::Clock;
use crate::serve::fasttrack::{self, Config, FastTrack, PushError, Role};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::proto::fasttrack::Query;
use gaggle_core::scope::Scope;
use gaggle_core::search::{Hashes, Hit, Network, Question, Reach};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Hits that a supernode is asked for.
const HITS_MAX: u16 = 200;
/// As whom we ask nodes for files.
const USER: &str = "gaggle";

/// Our part in the network.
#[derive(Clone)]
pub(super) struct Part {
    node: FastTrack,
}

impl Part {
    pub(super) async fn join(
        servers: &[PeerHint],
        means: &Means,
        clock: Clock,
    ) -> Result<Self, String> {
        let mut connect = Vec::new();
        for server in servers {
            // A name that is gone stops nobody else from being asked.
            let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
            let Ok(found) =
                found.inspect_err(|error| tracing::warn!(%server, %error, "no address"))
            else {
                continue;
            };
            connect.extend(found.filter_map(|addr| match addr {
                SocketAddr::V4(addr) => Some(addr),
                SocketAddr::V6(_) => None,
            }));
        }
        let config = Config {
            connect,
            role: Role::Node,
            state_dir: means.memory(),
            lan: means.lan,
            ..Config::new(SocketAddrV4::new(means.listen, 0))
        };
        let node = FastTrack::start(config, None, clock).map_err(|error| error.to_string())?;
        Ok(Self { node })
    }

    /// Whether a supernode has taken us.
    pub(super) fn is_linked(&self) -> bool {
        self.node.status().attached.is_some()
    }

    pub(super) async fn stop(self) {
        self.node.stop().await;
    }

    /// Asks, and tells what is answered until the end.
    pub(super) async fn ask(self, question: Question, clock: Clock, tell: mpsc::Sender<Heard>) {
        let mut end = None;
        match self.node.search(Query::words(0, HITS_MAX, &question.text)).await {
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
        _ = tell.send(Heard::Ended(Network::FastTrack, end)).await;
    }
}

/// The host of a hit; one that must be asked to connect to us only if we take part.
pub(super) fn host(hit: &Hit, ours: Option<&Part>) -> Option<Host> {
    let Reach::FastTrack { addr, user, supernode, push } = &hit.reach else { return None };
    let dialect = Dialect::fasttrack(hit.hashes.uu?, USER);
    let (reach, teller) = if *push {
        let host = fasttrack::Host { addr: *addr, user: user.clone(), supernode: *supernode };
        let push = Node { ours: ours?.node.clone(), host };
        (Way::Push(Arc::new(push)), Scope::Global)
    } else {
        (Way::Dial(SocketAddr::V4(*addr)), super::scope_of(*addr))
    };
    Some(Host { kind: Kind::FastTrack, reach, dialect, teller })
}

/// A node that is asked to connect to us.
struct Node {
    ours: FastTrack,
    host: fasttrack::Host,
}

impl Push for Node {
    fn push(&self) -> Pushed<'_> {
        Box::pin(async {
            loop {
                match self.ours.push(&self.host).await {
                    Ok(tcp) => return Ok(Stream::pushed(tcp)),
                    // No supernode has taken us yet.
                    Err(PushError::Alone) => sleep(super::AGAIN).await,
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
    }
}

/// A file of a node.
fn hit_of(hit: fasttrack::Hit, seen_s: u64) -> Hit {
    let (torrent, push) = (hit.torrent, hit.host.is_firewalled());
    let fasttrack::Host { addr, user, supernode } = hit.host;
    Hit {
        name: Hit::name_of(&hit.name),
        size: Some(hit.size),
        hashes: Hashes { torrent, uu: Some(hit.hash), ..Hashes::default() },
        // One port for all protocols, as far as anybody knows.
        peer: torrent.filter(|_| !push).map(|_| addr.into()),
        reach: Reach::FastTrack { addr, user, supernode, push },
        speed: hit.kbps,
        busy: false,
        seen_s,
        ping: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::id::InfoHash;
    use gaggle_core::proto::fasttrack::{Tags, UuHash};

    #[test]
    fn a_supernode_names_user_and_hash() {
        let host = |addr: &str| fasttrack::Host {
            addr: addr.parse().unwrap(),
            user: "bob".into(),
            supernode: "9.9.9.9:1214".parse().unwrap(),
        };
        let hit = |addr| fasttrack::Hit {
            name: "Blue.mp3".into(),
            size: 9,
            hash: UuHash([3; 20]),
            file_id: 1,
            torrent: Some(InfoHash([7; 20])),
            host: host(addr),
            kbps: Some(6),
            tags: Tags::default(),
        };
        let open = hit_of(hit("9.9.5.5:1214"), 7);
        assert_eq!((open.hashes.uu, open.speed), (Some(UuHash([3; 20])), Some(6)));
        let addr: std::net::SocketAddrV4 = "9.9.5.5:1214".parse().unwrap();
        assert_eq!((open.reach.direct(), open.peer), (Some(addr), Some(addr.into())));
        let firewalled = hit_of(hit("10.0.0.5:1214"), 7);
        assert_eq!((firewalled.reach.direct(), firewalled.peer), (None, None));
    }
}
