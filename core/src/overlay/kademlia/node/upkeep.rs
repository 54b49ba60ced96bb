//! What a node does of its own accord: finds its neighbours, sees who is still there, keeps to its pace.

use super::ask::Purpose;
use super::{Node, side_of};
use crate::clock::Instant;
use crate::id::NodeId;
use crate::overlay::kademlia::K;
use crate::overlay::kademlia::lookup::LookupId;
use crate::overlay::kademlia::table::Probe;
use crate::proto::krpc::Ask;
use std::time::Duration;

/// After a first look for neighbours that found nearly nobody; doubled each time.
pub(super) const BOOTSTRAP_WAIT_MIN: Duration = Duration::from_secs(10);
const BOOTSTRAP_WAIT_MAX: Duration = Duration::from_secs(300);
/// Neighbours come and go; this often we look who they are now.
//= BEP 5 §routing table (refresh)
const REFRESH_EVERY: Duration = Duration::from_secs(15 * 60);
/// Between two probes while they often find nobody...
pub(super) const PROBE_WAIT_MIN: Duration = Duration::from_secs(5);
/// ...and while everybody is there.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(20);
/// Between two probes while places are free and somebody waits for one, or somebody may have another id now.
const PROBE_WAIT_HUNGRY: Duration = Duration::from_millis(200);

impl Node {
    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|&(at, _)| at);
        let held_back = self.paced && !self.lookups.is_empty();
        let paced = held_back.then(|| self.lookups_go_on());
        // Numbers are given in order of time, so the first is the one that ends first.
        let ends = self.lookups.first_key_value().map(|(_, lookup)| lookup.deadline());
        let soonest = due.into_iter().chain(paced).chain(ends).min();
        if !self.config.upkeep {
            return soonest;
        }
        let sides = self.sides.iter().filter(|side| side.active && side.bootstrapping.is_none());
        sides.map(|side| side.bootstrap_at).chain(soonest).chain([self.probe_at]).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, number)) = self.due.first().copied()
            && at <= now
        {
            self.due.remove(&(at, number));
            self.question_due(now, number);
        }
        self.pump_paced(now);
        while let Some((&id, lookup)) = self.lookups.first_key_value()
            && lookup.deadline() <= now
        {
            self.pump(now, id);
        }
        if !self.config.upkeep {
            return;
        }
        for side in 0..2 {
            let ready = &self.sides[side];
            if ready.active && ready.bootstrapping.is_none() && ready.bootstrap_at <= now {
                self.look_around(now, side);
            }
        }
        if self.probe_at <= now {
            self.upkeep(now);
        }
    }

    /// When the pacer has something for lookups again.
    fn lookups_go_on(&self) -> Instant {
        self.pacer.ready_leaving(&self.config.limits, self.kept_for_upkeep())
    }

    /// Lets lookups go on that were held back.
    fn pump_paced(&mut self, now: Instant) {
        if self.paced && self.lookups_go_on() <= now {
            self.paced = false;
            // The oldest first: they are the nearest to their end.
            let waiting: Vec<LookupId> = self.lookups.keys().copied().collect();
            for id in waiting {
                if self.paced {
                    break;
                }
                self.pump(now, id);
            }
        }
    }

    /// Looks for our own neighbours.
    pub(super) fn look_around(&mut self, now: Instant, side: usize) {
        // Until it is known how it went.
        self.sides[side].bootstrap_at = now + self.sides[side].bootstrap_wait;
        self.counters.bootstraps += 1;
        let id = self.start_bootstrap(now, side);
        if self.lookups.contains_key(&id) {
            self.sides[side].bootstrapping = Some(id);
        } else {
            // Over already: there was nobody to ask.
            self.events.retain(
                |event| !matches!(event, super::Event::Done { lookup, .. } if *lookup == id),
            );
            self.wait_for_neighbours(now, side, false);
        }
    }

    /// A lookup is over; if it was for neighbours, decides when to look again.
    pub(super) fn settle_bootstrap(&mut self, now: Instant, id: LookupId, answered: bool) {
        let Some(side) = self.sides.iter().position(|side| side.bootstrapping == Some(id)) else {
            return;
        };
        self.sides[side].bootstrapping = None;
        self.wait_for_neighbours(now, side, answered);
    }

    /// A full table of which nobody answers is no better than an empty one.
    fn wait_for_neighbours(&mut self, now: Instant, at: usize, answered: bool) {
        let side = &mut self.sides[at];
        if answered && side.table.len() >= K {
            side.bootstrap_wait = BOOTSTRAP_WAIT_MIN;
            side.bootstrap_at = now + REFRESH_EVERY;
        } else {
            side.bootstrap_at = now + side.bootstrap_wait;
            side.bootstrap_wait = (side.bootstrap_wait * 2).min(BOOTSTRAP_WAIT_MAX);
        }
        self.release(now, at);
    }

    /// One probe of each table, and whoever was suggested.
    fn upkeep(&mut self, now: Instant) {
        for side in &mut self.sides {
            side.peers.sweep(now);
            side.items.sweep(now);
        }
        for side in 0..2 {
            if !self.sides[side].active || self.pacer.ready_at(&self.config.limits) > now {
                continue;
            }
            if let Some(probe) = self.sides[side].table.probe(now, &mut self.rng) {
                // It was ready just now.
                let _ = self.pacer.take(now, &self.config.limits);
                self.probe(now, probe);
            }
        }
        self.ask_suggested(now);
        let hungry = self.sides.iter().any(|side| side.active && side.table.hungry(now));
        let hungry = hungry || !self.suggested.is_empty();
        self.probe_at = now + if hungry { PROBE_WAIT_HUNGRY } else { self.probe_wait };
    }

    fn probe(&mut self, now: Instant, probe: Probe) {
        let (contact, ask) = match probe {
            Probe::Ping(contact) => (contact, Ask::Ping),
            Probe::Find(contact, target) => (contact, Ask::FindNode { target, want: None }),
        };
        self.send(now, contact.addr, Some(contact.id), Purpose::Probe, ask);
    }

    pub(super) fn ask_suggested(&mut self, now: Instant) {
        let Some((id, addr)) = self.suggested.pop_front() else { return };
        if !self.pacer.take(now, &self.config.limits) {
            self.suggested.push_front((id, addr));
            return;
        }
        let target = self.sides[side_of(&addr)].table.own();
        let ask = Ask::FindNode { target: NodeId(target.0), want: None };
        self.send(now, addr, id, Purpose::Probe, ask);
    }

    /// A probe was answered or not: the more are there, the less often it is worth asking.
    pub(super) fn probed(&mut self, there: bool) {
        self.probe_wait = if there {
            (self.probe_wait * 11 / 10).min(PROBE_WAIT_MAX)
        } else {
            (self.probe_wait / 2).max(PROBE_WAIT_MIN)
        };
    }
}
