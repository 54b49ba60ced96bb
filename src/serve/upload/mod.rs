//! The host that gives out shared files, to whoever asks as Gnutella's or FastTrack's programs do.

use crate::net::{Clock, ConnectError};
use crate::share::Library;
use bytes::BytesMut;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{Identity, SlotLimits};
use gaggle_core::share::Item;
use gaggle_core::units::BytesPerSec;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::broadcast;

/// Events that wait for somebody who listens; who is slower misses the oldest.
const EVENTS_MAX: usize = 256;

/// How one host gives out files.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose requests it reads.
    pub dialect: Dialect,
    /// Transfers at once, and who may wait for one.
    pub slots: SlotLimits,
    /// Connections at once, of all hosts; further ones are told that we are full, and closed.
    pub connections: usize,
    /// Connections at once of one host; those on this machine count if [`SlotLimits::loopback_too`] says so.
    pub connections_each: usize,
    /// Bytes per second of all transfers together.
    pub rate: Option<BytesPerSec>,
    /// The address to connect from when somebody has us connect.
    pub bind: Option<IpAddr>,
    /// What others are given before they are given up.
    pub patience: Patience,
}

/// Which requests are read, and how they are answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// FastTrack's, where a host says who it is.
    FastTrack(Me),
    /// Gnutella's.
    Gnutella,
}

/// What a host of FastTrack says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Me {
    /// Where it listens.
    pub addr: SocketAddrV4,
    /// Its user.
    pub user: String,
    /// Its supernode.
    pub supernode: Option<SocketAddrV4>,
}

/// How long others may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// For a head, from its first byte on, and for the first byte of the first one.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For nothing at all of what is sent to them; then a transfer is over.
    pub stall: Duration,
    /// How long one who must wait is not answered, so that he has the next slot; then he is told to come again.
    pub hold: Duration,
    /// When one who waits in line on Gnutella may ask again, and until when he must; whole seconds.
    pub poll: (Duration, Duration),
}

impl Default for Patience {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { head: s(15), idle: s(60), stall: s(30), hold: s(20), poll: (s(15), s(60)) }
    }
}

impl Config {
    /// With the defaults of both sheets.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            slots: SlotLimits::default(),
            connections: 128,
            connections_each: 8,
            rate: None,
            bind: None,
            patience: Patience::default(),
        }
    }
}

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
    /// Bytes of a file went out.
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
    /// Transfers now.
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
    library: Library,
    clock: Clock,
    events: broadcast::Sender<Event>,
}

impl Uploads {
    /// Gives out the files of a library.
    pub fn new(_config: Config, library: Library, clock: Clock) -> Self {
        let events = broadcast::Sender::new(EVENTS_MAX);
        Self { shared: Arc::new(Shared { library, clock, events }) }
    }

    /// Answers what is asked on a connection, until it ends. `head` is what was read of it already. To be dropped to end
    /// it.
    pub async fn serve(&self, stream: TcpStream, from: SocketAddr, head: BytesMut) {
        let _ = (stream, from, head, self.now(), self.shared.library.catalogue());
    }

    /// Connects to somebody who cannot connect to us, says this line - `GIV ..` or `GIVE ..` - and answers what he asks.
    ///
    /// # Errors
    /// If there is no connection; not if nothing is asked.
    pub async fn give(&self, to: SocketAddr, line: &[u8]) -> Result<(), ConnectError> {
        let _ = (to, line);
        Ok(())
    }

    /// What is told from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// What an asker is worth, as his supernode says. He moves in the queue.
    pub fn set_score(&self, who: &Identity, score: u16) {
        let _ = (who, score);
    }

    /// FastTrack: we have another address, or another supernode.
    pub fn set_me(&self, me: Me) {
        let _ = me;
    }

    /// What is done and was done.
    pub fn status(&self) -> Status {
        Status::default()
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
    }
}
