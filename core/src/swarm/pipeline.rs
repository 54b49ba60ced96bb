//! How many block requests to keep outstanding toward one peer, and when to send the next ones.
//!
//! The depth is what the peer delivers in the time that a request takes, and a little more, so that its uplink
//! never waits for us. It is not deeper than that: every request ahead is a piece chosen earlier than necessary,
//! before the others' news of what is rare.
//! Sees counts and times only. Never chooses a block, and never gives up a request.
//= BEP 3 §peer protocol (pipelining)
//= BEP 10 §handshake message (reqq)

use crate::clock::Instant;
use crate::geometry::BLOCK_LEN;
use crate::swarm::rate::Meter;
use crate::units::BytesPerSec;
use std::time::Duration;

/// Most requests outstanding toward one peer, 31 MiB: three times what 1 Gbit/s delivers in 80 ms (libtorrent: 500). A
/// peer's `reqq` may lower it; it is what we say that we keep ourselves.
pub const MAX_DEPTH: usize = 2000;
/// Fewest, except when the peer is snubbed: the next block is under way while one is answered (libtorrent: 2).
pub const MIN_DEPTH: usize = 2;
/// Requests of the first batch after an unchoke: 256 KiB, about what the first round trip of TCP can carry.
pub const START_DEPTH: usize = 16;
/// Requests toward a peer that has stopped sending (libtorrent: 1).
pub const SNUBBED_DEPTH: usize = 1;
/// Time that requests should wait at the peer beyond what the path takes: covers our batching and a shaper's
/// steps at its side. libtorrent keeps 3 s, Transmission 10 s; both then choose pieces that much too early.
pub const QUEUE_MIN: Duration = Duration::from_millis(250);
/// Longest time that the requests outstanding may be worth (Transmission: 10 s).
pub const HORIZON_MAX: Duration = Duration::from_secs(10);
/// A pause between blocks is remembered for this long at least, and twice as long at most.
pub const PAUSE_MEMORY: Duration = Duration::from_secs(10);
/// What the rate looks back on: short, for the depth must follow it, and longer than a slow peer takes for a block.
pub const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Bytes on their way, at the rate and the shortest time that were seen, from which a path is long for certain.
const FAR_HOLDS: u64 = 1 << 20;
/// Blocks that came sooner than wanted for one more request, once the slow start is over: a quarter in a round trip.
const BLOCKS_PER_STEP: usize = 4;
/// Largest batch of requests held back to be sent together: 1 MiB.
pub const BATCH_MAX: usize = 64;

/// How the depth grows.
#[derive(Clone, Copy, Debug)]
enum Ramp {
    /// By one request per block, until requests begin to wait.
    SlowStart,
    /// Slowly. Until then the meter remembers the slow start, and what that has found is kept.
    Steady { found: usize, until: Instant, early: usize },
}

/// The request pipeline toward one peer.
#[derive(Clone, Debug)]
pub struct Pipeline {
    reqq: usize,
    snubbed: bool,
    ramp: Ramp,
    depth: usize,
    meter: Meter,
    /// Requests not answered yet.
    waiting: usize,
    /// Smoothed time from request to block.
    service: Duration,
    /// The same without a queue of ours: the path and the peer's disk.
    base: Option<Duration>,
    /// The last block, or the first request since nothing was outstanding.
    progress: Instant,
    /// Nothing was outstanding before the oldest request: its wait includes the path.
    was_dry: bool,
    /// Longest pause between blocks in this memory span and in the one before.
    pauses: [Duration; 2],
    memory_since: Instant,
    /// Shortest time from a request to its block.
    nearest: Option<Duration>,
}

impl Pipeline {
    /// A pipeline toward a peer that keeps at most `reqq` requests; 0 is read as 1.
    pub fn new(now: Instant, reqq: u16) -> Self {
        Self {
            reqq: usize::from(reqq).max(1),
            snubbed: false,
            ramp: Ramp::SlowStart,
            depth: START_DEPTH,
            meter: Meter::over(now, RATE_WINDOW),
            waiting: 0,
            service: Duration::ZERO,
            base: None,
            progress: now,
            was_dry: true,
            pauses: [Duration::ZERO; 2],
            nearest: None,
            memory_since: now,
        }
    }

    /// The peer told how many requests it keeps.
    pub fn set_reqq(&mut self, reqq: u16) {
        self.reqq = usize::from(reqq).max(1);
    }

    /// The peer is snubbed, or no longer.
    pub fn set_snubbed(&mut self, snubbed: bool) {
        if self.snubbed && !snubbed {
            self.depth = MIN_DEPTH;
        }
        self.snubbed = snubbed;
    }

