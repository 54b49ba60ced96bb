//! Why a handshake or a connection failed, in numbers, and who is to blame.

use crate::blame::Blame;
use crate::id::InfoHash;
use std::time::Duration;

/// Why a handshake failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not the length byte of the protocol name: encryption, another protocol, or a port scan.
    #[error("the first byte is {0:#04x}, not 0x13")]
    FirstByte(u8),
    /// Something that begins like BitTorrent and is not.
    #[error("byte {at} is {got:#04x}, which `BitTorrent protocol` does not have there")]
    Protocol {
        /// Position in the handshake, 1..=19.
        at: usize,
        /// The byte that came.
        got: u8,
    },
    /// A torrent that is not served here.
    #[error("nobody here serves {0}")]
    UnknownTorrent(InfoHash),
    /// The answer to our handshake names another torrent.
    #[error("peer serves {theirs}, expected {ours}")]
    WrongTorrent {
        /// What we asked for.
        ours: InfoHash,
        /// What it answered.
        theirs: InfoHash,
    },
}

impl HandshakeError {
    /// Only a peer that answers for another torrent did wrong; the rest may be honest and not for us.
    pub fn blame(&self) -> Blame {
        match self {
            Self::FirstByte(_) | Self::Protocol { .. } | Self::UnknownTorrent(_) => Blame::Network,
            Self::WrongTorrent { .. } => Blame::Remote,
        }
    }
}

/// A length that no legal message has. Always the other side's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The length does not fit the message id.
    #[error("message {id} of {len} bytes, legal are {min}..={max}")]
    Length {
        /// Message id.
        id: u8,
        /// Announced length, id included.
        len: u32,
        /// Shortest legal length.
        min: u32,
        /// Longest legal length.
        max: u32,
    },
    /// The length is more than any message may have.
    #[error("message of {len} bytes, at most {max} are legal")]
    TooLong {
        /// Announced length, id included.
        len: u32,
        /// The longest of all legal lengths.
        max: u32,
    },
}

/// Why a peer connection ended. A variant carries the numbers needed to see who was wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A bitfield for another number of pieces.
    #[error("bitfield of {got} bytes for a torrent that needs {want}")]
    BitfieldLength {
        /// Bytes that came.
        got: usize,
        /// Bytes that the torrent's piece count needs.
        want: usize,
    },
    /// A block, request, cancel or reject outside its piece, or of a piece that does not exist.
    #[error("message {id} names bytes {begin}+{len} of piece {index}, which has {size}")]
    BlockRange {
        /// Message id.
        id: u8,
        /// Piece index as sent.
        index: u32,
        /// First byte as sent.
        begin: u32,
        /// Bytes as sent.
        len: u32,
        /// Bytes of that piece; 0 when there is none.
        size: u32,
    },
    /// A message of the fast extension although not both sides have it.
    #[error("message {id} belongs to the fast extension, which was not agreed")]
    FastNotAgreed {
        /// Message id.
        id: u8,
    },
    /// Nothing came for this long.
    #[error("silent for {0:?}")]
    Idle(Duration),
    /// Bitfield, have all or have none after something else was said, or twice.
    #[error("message {id} may only come first, and once")]
    NotFirst {
        /// Message id.
        id: u8,
    },
    /// A piece that does not exist.
    #[error("message {id} names piece {index} of {pieces}")]
    PieceIndex {
        /// Message id.
        id: u8,
        /// Piece index as sent.
        index: u32,
        /// Number of pieces, or the most there can be while the metadata is unknown.
        pieces: u32,
    },
    /// A request for nothing, or for more than [`super::REQUEST_LEN_MAX`].
    #[error("request for {len} bytes")]
    RequestLength {
        /// Bytes as sent.
        len: u32,
    },
    /// A message was begun and not finished in time.
    #[error("a message begun {after:?} ago still lacks {missing} bytes")]
    Stalled {
        /// Since its first byte.
        after: Duration,
        /// Bytes still missing.
        missing: usize,
    },
    /// Blocks were named while this side knows no metadata and so announced nothing.
    #[error("message {id} names a block before the metadata is known")]
    TooEarly {
        /// Message id.
        id: u8,
    },
    /// An illegal length.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl PeerError {
    /// What the roster does next: `Remote` counts toward a ban, `Network` earns a retry.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Idle(_) | Self::Stalled { .. } => Blame::Network,
            Self::BitfieldLength { .. }
            | Self::BlockRange { .. }
            | Self::FastNotAgreed { .. }
            | Self::NotFirst { .. }
            | Self::PieceIndex { .. }
            | Self::RequestLength { .. }
            | Self::TooEarly { .. }
            | Self::Wire(_) => Blame::Remote,
        }
    }
}
