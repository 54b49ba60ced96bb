//! Measured rates, token buckets, and how torrents share a limit.
//!
//! Counts bytes that somebody else moves. Never waits, and never decides who gets a token: the caller asks in the
//! order that it finds fair.

use crate::clock::Instant;
use crate::geometry::BLOCK_LEN;
use crate::units::BytesPerSec;
use std::time::Duration;

/// What a [`Meter`] looks back on unless told otherwise: one choker round.
pub const METER_WINDOW: Duration = Duration::from_secs(10);
/// Parts of a window that are forgotten one at a time.
const BUCKETS: u64 = 20;
/// What a bucket may save up, as time at its rate. Longer, and a limit is exceeded for as long after every pause;
/// shorter, and a timer must fire more often than ten times a second to use the whole rate.
pub const BURST: Duration = Duration::from_millis(100);
/// The least it may save up, so that a limit below one block per burst still lets whole blocks through, one at a
/// time.
pub const BURST_MIN: u64 = BLOCK_LEN as u64;

/// Bytes per second over a sliding window.
#[derive(Clone, Debug)]
pub struct Meter {
    buckets: [u64; BUCKETS as usize],
    width_us: u64,
    /// Number of the newest bucket, counted from the origin of time.
    newest: u64,
    began: Instant,
    total: u64,
}

impl Meter {
    /// A meter over the last [`METER_WINDOW`].
    pub fn new(now: Instant) -> Self {
        Self::over(now, METER_WINDOW)
    }

    /// A meter over the last `window`, which should be at least a few milliseconds.
    pub fn over(now: Instant, window: Duration) -> Self {
        let width_us = (window.as_micros() as u64 / BUCKETS).max(1);
        let newest = now.as_micros() / width_us;
        Self { buckets: [0; BUCKETS as usize], width_us, newest, began: now, total: 0 }
    }

    /// Counts `bytes` that moved just now.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        let bucket = now.as_micros() / self.width_us;
        let passed = bucket.saturating_sub(self.newest).min(BUCKETS);
        for step in 0..passed {
            self.buckets[((bucket - step) % BUCKETS) as usize] = 0;
        }
        self.newest = self.newest.max(bucket);
        self.buckets[(self.newest % BUCKETS) as usize] += bytes;
        self.total += bytes;
    }

    /// The average over the window, or since the meter began if that is less; but never over less than one
    /// twentieth of the window, so that the first bytes do not look like a torrent of them.
    pub fn rate(&self, now: Instant) -> BytesPerSec {
        let current = now.as_micros() / self.width_us;
        let oldest = (current + 1).saturating_sub(BUCKETS);
        let from = oldest.max((self.newest + 1).saturating_sub(BUCKETS));
        let bytes: u64 =
            (from..=self.newest).map(|bucket| self.buckets[(bucket % BUCKETS) as usize]).sum();
        let covered = now.as_micros() - oldest * self.width_us;
        let span = covered.min(now.since(self.began).as_micros() as u64).max(self.width_us);
        BytesPerSec(
            (u128::from(bytes) * 1_000_000 / u128::from(span)).try_into().unwrap_or(u64::MAX),
        )
    }

    /// Every byte since the meter began.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

/// Lets bytes through at a limited rate, or at any.
///
/// Over any time `t` at most `limit x t + burst` bytes pass, where the burst is [`BURST`] at that rate and not
/// less than [`BURST_MIN`].
#[derive(Clone, Debug)]
pub struct TokenBucket {
    limit: Option<BytesPerSec>,
    /// Millionths of a byte: what a rate gives in a microsecond is a whole number of them. Negative is debt.
    level: i128,
    at: Instant,
}

const MICRO: i128 = 1_000_000;

impl TokenBucket {
    /// A full bucket. `None` is no limit; a limit of zero lets nothing through, ever.
    pub fn new(limit: Option<BytesPerSec>, now: Instant) -> Self {
        let mut new = Self { limit, level: 0, at: now };
        new.level = new.burst();
        new
    }

    /// The limit in force.
    pub const fn limit(&self) -> Option<BytesPerSec> {
        self.limit
    }

    /// Takes up to `want` bytes and returns how many it was.
    #[must_use]
    pub fn take(&mut self, now: Instant, want: u64) -> u64 {
        if self.limit.is_none() {
            return want;
        }
        self.refill(now);
        let there = u64::try_from(self.level / MICRO).unwrap_or(0);
        let granted = want.min(there);
        self.level -= i128::from(granted) * MICRO;
        granted
    }

