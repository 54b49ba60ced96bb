//! What a seed proposes: every piece once, each to another peer.
//!
//! Peers that all take the rarest piece of the same seed take many of them twice, for each hears too late what the
//! others took. A seed that suggests (BEP 6) to each a piece of its own hands its first copy out with next to no
//! duplicates. It only suggests: who ignores it loses nothing. Never withholds a piece, as super-seeding does.
//= BEP 6 §suggest piece

use crate::geometry::PieceIndex;
use crate::rng::Rng;
use crate::swarm::PeerKey;
use std::collections::{BTreeMap, BTreeSet};

/// Pieces suggested to one peer that it has not finished: one in hand, and the next ones to ask for.
const AHEAD: usize = 4;

/// The order in which a seed proposes its pieces, and who was proposed what.
#[derive(Debug, Default)]
pub(super) struct Tour {
    /// Pieces not proposed yet, last first.
    ahead: Vec<PieceIndex>,
    open: BTreeMap<PeerKey, Vec<PieceIndex>>,
}

impl Tour {
    /// A tour over all pieces, in random order: two seeds of one torrent propose different ones.
    pub(super) fn new(pieces: impl Iterator<Item = PieceIndex>, rng: &mut Rng) -> Self {
        let mut ahead: Vec<PieceIndex> = pieces.collect();
        rng.shuffle(&mut ahead);
        Self { ahead, open: BTreeMap::new() }
    }

    /// The next pieces for this peer. `wanted` says whether nobody else has a piece yet.
    pub(super) fn suggest(
        &mut self,
        peer: PeerKey,
        wanted: impl Fn(PieceIndex) -> bool,
    ) -> Vec<PieceIndex> {
        let open = self.open.entry(peer).or_default();
        let mut fresh = Vec::new();
        while open.len() < AHEAD
            && let Some(piece) = self.ahead.pop()
        {
            if wanted(piece) {
                open.push(piece);
                fresh.push(piece);
            }
        }
        fresh
    }

    /// Once everything was proposed: proposes what is `missing` again, or still, because those who had it left or
    /// keep it. What the `slow` have not finished is then for anybody.
    pub(super) fn go_round_again(
        &mut self,
        slow: impl Iterator<Item = PeerKey>,
        missing: impl Iterator<Item = PieceIndex>,
        rng: &mut Rng,
    ) {
        if self.ahead.is_empty() {
            for peer in slow {
                self.open.remove(&peer);
            }
            let open: BTreeSet<PieceIndex> = self.open.values().flatten().copied().collect();
            self.ahead = missing.filter(|piece| !open.contains(piece)).collect();
            rng.shuffle(&mut self.ahead);
        }
    }

    /// The peer has finished a piece; true if it was one of its own.
    pub(super) fn finished(&mut self, peer: PeerKey, piece: PieceIndex) -> bool {
        let Some(open) = self.open.get_mut(&peer) else { return false };
        let before = open.len();
        open.retain(|other| *other != piece);
        open.len() < before
    }

    /// The peer has gone: what it has not finished is proposed to others. One that is only choked comes back to it,
    /// and would fetch it a second time if somebody else were told to.
    pub(super) fn left(&mut self, peer: PeerKey) {
        self.ahead.extend(self.open.remove(&peer).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_proposed_to_one_peer_and_returns_when_it_leaves() {
        let mut tour = Tour::new((0..9).map(PieceIndex), &mut Rng::seeded(1));
        let (a, b) = (PeerKey(1), PeerKey(2));
        let for_a = tour.suggest(a, |_| true);
        let for_b = tour.suggest(b, |_| true);
        assert_eq!((for_a.len(), for_b.len()), (AHEAD, AHEAD));
        assert!(for_a.iter().all(|piece| !for_b.contains(piece)));
        assert!(tour.suggest(a, |_| true).is_empty());
        assert!(tour.finished(a, for_a[0]));
        assert!(!tour.finished(a, for_b[0]));
        assert_eq!(tour.suggest(a, |_| true).len(), 1);
        tour.left(b);
        tour.finished(a, for_a[1]);
        assert!(for_b.contains(&tour.suggest(a, |_| true)[0]));
        tour.finished(a, for_a[2]);
        assert!(tour.suggest(a, |_| false).is_empty(), "somebody has them all");
    }

    #[test]
    fn the_next_lap_takes_what_is_missing_and_what_the_slow_left_open() {
        let mut rng = Rng::seeded(1);
        let mut tour = Tour::new((0..8).map(PieceIndex), &mut rng);
        let (a, b, c) = (PeerKey(1), PeerKey(2), PeerKey(3));
        let (for_a, for_b) = (tour.suggest(a, |_| true), tour.suggest(b, |_| true));
        assert_eq!((for_a.len(), for_b.len()), (4, 4));
        assert!(tour.finished(a, for_a[0]));
        let missing = || (0..8).map(PieceIndex).filter(|&piece| piece != for_a[1]);
        tour.go_round_again(std::iter::once(b), missing(), &mut rng);
        let mut again: Vec<PieceIndex> = Vec::new();
        for peer in [b, c] {
            again.extend(tour.suggest(peer, |_| true));
        }
        again.sort_unstable();
        let mut want = for_b.clone();
        want.push(for_a[0]); // finished once, and gone with somebody since
        want.sort_unstable();
        assert_eq!(again, want, "what a has open stays a's");
        tour.go_round_again([a, b, c].into_iter(), std::iter::empty(), &mut rng);
        assert!(tour.suggest(a, |_| true).is_empty(), "nothing is missing");
    }
}
