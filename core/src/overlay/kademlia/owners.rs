//! Who has brought which of the stored swarms or items, so that nobody takes more of the places than others.
//!
//! Decides nothing about peers. Counts by the network that one customer usually has the whole of, because addresses
//! within it cost him nothing.

use super::address::subnet;
use crate::id::Distance;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The share of all swarms that one network may bring: 62 of 2 000, so 32 networks are needed to fill them.
const SHARE: usize = 32;
/// One network may always bring this many, however few are kept in all.
const QUOTA_MIN: usize = 4;

/// The network that an announce is charged to: /24 of IPv4, /48 of IPv6. A private address stands for itself.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    if subnet(ip).is_none() {
        return ip;
    }
    match ip {
        IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) & !0xff).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 80 << 80).into(),
    }
}

/// Whether there is a place for one more swarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Yes.
    Free,
    /// That of this one, which then has to go.
    Instead(Distance),
    /// No.
    None,
}

/// The swarms by who brought them.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    of: BTreeMap<IpAddr, BTreeSet<Distance>>,
    /// The same networks by how many they have brought, the greediest last.
    ranks: BTreeSet<(usize, IpAddr)>,
}

impl Owners {
    pub(super) fn add(&mut self, owner: IpAddr, swarm: Distance) {
        self.change(owner, |swarms| swarms.insert(swarm));
    }

    pub(super) fn remove(&mut self, owner: IpAddr, swarm: Distance) {
        self.change(owner, |swarms| swarms.remove(&swarm));
    }

    /// Where a new swarm of this owner goes when `stored` of `max` places are taken; `farthest` is that of all swarms.
    ///
    /// Whoever has brought more than the newcomer would then have gives up his farthest, wherever the new one is:
    /// hashes can be chosen, networks cannot. Among equals the nearer swarm stays.
    pub(super) fn place(
        &self,
        owner: IpAddr,
        swarm: Distance,
        (stored, max): (usize, usize),
        farthest: Option<Distance>,
    ) -> Place {
        let mine = self.of.get(&owner).map_or(0, BTreeSet::len);
        let nearer = |other: Option<Distance>| {
            other.filter(|other| swarm < *other).map_or(Place::None, Place::Instead)
        };
        if mine >= (max / SHARE).max(QUOTA_MIN) {
            return nearer(self.farthest(owner));
        }
        if stored < max {
            return Place::Free;
        }
        let Some(&(most, greediest)) = self.ranks.last() else { return Place::None };
        if most > mine + 1 {
            self.farthest(greediest).map_or(Place::None, Place::Instead)
        } else if most <= mine {
            nearer(self.farthest(owner))
        } else if most == 1 {
            nearer(farthest) // everybody has brought one
        } else {
            nearer(self.farthest(greediest))
        }
    }

    fn farthest(&self, owner: IpAddr) -> Option<Distance> {
        self.of.get(&owner)?.last().copied()
    }

    fn change(&mut self, owner: IpAddr, how: impl FnOnce(&mut BTreeSet<Distance>) -> bool) {
        let swarms = self.of.entry(owner).or_default();
        self.ranks.remove(&(swarms.len(), owner));
        how(swarms);
        if swarms.is_empty() {
            self.of.remove(&owner);
        } else {
            self.ranks.insert((swarms.len(), owner));
        }
    }
}
