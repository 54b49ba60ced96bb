//! Our part in all networks that are searched, or that learn of what we give.

use super::{fasttrack, gnutella, napster};
use crate::fetch::Host;
use crate::net::{Clock, Dialer, Door, Limit};
use crate::share::Library;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::proto::napster::Nick;
use gaggle_core::scope::Scope;
use gaggle_core::search::{Found, Hit, Network, Question, Reach, Saved};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What networks say that may wait to be heard; a network that has more waits.
const HEARD_MAX: usize = 256;
/// Directories of Napster that are asked; further ones are not.
const DIRECTORIES_MAX: usize = 8;

/// In which networks to take part, and how.
#[derive(Clone)]
pub struct Config {
    /// The way into each network. For one of Gnutella or FastTrack that is empty, whom earlier runs have met will do.
    pub ways: Ways,
    /// Where others connect to us who cannot be connected to, and from where we connect. Ports are any free ones.
    pub listen: Ipv4Addr,
    /// Nobody in other networks is contacted, whoever names him, and whom earlier runs have met is not asked.
    pub lan: bool,
    /// Where those who were met are kept for the next time.
    pub state_dir: PathBuf,
    /// What others may find and fetch there; without it nothing.
    pub shares: Option<Shares>,
}

/// What is given to others, and how they come to it.
#[derive(Clone)]
pub struct Shares {
    /// The files.
    pub library: Library,
    /// Where others reach us if we listen everywhere, for FastTrack, whose nodes say so themselves.
    pub external: Option<Ipv4Addr>,
    /// Where peers of the files' torrents connect to, at the same address; 0 if there is no such port.
    pub peer_port: u16,
    /// Where those of them go who come to a port of a network: two of the three can name no other.
    pub peers: Door,
    /// Of what goes out in all networks together.
    pub up: Option<Limit>,
}

/// How it stands with a network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Servers and neighbours that we are connected to.
    pub links: usize,
    /// Files of ours that are shared there.
    pub shared: usize,
    /// Why there is no link, as far as anybody has said.
    pub trouble: Option<String>,
}

/// Networks, and whom to begin with in each.
pub type Ways = BTreeMap<Network, Vec<PeerHint>>;

/// Why there is no taking part in a network.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{network}: {why}")]
pub struct StartError {
    /// Which.
    pub network: Network,
    /// In words.
    pub why: String,
}

/// Our part in each network. It ends when this is dropped.
pub struct Networks {
    clock: Clock,
    lan: bool,
    napster: Vec<napster::Part>,
    gnutella: Option<gnutella::Part>,
    fasttrack: Option<fasttrack::Part>,
    /// Whose account is to be told what they were worth.
    givers: Vec<fasttrack::Giver>,
}

/// What is said to a question.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A network says no more, and why if that is no ordinary end.
    Ended(Network, Option<String>),
    /// A file that somebody has.
    Hit(Box<Hit>),
    /// How far somebody is whose files have been heard of.
    Near(Nick, Duration),
}

/// What is said to one question. Nobody is asked any more when it is dropped.
pub struct Answers {
    heard: mpsc::Receiver<Heard>,
    _asking: JoinSet<()>,
}

impl Answers {
    /// Words of nobody.
    #[cfg(test)]
    pub(super) fn of(heard: mpsc::Receiver<Heard>) -> Self {
        Self { heard, _asking: JoinSet::new() }
    }

    /// The next word; `None` when every network has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

impl Config {
    /// How to connect to hosts that were found.
    pub fn dialer(&self) -> Dialer {
        let bind = Some(self.listen).filter(|ip| !ip.is_unspecified());
        Dialer { bind: bind.map(IpAddr::V4), lan: self.lan, ..Dialer::default() }
    }

