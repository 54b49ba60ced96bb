//! A disk that takes its time, can be full, and forgets what was not yet durable when its host crashes.

use crate::bitfield::Bitfield;
use crate::clock::Instant;
use crate::geometry::{Block, Geometry, PieceIndex};
use crate::storage::DiskOp;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Time before an operation's first byte.
const LATENCY: Duration = Duration::from_micros(100);
/// Bytes per second, hashing included.
const RATE: u64 = 500_000_000;
/// After this long a write survives a crash.
const DURABLE_AFTER: Duration = Duration::from_secs(1);

/// Blocks of one piece that the driver holds in memory.
#[derive(Default)]
struct Held {
    begins: BTreeMap<u32, bool>,
}

/// What became of a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stored {
    Bad,
    Full,
    Good,
    /// Asked to store a piece of which not every block was kept: the machine's mistake.
    NotWhole,
}

/// One host's disk and the blocks that wait for it.
pub(super) struct Disk {
    queue: VecDeque<DiskOp>,
    free_at: Instant,
    held: BTreeMap<PieceIndex, Held>,
    good: Bitfield,
    recent: VecDeque<(Instant, PieceIndex)>,
    full: bool,
}

impl Disk {
    pub(super) fn new(good: Bitfield) -> Self {
        Self {
            queue: VecDeque::new(),
            free_at: Instant::ZERO,
            held: BTreeMap::new(),
            good,
            recent: VecDeque::new(),
            full: false,
        }
    }

    /// Takes an operation; returns when it will be finished.
    pub(super) fn submit(&mut self, now: Instant, op: DiskOp, geometry: &Geometry) -> Instant {
        let bytes: u64 = match &op {
            DiskOp::Read { blocks, .. } => blocks.iter().map(|block| u64::from(block.len)).sum(),
            DiskOp::Store { piece } => u64::from(geometry.size_of(*piece)),
        };
        let busy = LATENCY + Duration::from_micros(bytes * 1_000_000 / RATE);
        self.free_at = self.free_at.max(now) + busy;
        self.queue.push_back(op);
        self.free_at
    }

    /// The operation that has just finished.
    pub(super) fn finished(&mut self) -> Option<DiskOp> {
        self.queue.pop_front()
    }

    /// Bytes asked for that are not yet read, and bytes of pieces not yet written.
    pub(super) fn backlog(&self, geometry: &Geometry) -> (u64, u64) {
        self.queue.iter().fold((0, 0), |(read, write), op| match op {
            DiskOp::Read { blocks, .. } => {
                (read + blocks.iter().map(|block| u64::from(block.len)).sum::<u64>(), write)
            }
            DiskOp::Store { piece } => (read, write + u64::from(geometry.size_of(*piece))),
        })
    }

    /// The driver was told to keep this block.
    pub(super) fn hold(&mut self, block: Block, bad: bool) {
        self.held.entry(block.piece).or_default().begins.insert(block.begin, bad);
    }

    /// Blocks kept in memory.
    pub(super) fn held(&self) -> usize {
        self.held.values().map(|held| held.begins.len()).sum()
    }

    /// Hashes the piece and writes it if it is right.
    pub(super) fn store(&mut self, now: Instant, piece: PieceIndex, geometry: &Geometry) -> Stored {
        let held = self.held.remove(&piece).unwrap_or_default();
        if held.begins.len() != geometry.blocks_in(piece) as usize {
            return Stored::NotWhole;
        }
        if held.begins.values().any(|&bad| bad) {
            return Stored::Bad;
        }
        if self.full {
            return Stored::Full;
        }
        self.good.insert(piece);
        self.recent.push_back((now, piece));
        while self.recent.front().is_some_and(|(at, _)| *at + DURABLE_AFTER <= now) {
            self.recent.pop_front();
        }
        Stored::Good
    }

    /// Pieces whose right bytes lie in their place.
    pub(super) fn good(&self) -> &Bitfield {
        &self.good
    }

    pub(super) fn fill_up(&mut self) {
        self.full = true;
    }

    pub(super) fn make_room(&mut self) {
        self.full = false;
    }

    /// Power is gone: memory and what was not durable are lost.
    pub(super) fn crash(&mut self, now: Instant) {
        let lost = self.recent.drain(..).filter(|(at, _)| *at + DURABLE_AFTER > now);
        for (_, piece) in lost.collect::<Vec<_>>() {
            self.good.remove(piece);
        }
        self.stop();
    }

    /// The program has ended.
    pub(super) fn stop(&mut self) {
        self.queue.clear();
        self.held.clear();
        self.free_at = Instant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Version;

    fn with_piece_0_held(bad: bool) -> (Disk, Geometry) {
        let geometry = Geometry::new(Version::V1, 100_000, 32_768).unwrap();
        let mut disk = Disk::new(Bitfield::empty(geometry.pieces()));
        disk.hold(geometry.block(PieceIndex(0), 0), false);
        disk.hold(geometry.block(PieceIndex(0), 1), bad);
        (disk, geometry)
    }

    #[test]
    fn one_bad_block_spoils_its_piece() {
        for (bad, want) in [(false, Stored::Good), (true, Stored::Bad)] {
            let (mut disk, geometry) = with_piece_0_held(bad);
            assert_eq!(disk.store(Instant::ZERO, PieceIndex(0), &geometry), want);
            assert_eq!(disk.good().has(PieceIndex(0)), !bad);
            assert_eq!(disk.held(), 0);
        }
    }

    #[test]
    fn a_crash_takes_what_was_not_durable() {
        let (mut disk, geometry) = with_piece_0_held(false);
        assert_eq!(disk.store(Instant::ZERO, PieceIndex(0), &geometry), Stored::Good);
        disk.hold(geometry.block(PieceIndex(3), 0), false);
        let later = Instant::ZERO + Duration::from_millis(1500);
        assert_eq!(disk.store(later, PieceIndex(3), &geometry), Stored::Good);
        disk.crash(later + Duration::from_millis(1));
        assert_eq!(disk.good().ones().collect::<Vec<_>>(), [PieceIndex(0)]);
    }

    #[test]
    fn a_full_disk_and_a_piece_in_part_are_not_stored() {
        let (mut disk, geometry) = with_piece_0_held(false);
        assert_eq!(disk.store(Instant::ZERO, PieceIndex(1), &geometry), Stored::NotWhole);
        disk.fill_up();
        assert_eq!(disk.store(Instant::ZERO, PieceIndex(0), &geometry), Stored::Full);
        assert!(disk.good().is_empty());
    }
}
