//! A world: hosts, what happens to them, and the questions that a test asks.

use super::events::{Agenda, Happening};
use super::host::{Host, HostId, PORT};
use super::oracles::Oracle;
use super::role::{Setup, TorrentSpec};
use super::rounds::Rounds;
use super::stream::{Conn, Link, Way};
use super::trace::{Fact, Trace};
use super::tracker::Tracker;
use crate::bitfield::Bitfield;
use crate::blame::Blame;
use crate::clock::Instant;
use crate::rng::Rng;
use crate::swarm::roster::RosterConfig;
use crate::swarm::torrent::{Event, PeerStatus, Status, Torrent, TorrentConfig};
use std::time::Duration;

/// How a run ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The time was up first.
    Deadline,
    /// Nothing was left that could ever happen.
    Idle,
    /// What was waited for has come.
    Reached,
    /// An oracle said no.
    Violated {
        /// Its name.
        oracle: &'static str,
        /// What it saw.
        why: String,
    },
}

/// A whole network on virtual time.
pub struct World {
    pub(super) now: Instant,
    pub(super) link: Link,
    pub(super) rng: Rng,
    pub(super) agenda: Agenda,
    pub(super) hosts: Vec<Host>,
    pub(super) conns: Vec<Conn>,
    pub(super) tracker: Tracker,
    pub(super) trace: Trace,
    pub(super) rounds: Rounds,
    pub(super) broken: Option<(&'static str, String)>,
    plan: Vec<(Step, Vec<HostId>)>,
    oracles: Vec<(&'static str, Oracle)>,
    same_instant: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Crash,
    FillDisk,
    Leave,
    Restart,
}

/// Steps at one instant beyond which time is said to stand still: two machines feed each other without end.
const SAME_INSTANT_MAX: u32 = 2_000_000;
/// After a crash the others notice between this and twice this.
const CRASH_NOTICED: Duration = Duration::from_secs(30);

impl World {
    /// An empty world. The seed decides everything that is left to chance.
    pub fn new(seed: u64, link: Link) -> Self {
        Self {
            now: Instant::ZERO,
            link,
            rng: Rng::seeded(seed),
            agenda: Agenda::default(),
            hosts: Vec::new(),
            conns: Vec::new(),
            tracker: Tracker::default(),
            trace: Trace::default(),
            rounds: Rounds::default(),
            broken: None,
            plan: Vec::new(),
            oracles: Vec::new(),
            same_instant: 0,
        }
    }

    /// Adds an actor, which starts now.
    pub fn spawn(&mut self, setup: impl Into<Setup>, torrent: &TorrentSpec) -> HostId {
        let id = HostId(self.hosts.len() as u32);
        let setup = setup.into();
        let lines = setup.lines(&self.link);
        let rng = self.rng.fork();
        self.hosts.push(Host::new(setup, torrent.clone(), lines, rng));
        self.restart(&[id]);
        id
    }

    /// Adds several of the same kind.
    pub fn spawn_many(
        &mut self,
        count: usize,
        setup: impl Into<Setup>,
        torrent: &TorrentSpec,
    ) -> Vec<HostId> {
        let setup = setup.into();
        (0..count).map(|_| self.spawn(setup.clone(), torrent)).collect()
    }

    /// Something that happens at a time counted from the world's beginning.
    pub fn at(&mut self, time: Duration) -> Plan<'_> {
        Plan { world: self, at: Instant::ZERO + time }
    }

    /// Checks this after every step, for the hosts that it touched.
    pub fn always(&mut self, name: &'static str, oracle: Oracle) {
        self.oracles.push((name, oracle));
    }

    /// Runs until `reached` holds, but not beyond `deadline` (counted from the world's beginning).
    pub fn run_until(&mut self, deadline: Duration, reached: impl Fn(&Self) -> bool) -> End {
        let deadline = Instant::ZERO + deadline;
        loop {
            if let Some((oracle, why)) = self.broken.clone() {
                return End::Violated { oracle, why };
            }
            if reached(self) {
                return End::Reached;
            }
            match self.agenda.next_at() {
                None => return End::Idle,
                Some(at) if at > deadline => {
                    self.now = self.now.max(deadline);
                    return End::Deadline;
                }
                Some(_) => self.step(),
            }
        }
    }

    /// Power failure: it says nothing to anybody and forgets what was not durable.
    pub fn crash(&mut self, hosts: &[HostId]) {
        for &id in hosts {
            if self.host(id).is_up() {
                let now = self.now;
                let host = self.host_mut(id);
                host.disk.crash(now);
                host.crashed = true;
                self.stop(id);
                self.trace.note(now, id, Fact::Left { crashed: true });
            }
        }
    }

    /// Ends the program properly: connections are closed, the tracker is told.
    pub fn leave(&mut self, hosts: &[HostId]) {
        for &id in hosts {
            if self.host(id).is_up() {
                self.host_mut(id).disk.stop();
                self.host_mut(id).crashed = false;
                let torrent = self.host(id).torrent.hash;
                self.tracker.stopped(torrent, id);
                self.stop(id);
                self.trace.note(self.now, id, Fact::Left { crashed: false });
            }
        }
    }

    /// Starts the program again with what its disk still has. Without effect on one that runs.
    pub fn restart(&mut self, hosts: &[HostId]) {
        for &id in hosts {
            if !self.host(id).is_up() {
                self.start(id);
            }
        }
    }

    /// From now on nothing more can be written there.
    pub fn fill_disk(&mut self, hosts: &[HostId]) {
        for &id in hosts {
            self.host_mut(id).disk.fill_up();
        }
    }

    /// Somebody has removed other files.
    pub fn make_room(&mut self, hosts: &[HostId]) {
        for &id in hosts {
            self.host_mut(id).disk.make_room();
        }
    }

    /// Notes at every choke round of these hosts who holds the regular slots; see [`Self::rounds`].
    pub fn watch_rounds(&mut self, hosts: &[HostId]) {
        self.rounds.watch(hosts);
    }

    fn start(&mut self, id: HostId) {
        let now = self.now;
        let host = &mut self.hosts[id.idx()];
        let setup = &host.setup;
        let config = TorrentConfig {
            client: format!("lab {:?}", setup.role),
            our_id: host.id,
            listen_port: Some(PORT),
            pex: true,
            dht_port: None,
            down: setup.limit_down,
            up: setup.limit_up,
            choker: setup.choker,
            picker: setup.picker,
            roster: RosterConfig::default(),
        };
        let mut machine = Torrent::new(now, config, host.torrent.hashes(), host.rng.fork());
        let have = host.disk.good().clone();
        let pieces = have.count();
        if !setup.magnet {
            set_content(&mut machine, now, &host.torrent, have);
        }
        host.machine = Some(machine);
        host.started = now;
        host.crashed = false;
        host.counted = pieces;
        let announce = Happening::Announce { host: id, life: host.life };
        self.trace.note(now, id, Fact::Started { pieces });
        self.agenda.add(now + self.link.delay * 2, announce);
        self.drain(id);
    }

    /// The program is gone; what it had sent is still delivered.
    fn stop(&mut self, id: HostId) {
        let host = &mut self.hosts[id.idx()];
        host.machine = None;
        host.life += 1;
        host.wake_at = Instant::FAR_FUTURE;
        host.uplink_due = false;
        host.ready.clear();
        let crashed = host.crashed;
        for way in std::mem::take(&mut host.conns).into_values() {
            self.end_mut(way).key = None;
            let wait = if crashed {
                CRASH_NOTICED + CRASH_NOTICED.mul_f64(self.rng.unit())
            } else {
                self.link.delay
            };
            self.agenda.add(self.now + wait, Happening::Break { way: way.back() });
        }
    }

    fn step(&mut self) {
        let Some((at, what)) = self.agenda.next() else { return };
        self.same_instant = if at == self.now { self.same_instant + 1 } else { 0 };
        if self.same_instant > SAME_INSTANT_MAX {
            self.broken = Some(("time passes", format!("{what:?} at {at} again and again")));
        }
        self.now = at;
        if let Happening::Plan { step } = what {
            let (step, hosts) = self.plan[step as usize].clone();
            return match step {
                Step::Crash => self.crash(&hosts),
                Step::FillDisk => self.fill_disk(&hosts),
                Step::Leave => self.leave(&hosts),
                Step::Restart => self.restart(&hosts),
            };
        }
        if let Some(touched) = self.happen(what) {
            self.consult(touched);
        }
    }

    fn consult(&mut self, id: HostId) {
        for at in 0..self.oracles.len() {
            let (name, oracle) = self.oracles[at];
            if let Err(why) = oracle(self, id) {
                self.broken.get_or_insert((name, why));
            }
        }
        let have = self.have(id).map_or(0, Bitfield::count);
        self.host_mut(id).counted = have;
    }

    pub(super) fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.idx()]
    }

    pub(super) fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.idx()]
    }

    pub(super) fn backlog(&self, way: Way) -> (usize, u64) {
        self.conns[way.conn as usize].ends[usize::from(way.side)].backlog()
    }
}

