//! One search through the network for the nodes closest to a target, and for what they store.
//!
//! Decides whom to ask next and when it is over. It does not wait for the dead: somebody who has not answered within
//! the time that nine of ten answers need is left out of the count of those under way, after twice that time also of
//! the test for the end, and his answer is still welcome when it comes.
//! Never sends, and never asks two nodes of one /24 or /64 that strangers named, nor more than a few of one /48. It ends
//! after so many questions or so much time, whatever strangers name.

use super::K;
use super::address::subnet;
use crate::clock::Instant;
use crate::id::{Distance, InfoHash, NodeId};
use crate::proto::krpc::{Contact, Item, Kept, Put, Salt, Token};
use std::net::SocketAddr;
use std::time::Duration;

/// Names a lookup of one node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LookupId(pub u64);

/// When a question counts as stalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Soft {
    /// After what nine of ten answers have needed lately, 200 ms to 2 s.
    Measured,
    /// After this long.
    Fixed(Duration),
}

/// How lookups are run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LookupPolicy {
    /// Questions under way, stalled ones apart.
    pub alpha: usize,
    /// When a question counts as stalled.
    pub soft: Soft,
    /// When it counts as unanswered. Between the two, after twice the soft time, the end stops waiting for it.
    pub hard: Duration,
    /// Whether the end waits for overdue questions about nodes that would be among the closest, as libtorrent does.
    pub wait_for_stalled: bool,
    /// Nodes that an announce is stored at.
    pub announce_to: usize,
}

impl Default for LookupPolicy {
    fn default() -> Self {
        Self {
            alpha: 5,
            soft: Soft::Measured,
            hard: Duration::from_secs(5),
            wait_for_stalled: false,
            announce_to: K,
        }
    }
}

/// Candidates kept; the farthest are dropped.
const CANDIDATES_MAX: usize = 100;
/// Candidates that one answer may add: it has the 8 closest, routers name 16.
const NAMED_MAX: usize = 16;

/// Questions of one lookup. One through a large network takes 30; who is still named nearer ones after so many is being
/// led on, and gets what was found.
pub(super) const ASKED_MAX: u32 = 200;
/// Twelve questions in a row that are given up. What was found by then is the result.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);
/// Nodes of one /48 that strangers named and that are asked: one customer may have all of it, so further ones are left
/// out. Two, because some have only a /56 or /64 of it.
const OF_ONE_SITE_MAX: usize = 2;

/// What a lookup is for.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// Nodes near our own id, or near a random one.
    Nodes,
    /// Peers of a swarm.
    Peers(InfoHash),
    /// How large a swarm is.
    Scrape(InfoHash),
    /// Peers of a swarm, and then to join it.
    Announce { swarm: InfoHash, port: Option<u16>, seed: bool },
    /// The item at the target, which has this salt if it is mutable.
    Get(Salt),
    /// To store an item at the target.
    Put(Box<Put>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Fresh,
    Asked,
    /// Others may be asked in his place.
    Stalled,
    /// The end does not wait for him any more.
    Overdue,
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: Distance,
    contact: Contact,
    state: State,
    token: Option<Token>,
}

/// What a lookup does when it knows nobody who answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// It will wait until somebody has answered, or the bootstrap lookup is over.
    Full,
    /// It does.
    Waits,
    /// It has, and ends.
    Spent,
}

/// A lookup under way.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) goal: Goal,
    /// 0 in the network of IPv4, 1 in that of IPv6.
    pub(super) side: usize,
    pub(super) patience: Patience,
    target: NodeId,
    /// Sorted by distance.
    candidates: Vec<Candidate>,
    /// Nodes without a known id, to ask when there is nobody else.
    routers: Vec<SocketAddr>,
    /// Networks of those who were asked, so at most [`ASKED_MAX`].
    subnets: Vec<u64>,
    pub(super) started: Instant,
    pub(super) asked: u32,
    pub(super) answered: u32,
    pub(super) peers: u32,
    /// The newest genuine item of those that were offered.
    item: Option<Item>,
    /// How many have offered it.
    pub(super) copies: u32,
    /// Who has said that he has a mutable item there, and its number; at most one for each question.
    holders: Vec<(SocketAddr, i64)>,
    routers_asked: u32,
    routers_open: u32,
    routers_stalled: u32,
}

