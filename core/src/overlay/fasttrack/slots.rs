//! Whom a host serves now, and who waits: reputation decides, and patience helps.
//!
//! No slot is kept for somebody who is not there: who was told to come again keeps the time that he has waited, and until
//! then others are served.

use super::reputation::Identity;
use crate::clock::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one who waits is taken to be worth for each point of reputation that another has more: 100 minutes make up
/// for a thousand points, so that nobody waits for ever.
const POINT_WAIT: Duration = Duration::from_secs(6);
/// How long one may stay away while he waits; then his place is gone. Clients come back after five minutes.
const AWAY_MAX: Duration = Duration::from_secs(600);

/// How much a host does at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlotLimits {
    /// Transfers at once.
    pub slots: usize,
    /// Who may wait; when all places are taken, the last in order goes for a better one.
    pub queue: usize,
    /// Transfers and places of one address, whatever users it names.
    pub each: usize,
    /// Whether the limit for each holds on this machine too.
    pub loopback_too: bool,
}

impl Default for SlotLimits {
    fn default() -> Self {
        Self { slots: 4, queue: 100, each: 2, loopback_too: false }
    }
}

/// What one who asks is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// Come again later.
    Full,
    /// Now.
    Now,
    /// Wait; so many are before him.
    Wait(usize),
}

/// Where one stands: as if he had come the earlier the more reputation he has. Equal ones in the order of their coming.
type Place = (i128, u64);

#[derive(Clone, Debug)]
struct Waiting {
    key: u64,
    who: Identity,
    seen: Instant,
    score: u16,
    /// Whether he would take a slot now.
    here: bool,
}

/// The transfers of one host. A `key` names a transfer for whoever drives it.
#[derive(Clone, Debug)]
pub struct Slots {
    limits: SlotLimits,
    serving: BTreeMap<u64, Identity>,
    queue: BTreeMap<Place, Waiting>,
    arrived: u64,
}

impl Slots {
    /// Nobody is served yet.
    pub const fn new(limits: SlotLimits) -> Self {
        Self { limits, serving: BTreeMap::new(), queue: BTreeMap::new(), arrived: 0 }
    }

    /// Somebody asks, for the first time or again. Who is told `Now` has a slot until [`Slots::release`].
    pub fn ask(&mut self, now: Instant, key: u64, who: &Identity, score: u16) -> Turn {
        self.queue.retain(|_, waiting| now.since(waiting.seen) <= AWAY_MAX);
        if self.serves(key) {
            return Turn::Now;
        }
        if let Some(place) = self.place_of(key) {
            if let Some(waiting) = self.queue.get_mut(&place) {
                (waiting.seen, waiting.here) = (now, true);
            }
            return self.turn(place);
        }
        let exempt = who.ip.is_loopback() && !self.limits.loopback_too;
        if !exempt && self.of(who) >= self.limits.each {
            return Turn::Full;
        }
        self.arrived += 1;
        let place = (i128::from(now.as_micros()) - credit(score), self.arrived);
        let waiting = Waiting { key, who: who.clone(), seen: now, score, here: true };
        self.queue.insert(place, waiting);
        let turn = self.turn(place);
        // A free slot needs no place in the queue.
        if turn != Turn::Now && self.queue.len() > self.limits.queue {
            let last = self.queue.pop_last();
            if last.is_some_and(|(last, _)| last == place) {
                return Turn::Full;
            }
        }
        turn
    }

    /// A transfer is over, or one who waited has left.
    pub fn release(&mut self, key: u64) {
        self.serving.remove(&key);
        self.queue.retain(|_, waiting| waiting.key != key);
    }

    /// One who waits has left, to ask again later. He keeps his place for ten minutes, and gets no slot until he is back.
    pub fn leave(&mut self, key: u64) {
        for waiting in self.queue.values_mut().filter(|waiting| waiting.key == key) {
            waiting.here = false;
        }
    }

    /// Whether a transfer has a place in the queue.
    pub fn waits(&self, key: u64) -> bool {
        self.place_of(key).is_some()
    }

