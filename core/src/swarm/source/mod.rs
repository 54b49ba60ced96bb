//! Sources: hosts that serve byte ranges of a file of the torrent, beside its peers. Hosts of the search networks, and
//! servers of the web.
//!
//! Decides which host is asked for which range, how long that is, and who is given up, and judges what is answered. To
//! the picker a source is a peer that has every piece of its file and sends whole pieces in their order; a piece that
//! reaches into another file is left to those who have all of it. Knows a host by a key: names, redirects and
//! connections are the driver's, and whether an address may be asked at all is [`Trail`]'s. Never sees a byte of
//! content, but for cutting it up.
//!
//! The driver does what [`SourceOp`] says: it asks for an [`Ask`], has each head judged by [`Part::accept`], passes
//! the body through a [`Cutter`], and tells of each block and of the end.

mod fault;
mod machine;
mod range;
mod reply;
#[cfg(test)]
mod tests;
mod trail;

pub use fault::{SourceFault, SourceRefusal};
pub use machine::{
    ACTIVE_MAX, AHEAD_MAX, FIRST_LEN, LEN_MAX, PARALLEL_MAX, RANGE_TIME, SOURCES_MAX, STALL_AFTER,
};
pub(super) use machine::{Sources, pieces_in};
pub use reply::{Cutter, Head, Part};
pub use trail::{REDIRECTS_MAX, Trail};

use crate::scope::Scope;
use crate::swarm::PeerKey;
use crate::units::BytesPerSec;
use std::net::SocketAddr;
use std::ops::Range;

/// A source of one torrent. Counted together with its peers and never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SourceKey(pub u32);

impl SourceKey {
    /// What the picker knows it as.
    pub(super) const fn peer(self) -> PeerKey {
        PeerKey(self.0)
    }
}

/// One range that a source was asked for. Never reused within one torrent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FetchKey(pub u32);

/// What is known about a source when it is added.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceSpec {
    /// Where it is, if that is more than a name. Whoever is banned there is not asked, and a liar is banned there.
    pub addr: Option<SocketAddr>,
    /// How near the one is who named it: [`Scope::Loopback`] for the user, the scope of his address for somebody on the
    /// network, [`Scope::Global`] for a file or link of unknown origin.
    pub teller: Scope,
    /// Which bytes of the torrent its file is.
    pub span: Range<u64>,
    /// Ranges that it may be asked for at a time; 0 is read as 1, and more than [`PARALLEL_MAX`] as that.
    pub parallel: usize,
}

/// One range to ask a source for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ask {
    /// By this name blocks and the end are told.
    pub fetch: FetchKey,
    /// Whom to ask.
    pub source: SourceKey,
    /// First byte, counted in the torrent.
    pub at: u64,
    /// Which bytes of the source's file that is.
    pub part: Part,
    /// What every address on the way must pass.
    pub trail: Trail,
}

/// What the driver is to do with a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceOp {
    /// Ask it for a range.
    Ask(Ask),
    /// Read no more of a range.
    Stop {
        /// Nothing that is told of it counts any longer, not even its end.
        fetch: FetchKey,
        /// Whether its source is to blame: it began with it, and has sent nothing for long.
        broke_off: bool,
    },
}

/// One source, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceStatus {
    /// Which one.
    pub source: SourceKey,
    /// Bytes from it that were of use.
    pub downloaded: u64,
    /// Of these, bytes in pieces that passed their hash; none of a file whose parts have no hashes.
    pub good: u64,
    /// `downloaded`, per second now.
    pub down: BytesPerSec,
    /// Ranges that it is being asked for.
    pub fetches: usize,
    /// Why it is never asked again, if so.
    pub gone: Option<SourceFault>,
}
