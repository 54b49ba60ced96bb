//! What all torrents of a process share: the listening socket, the disk pool, our name, the limits.

use super::announce;
use super::api::{AddTorrent, DownloadEvent, EngineConfig, EngineError, Snapshot, What};
use super::command::{self, Command, Owner, Reach};
use super::external::{Ends, Judge};
use super::task::{Outputs, TorrentTask};
use super::{dht, nearby};
use crate::disk::Pool;
use crate::fetch::Host;
use crate::locate::{Dht, DhtConfig, Lsd, Mapped, PortMap, Ports, Trackers, TrackersConfig};
use crate::net::{
    Buffers, Clock, Congestion, Connected, DhtDatagrams, Dialer, Door, HANDSHAKE_TIMEOUT, Listener,
    Udp, os_rng,
};
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::peer::{Handshake, Reserved};
use gaggle_core::rng::Rng;
use gaggle_core::swarm::choker::ChokerConfig;
use gaggle_core::swarm::rate;
use gaggle_core::swarm::roster::{RosterConfig, Source};
use gaggle_core::swarm::torrent::{Torrent, TorrentConfig};
use gaggle_core::units::BytesPerSec;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Most time that stopping waits: enough to save, and for `stopped` to leave.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Events a user of the engine may leave unread; more are dropped, the snapshot carries the state.
pub(super) const EVENTS_MAX: usize = 4096;
/// Connections with a finished handshake that may wait to be given to their torrents.
const INCOMING_MAX: usize = 64;
/// How often a common limit is shared out anew.
const SHARE_EVERY: Duration = Duration::from_millis(500);

/// Runs torrents. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What every torrent's task sees of the engine.
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    pub(super) clock: Clock,
    /// What connections read into.
    pub(super) buffers: Buffers,
    pub(super) dialer: Dialer,
    pub(super) our_id: PeerId,
    pub(super) pool: Pool,
    /// Lets trackers recognise us when our address changes.
    pub(super) key: u32,
    /// Finds neighbours on the wire, if wanted.
    pub(super) lsd: Option<Lsd>,
    /// Talks to trackers, for all torrents.
    pub(super) trackers: Trackers,
    /// Our node of the DHT, if wanted.
    pub(super) dht: Option<Dht>,
    /// What is said and believed of our own address.
    pub(super) external: Ends,
    /// Ports of the router, if wanted.
    port_map: Option<PortMap>,
    pub(super) listen: SocketAddr,
    routes: watch::Sender<Routes>,
    /// Where peers come in, by whatever port.
    door: Door,
    background: std::sync::Mutex<JoinSet<()>>,
}

/// Who gets a connection about which torrent.
type Routes = BTreeMap<InfoHash, Route>;

#[derive(Clone)]
struct Route {
    ours: Handshake,
    torrent: Reach,
    snapshots: watch::Receiver<Snapshot>,
}

/// One torrent of an engine. Dropping it stops the torrent, saving what there is.
pub struct Download {
    info_hash: InfoHash,
    shared: Arc<Shared>,
    commands: Owner,
    events: mpsc::Receiver<Box<DownloadEvent>>,
    pub(super) snapshots: watch::Receiver<Snapshot>,
    announcer: announce::Handle,
    nearby: Option<nearby::Handle>,
    dht: Option<dht::Handle>,
    task: JoinHandle<()>,
}