    /// Whether a transfer has a slot.
    pub fn serves(&self, key: u64) -> bool {
        self.serving.contains_key(&key)
    }

    /// Somebody is worth more or less than was thought when he came.
    pub fn set_score(&mut self, who: &Identity, score: u16) {
        let of = self.queue.iter().filter(|(_, waiting)| waiting.who == *who);
        let places: Vec<Place> = of.map(|(place, _)| *place).collect();
        for place in places {
            let Some(mut waiting) = self.queue.remove(&place) else { continue };
            let more = credit(score) - credit(waiting.score);
            waiting.score = score;
            self.queue.insert((place.0 - more, place.1), waiting);
        }
    }

    /// Who has a slot from now on; to be asked after a release. For a connection that is held open while it waits.
    #[must_use]
    pub fn poll_next(&mut self) -> Option<u64> {
        if self.serving.len() >= self.limits.slots {
            return None;
        }
        let (place, _) = self.queue.iter().find(|(_, waiting)| waiting.here)?;
        let place = *place;
        let waiting = self.queue.remove(&place)?;
        self.serving.insert(waiting.key, waiting.who);
        Some(waiting.key)
    }

    /// Transfers at this moment.
    pub fn serving(&self) -> usize {
        self.serving.len()
    }

    /// Who waits.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn turn(&mut self, place: Place) -> Turn {
        let before = self.queue.range(..place).filter(|(_, waiting)| waiting.here).count();
        let free = self.limits.slots.saturating_sub(self.serving.len());
        if before >= free {
            return Turn::Wait(before);
        }
        if let Some(waiting) = self.queue.remove(&place) {
            self.serving.insert(waiting.key, waiting.who);
        }
        Turn::Now
    }

    fn place_of(&self, key: u64) -> Option<Place> {
        self.queue.iter().find(|(_, waiting)| waiting.key == key).map(|(place, _)| *place)
    }

    fn of(&self, who: &Identity) -> usize {
        let waiting = self.queue.values().filter(|waiting| waiting.who.ip == who.ip).count();
        self.serving.values().filter(|served| served.ip == who.ip).count() + waiting
    }
}

