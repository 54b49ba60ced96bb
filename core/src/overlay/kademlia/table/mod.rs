//! Whom a node remembers: many far away, everybody nearby, and only who has answered.
//!
//! Decides who gets a place, who loses it, and whom to ask next to see whether he is still there. Never asks
//! anybody itself, and never gives a place to somebody whose address is only hearsay.
//= BEP 5 §routing table

mod entry;
mod room;
#[cfg(test)]
mod tests;

use crate::clock::Instant;
use crate::id::NodeId;
use crate::overlay::kademlia::K;
use crate::overlay::kademlia::address::subnet;
use crate::proto::krpc::Contact;
use crate::rng::Rng;
use entry::{BAD_AT, Endpoint, Entry, Secs};
use room::Bucket;
use std::net::SocketAddr;
use std::time::Duration;

pub use entry::Standing;

/// Buckets at most: 2³² nodes are more than there will be, and somebody who makes up ids near ours must not grow
/// the table.
const BUCKETS_MAX: usize = 32;
/// Entries of one network in the last bucket, where our neighbours are.
const NEAR_PER_NETWORK: usize = 2;
/// Places of the first bucket, unless the owner wants others: each doubling saves half a hop there, and costs 14 KiB
/// in all and nodes to keep an eye on.
pub const WIDTH: usize = 128;
/// More than this is never given to the first bucket.
pub const WIDTH_MAX: usize = 1024;
/// Failures in a row after which a node is forgotten even if nobody can take its place.
const FORGET_AT: u8 = 5;
/// Nobody is asked again within this time only to see whether he is still there.
const PROBE_AGE_S: u32 = 5 * 60;
/// Nobody who has not answered is asked again sooner than this; doubled for each further failure.
const RETRY_S: u32 = 15;

/// Addresses of strangers looked for in a second, each among all that we know: who is asked by more strangers has better
/// to do.
const LOOKS_A_SECOND: u16 = 1000;

/// What to ask to see whether a node is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// Its bucket is full: only whether it is there.
    Ping(Contact),
    /// Its bucket has room: somebody near this id of the bucket's range, too.
    Find(Contact, NodeId),
}

/// How many nodes of each standing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// See [`Standing::Good`].
    pub good: usize,
    /// See [`Standing::Questionable`].
    pub questionable: usize,
    /// See [`Standing::Bad`].
    pub bad: usize,
    /// Waiting for a place.
    pub spare: usize,
    /// Buckets in use.
    pub buckets: usize,
}

/// Places of the bucket of those who share `depth` bits with us, in a table whose first bucket has `width`: half as many
/// with each bit, and 8 from where that would be fewer. The upper buckets are asked most.
pub const fn places(width: usize, depth: usize) -> usize {
    let places = if depth < usize::BITS as usize { width >> depth } else { 0 };
    if places > K { places } else { K }
}

/// The nodes that a node knows, in buckets by how many leading bits they share with its own id.
#[derive(Clone, Debug)]
pub struct Table {
    own: NodeId,
    width: usize,
    /// The last one holds everybody who shares that many bits or more.
    buckets: Vec<Bucket>,
    /// How often the address of a stranger was looked for in this second.
    looks: (Secs, u16),
}

impl Table {
    /// Of a node that knows nobody. `width` is that of [`places`]; it is at most [`WIDTH_MAX`].
    pub fn new(own: NodeId, width: usize) -> Self {
        Self {
            own,
            width: width.min(WIDTH_MAX),
            buckets: vec![Bucket::default()],
            looks: (Secs::NEVER, 0),
        }
    }

    /// The id that distances are counted from.
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// Notes somebody who was named by another node. He waits for a place until he is asked.
    pub fn heard_of(&mut self, contact: Contact) {
        let bucket = &self.buckets[self.index(&contact.id)];
        if bucket.spare_is_full() || contact.id == self.own {
            return;
        }
        let entry = Entry::hearsay(contact);
        if self.admissible(&entry) && self.find(&contact.id).is_none() {
            let at = self.index(&contact.id);
            self.buckets[at].wait(entry);
        }
    }

