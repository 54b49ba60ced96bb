//! What a torrent asks of the disk, and what it hears back. Values only: the driver does the work.

use crate::geometry::{Block, PieceIndex};

/// Work for the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DiskOp {
    /// Read these blocks and send them to the peer: adjacent, ascending, all of one piece.
    Read {
        /// The connection that asked.
        peer: u32,
        /// What to read, in the order in which it will be sent.
        blocks: Vec<Block>,
    },
    /// Hash the piece whose blocks the driver holds and write it if the hash is right.
    Store {
        /// The whole piece.
        piece: PieceIndex,
    },
}

/// What became of a [`DiskOp`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DiskDone {
    /// A read failed; nothing of it was sent.
    ReadFailed {
        /// The connection that asked.
        peer: u32,
        /// What could not be read.
        blocks: Vec<Block>,
        /// Why.
        fault: DiskFault,
    },
    /// The piece was hashed, and written if the verdict is good.
    Stored {
        /// Which piece.
        piece: PieceIndex,
        /// Whether its hash was right.
        verdict: Verdict,
    },
    /// The hash was right, but writing failed. Its blocks are gone from memory.
    StoreFailed {
        /// Which piece.
        piece: PieceIndex,
        /// Why.
        fault: DiskFault,
    },
}

/// Whether a piece has the hash it must have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It does not: somebody lied.
    Bad,
    /// It does, and it lies in its place.
    Good,
}

/// Why the disk refused. The text names the file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskFault {
    /// Not allowed to open or write.
    #[error("permission denied: {0}")]
    Denied(String),
    /// Anything else the system said.
    #[error("{0}")]
    Io(String),
    /// The file system or quota is full.
    #[error("no space left: {0}")]
    NoSpace(String),
}
