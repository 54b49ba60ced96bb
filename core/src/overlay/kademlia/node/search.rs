//! Lookups of ours: whom they begin with, what they ask, how they end.

use super::ask::Purpose;
use super::{Event, Found, Node, side_of};
use crate::clock::Instant;
use crate::id::NodeId;
use crate::overlay::kademlia::K;
use crate::overlay::kademlia::address::plausible;
use crate::overlay::kademlia::lookup::{Goal, Lookup, LookupId, Patience};
use crate::proto::krpc::{Ask, Contact, Kept, Want};
use std::net::SocketAddr;

/// Bootstrap nodes asked at a time, of those that are configured: one that answers is enough.
const ROUTERS_MAX: usize = 4;
/// One in so many datagrams to new destinations is left to upkeep, which needs five a second at most.
const UPKEEP_SHARE: u32 = 5;

impl Node {
    pub(super) fn start(
        &mut self,
        now: Instant,
        side: usize,
        goal: Goal,
        target: NodeId,
    ) -> LookupId {
        let id = LookupId(self.fresh_id());
        if let Goal::Peers(swarm) | Goal::Announce { swarm, .. } = goal
            && let Some(peers) =
                self.sides[side].peers.some(now, swarm, false, usize::MAX, &mut self.rng)
        {
            self.events.push_back(Event::Peers { lookup: id, from: None, peers });
        }
        let seeds = self.seeds(side, &target);
        let nobody = seeds.is_empty();
        let mut lookup = Lookup::new(now, side, goal, target, &seeds, Vec::new());
        if let Some(item) = self.sides[side].items.get(now, target)
            && let Some(item) = lookup.offered(None, Kept::Item(Box::new(item.clone())))
        {
            let item = Box::new(item.clone());
            self.events.push_back(Event::Item { lookup: id, from: None, item });
        }
        let satisfied = lookup.is_satisfied();
        self.lookups.insert(id, lookup);
        if nobody && !satisfied && self.newcomers_hope(now, side) {
            self.hold(now, id);
        } else {
            self.pump(now, id);
        }
        id
    }

    /// Starts the one lookup that may ask bootstrap nodes.
    pub(super) fn start_bootstrap(&mut self, now: Instant, side: usize) -> LookupId {
        let id = LookupId(self.fresh_id());
        let target = self.sides[side].table.own();
        let seeds = self.seeds(side, &target);
        let mut routers = Vec::new();
        if seeds.len() < K || self.is_lost(side) {
            let here = |addr: &SocketAddr| side_of(addr) == side && plausible(addr);
            routers.extend(self.config.bootstrap.iter().copied().filter(here));
            self.rng.shuffle(&mut routers);
            routers.truncate(ROUTERS_MAX);
            let unnamed = self.suggested.iter().filter(|(id, _)| id.is_none());
            routers.extend(unnamed.map(|&(_, addr)| addr).filter(here).take(K));
        }
        self.lookups.insert(id, Lookup::new(now, side, Goal::Nodes, target, &seeds, routers));
        self.pump(now, id);
        id
    }

    /// Nodes to begin a lookup with.
    pub(super) fn seeds(&self, side: usize, target: &NodeId) -> Vec<Contact> {
        let table = &self.sides[side].table;
        let mut seeds = table.closest(target, K);
        if seeds.len() < K {
            seeds = table.closest_of_all(target, 2 * K);
        }
        if seeds.len() < K || self.is_lost(side) {
            let saved = self.suggested.iter().filter(|(_, addr)| side_of(addr) == side);
            seeds.extend(
                saved.filter_map(|&(id, addr)| Some(Contact { id: id?, addr })).take(4 * K),
            );
        }
        seeds
    }

    /// Whether the last look for neighbours found few: they may all be gone.
    fn is_lost(&self, side: usize) -> bool {
        self.sides[side].bootstrap_wait > super::upkeep::BOOTSTRAP_WAIT_MIN
    }

    /// Whether there is somebody to ask, and the bootstrap lookup will do so soon or does already.
    fn newcomers_hope(&self, now: Instant, side: usize) -> bool {
        let ready = &self.sides[side];
        let soon = ready.bootstrap_at <= now + super::upkeep::BOOTSTRAP_WAIT_MIN;
        let waiting = self.suggested.iter().map(|(_, addr)| addr);
        let somebody =
            || self.config.bootstrap.iter().chain(waiting).any(|addr| side_of(addr) == side);
        ready.bootstrapping.is_some() || (soon && somebody())
    }