    /// Notes a query. It is a sign of life from somebody who has answered before, and hearsay from anybody else.
    /// Returns what [`Self::trusts`] says of its sender.
    pub fn queried_by(&mut self, now: Instant, contact: Contact) -> bool {
        let Some(entry) = self.find(&contact.id) else {
            self.doubt(Secs::of(now), contact.addr);
            self.heard_of(contact);
            return false;
        };
        let same = entry.addr() == contact.addr;
        if same && entry.confirmed {
            entry.heard = Secs::of(now);
        }
        same && entry.presentable()
    }

    /// Whether this node has answered at this address, and did so last time.
    pub fn trusts(&self, contact: &Contact) -> bool {
        self.buckets[self.index(&contact.id)]
            .find(&contact.id)
            .is_some_and(|entry| entry.presentable() && entry.addr() == contact.addr)
    }

    /// Notes an answer to a question of ours. Returns whether the node is in the table now.
    pub fn answered(&mut self, now: Instant, contact: Contact, rtt: Duration) -> bool {
        if contact.id == self.own {
            return false;
        }
        let now = Secs::of(now);
        let mut entry = Entry::hearsay(contact);
        if let Some(known) = self.find(&contact.id) {
            if known.at == entry.at {
                known.answered(now, rtt);
                self.settle(&contact.id);
                return true;
            }
            if known.fails == 0 {
                return false; // the one who was there first keeps his name
            }
            self.remove(&contact.id);
        }
        if self.evict_renamed(&entry) || !self.admissible(&entry) {
            return false;
        }
        entry.answered(now, rtt);
        self.admit(entry)
    }

    /// Notes that a question of ours stayed without an answer.
    pub fn failed(&mut self, contact: &Contact) {
        let at = self.index(&contact.id);
        let places = self.places(at);
        self.buckets[at].failed(places, contact);
    }

    /// Notes that a question is on its way.
    pub fn asked(&mut self, now: Instant, contact: &Contact) {
        let at = Endpoint::from(contact.addr);
        if let Some(entry) = self.find(&contact.id).filter(|entry| entry.at == at) {
            entry.ask(Secs::of(now));
        }
    }

    /// The closest nodes that may be named to others, the closest first, at most `count`.
    pub fn closest(&self, target: &NodeId, count: usize) -> Vec<Contact> {
        let mut best = room::Closest::new(*target, count);
        let home = self.index(target);
        best.group(self.buckets[home..=home].iter());
        // Everybody who shares more bits with us than the target does is about as far from it.
        best.group(self.buckets[home + 1..].iter());
        for bucket in self.buckets[..home].iter().rev() {
            best.group(std::iter::once(bucket));
        }
        best.into_contacts()
    }

    /// Like [`Self::closest`], with those filled in who never answered: for a lookup that has nobody better.
    pub fn closest_of_all(&self, target: &NodeId, count: usize) -> Vec<Contact> {
        let mut all: Vec<Contact> =
            self.buckets.iter().flat_map(Bucket::all).map(Entry::contact).collect();
        all.sort_by_key(|contact| contact.id.distance(target));
        all.truncate(count);
        all
    }

    /// Whom to ask next, the most urgent first; `None` if nobody needs to be.
    pub fn probe(&mut self, now: Instant, rng: &mut Rng) -> Option<Probe> {
        let now = Secs::of(now);
        let waiting = |bucket: &Bucket| {
            let due = |entry: &&Entry| now.since(entry.asked) >= RETRY_S;
            bucket.spare.iter().filter(due).min_by_key(|entry| entry.asked).copied()
        };
        let sparse = (0..self.buckets.len())
            .rev()
            .find_map(|at| self.has_room(at).then(|| waiting(&self.buckets[at])).flatten());
        let failing = || {
            let due = |entry: &&Entry| {
                entry.fails > 0 && now.since(entry.asked) >= RETRY_S << entry.fails.min(5)
            };
            self.live().filter(due).min_by_key(|entry| entry.asked)
        };
        let oldest = || {
            let age = |entry: &Entry| now.since(entry.asked.max(entry.heard));
            self.live().max_by_key(|entry| age(entry)).filter(|entry| age(entry) >= PROBE_AGE_S)
        };
        let doubted =
            || self.live().filter(|entry| entry.in_doubt(now)).min_by_key(|entry| entry.asked);
        let entry = sparse.or_else(|| failing().or_else(doubted).or_else(oldest).copied())?;
        let contact = entry.contact();
        if let Some(entry) = self.find(&contact.id) {
            entry.ask(now);
        }
        let at = self.index(&contact.id);
        let bucket = &self.buckets[at];
        if bucket.live.len() >= self.places(at) && !bucket.spare.is_empty() {
            return Some(Probe::Ping(contact));
        }
        Some(Probe::Find(contact, self.random_in(at, rng)))
    }

