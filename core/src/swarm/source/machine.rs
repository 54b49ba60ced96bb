//! The sources of one torrent: which are asked, for how much, and what follows from what they do.

mod room;

use super::range::Fetch;
use super::{
    Ask, FetchKey, Part, SourceFault, SourceKey, SourceOp, SourceSpec, SourceStatus, Trail,
};
use crate::bitfield::Bitfield;
use crate::blame::Blame;
use crate::clock::Instant;
use crate::geometry::{BLOCK_LEN, Block, Geometry, PieceIndex};
use crate::swarm::picker::Picker;
use crate::swarm::rate::{Meter, TokenBucket};
use crate::swarm::roster::{Sentence, Standing};
use crate::units::BytesPerSec;
use room::SLOW_REST;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// Sources of one torrent, those that are gone included, for what they sent stays counted. At the bound the oldest of
/// the gone ones is forgotten; if there is none, no other is added.
pub const SOURCES_MAX: usize = 64;
/// Sources that are asked at a time; the others wait until one of these fails or turns out slow.
pub const ACTIVE_MAX: usize = 8;
/// Ranges that one source may be asked for at a time (transmission: 4 connections).
pub const PARALLEL_MAX: usize = 4;
/// What a range should take at the speed measured: long enough that the pause before the next does not matter, short
/// enough that nobody sits on much when others are done.
pub const RANGE_TIME: Duration = Duration::from_secs(8);
/// Bytes of a range at a source whose speed is not known; every range may be so long (mldonkey), and one piece.
pub const FIRST_LEN: u64 = 256 << 10;
/// Bytes of a range at most, but for one piece (libtorrent: a request to a web seed).
pub const LEN_MAX: u64 = 16 << 20;
/// Bytes asked of all sources, beyond which none is asked for more, unless a slow one makes room: what they keep others
/// from, and what may still come while the disk is behind. The pieces that they are sending, one of each range, may be as
/// large together: they are in memory until they are whole, and the picker counts them to nobody else.
pub const AHEAD_MAX: u64 = 64 << 20;
/// A source that has been asked and has sent no block for so long is asked for nothing for a while.
pub const STALL_AFTER: Duration = Duration::from_secs(30);
/// Failures in a row, without a good piece in between, after which a source is given up: if the last was of the network,
/// which is some ten minutes, and if it was of the host.
const FAILURES_MAX: (u32, u32) = (8, 3);
/// Rest after a failure; twice as long after each further one.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(600);
/// Rest of a source that is busy, if it does not say how long, and the bounds of what it may say.
const BUSY_REST: Duration = Duration::from_secs(60);
const BUSY_REST_MIN: Duration = Duration::from_secs(5);
const BUSY_REST_MAX: Duration = Duration::from_secs(1800);
/// A source that has nothing that we lack is looked at again after this.
const SATED_REST: Duration = Duration::from_secs(60);
/// What a range may be worth of a limit, but for one piece.
const LIMITED_TIME: Duration = Duration::from_secs(1);
/// Blocks in a row that came from others meanwhile, for which it pays to ask anew for what comes after them.
const HOLE: usize = 16;

/// One source.
struct Host {
    spec: SourceSpec,
    /// Bytes that were of use.
    down: Meter,
    /// Bytes in pieces that passed their hash.
    good: u64,
    /// What its last range came with, or did until it had to make room; `None` before that.
    speed: Option<BytesPerSec>,
    standing: Standing,
    /// Ranges at a time that it bears, as far as is known.
    parallel: usize,
    /// In a row, without a good piece in between.
    failures: u32,
    /// Not to be asked before.
    rest_until: Instant,
    /// The picker knows it, since then.
    active: Option<Instant>,
    /// Where its last range ended.
    after: Option<PieceIndex>,
    /// The range that it was asked for last.
    asked: Option<FetchKey>,
    gone: Option<SourceFault>,
}

/// The sources of one torrent. See the module's page.
#[derive(Default)]
pub(in crate::swarm) struct Sources {
    hosts: BTreeMap<SourceKey, Host>,
    fetches: BTreeMap<FetchKey, Fetch>,
    next_fetch: u32,
    ops: VecDeque<SourceOp>,
    /// Bytes that the limit has paid for and that will not come.
    unused: u64,
    /// The only one who is asked, if not all may be.
    only: Option<SourceKey>,
}

