//! `gaggle dht`: a node of the DHT on its own, and questions to the DHT.

use super::dht_ask;
use super::dht_item;
use super::env::Env;
use super::event::{DhtCounts, Event};
use super::exit::{Exit, Failure, exit_of, plain};
use super::network::{dht_config, maps_ports, say_ports};
use super::tracker::who;
use crate::locate::{Dht as Node, DhtConfig, PortMap, Ports, explain, saved_nodes};
use crate::net::{Clock, Udp, os_rng};
use gaggle_core::overlay::kademlia::{K, Status, Terms, WIDTH_MAX};
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The customary port of BitTorrent.
const PORT: u16 = 6881;
/// A running node says how it stands this often, if that has changed.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// `status` asks for so long at most.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// Take part in the DHT, or ask it: peers without any tracker
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle dht node --listen [::]:6881
  gaggle dht peers c12fe1c06bba254a9dc9f519b335aa7c1367a88a
  gaggle dht put release.txt --key release.key --new-key

Two machines with `gaggle dht node`, each the other's --bootstrap, are a DHT of their own.")]
pub(super) struct Dht {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run a node until stopped
    Node(RunNode),
    /// Look for peers of a torrent
    Peers {
        /// A hash, a magnet link or a .torrent
        hash: String,
        #[command(flatten)]
        way: Way,
    },
    /// Say that this machine has a torrent, at a port
    Announce {
        /// A hash, a magnet link or a .torrent
        hash: String,
        /// Where peers can connect to
        port: std::num::NonZeroU16,
        #[command(flatten)]
        way: Way,
    },
    /// Fetch an item: a small value that somebody has put there
    Get(dht_item::GetItem),
    /// Store an item of at most 1000 bytes, for about two hours
    Put(dht_item::PutItem),
    /// Ask one node whether it is there
    Ping {
        /// HOST:PORT
        addr: String,
        #[command(flatten)]
        way: Way,
    },
    /// Say which nodes are known from the last run, and whether they answer
    Status {
        #[command(flatten)]
        way: Way,
    },
}

/// Where to ask from, and whom first.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Way {
    /// Where to ask from [default: any free port, all addresses]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_DHT_LISTEN")]
    listen: Option<SocketAddr>,
    /// Begin with this node instead of the public ones (repeat); `none` for none
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_DHT_BOOTSTRAP", value_delimiter = ' ')]
    bootstrap: Vec<String>,
}

#[derive(Clone, Debug, clap::Args)]
struct RunNode {
    /// Where to listen; port 0 takes any free one [default: port 6881 everywhere]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_DHT_LISTEN")]
    listen: Option<SocketAddr>,
    /// Begin with this node instead of the public ones (repeat); `none` for none
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_DHT_BOOTSTRAP", value_delimiter = ' ')]
    bootstrap: Vec<String>,
    /// Most queries a second of one address, or none [default: 5]
    #[arg(long, value_name = "COUNT", env = "GAGGLE_DHT_PER_SOURCE")]
    per_source: Option<Bound>,
    /// Most queries a second of one /24 or /64, or none [default: 50]
    #[arg(long, value_name = "COUNT", env = "GAGGLE_DHT_PER_SUBNET")]
    per_subnet: Option<Bound>,
    /// Most bytes a second of all answers together, or none [default: 8000]
    #[arg(long, value_name = "BYTES", env = "GAGGLE_DHT_REPLY_BUDGET")]
    reply_budget: Option<Bound>,
    /// Nodes remembered of the half of the network that is far away, half as many of the next quarter and so on; for a
    /// node that very many ask [default: 128]
    #[arg(long, value_name = "COUNT", env = "GAGGLE_DHT_TABLE_WIDTH", value_parser = table_width())]
    table_width: Option<u16>,
    /// Ask the router for no port: by PCP, NAT-PMP or UPnP
    #[arg(long, env = "GAGGLE_NO_UPNP")]
    no_upnp: bool,
}

fn table_width() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(K as i64..=WIDTH_MAX as i64)
}

