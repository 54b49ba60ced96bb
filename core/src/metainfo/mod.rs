//! What a .torrent file or a magnet link says, made safe to act on.
//!
//! It decides which torrents are refused, what every file is called on disk, and what a torrent that we
//! create looks like. Sizes are checked sums, names are [`names`] that cannot leave the output folder, and
//! the info hash covers the bytes of the info dictionary as they came.
//!
//! It never opens a file, never re-encodes an info dictionary, never hands out a name as a stranger
//! wrote it, and never asks for a symlink to be made.
//= BEP 3 §metainfo files

mod build;
mod error;
mod info;
mod magnet;
pub mod names;
mod torrent;
mod v2;

#[cfg(test)]
mod tests;

pub use build::{Build, BuildError, BuildFile, Content, piece_length_auto, sort_files};
pub use error::{MetainfoError, Place};
pub use info::{FileEntry, Info, PATH_DEPTH_MAX, PATH_PARTS_MAX, PieceHashes, is_private};
pub use magnet::{LINK_TRACKERS_MAX, Magnet, MagnetError, PEERS_MAX, PeerHint, RANGES_MAX};
pub use torrent::{Metainfo, NODES_MAX, TRACKERS_MAX, URL_LEN_MAX, WEB_SEEDS_MAX};
