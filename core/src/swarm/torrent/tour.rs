//! What a seed proposes: every piece once, each to another peer.
//!
//! Peers that all take the rarest piece of the same seed take many of them twice, for each hears too late what the
//! others took. A seed that suggests (BEP 6) to each a piece of its own hands its first copy out with next to no
//! duplicates. It only suggests: who ignores it loses nothing. Never withholds a piece, as super-seeding does.
//= BEP 6 §suggest piece

use crate::geometry::PieceIndex;
use crate::rng::Rng;
use crate::swarm::PeerKey;
use std::collections::BTreeMap;

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

    /// The peer has finished a piece; true if it was one of its own.
    pub(super) fn finished(&mut self, peer: PeerKey, piece: PieceIndex) -> bool {
        let Some(open) = self.open.get_mut(&peer) else { return false };
        let before = open.len();
        open.retain(|other| *other != piece);
        open.len() < before
    }

    /// The peer has gone, or is served no more: what it has not finished is proposed to others.
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
}
