//! Why bytes are no Gnutella, and who is to blame.

use crate::blame::Blame;

/// What is wrong with a handshake or a descriptor.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GnutellaError {
    /// A payload that ends before its fields do, or whose fields contradict each other.
    #[error("malformed {what} of {got} bytes")]
    Malformed {
        /// Which message or extension.
        what: &'static str,
        /// Bytes of its payload.
        got: usize,
    },
    /// A length that no descriptor of this kind has.
    #[error("descriptor 0x{kind:02x} of {got} bytes, at most {most}")]
    Length {
        /// Its type byte.
        kind: u8,
        /// What its header claims.
        got: usize,
        /// What is allowed.
        most: usize,
    },
    /// A handshake that does not begin as one, or whose lines are none.
    #[error("this is no Gnutella handshake")]
    Handshake,
    /// A handshake that is larger than any.
    #[error("handshake of {got} bytes without an end, at most {most}")]
    HandshakeLength {
        /// Bytes so far.
        got: usize,
        /// What is allowed.
        most: usize,
    },
}

impl GnutellaError {
    /// Streams are not forged by third parties: who sends this is the other end.
    pub fn blame(&self) -> Blame {
        match self {
            // Many programs try a port with the words of another protocol.
            Self::Handshake => Blame::Network,
            Self::Malformed { .. } | Self::Length { .. } | Self::HandshakeLength { .. } => {
                Blame::Remote
            }
        }
    }
}
