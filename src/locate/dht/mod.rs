//! The mainline DHT: one node for all torrents of an engine, and the questions that it is asked.
//!
//! Decides how long the user's own nodes are looked up and what is remembered until the next start. What is asked of
//! whom, and who is believed, `gaggle_core::overlay::kademlia` decides. Never asks anybody whom neither the settings,
//! nor a torrent, nor a peer, nor the last run has named.
//= BEP 5

mod bootstrap;
mod saved;
mod task;
#[cfg(test)]
mod tests;

use super::{Ask, AskId, Found, LocateError, Locator, Network};
use crate::net::{Clock, DhtDatagrams, Udp};
use gaggle_core::external::Sighting;
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::overlay::kademlia::{self, Limits, Snapshot, Status, Terms, Why};
use gaggle_core::proto::announce::Announce;
use gaggle_core::proto::krpc::{ClientTag, ErrorCode, Item, Put, Salt};
use gaggle_core::rng::Rng;
use gaggle_core::scope::Scope;
use saved::Saved;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use task::{Command, ItemAsk, Shown, Task};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Commands that may wait to be taken up; more asks fail at once, and more suggestions are forgotten.
const COMMANDS_MAX: usize = 256;
/// How others see us in their statistics.
const VERSION: ClientTag = ClientTag(*b"GG\x00\x01");
/// The last words of a node: what it knows is written to the disk by then, or not at all.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// How the node is run.
#[derive(Clone, Debug)]
pub struct DhtConfig {
    /// Whom to ask when nobody is known, as the user or the program's defaults say.
    pub bootstrap: Vec<PeerHint>,
    /// Where its id and the nodes that it knows are kept between two runs; `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
    /// What a network of one's own is called, so that what is kept of it stays apart; `None` is the public one.
    pub network: Option<String>,
    /// Keeps to this network: no public node is asked, heard or remembered, whoever names it.
    pub lan: bool,
    /// Takes part: answers, keeps its table in order, and leaves its neighbours to the next run. Otherwise it only asks
    /// what it is told to, and others do not count on it.
    //= BEP 43
    pub takes_part: bool,
    /// What strangers may cost.
    pub limits: Limits,
    /// How many nodes it remembers, see [`kademlia::places`].
    pub table_width: usize,
    /// What is stored for them.
    pub terms: Terms,
}

impl DhtConfig {
    /// A node that takes part, with these nodes to begin with.
    pub fn new(bootstrap: Vec<PeerHint>) -> Self {
        Self {
            bootstrap,
            state_dir: None,
            network: None,
            lan: false,
            takes_part: true,
            limits: Limits::default(),
            table_width: kademlia::WIDTH,
            terms: Terms::default(),
        }
    }
}

/// The node. Clones are the same; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Dht {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    has_nodes: watch::Receiver<bool>,
    ports: [Option<u16>; 2],
    udp: Udp,
    _background: Arc<JoinSet<()>>,
}

/// The way to other nodes, and where it ends.
#[derive(Debug)]
struct Way {
    udp: Udp,
    lan: bool,
}

impl Way {
    /// Whether anything is had to do with whoever is there.
    fn is_open(&self, addr: SocketAddr) -> bool {
        !self.lan || Scope::is_near(addr.ip())
    }

    fn leads_to(&self, addr: SocketAddr) -> bool {
        self.is_open(addr) && self.udp.leads_to(addr)
    }

    async fn send(&self, from: Option<IpAddr>, to: SocketAddr, data: &[u8]) -> io::Result<()> {
        if !self.is_open(to) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        self.udp.send(from, to, data).await
    }
}

/// An answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pong {
    /// Who answered.
    pub id: NodeId,
    /// After how long.
    pub rtt: Duration,
}

/// How large a swarm is, by the filters of the nodes that keep its peers. Hearsay, and rough beyond some thousands.
//= BEP 33
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scrape {
    /// Peers that have everything.
    pub seeds: u64,
    /// Other peers.
    pub leeches: u64,
    /// Nodes that said so, this one included.
    pub told: u32,
}

