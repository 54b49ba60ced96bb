//! The one place where time is read.

use gaggle_core::clock::Instant;
use std::time::Duration;

/// Counts microseconds from when it was started. Copies count from the same origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    /// The time since [`Self::start`].
    pub fn now(self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    /// Waits until then; for ever if there is no such time. Past times are over at once.
    pub async fn sleep_until(self, at: Option<Instant>) {
        match at {
            Some(at) if at != Instant::FAR_FUTURE => {
                tokio::time::sleep_until(self.origin + at.since(Instant::ZERO)).await;
            }
            _ => std::future::pending().await,
        }
    }

    /// Time since 1970, for records, people and the times of files; never for how long something takes. Zero if the clock is
    /// set before.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the system's time")]
    pub fn unix(self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_then_and_not_for_what_never_comes() {
        let clock = Clock::start();
        let then = clock.now() + Duration::from_millis(20);
        clock.sleep_until(Some(then)).await;
        assert!(clock.now() >= then);
        clock.sleep_until(Some(Instant::ZERO)).await;
        for never in [None, Some(Instant::FAR_FUTURE)] {
            let wait = tokio::time::timeout(Duration::from_millis(20), clock.sleep_until(never));
            assert!(wait.await.is_err(), "{never:?} came");
        }
        assert!(clock.unix() > Duration::from_secs(1_700_000_000));
    }
}