    /// Takes exactly `want` bytes, or nothing. More than a burst is granted when the bucket is full, and leaves a
    /// debt that the next ones wait for.
    #[must_use]
    pub fn take_all(&mut self, now: Instant, want: u64) -> bool {
        if self.limit.is_none() {
            return true;
        }
        self.refill(now);
        let granted = self.level >= self.needed(want);
        if granted {
            self.level -= i128::from(want) * MICRO;
        }
        granted
    }

    /// When [`Self::take_all`] of `want` will succeed if nobody takes anything before: `now` if it would at once.
    pub fn ready_at(&self, now: Instant, want: u64) -> Instant {
        let Some(BytesPerSec(rate)) = self.limit else { return now };
        let missing = self.needed(want) - self.level_at(now);
        if missing <= 0 {
            return now;
        }
        if rate == 0 {
            return Instant::FAR_FUTURE;
        }
        let wait_us = missing.unsigned_abs().div_ceil(u128::from(rate));
        now + Duration::from_micros(u64::try_from(wait_us).unwrap_or(u64::MAX))
    }

    /// Changes the limit. What was saved up is kept as far as the new burst allows, and so is a debt.
    pub fn set_limit(&mut self, now: Instant, limit: Option<BytesPerSec>) {
        self.refill(now);
        self.limit = limit;
        self.level = self.level.min(self.burst());
    }

    /// Charges what will come in any case. The debt is what the next ones wait for.
    pub fn owe(&mut self, bytes: u64) {
        if self.limit.is_some() {
            self.level -= i128::from(bytes) * MICRO;
        }
    }

    /// Gives back what was taken and not used.
    pub fn put_back(&mut self, bytes: u64) {
        if self.limit.is_some() {
            self.level = (self.level + i128::from(bytes) * MICRO).min(self.burst());
        }
    }

    fn burst(&self) -> i128 {
        match self.limit {
            None | Some(BytesPerSec(0)) => 0,
            Some(rate) => i128::from(rate.times(BURST).max(BURST_MIN)) * MICRO,
        }
    }

    /// The level at which `want` bytes may pass.
    fn needed(&self, want: u64) -> i128 {
        let want = i128::from(want) * MICRO;
        if self.limit == Some(BytesPerSec(0)) { want } else { want.min(self.burst()) }
    }

    fn level_at(&self, now: Instant) -> i128 {
        let rate = self.limit.map_or(0, |rate| rate.0);
        let gained = i128::from(now.since(self.at).as_micros() as u64) * i128::from(rate);
        (self.level + gained).min(self.burst())
    }

    fn refill(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
    }
}

