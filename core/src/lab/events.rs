//! What will happen, in order of time; what was scheduled first goes first among equals.

use super::host::HostId;
use super::stream::Way;
use crate::clock::Instant;
use crate::swarm::PeerKey;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that is due at an instant. Events of a host carry the life they were meant for: a host that has
/// crashed since must not hear of them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Happening {
    /// The host asks the tracker.
    Announce { host: HostId, life: u32 },
    /// The first items in flight on this way have reached the receiver's line.
    Arrive { way: Way, items: u16, bytes: u32 },
    /// The other end has vanished, and this end now knows.
    Break { way: Way },
    /// The items are through the receiver's line.
    Deliver { way: Way, items: u16 },
    /// A connection attempt has come to nothing.
    DialFailed { conn: u32 },
    /// The oldest operation of the host's disk is finished.
    Disk { host: HostId, life: u32 },
    /// The connection may send again after being held back by its own window.
    Pace { way: Way },
    /// What the host pays to this peer allows the next block.
    Pay { host: HostId, life: u32, peer: PeerKey },
    /// A step of the scenario.
    Plan { step: u32 },
    /// The dialler's handshake has reached the host that it dialled.
    ShakeIn { conn: u32 },
    /// The answer has reached the dialler.
    ShakeOut { conn: u32 },
    /// The host's line is free for the next segment.
    Uplink { host: HostId, life: u32 },
    /// The machine asked to be woken.
    Wake { host: HostId, life: u32 },
}

/// The agenda of a world.
#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    scheduled: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Instant, what: Happening) {
        self.heap.push(Reverse((at, self.scheduled, what)));
        self.scheduled += 1;
    }

    pub(super) fn next(&mut self) -> Option<(Instant, Happening)> {
        self.heap.pop().map(|Reverse((at, _, what))| (at, what))
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_and_equals_keep_their_order() {
        let mut agenda = Agenda::default();
        let at = Instant::from_micros;
        let plan = |step| Happening::Plan { step };
        for (us, step) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            agenda.add(at(us), plan(step));
        }
        assert_eq!(agenda.next_at(), Some(at(3)));
        let order: Vec<_> = std::iter::from_fn(|| agenda.next()).collect();
        let want = [(3, 1), (3, 3), (5, 0), (5, 2)];
        assert_eq!(order, want.map(|(us, step)| (at(us), plan(step))));
    }
}
