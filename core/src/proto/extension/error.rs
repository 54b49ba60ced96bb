//! Why an extension message could not be used.

use crate::bencode::BencodeError;
use crate::blame::Blame;

/// Why an extension message could not be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// Not bencode, or more of it than any honest message has.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// A metadata piece of the wrong length.
    #[error("metadata piece {piece} of {got} bytes, must have {want}")]
    DataLength {
        /// Which piece.
        piece: u32,
        /// Bytes that came.
        got: usize,
        /// Bytes that it must have, given the total size it came with.
        want: usize,
    },
    /// A field that the message cannot do without is missing, of the wrong kind, or out of range.
    #[error("`{0}` is missing or no number that fits")]
    Field(&'static str),
    /// The message is not a dictionary.
    #[error("not a dictionary")]
    NotDictionary,
    /// A metadata piece past the end.
    #[error("metadata piece {piece} of {pieces}")]
    PieceRange {
        /// Which piece.
        piece: u32,
        /// How many there are, given the total size it came with.
        pieces: u32,
    },
    /// The metadata would be empty or too large.
    #[error("metadata of {0} bytes, at most {max} are accepted", max = super::METADATA_LEN_MAX)]
    TotalSize(i64),
}

impl ExtensionError {
    /// Always the sender's.
    pub const fn blame(&self) -> Blame {
        Blame::Remote
    }
}
