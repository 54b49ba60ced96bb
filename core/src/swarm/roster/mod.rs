//! Whom we could talk to: candidates and where they came from, when to dial them, which connections to admit,
//! whom never again.
//!
//! Addresses come from strangers, so everything here is bounded: candidates in all and per host, dials in all, per
//! host and per second. Never dials and never closes: it answers, and the caller acts.

mod dial;
mod priority;
#[cfg(test)]
mod tests;
mod timers;
mod trust;

pub use priority::canonical_priority;
pub use timers::{EXPLICIT_RETRY_MAX, FAR_FAILURES_MAX, FAR_RECONNECT, FAR_RETRY, NEAR_RETRIES};
pub(in crate::swarm) use trust::Standing;
pub use trust::{BANS_MAX, BANS_PER_HOST, BANS_PER_SHARED_HOST, DEPARTED_MAX, STRIKES_MAX};

use crate::blame::Blame;
use crate::clock::Instant;
use crate::id::PeerId;
use crate::rng::Rng;
use crate::scope::canonical;
use priority::Ourselves;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use trust::Trust;

/// Two connections between the same two peers, both younger than this, are taken as dialled across each other: the
/// one dialled by the higher peer id survives, at both ends. An older one always does.
pub const CROSSING: Duration = Duration::from_secs(10);
/// Own addresses remembered. At the bound the oldest is forgotten, and dialled once more.
pub const OWN_MAX: usize = 32;
/// Dials in progress toward one host.
pub const DIALLING_PER_HOST: usize = 4;
/// Failures in a row at one host, over all its ports, after which the whole host rests as a single address with so
/// many failures would. A list of a thousand ports of a victim costs it these few packets a minute.
pub const HOST_FAILURES_MAX: u32 = 8;
/// Share of the connections that dialling leaves to callers: a tenth.
pub const RESERVED_FOR_CALLERS: usize = 10;

/// Where an address came from. Later ones are dialled first, other things equal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// Another peer told us.
    Pex,
    /// The distributed hash table.
    Dht,
    /// It called us once and told where it listens.
    Incoming,
    /// Local service discovery.
    Lsd,
    /// A tracker.
    Tracker,
    /// An earlier run.
    Resume,
    /// The magnet link: never given up.
    Magnet,
    /// The user named it: never given up, and not shut out for its host.
    Explicit,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// They did.
    Incoming,
    /// We did.
    Outgoing,
}

/// What to do about a peer after a bad piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sentence {
    /// Close the connection; it is banned already.
    Ban,
    /// Give it whole pieces alone, until one passes.
    Parole,
}

/// A connection may stay.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Admission {
    /// Close this older connection to the same peer: they crossed, and the new one survives. The roster has
    /// forgotten the old one already.
    pub replaces: Option<SocketAddr>,
    /// It was on parole when it left.
    pub parole: bool,
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its address, host or peer id is banned.
    #[error("banned")]
    Banned,
    /// We are connected to that peer.
    #[error("already connected")]
    Duplicate,
    /// No room.
    #[error("all {0} connections are in use")]
    Full(usize),
    /// The torrent is private, and this address, which we dialled, came from no tracker.
    #[error("private torrent, and not of its tracker")]
    Private,
    /// It is us.
    #[error("our own address")]
    SelfConnection,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// It gave or took any piece data.
    pub useful: bool,
    /// Whose fault the end was; none if it just closed.
    pub fault: Option<Blame>,
    /// Neither side has anything left that the other wants.
    pub sated: bool,
}

/// Bounds of a roster. Zero connections means that nobody is dialled or admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RosterConfig {
    /// Connections of the torrent (Transmission: 50, qBittorrent: 100).
    pub connections_max: usize,
    /// Dials in progress.
    pub half_open_max: usize,
    /// Known addresses (libtorrent: 3000). At the bound a new one takes the place of one that failed, or of a
    /// lesser source; if there is none it is not taken.
    pub candidates_max: usize,
    /// Known addresses of one host, those that the user named not counted.
    pub candidates_per_host_max: usize,
    /// Dials per second, in the long run (Transmission: 18, libtorrent: 30).
    pub dials_per_s: u32,
    /// Dials that may be made at once at the start and after a pause (libtorrent: 30).
    pub dials_burst: u32,
    /// Whether ports below 1024 may be dialled, which no client listens on by itself.
    pub privileged_ports: bool,
}

