//! Blocks in memory until their piece is whole.
//!
//! Holds slices of the buffers they were read into, and copies nothing. What may come in is the machine's
//! decision; memory is bounded by how many pieces the picker opens.

use bytes::Bytes;
use gaggle_core::geometry::{BLOCK_LEN, Block, Geometry, PieceIndex};
use std::collections::BTreeMap;

/// The unfinished pieces of one torrent.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pieces: BTreeMap<PieceIndex, Vec<Bytes>>,
}

impl Assembly {
    /// Keeps a block that the machine has accepted.
    pub(super) fn keep(&mut self, geometry: &Geometry, block: Block, data: Bytes) {
        let blocks = geometry.blocks_in(block.piece) as usize;
        let piece = self.pieces.entry(block.piece).or_insert_with(|| vec![Bytes::new(); blocks]);
        if let Some(slot) = piece.get_mut((block.begin / BLOCK_LEN) as usize) {
            *slot = data;
        }
    }

    /// Hands a whole piece over, in order.
    pub(super) fn take(&mut self, piece: PieceIndex) -> Vec<Bytes> {
        self.pieces.remove(&piece).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::geometry::Version;

    #[test]
    fn a_piece_comes_out_in_order_whatever_the_order_of_arrival() {
        let geometry = Geometry::new(Version::V1, 40_000, 40_000).unwrap();
        let mut assembly = Assembly::default();
        let piece = PieceIndex(0);
        for nth in [2, 0, 1] {
            let block = geometry.block(piece, nth);
            let data = Bytes::from(vec![nth as u8; block.len as usize]);
            assembly.keep(&geometry, block, data);
        }
        let whole = assembly.take(piece);
        assert_eq!(whole.iter().map(|block| block[0]).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(whole.iter().map(Bytes::len).sum::<usize>(), 40_000);
        assert!(assembly.take(piece).is_empty());
    }
}
