//! So many a minute, and some of them at once.

use crate::clock::Instant;
use std::time::Duration;

/// Counts one kind of thing that somebody may do so often a minute. Full at the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// When it is full again.
    full_at: Instant,
}

impl Bucket {
    /// Whether one more may be done now; then it counts. `burst` of them may come at once; `None` is no limit.
    pub(super) fn take(&mut self, now: Instant, per_minute: Option<u32>, burst: u32) -> bool {
        let Some(per_minute) = per_minute else { return true };
        let step = Duration::from_secs(60) / per_minute.max(1);
        let full_at = self.full_at.max(now);
        let granted = per_minute > 0 && full_at.since(now) <= step * burst.saturating_sub(1);
        if granted {
            self.full_at = full_at + step;
        }
        granted
    }

    /// When the next one may be done.
    pub(super) fn ready_at(&self, now: Instant, per_minute: u32, burst: u32) -> Instant {
        let step = Duration::from_secs(60) / per_minute.max(1);
        now.max(self.full_at - step * burst.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_gives_so_many() {
        let mut bucket = Bucket::default();
        let second = |s| Instant::ZERO + Duration::from_secs(s);
        let granted = |bucket: &mut Bucket, at: Instant| {
            (0..100).filter(|_| bucket.take(at, Some(10), 10)).count()
        };
        assert_eq!(granted(&mut bucket, second(0)), 10);
        assert_eq!(bucket.ready_at(second(1), 10, 10), second(6));
        assert_eq!(granted(&mut bucket, second(5)), 0);
        assert_eq!(granted(&mut bucket, second(6)), 1);
        assert_eq!(granted(&mut bucket, second(600)), 10);
        assert!((0..1000).all(|_| bucket.take(second(600), None, 10)));
        assert!(!Bucket::default().take(second(0), Some(0), 10));
    }
}
