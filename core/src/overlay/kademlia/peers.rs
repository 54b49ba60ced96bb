//! Who has announced what, until it expires.
//!
//! Stores only for senders whose token was good; that is checked before. Keeps one entry for each address and
//! swarm. When there are too many swarms, whoever has brought the most loses one first, and among equals the swarms
//! nearest to our id stay: hashes can be chosen to be near, networks cannot. It never answers more than is asked for.

use super::address::subnet;
use super::owners::network;
use super::shelf::Shelf;
use crate::clock::Instant;
use crate::id::{InfoHash, NodeId};
use crate::proto::krpc::{Filter, Samples};
use crate::rng::Rng;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// What is stored, and how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// Swarms; one network may bring a 32nd of them. When there are as many, one of the network that has brought most
    /// gives way, among equals one farther from our id to one nearer.
    pub swarms_max: usize,
    /// Addresses of one swarm. When there are as many, one of the network that has most of them gives way to one of
    /// another; where there is none that has more, no token is given out.
    pub peers_max: usize,
    /// How long an announce counts.
    pub life: Duration,
    /// Items; shared out as the swarms are. Each has at most about 1 300 bytes.
    pub items_max: usize,
    /// How long an item is kept after it was put, or put again.
    //= BEP 44 §expiration
    pub item_life: Duration,
    /// Peers in one answer; fewer if they do not fit.
    pub answer_max: usize,
}

impl Default for Terms {
    /// libtorrent's sizes and its 45 minutes: three times the interval at which clients announce. Owners put their items
    /// again every hour, and may miss it once.
    fn default() -> Self {
        Self {
            swarms_max: 2000,
            peers_max: 500,
            life: Duration::from_secs(45 * 60),
            items_max: 700,
            item_life: Duration::from_secs(2 * 3600),
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

/// Peers of one /64 in a swarm: one customer has all of its addresses. A further one takes the place of the one who
/// expires first. Of IPv4 each address has one place.
const OF_ONE_NETWORK_MAX: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: SocketAddr,
    seed: bool,
    expires: Instant,
}

/// The peers of one swarm, sorted by address, so those of one network stand side by side. It is charged to who brought
/// it, or whoever is still there of those who came after him.
#[derive(Clone, Debug)]
struct Swarm {
    peers: Vec<Peer>,
}

/// Whether there is a place for one more peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seat {
    /// It is there already, at this place.
    Own(usize),
    /// Yes.
    Free,
    /// That of the peer at this place, who then has to go.
    Instead(usize),
    /// No.
    None,
}

impl Swarm {
    fn seat(&self, ip: IpAddr, max: usize) -> Seat {
        if let Ok(at) = self.peers.binary_search_by_key(&ip, |peer| peer.addr.ip()) {
            return Seat::Own(at);
        }
        if let IpAddr::V6(v6) = ip
            && subnet(ip).is_some()
        {
            let first = IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64));
            let from = self.peers.partition_point(|peer| peer.addr.ip() < first);
            let of_one = |peer: &&Peer| subnet(peer.addr.ip()) == subnet(ip);
            let count = self.peers[from..].iter().take_while(of_one).count();
            if count >= OF_ONE_NETWORK_MAX {
                return self.oldest(from..from + count);
            }
        }
        if self.peers.len() < max {
            return Seat::Free;
        }
        let mut groups = self.peers.chunk_by(|a, b| network(a.addr.ip()) == network(b.addr.ip()));
        let (mut from, mut most, mut mine) = (0, 0..0, 0);
        for group in groups.by_ref() {
            if group.len() > most.len() {
                most = from..from + group.len();
            }
            if group.first().is_some_and(|peer| network(peer.addr.ip()) == network(ip)) {
                mine = group.len();
            }
            from += group.len();
        }
        if most.len() > mine + 1 { self.oldest(most) } else { Seat::None }
    }

    /// The place of the one of these who expires first.
    fn oldest(&self, of: std::ops::Range<usize>) -> Seat {
        of.min_by_key(|&at| self.peers[at].expires).map_or(Seat::None, Seat::Instead)
    }

    fn store(&mut self, peer: Peer, max: usize) -> bool {
        match self.seat(peer.addr.ip(), max) {
            Seat::Own(at) => {
                self.peers[at] = peer;
                return true;
            }
            Seat::Free => {}
            Seat::Instead(at) => drop(self.peers.remove(at)),
            Seat::None => return false,
        }
        if self.peers.len() == self.peers.capacity() {
            self.peers.reserve_exact((self.peers.len() / 2).max(1));
        }
        let at = self.peers.partition_point(|old| old.addr.ip() < peer.addr.ip());
        self.peers.insert(at, peer);
        true
    }

    /// Who it is charged to from now on: somebody who is in it.
    fn passed_on(&self, owner: IpAddr) -> IpAddr {
        let there = |peer: &Peer| network(peer.addr.ip()) == owner;
        match self.peers.first() {
            Some(first) if !self.peers.iter().any(there) => network(first.addr.ip()),
            _ => owner,
        }
    }
}

