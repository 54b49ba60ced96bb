//! Whom to serve.
//!
//! While downloading: the peers that send us most, and one more in turn, so that newcomers get a first piece and
//! better partners are found. While seeding: everybody in turn, each for a quota, and those first who pass on what
//! they are given. Free riders come last: in rank, and by whoever spends a limit.
//! Sees measured rates, states and the caller's verdict on hoarders only; never cuts a connection, never counts a
//! byte and never sends.
//= BEP 3 §choking and optimistic unchoking

use crate::clock::Instant;
use crate::proto::peer::Choke;
use crate::rng::Rng;
use crate::swarm::PeerKey;
use crate::units::BytesPerSec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two rounds (BEP 3, Transmission).
pub const ROUND: Duration = Duration::from_secs(10);
/// How long one peer keeps the optimistic slot (BEP 3).
pub const OPTIMISTIC: Duration = Duration::from_secs(30);
/// A peer that unchoked us and sends no block for so long is snubbed (BEP 3). The caller measures it.
pub const SNUBBED_AFTER: Duration = Duration::from_secs(60);
/// A peer keeps a state for at least so long, except that it is choked when it leaves (BEP 3, Transmission).
pub const FIBRILLATION_GUARD: Duration = Duration::from_secs(10);
/// Of three turns of the optimistic slot in a row at most so many go to peers that were never served, while others
/// wait: about BEP 3's triple chance, but with a bound, and no gain in reconnecting over and over.
pub const NEWCOMER_TURNS: u32 = 2;
/// Free riders together get the optimistic slot once in so many turns: enough to mend their ways (measured in
/// `core/tests/sim/fairness.rs`: at 4 they hold a quarter more).
pub const RIDER_TURNS: u32 = 8;
/// While seeding a peer gives its slot away after [`ChokerConfig::quota`] and not before this (libtorrent).
pub const SEED_DWELL_MIN: Duration = Duration::from_secs(60);
/// While seeding it gives it away after this however little it took.
pub const SEED_DWELL_MAX: Duration = Duration::from_secs(180);
/// While seeding a peer that takes nothing has had its turn after this: it may have vanished without a word.
pub const SEED_STALLED_AFTER: Duration = Duration::from_secs(15);
/// Default quota: 20 pieces of 256 KiB (libtorrent: 20 pieces).
pub const QUOTA: u64 = 20 * 256 * 1024;
/// Automatic slots at and below [`SLOTS_AUTO_RATE`]: fewer, and one slow peer leaves the uplink idle (BEP 3: 4).
pub const SLOTS_AUTO_MIN: usize = 4;
/// Every doubling of the upload limit above this adds a slot: 4 at 100 KiB/s, 11 at 20 MiB/s, 25 at most. A slot
/// gets faster as the uplink does, for a piece that leaves quickly is passed on quickly.
pub const SLOTS_AUTO_RATE: BytesPerSec = BytesPerSec(100 * 1024);
/// Automatic slots before anything was measured, without a limit (libtorrent: 8). Few: of fifty leeches that start
/// beside a fast seed, those that it does not serve yet fetch from each other, and it sends fewer copies.
pub const SLOTS_AUTO_START: usize = SLOTS_AUTO_MIN;
/// Most automatic slots.
pub const SLOTS_AUTO_MAX: usize = 25;
/// Without a limit there are as many slots as peers, fastest first, that take this much more each than the one
/// before, and one (libtorrent's rate based choker: 2 KiB/s): as many as still do not slow each other down.
pub const SLOT_RATE_STEP: BytesPerSec = BytesPerSec(8 * 1024);

/// An uplink less in use than this, with every slot taken and peers waiting, gets one slot more each round.
pub const IDLE_BELOW_PERCENT: usize = 80;
/// An uplink more in use than this gives one of those back each round.
pub const FULL_ABOVE_PERCENT: usize = 95;

/// From so much of a limit on, used by those who give, free riders get no regular slot, until it is less than
/// [`GIVERS_SPARE_PERCENT`]. Free riders get only what is left at any moment, yet a slot of theirs finds some whenever
/// the others' requests are on their way, and these then find less. What free riders take does not count here, so
/// they do not come and go by their own doing.
pub const GIVERS_NEED_PERCENT: usize = 60;
/// See [`GIVERS_NEED_PERCENT`].
pub const GIVERS_SPARE_PERCENT: usize = 40;
/// Payload that anybody may take on credit, or two pieces if that is more: who has none cannot give any. Beyond it
/// [`TAKER_SHARE`] counts.
pub const TAKER_MIN: u64 = 1024 * 1024;
/// Who has given less than one part in so many of what it took is a free rider.
pub const TAKER_SHARE: u64 = 16;

