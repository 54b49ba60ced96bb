//! An ordinary node: finds a near supernode and stays with one, tells it what is shared, and asks it.
//!
//! Call one `handle_*` or a command, then drain [`Node::poll_output`] and [`Node::poll_event`], and call
//! [`Node::handle_timeout`] at [`Node::poll_timeout`]. A node has at most one session, so nothing names it.

mod cache;
mod choose;
#[cfg(test)]
mod tests;

use crate::clock::Instant;
use crate::proto::fasttrack::{
    Datagram, Hit, Message, NodeInfo, PushOrder, PushRequest, Query, Receipt, Score, Share, UuHash,
};
use crate::rng::Rng;
use crate::scope::Scope;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub use cache::Cache;
use choose::{Home, Survey};

/// Files that a supernode takes from one node.
const SHARES_MAX: usize = 1000;
/// Searches at once; a further one is refused.
const SEARCHES_MAX: usize = 64;
/// When a search ends although its supernode has not ended it.
const SEARCH_MAX: Duration = Duration::from_secs(30);
/// How long a host that was asked to connect may take.
const PUSH_MAX: Duration = Duration::from_secs(60);
/// Pushes at once; beyond them the oldest is forgotten.
const PUSHES_MAX: usize = 256;
/// Orders to connect to somebody that are obeyed in [`ORDERS_TIME`]; further ones are ignored.
const ORDERS_MAX: usize = 20;
const ORDERS_TIME: Duration = Duration::from_secs(60);

/// Who a node is and how it behaves.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its user.
    pub user: String,
    /// Where it listens.
    pub addr: SocketAddrV4,
    /// A logarithm of its speed, as others are told it.
    pub bandwidth: u8,
}

/// What the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NodeOutput {
    /// Close the session.
    Close,
    /// Open a session with a supernode, in place of any that there is; [`Node::handle_open`] or
    /// [`Node::handle_closed`] follows.
    Connect(SocketAddrV4),
    /// Send a datagram.
    Datagram(SocketAddrV4, Datagram),
    /// Say something to the supernode.
    Say(Message),
}

/// What the owner should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A session stands.
    Attached(SocketAddrV4),
    /// It is gone; another will be tried.
    Detached(SocketAddrV4),
    /// The supernode sees us here.
    External(Ipv4Addr),
    /// A search has found something.
    Found {
        /// Which.
        search: u16,
        /// The supernode that knows the hosts; needed to push.
        supernode: SocketAddrV4,
        /// What.
        hits: Vec<Hit>,
    },
    /// Our supernode is full, and thinks that we should be one.
    Promoted,
    /// Somebody cannot connect to us: connect to him and send `GIVE`.
    Push(PushOrder),
    /// How much somebody is worth; of ourselves, too.
    Score(Score),
    /// A search is over.
    SearchEnded(u16),
}

/// Nothing can be asked: there are too many searches.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{SEARCHES_MAX} searches are under way")]
pub struct TooManySearches;

/// A node.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    rng: Rng,
    began: Instant,
    cache: Cache,
    home: Home,
    /// The only supernode, if there may be no other.
    own: Option<SocketAddrV4>,
    survey: Option<Survey>,
    /// The supernode that has taken us last.
    last: Option<SocketAddrV4>,
    /// The next nearest, the nearest first.
    backups: Vec<SocketAddrV4>,
    shares: BTreeMap<UuHash, Share>,
    searches: BTreeMap<u16, (Query, Instant)>,
    next_search: u16,
    /// Hosts that were asked to connect, by push id.
    pushes: BTreeMap<u32, (Instant, Hit)>,
    /// When orders to connect were obeyed.
    orders: VecDeque<Instant>,
    outbox: VecDeque<NodeOutput>,
    events: VecDeque<Event>,
}