    /// Whether somebody is to be asked soon: one waits who could have a place if he answered, or it is in doubt whether one
    /// who has a place still has his name.
    pub fn hungry(&self, now: Instant) -> bool {
        let now = Secs::of(now);
        let waits = |bucket: &Bucket| bucket.spare.iter().any(|entry| entry.asked == Secs::NEVER);
        self.live().any(|entry| entry.in_doubt(now))
            || (0..self.buckets.len()).any(|at| self.has_room(at) && waits(&self.buckets[at]))
    }

    /// Whether a newcomer who answers gets a place: there is one, or the bucket is the one that is split for it.
    fn has_room(&self, at: usize) -> bool {
        self.buckets[at].live.len() < self.places(at) || at + 1 == self.buckets.len()
    }

    /// Counts.
    pub fn census(&self, now: Instant) -> Census {
        let now = Secs::of(now);
        let mut census = Census { buckets: self.buckets.len(), ..Census::default() };
        for entry in self.live() {
            match entry.standing(now) {
                Standing::Good => census.good += 1,
                Standing::Questionable => census.questionable += 1,
                Standing::Bad => census.bad += 1,
            }
        }
        census.spare = self.buckets.iter().map(|bucket| bucket.spare.len()).sum();
        census
    }

    /// Nodes with a place.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Whether nobody has a place.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those who may be named, the nearest first, at most `count`: worth keeping for the next start.
    pub fn worth_keeping(&self, count: usize) -> Vec<Contact> {
        let nearest = self.buckets.iter().rev().flat_map(|bucket| bucket.live.iter());
        nearest.filter(|entry| entry.presentable()).map(Entry::contact).take(count).collect()
    }

    /// The same nodes seen from another id.
    pub fn rehome(&mut self, own: NodeId) {
        let old = std::mem::replace(self, Self::new(own, self.width));
        let (live, spare): (Vec<_>, Vec<_>) =
            old.buckets.into_iter().map(|bucket| (bucket.live, bucket.spare)).unzip();
        for entry in live.into_iter().chain(spare).flatten() {
            if entry.confirmed {
                self.admit(entry);
            } else {
                self.heard_of(entry.contact());
            }
        }
    }

