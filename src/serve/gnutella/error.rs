//! Why nothing comes of it.

use gaggle_core::overlay::gnutella::NoPush;
use std::io::ErrorKind;
use std::net::SocketAddrV4;

/// Why it does not run, or does not search.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody would answer.
    #[error("no word of two letters or more, and no hash, to search for")]
    Dull,
    /// No connections can be taken there.
    #[error("cannot listen on {0}")]
    Listen(SocketAddrV4, ErrorKind),
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    NoDice(ErrorKind),
    /// It has ended.
    #[error("the servent has stopped")]
    Stopped,
    /// Nobody would relay it.
    #[error("a question of {got} bytes; the network carries {most}")]
    TooLong {
        /// Of the whole question.
        got: usize,
        /// What is allowed.
        most: usize,
    },
    /// As it says.
    #[error("too many searches are under way")]
    TooManySearches,
}

/// Why a servent did not connect to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// It was asked, and nobody came.
    #[error("the servent did not connect within a minute: it is gone, or both ends are firewalled")]
    NoAnswer,
    /// It cannot be asked.
    #[error(transparent)]
    NoPush(#[from] NoPush),
    /// It has ended.
    #[error("the servent has stopped")]
    Stopped,
    /// As it says.
    #[error("too many servents are being waited for")]
    TooMany,
}