impl Engine {
    /// Binds the listening socket and starts the disk pool.
    #[expect(clippy::unused_async, reason = "binds sockets, so it must run inside a runtime")]
    pub async fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let clock = Clock::start();
        let failed = |text: String| EngineError::Listen { addr: config.listen, text };
        let listener = Listener::bind(config.listen).map_err(|error| failed(error.to_string()))?;
        let pool = Pool::start(None, Arc::new(move || clock.now()))
            .map_err(|error| EngineError::System(error.to_string()))?;
        let listen = listener.addr();
        let mut rng = os_rng().map_err(|error| EngineError::System(error.to_string()))?;
        let (udp, dht) = datagrams(&config, listen, clock, rng.fork());
        let congestion = config.congestion.as_deref().map(Congestion::named);
        if let Some(congestion) = &congestion {
            let refused = |error: std::io::Error| EngineError::Congestion {
                name: config.congestion.clone().unwrap_or_default(),
                text: error.to_string(),
            };
            listener.set_congestion(congestion).map_err(refused)?;
        }
        let dialer = Dialer { bind: dial_from(listen), congestion, ..Dialer::default() };
        let (from, lan) = (dialer.bind, config.lan);
        let trackers = TrackersConfig { from, lan, ..TrackersConfig::default() };
        let port_map = port_map(&config, listen, dht.as_ref(), clock);
        let (judge, external) = Judge::new(clock, dht.clone());
        let routes = watch::Sender::new(Routes::new());
        let (door, incoming) = door(routes.subscribe());
        let door = door.with_congestion(dialer.congestion.clone());
        let shared = Arc::new(Shared {
            our_id: PeerId::generate(&mut rng),
            key: rng.next_u32(),
            lsd: lsd(&config, listen, clock, rng.fork()),
            trackers: Trackers::new(trackers, clock, rng.fork())
                .over(udp)
                .telling(external.sightings.clone()),
            dht,
            external,
            port_map,
            dialer,
            config,
            clock,
            buffers: Buffers::default(),
            pool,
            listen,
            routes,
            door: door.clone(),
            background: std::sync::Mutex::new(JoinSet::new()),
        });
        let mut background = JoinSet::new();
        background.spawn(listener.run(door));
        background.spawn(deliver(incoming, shared.routes.subscribe()));
        background
            .spawn(share_limits((shared.config.down, shared.config.up), shared.routes.subscribe()));
        background.spawn(judge.run(shared.port_map.as_ref().map(PortMap::watch)));
        if let Ok(mut slot) = shared.background.lock() {
            *slot = background;
        }
        Ok(Self { shared })
    }

    /// Where peers can dial us, with the real port.
    pub fn listen_addr(&self) -> SocketAddr {
        self.shared.listen
    }

    /// The way to our torrents for peers that come to a port of something else.
    pub fn door(&self) -> Door {
        self.shared.door.clone()
    }

    /// The limit of what all torrents send together.
    pub fn up(&self) -> Option<BytesPerSec> {
        self.shared.config.up
    }

    /// The node of the DHT, if there is one.
    pub fn dht(&self) -> Option<&Dht> {
        self.shared.dht.as_ref()
    }

    /// The ports that a router has given, for whoever wants to hear about them; `None` if none is asked.
    pub fn watch_ports(&self) -> Option<watch::Receiver<Option<Mapped>>> {
        self.shared.watch_ports()
    }

    /// Lets what all torrents share end well: what the node of the DHT knows is kept, and the router gets its ports
    /// back. Torrents are stopped before.
    pub async fn stop(&self) {
        let dht = async {
            if let Some(dht) = &self.shared.dht {
                dht.stop().await;
            }
        };
        let ports = async {
            if let Some(ports) = &self.shared.port_map {
                ports.stop().await;
            }
        };
        tokio::join!(dht, ports);
    }

    /// Starts a torrent. Existing data is checked in the background; [`DownloadEvent::Checked`] ends that.
    #[expect(clippy::unused_async, reason = "spawns tasks, so it must run inside a runtime")]
    pub async fn add(&self, add: AddTorrent) -> Result<Download, EngineError> {
        let shared = Arc::clone(&self.shared);
        let rng = os_rng().map_err(|error| EngineError::System(error.to_string()))?;
        let hashes = match &add.what {
            What::Magnet(magnet) => magnet.hashes,
            What::Metainfo(metainfo) => metainfo.hashes(),
        };
        let info_hash = hashes.wire();
        let metainfo = match &add.what {
            What::Magnet(_) => None,
            What::Metainfo(metainfo) => Some(Arc::clone(metainfo)),
        };
        let (owner, reach, commands) = command::queue();
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let (snapshots_in, snapshots) = watch::channel(Snapshot::default());
        let announcer = announce::start(&shared, &add, info_hash, reach.clone(), &snapshots)?;
        let nearby = nearby::start(&shared, info_hash, reach.clone(), &snapshots);
        let dht = dht::start(&shared, &add, info_hash, reach.clone(), &snapshots);
        let private = metainfo.as_ref().is_some_and(|metainfo| metainfo.info.private);
        let reserved = shared.reserved(private);
        let route = Route {
            ours: Handshake { info_hash, peer_id: shared.our_id, reserved },
            torrent: reach.clone(),
            snapshots: snapshots.clone(),
        };
        let mut taken = false;
        shared.routes.send_if_modified(|routes| {
            taken = routes.contains_key(&info_hash);
            if !taken {
                routes.insert(info_hash, route);
            }
            !taken
        });
        if taken {
            return Err(EngineError::AlreadyRunning(info_hash));
        }
        let config = shared.torrent_config();
        let torrent = Torrent::new(shared.clock.now(), config, hashes, rng);
        let outputs = Outputs { events: events_in, snapshots: snapshots_in };
        let task = TorrentTask::new(Arc::clone(&shared), hashes, add, torrent, reach, outputs);
        let task = tokio::spawn(Box::new(task).run(commands, metainfo));
        Ok(Download {
            info_hash,
            shared,
            commands: owner,
            events,
            snapshots,
            announcer,
            nearby,
            dht,
            task,
        })
    }
}

