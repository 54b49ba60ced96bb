//! Why nothing comes of it.

use std::io::ErrorKind;
use std::net::SocketAddrV4;

/// Why it does not run, or does not search.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connections or no datagrams can be taken there.
    #[error("cannot listen on {0}")]
    Listen(SocketAddrV4, ErrorKind),
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    NoDice(ErrorKind),
    /// A supernode must know where others reach it.
    #[error("a supernode that listens on every address must know which of them others reach it at")]
    NoAddress,
    /// It has ended.
    #[error("the node has stopped")]
    Stopped,
    /// As it says.
    #[error("too many searches are under way")]
    TooManySearches,
    /// Nobody could become a node of it.
    #[error("a supernode must be one that others can connect to")]
    Unreachable,
}

/// Why a host did not connect to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// No supernode takes the request now.
    #[error("no supernode to pass the request on")]
    Alone,
    /// He cannot connect to us either.
    #[error("both ends are behind firewalls: neither can connect to the other")]
    BothFirewalled,
    /// Nobody came in time: the host is gone, its supernode is, or it cannot reach us either.
    #[error("the host did not connect within a minute: it is gone, or cannot reach us")]
    NoAnswer,
    /// It has ended.
    #[error("the node has stopped")]
    Stopped,
}
