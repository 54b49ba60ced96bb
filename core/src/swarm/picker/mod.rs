//! Which block to ask whom for.
//!
//! Owns what the swarm told us (who has which piece), the pieces in progress and every reservation of a block.
//! The first pieces are random, then the rarest that the peer has; a piece in progress goes before an untouched
//! one that is as rare; the last blocks are asked of several peers, one at a time (strict endgame).
//! Never sees a byte of content, never reads a clock and never decides how many requests a peer may have.
//!
//! Cost, with `n` pieces, `p` peers and `o` pieces that have free blocks (held near 1.5 `p`): a `have` is O(1); a
//! bitfield O(n), a seed's O(1); a reservation O(1) while the peer has a piece in progress, else
//! O(o + [`WALK_MAX`] + `n`/64).
//= BEP 3 §peer protocol (piece selection)

mod choose;
#[cfg(test)]
mod model;
mod open;
mod rarity;
mod run;
#[cfg(test)]
mod tests;

use crate::bitfield::Bitfield;
use crate::geometry::{Block, Geometry, PieceIndex};
use crate::rng::Rng;
use crate::storage::Verdict;
use crate::swarm::PeerKey;
use crate::swarm::pipeline::MAX_DEPTH;
use open::{Open, Slot};
use rarity::{Rank, Rarity};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Pieces picked at random before rarity counts, so that there soon is something to trade
/// (libtorrent `initial_picker_threshold`).
pub const RANDOM_FIRST: u32 = 4;
/// Pieces in progress that still have free blocks, per peer, beyond which no other is opened while one of them
/// can go on (libtorrent: 1.5 x peers); halves.
pub const OPEN_PER_PEER_HALVES: usize = 3;
/// The same in blocks: 32 MiB (libtorrent).
pub const OPEN_BLOCKS_MAX: u64 = 2048;
/// Bytes here or asked for of all pieces in progress, those waiting for their hash included, beyond which none is begun:
/// with more memory in use everything gets slower. It is more while long paths hold so much; see
/// [`Picker::set_on_the_way`]. One piece may always be begun.
pub const OPEN_BYTES_MAX: u64 = 6 << 20;
/// The same for large pieces, of which eight are in progress: some arrive while others are hashed together.
pub const OPEN_BYTES_MAX_LARGE: u64 = 32 << 20;
/// What may be in hand beside the bytes that long paths hold. Those that hold less add nothing to the bounds above:
/// where cores are few, what a peer keeps waiting looks like a path.
pub const BESIDE_THE_WAY: u64 = 2 << 20;
/// The most that counts of long paths.
pub const ON_THE_WAY_MAX: u64 = 64 << 20;
/// Sizes of all pieces in progress, beyond which none is begun: peers that send a block of many pieces and withhold one
/// of each must not fill the memory. It is far above the other bound, because peers that send a block of a piece that
/// nobody else has, and leave, use it up until such a peer comes back.
pub const OPEN_SIZE_MAX: u64 = 256 << 20;
/// Peers that may be asked for the same block in endgame. At the bound nobody else is asked for it.
pub const ENDGAME_COPIES_MAX: usize = 4;
/// Pieces looked at for one duplicate request in endgame; beyond it the best of those seen is taken.
pub const ENDGAME_LOOK: usize = 256;
/// Untouched pieces looked at in order of rarity before falling back to a sample.
pub const WALK_MAX: usize = 1024;
/// Pieces compared when the walk found nothing; the rarest of the sample is taken.
pub const SAMPLE: usize = 256;
/// Released or cancelled blocks remembered per peer, because they may still be on their way: all that it can owe. At the
/// bound the oldest is forgotten and would count as unasked.
pub const LATE_MAX: usize = MAX_DEPTH;

/// How much a piece is wanted. Higher ones go first, whatever their rarity.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// Never asked for.
    Skip,
    /// After everything else.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

/// The stage the torrent is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Every wanted block is here or asked for.
    Endgame,
    /// Fewer than [`RANDOM_FIRST`] pieces are here.
    RandomFirst,
    /// In between, and when nothing is left to do.
    RarestFirst,
}

