//! Queries: what is known here at once, then one supernode after another until enough is found.
//!
//! Who asked first asks its mates in turn, the most promising first; who is asked on behalf of another asks all it may
//! at once. A query that comes twice is answered once. Every query ends, and its asker is told.

use super::children::{is_open_to, is_short};
use super::{LinkKey, Mate, Supernode};
use crate::clock::Instant;
use crate::proto::fasttrack::mesh::{Guid, MeshMessage};
use crate::proto::fasttrack::{Hit, Message, Query, Realm, Reply, Term};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

/// Results that are enough to ask nobody else.
const ENOUGH: usize = 100;
/// Results that a node gets at most.
const RESULTS_MAX: usize = 200;
/// Mates that are asked for one query.
const ASKED_MAX: usize = 8;
/// When a query ends whatever has come.
const QUERY_MAX: Duration = Duration::from_secs(5);
/// When the next mate is asked although the one before has not finished.
const STEP_MAX: Duration = Duration::from_millis(1000);
/// How far a query of a node goes: its supernode's mates, and theirs.
const TTL: u8 = 2;
/// What a relay leaves of the time to who asked it.
const RELAY_MAX: Duration = Duration::from_millis(900);
/// Hits of one message; each has at most two kilobytes.
const HITS_AT_ONCE: usize = 25;
/// How long a query is known again.
const SEEN_FOR: Duration = Duration::from_secs(600);
/// Queries that are known again; beyond them the oldest is forgotten.
const SEEN_MAX: usize = 50_000;
/// Queries under way; one more ends at once with what is known here.
const SEARCHES_MAX: usize = 1000;
/// Supernodes for which a way is remembered; beyond them a further one is not.
const ROUTES_MAX: usize = 2000;

/// Queries that have come before.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: BTreeSet<Guid>,
    order: VecDeque<(Instant, Guid)>,
}

impl Seen {
    /// Whether a query is new; it no longer is afterwards.
    fn is_new(&mut self, now: Instant, guid: Guid) -> bool {
        let old = |at: &Instant| now.since(*at) > SEEN_FOR;
        while self.order.len() >= SEEN_MAX || self.order.front().is_some_and(|(at, _)| old(at)) {
            let Some((_, guid)) = self.order.pop_front() else { break };
            self.known.remove(&guid);
        }
        let new = self.known.insert(guid);
        if new {
            self.order.push_back((now, guid));
        }
        new
    }
}

/// Who wants to know.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// A node, with its own number for the query.
    Child(LinkKey, u16),
    Mate(LinkKey),
}

/// A query under way.
#[derive(Debug)]
pub(super) struct Search {
    asker: Asker,
    /// Results that may still come.
    left: usize,
    /// Results after which nobody else is asked.
    enough: usize,
    ttl: u8,
    realm: Realm,
    terms: Vec<Term>,
    /// Whom to ask yet, the next one last.
    to_ask: Vec<LinkKey>,
    /// Who has not finished, since when he was asked and what he had so far.
    asked: BTreeMap<LinkKey, (Instant, usize)>,
    /// When the next one is asked anyhow.
    step_at: Instant,
    ends_at: Instant,
}

impl Search {
    pub(super) fn is_of(&self, link: LinkKey) -> bool {
        matches!(self.asker, Asker::Child(child, _) if child == link)
    }

    pub(super) fn due(&self) -> Instant {
        if self.to_ask.is_empty() { self.ends_at } else { self.step_at.min(self.ends_at) }
    }
}

impl Supernode {
    pub(super) fn search_for_child(&mut self, now: Instant, link: LinkKey, query: Query) {
        let mut guid = [0; 16];
        self.rng.fill(&mut guid);
        let guid = Guid(guid);
        self.seen.is_new(now, guid);
        let left = usize::from(query.max).min(RESULTS_MAX);
        let asker = Asker::Child(link, query.id);
        self.search(now, guid, asker, left, TTL, query.realm, query.terms);
    }

