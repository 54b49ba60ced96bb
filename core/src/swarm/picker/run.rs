//! Reservations of a source of byte ranges: many blocks in a row, as one request.

use super::{ENDGAME_COPIES_MAX, Mode, Picker};
use crate::bitfield::Bitfield;
use crate::geometry::{BLOCK_LEN, Block, Geometry, PieceIndex};
use crate::swarm::PeerKey;
use crate::swarm::picker::open::Slot;

impl Picker {
    /// The sizes that it cuts by.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// A source is there. As a peer, but what it is asked for takes no memory before it comes: the end of a range is
    /// asked for long before that. Leaves with [`Self::peer_left`].
    pub fn source_joined(&mut self, key: PeerKey, pieces: Bitfield) {
        self.sources.insert(key);
        self.peer_joined(key, pieces);
    }

    /// Reserves up to `most` bytes in one run of blocks, in their order: untouched pieces of one priority, at least
    /// one, from the end of the piece `after` on if none is wanted more, else around the rarest. When nothing is
    /// untouched, free blocks of one piece in progress. Appends nothing if there is nothing to do.
    pub fn reserve_run(
        &mut self,
        key: PeerKey,
        after: Option<PieceIndex>,
        most: u64,
        out: &mut Vec<Block>,
    ) {
        let start = PieceIndex(self.rng.below(u64::from(self.geometry.pieces())) as u32);
        let Some(peer) = self.peers.get(&key).filter(|peer| peer.useful > 0) else { return };
        let Some((best, rarest)) = self.best_untouched(peer, start) else {
            return self.reserve_stretch(key, most, out);
        };
        let next = after.map(|piece| PieceIndex(piece.0 + 1)).filter(|&piece| {
            let rank =
                self.rank(piece).map(|rank| if self.is_random() { rank.flat() } else { rank });
            self.is_fresh(key, piece) && rank.is_some_and(|rank| rank <= best)
        });
        let (first, last) = self.run_around(key, next.unwrap_or(rarest), most);
        for piece in first.0..=last.0 {
            self.take_blocks(key, PieceIndex(piece), usize::MAX, out);
        }
    }

    /// Endgame: if the source has nothing else to do, up to `most` bytes in a row that others were asked for, all of one
    /// piece.
    pub fn duplicate_run(&mut self, key: PeerKey, most: u64, out: &mut Vec<Block>) {
        if self.mode() != Mode::Endgame {
            return;
        }
        let Some((piece, last)) = self.last_of_others(key) else { return };
        let Some(open) = self.open.get(&piece) else { return };
        let again = |slot: &Slot| matches!(slot, Slot::Asked(_, more) if more.len() + 1 < ENDGAME_COPIES_MAX);
        let run = open.slots()[..=last].iter().rev().take_while(|slot| again(slot)).count();
        let run = run.min((most / u64::from(BLOCK_LEN)).max(1) as usize);
        for nth in last + 1 - run..=last {
            self.ask_again(key, piece, nth, out);
        }
    }

    /// Reserves the first free blocks in a row of a piece in progress, up to `most` bytes. Appends nothing if there are
    /// none.
    pub fn reserve_stretch(&mut self, key: PeerKey, most: u64, out: &mut Vec<Block>) {
        let Some(peer) = self.peers.get(&key) else { return };
        let piece = self.best_partial(key, peer).map(|(_, piece)| piece);
        let Some(piece) = piece.or_else(|| self.any_partial(key)) else { return };
        let Some(open) = self.open.get(&piece) else { return };
        let from_free = open.slots().iter().skip_while(|slot| **slot != Slot::Free);
        let free = from_free.take_while(|slot| **slot == Slot::Free).count();
        let want = free.min((most / u64::from(BLOCK_LEN)).max(1) as usize);
        self.take_blocks(key, piece, out.len() + want, out);
    }

    /// The pieces around this one that may be reserved with it: those after it as far as `most` allows, then those
    /// before it.
    fn run_around(&self, key: PeerKey, piece: PieceIndex, most: u64) -> (PieceIndex, PieceIndex) {
        let class = self.priorities.get(piece.idx());
        let mut left = most.saturating_sub(self.geometry.size_of(piece).into());
        let mut fits = |next: &PieceIndex| {
            let size = u64::from(self.geometry.size_of(*next));
            let fits = left >= size
                && self.is_fresh(key, *next)
                && self.priorities.get(next.idx()) == class;
            left -= if fits { size } else { 0 };
            fits
        };
        let after = (piece.0 + 1..self.geometry.pieces()).map(PieceIndex);
        let last = after.take_while(&mut fits).last().unwrap_or(piece);
        let before = (0..piece.0).rev().map(PieceIndex);
        let first = before.take_while(&mut fits).last().unwrap_or(piece);
        (first, last)
    }

    /// Whether the piece is untouched, and the peer has it.
    fn is_fresh(&self, key: PeerKey, piece: PieceIndex) -> bool {
        self.untouched.has(piece) && self.peers.get(&key).is_some_and(|peer| peer.pieces.has(piece))
    }
}
