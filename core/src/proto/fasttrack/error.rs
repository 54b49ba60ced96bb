//! What can be wrong with the bytes of a node or a supernode.

use crate::blame::Blame;
use crate::proto::http::HeadError;

/// Why bytes could not be read. Numbers are as they came.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The supernode chose a cipher that we do not have.
    #[error("cipher type {0:#x}")]
    Cipher(u32),
    /// More than anybody needs.
    #[error("{got} {what}, at most {max}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many were claimed.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// Not the head of a transfer, or not one that can be read.
    #[error("bad {0} in the head of a transfer")]
    Head(&'static str),
    /// A packet longer than its kind may be.
    #[error("packet {kind:#06x} of {len} bytes, at most {max}")]
    Length {
        /// Kind of the packet.
        kind: u16,
        /// Bytes that were announced.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The first deciphered bytes name no network that we know.
    #[error("no known network name")]
    Network,
    /// A byte where a packet must begin.
    #[error("a packet cannot begin with {0:#04x}")]
    Selector(u8),
    /// The bytes end within a field.
    #[error("{0} is cut off")]
    Short(&'static str),
    /// A number that does not fit, or a field with a value that it cannot have.
    #[error("{0} out of range")]
    Value(&'static str),
}

impl From<HeadError> for WireError {
    fn from(error: HeadError) -> Self {
        Self::Head(match error {
            HeadError::Length => "length",
            HeadError::Method => "method",
            HeadError::Range => "Range",
            HeadError::Text => "text",
            HeadError::Status => "status",
            HeadError::Version => "version",
        })
    }
}

impl WireError {
    /// Somebody who fails before the network's name may speak another protocol; afterwards he breaks this one.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Cipher(_) | Self::Network => Blame::Network,
            _ => Blame::Remote,
        }
    }
}