impl Sources {
    /// Adds a source, unless there are [`SOURCES_MAX`].
    pub(in crate::swarm) fn add(&mut self, now: Instant, key: SourceKey, spec: SourceSpec) -> bool {
        if self.hosts.len() >= SOURCES_MAX {
            let gone = self.hosts.iter().find(|(_, host)| host.gone.is_some());
            let Some((&gone, _)) = gone else { return false };
            self.hosts.remove(&gone);
        }
        let parallel = spec.parallel.clamp(1, PARALLEL_MAX);
        let host = Host {
            spec,
            down: Meter::new(now),
            good: 0,
            speed: None,
            standing: Standing::default(),
            parallel,
            failures: 0,
            rest_until: now,
            active: None,
            after: None,
            asked: None,
            gone: None,
        };
        self.hosts.insert(key, host);
        true
    }

    /// Whether the same file of the same host may be asked for already: two networks, or two hits, name one host.
    pub(in crate::swarm) fn is_known(&self, spec: &SourceSpec) -> bool {
        let same = |host: &Host| host.spec.addr == spec.addr && host.spec.span == spec.span;
        spec.addr.is_some() && self.hosts.values().any(|host| host.gone.is_none() && same(host))
    }

    /// Whether there is anybody who may be asked, now or later.
    pub(in crate::swarm) fn is_empty(&self) -> bool {
        self.hosts.values().all(|host| host.gone.is_some())
    }

    /// Whether any is being asked.
    pub(in crate::swarm) fn is_asking(&self) -> bool {
        !self.fetches.is_empty()
    }

    pub(in crate::swarm) fn knows(&self, key: SourceKey) -> bool {
        self.hosts.contains_key(&key)
    }

    pub(in crate::swarm) fn addr_of(&self, key: SourceKey) -> Option<std::net::SocketAddr> {
        self.hosts.get(&key).and_then(|host| host.spec.addr)
    }

    pub(in crate::swarm) fn poll(&mut self) -> Option<SourceOp> {
        self.ops.pop_front()
    }

    /// When somebody who rests may be asked again.
    pub(in crate::swarm) fn poll_timeout(&self) -> Option<Instant> {
        let rests = self.hosts.iter().filter(|(key, host)| {
            host.gone.is_none() && host.active.is_none() && self.may_ask(**key)
        });
        rests.map(|(_, host)| host.rest_until).min()
    }

    pub(in crate::swarm) fn status(&self, now: Instant) -> Vec<SourceStatus> {
        let each = self.hosts.iter().map(|(&source, host)| SourceStatus {
            source,
            downloaded: host.down.total(),
            good: host.good,
            down: host.down.rate(now),
            fetches: self.running(source),
            gone: host.gone.clone(),
        });
        each.collect()
    }

    /// Asks for as much as the sources and the limit bear. `total` is what arrives from everybody. Says when the limit lets
    /// more through, if that is what is in the way.
    pub(in crate::swarm) fn fill(
        &mut self,
        now: Instant,
        picker: &mut Picker,
        limit: &mut TokenBucket,
        total: BytesPerSec,
    ) -> Option<Instant> {
        // A limit is not to be used up for long ahead: peers share it, and all who are asked have their turn within that time.
        self.activate(now, picker);
        let each = |limit: BytesPerSec| {
            let all = limit.times(LIMITED_TIME);
            (all / self.active().count().max(1) as u64).max(FIRST_LEN).min(all)
        };
        let most = limit.limit().map(each);
        let least = u64::from(BLOCK_LEN);
        limit.put_back(std::mem::take(&mut self.unused));
        loop {
            if !limit.take_all(now, least) {
                return Some(limit.ready_at(now, least));
            }
            let Some(asked) = self.ask(now, picker, total, most) else {
                limit.put_back(least);
                return None;
            };
            limit.owe(asked.saturating_sub(least));
        }
    }

