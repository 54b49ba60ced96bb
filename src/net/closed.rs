//! Why a connection did not come about, or ended; and who is to blame.

use gaggle_core::blame::Blame;
use gaggle_core::proto::peer::{HandshakeError, PeerError};
use std::fmt;
use std::io;
use std::time::Duration;

/// How far a connection had come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// TCP.
    Connect,
    /// The 68 bytes.
    Handshake,
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The other side closed before it had said all.
    #[error("closed during the handshake")]
    Closed,
    /// What it said is no handshake, or not ours.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The system refused.
    #[error("{phase} failed: {kind}")]
    Io {
        /// How far it had come.
        phase: Phase,
        /// What the system says.
        kind: io::ErrorKind,
    },
    /// It took too long.
    #[error("{phase} took longer than {after:?}")]
    Timeout {
        /// How far it had come.
        phase: Phase,
        /// The limit.
        after: Duration,
    },
}

impl ConnectError {
    /// What the roster does next.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Handshake(error) => error.blame(),
            Self::Closed | Self::Io { .. } | Self::Timeout { .. } => Blame::Network,
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// The peer closed it, in between two messages or not.
    #[error("closed by the peer")]
    ByPeer,
    /// The torrent wanted it so.
    #[error("closed by us")]
    ByUs,
    /// The system ended it.
    #[error("connection failed: {0}")]
    Io(io::ErrorKind),
    /// The peer broke the protocol or a deadline.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Nothing that we sent was taken for this long.
    #[error("took nothing for {0:?}")]
    Unread(Duration),
}

impl Closed {
    /// What the roster does next.
    pub fn blame(&self) -> Blame {
        match self {
            Self::ByUs => Blame::Local,
            Self::ByPeer | Self::Io(_) | Self::Unread(_) => Blame::Network,
            Self::Peer(error) => error.blame(),
        }
    }
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Handshake => "the handshake",
        })
    }
}
