//! FastTrack: a node that lives as long as the search.

use super::{Config as Means, Heard, Standing};
use crate::fetch::{Attached, Dialect, Host, Kind, Push, Pushed, Reach as Way, Stream, Worth};
use crate::net::Clock;
use crate::serve::fasttrack::{self, Config, FastTrack, PushError, Role};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::proto::fasttrack::{Query, Receipt};
use gaggle_core::scope::Scope;
use gaggle_core::search::{Hashes, Hit, Network, Question, Reach};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Hits that a supernode is asked for.
const HITS_MAX: u16 = 200;
/// As whom we ask nodes for files if we take no part.
const USER: &str = "gaggle";
/// How long what hosts were worth waits for a supernode that takes it; then nobody hears of it.
const RECEIPTS_WAIT: Duration = Duration::from_secs(1);

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
        let connect = look_up(servers).await;
        let shares = means.shares.as_ref();
        let config = Config {
            external: shares.and_then(|shares| shares.external),
            peers: shares.map(|shares| shares.peers.clone()),
            limit: shares.and_then(|shares| shares.up.clone()),
            connect,
            role: Role::Node,
            state_dir: means.memory(),
            lan: means.lan,
            ..Config::new(SocketAddrV4::new(means.listen, 0))
        };
        let library = shares.map(|shares| shares.library.clone());
        let node = FastTrack::start(config, library, clock).map_err(|error| error.to_string())?;
        Ok(Self { node })
    }

    pub(super) const fn addr(&self) -> SocketAddrV4 {
        self.node.addr()
    }

    /// How it stands with our supernode.
    pub(super) fn standing(&self) -> Standing {
        let status = self.node.status();
        Standing { links: status.attached.iter().count(), shared: status.shared, trouble: None }
    }

    /// Says what nodes were worth that gave something, and takes leave.
    pub(super) async fn stop(self, givers: Vec<Giver>) {
        let receipts: Vec<Receipt> = givers.into_iter().filter_map(Giver::receipt).collect();
        if !receipts.is_empty() {
            let mut status = self.node.watch_status();
            let attached = status.wait_for(|status| status.attached.is_some());
            _ = timeout(RECEIPTS_WAIT, attached).await;
        }
        for receipt in receipts {
            self.node.confirm(receipt).await;
        }
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

/// The addresses of supernodes. They are not looked up again.
pub(super) async fn look_up(servers: &[PeerHint]) -> Vec<SocketAddrV4> {
    let mut addrs = Vec::new();
    for server in servers {
        // A name that is gone stops nobody else from being asked.
        let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
        let Ok(found) = found.inspect_err(|error| tracing::warn!(%server, %error, "no address"))
        else {
            continue;
        };
        addrs.extend(found.filter_map(|addr| match addr {
            SocketAddr::V4(addr) => Some(addr),
            SocketAddr::V6(_) => None,
        }));
    }
    addrs
}

/// A node that was named as a host, and what it will have been worth.
pub(super) struct Giver {
    node: fasttrack::Host,
    worth: Arc<Worth>,
}

impl Giver {
    /// What is to be said of it; nothing, if it was asked for nothing.
    fn receipt(self) -> Option<Receipt> {
        let Self { node: fasttrack::Host { addr, user, supernode }, worth } = self;
        let (good_bytes, bad) = (worth.good(), u16::from(worth.has_lied()));
        let failed = u16::from(worth.has_broken_off());
        let receipt = Receipt { host: addr, supernode, user, good_bytes, bad, failed };
        (good_bytes > 0 || bad + failed > 0).then_some(receipt)
    }
}

/// The host of a hit; one that must be asked to connect to us only if we take part.
pub(super) fn host(hit: &Hit, ours: Option<&Part>) -> Option<(Host, Giver)> {
    let Reach::FastTrack { addr, user, supernode, push } = &hit.reach else { return None };
    let me = ours.map_or(USER, |ours| ours.node.user());
    let attached = ours.map(|ours| Arc::new(ours.node.clone()) as Arc<dyn Attached>);
    let dialect = Dialect::fasttrack(hit.hashes.uu?, me, attached);
    let node = fasttrack::Host { addr: *addr, user: user.clone(), supernode: *supernode };
    let (reach, teller) = if *push {
        let push = Node { ours: ours?.node.clone(), host: node.clone() };
        (Way::Push(Arc::new(push)), Scope::Global)
    } else {
        (Way::Dial(SocketAddr::V4(*addr)), super::scope_of(*addr))
    };
    let worth = Arc::<Worth>::default();
    let giver = Giver { node, worth: Arc::clone(&worth) };
    Some((Host { kind: Kind::FastTrack, reach, dialect, teller, worth }, giver))
}

impl Attached for FastTrack {
    fn supernode(&self) -> Option<SocketAddrV4> {
        self.status().attached
    }
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
    use crate::search::Ways;
    use gaggle_core::id::InfoHash;
    use gaggle_core::proto::fasttrack::{Tags, UuHash};
    use std::net::Ipv4Addr;

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

    /// Who serves in the order of reputation must be told whose to ask for.
    #[tokio::test]
    async fn hosts_are_asked_in_our_own_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fasttrack.own"), "user ann\nscore 300\n").unwrap();
        let means = Means {
            ways: Ways::new(),
            listen: Ipv4Addr::LOCALHOST,
            lan: false,
            state_dir: dir.path().to_owned(),
            shares: None,
        };
        let own = Config { role: Role::Supernode, ..Config::new("127.0.0.1:0".parse().unwrap()) };
        let own = FastTrack::start(own, None, Clock::start()).unwrap();
        let at = PeerHint::parse(&own.addr().to_string()).unwrap();
        let part = Part::join(&[at], &means, Clock::start()).await.unwrap();
        let (addr, supernode) = ("9.9.5.5:1".parse().unwrap(), "9.9.9.9:1214".parse().unwrap());
        let hit = Hit {
            name: "Blue.mp3".into(),
            size: Some(9),
            hashes: Hashes { uu: Some(UuHash([3; 20])), ..Hashes::default() },
            peer: None,
            reach: Reach::FastTrack { addr, user: "bob".into(), supernode, push: false },
            speed: None,
            busy: false,
            seen_s: 0,
            ping: None,
        };
        let asked = |ours| match host(&hit, ours).unwrap().0.dialect {
            Dialect::FastTrack(ask, attached) => (ask.user, attached),
            other => panic!("{other:?}"),
        };
        let (user, attached) = asked(Some(&part));
        assert_eq!(user, "ann");
        // Ours, as soon as it has taken us, and not that of the one who is asked.
        let mut status = part.node.watch_status();
        let linked = status.wait_for(|status| status.attached.is_some());
        _ = timeout(Duration::from_secs(60), linked).await.expect("no supernode").unwrap();
        assert_eq!(attached.unwrap().supernode(), Some(own.addr()));
        let (user, attached) = asked(None);
        assert_eq!((user.as_str(), attached.is_none()), (USER, true));
        part.stop(Vec::new()).await;
        own.stop().await;
    }
}
