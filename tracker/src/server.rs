//! One tracker: its sockets, its tasks, its end.

use crate::clock::Clock;
use crate::connection_id::ConnectionIds;
use crate::store::{Policy, Stats, Store};
use crate::{bind, dice, http, udp};
use gaggle_core::rng::Rng;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// One slice of the store is cleaned this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What a tracker is to do.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Where to listen. `[::]` serves IPv4 too, and falls back to `0.0.0.0` on a machine without IPv6. Port 0 takes
    /// any port that is free for all that is served.
    pub listen: SocketAddr,
    /// Serve HTTP.
    pub http: bool,
    /// Serve UDP, on the same port number.
    pub udp: bool,
    /// Intervals and limits.
    pub policy: Policy,
    /// HTTP connections at a time; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Makes choices and connection ids repeatable; `None` asks the operating system for dice.
    pub seed: Option<u64>,
}

impl TrackerConfig {
    /// Port on which trackers are found by custom.
    pub const DEFAULT_PORT: u16 = 6969;

    /// HTTP and UDP on `listen`, everything else as usual.
    pub fn new(listen: SocketAddr) -> Self {
        let (policy, connections_max) = (Policy::default(), 4096);
        Self { listen, http: true, udp: true, policy, connections_max, seed: None }
    }
}

/// Why a tracker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{0} is in use")]
    AddrInUse(SocketAddr),
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Dice(io::Error),
    /// Another refusal of the operating system.
    #[error("cannot listen on {addr}: {source}")]
    Io {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Neither HTTP nor UDP.
    #[error("a tracker needs HTTP or UDP")]
    Nothing,
}

/// Starts trackers.
#[derive(Debug)]
pub struct Tracker;

/// A tracker at work. Dropping it stops it at once.
pub struct Running {
    addr: SocketAddr,
    service: Arc<Service>,
    tasks: JoinSet<()>,
}

/// What all requests share.
pub(crate) struct Service {
    pub(crate) clock: Clock,
    pub(crate) store: Store,
}

impl Tracker {
    /// Opens the sockets and serves in the background of the tokio runtime it is called in; panics outside of one.
    pub fn bind(config: &TrackerConfig) -> Result<Running, BindError> {
        let mut rng = match config.seed {
            Some(seed) => Rng::seeded(seed),
            None => dice::os_rng().map_err(BindError::Dice)?,
        };
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        let sockets = bind::sockets(config.listen, config.http, config.udp)?;
        let store = Store::new(config.policy, rng);
        let service = Arc::new(Service { clock: Clock::start(), store });
        let mut tasks = JoinSet::new();
        if let Some(listener) = sockets.tcp {
            tasks.spawn(http::serve(listener, service.clone(), config.connections_max.max(1)));
        }
        if let Some(socket) = sockets.udp {
            tasks.spawn(udp::serve(socket, service.clone(), ConnectionIds::new(secret)));
        }
        tasks.spawn(sweep(service.clone()));
        tracing::info!(addr = %sockets.addr, "tracker listens");
        Ok(Running { addr: sockets.addr, service, tasks })
    }
}

impl Running {
    /// Where it listens, with the true port; `0.0.0.0` or `[::]` if it listens everywhere.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// How much it remembers.
    pub fn stats(&self) -> Stats {
        self.service.store.stats()
    }

    /// Closes the sockets and returns when nothing runs any more. An answer under way may be lost.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn sweep(service: Arc<Service>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        service.store.sweep(service.clock.now());
    }
}