/// What came of asking for an item, or of putting one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemOutcome {
    /// The newest one that was found; genuine. A put does not look for any.
    pub item: Option<Item>,
    /// Nodes that had it.
    pub copies: u32,
    /// Nodes asked.
    pub asked: u32,
    /// Of them, nodes that answered in time.
    pub answered: u32,
    /// Nodes that have stored what was put.
    pub stored: u32,
    /// The highest number of an error that a put was refused with.
    pub refused: Option<ErrorCode>,
}

impl Dht {
    /// Starts the node on these sockets. Must be called inside a tokio runtime.
    pub fn start(
        (udp, datagrams): (Udp, DhtDatagrams),
        config: &DhtConfig,
        clock: Clock,
        rng: Rng,
    ) -> Self {
        // A second program of the same user must not use the same id at the same time.
        let network = config.network.as_deref();
        let open = |dir: &Path| Saved::open(dir, network, config.takes_part);
        let saved = config.state_dir.as_deref().map(open);
        let (saved, mut snapshot) = saved.unwrap_or_default();
        let way = Way { udp: udp.clone(), lan: config.lan };
        snapshot.nodes.retain(|node| way.is_open(node.addr));
        let families =
            kademlia::Families { v4: udp.addr(false).is_some(), v6: udp.addr(true).is_some() };
        let machine = kademlia::Config {
            families,
            read_only: !config.takes_part,
            limits: config.limits,
            table_width: config.table_width,
            terms: config.terms,
            bootstrap: Vec::new(),
            version: Some(VERSION),
            upkeep: config.takes_part,
            bound: [false, true].map(|v6| udp.addr(v6).map(|addr| addr.ip())),
            ..kademlia::Config::default()
        };
        let mut node = kademlia::Node::new(clock.now(), machine, &snapshot, rng);
        let (known, names) = bootstrap::sort(&config.bootstrap);
        let leading: Vec<_> = known.into_iter().filter(|&addr| way.leads_to(addr)).collect();
        node.add_bootstrap(&leading);
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (status_in, status) = watch::channel(node.status(clock.now()));
        let (has_nodes_in, has_nodes) = watch::channel(false);
        let shown = Shown { status: status_in, has_nodes: has_nodes_in };
        let task = Task::new(clock, way, node, saved, names.len(), shown);
        let mut background = JoinSet::new();
        background.spawn(task.run(queue, datagrams));
        for name in names {
            background.spawn(bootstrap::look_up(name, commands.downgrade()));
        }
        let ports = [false, true].map(|v6| udp.addr(v6).map(|addr| addr.port()));
        Self { commands, status, has_nodes, ports, udp, _background: Arc::new(background) }
    }

    /// The port that peers are told of: that of IPv4, or of the only family there is.
    pub fn port(&self) -> Option<u16> {
        self.ports[0].or(self.ports[1])
    }

    /// Where the node of a family is bound.
    pub fn addr(&self, v6: bool) -> Option<SocketAddr> {
        self.udp.addr(v6)
    }

    /// How it stands, at most a quarter of a second old.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// The same, for whoever wants to hear about changes.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Whether there is anybody to ask, for whoever waits for it.
    pub fn watch_nodes(&self) -> watch::Receiver<bool> {
        self.has_nodes.clone()
    }

    /// Somebody says that there is a node.
    pub fn suggest(&self, addr: SocketAddr) {
        let _ = self.commands.try_send(Command::Suggest(addr));
    }

    /// The same of nodes that may have names; they are looked up meanwhile, once.
    pub fn suggest_all(&self, hints: &[PeerHint]) {
        let (known, names) = bootstrap::sort(hints);
        known.into_iter().for_each(|addr| self.suggest(addr));
        for name in names {
            let commands = self.commands.downgrade();
            tokio::spawn(bootstrap::look_up_once(name, commands));
        }
    }

