//! The network flags of every verb that meets peers.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, of_engine};
use super::here;
use super::tracker::who;
use crate::config::{Rate, Uploads, parse_nodes};
use crate::engine::{Engine, EngineConfig, What};
use crate::locate::{DhtConfig, Mapped};
use gaggle_core::metainfo::{Magnet, PeerHint};
use gaggle_core::scope::Scope;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use tokio::sync::watch;

/// Flags of `get`, `seed` and `share`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Network")]
pub(super) struct Network {
    /// Where peers can reach us [default: any free port, all addresses]
    #[arg(long, value_name = "IP:PORT", env = "GAGGLE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Try this peer at once (repeat)
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_PEER", value_delimiter = ' ')]
    pub peer: Vec<String>,
    /// Ask this tracker, too (repeat)
    #[arg(long, value_name = "URL", env = "GAGGLE_TRACKER", value_delimiter = ' ')]
    pub tracker: Vec<String>,
    /// Most peers at a time [default: 200]
    #[arg(long, value_name = "COUNT", env = "GAGGLE_MAX_PEERS")]
    pub max_peers: Option<NonZeroUsize>,
    /// Most peers to send to at a time [default: auto]
    #[arg(long, value_name = "COUNT", env = "GAGGLE_MAX_UPLOADS")]
    pub max_uploads: Option<Uploads>,
    /// Most bytes per second to fetch, such as 10M
    #[arg(long, value_name = "RATE", env = "GAGGLE_DOWN")]
    pub down: Option<Rate>,
    /// Most bytes per second to send, such as 500K
    #[arg(long, value_name = "RATE", env = "GAGGLE_UP")]
    pub up: Option<Rate>,
    /// TCP congestion control of connections to peers, such as bbr [default: the system's]
    #[arg(long, value_name = "NAME", env = "GAGGLE_CONGESTION")]
    congestion: Option<String>,
    /// Neither tell peers of each other nor be told
    #[arg(long, env = "GAGGLE_NO_PEX")]
    no_pex: bool,
    /// Look for no peers among the neighbours on the wire
    #[arg(long, env = "GAGGLE_NO_LSD")]
    no_lsd: bool,
    /// Look for no peers in the DHT
    #[arg(long, env = "GAGGLE_NO_DHT")]
    no_dht: bool,
    /// Begin with this node of the DHT instead of the public ones (repeat); `none` for none
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_DHT_BOOTSTRAP", value_delimiter = ' ')]
    dht_bootstrap: Vec<String>,
    /// Ask the router for no port: by PCP, NAT-PMP or UPnP
    #[arg(long, env = "GAGGLE_NO_UPNP")]
    no_upnp: bool,
    /// Keep to this network: neighbours on the wire, given peers and trackers, trackers and results of a search at private
    /// addresses; no public node of the DHT, no peers of peers, no port of the router
    #[arg(long, env = "GAGGLE_LAN")]
    lan: bool,
    #[command(flatten)]
    without: Without,
}

/// Parts that are not built yet can be switched off already, so that scripts stay valid.
#[derive(Clone, Debug, Default, clap::Args)]
struct Without {
    #[arg(long, hide = true, env = "GAGGLE_NO_UTP")]
    no_utp: bool,
}

/// Peers to try at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    /// Those of the flags.
    pub named: Vec<SocketAddr>,
    /// Those of the link.
    pub of_link: Vec<PeerHint>,
}

impl Network {
    /// Starts an engine with these flags over the settings, and says who can reach it.
    pub(super) async fn engine(&self, env: &Arc<Env>) -> Result<Engine, Failure> {
        let settings = &env.settings.network;
        let (listen, lan) = (self.listen(env), self.lan(env));
        let engine = Engine::start(EngineConfig {
            listen,
            state_dir: env.dirs.state.clone(),
            down: self.down.or(settings.down).map(|rate| rate.0),
            up: self.up.or(settings.up).map(|rate| rate.0),
            max_peers: self.max_peers.unwrap_or(settings.max_peers).get(),
            slots: self.max_uploads.unwrap_or(settings.max_uploads).0,
            congestion: self.congestion.clone().or_else(|| settings.congestion.clone()),
            // Peers of peers may be anywhere.
            pex: !(self.no_pex || settings.no_pex || lan),
            lsd: !(self.no_lsd || settings.no_lsd),
            lan,
            port_map: maps_ports(env, self.no_upnp, lan),
            dht: self.dht(env, listen, lan)?,
        });
        let engine = engine.await.map_err(|error| of_engine(&error))?;
        let listen = engine.listen_addr();
        env.note(format_args!("listening for peers on {listen}, {}", who(listen)));
        if let Some(ports) = engine.watch_ports() {
            tokio::spawn(say_ports(Arc::clone(env), ports));
        }
        Ok(engine)
    }

    /// Where to listen.
    pub(super) fn listen(&self, env: &Env) -> SocketAddr {
        self.listen.unwrap_or(env.settings.network.listen)
    }

    /// Whether to keep to this network.
    pub(super) fn lan(&self, env: &Env) -> bool {
        self.lan || env.settings.network.lan
    }

