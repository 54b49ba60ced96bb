//! One file that nothing vouches for but a hash of all of it, from several hosts of byte ranges.
//!
//! Decides who is asked for which part of it, and what follows when the whole has another hash than it should: it
//! remembers who gave which part, and asks one host after the other for all that this one has not given itself. What
//! comes of that is the word of a single host, so a wrong one is proof against it. A file without any hash is asked of a
//! single host from the start. Asking, silence, delays and speed are [`crate::swarm::source`]'s.
//!
//! Never sees a byte of content. The driver writes what it is told to keep, and hashes the file when it is told to.

#[cfg(test)]
mod tests;

use crate::bitfield::Bitfield;
use crate::clock::Instant;
use crate::geometry::{Block, Geometry, GeometryError, PieceIndex, Version};
use crate::metainfo::piece_length_auto;
use crate::rng::Rng;
use crate::scope::{Scope, canonical};
use crate::storage::Verdict;
use crate::swarm::PeerKey;
use crate::swarm::picker::{Arrival, Picker};
use crate::swarm::rate::{Meter, TokenBucket};
use crate::swarm::source::{
    FetchKey, SourceFault, SourceKey, SourceOp, SourceRefusal, SourceSpec, SourceStatus, Sources,
};
use crate::swarm::torrent::Fate;
use crate::units::BytesPerSec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How often silence is looked for, and whether a host that rests is to be replaced.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of the parts that are told apart. Small files have smaller ones, so that several hosts have a share; large ones
/// no larger, for a part is what is asked for at least.
const PART_MAX: u32 = 1 << 20;

/// What the file is.
#[derive(Clone, Copy, Debug)]
pub struct WholeConfig {
    /// Its bytes; at least 1.
    pub len: u64,
    /// Whether its hash will be checked. If not, all of it comes from one host.
    pub checked: bool,
    /// Most bytes per second to fetch.
    pub down: Option<BytesPerSec>,
}

/// Something for the driver.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WholeEvent {
    /// All of it is there: hash it, and say what came of it with [`Whole::handle_checked`].
    Check,
    /// It is good.
    Done,
    /// Nobody is left to ask.
    Failed,
    /// This one is not asked any more.
    SourceGone {
        /// Who.
        source: SourceKey,
        /// Why.
        fault: SourceFault,
    },
}

/// How it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeStatus {
    /// Bytes that are there, whatever they are worth. Falls when the whole is found to be wrong.
    pub done: u64,
    /// Bytes received.
    pub downloaded: u64,
    /// The same, per second now.
    pub down: BytesPerSec,
    /// Every source, those that are gone included.
    pub sources: Vec<SourceStatus>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Fetching,
    /// The driver hashes.
    Checking,
    Over,
}

/// One file from several hosts. See the module's page.
pub struct Whole {
    config: WholeConfig,
    geometry: Geometry,
    picker: Picker,
    sources: Sources,
    rng: Rng,
    /// Who gave each part that is there; `None` if several did, or it is not whole.
    givers: Vec<Option<SourceKey>>,
    /// All parts are to be of this one.
    alone: Option<SourceKey>,
    state: State,
    limit: TokenBucket,
    meter: Meter,
    next_key: u32,
    next_tick: Instant,
    /// When the limit lets more through.
    fill_at: Option<Instant>,
    events: VecDeque<WholeEvent>,
}

impl Whole {
    /// A file of which nothing is there.
    ///
    /// # Errors
    /// If it has no bytes, or more than 2 TiB.
    pub fn new(now: Instant, config: WholeConfig, mut rng: Rng) -> Result<Self, GeometryError> {
        let part = piece_length_auto(config.len).min(PART_MAX);
        let geometry = Geometry::new(Version::V1, config.len, part.into())?;
        let pieces = geometry.pieces();
        Ok(Self {
            config,
            geometry,
            picker: picker(geometry, |_| false, &mut rng),
            sources: Sources::default(),
            rng,
            givers: vec![None; pieces as usize],
            alone: None,
            state: State::Fetching,
            limit: TokenBucket::new(config.down, now),
            meter: Meter::new(now),
            next_key: 0,
            next_tick: now + TICK,
            fill_at: None,
            events: VecDeque::new(),
        })
    }

