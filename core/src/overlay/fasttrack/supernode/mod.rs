//! A supernode: knows what its nodes share, answers them, and asks others of its kind for what it does not know.
//!
//! Call one `handle_*`, then drain [`Supernode::poll_output`], and call [`Supernode::handle_timeout`] at
//! [`Supernode::poll_timeout`]. Sessions with nodes and links to other supernodes have keys that the driver gives.

mod children;
mod mates;
mod search;
#[cfg(test)]
mod tests;

use super::{Index, Ledger};
use crate::clock::Instant;
use crate::proto::fasttrack::mesh::{Guid, MeshMessage};
use crate::proto::fasttrack::{Datagram, Message, NETWORK, NodeRow};
use crate::rng::Rng;
use children::{Asking, Child};
use mates::Mate;
use search::{Search, Seen};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// How often the supernode looks after its nodes and its place among the others.
const TICK: Duration = Duration::from_secs(10);

/// Names a connection; the driver chooses it and uses it once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkKey(pub u64);

/// What one node may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Nodes from which on the best of them is asked to become a supernode.
    pub crowded: usize,
    /// Nodes at once; further ones are sent on. More than `crowded`, so that the nodes of a supernode that dies find room.
    pub children: usize,
    /// Files of all nodes together; further ones are not indexed.
    pub files: usize,
    /// Nodes of one address.
    pub each_address: usize,
    /// Files that a node shares; further ones are not indexed.
    pub shares: usize,
    /// A node earns a query in this time.
    pub query_every: Duration,
    /// Queries that may come at once; further ones are answered with nothing.
    pub query_burst: u32,
    /// Whether the limits for an address and for queries hold on this machine too.
    pub loopback_too: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            crowded: 100,
            children: 250,
            files: 100_000,
            each_address: 8,
            shares: 1000,
            query_every: Duration::from_secs(2),
            query_burst: 10,
            loopback_too: false,
        }
    }
}

impl Limits {
    /// Whether the limits for an address do not hold for this one.
    pub(super) const fn exempt(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() && !self.loopback_too
    }
}

/// How a supernode behaves.
#[derive(Clone, Debug)]
pub struct SupernodeConfig {
    /// Where it listens, as others see it.
    pub addr: SocketAddrV4,
    /// What nodes may cost.
    pub limits: Limits,
}

/// What the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SupernodeOutput {
    /// Close a connection after what was said on it.
    Close(LinkKey),
    /// Send a datagram.
    Datagram(SocketAddrV4, Datagram),
    /// Connect to another supernode.
    Dial(SocketAddrV4),
    /// Say something to a supernode.
    Mesh(LinkKey, MeshMessage),
    /// Say something to a node.
    Node(LinkKey, Message),
}

/// A supernode.
#[derive(Debug)]
pub struct Supernode {
    config: SupernodeConfig,
    /// Names this supernode among the others as long as it lives.
    key: [u8; 32],
    rng: Rng,
    children: BTreeMap<LinkKey, Child>,
    index: Index<LinkKey>,
    ledger: Ledger,
    mates: BTreeMap<LinkKey, Mate>,
    /// Other supernodes, with when they were last heard of and when they were last dialled.
    known: BTreeMap<SocketAddrV4, (Instant, Option<Instant>)>,
    /// By which link things for a supernode go that is no mate.
    routes: BTreeMap<SocketAddrV4, LinkKey>,
    searches: BTreeMap<Guid, Search>,
    seen: Seen,
    /// Who waits to hear somebody's reputation.
    scores: VecDeque<Asking>,
    tick_at: Instant,
    outbox: VecDeque<SupernodeOutput>,
}

impl Supernode {
    /// A supernode that knows of others.
    pub fn new(
        now: Instant,
        config: SupernodeConfig,
        known: &[SocketAddrV4],
        mut rng: Rng,
    ) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        let mut new = Self {
            config,
            key,
            rng,
            children: BTreeMap::new(),
            index: Index::default(),
            ledger: Ledger::default(),
            mates: BTreeMap::new(),
            known: BTreeMap::new(),
            routes: BTreeMap::new(),
            searches: BTreeMap::new(),
            seen: Seen::default(),
            scores: VecDeque::new(),
            tick_at: now,
            outbox: VecDeque::new(),
        };
        known.iter().for_each(|addr| new.learn(now, *addr));
        new
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddrV4 {
        self.config.addr
    }

