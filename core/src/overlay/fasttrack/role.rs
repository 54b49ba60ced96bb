//! Who becomes a supernode, and who no longer is one.

use std::time::Duration;

/// Reputation that it takes.
const SCORE_MIN: u16 = 200;
/// Below this it is over; between the two nothing changes.
const SCORE_KEEP: u16 = 120;
/// How long a node must have been there.
const UPTIME_MIN: Duration = Duration::from_secs(3600);
/// Checks that may fail in a row.
const CHECKS_MAX: u8 = 3;

/// What makes a supernode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fitness {
    /// Reputation.
    pub score: u16,
    /// Others can connect to it and send it datagrams.
    pub reachable: bool,
    /// How long it has been there.
    pub uptime: Duration,
}

impl Fitness {
    /// Whether it is enough.
    pub fn is_enough(&self) -> bool {
        self.score >= SCORE_MIN && self.reachable && self.uptime >= UPTIME_MIN
    }
}

/// The time in office of a supernode.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tenure {
    failed: u8,
}

impl Tenure {
    /// A check: whether it goes on.
    #[must_use]
    pub fn check(&mut self, score: u16, reachable: bool) -> bool {
        self.failed = if reachable { 0 } else { self.failed.saturating_add(1) };
        score >= SCORE_KEEP && self.failed < CHECKS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_reputation_reach_and_time() {
        let fit = Fitness { score: 200, reachable: true, uptime: UPTIME_MIN };
        assert!(fit.is_enough());
        assert!(!Fitness { score: 199, ..fit }.is_enough());
        assert!(!Fitness { reachable: false, ..fit }.is_enough());
        assert!(!Fitness { uptime: Duration::from_secs(3599), ..fit }.is_enough());
    }

    #[test]
    fn it_ends_late() {
        let mut tenure = Tenure::default();
        assert!(tenure.check(120, true) && !tenure.check(119, true));
        assert!(tenure.check(500, false) && tenure.check(500, false));
        assert!(tenure.check(500, true), "seen again");
        assert!(tenure.check(500, false) && tenure.check(500, false) && !tenure.check(500, false));
    }
}
