//! Why a torrent is refused, with the place in it.

use crate::bencode::{BencodeError, Kind};
use crate::geometry::GeometryError;
use std::fmt;

/// Where in a .torrent file something is wrong. Prints as `info.name` or `files[3].length`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    pub(super) file: Option<usize>,
    pub(super) key: &'static str,
}

impl Place {
    pub(super) const fn of(key: &'static str) -> Self {
        Self { file: None, key }
    }

    /// An entry of one file, or with an empty key the file itself.
    pub(super) const fn file(index: usize, key: &'static str) -> Self {
        Self { file: Some(index), key }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(index) if self.key.is_empty() => write!(f, "files[{index}]"),
            Some(index) => write!(f, "files[{index}].{}", self.key),
            None => f.write_str(self.key),
        }
    }
}

/// Why bytes are not a torrent that can be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Not bencode, or beyond its limits.
    #[error("not a torrent: {0}")]
    Bencode(#[from] BencodeError),
    /// Too many entries want the same path.
    #[error("more than {max} attempts to tell apart files of the same path")]
    Collisions {
        /// Attempts that were made.
        max: u32,
    },
    /// The two halves of a hybrid describe different files.
    #[error("its version 1 and version 2 file lists differ at `{path}`")]
    Inconsistent {
        /// The first path of one half that the other does not have at that place.
        path: String,
    },
    /// No content, or a piece length or a number of pieces that cannot be.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A value of the wrong kind.
    #[error("{at} is {got} instead of {want}")]
    Kind {
        /// Which value.
        at: Place,
        /// What it is.
        got: Kind,
        /// What it should be.
        want: Kind,
    },
    /// A required key is absent.
    #[error("{at} is missing")]
    Missing {
        /// Which one.
        at: Place,
    },
    /// A length below zero.
    #[error("{at} is negative")]
    Negative {
        /// Which one.
        at: Place,
    },
    /// No file that has bytes of its own.
    #[error("the torrent lists no file with content")]
    NoFiles,
    /// A path of no element, or of more folders than a path may have.
    #[error("{at} has {parts} elements, expected 1 to {max}")]
    PathDepth {
        /// Which path.
        at: Place,
        /// Its elements.
        parts: usize,
        /// The limit.
        max: usize,
    },
    /// `info.pieces` does not hold 20 bytes for every piece.
    #[error("info.pieces holds {got} bytes, expected {want} for the sizes of the files")]
    Pieces {
        /// Bytes there are.
        got: usize,
        /// Bytes that the sizes call for.
        want: usize,
    },
    /// File sizes add up to more than any disk holds.
    #[error("the sizes up to {at} add up to more than 2^63 bytes")]
    SizeOverflow {
        /// The file at which the sum overflows.
        at: Place,
    },
    /// All paths together have too many elements.
    #[error("the paths have more than {max} elements together")]
    TooManyParts {
        /// The limit.
        max: usize,
    },
    /// A `meta version` that nobody has defined.
    #[error("meta version {0} is unknown")]
    UnknownVersion(i64),
    /// Only version 2 hashes.
    #[error("version 2 only is not supported yet: the torrent has no version 1 piece hashes")]
    V2Only,
    /// The info dictionary is not the one that was asked for.
    #[error("the info dictionary has the hash {got}, not {want}")]
    WrongHash {
        /// What was asked for, in hex.
        want: String,
        /// What came, in hex.
        got: String,
    },
}