    /// The peer choked us: whatever is outstanding will not be answered.
    pub fn choked(&mut self, now: Instant) {
        self.waiting = 0;
        self.progress = now;
        self.was_dry = true;
    }

    /// The peer unchoked us: measure it afresh, beginning with a slow start.
    pub fn unchoked(&mut self, now: Instant) {
        let (reqq, snubbed) = (self.reqq, self.snubbed);
        *self = Self { reqq, snubbed, ..Self::new(now, 1) };
    }

    /// `blocks` requests were sent.
    pub fn sent(&mut self, now: Instant, blocks: usize) {
        if blocks == 0 {
            return;
        }
        if self.waiting == 0 {
            self.progress = now;
            self.was_dry = true;
        }
        self.waiting += blocks;
    }

    /// A block of `len` bytes came that was asked for at `asked`, and `outstanding` requests remain.
    pub fn arrived(&mut self, now: Instant, asked: Instant, len: u32, outstanding: usize) {
        self.meter.add(now, u64::from(len));
        self.measure(now, now.since(asked));
        self.waiting = outstanding;
        self.progress = now;
        self.was_dry = false;
        self.adapt(now);
    }

    /// Requests were rejected or given up; `outstanding` remain. They say nothing about the path.
    pub const fn gave_up(&mut self, outstanding: usize) {
        self.waiting = outstanding;
    }

    /// How many requests should be outstanding.
    pub fn depth(&self) -> usize {
        let depth = if self.snubbed { SNUBBED_DEPTH } else { self.depth };
        depth.min(self.reqq).min(MAX_DEPTH)
    }

    /// How many requests to send now, `outstanding` being unanswered: none until a quarter of the depth is
    /// missing (or [`BATCH_MAX`]), so that one write carries many, and then all that are missing.
    pub fn refill(&self, outstanding: usize) -> usize {
        let depth = self.depth();
        let missing = depth.saturating_sub(outstanding);
        let batch = (depth / 4).clamp(1, BATCH_MAX);
        if missing >= batch { missing } else { 0 }
    }

    /// Smoothed time from a request to its block; zero before the first one.
    pub const fn service_time(&self) -> Duration {
        self.service
    }

    /// Bytes that are on their way or wait for some that are: about four times what the path holds. Where it loses some,
    /// what is sent meanwhile waits for them in the kernel, and now and then for what was lost twice.
    pub fn on_the_way(&self, now: Instant) -> u64 {
        let base = self.base.unwrap_or_default();
        let asked = |blocks: usize| blocks as u64 * u64::from(BLOCK_LEN);
        if self.waiting == 0 || !self.is_far(now) {
            return (self.rate(now).times(base) * 4).min(asked(self.waiting));
        }
        // Sooner than the rate can tell, or the sender's estimate of the path ends at what we asked for at first. Nor what is
        // outstanding now: that is little when a loss has been made good, and all that was held back came at once.
        let (path, service) = (base.as_micros() as u64 * 4, self.service.as_micros() as u64);
        asked(self.depth()) * path.min(service) / service.max(1)
    }

    /// Whether the path is long for certain. Where cores are few, the wait for one looks like a path; but then there are
    /// many peers, and none of them is fast.
    fn is_far(&self, now: Instant) -> bool {
        self.nearest.is_some_and(|nearest| self.rate(now).times(nearest) >= FAR_HOLDS)
    }

    /// Payload per second over the last [`RATE_WINDOW`].
    pub fn rate(&self, now: Instant) -> BytesPerSec {
        self.meter.rate(now)
    }

    fn measure(&mut self, now: Instant, service: Duration) {
        self.service =
            if self.service.is_zero() { service } else { (self.service * 7 + service) / 8 };
        let path = if self.was_dry { self.base.unwrap_or(service) } else { Duration::ZERO };
        let pause = now.since(self.progress).saturating_sub(path);
        let base = self.base.unwrap_or(service);
        let base = if self.was_dry {
            service // the peer had nothing else of ours to do
        } else if self.is_long(now, pause) {
            base.max(pause) // it had not, or it serves in bursts
        } else {
            base
        };
        self.base = Some(base.min(service));
        if now.since(self.memory_since) >= PAUSE_MEMORY {
            if !self.is_long(now, self.pauses[0].max(pause)) {
                // Our own requests may hide that the path became shorter. Ask for less; a pause corrects it.
                self.base = self.base.map(|base| base * 7 / 8);
            }
            self.pauses = [Duration::ZERO, self.pauses[0]];
            self.memory_since = now;
        }
        self.pauses[0] = self.pauses[0].max(pause);
        self.nearest = Some(self.nearest.map_or(service, |nearest| nearest.min(service)));
    }

