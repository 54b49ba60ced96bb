//! The items that are kept for others, until they expire.
//!
//! Keeps only what is genuine, and of a mutable item only the newest that it has seen. Stores only for senders whose token
//! was good; that is checked before. One network can bring only a share of the items, as of the swarms.
//= BEP 44

use super::peers::Terms;
use super::shelf::Shelf;
use crate::clock::Instant;
use crate::id::NodeId;
use crate::proto::krpc::{ErrorCode, Item, Put};
use std::net::IpAddr;
use std::time::Duration;

/// Expired items are swept out this often; an answer never has them.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Stored {
    item: Item,
    expires: Instant,
}

/// The items of one address family.
#[derive(Clone, Debug)]
pub struct Items {
    life: Duration,
    shelf: Shelf<Stored>,
    sweep_due: Instant,
}

/// Why an item is not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Something else is stored than the sender thinks.
    Cas,
    /// It is not signed by its owner.
    Forged,
    /// There is no place for it.
    Full,
    /// Something newer is stored, or something else under the same number.
    Seq,
}

impl Refused {
    /// What its sender is told.
    //= BEP 44 §errors
    pub fn answer(self) -> (ErrorCode, &'static str) {
        match self {
            Self::Cas => (ErrorCode::CAS, "CAS mismatch"),
            Self::Forged => (ErrorCode::SIGNATURE, "invalid signature"),
            Self::Full => (ErrorCode::SERVER, "storage full"),
            Self::Seq => (ErrorCode::SEQ, "sequence number not newer than the current"),
        }
    }
}

impl Items {
    /// Stores nothing yet.
    pub fn new(own: NodeId, terms: Terms) -> Self {
        let shelf = Shelf::new(own, terms.items_max);
        Self { life: terms.item_life, shelf, sweep_due: Instant::ZERO }
    }

    /// Whether an item of this sender would find a place; only then is a token given out.
    pub fn would_store(&self, target: NodeId, from: IpAddr) -> bool {
        self.shelf.find(target).is_some() || self.shelf.has_place(target, from)
    }

    /// What is stored.
    pub fn get(&self, now: Instant, target: NodeId) -> Option<&Item> {
        let stored = self.shelf.find(target).filter(|stored| stored.expires > now)?;
        Some(&stored.item)
    }

    /// Stores an item, or renews it.
    //= BEP 44 §put messages
    pub fn put(&mut self, now: Instant, from: IpAddr, put: Put) -> Result<(), Refused> {
        let target = put.target();
        let Put { item, salt, cas } = put;
        if !item.is_genuine(&salt) {
            return Err(Refused::Forged);
        }
        let fresh = Stored { item, expires: now + self.life };
        let Some(stored) = self.shelf.find_mut(target) else {
            let taken = self.shelf.take(target, from, fresh);
            return if taken { Ok(()) } else { Err(Refused::Full) };
        };
        if stored.expires > now {
            let (new, current) = (fresh.item.seq(), stored.item.seq());
            if cas.is_some() && cas != current {
                return Err(Refused::Cas);
            }
            // Two values under one number: whichever came first stays, or the two would take turns for ever.
            if new < current || (new == current && fresh.item.value != stored.item.value) {
                return Err(Refused::Seq);
            }
        }
        *stored = fresh;
        Ok(())
    }