/// What a test asks. Hosts are those that [`World::spawn`] returned.
impl World {
    /// Time since the world began.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether all of these have everything they want, now or when they left.
    pub fn complete(&self, hosts: &[HostId]) -> bool {
        hosts.iter().all(|&id| self.host(id).done_at.is_some())
    }

    /// When the host had everything.
    pub fn done_at(&self, id: HostId) -> Option<Instant> {
        self.host(id).done_at
    }

    /// Pieces that it counts as there; `None` if it is down or does not know the metadata.
    pub fn have(&self, id: HostId) -> Option<&Bitfield> {
        self.host(id).machine.as_ref().and_then(Torrent::have)
    }

    /// Part of the pieces whose right bytes lie on its disk, 0 to 1.
    pub fn progress(&self, id: HostId) -> f64 {
        let good = self.host(id).disk.good();
        f64::from(good.count()) / f64::from(good.len().max(1))
    }

    /// Bytes of content that it has sent, in all its lives.
    pub fn sent(&self, id: HostId) -> u64 {
        self.host(id).sent
    }

    /// Bytes of content that it has received from the other.
    pub fn received_from(&self, id: HostId, other: HostId) -> u64 {
        self.host(id).received.get(&other).copied().unwrap_or(0)
    }

    /// When `by` first unchoked it.
    pub fn unchoked_by(&self, id: HostId, by: HostId) -> Option<Instant> {
        self.host(id).unchoked_by.get(&by).copied()
    }

