//! FastTrack on the wire: a node that shares and searches, and a supernode that knows what its nodes share.
//!
//! One task owns the machines of `gaggle_core::overlay::fasttrack` and the datagrams; a task for each connection moves its
//! bytes through the cipher. Sessions, links between supernodes, requests for files and pushed connections come to one
//! port and are told apart by their first four bytes. A supernode is its own node, too: it shares and searches like
//! others, without a socket between the two.
//!
//! Never decides whom to ask or to believe. Never lets a connection queue more than its share: who does not read is left.

mod capacity;
mod connection;
mod door;
mod error;
mod hit;
mod links;
mod office;
mod saved;
mod shares;
mod speech;
mod task;
#[cfg(test)]
mod tests;
mod transfers;

use super::upload;
use crate::net::{Clock, Door, Limit};
use crate::share;
use gaggle_core::overlay::fasttrack::{Limits, SlotLimits};
use gaggle_core::proto::fasttrack::{Query, Receipt};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use error::{Error, PushError};
pub use hit::{Hit, Host};

/// Commands that may wait to be taken up; who has one more waits with it.
const COMMANDS_MAX: usize = 64;
/// Hits that may wait for whoever searches; those that find no room are lost, as a network may lose them.
pub const HITS_MAX: usize = 512;

/// The last words: what is known is written to the disk by then, or not at all.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Role {
    /// A node, until a supernode that is crowded asks it to be one too, and as long as it is fit.
    #[default]
    Auto,
    /// Always a node.
    Node,
    /// A supernode from the beginning.
    Supernode,
}

/// Who we are and what others may cost.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, for connections and datagrams; port 0 takes one that is free for both.
    pub listen: SocketAddrV4,
    /// Where others reach us if we listen everywhere; without it the address that a supernode sees, once one has said so.
    pub external: Option<Ipv4Addr>,
    /// Nobody can connect to us: whoever wants a file is told to have us connect to him.
    pub firewalled: bool,
    /// Where peers of our torrents go who come to our port; without it they are closed.
    pub peers: Option<Door>,
    /// Supernodes to begin with.
    pub connect: Vec<SocketAddrV4>,
    /// Nobody out there is contacted, whoever names him, or let in.
    pub lan: bool,
    /// What to be.
    pub role: Role,
    /// How others see us. Without it the name of the last run, or a new one.
    pub user: Option<String>,
    /// Where the supernodes that we know, our name and what we are worth are kept between runs; `None` keeps nothing.
    pub state_dir: Option<PathBuf>,
    /// How often we look whether we are still fit, when we are a supernode and need not be one. Three checks in a row may
    /// find that nobody connects to us.
    pub check_every: Duration,
    /// Whether this machine has room for the work of a supernode; asked when we are to become one.
    pub has_room: fn() -> bool,
    /// What the nodes of a supernode may cost, while we are one.
    pub limits: Limits,
    /// Files that go out at once, and who may wait for one.
    pub slots: SlotLimits,
    /// Of what all files that go out send together, and whoever else holds it.
    pub limit: Option<Limit>,
}

impl Config {
    /// A node, or what it becomes, that keeps nothing.
    pub fn new(listen: SocketAddrV4) -> Self {
        Self {
            listen,
            external: None,
            firewalled: false,
            peers: None,
            connect: Vec::new(),
            lan: false,
            role: Role::default(),
            user: None,
            state_dir: None,
            check_every: Duration::from_secs(600),
            has_room: capacity::is_enough,
            limits: Limits::default(),
            slots: SlotLimits::default(),
            limit: None,
        }
    }
}

/// How it stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// The supernode that we belong to; our own address if we are one.
    pub attached: Option<SocketAddrV4>,
    /// Whether we are a supernode now.
    pub supernode: bool,
    /// What we are worth to others, 0 to 1000, as our supernode has said last.
    pub score: u16,
    /// Supernodes that we know of.
    pub known: usize,
    /// Files that we share.
    pub shared: usize,
    /// Searches of ours under way.
    pub searches: usize,
    /// Nodes that belong to us, ourselves among them.
    pub nodes: usize,
    /// Supernodes that we are linked to.
    pub supernodes: usize,
    /// Files that our nodes share.
    pub files: usize,
    /// Connections of all kinds, but for those that files go out on.
    pub connections: usize,
    /// Files that go out and went out.
    pub uploads: upload::Status,
    /// Connections and packets that were refused.
    pub refused: u64,
}

/// A node, or supernode. Clones are the same; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct FastTrack {
    addr: SocketAddrV4,
    user: Arc<str>,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    _background: Arc<JoinSet<()>>,
}

/// What the owner of a handle wants.
#[derive(Debug)]
enum Command {
    Confirm(Receipt),
    Push(Host, oneshot::Sender<Result<TcpStream, PushError>>),
    Search(Query, oneshot::Sender<Result<mpsc::Receiver<Hit>, Error>>),
    Stop(oneshot::Sender<()>),
}

impl FastTrack {
    /// Listens, and begins to look for a supernode, or to be one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::NoAddress`] and [`Error::NoDice`].
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

    /// How others see us.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Asks our supernode, and through it others. The hits end when the search does, after half a minute at most; who
    /// wants no more drops them. Without a supernode the question waits for one, for as long.
    ///
    /// # Errors
    /// [`Error::TooManySearches`], and [`Error::Stopped`].
    pub async fn search(&self, query: Query) -> Result<mpsc::Receiver<Hit>, Error> {
        self.ask(|answer| Command::Search(query, answer)).await.unwrap_or(Err(Error::Stopped))
    }

    /// Has a host connect to us that we cannot connect to: a stream on which it waits for a request for a file. Takes up
    /// to a minute.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, host: &Host) -> Result<TcpStream, PushError> {
        let pushed = self.ask(|answer| Command::Push(host.clone(), answer)).await;
        pushed.unwrap_or(Err(PushError::Stopped))
    }

    /// Tells what a download was worth. The supernode of the host keeps the account; nobody hears of it if we have no
    /// supernode just now.
    pub async fn confirm(&self, receipt: Receipt) {
        let _ = self.commands.send(Command::Confirm(receipt)).await;
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The same, for whoever wants to hear about changes.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Takes leave, writes down what is known and ends. Takes two seconds at most.
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
