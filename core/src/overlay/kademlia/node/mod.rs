//! The root of a DHT node: what comes in goes to the part that decides about it, what they want goes out.
//!
//! Call one `handle_*` or a command, then drain `poll_transmit` (or `poll_message`) and `poll_event`, and call
//! [`Node::handle_timeout`] at [`Node::poll_timeout`].

mod ask;
mod search;
mod serve;
mod status;
mod storing;
#[cfg(test)]
mod tests;
mod upkeep;

use super::address::plausible;
use super::id::id_for;
use super::items::Items;
use super::limits::{Limits, Pacer, ReplyBudget, Sources};
use super::lookup::{Goal, Lookup, LookupId, LookupPolicy};
use super::peers::{Peers, Terms};
use super::recent::Recent;
use super::rtt::RoundTrips;
use super::table::{Table, WIDTH};
use super::tokens::Tokens;
use crate::clock::Instant;
use crate::external::{External, Sighting};
use crate::id::{InfoHash, NodeId};
use crate::proto::krpc::{ClientTag, Contact, ErrorCode, Filter, Item, Message, Put, Salt};
use crate::rng::Rng;
use crate::scope::Scope;
use ask::{Open, Purpose};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use storing::Storing;

pub use status::{Counters, SideStatus, Status, Why};

/// Nodes that wait to be asked for the first time; further ones are forgotten.
const SUGGESTED_MAX: usize = 400;
/// Of them, and of questions about them under way, those of one address; further ones are forgotten. One host seldom runs
/// two nodes, and a long list must not aim us at the ports of one.
const SUGGESTED_OF_ONE_MAX: usize = 2;
/// Nodes in a snapshot; half of them of each family, as far as there are so many.
const SNAPSHOT_MAX: usize = 400;

/// Which of the two networks a node takes part in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Families {
    /// That of IPv4.
    pub v4: bool,
    /// That of IPv6.
    pub v6: bool,
}

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where there is a socket.
    pub families: Families,
    /// Asks, but answers nothing: for who cannot be reached, or pays by the byte.
    //= BEP 43
    pub read_only: bool,
    /// What strangers may cost, and how fast we go.
    pub limits: Limits,
    /// Places of the first bucket of a table, see [`super::places`].
    pub table_width: usize,
    /// What is stored.
    pub terms: Terms,
    /// How lookups run.
    pub policy: LookupPolicy,
    /// Nodes to ask when nobody else is known. There are none unless somebody names them.
    pub bootstrap: Vec<SocketAddr>,
    /// What others may see of our program.
    pub version: Option<ClientTag>,
    /// Whether it looks for neighbours and sees who is still there of its own accord; not for a single lookup.
    pub upkeep: bool,
    /// Whether the id follows the address that others see us at.
    //= BEP 42
    pub bind_id: bool,
    /// Where our sockets of IPv4 and of IPv6 are bound. A first id fits that address if it is good for everybody:
    /// others will see us there, and an id that changes later is known to some by the old one for a while.
    pub bound: [Option<IpAddr>; 2],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            families: Families { v4: true, v6: false },
            read_only: false,
            limits: Limits::default(),
            table_width: WIDTH,
            terms: Terms::default(),
            policy: LookupPolicy::default(),
            bootstrap: Vec::new(),
            version: None,
            upkeep: true,
            bind_id: true,
            bound: [None; 2],
        }
    }
}

/// What a node should remember until its next start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Our id among the nodes of IPv4.
    pub id_v4: Option<NodeId>,
    /// Our id among the nodes of IPv6.
    pub id_v6: Option<NodeId>,
    /// Nodes that answered last time they were asked, the nearest first.
    pub nodes: Vec<Contact>,
}

/// Names a ping of one node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PingId(pub u64);

/// How a lookup ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The closest that answered, the closest first; at most [`super::K`].
    pub closest: Vec<Contact>,
    /// Questions it took.
    pub asked: u32,
    /// How many of them were answered before the end.
    pub answered: u32,
    /// Peers that were named, with repetitions.
    pub peers: u32,
    /// Nodes that had the newest item before the end. An immutable one is not looked for any further.
    pub copies: u32,
    /// How long it took.
    pub took: Duration,
}

