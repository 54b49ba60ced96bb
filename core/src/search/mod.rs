//! What searches have found, whichever network found it: one kind of hit, which of them are the same thing, which come
//! first, and what is kept until somebody wants one.
//!
//! Decides what is one result and how good it is. Never asks anybody, and believes of a hit no more than its hashes will
//! prove when it is fetched: who says that a file has a name, a size or a hash may lie about each.

mod filter;
mod hit;
mod merge;
mod question;
mod results;
mod saved;
mod spam;

pub use filter::{Filter, Kind};
pub use hit::{Hashes, Hit, Network, Reach, Voice};
pub use question::{NoWords, Question};
pub use results::{Added, Found, Results};
pub use saved::{Saved, SavedError};
pub use spam::Spam;

/// Hits of one search that are kept; further ones are ignored.
pub const HITS_MAX: usize = 2_000;
/// Of them those of one voice: as many as a servent of ours answers.
pub const HITS_PER_VOICE: usize = 50;
