//! Napster: one client for each directory.

use super::{Config as Means, Heard, Standing};
use crate::fetch::{Dialect, Host, Kind, Push, Pushed, Reach as Way, Stream};
use crate::net::{Clock, os_rng};
use crate::serve::napster::client::{Client, Config, Found, Link, OpenError, Way as WayIn};
use bytes::BytesMut;
use gaggle_core::id::InfoHash;
use gaggle_core::overlay::napster::{self, SearchEnd};
use gaggle_core::proto::napster::{Bound, Compare, Nick, Property, Query, Text, WantedMedia};
use gaggle_core::scope::Scope;
use gaggle_core::search::{Hashes, Hit, Network, Question, Reach};
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Rows that a directory is asked for.
const ROWS_MAX: u32 = 200;
/// Links as the network numbers them, in kbit/s.
const LINE_SPEEDS: [u32; 11] = [0, 14, 29, 34, 57, 64, 128, 1_000, 1_500, 1_544, 44_736];

/// Our part in the network of one directory.
#[derive(Clone)]
pub(super) struct Part {
    /// As the user named it.
    named: String,
    me: Nick,
    client: Client,
}

impl Part {
    pub(super) fn join(server: String, means: &Means, clock: Clock) -> Result<Self, String> {
        let mut rng = os_rng().map_err(|error| error.to_string())?;
        // Nobody's name, and another one each time: who searches, or shares, is nobody's business.
        let me = Nick::new(format!("gaggle{:08x}", rng.next_u32()).as_bytes());
        let me = me.expect("letters and digits");
        let listen = SocketAddr::from((means.listen, 0));
        let config = Config {
            peers: means.shares.as_ref().map(|shares| shares.peers.clone()),
            limit: means.shares.as_ref().and_then(|shares| shares.up.clone()),
            dialer: means.dialer(),
            ..Config::new(vec![server.clone()], me.clone(), Some(listen))
        };
        let library = means.shares.as_ref().map(|shares| shares.library.clone());
        let client = Client::start(config, library, clock).map_err(|error| error.to_string())?;
        Ok(Self { named: server, me, client })
    }

    /// The directory: a redirector, which the user may have named, is only the way to it, and leads to another next time.
    pub(super) fn server(&self) -> String {
        let server = self.client.status().server;
        if server.is_empty() { self.named.clone() } else { server }
    }

    pub(super) fn addr(&self) -> Option<SocketAddr> {
        self.client.addr()
    }

    /// How it stands with the directory.
    pub(super) fn standing(&self) -> Standing {
        let status = self.client.status();
        let said = |why: &dyn std::fmt::Display| Some(format!("{}: {why}", self.named));
        let (links, trouble) = match &status.link {
            Link::Connecting => (0, None),
            Link::Ended(why) => (0, said(&format_args!("{why}, not trying again"))),
            Link::In(_) => (1, None),
            Link::Waiting(why) => (0, said(&format_args!("{why}, trying again"))),
        };
        Standing { links, shared: status.shared, trouble }
    }

    pub(super) async fn stop(self) {
        self.client.stop().await;
    }

    /// Asks, and tells what is answered until the end.
    pub(super) async fn ask(self, question: Question, clock: Clock, tell: mpsc::Sender<Heard>) {
        let mut found = self.client.search(query(&question)).await;
        let mut end = Some("the client has stopped".to_owned());
        while let Some(said) = found.recv().await {
            let heard = match said {
                Found::Hit(hit, ping) => {
                    let seen_s = clock.unix().as_secs();
                    Heard::Hit(Box::new(hit_of(&self.server(), &hit, ping, seen_s)))
                }
                Found::Near(nick, ping) => Heard::Near(nick, ping),
                Found::Ended(how) => {
                    end = match how {
                        SearchEnd::Done => None,
                        SearchEnd::LinkLost => Some(format!("{} has left us", self.server())),
                        SearchEnd::Refused(why) => Some(format!("{} says: {why}", self.server())),
                    };
                    break;
                }
            };
            if tell.send(heard).await.is_err() {
                return;
            }
        }
        _ = tell.send(Heard::Ended(Network::Napster, end)).await;
    }

    /// Where peers of a torrent are, of whom a directory of ours tells when it is asked for that torrent: its answers to words
    /// say nothing of ports, and no other directory does. What it has said within this time counts.
    pub(super) async fn peers(self, torrent: InfoHash, within: Duration) -> Vec<SocketAddr> {
        let query = Query { btih: Some(torrent), media: WantedMedia::Any, ..Query::default() };
        let mut peers = Vec::new();
        let asking = async {
            // What a directory can is known only after it has let us in, and the first question leaves at once then.
            for _ in 0..2 {
                let mut found = self.client.search(query.clone()).await;
                let mut asked_well = true;
                while let Some(said) = found.recv().await {
                    match said {
                        Found::Hit(hit, _) => {
                            asked_well &= hit.port.is_some();
                            peers.extend(peer_of(&hit));
                        }
                        Found::Near(..) => {}
                        Found::Ended(_) => break,
                    }
                }
                if asked_well {
                    break;
                }
            }
        };
        _ = timeout(within, asking).await; // whoever is silent has said all
        peers
    }

    /// The host of a hit of this directory.
    pub(super) fn host(&self, hit: &Hit) -> Option<Host> {
        let Reach::Napster { nick, path, .. } = &hit.reach else { return None };
        let push: Arc<dyn Push> =
            Arc::new(User { client: self.client.clone(), nick: nick.clone(), path: path.clone() });
        let dialect = Dialect::Napster { me: self.me.clone(), path: path.clone() };
        let (kind, teller) = (Kind::Napster, Scope::Global);
        Some(Host { kind, reach: Way::Push(push), dialect, teller, worth: Arc::default() })
    }
}

