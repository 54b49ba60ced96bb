//! What happens by itself: links that died, tables that changed, neighbours that are missing.

use super::super::{CONGESTED, DEAD, HANDSHAKE_TIMEOUT, IDLE};
use super::relay::OWN;
use super::{Event, Link, LinkId, Role, Servent, Side, State, Why};
use crate::clock::Instant;
use crate::proto::gnutella::{Descriptor, Ggep, Guid, Kind, Ping, Vendor};
use std::time::Duration;

/// How often links are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often an ultrapeer sees whether its table has changed.
const RETELL: Duration = Duration::from_secs(60);
/// How often a leaf does.
const RETELL_OF_LEAF: Duration = Duration::from_secs(300);
/// How soon after the last time a neighbour is told that we share something else.
const RETELL_NEWS: Duration = Duration::from_secs(3);
/// Connections that are tried at once.
const DIALS_MAX: usize = 4;

impl Servent {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.go_on(now);
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.look_at(now, id);
        }
        self.dial();
    }

    fn look_at(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match &mut link.state {
            State::Leaving(until, why) => {
                if now >= *until {
                    let why = why.clone();
                    self.close(id, why);
                }
            }
            State::Called | State::Answering | State::Answered(_) => {
                if now.since(link.began) >= HANDSHAKE_TIMEOUT {
                    self.close(id, Why::Timeout);
                }
            }
            State::Open(open) => {
                let (congested, relieved) = (link.queue.is_congested(), link.queue.is_relieved());
                let silent = now.since(open.heard) >= IDLE;
                match (open.pinged, open.congested) {
                    (Some(asked), _) if now.since(asked) >= DEAD => {
                        self.bye(now, id, 406, "no answer to a ping", Why::Ours(406));
                    }
                    (_, Some(since)) if now.since(since) >= CONGESTED => {
                        self.bye(now, id, 502, "send queue full", Why::Ours(502));
                    }
                    (_, Some(_)) if relieved => {
                        open.congested = None;
                        self.tell_flow(now, id, u8::MAX);
                    }
                    (_, None) if congested => {
                        open.congested = Some(now);
                        self.tell_flow(now, id, 0);
                    }
                    (None, _) if silent => {
                        open.pinged = Some(now);
                        self.ping(now, id, 1);
                    }
                    _ => self.refresh(now, id),
                }
            }
        }
    }

    fn tell_flow(&mut self, now: Instant, id: LinkId, hops: u8) {
        let vendor = self.links.get(&id).and_then(Link::open).is_some_and(|open| open.peer.vendor);
        if vendor {
            self.tell(now, id, None, &Vendor::HopsFlow(hops));
        }
    }

    /// Asks for fresh pongs, and tells of changed words.
    fn refresh(&mut self, now: Instant, id: LinkId) {
        let gap = if self.role == Role::Leaf { RETELL_OF_LEAF } else { RETELL };
        let (refresh, leaf) = (self.config.refresh, self.role == Role::Leaf);
        let Some(open) = self.links.get_mut(&id).and_then(Link::open_mut) else { return };
        let relays = open.peer.side != Side::Leaf;
        if relays && open.refreshed.is_none_or(|last| now.since(last) >= refresh) {
            open.refreshed = Some(now);
            let ttl = if self.config.pong_caching && leaf { 2 } else { self.config.ttl_max };
            self.ping(now, id, ttl);
        }
        let due = self.links.get(&id).and_then(Link::open).is_some_and(|open| {
            let gap = if open.stale { RETELL_NEWS } else { gap };
            open.told.as_ref().is_some_and(|(at, _)| now.since(*at) >= gap)
        });
        if due {
            self.tell_table(now, id);
        }
    }

    fn ping(&mut self, now: Instant, id: LinkId, ttl: u8) {
        let guid = Guid::random(&mut self.rng);
        if !self.config.pong_caching {
            self.pings.learn(now, guid, OWN, ());
        }
        // 1: ultrapeers, please.
        let ping = Ping { ggep: Ggep::new().with("SCP", vec![1]) };
        self.send(now, id, &Descriptor::new(guid, Kind::PING, ttl, ping.encode()));
    }

    /// Gives a neighbour that relays the words that it may ask us for, if they are not those that it has.
    pub(super) fn tell_table(&mut self, now: Instant, id: LinkId) {
        let Some(open) = self.links.get(&id).and_then(Link::open) else { return };
        if open.peer.side == Side::Leaf || !open.peer.routes_queries {
            return;
        }
        let mut table = self.words.clone();
        if self.role == Role::Ultrapeer {
            self.leaves()
                .filter_map(|(_, leaf)| leaf.table.table())
                .for_each(|leaf| table.merge(leaf));
        }
        let same = open.told.as_ref().is_some_and(|(_, known)| *known == table);
        let messages = if same { Vec::new() } else { table.messages() };
        if let Some(open) = self.links.get_mut(&id).and_then(Link::open_mut) {
            (open.told, open.stale) = (Some((now, table)), false);
        }
        for message in messages {
            let guid = Guid::random(&mut self.rng);
            self.send(now, id, &Descriptor::new(guid, Kind::QRP, 1, message.encode()));
        }
    }

    /// Looks for neighbours that are missing.
    fn dial(&mut self) {
        let begun = |link: &&Link| {
            matches!(link.state, State::Called | State::Answering | State::Answered(_))
        };
        let begun = self.links.values().filter(begun).count() + self.dialling.len();
        let missing = self.config.links.saturating_sub(self.relaying().count() + begun);
        let missing = missing.min(DIALS_MAX.saturating_sub(self.dialling.len()));
        for _ in 0..missing {
            // Taken out, so that the next one is another; it comes back when somebody names it again.
            let Some(addr) = self.hosts.pop_back() else { return };
            let known = self.links.values().any(|link| {
                link.addr == addr.into()
                    || link.open().is_some_and(|open| open.peer.listen == Some(addr))
            });
            if !known && self.dialling.insert(addr) {
                self.events.push_back(Event::Dial(addr));
            }
        }
    }
}