    /// Somebody outside of the DHT says where he sees us.
    pub fn hear(&self, sighting: Sighting) {
        let _ = self.commands.try_send(Command::Seen(sighting)); // others will say the same
    }

    /// Asks one node whether it is there; `None` after silence.
    pub async fn ping(&self, addr: SocketAddr) -> Option<Pong> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Ping(addr, answer)).await.ok()?;
        answered.await.ok().flatten()
    }

    /// Asks how large a swarm is; `None` if no node says so. Up to a minute.
    pub async fn scrape(&self, swarm: InfoHash) -> Option<Scrape> {
        let (done, counted) = oneshot::channel();
        self.commands.send(Command::Scrape(swarm, done)).await.ok()?;
        counted.await.ok().flatten()
    }

    /// Looks for the item at a target, whose owner has used this salt if it is mutable. The error says why nobody answered.
    //= BEP 44
    pub async fn get_item(&self, target: NodeId, salt: Salt) -> Result<ItemOutcome, LocateError> {
        self.item(ItemAsk::Get(target, salt)).await
    }

    /// Stores an item at the nodes closest to its target, which keep it for two hours or so.
    //= BEP 44
    pub async fn put_item(&self, put: Put) -> Result<ItemOutcome, LocateError> {
        self.item(ItemAsk::Put(Box::new(put))).await
    }

    async fn item(&self, ask: ItemAsk) -> Result<ItemOutcome, LocateError> {
        let ended = LocateError::Socket(io::ErrorKind::BrokenPipe);
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Item(ask, answer)).await.is_err() {
            return Err(ended);
        }
        answered.await.unwrap_or(Err(ended))
    }

    /// Looks for our own neighbours once more, and says how it stands afterwards.
    pub async fn look_around(&self) -> Status {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::LookAround(done)).await.is_ok() {
            let _ = is_done.await;
        }
        self.status()
    }

    /// Writes down what is known and ends the node. Takes two seconds at most.
    pub async fn stop(&self) {
        let (done, is_done) = oneshot::channel();
        let said = async {
            if self.commands.send(Command::Stop(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        let _ = tokio::time::timeout(STOP_PATIENCE, said).await;
    }
}

impl Locator for Dht {
    fn network(&self) -> Network {
        Network::Dht
    }

    /// One lookup in each family. Whoever has a port and is not about to leave is announced with it.
    fn submit(&self, id: AskId, ask: Ask, found: mpsc::Sender<Found>) {
        let Ask::Peers(announce) = ask;
        let command = Command::Ask { id, announce: Box::new(announce), found: found.clone() };
        if self.commands.try_send(command).is_err() {
            refuse(id, &found);
        }
    }
}

/// Ends an ask for which there is no room.
fn refuse(id: AskId, found: &mpsc::Sender<Found>) {
    let outcome = Err(LocateError::Socket(io::ErrorKind::WouldBlock));
    let _ = found.try_send(Found::Done { id, outcome });
}

/// What the last run in a network has left in this folder.
pub fn saved_nodes(state_dir: &Path, network: Option<&str>) -> io::Result<Snapshot> {
    saved::read(&saved::file(state_dir, network))
}

/// Why there are no nodes, in words.
pub fn explain(why: Why) -> String {
    match why {
        Why::NobodyToAsk => {
            "no node is known: none saved, none given, no peer named one".to_owned()
        }
        Why::OnlyErrors { errors } => format!("only errors in answer ({errors})"),
        Why::OnlyImpostors { renamed } => {
            format!("{renamed} answered under another id than they should have")
        }
        Why::Silence { asked } => {
            format!("{asked} asked, none answered: no way out for UDP, or they are gone")
        }
        Why::Throttled => "the limit of new nodes per second is zero".to_owned(),
        _ => "nobody has answered yet".to_owned(),
    }
}

/// Whether an ask announces, beside looking.
fn announces(announce: &Announce) -> bool {
    use gaggle_core::proto::announce::Event;
    announce.port != 0 && announce.event != Event::Stopped
}
