//! Questions of ours and what becomes of them: answered, stalled, unanswered.

use super::{Event, Node, PingId, side_of};
use crate::clock::Instant;
use crate::external::Sighting;
use crate::id::NodeId;
use crate::overlay::kademlia::address::may_name;
use crate::overlay::kademlia::id_fits;
use crate::overlay::kademlia::lookup::{Goal, LookupId, Soft};
use crate::proto::krpc::{Ask, Body, Contact, Fault, Message, Query, Reply, TransactionId};
use crate::scope::Scope;
use std::net::SocketAddr;
use std::time::Duration;

/// When nothing at all has come in for this long, it is our line that is dead, and nobody is blamed.
const OFFLINE_AFTER: Duration = Duration::from_secs(60);
/// Peers taken from one answer.
const PEERS_MAX: usize = 100;

/// What a question is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Nobody waits for the answer any more.
    Abandoned,
    Lookup(LookupId),
    Ping(PingId),
    Probe,
    Router(LookupId),
    Store(LookupId),
}

/// A question that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) to: SocketAddr,
    /// Who should answer; `None` if only the address is known.
    id: Option<NodeId>,
    sent: Instant,
    pub(super) purpose: Purpose,
    /// When the stage ends.
    due: Instant,
    stage: Stage,
}

/// How long a question has been open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Nine of ten answers have come by its end.
    Fresh,
    /// Until twice that time.
    Stalled,
    /// Until it is given up.
    Overdue,
}

impl Node {
    pub(super) fn send_ping(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        purpose: Purpose,
    ) {
        self.send(now, to, id, purpose, Ask::Ping);
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: Option<NodeId>,
        purpose: Purpose,
        ask: Ask,
    ) {
        let side = &self.sides[side_of(&to)];
        if !side.active {
            return;
        }
        let own = side.table.own();
        let number = loop {
            let number = self.rng.next_u32();
            if !self.open.contains_key(&number) {
                break number;
            }
        };
        let of_lookup = matches!(purpose, Purpose::Lookup(_) | Purpose::Router(_));
        let soft = of_lookup.then(|| self.soft_timeout());
        let due = now + soft.unwrap_or(self.config.policy.hard);
        self.due.insert((due, number));
        let stage = if soft.is_some() { Stage::Fresh } else { Stage::Overdue };
        self.open.insert(number, Open { to, id, sent: now, purpose, due, stage });
        let query = Query { id: own, read_only: self.config.read_only, ask };
        let mut message = Message::query(number.into(), query);
        message.version = self.config.version;
        self.counters.asked += 1;
        self.outbox.push_back((to, message));
    }

    fn soft_timeout(&self) -> Duration {
        let soft = match self.config.policy.soft {
            Soft::Measured => self.trips.soft_timeout(),
            Soft::Fixed(soft) => soft,
        };
        soft.min(self.config.policy.hard)
    }

    /// The question that this answers: the number and the endpoint must both be right.
    fn close(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: TransactionId,
    ) -> Option<(Open, Duration)> {
        let number = number_of(transaction);
        let known = number.and_then(|number| Some((number, *self.open.get(&number)?)));
        let Some((number, open)) = known.filter(|(_, open)| open.to == from) else {
            self.counters.stray += 1;
            return None;
        };
        self.open.remove(&number);
        self.due.remove(&(open.due, number));
        self.heard_at = Some(now);
        self.recent.note(now, from);
        Some((open, now.since(open.sent)))
    }