impl Lookup {
    pub(super) fn new(
        now: Instant,
        side: usize,
        goal: Goal,
        target: NodeId,
        seeds: &[Contact],
        routers: Vec<SocketAddr>,
    ) -> Self {
        let mut new = Self {
            goal,
            side,
            patience: Patience::Full,
            target,
            candidates: Vec::new(),
            routers,
            subnets: Vec::new(),
            started: now,
            asked: 0,
            answered: 0,
            peers: 0,
            item: None,
            copies: 0,
            holders: Vec::new(),
            routers_asked: 0,
            routers_open: 0,
            routers_stalled: 0,
        };
        new.seed(seeds);
        new
    }

    /// Adds nodes that we know ourselves.
    pub(super) fn seed(&mut self, seeds: &[Contact]) {
        seeds.iter().for_each(|&seed| self.insert(seed));
    }

    pub(super) const fn target(&self) -> NodeId {
        self.target
    }

    /// Whom to ask now; ask again until there is nobody.
    pub(super) fn next(&mut self, policy: &LookupPolicy) -> Option<Contact> {
        let (mut open, mut answered) = (0, 0);
        if self.is_exhausted() {
            return None;
        }
        for candidate in &mut self.candidates {
            match candidate.state {
                State::Answered => answered += 1,
                State::Asked => open += 1,
                State::Fresh => {
                    candidate.state = State::Asked;
                    self.asked += 1;
                    let net = subnet(candidate.contact.addr.ip());
                    if let Some(net) = net.filter(|net| !self.subnets.contains(net)) {
                        self.subnets.push(net);
                    }
                    return Some(candidate.contact);
                }
                State::Stalled | State::Overdue | State::Failed => {}
            }
            if answered >= K || open >= policy.alpha {
                return None;
            }
        }
        None
    }

    /// A router to ask, when nobody with a known id is left.
    pub(super) fn next_router(&mut self) -> Option<SocketAddr> {
        let waiting = self.candidates.iter().any(|candidate| {
            matches!(candidate.state, State::Fresh | State::Asked | State::Answered)
        });
        if waiting || self.is_exhausted() {
            return None;
        }
        let router = self.routers.pop()?;
        self.routers_asked += 1;
        self.routers_open += 1;
        self.asked += 1;
        Some(router)
    }

    /// Takes back that somebody was asked: his datagram may not go yet.
    pub(super) fn not_sent(&mut self, contact: &Contact) {
        if let Some(candidate) = self.find(contact) {
            candidate.state = State::Fresh;
            self.asked -= 1;
        }
    }

    pub(super) fn router_not_sent(&mut self, router: SocketAddr) {
        self.routers.push(router);
        self.routers_asked -= 1;
        self.routers_open -= 1;
        self.asked -= 1;
    }

    pub(super) fn stalled(&mut self, contact: &Contact) {
        if let Some(candidate) = self.find(contact).filter(|c| c.state == State::Asked) {
            candidate.state = State::Stalled;
        }
    }

    pub(super) fn overdue(&mut self, contact: &Contact) {
        if let Some(candidate) = self.find(contact).filter(|c| c.state == State::Stalled) {
            candidate.state = State::Overdue;
        }
    }

    /// Nobody answered, or somebody with another id.
    pub(super) fn failed(&mut self, contact: &Contact) {
        if let Some(candidate) = self.find(contact).filter(|c| c.state != State::Answered) {
            candidate.state = State::Failed;
        }
    }

    /// The end does not wait for this router any more.
    pub(super) fn router_stalled(&mut self) {
        self.router_closed(false);
        self.routers_stalled += 1;
    }

    /// A router has answered or was given up.
    pub(super) fn router_closed(&mut self, stalled: bool) {
        let open = if stalled { &mut self.routers_stalled } else { &mut self.routers_open };
        *open = open.saturating_sub(1);
    }

    /// A router has answered, with the id that it has.
    pub(super) fn router_answered(&mut self, contact: Contact, token: Option<Token>) {
        self.insert(contact);
        self.answered(&contact, token);
    }

    pub(super) fn answered(&mut self, contact: &Contact, token: Option<Token>) {
        if let Some(candidate) = self.find(contact) {
            candidate.state = State::Answered;
            candidate.token = token;
            self.answered += 1;
        }
    }

