//! What waits to be sent on one link: the most useful first, and no more than its share.

use crate::proto::gnutella::{Descriptor, Kind};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What becomes of a message that is to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It waits.
    Queued,
    /// It is dropped; nobody depends on it.
    Dropped,
    /// An answer is lost: the link cannot carry what it is for.
    Overflow,
}

/// Bytes in order of their use.
#[derive(Debug)]
pub(super) struct Queue {
    most: usize,
    bytes: usize,
    waiting: BTreeMap<(u8, u8, u64), Bytes>,
    next: u64,
}

/// Lines of the handshake.
const LINES: u8 = 0;
/// What is for the neighbour and cannot be left out: tables, messages of vendors, Bye, in their order.
const LINK: u8 = 1;
const PUSH: u8 = 2;
const HIT: u8 = 3;
const PONG: u8 = 4;
const QUERY: u8 = 5;
const PING: u8 = 6;

impl Queue {
    /// Holds at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, waiting: BTreeMap::new(), next: 0 }
    }

    /// Other bound from now on.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// More than half full.
    pub(super) fn is_congested(&self) -> bool {
        self.bytes * 2 > self.most
    }

    /// Less than a quarter full.
    pub(super) fn is_relieved(&self) -> bool {
        self.bytes * 4 < self.most
    }

    /// Bytes that come before every message.
    pub(super) fn push_raw(&mut self, bytes: Vec<u8>) {
        self.insert((LINES, 0), bytes.into());
    }

    /// Lets go of everything that waits.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }

    /// Lets a message wait. Room is made at the cost of what is of less use.
    pub(super) fn push(&mut self, message: &Descriptor) -> Fate {
        let hops = message.header.hops;
        let class = match message.header.kind {
            Kind::PUSH => (PUSH, hops),
            // What has come far has cost much.
            Kind::QUERY_HIT => (HIT, u8::MAX - hops),
            Kind::PONG => (PONG, 0),
            Kind::QUERY => (QUERY, hops),
            Kind::PING => (PING, 0),
            _ => (LINK, 0),
        };
        let len = message.wire_len();
        while self.bytes + len > self.most && class.0 != LINK {
            let Some((last, _)) =
                self.waiting.last_key_value().filter(|(last, _)| last.0 > class.0)
            else {
                return if class.0 <= HIT { Fate::Overflow } else { Fate::Dropped };
            };
            let last = *last;
            self.bytes -= self.waiting.remove(&last).map_or(0, |bytes| bytes.len());
        }
        self.insert(class, message.encode().into());
        Fate::Queued
    }

    fn insert(&mut self, (class, rank): (u8, u8), bytes: Bytes) {
        self.bytes += bytes.len();
        self.waiting.insert((class, rank, self.next), bytes);
        self.next += 1;
    }

    /// The most useful, and whether it is a message: lines of the handshake are never packed.
    pub(super) fn pop(&mut self) -> Option<(Bytes, bool)> {
        let ((class, ..), bytes) = self.waiting.pop_first()?;
        self.bytes -= bytes.len();
        Some((bytes, class != LINES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gnutella::Guid;

    fn message(kind: Kind, hops: u8, len: usize) -> Descriptor {
        let mut new = Descriptor::new(Guid([0; 16]), kind, 1, vec![0; len]);
        new.header.hops = hops;
        new
    }

    #[test]
    fn the_most_useful_goes_first() {
        let mut queue = Queue::new(1 << 20);
        let order = [
            (Kind::QRP, 0),
            (Kind::PUSH, 0),
            (Kind::QUERY_HIT, 5),
            (Kind::QUERY_HIT, 1),
            (Kind::PONG, 0),
            (Kind::QUERY, 0),
            (Kind::QUERY, 3),
            (Kind::PING, 0),
        ];
        for &(kind, hops) in order.iter().rev() {
            assert_eq!(queue.push(&message(kind, hops, 0)), Fate::Queued);
        }
        let got: Vec<_> =
            std::iter::from_fn(|| queue.pop()).map(|(raw, _)| (Kind(raw[16]), raw[18])).collect();
        assert_eq!(got, order);
    }

    #[test]
    fn a_full_queue_keeps_what_is_of_use() {
        let mut queue = Queue::new(1000);
        for _ in 0..20 {
            queue.push(&message(Kind::QUERY, 1, 77));
        }
        assert_eq!(queue.push(&message(Kind::PING, 0, 77)), Fate::Dropped);
        assert!(queue.is_congested() && !queue.is_relieved());
        for _ in 0..10 {
            assert_eq!(queue.push(&message(Kind::QUERY_HIT, 1, 77)), Fate::Queued);
        }
        assert_eq!(queue.push(&message(Kind::QUERY_HIT, 9, 77)), Fate::Overflow);
        assert_eq!(queue.push(&message(Kind::QUERY, 9, 77)), Fate::Dropped);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 10);
        assert!(queue.is_relieved());
    }
}
