//! How a torrent's bytes are cut into pieces and blocks. Pure arithmetic, checked once at construction.

/// Bytes of one request, except a piece's last. Every client in use asks for 16 KiB.
//= BEP 3 §peer messages (request)
pub const BLOCK_LEN: u32 = 16 * 1024;
/// Most pieces a torrent may have: libtorrent's limit; a bitfield of that size is 256 KiB.
pub const PIECES_MAX: u32 = 0x20_0000;
/// Longest piece: 32 767 blocks, libtorrent's limit.
pub const PIECE_LEN_MAX: u32 = 32_767 * BLOCK_LEN;

/// Which hash tree a torrent's pieces are checked against.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// SHA-1 per piece. BEP 3.
    V1,
    /// SHA-256 merkle trees per file. BEP 52.
    V2,
    /// Both over the same bytes.
    Hybrid,
}

/// Index of a piece; `Geometry::piece` mints the ones that exist.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PieceIndex(pub u32);

impl PieceIndex {
    /// As an index into a slice.
    pub const fn idx(self) -> usize {
        self.0 as usize
    }
}

/// A contiguous part of a piece: what a request asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Block {
    /// The piece it is in.
    pub piece: PieceIndex,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
    /// Bytes.
    pub len: u32,
}

/// Why sizes do not make a torrent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// No content at all.
    #[error("the torrent holds no bytes")]
    Empty,
    /// Zero, or more than [`PIECE_LEN_MAX`].
    #[error("piece length {0} is outside 1..={PIECE_LEN_MAX}")]
    PieceLength(u64),
    /// More than [`PIECES_MAX`].
    #[error("{0} pieces, at most {PIECES_MAX} are allowed")]
    TooManyPieces(u64),
}

/// Sizes of a torrent, its pieces and its blocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    total: u64,
    piece_len: u32,
    pieces: u32,
    version: Version,
}

impl Geometry {
    /// Cuts `total` bytes into pieces of `piece_len` bytes, the last one possibly shorter.
    pub fn new(version: Version, total: u64, piece_len: u64) -> Result<Self, GeometryError> {
        if piece_len == 0 || piece_len > u64::from(PIECE_LEN_MAX) {
            return Err(GeometryError::PieceLength(piece_len));
        }
        if total == 0 {
            return Err(GeometryError::Empty);
        }
        let pieces = total.div_ceil(piece_len);
        if pieces > u64::from(PIECES_MAX) {
            return Err(GeometryError::TooManyPieces(pieces));
        }
        Ok(Self { total, piece_len: piece_len as u32, pieces: pieces as u32, version })
    }

    /// Bytes of the whole torrent.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of every piece but the last.
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// Number of pieces, at least 1.
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Which hashes check the pieces.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The piece of that index, if the torrent has it.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.pieces).then_some(PieceIndex(index))
    }

    /// Every piece in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// Bytes of this piece.
    pub fn size_of(&self, piece: PieceIndex) -> u32 {
        if piece.0 + 1 == self.pieces {
            (self.total - u64::from(piece.0) * u64::from(self.piece_len)) as u32
        } else {
            self.piece_len
        }
    }

    /// Offset of the piece's first byte in the torrent.
    pub fn offset_of(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_len)
    }

    /// Number of blocks of this piece, at least 1.
    pub fn blocks_in(&self, piece: PieceIndex) -> u32 {
        self.size_of(piece).div_ceil(BLOCK_LEN)
    }

    /// The `nth` block of a piece; `nth` must be below [`Self::blocks_in`].
    pub fn block(&self, piece: PieceIndex, nth: u32) -> Block {
        let begin = nth * BLOCK_LEN;
        Block { piece, begin, len: (self.size_of(piece) - begin).min(BLOCK_LEN) }
    }

    /// Which block of its piece this is, if it is one that [`Self::block`] makes.
    pub fn nth(&self, block: Block) -> Option<u32> {
        let nth = block.begin / BLOCK_LEN;
        let exists = block.piece.0 < self.pieces && nth < self.blocks_in(block.piece);
        (exists && self.block(block.piece, nth) == block).then_some(nth)
    }

    /// Whether the range lies inside its piece and is not empty. Requests need no more than that.
    pub fn contains(&self, block: Block) -> bool {
        block.piece.0 < self.pieces
            && block.len > 0
            && u64::from(block.begin) + u64::from(block.len) <= u64::from(self.size_of(block.piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn impossible_sizes_are_refused() {
        let new = |total, len| Geometry::new(Version::V1, total, len);
        assert_eq!(new(0, 16384), Err(GeometryError::Empty));
        assert_eq!(new(1, 0), Err(GeometryError::PieceLength(0)));
        assert_eq!(new(1, 1 << 31), Err(GeometryError::PieceLength(1 << 31)));
        assert_eq!(new(u64::MAX, 16384), Err(GeometryError::TooManyPieces(1 << 50)));
    }

    proptest! {
        #[test]
        fn blocks_tile_the_torrent(total in 1u64..3_000_000, piece_len in 1u64..200_000) {
            prop_assume!(total.div_ceil(piece_len) < 5_000);
            let geometry = Geometry::new(Version::V1, total, piece_len).unwrap();
            let mut at = 0;
            for piece in geometry.iter() {
                prop_assert_eq!(geometry.offset_of(piece), at);
                for nth in 0..geometry.blocks_in(piece) {
                    let block = geometry.block(piece, nth);
                    prop_assert!(geometry.contains(block));
                    prop_assert_eq!(geometry.nth(block), Some(nth));
                    at += u64::from(block.len);
                }
            }
            prop_assert_eq!(at, total);
        }
    }
}