impl Download {
    /// The name of the torrent on the wire.
    pub const fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// How it stands, at most a fifth of a second old.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.snapshots.borrow().clone();
        snapshot.trackers = self.announcer.trackers();
        snapshot.neighbours = self.nearby.as_ref().map(nearby::Handle::heard);
        snapshot.dht = self.dht.as_ref().and_then(dht::Handle::seen);
        snapshot
    }

    /// Notices when there is a new snapshot.
    pub fn changes(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// The next thing that happens; `None` once the torrent has ended.
    pub async fn event(&mut self) -> Option<DownloadEvent> {
        self.events.recv().await.map(|event| *event)
    }

    /// Tells the torrent of more peers.
    pub async fn add_peers(&self, peers: Vec<SocketAddr>) {
        let _ = self.commands.send(Box::new(Command::AddPeers(Source::Explicit, peers))).await;
    }

    /// Tells the torrent of a host that has one of its files, by the file's place among those of the metainfo, counted
    /// from 0. One that is named before the metadata is known is asked when it is, if it may be.
    ///
    /// # Errors
    /// Why it is not asked: there is no such file, or [`EngineError::Source`], as for every host of a private torrent.
    pub async fn add_source(&self, host: Host, file: usize) -> Result<(), EngineError> {
        let (done, answer) = oneshot::channel();
        let add = Command::AddSource { host: Box::new(host), file, done };
        self.commands.send(Box::new(add)).await.map_err(|_| EngineError::Stopped)?;
        answer.await.unwrap_or(Err(EngineError::Stopped))
    }

    /// Saves everything, tells the trackers, and ends.
    pub async fn stop(self) {
        let Self { info_hash, shared, commands, announcer, task, .. } = self;
        let (done, is_done) = oneshot::channel();
        let saved = async {
            if commands.send(Box::new(Command::Stop(done))).await.is_ok() {
                let _ = is_done.await;
            }
            let _ = task.await;
        };
        // Trackers hear of it while the disk is being flushed.
        let ended = async { tokio::join!(saved, announcer.stop()) };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!(%info_hash, "did not stop in time; what is not saved is hashed again");
        }
        shared.forget(info_hash); // also when it did not end in time
    }
}

impl Shared {
    /// No more connections for this torrent.
    pub(super) fn forget(&self, info_hash: InfoHash) {
        self.routes.send_if_modified(|routes| routes.remove(&info_hash).is_some());
    }

    fn torrent_config(&self) -> TorrentConfig {
        TorrentConfig {
            client: concat!("gaggle ", env!("CARGO_PKG_VERSION")).to_owned(),
            our_id: self.our_id,
            listen_port: Some(self.port()),
            pex: self.config.pex,
            dht_port: self.dht.as_ref().and_then(Dht::port),
            down: self.config.down,
            up: self.config.up,
            choker: ChokerConfig { slots: self.config.slots, ..ChokerConfig::default() },
            picker: Default::default(),
            roster: RosterConfig {
                connections_max: self.config.max_peers,
                ..RosterConfig::default()
            },
        }
    }

    /// What our handshakes say we can. A private torrent has no dealings with the DHT.
    pub(super) fn reserved(&self, private: bool) -> Reserved {
        if self.dht.is_some() && !private {
            Torrent::reserved_with_dht()
        } else {
            Torrent::reserved()
        }
    }

    pub(super) fn watch_ports(&self) -> Option<watch::Receiver<Option<Mapped>>> {
        self.port_map.as_ref().map(PortMap::watch)
    }

    /// The port that others are told: that of the router which leads to ours, if there is one.
    pub(super) fn port(&self) -> u16 {
        self.mapped_port().map_or(self.listen.port(), NonZeroU16::get)
    }

    /// A port of the router that leads to ours.
    pub(super) fn mapped_port(&self) -> Option<NonZeroU16> {
        self.port_map.as_ref()?.mapped()?.tcp
    }
}

