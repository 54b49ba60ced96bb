//! Reservations: which block goes to whom, and what happens when it comes, or does not.

use super::{
    Arrival, BESIDE_THE_WAY, ENDGAME_COPIES_MAX, ENDGAME_LOOK, Mode, OPEN_BLOCKS_MAX,
    OPEN_BYTES_MAX, OPEN_BYTES_MAX_LARGE, OPEN_PER_PEER_HALVES, OPEN_SIZE_MAX, Open, Peer, Picker,
    PickerPolicy, RANDOM_FIRST, Rank, SAMPLE, WALK_MAX,
};
use crate::geometry::{BLOCK_LEN, Block, PieceIndex};
use crate::swarm::PeerKey;
use crate::swarm::picker::open::Slot;
use std::cmp::Reverse;

impl Picker {
    /// Reserves up to `want` more blocks for a peer that may be asked, and appends them to `out`.
    ///
    /// Outside of endgame no block is reserved for two peers. In endgame a peer with nothing outstanding gets one
    /// block that others were asked for. The blocks of a piece come in order, and a piece goes on before another
    /// is begun.
    pub fn reserve(&mut self, key: PeerKey, want: usize, out: &mut Vec<Block>) {
        let target = out.len().saturating_add(want);
        while out.len() < target {
            let Some(piece) = self.choose(key) else { break };
            let before = out.len();
            self.take_blocks(key, piece, target, out);
            debug_assert!(out.len() > before, "a chosen piece has a free block");
            if out.len() == before {
                break;
            }
        }
        if want > 0 && self.mode() == Mode::Endgame {
            self.duplicate(key, out);
        }
    }

    /// The same, but only from these pieces and in their order: allowed-fast ones while choked, or suggestions.
    /// A piece that the peer does not have, is not wanted or belongs to a peer on parole is passed over.
    pub fn reserve_from(
        &mut self,
        key: PeerKey,
        only: &[PieceIndex],
        want: usize,
        out: &mut Vec<Block>,
    ) {
        let target = out.len().saturating_add(want);
        for &piece in only {
            let Some(peer) = self.peers.get(&key) else { return };
            let fresh = self.untouched.has(piece) && !self.memory_is_full();
            let open = self.partial.contains(&piece) && self.may_join(key, peer, piece);
            if out.len() < target && peer.pieces.has(piece) && (fresh || open) {
                self.take_blocks(key, piece, target, out);
            }
        }
    }

    /// The peer rejected the block, or took too long. If it comes nevertheless, it is not unasked.
    pub fn release(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !peer.take_asked(block) {
            return;
        }
        peer.remember(block);
        if peer.current == Some(block.piece) {
            peer.current = None;
        }
        self.in_flight -= u64::from(block.len);
        self.free_slot(key, block);
    }

    /// The peer choked us (without the fast extension) or is snubbed: nothing of what it was asked for will come.
    pub fn release_all(&mut self, key: PeerKey) -> Vec<Block> {
        let Some(peer) = self.peers.get_mut(&key) else { return Vec::new() };
        let blocks: Vec<Block> = peer.asked.drain(..).collect();
        peer.current = None;
        for &block in &blocks {
            peer.remember(block);
        }
        for &block in &blocks {
            self.in_flight -= u64::from(block.len);
            self.free_slot(key, block);
        }
        self.end_alone(key);
        blocks
    }

    /// A block came. The caller must act on the answer: keep or drop the bytes, cancel the others' requests.
    pub fn block_arrived(&mut self, key: PeerKey, block: Block) -> Arrival {
        let Some(nth) = self.geometry.nth(block) else { return Arrival::Unasked };
        let Some(peer) = self.peers.get_mut(&key) else { return Arrival::Unasked };
        let asked = peer.take_asked(block);
        if asked {
            self.in_flight -= u64::from(block.len);
        } else if !peer.take_late(block) {
            return Arrival::Unasked;
        } else if !self.admits_late(key, block.piece) {
            return Arrival::Duplicate;
        }
        let Some(open) = self.open.get_mut(&block.piece) else { return Arrival::Duplicate };
        let Some(cancel) = open.arrive(nth, key) else { return Arrival::Duplicate };
        if open.free() == 0 {
            self.partial.remove(&block.piece);
        }
        let whole = open.is_whole();
        for other in &cancel {
            if let Some(peer) = self.peers.get_mut(other)
                && peer.take_asked(block)
            {
                peer.remember(block);
                self.in_flight -= u64::from(block.len);
            }
        }
        if whole { Arrival::PieceReady { cancel } } else { Arrival::Kept { cancel } }
    }

    /// Whether a block that was given up may still be used; opens its piece if need be.
    fn admits_late(&mut self, key: PeerKey, piece: PieceIndex) -> bool {
        let Some(peer) = self.peers.get(&key) else { return false };
        if self.untouched.has(piece) {
            self.open_piece(key, piece);
            return true;
        }
        self.open.contains_key(&piece) && self.may_join(key, peer, piece)
    }

