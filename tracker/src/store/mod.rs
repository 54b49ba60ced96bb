//! Who is in which swarm, and whom an asker is told about.
//!
//! Decides admission, expiry, counts, the random choice of peers and the time of the next announce. Takes `now`
//! and a seeded rng; never touches a socket, a clock or a runtime. One mutex for each of [`SHARDS`] slices of the
//! hash space, so that any thread can serve any request from beginning to end.

mod ledger;
mod swarm;
#[cfg(test)]
mod tests;

use gaggle_core::clock::Instant;
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::announce::{Announce, Counts, Event, RetryIn, Terms};
use gaggle_core::rng::Rng;
use ledger::{Ledger, Source};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use swarm::{Asker, Known, Swarm};

/// Slices of the hash space, each behind a mutex of its own; a sweep cleans one of them.
pub const SHARDS: usize = 64;
/// A routine interval is drawn from `interval..=interval * 1.1`, so that a crowd that came together spreads out.
const JITTER_DIVISOR: u64 = 10;
/// A peer is forgotten when it has been silent for two intervals (with jitter) and a minute.
const SILENT_INTERVALS: u32 = 2;
const SILENT_GRACE: Duration = Duration::from_secs(60);

/// What the tracker asks of clients and grants them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Seconds between routine announces; jitter is added.
    pub interval: Duration,
    /// Clients shall not announce sooner than this.
    pub min_interval: Duration,
    /// Bounds on what strangers can make us remember.
    pub limits: Limits,
}

impl Default for Policy {
    /// 10 minutes, so that a newcomer who nobody dials is found soon; opentracker and chihaya say 30, aquatic 2.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(600),
            min_interval: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
}

/// Bounds on what strangers can make the tracker remember. All full, it holds roughly 500 MiB.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Swarms. A further one is refused until others expire.
    pub torrents: usize,
    /// Peers over all swarms. A further one is refused until others expire.
    pub peers: usize,
    /// Peers of one family in one swarm. A further one takes the place of one that has been silent for long.
    pub peers_per_torrent: usize,
    /// Peers over all swarms from one IPv4 address or one IPv6 /64 network. A further one is refused.
    pub peers_per_source: usize,
    /// Peers in one swarm from one IPv4 address or one IPv6 /64 network. A further one is refused, so that
    /// invented ports cannot crowd out the others.
    pub peers_per_source_in_torrent: usize,
    /// Peers in one answer when the asker does not say.
    pub want_default: usize,
    /// Peers in one answer at most.
    pub want_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            torrents: 500_000,
            peers: 2_000_000,
            peers_per_torrent: 50_000,
            peers_per_source: 10_000,
            peers_per_source_in_torrent: 256,
            want_default: 50,
            want_max: 200,
        }
    }
}

/// Which addresses an answer may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Families {
    /// The asker's only: a UDP answer has room for one kind.
    Own,
    /// The asker's first, then the other: it may well be reachable over both.
    Both,
}

/// What an asker is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Interval, counts and the asker's address.
    pub terms: Terms,
    /// Never the asker itself, never another seed for a seed.
    pub peers: Vec<(SocketAddr, PeerId)>,
}

/// Why an announce is not accepted; shown to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// [`Limits::torrents`] or [`Limits::peers`].
    #[error("tracker is full")]
    Full,
    /// Nobody could connect there.
    #[error("port must be 1 to 65535")]
    Port,
    /// [`Limits::peers_per_source_in_torrent`].
    #[error("too many peers of this torrent at your address")]
    SourceInTorrent,
    /// [`Limits::peers_per_source`].
    #[error("too many torrents from your address")]
    Source,
}

impl Refusal {
    /// When it may look different.
    pub fn retry_in(self) -> Option<RetryIn> {
        match self {
            Self::Port => None,
            Self::Full | Self::Source | Self::SourceInTorrent => {
                Some(RetryIn::After(Duration::from_secs(30 * 60)))
            }
        }
    }
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Swarms.
    pub torrents: usize,
    /// Peers over all swarms; an address counts once in each.
    pub peers: usize,
}

/// All swarms.
pub struct Store {
    policy: Policy,
    shards: Vec<Mutex<Shard>>,
    /// Locked only while a shard is locked, never the other way round.
    ledger: Mutex<Ledger>,
    next_sweep: AtomicUsize,
}

struct Shard {
    torrents: BTreeMap<InfoHash, Torrent>,
    rng: Rng,
}

/// One swarm in two families. It outlives its last peer by the expiry time, so that the completed count does; not
/// where half of the allowed swarms exist.
#[derive(Default)]
struct Torrent {
    v4: Swarm<6>,
    v6: Swarm<18>,
    completed: u32,
    heard_s: u32,
}

