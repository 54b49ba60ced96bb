//! A client of one directory: shares what the library has, searches, fetches and gives.
//!
//! It logs in again after a link was lost, later each time, and tries its servers in turn. One port takes the connections
//! of other clients; who cannot be reached there says so, and connects to others himself. Bytes of files that we fetch are
//! the caller's: [`Client::open`] ends with a connection on which they can be asked for.

mod data;
mod link;
mod talk;
mod task;
mod wanted;

use super::Error;
use crate::net::{Clock, Dialer, Door, Limit, Listener, os_rng};
use crate::share::Library;
use gaggle_core::overlay::napster::{
    BROWSE_MAX, BrowseEnd, Failure, HITS_MAX, Hit, Password, Refused, SearchEnd,
};
use gaggle_core::proto::napster::{File, Nick, Query, Text, Whois};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use task::Task;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Commands that may wait to be taken up; who has one more waits with it.
const COMMANDS_MAX: usize = 64;
/// What a search may find, with the distances of users and its end.
const FOUND_MAX: usize = HITS_MAX as usize + 2 * PINGS as usize + 1;
/// What a list may hold, with its end.
const LISTED_MAX: usize = BROWSE_MAX as usize + 1;
/// Users of each reply that are asked how near they are. Those of the reply before may be asked still.
const PINGS: u32 = 32;
/// Two words may each take half a minute.
const WORDS_MAX: Duration = Duration::from_secs(75);
/// How long one waits to hear who somebody is.
pub const WHOIS_WAIT: Duration = Duration::from_secs(10);

/// Who we are, and what others may cost.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directories, `HOST:PORT`; the first that lets us in is ours, and the others are tried when it is lost.
    pub servers: Vec<String>,
    /// Our name there.
    pub nick: Nick,
    /// What proves that it is ours.
    pub password: Password,
    /// Whether it is to be ours from now on.
    pub register: bool,
    /// Where others connect to us; `None` if nobody can, and then we connect to them.
    pub listen: Option<SocketAddr>,
    /// Where peers of our torrents go who come to our port; without it they are closed.
    pub peers: Option<Door>,
    /// How we connect to directories and to others. Who may not be dialled is not let in either.
    pub dialer: Dialer,
    /// Code of our link's speed, 0 to 10.
    pub speed: u8,
    /// Files that we give at once; who asks for more hears that the queue is full.
    pub places: u32,
    /// Of what all files that we give send together, and whoever else holds it.
    pub limit: Option<Limit>,
    /// Whether others may see the list of all our files.
    pub browsable: bool,
    /// Searches that we send a minute; further ones wait.
    pub searches_per_min: u32,
    /// Users of each reply, the best of them, that are asked how near they are; at most 32.
    pub pings: u32,
    /// How long all words of another client may take together, until the bytes flow.
    pub words: Duration,
    /// Connections of one network (an address, of IPv6 a /64) at our port; further ones are closed.
    pub per_address: usize,
    /// Whether this machine is an address like any other.
    pub loopback_too: bool,
}

/// What a search says. The last word is always [`Found::Ended`], unless the client ends first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// The search is over.
    Ended(SearchEnd),
    /// A file of somebody, and how near he is if that is known already. What it takes to fetch it is [`Hit::nick`] and
    /// [`Hit::path`].
    Hit(Box<Hit>, Option<Duration>),
    /// How near the user is whose files were among the hits: the time of a ping.
    Near(Nick, Duration),
}

/// What a list of somebody's files says. The last word is always [`Listed::Ended`], unless the client ends first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listed {
    /// The list is over.
    Ended(BrowseEnd),
    /// One of his files.
    File(File),
}

/// A connection on which a file of somebody can be had. The directory counts it as a download until it is dropped.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: TcpStream,
    /// How it came about, and so who has to say what.
    pub way: Way,
    /// Our name, for the words that ask.
    pub me: Nick,
    /// The download counts until this is dropped.
    pub counted: oneshot::Sender<()>,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// We have connected: he will say `1`, and the words are those of `Outbound` with `Errand::Get`.
    Dialled(SocketAddrV4),
    /// He has connected, and offers this many bytes: he waits for the offset in digits, and then sends the bytes from
    /// there on, without anything before them.
    Pushed {
        /// Of the whole file, as he says.
        size: u64,
    },
}

/// Why a file cannot be had from somebody now.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// He, or the directory, does not let us.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// There is no directory now that could tell us the way.
    #[error("not connected to a directory")]
    Offline,
    /// The client has ended.
    #[error("the client has stopped")]
    Stopped,
    /// His port does not answer. The directory has been told.
    #[error("{0} does not answer")]
    Unreachable(SocketAddrV4),
}