    /// The piece of which the peer should be asked for blocks now; it has a free block and may be joined.
    fn choose(&mut self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get(&key)?;
        if peer.useful == 0 {
            return None;
        }
        let on =
            |piece: &PieceIndex| self.partial.contains(piece) && self.may_join(key, peer, *piece);
        if let Some(current) = peer.current.filter(on) {
            return Some(current);
        }
        let start = PieceIndex(self.rng.below(u64::from(self.geometry.pieces())) as u32);
        let peer = self.peers.get(&key)?;
        if peer.parole || peer.slow {
            return (self.best_untouched(peer, start).map(|(_, piece)| piece))
                .or_else(|| self.best_partial(key, peer).map(|(_, piece)| piece))
                .or_else(|| self.any_partial(key));
        }
        let partial = self.best_partial(key, peer);
        if let Some((_, piece)) = partial
            && self.too_many_open()
        {
            return Some(piece);
        }
        match (partial, self.best_untouched(peer, start)) {
            (Some((ready, piece)), Some((fresh, _))) if ready <= fresh => Some(piece),
            (_, Some((_, piece))) | (Some((_, piece)), None) => Some(piece),
            (None, None) => self.any_partial(key),
        }
    }

    /// Whether a piece in progress is open to this peer: its own, or nobody's own and it is not on parole itself.
    fn may_join(&self, key: PeerKey, peer: &Peer, piece: PieceIndex) -> bool {
        self.open.get(&piece).is_some_and(|open| match open.alone {
            Some(owner) => owner == key,
            None => !peer.parole,
        })
    }

    fn too_many_open(&self) -> bool {
        let blocks = u64::from(self.geometry.blocks_in(PieceIndex(0)));
        let open = self.partial.len();
        open * 2 > self.peers.len() * OPEN_PER_PEER_HALVES || open as u64 * blocks > OPEN_BLOCKS_MAX
    }

    /// Whether no piece may be begun until one in progress is done. Pieces that nobody here can finish do not count: they
    /// may be in hand for long.
    pub fn memory_is_full(&self) -> bool {
        let piece_len = u64::from(self.geometry.piece_len());
        let goes_on = |piece: PieceIndex, open: &Open| {
            open.free() == 0 || self.seeds > 0 || self.availability[piece.idx()] > 0
        };
        // What hosts were asked for at a time is theirs, and comes when it comes; so is the piece that one is sending.
        let mut asked: u64 = self.sources.iter().map(|&key| self.outstanding(key) as u64).sum();
        let (mut in_hand, mut size) = (0, 0);
        for (&piece, open) in &self.open {
            if self.comes_from_source(open) {
                asked = asked.saturating_sub(open.asked_for().into());
                continue;
            }
            size += piece_len;
            in_hand += if goes_on(piece, open) { u64::from(open.in_hand()) } else { 0 };
        }
        let in_hand = in_hand.saturating_sub(asked) * u64::from(BLOCK_LEN);
        size > 0 && (in_hand >= self.open_bytes_max(piece_len) || size >= OPEN_SIZE_MAX)
    }

    /// Whether a source is going to send the last block of a piece: it sends them in their order.
    fn comes_from_source(&self, open: &Open) -> bool {
        matches!(open.slots().last(), Some(Slot::Asked(peer, _)) if self.sources.contains(peer))
    }

    fn open_bytes_max(&self, piece_len: u64) -> u64 {
        let pieces = (8 * piece_len).clamp(OPEN_BYTES_MAX, OPEN_BYTES_MAX_LARGE);
        pieces.max(self.on_the_way + BESIDE_THE_WAY)
    }

    /// Whether rarity does not count at the moment.
    pub(super) fn is_random(&self) -> bool {
        self.policy == PickerPolicy::Random || self.have.count() < RANDOM_FIRST
    }

    /// The piece in progress that suits the peer best; among equals the one with the fewest blocks to ask for.
    pub(super) fn best_partial(&self, key: PeerKey, peer: &Peer) -> Option<(Rank, PieceIndex)> {
        let flat = self.is_random();
        let suits =
            |piece: &&PieceIndex| peer.pieces.has(**piece) && self.may_join(key, peer, **piece);
        let ranked = self.partial.iter().filter(suits).filter_map(|&piece| {
            let rank = self.rank(piece)?;
            let free = self.open.get(&piece).map_or(0, Open::free);
            Some((if flat { rank.flat() } else { rank }, free, piece))
        });
        ranked.min().map(|(rank, _, piece)| (rank, piece))
    }

    /// The untouched piece that suits the peer best. The walk is exact; if the rarest [`WALK_MAX`] pieces are
    /// none of the peer's, the best of a sample of its own pieces does.
    pub(super) fn best_untouched(
        &self,
        peer: &Peer,
        start: PieceIndex,
    ) -> Option<(Rank, PieceIndex)> {
        if self.memory_is_full() {
            return None;
        }
        let flat = self.is_random();
        if !flat && !peer.slow {
            let found = self.rarity.walk().take(WALK_MAX).find(|&piece| peer.pieces.has(piece));
            if let Some(piece) = found {
                return Some((self.rank(piece)?, piece));
            }
        }
        let sample = peer.pieces.common_from(&self.untouched, start).take(SAMPLE);
        let ranked = sample.filter_map(|piece| {
            let rank = self.rank(piece)?;
            let rank = match (flat, peer.slow) {
                (true, _) => rank.flat(),
                (false, true) => rank.reversed(),
                (false, false) => rank,
            };
            Some((rank, piece))
        });
        ranked.min_by_key(|(rank, _)| *rank)
    }