    /// Takes what somebody says that he has at the target, or what we have there ourselves. Returns the item if it is what
    /// is looked for, genuine, and newer than all before.
    pub(super) fn offered(&mut self, from: Option<SocketAddr>, kept: Kept) -> Option<&Item> {
        self.holders.extend(from.zip(kept.seq()));
        let (Goal::Get(salt), Kept::Item(item)) = (&self.goal, kept) else { return None };
        if item.target(salt) != self.target || !item.is_genuine(salt) {
            return None;
        }
        let best = self.item.as_ref().map(Item::seq);
        if best == Some(item.seq()) {
            self.copies += 1;
        }
        if best >= Some(item.seq()) {
            return None;
        }
        self.copies = 1;
        Some(self.item.insert(*item))
    }

    /// The sequence number of the mutable item that this node has said it has at the target.
    pub(super) fn held_by(&self, addr: SocketAddr) -> Option<i64> {
        self.holders.iter().find(|(holder, _)| *holder == addr).map(|(_, seq)| *seq)
    }

    /// Whether what is looked for was found, and nothing better can come: an immutable item.
    pub(super) fn is_satisfied(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item.signed.is_none())
    }

    /// Adds nodes that an answer named.
    pub(super) fn named(&mut self, nodes: impl Iterator<Item = Contact>) {
        for contact in nodes.take(NAMED_MAX) {
            let distance = self.target.distance(&contact.id);
            let full = self.candidates.len() >= CANDIDATES_MAX;
            if full && self.candidates.last().is_some_and(|last| last.distance <= distance) {
                continue;
            }
            if let Some(net) = subnet(contact.addr.ip()) {
                if self.is_taken(net, contact.addr.is_ipv6()) {
                    continue;
                }
            } else if self.candidates.iter().any(|c| c.contact.addr == contact.addr) {
                continue;
            }
            self.insert(contact);
        }
    }

    /// Whether there is somebody of this network already, or enough of the site that it belongs to.
    fn is_taken(&self, net: u64, v6: bool) -> bool {
        let fresh = self.candidates.iter().filter(|c| c.state == State::Fresh);
        let mut site = 0;
        for other in
            fresh.filter_map(|c| subnet(c.contact.addr.ip())).chain(self.subnets.iter().copied())
        {
            if other == net {
                return true;
            }
            // The upper 64 bits of an address without the lowest 16 are its /48.
            site += usize::from(v6 && other >> 16 == net >> 16);
        }
        site >= OF_ONE_SITE_MAX
    }

    /// Whether nobody more may be asked, or need be.
    fn is_exhausted(&self) -> bool {
        self.asked >= ASKED_MAX || self.is_satisfied()
    }

    /// When it ends at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.started + TIME_MAX
    }

    /// Whether it is over: the closest that can be had have answered, and nobody nearer may still do so soon.
    pub(super) fn is_done(&self, policy: &LookupPolicy) -> bool {
        if self.is_satisfied() {
            return true;
        }
        let mut answered = 0;
        let (mut open, mut stalled) = (self.routers_open > 0, self.routers_stalled > 0);
        for candidate in &self.candidates {
            match candidate.state {
                State::Answered => answered += 1,
                State::Asked | State::Stalled => open = true,
                State::Fresh => open |= !self.is_exhausted(),
                State::Overdue => stalled = true,
                State::Failed => {}
            }
            if answered >= K {
                break;
            }
        }
        if open || (policy.wait_for_stalled && stalled) {
            return false;
        }
        // Where nobody has answered at all, the silence may be that of a slow line.
        answered > 0 || (!stalled && (self.routers.is_empty() || self.is_exhausted()))
    }

    /// The closest that have answered, the closest first.
    pub(super) fn closest(&self) -> impl Iterator<Item = (Contact, Option<&Token>)> {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        answered.map(|candidate| (candidate.contact, candidate.token.as_ref()))
    }

    /// Bytes of the lookup and of what it holds on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.candidates.capacity() * size_of::<Candidate>()
            + self.routers.capacity() * size_of::<SocketAddr>()
            + self.subnets.capacity() * size_of::<u64>()
            + self.holders.capacity() * size_of::<(SocketAddr, i64)>()
            + self.item.as_ref().map_or(0, |item| item.value.as_bytes().len())
            + match &self.goal {
                Goal::Put(put) => size_of::<Put>() + put.item.value.as_bytes().len(),
                _ => 0,
            }
    }

    fn find(&mut self, contact: &Contact) -> Option<&mut Candidate> {
        let distance = self.target.distance(&contact.id);
        let at = self.candidates.binary_search_by_key(&distance, |c| c.distance).ok()?;
        let candidate = &mut self.candidates[at];
        (candidate.contact.addr == contact.addr).then_some(candidate)
    }

    /// The first with an id keeps it: a later one with another address would be asked in his place.
    fn insert(&mut self, contact: Contact) {
        let distance = self.target.distance(&contact.id);
        if let Err(at) = self.candidates.binary_search_by_key(&distance, |c| c.distance) {
            let candidate = Candidate { distance, contact, state: State::Fresh, token: None };
            self.candidates.insert(at, candidate);
            self.candidates.truncate(CANDIDATES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> Contact {
        let mut id = [0; 20];
        id[0] = n;
        Contact { id: NodeId(id), addr: SocketAddr::from(([198, 18, n, 1], 6881)) }
    }

    fn start(seeds: &[u8]) -> Lookup {
        let seeds: Vec<Contact> = seeds.iter().map(|&n| node(n)).collect();
        Lookup::new(Instant::ZERO, 0, Goal::Nodes, NodeId([0; 20]), &seeds, Vec::new())
    }

    fn ask_all(lookup: &mut Lookup, policy: &LookupPolicy) -> Vec<u8> {
        std::iter::from_fn(|| lookup.next(policy)).map(|contact| contact.id.0[0]).collect()
    }

    #[test]
    fn the_closest_are_asked_first_and_no_more_than_alpha() {
        let policy = LookupPolicy::default();
        let mut lookup = start(&[9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(ask_all(&mut lookup, &policy), [1, 2, 3, 4, 5]);
        lookup.answered(&node(3), None);
        assert_eq!(ask_all(&mut lookup, &policy), [6]);
        lookup.stalled(&node(1));
        lookup.failed(&node(2));
        assert_eq!(ask_all(&mut lookup, &policy), [7, 8]);
        assert!(!lookup.is_done(&policy));
    }

    #[test]
    fn stalled_questions_do_not_hold_up_the_end_unless_the_policy_says_so() {
        let quick = LookupPolicy::default();
        let patient = LookupPolicy { wait_for_stalled: true, ..quick };
        let mut lookup = start(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        ask_all(&mut lookup, &quick);
        lookup.stalled(&node(1));
        lookup.overdue(&node(1));
        for n in 2..=9 {
            ask_all(&mut lookup, &quick);
            assert!(!lookup.is_done(&quick), "{n}");
            lookup.answered(&node(n), Token::new(&[n]));
        }
        assert!(lookup.is_done(&quick) && !lookup.is_done(&patient));
        assert_eq!(lookup.closest().count(), 8);
        lookup.answered(&node(1), Token::new(b"late"));
        assert_eq!(lookup.closest().next().map(|(contact, _)| contact), Some(node(1)));
        assert!(lookup.is_done(&patient));
    }

    #[test]
    fn a_lookup_without_an_answer_waits_for_the_stalled_and_then_ends() {
        let policy = LookupPolicy::default();
        let mut lookup = start(&[1, 2]);
        ask_all(&mut lookup, &policy);
        lookup.stalled(&node(1));
        lookup.overdue(&node(1));
        lookup.failed(&node(2));
        assert!(!lookup.is_done(&policy));
        lookup.failed(&node(1));
        assert!(lookup.is_done(&policy));
        assert!(start(&[]).is_done(&policy));
    }

    #[test]
    fn one_node_of_a_subnet_and_a_bounded_list() {
        let mut lookup = start(&[200]);
        let near =
            |n: u8, host| Contact { addr: SocketAddr::from(([9, 9, n, host], 1)), ..node(n) };
        lookup.named((0..16).map(|host| Contact { id: node(host).id, ..near(1, host) }));
        assert_eq!(lookup.candidates.len(), 2);
        for hundred in 0..20u8 {
            lookup.named((0..=255).map(|n| near(n, hundred)));
        }
        assert!(lookup.candidates.len() <= CANDIDATES_MAX);
        let mut other_name = start(&[1]);
        other_name.answered(&Contact { addr: near(1, 1).addr, ..node(1) }, None);
        assert_eq!(other_name.closest().count(), 0, "another address is somebody else");
    }

    #[test]
    fn a_lookup_that_is_led_on_ends_after_so_many_questions() {
        let policy = LookupPolicy::default();
        let mut lookup = start(&[255]);
        // Each answer names one that is nearer, of a private network where many hosts are what is expected.
        let nearer = |n: u32| {
            let mut id = [0; 20];
            id[..4].copy_from_slice(&(u32::MAX / 2 - n).to_be_bytes());
            Contact {
                id: NodeId(id),
                addr: SocketAddr::from(((0x0a00_0000_u32 + n).to_be_bytes(), 1)),
            }
        };
        let mut asked = 0;
        while !lookup.is_done(&policy) {
            let Some(contact) = lookup.next(&policy) else { panic!("neither over nor asking") };
            asked += 1;
            lookup.named([nearer(asked)].into_iter());
            if asked % 2 == 0 {
                lookup.failed(&contact);
            } else {
                lookup.answered(&contact, None);
            }
            assert!(asked <= ASKED_MAX);
        }
        assert_eq!((asked, lookup.asked), (ASKED_MAX, ASKED_MAX));
    }

    #[test]
    fn one_site_of_ipv6_has_two_questions_and_the_memory_of_networks_is_bounded() {
        let policy = LookupPolicy { alpha: usize::MAX, ..LookupPolicy::default() };
        let mut lookup = start(&[255]);
        let of = |site: u16, n: u16| {
            let mut id = [0; 20];
            id[..2].copy_from_slice(&(0x8000 - n).to_be_bytes());
            id[2..4].copy_from_slice(&(u16::MAX - site).to_be_bytes());
            let ip = [0x2001, 0xdb8, site, n, 0, 0, 0, 1];
            Contact { id: NodeId(id), addr: SocketAddr::from((ip, 1)) }
        };
        let mut asked = Vec::new();
        for n in 0..500 {
            lookup.named([of(1, n)].into_iter());
            while let Some(contact) = lookup.next(&policy) {
                lookup.failed(&contact);
                asked.push(contact);
            }
        }
        assert_eq!(asked.iter().filter(|contact| contact.addr.is_ipv6()).count(), OF_ONE_SITE_MAX);
        for site in 2..1000 {
            lookup.named([of(site, 0)].into_iter());
            while let Some(contact) = lookup.next(&policy) {
                lookup.not_sent(&contact);
                let _ = lookup.next(&policy);
                lookup.failed(&contact);
            }
        }
        assert!(lookup.subnets.len() <= ASKED_MAX as usize && lookup.asked == ASKED_MAX);
    }

    #[test]
    fn a_silent_router_holds_up_no_end() {
        let policy = LookupPolicy::default();
        let routers = vec![node(77).addr, node(78).addr];
        let mut lookup = Lookup::new(Instant::ZERO, 0, Goal::Nodes, NodeId([0; 20]), &[], routers);
        while lookup.next_router().is_some() {}
        lookup.router_closed(false);
        lookup.router_answered(node(77), None);
        assert!(!lookup.is_done(&policy));
        lookup.router_stalled();
        assert!(lookup.is_done(&policy));
        lookup.router_closed(true);
        assert_eq!((lookup.routers_open, lookup.routers_stalled), (0, 0));
    }

    #[test]
    fn routers_are_asked_when_nobody_is_left() {
        let policy = LookupPolicy::default();
        let router = node(77).addr;
        let mut lookup =
            Lookup::new(Instant::ZERO, 0, Goal::Nodes, NodeId([0; 20]), &[], vec![router]);
        assert!(!lookup.is_done(&policy));
        assert_eq!((lookup.next_router(), lookup.next_router()), (Some(router), None));
        assert!(!lookup.is_done(&policy));
        lookup.router_closed(false);
        lookup.router_answered(node(77), None);
        assert!(lookup.is_done(&policy));
    }
}