    pub(super) fn search_for_mate(
        &mut self,
        now: Instant,
        link: LinkKey,
        guid: Guid,
        ttl: u8,
        want: u16,
        realm: Realm,
        terms: Vec<Term>,
    ) {
        if !self.seen.is_new(now, guid) {
            return self.tell(link, MeshMessage::End(guid));
        }
        let left = usize::from(want).min(RESULTS_MAX);
        self.search(now, guid, Asker::Mate(link), left, ttl - 1, realm, terms);
    }

    /// Answers from the index, and goes on with `ttl` further steps if that is not enough.
    fn search(
        &mut self,
        now: Instant,
        guid: Guid,
        asker: Asker,
        left: usize,
        ttl: u8,
        realm: Realm,
        terms: Vec<Term>,
    ) {
        let own = match asker {
            Asker::Child(link, _) => Some(link),
            Asker::Mate(_) => None,
        };
        // Nobody looks for what he has himself.
        let found = self.index.find(realm, &terms, left);
        let found = found.into_iter().filter(|(owner, _)| Some(*owner) != own);
        let found = found.filter_map(|(owner, file)| Some(self.children.get(&owner)?.hit(file)));
        let found: Vec<Hit> = found.collect();
        let enough = left.min(ENOUGH).saturating_sub(found.len());
        let left = left - found.len();
        self.give(asker, guid, self.config.addr, &found);
        let mut to_ask = if ttl > 0 && enough > 0 && self.searches.len() < SEARCHES_MAX {
            self.promising(asker)
        } else {
            Vec::new()
        };
        if to_ask.is_empty() {
            return self.end(asker, guid);
        }
        to_ask.reverse();
        let time = match asker {
            Asker::Child(..) => QUERY_MAX,
            Asker::Mate(_) => RELAY_MAX,
        };
        let asked = BTreeMap::new();
        let (step_at, ends_at) = (now, now + time);
        let search =
            Search { asker, left, enough, ttl, realm, terms, to_ask, asked, step_at, ends_at };
        self.searches.insert(guid, search);
        self.ask_next(now, guid);
    }

    /// Mates to ask, the best first.
    fn promising(&self, asker: Asker) -> Vec<LinkKey> {
        let from = match asker {
            Asker::Child(..) => None,
            Asker::Mate(link) => Some(link),
        };
        let mates =
            self.mates.iter().filter(|(link, mate)| mate.addr.is_some() && Some(**link) != from);
        let mut mates: Vec<_> = mates.map(|(link, mate)| (mate.worth(), *link)).collect();
        mates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        mates.into_iter().take(ASKED_MAX).map(|(_, link)| link).collect()
    }

    /// Asks the next mate, or all of them on behalf of another; ends the query if there is nobody left to wait for.
    fn ask_next(&mut self, now: Instant, guid: Guid) {
        loop {
            let Some(search) = self.searches.get_mut(&guid) else { return };
            let next = if search.enough > 0 { search.to_ask.pop() } else { None };
            let Some(link) = next else {
                search.to_ask.clear();
                if search.enough == 0 || search.asked.is_empty() {
                    self.finish(guid);
                }
                return;
            };
            search.asked.insert(link, (now, 0));
            search.step_at = now + STEP_MAX;
            let want = search.left as u16;
            let (ttl, realm, terms) = (search.ttl, search.realm, search.terms.clone());
            let in_turn = matches!(search.asker, Asker::Child(..));
            self.tell(link, MeshMessage::Query { guid, ttl, want, realm, terms });
            if in_turn {
                return;
            }
        }
    }

