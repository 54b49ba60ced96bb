//! The root of a servent: what comes in goes to the part that decides about it, what they want goes out.
//!
//! Call one `handle_*` or a command, then drain `poll_transmit` and `poll_event`, and call
//! [`Servent::handle_timeout`] at [`Servent::poll_timeout`].

mod gather;
mod greet;
mod reach;
mod relay;
#[cfg(test)]
mod tests;
mod upkeep;

use super::cache::{Cache, Question};
use super::link::{Link, LinkId, State};
use super::pongs::Pongs;
use super::queue::Fate;
use super::routes::Routes;
use super::search::Search;
use super::{
    HOSTS_MAX, LEAF_LINKS, LEAVES, LINGER, Library, Side, TTL_MAX, Table, ULTRAPEER_LINKS,
};
use crate::blame::Blame;
use crate::clock::Instant;
use crate::external::{External, Sighting};
use crate::proto::gnutella::{Bye, Descriptor, GnutellaError, Guid, Kind, QueryHit};
use crate::rng::Rng;
use crate::scope::Scope;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// How long it is remembered which link brought a query, and how many.
const QUERY_ROUTES: (Duration, usize) = (Duration::from_secs(600), 100_000);
/// How long it is remembered that an answer has passed, and how many: those that neighbours have kept come within seconds.
const ANSWERS: (Duration, usize) = (Duration::from_secs(60), 20_000);
/// How long it is remembered which link leads to a servent, and how many.
const PUSH_ROUTES: (Duration, usize) = (Duration::from_secs(3_600), 50_000);
/// Searches of our own and of leaves at once; beyond it a leaf's is dropped and ours refused.
const SEARCHES_MAX: usize = 200;

/// What a servent is in the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Asks through a few ultrapeers, relays nothing.
    Leaf,
    /// Relays for others and asks for its leaves.
    Ultrapeer,
}

/// How a servent behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it begins as.
    pub role: Role,
    /// Its role is the owner's wish: it becomes no leaf because a neighbour would like it.
    pub fixed: bool,
    /// Where it takes connections and serves files. Without an address it is what neighbours say, see [`Servent::hear`].
    pub listen: SocketAddrV4,
    /// It cannot be connected to.
    pub firewalled: bool,
    /// Where it takes part in swarms, at the same address; 0 if it does not.
    pub peer_port: u16,
    /// kbit/s that its answers state.
    pub speed: u32,
    /// Whose program it is, in answers.
    pub vendor: [u8; 4],
    /// The same, in handshakes.
    pub user_agent: String,
    /// Offers to pack streams, and accepts it.
    pub deflate: bool,
    /// Links that our queries may cross.
    pub ttl_max: u8,
    /// Asks one neighbour after another; otherwise all of them at once.
    pub dynamic: bool,
    /// Answers Ping from what it has heard; otherwise relays it.
    pub pong_caching: bool,
    /// Answers queries from what was answered a minute ago.
    pub query_caching: bool,
    /// Slots of the table that neighbours are given, as a power of two.
    pub table_log2: u32,
    /// Ultrapeers that it looks for.
    pub links: usize,
    /// Ultrapeers that it takes.
    pub links_max: usize,
    /// Leaves that it takes.
    pub leaves_max: usize,
    /// Asks its neighbours who is there every so often.
    pub refresh: Duration,
}

impl Config {
    /// What this role usually does.
    pub fn of(role: Role, listen: SocketAddrV4) -> Self {
        let leaf = role == Role::Leaf;
        Self {
            role,
            fixed: false,
            listen,
            firewalled: false,
            peer_port: 0,
            speed: 1_000,
            vendor: *b"GGLE",
            user_agent: "gaggle".into(),
            deflate: true,
            ttl_max: TTL_MAX,
            dynamic: true,
            pong_caching: true,
            query_caching: true,
            table_log2: 16,
            links: if leaf { LEAF_LINKS } else { ULTRAPEER_LINKS },
            links_max: if leaf { LEAF_LINKS } else { ULTRAPEER_LINKS },
            leaves_max: if leaf { 0 } else { LEAVES },
            refresh: Duration::from_secs(3),
        }
    }
}

/// Bytes for a neighbour.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// To whom.
    pub link: LinkId,
    /// What.
    pub bytes: Bytes,
    /// They belong to the packed part of the stream.
    pub packed: bool,
}

