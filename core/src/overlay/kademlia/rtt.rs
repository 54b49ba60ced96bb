//! How long answers take, and from that how long to wait before somebody else is asked as well.
//!
//! Measures all nodes together: a lookup meets most nodes for the first time.

use std::time::Duration;

/// Width of a bin.
const BIN: Duration = Duration::from_millis(25);
/// Bins; the last one takes everything longer.
const BINS: usize = 80;
/// When this many answers are counted, all counts are halved: the last few dozen decide.
const SAMPLES_MAX: u32 = 128;
/// With fewer answers than this, nothing is known.
const SAMPLES_MIN: u32 = 8;
/// The wait while nothing is known.
const UNKNOWN: Duration = Duration::from_millis(500);
/// Never shorter: scheduling and queues on the way vary by that much.
const SOFT_MIN: Duration = Duration::from_millis(200);
/// Never longer: whoever takes so long hardly helps a lookup.
const SOFT_MAX: Duration = Duration::from_secs(2);

/// The round trips of the recent past.
#[derive(Clone, Debug)]
pub(super) struct RoundTrips {
    bins: [u8; BINS],
    total: u32,
}

impl RoundTrips {
    pub(super) const fn new() -> Self {
        Self { bins: [0; BINS], total: 0 }
    }

    pub(super) fn add(&mut self, rtt: Duration) {
        let bin = (rtt.as_micros() / BIN.as_micros()).min(BINS as u128 - 1) as usize;
        if self.total >= SAMPLES_MAX {
            self.bins.iter_mut().for_each(|count| *count /= 2);
            self.total = self.bins.iter().map(|&count| u32::from(count)).sum();
        }
        self.bins[bin] = self.bins[bin].saturating_add(1);
        self.total += 1;
    }

    /// What nine of ten answers need at most, within bounds.
    pub(super) fn soft_timeout(&self) -> Duration {
        if self.total < SAMPLES_MIN {
            return UNKNOWN;
        }
        let enough = self.total - self.total / 10;
        let mut counted = 0;
        let full = self.bins.iter().position(|&count| {
            counted += u32::from(count);
            counted >= enough
        });
        let bins = full.map_or(BINS, |bin| bin + 1) as u32;
        (BIN * bins).clamp(SOFT_MIN, SOFT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_what_is_measured() {
        let ms = Duration::from_millis;
        let mut trips = RoundTrips::new();
        assert_eq!(trips.soft_timeout(), UNKNOWN);
        (0..100).for_each(|_| trips.add(ms(10)));
        assert_eq!(trips.soft_timeout(), SOFT_MIN);
        (0..200).for_each(|n| trips.add(ms(if n % 20 == 0 { 1900 } else { 300 })));
        assert_eq!(trips.soft_timeout(), ms(325), "one slow answer in twenty is no reason to wait");
        (0..400).for_each(|_| trips.add(ms(60_000)));
        assert_eq!(trips.soft_timeout(), SOFT_MAX);
    }
}