/// Lets in those whose handshake names a torrent of ours.
fn door(routes: watch::Receiver<Routes>) -> (Door, mpsc::Receiver<Connected>) {
    let (out, incoming) = mpsc::channel(INCOMING_MAX);
    let lookup = move |info_hash| routes.borrow().get(&info_hash).map(|route| route.ours);
    (Door::new(HANDSHAKE_TIMEOUT, lookup, out), incoming)
}

/// Gives each of them to his torrent.
async fn deliver(mut incoming: mpsc::Receiver<Connected>, routes: watch::Receiver<Routes>) {
    while let Some(connection) = incoming.recv().await {
        // A torrent that does not take it is busy; the peer will try again.
        if let Some(route) = routes.borrow().get(&connection.ours.info_hash) {
            route.torrent.tell(Command::Incoming(Box::new(connection)));
        }
    }
}

/// Shares a common limit out among the torrents by what they use, max-min fair.
async fn share_limits(
    (down, up): (Option<BytesPerSec>, Option<BytesPerSec>),
    routes: watch::Receiver<Routes>,
) {
    if down.is_none() && up.is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(SHARE_EVERY);
    let mut shared_among = 0;
    loop {
        ticks.tick().await;
        let running: Vec<Route> = routes.borrow().values().cloned().collect();
        if running.len().max(shared_among) < 2 {
            continue; // a lone torrent was given the whole limit when it started
        }
        shared_among = running.len();
        let now: Vec<Snapshot> = running.iter().map(|r| r.snapshots.borrow().clone()).collect();
        let part = |limit: Option<BytesPerSec>, used: Vec<BytesPerSec>| match limit {
            Some(limit) => rate::share(limit, &used).into_iter().map(Some).collect(),
            None => vec![None; used.len()],
        };
        let downs = part(down, now.iter().map(|s| demand(s.status.down)).collect());
        let ups = part(up, now.iter().map(|s| demand(s.status.up)).collect());
        for ((route, down), up) in running.iter().zip(downs).zip(ups) {
            route.torrent.tell(Command::SetLimits(down, up));
        }
    }
}

/// What a torrent could use soon: twice what it uses now, and enough to begin with.
fn demand(used: BytesPerSec) -> BytesPerSec {
    BytesPerSec((used.0 * 2).max(64 << 10))
}

/// Looks for neighbours, unless they could not reach us. Without it there are still all other ways.
fn lsd(config: &EngineConfig, listen: SocketAddr, clock: Clock, rng: Rng) -> Option<Lsd> {
    if !config.lsd || listen.ip().is_loopback() {
        return None;
    }
    let started = Lsd::start(listen.ip(), clock, rng);
    started.inspect_err(|error| tracing::debug!(%error, "no local discovery")).ok()
}

/// Asks the router for ports, unless nobody outside could be meant to reach us.
fn port_map(
    config: &EngineConfig,
    listen: SocketAddr,
    dht: Option<&Dht>,
    clock: Clock,
) -> Option<PortMap> {
    let wanted = config.port_map && !listen.ip().is_loopback();
    let udp = dht.and_then(|dht| dht.addr(false)).and_then(|addr| NonZeroU16::new(addr.port()));
    let ports = Ports { listen: listen.ip(), tcp: NonZeroU16::new(listen.port()), udp };
    wanted.then(|| PortMap::start(ports, clock))
}

/// Opens the datagram sockets beside the listener, and starts the node on them. Without them there are still trackers.
fn datagrams(
    config: &EngineConfig,
    listen: SocketAddr,
    clock: Clock,
    rng: Rng,
) -> (Option<Udp>, Option<Dht>) {
    let bound: (Udp, DhtDatagrams) = match Udp::bind(listen) {
        Ok(bound) => bound,
        Err(error) => {
            tracing::warn!(%error, "no socket for datagrams: no DHT");
            return (None, None);
        }
    };
    let udp = bound.0.clone();
    let dht = config.dht.clone().map(|dht| {
        let config = DhtConfig { state_dir: Some(config.state_dir.clone()), ..dht };
        Dht::start(bound, &config, clock, rng)
    });
    (Some(udp), dht)
}

/// A listening address other than a wildcard is also where we dial from, so that others see one host.
fn dial_from(listen: SocketAddr) -> Option<std::net::IpAddr> {
    (!listen.ip().is_unspecified()).then_some(listen.ip())
}
