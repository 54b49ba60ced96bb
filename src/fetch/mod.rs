//! Bytes of files from hosts that are no peers: HTTP hosts of Gnutella and FastTrack, and users of Napster.
//!
//! A [`Host`] says how a connection to it comes about and what is spoken there; a source gets ranges from it, one
//! connection for many of them where the host bears it. Whom to ask for what, what an answer is worth and who is given
//! up is decided in [`gaggle_core::swarm::source`].
//!
//! Never reads a head beyond its bound or a body beyond the range, and never follows a redirect to an address that
//! whoever named the host cannot know.

mod fetches;
mod file;
mod get;
#[cfg(test)]
pub(crate) mod hosts;
mod http;
mod line;
mod napster;
mod source;
#[cfg(test)]
mod tests;
mod worth;

pub use fetches::{FETCHED_QUEUE, Fetched, Fetches};
pub use file::hash;
pub use get::{GetError, Got, Known, Order, Progress, Proof, get};
pub use source::{ANSWER_WAIT, IDLE_MAX, PUSH_WAIT, REFUSAL_MAX};
pub use worth::Worth;

use bytes::BytesMut;
use gaggle_core::proto::fasttrack::{Ask, Target, UuHash};
use gaggle_core::proto::napster::{Nick, Text};
use gaggle_core::scope::Scope;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Which kind of network a host was found in. Bytes are counted by it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A node of FastTrack.
    FastTrack,
    /// A servent of Gnutella.
    Gnutella,
    /// A user of Napster.
    Napster,
}

impl Kind {
    /// As scripts read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastTrack => "fasttrack",
            Self::Gnutella => "gnutella",
            Self::Napster => "napster",
        }
    }
}

/// A host that has one file, whole or in part, and how to get bytes of it there.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it was found.
    pub kind: Kind,
    /// How a connection to it comes about.
    pub reach: Reach,
    /// What is spoken on it.
    pub dialect: Dialect,
    /// How near the one is who named it: [`Scope::Loopback`] for the user, the scope of his address for somebody on the
    /// network.
    pub teller: Scope,
    /// What it was worth.
    pub worth: Arc<Worth>,
}

/// How a connection to a host comes about.
#[derive(Clone)]
pub enum Reach {
    /// We dial.
    Dial(SocketAddr),
    /// It dials us, each time it is asked to.
    Push(Arc<dyn Push>),
}

/// Has a host that cannot be dialled connect to us: a driver of its network does that.
pub trait Push: Send + Sync {
    /// Asks it, and waits for its connection; may be dropped at any time. The error is for the log.
    fn push(&self) -> Pushed<'_>;
}

/// A connection that a host was asked for.
pub type Pushed<'a> = Pin<Box<dyn Future<Output = Result<Stream, String>> + Send + 'a>>;

/// A connection on which we are the one to speak next.
#[derive(Debug)]
pub struct Stream {
    /// The socket.
    pub tcp: TcpStream,
    /// What it has sent beyond the words that are dealt with: `GIV`, `GIVE` or `SEND`.
    pub read: BytesMut,
    /// Whether we have connected, and nothing has been said yet; otherwise the host has, and has said what for.
    pub dialled: bool,
    /// Of the whole file, if the host has said.
    pub size: Option<u64>,
    /// What is to be kept as long as the connection.
    pub guard: Option<Box<dyn Any + Send>>,
}

impl Stream {
    /// One that the host has made, and has said what for.
    pub fn pushed(tcp: TcpStream) -> Self {
        Self { tcp, read: BytesMut::new(), dialled: false, size: None, guard: None }
    }
}

/// What is spoken on a connection to a host.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// HTTP as FastTrack writes it: any range, one after the other on one connection. Which one is filled in, and the
    /// supernode that knows us when it is asked for, if we take part.
    FastTrack(Ask, Option<Arc<dyn Attached>>),
    /// HTTP/1.1 in general, likewise.
    Http(HttpFile),
    /// Napster: from a byte on until we close. On a connection that the host made, its `SEND` has been read, and was
    /// about this file; see [`Stream::dialled`].
    Napster {
        /// Our name.
        me: Nick,
        /// Its path of the file.
        path: Text,
    },
}

/// Knows which supernode we belong to: a node finds one, loses it and moves.
pub trait Attached: fmt::Debug + Send + Sync {
    /// The one that has taken us, if one has now.
    fn supernode(&self) -> Option<SocketAddrV4>;
}

/// What one asks a host of HTTP for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpFile {
    /// As it stands in the request, with its escapes.
    pub path: String,
    /// Fields beside `Host`, `Range`, `Connection` and `User-Agent`.
    pub fields: Vec<(&'static str, String)>,
}

impl Host {
    /// Its address, if it is dialled.
    pub const fn addr(&self) -> Option<SocketAddr> {
        match self.reach {
            Reach::Dial(addr) => Some(addr),
            Reach::Push(_) => None,
        }
    }
}

impl Dialect {
    /// A file of a Gnutella servent by the SHA-1 of its content.
    pub fn gnutella_sha1(sha1: [u8; 20]) -> Self {
        Self::gnutella(format!(
            "/uri-res/N2R?urn:sha1:{}",
            data_encoding::BASE32_NOPAD.encode(&sha1)
        ))
    }

    /// A file of a Gnutella servent by its number and name, which hits without a hash have.
    pub fn gnutella_index(index: u32, name: &str) -> Self {
        Self::gnutella(format!("/get/{index}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC)))
    }

    fn gnutella(path: String) -> Self {
        Self::Http(HttpFile { path, fields: vec![("X-Queue", "0.1".to_owned())] })
    }

    /// A file of a FastTrack node, for the one of this name; his supernode is the one that knows what he is worth.
    pub fn fasttrack(hash: UuHash, user: &str, attached: Option<Arc<dyn Attached>>) -> Self {
        let ask = Ask {
            head_only: false,
            target: Target::Hash(hash),
            range: None,
            user: user.to_owned(),
            supernode: None,
            keep_alive: true,
        };
        Self::FastTrack(ask, attached)
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(addr) => write!(f, "Dial({addr})"),
            Self::Push(_) => write!(f, "Push"),
        }
    }
}
