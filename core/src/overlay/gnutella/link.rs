//! One connection to a neighbour: what it is to us, what it may still do, and what waits for it.

use super::negotiate::Peer;
use super::queue::Queue;
use super::table::{Received, Table};
use super::{LEAF_QUERIES_OVER_MAX, LEAF_QUERY_BURST, REPEAT_GAP, Why};
use crate::clock::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes that may wait for an ultrapeer.
const QUEUE_MAX: usize = 96 << 10;
/// Bytes that may wait for a leaf.
const LEAF_QUEUE_MAX: usize = 32 << 10;
/// Bytes that may be with the driver at once; further ones wait here, where order can still be changed.
const UNSENT_MAX: usize = 16 << 10;

/// Names a link.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u64);

/// What a neighbour is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// It relays nothing and is asked by its table.
    Leaf,
    /// Of an age without either; it relays.
    Plain,
    /// It relays, and has leaves.
    Ultrapeer,
}

/// How far a link has come.
#[derive(Debug)]
pub(super) enum State {
    /// We dialled and said the first block.
    Called,
    /// Somebody dialled us.
    Answering,
    /// We answered; one block more is to come.
    Answered(Box<Peer>),
    /// Descriptors flow.
    Open(Box<Open>),
    /// What waits is still sent, for a while; what comes is dropped.
    Leaving(Instant, Why),
}

/// A link on which descriptors flow.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) peer: Peer,
    pub(super) table: Received,
    pub(super) heard: Instant,
    /// When it was asked whether it is alive.
    pub(super) pinged: Option<Instant>,
    /// When its last Ping was answered.
    pub(super) answered: Option<Instant>,
    /// When we asked it for pongs.
    pub(super) refreshed: Option<Instant>,
    pub(super) congested: Option<Instant>,
    /// It connects to who asks whether others can, and when we have asked.
    pub(super) connects_back: bool,
    pub(super) back_asked: Option<Instant>,
    /// It wants no query that has come as far as this.
    pub(super) hops_flow: u8,
    /// The table that it was last given, and when that was looked at.
    pub(super) told: Option<(Instant, Table)>,
    /// What we share has changed since.
    pub(super) stale: bool,
    /// Its last own question.
    repeat: Option<(Instant, String)>,
    /// Queries of a leaf: those that it may still ask at once, and those that were too many.
    allowance: u32,
    allowed_at: Instant,
    over: u32,
}

/// What becomes of a query of a leaf.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pace {
    Fine,
    TooFast,
    Abuse,
}

impl Open {
    pub(super) fn new(now: Instant, peer: Peer) -> Self {
        Self {
            peer,
            table: Received::default(),
            heard: now,
            pinged: None,
            answered: None,
            refreshed: None,
            congested: None,
            connects_back: false,
            back_asked: None,
            hops_flow: u8::MAX,
            told: None,
            stale: false,
            repeat: None,
            allowance: LEAF_QUERY_BURST,
            allowed_at: now,
            over: 0,
        }
    }

    /// One query more of a leaf: one each second, and some at once.
    pub(super) fn pace(&mut self, now: Instant) -> Pace {
        let seconds = now.since(self.allowed_at).as_secs();
        self.allowed_at += Duration::from_secs(seconds);
        let earned = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.allowance = self.allowance.saturating_add(earned).min(LEAF_QUERY_BURST);
        if let Some(left) = self.allowance.checked_sub(1) {
            self.allowance = left;
            return Pace::Fine;
        }
        self.over += 1;
        if self.over > LEAF_QUERIES_OVER_MAX { Pace::Abuse } else { Pace::TooFast }
    }

    /// Whether the neighbour asked just this a moment ago.
    pub(super) fn repeats(&mut self, now: Instant, text: &str) -> bool {
        let again = self
            .repeat
            .as_ref()
            .is_some_and(|(at, last)| last == text && now.since(*at) < REPEAT_GAP);
        self.repeat = Some((now, text.into()));
        again
    }
}

/// A connection to a neighbour.
#[derive(Debug)]
pub struct Link {
    pub(super) addr: SocketAddr,
    pub(super) began: Instant,
    pub(super) state: State,
    pub(super) queue: Queue,
    /// Bytes with the driver.
    pub(super) unsent: usize,
    /// Messages to the neighbour are packed.
    pub(super) packs: bool,
}

impl Link {
    pub(super) fn new(now: Instant, addr: SocketAddr, ours: bool) -> Self {
        let state = if ours { State::Called } else { State::Answering };
        Self { addr, began: now, state, queue: Queue::new(QUEUE_MAX), unsent: 0, packs: false }
    }

    /// The other end.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the neighbour is, once descriptors flow.
    pub fn side(&self) -> Option<Side> {
        self.open().map(|open| open.peer.side)
    }

    /// The words that the neighbour may be asked for, once it has told all of them.
    pub fn table(&self) -> Option<&Table> {
        self.open()?.table.table()
    }

    pub(super) fn open(&self) -> Option<&Open> {
        if let State::Open(open) = &self.state { Some(open) } else { None }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        if let State::Open(open) = &mut self.state { Some(open) } else { None }
    }

    pub(super) fn join(&mut self, now: Instant, peer: Peer) {
        self.packs = peer.packed_out;
        self.queue.set_most(if peer.side == Side::Leaf { LEAF_QUEUE_MAX } else { QUEUE_MAX });
        self.state = State::Open(Box::new(Open::new(now, peer)));
    }

    /// Whether more may go to the driver.
    pub(super) fn is_ready(&self) -> bool {
        self.unsent < UNSENT_MAX && !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_asks_once_a_second_and_ten_times_at_once() {
        let mut open = Open::new(Instant::ZERO, Peer::plain());
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        for _ in 0..LEAF_QUERY_BURST {
            assert_eq!(open.pace(at(0)), Pace::Fine);
        }
        assert_eq!(open.pace(at(0)), Pace::TooFast);
        assert_eq!((open.pace(at(1)), open.pace(at(1))), (Pace::Fine, Pace::TooFast));
        for _ in 2..LEAF_QUERIES_OVER_MAX {
            assert_eq!(open.pace(at(1)), Pace::TooFast);
        }
        assert_eq!(open.pace(at(1)), Pace::Abuse);
    }

    #[test]
    fn the_same_words_again_at_once() {
        let mut open = Open::new(Instant::ZERO, Peer::plain());
        assert!(!open.repeats(Instant::ZERO, "a b"));
        assert!(open.repeats(Instant::ZERO, "a b"));
        assert!(!open.repeats(Instant::ZERO, "a c"));
        assert!(!open.repeats(Instant::ZERO + REPEAT_GAP, "a c"));
    }
}