    /// From now on only this one is asked.
    pub(in crate::swarm) fn ask_only(
        &mut self,
        now: Instant,
        picker: &mut Picker,
        only: SourceKey,
    ) {
        self.only = Some(only);
        let others = self.active().map(|(key, _)| key).filter(|&key| !self.may_ask(key));
        let others: Vec<SourceKey> = others.collect();
        others.into_iter().for_each(|key| self.rest(picker, key, now));
    }

    /// Those who are not given up, and whether they rest after a failure.
    pub(in crate::swarm) fn left(&self, now: Instant) -> impl Iterator<Item = (SourceKey, bool)> {
        let left = self.hosts.iter().filter(|(_, host)| host.gone.is_none());
        left.map(move |(&key, host)| (key, host.active.is_none() && host.rest_until > now))
    }

    /// Asks one source for one range, if there is one to ask and anything to ask it for. `total` is what arrives from
    /// everybody, `most` what a limit lets through, if there is one. Returns the bytes asked for.
    fn ask(
        &mut self,
        now: Instant,
        picker: &mut Picker,
        total: BytesPerSec,
        most: Option<u64>,
    ) -> Option<u64> {
        self.activate(now, picker);
        let piece_len = u64::from(picker.geometry().piece_len());
        let mut blocks = Vec::new();
        if self.ahead().max(self.fetches.len() as u64 * piece_len) >= AHEAD_MAX {
            let key = self.make_room(now, picker)?;
            // What others have begun is in memory already.
            picker.reserve_stretch(key.peer(), piece_len, &mut blocks);
            if !blocks.is_empty() {
                return Some(self.begin(now, key, *picker.geometry(), blocks));
            }
        }
        let fastest = self.active().map(|(_, host)| host.down.rate(now)).max().unwrap_or_default();
        let mut free: Vec<_> = self
            .active()
            .map(|(key, host)| (self.running(key), host.asked, key, host.down.rate(now)))
            .filter(|&(running, _, key, _)| running < self.hosts[&key].parallel)
            .collect();
        // The idle ones first. Of these who was not asked for longest: who is fast has his turn more often. Where a limit
        // lets one ask at a time all may be faster than it, and who was given most of it looks fastest: there it is the
        // turn of who has had least.
        free.sort_unstable_by_key(|&(running, asked, key, rate)| {
            (running, most.map(|_| rate), asked, key)
        });
        for (_, _, key, rate) in free {
            let len = self.range_len(key, rate, total, picker.wanted_left());
            let len = most.map_or(len, |most| len.min(most.max(1)));
            picker.reserve_run(key.peer(), self.hosts[&key].after, len, &mut blocks);
            if blocks.is_empty() && rate.0 * 2 >= fastest.0 {
                picker.duplicate_run(key.peer(), len, &mut blocks);
            }
            if !blocks.is_empty() {
                return Some(self.begin(now, key, *picker.geometry(), blocks));
            }
        }
        None
    }

    /// Lets those in that may be asked, while there is room; and out those that have nothing for us.
    fn activate(&mut self, now: Instant, picker: &mut Picker) {
        let sated = |&(key, _): &(SourceKey, &Host)| {
            !picker.is_interesting(key.peer()) && self.running(key) == 0
        };
        let sated: Vec<SourceKey> = self.active().filter(sated).map(|(key, _)| key).collect();
        for key in sated {
            self.rest(picker, key, now + SATED_REST);
        }
        let mut waiting: Vec<_> =
            self.waiting(now).map(|(key, host)| (host.failures, key)).collect();
        waiting.sort_unstable();
        for (_, key) in waiting {
            if self.active().count() >= ACTIVE_MAX {
                return;
            }
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            picker.source_joined(key.peer(), pieces_in(picker.geometry(), &host.spec.span));
            picker.set_parole(key.peer(), host.standing.parole);
            host.active = Some(now);
            if !picker.is_interesting(key.peer()) {
                self.rest(picker, key, now + SATED_REST);
            }
        }
    }