    /// Whether a pause is more than the distance of blocks at the peer's rate.
    fn is_long(&self, now: Instant, pause: Duration) -> bool {
        let rate = self.meter.rate(now).0.max(1);
        let distance = Duration::from_micros(u64::from(BLOCK_LEN) * 1_000_000 / rate);
        pause > (QUEUE_MIN / 2).max(distance * 2)
    }

    /// The time that the outstanding requests should be worth: the path, and twice the longest pause. With less,
    /// a peer that serves us in bursts would find nothing to serve at the next one, look slower for it, and be
    /// asked for still less.
    fn horizon(&self) -> Duration {
        let pause = self.pauses[0].max(self.pauses[1]);
        (self.base.unwrap_or_default() + QUEUE_MIN.max(pause * 2)).min(HORIZON_MAX)
    }

    fn adapt(&mut self, now: Instant) {
        let horizon = self.horizon();
        let comes_early = self.service <= horizon;
        match &mut self.ramp {
            Ramp::SlowStart if comes_early => self.depth = (self.depth + 1).min(MAX_DEPTH),
            Ramp::SlowStart => {
                // The requests that came too late were sent when there were half as many.
                let found = self.depth / 2;
                self.ramp = Ramp::Steady { found, until: now + RATE_WINDOW, early: 0 };
            }
            Ramp::Steady { found, until, early } => {
                let kept = if now < *until { *found } else { MIN_DEPTH };
                let measured = request_depth(self.meter.rate(now), horizon).max(kept);
                // A rate that grows is seen here before the meter has it: on a long path that loses packets what we ask
                // for is all that the sender has, and his estimate of the path waits for more.
                *early = if comes_early && self.waiting * 2 >= self.depth { *early + 1 } else { 0 };
                let step = usize::from(*early > 0 && early.is_multiple_of(BLOCKS_PER_STEP));
                let grown = if comes_early { self.depth + step } else { 0 };
                self.depth = measured.max(grown).min(MAX_DEPTH);
            }
        }
    }
}

