//! Whose turn it is: the slots, with those who wait for one on their connections and those who come back.

use super::held;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{Identity, SCORE_START, SlotLimits, Slots, Turn};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// Scores that are remembered; beyond it the oldest is forgotten.
const SCORES_MAX: usize = 1000;
/// For how long; then it is asked for again.
const SCORE_LIFE: Duration = Duration::from_secs(600);

pub(super) struct Turns {
    limits: SlotLimits,
    state: Mutex<State>,
}

struct State {
    slots: Slots,
    next: u64,
    /// Who is told at once when he has a slot.
    held: BTreeMap<u64, oneshot::Sender<()>>,
    /// The places of those who were told to come again, by what they want.
    away: BTreeMap<(Identity, u32), u64>,
    scores: BTreeMap<Identity, (Instant, u16)>,
}

/// A slot, or a place in the queue, of one connection.
pub(super) struct Place {
    turns: Arc<Turns>,
    key: u64,
    who: Identity,
    left: bool,
}

/// What one who asks is told.
pub(super) enum Asked {
    Full,
    Now,
    /// So many are before him. The receiver says when he has a slot, if he is one to be told.
    Wait(usize, oneshot::Receiver<()>),
}

impl Turns {
    pub(super) fn new(limits: SlotLimits) -> Arc<Self> {
        let state = State {
            slots: Slots::new(limits),
            next: 0,
            held: BTreeMap::new(),
            away: BTreeMap::new(),
            scores: BTreeMap::new(),
        };
        Arc::new(Self { limits, state: Mutex::new(state) })
    }

    /// Asks with the place that a connection has, with the one that the same asker left for the same file, or for a new
    /// one. Who is not told when he has a slot asks again: it is his until he gives up his place.
    pub(super) fn ask(
        self: &Arc<Self>,
        now: Instant,
        place: &mut Option<Place>,
        who: &Identity,
        file: u32,
        tell: bool,
    ) -> Asked {
        let mut state = held(&self.state);
        let key = match place {
            Some(place) => place.key,
            None => state.away.remove(&(who.clone(), file)).unwrap_or_else(|| {
                state.next += 1;
                state.next
            }),
        };
        let score = state.scores.get(who).map_or(SCORE_START, |(_, score)| *score);
        let turn = state.slots.ask(now, key, who, score);
        if turn == Turn::Full {
            return Asked::Full;
        }
        if place.is_none() {
            *place = Some(Place { turns: Arc::clone(self), key, who: who.clone(), left: false });
        }
        let Turn::Wait(before) = turn else { return Asked::Now };
        let (told, telling) = oneshot::channel();
        if tell {
            state.held.insert(key, told);
        }
        Asked::Wait(before, telling)
    }

    /// Gives up waiting here, but not the place, for when he comes back. `false` if he has a slot by now.
    pub(super) fn leave(&self, place: &mut Option<Place>, file: u32) -> bool {
        let mut state = held(&self.state);
        let State { slots, away, held, .. } = &mut *state;
        let Some(leaving) = place else { return true };
        if slots.serves(leaving.key) {
            return false;
        }
        held.remove(&leaving.key);
        slots.leave(leaving.key);
        away.insert((leaving.who.clone(), file), leaving.key);
        // Of those who did not come back in time, and of this one if a better one took his place.
        away.retain(|_, key| slots.waits(*key));
        leaving.left = true;
        drop(state);
        *place = None;
        true
    }

    /// Whether it is known what somebody is worth.
    pub(super) fn knows(&self, now: Instant, who: &Identity) -> bool {
        let state = held(&self.state);
        state.scores.get(who).is_some_and(|(since, _)| now.since(*since) < SCORE_LIFE)
    }

    pub(super) fn set_score(&self, now: Instant, who: &Identity, score: u16) {
        let mut state = held(&self.state);
        if state.scores.len() >= SCORES_MAX && !state.scores.contains_key(who) {
            let oldest = state.scores.iter().min_by_key(|(_, (since, _))| *since);
            let oldest = oldest.map(|(who, _)| who.clone());
            oldest.map(|who| state.scores.remove(&who));
        }
        state.scores.insert(who.clone(), (now, score));
        state.slots.set_score(who, score);
    }

    /// Transfers now, and who waits for one.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = held(&self.state);
        (state.slots.serving(), state.slots.waiting())
    }

    /// Transfers at once.
    pub(super) const fn limit(&self) -> usize {
        self.limits.slots
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut state = held(&self.turns.state);
        state.held.remove(&self.key);
        state.slots.release(self.key);
        while let Some(key) = state.slots.poll_next() {
            // Of who has left meanwhile the place is dropped, too, and the slot with it.
            let _ = state.held.remove(&key).map(|told| told.send(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u8) -> Identity {
        Identity { user: "ann".into(), ip: [9, 9, 9, n].into() }
    }

    fn secs(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn turns() -> Arc<Turns> {
        Turns::new(SlotLimits { slots: 1, ..SlotLimits::default() })
    }

    #[test]
    fn the_one_who_is_worth_most_has_the_next_slot() {
        let turns = turns();
        let mut places: Vec<Option<Place>> = (0..4).map(|_| None).collect();
        let mut telling = Vec::new();
        for (n, place) in places.iter_mut().enumerate() {
            match turns.ask(secs(n as u64), place, &who(n as u8), 7, true) {
                Asked::Wait(_, told) => telling.push(told),
                Asked::Now => assert_eq!(n, 0),
                Asked::Full => panic!(),
            }
        }
        assert!(!turns.knows(secs(4), &who(2)));
        turns.set_score(secs(4), &who(2), 500);
        assert!(turns.knows(secs(4), &who(2)) && !turns.knows(secs(700), &who(2)));
        places[0] = None;
        assert_eq!(telling[1].try_recv(), Ok(()));
        assert!(telling[0].try_recv().is_err() && telling[2].try_recv().is_err());
        // Who goes while he waits has no slot, and neither has one that he had just got.
        places[1] = None;
        places[2] = None;
        assert_eq!(telling[2].try_recv(), Ok(()));
        assert_eq!(turns.load(), (1, 0));
        places.clear();
        assert_eq!(turns.load(), (0, 0));
    }

    #[test]
    fn who_comes_back_has_waited() {
        let turns = turns();
        let (mut first, mut second, mut third) = (None, None, None);
        assert!(matches!(turns.ask(secs(0), &mut first, &who(0), 7, true), Asked::Now));
        assert!(matches!(turns.ask(secs(0), &mut second, &who(1), 7, true), Asked::Wait(0, _)));
        assert!(turns.leave(&mut second, 7) && second.is_none());
        assert!(matches!(turns.ask(secs(1), &mut third, &who(2), 7, true), Asked::Wait(0, _)));
        assert!(matches!(turns.ask(secs(2), &mut second, &who(1), 7, true), Asked::Wait(0, _)));
        // A slot that came in the same moment is not left.
        first = None;
        assert!(!turns.leave(&mut second, 7) && second.is_some());
        assert_eq!(turns.load(), (1, 1));
        drop((first, second, third));
        assert_eq!(turns.load(), (0, 0));
    }
}
