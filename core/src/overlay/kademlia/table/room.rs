//! One bucket: who sits in it, who waits, and who has to go when somebody better comes.

use super::{BAD_AT, Entry, FORGET_AT};
use crate::id::{Distance, NodeId};
use crate::proto::krpc::Contact;

/// Nodes that may wait for a place.
const SPARE_MAX: usize = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// With a place. All have answered at least once.
    pub(super) live: Vec<Entry>,
    /// Without one.
    pub(super) spare: Vec<Entry>,
}

impl Bucket {
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.live.iter().chain(&self.spare)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.live.iter_mut().chain(&mut self.spare)
    }

    /// Whoever has this id.
    pub(super) fn find(&self, id: &NodeId) -> Option<&Entry> {
        self.all().find(has(id))
    }

    pub(super) fn find_mut(&mut self, id: &NodeId) -> Option<&mut Entry> {
        let has = has(id);
        self.all_mut().find(|entry| has(&&**entry))
    }

    pub(super) fn spare_is_full(&self) -> bool {
        self.spare.len() >= SPARE_MAX
    }

    /// Lets somebody wait. When all seats are taken, one who has never answered gives way to one who has.
    pub(super) fn wait(&mut self, entry: Entry) {
        if self.spare_is_full() {
            let Some(nth) = self.spare.iter().position(|old| !old.confirmed) else { return };
            if !entry.confirmed {
                return;
            }
            self.spare.swap_remove(nth);
        }
        self.spare.reserve_exact(1);
        self.spare.push(entry);
    }

    /// Gives a free place, of so many.
    pub(super) fn seat(&mut self, places: usize, entry: Entry) {
        // Exactly what is needed, in few steps: tables are most of what a node weighs.
        if self.live.len() == self.live.capacity() {
            let more = (self.live.len() / 2).clamp(4, 32);
            self.live.reserve_exact(more.min(places - self.live.len()));
        }
        self.live.push(entry);
    }

    /// Counts a failure. A bad node loses its place as soon as somebody who has answered waits for it.
    pub(super) fn failed(&mut self, places: usize, contact: &Contact) {
        let is = |entry: &Entry| entry.id == contact.id && entry.addr() == contact.addr;
        if let Some(nth) = self.spare.iter().position(is) {
            self.spare.swap_remove(nth);
        }
        let Some(nth) = self.live.iter().position(is) else { return };
        let entry = &mut self.live[nth];
        entry.fails = entry.fails.saturating_add(1);
        let replaceable = self.spare.iter().any(|spare| spare.confirmed && spare.fails == 0);
        if entry.fails >= FORGET_AT || (entry.fails >= BAD_AT && replaceable) {
            self.live.swap_remove(nth);
            self.promote(places);
        }
    }

    /// The best of those who wait and have answered takes a place.
    pub(super) fn promote(&mut self, places: usize) -> bool {
        let ready = self.spare.iter().enumerate().filter(|(_, entry)| entry.presentable());
        let Some((nth, _)) = ready.max_by_key(|(_, entry)| entry.worth()) else { return false };
        let entry = self.spare.swap_remove(nth);
        self.seat(places, entry);
        true
    }

    /// Somebody who has answered wants a place in a full bucket. Returns whether he got one.
    ///
    /// A failing node goes first. Else the places are spread over the branches of the bucket's range: one of a
    /// crowded branch goes when the newcomer's is empty, and within a branch the better one stays.
    pub(super) fn contest(&mut self, places: usize, first_bit: usize, entry: Entry) -> bool {
        let bits = places.ilog2() as usize;
        let branch = |entry: &Entry| branch_of(&entry.id, first_bit, bits);
        let mine = branch(&entry);
        let least = |keep: &dyn Fn(&Entry) -> bool| {
            let fitting = self.live.iter().enumerate().filter(|(_, old)| keep(old));
            fitting.min_by_key(|(_, old)| old.worth()).map(|(nth, _)| nth)
        };
        let failing = least(&|old| old.fails > 0);
        let loser = failing.or_else(|| match least(&|old| branch(old) == mine) {
            Some(nth) => entry.beats(&self.live[nth]).then_some(nth),
            None => {
                let mut crowd = vec![0u16; 1 << bits];
                self.live.iter().for_each(|old| crowd[branch(old)] += 1);
                least(&|old| crowd[branch(old)] > 1)
            }
        });
        match loser {
            Some(nth) => {
                self.live[nth] = entry;
                true
            }
            None => {
                self.wait(entry);
                false
            }
        }
    }
}

/// `bits` bits of an id from `first` on, as a number.
fn branch_of(id: &NodeId, first: usize, bits: usize) -> usize {
    (first..first + bits).fold(0, |branch, bit| branch << 1 | bit_of(id, bit))
}

fn bit_of(id: &NodeId, bit: usize) -> usize {
    id.0.get(bit / 8).map_or(0, |byte| usize::from(byte >> (7 - bit % 8) & 1))
}

/// The first bytes of an id as a number, of which the distance begins with the difference.
fn head(id: &NodeId) -> u64 {
    id.0.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The first bytes are compared first: a wide bucket has hundreds of others, and every query looks for its sender.
fn has(id: &NodeId) -> impl Fn(&&Entry) -> bool {
    let first = head(id);
    move |entry| head(&entry.id) == first && entry.id == *id
}

/// Makes one bit of `id` that of `like`, or its opposite.
pub(super) fn copy_bit(id: &mut NodeId, like: &NodeId, bit: usize, opposite: bool) {
    let mask = 0x80 >> (bit % 8);
    let set = (like.0[bit / 8] & mask != 0) != opposite;
    if set {
        id.0[bit / 8] |= mask;
    } else {
        id.0[bit / 8] &= !mask;
    }
}

/// The nodes closest to a target, gathered from groups that come in order of distance.
pub(super) struct Closest<'a> {
    target: NodeId,
    count: usize,
    /// Sorted, and whole: all later groups are farther.
    done: Vec<Contact>,
    group: Vec<(Distance, &'a Entry)>,
}

impl<'a> Closest<'a> {
    pub(super) fn new(target: NodeId, count: usize) -> Self {
        Self { target, count, done: Vec::with_capacity(count), group: Vec::new() }
    }

    /// Takes what is still missing from the next group.
    pub(super) fn group(&mut self, buckets: impl Iterator<Item = &'a Bucket>) {
        let missing = self.count - self.done.len();
        if missing == 0 {
            return;
        }
        self.group.clear();
        // Nearly everybody in a wide bucket is ruled out by the first bytes alone.
        let target = head(&self.target);
        let mut farthest = u64::MAX;
        for entry in buckets.flat_map(|bucket| &bucket.live) {
            if head(&entry.id) ^ target > farthest || !entry.presentable() {
                continue;
            }
            let distance = self.target.distance(&entry.id);
            let at = self.group.partition_point(|(nearer, _)| *nearer < distance);
            self.group.insert(at, (distance, entry));
            self.group.truncate(missing);
            if let [.., (_, last)] = self.group[..]
                && self.group.len() == missing
            {
                farthest = head(&last.id) ^ target;
            }
        }
        self.done.extend(self.group.iter().map(|(_, entry)| entry.contact()));
    }

    pub(super) fn into_contacts(self) -> Vec<Contact> {
        self.done
    }
}