/// Requests worth `time` at this rate, rounded up, within [`MIN_DEPTH`]`..=`[`MAX_DEPTH`].
fn request_depth(rate: BytesPerSec, time: Duration) -> usize {
    let blocks = rate.times(time).div_ceil(u64::from(BLOCK_LEN));
    usize::try_from(blocks).unwrap_or(MAX_DEPTH).clamp(MIN_DEPTH, MAX_DEPTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// A peer behind a path: answers in order, at a rate, in bursts of `every`.
    struct Link {
        rate: u64,
        delay: Duration,
        every: Duration,
        /// The delay after the first 5 s.
        then: Duration,
        /// The rate after the first 5 s.
        later: u64,
    }

    impl Link {
        /// One that stays as it is.
        const fn steady(rate: u64, delay: Duration, every: Duration) -> Self {
            Self { rate, delay, every, then: delay, later: rate }
        }
    }

    struct Outcome {
        rate: f64,
        depth: usize,
        peak: usize,
        /// Least depth after it has first fallen.
        trough: usize,
        batches: usize,
        blocks: usize,
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Runs the pipeline against the link for `secs` and measures the second half.
    fn run(link: &Link, reqq: u16, secs: u64) -> Outcome {
        let mut pipeline = Pipeline::new(Instant::ZERO, reqq);
        pipeline.unchoked(Instant::ZERO);
        let mut answers: VecDeque<(Instant, Instant)> = VecDeque::new(); // asked for, here
        let (mut now, mut free) = (Instant::ZERO, Instant::ZERO);
        let (mut blocks, mut late, mut peak, mut batches) = (0, 0, 0, 0);
        let (mut deepest, mut trough) = (0, usize::MAX);
        let end = Instant::ZERO + Duration::from_secs(secs);
        while now < end {
            let more = pipeline.refill(answers.len());
            batches += usize::from(more > 0);
            pipeline.sent(now, more);
            for _ in 0..more {
                let changed = now > Instant::ZERO + ms(5000);
                let delay = if changed { link.then } else { link.delay };
                let reached = now + delay / 2;
                let rate = if changed { link.later } else { link.rate };
                free = free.max(reached) + Duration::from_micros(16384 * 1_000_000 / rate);
                let step = link.every.as_micros() as u64;
                let sent = Instant::from_micros(free.as_micros().div_ceil(step) * step);
                answers.push_back((now, sent + delay / 2));
            }
            peak = peak.max(answers.len());
            let Some((asked, next)) = answers.pop_front() else {
                panic!("nothing outstanding at {now}")
            };
            now = now.max(next);
            blocks += 1;
            late += usize::from(now.as_micros() > end.as_micros() / 2);
            pipeline.arrived(now, asked, 16384, answers.len());
            deepest = deepest.max(pipeline.depth());
            if pipeline.depth() < deepest {
                trough = trough.min(pipeline.depth());
            }
        }
        let rate = late as f64 * 16384.0 / (secs as f64 / 2.0);
        Outcome { rate, depth: pipeline.depth(), peak, trough, batches, blocks }
    }

    #[test]
    fn any_path_is_filled_and_no_queue_is_built_without_need() {
        #[track_caller]
        fn check(rate: u64, delay: u64, every: u64, depths: std::ops::RangeInclusive<usize>) {
            let (delay, every) = (ms(delay), ms(every));
            let link = Link::steady(rate, delay, every);
            let got = run(&link, u16::MAX, 30);
            let share = got.rate / rate as f64;
            assert!(share > 0.95, "{share:.3} of {rate} B/s over {delay:?} at depth {}", got.depth);
            assert!(depths.contains(&got.depth), "depth {} of {depths:?}", got.depth);
        }
        check(2_621_440, 1, 1, 35..=60); // one of eight slots at 20 MiB/s: 0.6 to 0.9 MiB ahead
        check(2_621_440, 1, 100, 35..=120); // the same, shaped in steps
        check(20_000_000, 100, 1, 300..=512);
        check(1_000_000, 400, 1, 25..=80);
        check(100_000, 60, 1, 2..=5);
        check(5_000, 60, 1, 2..=6);
        check(400_000, 20, 1000, 20..=90); // served once a second only
        check(500_000_000, 1, 1, MAX_DEPTH..=MAX_DEPTH);
    }

    #[test]
    fn what_a_path_holds_is_known_and_a_choke_forgets_it() {
        let mut now = Instant::ZERO + ms(10_000);
        let mut pipe = Pipeline::new(now, 2000);
        let batch = |pipe: &mut Pipeline, now: &mut Instant, wait, blocks| {
            let asked = *now;
            pipe.sent(asked, blocks);
            *now += wait;
            (0..blocks).rev().for_each(|left| pipe.arrived(*now, asked, BLOCK_LEN, left));
        };
        let bytes = |blocks: usize| blocks as u64 * u64::from(BLOCK_LEN);
        batch(&mut pipe, &mut now, ms(100), 64);
        pipe.sent(now, 256);
        assert_eq!(pipe.on_the_way(now), 4 * pipe.rate(now).times(ms(100)));
        pipe.gave_up(16);
        assert_eq!(pipe.on_the_way(now), bytes(16), "no more than was asked for");
        // At 10 MB/s there is a MB on its way: what may be asked for counts, whatever the rate says.
        batch(&mut pipe, &mut now, ms(100), 400);
        pipe.sent(now, 16);
        assert_eq!(pipe.on_the_way(now), bytes(pipe.depth()));
        // What waits longer than four times the path does so for another reason.
        now += ms(100);
        pipe.arrived(now, Instant::from_micros(now.as_micros() - 100_000), BLOCK_LEN, 80);
        for left in (16..80).rev() {
            now += ms(1);
            let asked = Instant::from_micros(now.as_micros() - 3_200_000);
            pipe.arrived(now, asked, BLOCK_LEN, left);
        }
        let (held, all) = (pipe.on_the_way(now), bytes(pipe.depth()));
        assert!((all / 10..all / 7).contains(&held), "400 of 3200 ms, but {held} of {all}");
        // One block at once: the path is not that long, whatever it looks like afterwards.
        pipe.unchoked(now);
        batch(&mut pipe, &mut now, ms(1), 1);
        batch(&mut pipe, &mut now, ms(100), 4000);
        pipe.sent(now, 16);
        assert!(pipe.depth() > 100);
        assert_eq!(pipe.on_the_way(now), bytes(16));
        pipe.choked(now);
        assert_eq!(pipe.on_the_way(now), 0);
    }

    #[test]
    fn what_a_slow_start_has_found_outlasts_it() {
        let (rate, delay) = (20_000_000, ms(100));
        let link = Link::steady(rate, delay, ms(1));
        let got = run(&link, 2000, 4);
        assert!(got.trough >= 400 && got.depth <= 512, "{} to {}", got.trough, got.depth);
    }

    #[test]
    fn a_peer_that_becomes_faster_is_asked_for_more_in_a_few_round_trips() {
        let (rate, delay) = (2_000_000, ms(100));
        let link = Link { later: 20 * rate, ..Link::steady(rate, delay, ms(1)) };
        assert!(run(&link, 2000, 5).depth < 64);
        let got = run(&link, 2000, 7);
        assert!(got.depth > 400, "{}", got.depth);
    }

    #[test]
    fn a_path_that_grows_longer_does_not_starve_the_pipe() {
        let link = Link { then: ms(1000), ..Link::steady(1_000_000, ms(20), ms(1)) };
        let got = run(&link, 2000, 60);
        assert!(got.rate > 850_000.0, "{} B/s at depth {}", got.rate, got.depth);
    }

    #[test]
    fn loopback_is_full_after_a_few_round_trips() {
        let mut pipeline = Pipeline::new(Instant::ZERO, 2000);
        let mut now = Instant::ZERO;
        for _ in 0..4 {
            let (more, asked) = (pipeline.refill(0), now);
            pipeline.sent(now, more);
            now += ms(1);
            (0..more).rev().for_each(|left| pipeline.arrived(now, asked, 16384, left));
        }
        assert_eq!(pipeline.depth(), START_DEPTH << 4);
    }

    #[test]
    fn requests_leave_in_batches() {
        let got = run(&Link::steady(50_000_000, ms(10), ms(1)), 2000, 10);
        assert!(got.blocks / got.batches >= 40, "{} requests a batch", got.blocks / got.batches);
        let pipeline = Pipeline::new(Instant::ZERO, 250);
        assert_eq!((pipeline.refill(13), pipeline.refill(12), pipeline.refill(40)), (0, 4, 0));
    }

    #[test]
    fn the_peers_own_bound_is_kept() {
        let got = run(&Link::steady(500_000_000, ms(1), ms(1)), 7, 1);
        assert_eq!((got.peak, got.depth), (7, 7));
        assert_eq!(Pipeline::new(Instant::ZERO, 0).depth(), 1);
        let mut pipeline = Pipeline::new(Instant::ZERO, 9);
        pipeline.set_reqq(u16::MAX);
        pipeline.unchoked(Instant::ZERO);
        assert_eq!(pipeline.depth(), START_DEPTH);
    }

    #[test]
    fn attack_21_a_snubbed_peer_holds_one_block() {
        let mut pipeline = Pipeline::new(Instant::ZERO, 250);
        pipeline.sent(Instant::ZERO, 16);
        pipeline.set_snubbed(true);
        assert_eq!((pipeline.depth(), pipeline.refill(1), pipeline.refill(0)), (1, 0, 1));
        pipeline.set_snubbed(false);
        assert_eq!(pipeline.depth(), MIN_DEPTH);
    }

    #[test]
    fn given_up_requests_do_not_count_as_slow_ones() {
        let mut pipeline = Pipeline::new(Instant::ZERO, 250);
        pipeline.sent(Instant::ZERO, 8);
        let later = Instant::ZERO + ms(5000);
        pipeline.choked(later);
        pipeline.unchoked(later);
        pipeline.sent(later, 1);
        pipeline.arrived(later + ms(30), later, 16384, 0);
        assert_eq!(pipeline.service_time(), ms(30));
        // Blocks come in any order, and some that were given up long ago: the time of each is its own.
        pipeline.sent(later, 3);
        pipeline.gave_up(1);
        pipeline.sent(later + ms(29), 1);
        pipeline.arrived(later + ms(59), later + ms(29), 16384, 1);
        pipeline.arrived(later + ms(60), later + ms(30), 16384, 0);
        assert_eq!(pipeline.service_time(), ms(30));
    }

    proptest! {
        #[test]
        fn any_order_of_events_leaves_a_legal_depth(reqq: u16, events in prop::collection::vec(
            (0u8..7, 0usize..600, 0u64..20_000_000), 0..200)) {
            let mut pipeline = Pipeline::new(Instant::ZERO, reqq);
            let mut now = Instant::ZERO;
            for (kind, count, wait) in events {
                now += Duration::from_micros(wait);
                match kind {
                    0 => pipeline.choked(now),
                    1 => pipeline.unchoked(now),
                    2 => pipeline.set_snubbed(count % 2 == 0),
                    3 => pipeline.sent(now, count),
                    _ => {
                        let asked = Instant::from_micros(now.as_micros().saturating_sub(wait));
                        pipeline.arrived(now, asked, BLOCK_LEN, count);
                    }
                }
                let depth = pipeline.depth();
                prop_assert!(depth >= 1 && depth <= MAX_DEPTH.min(usize::from(reqq).max(1)));
                prop_assert!(pipeline.refill(count) + count <= depth.max(count));
                prop_assert_eq!(pipeline.refill(0), depth, "a dry pipe is always filled");
            }
        }
    }
}