impl Node {
    /// A node that begins to look for a supernode as soon as it is woken.
    pub fn new(now: Instant, config: NodeConfig, cache: Cache, mut rng: Rng) -> Self {
        let next_search = rng.next_u32() as u16;
        Self {
            config,
            rng,
            began: now,
            cache,
            home: Home::None { again_at: now },
            own: None,
            survey: None,
            last: None,
            backups: Vec::new(),
            shares: BTreeMap::new(),
            searches: BTreeMap::new(),
            next_search,
            pushes: BTreeMap::new(),
            orders: VecDeque::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Supernodes that are known.
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The supernode that a session stands with.
    pub const fn supernode(&self) -> Option<SocketAddrV4> {
        match self.home {
            Home::Attached { to, .. } => Some(to),
            Home::None { .. } | Home::Connecting { .. } => None,
        }
    }

    /// Shares a file. One more than a supernode takes is not shared; returns whether it is.
    pub fn share(&mut self, share: Share) -> bool {
        let room = self.shares.len() < SHARES_MAX || self.shares.contains_key(&share.file.hash);
        if room {
            self.say(Message::Share(share.clone()));
            self.shares.insert(share.file.hash, share);
        }
        room
    }

    /// Shares a file no longer.
    pub fn unshare(&mut self, hash: UuHash) {
        if let Some(share) = self.shares.remove(&hash) {
            self.say(Message::Unshare(share.file));
        }
    }

    /// Searches; a query's number is given here. Without a session it is asked once there is one, and again after a move.
    pub fn search(&mut self, now: Instant, mut query: Query) -> Result<u16, TooManySearches> {
        if self.searches.len() >= SEARCHES_MAX {
            return Err(TooManySearches);
        }
        while self.searches.contains_key(&self.next_search) {
            self.next_search = self.next_search.wrapping_add(1);
        }
        let id = self.next_search;
        self.next_search = id.wrapping_add(1);
        query.id = id;
        self.say(Message::Query(query.clone()));
        self.searches.insert(id, (query, now + SEARCH_MAX));
        Ok(id)
    }

    /// Ends a search without a word.
    pub fn cancel(&mut self, search: u16) {
        self.searches.remove(&search);
    }

    /// Has a host connect that we cannot connect to. The number comes back in its `GIVE`.
    pub fn push(&mut self, now: Instant, hit: &Hit, supernode: SocketAddrV4) -> u32 {
        while self.pushes.len() >= PUSHES_MAX {
            let oldest = self.pushes.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.pushes.remove(&oldest);
        }
        // Nobody who was not asked can know the number.
        let id = self.rng.next_u32();
        self.pushes.insert(id, (now, hit.clone()));
        let (to, source, user) = (self.config.addr, hit.addr, hit.user.clone());
        self.say(Message::PushRequest(PushRequest { id, to, source, supernode, user }));
        id
    }

    /// A host has connected and said this number: what it was asked for, once.
    pub fn handle_give(&mut self, now: Instant, push: u32) -> Option<Hit> {
        let (since, hit) = self.pushes.remove(&push)?;
        (now.since(since) <= PUSH_MAX).then_some(hit)
    }

    /// Asks how much somebody is worth who wants a file of us; [`Event::Score`] says so.
    pub fn ask_score(&mut self, user: String, ip: Ipv4Addr, supernode: SocketAddrV4) {
        self.say(Message::Score(Score { user, ip, supernode, score: None }));
    }

    /// Says what a download was worth.
    pub fn confirm(&mut self, receipt: Receipt) {
        self.say(Message::Receipt(receipt));
    }

    /// The session stands: both sides have named their network.
    pub fn handle_open(&mut self, now: Instant) {
        let Home::Connecting { to, trip, .. } = self.home else { return };
        self.home = Home::attached(now, to, trip);
        self.cache.seen(now, to);
        self.events.push_back(Event::Attached(to));
        let NodeConfig { addr, bandwidth, ref user } = self.config;
        self.say(Message::NodeInfo(NodeInfo { addr, bandwidth, user: user.clone() }));
        self.say(Message::Ours { uptime_s: now.since(self.began).as_secs() as u32 });
        let queries: Vec<Query> = self.searches.values().map(|(query, _)| query.clone()).collect();
        queries.into_iter().for_each(|query| self.say(Message::Query(query)));
    }

    /// The supernode says something.
    pub fn handle_message(&mut self, now: Instant, message: Message) {
        let Some(home) = self.supernode() else { return };
        let tells =
            |addr: SocketAddrV4| Scope::may_tell(IpAddr::V4(*home.ip()), IpAddr::V4(*addr.ip()));
        match message {
            Message::Nodes(rows) => {
                for row in rows.into_iter().filter(|row| tells(row.addr)) {
                    self.cache.heard(now, row);
                }
            }
            Message::ShareNow => {
                let shares: Vec<Share> = self.shares.values().cloned().collect();
                shares.into_iter().for_each(|share| self.say(Message::Share(share)));
            }
            Message::ExternalIp(ip) => {
                self.events.push_back(Event::External(ip));
                // The one that knows what we are worth, so far.
                if let Some(former) = self.last.replace(home).filter(|last| *last != home) {
                    self.ask_score(self.config.user.clone(), ip, former);
                }
            }
            // A host nearer than the supernode that vouches for it is firewalled, so that one must not be too near itself.
            Message::Reply(reply)
                if self.searches.contains_key(&reply.id) && tells(reply.supernode) =>
            {
                let (search, supernode, mut hits) = (reply.id, reply.supernode, reply.hits);
                hits.retain(|hit| hit.file.tags.file_name().is_some());
                if !hits.is_empty() {
                    self.events.push_back(Event::Found { search, supernode, hits });
                }
            }
            Message::QueryEnd(id) => self.end_search(id),
            Message::PushOrder(order) => self.on_order(now, home, order),
            // A datagram to a third party is for him who can prove that he is there, and that is the supernode.
            Message::PingMe(addr) if addr.ip() == home.ip() => {
                self.outbox.push_back(NodeOutput::Datagram(addr, Datagram::Knock));
            }
            Message::Promote => self.events.push_back(Event::Promoted),
            Message::Score(score) if score.score.is_some() => {
                self.events.push_back(Event::Score(score));
            }
            _ => {}
        }
    }

    /// When to call [`Node::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        let search = self.searches.values().map(|(_, ends_at)| *ends_at).min();
        let survey = self.survey.as_ref().map(Survey::until);
        [Some(self.home.due()).filter(|_| self.survey.is_none()), search, survey]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Instant::FAR_FUTURE)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let over = self.searches.iter().filter(|(_, (_, ends_at))| *ends_at <= now);
        let over: Vec<u16> = over.map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.end_search(id));
        self.choose_due(now);
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<NodeOutput> {
        self.outbox.pop_front()
    }

    /// The next thing to know.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Says something if there is somebody to say it to.
    fn say(&mut self, message: Message) {
        if self.supernode().is_some() {
            self.outbox.push_back(NodeOutput::Say(message));
        }
    }

    fn end_search(&mut self, id: u16) {
        if self.searches.remove(&id).is_some() {
            self.events.push_back(Event::SearchEnded(id));
        }
    }

    /// Obeys an order to connect, unless it names what a stranger cannot know or there have been many.
    fn on_order(&mut self, now: Instant, home: SocketAddrV4, order: PushOrder) {
        let tells = Scope::may_tell(IpAddr::V4(*home.ip()), IpAddr::V4(*order.to.ip()));
        let recent = |at: &Instant| now.since(*at) < ORDERS_TIME;
        self.orders.retain(recent);
        if tells && order.to.port() != 0 && self.orders.len() < ORDERS_MAX {
            self.orders.push_back(now);
            self.events.push_back(Event::Push(order));
        }
    }
}