/// How it stands with the directory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Link {
    /// We are on our way to it.
    #[default]
    Connecting,
    /// It will not be tried again: what the directory says cannot change by itself.
    Ended(Refused),
    /// We are in.
    In(SocketAddr),
    /// We were refused or lost it, and try again later.
    Waiting(Refused),
}

/// How it stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// With the directory.
    pub link: Link,
    /// The directory that we are, or were last, connected to: as in [`Config::servers`], or the address that a redirector
    /// has named. Empty before.
    pub server: String,
    /// Files that we share.
    pub shared: usize,
    /// Users of the directory, as it says.
    pub users: u64,
    /// Their files.
    pub files: u64,
    /// All their bytes in GiB.
    pub gigabytes: u64,
    /// Files that we give now.
    pub uploads: usize,
    /// Bytes of files that were given.
    pub uploaded: u64,
}

/// A client. Clones are the same; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    addr: Option<SocketAddr>,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    _background: Arc<JoinSet<()>>,
}

/// What the owner of a handle wants.
#[derive(Debug)]
enum Command {
    Browse(Nick, mpsc::Sender<Listed>, bool),
    Open(Nick, Text, oneshot::Sender<Result<Opened, OpenError>>),
    Search(Query, mpsc::Sender<Found>),
    Stop(oneshot::Sender<()>),
    Whois(Nick, oneshot::Sender<Whois>),
}

impl Config {
    /// A client without a password that listens there. Directories tell others the address that they see: it connects from
    /// the one where it listens.
    pub fn new(servers: Vec<String>, nick: Nick, listen: Option<SocketAddr>) -> Self {
        let bind = listen.map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified());
        Self {
            servers,
            nick,
            password: Password::None,
            register: false,
            listen,
            peers: None,
            dialer: Dialer { bind, ..Dialer::default() },
            speed: 0,
            places: 5,
            limit: None,
            browsable: true,
            searches_per_min: 10,
            pings: PINGS,
            words: WORDS_MAX,
            per_address: 16,
            loopback_too: false,
        }
    }
}

impl Client {
    /// Binds, and begins to log in. Shares what the library has, now and later. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the port cannot be had, or the system has no randomness.
    pub fn start(config: Config, library: Option<Library>, clock: Clock) -> Result<Self, Error> {
        let listener = match config.listen {
            Some(listen) => {
                let bound = Listener::bind(listen);
                let bound = bound.map_err(|error| Error::Listen(listen, error.kind()))?;
                Some(bound.keeping_near(config.dialer.lan))
            }
            None => None,
        };
        let rng = os_rng().map_err(|error| Error::NoDice(error.kind()))?;
        let addr = listener.as_ref().map(Listener::addr);
        let (commands, wanted) = mpsc::channel(COMMANDS_MAX);
        let (tell, status) = watch::channel(Status::default());
        let mut background = JoinSet::new();
        background.spawn(Task::new(config, listener, library, clock, rng, tell).run(wanted));
        Ok(Self { addr, commands, status, _background: Arc::new(background) })
    }

    /// Where others connect to us.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Searches as soon as the directory lets us. What was found comes at once, the best of it first; dropping the
    /// receiver ends the search.
    pub async fn search(&self, query: Query) -> mpsc::Receiver<Found> {
        let (found, results) = mpsc::channel(FOUND_MAX);
        _ = self.commands.send(Command::Search(query, found)).await; // or it ends at once
        results
    }

    /// A connection on which this file of that user can be had: to him, or one that he made because nobody can connect to
    /// him. Takes up to a minute and a half. A file may be opened several times, for its parts.
    ///
    /// # Errors
    /// Why not; only [`Failure::QueueFull`] and [`Failure::NoAnswer`] are worth another try, some time later.
    pub async fn open(&self, nick: Nick, path: Text) -> Result<Opened, OpenError> {
        let (answer, opened) = oneshot::channel();
        let sent = self.commands.send(Command::Open(nick, path, answer)).await;
        sent.map_err(|_| OpenError::Stopped)?;
        opened.await.unwrap_or(Err(OpenError::Stopped))
    }

    /// Lists the files of a user: `directly` from himself, who may not want to, else as the directory knows them.
    pub async fn browse(&self, nick: Nick, directly: bool) -> mpsc::Receiver<Listed> {
        let (listed, files) = mpsc::channel(LISTED_MAX);
        _ = self.commands.send(Command::Browse(nick, listed, directly)).await;
        files
    }

    /// Who somebody is; `None` if he is not here, or nobody answers within [`WHOIS_WAIT`].
    pub async fn whois(&self, nick: Nick) -> Option<Whois> {
        let (answer, is) = oneshot::channel();
        self.commands.send(Command::Whois(nick, answer)).await.ok()?;
        tokio::time::timeout(WHOIS_WAIT, is).await.ok()?.ok()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// How it stands, and from now on.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Leaves the directory and closes all connections.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            _ = stopped.await; // without an answer it has ended as well
        }
    }
}
