//! Who is slow and makes room for others.

use super::{ACTIVE_MAX, Host, STALL_AFTER, Sources};
use crate::clock::Instant;
use crate::geometry::BLOCK_LEN;
use crate::swarm::picker::Picker;
use crate::swarm::source::SourceKey;
use std::cmp::Reverse;
use std::time::Duration;

/// A source is measured for so long before it may count as slow, and waits so long when it did.
const SLOW_AFTER: Duration = Duration::from_secs(20);
pub(super) const SLOW_REST: Duration = Duration::from_secs(300);
/// Slow is less than this part of the median, while others wait.
const SLOW_PART: u64 = 10;
/// The same of what an idle one has shown, that could have its place.
const IDLE_PART: u64 = 4;

impl Sources {
    /// One that should make room for another who waits.
    pub(super) fn slow(&self, now: Instant) -> Option<SourceKey> {
        if self.waiting(now).next().is_none() || self.active().count() < ACTIVE_MAX {
            return None;
        }
        let old = |host: &Host| host.active.is_some_and(|since| now.since(since) >= SLOW_AFTER);
        let measured = self.active().filter(|&(key, host)| old(host) && self.running(key) > 0);
        let mut rates: Vec<_> = measured.map(|(key, host)| (host.down.rate(now), key)).collect();
        rates.sort_unstable();
        let median = rates.get(rates.len() / 2)?.0;
        let &(rate, key) = rates.first()?;
        (rate.0 < median.0 / SLOW_PART).then_some(key)
    }

    /// As much as may be is asked for: the slowest one rests, if one that is idle promises more, so that nobody keeps
    /// all others out by sending next to nothing. Says who may have its place.
    ///
    /// Who has ended a range promises the speed of that, and replaces only who is far slower: two slow ones do not take
    /// turns. Who is not known yet is tried in place of one that would need longer for the rest than it would have to wait.
    pub(super) fn make_room(&mut self, now: Instant, picker: &mut Picker) -> Option<SourceKey> {
        let measured = self.active().filter(|(key, _)| {
            let mut fetches = self.fetches.values().filter(|fetch| fetch.source == *key);
            fetches.any(|fetch| now.since(fetch.begun) >= SLOW_AFTER)
        });
        let (rate, slow) = measured.map(|(key, host)| (host.down.rate(now), key)).min()?;
        // Blocks that come now and then make its rate jump, and whoever sends less is silent soon.
        let shown = rate.0.max(u64::from(BLOCK_LEN) / STALL_AFTER.as_secs());
        let long = rate.times(SLOW_REST) < self.missing(slow);
        let idle = self.active().filter(|(key, host)| {
            self.running(*key) == 0
                && picker.is_interesting(key.peer())
                && host.speed.map_or(long, |speed| shown < speed.0 / IDLE_PART)
        });
        // The fastest; of those who are not known the one that was not asked for longest.
        let (_, Reverse((_, idle))) =
            idle.map(|(key, host)| (host.speed, Reverse((host.asked, key)))).max()?;
        if let Some(host) = self.hosts.get_mut(&slow) {
            host.speed = Some(rate);
        }
        self.rest(picker, slow, now + SLOW_REST);
        Some(idle)
    }

    /// Bytes that this one was asked for and has not sent.
    fn missing(&self, key: SourceKey) -> u64 {
        let mine = self.fetches.values().filter(|fetch| fetch.source == key);
        mine.map(super::Fetch::missing).sum()
    }
}