    pub(super) fn on_reply(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: TransactionId,
        mut reply: Reply,
    ) {
        let Some((open, rtt)) = self.close(now, from, transaction) else { return };
        self.counters.answered += 1;
        self.trips.add(rtt);
        let contact = Contact { id: reply.id, addr: from };
        let side = side_of(&from);
        if let Some(expected) = open.id.filter(|id| *id != reply.id) {
            // Another name than the one that he was given: the table forgets both, and nothing he says counts.
            self.counters.renamed += 1;
            self.sides[side].table.answered(now, contact, rtt);
            self.give_up(now, &Open { id: Some(expected), ..open });
            return;
        }
        let alone = self.sides[side].table.is_empty();
        self.sides[side].table.answered(now, contact, rtt);
        if alone && !matches!(open.purpose, Purpose::Router(_) | Purpose::Lookup(_)) {
            // The first node of all: through it there are others.
            self.sides[side].bootstrap_at = now;
        }
        if let Some(seen) = reply.observed {
            self.vote(now, Sighting { by: from.ip(), us: seen.ip() });
        }
        let peers = self.credible_peers(from, reply.values.take());
        let nodes = self.credible_nodes(from, &reply);
        for &node in &nodes {
            self.sides[side_of(&node.addr)].table.heard_of(node);
        }
        if alone {
            // Who waits for somebody to ask need not wait for the dead among those that the first one names.
            self.release(now, side);
        }
        match open.purpose {
            Purpose::Lookup(id) | Purpose::Router(id) => {
                if !peers.is_empty() {
                    let (from, peers) = (Some(from), peers.clone());
                    self.events.push_back(Event::Peers { lookup: id, from, peers });
                }
                if let Some(lookup) = self.lookups.get_mut(&id) {
                    if let Some((seeds, leeches)) = reply.seeds.take().zip(reply.leeches.take())
                        && matches!(lookup.goal, Goal::Scrape(_))
                    {
                        self.events.push_back(Event::Scraped { lookup: id, seeds, leeches });
                    }
                    lookup.peers += peers.len() as u32;
                    let same = nodes.into_iter().filter(|node| side_of(&node.addr) == side);
                    match open.id {
                        Some(_) => lookup.answered(&contact, reply.token),
                        None => {
                            lookup.router_closed(open.stage != Stage::Fresh);
                            lookup.router_answered(contact, reply.token);
                        }
                    }
                    if let Some(kept) = reply.kept
                        && let Some(item) = lookup.offered(Some(from), kept)
                    {
                        let (from, item) = (Some(from), Box::new(item.clone()));
                        self.events.push_back(Event::Item { lookup: id, from, item });
                    }
                    lookup.named(same);
                }
                self.pump(now, id);
            }
            Purpose::Abandoned => {}
            Purpose::Ping(ping) => {
                let answer = Some((reply.id, rtt));
                self.events.push_back(Event::Pong { ping, addr: from, answer });
            }
            Purpose::Probe => self.probed(true),
            Purpose::Store(id) => self.store_settled(id, Ok(())),
        }
    }

    pub(super) fn on_error(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: TransactionId,
        fault: &Fault,
    ) {
        let Some((open, _)) = self.close(now, from, transaction) else { return };
        self.counters.errors += 1;
        match open.purpose {
            // Somebody is there, so the table has nothing to learn; but he is of no use to a lookup.
            Purpose::Lookup(_) | Purpose::Router(_) => self.drop_from_lookup(now, &open),
            Purpose::Ping(ping) => {
                self.events.push_back(Event::Pong { ping, addr: from, answer: None });
            }
            Purpose::Store(id) => self.store_settled(id, Err(Some(fault.code))),
            Purpose::Abandoned | Purpose::Probe => {}
        }
    }