/// A directory may leave out what is not wanted anyway, and has more rows for the rest.
fn query(question: &Question) -> Query {
    let mut query = Query::for_words(&question.text);
    query.max_results = ROWS_MAX;
    if let Some(sizes) = question.filter.sizes() {
        for (compare, value, every) in
            [(Compare::AtLeast, *sizes.start(), 0), (Compare::AtMost, *sizes.end(), u64::MAX)]
        {
            // Larger ones are all said to be of the largest number.
            let value = u32::try_from(value).ok().filter(|&value| u64::from(value) != every);
            let bound = |value| Bound { property: Property::Size, compare, value };
            query.bounds.extend(value.map(bound));
        }
    }
    query
}

/// A row of an answer of a directory of this name.
fn hit_of(server: &str, hit: &napster::Hit, ping: Option<Duration>, seen_s: u64) -> Hit {
    let torrent = hit.btih;
    // Who shares a torrent may write the beginning of its info hash where an MD5 belongs.
    let is_torrent = |md5: &[u8; 16]| torrent.is_some_and(|torrent| torrent.0.starts_with(md5));
    let md5 = hit.hash.md5().filter(|md5| !is_torrent(md5));
    Hit {
        name: hit.file_name(),
        size: hit.size,
        hashes: Hashes { torrent, md5, ..Hashes::default() },
        reach: Reach::Napster {
            server: server.to_owned(),
            nick: hit.nick.clone(),
            ip: hit.ip,
            path: hit.path.clone(),
        },
        peer: peer_of(hit),
        speed: LINE_SPEEDS.get(usize::from(hit.speed)).copied().filter(|&kbit| kbit > 0),
        busy: false,
        seen_s,
        ping,
    }
}

/// One port for both protocols, if the row names one.
fn peer_of(hit: &napster::Hit) -> Option<SocketAddr> {
    let port = hit.port.filter(|&port| port != 0 && hit.btih.is_some());
    port.map(|port| (hit.ip, port).into())
}

/// A user whom his directory tells that we want a file of his.
struct User {
    client: Client,
    nick: Nick,
    path: Text,
}

impl Push for User {
    fn push(&self) -> Pushed<'_> {
        Box::pin(async {
            loop {
                match self.client.open(self.nick.clone(), self.path.clone()).await {
                    Ok(opened) => {
                        let (dialled, size) = match opened.way {
                            WayIn::Dialled(_) => (true, None),
                            WayIn::Pushed { size } => (false, Some(size)),
                        };
                        let (tcp, read) = (opened.stream, BytesMut::new());
                        let guard: Option<Box<dyn Any + Send>> = Some(Box::new(opened.counted));
                        return Ok(Stream { tcp, read, dialled, size, guard });
                    }
                    // Not let in yet.
                    Err(OpenError::Offline) => sleep(super::AGAIN).await,
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::proto::napster::FileHash;
    use gaggle_core::search::Filter;

    fn row(path: &str, btih: Option<InfoHash>, hash: &str) -> napster::Hit {
        napster::Hit {
            path: path.into(),
            size: Some(5),
            hash: FileHash::new(hash.as_bytes()),
            btih,
            nick: Nick::new(b"ann").unwrap(),
            ip: [10, 0, 0, 2].into(),
            port: btih.map(|_| 6699),
            speed: 4,
            weight: 0,
            seeds: 0,
        }
    }

    #[test]
    fn a_directory_names_user_and_path() {
        let path = "c:\\music\\Blue\u{202e}3pm.exe";
        let row_of = row(path, None, "0123456789abcdef0123456789abcdef");
        let hit = hit_of("dir.example:8888", &row_of, None, 7);
        assert_eq!((hit.name.as_str(), hit.seen_s), ("Blue3pm.exe", 7));
        assert!(hit.hashes.md5.is_some() && hit.hashes.torrent.is_none() && hit.peer.is_none());
        assert_eq!((hit.speed, hit.reach.direct()), (Some(57), None));
        let Reach::Napster { server, path: kept, .. } = &hit.reach else { panic!() };
        assert_eq!((server.as_str(), kept.decode().as_str()), ("dir.example:8888", path));
        // Half an info hash is no MD5.
        let torrent = InfoHash([0xab; 20]);
        let hit = hit_of("d", &row("btih\\a", Some(torrent), &torrent.to_string()), None, 7);
        assert_eq!((hit.hashes.md5, hit.hashes.torrent), (None, Some(torrent)));
        assert_eq!(hit.peer, Some("10.0.0.2:6699".parse().unwrap()));
    }

    #[test]
    fn sizes_are_said_if_the_network_can() {
        let bounds = |size_min, size_max| {
            let filter = Filter { size_min, size_max, ..Filter::default() };
            let query = query(&Question::new(&["blue"], filter).unwrap());
            query.bounds.iter().map(|bound| (bound.compare, bound.value)).collect::<Vec<_>>()
        };
        assert_eq!(bounds(None, None), []);
        assert_eq!(bounds(Some(5), None), [(Compare::AtLeast, 5)]);
        assert_eq!(bounds(None, Some(1 << 40)), []);
        assert_eq!(bounds(Some(5), Some(9)), [(Compare::AtLeast, 5), (Compare::AtMost, 9)]);
    }
}