/// How many peers are served at once, the optimistic one not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Slots {
    /// As many as the uplink feeds at a useful rate.
    #[default]
    Auto,
    /// Always so many.
    Fixed(usize),
}

/// Who deserves a slot. Only simulations use anything but the default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChokerPolicy {
    /// Anybody, to show what reciprocity is good for.
    Random,
    /// Whoever sends us most.
    #[default]
    TitForTat,
}

/// What a user may choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChokerConfig {
    /// How many peers are served at once.
    pub slots: Slots,
    /// Bytes that a peer gets from a seed before others get their turn.
    pub quota: u64,
    /// Who deserves a slot.
    pub policy: ChokerPolicy,
}

impl Default for ChokerConfig {
    fn default() -> Self {
        Self { slots: Slots::Auto, quota: QUOTA, policy: ChokerPolicy::TitForTat }
    }
}

/// A peer as the choker sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Contender {
    /// Who.
    pub peer: PeerKey,
    /// Whether it wants something that we have.
    pub interested: bool,
    /// Whether we serve it now.
    pub unchoked: bool,
    /// What it sends us, payload, measured over about a round.
    pub down: BytesPerSec,
    /// What it takes from us, payload.
    pub up: BytesPerSec,
    /// Whether it keeps us waiting, see [`SNUBBED_AFTER`].
    pub snubbed: bool,
    /// When it connected.
    pub joined: Instant,
    /// Payload sent to it since it was unchoked.
    pub sent: u64,
    /// Whether it has everything: it is never served.
    pub complete: bool,
    /// Payload that it has sent us since it connected.
    pub given: u64,
    /// Payload that we have sent it since it connected.
    pub taken: u64,
    /// Whether it keeps to itself what a seed gives it, while others pass it on.
    pub hoards: bool,
}

impl Contender {
    fn wants(&self) -> bool {
        self.interested && !self.complete
    }
}

/// What the choker remembers of a peer. Bounded by the connections of the torrent: forgotten in `peer_left`.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// When we last changed its state.
    changed: Instant,
    /// When it was last unchoked.
    served: Instant,
}

/// Decides whom to serve. See the module's page.
#[derive(Clone, Debug)]
pub struct Choker {
    config: ChokerConfig,
    rng: Rng,
    slots: usize,
    /// Slots beyond what the limit suggests, because the uplink was not full with all of them in use.
    extra: usize,
    /// See [`TAKER_MIN`].
    credit: u64,
    /// Whether those who give use much of the limit: see [`GIVERS_NEED_PERCENT`].
    needed: bool,
    round_due: Instant,
    optimistic: Option<PeerKey>,
    optimistic_until: Instant,
    newcomer_turns: u32,
    /// When free riders may next have the optimistic slot.
    riders_due: Instant,
    records: BTreeMap<PeerKey, Record>,
}

impl Choker {
    /// A choker that serves nobody yet; its first round is due at once.
    pub fn new(config: ChokerConfig, rng: Rng) -> Self {
        let slots = match config.slots {
            Slots::Auto => SLOTS_AUTO_START,
            Slots::Fixed(slots) => slots,
        };
        Self {
            config,
            rng,
            slots,
            extra: 0,
            credit: TAKER_MIN,
            needed: false,
            round_due: Instant::ZERO,
            optimistic: None,
            optimistic_until: Instant::ZERO,
            newcomer_turns: 0,
            riders_due: Instant::ZERO,
            records: BTreeMap::new(),
        }
    }

    /// When to call [`Self::round`].
    pub const fn round_due(&self) -> Instant {
        self.round_due
    }

    /// How many peers are served at once, the optimistic one not counted.
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// Who has the optimistic slot.
    pub const fn optimistic(&self) -> Option<PeerKey> {
        self.optimistic
    }

    /// Changes the number of slots from the next round on.
    pub fn set_slots(&mut self, slots: Slots) {
        self.config.slots = slots;
    }

    /// Tells how large pieces are.
    pub fn set_piece_len(&mut self, bytes: u64) {
        self.credit = TAKER_MIN.max(bytes * 2);
    }