/// How much earlier than he did somebody counts as having come.
const fn credit(score: u16) -> i128 {
    score as i128 * POINT_WAIT.as_micros() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u8) -> Identity {
        Identity { user: format!("user{n}"), ip: [9, 9, 9, n].into() }
    }

    fn secs(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn slots(slots: usize, queue: usize) -> Slots {
        Slots::new(SlotLimits { slots, queue, ..SlotLimits::default() })
    }

    #[test]
    fn reputation_goes_first() {
        let mut slots = slots(1, 10);
        assert_eq!(slots.ask(secs(0), 1, &who(1), 10), Turn::Now);
        assert_eq!(slots.ask(secs(1), 2, &who(2), 10), Turn::Wait(0));
        assert_eq!(slots.ask(secs(2), 3, &who(3), 500), Turn::Wait(0));
        assert_eq!(slots.ask(secs(3), 4, &who(4), 100), Turn::Wait(1));
        assert_eq!(slots.ask(secs(4), 2, &who(2), 10), Turn::Wait(2));
        assert_eq!(slots.poll_next(), None);
        let mut order = Vec::new();
        let mut served = 1;
        while slots.waiting() > 0 {
            slots.release(served);
            served = slots.poll_next().unwrap();
            order.push(served);
        }
        assert_eq!(order, [3, 4, 2]);
        assert_eq!(slots.serving(), 1);
    }

    #[test]
    fn patience_makes_up_for_reputation() {
        let mut slots = slots(1, 10);
        assert_eq!(slots.ask(secs(0), 1, &who(1), 10), Turn::Now);
        assert_eq!(slots.ask(secs(0), 2, &who(2), 10), Turn::Wait(0));
        assert_eq!(slots.ask(secs(599), 2, &who(2), 10), Turn::Wait(0));
        // A hundred points are ten minutes.
        assert_eq!(slots.ask(secs(599), 3, &who(3), 110), Turn::Wait(0));
        assert_eq!(slots.ask(secs(601), 4, &who(4), 110), Turn::Wait(2));
        slots.release(1);
        assert_eq!(slots.ask(secs(602), 4, &who(4), 110), Turn::Wait(2));
        assert_eq!(slots.ask(secs(603), 3, &who(3), 110), Turn::Now);
    }

    #[test]
    fn who_stays_away_loses_his_place() {
        let mut slots = slots(1, 10);
        assert_eq!(slots.ask(secs(0), 1, &who(1), 10), Turn::Now);
        assert_eq!(slots.ask(secs(0), 2, &who(2), 900), Turn::Wait(0));
        assert_eq!(slots.ask(secs(601), 3, &who(3), 10), Turn::Wait(0));
        slots.release(3);
        assert_eq!(slots.waiting(), 0);
    }

    #[test]
    fn no_slot_waits_for_who_has_left() {
        let mut slots = slots(1, 10);
        assert_eq!(slots.ask(secs(0), 1, &who(1), 10), Turn::Now);
        assert_eq!(slots.ask(secs(0), 2, &who(2), 900), Turn::Wait(0));
        slots.leave(2);
        assert!(slots.waits(2) && !slots.waits(1));
        assert_eq!(slots.ask(secs(1), 3, &who(3), 10), Turn::Wait(0));
        slots.release(1);
        assert_eq!(slots.poll_next(), Some(3));
        assert!(slots.serves(3) && !slots.serves(2));
        assert_eq!(slots.ask(secs(2), 4, &who(4), 10), Turn::Wait(0));
        // Back, with all that he is worth.
        assert_eq!(slots.ask(secs(300), 2, &who(2), 900), Turn::Wait(0));
        slots.release(3);
        assert_eq!(slots.poll_next(), Some(2));
    }

    #[test]
    fn a_score_that_comes_late_moves_who_waits() {
        let mut slots = slots(1, 10);
        assert_eq!(slots.ask(secs(0), 1, &who(1), 10), Turn::Now);
        assert_eq!(slots.ask(secs(0), 2, &who(2), 10), Turn::Wait(0));
        assert_eq!(slots.ask(secs(1), 3, &who(3), 10), Turn::Wait(1));
        slots.set_score(&who(3), 11);
        slots.set_score(&who(9), 999);
        assert_eq!(slots.ask(secs(2), 3, &who(3), 10), Turn::Wait(0));
        slots.set_score(&who(3), 10);
        assert_eq!(slots.ask(secs(2), 3, &who(3), 10), Turn::Wait(1));
    }

    /// Row 45: one host that asks for everything.
    #[test]
    fn attack_45_requests_without_end() {
        let mut slots = slots(3, 5);
        let user = |key| Identity { user: format!("{key}"), ..who(1) };
        let turns: Vec<Turn> =
            (0..50).map(|key| slots.ask(secs(0), key, &user(key), 1000)).collect();
        assert_eq!(turns[..3], [Turn::Now, Turn::Now, Turn::Full]);
        assert_eq!(slots.ask(secs(0), 60, &who(2), 10), Turn::Now);
        for n in 0..100 {
            let _ = slots.ask(secs(1), 100 + n, &who(n as u8 + 10), 10);
            assert!(slots.waiting() <= 5 && slots.serving() <= 3);
        }
        assert_eq!(slots.ask(secs(2), 300, &who(200), 10), Turn::Full);
        assert_eq!(slots.ask(secs(2), 301, &who(201), 20), Turn::Wait(0), "a better one");
        let here = Identity { user: "script".into(), ip: [127, 0, 0, 1].into() };
        let mut slots = Slots::new(SlotLimits { slots: 9, ..SlotLimits::default() });
        assert!((0..9).all(|key| slots.ask(secs(0), key, &here, 10) == Turn::Now));
    }
}