    pub(super) fn on_hits(
        &mut self,
        now: Instant,
        link: LinkKey,
        guid: Guid,
        supernode: SocketAddrV4,
        mut hits: Vec<Hit>,
    ) {
        let Some(search) = self.searches.get_mut(&guid) else { return };
        // Only who was asked may answer.
        let Some((_, had)) = search.asked.get_mut(&link) else { return };
        // A host nearer than its supernode is firewalled: who is out there must not name a supernode that is near us, or
        // its hosts would be dialled.
        let told = |mate: &Mate| is_open_to(*supernode.ip(), mate.from);
        if supernode.port() == 0 || !self.mates.get(&link).is_some_and(told) {
            return;
        }
        hits.retain(|hit| is_short(&hit.file));
        hits.truncate(search.left);
        *had += hits.len();
        search.left -= hits.len();
        search.enough = search.enough.saturating_sub(hits.len());
        let (asker, done) = (search.asker, search.enough == 0);
        let is_mate = self.mates.values().any(|mate| mate.addr == Some(supernode));
        if !is_mate && supernode != self.config.addr && self.routes.len() < ROUTES_MAX {
            self.routes.insert(supernode, link);
        }
        self.give(asker, guid, supernode, &hits);
        if done {
            self.settle(now, guid, link);
            self.finish(guid);
        }
    }

    pub(super) fn on_end(&mut self, now: Instant, link: LinkKey, guid: Guid) {
        if self.settle(now, guid, link) {
            self.ask_next(now, guid);
        }
    }

    /// A mate has finished: what it was worth counts. Returns whether it had been asked.
    fn settle(&mut self, now: Instant, guid: Guid, link: LinkKey) -> bool {
        let Some(search) = self.searches.get_mut(&guid) else { return false };
        let Some((since, had)) = search.asked.remove(&link) else { return false };
        if let Some(mate) = self.mates.get_mut(&link) {
            mate.answered(now.since(since), had);
        }
        true
    }

    /// A mate is gone: nobody waits for it.
    pub(super) fn searches_lose(&mut self, now: Instant, link: LinkKey) {
        let lost = |asker: &Asker| matches!(asker, Asker::Mate(mate) if *mate == link);
        self.searches.retain(|_, search| !lost(&search.asker));
        let mut waiting = Vec::new();
        for (guid, search) in &mut self.searches {
            search.to_ask.retain(|mate| *mate != link);
            if search.asked.remove(&link).is_some() {
                waiting.push(*guid);
            }
        }
        waiting.into_iter().for_each(|guid| self.ask_next(now, guid));
    }

    pub(super) fn searches_due(&mut self, now: Instant) {
        let due = self.searches.iter().filter(|(_, search)| search.due() <= now);
        let due: Vec<(Guid, bool)> =
            due.map(|(guid, search)| (*guid, search.ends_at <= now)).collect();
        for (guid, over) in due {
            if !over {
                self.ask_next(now, guid);
                continue;
            }
            let late: Vec<LinkKey> = self
                .searches
                .get(&guid)
                .map(|search| search.asked.keys().copied().collect())
                .unwrap_or_default();
            for link in late {
                self.settle(now, guid, link);
            }
            self.finish(guid);
        }
    }

    fn finish(&mut self, guid: Guid) {
        if let Some(search) = self.searches.remove(&guid) {
            self.end(search.asker, guid);
        }
    }

    fn give(&mut self, asker: Asker, guid: Guid, supernode: SocketAddrV4, hits: &[Hit]) {
        for hits in hits.chunks(HITS_AT_ONCE) {
            let hits = hits.to_vec();
            match asker {
                Asker::Child(link, id) => {
                    self.say(link, Message::Reply(Reply { supernode, id, hits }));
                }
                Asker::Mate(link) => {
                    self.tell(link, MeshMessage::Hits { guid, supernode, hits });
                }
            }
        }
    }

    fn end(&mut self, asker: Asker, guid: Guid) {
        match asker {
            Asker::Child(link, id) => self.say(link, Message::QueryEnd(id)),
            Asker::Mate(link) => self.tell(link, MeshMessage::End(guid)),
        }
    }
}
