//! One range that a source was asked for.

use super::SourceKey;
use crate::clock::Instant;
use crate::geometry::Block;
use std::collections::VecDeque;

/// One range that a source was asked for.
pub(super) struct Fetch {
    pub(super) source: SourceKey,
    /// Blocks that have not come, in their order, and whether we still want them.
    pub(super) blocks: VecDeque<(Block, bool)>,
    pub(super) wanted: usize,
    /// Bytes that came.
    pub(super) got: u64,
    pub(super) begun: Instant,
    /// When it was asked for, or sent its last block.
    pub(super) last: Instant,
}

impl Fetch {
    /// Bytes that have not come.
    pub(super) fn missing(&self) -> u64 {
        self.blocks.iter().map(|(block, _)| u64::from(block.len)).sum()
    }
}