    /// Where those who were met are kept. Whoever keeps to his network would lose those who are not there.
    pub(super) fn memory(&self) -> Option<PathBuf> {
        (!self.lan).then(|| self.state_dir.clone())
    }
}

impl Networks {
    /// Begins to take part. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port cannot be had, a name is not known, or the system has no randomness.
    pub async fn join(config: &Config, clock: Clock) -> Result<Self, StartError> {
        let mut networks = Self {
            clock,
            lan: config.lan,
            napster: Vec::new(),
            gnutella: None,
            fasttrack: None,
            givers: Vec::new(),
        };
        for (&network, servers) in &config.ways {
            let failed = |why: String| StartError { network, why };
            match network {
                Network::Napster => {
                    for server in servers.iter().take(DIRECTORIES_MAX) {
                        let part = napster::Part::join(server.to_string(), config, clock);
                        networks.napster.push(part.map_err(failed)?);
                    }
                }
                Network::Gnutella => {
                    let part = gnutella::Part::join(servers, config, clock);
                    networks.gnutella = Some(part.map_err(failed)?);
                }
                Network::FastTrack => {
                    let part = fasttrack::Part::join(servers, config, clock).await;
                    networks.fasttrack = Some(part.map_err(failed)?);
                }
            }
        }
        Ok(networks)
    }

    /// Asks all at once.
    pub fn ask(&self, question: &Question) -> Answers {
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let mut asking = JoinSet::new();
        for part in self.napster.clone() {
            asking.spawn(part.ask(question.clone(), self.clock, tell.clone()));
        }
        if let Some(part) = self.gnutella.clone() {
            asking.spawn(part.ask(question.clone(), self.clock, tell.clone()));
        }
        if let Some(part) = self.fasttrack.clone() {
            asking.spawn(part.ask(question.clone(), self.clock, tell.clone()));
        }
        Answers { heard, _asking: asking }
    }

    /// Where peers of a torrent are that hits have not told: those that directories of Napster name within a time, each of
    /// them once.
    pub async fn peers(&self, torrent: InfoHash, within: Duration) -> BTreeSet<SocketAddr> {
        let ask = |part: &napster::Part| part.clone().peers(torrent, within);
        let asking: JoinSet<_> = self.napster.iter().map(ask).collect();
        asking.join_all().await.into_iter().flatten().collect()
    }

    /// Where others connect to us.
    pub fn addrs(&self) -> Vec<(Network, SocketAddr)> {
        let napster = self.napster.iter().filter_map(napster::Part::addr);
        let napster = napster.map(|addr| (Network::Napster, addr));
        let gnutella = self.gnutella.iter().map(|part| (Network::Gnutella, part.addr().into()));
        let fasttrack = self.fasttrack.iter().map(|part| (Network::FastTrack, part.addr().into()));
        napster.chain(gnutella).chain(fasttrack).collect()
    }

    /// How it stands with a network.
    pub fn standing(&self, network: Network) -> Standing {
        match network {
            Network::Napster => {
                let each = self.napster.iter().map(napster::Part::standing);
                each.reduce(Standing::beside).unwrap_or_default()
            }
            Network::Gnutella => {
                self.gnutella.as_ref().map(gnutella::Part::standing).unwrap_or_default()
            }
            Network::FastTrack => {
                self.fasttrack.as_ref().map(fasttrack::Part::standing).unwrap_or_default()
            }
        }
    }

    /// The hosts of a result. Those that have to be asked to connect to us are left out where we take no part, and those
    /// in other networks if we keep to ours.
    pub fn hosts(&mut self, found: &Found) -> Vec<Host> {
        let mut givers = Vec::new();
        let mut host = |hit: &Hit| match &hit.reach {
            Reach::Napster { server, .. } => {
                self.napster.iter().find(|part| part.server() == *server)?.host(hit)
            }
            Reach::Gnutella { .. } => gnutella::host(hit, self.gnutella.as_ref()),
            Reach::FastTrack { .. } => {
                let (host, giver) = fasttrack::host(hit, self.fasttrack.as_ref())?;
                givers.push(giver);
                Some(host)
            }
        };
        let near = |ip| Scope::is_near(IpAddr::V4(ip));
        let open = |hit: &&Hit| !self.lan || hit.reach.ip().is_none_or(near);
        let hosts = found.sources.iter().filter(open).filter_map(&mut host).collect();
        self.givers.append(&mut givers);
        hosts
    }

