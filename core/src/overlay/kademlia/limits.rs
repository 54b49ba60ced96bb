//! How much strangers may cost us, and how fast we may go ourselves.
//!
//! Counts datagrams and bytes, decides yes or no, and never says no aloud: whoever is over his limit hears nothing.
//! What is remembered of senders is bounded whatever they do.

use super::address::prefix;
use crate::clock::Instant;
use crate::rng::Rng;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// What is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Queries per second of one address; bursts of ten seconds' worth pass. `None` is no limit.
    pub per_source: Option<u32>,
    /// Queries per second of one /24 or /48, likewise. `None` is no limit.
    pub per_subnet: Option<u32>,
    /// Bytes per second of all answers together; bursts of three seconds' worth pass. `None` is no limit.
    pub reply_budget: Option<u32>,
    /// Datagrams per second to nodes that we have not just heard from: home routers keep an entry for each.
    pub new_destinations: u32,
}

impl Default for Limits {
    /// libtorrent's 5 queries per second and 8 000 bytes per second. A subnet is granted ten sources at full rate.
    fn default() -> Self {
        Self {
            per_source: Some(5),
            per_subnet: Some(50),
            reply_budget: Some(8_000),
            new_destinations: 50,
        }
    }
}

/// Seconds' worth of queries that may come at once.
const BURST: Duration = Duration::from_secs(10);
/// Seconds' worth of answers that may go at once.
const REPLY_BURST: Duration = Duration::from_secs(3);

/// A rate as the time when what was taken so far will have been earned.
#[derive(Clone, Copy, Debug, Default)]
struct Earned(u64);

impl Earned {
    /// What would be unearned after taking what is worth `cost_us`, if that is no more than `burst`.
    fn after(self, now: Instant, cost_us: u64, burst: Duration) -> Option<Self> {
        let now = now.as_micros();
        let after = self.0.max(now) + cost_us;
        (after - now <= burst.as_micros() as u64).then_some(Self(after))
    }

    /// Takes what is worth `cost_us`, if no more than `burst` would then be unearned.
    fn take(&mut self, now: Instant, cost_us: u64, burst: Duration) -> bool {
        let after = self.after(now, cost_us, burst);
        *self = after.unwrap_or(*self);
        after.is_some()
    }
}

/// Bytes of answers, of all of them together.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplyBudget(Earned);

impl ReplyBudget {
    pub(super) fn take(&mut self, now: Instant, bytes: usize, limits: &Limits) -> bool {
        let Some(rate) = limits.reply_budget else { return true };
        self.0.take(now, bytes as u64 * 1_000_000 / u64::from(rate.max(1)), REPLY_BURST)
    }
}

/// Senders remembered at first.
const SLOTS_MIN: usize = 64;
/// Senders remembered at most, 16 bytes each. Beyond it the one who has taken least is forgotten for a newcomer,
/// so that a flood of forged senders does not wash away who is over his limit.
const SLOTS_MAX: usize = 1 << 17;
/// Places where one sender may be remembered.
const WAYS: usize = 8;

/// Who has asked how much.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Makes it impossible to choose senders that share places.
    secret: u64,
    slots: Vec<(u64, Earned)>,
}

impl Sources {
    /// Remembers nobody.
    pub fn new(rng: &mut Rng) -> Self {
        Self { secret: rng.next_u64() | 1, slots: Vec::new() }
    }

    /// Whether a query of this sender is within its limits. It counts against each of them only if it is within both.
    pub fn admit(&mut self, now: Instant, from: IpAddr, limits: &Limits) -> bool {
        let (whole, subnet) = match from {
            IpAddr::V4(v4) => (u64::from(u32::from(v4)), prefix(from)),
            // One customer has a whole /64, so its addresses are one source, and some have all of a /48.
            IpAddr::V6(_) => (prefix(from), prefix(from) >> 16),
        };
        let source = self.mix(whole ^ (u64::from(from.is_ipv6()) << 63));
        let subnet = self.mix(!subnet);
        let one = |rate: u32| 1_000_000 / u64::from(rate.max(1));
        let within = |earned: &Earned, rate| earned.after(now, one(rate), BURST).is_some();
        if limits.per_source.is_some_and(|rate| !within(self.slot(now, source), rate)) {
            return false;
        }
        if limits.per_subnet.is_some_and(|rate| !self.slot(now, subnet).take(now, one(rate), BURST))
        {
            return false;
        }
        limits.per_source.is_none_or(|rate| self.slot(now, source).take(now, one(rate), BURST))
    }