impl Default for RosterConfig {
    fn default() -> Self {
        Self {
            connections_max: 100,
            half_open_max: 20,
            candidates_max: 3000,
            candidates_per_host_max: 64,
            dials_per_s: 20,
            dials_burst: 30,
            privileged_ports: true,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Connected,
    Dialling,
    Idle,
}

#[derive(Clone, Debug)]
struct Candidate {
    source: Source,
    state: State,
    /// Dials and connections in a row that gave nothing.
    failures: u32,
    retry_at: Instant,
    /// Who answered there the last time.
    id: Option<PeerId>,
    /// A tracker has named it.
    by_tracker: bool,
    /// Random order among equals.
    salt: u32,
}

#[derive(Clone, Debug)]
struct Connection {
    id: PeerId,
    direction: Direction,
    since: Instant,
    standing: Standing,
}

/// Everything at one IP address.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    candidates: usize,
    dialling: usize,
    failures: u32,
    rests_until: Instant,
}

/// Who could be a peer, who is one, and who never again. See the module's page.
#[derive(Clone, Debug)]
pub struct Roster {
    config: RosterConfig,
    our_id: PeerId,
    rng: Rng,
    candidates: BTreeMap<SocketAddr, Candidate>,
    hosts: BTreeMap<IpAddr, Host>,
    connections: BTreeMap<SocketAddr, Connection>,
    trust: Trust,
    own: VecDeque<SocketAddr>,
    ourselves: Ourselves,
    dialling: usize,
    /// When the dials made so far are paid for, at `dials_per_s`.
    dials_paid_at: Instant,
    /// No candidate is ready before this; found by the last search that found none.
    idle_until: Instant,
    wanted: bool,
    /// The torrent is private.
    trackers_only: bool,
}

impl Roster {
    /// A roster that knows nobody.
    pub fn new(config: RosterConfig, our_id: PeerId, rng: Rng) -> Self {
        Self {
            config,
            our_id,
            rng,
            candidates: BTreeMap::new(),
            hosts: BTreeMap::new(),
            connections: BTreeMap::new(),
            trust: Trust::default(),
            own: VecDeque::new(),
            ourselves: Ourselves::default(),
            dialling: 0,
            dials_paid_at: Instant::ZERO,
            idle_until: Instant::ZERO,
            wanted: true,
            trackers_only: false,
        }
    }

    /// Learns an address. True if it is new. One that was given up gets another chance when a source lists it
    /// again, but not sooner than its failures demand.
    pub fn add(&mut self, now: Instant, source: Source, addr: SocketAddr) -> bool {
        let addr = canonical(addr);
        if !self.may_be_dialled(source, addr) {
            return false;
        }
        self.idle_until = now;
        if let Some(known) = self.candidates.get_mut(&addr) {
            known.source = known.source.max(source);
            known.by_tracker |= source == Source::Tracker;
            let last = timers::failures_max(addr.ip()).saturating_sub(1);
            known.failures = known.failures.min(last);
            return false;
        }
        let host = self.hosts.get(&addr.ip()).copied().unwrap_or_default();
        let crowded =
            source != Source::Explicit && host.candidates >= self.config.candidates_per_host_max;
        if crowded
            || (self.candidates.len() >= self.config.candidates_max && !self.evict_for(source))
        {
            return false;
        }
        let salt = self.rng.next_u32();
        let new = Candidate {
            source,
            state: State::Idle,
            failures: 0,
            retry_at: now,
            id: None,
            by_tracker: source == Source::Tracker,
            salt,
        };
        self.candidates.insert(addr, new);
        self.hosts.entry(addr.ip()).or_default().candidates += 1;
        true
    }