    /// Takes leave everywhere, and says before what hosts were worth. That takes a second more at most.
    pub async fn stop(self) {
        let mut leaving = JoinSet::new();
        self.napster.into_iter().for_each(|part| _ = leaving.spawn(part.stop()));
        self.gnutella.into_iter().for_each(|part| _ = leaving.spawn(part.stop()));
        if let Some(part) = self.fasttrack {
            leaving.spawn(part.stop(self.givers));
        }
        while leaving.join_next().await.is_some() {}
    }
}

impl Standing {
    /// Of two directories of one network. What one of them says is no trouble while the other one has us.
    fn beside(self, other: Self) -> Self {
        let links = self.links + other.links;
        Self {
            links,
            shared: self.shared.max(other.shared),
            trouble: self.trouble.or(other.trouble).filter(|_| links == 0),
        }
    }
}

/// The ways that lead to those hosts of a result that cannot be dialled, and to those who keep account of what hosts
/// were worth.
pub fn ways_to(found: &Found, search: &Saved) -> Ways {
    let mut ways = Ways::new();
    let mut add = |network, server: Option<&str>| {
        let known = ways.entry(network).or_default();
        let server = server.and_then(PeerHint::parse);
        known.extend(server.filter(|server| !known.contains(server)));
    };
    let counts = |hit: &Hit| matches!(hit.reach, Reach::FastTrack { .. });
    for hit in found.sources.iter().filter(|hit| counts(hit) || hit.reach.direct().is_none()) {
        match &hit.reach {
            Reach::Napster { server, .. } => add(Network::Napster, Some(server)),
            Reach::FastTrack { supernode, .. } => {
                add(Network::FastTrack, Some(&supernode.to_string()));
            }
            Reach::Gnutella { .. } => {
                add(Network::Gnutella, None); // by whom earlier runs have met, too
                let asked = search.servers.iter();
                let asked = asked.filter(|(network, _)| *network == Network::Gnutella);
                asked.for_each(|(network, server)| add(*network, Some(server)));
            }
        }
    }
    ways
}

/// Puts addresses in the place of names that are looked up once, those of FastTrack, so that whoever stays learns in time
/// that none of them leads anywhere.
///
/// # Errors
/// If servers are named there and none of them has an address of IPv4.
pub async fn look_up(ways: &mut Ways) -> Result<(), StartError> {
    let network = Network::FastTrack;
    let Some(servers) = ways.get_mut(&network).filter(|servers| !servers.is_empty()) else {
        return Ok(());
    };
    let addrs = fasttrack::look_up(servers).await;
    if addrs.is_empty() {
        let names: Vec<String> = servers.iter().map(PeerHint::to_string).collect();
        let why = format!("{} has no address of IPv4", names.join(", "));
        return Err(StartError { network, why });
    }
    *servers = addrs.into_iter().map(|addr| SocketAddr::V4(addr).into()).collect();
    Ok(())
}

/// Leaves only those ways that may lead to somebody in this network, and of the names those that may be his.
pub fn keep_near(ways: &mut Ways) {
    for servers in ways.values_mut() {
        servers.retain(is_near);
    }
}

/// Whether a server may be in this network; of a name that is not known before it is looked up.
pub fn is_near(server: &PeerHint) -> bool {
    server.addr().is_none_or(|addr| Scope::is_near(addr.ip()))
}

/// Whether earlier runs have met somebody in a network.
pub fn is_known(state_dir: &Path, network: Network) -> bool {
    match network {
        Network::FastTrack => state_dir.join("fasttrack.nodes").exists(),
        Network::Gnutella => state_dir.join("gnutella.hosts").exists(),
        Network::Napster => false,
    }
}

/// Where to listen for those who cannot be connected to: where the user listens, if he has chosen an address; otherwise
/// on this machine alone, if the ways into the networks lead nowhere else.
pub fn listen_for(ways: &Ways, chosen: IpAddr) -> Ipv4Addr {
    if let IpAddr::V4(chosen) = chosen
        && !chosen.is_unspecified()
    {
        return chosen;
    }
    let here = |server: &PeerHint| server.addr().is_some_and(|addr| addr.ip().is_loopback());
    let mut servers = ways.values().flatten().peekable();
    let loopback = servers.peek().is_some() && servers.all(here);
    if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::HANDSHAKE_TIMEOUT;
    use crate::serve::napster::directory::{Config as DirectoryConfig, Directory};
    use crate::share;
    use gaggle_core::id::PeerId;
    use gaggle_core::proto::gnutella::Guid;
    use gaggle_core::proto::peer::{Handshake, Reserved};
    use gaggle_core::search::Hashes;

    /// Nothing takes longer, whatever the machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn it_listens_no_further_than_it_asks() {
        let ways = |servers: &[&str]| {
            let servers = servers.iter().map(|text| PeerHint::parse(text).unwrap()).collect();
            Ways::from([(Network::Gnutella, servers)])
        };
        let check = |servers: &[&str], chosen: &str, want: Ipv4Addr| {
            let chosen = chosen.parse().unwrap();
            assert_eq!(listen_for(&ways(servers), chosen), want, "{servers:?}, {chosen}");
        };
        for nowhere in ["0.0.0.0", "::", "::1"] {
            check(&["127.0.0.1:1", "127.0.0.2:1"], nowhere, Ipv4Addr::LOCALHOST);
            check(&["127.0.0.1:1", "10.0.0.1:1"], nowhere, Ipv4Addr::UNSPECIFIED);
            check(&["localhost:1"], nowhere, Ipv4Addr::UNSPECIFIED);
            check(&[], nowhere, Ipv4Addr::UNSPECIFIED);
        }
        check(&["10.0.0.1:1"], "10.0.0.2", Ipv4Addr::new(10, 0, 0, 2));
    }

