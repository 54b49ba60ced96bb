//! What happens when, whichever mode plays it.

use super::scenario::{Action, Scenario};
use gaggle_core::clock::Instant;
use std::time::Duration;

/// Starts and steps still to come.
pub(super) struct Timeline {
    /// Latest first.
    coming: Vec<(Duration, Due)>,
}

/// Something that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    Act(Action, usize),
    Start(usize),
}

impl Timeline {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let starts = scenario.peers.iter().enumerate();
        let starts = starts.map(|(at, peer)| (scenario.groups[peer.group].start, Due::Start(at)));
        let steps = scenario
            .steps
            .iter()
            .flat_map(|step| step.peers.iter().map(|&peer| (step.at, Due::Act(step.what, peer))));
        let mut coming: Vec<(Duration, Due)> = starts.chain(steps).collect();
        coming.sort_by_key(|(at, _)| *at); // stable: what starts at a time, starts before it is stopped
        coming.reverse();
        Self { coming }
    }

    pub(super) fn due(&mut self, now: Instant) -> Vec<Due> {
        let now = now.since(Instant::ZERO);
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            due.extend(self.coming.pop().map(|(_, due)| due));
        }
        due
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.coming.last().map(|(at, _)| *at)
    }

    pub(super) fn is_over(&self) -> bool {
        self.coming.is_empty()
    }
}