/// The announced peers of one address family.
#[derive(Clone, Debug)]
pub struct Peers {
    terms: Terms,
    swarms: Shelf<Swarm>,
    sample: Vec<InfoHash>,
    sample_due: Instant,
    sweep_due: Instant,
}

impl Peers {
    /// Stores nothing yet.
    pub fn new(own: NodeId, terms: Terms) -> Self {
        Self {
            terms,
            swarms: Shelf::new(own, terms.swarms_max),
            sample: Vec::new(),
            sample_due: Instant::ZERO,
            sweep_due: Instant::ZERO,
        }
    }

    /// Whether an announce of this address would be stored; only then is a token given out.
    //= BEP 33 §storing node
    pub fn would_store(&self, swarm: InfoHash, addr: SocketAddr) -> bool {
        match self.swarms.find(swarm.into()) {
            Some(swarm) => swarm.seat(addr.ip(), self.terms.peers_max) != Seat::None,
            None => self.swarms.has_place(swarm.into(), addr.ip()),
        }
    }

    /// Stores an announce, or renews it. Returns whether it is stored.
    pub fn store(&mut self, now: Instant, swarm: InfoHash, addr: SocketAddr, seed: bool) -> bool {
        let peer = Peer { addr, seed, expires: now + self.terms.life };
        if let Some(swarm) = self.swarms.find_mut(swarm.into()) {
            return swarm.store(peer, self.terms.peers_max);
        }
        self.swarms.take(swarm.into(), addr.ip(), Swarm { peers: vec![peer] })
    }

    /// Some peers of a swarm, at most so many, from a random place on; `None` if there are none.
    pub fn some(
        &self,
        now: Instant,
        swarm: InfoHash,
        no_seed: bool,
        most: usize,
        rng: &mut Rng,
    ) -> Option<Vec<SocketAddr>> {
        let peers = &self.swarms.find(swarm.into())?.peers;
        let (before, after) = peers.split_at(rng.index(peers.len()));
        let there = after.iter().chain(before).filter(|peer| peer.expires > now);
        let found: Vec<_> = there
            .filter(|peer| !(no_seed && peer.seed))
            .map(|peer| peer.addr)
            .take(self.terms.answer_max.min(most))
            .collect();
        (!found.is_empty()).then_some(found)
    }

    /// The filters over the seeds and over the other peers of a swarm; `None` if it is unknown.
    //= BEP 33 §storing node
    pub fn filters(&self, now: Instant, swarm: InfoHash) -> Option<(Filter, Filter)> {
        let peers = &self.swarms.find(swarm.into())?.peers;
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
            for (nth, target) in self.swarms.targets().enumerate() {
                let swarm = InfoHash(target.0);
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
        self.swarms.retain(|held| {
            let swarm = &mut held.thing;
            swarm.peers.retain(|peer| peer.expires > now);
            held.owner = swarm.passed_on(held.owner);
            !swarm.peers.is_empty()
        });
    }

    /// Swarms, and peers in all of them.
    pub fn len(&self) -> (usize, usize) {
        (self.swarms.len(), self.swarms.held().map(|held| held.thing.peers.len()).sum())
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.swarms.len() == 0
    }

    /// The same peers as seen from another id.
    pub fn rehome(&mut self, own: NodeId) {
        self.swarms.rehome(own);
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
        let mut found = peers.some(at(61), swarm(1), false, usize::MAX, &mut rng).unwrap();
        found.sort();
        assert_eq!(found, [peer(1, 11), peer(2, 10)]);
        assert_eq!(
            peers.some(at(61), swarm(1), true, usize::MAX, &mut rng),
            Some(vec![peer(1, 11)])
        );
        assert_eq!(peers.some(at(61), swarm(2), false, usize::MAX, &mut rng), None);
        assert_eq!(
            peers.some(at(45 * 60), swarm(1), false, usize::MAX, &mut rng),
            Some(vec![peer(1, 11)])
        );
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
            (peers.len(), peers.some(at(0), swarm(3), false, usize::MAX, &mut Rng::seeded(1))),
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
                let some = peers.some(at(1), swarm(1), false, usize::MAX, &mut rng).unwrap();
                assert_eq!(some.len(), 10);
                some
            })
            .collect();
        assert_eq!(seen.len(), 100);
        let (seeds, leeches) = peers.filters(at(1), swarm(1)).unwrap();
        assert!((seeds.estimate() - 50.0).abs() < 3.0 && (leeches.estimate() - 50.0).abs() < 3.0);