impl Store {
    /// An empty store.
    pub fn new(policy: Policy, mut rng: Rng) -> Self {
        let shard = |_| Mutex::new(Shard { torrents: BTreeMap::new(), rng: rng.fork() });
        Self {
            policy,
            shards: (0..SHARDS).map(shard).collect(),
            ledger: Mutex::default(),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// Remembers, refreshes or forgets a peer, and tells it about others.
    ///
    /// `from` is the address the request came from; nothing the asker says about its address is believed.
    //= BEP 3 §trackers
    pub fn announce(
        &self,
        now: Instant,
        from: IpAddr,
        ask: &Announce,
        families: Families,
    ) -> Result<Told, Refusal> {
        if ask.port == 0 {
            return Err(Refusal::Port);
        }
        let ip = from.to_canonical();
        let asker =
            Asker { addr: SocketAddr::new(ip, ask.port), id: ask.peer_id, now_s: whole_s(now) };
        let mut guard = self.shard(ask.info_hash);
        let shard = &mut *guard;
        if ask.event == Event::Stopped {
            let mut emptied = false;
            let counts = shard.torrents.get_mut(&ask.info_hash).map(|torrent| {
                let mut ledger = self.ledger();
                torrent.forget(asker.addr, &mut ledger);
                emptied = torrent.len() == 0 && !self.keeps_empty(&ledger);
                ledger.torrents -= usize::from(emptied);
                torrent.counts()
            });
            if emptied {
                shard.torrents.remove(&ask.info_hash);
            }
            return Ok(self.told(&mut shard.rng, ip, counts.unwrap_or_default(), Vec::new()));
        }
        self.admit(shard, &asker, ask)?;
        let Shard { torrents, rng } = shard;
        let torrent = torrents.get_mut(&ask.info_hash).expect("admitted just now");
        torrent.heard_s = asker.now_s;
        let want = ask.want.map_or(self.policy.limits.want_default, |want| want as usize);
        let want = want.min(self.policy.limits.want_max);
        let mut peers = Vec::with_capacity(want.min(torrent.len()));
        let choice =
            swarm::Choice { want, leeches_only: ask.left == 0, oldest_s: self.oldest_s(now) };
        torrent.choose(rng, &asker, families, choice, &mut peers);
        Ok(self.told(rng, ip, torrent.counts(), peers))
    }

    /// The size of one swarm; zeros for one that nobody has announced.
    //= BEP 48
    pub fn scrape(&self, now: Instant, hash: InfoHash) -> Counts {
        let mut shard = self.shard(hash);
        let Some(torrent) = shard.torrents.get_mut(&hash) else { return Counts::default() };
        torrent.expire_if_small(self.oldest_s(now), &mut self.ledger());
        torrent.counts()
    }

    /// Forgets the silent peers of one slice; a driver calls this every second or so.
    ///
    /// Between sweeps a peer that has expired is already left out of answers, though a big swarm still counts it.
    pub fn sweep(&self, now: Instant) {
        let oldest_s = self.oldest_s(now);
        let at = self.next_sweep.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = lock(&self.shards[at]);
        let mut ledger = self.ledger();
        shard.torrents.retain(|_, torrent| {
            torrent.expire(oldest_s, &mut ledger);
            let keep =
                torrent.len() > 0 || (torrent.heard_s >= oldest_s && self.keeps_empty(&ledger));
            ledger.torrents -= usize::from(!keep);
            keep
        });
    }

    /// How much is remembered.
    pub fn stats(&self) -> Stats {
        let ledger = self.ledger();
        Stats { torrents: ledger.torrents, peers: ledger.peers }
    }

    /// How long a silent peer is remembered.
    pub fn life(&self) -> Duration {
        let longest = self.policy.interval + self.policy.interval / JITTER_DIVISOR as u32;
        longest * SILENT_INTERVALS + SILENT_GRACE
    }

    /// Whether there is room to remember swarms without peers. They count against no source, so whoever opens swarms
    /// and leaves them at once must not fill the table.
    fn keeps_empty(&self, ledger: &Ledger) -> bool {
        ledger.torrents <= self.policy.limits.torrents / 2
    }

    /// Puts the asker into its swarm, making the swarm if need be.
    fn admit(
        &self,
        Shard { torrents, rng }: &mut Shard,
        asker: &Asker,
        ask: &Announce,
    ) -> Result<(), Refusal> {
        let limits = &self.policy.limits;
        let source = Source::of(asker.addr.ip());
        let mut ledger = self.ledger();
        let Some(torrent) = torrents.get_mut(&ask.info_hash) else {
            ledger.admit(source, limits, true)?;
            let mut torrent = Torrent::default();
            torrent.insert(asker, ask.left == 0);
            torrents.insert(ask.info_hash, torrent);
            return Ok(());
        };
        torrent.expire_if_small(self.oldest_s_at(asker.now_s), &mut ledger);
        if torrent.refresh(asker, ask) {
            return Ok(());
        }
        if torrent.count_from(source, asker.addr) >= limits.peers_per_source_in_torrent {
            return Err(Refusal::SourceInTorrent);
        }
        ledger.admit(source, limits, false)?;
        if torrent.family_len(asker.addr) >= limits.peers_per_torrent {
            torrent.evict(asker.addr, rng, &mut ledger);
        }
        torrent.insert(asker, ask.left == 0);
        Ok(())
    }

    fn told(
        &self,
        rng: &mut Rng,
        ip: IpAddr,
        counts: Counts,
        peers: Vec<(SocketAddr, PeerId)>,
    ) -> Told {
        let interval = self.policy.interval;
        let jitter = rng.below(interval.as_secs() / JITTER_DIVISOR + 1);
        let terms = Terms {
            interval: Some(interval + Duration::from_secs(jitter)),
            min_interval: Some(self.policy.min_interval),
            counts,
            external_ip: Some(ip),
            ..Terms::default()
        };
        Told { terms, peers }
    }

    fn shard(&self, hash: InfoHash) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(hash.0[0]) % SHARDS])
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Whoever was last heard before this second has expired.
    fn oldest_s(&self, now: Instant) -> u32 {
        self.oldest_s_at(whole_s(now))
    }

