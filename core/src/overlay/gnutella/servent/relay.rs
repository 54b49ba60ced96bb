//! What becomes of a descriptor: answered, passed on, or dropped.

use super::super::cache::Question;
use super::super::found::{addresses, whereabouts};
use super::super::link::Pace;
use super::super::search::Origin;
use super::super::{
    HIT_RELAYED_MAX, HITS_PER_DESCRIPTOR, HITS_PER_QUERY, LIFE_HARD_MAX, LIFE_MAX, PING_GAP,
    QUERY_RELAYED_MAX, Side,
};
use super::{Event, LinkId, NoPush, Role, Servent, Why};
use crate::clock::Instant;
use crate::hash::sha1;
use crate::proto::gnutella::{
    Bye, Descriptor, Ggep, GnutellaError, Guid, Header, Kind, Ping, Pong, Push, Qrp, Query,
    QueryHit, Trailer, Vendor,
};
use crate::scope::Scope;
use crate::words::words;
use std::net::IpAddr;

/// Packed addresses in one pong.
const PACKED_MAX: usize = 10;
/// The name under which a query of our own is remembered: no link has it.
pub(super) const OWN: LinkId = LinkId(u64::MAX);

/// Names an answer to a query.
fn digest(answer: &Descriptor) -> Guid {
    let digest = sha1([&answer.header.guid.0[..], &answer.payload]);
    Guid(*digest.first_chunk().expect("20 bytes"))
}

impl Servent {
    /// One descriptor of a neighbour.
    pub(super) fn on_descriptor(&mut self, now: Instant, id: LinkId, mut descriptor: Descriptor) {
        let Some(open) = self.links.get_mut(&id).and_then(|link| link.open_mut()) else { return };
        open.heard = now;
        open.pinged = None;
        let (side, life) = (open.peer.side, {
            let Header { ttl, hops, .. } = descriptor.header;
            u16::from(ttl) + u16::from(hops)
        });
        if life > LIFE_HARD_MAX.into() {
            self.counters.too_far += 1;
            return;
        }
        let header = &mut descriptor.header;
        if side == Side::Leaf && header.hops > 0 {
            self.bye(now, id, 414, "leaves do not relay", Why::Ours(414));
            return;
        }
        if life > LIFE_MAX.into() {
            header.ttl = LIFE_MAX.saturating_sub(header.hops);
        }
        if header.ttl == 0 {
            self.counters.too_far += 1;
            return;
        }
        let result = match header.kind {
            Kind::PING => {
                self.on_ping(now, id, &descriptor);
                Ok(())
            }
            Kind::PONG => self.on_pong(now, id, &descriptor),
            Kind::QUERY => self.on_query(now, id, &descriptor),
            Kind::QUERY_HIT => self.on_hit(now, id, &descriptor),
            Kind::PUSH => self.on_push(now, id, &descriptor),
            Kind::BYE => Bye::parse(&descriptor.payload)
                .map(|bye| self.close(id, Why::Bye(bye.code, bye.reason))),
            Kind::QRP => {
                self.on_table(now, id, &descriptor);
                Ok(())
            }
            Kind::VENDOR | Kind::STANDARD_VENDOR => self.on_vendor(now, id, &descriptor),
            _ => Ok(()),
        };
        if result.is_err() {
            self.counters.refused += 1;
        }
    }

    /// The same, one link further; `None` where it has come as far as it may.
    fn onward(descriptor: &Descriptor) -> Option<Descriptor> {
        let mut next = descriptor.clone();
        next.header.ttl = next.header.ttl.checked_sub(1).filter(|&ttl| ttl > 0)?;
        next.header.hops += 1;
        Some(next)
    }