    /// Forgets what has expired, if it is time to look.
    pub fn sweep(&mut self, now: Instant) {
        if now >= self.sweep_due {
            self.sweep_due = now + SWEEP_EVERY;
            self.shelf.retain(|held| held.thing.expires > now);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shelf.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same items as seen from another id.
    pub fn rehome(&mut self, own: NodeId) {
        self.shelf.rehome(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::krpc::{ItemValue, Salt};
    use crate::sign::SecretKey;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn value(text: &str) -> ItemValue {
        ItemValue::of_bytes(text.as_bytes()).unwrap()
    }

    fn signed(seq: i64, text: &str) -> Put {
        let salt = Salt::new(b"s").unwrap();
        let item = Item::sign(&SecretKey::from_seed(&[1; 32]), &salt, seq, value(text));
        Put { item, salt, cas: None }
    }

    fn immutable(n: u32) -> Put {
        Put::new(Item { value: value(&n.to_string()), signed: None })
    }

    fn empty(terms: Terms) -> Items {
        Items::new(NodeId([9; 20]), terms)
    }

    #[test]
    fn the_newest_of_a_mutable_item_stays() {
        let mut items = empty(Terms::default());
        let target = signed(1, "a").target();
        let is = |items: &Items, seq, text: &str| {
            let item = items.get(at(0), target).unwrap();
            item.seq() == Some(seq) && item.value == value(text)
        };
        let with_cas = |put: Put, cas| Put { cas: Some(cas), ..put };
        let mut put = |put| {
            let outcome = items.put(at(0), HERE, put);
            (outcome, items.clone())
        };
        // Where nothing is stored, any condition is met.
        assert_eq!(put(with_cas(signed(5, "five"), 4)).0, Ok(()));
        let (outcome, items) = put(signed(4, "four"));
        assert!(outcome == Err(Refused::Seq) && is(&items, 5, "five"));
        let (outcome, items) = put(signed(5, "other"));
        assert!(outcome == Err(Refused::Seq) && is(&items, 5, "five"));
        assert_eq!(put(signed(5, "five")).0, Ok(()), "it is renewed");
        let (outcome, items) = put(with_cas(signed(6, "six"), 4));
        assert!(outcome == Err(Refused::Cas) && is(&items, 5, "five"));
        assert_eq!(put(with_cas(signed(4, "four"), 3)).0, Err(Refused::Cas), "that comes first");
        let (outcome, items) = put(with_cas(signed(6, "six"), 5));
        assert!(outcome == Ok(()) && is(&items, 6, "six"));
        let (outcome, items) = put(signed(i64::MAX, "last"));
        assert!(outcome == Ok(()) && is(&items, i64::MAX, "last"));
        let mut forged = signed(i64::MAX, "last");
        forged.item.value = value("forged");
        let (outcome, items) = put(forged);
        assert!(outcome == Err(Refused::Forged) && is(&items, i64::MAX, "last"));
    }

    #[test]
    fn items_expire_unless_they_are_put_again() {
        let mut items = empty(Terms::default());
        items.put(at(0), HERE, signed(9, "nine")).unwrap();
        items.put(at(0), HERE, immutable(1)).unwrap();
        let target = signed(9, "nine").target();
        items.put(at(3600), HERE, signed(9, "nine")).unwrap();
        let there = |items: &Items, s| items.get(at(s), target).is_some();
        assert!(there(&items, 10_799) && !there(&items, 10_800));
        assert!(items.get(at(7_200), immutable(1).target()).is_none());
        assert_eq!(items.put(at(10_800), HERE, signed(1, "one")), Ok(()), "what is over is over");
        items.sweep(at(10_800));
        assert_eq!(items.len(), 1);
        items.sweep(at(20_000));
        assert!(items.is_empty());
    }

    #[test]
    fn one_network_cannot_take_all_places() {
        let mut items = empty(Terms { items_max: 64, ..Terms::default() });
        let from = |net: u8| IpAddr::from([60, 0, net, 1]);
        let stored = (0..1000).filter(|&n| items.put(at(0), from(1), immutable(n)).is_ok()).count();
        assert!(stored >= 4 && items.len() == 4, "{stored} taken, {} kept", items.len());
        for n in 0..40 {
            let _ = items.put(at(0), from(n), immutable(2000 + u32::from(n)));
        }
        assert!(items.len() >= 40);
        for n in 0..5000 {
            let _ = items.put(at(0), from((n % 200) as u8), immutable(3000 + n));
        }
        assert_eq!(items.len(), 64);
        let known: Vec<NodeId> = items.shelf.targets().collect();
        items.rehome(NodeId([1; 20]));
        assert_eq!(items.len(), 64);
        assert!(known.iter().all(|target| items.get(at(0), *target).is_some()));
    }
}