    fn oldest_s_at(&self, now_s: u32) -> u32 {
        now_s.saturating_sub(u32::try_from(self.life().as_secs()).unwrap_or(u32::MAX))
    }
}

impl Torrent {
    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn counts(&self) -> Counts {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Counts {
            seeds: count(self.v4.seeds() + self.v6.seeds()),
            leeches: count(self.v4.leeches() + self.v6.leeches()),
            completed: self.completed,
        }
    }

    fn insert(&mut self, asker: &Asker, is_seed: bool) {
        match asker.addr {
            SocketAddr::V4(_) => self.v4.insert(asker, is_seed),
            SocketAddr::V6(_) => self.v6.insert(asker, is_seed),
        }
    }

    /// Whether the peer was known; then it is up to date now.
    fn refresh(&mut self, asker: &Asker, ask: &Announce) -> bool {
        let known = match asker.addr {
            SocketAddr::V4(_) => self.v4.refresh(asker, ask),
            SocketAddr::V6(_) => self.v6.refresh(asker, ask),
        };
        self.completed = self.completed.saturating_add(u32::from(known == Known::JustCompleted));
        known != Known::No
    }

    fn forget(&mut self, addr: SocketAddr, ledger: &mut Ledger) {
        let gone = match addr {
            SocketAddr::V4(_) => self.v4.remove(addr),
            SocketAddr::V6(_) => self.v6.remove(addr),
        };
        ledger.release(gone);
    }

    fn evict(&mut self, newcomer: SocketAddr, rng: &mut Rng, ledger: &mut Ledger) {
        let gone = match newcomer {
            SocketAddr::V4(_) => self.v4.evict_silent(rng),
            SocketAddr::V6(_) => self.v6.evict_silent(rng),
        };
        ledger.release(gone);
    }

    fn family_len(&self, addr: SocketAddr) -> usize {
        if addr.is_ipv4() { self.v4.len() } else { self.v6.len() }
    }

    fn count_from(&self, source: Source, addr: SocketAddr) -> usize {
        if addr.is_ipv4() { self.v4.count_from(source) } else { self.v6.count_from(source) }
    }

    fn choose(
        &self,
        rng: &mut Rng,
        asker: &Asker,
        families: Families,
        choice: swarm::Choice,
        out: &mut Vec<(SocketAddr, PeerId)>,
    ) {
        let own_is_v4 = asker.addr.is_ipv4();
        for is_v4 in [own_is_v4, !own_is_v4] {
            let left = swarm::Choice { want: choice.want.saturating_sub(out.len()), ..choice };
            match is_v4 {
                true => self.v4.choose(rng, asker, left, out),
                false => self.v6.choose(rng, asker, left, out),
            }
            if families == Families::Own {
                break;
            }
        }
    }

    fn expire(&mut self, oldest_s: u32, ledger: &mut Ledger) {
        self.v4.expire(oldest_s, |source| ledger.release(Some(source)));
        self.v6.expire(oldest_s, |source| ledger.release(Some(source)));
    }

    /// Small swarms are exact at every moment; big ones wait for the sweep, so that no request costs O(n).
    fn expire_if_small(&mut self, oldest_s: u32, ledger: &mut Ledger) {
        if self.len() <= swarm::SMALL {
            self.expire(oldest_s, ledger);
        }
    }
}

fn whole_s(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

/// A panic elsewhere leaves counts that are at worst off by one; answering on is better than refusing all.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
