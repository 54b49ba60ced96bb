//! What is kept for others, by its distance from our id: a bounded number of things, shared out by who brought them.
//!
//! When there are too many, whoever has brought the most loses one first, and among equals the nearest to our id stay.
//! Decides nothing about the things themselves.

use super::owners::{Owners, Place, network};
use crate::id::{Distance, NodeId};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A thing, and the network that it is charged to.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    pub(super) owner: IpAddr,
    pub(super) thing: T,
}

/// Things under targets.
#[derive(Clone, Debug)]
pub(super) struct Shelf<T> {
    own: NodeId,
    max: usize,
    held: BTreeMap<Distance, Held<T>>,
    owners: Owners,
}

impl<T> Shelf<T> {
    pub(super) fn new(own: NodeId, max: usize) -> Self {
        Self { own, max, held: BTreeMap::new(), owners: Owners::default() }
    }

    pub(super) fn find(&self, target: NodeId) -> Option<&T> {
        self.held.get(&self.own.distance(&target)).map(|held| &held.thing)
    }

    pub(super) fn find_mut(&mut self, target: NodeId) -> Option<&mut T> {
        self.held.get_mut(&self.own.distance(&target)).map(|held| &mut held.thing)
    }

    /// Whether something new of this sender would be taken.
    pub(super) fn has_place(&self, target: NodeId, from: IpAddr) -> bool {
        self.place(self.own.distance(&target), network(from)) != Place::None
    }

    /// Takes something for a target that has nothing yet, if there is a place. Returns whether there was.
    pub(super) fn take(&mut self, target: NodeId, from: IpAddr, thing: T) -> bool {
        let (key, owner) = (self.own.distance(&target), network(from));
        match self.place(key, owner) {
            Place::Free => {}
            Place::Instead(other) => {
                if let Some(gone) = self.held.remove(&other) {
                    self.owners.remove(gone.owner, other);
                }
            }
            Place::None => return false,
        }
        self.owners.add(owner, key);
        self.held.insert(key, Held { owner, thing });
        true
    }

    fn place(&self, key: Distance, owner: IpAddr) -> Place {
        let farthest = self.held.last_key_value().map(|(key, _)| *key);
        self.owners.place(owner, key, (self.held.len(), self.max), farthest)
    }

    /// Keeps only some. Each may be charged to somebody else meanwhile.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Held<T>) -> bool) {
        self.held.retain(|_, held| keep(held));
        self.recount();
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Held<T>> {
        self.held.values()
    }

    /// The nearest to our id first.
    pub(super) fn targets(&self) -> impl Iterator<Item = NodeId> {
        self.held.keys().map(|key| NodeId(self.own.distance(&NodeId(key.0)).0))
    }

    /// The same things as seen from another id.
    pub(super) fn rehome(&mut self, own: NodeId) {
        let targets: Vec<NodeId> = self.targets().collect();
        let held = std::mem::take(&mut self.held);
        self.held =
            targets.iter().map(|target| own.distance(target)).zip(held.into_values()).collect();
        self.own = own;
        self.recount();
    }

    fn recount(&mut self) {
        self.owners = Owners::default();
        for (&key, held) in &self.held {
            self.owners.add(held.owner, key);
        }
    }
}