/// What the owner of a node should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A lookup is over; an announce or a put goes on from here.
    Done {
        /// Which.
        lookup: LookupId,
        /// What it found.
        found: Found,
    },
    /// Others agree on the address that they see us at.
    External(IpAddr),
    /// An item that was asked for: genuine, and newer than all that this lookup has brought before.
    Item {
        /// The lookup.
        lookup: LookupId,
        /// Who has it; `None` if it is stored here.
        from: Option<SocketAddr>,
        /// The item.
        item: Box<Item>,
    },
    /// Peers of a swarm that was asked for. Those of late answers may come after `Done`.
    Peers {
        /// The lookup.
        lookup: LookupId,
        /// Who named them; `None` if they had announced themselves to us.
        from: Option<SocketAddr>,
        /// Of one family.
        peers: Vec<SocketAddr>,
    },
    /// How large a swarm is that was asked for, as far as one node knows, or this one.
    Scraped {
        /// The lookup.
        lookup: LookupId,
        /// Who has everything.
        seeds: Filter,
        /// Who has not.
        leeches: Filter,
    },
    /// A ping was answered, or not.
    Pong {
        /// Which.
        ping: PingId,
        /// Who was asked.
        addr: SocketAddr,
        /// The id and the round trip; `None` after silence.
        answer: Option<(NodeId, Duration)>,
    },
    /// An announce or a put is over.
    Stored {
        /// The lookup that led to it.
        lookup: LookupId,
        /// Nodes that have stored it.
        stored: u32,
        /// The highest of the numbers that others refused it with: those above 300 say what is wrong with a put.
        refused: Option<ErrorCode>,
    },
}

/// One of the two networks as seen from here.
#[derive(Debug)]
struct Side {
    active: bool,
    table: Table,
    peers: Peers,
    items: Items,
    /// When to look for our neighbours again.
    bootstrap_at: Instant,
    bootstrap_wait: Duration,
    bootstrapping: Option<LookupId>,
}

/// Index into [`Node::sides`].
const fn side_of(addr: &SocketAddr) -> usize {
    addr.is_ipv6() as usize
}

