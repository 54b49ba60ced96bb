//! The picker beside a naive one that keeps plain sets and answers every question by counting.

use super::tests::{geometry, picker, reserve, set};
use super::*;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, TestCaseError, any, prop, prop_assert, prop_assert_eq,
    prop_oneof, proptest,
};

#[derive(Clone, Debug)]
enum Op {
    Arrive(u32, usize),
    Check(u32, bool),
    DuplicateRun(u32, u64),
    Has(u32, u32),
    Join(u32, Vec<u32>),
    Leave(u32),
    Lost(u32),
    Parole(u32, bool),
    Prioritise(u64),
    Release(u32, usize),
    ReleaseAll(u32),
    Reserve(u32, usize),
    ReserveFrom(u32, Vec<u32>, usize),
    ReserveRun(u32, Option<u32>, u64),
    Slow(u32, bool),
}

fn any_op() -> impl Strategy<Value = Op> {
    let (peer, piece) = (0u32..5, 0u32..9);
    prop_oneof![
        8 => (peer.clone(), any::<usize>()).prop_map(|(peer, nth)| Op::Arrive(peer, nth)),
        5 => (piece.clone(), prop::bool::weighted(0.8)).prop_map(|(piece, good)| Op::Check(piece, good)),
        3 => (peer.clone(), piece.clone()).prop_map(|(peer, piece)| Op::Has(peer, piece)),
        4 => (peer.clone(), prop_oneof![prop::collection::vec(0u32..9, 0..8), Just((0..9).collect())])
            .prop_map(|(peer, pieces)| Op::Join(peer, pieces)),
        1 => peer.clone().prop_map(Op::Leave),
        1 => piece.clone().prop_map(Op::Lost),
        1 => (peer.clone(), any::<bool>()).prop_map(|(peer, on)| Op::Parole(peer, on)),
        1 => any::<u64>().prop_map(Op::Prioritise),
        2 => (peer.clone(), any::<usize>()).prop_map(|(peer, nth)| Op::Release(peer, nth)),
        1 => peer.clone().prop_map(Op::ReleaseAll),
        10 => (peer.clone(), 0usize..8).prop_map(|(peer, want)| Op::Reserve(peer, want)),
        2 => (peer.clone(), prop::collection::vec(piece.clone(), 0..4), 0usize..5)
            .prop_map(|(peer, only, want)| Op::ReserveFrom(peer, only, want)),
        4 => (peer.clone(), prop::option::of(0u32..9), 0u64..500_000)
            .prop_map(|(peer, after, most)| Op::ReserveRun(peer, after, most)),
        2 => (peer.clone(), 0u64..100_000)
            .prop_map(|(peer, most)| Op::DuplicateRun(peer, most)),
        1 => (peer, any::<bool>()).prop_map(|(peer, on)| Op::Slow(peer, on)),
    ]
}

/// The naive picker: sets, and every question answered by counting.
#[derive(Default)]
struct Model {
    peers: BTreeMap<u32, (BTreeSet<u32>, bool)>, // pieces, slow
    asked: BTreeSet<(u32, Block)>,
    arrived: BTreeMap<Block, u32>,
    have: BTreeSet<u32>,
    skipped: BTreeSet<u32>,
}

impl Model {
    fn lacks(&self, piece: u32) -> bool {
        !self.have.contains(&piece) && !self.skipped.contains(&piece)
    }

    fn is_taken(&self, block: Block) -> bool {
        self.arrived.contains_key(&block) || self.asked.iter().any(|(_, other)| *other == block)
    }

    fn whole(&self, geometry: Geometry, piece: u32) -> bool {
        let piece = PieceIndex(piece);
        (0..geometry.blocks_in(piece))
            .all(|nth| self.arrived.contains_key(&geometry.block(piece, nth)))
    }

    fn forget(&mut self, piece: u32) {
        self.arrived.retain(|block, _| block.piece.0 != piece);
        self.asked.retain(|(_, block)| block.piece.0 != piece);
    }

    fn all_taken(&self, geometry: Geometry) -> bool {
        geometry.iter().filter(|piece| self.lacks(piece.0)).all(|piece| {
            (0..geometry.blocks_in(piece)).all(|nth| self.is_taken(geometry.block(piece, nth)))
        })
    }