    /// Gives the slots away anew. Returns what changes; `peers` is every peer of the torrent, once.
    ///
    /// Peers that want nothing keep their state while slots are left: an interest that comes back in a second
    /// must not cost a round.
    #[must_use]
    pub fn round(
        &mut self,
        now: Instant,
        seeding: bool,
        upload_limit: Option<BytesPerSec>,
        upload_rate: BytesPerSec,
        peers: &[Contender],
    ) -> Vec<(PeerKey, Choke)> {
        self.round_due = now + ROUND;
        self.count_slots(upload_limit, upload_rate, peers);
        let givers = peers.iter().filter(|peer| !self.is_free_rider(seeding, peer));
        let rate = BytesPerSec(givers.map(|peer| peer.up.0).sum());
        let much = if self.needed { GIVERS_SPARE_PERCENT } else { GIVERS_NEED_PERCENT };
        self.needed = upload_limit.is_some_and(|limit| percent(rate, limit) >= much);
        let regular = self.regular(now, seeding, peers);
        self.turn_optimistic(now, seeding, &regular, peers);
        let mut kept = regular;
        kept.extend(self.optimistic);
        // Unchoked, without wants, and there is room: leave it.
        let content = |peer: &&Contender| peer.unchoked && !peer.interested && !peer.complete;
        for peer in peers.iter().filter(content) {
            if kept.len() <= self.slots {
                kept.insert(peer.peer);
            }
        }
        let mut changes = Vec::new();
        for peer in peers {
            let serve = kept.contains(&peer.peer) && !peer.complete;
            if serve != peer.unchoked && (peer.complete || !self.is_fresh(now, peer.peer)) {
                let choke = if serve { Choke::Unchoked } else { Choke::Choked };
                self.record(now, peer.peer, choke);
                changes.push((peer.peer, choke));
            }
        }
        changes
    }

    /// Between rounds: gives free slots to peers that wait, at once. Chokes nobody.
    #[must_use]
    pub fn fill(&mut self, now: Instant, seeding: bool, peers: &[Contender]) -> Vec<PeerKey> {
        let optimistic = self.optimistic;
        // Free riders wait for the next round, and hold no slot that anybody else could want.
        let served = |peer: &&Contender| {
            let regular = peer.unchoked && peer.wants() && Some(peer.peer) != optimistic;
            regular && !self.is_free_rider(seeding, peer)
        };
        let regular: BTreeSet<PeerKey> =
            peers.iter().filter(served).map(|peer| peer.peer).collect();
        let free = self.slots.saturating_sub(regular.len());
        let may =
            |peer: &&Contender| self.may_be_served(now, peer) && !self.is_free_rider(seeding, peer);
        let mut waiting: Vec<&Contender> = peers.iter().filter(may).collect();
        self.rank(now, seeding, &mut waiting);
        let mut new: Vec<PeerKey> = waiting.iter().take(free).map(|peer| peer.peer).collect();
        let holds = |peer: &Contender| Some(peer.peer) == optimistic && peer.wants();
        if !peers.iter().any(holds) && waiting.len() > free {
            let regular: BTreeSet<PeerKey> =
                regular.into_iter().chain(new.iter().copied()).collect();
            self.turn_optimistic(now, seeding, &regular, peers);
            new.extend(self.optimistic);
        }
        for &peer in &new {
            self.record(now, peer, Choke::Unchoked);
        }
        new
    }

    /// A peer is gone; its slot is free.
    pub fn peer_left(&mut self, peer: PeerKey) {
        self.records.remove(&peer);
        if self.optimistic == Some(peer) {
            self.optimistic = None;
        }
    }

    /// Who gets the regular slots. Those whose state is too fresh to be changed keep it, and count.
    fn regular(&mut self, now: Instant, seeding: bool, peers: &[Contender]) -> BTreeSet<PeerKey> {
        let wants: Vec<&Contender> = peers.iter().filter(|peer| peer.wants()).collect();
        let bound = |peer: &&Contender| {
            let fresh = peer.unchoked && self.is_fresh(now, peer.peer);
            fresh && Some(peer.peer) != self.optimistic && !self.is_free_rider(seeding, peer)
        };
        let mut regular: BTreeSet<PeerKey> =
            wants.iter().copied().filter(bound).map(|peer| peer.peer).collect();
        let free = |peer: &&Contender| {
            let stays_choked = !peer.unchoked && self.is_fresh(now, peer.peer);
            let snubs = peer.snubbed && !seeding; // it may have the optimistic slot
            let undeserving = snubs || (self.needed && self.is_free_rider(seeding, peer));
            !regular.contains(&peer.peer) && !stays_choked && !undeserving
        };
        let mut rest: Vec<&Contender> = wants.into_iter().filter(free).collect();
        self.rank(now, seeding, &mut rest);
        let room = self.slots.saturating_sub(regular.len());
        regular.extend(rest.iter().take(room).map(|peer| peer.peer));
        regular
    }

