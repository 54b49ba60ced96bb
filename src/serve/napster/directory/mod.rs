//! The directory: one task owns its machine, and a task for each connection moves bytes.
//!
//! A connection is read on only when the machine has taken what was read before and its user has taken most of the
//! answers, so that who asks much waits for himself and for nobody else. Who does not read is left, first by the machine
//! for the bytes that wait for him, at the latest by his connection for the time.

mod accounts;
mod connection;
mod task;

use super::Error;
use crate::net::{Clock, Listener, os_rng};
use gaggle_core::overlay::napster::{Counters, DirectoryConfig};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use task::Task;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// What to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Only IPv4 is let in: the protocol has no words for other addresses.
    pub listen: SocketAddr,
    /// Nobody in other networks is let in.
    pub lan: bool,
    /// As its operator wants it.
    pub directory: DirectoryConfig,
    /// Where names with a password are kept between runs; `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// What the machine counts.
    pub counters: Counters,
    /// Connections, of users and of those who are not in yet.
    pub connections: usize,
    /// Connections that were not taken.
    pub refused: u64,
}

/// A directory. Clones are the same; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Directory {
    addr: SocketAddr,
    stop: mpsc::Sender<oneshot::Sender<()>>,
    status: watch::Receiver<Status>,
    _background: Arc<JoinSet<()>>,
}

impl Directory {
    /// Binds, and serves. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the port cannot be had, the names of an earlier run cannot be read, or the system has no randomness.
    pub fn start(config: Config, clock: Clock) -> Result<Self, Error> {
        let listener = Listener::bind(config.listen)
            .map_err(|error| Error::Listen(config.listen, error.kind()))?
            .keeping_near(config.lan);
        let rng = os_rng().map_err(|error| Error::NoDice(error.kind()))?;
        let addr = listener.addr();
        let (stop, stopped) = mpsc::channel(1);
        let (tell, status) = watch::channel(Status::default());
        let task = Task::new(config, listener, clock, rng, tell)?;
        let mut background = JoinSet::new();
        background.spawn(task.run(stopped));
        Ok(Self { addr, stop, status, _background: Arc::new(background) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How it stands, up to a second ago.
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// How it stands, and from now on.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends all connections, and keeps what is to be kept.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.stop.send(done).await.is_ok() {
            _ = stopped.await; // without an answer it has ended as well
        }
    }
}