    fn on_ping(&mut self, now: Instant, id: LinkId, descriptor: &Descriptor) {
        let Header { guid, ttl, hops, .. } = descriptor.header;
        let caching = self.config.pong_caching;
        if !caching && !self.pings.learn(now, guid, id, ()) {
            self.counters.duplicates += 1;
            return;
        }
        let Some(open) = self.links.get_mut(&id).and_then(|link| link.open_mut()) else { return };
        if caching && open.answered.is_some_and(|last| now.since(last) < PING_GAP) {
            self.counters.refused += 1;
            return;
        }
        open.answered = Some(now);
        // Room for what waits in caches on the way: at least back to the asker.
        let answer = |pong: &Pong, had: u8| {
            let mut pong = Descriptor::new(
                guid,
                Kind::PONG,
                LIFE_MAX.saturating_sub(had).max(hops + 1),
                pong.encode(),
            );
            pong.header.hops = had;
            pong
        };
        let wants = Ping::parse(&descriptor.payload).ggep.get("SCP").is_some();
        if !self.config.firewalled || ttl == 1 {
            let me = self.own_pong(wants);
            self.send(now, id, &answer(&me, 0));
        }
        if !caching {
            if self.role == Role::Ultrapeer
                && let Some(next) = Self::onward(descriptor)
            {
                let others: Vec<LinkId> =
                    self.relaying().map(|(other, _)| other).filter(|&other| other != id).collect();
                others.into_iter().for_each(|other| self.send(now, other, &next));
            }
            return;
        }
        if ttl == 1 {
            return;
        }
        let leaf = self.role == Role::Leaf;
        for (had, pong) in self.pongs.choose(now, id, leaf, &mut self.rng) {
            // A crawler with TTL 2 wants our neighbours only.
            if had < LIFE_MAX && (ttl > 2 || hops > 0 || had <= 1) {
                self.send(now, id, &answer(&pong, had));
            }
        }
    }

    fn own_pong(&self, packed: bool) -> Pong {
        let kbytes = self.library.kbytes();
        // A power of two marks an ultrapeer, so a leaf avoids them.
        let kbytes = match self.role {
            Role::Ultrapeer => kbytes.clamp(8, 1 << 30).next_power_of_two(),
            Role::Leaf if kbytes >= 8 && kbytes.is_power_of_two() => kbytes + 1,
            Role::Leaf => kbytes,
        };
        let mut ggep = Ggep::new();
        if packed {
            let mut hosts = Vec::new();
            self.hosts().take(PACKED_MAX).for_each(|addr| {
                hosts.extend_from_slice(&addr.ip().octets());
                hosts.extend_from_slice(&addr.port().to_le_bytes());
            });
            if !hosts.is_empty() {
                ggep = ggep.with("IPP", hosts);
            }
        }
        Pong { addr: self.addr(), files: self.library.len() as u32, kbytes, ggep }
    }

    fn on_pong(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
    ) -> Result<(), GnutellaError> {
        let pong = Pong::parse(&descriptor.payload)?;
        let Some(from) = self.links.get(&id).map(|link| link.addr.ip()) else { return Ok(()) };
        let good = pong.addr.port() != 0 && Scope::may_tell(from, IpAddr::V4(*pong.addr.ip()));
        let packed = pong.ggep.get("IPP").cloned().unwrap_or_default();
        let packed = addresses(from, &packed);
        packed.into_iter().take(PACKED_MAX).for_each(|addr| self.hear_of(from, addr));
        if good && pong.kbytes >= 8 && pong.kbytes.is_power_of_two() {
            self.hear_of(from, pong.addr);
        }
        if !self.config.pong_caching {
            match self.pings.get(now, &descriptor.header.guid).map(|(link, ())| link) {
                Some(OWN) => {}
                Some(back) => {
                    let next = Self::onward(descriptor);
                    next.iter().for_each(|next| self.send(now, back, next));
                }
                None => self.counters.unrouted += 1,
            }
        } else if good {
            self.pongs.keep(
                now,
                id,
                descriptor.header.hops + 1,
                Pong { ggep: Ggep::new(), ..pong },
            );
        }
        Ok(())
    }

