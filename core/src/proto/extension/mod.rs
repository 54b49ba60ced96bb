//! The extension protocol and the messages that travel in it.
//!
//! Decides which fields of a stranger's dictionary are believed: a field that makes no sense is ignored or
//! clamped, a message that is none is an error. Never allocates by a number that a peer sent.
//! BEP 9, BEP 10, BEP 11, BEP 21, BEP 55.

mod error;
mod handshake;
mod holepunch;
mod metadata;
mod pex;

#[cfg(test)]
mod tests;

pub use error::ExtensionError;
pub use handshake::{
    CLIENT_LEN_MAX, Extension, ExtensionHandshake, HANDSHAKE_ID, Ids, REQQ_DEFAULT, REQQ_MAX,
};
pub use holepunch::{HolepunchError, HolepunchMessage};
pub use metadata::{
    METADATA_LEN_MAX, METADATA_PIECE_LEN, MetadataMessage, metadata_pieces, metadata_range,
};
pub use pex::{PEX_MAX, PexFlags, PexMessage, PexPeer};

use super::peer::EXTENDED_MAX;
use crate::bencode::Limits;

/// What a message's dictionary may be; beyond, the message is refused. Real handshakes have depth 2 and
/// under 60 values.
const LIMITS: Limits = Limits { depth: 10, tokens: 500, bytes: EXTENDED_MAX as usize };