/// A number, or `none`.
#[derive(Clone, Copy, Debug)]
struct Bound(Option<u32>);

impl FromStr for Bound {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("none", _) => Ok(Self(None)),
            (_, Ok(0)) => Err("a bound of 0 would let nothing through".to_owned()),
            (_, Ok(number)) => Ok(Self(Some(number))),
            _ => Err("a number, or none".to_owned()),
        }
    }
}

impl Dht {
    /// Runs until a signal comes, or until the question is answered.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let asked = match self.verb {
            Verb::Node(node) => return node.run(env).await,
            Verb::Peers { hash, way } => env.unless_stopped(dht_ask::peers(env, &hash, &way)).await,
            Verb::Announce { hash, port, way } => {
                env.unless_stopped(dht_ask::announce(env, &hash, port, &way)).await
            }
            Verb::Get(get) => env.unless_stopped(dht_item::get(env, &get)).await,
            Verb::Put(put) => env.unless_stopped(dht_item::put(env, &put)).await,
            Verb::Ping { addr, way } => env.unless_stopped(dht_ask::ping(env, &addr, &way)).await,
            Verb::Status { way } => env.unless_stopped(status(env, &way)).await,
        };
        Ok(asked?.unwrap_or_else(|signal| signal))
    }
}

impl RunNode {
    /// A signal is a good end.
    async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let listen = self.listen.unwrap_or((Ipv6Addr::UNSPECIFIED, PORT).into());
        let lan = env.settings.network.lan;
        let mut config = DhtConfig {
            state_dir: Some(env.dirs.state.clone()),
            ..dht_config(env, &self.bootstrap, "--bootstrap", listen, lan)?
        };
        let limits = &mut config.limits;
        for (given, limit) in [
            (self.per_source, &mut limits.per_source),
            (self.per_subnet, &mut limits.per_subnet),
            (self.reply_budget, &mut limits.reply_budget),
        ] {
            *limit = given.map_or(*limit, |bound| bound.0);
        }
        // Who runs a node of his own has room for more than a passer-by.
        config.table_width = self.table_width.map_or(config.table_width, usize::from);
        config.terms = Terms { swarms_max: 20_000, items_max: 7_000, ..config.terms };
        let node = start(listen, &config)?;
        let at = [node.addr(false), node.addr(true)].into_iter().flatten().collect::<Vec<_>>();
        let shown: Vec<String> = at.iter().map(ToString::to_string).collect();
        let status = node.status();
        let id = |v6: bool| if v6 { status.v6 } else { status.v4 }.map(|side| side.id.to_string());
        env.emit(&Event::DhtNode { listen: &shown, id_v4: id(false), id_v6: id(true) })?;
        let open = at.first().map_or("", |addr| who(*addr));
        env.note(format_args!("DHT node on {}, {open}", shown.join(" and ")));
        let ports = self.ports(env, &node);
        if let Some(ports) = &ports {
            tokio::spawn(say_ports(Arc::clone(env), ports.watch()));
        }
        tokio::select! {
            ended = say(env, &node) => ended?,
            _ = env.signals.first() => {}
        }
        let give_back = async {
            if let Some(ports) = &ports {
                ports.stop().await;
            }
        };
        tokio::join!(node.stop(), give_back);
        Ok(Exit::Done)
    }

    /// The router's port for it, unless nobody outside is meant to reach it.
    fn ports(&self, env: &Env, node: &Node) -> Option<PortMap> {
        let addr = node.addr(false).filter(|addr| !addr.ip().is_loopback())?;
        let ports = Ports { listen: addr.ip(), tcp: None, udp: NonZeroU16::new(addr.port()) };
        maps_ports(env, self.no_upnp, false).then(|| PortMap::start(ports, Clock::start()))
    }
}