        let empty = store(Terms::default()).sample(at(0), &mut rng);
        assert_eq!((empty.total, empty.hashes.len()), (0, 0));
        (2..100).for_each(|n| {
            assert!(peers.store(at(0), swarm(n), peer(u32::from(n) << 8, 1), false));
        });
        let first = peers.sample(at(10), &mut rng);
        assert_eq!((first.hashes.len(), first.total, first.interval_s), (20, 99, SAMPLE_EVERY_S));
        assert_eq!(peers.sample(at(100), &mut rng).hashes, first.hashes);
        assert_ne!(peers.sample(at(22_000), &mut rng).hashes, first.hashes);
        peers.rehome(NodeId([7; 20]));
        assert!(peers.some(at(1), swarm(99), false, usize::MAX, &mut rng).is_some());
    }

    fn v6(site: u16, net: u16, host: u16) -> SocketAddr {
        SocketAddr::from(([0x2001, 0xdb8, site, net, 0, 0, 0, host], 1))
    }

    /// Whether swarms that were chosen to be nearest to us leave those of others alone.
    fn flush(attacker: impl Fn(u32) -> SocketAddr, networks: usize) {
        let terms = Terms::default();
        let (mut peers, mut rng) = (store(terms), Rng::seeded(1));
        for n in 0..terms.swarms_max as u32 {
            let swarm = InfoHash(NodeId::random(&mut rng).0);
            assert!(peers.store(at(0), swarm, peer((n + 1000) << 8, 1), false));
        }
        for n in 0..5_000u32 {
            let mut near = [0; 20];
            near[16..].copy_from_slice(&n.to_be_bytes());
            peers.store(at(0), InfoHash(near), attacker(n), false);
        }
        let near = peers.swarms.targets().filter(|near| near.0[..16] == [0; 16]).count();
        assert_eq!((peers.len().0, near), (terms.swarms_max, networks));
    }

    #[test]
    fn chosen_hashes_of_one_network_take_one_place_of_a_full_store() {
        flush(|n| peer(n % 256, 1), 1);
        flush(|n| v6(1, n as u16, 1), 1);
        flush(|n| peer((n % 10) << 8, 1), 10);
    }

    #[test]
    fn one_network_brings_a_32nd_of_the_swarms_and_gives_way_to_who_brings_fewer() {
        let terms = Terms { swarms_max: 320, ..Terms::default() };
        let mut peers = store(terms);
        let mut rng = Rng::seeded(1);
        let mut bring = |peers: &mut Peers, from| {
            peers.store(at(0), InfoHash(NodeId::random(&mut rng).0), from, false)
        };
        for n in 0..32_000u32 {
            bring(&mut peers, peer((n % 32) << 8, 1));
        }
        assert_eq!(peers.len().0, 320);
        // Wherever they are, because the others have brought ten each.
        (100..200).for_each(|n| assert!(bring(&mut peers, peer(n << 8, 1))));
        assert_eq!(peers.len().0, 320);
        let of = |net: u32| network(peer(net << 8, 1).ip());
        let brought = |net| peers.swarms.held().filter(|swarm| swarm.owner == of(net)).count();
        assert!((0..32).all(|net| (6..=7).contains(&brought(net))));
        assert!((100..200).all(|net| brought(net) == 1));
        // Its owner has gone, so it is charged to who is still there.
        let mut one = store(terms);
        assert!(one.store(at(0), swarm(1), peer(0, 1), false));
        assert!(one.store(at(60), swarm(1), peer(7 << 8, 1), false));
        one.sweep(at(45 * 60 + 1));
        assert_eq!(one.swarms.held().map(|s| s.owner).collect::<Vec<_>>(), [of(7)]);
    }

    #[test]
    fn one_network_does_not_fill_a_swarm() {
        let mut peers = store(Terms { peers_max: 20, ..Terms::default() });
        (0..100).for_each(|host| {
            assert!(peers.store(at(host.into()), swarm(1), v6(1, 0, host), false));
        });
        assert_eq!(peers.len().1, OF_ONE_NETWORK_MAX);
        (0..100).for_each(|net| {
            peers.store(at(200), swarm(1), v6(1, net, 1), false);
        });
        assert_eq!(peers.len().1, 20);
        assert!(!peers.would_store(swarm(1), v6(1, 100, 1)));
        (2..100).for_each(|site| {
            peers.store(at(300), swarm(1), v6(site, 0, 1), false);
        });
        let of_first = peers.swarms.held().flat_map(|s| &s.thing.peers);
        let of_first =
            of_first.filter(|p| network(p.addr.ip()) == network(v6(1, 0, 0).ip())).count();
        assert_eq!((peers.len().1, of_first), (20, 1));
        // In a private network many addresses of one /64 are what is expected.
        let mut private = store(Terms::default());
        (0..100u16).for_each(|host| {
            let addr = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, host], 1));
            assert!(private.store(at(0), swarm(1), addr, false));
        });
        assert_eq!(private.len().1, 100);
    }
}