/// How untouched pieces are chosen. Only simulations use anything but the default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PickerPolicy {
    /// Any piece the peer has, to show what rarity is good for.
    Random,
    /// The rarest piece the peer has.
    #[default]
    RarestFirst,
}

/// What a block was worth.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Arrival {
    /// It was asked for, but is here already or not needed any more: drop it.
    Duplicate,
    /// Keep it.
    Kept {
        /// Others that were asked for it, and no longer are.
        cancel: Vec<PeerKey>,
    },
    /// Keep it, and check its piece, which is whole now.
    PieceReady {
        /// Others that were asked for it, and no longer are.
        cancel: Vec<PeerKey>,
    },
    /// This peer was not asked for it: drop it.
    Unasked,
}

/// What one peer has, and what it was asked for.
#[derive(Clone, Debug)]
struct Peer {
    pieces: Bitfield,
    /// Joined with every piece, so that it is counted in `seeds` and not per piece.
    seed: bool,
    /// On parole: gets whole pieces alone.
    parole: bool,
    /// Snubbed: is left out of the availability, for what it has may as well not exist.
    slow: bool,
    /// Outstanding requests, oldest first.
    asked: VecDeque<Block>,
    /// Released or cancelled, and perhaps still on their way.
    late: VecDeque<Block>,
    /// Where it took its last block.
    current: Option<PieceIndex>,
    /// Wanted pieces that it has and we lack.
    useful: u32,
}

/// Decides which block to ask whom for. See the module's page.
#[derive(Clone, Debug)]
pub struct Picker {
    geometry: Geometry,
    policy: PickerPolicy,
    rng: Rng,
    have: Bitfield,
    priorities: Vec<Priority>,
    /// Wanted, and not verified yet.
    lacking: Bitfield,
    /// Of those, the ones of which nothing was asked for. `rarity` holds exactly these.
    untouched: Bitfield,
    rarity: Rarity,
    /// Every piece in progress, also those being checked.
    open: BTreeMap<PieceIndex, Open>,
    /// Of those, the wanted ones with a free block.
    partial: BTreeSet<PieceIndex>,
    peers: BTreeMap<PeerKey, Peer>,
    /// Those of them that are sources of byte ranges.
    sources: BTreeSet<PeerKey>,
    /// Peers that have a piece; seeds are not in it.
    availability: Vec<u32>,
    seeds: u32,
    /// How many pieces have so many copies, ours included and seeds not.
    spread: Vec<u32>,
    wanted_left: u64,
    in_flight: u64,
    on_the_way: u64,
}

impl Picker {
    /// A picker for a torrent of which `have` is verified. Everything else is wanted.
    pub fn new(geometry: Geometry, have: Bitfield, rng: Rng) -> Self {
        let pieces = geometry.pieces();
        let have = if have.len() == pieces { have } else { Bitfield::empty(pieces) };
        let mut new = Self {
            geometry,
            policy: PickerPolicy::default(),
            rng,
            priorities: vec![Priority::Normal; pieces as usize],
            lacking: Bitfield::empty(pieces),
            untouched: Bitfield::empty(pieces),
            rarity: Rarity::new(pieces),
            open: BTreeMap::new(),
            partial: BTreeSet::new(),
            peers: BTreeMap::new(),
            sources: BTreeSet::new(),
            availability: vec![0; pieces as usize],
            seeds: 0,
            spread: vec![pieces - have.count(), have.count()],
            wanted_left: 0,
            in_flight: 0,
            on_the_way: 0,
            have,
        };
        new.recompute_wanted();
        new
    }

    /// Chooses how untouched pieces are picked from now on.
    pub fn set_policy(&mut self, policy: PickerPolicy) {
        self.policy = policy;
    }

    /// Says how many bytes are on long paths, or may be, rather than about to be here.
    pub fn set_on_the_way(&mut self, bytes: u64) {
        self.on_the_way = bytes.min(ON_THE_WAY_MAX);
    }