    /// What this source does in [`RANGE_TIME`], and not more than its share of what is left, so that all are done at
    /// about the same time.
    fn range_len(&self, key: SourceKey, rate: BytesPerSec, total: BytesPerSec, left: u64) -> u64 {
        let Some(host) = self.hosts.get(&key) else { return FIRST_LEN };
        let rate = rate.0 / host.parallel as u64;
        let share = u128::from(left) * u128::from(rate) / u128::from(total.0.max(rate).max(1));
        let len = BytesPerSec(rate).times(RANGE_TIME).min(share as u64);
        len.clamp(FIRST_LEN, LEN_MAX)
    }

    fn begin(
        &mut self,
        now: Instant,
        source: SourceKey,
        geometry: Geometry,
        blocks: Vec<Block>,
    ) -> u64 {
        let fetch = FetchKey(self.next_fetch);
        self.next_fetch += 1;
        let len = blocks.iter().map(|block| u64::from(block.len)).sum();
        let (Some(host), Some(&first), Some(&last)) =
            (self.hosts.get_mut(&source), blocks.first(), blocks.last())
        else {
            return 0;
        };
        host.after = Some(last.piece);
        host.asked = Some(fetch);
        let at = geometry.offset_of(first.piece) + u64::from(first.begin);
        let Range { start, end } = host.spec.span;
        let part = Part { first: at - start, len, file_len: end - start };
        let trail = Trail::new(host.spec.teller);
        self.ops.push_back(SourceOp::Ask(Ask { fetch, source, at, part, trail }));
        let wanted = blocks.len();
        let blocks = blocks.into_iter().map(|block| (block, true)).collect();
        self.fetches.insert(fetch, Fetch { source, blocks, wanted, got: 0, begun: now, last: now });
        len
    }

    /// A block has come. Says whose it is, if it is the one that was due.
    pub(in crate::swarm) fn arrived(
        &mut self,
        now: Instant,
        key: FetchKey,
        block: Block,
    ) -> Option<SourceKey> {
        let fetch = self.fetches.get_mut(&key)?;
        let &(_, wanted) = fetch.blocks.front().filter(|(due, _)| *due == block)?;
        fetch.blocks.pop_front();
        fetch.wanted -= usize::from(wanted);
        fetch.got += u64::from(block.len);
        fetch.last = now;
        Some(fetch.source)
    }