/// A node of the DHT.
#[derive(Debug)]
pub struct Node {
    config: Config,
    rng: Rng,
    tokens: Tokens,
    sources: Sources,
    budget: ReplyBudget,
    pacer: Pacer,
    recent: Recent,
    trips: RoundTrips,
    /// IPv4, IPv6.
    sides: [Side; 2],
    external: External,
    open: BTreeMap<u32, Open>,
    /// When something is due about which question.
    due: BTreeSet<(Instant, u32)>,
    lookups: BTreeMap<LookupId, Lookup>,
    /// Announces and puts under way.
    storing: BTreeMap<LookupId, Storing>,
    /// Nodes to ask whether they are there, some with the id that they had.
    suggested: VecDeque<(Option<NodeId>, SocketAddr)>,
    next_id: u64,
    /// A lookup waits for the pacer.
    paced: bool,
    probe_at: Instant,
    probe_wait: Duration,
    heard_at: Option<Instant>,
    outbox: VecDeque<(SocketAddr, Message)>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Node {
    /// A node that begins to look for its neighbours as soon as it is woken.
    pub fn new(now: Instant, config: Config, snapshot: &Snapshot, mut rng: Rng) -> Self {
        let active = [config.families.v4, config.families.v6];
        let ids = [snapshot.id_v4, snapshot.id_v6];
        let sides = std::array::from_fn(|i| {
            let global = |ip: &IpAddr| config.bind_id && Scope::of(*ip) == Some(Scope::Global);
            let id = ids[i].unwrap_or_else(|| match config.bound[i].filter(global) {
                Some(ip) => id_for(ip, &mut rng),
                None => NodeId::random(&mut rng),
            });
            Side {
                active: active[i],
                table: Table::new(id, config.table_width),
                peers: Peers::new(id, config.terms),
                items: Items::new(id, config.terms),
                bootstrap_at: now,
                bootstrap_wait: upkeep::BOOTSTRAP_WAIT_MIN,
                bootstrapping: None,
            }
        });
        let mut new = Self {
            tokens: Tokens::new(now, rng.fork()),
            sources: Sources::new(&mut rng),
            budget: ReplyBudget::default(),
            pacer: Pacer::default(),
            recent: Recent::default(),
            trips: RoundTrips::new(),
            config,
            rng,
            sides,
            external: External::default(),
            open: BTreeMap::new(),
            due: BTreeSet::new(),
            lookups: BTreeMap::new(),
            storing: BTreeMap::new(),
            suggested: VecDeque::new(),
            next_id: 0,
            paced: false,
            probe_at: now,
            probe_wait: upkeep::PROBE_WAIT_MIN,
            heard_at: None,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        };
        for node in snapshot.nodes.iter().take(SNAPSHOT_MAX) {
            new.queue(Some(node.id), node.addr);
        }
        new
    }

    /// Our id in the network of IPv4, or in that of IPv6.
    pub fn id(&self, v6: bool) -> NodeId {
        self.sides[usize::from(v6)].table.own()
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
    }

    /// Looks for peers of a swarm; one lookup for each active network. Those that are stored here come first: in a
    /// network of two nodes there is nobody else to know them.
    pub fn lookup_peers(&mut self, now: Instant, swarm: InfoHash) -> Vec<LookupId> {
        self.start_all(now, &Goal::Peers(swarm), swarm.into())
    }

    /// Looks for peers of a swarm and then joins it. `port` is where we take connections; `None` means at the port
    /// that others see our datagrams come from.
    pub fn announce(
        &mut self,
        now: Instant,
        swarm: InfoHash,
        port: Option<u16>,
        seed: bool,
    ) -> Vec<LookupId> {
        self.start_all(now, &Goal::Announce { swarm, port, seed }, swarm.into())
    }

    /// Looks for the item at a target: an immutable one that has this hash, or the newest of a mutable one whose owner and
    /// salt lead there. One lookup for each active network; what is stored here comes first.
    //= BEP 44 §get message
    pub fn get_item(&mut self, now: Instant, target: NodeId, salt: &Salt) -> Vec<LookupId> {
        self.start_all(now, &Goal::Get(salt.clone()), target)
    }

    /// Stores an item at the nodes closest to its target, for as long as they keep it; whoever wants it to stay puts it
    /// again every hour. The condition is told only to nodes that have something there.
    //= BEP 44 §put messages
    pub fn put_item(&mut self, now: Instant, put: Put) -> Vec<LookupId> {
        let target = put.target();
        self.start_all(now, &Goal::Put(Box::new(put)), target)
    }

    /// Asks how large a swarm is: one lookup for each active network. A filter that comes is hearsay; whoever likes can say
    /// that there are thousands.
    //= BEP 33 §scrape
    pub fn scrape(&mut self, now: Instant, swarm: InfoHash) -> Vec<LookupId> {
        let lookups = self.start_all(now, &Goal::Scrape(swarm), swarm.into());
        let active = self.sides.iter().filter(|side| side.active);
        for (side, &lookup) in active.zip(&lookups) {
            if let Some((seeds, leeches)) = side.peers.filters(now, swarm) {
                // Before the end of a lookup that has nobody to ask.
                self.events.push_front(Event::Scraped { lookup, seeds, leeches });
            }
        }
        lookups
    }

    /// Looks for the nodes closest to any id.
    pub fn find_nodes(&mut self, now: Instant, target: NodeId) -> Vec<LookupId> {
        self.start_all(now, &Goal::Nodes, target)
    }

    /// Ends a lookup, and the announce or put that it is for, without a word: no further question of it is sent,
    /// nothing is stored, and no event tells of it. Questions that are already out still teach the table who is there.
    pub fn cancel(&mut self, now: Instant, id: LookupId) {
        self.abandon(now, id);
    }

    /// Asks one node whether it is there.
    pub fn ping(&mut self, now: Instant, addr: SocketAddr) -> PingId {
        let ping = PingId(self.fresh_id());
        self.send_ping(now, addr, None, Purpose::Ping(ping));
        ping
    }

    /// Somebody said that there is a node: a torrent, a peer with its PORT message, a magnet link. It is asked soon,
    /// unless no host can have this address or more of the same address wait already.
    pub fn suggest(&mut self, now: Instant, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if self.queue(None, addr) {
            self.probe_at = self.probe_at.min(now);
        }
    }

    /// Adds nodes to ask when nobody else is known: looking their names up may have taken a while.
    pub fn add_bootstrap(&mut self, addrs: &[SocketAddr]) {
        for addr in addrs {
            if addr.port() != 0 && !self.config.bootstrap.contains(addr) {
                self.config.bootstrap.push(*addr);
            }
        }
    }

    /// Whether there is nobody to ask: nobody in a table, nobody suggested, nobody to begin with.
    pub fn is_alone(&self) -> bool {
        let nobody = self.sides.iter().all(|side| side.table.is_empty());
        nobody && self.suggested.is_empty() && self.config.bootstrap.is_empty()
    }

    /// Lets a node wait to be asked for the first time. Returns whether it does so from now on.
    fn queue(&mut self, id: Option<NodeId>, addr: SocketAddr) -> bool {
        if !self.sides[side_of(&addr)].active || !plausible(&addr) {
            return false;
        }
        let waiting = self.suggested.iter().map(|(_, addr)| *addr);
        let asked = self.open.values().filter(|open| open.purpose == Purpose::Probe);
        let same: Vec<SocketAddr> = waiting
            .chain(asked.map(|open| open.to))
            .filter(|have| have.ip() == addr.ip())
            .collect();
        let wanted = !same.contains(&addr)
            && same.len() < SUGGESTED_OF_ONE_MAX
            && self.suggested.len() < SUGGESTED_MAX;
        if wanted {
            self.suggested.push_back((id, addr));
        }
        wanted
    }

    /// Somebody outside of the DHT says where he sees us. Every sighting is one vote, those of other nodes like his;
    /// when enough agree, the id follows.
    //= BEP 42
    pub fn handle_sighting(&mut self, now: Instant, sighting: Sighting) {
        self.vote(now, sighting);
    }

    /// Notes a node that is known to be there and to have this id, as if it had answered.
    pub fn vouch(&mut self, now: Instant, contact: Contact, rtt: Duration) {
        self.sides[side_of(&contact.addr)].table.answered(now, contact, rtt);
    }

    /// Begins to look for our neighbours now, whatever was tried before.
    pub fn bootstrap(&mut self, now: Instant) {
        for side in &mut self.sides {
            side.bootstrap_at = now;
            side.bootstrap_wait = upkeep::BOOTSTRAP_WAIT_MIN;
        }
    }

    /// What to keep for the next start.
    pub fn snapshot(&self) -> Snapshot {
        let id = |side: &Side| side.active.then(|| side.table.own());
        let [v4, v6] = &self.sides;
        let half = SNAPSHOT_MAX / 2;
        let [mut nodes, mut nodes6] = [v4, v6].map(|side| side.table.worth_keeping(SNAPSHOT_MAX));
        // What one family has not of its half is free for the other.
        let keep = SNAPSHOT_MAX - nodes6.len().min(half);
        nodes.truncate(keep);
        nodes6.truncate(SNAPSHOT_MAX - nodes.len());
        nodes.append(&mut nodes6);
        Snapshot { id_v4: id(v4), id_v6: id(v6), nodes }
    }

    /// The next message to send, and where to.
    #[must_use]
    pub fn poll_message(&mut self) -> Option<(SocketAddr, Message)> {
        self.outbox.pop_front()
    }

    /// The same as a datagram.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.poll_message().map(|(to, message)| (to, message.encode()))
    }

    /// The next thing to know.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn start_all(&mut self, now: Instant, goal: &Goal, target: NodeId) -> Vec<LookupId> {
        let sides = (0..2).filter(|&side| self.sides[side].active).collect::<Vec<_>>();
        sides.into_iter().map(|side| self.start(now, side, goal.clone(), target)).collect()
    }
}