    /// Bytes that the table holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let entries: usize = self
            .buckets
            .iter()
            .map(|bucket| bucket.live.capacity() + bucket.spare.capacity())
            .sum();
        entries * size_of::<Entry>() + self.buckets.capacity() * size_of::<Bucket>()
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| bucket.live.iter())
    }

    fn index(&self, id: &NodeId) -> usize {
        (self.own.shared_bits(id) as usize).min(self.buckets.len() - 1)
    }

    fn find(&mut self, id: &NodeId) -> Option<&mut Entry> {
        let at = self.index(id);
        self.buckets[at].find_mut(id)
    }

    fn remove(&mut self, id: &NodeId) {
        let at = self.index(id);
        self.buckets[at].live.retain(|entry| entry.id != *id);
        self.buckets[at].spare.retain(|entry| entry.id != *id);
    }

    /// One address has one node in the table, one network one in each bucket; the last counts as the buckets that it
    /// can still be divided into, so that it does not matter who came first. But it has room for [`NEAR_PER_NETWORK`] of
    /// a network alone: our neighbours are not to be one customer's.
    fn admissible(&self, entry: &Entry) -> bool {
        let Some(net) = subnet(entry.ip()) else {
            return true;
        };
        let depth = |entry: &Entry| self.own.shared_bits(&entry.id).min(BUCKETS_MAX as u32 - 1);
        let last = self.buckets.len() - 1;
        if self.index(&entry.id) == last {
            let near = self.buckets[last].all().filter(|old| old.id != entry.id);
            if near.filter(|old| subnet(old.ip()) == Some(net)).count() >= NEAR_PER_NETWORK {
                return false;
            }
        }
        let mut others = self.buckets.iter().flat_map(Bucket::all).filter(|old| old.id != entry.id);
        others.all(|old| {
            !old.same_ip(entry) && (subnet(old.ip()) != Some(net) || depth(old) != depth(entry))
        })
    }

    /// Somebody answers with another name than before: neither name is believed, and his neighbours in the
    /// bucket, who may be his as well, are asked again first.
    fn evict_renamed(&mut self, entry: &Entry) -> bool {
        let renamed = |old: &Entry| old.at == entry.at && old.id != entry.id;
        let Some(at) = self.buckets.iter().position(|bucket| bucket.all().any(renamed)) else {
            return false;
        };
        let bucket = &mut self.buckets[at];
        bucket.live.retain(|old| !renamed(old));
        bucket.spare.retain(|old| !renamed(old));
        bucket.all_mut().for_each(|old| {
            old.asked = Secs::NEVER;
            old.heard = Secs::NEVER;
        });
        true
    }

    /// Somebody asks from here under another name than the one that we know. Until the old one is gone we go on telling
    /// others of it, so it is asked soon; but it keeps its place until it answers, for a sender can be forged.
    fn doubt(&mut self, now: Secs, addr: SocketAddr) {
        if self.looks.0 != now {
            self.looks = (now, 0);
        }
        if self.looks.1 >= LOOKS_A_SECOND {
            return;
        }
        self.looks.1 += 1;
        let at = Endpoint::from(addr);
        let mut live = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.live);
        if let Some(known) = live.find(|known| known.at == at) {
            known.doubted = true;
        }
    }

    /// Gives a node that has answered a place, or lets it wait for one.
    fn admit(&mut self, entry: Entry) -> bool {
        loop {
            let at = self.index(&entry.id);
            let last = at + 1 == self.buckets.len();
            let places = self.places(at);
            if self.buckets[at].live.len() < places {
                self.buckets[at].seat(places, entry);
                return true;
            }
            if !(last && self.split(&entry)) {
                let first_bit = if last { at } else { at + 1 };
                return self.buckets[at].contest(places, first_bit, entry);
            }
        }
    }

    /// A spare node that has just answered takes a free place.
    fn settle(&mut self, id: &NodeId) {
        let at = self.index(id);
        let bucket = &mut self.buckets[at];
        if let Some(nth) = bucket.spare.iter().position(|entry| entry.id == *id) {
            let entry = bucket.spare.swap_remove(nth);
            self.admit(entry);
        }
    }

    /// Divides the last bucket, if that makes room where it is needed.
    fn split(&mut self, newcomer: &Entry) -> bool {
        let depth = self.buckets.len() - 1;
        if self.buckets.len() >= BUCKETS_MAX {
            return false;
        }
        let (own, bucket) = (self.own, &self.buckets[depth]);
        let deeper = |entry: &Entry| own.shared_bits(&entry.id) as usize > depth;
        if !bucket.live.iter().chain([newcomer]).any(deeper) {
            return false;
        }
        let bucket = &mut self.buckets[depth];
        let live: Vec<_> = bucket.live.extract_if(.., |entry| deeper(entry)).collect();
        let spare = bucket.spare.extract_if(.., |entry| deeper(entry)).collect();
        self.buckets.push(Bucket { live: Vec::new(), spare });
        self.promote_all(depth);
        // There may be more of them than one bucket holds, so each has to find a place.
        for entry in live {
            self.admit(entry);
        }
        true
    }

    /// Spare nodes that have answered take the places that a split has freed.
    fn promote_all(&mut self, from: usize) {
        for at in from..self.buckets.len() {
            let (places, bucket) = (self.places(at), &mut self.buckets[at]);
            while bucket.live.len() < places && bucket.promote(places) {}
        }
    }

    fn places(&self, at: usize) -> usize {
        places(self.width, at)
    }

    /// Any id of the range of a bucket.
    fn random_in(&self, at: usize, rng: &mut Rng) -> NodeId {
        let mut id = NodeId::random(rng);
        let last = at + 1 == self.buckets.len();
        for bit in 0..at.min(159) {
            room::copy_bit(&mut id, &self.own, bit, false);
        }
        if !last {
            room::copy_bit(&mut id, &self.own, at, true);
        }
        id
    }
}