/// Says how a node stands, whenever that changes.
async fn say(env: &Env, node: &Node) -> anyhow::Result<()> {
    let mut said: Option<DhtCounts> = None;
    let mut line = String::new();
    loop {
        let status = node.status();
        let counts = counts(&status);
        if said.as_ref() != Some(&counts) {
            env.emit(&Event::DhtStatus { counts: counts.clone(), saved: None })?;
            let nodes = counts.nodes;
            let now = match &counts.why {
                Some(why) => format!("0 nodes: {why}"),
                None => format!("{nodes} node{}", if nodes == 1 { "" } else { "s" }),
            };
            if now != line {
                env.note(&now);
                line = now;
            }
            said = Some(counts);
        }
        tokio::time::sleep(SAY_EVERY).await;
    }
}

/// What was saved, and what became of it.
async fn status(env: &Env, way: &Way) -> anyhow::Result<Exit> {
    let network = way.config(env, way.listen())?.network;
    let saved = match saved_nodes(&env.dirs.state, network.as_deref()) {
        Ok(snapshot) => snapshot.nodes.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => {
            let what = format!("cannot read the saved nodes in {}", env.dirs.state.display());
            return Err(Failure::io(what, &error).into());
        }
    };
    let node = way.node(env)?;
    let status = match tokio::time::timeout(STATUS_PATIENCE, node.look_around()).await {
        Ok(status) => status,
        Err(_) => node.status(),
    };
    let counts = counts(&status);
    env.result(format_args!("saved  {saved} nodes in {}", env.dirs.state.display()))?;
    env.result(format_args!("asked  {}, answered {}", counts.asked, counts.answered))?;
    match &counts.why {
        Some(why) => env.result(format_args!("nodes  0: {why}"))?,
        None => env.result(format_args!("nodes  {}", counts.nodes))?,
    }
    if !counts.external.is_empty() {
        env.result(format_args!("us     {}", counts.external.join(" and ")))?;
    }
    let exit = if counts.nodes > 0 { Exit::Done } else { Exit::Other };
    env.emit(&Event::DhtStatus { counts, saved: Some(saved) })?;
    Ok(exit)
}

fn counts(status: &Status) -> DhtCounts {
    let sides = || [status.v4, status.v6].into_iter().flatten();
    let counters = &status.counters;
    DhtCounts {
        nodes: sides().map(|side| side.nodes.good + side.nodes.questionable).sum(),
        spare: sides().map(|side| side.nodes.spare).sum(),
        swarms: sides().map(|side| side.swarms).sum(),
        peers: sides().map(|side| side.peers).sum(),
        items: sides().map(|side| side.items).sum(),
        asked: counters.asked,
        answered: counters.answered,
        queries: counters.queries,
        limited: counters.limited,
        external: status.external.iter().flatten().map(ToString::to_string).collect(),
        why: status.why_nobody.map(explain),
    }
}

impl Way {
    /// A node that only asks: it is gone before others could make use of it.
    pub(super) fn node(&self, env: &Env) -> Result<Node, Failure> {
        let listen = self.listen();
        start(listen, &self.config(env, listen)?)
    }

    fn config(&self, env: &Env, listen: SocketAddr) -> Result<DhtConfig, Failure> {
        let lan = env.settings.network.lan;
        Ok(DhtConfig {
            state_dir: Some(env.dirs.state.clone()),
            takes_part: false,
            ..dht_config(env, &self.bootstrap, "--bootstrap", listen, lan)?
        })
    }

    fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or((Ipv6Addr::UNSPECIFIED, 0).into())
    }
}

/// Starts a node; the error says what to do about a port that is taken.
fn start(listen: SocketAddr, config: &DhtConfig) -> Result<Node, Failure> {
    let bound = Udp::bind_exactly(listen).map_err(|error| {
        let failure = Failure::new(
            exit_of(error.kind()),
            format!("cannot listen on {listen}: {}", plain(&error)),
        );
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure.hint("--listen IP:0 takes any free port"),
            _ => failure,
        }
    })?;
    let rng = os_rng().map_err(|e| Failure::new(Exit::Other, format!("no dice: {e}")))?;
    Ok(Node::start(bound, config, Clock::start(), rng))
}