    /// Whether and how to take part in the DHT.
    fn dht(&self, env: &Env, listen: SocketAddr, lan: bool) -> Result<Option<DhtConfig>, Failure> {
        let config = dht_config(env, &self.dht_bootstrap, "--dht-bootstrap", listen, lan)?;
        let off = self.no_dht || env.settings.network.no_dht;
        Ok((!off).then_some(config))
    }

    /// Trackers beside those of the torrent.
    pub(super) fn trackers(&self, env: &Env) -> Vec<String> {
        let given = &self.tracker;
        if given.is_empty() { env.settings.network.trackers.clone() } else { given.clone() }
    }

    /// Peers to try at once: those of the flags, which must exist, and those of a link.
    pub(super) async fn peers(&self, what: &What) -> Result<Peers, Failure> {
        let mut peers = Peers::default();
        for text in &self.peer {
            let hint = PeerHint::parse(text)
                .ok_or_else(|| Failure::usage(format!("--peer {text} is not HOST:PORT")))?;
            peers.named.extend(resolve(&hint).await.map_err(|e| {
                let what = format!("cannot find the peer {text}: {}", super::exit::plain(&e));
                Failure::new(Exit::Network, what)
            })?);
        }
        if let What::Magnet(magnet) = what {
            peers.of_link.clone_from(&magnet.peers);
        }
        Ok(peers)
    }
}

/// Whether the router is asked for ports.
pub(super) fn maps_ports(env: &Env, no_upnp: bool, lan: bool) -> bool {
    let settings = &env.settings.network;
    !(no_upnp || settings.no_upnp || lan || settings.lan)
}

/// Says what the router has given, whenever that changes, until nobody asks it any more.
pub(super) async fn say_ports(env: Arc<Env>, mut ports: watch::Receiver<Option<Mapped>>) {
    while ports.changed().await.is_ok() {
        let Some(mapped) = *ports.borrow_and_update() else {
            env.note("the router has closed our ports");
            continue;
        };
        let external = mapped.external.map(|ip| ip.to_string());
        let [tcp, udp] = [mapped.tcp, mapped.udp].map(|port| port.map(NonZeroU16::get));
        let event = Event::PortsMapped {
            by: mapped.by.name(),
            router: mapped.router.to_string(),
            external: external.as_deref(),
            tcp,
            udp,
        };
        _ = env.emit(&event); // a reader that left early is no reason to stop
        let outside = external.as_deref().unwrap_or("the router");
        let port = |name, port: Option<u16>| port.map(|port| format!("{name} {port}"));
        let ports: Vec<String> =
            [port("TCP", tcp), port("UDP", udp)].into_iter().flatten().collect();
        let by = mapped.by;
        env.note(format_args!("open to the outside at {outside}, {} ({by})", ports.join(" and ")));
    }
}

/// The nodes of the DHT to begin with. The public ones that nobody chose are left alone by who keeps to this network,
/// or listens on loopback, where no answer could come from; and then so are those that the last run met among them.
pub(super) fn dht_config(
    env: &Env,
    given: &[String],
    flag: &str,
    listen: SocketAddr,
    lan: bool,
) -> Result<DhtConfig, Failure> {
    let settings = &env.settings.network;
    let is_default = given.is_empty() && settings.dht_bootstrap_default;
    let begin = if !given.is_empty() {
        let begin = parse_nodes(given).map_err(|why| Failure::usage(format!("{flag}: {why}")))?;
        let public = |node: &&PeerHint| node.addr().is_some_and(|addr| !Scope::is_near(addr.ip()));
        if let Some(node) = begin.iter().find(public).filter(|_| lan) {
            let what = format!("{flag} {node} is in another network, and --lan keeps to this one");
            return Err(Failure::usage(what));
        }
        begin
    } else if is_default && (lan || listen.ip().is_loopback()) {
        return Ok(DhtConfig { network: Some(name_of(&[])), lan, ..DhtConfig::new(Vec::new()) });
    } else {
        settings.dht_bootstrap.clone()
    };
    let network = (!is_default).then(|| name_of(&begin));
    Ok(DhtConfig { network, lan, ..DhtConfig::new(begin) })
}

/// What a network of one's own is called: by those who know its way in.
fn name_of(begin: &[PeerHint]) -> String {
    let mut names: Vec<String> = begin.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    let hash = gaggle_core::hash::sha1([names.join(" ").as_bytes()]);
    data_encoding::HEXLOWER.encode(&hash[..4])
}

async fn resolve(hint: &PeerHint) -> std::io::Result<Vec<SocketAddr>> {
    match hint.addr() {
        Some(addr) => Ok(vec![addr]),
        None => Ok(tokio::net::lookup_host((hint.host.as_str(), hint.port)).await?.collect()),
    }
}

/// The link with the way to this engine in it. `host` is what others shall use as our address.
pub(super) fn link_here(mut magnet: Magnet, listen: SocketAddr, host: Option<&str>) -> Magnet {
    let addr = here::reachable(listen);
    let host = host.map_or_else(|| addr.ip().to_string(), str::to_owned);
    magnet.peers.insert(0, PeerHint { host, port: addr.port() });
    magnet
}