    /// Takes over what the picker reserved, and checks that it was allowed to.
    fn reserved(
        &mut self,
        geometry: Geometry,
        peer: u32,
        want: usize,
        out: &[Block],
    ) -> Result<(), TestCaseError> {
        prop_assert!(out.len() <= want);
        for &block in out {
            prop_assert!(self.lacks(block.piece.0), "not wanted or here already");
            prop_assert!(self.peers[&peer].0.contains(&block.piece.0), "the peer lacks it");
            prop_assert!(!self.arrived.contains_key(&block));
            if self.is_taken(block) {
                prop_assert!(self.all_taken(geometry), "a duplicate before endgame");
                prop_assert_eq!(out.len(), 1);
                prop_assert!(
                    !self.asked.iter().any(|(other, _)| *other == peer),
                    "it has something to do"
                );
                let copies = self.asked.iter().filter(|(_, other)| *other == block).count();
                prop_assert!(copies < ENDGAME_COPIES_MAX);
            }
            self.asked.insert((peer, block));
        }
        Ok(())
    }

    fn agrees(&self, picker: &Picker, geometry: Geometry) -> Result<(), TestCaseError> {
        let has = |piece: u32| {
            self.peers.values().filter(|(pieces, slow)| !slow && pieces.contains(&piece)).count()
                as u32
        };
        let copies: Vec<u32> = (0..geometry.pieces())
            .map(|piece| has(piece) + u32::from(self.have.contains(&piece)))
            .collect();
        let lowest = *copies.iter().min().unwrap();
        let above = copies.iter().filter(|&&count| count > lowest).count();
        let expected = f64::from(lowest) + above as f64 / copies.len() as f64;
        prop_assert!(
            (picker.copies() - expected).abs() < 1e-9,
            "{} copies, want {expected}",
            picker.copies()
        );
        for piece in geometry.iter() {
            prop_assert_eq!(picker.availability(piece), has(piece.0));
        }
        let lacking: Vec<u32> = (0..geometry.pieces()).filter(|&piece| self.lacks(piece)).collect();
        let left: u64 =
            lacking.iter().map(|&piece| u64::from(geometry.size_of(PieceIndex(piece)))).sum();
        prop_assert_eq!(picker.wanted_left(), left);
        prop_assert_eq!(picker.is_done(), lacking.is_empty());
        prop_assert_eq!(
            picker.mode() == Mode::Endgame,
            !lacking.is_empty() && self.all_taken(geometry)
        );
        let flying: u64 = self.asked.iter().map(|(_, block)| u64::from(block.len)).sum();
        prop_assert_eq!(picker.in_flight_bytes(), flying);
        for (peer, (pieces, _)) in &self.peers {
            prop_assert_eq!(
                picker.is_interesting(PeerKey(*peer)),
                lacking.iter().any(|p| pieces.contains(p))
            );
            let asked: BTreeSet<Block> = picker.asked(PeerKey(*peer)).collect();
            let want: BTreeSet<Block> = self
                .asked
                .iter()
                .filter(|(other, _)| other == peer)
                .map(|(_, block)| *block)
                .collect();
            prop_assert_eq!(asked, want);
        }
        Ok(())
    }
}

struct Run {
    geometry: Geometry,
    picker: Picker,
    model: Model,
    parole: BTreeSet<u32>,
}

impl Run {
    fn nth_asked(&self, peer: u32, nth: usize) -> Option<Block> {
        let asked: Vec<Block> = self.picker.asked(PeerKey(peer)).collect();
        (!asked.is_empty()).then(|| asked[nth % asked.len()])
    }

    fn arrive(&mut self, peer: u32, block: Block) -> Result<(), TestCaseError> {
        let arrival = self.picker.block_arrived(PeerKey(peer), block);
        prop_assert!(self.model.asked.remove(&(peer, block)));
        let others: Vec<PeerKey> = self
            .model
            .asked
            .iter()
            .filter(|(_, other)| *other == block)
            .map(|(peer, _)| PeerKey(*peer))
            .collect();
        self.model.asked.retain(|(_, other)| *other != block);
        self.model.arrived.insert(block, peer);
        let whole = self.model.whole(self.geometry, block.piece.0);
        let cancel = others;
        prop_assert_eq!(
            arrival,
            if whole { Arrival::PieceReady { cancel } } else { Arrival::Kept { cancel } }
        );
        Ok(())
    }

    fn reserve(&mut self, peer: u32, want: usize) -> Result<(), TestCaseError> {
        let out = reserve(&mut self.picker, peer, want);
        self.model.reserved(self.geometry, peer, want, &out)?;
        let Some((pieces, _)) = self.model.peers.get(&peer) else { return Ok(()) };
        if out.len() < want && self.parole.is_empty() {
            let free = pieces.iter().filter(|piece| self.model.lacks(**piece)).any(|&piece| {
                let blocks = self.geometry.blocks_in(PieceIndex(piece));
                (0..blocks)
                    .any(|nth| !self.model.is_taken(self.geometry.block(PieceIndex(piece), nth)))
            });
            prop_assert!(!free, "a free block that the peer has was not handed out");
        }
        Ok(())
    }

