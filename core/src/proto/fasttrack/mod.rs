//! FastTrack, the network of KaZaA: what nodes and supernodes say to each other, as bytes.
//!
//! Between a node and its supernode this is the protocol of old, with the one cipher that a supernode of ours chooses;
//! a legacy client can log in, share, search and be found. Between supernodes it is a framing of our own ([`mesh`]):
//! theirs was never known. The cipher hides nothing: all that its keys are made of passes in clear.
//!
//! Decides what is well-formed. Never decides whom to serve or what to answer, and buffers nothing whose length it has
//! not checked.

mod cipher;
mod datagram;
mod error;
mod handshake;
mod hash;
mod hit;
pub mod mesh;
mod message;
mod packet;
mod query;
mod reader;
mod session;
mod tag;
#[cfg(test)]
mod tests;
mod transfer;

pub use cipher::KeyStream;
pub use datagram::Datagram;
pub use error::WireError;
pub use handshake::{Answer, HELLO_LEN, Hello, NETWORK, PLAIN_TYPE, SEEDS, is_network, mask_of};
pub use hash::{FileHasher, KzHash, UuHash, UuHasher};
pub use hit::{Hit, Reply};
pub use message::{
    File, From, Message, NodeInfo, NodeRow, PushOrder, PushRequest, Receipt, Score, Share, Stats,
    Volume,
};
pub use packet::{Decoder, Encoder, Frame, Packet, payload_max};
pub use query::{Compare, Query, Realm, Term};
pub use session::Session;
pub use tag::{Tag, Tags, kind as tag_kind};
pub use transfer::{Answered, Ask, Opening, Status, Target, Upload, give, parse_give};

/// Where a node listens unless it is told otherwise; sessions, transfers and datagrams share the port.
pub const PORT: u16 = 1214;
/// Bytes of a user's name that are kept; KaZaA allowed 32.
pub const NAME_MAX: usize = 64;
/// Most terms of one query that are read.
pub const TERMS_MAX: usize = 32;
/// Most tags of one file that are read; the rest is skipped.
pub const TAGS_MAX: usize = 32;
/// Bytes of the longest value of a tag or a term; a longer tag counts as absent.
pub const TAG_LEN_MAX: usize = 1024;
/// Most files in one reply that are read, as many as a reply of the longest payload can name with a name each.
pub const HITS_MAX: usize = 1000;
/// Most rows of one list of supernodes; KaZaA sent 200, and a payload holds no more.
pub const NODES_MAX: usize = 200;

/// The name of a user or a network as it may be shown, compared and sent again: no control characters, which the wire
/// uses as separators, and at most [`NAME_MAX`] bytes.
pub fn clean_name(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut name = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > NAME_MAX {
            break;
        }
        name.push(c);
    }
    name
}