    /// Sets what is wanted. Blocks already asked for still count when they come.
    pub fn set_priorities(&mut self, of: impl Fn(PieceIndex) -> Priority) {
        for piece in self.geometry.iter() {
            self.priorities[piece.idx()] = of(piece);
        }
        self.recompute_wanted();
    }

    /// A peer said what it has. If it said so before, the new word replaces the old one.
    pub fn peer_joined(&mut self, key: PeerKey, pieces: Bitfield) {
        let len = self.geometry.pieces();
        let pieces = if pieces.len() == len { pieces } else { Bitfield::empty(len) };
        let mut peer = match self.peers.remove(&key) {
            Some(old) => {
                self.count(&old, false);
                old
            }
            None => Peer {
                pieces: Bitfield::empty(0),
                seed: false,
                parole: false,
                slow: false,
                asked: VecDeque::new(),
                late: VecDeque::new(),
                current: None,
                useful: 0,
            },
        };
        peer.seed = pieces.is_full();
        peer.useful = pieces.count_common(&self.lacking);
        peer.pieces = pieces;
        self.count(&peer, true);
        self.peers.insert(key, peer);
    }

    /// A peer has one more piece. True if that is news; a piece that does not exist is not.
    pub fn peer_has(&mut self, key: PeerKey, piece: PieceIndex) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else { return false };
        if !peer.pieces.insert(piece) {
            return false;
        }
        peer.useful += u32::from(self.lacking.has(piece));
        if !peer.slow {
            self.recount(piece, true);
        }
        true
    }

    /// A peer is gone: its reservations are free again, its copies do not count any more.
    pub fn peer_left(&mut self, key: PeerKey) {
        self.release_all(key);
        self.end_alone(key);
        self.sources.remove(&key);
        if let Some(peer) = self.peers.remove(&key) {
            self.count(&peer, false);
        }
    }

    /// What the peer has, as far as it told.
    pub fn pieces_of(&self, key: PeerKey) -> Option<&Bitfield> {
        self.peers.get(&key).map(|peer| &peer.pieces)
    }

    /// Whether the peer has a wanted piece that we lack. O(1).
    pub fn is_interesting(&self, key: PeerKey) -> bool {
        self.peers.get(&key).is_some_and(|peer| peer.useful > 0)
    }

    /// On parole a peer gets untouched pieces and shares them with nobody, so that a bad one has one author.
    /// It never gets duplicates, and shared pieces only if nothing else is left.
    pub fn set_parole(&mut self, key: PeerKey, on: bool) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.parole != on) else { return };
        peer.parole = on;
        peer.current = None;
        if !on {
            self.end_alone(key);
        }
    }

    /// A slow (snubbed) peer gets common pieces first, so that it opens a rare one only when it has nothing else;
    /// it gets no duplicates, keeps no piece for itself, and counts as a copy of nothing until it is rehabilitated.
    pub fn set_slow(&mut self, key: PeerKey, on: bool) {
        if self.peers.get(&key).is_none_or(|peer| peer.slow == on) {
            return;
        }
        let Some(mut peer) = self.peers.remove(&key) else { return };
        self.count(&peer, false);
        peer.slow = on;
        peer.current = None;
        self.count(&peer, true);
        self.peers.insert(key, peer);
        if on {
            self.end_alone(key);
        }
    }

    /// Bytes of a piece that is not checked yet, by who sent them.
    #[must_use]
    pub fn shares(&self, piece: PieceIndex) -> BTreeMap<PeerKey, u64> {
        let mut shares = BTreeMap::new();
        let slots = self.open.get(&piece).map_or(&[][..], Open::slots);
        for (nth, slot) in (0..).zip(slots) {
            if let Slot::Arrived(peer) = slot {
                let len = self.geometry.block(piece, nth).len;
                *shares.entry(*peer).or_default() += u64::from(len);
            }
        }
        shares
    }

    /// What became of a whole piece. Returns everybody who sent a part of it, once each. A bad piece is wanted
    /// again from nothing. A piece that was not whole is none of our business, and nobody is returned.
    #[must_use]
    pub fn piece_checked(&mut self, piece: PieceIndex, verdict: Verdict) -> Vec<PeerKey> {
        let Some(open) = self.open.get(&piece).filter(|open| open.is_whole()) else {
            return Vec::new();
        };
        let contributors = open.contributors();
        match verdict {
            Verdict::Bad => self.close(piece),
            Verdict::Good => {
                self.open.remove(&piece);
                self.set_have(piece, true);
            }
        }
        contributors
    }

    /// The piece could not be kept (a write failed, or it went bad on disk): wanted again, nobody to blame.
    pub fn piece_lost(&mut self, piece: PieceIndex) {
        self.close(piece);
        if self.have.has(piece) {
            self.set_have(piece, false);
            self.touch_if_wanted(piece);
        }
    }

    /// The verified pieces.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The stage the torrent is in.
    pub fn mode(&self) -> Mode {
        if !self.is_done() && self.untouched.is_empty() && self.partial.is_empty() {
            Mode::Endgame
        } else if self.have.count() < RANDOM_FIRST && !self.is_done() {
            Mode::RandomFirst
        } else {
            Mode::RarestFirst
        }
    }

    /// Whether every wanted piece is verified.
    pub fn is_done(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Bytes of wanted pieces that are not verified yet.
    pub fn wanted_left(&self) -> u64 {
        self.wanted_left
    }

    /// Distributed copies, ours included: the integer part is the availability of the rarest piece, the fraction
    /// the share of pieces that are more common than that.
    pub fn copies(&self) -> f64 {
        let lowest = self.spread.iter().position(|&pieces| pieces > 0).unwrap_or(0);
        let above = self.geometry.pieces() - self.spread.get(lowest).copied().unwrap_or(0);
        f64::from(self.seeds) + lowest as f64 + f64::from(above) / f64::from(self.geometry.pieces())
    }

    /// How many peers have the piece, ourselves and slow peers not counted.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.get(piece.idx()).map_or(0, |peers| peers + self.seeds)
    }

    /// Pieces in progress, also those being checked.
    pub fn open_pieces(&self) -> usize {
        self.open.len()
    }

    /// Bytes asked for and not here yet; duplicates count each time.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight
    }

    /// What the peer was asked for and has not sent, oldest first.
    pub fn asked(&self, key: PeerKey) -> impl Iterator<Item = Block> + '_ {
        self.peers.get(&key).into_iter().flat_map(|peer| peer.asked.iter().copied())
    }

    /// How many blocks the peer was asked for and has not sent.
    pub fn outstanding(&self, key: PeerKey) -> usize {
        self.peers.get(&key).map_or(0, |peer| peer.asked.len())
    }

    /// Adds or takes away everything that a peer has.
    fn count(&mut self, peer: &Peer, add: bool) {
        if peer.slow {
            return;
        }
        if peer.seed {
            self.seeds = if add { self.seeds + 1 } else { self.seeds.saturating_sub(1) };
            return;
        }
        for piece in peer.pieces.ones() {
            self.recount(piece, add);
        }
    }

    /// One copy more or less of a piece. O(1).
    fn recount(&mut self, piece: PieceIndex, add: bool) {
        let queued = self.untouched.has(piece);
        if queued && let Some(rank) = self.rank(piece) {
            self.rarity.remove(piece, rank);
        }
        self.move_spread(piece, if add { 1 } else { -1 });
        let peers = &mut self.availability[piece.idx()];
        *peers = if add { *peers + 1 } else { peers.saturating_sub(1) };
        if queued && let Some(rank) = self.rank(piece) {
            self.rarity.insert(piece, rank, &mut self.rng);
        }
    }

    /// The piece's copies are about to change by `by`: keep the histogram of copies right.
    fn move_spread(&mut self, piece: PieceIndex, by: i32) {
        let copies = self.availability[piece.idx()] + u32::from(self.have.has(piece));
        let next = copies.saturating_add_signed(by) as usize;
        if self.spread.len() <= next {
            self.spread.resize(next + 1, 0);
        }
        self.spread[copies as usize] -= 1;
        self.spread[next] += 1;
    }

    fn rank(&self, piece: PieceIndex) -> Option<Rank> {
        Rank::new(*self.priorities.get(piece.idx())?, self.availability[piece.idx()])
    }

    fn set_have(&mut self, piece: PieceIndex, have: bool) {
        if self.have.has(piece) == have {
            return;
        }
        self.move_spread(piece, if have { 1 } else { -1 });
        let wanted = self.priorities[piece.idx()] != Priority::Skip;
        let size = u64::from(self.geometry.size_of(piece));
        if have {
            self.have.insert(piece);
        } else {
            self.have.remove(piece);
        }
        if !wanted {
            return;
        }
        if have {
            self.lacking.remove(piece);
            self.wanted_left -= size;
        } else {
            self.lacking.insert(piece);
            self.wanted_left += size;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.pieces.has(piece)) {
            peer.useful = if have { peer.useful - 1 } else { peer.useful + 1 };
        }
    }

    /// Drops a piece in progress with all its blocks; it may be asked for again.
    fn close(&mut self, piece: PieceIndex) {
        let Some(open) = self.open.remove(&piece) else { return };
        self.partial.remove(&piece);
        for (key, nth) in open.asked() {
            let block = self.geometry.block(piece, nth);
            if let Some(peer) = self.peers.get_mut(&key)
                && peer.take_asked(block)
            {
                peer.remember(block);
                self.in_flight -= u64::from(block.len);
            }
        }
        self.touch_if_wanted(piece);
    }

    /// Queues a piece as untouched if it is wanted, not here and not in progress.
    fn touch_if_wanted(&mut self, piece: PieceIndex) {
        let idle = self.lacking.has(piece) && !self.open.contains_key(&piece);
        if idle
            && let Some(rank) = self.rank(piece)
            && self.untouched.insert(piece)
        {
            self.rarity.insert(piece, rank, &mut self.rng);
        }
    }

    /// Whatever depends on the priorities, from the beginning.
    fn recompute_wanted(&mut self) {
        let pieces = self.geometry.pieces();
        self.lacking = Bitfield::empty(pieces);
        self.untouched = Bitfield::empty(pieces);
        self.rarity = Rarity::new(pieces);
        self.partial.clear();
        self.wanted_left = 0;
        for piece in self.geometry.iter() {
            if self.have.has(piece) || self.priorities[piece.idx()] == Priority::Skip {
                continue;
            }
            self.lacking.insert(piece);
            self.wanted_left += u64::from(self.geometry.size_of(piece));
            match self.open.get(&piece) {
                Some(open) if open.free() > 0 => drop(self.partial.insert(piece)),
                Some(_) => {}
                None => self.touch_if_wanted(piece),
            }
        }
        for peer in self.peers.values_mut() {
            peer.useful = peer.pieces.count_common(&self.lacking);
            peer.current = None;
        }
    }

    /// Nobody keeps a piece for this peer any more.
    fn end_alone(&mut self, key: PeerKey) {
        for open in self.open.values_mut().filter(|open| open.alone == Some(key)) {
            open.alone = None;
        }
    }
}

impl Peer {
    fn remember(&mut self, block: Block) {
        if self.late.len() == LATE_MAX {
            self.late.pop_front();
        }
        self.late.push_back(block);
    }

    /// Takes the block off the outstanding ones. Answers come in the order of requests, nearly always.
    fn take_asked(&mut self, block: Block) -> bool {
        take(&mut self.asked, block)
    }

    fn take_late(&mut self, block: Block) -> bool {
        take(&mut self.late, block)
    }
}

fn take(from: &mut VecDeque<Block>, block: Block) -> bool {
    let at = from.iter().position(|other| *other == block);
    at.is_some_and(|at| from.remove(at).is_some())
}
