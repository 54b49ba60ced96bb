//! When a torrent asks a network without a server: at once, again soon while it is alone, and every quarter of an hour
//! so as to stay known there.
//!
//! Never asks twice at a time, and never decides whom: that is the network's affair.

use crate::clock::Instant;
use std::time::Duration;

/// An announce is kept for half an hour or so: this often it is made again.
//= BEP 5 §announce_peer
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(15 * 60);
/// A torrent that is alone asks again after this, then after twice as long, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// With fewer nodes that keep our announce than this we are hardly known: it is made again soon, since a network that
/// is as small has perhaps only begun.
const KEPT_ENOUGH: u32 = 4;

/// What to do now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Look for peers, and let others know of us.
    Announce,
    /// Only look: we are known already.
    Look,
}

/// The asks of one torrent, one after another.
#[derive(Clone, Debug)]
pub struct Seeker {
    /// When to ask again.
    at: Instant,
    wait: Duration,
    asking: bool,
    alone: bool,
    /// When we were last stored by enough nodes.
    announced: Option<Instant>,
    /// The last ask found nobody to ask.
    in_vain: bool,
}

impl Seeker {
    /// Asks as soon as it is polled. `alone` is whether peers are lacking.
    pub fn new(now: Instant, alone: bool) -> Self {
        Self { at: now, wait: RETRY_FIRST, asking: false, alone, announced: None, in_vain: false }
    }

    /// What is due; end it with [`Self::ended`].
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.asking || self.at > now {
            return None;
        }
        self.asking = true;
        let known = self.announced.is_some_and(|at| now.since(at) < ANNOUNCE_EVERY);
        Some(if known { Step::Look } else { Step::Announce })
    }

    /// When to poll again; `None` while an ask is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.asking).then_some(self.at)
    }

    /// An ask is over: how many nodes were asked, and how many of them keep our announce.
    pub fn ended(&mut self, now: Instant, asked: u32, stored: u32) {
        self.asking = false;
        self.in_vain = asked == 0;
        if stored >= KEPT_ENOUGH {
            self.announced = Some(now);
        }
        let due = self.announced.map_or(now, |at| at + ANNOUNCE_EVERY);
        if self.alone || self.announced.is_none() {
            self.at = (now + self.wait).min(due.max(now + RETRY_FIRST));
            self.wait = (self.wait * 2).min(RETRY_MAX);
        } else {
            self.at = due;
        }
    }

    /// Whether peers are lacking: who has just lost the last one asks at once.
    pub fn set_alone(&mut self, now: Instant, alone: bool) {
        if alone && !self.alone {
            self.wait = RETRY_FIRST;
            self.at = self.at.min(now);
        } else if !alone && let Some(announced) = self.announced {
            self.at = self.at.max(announced + ANNOUNCE_EVERY);
        }
        self.alone = alone;
    }

    /// There is somebody to ask now: an ask that found nobody is made again at once.
    pub fn nodes_known(&mut self, now: Instant) {
        if std::mem::take(&mut self.in_vain) {
            self.wait = RETRY_FIRST;
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    #[test]
    fn a_torrent_with_peers_announces_every_quarter_of_an_hour() {
        let mut seeker = Seeker::new(at(0), false);
        assert_eq!(seeker.poll(at(0)), Some(Step::Announce));
        assert_eq!((seeker.poll(at(1)), seeker.poll_timeout()), (None, None), "one at a time");
        seeker.ended(at(2), 20, 8);
        assert_eq!(seeker.poll_timeout(), Some(at(902)));
        assert_eq!(seeker.poll(at(901)), None);
        assert_eq!(seeker.poll(at(902)), Some(Step::Announce));
    }

    #[test]
    fn a_lonely_one_looks_again_soon_and_ever_more_rarely() {
        let mut seeker = Seeker::new(at(0), true);
        let mut asks = Vec::new();
        for s in 0..1000 {
            if let Some(step) = seeker.poll(at(s)) {
                asks.push((s, step));
                seeker.ended(at(s), 20, if step == Step::Announce { 8 } else { 0 });
            }
        }
        let times: Vec<u64> = asks.iter().map(|(s, _)| *s).collect();
        assert_eq!(times, [0, 5, 15, 35, 75, 155, 315, 615, 900], "the announce is not missed");
        assert_eq!(asks[1].1, Step::Look);
        assert_eq!(asks[8].1, Step::Announce);
    }

    #[test]
    fn who_loses_the_last_peer_asks_at_once() {
        let mut seeker = Seeker::new(at(0), true);
        let _ = seeker.poll(at(0));
        seeker.ended(at(1), 9, 5);
        seeker.set_alone(at(2), false);
        assert_eq!(seeker.poll_timeout(), Some(at(901)));
        seeker.set_alone(at(100), true);
        assert_eq!(seeker.poll(at(100)), Some(Step::Look));
    }

    #[test]
    fn who_is_hardly_known_announces_again() {
        let mut seeker = Seeker::new(at(0), false);
        let _ = seeker.poll(at(0));
        seeker.ended(at(0), 1, 1);
        assert_eq!(seeker.poll(at(5)), Some(Step::Announce));
        seeker.ended(at(5), 20, 8);
        assert_eq!(seeker.poll_timeout(), Some(at(905)));
    }

    #[test]
    fn the_first_node_is_asked_at_once() {
        let mut seeker = Seeker::new(at(0), false);
        let _ = seeker.poll(at(0));
        seeker.ended(at(0), 0, 0);
        assert_eq!(seeker.poll(at(1)), None);
        seeker.nodes_known(at(2));
        assert_eq!(seeker.poll(at(2)), Some(Step::Announce));
        seeker.ended(at(3), 4, 4);
        seeker.nodes_known(at(4));
        assert_eq!(seeker.poll(at(4)), None, "only if it was in vain");
    }
}