/// Why a link ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// The neighbour said Bye.
    Bye(u16, String),
    /// The connection broke.
    Lost,
    /// We ended it, and what we said.
    Ours(u16),
    /// It was refused, by the neighbour or by us.
    Refused(u16, String),
    /// What came was no Gnutella.
    Wire(GnutellaError),
    /// The handshake took too long.
    Timeout,
}

impl Why {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Wire(error) => error.blame(),
            Self::Ours(400..500) => Blame::Remote,
            Self::Ours(_) => Blame::Local,
            Self::Bye(..) | Self::Lost | Self::Refused(..) | Self::Timeout => Blame::Network,
        }
    }
}

/// Why a servent cannot be asked to connect to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoPush {
    /// Neither can connect to the other.
    #[error("both ends are firewalled: neither can connect to the other")]
    BothFirewalled,
    /// No link leads there: it has answered nothing lately, or who brought its answer has gone.
    #[error("no way leads to that servent any more")]
    NoWay,
}

/// What the owner of a servent should know or do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Please send what was given for it, then close the connection; nothing of it is known any more.
    Closed {
        /// Which.
        link: LinkId,
        /// Why.
        why: Why,
    },
    /// Please connect to this address, say two line ends and close: somebody there wants to know whether others can.
    ConnectBack(SocketAddrV4),
    /// Please connect to this address, and say [`Servent::connect`] or [`Servent::handle_unreachable`].
    Dial(SocketAddrV4),
    /// An answer to a search of ours.
    Hit {
        /// The search.
        search: Guid,
        /// Links that it has crossed.
        hops: u8,
        /// The neighbour that brought it; see [`super::Found::of`].
        from: IpAddr,
        /// What was found, and at whom.
        hit: QueryHit,
    },
    /// Descriptors flow from now on.
    Joined {
        /// On which link.
        link: LinkId,
        /// What the neighbour is.
        side: Side,
        /// What comes from now on is one zlib stream: unpack it before it is handed in.
        packed_in: bool,
        /// What goes from now on is one, too, and marked as such.
        packed_out: bool,
    },
    /// Somebody asks us to connect to him and say GIV.
    Push {
        /// The link that brought it.
        link: LinkId,
        /// To whom.
        addr: SocketAddrV4,
        /// The number of the file that he wants.
        index: u32,
    },
    /// A search of ours goes no further; answers may still come.
    Searched(Guid),
}

/// What was done and what was not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Descriptors sent, by kind: Ping, Pong, Query, QueryHit, Push and all others.
    pub sent: [u64; 6],
    /// Descriptors that had been here before.
    pub duplicates: u64,
    /// Answers that nobody here had asked for.
    pub unrouted: u64,
    /// Descriptors that had come too far.
    pub too_far: u64,
    /// Descriptors that were dropped for what is in them, or because there are too many.
    pub refused: u64,
    /// Queries that were answered from the cache.
    pub cached: u64,
    /// What found no place in a queue.
    pub crowded: u64,
}

/// A search of ours.
#[derive(Debug)]
struct Own {
    /// Files that count; what the ultrapeers of a leaf are told.
    kept: u32,
    /// The question as it goes out.
    payload: Bytes,
}