    /// What its machine has told, except [`Event::Seen`] and [`Event::Verified`].
    pub fn log(&self, id: HostId) -> &[(Instant, Event)] {
        &self.host(id).log
    }

    /// Whether `id` has banned `whom`.
    pub fn has_banned(&self, id: HostId, whom: HostId) -> bool {
        self.host(id).log.iter().any(
            |(_, event)| matches!(event, Event::Banned { peer, .. } if HostId::of(*peer) == whom),
        )
    }

    /// Its machine's own figures; `None` while it is down.
    pub fn status(&mut self, id: HostId) -> Option<Status> {
        let now = self.now;
        self.host_mut(id).machine.as_mut().map(|machine| machine.status(now))
    }

    /// Its machine's view of every live peer, and which host that is.
    pub fn peers(&mut self, id: HostId) -> Vec<(HostId, PeerStatus)> {
        let now = self.now;
        let peers = self.host_mut(id).machine.as_mut().map(|machine| machine.peers(now));
        let named = |status: PeerStatus| (HostId::of(status.addr), status);
        peers.unwrap_or_default().into_iter().map(named).collect()
    }

    /// What was seen of the watched hosts' choke rounds.
    pub fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// The last things that happened, a line each.
    pub fn last_events(&self, n: usize) -> String {
        self.trace.tail(n)
    }

    /// Covers everything that was delivered: equal for equal seeds and scenarios.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// How many things happened.
    pub fn facts(&self) -> u64 {
        self.trace.count()
    }
}

/// A time at which something will happen.
pub struct Plan<'a> {
    world: &'a mut World,
    at: Instant,
}

impl Plan<'_> {
    /// See [`World::crash`].
    pub fn crash(self, hosts: &[HostId]) {
        self.step(Step::Crash, hosts);
    }

    /// See [`World::fill_disk`].
    pub fn fill_disk(self, hosts: &[HostId]) {
        self.step(Step::FillDisk, hosts);
    }

    /// See [`World::leave`].
    pub fn leave(self, hosts: &[HostId]) {
        self.step(Step::Leave, hosts);
    }

    /// See [`World::restart`].
    pub fn restart(self, hosts: &[HostId]) {
        self.step(Step::Restart, hosts);
    }

    fn step(self, step: Step, hosts: &[HostId]) {
        let number = self.world.plan.len() as u32;
        self.world.plan.push((step, hosts.to_vec()));
        self.world.agenda.add(self.at, Happening::Plan { step: number });
    }
}

pub(super) fn set_content(
    machine: &mut Torrent,
    now: Instant,
    torrent: &TorrentSpec,
    have: Bitfield,
) {
    let all = |_| crate::swarm::picker::Priority::Normal;
    machine.set_content(now, torrent.info.clone(), torrent.geometry, have, all);
}

impl World {
    /// The connection at this end is over: tells the machine, once.
    pub(super) fn disconnect(&mut self, way: Way, fault: Option<Blame>) -> Option<HostId> {
        let now = self.now;
        let end = self.end_mut(way);
        let key = end.key.take()?;
        let id = end.host;
        let host = self.host_mut(id);
        host.conns.remove(&key.0);
        if let Some(machine) = &mut host.machine {
            machine.handle_disconnected(now, key, fault);
        }
        Some(id)
    }

    pub(super) fn end_mut(&mut self, way: Way) -> &mut super::stream::End {
        &mut self.conns[way.conn as usize].ends[usize::from(way.side)]
    }
}
