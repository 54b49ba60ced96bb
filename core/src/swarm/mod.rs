//! What one torrent decides: whom to talk to, what to ask, whom to serve.

pub mod choker;
pub mod picker;
pub mod pipeline;
pub mod rate;
pub mod roster;

/// A live connection inside one torrent: its slot, reused only after the peer has left.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerKey(pub u32);

impl PeerKey {
    /// As an index into a slice.
    pub const fn idx(self) -> usize {
        self.0 as usize
    }
}