/// A servent.
#[derive(Debug)]
pub struct Servent {
    config: Config,
    role: Role,
    external: External,
    rng: Rng,
    guid: Guid,
    library: Library,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    queries: Routes<Question>,
    /// Answers that have passed, by their digests.
    answers: Routes,
    pings: Routes,
    pushes: Routes,
    pongs: Pongs,
    cache: Cache,
    searches: Vec<Search>,
    /// Searches of ours by their names.
    own: BTreeMap<Guid, Own>,
    hosts: VecDeque<SocketAddrV4>,
    dialling: BTreeSet<SocketAddrV4>,
    /// Whom we have connected to at his wish, and when.
    backs: BTreeMap<Ipv4Addr, Instant>,
    tick_at: Instant,
    /// The words of our files, for neighbours.
    words: Table,
    ready: BTreeSet<LinkId>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Servent {
    /// A servent without links. `guid` is what a Push is addressed to and should be kept from start to start.
    pub fn new(
        now: Instant,
        config: Config,
        guid: Option<Guid>,
        library: Library,
        mut rng: Rng,
    ) -> Self {
        let words = Table::of(config.table_log2, library.routed());
        Self {
            role: config.role,
            guid: guid.unwrap_or_else(|| Guid::random(&mut rng)),
            config,
            external: External::default(),
            rng,
            library,
            links: BTreeMap::new(),
            next_link: 0,
            queries: Routes::new(QUERY_ROUTES.0, QUERY_ROUTES.1),
            answers: Routes::new(ANSWERS.0, ANSWERS.1),
            pings: Routes::new(QUERY_ROUTES.0, QUERY_ROUTES.1),
            pushes: Routes::new(PUSH_ROUTES.0, PUSH_ROUTES.1),
            pongs: Pongs::default(),
            cache: Cache::default(),
            searches: Vec::new(),
            own: BTreeMap::new(),
            hosts: VecDeque::new(),
            dialling: BTreeSet::new(),
            backs: BTreeMap::new(),
            tick_at: now,
            words,
            ready: BTreeSet::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// What it is now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What is shared.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// What a Push to us is addressed to.
    pub fn guid(&self) -> Guid {
        self.guid
    }

    /// Where others can connect to us, as far as it is known.
    pub fn addr(&self) -> SocketAddrV4 {
        let ip = match self.external.address(false) {
            Some(IpAddr::V4(ip)) if self.config.listen.ip().is_unspecified() => ip,
            _ => *self.config.listen.ip(),
        };
        SocketAddrV4::new(ip, self.config.listen.port())
    }

    /// Somebody says where he sees us, or the system from which address it leads to him. Of no use to who listens at
    /// one address.
    pub fn hear(&mut self, now: Instant, sighting: Sighting) {
        self.external.hear(now, sighting);
    }

    /// Shares other files from now on. Neighbours learn of the words a few seconds later.
    pub fn share(&mut self, library: Library) {
        let words = Table::of(self.config.table_log2, library.routed());
        if words != self.words {
            self.links.values_mut().filter_map(Link::open_mut).for_each(|open| open.stale = true);
        }
        self.words = words;
        self.library = library;
    }

    /// A connection.
    pub fn link(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    /// Connections, in the order in which they were made.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(&id, link)| (id, link))
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Other servents, the one heard of last first.
    pub fn hosts(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.hosts.iter().rev().copied()
    }

    /// Remembers somebody to connect to, named by our own side.
    pub fn add_host(&mut self, addr: SocketAddrV4) {
        self.hosts.retain(|known| *known != addr);
        if self.hosts.len() >= HOSTS_MAX {
            self.hosts.pop_front();
        }
        self.hosts.push_back(addr);
    }

    /// Remembers an address that somebody at `from` named, if he may.
    fn hear_of(&mut self, from: IpAddr, addr: SocketAddrV4) {
        let good = addr.port() != 0 && addr != self.addr();
        if good && Scope::may_tell(from, IpAddr::V4(*addr.ip())) {
            self.add_host(addr);
        }
    }

    /// Bytes from the other end. Takes what it understands off `input`; what it leaves is the beginning of something.
    /// After [`Event::Joined`] with `packed_in` what is left must be unpacked and handed in again.
    pub fn handle_bytes(&mut self, now: Instant, id: LinkId, input: &mut BytesMut) {
        while let Some(link) = self.links.get_mut(&id) {
            let result = match link.state {
                State::Leaving(..) => {
                    input.clear();
                    return;
                }
                State::Open(_) => match Descriptor::decode(input) {
                    Ok(Some(descriptor)) => {
                        self.on_descriptor(now, id, descriptor);
                        continue;
                    }
                    Ok(None) => return,
                    Err(error) => Err(error),
                },
                _ => self.greet(now, id, input),
            };
            match result {
                Ok(greet::Heard::More) => {}
                Ok(greet::Heard::Wait) => return,
                Err(error) => {
                    input.clear();
                    let open = self.links.get(&id).is_some_and(|link| link.open().is_some());
                    let code = if matches!(error, GnutellaError::Length { kind: 0x80..=0x81, .. }) {
                        400
                    } else {
                        501
                    };
                    if open {
                        self.bye(now, id, code, "unreadable descriptor", Why::Wire(error));
                    } else {
                        self.close(id, Why::Wire(error));
                    }
                    return;
                }
            }
        }
        input.clear();
    }

    /// The connection is no more.
    pub fn handle_closed(&mut self, id: LinkId) {
        self.forget(id);
    }

    /// So many bytes of a link have left.
    pub fn handle_sent(&mut self, id: LinkId, bytes: usize) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.unsent = link.unsent.saturating_sub(bytes);
        if link.is_ready() {
            self.ready.insert(id);
        }
    }

    /// Bytes for a link, of those that have room.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(&id) = self.ready.first() {
            let link = self.links.get_mut(&id).filter(|link| link.is_ready());
            let Some((link, (bytes, message))) =
                link.and_then(|link| link.queue.pop().map(|next| (link, next)))
            else {
                self.ready.pop_first();
                continue;
            };
            link.unsent += bytes.len();
            let transmit = Transmit { link: id, bytes, packed: message && link.packs };
            self.settle(id);
            return Some(transmit);
        }
        None
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Puts a descriptor into the queue of a link.
    fn send(&mut self, now: Instant, id: LinkId, descriptor: &Descriptor) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.open().is_some()) else {
            return;
        };
        match link.queue.push(descriptor) {
            Fate::Queued => {
                let kind = match descriptor.header.kind {
                    Kind::PING => 0,
                    Kind::PONG => 1,
                    Kind::QUERY => 2,
                    Kind::QUERY_HIT => 3,
                    Kind::PUSH => 4,
                    _ => 5,
                };
                self.counters.sent[kind] += 1;
                if link.is_ready() {
                    self.ready.insert(id);
                }
            }
            Fate::Dropped => self.counters.crowded += 1,
            Fate::Overflow => {
                self.counters.crowded += 1;
                self.bye(now, id, 502, "send queue full", Why::Ours(502));
            }
        }
    }

