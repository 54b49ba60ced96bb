//! Gnutella on the wire: a servent, leaf or ultrapeer, that shares and searches.
//!
//! One task owns the machine (`gaggle_core::overlay::gnutella::Servent`), unpacks what comes and keeps who waits for a
//! search or a push; a task for each link moves its bytes and packs them. Links, requests for files and pushed
//! connections come to one port and are told apart by their first bytes.
//!
//! Never decides whom to believe, what to relay or whom to ask next. Never contacts anybody whom neither the owner, nor
//! the last run, nor a neighbour has named; host caches only if the owner names them.
// After Gnutella 0.6 draft.

mod caches;
mod error;
mod gate;
mod link;
mod listen;
mod pack;
mod pushes;
mod saved;
mod searches;
mod task;
#[cfg(test)]
mod tests;

use super::upload;
use crate::net::Clock;
use crate::share;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::overlay::gnutella::{Counters, Found, HANDSHAKE_TIMEOUT};
use gaggle_core::proto::gnutella::{Guid, Query};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use caches::HostCache;
pub use error::{Error, PushError};
pub use gaggle_core::overlay::gnutella::Role as Now;

/// Commands that may wait to be taken up; who has one more waits with it.
const COMMANDS_MAX: usize = 64;
/// Hits that may wait for whoever searches; those that find no room are lost, as a network may lose them.
pub const HITS_MAX: usize = 512;
/// The last words to all neighbours take no longer.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Role {
    /// A leaf, and an ultrapeer once others have been able to connect for an hour; a leaf again if neighbours need none.
    #[default]
    Auto,
    /// Always a leaf.
    Leaf,
    /// An ultrapeer from the beginning.
    Ultrapeer,
}

/// Who we are and what others may cost.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one. IPv4, as the network knows no other.
    pub listen: SocketAddrV4,
    /// Servents to begin with; they are tried again and again, later each time.
    pub connect: Vec<PeerHint>,
    /// Who is asked for servents when nobody is known.
    pub caches: Vec<HostCache>,
    /// What to be.
    pub role: Role,
    /// Others cannot connect to us; otherwise it is found out.
    pub firewalled: bool,
    /// Others can connect to us, whatever it looks like: a router sends them here.
    pub reachable: bool,
    /// How long others must have been able to connect before a leaf becomes an ultrapeer by itself.
    pub promote_after: Duration,
    /// Where peers of our torrents connect to, at the same address; 0 if there is no such port.
    pub peer_port: u16,
    /// Where the servents that we know, and our name, are kept between runs; `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
    /// Whether streams may be compressed.
    pub deflate: bool,
    /// How long a connection may take to say what it is.
    pub head_timeout: Duration,
    /// Neighbours out there are neither dialled nor let in, whoever names them.
    pub lan: bool,
    /// Connections of one address that have not yet said what they are; further ones are closed. This machine may have
    /// as many as there are, unless `loopback_too`.
    pub strangers_each: usize,
    /// Whether connections of this machine are counted as well.
    pub loopback_too: bool,
    /// How files are given out.
    pub uploads: upload::Config,
}

impl Config {
    /// A leaf, or what it becomes, that knows nobody and keeps nothing.
    pub fn new(listen: SocketAddrV4) -> Self {
        Self {
            listen,
            connect: Vec::new(),
            caches: Vec::new(),
            role: Role::default(),
            firewalled: false,
            reachable: false,
            promote_after: Duration::from_secs(3_600),
            peer_port: 0,
            state_dir: None,
            deflate: true,
            head_timeout: HANDSHAKE_TIMEOUT,
            lan: false,
            strangers_each: gate::STRANGERS_EACH,
            loopback_too: false,
            uploads: upload::Config::new(upload::Dialect::Gnutella),
        }
    }
}

/// How it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// What it is now.
    pub role: Now,
    /// Where others can connect to it, as far as it is known; the address is 0.0.0.0 before it is.
    pub addr: SocketAddrV4,
    /// Others cannot connect.
    pub firewalled: bool,
    /// Links to servents that relay.
    pub ultrapeers: usize,
    /// Links to leaves.
    pub leaves: usize,
    /// Of all links, those that are packed in some direction.
    pub packed: usize,
    /// Servents that we know of and could try.
    pub hosts: usize,
    /// Files that we share.
    pub files: usize,
    /// Searches of ours under way.
    pub searches: usize,
    /// What passed.
    pub counters: Counters,
    /// What was given out.
    pub uploads: upload::Status,
}

/// A servent. Clones are the same; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Gnutella {
    addr: SocketAddrV4,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    _background: Arc<JoinSet<()>>,
}

/// What the owner of a handle wants.
#[derive(Debug)]
enum Command {
    Connect(Vec<SocketAddr>),
    Push(Guid, u32, oneshot::Sender<Result<TcpStream, PushError>>),
    Search(Query, oneshot::Sender<Result<mpsc::Receiver<Found>, Error>>),
    Stop(oneshot::Sender<()>),
}

impl Gnutella {
    /// Listens, and begins to look for neighbours. Must be called inside a tokio runtime. Without a library nothing is
    /// shared, and nobody who asks for a file is answered.
    ///
    /// # Errors
    /// [`Error::Listen`] and [`Error::NoDice`].
    pub fn start(
        config: Config,
        library: Option<share::Library>,
        clock: Clock,
    ) -> Result<Self, Error> {
        task::start(config, library, clock)
    }

    /// Where it listens, with the true port.
    pub const fn addr(&self) -> SocketAddrV4 {
        self.addr
    }

    /// Asks the network for files that have all these words, or one of the names of content. Without a neighbour the
    /// question waits for one. The hits end when the search does, after some minutes; dropping them ends it at once.
    ///
    /// # Errors
    /// [`Error::Dull`], [`Error::TooLong`], [`Error::TooManySearches`], and [`Error::Stopped`].
    pub async fn search(&self, query: Query) -> Result<mpsc::Receiver<Found>, Error> {
        self.ask(|answer| Command::Search(query, answer)).await.unwrap_or(Err(Error::Stopped))
    }

    /// Has a servent connect to us that we cannot connect to: a stream on which it waits for a request for a file. The
    /// way to it is that of its last hits. Takes up to a minute.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, servent: Guid, index: u32) -> Result<TcpStream, PushError> {
        let pushed = self.ask(|answer| Command::Push(servent, index, answer)).await;
        pushed.unwrap_or(Err(PushError::Stopped))
    }

    /// Makes this servent, or these addresses of one, known, to be tried when neighbours are missing.
    pub async fn connect(&self, addrs: Vec<SocketAddr>) {
        let _ = self.commands.send(Command::Connect(addrs)).await;
    }

    /// How it stands, at most a second old.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The same, for whoever wants to hear about changes.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Says Bye, writes down what is known and ends. Takes two seconds at most.
    pub async fn stop(&self) {
        let said = self.ask(Command::Stop);
        let _ = tokio::time::timeout(STOP_PATIENCE, said).await;
    }

    async fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> Command) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}