    /// When nothing is untouched, a peer on parole may not hold up the end: its piece is shared from now on, and
    /// it may share the others'.
    pub(super) fn any_partial(&mut self, key: PeerKey) -> Option<PieceIndex> {
        let peer = self.peers.get(&key)?;
        let mine = |piece: PieceIndex| {
            let alone = self.open.get(&piece).is_some_and(|open| open.alone.is_some());
            peer.pieces.has(piece) && !(alone && (peer.parole || !self.untouched.is_empty()))
        };
        let piece = self.partial.iter().copied().find(|&piece| mine(piece))?;
        if let Some(open) = self.open.get_mut(&piece) {
            open.alone = None;
        }
        Some(piece)
    }

    /// Takes a piece out of the queue of untouched ones.
    fn open_piece(&mut self, key: PeerKey, piece: PieceIndex) {
        if !self.untouched.remove(piece) {
            return;
        }
        if let Some(rank) = self.rank(piece) {
            self.rarity.remove(piece, rank);
        }
        let mut open = Open::new(self.geometry.blocks_in(piece));
        open.alone = self.peers.get(&key).filter(|peer| peer.parole).map(|_| key);
        self.open.insert(piece, open);
        self.partial.insert(piece);
    }

    /// Reserves free blocks of one piece until `out` holds `target`.
    pub(super) fn take_blocks(
        &mut self,
        key: PeerKey,
        piece: PieceIndex,
        target: usize,
        out: &mut Vec<Block>,
    ) {
        self.open_piece(key, piece);
        let Some(open) = self.open.get_mut(&piece) else { return };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        while out.len() < target
            && let Some(nth) = open.ask(key)
        {
            let block = self.geometry.block(piece, nth);
            self.in_flight += u64::from(block.len);
            peer.asked.push_back(block);
            out.push(block);
        }
        let left = open.free() > 0;
        peer.current = left.then_some(piece);
        if !left {
            self.partial.remove(&piece);
        }
    }

    /// Endgame: one block that others were asked for, if the peer has nothing else to do.
    fn duplicate(&mut self, key: PeerKey, out: &mut Vec<Block>) {
        if let Some((piece, nth)) = self.last_of_others(key) {
            self.ask_again(key, piece, nth, out);
        }
    }

    /// Of the blocks that others were asked for, the one that the fewest were, and the last of those: its turn would
    /// come last. `None` for a peer that has something to do, or may not be asked for such blocks.
    pub(super) fn last_of_others(&mut self, key: PeerKey) -> Option<(PieceIndex, usize)> {
        let peer = self.peers.get(&key)?;
        if !peer.asked.is_empty() || peer.parole || peer.slow || peer.useful == 0 {
            return None;
        }
        let start = PieceIndex(self.rng.below(u64::from(self.geometry.pieces())) as u32);
        let ring = self.open.range(start..).chain(self.open.range(..start)).take(ENDGAME_LOOK);
        let mine = ring.filter(|(piece, _)| peer.pieces.has(**piece) && self.lacking.has(**piece));
        let busy = mine.flat_map(|(&piece, open)| {
            open.slots().iter().enumerate().filter_map(move |(nth, slot)| match slot {
                Slot::Asked(_, more) if more.len() + 1 < ENDGAME_COPIES_MAX => {
                    Some((more.len(), Reverse(nth), piece))
                }
                _ => None,
            })
        });
        let least = busy.min_by_key(|&(copies, nth, _)| (copies, nth));
        least.map(|(_, Reverse(nth), piece)| (piece, nth))
    }

    /// Asks a peer for a block that others were asked for.
    pub(super) fn ask_again(
        &mut self,
        key: PeerKey,
        piece: PieceIndex,
        nth: usize,
        out: &mut Vec<Block>,
    ) {
        let block = self.geometry.block(piece, nth as u32);
        if let (Some(open), Some(peer)) = (self.open.get_mut(&piece), self.peers.get_mut(&key)) {
            open.alone = None;
            open.ask_again(nth, key);
            peer.asked.push_back(block);
            self.in_flight += u64::from(block.len);
            out.push(block);
        }
    }

    /// A block that was taken off a peer's list goes back to its piece.
    fn free_slot(&mut self, key: PeerKey, block: Block) {
        let Some(nth) = self.geometry.nth(block) else { return };
        let Some(open) = self.open.get_mut(&block.piece) else { return };
        open.release(nth, key);
        if open.alone == Some(key) {
            open.alone = None; // whoever gives up a block gives up the piece
        }
        if open.is_idle() {
            self.close(block.piece);
        } else if open.free() > 0 && self.lacking.has(block.piece) {
            self.partial.insert(block.piece);
        }
    }
}
