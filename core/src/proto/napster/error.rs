//! Why bytes are no message.

use super::{FRAME_IN_MAX, REQUEST_MAX};
use crate::blame::Blame;

/// What is wrong with a frame or with the words of another client.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NapsterError {
    /// A clause of a search that nobody here knows, or a malformed one.
    #[error("invalid search request")]
    Clause,
    /// A field is missing or malformed.
    #[error("message {kind}: `{field}` is missing or malformed")]
    Field {
        /// Number of the message.
        kind: u16,
        /// Which field.
        field: &'static str,
    },
    /// A number that no message here has.
    #[error("unknown command code {0}")]
    Kind(u16),
    /// More data than the receiver takes.
    #[error("frame of {got} bytes, at most {max} (never more than {FRAME_IN_MAX}) are read")]
    Length {
        /// What its header announces.
        got: usize,
        /// What is taken.
        max: usize,
    },
    /// Another client said something else than a request.
    #[error("no request of a client, or one longer than {REQUEST_MAX} bytes")]
    Request,
}

impl NapsterError {
    /// Messages that we do not know are no fault: there are many dialects.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Kind(_) => Blame::Network,
            _ => Blame::Remote,
        }
    }
}
