//! Why it does not run.

use std::io::ErrorKind;
use std::net::SocketAddr;

/// Why it does not run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The passwords of an earlier run cannot be read.
    #[error("cannot read the names of {0}: {1}")]
    Accounts(String, ErrorKind),
    /// No connections can be taken there.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, ErrorKind),
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    NoDice(ErrorKind),
}