    /// Lets a lookup wait until somebody has answered, or the bootstrap lookup is over; begins that if it is due.
    fn hold(&mut self, now: Instant, id: LookupId) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.patience = Patience::Waits;
        let side = lookup.side;
        let ready = &self.sides[side];
        // Without upkeep nobody else begins it.
        let due = ready.bootstrap_at <= now || !self.config.upkeep;
        if ready.bootstrapping.is_none() && due {
            self.look_around(now, side);
        }
    }

    /// The first node has answered, or the bootstrap lookup is over: whoever waited begins now with what is known.
    pub(super) fn release(&mut self, now: Instant, side: usize) {
        let waits = |lookup: &Lookup| lookup.side == side && lookup.patience == Patience::Waits;
        let waiting: Vec<LookupId> =
            self.lookups.iter().filter(|(_, lookup)| waits(lookup)).map(|(&id, _)| id).collect();
        for id in waiting {
            let target = self.lookups[&id].target();
            let seeds = self.seeds(side, &target);
            if let Some(lookup) = self.lookups.get_mut(&id) {
                lookup.patience = Patience::Spent;
                lookup.seed(&seeds);
            }
            self.pump(now, id);
        }
    }

    /// Sends what a lookup wants to ask now, and ends it when it is over.
    pub(super) fn pump(&mut self, now: Instant, id: LookupId) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        if lookup.patience == Patience::Waits && now < lookup.deadline() {
            self.lookups.insert(id, lookup);
            return;
        }
        while let Some(contact) = lookup.next(&self.config.policy) {
            if !self.may_go(now, contact.addr) {
                lookup.not_sent(&contact);
                self.paced = true;
                break;
            }
            let ask = self.question(&lookup);
            self.sides[side_of(&contact.addr)].table.asked(now, &contact);
            self.send(now, contact.addr, Some(contact.id), Purpose::Lookup(id), ask);
        }
        while let Some(router) = lookup.next_router() {
            if !self.may_go(now, router) {
                lookup.router_not_sent(router);
                self.paced = true;
                break;
            }
            let ask = self.question(&lookup);
            self.counters.routers_asked += 1;
            self.send(now, router, None, Purpose::Router(id), ask);
        }
        if lookup.is_done(&self.config.policy) || lookup.deadline() <= now {
            self.end(now, id, lookup);
        } else {
            self.lookups.insert(id, lookup);
        }
    }

    /// Whether a question of a lookup may go there now: at any time where a router on the way remembers us already.
    fn may_go(&mut self, now: Instant, to: SocketAddr) -> bool {
        self.recent.knows(now, to)
            || self.pacer.take_leaving(now, &self.config.limits, self.kept_for_upkeep())
    }

    /// Of the datagrams of a second, those that lookups leave to upkeep: a fifth.
    pub(super) fn kept_for_upkeep(&self) -> u32 {
        if self.config.upkeep { self.config.limits.new_destinations / UPKEEP_SHARE } else { 0 }
    }

    /// A lookup that nobody has answered is begun again when somebody has answered the bootstrap lookup, once.
    fn end(&mut self, now: Instant, id: LookupId, mut lookup: Lookup) {
        let others = self.sides[lookup.side].bootstrapping.is_some_and(|other| other != id);
        if others
            && lookup.answered == 0
            && !lookup.is_satisfied()
            && lookup.patience == Patience::Full
            && now < lookup.deadline()
        {
            lookup.patience = Patience::Waits;
            self.lookups.insert(id, lookup);
        } else {
            self.finish(now, id, &lookup);
        }
    }

    fn question(&self, lookup: &Lookup) -> Ask {
        match &lookup.goal {
            Goal::Get(_) => Ask::Get { target: lookup.target(), seq: None, want: None },
            // What is older than ours need not be sent to us.
            Goal::Put(put) => Ask::Get { target: lookup.target(), seq: put.item.seq(), want: None },
            Goal::Nodes => {
                // Who joins both networks asks for nodes of both.
                let both = self.sides[0].active && self.sides[1].active;
                let want = both.then_some(Want { v4: true, v6: true });
                Ask::FindNode { target: lookup.target(), want }
            }
            Goal::Peers(info_hash)
            | Goal::Scrape(info_hash)
            | Goal::Announce { swarm: info_hash, .. } => Ask::GetPeers {
                info_hash: *info_hash,
                want: None,
                no_seed: false,
                scrape: matches!(lookup.goal, Goal::Scrape(_)),
                bootstrap: false,
            },
        }
    }

    fn finish(&mut self, now: Instant, id: LookupId, lookup: &Lookup) {
        let found = Found {
            closest: lookup.closest().map(|(contact, _)| contact).take(K).collect(),
            asked: lookup.asked,
            answered: lookup.answered,
            peers: lookup.peers,
            copies: lookup.copies,
            took: now.since(lookup.started),
        };
        self.settle_bootstrap(now, id, lookup.answered > 0);
        self.events.push_back(Event::Done { lookup: id, found });
        self.store_there(now, id, lookup);
    }
}