    /// The handshake is done. Whether the connection may stay, and what it costs.
    ///
    /// For an incoming connection `addr` is where it comes from, which is not where it listens.
    pub fn connected(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
        id: PeerId,
    ) -> Result<Admission, Refusal> {
        let addr = canonical(addr);
        if direction == Direction::Outgoing {
            self.set_state(addr, State::Idle);
            if let Some(host) = self.hosts.get_mut(&addr.ip()) {
                host.failures = 0;
                host.rests_until = Instant::ZERO;
            }
            if let Some(candidate) = self.candidates.get_mut(&addr) {
                candidate.id = Some(id);
            }
        }
        let verdict = self.admit(now, addr, direction, id);
        match verdict {
            Ok(Admission { replaces, .. }) => {
                let old = replaces.and_then(|old| self.connections.remove(&old));
                let standing = match old {
                    Some(old) => old.standing,
                    None => self.trust.recall(addr, id),
                };
                if let Some(old) = replaces {
                    self.set_state(old, State::Idle);
                }
                self.connections.insert(addr, Connection { id, direction, since: now, standing });
                self.set_state(addr, State::Connected);
                return Ok(Admission { replaces, parole: standing.parole });
            }
            Err(Refusal::SelfConnection) => {
                if direction == Direction::Outgoing {
                    self.is_ours(addr);
                }
            }
            Err(Refusal::Banned) => self.forget(addr),
            Err(_) => {
                // While that peer is connected its address rests anyway.
                let wait = timers::retry_after(addr.ip(), 1);
                if direction == Direction::Outgoing
                    && let Some(candidate) = self.candidates.get_mut(&addr)
                {
                    candidate.retry_at = now + wait;
                }
            }
        }
        verdict
    }

    /// A peer told at which port it listens (extension handshake): one more address, which is not dialled while
    /// that peer is connected.
    //= BEP 10 §handshake message (p)
    pub fn listens_on(&mut self, now: Instant, addr: SocketAddr, port: u16) {
        let addr = canonical(addr);
        let Some(id) = self.connections.get(&addr).map(|peer| peer.id) else { return };
        let mut listens = addr;
        listens.set_port(port);
        self.add(now, Source::Incoming, listens);
        if let Some(candidate) = self.candidates.get_mut(&listens) {
            candidate.id = Some(id);
        }
    }

    /// A connection ended, after it was admitted.
    pub fn disconnected(&mut self, now: Instant, addr: SocketAddr, outcome: Outcome) {
        let addr = canonical(addr);
        self.set_state(addr, State::Idle);
        self.idle_until = now; // its other addresses are free again, too
        let Some(mut peer) = self.connections.remove(&addr) else { return };
        if outcome.fault == Some(Blame::Remote) {
            peer.standing.strikes += 1;
        }
        let strikes = peer.standing.strikes;
        self.trust.depart(addr, peer.id, peer.standing);
        if strikes >= STRIKES_MAX {
            self.ban(addr);
        } else if outcome.sated {
            if let Some(candidate) = self.candidates.get_mut(&addr) {
                candidate.retry_at = now + timers::SATED_RETRY;
            }
        } else if outcome.useful && outcome.fault != Some(Blame::Remote) {
            if let Some(candidate) = self.candidates.get_mut(&addr) {
                candidate.failures = 0;
                candidate.retry_at = now + timers::reconnect_after(addr.ip());
            }
        } else {
            self.failed(now, addr);
        }
        self.prune_host(addr.ip());
    }

    /// Remembers an address as our own: never dialled, never learned.
    pub fn is_ours(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        self.forget(addr);
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(addr);
    }

    /// From now on only peers that a tracker named are dialled, and those that the user did: all others are
    /// forgotten, and no more are learned. Whoever calls us may stay.
    //= BEP 27
    pub fn keep_to_trackers(&mut self) {
        self.trackers_only = true;
        let mut strangers = Vec::new();
        for (&addr, candidate) in &mut self.candidates {
            match candidate.source {
                Source::Explicit => {}
                _ if candidate.by_tracker => candidate.source = Source::Tracker,
                _ => strangers.push(addr),
            }
        }
        strangers.into_iter().for_each(|addr| self.forget(addr));
    }