    /// What goes to this address cannot leave this machine (no route, no buffer, not permitted): there is no point in
    /// waiting. It says nothing about who is there, so the table counts no failure.
    ///
    /// Not for "port unreachable", which comes from elsewhere and can be forged: who does not answer is found out by time.
    pub fn handle_unreachable(&mut self, now: Instant, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let numbers: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, open)| open.to == addr)
            .map(|(&number, _)| number)
            .collect();
        for number in numbers {
            if let Some(open) = self.open.remove(&number) {
                self.due.remove(&(open.due, number));
                self.counters.unanswered += 1;
                if open.purpose != Purpose::Probe {
                    self.let_down(now, &open);
                }
            }
        }
    }

    /// The time of a question has come: to let others be asked as well, or to give it up.
    pub(super) fn question_due(&mut self, now: Instant, number: u32) {
        let Some(open) = self.open.get_mut(&number) else { return };
        if open.stage != Stage::Overdue {
            let hard = open.sent + self.config.policy.hard;
            (open.stage, open.due) = match open.stage {
                Stage::Fresh => (Stage::Stalled, hard.min(now + now.since(open.sent))),
                Stage::Stalled | Stage::Overdue => (Stage::Overdue, hard),
            };
            let open = *open;
            self.due.insert((open.due, number));
            if let Purpose::Lookup(id) | Purpose::Router(id) = open.purpose {
                if let Some(lookup) = self.lookups.get_mut(&id) {
                    match (open.stage, contact_of(&open)) {
                        (Stage::Overdue, Some(contact)) => lookup.overdue(&contact),
                        (Stage::Fresh | Stage::Stalled, Some(contact)) => lookup.stalled(&contact),
                        (Stage::Stalled, None) => lookup.router_stalled(),
                        (Stage::Fresh | Stage::Overdue, None) => {}
                    }
                }
                self.pump(now, id);
            }
            return;
        }
        let open = *open;
        self.open.remove(&number);
        self.counters.unanswered += 1;
        self.give_up(now, &open);
    }

    /// Nobody has answered, or not the right one.
    fn give_up(&mut self, now: Instant, open: &Open) {
        let online = self.heard_at.is_some_and(|heard| now.since(heard) < OFFLINE_AFTER);
        if let Some(contact) = contact_of(open).filter(|_| online) {
            self.sides[side_of(&open.to)].table.failed(&contact);
        }
        self.let_down(now, open);
    }

    /// Tells whoever waits for an answer that none will come.
    fn let_down(&mut self, now: Instant, open: &Open) {
        match open.purpose {
            Purpose::Abandoned => {}
            Purpose::Lookup(_) | Purpose::Router(_) => self.drop_from_lookup(now, open),
            Purpose::Ping(ping) => {
                self.events.push_back(Event::Pong { ping, addr: open.to, answer: None });
            }
            Purpose::Probe => self.probed(false),
            Purpose::Store(id) => self.store_settled(id, Err(None)),
        }
    }

    fn drop_from_lookup(&mut self, now: Instant, open: &Open) {
        let (Purpose::Lookup(id) | Purpose::Router(id)) = open.purpose else { return };
        if let Some(lookup) = self.lookups.get_mut(&id) {
            match contact_of(open) {
                Some(contact) => lookup.failed(&contact),
                None => lookup.router_closed(open.stage != Stage::Fresh),
            }
        }
        self.pump(now, id);
    }

    /// Forgets a lookup, and what it still has to send.
    pub(super) fn abandon(&mut self, now: Instant, id: LookupId) {
        self.lookups.remove(&id);
        self.storing.remove(&id);
        let mine = |purpose: Purpose| matches!(purpose, Purpose::Lookup(of) | Purpose::Router(of) | Purpose::Store(of) if of == id);
        for open in self.open.values_mut().filter(|open| mine(open.purpose)) {
            open.purpose = Purpose::Abandoned;
        }
        let (open, due) = (&mut self.open, &mut self.due);
        self.outbox.retain(|(_, message)| {
            if !matches!(message.body, Body::Query(_)) {
                return true;
            }
            let number = number_of(message.transaction);
            let unsent = number.and_then(|number| Some((number, *open.get(&number)?)));
            let Some((number, question)) = unsent else { return true };
            if question.purpose != Purpose::Abandoned {
                return true;
            }
            open.remove(&number);
            due.remove(&(question.due, number));
            false
        });
        self.events.retain(|event| {
            !matches!(event, Event::Done { lookup, .. } | Event::Item { lookup, .. } | Event::Peers { lookup, .. } | Event::Stored { lookup, .. }
                if *lookup == id)
        });
        self.settle_bootstrap(now, id, false);
    }

    /// What the sender may say of peers: of his own family, and no address that reaches less far than his.
    fn credible_peers(&self, from: SocketAddr, values: Option<Vec<SocketAddr>>) -> Vec<SocketAddr> {
        let values = values.unwrap_or_default().into_iter().take(PEERS_MAX);
        let credible =
            |peer: &SocketAddr| peer.is_ipv4() == from.is_ipv4() && may_name(from.ip(), *peer);
        values.filter(credible).collect()
    }

    fn credible_nodes(&self, from: SocketAddr, reply: &Reply) -> Vec<Contact> {
        let lists = [&reply.nodes, &reply.nodes6].into_iter().flatten().flatten();
        let credible = |node: &&Contact| {
            let side = &self.sides[side_of(&node.addr)];
            side.active && node.id != side.table.own() && may_name(from.ip(), node.addr)
        };
        lists.filter(credible).copied().collect()
    }

    /// Counts what somebody says about our address, and takes an id that fits when all agree.
    pub(super) fn vote(&mut self, now: Instant, sighting: Sighting) {
        if Scope::of(sighting.us) != Some(Scope::Global) {
            return; // an id is bound to no other
        }
        let Some(ip) = self.external.hear(now, sighting) else { return };
        self.events.push_back(Event::External(ip));
        let side = &mut self.sides[usize::from(ip.is_ipv6())];
        if side.active && self.config.bind_id && !id_fits(&side.table.own(), ip) {
            let own = crate::overlay::kademlia::id_for(ip, &mut self.rng);
            side.table.rehome(own);
            side.peers.rehome(own);
            side.items.rehome(own);
            side.bootstrap_at = now;
        }
    }
}

fn number_of(transaction: TransactionId) -> Option<u32> {
    transaction.as_bytes().try_into().ok().map(u32::from_be_bytes)
}

fn contact_of(open: &Open) -> Option<Contact> {
    open.id.map(|id| Contact { id, addr: open.to })
}