    /// Best first.
    fn rank(&mut self, now: Instant, seeding: bool, peers: &mut Vec<&Contender>) {
        if self.config.policy == ChokerPolicy::Random {
            self.rng.shuffle(peers);
        } else if seeding {
            peers.sort_by_key(|peer| {
                // In its quota; then those who wait, the longest first; then those who had theirs, the fastest first.
                let done = peer.unchoked && self.is_served_out(now, peer);
                let class = if peer.unchoked && !done { 0 } else { 1 + u8::from(done) };
                let waits = self.records.get(&peer.peer).map(|record| record.served);
                let order = if class == 1 { waits } else { None };
                (
                    self.is_free_rider(seeding, peer),
                    class,
                    order,
                    Reverse(peer.up),
                    peer.joined,
                    peer.peer,
                )
            });
        } else {
            peers.sort_by_key(|peer| {
                // Nothing sent yet: those in their first half minute, then who waits, then who had a chance.
                let record = self.records.get(&peer.peer);
                let chance = record
                    .filter(|_| peer.unchoked)
                    .map_or(Duration::MAX, |record| now.since(record.served));
                let class = if chance < OPTIMISTIC { 0 } else { 1 + u8::from(peer.unchoked) };
                (
                    Reverse(peer.down),
                    self.is_free_rider(seeding, peer),
                    class,
                    record.map(|record| record.served),
                    peer.joined,
                    peer.peer,
                )
            });
        }
    }

    /// Keeps the optimistic slot as it is, or gives it to the next in turn: somebody choked who wants something and
    /// has no regular slot. Never-served ones come first, but not always; then whoever waits longest.
    fn turn_optimistic(
        &mut self,
        now: Instant,
        seeding: bool,
        regular: &BTreeSet<PeerKey>,
        peers: &[Contender],
    ) {
        if self.config.slots == Slots::Fixed(0) {
            self.optimistic = None; // no slots means no uploads, not one upload
            return;
        }
        let holder = self.optimistic.and_then(|key| peers.iter().find(|peer| peer.peer == key));
        let keeps = holder.is_some_and(|peer| peer.wants() && !regular.contains(&peer.peer));
        if keeps && now < self.optimistic_until {
            return;
        }
        let next =
            |peer: &&Contender| !regular.contains(&peer.peer) && self.may_be_served(now, peer);
        let mut waiting: Vec<&Contender> = peers.iter().filter(next).collect();
        if waiting.is_empty() {
            if !keeps {
                self.optimistic = None;
            }
            return;
        }
        if self.config.policy == ChokerPolicy::Random {
            self.rng.shuffle(&mut waiting);
        } else {
            let fastest = |peer: &Contender| Reverse(if seeding { peer.up } else { peer.down });
            waiting.sort_by_key(|peer| {
                let served = self.records.get(&peer.peer).map(|record| record.served);
                (served, peer.joined, fastest(peer), peer.peer)
            });
        }
        let (mut riders, givers): (Vec<&Contender>, Vec<&Contender>) =
            waiting.into_iter().partition(|peer| self.is_free_rider(seeding, peer));
        self.rng.shuffle(&mut riders); // else all who serve would choose the same one
        let riders_turn = !riders.is_empty() && now >= self.riders_due;
        let waiting = if riders_turn { riders } else { givers };
        if waiting.is_empty() {
            // Rather nobody than a free rider longer than its turn: what it took, others would lack.
            if !keeps || holder.is_some_and(|peer| self.is_free_rider(seeding, peer)) {
                self.optimistic = None;
            }
            return;
        }
        if riders_turn {
            self.riders_due = now + OPTIMISTIC * RIDER_TURNS;
        }
        let is_new = |peer: &&Contender| !self.records.contains_key(&peer.peer);
        let others = waiting.iter().copied().find(|peer| !is_new(peer));
        let chosen = match others {
            Some(other) if is_new(&waiting[0]) && self.newcomer_turns >= NEWCOMER_TURNS => other,
            _ => waiting[0],
        };
        self.newcomer_turns = if is_new(&chosen) { self.newcomer_turns + 1 } else { 0 };
        self.optimistic = Some(chosen.peer);
        self.optimistic_until = now + OPTIMISTIC;
    }