    /// One run: blocks one after the other in the torrent, all of them free.
    fn reserve_run(
        &mut self,
        peer: u32,
        after: Option<u32>,
        most: u64,
    ) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        let piece_len = u64::from(self.geometry.piece_len());
        self.picker.reserve_run(PeerKey(peer), after.map(PieceIndex), most, &mut out);
        let free = |block: &Block| !self.model.is_taken(*block);
        prop_assert!(out.iter().all(free), "a duplicate");
        let len: u64 = out.iter().map(|block| u64::from(block.len)).sum();
        prop_assert!(len <= most.max(piece_len));
        let begin = |block: &Block| u64::from(block.piece.0) * piece_len + u64::from(block.begin);
        let joined = |two: &[Block]| begin(&two[0]) + u64::from(two[0].len) == begin(&two[1]);
        prop_assert!(out.windows(2).all(joined), "a gap");
        self.model.reserved(self.geometry, peer, out.len(), &out)?;
        let Some((pieces, _)) = self.model.peers.get(&peer) else { return Ok(()) };
        let untaken = |piece: &&u32| {
            let blocks = self.geometry.blocks_in(PieceIndex(**piece));
            self.model.lacks(**piece)
                && (0..blocks)
                    .any(|nth| !self.model.is_taken(self.geometry.block(PieceIndex(**piece), nth)))
        };
        let idle = out.is_empty() && self.parole.is_empty();
        prop_assert!(!(idle && pieces.iter().any(|piece| untaken(&piece))), "nothing to do?");
        Ok(())
    }

    /// Blocks in a row that others were asked for, in endgame only.
    fn duplicate_run(&mut self, peer: u32, most: u64) -> Result<(), TestCaseError> {
        let mut out = Vec::new();
        self.picker.duplicate_run(PeerKey(peer), most, &mut out);
        prop_assert!(out.is_empty() || self.model.all_taken(self.geometry), "before endgame");
        prop_assert!(out.len() as u64 <= (most / 16_384).max(1));
        let idle = !self.model.asked.iter().any(|(other, _)| *other == peer);
        prop_assert!(out.is_empty() || idle, "it has something to do");
        let next = |two: &[Block]| {
            two[0].piece == two[1].piece && two[0].begin + two[0].len == two[1].begin
        };
        prop_assert!(out.windows(2).all(next), "a gap");
        for block in out {
            prop_assert!(
                self.model.lacks(block.piece.0)
                    && self.model.peers[&peer].0.contains(&block.piece.0)
            );
            let copies = self.model.asked.iter().filter(|(_, other)| *other == block).count();
            prop_assert!((1..ENDGAME_COPIES_MAX).contains(&copies));
            self.model.asked.insert((peer, block));
        }
        Ok(())
    }

    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        let count = self.geometry.pieces();
        let model = &mut self.model;
        match op {
            Op::Arrive(peer, nth) => {
                if let Some(block) = self.nth_asked(peer, nth) {
                    self.arrive(peer, block)?;
                }
            }
            Op::Check(piece, good) => {
                let piece = piece % count;
                let verdict = if good { Verdict::Good } else { Verdict::Bad };
                let mut want = BTreeSet::new();
                if model.whole(self.geometry, piece) && !model.have.contains(&piece) {
                    let of = |(block, peer): (&Block, &u32)| {
                        (block.piece.0 == piece).then_some(PeerKey(*peer))
                    };
                    want = model.arrived.iter().filter_map(of).collect();
                    model.forget(piece);
                    if good {
                        model.have.insert(piece);
                    }
                }
                let blamed = self.picker.piece_checked(PieceIndex(piece), verdict);
                prop_assert_eq!(blamed, want.into_iter().collect::<Vec<_>>());
            }
            Op::Lost(piece) if piece < count => {
                self.picker.piece_lost(PieceIndex(piece));
                model.forget(piece);
                model.have.remove(&piece);
            }
            Op::Lost(_) => {}
            Op::Prioritise(seed) => {
                let of = |piece: PieceIndex| {
                    [Priority::Skip, Priority::Low, Priority::Normal, Priority::High]
                        [(seed >> (piece.0 * 2) & 3) as usize]
                };
                self.picker.set_priorities(of);
                model.skipped =
                    (0..count).filter(|&piece| of(PieceIndex(piece)) == Priority::Skip).collect();
            }
            Op::Reserve(peer, want) => self.reserve(peer, want)?,
            Op::ReserveFrom(peer, only, want) => {
                let only: Vec<PieceIndex> = only.into_iter().map(PieceIndex).collect();
                let mut out = Vec::new();
                self.picker.reserve_from(PeerKey(peer), &only, want, &mut out);
                prop_assert!(
                    out.iter().all(|block| only.contains(&block.piece) && !model.is_taken(*block))
                );
                model.reserved(self.geometry, peer, want, &out)?;
            }
            Op::ReserveRun(peer, after, most) => self.reserve_run(peer, after, most)?,
            Op::DuplicateRun(peer, most) => self.duplicate_run(peer, most)?,
            about_a_peer => self.step_of_peer(about_a_peer)?,
        }
        self.model.agrees(&self.picker, self.geometry)
    }

    fn step_of_peer(&mut self, op: Op) -> Result<(), TestCaseError> {
        let count = self.geometry.pieces();
        let model = &mut self.model;
        match op {
            Op::Has(peer, piece) => {
                let new = self.picker.peer_has(PeerKey(peer), PieceIndex(piece));
                let entry = model.peers.get_mut(&peer);
                prop_assert_eq!(
                    new,
                    entry.is_some_and(|entry| piece < count && entry.0.insert(piece))
                );
            }
            Op::Join(peer, pieces) => {
                let pieces: BTreeSet<u32> =
                    pieces.into_iter().filter(|&piece| piece < count).collect();
                // What was asked for stays asked; a peer does not lose pieces.
                let mut all = pieces;
                let slow = model.peers.get(&peer).is_some_and(|(_, slow)| *slow);
                all.extend(model.peers.get(&peer).iter().flat_map(|(old, _)| old.iter()));
                self.picker.peer_joined(PeerKey(peer), set(count, all.iter().copied()));
                model.peers.insert(peer, (all, slow));
            }
            Op::Leave(peer) => {
                self.picker.peer_left(PeerKey(peer));
                model.peers.remove(&peer);
                model.asked.retain(|(other, _)| *other != peer);
                self.parole.remove(&peer);
            }
            Op::Parole(peer, on) => {
                self.picker.set_parole(PeerKey(peer), on);
                if on && model.peers.contains_key(&peer) {
                    self.parole.insert(peer);
                } else {
                    self.parole.remove(&peer);
                }
            }
            Op::Release(peer, nth) => {
                if let Some(block) = self.nth_asked(peer, nth) {
                    self.picker.release(PeerKey(peer), block);
                    self.model.asked.remove(&(peer, block));
                }
            }
            Op::ReleaseAll(peer) => {
                let released: BTreeSet<Block> =
                    self.picker.release_all(PeerKey(peer)).into_iter().collect();
                let want =
                    model.asked.iter().filter(|(other, _)| *other == peer).map(|(_, block)| *block);
                prop_assert_eq!(released, want.collect::<BTreeSet<_>>());
                model.asked.retain(|(other, _)| *other != peer);
            }
            Op::Slow(peer, on) => {
                self.picker.set_slow(PeerKey(peer), on);
                if let Some(entry) = model.peers.get_mut(&peer) {
                    entry.1 = on;
                }
            }
            _ => unreachable!("not about a peer"),
        }
        Ok(())
    }

    /// Whatever happened before, one seed is enough to finish, even one on parole or snubbed.
    fn finish(mut self, parole: bool, slow: bool) -> Result<(), TestCaseError> {
        let count = self.geometry.pieces();
        for piece in 0..count {
            self.step(Op::Check(piece, true))?;
        }
        for peer in 0..5 {
            self.step(Op::Leave(peer))?;
        }
        prop_assert_eq!(self.picker.in_flight_bytes(), 0);
        self.step(Op::Join(5, (0..count).collect()))?;
        self.step(Op::Parole(5, parole))?;
        self.step(Op::Slow(5, slow))?;
        for _ in 0..200 {
            self.step(Op::Reserve(5, 3))?;
            while self.picker.outstanding(PeerKey(5)) > 0 {
                self.step(Op::Arrive(5, 0))?;
            }
            for piece in 0..count {
                self.step(Op::Check(piece, true))?;
            }
        }
        prop_assert!(self.picker.is_done());
        prop_assert_eq!(self.picker.wanted_left(), 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn agrees_with_the_naive_picker(pieces in 1u32..9, blocks in 1u32..5, seed: u64,
        random: bool, parole: bool, slow: bool,
        ops in prop::collection::vec(any_op(), 0..120)) {
        let geometry = geometry(pieces, blocks);
        let mut picker = picker(pieces, blocks, seed);
        if random {
            picker.set_policy(PickerPolicy::Random);
        }
        let mut run = Run { geometry, picker, model: Model::default(), parole: BTreeSet::new() };
        for op in ops {
            run.step(op)?;
        }
        run.finish(parole, slow)?;
    }
}