    fn on_query(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
    ) -> Result<(), GnutellaError> {
        let guid = descriptor.header.guid;
        let query = Query::parse(&descriptor.payload)?;
        let dull = query.extensions.urns.is_empty()
            && !words(&query.text).iter().any(|word| word.chars().count() > 1);
        let index =
            query.text.trim().is_empty() && query.text.len() == 4 && descriptor.header.hops == 0;
        let hidden = query.text.chars().any(char::is_control);
        if hidden || (dull && !index) {
            self.counters.refused += 1;
            return Ok(());
        }
        if self.queries.get(now, &guid).is_some() {
            self.counters.duplicates += 1;
            let searched = self.searches.iter_mut().find(|search| search.guid == guid);
            searched.into_iter().for_each(|search| search.knows(id));
            return Ok(());
        }
        let Some(open) = self.links.get_mut(&id).and_then(|link| link.open_mut()) else {
            return Ok(());
        };
        let side = open.peer.side;
        if open.congested.is_some()
            || (descriptor.header.hops == 0 && open.repeats(now, &query.text))
        {
            self.counters.refused += 1;
            return Ok(());
        }
        if side == Side::Leaf {
            match open.pace(now) {
                Pace::Fine => {}
                Pace::TooFast => {
                    self.counters.refused += 1;
                    return Ok(());
                }
                Pace::Abuse => {
                    self.bye(now, id, 409, "too many queries", Why::Ours(409));
                    return Ok(());
                }
            }
        }
        let question = Question::of(&query);
        self.queries.learn(now, guid, id, question.clone());
        self.answer_query(now, id, descriptor, &query, index);
        if self.role == Role::Leaf || index {
            return Ok(());
        }
        if self.answer_from_cache(now, id, descriptor, &question) {
            return Ok(());
        }
        if descriptor.payload.len() > QUERY_RELAYED_MAX {
            self.counters.refused += 1;
            return Ok(());
        }
        self.give_to_leaves(now, id, descriptor, &query);
        if side == Side::Leaf && self.config.dynamic {
            self.search_for(now, guid, query, descriptor.payload.clone(), Origin::Leaf(id));
            return Ok(());
        }
        if let Some(next) = Self::onward(descriptor) {
            let whom = self.relays(&query, next.header, id);
            whom.into_iter().for_each(|other| self.send(now, other, &next));
        }
        Ok(())
    }

    /// Answers with what others have answered before. Whether there was something.
    fn answer_from_cache(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
        question: &Question,
    ) -> bool {
        if !self.config.query_caching {
            return false;
        }
        let Some(payloads) = self.cache.get(now, question) else { return false };
        self.counters.cached += 1;
        let Header { guid, hops, .. } = descriptor.header;
        let ttl = hops.saturating_add(2).min(LIFE_MAX);
        for payload in payloads {
            let answer = Descriptor::new(guid, Kind::QUERY_HIT, ttl, payload);
            self.answers.learn(now, digest(&answer), id, ());
            self.send(now, id, &answer);
        }
        true
    }

    /// Neighbours that relay and would take this query.
    fn relays(&self, query: &Query, header: Header, but: LinkId) -> Vec<LinkId> {
        let meets = |open: &super::super::link::Open| {
            // Tables tell of the last link only.
            header.ttl > 1 || open.table.table().is_none_or(|table| table.meets(query))
        };
        let wanted = self
            .relaying()
            .filter(|(id, open)| *id != but && header.hops < open.hops_flow && meets(open));
        wanted.map(|(id, _)| id).collect()
    }

    /// Leaves are given what they may have, whatever its TTL.
    pub(super) fn give_to_leaves(
        &mut self,
        now: Instant,
        but: LinkId,
        descriptor: &Descriptor,
        query: &Query,
    ) {
        let mut next = descriptor.clone();
        next.header.ttl = 1;
        next.header.hops = if but == OWN { 0 } else { descriptor.header.hops + 1 };
        let wanted = self.leaves().filter(|(id, open)| {
            let meets = open.table.table().is_none_or(|table| table.meets(query));
            *id != but && next.header.hops < open.hops_flow && meets
        });
        let whom: Vec<LinkId> = wanted.map(|(id, _)| id).collect();
        whom.into_iter().for_each(|leaf| self.send(now, leaf, &next));
    }

