//! What we share, for all networks at once: which files, what identifies them, and which of them have certain words.
//!
//! Decides what of a folder is shared, what must be hashed again, and what is kept until the next run. What a file is
//! called on a network is that network's business; here it has a name without any folder, made safe. Never opens a
//! file: the way to it is a [`Place`], whose components lead nowhere but down.

mod catalogue;
mod hasher;
mod names;
mod record;

pub use crate::storage::Stamp;
pub use catalogue::{Catalogue, Item, Place};
pub use hasher::{Hashed, Hasher, Hashes};
pub use names::{LeftOut, LeftOutFor, judge, shown};
pub use record::{Known, Record, ShareRecordError, is_settled};

/// Files that are shared; further ones are left out and counted.
pub const FILES_MAX: usize = 250_000;
/// Folders inside one another; what lies deeper is left out.
pub const DEPTH_MAX: usize = 64;
