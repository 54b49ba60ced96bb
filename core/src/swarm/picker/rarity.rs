//! The untouched pieces in order of rarity.
//!
//! One bucket per priority and availability. A piece changes bucket in constant time, whatever the size of the
//! torrent; every bucket is kept in random order, so that "the first of the rarest" is a fair choice.
//! Knows nothing about who has what.

use super::Priority;
use crate::geometry::PieceIndex;
use crate::rng::Rng;

/// Where a piece stands in the queue: lower is asked for sooner.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    class: usize, // 0 is High
    copies: u32,
}

impl Rank {
    /// `None` for a piece that is not wanted.
    pub(super) fn new(priority: Priority, copies: u32) -> Option<Self> {
        let class = match priority {
            Priority::Skip => return None,
            Priority::Low => 2,
            Priority::Normal => 1,
            Priority::High => 0,
        };
        Some(Self { class, copies })
    }

    /// The same priority, as if every piece were equally rare.
    pub(super) fn flat(self) -> Self {
        Self { copies: 0, ..self }
    }

    /// The same priority, common pieces first.
    pub(super) fn reversed(self) -> Self {
        Self { copies: u32::MAX - self.copies, ..self }
    }
}

/// Not in any bucket.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(super) struct Rarity {
    buckets: [Vec<Vec<PieceIndex>>; 3], // [class][copies]
    place: Vec<u32>,                    // index inside its bucket
}

impl Rarity {
    pub(super) fn new(pieces: u32) -> Self {
        Self { buckets: Default::default(), place: vec![NOWHERE; pieces as usize] }
    }

    /// Puts a piece at a random place of its bucket: the step of a shuffle that grows by one.
    pub(super) fn insert(&mut self, piece: PieceIndex, rank: Rank, rng: &mut Rng) {
        debug_assert_eq!(self.place[piece.idx()], NOWHERE, "a piece is in one bucket");
        let class = &mut self.buckets[rank.class];
        if class.len() <= rank.copies as usize {
            class.resize_with(rank.copies as usize + 1, Vec::new);
        }
        let bucket = &mut class[rank.copies as usize];
        let last = bucket.len();
        bucket.push(piece);
        let at = rng.index(last + 1);
        bucket.swap(at, last);
        self.place[bucket[last].idx()] = last as u32;
        self.place[piece.idx()] = at as u32;
    }

    /// Takes a piece out of the bucket of this rank.
    pub(super) fn remove(&mut self, piece: PieceIndex, rank: Rank) {
        let at = self.place[piece.idx()];
        debug_assert_ne!(at, NOWHERE, "the piece was in a bucket");
        let bucket = &mut self.buckets[rank.class][rank.copies as usize];
        bucket.swap_remove(at as usize);
        if let Some(moved) = bucket.get(at as usize) {
            self.place[moved.idx()] = at;
        }
        self.place[piece.idx()] = NOWHERE;
    }

    /// Every piece, rarest of the highest priority first, in random order among equals.
    pub(super) fn walk(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.buckets.iter().flatten().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_come_in_a_fair_order() {
        // 5 pieces, one of them moved in and out: each must lead about as often as any other.
        let mut first = [0u32; 5];
        for seed in 0..5000 {
            let mut rng = Rng::seeded(seed);
            let rank = Rank::new(Priority::Normal, 1).unwrap();
            let mut rarity = Rarity::new(5);
            (0..5).for_each(|piece| rarity.insert(PieceIndex(piece), rank, &mut rng));
            rarity.remove(PieceIndex(2), rank);
            rarity.insert(PieceIndex(2), rank, &mut rng);
            first[rarity.walk().next().unwrap().idx()] += 1;
        }
        assert!(first.iter().all(|&count| (900..1100).contains(&count)), "{first:?}");
    }

    #[test]
    fn priority_goes_before_rarity() {
        let mut rng = Rng::seeded(1);
        let mut rarity = Rarity::new(4);
        let all = [
            (0, Priority::Low, 0),
            (1, Priority::Normal, 1),
            (2, Priority::High, 7),
            (3, Priority::Normal, 0),
        ];
        for (piece, priority, copies) in all {
            rarity.insert(PieceIndex(piece), Rank::new(priority, copies).unwrap(), &mut rng);
        }
        assert_eq!(rarity.walk().map(|piece| piece.0).collect::<Vec<_>>(), [2, 3, 1, 0]);
        assert_eq!(Rank::new(Priority::Skip, 0), None);
    }
}
