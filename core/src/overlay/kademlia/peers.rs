//! Who has announced what, until it expires.
//!
//! Stores only for senders whose token was good; that is checked before. Keeps one entry for each address and
//! swarm, prefers the swarms nearest to our id when there are too many, and never answers more than is asked for.

use crate::clock::Instant;
use crate::id::{Distance, InfoHash, NodeId};
use crate::proto::krpc::{Filter, Samples};
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What is stored, and how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// Swarms. When there are as many, one farther from our id gives way to one nearer.
    pub swarms_max: usize,
    /// Addresses of one swarm. When there are as many, no token is given out for it.
    pub peers_max: usize,
    /// How long an announce counts.
    pub life: Duration,
    /// Peers in one answer; fewer if they do not fit.
    pub answer_max: usize,
}

impl Default for Terms {
    /// libtorrent's sizes and its 45 minutes: three times the interval at which clients announce.
    fn default() -> Self {
        Self {
            swarms_max: 2000,
            peers_max: 500,
            life: Duration::from_secs(45 * 60),
            answer_max: 100,
        }
    }
}

/// Hashes in one sample.
//= BEP 51 §protocol
const SAMPLE: usize = 20;
/// Everybody asks for new samples this often.
const SAMPLE_EVERY_S: u32 = crate::proto::krpc::SAMPLE_INTERVAL_MAX_S;
/// Expired peers are swept out this often; an answer never has them.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: SocketAddr,
    seed: bool,
    expires: Instant,
}

/// The announced peers of one address family.
#[derive(Clone, Debug)]
pub struct Peers {
    own: NodeId,
    terms: Terms,
    /// By distance from our id. The peers of one swarm are sorted by address.
    swarms: BTreeMap<Distance, Vec<Peer>>,
    sample: Vec<InfoHash>,
    sample_due: Instant,
    sweep_due: Instant,
}

impl Peers {
    /// Stores nothing yet.
    pub fn new(own: NodeId, terms: Terms) -> Self {
        Self {
            own,
            terms,
            swarms: BTreeMap::new(),
            sample: Vec::new(),
            sample_due: Instant::ZERO,
            sweep_due: Instant::ZERO,
        }
    }

    /// Whether an announce of this address would be stored; only then is a token given out.
    //= BEP 33 §storing node
    pub fn would_store(&self, swarm: InfoHash, addr: SocketAddr) -> bool {
        let key = self.key(swarm);
        match self.swarms.get(&key) {
            Some(peers) => {
                peers.len() < self.terms.peers_max
                    || peers.binary_search_by_key(&addr.ip(), |peer| peer.addr.ip()).is_ok()
            }
            None => {
                self.swarms.len() < self.terms.swarms_max
                    || self.swarms.last_key_value().is_some_and(|(farthest, _)| key < *farthest)
            }
        }
    }

    /// Stores an announce, or renews it. Returns whether it is stored.
    pub fn store(&mut self, now: Instant, swarm: InfoHash, addr: SocketAddr, seed: bool) -> bool {
        if !self.would_store(swarm, addr) {
            return false;
        }
        let key = self.key(swarm);
        if !self.swarms.contains_key(&key) && self.swarms.len() >= self.terms.swarms_max {
            self.swarms.pop_last();
        }
        let peers = self.swarms.entry(key).or_default();
        let peer = Peer { addr, seed, expires: now + self.terms.life };
        match peers.binary_search_by_key(&addr.ip(), |peer| peer.addr.ip()) {
            Ok(at) => peers[at] = peer,
            Err(at) => {
                if peers.len() == peers.capacity() {
                    peers.reserve_exact((peers.len() / 2).max(1));
                }
                peers.insert(at, peer);
            }
        }
        true
    }

    /// Some peers of a swarm, from a random place on; `None` if there are none.
    pub fn some(
        &self,
        now: Instant,
        swarm: InfoHash,
        no_seed: bool,
        rng: &mut Rng,
    ) -> Option<Vec<SocketAddr>> {
        let peers = self.swarms.get(&self.key(swarm))?;
        let (before, after) = peers.split_at(rng.index(peers.len()));
        let there = after.iter().chain(before).filter(|peer| peer.expires > now);
        let found: Vec<_> = there
            .filter(|peer| !(no_seed && peer.seed))
            .map(|peer| peer.addr)
            .take(self.terms.answer_max)
            .collect();
        (!found.is_empty()).then_some(found)
    }

    /// The filters over the seeds and over the other peers of a swarm; `None` if it is unknown.
    //= BEP 33 §storing node
    pub fn filters(&self, now: Instant, swarm: InfoHash) -> Option<(Filter, Filter)> {
        let peers = self.swarms.get(&self.key(swarm))?;
        let (mut seeds, mut leeches) = (Filter::new(), Filter::new());
        for peer in peers.iter().filter(|peer| peer.expires > now) {
            if peer.seed { &mut seeds } else { &mut leeches }.insert(peer.addr.ip());
        }
        Some((seeds, leeches))
    }

    /// Some of the swarms; the same ones until the interval has passed.
    //= BEP 51 §protocol
    pub fn sample(&mut self, now: Instant, rng: &mut Rng) -> Samples {
        if now >= self.sample_due || self.sample.len() < SAMPLE.min(self.swarms.len()) {
            self.sample_due = now + Duration::from_secs(SAMPLE_EVERY_S.into());
            self.sample.clear();
            for (nth, key) in self.swarms.keys().enumerate() {
                let swarm = InfoHash(self.own.distance(&NodeId(key.0)).0);
                if self.sample.len() < SAMPLE {
                    self.sample.push(swarm);
                } else if let Some(place) = self.sample.get_mut(rng.index(nth + 1)) {
                    *place = swarm;
                }
            }
        }
        let left = self.sample_due.since(now).as_secs();
        Samples {
            interval_s: left.min(SAMPLE_EVERY_S.into()) as u32,
            total: self.swarms.len() as u64,
            hashes: self.sample.clone(),
        }
    }

