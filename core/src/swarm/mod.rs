//! What one torrent decides: whom to talk to, what to ask, whom to serve.

pub mod announce;
pub mod choker;
pub mod nearby;
pub mod picker;
pub mod pipeline;
pub mod rate;
pub mod roster;
pub mod seeker;
pub mod source;
pub mod torrent;
pub mod whole;

/// A live connection inside one torrent. Counted up and never reused, so that a piece found bad later still
/// blames the right peer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerKey(pub u32);