    /// A block was of use.
    pub(in crate::swarm) fn kept(&mut self, now: Instant, key: SourceKey, len: u32) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.down.add(now, len.into());
        }
    }

    /// Somebody else has sent this block. Says whether a range was stopped for it.
    pub(in crate::swarm) fn cancelled(
        &mut self,
        picker: &mut Picker,
        key: SourceKey,
        block: Block,
    ) -> bool {
        let mine = self.fetches.iter_mut().filter(|(_, fetch)| fetch.source == key);
        let hit = mine.map(|(&of, fetch)| (of, fetch)).find_map(|(of, fetch)| {
            let at = fetch.blocks.binary_search_by_key(&block, |&(block, _)| block).ok()?;
            Some((of, fetch, at))
        });
        let Some((of, fetch, at)) = hit else { return false };
        fetch.wanted -= usize::from(std::mem::take(&mut fetch.blocks[at].1));
        self.stop_if_idle(picker, of)
    }

    /// Reads no more of a range of which nothing is wanted, or nothing for long. Says whether it was stopped.
    pub(in crate::swarm) fn stop_if_idle(&mut self, picker: &mut Picker, key: FetchKey) -> bool {
        let Some(fetch) = self.fetches.get(&key) else { return false };
        let hole = fetch.blocks.iter().take_while(|(_, wanted)| !wanted).count();
        let idle = hole >= HOLE || (fetch.wanted == 0 && !fetch.blocks.is_empty());
        if idle {
            self.stop(key, false);
            self.release(picker, key);
        }
        idle
    }

    /// A range has ended: `Ok` when its body did as announced. Says if its source is gone for it.
    pub(in crate::swarm) fn ended(
        &mut self,
        now: Instant,
        picker: &mut Picker,
        key: FetchKey,
        how: Result<(), SourceFault>,
    ) -> Option<(SourceKey, SourceFault)> {
        let fetch = self.release(picker, key)?;
        if let Some(host) = self.hosts.get_mut(&fetch.source)
            && fetch.got > 0
        {
            let took = now.since(fetch.begun).as_micros().max(1);
            let speed = u128::from(fetch.got) * 1_000_000 / took;
            host.speed = Some(BytesPerSec(speed.try_into().unwrap_or(u64::MAX)));
        }
        match how {
            // A host that has only some of what was asked for may say so, but not nothing.
            Ok(()) if fetch.got > 0 => None,
            Ok(()) => {
                let want = fetch.missing();
                self.failed(now, picker, fetch.source, SourceFault::Short { got: 0, want })
            }
            Err(fault) => self.failed(now, picker, fetch.source, fault),
        }
    }

    /// Notices silence and slowness. `behind`: the driver does not read, so nobody is silent. Says who is gone.
    pub(in crate::swarm) fn tick(
        &mut self,
        now: Instant,
        picker: &mut Picker,
        behind: bool,
    ) -> Vec<(SourceKey, SourceFault)> {
        if behind {
            self.fetches.values_mut().for_each(|fetch| fetch.last = now);
        }
        let silent = |fetch: &Fetch| now.since(fetch.last) >= STALL_AFTER;
        let silent = self.fetches.iter().filter(|(_, fetch)| silent(fetch));
        let silent: Vec<FetchKey> = silent.map(|(&key, _)| key).collect();
        let mut gone = Vec::new();
        for key in silent {
            let begun = self.fetches.get(&key).is_some_and(|fetch| fetch.got > 0);
            self.stop(key, begun);
            gone.extend(self.ended(now, picker, key, Err(SourceFault::Stalled)));
        }
        if let Some(slow) = self.slow(now) {
            self.rest(picker, slow, now + SLOW_REST);
        }
        gone
    }

    /// A source did not do what it was asked for. Says if it is gone for it.
    fn failed(
        &mut self,
        now: Instant,
        picker: &mut Picker,
        key: SourceKey,
        fault: SourceFault,
    ) -> Option<(SourceKey, SourceFault)> {
        let running = self.running(key);
        let host = self.hosts.get_mut(&key)?;
        let rest = match fault {
            // It serves us: only not so many ranges at a time.
            _ if running > 0 && fault.blame() == Blame::Network => {
                host.parallel = running;
                return None;
            }
            SourceFault::Busy { retry_after: Some(rest) } => {
                rest.clamp(BUSY_REST_MIN, BUSY_REST_MAX)
            }
            SourceFault::Busy { retry_after: None } => BUSY_REST,
            _ => {
                host.failures += 1;
                REST.saturating_mul(1 << host.failures.min(16) >> 1).min(REST_MAX)
            }
        };
        let most = if fault.blame() == Blame::Remote { FAILURES_MAX.1 } else { FAILURES_MAX.0 };
        if host.failures >= most && !matches!(fault, SourceFault::Busy { .. }) {
            self.end(picker, key, fault.clone());
            return Some((key, fault));
        }
        self.rest(picker, key, now + rest);
        None
    }

    /// Never to be asked again.
    pub(in crate::swarm) fn end(
        &mut self,
        picker: &mut Picker,
        key: SourceKey,
        fault: SourceFault,
    ) {
        self.rest(picker, key, Instant::FAR_FUTURE);
        if let Some(host) = self.hosts.get_mut(&key) {
            host.gone = Some(fault);
        }
    }

    /// Not to be asked before `until`: what it was asked for goes to others.
    fn rest(&mut self, picker: &mut Picker, key: SourceKey, until: Instant) {
        let mine = self.fetches.iter().filter(|(_, fetch)| fetch.source == key);
        let mine: Vec<FetchKey> = mine.map(|(&key, _)| key).collect();
        for fetch in mine {
            self.stop(fetch, false);
            self.forget(fetch);
        }
        picker.peer_left(key.peer());
        if let Some(host) = self.hosts.get_mut(&key) {
            host.active = None;
            host.rest_until = until;
        }
    }

    /// There is nothing to ask for any more.
    pub(in crate::swarm) fn done(&mut self, now: Instant, picker: &mut Picker) {
        let active: Vec<SourceKey> = self.active().map(|(key, _)| key).collect();
        active.into_iter().for_each(|key| self.rest(picker, key, now));
    }

    /// A piece to which it contributed was good, of which it gave so many bytes.
    pub(in crate::swarm) fn passed(&mut self, picker: &mut Picker, key: SourceKey, good: u64) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.good += good;
            host.failures = 0;
            host.standing.passed();
            picker.set_parole(key.peer(), false);
        }
    }

    /// A piece to which it contributed was bad. If it is gone for it, the caller bans its address.
    pub(in crate::swarm) fn spoiled(
        &mut self,
        picker: &mut Picker,
        key: SourceKey,
        alone: bool,
    ) -> Option<(SourceKey, SourceFault)> {
        let host = self.hosts.get_mut(&key)?;
        if host.standing.failed(alone) == Sentence::Ban {
            self.end(picker, key, SourceFault::BadPiece);
            return Some((key, SourceFault::BadPiece));
        }
        picker.set_parole(key.peer(), true);
        None
    }

    /// Whether it is gone for a bad piece.
    pub(in crate::swarm) fn is_liar(&self, key: SourceKey) -> bool {
        self.hosts.get(&key).is_some_and(|host| host.gone == Some(SourceFault::BadPiece))
    }

    /// Tells the driver to stop, if it has begun.
    fn stop(&mut self, fetch: FetchKey, broke_off: bool) {
        let waits = |op: &SourceOp| matches!(op, SourceOp::Ask(ask) if ask.fetch == fetch);
        match self.ops.iter().position(waits) {
            Some(at) => drop(self.ops.remove(at)),
            None => self.ops.push_back(SourceOp::Stop { fetch, broke_off }),
        }
    }

    /// Takes a range off the list; what is left of it goes to others.
    fn release(&mut self, picker: &mut Picker, key: FetchKey) -> Option<Fetch> {
        let fetch = self.forget(key)?;
        for &(block, _) in fetch.blocks.iter().filter(|(_, wanted)| *wanted) {
            picker.release(fetch.source.peer(), block);
        }
        Some(fetch)
    }

    fn forget(&mut self, key: FetchKey) -> Option<Fetch> {
        let fetch = self.fetches.remove(&key)?;
        self.unused += fetch.missing();
        Some(fetch)
    }

    fn active(&self) -> impl Iterator<Item = (SourceKey, &Host)> + '_ {
        let active = self.hosts.iter().filter(|(_, host)| host.active.is_some());
        active.map(|(&key, host)| (key, host))
    }

    /// Those that could be asked, and are not.
    fn waiting(&self, now: Instant) -> impl Iterator<Item = (SourceKey, &Host)> + '_ {
        let may = move |host: &Host| {
            host.gone.is_none() && host.active.is_none() && host.rest_until <= now
        };
        let waiting = self.hosts.iter().filter(move |(key, host)| may(host) && self.may_ask(**key));
        waiting.map(|(&key, host)| (key, host))
    }

    fn may_ask(&self, key: SourceKey) -> bool {
        self.only.is_none_or(|only| only == key)
    }

    fn running(&self, key: SourceKey) -> usize {
        self.fetches.values().filter(|fetch| fetch.source == key).count()
    }

    /// Bytes that were asked for and have not come.
    fn ahead(&self) -> u64 {
        let blocks: usize = self.fetches.values().map(|fetch| fetch.blocks.len()).sum();
        blocks as u64 * u64::from(BLOCK_LEN)
    }
}

/// The pieces that lie in this part of the torrent as a whole.
pub(in crate::swarm) fn pieces_in(geometry: &Geometry, span: &Range<u64>) -> Bitfield {
    let mut pieces = Bitfield::empty(geometry.pieces());
    let first = span.start.div_ceil(geometry.piece_len().into());
    let from = u32::try_from(first).unwrap_or(u32::MAX).min(geometry.pieces());
    for piece in (from..geometry.pieces()).map(PieceIndex) {
        if geometry.offset_of(piece) + u64::from(geometry.size_of(piece)) > span.end {
            break;
        }
        pieces.insert(piece);
    }
    pieces
}
