//! Searches: our own and those that leaves leave to us.

use super::super::cache::Question;
use super::super::search::{Candidate, Origin, Search, Step};
use super::relay::OWN;
use super::{Event, LinkId, Own, Role, SEARCHES_MAX, Servent};
use crate::clock::Instant;
use crate::proto::gnutella::{Descriptor, Guid, Kind, Query, Vendor};
use bytes::Bytes;

impl Servent {
    /// Looks for files that have all of these words, or one of the names of content. `None` if too many searches are
    /// under way.
    pub fn search(&mut self, now: Instant, mut query: Query) -> Option<Guid> {
        if self.own.len() >= SEARCHES_MAX {
            return None;
        }
        query.flags |= Query::FLAGS;
        if self.config.firewalled {
            query.flags |= Query::FIREWALLED;
        }
        if self.role == Role::Leaf && self.config.dynamic {
            query.flags |= Query::LEAF_GUIDED;
        }
        let guid = Guid::random(&mut self.rng);
        let payload = Bytes::from(query.encode());
        self.queries.learn(now, guid, OWN, Question::of(&query));
        self.own.insert(guid, Own { kept: 0, payload: payload.clone() });
        let descriptor = Descriptor::new(guid, Kind::QUERY, self.config.ttl_max, payload.clone());
        if self.role == Role::Ultrapeer {
            self.give_to_leaves(now, OWN, &descriptor, &query);
            if self.config.dynamic {
                self.search_for(now, guid, query, payload, Origin::Own);
                return Some(guid);
            }
        }
        let all: Vec<LinkId> = self.relaying().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.send(now, id, &descriptor));
        Some(guid)
    }

    /// Answers to a search are of interest no longer, and nobody more is asked.
    pub fn stop(&mut self, now: Instant, search: Guid) {
        self.searches.retain(|known| known.guid != search);
        if self.own.remove(&search).is_some() && self.role == Role::Leaf {
            let all: Vec<LinkId> =
                self.relaying().filter(|(_, open)| open.peer.vendor).map(|(id, _)| id).collect();
            all.into_iter()
                .for_each(|id| self.tell(now, id, Some(search), &Vendor::Kept(Vendor::STOP)));
        }
    }

    /// Of the files found by a search, so many were junk and do not count towards enough.
    pub fn discount(&mut self, search: Guid, files: u32) {
        if let Some(own) = self.own.get_mut(&search) {
            own.kept = own.kept.saturating_sub(files);
        }
        let found = self.searches.iter_mut().find(|known| known.guid == search);
        found.into_iter().for_each(|known| known.found(-i64::from(files)));
    }

    /// A leaf asks a new ultrapeer what it has asked the others. An ultrapeer asks it when its turn comes.
    pub(super) fn ask_too(&mut self, now: Instant, id: LinkId) {
        let relays = self.relaying().any(|(known, _)| known == id);
        if self.role == Role::Leaf && relays {
            let ttl = self.config.ttl_max;
            let ask = |(&guid, own): (&Guid, &Own)| {
                Descriptor::new(guid, Kind::QUERY, ttl, own.payload.clone())
            };
            let asked: Vec<Descriptor> = self.own.iter().map(ask).collect();
            asked.iter().for_each(|one| self.send(now, id, one));
        }
    }

    pub(super) fn search_for(
        &mut self,
        now: Instant,
        guid: Guid,
        query: Query,
        payload: Bytes,
        origin: Origin,
    ) {
        if self.searches.len() >= SEARCHES_MAX {
            self.counters.refused += 1;
            return;
        }
        self.searches.push(Search::new(now, guid, query, payload, origin));
        self.go_on(now);
    }

    /// Every search that is due takes its next step.
    pub(super) fn go_on(&mut self, now: Instant) {
        for mut search in std::mem::take(&mut self.searches) {
            let candidates = self.candidates(&search.query);
            match search.step(now, candidates) {
                Step::Wait => self.searches.push(search),
                Step::End => {
                    if search.origin == Origin::Own {
                        self.events.push_back(Event::Searched(search.guid));
                    }
                }
                Step::Ask { whom, guide } => {
                    // Of a leaf's query we are the first link.
                    let hops = u8::from(search.origin != Origin::Own);
                    for (id, ttl) in whom {
                        let mut ask =
                            Descriptor::new(search.guid, Kind::QUERY, ttl, search.payload.clone());
                        ask.header.hops = hops;
                        self.send(now, id, &ask);
                    }
                    if let (true, Origin::Leaf(leaf)) = (guide, search.origin) {
                        self.tell(now, leaf, Some(search.guid), &Vendor::HowMany);
                    }
                    self.searches.push(search);
                }
            }
        }
    }

    fn candidates(&self, query: &Query) -> Vec<Candidate> {
        let willing = self.relaying().filter(|(_, open)| open.hops_flow > 0);
        let one = |(link, open): (LinkId, &super::super::link::Open)| Candidate {
            link,
            degree: open.peer.degree,
            ttl_max: open.peer.ttl_max.min(self.config.ttl_max),
            probes: open.peer.probes,
            meets: open.table.table().is_some_and(|table| table.meets(query)),
        };
        willing.map(one).collect()
    }
}
