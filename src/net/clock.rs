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

    /// Time since 1970, for records and for people; never for decisions. Zero if the clock is set before.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the system's time")]
    pub fn unix(self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}