    /// These parts are there from an earlier time, of which nobody knows who gave them. To be called before any host is
    /// added, if all of it will be checked.
    pub fn resume(&mut self, have: &Bitfield) {
        self.picker = picker(self.geometry, |piece| have.has(piece), &mut self.rng);
    }

    /// Parts that are there as a whole, whatever they are worth.
    pub fn have(&self) -> &Bitfield {
        self.picker.have()
    }

    /// How the file is cut up.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// A host that has the file. `spec.span` counts for nothing: it is the file.
    ///
    /// # Errors
    /// Why it is not asked.
    pub fn add_source(
        &mut self,
        now: Instant,
        spec: &SourceSpec,
    ) -> Result<SourceKey, SourceRefusal> {
        let addr = spec.addr.map(canonical);
        let &SourceSpec { teller, parallel, .. } = spec;
        let spec = SourceSpec { addr, teller, span: 0..self.config.len, parallel };
        if let Some(addr) = addr
            && Scope::of(addr.ip()).is_none_or(|scope| scope < spec.teller)
        {
            return Err(SourceRefusal::Address(addr.ip()));
        }
        if self.sources.is_known(&spec) {
            return Err(SourceRefusal::Known);
        }
        let key = SourceKey(self.next_key);
        if !self.sources.add(now, key, spec) {
            return Err(SourceRefusal::Full(self.sources.status(now).len()));
        }
        self.next_key += 1;
        self.go_on(now);
        Ok(key)
    }

    /// The next thing to do with a source.
    #[must_use]
    pub fn poll_source(&mut self) -> Option<SourceOp> {
        self.sources.poll()
    }

    /// A block of a range has come; those of one range come in their order. The bytes stay with the driver, which writes
    /// those of [`Fate::Keep`] to their place.
    pub fn handle_source_block(&mut self, now: Instant, fetch: FetchKey, block: Block) -> Fate {
        let Some(source) = self.sources.arrived(now, fetch, block) else { return Fate::Drop };
        self.meter.add(now, block.len.into());
        let fate = self.take_in(source, block);
        if fate != Fate::Drop {
            self.sources.kept(now, source, block.len);
        }
        self.sources.stop_if_idle(&mut self.picker, fetch);
        self.go_on(now);
        fate
    }

    /// A range has ended, `Ok` when its body did as its head announced.
    pub fn handle_fetch_end(
        &mut self,
        now: Instant,
        fetch: FetchKey,
        how: Result<(), SourceFault>,
    ) {
        let gone = self.sources.ended(now, &mut self.picker, fetch, how);
        self.tell_gone(gone);
        self.go_on(now);
    }

    /// What [`WholeEvent::Check`] has brought. If there was nothing to compare with, that is good.
    pub fn handle_checked(&mut self, now: Instant, verdict: Verdict) {
        if self.state != State::Checking {
            return;
        }
        if verdict == Verdict::Good {
            self.state = State::Over;
            return self.events.push_back(WholeEvent::Done);
        }
        self.state = State::Fetching;
        // Who gave all of it alone has lied, and nobody else.
        let givers: BTreeSet<Option<SourceKey>> = self.givers.iter().copied().collect();
        if givers.len() == 1
            && let Some(Some(liar)) = givers.first()
        {
            self.sources.end(&mut self.picker, *liar, SourceFault::BadPiece);
            self.tell_gone([(*liar, SourceFault::BadPiece)]);
        }
        if self.ask_one(now) { self.go_on(now) } else { self.fail() }
    }