    /// Ends a link with a word about it, which is still sent.
    fn bye(&mut self, now: Instant, id: LinkId, code: u16, reason: &str, why: Why) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let knows_bye = link.open().is_some_and(|open| open.peer.bye);
        if !knows_bye {
            self.close(id, why);
            return;
        }
        link.queue.clear();
        let text = Bye { code, reason: reason.into() };
        let guid = Guid::random(&mut self.rng);
        self.send(now, id, &Descriptor::new(guid, Kind::BYE, 1, text.encode()));
        self.leave(now, id, why);
    }

    /// What waits is still sent; then the connection may close.
    fn leave(&mut self, now: Instant, id: LinkId, why: Why) {
        if let Some(link) = self.links.get_mut(&id) {
            link.state = State::Leaving(now + LINGER, why);
            self.unlink(id);
            self.settle(id);
        }
    }

    /// A link that leaves is closed once nothing waits for it.
    fn settle(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id).filter(|link| link.queue.is_empty()) else { return };
        if let State::Leaving(_, why) = &link.state {
            let why = why.clone();
            self.close(id, why);
        }
    }

    /// Ends a link at once.
    fn close(&mut self, id: LinkId, why: Why) {
        if self.links.contains_key(&id) {
            self.forget(id);
            self.events.push_back(Event::Closed { link: id, why });
        }
    }

    fn forget(&mut self, id: LinkId) {
        self.links.remove(&id);
        self.ready.remove(&id);
        self.unlink(id);
    }

    /// Nobody searches for a leaf that has gone, nor names those whom a link led to.
    fn unlink(&mut self, id: LinkId) {
        self.cache.forget(id);
        self.searches.retain(|search| search.origin != super::search::Origin::Leaf(id));
    }

    /// Says Bye to everybody.
    pub fn shut_down(&mut self, now: Instant) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.bye(now, id, 200, "shutting down", Why::Ours(200));
        }
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Instant {
        let due = self.searches.iter().map(Search::due);
        due.min().unwrap_or(Instant::FAR_FUTURE).min(self.tick_at)
    }

    fn count(&self, side: Side) -> usize {
        self.links.values().filter(|link| link.side() == Some(side)).count()
    }

    /// Links to who relays, and those that may become some.
    fn relaying(&self) -> impl Iterator<Item = (LinkId, &super::link::Open)> {
        let open = self.links.iter().filter_map(|(&id, link)| Some((id, link.open()?)));
        open.filter(|(_, open)| open.peer.side != Side::Leaf)
    }

    fn leaves(&self) -> impl Iterator<Item = (LinkId, &super::link::Open)> {
        let open = self.links.iter().filter_map(|(&id, link)| Some((id, link.open()?)));
        open.filter(|(_, open)| open.peer.side == Side::Leaf)
    }
}