    /// Whether the address is among the candidates.
    pub fn knows(&self, addr: SocketAddr) -> bool {
        self.candidates.contains_key(&canonical(addr))
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many dials are in progress.
    pub const fn dialling(&self) -> usize {
        self.dialling
    }

    /// How many addresses are known, those given up included.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// Addresses worth remembering for another run: those that answered, or did not fail yet.
    pub fn known(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.candidates
            .iter()
            .filter(|(_, candidate)| candidate.failures == 0)
            .map(|(addr, _)| *addr)
    }

    fn may_be_dialled(&self, source: Source, addr: SocketAddr) -> bool {
        let ip = addr.ip();
        let nonsense =
            addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip);
        let privileged =
            addr.port() < 1024 && !self.config.privileged_ports && source != Source::Explicit;
        let banned = match source {
            Source::Explicit => self.trust.is_banned_addr(addr),
            _ => self.trust.is_banned(addr),
        };
        let foreign = self.trackers_only && !matches!(source, Source::Tracker | Source::Explicit);
        !nonsense && !privileged && !banned && !foreign && !self.own.contains(&addr)
    }

    fn admit(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
        id: PeerId,
    ) -> Result<Admission, Refusal> {
        if id == self.our_id {
            return Err(Refusal::SelfConnection);
        }
        let named = self
            .candidates
            .get(&addr)
            .is_some_and(|candidate| candidate.source == Source::Explicit);
        let shut_out =
            if named { self.trust.is_banned_addr(addr) } else { self.trust.is_banned(addr) };
        if shut_out || self.trust.is_banned_id(id) {
            return Err(Refusal::Banned);
        }
        // A dial that was under way when the torrent turned out to be private.
        let dialled = direction == Direction::Outgoing;
        if self.trackers_only && dialled && !self.candidates.contains_key(&addr) {
            return Err(Refusal::Private);
        }
        if self.connections.contains_key(&addr) {
            return Err(Refusal::Duplicate);
        }
        if let Some((&other, peer)) = self.connections.iter().find(|(_, peer)| peer.id == id) {
            let crossing = peer.direction != direction && now.since(peer.since) < CROSSING;
            let ours_wins = self.our_id > id;
            let new_wins = ours_wins == (direction == Direction::Outgoing);
            if !crossing || !new_wins {
                return Err(Refusal::Duplicate);
            }
            return Ok(Admission { replaces: Some(other), parole: false });
        }
        if self.connections.len() >= self.config.connections_max {
            return Err(Refusal::Full(self.config.connections_max));
        }
        Ok(Admission::default())
    }

    fn set_state(&mut self, addr: SocketAddr, state: State) {
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        let (was, is) = (candidate.state == State::Dialling, state == State::Dialling);
        candidate.state = state;
        let host = self.hosts.entry(addr.ip()).or_default();
        if was && !is {
            self.dialling -= 1;
            host.dialling -= 1;
            self.idle_until = Instant::ZERO; // another one of this host may have waited for it
        } else if is && !was {
            self.dialling += 1;
            host.dialling += 1;
        }
    }

    /// Drops a candidate.
    fn forget(&mut self, addr: SocketAddr) {
        self.set_state(addr, State::Idle);
        if self.candidates.remove(&addr).is_some() {
            if let Some(host) = self.hosts.get_mut(&addr.ip()) {
                host.candidates -= 1;
            }
            self.prune_host(addr.ip());
        }
    }

    /// Hosts are remembered as long as there is a candidate; so the table is bounded by the candidates.
    fn prune_host(&mut self, ip: IpAddr) {
        if self.hosts.get(&ip).is_some_and(|host| host.candidates == 0) {
            self.hosts.remove(&ip);
        }
    }

    /// Makes room for an address of this source: drops the one that failed most, or comes from a lesser source.
    fn evict_for(&mut self, source: Source) -> bool {
        let idle = |(addr, other): (&SocketAddr, &Candidate)| {
            let weaker = other.failures > 0 || other.source < source;
            (other.state == State::Idle && other.source != Source::Explicit && weaker).then(|| {
                let least = Reverse((other.source, self.priority(*addr)));
                (other.failures, least, *addr)
            })
        };
        let worst = self.candidates.iter().filter_map(idle).max();
        if let Some((.., addr)) = worst {
            self.forget(addr);
        }
        worst.is_some()
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}