    fn answer_query(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
        query: &Query,
        index: bool,
    ) {
        // Two that cannot be reached are of no use to each other.
        if self.config.firewalled && query.flags & Query::FIREWALLED != 0 {
            return;
        }
        let most = match query.hits_max() {
            0 => HITS_PER_QUERY,
            most => HITS_PER_QUERY.min(most.into()),
        };
        let found = if index { self.library.last(most) } else { self.library.find(query, most) };
        let (addr, port) = (self.addr(), self.config.peer_port);
        let ttl = descriptor.header.hops.saturating_add(2).min(LIFE_MAX);
        for some in found.chunks(HITS_PER_DESCRIPTOR) {
            let hits = some.iter().filter_map(|&index| self.library.hit(index, port)).collect();
            let answer = QueryHit {
                addr,
                speed: self.config.speed,
                hits,
                trailer: Some(Trailer {
                    vendor: self.config.vendor,
                    push: Some(self.config.firewalled),
                    ..Trailer::default()
                }),
                servent: self.guid,
            };
            self.send(
                now,
                id,
                &Descriptor::new(descriptor.header.guid, Kind::QUERY_HIT, ttl, answer.encode()),
            );
        }
    }

    fn on_hit(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
    ) -> Result<(), GnutellaError> {
        let hit = QueryHit::parse(&descriptor.payload)?;
        let guid = descriptor.header.guid;
        // A leaf relays nothing: what it heard as a question it has passed to nobody.
        let relays = |back: LinkId| back == OWN || self.role == Role::Ultrapeer;
        let asked = self.queries.get(now, &guid).filter(|&(back, _)| relays(back));
        let Some((back, question)) = asked else {
            self.counters.unrouted += 1;
            return Ok(());
        };
        if back == id {
            self.counters.refused += 1; // an answer does not come from the asker
            return Ok(());
        }
        let question = question.clone();
        // Who keeps answers may give one that its author gives, too.
        if !self.answers.learn(now, digest(descriptor), id, ()) {
            self.counters.duplicates += 1;
            return Ok(());
        }
        let Some(from) = self.links.get(&id).map(|link| link.addr.ip()) else { return Ok(()) };
        // Whoever gets it next trusts us, who may be nearer to him: the word of who told us is what counts.
        if whereabouts(from, &hit).is_none() {
            self.counters.refused += 1;
            return Ok(());
        }
        self.pushes.relearn(now, hit.servent, id, ());
        let files = hit.hits.len();
        if let Some(search) = self.searches.iter_mut().find(|search| search.guid == guid) {
            search.found(files as i64);
        }
        if back == OWN {
            if let Some(own) = self.own.get_mut(&guid) {
                own.kept = own.kept.saturating_add(files as u32);
                self.events.push_back(Event::Hit {
                    search: guid,
                    hops: descriptor.header.hops,
                    from,
                    hit,
                });
            }
            return Ok(());
        }
        if descriptor.payload.len() > HIT_RELAYED_MAX {
            self.counters.refused += 1;
            return Ok(());
        }
        if self.config.query_caching {
            self.cache.keep(now, &question, id, &descriptor.payload, files);
        }
        match Self::onward(descriptor) {
            Some(next) => self.send(now, back, &next),
            None => self.counters.too_far += 1,
        }
        Ok(())
    }