    /// Forgets who has expired, if it is time to look.
    pub fn sweep(&mut self, now: Instant) {
        if now < self.sweep_due {
            return;
        }
        self.sweep_due = now + SWEEP_EVERY;
        self.swarms.retain(|_, peers| {
            peers.retain(|peer| peer.expires > now);
            !peers.is_empty()
        });
    }

    /// Swarms, and peers in all of them.
    pub fn len(&self) -> (usize, usize) {
        (self.swarms.len(), self.swarms.values().map(Vec::len).sum())
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.swarms.is_empty()
    }

    /// The same peers as seen from another id.
    pub fn rehome(&mut self, own: NodeId) {
        let old = std::mem::replace(&mut self.own, own);
        let swarms = std::mem::take(&mut self.swarms);
        let renamed = |key: Distance| own.distance(&NodeId(old.distance(&NodeId(key.0)).0));
        self.swarms = swarms.into_iter().map(|(key, peers)| (renamed(key), peers)).collect();
    }

    fn key(&self, swarm: InfoHash) -> Distance {
        self.own.distance(&swarm.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn peer(n: u32, port: u16) -> SocketAddr {
        SocketAddr::from(((0xc612_0000 + n).to_be_bytes(), port))
    }

    fn swarm(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    fn store(terms: Terms) -> Peers {
        Peers::new(NodeId([0; 20]), terms)
    }

    #[test]
    fn one_entry_for_each_address_and_it_expires() {
        let (mut peers, mut rng) = (store(Terms::default()), Rng::seeded(1));
        assert!(peers.store(at(0), swarm(1), peer(1, 10), false));
        assert!(peers.store(at(0), swarm(1), peer(2, 10), true));
        assert!(peers.store(at(60), swarm(1), peer(1, 11), false));
        assert_eq!(peers.len(), (1, 2));
        let mut found = peers.some(at(61), swarm(1), false, &mut rng).unwrap();
        found.sort();
        assert_eq!(found, [peer(1, 11), peer(2, 10)]);
        assert_eq!(peers.some(at(61), swarm(1), true, &mut rng), Some(vec![peer(1, 11)]));
        assert_eq!(peers.some(at(61), swarm(2), false, &mut rng), None);
        assert_eq!(peers.some(at(45 * 60), swarm(1), false, &mut rng), Some(vec![peer(1, 11)]));
        peers.sweep(at(45 * 60 + 60));
        assert!(peers.is_empty());
    }

    #[test]
    fn full_swarms_and_full_stores_take_nobody_and_say_so_before() {
        let terms = Terms { swarms_max: 3, peers_max: 2, ..Terms::default() };
        let mut peers = store(terms);
        for n in 0..2 {
            assert!(peers.store(at(0), swarm(3), peer(n, 1), false));
        }
        assert!(
            !peers.would_store(swarm(3), peer(9, 1)) && peers.would_store(swarm(3), peer(1, 2))
        );
        assert!(!peers.store(at(0), swarm(3), peer(9, 1), false));
        for n in [1, 2] {
            assert!(peers.store(at(0), swarm(n), peer(0, 1), false));
        }
        assert!(!peers.would_store(swarm(4), peer(0, 1)), "farther than all of them");
        assert!(peers.store(at(0), swarm(0), peer(0, 1), false), "nearer: the farthest gives way");
        assert_eq!(
            (peers.len(), peers.some(at(0), swarm(3), false, &mut Rng::seeded(1))),
            ((3, 3), None)
        );
    }

    #[test]
    fn answers_and_samples_are_bounded_and_cover_everything_in_time() {
        let mut peers = store(Terms { answer_max: 10, ..Terms::default() });
        let mut rng = Rng::seeded(1);
        (0..100).for_each(|n| assert!(peers.store(at(0), swarm(1), peer(n, 1), n % 2 == 0)));
        let seen: std::collections::BTreeSet<_> = (0..300)
            .flat_map(|_| {
                let some = peers.some(at(1), swarm(1), false, &mut rng).unwrap();
                assert_eq!(some.len(), 10);
                some
            })
            .collect();
        assert_eq!(seen.len(), 100);
        let (seeds, leeches) = peers.filters(at(1), swarm(1)).unwrap();
        assert!((seeds.estimate() - 50.0).abs() < 3.0 && (leeches.estimate() - 50.0).abs() < 3.0);

        let empty = store(Terms::default()).sample(at(0), &mut rng);
        assert_eq!((empty.total, empty.hashes.len()), (0, 0));
        (2..100).for_each(|n| assert!(peers.store(at(0), swarm(n), peer(0, 1), false)));
        let first = peers.sample(at(10), &mut rng);
        assert_eq!((first.hashes.len(), first.total, first.interval_s), (20, 99, SAMPLE_EVERY_S));
        assert_eq!(peers.sample(at(100), &mut rng).hashes, first.hashes);
        assert_ne!(peers.sample(at(22_000), &mut rng).hashes, first.hashes);
        peers.rehome(NodeId([7; 20]));
        assert!(peers.some(at(1), swarm(99), false, &mut rng).is_some());
    }
}