    fn count_slots(&mut self, limit: Option<BytesPerSec>, rate: BytesPerSec, peers: &[Contender]) {
        let (served, waiting): (Vec<&Contender>, Vec<&Contender>) =
            peers.iter().filter(|peer| peer.wants()).partition(|peer| peer.unchoked);
        let contended = served.len() >= self.slots && !waiting.is_empty();
        self.slots = match (self.config.slots, limit) {
            (Slots::Fixed(slots), _) => slots,
            (Slots::Auto, Some(limit)) => {
                let used = percent(rate, limit);
                if used < IDLE_BELOW_PERCENT && contended {
                    self.extra += 1;
                } else if used > FULL_ABOVE_PERCENT {
                    self.extra = self.extra.saturating_sub(1);
                }
                let doublings = (limit.0 / SLOTS_AUTO_RATE.0).max(1).ilog2() as usize;
                let slots = SLOTS_AUTO_MIN + doublings + self.extra;
                self.extra -= slots.saturating_sub(SLOTS_AUTO_MAX).min(self.extra);
                slots.min(SLOTS_AUTO_MAX)
            }
            (Slots::Auto, None) if contended => {
                let mut rates: Vec<BytesPerSec> = served.iter().map(|peer| peer.up).collect();
                rates.sort_unstable_by_key(|&rate| Reverse(rate));
                let steps =
                    rates.iter().zip(1..).take_while(|(rate, nth)| rate.0 > SLOT_RATE_STEP.0 * nth);
                let useful = (steps.count() + 1).clamp(SLOTS_AUTO_MIN, SLOTS_AUTO_MAX);
                // One rate is no trend.
                useful.clamp(self.slots.saturating_sub(1), self.slots + (self.slots / 2).max(1))
            }
            (Slots::Auto, None) => self.slots, // nothing is contended, so nothing is learned
        };
    }

    /// Whether a peer is choked, wants something, and may be unchoked already.
    fn may_be_served(&self, now: Instant, peer: &Contender) -> bool {
        peer.wants() && !peer.unchoked && !self.is_fresh(now, peer.peer)
    }

    /// Whether a peer takes and does not give. It comes last when slots are given away, has the optimistic one only in
    /// its turn, see [`RIDER_TURNS`], and elsewhere what the others leave of a limit. A seed is given nothing by
    /// anybody: there a free rider is who keeps what others would pass on.
    ///
    /// Without this rule a swarm with more slots than contributors feeds free riders as well as anybody, and every
    /// piece that a seed gives to them alone it must give once more.
    pub fn is_free_rider(&self, seeding: bool, peer: &Contender) -> bool {
        let takes =
            peer.taken >= self.credit && peer.given.saturating_mul(TAKER_SHARE) < peer.taken;
        self.config.policy == ChokerPolicy::TitForTat && if seeding { peer.hoards } else { takes }
    }

    /// Whether a peer of a seed had its turn.
    fn is_served_out(&self, now: Instant, peer: &Contender) -> bool {
        let served =
            self.records.get(&peer.peer).map_or(Duration::ZERO, |record| now.since(record.served));
        (peer.sent >= self.config.quota && served >= SEED_DWELL_MIN)
            || served >= SEED_DWELL_MAX
            || (peer.up.0 == 0 && served >= SEED_STALLED_AFTER)
    }

    fn is_fresh(&self, now: Instant, peer: PeerKey) -> bool {
        self.records.get(&peer).is_some_and(|record| now.since(record.changed) < FIBRILLATION_GUARD)
    }

    fn record(&mut self, now: Instant, peer: PeerKey, choke: Choke) {
        let record = self.records.entry(peer).or_insert(Record { changed: now, served: now });
        record.changed = now;
        if choke == Choke::Unchoked {
            record.served = now;
        }
    }
}

fn percent(rate: BytesPerSec, limit: BytesPerSec) -> usize {
    (u128::from(rate.0) * 100 / u128::from(limit.0).max(1)) as usize
}

#[cfg(test)]
mod tests;
