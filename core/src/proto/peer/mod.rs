//! The peer wire protocol: handshake, messages, framing, and what may be said when.
//!
//! Decides whether bytes of a stranger are legal, before they are buffered where a length tells.
//! Never decides whom to serve or what to ask, keeps no timers and touches no payload: a block leaves the
//! decoder as a slice of the read buffer.
//! BEP 3, BEP 6, the bits of BEP 5 and BEP 10 that are in the handshake.

mod allowed_fast;
mod decode;
mod error;
mod handshake;
mod id;
mod message;
mod session;

pub use allowed_fast::{ALLOWED_FAST_PIECES, allowed_fast};
pub use decode::{Bounds, Decoder, EXTENDED_MAX, Frame, UNKNOWN_MAX};
pub use error::{HandshakeError, PeerError, WireError};
pub use handshake::{HANDSHAKE_LEN, Handshake, HandshakeReader, Reserved};
pub use message::{Message, PIECE_HEADER_LEN, Request, piece_header};
pub use session::{Choke, Input, Interest, REQUEST_LEN_MAX, Session};

#[cfg(test)]
mod tests;
