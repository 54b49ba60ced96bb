//! Making a torrent: the bytes of a .torrent file from sizes and hashes.
//!
//! The info dictionary has the keys that mktorrent, libtorrent (version 1 only) and transmission-create
//! write and no others, so that the same content gets the same info hash from all of them. It never
//! reads the content: whoever does hands in the hashes.

use super::torrent::Outer;
use crate::bencode::{Dict, List};
use crate::geometry::{BLOCK_LEN, Geometry, GeometryError, Version};

/// Longest piece that [`piece_length_auto`] chooses.
const PIECE_LEN_AUTO_MAX: u32 = 16 << 20;
/// Most pieces before [`piece_length_auto`] doubles their length: 40 kB of hashes, and a torrent that
/// still shows progress when it is half as large.
const PIECES_AUTO_MAX: u64 = 2000;

/// All that goes into a torrent.
#[derive(Clone, Debug)]
pub struct Build {
    /// Name of the file or top folder, as it is on disk.
    pub name: Vec<u8>,
    /// Bytes of every piece but the last.
    pub piece_len: u32,
    /// What the pieces are made of.
    pub content: Content,
    /// SHA-1 of each piece, one after the other, over the files in their order.
    pub pieces: Vec<u8>,
    /// Announce URLs in tiers.
    pub trackers: Vec<Vec<String>>,
    /// HTTP sources.
    pub web_seeds: Vec<String>,
    /// DHT nodes: host and port.
    pub nodes: Vec<(String, u16)>,
    /// Peers from trackers only.
    pub private: bool,
    /// Makes the info hash differ between trackers.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

/// One file that stands alone, or a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// Its length in bytes.
    File(u64),
    /// In the order in which they were hashed: that of [`sort_files`].
    Folder(Vec<BuildFile>),
}

/// A file in a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildFile {
    /// Elements below the top folder, as they are on disk.
    pub path: Vec<Vec<u8>>,
    /// Bytes.
    pub len: u64,
    /// Padding: zeros that are on no disk.
    pub pad: bool,
}

/// Why no torrent can be made of this.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No bytes, too many pieces, or an impossible piece length.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Not 20 bytes for each piece.
    #[error("{got} bytes of piece hashes, {want} are needed")]
    Hashes {
        /// Bytes there are.
        got: usize,
        /// Bytes that the sizes call for.
        want: usize,
    },
    /// The name, or an element of a path, is empty.
    #[error("a name is empty")]
    NoName,
    /// Sizes add up to 2⁶⁴ bytes or more.
    #[error("the sizes add up to more than 2^64 bytes")]
    SizeOverflow,
}

/// Puts files into the order of the bytes of their paths, elements joined by `/`.
///
/// That is the order of mktorrent, whatever the locale. Hash the content in this order.
pub fn sort_files(files: &mut [BuildFile]) {
    files.sort_by_cached_key(|file| file.path.join(&b'/'));
}

/// A piece length for so many bytes: a power of two from 16 KiB to 16 MiB that makes 1000 to 2000
/// pieces, fewer below 16 MB and more beyond 32 GB.
pub fn piece_length_auto(total: u64) -> u32 {
    let mut len = BLOCK_LEN;
    while len < PIECE_LEN_AUTO_MAX && total.div_ceil(u64::from(len)) > PIECES_AUTO_MAX {
        len *= 2;
    }
    len
}

impl Content {
    /// Bytes of all files.
    pub fn total(&self) -> Result<u64, BuildError> {
        match self {
            Self::File(len) => Ok(*len),
            Self::Folder(files) => {
                let sum = files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.len));
                sum.ok_or(BuildError::SizeOverflow)
            }
        }
    }
}

impl Build {
    /// The .torrent file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BuildError> {
        let info = self.info()?;
        let outer = Outer {
            trackers: &self.trackers,
            web_seeds: &self.web_seeds,
            nodes: &self.nodes,
            comment: self.comment.as_deref(),
            created_by: self.created_by.as_deref(),
            creation_date: self.creation_date,
        };
        Ok(outer.write(Dict::new()).dict("info", info).into_bytes())
    }

    fn info(&self) -> Result<Dict, BuildError> {
        let geometry = Geometry::new(Version::V1, self.content.total()?, self.piece_len.into())?;
        let (got, want) = (self.pieces.len(), geometry.pieces() as usize * 20);
        if got != want {
            return Err(BuildError::Hashes { got, want });
        }
        if self.name.is_empty() {
            return Err(BuildError::NoName);
        }
        let mut info = Dict::new()
            .bytes("name", &self.name)
            .int("piece length", self.piece_len)
            .bytes("pieces", &self.pieces);
        info = match &self.content {
            Content::File(len) => info.int("length", *len),
            Content::Folder(files) => {
                info.list("files", files.iter().try_fold(List::new(), push_file)?)
            }
        };
        // Only when set: a `private` of 0 would change the info hash for nothing.
        if self.private {
            info = info.int("private", 1);
        }
        if let Some(source) = &self.source {
            info = info.bytes("source", source);
        }
        Ok(info)
    }
}

fn push_file(list: List, file: &BuildFile) -> Result<List, BuildError> {
    if file.path.is_empty() || file.path.iter().any(Vec::is_empty) {
        return Err(BuildError::NoName);
    }
    let mut entry = Dict::new().int("length", file.len).list("path", List::of_bytes(&file.path));
    if file.pad {
        entry = entry.bytes("attr", "p");
    }
    Ok(list.dict(entry))
}
