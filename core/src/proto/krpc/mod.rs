//! KRPC, the messages of the mainline DHT: datagrams to values and back.
//!
//! Reads what deployed nodes send, including the forms that the specification does not have, and writes one
//! canonical form. Never decides whom to believe or what to answer: it only says whether a datagram that could
//! not be read deserves an error, and which. Never writes more than [`DATAGRAM_MAX`] bytes,
//! or [`DATAGRAM_ITEM_MAX`] where an item is in them.
//!
//! Keys that no field stands for are dropped on reading. Everything that libtorrent and Transmission write has a
//! field, so what they send is written again byte for byte.
//= BEP 5 §krpc protocol
//= BEP 32
//= BEP 33
//= BEP 43
//= BEP 44
//= BEP 51

mod decode;
mod encode;
mod error;
mod filter;
mod item;
mod message;
#[cfg(test)]
mod tests;

pub use error::{ErrorCode, KrpcError, Refusal};
pub use filter::{FILTER_LEN, Filter};
pub use item::{Item, ItemError, ItemValue, Kept, Put, Salt, Signed, target_of};
pub use message::{
    Ask, Body, ClientTag, Contact, Fault, Message, Query, Reply, Samples, Text, Token,
    TransactionId, Want,
};

/// Bytes of the largest datagram that is written. What does not fit is left out, the least useful first.
//= BEP 32 §protocol (1024 bytes)
pub const DATAGRAM_MAX: usize = 1024;
/// Bytes of the largest datagram that is written with an item in it: with the headers of IPv6 it is a packet of 1 500, which
/// most lines carry whole. A `put` of the largest item always fits; of an answer, the rest is left out as needed.
pub const DATAGRAM_ITEM_MAX: usize = 1452;
/// Bytes of the largest value of an item, as it is encoded.
//= BEP 44 §messages
pub const VALUE_MAX: usize = 1000;
/// Bytes of the longest salt.
//= BEP 44 §mutable items
pub const SALT_MAX: usize = 64;
/// Bytes of the largest datagram that is read: replies of 1 430 bytes with stored items are in use, and 500 tokens
/// of peers need about this much. A longer one is ignored.
pub const DATAGRAM_IN_MAX: usize = 4096;
/// Bytes of the smallest datagram that can be a message: `d1:t0:1:y1:qe` and an argument more. A shorter one is
/// ignored.
pub const DATAGRAM_IN_MIN: usize = 16;
/// Bytes of a transaction id. One that is longer is ignored: nobody needs it, and it would be echoed.
pub const TRANSACTION_MAX: usize = 16;
/// Bytes of a write token that is kept; deployed ones have 4 to 20. A reply with a longer one counts as without.
pub const TOKEN_MAX: usize = 64;
/// Nodes read from one list. Routers send 16, some nodes 20; what comes after the 32nd is ignored.
pub const NODES_MAX: usize = 32;
/// Hashes read from one sample; what fits no smaller datagram is ignored.
pub const SAMPLES_MAX: usize = 64;
/// Bytes kept of the text of an error, of a torrent's name and of a method's name; the rest is cut off.
pub const TEXT_MAX: usize = 100;
/// The longest interval between two samples of one node.
//= BEP 51 §protocol
pub const SAMPLE_INTERVAL_MAX_S: u32 = 21_600;
