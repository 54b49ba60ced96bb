//! What is said before descriptors flow, and what both sides then are to each other.

use super::{Role, Side, TTL_MAX};
use crate::proto::gnutella::{First, Guid, Handshake};
use std::net::{SocketAddr, SocketAddrV4};

/// What we say about ourselves at this moment.
#[derive(Clone, Debug)]
pub(super) struct Self_<'a> {
    pub(super) role: Role,
    pub(super) listen: SocketAddrV4,
    pub(super) user_agent: &'a str,
    pub(super) deflate: bool,
    pub(super) guid: Guid,
    pub(super) ttl_max: u8,
    pub(super) degree: usize,
    /// Further ultrapeers are welcome.
    pub(super) needs_ultrapeers: bool,
    /// Nobody depends on our being an ultrapeer.
    pub(super) may_become_leaf: bool,
}

/// What the neighbour said about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Peer {
    pub(super) side: Side,
    pub(super) degree: u32,
    pub(super) ttl_max: u8,
    pub(super) probes: bool,
    pub(super) routes_queries: bool,
    pub(super) bye: bool,
    pub(super) vendor: bool,
    pub(super) listen: Option<SocketAddrV4>,
    /// What comes from it, and what goes to it, is one zlib stream.
    pub(super) packed_in: bool,
    pub(super) packed_out: bool,
}

impl Peer {
    /// One that speaks 0.4 and says nothing.
    pub(super) fn plain() -> Self {
        Self {
            side: Side::Plain,
            degree: 6,
            ttl_max: TTL_MAX,
            probes: false,
            routes_queries: false,
            bye: false,
            vendor: false,
            listen: None,
            packed_in: false,
            packed_out: false,
        }
    }

    /// What one block says; the direction that is packed to it follows from what we then say.
    pub(super) fn read(block: &Handshake) -> Self {
        let number = |name| block.get(name).and_then(|text| text.trim().parse::<u32>().ok());
        let has = |name, item: &str| block.list(name).any(|known| known.eq_ignore_ascii_case(item));
        Self {
            side: match block.flag("X-Ultrapeer") {
                Some(true) => Side::Ultrapeer,
                Some(false) => Side::Leaf,
                None => Side::Plain,
            },
            degree: number("X-Degree").unwrap_or(6).clamp(1, 200),
            ttl_max: number("X-Max-TTL")
                .map_or(TTL_MAX, |ttl| ttl.clamp(1, 255) as u8)
                .min(TTL_MAX),
            probes: block.get("X-Ext-Probes").is_some(),
            routes_queries: block.get("X-Query-Routing").is_some(),
            bye: block.get("Bye-Packet").is_some(),
            vendor: block.get("Vendor-Message").is_some(),
            listen: block.get("Listen-IP").and_then(|text| text.trim().parse().ok()),
            packed_in: has("Content-Encoding", "deflate"),
            packed_out: has("Accept-Encoding", "deflate"),
        }
    }
}

/// The addresses that a block says may be tried.
pub(super) fn tries(block: &Handshake) -> Vec<SocketAddrV4> {
    let lists = ["X-Try-Ultrapeers", "X-Try"].into_iter().flat_map(|name| block.list(name));
    // Some write the age of the address after it.
    let addr = |item: &str| item.split_whitespace().next()?.parse().ok();
    lists.filter_map(addr).take(super::TRY_MAX).collect()
}

impl Self_<'_> {
    /// The first block, of who has dialled.
    pub(super) fn connect(&self, to: SocketAddr) -> Handshake {
        let block = self.about(Handshake::new(First::Connect06), to);
        if self.deflate { block.with("Accept-Encoding", "deflate") } else { block }
    }

    /// The answer to it.
    pub(super) fn accept(&self, to: SocketAddr, peer: &Peer) -> Handshake {
        let mut block = self.about(Handshake::new(First::Status(200, "OK".into())), to);
        if self.role == Role::Ultrapeer && peer.side == Side::Ultrapeer {
            block = block.with("X-Ultrapeer-Needed", yes(self.needs_ultrapeers));
        }
        if self.deflate {
            block = block.with("Accept-Encoding", "deflate");
        }
        if self.packs(peer) { block.with("Content-Encoding", "deflate") } else { block }
    }

    /// The last block, and whether it makes a leaf of us.
    pub(super) fn confirm(&self, answer: &Handshake, peer: &Peer) -> (Handshake, bool) {
        let mut block = Handshake::new(First::Status(200, "OK".into()));
        let asked =
            answer.flag("X-Ultrapeer-Needed") == Some(false) && peer.side == Side::Ultrapeer;
        let down = asked && self.role == Role::Ultrapeer && self.may_become_leaf;
        if down {
            block = block.with("X-Ultrapeer", yes(false));
        }
        if self.packs(peer) {
            block = block.with("Content-Encoding", "deflate");
        }
        (block, down)
    }

    /// Whether what we send will be packed.
    pub(super) fn packs(&self, peer: &Peer) -> bool {
        self.deflate && peer.packed_out
    }

    fn about(&self, block: Handshake, to: SocketAddr) -> Handshake {
        let mut block = block.with("User-Agent", self.user_agent);
        if !self.listen.ip().is_unspecified() {
            block = block.with("Listen-IP", self.listen);
        }
        block
            .with("Remote-IP", to.ip())
            .with("X-Ultrapeer", yes(self.role == Role::Ultrapeer))
            .with("X-Query-Routing", "0.1")
            .with("X-Ultrapeer-Query-Routing", "0.1")
            .with("X-Dynamic-Querying", "0.1")
            .with("X-Ext-Probes", "0.1")
            .with("X-Max-TTL", self.ttl_max.min(TTL_MAX))
            .with("X-Degree", self.degree)
            .with("GGEP", "0.5")
            .with("Pong-Caching", "0.1")
            .with("Bye-Packet", "0.1")
            .with("Vendor-Message", "0.2")
            .with("X-Requeries", yes(false))
            .with("GUID", self.guid)
    }
}

/// A refusal that says where else to try.
pub(super) fn refuse(code: u16, reason: &str, tries: &[SocketAddrV4]) -> Handshake {
    let block = Handshake::new(First::Status(code, reason.into()));
    if tries.is_empty() {
        return block;
    }
    let list: Vec<String> = tries.iter().take(super::TRY_MAX).map(ToString::to_string).collect();
    block.with("X-Try-Ultrapeers", list.join(","))
}

fn yes(is: bool) -> &'static str {
    if is { "True" } else { "False" }
}
