//! Gnutella: the lines of the handshake, and descriptors with their extensions, to values and back.
//!
//! Reads what deployed servents send and writes one canonical form. Never decides who is let in, what is relayed or
//! what is answered. Never buffers before it has checked the length: of a descriptor by its kind, of a handshake by
//! [`HANDSHAKE_MAX`]. A relayed descriptor keeps its payload byte for byte, whatever of it is understood.
//!
//! All numbers are little-endian but for addresses, which are in network order.
// After Gnutella 0.6 draft.
// After Gnutella 0.4 draft.

mod descriptor;
mod error;
mod extensions;
mod ggep;
mod giv;
mod handshake;
mod hit;
mod messages;
mod qrp;
mod query;
#[cfg(test)]
mod tests;
mod transfer;
mod urn;
mod vendor;

pub use descriptor::{Descriptor, Guid, HEADER_LEN, Header, Kind};
pub use error::GnutellaError;
pub use extensions::Extensions;
pub use ggep::Ggep;
pub use giv::Giv;
pub use handshake::{First, Handshake};
pub use hit::{Hit, QueryHit, Trailer};
pub use messages::{Bye, Ping, Pong, Push};
pub use qrp::{Compressor, Qrp, inflate, word_slot};
pub use query::Query;
pub use transfer::{Ask, Refusal, Target, Upload, torrent_head};
pub use urn::Urn;
pub use vendor::Vendor;

/// Bytes of one block of handshake lines; a longer one is refused.
pub const HANDSHAKE_MAX: usize = 4 << 10;
/// Header lines of one block; a block with more is refused.
pub const HEADERS_MAX: usize = 64;
/// Bytes of the payload of any descriptor; a longer one is a stream out of step.
pub const PAYLOAD_MAX: usize = 64 << 10;
/// Bytes of a Query's payload; a longer one ends the connection.
pub const QUERY_MAX: usize = 1024;
/// Bytes of the payload of Ping, Pong, Bye and Push; a longer one ends the connection.
pub const SMALL_MAX: usize = 4 << 10;
/// Items of one GGEP block; further ones make it malformed.
pub const GGEP_ITEMS_MAX: usize = 32;
/// Bytes of one inflated GGEP item; a larger one counts as absent.
pub const GGEP_INFLATED_MAX: usize = 64 << 10;
/// URNs and unknown strings read from one extension area; what follows is ignored.
pub const STRINGS_MAX: usize = 32;
/// Slots of a query routing table; a larger one is refused.
pub const SLOTS_MAX: u32 = 2 << 20;
