//! The host that gives out shared files, to whoever asks as Gnutella's or FastTrack's programs do: HTTP, byte ranges, a
//! bounded number of transfers at once, and a queue for the others.
//!
//! Decides how long strangers may take and how many there may be. Whose turn it is comes from
//! [`gaggle_core::overlay::fasttrack::Slots`], where all are worth the same on Gnutella; which file is meant, from the
//! catalogue. Never makes a path of what is asked for, never gives out what has changed since it was hashed, and never
//! says where a file lies.

mod body;
mod config;
mod doors;
mod request;
mod talk;
#[cfg(test)]
mod tests;
mod turns;

pub use config::{Config, Dialect, Me, Patience};

use crate::net::{Clock, ConnectError, Dialer, Phase};
use crate::share::Library;
use bytes::BytesMut;
use doors::Doors;
use gaggle_core::overlay::fasttrack::Identity;
use gaggle_core::overlay::gnutella::Alternates;
use gaggle_core::proto::gnutella::Refusal;
use gaggle_core::share::Item;
use std::io::ErrorKind;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use talk::Talk;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use turns::Turns;

/// Events that wait for somebody who listens; who is slower misses the oldest.
const EVENTS_MAX: usize = 256;
/// How long somebody may take to be told that there are too many connections.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the driver of a network should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Somebody wants a file whose reputation decides when he has it. Who knows the supernode that he names asks it, and
    /// tells us with [`Uploads::set_score`].
    Asked {
        /// Who.
        who: Identity,
        /// The supernode that knows him, as he says.
        supernode: SocketAddrV4,
    },
    /// Bytes of a file were handed to the system for somebody.
    Sent {
        /// The number of the file in the catalogue.
        number: u32,
        /// The file.
        item: Arc<Item>,
        /// To whom.
        to: SocketAddr,
        /// Who he says that he is.
        user: String,
        /// How many, of the body alone.
        bytes: u64,
        /// Whether these were all that he asked for.
        whole: bool,
    },
}

/// What a host does and did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Connections now.
    pub connections: usize,
    /// Transfers now, and slots that are kept for who had one a moment ago.
    pub serving: usize,
    /// Who waits for one.
    pub waiting: usize,
    /// Ranges of files that went out whole.
    pub uploads: u64,
    /// Bytes of files that went out.
    pub bytes: u64,
    /// Requests that were refused, for whatever reason.
    pub refused: u64,
}

/// Gives out files. Cheap to clone; all clones share slots and limits.
#[derive(Clone)]
pub struct Uploads {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// As configured, with what is known of us by now.
    dialect: Mutex<Dialect>,
    library: Library,
    clock: Clock,
    doors: Arc<Doors>,
    turns: Arc<Turns>,
    alternates: Mutex<Alternates>,
    totals: Mutex<Totals>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Totals {
    uploads: u64,
    bytes: u64,
    refused: u64,
}

impl Uploads {
    /// Gives out the files of a library.
    pub fn new(config: Config, library: Library, clock: Clock) -> Self {
        let slots = config.slots;
        let shared = Shared {
            dialect: Mutex::new(config.dialect.clone()),
            library,
            clock,
            doors: Doors::new(config.connections, config.connections_each, slots.loopback_too),
            turns: Turns::new(slots),
            alternates: Mutex::default(),
            totals: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            config,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Answers what is asked on a connection, until it ends. `head` is what was read of it already. To be dropped to end
    /// it.
    pub async fn serve(&self, mut stream: TcpStream, from: SocketAddr, head: BytesMut) {
        let Some(_entry) = self.shared.doors.enter(from.ip()) else {
            tracing::debug!(%from, "too many connections");
            held(&self.shared.totals).refused += 1;
            let full = Refusal::Busy(talk::RETRY_S);
            let full = request::refusal(&held(&self.shared.dialect), full, false);
            let _ = tokio::time::timeout(GOODBYE, stream.write_all(full.as_bytes())).await;
            return;
        };
        self.talk(stream, from, head).await;
    }

    /// Connects to somebody who cannot connect to us, says this line - `GIV ..` or `GIVE ..` - and answers what he asks.
    ///
    /// # Errors
    /// If there is no connection, or there are too many; not if nothing is asked.
    pub async fn give(&self, to: SocketAddr, line: &[u8]) -> Result<(), ConnectError> {
        let failed = |kind| ConnectError::Io { phase: Phase::Connect, kind };
        let entry = self.shared.doors.enter(to.ip());
        let _entry = entry.ok_or_else(|| failed(ErrorKind::ResourceBusy))?;
        let dialer = Dialer { bind: self.shared.config.bind, ..Dialer::default() };
        let mut stream = dialer.connect(to).await?;
        stream.write_all(line).await.map_err(|error| failed(error.kind()))?;
        self.talk(stream, to, BytesMut::new()).await;
        Ok(())
    }

    async fn talk(&self, stream: TcpStream, from: SocketAddr, head: BytesMut) {
        if let Err(error) = Talk::new(&self.shared, stream, from, head).run().await {
            tracing::debug!(%from, %error, "an upload ended");
        }
    }

    /// What is told from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// What an asker is worth, as his supernode says. He moves in the queue.
    pub fn set_score(&self, who: &Identity, score: u16) {
        self.shared.turns.set_score(self.shared.clock.now(), who, score);
    }

    /// FastTrack: we have another address, or another supernode.
    pub fn set_me(&self, me: Me) {
        if let Dialect::FastTrack(known) = &mut *held(&self.shared.dialect) {
            *known = me;
        }
    }

    /// What is done and was done.
    pub fn status(&self) -> Status {
        let (serving, waiting) = self.shared.turns.load();
        let connections = self.shared.doors.open();
        let Totals { uploads, bytes, refused } = *held(&self.shared.totals);
        Status { connections, serving, waiting, uploads, bytes, refused }
    }
}

impl Shared {
    /// How long one who must wait is not answered. On Gnutella he is answered at once: those who would wait say so, and
    /// are asked to come again.
    fn hold(&self) -> Duration {
        match self.config.dialect {
            Dialect::FastTrack(_) => self.config.patience.hold,
            Dialect::Gnutella => Duration::ZERO,
        }
    }
}

/// Every critical section here leaves what it changes consistent.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