    /// A permutation of all 64-bit numbers that depends on the secret.
    fn mix(&self, key: u64) -> u64 {
        let mut x = (key ^ self.secret).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 32)).wrapping_mul(self.secret);
        x ^= x >> 29;
        x.wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1 // 0 marks a free slot
    }

    fn slot(&mut self, now: Instant, key: u64) -> &mut Earned {
        if self.slots.is_empty() {
            self.slots = vec![(0, Earned::default()); SLOTS_MIN];
        }
        loop {
            let sets = self.slots.len() / WAYS;
            let first = (key >> 32) as usize % sets * WAYS;
            let ways = &self.slots[first..first + WAYS];
            let known = ways.iter().position(|(have, _)| *have == key);
            // Whoever has earned all that he took is no different from a stranger.
            let free = || ways.iter().position(|(_, earned)| earned.0 <= now.as_micros());
            if let Some(way) = known.or_else(free) {
                let slot = &mut self.slots[first + way];
                if slot.0 != key {
                    *slot = (key, Earned::default());
                }
                return &mut slot.1;
            }
            if self.slots.len() < SLOTS_MAX {
                self.grow(now);
                continue;
            }
            let least = (first..first + WAYS).min_by_key(|&at| self.slots[at].1.0);
            let least = least.unwrap_or(first);
            self.slots[least] = (key, Earned::default());
            return &mut self.slots[least].1;
        }
    }

    fn grow(&mut self, now: Instant) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![(0, Earned::default()); old.len() * 2];
        let sets = self.slots.len() / WAYS;
        for (key, earned) in old {
            if earned.0 <= now.as_micros() {
                continue;
            }
            let first = (key >> 32) as usize % sets * WAYS;
            let ways = &mut self.slots[first..first + WAYS];
            // A set of the larger table takes from half a set of the smaller one or less, so there is room.
            if let Some(slot) = ways.iter_mut().find(|slot| slot.0 == 0) {
                *slot = (key, earned);
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(u64, Earned)>()
    }
}

/// Spreads what we send to strangers over time.
#[derive(Clone, Debug, Default)]
pub struct Pacer {
    /// When the last datagrams went, the oldest first; as many as one second may see.
    sent: VecDeque<Instant>,
}

impl Pacer {
    /// Whether one more may go now; it counts if so. In no second do more go than the limit.
    pub fn take(&mut self, now: Instant, limits: &Limits) -> bool {
        if self.ready_at(limits) > now {
            return false;
        }
        self.sent.push_back(now);
        while self.sent.len() > limits.new_destinations as usize {
            self.sent.pop_front();
        }
        true
    }

    /// The same, but the last `kept` of a second are left to others.
    pub fn take_leaving(&mut self, now: Instant, limits: &Limits, kept: u32) -> bool {
        self.ready_leaving(limits, kept) <= now && self.take(now, limits)
    }

    /// When the next one may go.
    pub fn ready_at(&self, limits: &Limits) -> Instant {
        self.ready_leaving(limits, 0)
    }