    /// Time has passed: call when [`Self::poll_timeout`] says so; calling early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_tick <= now && self.state == State::Fetching {
            self.next_tick = now + TICK;
            let gone = self.sources.tick(now, &mut self.picker, false);
            self.tell_gone(gone);
            self.go_on(now);
        } else if self.fill_at.is_some_and(|at| at <= now) {
            self.go_on(now);
        }
    }

    /// When [`Self::handle_timeout`] must be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let fetching = self.state == State::Fetching;
        fetching.then(|| self.fill_at.map_or(self.next_tick, |at| at.min(self.next_tick)))
    }

    /// The next thing for the driver.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<WholeEvent> {
        self.events.pop_front()
    }

    /// Bytes received so far.
    pub const fn downloaded(&self) -> u64 {
        self.meter.total()
    }

    /// How it stands.
    pub fn status(&self, now: Instant) -> WholeStatus {
        WholeStatus {
            done: self.config.len - self.picker.wanted_left(),
            downloaded: self.meter.total(),
            down: self.meter.rate(now),
            sources: self.sources.status(now),
        }
    }

    /// Bytes of the parts that are there, by who gave them; those that several gave are nobody's.
    pub fn given(&self) -> BTreeMap<SourceKey, u64> {
        let mut given = BTreeMap::new();
        for (piece, giver) in self.geometry.iter().zip(&self.givers) {
            if let Some(giver) = giver {
                *given.entry(*giver).or_default() += u64::from(self.geometry.size_of(piece));
            }
        }
        given
    }

    fn take_in(&mut self, source: SourceKey, block: Block) -> Fate {
        let at = block.piece.idx();
        let (cancel, whole) = match self.picker.block_arrived(source.peer(), block) {
            Arrival::Unasked | Arrival::Duplicate => return Fate::Drop,
            Arrival::Kept { cancel } => (cancel, false),
            Arrival::PieceReady { cancel } => (cancel, true),
        };
        self.givers[at] = None; // what lay there is being written over
        if whole {
            let givers = self.picker.piece_checked(block.piece, Verdict::Good);
            if let [PeerKey(one)] = givers[..] {
                self.givers[at] = Some(SourceKey(one));
            }
            for PeerKey(giver) in givers {
                // No part of it is proven before all of it is.
                self.sources.passed(&mut self.picker, SourceKey(giver), 0);
            }
        }
        for PeerKey(other) in cancel {
            self.sources.cancelled(&mut self.picker, SourceKey(other), block);
        }
        Fate::Keep(block)
    }

    /// Asks for what is missing, and notices that nothing is, or nobody is left.
    fn go_on(&mut self, now: Instant) {
        self.fill_at = None;
        if self.state != State::Fetching {
            return;
        }
        if self.picker.is_done() {
            self.state = State::Checking;
            self.sources.done(now, &mut self.picker);
            return self.events.push_back(WholeEvent::Check);
        }
        self.replace_lone(now);
        if self.sources.is_empty() {
            if self.next_key > 0 {
                self.fail();
            }
            return;
        }
        let total = self.meter.rate(now);
        self.fill_at = self.sources.fill(now, &mut self.picker, &mut self.limit, total);
    }

    /// If one host is to give all of it and cannot, it is another's turn.
    fn replace_lone(&mut self, now: Instant) {
        let Some(lone) = self.alone else {
            if !self.config.checked {
                self.ask_one(now);
            }
            return;
        };
        let stuck =
            self.sources.left(now).find(|&(key, _)| key == lone).is_none_or(|(_, rests)| rests);
        if stuck && self.sources.left(now).any(|(key, rests)| key != lone && !rests) {
            self.ask_one(now);
        }
    }

    /// From now on one host is to give all of it: of those that do not rest, the one of whom most is there. False if there
    /// is none.
    fn ask_one(&mut self, now: Instant) -> bool {
        let given = |key| self.givers.iter().filter(|giver| **giver == Some(key)).count();
        let left = self.sources.left(now);
        let Some((.., key)) = left.map(|(key, rests)| (rests, Reverse(given(key)), key)).min()
        else {
            return false;
        };
        self.alone = Some(key);
        self.sources.done(now, &mut self.picker);
        let mine = |piece: PieceIndex| self.givers[piece.idx()] == Some(key);
        self.picker = picker(self.geometry, mine, &mut self.rng);
        self.sources.ask_only(now, &mut self.picker, key);
        true
    }

    fn fail(&mut self) {
        self.state = State::Over;
        self.events.push_back(WholeEvent::Failed);
    }

    fn tell_gone(&mut self, gone: impl IntoIterator<Item = (SourceKey, SourceFault)>) {
        let gone = gone.into_iter();
        self.events.extend(gone.map(|(source, fault)| WholeEvent::SourceGone { source, fault }));
    }
}

/// A picker for which the parts are there that `have` says.
fn picker(geometry: Geometry, have: impl Fn(PieceIndex) -> bool, rng: &mut Rng) -> Picker {
    let mut there = Bitfield::empty(geometry.pieces());
    geometry.iter().filter(|&piece| have(piece)).for_each(|piece| _ = there.insert(piece));
    Picker::new(geometry, there, rng.fork())
}