/// Splits a limit over those who use it, max-min fair: nobody gets less than an equal share unless it asks for
/// less, and what nobody asks for is spread evenly, so that a quiet one can start at once. The parts add up to
/// `total`.
pub fn share(total: BytesPerSec, demands: &[BytesPerSec]) -> Vec<BytesPerSec> {
    let mut parts = vec![BytesPerSec(0); demands.len()];
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by_key(|&at| (demands[at], at));
    let mut left = total.0;
    for (done, &at) in order.iter().enumerate() {
        let waiting = (demands.len() - done) as u64;
        parts[at].0 = demands[at].0.min(left / waiting);
        left -= parts[at].0;
    }
    let each = left / (demands.len() as u64).max(1);
    let odd = (left - each * demands.len() as u64) as usize;
    for (at, part) in parts.iter_mut().enumerate() {
        part.0 += each + u64::from(at < odd);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_meter_forgets_what_left_its_window() {
        let mut meter = Meter::new(ms(0));
        for at in 0..100 {
            meter.add(ms(at * 100), 100_000); // 1 MB/s for 10 s
        }
        assert_eq!(meter.rate(ms(10_000)).0, 1_000_000);
        let half = meter.rate(ms(15_000)).0;
        assert!((450_000..=500_000).contains(&half), "{half}");
        assert_eq!(meter.rate(ms(20_001)).0, 0);
        assert_eq!(meter.rate(ms(9_999_999)).0, 0);
        assert_eq!(meter.total(), 10_000_000);
        meter.add(ms(9_999_999), 500);
        assert_eq!(meter.rate(ms(9_999_999)).0, 500 * 1_000_000 / 9_999_000);
    }

    #[test]
    fn a_young_meter_measures_since_it_began() {
        let mut meter = Meter::new(ms(1234));
        meter.add(ms(1235), 1000);
        assert_eq!(meter.rate(ms(1235)).0, 2000, "as if over half a second");
        meter.add(ms(3234), 9000);
        assert_eq!(meter.rate(ms(3234)).0, 5000);
    }

    #[test]
    fn a_limit_below_a_block_a_second_moves_one_block_at_a_time() {
        let mut bucket = TokenBucket::new(Some(BytesPerSec(4096)), ms(0));
        let mut passed = 0;
        let mut now = ms(0);
        for _ in 0..5 {
            now = bucket.ready_at(now, 16384);
            assert!(bucket.take_all(now, 16384));
            assert!(!bucket.take_all(now, 16384));
            passed += 1;
        }
        assert_eq!((passed, now), (5, ms(16_000)), "the first at once, then one in 4 s");
    }

    #[test]
    fn more_than_a_burst_passes_on_credit() {
        let mut bucket = TokenBucket::new(Some(BytesPerSec(100_000)), ms(0));
        assert!(bucket.take_all(ms(0), 216_384));
        assert!(!bucket.take_all(ms(1000), 16_384));
        assert_eq!(bucket.ready_at(ms(1000), 16_384), Instant::from_micros(2_163_840));
        assert_eq!(bucket.take(ms(1000), 5), 0);
    }

    #[test]
    fn what_is_owed_is_waited_for() {
        let mut bucket = TokenBucket::new(Some(BytesPerSec(100_000)), ms(0));
        assert!(bucket.take_all(ms(0), 16_384));
        bucket.owe(200_000);
        assert_eq!(bucket.take(ms(1000), 1), 0);
        assert_eq!(bucket.ready_at(ms(1000), 16_384), Instant::from_micros(2_163_840));
        let mut open = TokenBucket::new(None, ms(0));
        open.owe(u64::MAX);
        assert_eq!(open.take(ms(0), 5), 5, "nobody owes where there is no limit");
    }

    #[test]
    fn no_limit_and_no_flow() {
        let mut open = TokenBucket::new(None, ms(0));
        assert_eq!((open.take(ms(0), u64::MAX), open.ready_at(ms(5), u64::MAX)), (u64::MAX, ms(5)));
        let mut shut = TokenBucket::new(Some(BytesPerSec(0)), ms(0));
        assert_eq!((shut.take(ms(9999), 1), shut.take_all(ms(9999), 1)), (0, false));
        assert_eq!(shut.ready_at(ms(0), 1), Instant::FAR_FUTURE);
        shut.set_limit(ms(10_000), Some(BytesPerSec(1_000_000)));
        assert_eq!(shut.take(ms(10_000), 1), 0, "time without a limit earned nothing");
        assert_eq!(shut.take(ms(11_000), u64::MAX), 100_000, "a burst is a tenth of a second");
        shut.put_back(50);
        assert_eq!(shut.take(ms(11_000), u64::MAX), 50);
    }

    #[test]
    fn a_quiet_torrent_gets_room_to_start() {
        let of = |total, demands: &[u64]| -> Vec<u64> {
            let demands: Vec<BytesPerSec> = demands.iter().copied().map(BytesPerSec).collect();
            share(BytesPerSec(total), &demands).iter().map(|part| part.0).collect()
        };
        assert_eq!(of(100, &[80, 80]), [50, 50]);
        assert_eq!(of(100, &[10, 80, 80]), [10, 45, 45]);
        assert_eq!(of(100, &[10, 0, 30]), [30, 20, 50]);
        assert_eq!(of(100, &[]), [0; 0]);
    }

    proptest! {
        #[test]
        fn a_limit_is_never_exceeded_and_always_used(rate in 1u64..50_000_000,
            steps in prop::collection::vec((1u64..500_000, 1u64..200_000), 1..200)) {
            let mut bucket = TokenBucket::new(Some(BytesPerSec(rate)), Instant::ZERO);
            let burst = BytesPerSec(rate).times(BURST).max(BURST_MIN);
            let (mut now, mut passed) = (Instant::ZERO, 0);
            for (wait, want) in steps {
                now += Duration::from_micros(wait);
                passed += bucket.take(now, want);
                prop_assert!(passed <= BytesPerSec(rate).times(now.since(Instant::ZERO)) + burst);
            }
            let ready = bucket.ready_at(now, BURST_MIN);
            prop_assert!(bucket.clone().take_all(ready, BURST_MIN));
            let early = Instant::from_micros(ready.as_micros() - 1);
            prop_assert!(ready == now || !bucket.take_all(early, BURST_MIN), "and not sooner than it said");
        }

        #[test]
        fn shares_are_fair_and_complete(total in 0u64..1_000_000,
            demands in prop::collection::vec(0u64..500_000, 1..20)) {
            let wanted: Vec<BytesPerSec> = demands.iter().copied().map(BytesPerSec).collect();
            let parts = share(BytesPerSec(total), &wanted);
            prop_assert_eq!(parts.iter().map(|part| part.0).sum::<u64>(), total);
            let equal = total / demands.len() as u64;
            for (part, demand) in parts.iter().zip(&demands) {
                prop_assert!(part.0 >= equal.min(*demand));
            }
        }
    }
}