    /// When the next one may go of who leaves `kept` of a second to others.
    pub fn ready_leaving(&self, limits: &Limits, kept: u32) -> Instant {
        let most = limits.new_destinations.saturating_sub(kept);
        if most == 0 {
            return Instant::FAR_FUTURE;
        }
        let oldest = self.sent.len().checked_sub(most as usize);
        oldest.map_or(Instant::ZERO, |at| self.sent[at] + Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_source_gets_its_rate_and_a_burst_and_no_more() {
        let limits = Limits { per_subnet: None, ..Limits::default() };
        let mut sources = Sources::new(&mut Rng::seeded(1));
        let abuser: IpAddr = "198.18.0.1".parse().unwrap();
        // 1000 queries a second for a minute: the burst of 50, then 5 a second.
        let passed = (0..60_000).filter(|&ms| sources.admit(at(ms), abuser, &limits)).count();
        assert!((345..=351).contains(&passed), "{passed}");
        // Twenty thousand others are not disturbed by it, and do not help it.
        let (mut refused, mut more) = (0, 0);
        for second in 60..70 {
            for n in 0..20_000u32 {
                let other = IpAddr::from((0xc612_0000 + 512 + n).to_be_bytes());
                refused += u32::from(!sources.admit(at(second * 1000), other, &limits));
            }
            more += (0..200).filter(|_| sources.admit(at(second * 1000), abuser, &limits)).count();
        }
        assert_eq!(refused, 0);
        assert!((45..=51).contains(&more), "five a second as before: {more}");
        assert!(sources.heap_bytes() <= SLOTS_MAX * 16);
    }

    #[test]
    fn a_subnet_is_limited_together() {
        let limits = Limits { per_source: None, per_subnet: Some(10), ..Limits::default() };
        let mut sources = Sources::new(&mut Rng::seeded(1));
        let passed = (0..=255u8)
            .filter(|&n| sources.admit(at(0), IpAddr::from([198, 18, 0, n]), &limits))
            .count();
        assert_eq!(passed, 100);
        assert!(sources.admit(at(0), "198.18.1.1".parse().unwrap(), &limits));
    }

    #[test]
    fn a_48_of_ipv6_is_limited_together() {
        let limits = Limits { per_subnet: Some(10), ..Limits::default() };
        let mut sources = Sources::new(&mut Rng::seeded(1));
        let ip = |site: u16, net: u16| IpAddr::from([0x2001, 0xdb8, site, net, 0, 0, 0, 1]);
        let passed = (0..1000).filter(|&n| sources.admit(at(0), ip(1, n), &limits)).count();
        assert_eq!(passed, 100);
        assert!(sources.admit(at(0), ip(2, 1), &limits));
    }

    #[test]
    fn who_is_refused_for_his_neighbours_sake_is_not_charged() {
        let limits = Limits { per_source: Some(5), per_subnet: Some(10), ..Limits::default() };
        let mut sources = Sources::new(&mut Rng::seeded(1));
        let ip = |host| IpAddr::from([198, 18, 0, host]);
        for host in 1..=2 {
            assert!((0..50).all(|_| sources.admit(at(0), ip(host), &limits)));
        }
        assert!((0..1000).all(|_| !sources.admit(at(0), ip(9), &limits)));
        // Half a burst of the subnet later he has a whole burst of his own left.
        let passed = (0..1000).filter(|_| sources.admit(at(5_000), ip(9), &limits)).count();
        assert_eq!(passed, 50);
    }

    #[test]
    fn in_no_second_do_more_go_than_allowed() {
        let limits = Limits::default();
        let mut pacer = Pacer::default();
        let sent: Vec<u64> = (0..5000).filter(|&ms| pacer.take(at(ms), &limits)).collect();
        for window in sent.windows(51) {
            assert!(window[50] - window[0] >= 1000, "{window:?}");
        }
        assert_eq!(sent.len(), 250);
        // Who leaves a fifth to others does so in every second.
        let leaving: Vec<u64> =
            (10_000..15_000).filter(|&ms| pacer.take_leaving(at(ms), &limits, 10)).collect();
        assert_eq!(leaving.len(), 200);
        assert!(
            (0..10).all(|_| pacer.take(at(14_999), &limits)) && !pacer.take(at(14_999), &limits)
        );
        let none = Limits { new_destinations: 0, ..limits };
        assert!(!pacer.take(at(100_000), &none));
    }

    #[test]
    fn the_reply_budget_lets_its_rate_through() {
        let limits = Limits::default();
        let mut budget = ReplyBudget::default();
        let sent = (0..10_000).filter(|&ms| budget.take(at(ms), 300, &limits)).count() * 300;
        assert!((100_000..=104_300).contains(&sent), "3 s at once, then 8 000 a second: {sent}");
    }
}