    fn on_push(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
    ) -> Result<(), GnutellaError> {
        let push = Push::parse(&descriptor.payload)?;
        let Some(from) = self.links.get(&id).map(|link| link.addr.ip()) else { return Ok(()) };
        // Whoever gets it next trusts us, who may be nearer to him: the word of who told us is what counts.
        if push.addr.port() == 0 || !Scope::may_tell(from, IpAddr::V4(*push.addr.ip())) {
            self.counters.refused += 1;
            return Ok(());
        }
        if push.target == self.guid {
            let Push { addr, index, .. } = push;
            self.events.push_back(Event::Push { link: id, addr, index });
            return Ok(());
        }
        match self.pushes.get(now, &push.target).map(|(link, ())| link).filter(|&link| link != id) {
            Some(on) if self.role == Role::Ultrapeer => {
                // The last link to a leaf costs no TTL, or a proxy could not be asked with TTL 1.
                let mut next = descriptor.clone();
                next.header.ttl = (next.header.ttl - 1).max(1);
                next.header.hops += 1;
                let leaf = self.links.get(&on).and_then(super::Link::side) == Some(Side::Leaf);
                if leaf || descriptor.header.ttl > 1 {
                    self.send(now, on, &next);
                } else {
                    self.counters.too_far += 1;
                }
            }
            _ => self.counters.unrouted += 1,
        }
        Ok(())
    }

    fn on_table(&mut self, now: Instant, id: LinkId, descriptor: &Descriptor) {
        if self.role == Role::Leaf {
            return;
        }
        let Some(open) = self.links.get_mut(&id).and_then(|link| link.open_mut()) else { return };
        let good =
            Qrp::parse(&descriptor.payload).is_ok_and(|message| open.table.handle(message).is_ok());
        if !good {
            self.bye(now, id, 413, "bad QRP sequence", Why::Ours(413));
        }
    }

    fn on_vendor(
        &mut self,
        now: Instant,
        id: LinkId,
        descriptor: &Descriptor,
    ) -> Result<(), GnutellaError> {
        let guid = descriptor.header.guid;
        match Vendor::parse(&descriptor.payload)? {
            Vendor::HopsFlow(hops) => {
                if let Some(open) = self.links.get_mut(&id).and_then(|link| link.open_mut()) {
                    open.hops_flow = hops;
                }
            }
            Vendor::HowMany => {
                if let Some(own) = self.own.get(&guid) {
                    let kept = own.kept.min(u32::from(Vendor::STOP) - 1) as u16;
                    self.tell(now, id, Some(guid), &Vendor::Kept(kept));
                }
            }
            Vendor::Kept(kept) => {
                let leaf = |search: &&mut super::Search| {
                    search.guid == guid && search.origin == Origin::Leaf(id)
                };
                match self.searches.iter_mut().find(leaf) {
                    Some(_) if kept == Vendor::STOP => {
                        self.searches.retain(|search| search.guid != guid);
                    }
                    Some(search) => search.kept(kept.into()),
                    None => {}
                }
            }
            Vendor::ProxyPlease if self.role == Role::Ultrapeer => {
                self.pushes.relearn(now, guid, id, ());
                let me = self.addr();
                self.tell(now, id, Some(guid), &Vendor::ProxyIs(me));
            }
            Vendor::Supported(known) => {
                if let Some(open) = self.links.get_mut(&id).and_then(|link| link.open_mut()) {
                    open.connects_back = known.contains(&(*b"BEAR", 7, 1));
                }
            }
            Vendor::ConnectBack(port) if self.role == Role::Ultrapeer => {
                self.on_connect_back(now, id, port);
            }
            Vendor::ProxyPlease
            | Vendor::ProxyIs(_)
            | Vendor::ConnectBack(_)
            | Vendor::Other { .. } => {}
        }
        Ok(())
    }

    /// Asks a servent that cannot be reached to connect to us.
    ///
    /// # Errors
    /// Why nobody is asked.
    pub fn push(&mut self, now: Instant, servent: Guid, index: u32) -> Result<(), NoPush> {
        if self.config.firewalled {
            return Err(NoPush::BothFirewalled);
        }
        let addr = self.addr();
        let link = self.pushes.get(now, &servent).map(|(link, ())| link);
        let open = |id: &LinkId| self.links.get(id).is_some_and(|link| link.open().is_some());
        let link = link.filter(open).ok_or(NoPush::NoWay)?;
        let push = Push { target: servent, index, addr, ggep: Ggep::new() };
        let guid = Guid::random(&mut self.rng);
        self.send(now, link, &Descriptor::new(guid, Kind::PUSH, LIFE_MAX, push.encode()));
        Ok(())
    }
}
