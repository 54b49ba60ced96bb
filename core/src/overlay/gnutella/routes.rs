//! Which link an answer goes back on: what has been seen lately, and who brought it.

use super::LinkId;
use crate::clock::Instant;
use crate::proto::gnutella::Guid;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Remembers names for a while, the oldest first to go.
#[derive(Debug)]
pub(super) struct Routes<T = ()> {
    life: Duration,
    most: usize,
    known: BTreeMap<Guid, (Instant, LinkId, T)>,
    /// In the order in which they were put in.
    age: VecDeque<(Instant, Guid)>,
}

impl<T> Routes<T> {
    /// Forgets after `life`, and the oldest of more than `most`.
    pub(super) fn new(life: Duration, most: usize) -> Self {
        Self { life, most, known: BTreeMap::new(), age: VecDeque::new() }
    }

    /// Remembers who brought it, unless it is known already. Says whether it is new.
    pub(super) fn learn(&mut self, now: Instant, guid: Guid, link: LinkId, with: T) -> bool {
        self.expire(now);
        if self.known.contains_key(&guid) {
            return false;
        }
        self.known.insert(guid, (now, link, with));
        self.age.push_back((now, guid));
        true
    }

    /// Remembers the latest who brought it.
    pub(super) fn relearn(&mut self, now: Instant, guid: Guid, link: LinkId, with: T) {
        self.expire(now);
        if let Some(known) = self.known.get_mut(&guid) {
            (known.1, known.2) = (link, with);
        } else {
            self.learn(now, guid, link, with);
        }
    }

    /// Who brought it.
    pub(super) fn get(&self, now: Instant, guid: &Guid) -> Option<(LinkId, &T)> {
        let (at, link, with) = self.known.get(guid)?;
        (now.since(*at) < self.life).then_some((*link, with))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(at, guid)) = self.age.front()
            && (now.since(at) >= self.life || self.known.len() >= self.most)
        {
            self.age.pop_front();
            self.known.remove(&guid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_for_its_time_and_no_more_than_so_many() {
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        let guid = |n| Guid([n; 16]);
        let mut routes = Routes::new(Duration::from_secs(600), 3);
        assert!(routes.learn(at(0), guid(1), LinkId(1), ()));
        assert!(!routes.learn(at(599), guid(1), LinkId(2), ()));
        assert_eq!(routes.get(at(599), &guid(1)), Some((LinkId(1), &())));
        assert_eq!(routes.get(at(600), &guid(1)), None);
        assert!(routes.learn(at(600), guid(1), LinkId(2), ()));
        for n in 2..=4 {
            assert!(routes.learn(at(601), guid(n), LinkId(1), ()));
        }
        assert_eq!((routes.len(), routes.get(at(601), &guid(1))), (3, None));
        routes.relearn(at(602), guid(4), LinkId(9), ());
        assert_eq!(routes.get(at(602), &guid(4)), Some((LinkId(9), &())));
    }
}