    /// Nodes that are connected.
    pub fn children(&self) -> usize {
        self.children.len()
    }

    /// Supernodes that are connected and have said who they are.
    pub fn mates(&self) -> usize {
        self.mates.values().filter(|mate| mate.addr.is_some()).count()
    }

    /// Files that can be found here.
    pub fn files(&self) -> usize {
        self.index.len()
    }

    /// What other nodes are worth.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// A datagram came. Pings are answered with less than they bring.
    pub fn handle_datagram(&mut self, from: SocketAddrV4, datagram: &Datagram) {
        if let Datagram::Ping { network } = datagram
            && crate::proto::fasttrack::is_network(network.as_bytes())
        {
            let answer = if self.has_room() {
                let children = self.children.len().min(255) as u8;
                Datagram::Pong { children, load: self.load(), network: NETWORK.to_owned() }
            } else {
                Datagram::Full
            };
            self.outbox.push_back(SupernodeOutput::Datagram(from, answer));
        }
    }

    /// A connection, to a node or to a supernode, is gone.
    pub fn handle_closed(&mut self, now: Instant, link: LinkKey) {
        if self.children.remove(&link).is_some() {
            self.index.remove_all(link);
            self.searches.retain(|_, search| !search.is_of(link));
        }
        self.scores.retain(|asking| asking.asker != link);
        if self.mates.remove(&link).is_some() {
            self.routes.retain(|_, over| *over != link);
            self.searches_lose(now, link);
        }
    }

    /// When to call [`Supernode::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        let next = self.searches.values().map(Search::due).min();
        self.tick_at.min(next.unwrap_or(Instant::FAR_FUTURE))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.searches_due(now);
        if now >= self.tick_at {
            self.tick_at = now + TICK;
            self.look_after_children(now);
            self.look_after_mates(now);
        }
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<SupernodeOutput> {
        self.outbox.pop_front()
    }

    fn has_room(&self) -> bool {
        self.children.len() < self.config.limits.children
    }

    /// Percent of its places that are taken.
    fn load(&self) -> u8 {
        let max = self.config.limits.children.max(1);
        (100 * self.children.len() / max).min(100) as u8
    }

    /// This supernode and others, as nodes are told of them; clients of old take what is said of the load for what is
    /// free.
    fn rows(&self, now: Instant) -> Vec<NodeRow> {
        const ROWS: usize = 50;
        let own = NodeRow { addr: self.config.addr, seen_min: 0, load: 100 - self.load() };
        let mut others: Vec<_> = self.known.iter().collect();
        others.sort_by_key(|(addr, (heard, _))| (std::cmp::Reverse(*heard), **addr));
        let others = others.into_iter().take(ROWS).map(|(addr, (heard, _))| NodeRow {
            addr: *addr,
            seen_min: (now.since(*heard).as_secs() / 60).min(255) as u8,
            load: 50,
        });
        std::iter::once(own).chain(others).collect()
    }

    fn say(&mut self, link: LinkKey, message: Message) {
        self.outbox.push_back(SupernodeOutput::Node(link, message));
    }

    fn tell(&mut self, link: LinkKey, message: MeshMessage) {
        self.outbox.push_back(SupernodeOutput::Mesh(link, message));
    }

    /// The mate that is a supernode, or by which it is reached, for what came from `via` and may pass `ttl` more.
    fn way_on(&self, supernode: SocketAddrV4, via: Option<LinkKey>, ttl: u8) -> Option<LinkKey> {
        if ttl == 0 || supernode == self.config.addr {
            return None;
        }
        let mut mates = self.mates.iter();
        let direct = mates.find(|(_, mate)| mate.addr == Some(supernode)).map(|(link, _)| *link);
        let way = direct.or_else(|| self.routes.get(&supernode).copied());
        way.filter(|way| Some(*way) != via)
    }
}