    /// Hits of Napster and FastTrack name one port, for whatever protocol; those of Gnutella name that of the peers.
    #[tokio::test]
    async fn peers_of_what_is_shared_are_let_in_where_hits_lead_them() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hash) = (Clock::start(), InfoHash([7; 20]));
        let hello = move |name| {
            let (peer_id, reserved) = (PeerId([name; 20]), Reserved::NONE);
            Handshake { info_hash: hash, peer_id, reserved }
        };
        let (out, mut incoming) = mpsc::channel(1);
        let lookup = move |wanted| (wanted == hash).then(|| hello(1));
        let library = share::Config::new(Vec::new(), dir.path().to_owned());
        let shares = Shares {
            library: Library::start(library, clock).unwrap(),
            external: None,
            peer_port: 6881,
            peers: Door::new(HANDSHAKE_TIMEOUT, lookup, out),
            up: None,
        };
        let nobody = PeerHint::parse("127.0.0.1:1").unwrap();
        let config = Config {
            ways: Network::ALL.map(|network| (network, vec![nobody.clone()])).into(),
            listen: Ipv4Addr::LOCALHOST,
            lan: false,
            state_dir: dir.path().to_owned(),
            shares: Some(shares),
        };
        let networks = Networks::join(&config, clock).await.unwrap();
        let addrs = networks.addrs();
        assert_eq!(addrs.len(), 3);
        for (network, addr) in addrs {
            let dialled = Dialer::default().dial(addr, hello(2)).await;
            if network == Network::Gnutella {
                assert!(dialled.is_err(), "nobody is led there");
                continue;
            }
            assert_eq!(dialled.unwrap().theirs, hello(1), "{network}");
            let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT, incoming.recv()).await;
            assert_eq!(connected.unwrap().unwrap().theirs, hello(2), "{network}");
            let other = Handshake { info_hash: InfoHash([8; 20]), ..hello(2) };
            Dialer::default().dial(addr, other).await.unwrap_err();
        }
        networks.stop().await;
    }

    #[test]
    fn a_directory_that_is_tried_again_is_no_trouble_beside_one_that_has_us() {
        let lost = || Standing { trouble: Some("lost".to_owned()), ..Standing::default() };
        let linked = || Standing { links: 1, shared: 3, trouble: None };
        assert_eq!(lost().beside(linked()), linked());
        assert_eq!(linked().beside(lost()), linked());
        assert_eq!(lost().beside(lost()), lost());
    }

    #[tokio::test]
    async fn a_silent_directory_costs_nobody_the_words_of_others() {
        let clock = Clock::start();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("top")).unwrap();
        std::fs::write(dir.path().join("top/blue"), "moon").unwrap();
        let config = share::Config::new(vec![dir.path().join("top")], dir.path().join("state"));
        let config = share::Config { torrents: true, ..config };
        let library = Library::start(config, clock).unwrap();
        let mut view = library.watch();
        let looked = view.wait_for(|view| view.looks > 0);
        let looked = tokio::time::timeout(PATIENCE, looked).await.unwrap().unwrap().clone();
        let (torrent, _) = looked.catalogue.iter().next().unwrap().1.torrent.unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let (lan, directory, state_dir) = (false, Default::default(), None);
        let terms = DirectoryConfig { listen, lan, directory, state_dir };
        let directory = Directory::start(terms, clock).unwrap();
        let servers = [silent.local_addr().unwrap(), directory.addr()].map(PeerHint::from);
        let config = |shares| Config {
            ways: Ways::from([(Network::Napster, servers.to_vec())]),
            listen: Ipv4Addr::LOCALHOST,
            lan: false,
            state_dir: dir.path().to_owned(),
            shares,
        };
        let (out, _incoming) = mpsc::channel(1);
        let peers = Door::new(HANDSHAKE_TIMEOUT, |_| None, out);
        let shares = Shares { library, external: None, peer_port: 0, peers, up: None };
        let giver = Networks::join(&config(Some(shares)), clock).await.unwrap();
        let asker = Networks::join(&config(None), clock).await.unwrap();
        let asking = async {
            loop {
                let peers = asker.peers(torrent, Duration::from_secs(1)).await;
                if !peers.is_empty() {
                    return peers;
                }
            }
        };
        let peers = tokio::time::timeout(PATIENCE, asking).await.expect("nobody is named");
        let at = |peer: &SocketAddr| giver.addrs().contains(&(Network::Napster, *peer));
        assert!(peers.len() == 1 && peers.iter().all(at), "{peers:?}");
    }

    #[tokio::test]
    async fn whoever_keeps_to_his_network_reaches_nobody_elsewhere() {
        let named = ["9.9.9.9:1", "10.0.0.1:1", "[2001:db8::1]:1", "dir.example:1"];
        let servers = named.map(|text| PeerHint::parse(text).unwrap()).to_vec();
        let mut ways = Ways::from([(Network::Gnutella, servers)]);
        keep_near(&mut ways);
        let left: Vec<String> = ways[&Network::Gnutella].iter().map(ToString::to_string).collect();
        assert_eq!(left, [named[1], named[3]], "a name may be that of a neighbour");

        let hit = |addr: &str| Hit {
            name: "blue".into(),
            size: Some(5),
            hashes: Hashes { sha1: Some([5; 20]), ..Hashes::default() },
            reach: Reach::Gnutella {
                addr: addr.parse().ok(),
                servent: Guid([5; 16]),
                index: 1,
                name: "blue".into(),
            },
            peer: None,
            speed: None,
            busy: false,
            seen_s: 7,
            ping: None,
        };
        let sources = ["9.9.9.9:6346", "192.168.1.7:6346", "127.0.0.1:6346"].map(hit).to_vec();
        let hashes = sources[0].hashes;
        let found =
            Found { name: "blue".into(), size: Some(5), hashes, sources, voices: 3, spam: None };
        for (lan, want) in [(false, 3), (true, 2)] {
            let (ways, listen) = (Ways::new(), Ipv4Addr::UNSPECIFIED);
            let (state_dir, shares) = (PathBuf::new(), None);
            let config = Config { ways, listen, lan, state_dir, shares };
            assert_eq!(config.dialer().may_dial([9, 9, 9, 9].into()), !lan);
            let mut networks = Networks::join(&config, Clock::start()).await.unwrap();
            assert_eq!(networks.hosts(&found).len(), want, "lan: {lan}");
        }
    }
}
