//! Who may be trusted, after pieces passed or failed: parole and bans.
//!
//! A ban names an address and a peer id, both, for a caller's port is new each time and an id is chosen at will.
//! The host is banned with it as soon as that is fair: at the second ban if it is known for nobody else, and at
//! [`BANS_PER_SHARED_HOST`] in any case. So the cost of one liar is bounded, and a liar behind one address with
//! honest peers (an office, a carrier, loopback) does not shut them out. No rule asks where an address lies.

use super::{Roster, Sentence};
use crate::id::PeerId;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Trust gained by a good piece and lost by a bad one, its bounds, and where it ends (libtorrent).
const TRUST_GAIN: i8 = 1;
const TRUST_LOSS: i8 = 2;
const TRUST_MAX: i8 = 8;
const TRUST_BAN: i8 = -7;
/// Bans at a host that nobody else uses, as far as we know, after which the host is banned.
pub const BANS_PER_HOST: usize = 2;
/// Bans at any host after which it is banned.
pub const BANS_PER_SHARED_HOST: usize = 16;
/// Bans remembered of each kind. At the bound the oldest is forgotten.
pub const BANS_MAX: usize = 2048;
/// Departed peers whose standing is remembered, in case that they return or a piece of theirs is found bad later.
/// At the bound the oldest is forgotten.
pub const DEPARTED_MAX: usize = 512;
/// Connections of one identity that ended by its own fault after which it is banned.
pub const STRIKES_MAX: u8 = 3;

/// What a peer has earned.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::swarm) struct Standing {
    trust: i8,
    /// Gets whole pieces alone.
    pub(in crate::swarm) parole: bool,
    /// Connections that it ended by breaking the protocol.
    pub(super) strikes: u8,
}

impl Standing {
    pub(in crate::swarm) fn passed(&mut self) {
        self.trust = (self.trust + TRUST_GAIN).min(TRUST_MAX);
        self.parole = false;
    }

    /// A piece to which it contributed failed.
    pub(in crate::swarm) fn failed(&mut self, alone: bool) -> Sentence {
        self.trust = self.trust.saturating_sub(TRUST_LOSS);
        self.parole = true;
        if alone || self.trust <= TRUST_BAN { Sentence::Ban } else { Sentence::Parole }
    }
}

#[derive(Clone, Debug)]
struct Departed {
    addr: SocketAddr,
    id: PeerId,
    standing: Standing,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    departed: VecDeque<Departed>,
    addrs: VecDeque<SocketAddr>,
    ids: VecDeque<PeerId>,
    hosts: VecDeque<IpAddr>,
}

impl Trust {
    pub(super) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.addrs.contains(&addr) || self.hosts.contains(&addr.ip())
    }

    /// The address itself, whatever became of its host.
    pub(super) fn is_banned_addr(&self, addr: SocketAddr) -> bool {
        self.addrs.contains(&addr)
    }

    pub(super) fn is_banned_id(&self, id: PeerId) -> bool {
        self.ids.contains(&id)
    }

    /// Keeps the standing of a peer that left.
    pub(super) fn depart(&mut self, addr: SocketAddr, id: PeerId, standing: Standing) {
        self.departed.retain(|other| other.addr != addr && other.id != id);
        push(&mut self.departed, Departed { addr, id, standing }, DEPARTED_MAX);
    }

    /// What is known of a peer that connects.
    pub(super) fn recall(&mut self, addr: SocketAddr, id: PeerId) -> Standing {
        let known = |other: &Departed| other.id == id || other.addr == addr;
        let at = self.departed.iter().rposition(known);
        at.and_then(|at| self.departed.remove(at))
            .map(|departed| departed.standing)
            .unwrap_or_default()
    }
}

impl Roster {
    /// A piece was good. Returns those who leave parole for it.
    pub fn piece_passed(&mut self, contributors: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut freed = Vec::new();
        for &addr in contributors {
            let Some(standing) = self.standing(addr) else { continue };
            if standing.parole {
                freed.push(addr);
            }
            standing.passed();
        }
        freed
    }

    /// A piece was bad. A contributor who was `alone` is banned; of several all go on parole, except one that had been
    /// part of so many that it is banned too. The bans are in force already; the caller closes the connections and
    /// tells the picker about the paroles.
    #[must_use]
    pub fn piece_failed(
        &mut self,
        contributors: &[SocketAddr],
        alone: bool,
    ) -> Vec<(SocketAddr, Sentence)> {
        let mut sentences = Vec::new();
        for &addr in contributors {
            let sentence = match self.standing(addr) {
                Some(standing) => standing.failed(alone),
                None if alone => Sentence::Ban, // long gone, but the proof stands
                None => continue,
            };
            if sentence == Sentence::Ban {
                self.ban(addr);
            }
            sentences.push((addr, sentence));
        }
        sentences
    }

    /// Bans whoever is or was at this address: see the head of this module for what that covers.
    pub fn ban(&mut self, addr: SocketAddr) {
        let addr = super::canonical(addr);
        let id = self.connections.get(&addr).map(|peer| peer.id);
        let id = id.or_else(|| {
            self.trust.departed.iter().rev().find(|other| other.addr == addr).map(|other| other.id)
        });
        if !self.trust.addrs.contains(&addr) {
            push(&mut self.trust.addrs, addr, BANS_MAX);
        }
        if let Some(id) = id
            && !self.trust.is_banned_id(id)
        {
            push(&mut self.trust.ids, id, BANS_MAX);
        }
        self.forget(addr);
        let ip = addr.ip();
        let bans = self.trust.addrs.iter().filter(|other| other.ip() == ip).count();
        if bans >= BANS_PER_SHARED_HOST || (bans >= BANS_PER_HOST && !self.is_shared(ip)) {
            self.ban_host(ip);
        }
    }

    /// Bans a host with everybody there.
    pub fn ban_host(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        if !self.trust.hosts.contains(&ip) {
            push(&mut self.trust.hosts, ip, BANS_MAX);
        }
        let there: Vec<SocketAddr> =
            self.candidates.keys().filter(|addr| addr.ip() == ip).copied().collect();
        there.into_iter().for_each(|addr| self.forget(addr));
    }

    /// Whether an address or its host is banned.
    pub fn is_banned(&self, addr: SocketAddr) -> bool {
        self.trust.is_banned(super::canonical(addr))
    }

    /// Whether a connected peer is on parole.
    pub fn is_on_parole(&self, addr: SocketAddr) -> bool {
        self.connections.get(&super::canonical(addr)).is_some_and(|peer| peer.standing.parole)
    }

    /// Whether anybody who is not banned is known at this host.
    fn is_shared(&self, ip: IpAddr) -> bool {
        let honest = |addr: &SocketAddr| addr.ip() == ip && !self.trust.addrs.contains(addr);
        self.candidates.keys().any(honest) || self.connections.keys().any(honest)
    }

    fn standing(&mut self, addr: SocketAddr) -> Option<&mut Standing> {
        let addr = super::canonical(addr);
        match self.connections.get_mut(&addr) {
            Some(peer) => Some(&mut peer.standing),
            None => {
                let departed =
                    self.trust.departed.iter_mut().rev().find(|other| other.addr == addr);
                departed.map(|departed| &mut departed.standing)
            }
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(item);
}
