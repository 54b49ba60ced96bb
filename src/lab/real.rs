//! Plays a scenario with true processes on loopback: a tracker here, everybody else a program of their own.

use super::LabError;
use super::judge::{Report, Seen, is_decided};
use super::process::{Line, Process, Program, Told, folder};
use super::scenario::{Action, RoleName, Scenario};
use super::timeline::{Due, Timeline};
use crate::net::Clock;
use gaggle_core::clock::Instant;
use gaggle_core::rng::Rng;
use gaggle_tracker::{Running, Tracker, TrackerConfig};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often it is looked whether everything is decided.
const LOOK: Duration = Duration::from_millis(100);
/// Progress is told every 300 ms: after this the last figures are there.
const LAST_FIGURES: Duration = Duration::from_millis(700);
/// Peers that come late must be heard of soon: how often everybody announces.
const INTERVAL: Duration = Duration::from_secs(5);
/// A lying peer is listening after so long, or something is wrong.
const PUPPET_PATIENCE: Duration = Duration::from_secs(20);
/// Lines of processes that wait to be read; a process that says more waits.
const LINES_MAX: usize = 1024;

/// Where a scenario is played.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The program that plays the peers: this one.
    pub exe: PathBuf,
    /// An empty folder of its own; the caller removes it.
    pub folder: PathBuf,
}

/// Something worth telling while it is played.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// One peer will never again speak to the other.
    Banned {
        /// Who decided it.
        by: String,
        /// Name in the scenario, or address of somebody unknown.
        whom: String,
    },
    /// It has everything.
    Complete {
        /// Its name.
        peer: String,
    },
    /// It complained.
    Error {
        /// Its name.
        peer: String,
        /// In its words.
        message: String,
    },
    /// It was killed.
    Killed {
        /// Its name.
        peer: String,
    },
    /// It runs.
    Started {
        /// Its name.
        peer: String,
    },
    /// It was asked to end.
    Stopped {
        /// Its name.
        peer: String,
    },
}

/// One peer of the run.
#[derive(Default)]
struct Actor {
    process: Option<Process>,
    life: u32,
    /// Figures of earlier lives.
    before: (u64, u64, u64),
    /// Figures of this life.
    now: (u64, u64, u64),
    seen: Seen,
}

struct Play<'a, F> {
    scenario: &'a Scenario,
    stage: &'a Stage,
    tracker: String,
    clock: Clock,
    actors: Vec<Actor>,
    /// Where lying peers listen.
    puppets: BTreeMap<SocketAddr, usize>,
    /// For processes to come.
    lines: mpsc::Sender<Line>,
    heard: mpsc::Receiver<Line>,
    tell: F,
}

impl Stage {
    /// Plays it, and ends every process. `tell` hears what happens, with the time since the beginning.
    pub async fn play(
        &self,
        scenario: &Scenario,
        tell: impl FnMut(Duration, Happened),
    ) -> Result<Report, LabError> {
        let tracker = self.tracker()?;
        let url = format!("http://{}/announce", tracker.local_addr());
        self.content(scenario, &url).await?;
        let (lines, heard) = mpsc::channel(LINES_MAX);
        let mut play = Play {
            scenario,
            stage: self,
            tracker: url,
            clock: Clock::start(),
            actors: scenario.peers.iter().map(|_| Actor::default()).collect(),
            puppets: BTreeMap::new(),
            lines,
            heard,
            tell,
        };
        let played = play.run().await;
        play.end().await;
        tracker.stop().await;
        let took = played?;
        let seen = play.actors.into_iter().map(|actor| actor.seen).collect();
        Ok(Report::of(scenario, seen, took, None))
    }

    fn tracker(&self) -> Result<Running, LabError> {
        let mut config = TrackerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        config.policy.interval = INTERVAL;
        config.policy.min_interval = config.policy.min_interval.min(INTERVAL);
        Tracker::bind(&config).map_err(|error| LabError::Stage(error.to_string()))
    }

    fn torrent(&self) -> PathBuf {
        self.folder.join("lab.torrent")
    }

    fn seed_folder(&self) -> PathBuf {
        self.folder.join("content")
    }

    /// Random bytes of the scenario's seed, and a torrent of them.
    async fn content(&self, scenario: &Scenario, tracker: &str) -> Result<(), LabError> {
        folder(&self.seed_folder())?;
        let path = self.seed_folder().join("lab.bin");
        fill(&path, scenario)
            .map_err(|e| LabError::Stage(format!("cannot write {}: {e}", path.display())))?;
        let mut args: Vec<OsString> = vec!["create".into(), path.into()];
        args.extend(["--tracker".into(), tracker.into(), "--no-date".into(), "-o".into()]);
        args.extend([self.torrent().into(), "--piece-length".into()]);
        args.push(scenario.piece_len.to_string().into());
        let (home, log) = (self.folder.join("home"), self.folder.join("create.log"));
        let create = Program { exe: self.exe.clone(), args, home, log };
        create.run().await.map_err(LabError::Stage)
    }

    /// How a peer is run.
    fn program(&self, scenario: &Scenario, peer: usize, tracker: &str) -> Program {
        let (role, name) = (scenario.peers[peer].role, &scenario.peers[peer].name);
        let group = &scenario.groups[scenario.peers[peer].group];
        let own = self.folder.join(name);
        let mut args: Vec<OsString> = vec!["--json".into()];
        match role {
            RoleName::Seed => args.extend(["seed".into(), self.torrent().into(), "--data".into()]),
            RoleName::Poisoner | RoleName::Liar => {
                let part = if role == RoleName::Liar { "liar" } else { "poisoner" };
                args.extend(["lab".into(), "peer".into(), part.into(), self.torrent().into()]);
            }
            _ => args.extend(["get".into(), self.torrent().into(), "--output".into()]),
        }
        match role {
            RoleName::Seed => args.push(self.seed_folder().into()),
            RoleName::Poisoner | RoleName::Liar => {}
            _ => args.extend([own.join("data").into(), "--seed".into(), "forever".into()]),
        }
        if role == RoleName::FreeRider {
            args.extend(["--max-uploads".into(), "0".into()]);
        }
        let lies = matches!(role, RoleName::Poisoner | RoleName::Liar);
        for (flag, rate) in [("--up", group.up), ("--down", group.down)] {
            if let Some(rate) = rate.filter(|_| !lies) {
                args.extend([flag.into(), rate.0.to_string().into()]);
            }
        }
        args.extend(["--listen".into(), "127.0.0.1:0".into()]);
        args.extend(["--tracker".into(), tracker.into()]);
        let log = own.join("log");
        Program { exe: self.exe.clone(), args, home: own, log }
    }
}

impl<F: FnMut(Duration, Happened)> Play<'_, F> {
    async fn run(&mut self) -> Result<Duration, LabError> {
        let mut timeline = Timeline::of(self.scenario);
        // Lies are ready before anybody can be lied to: otherwise a quick swarm never meets them.
        for peer in 0..self.actors.len() {
            let role = self.scenario.peers[peer].role;
            let group = &self.scenario.groups[self.scenario.peers[peer].group];
            if matches!(role, RoleName::Poisoner | RoleName::Liar) && group.start.is_zero() {
                self.start(peer)?;
            }
        }
        self.await_puppets().await?;
        self.clock = Clock::start();
        loop {
            for due in timeline.due(self.clock.now()) {
                self.act(due).await?;
            }
            let now = self.elapsed();
            let seen: Vec<Seen> = self.actors.iter().map(|actor| actor.seen.clone()).collect();
            if timeline.is_over() && is_decided(self.scenario, &seen, now) {
                break;
            }
            let next = timeline.next().map_or(LOOK, |next| next.saturating_sub(now).min(LOOK));
            self.listen(next).await;
        }
        let took = self.elapsed();
        let last = self.clock.now() + LAST_FIGURES;
        while self.clock.now() < last {
            self.listen(LOOK).await;
        }
        Ok(took)
    }

    /// Until every lying peer that was started listens.
    async fn await_puppets(&mut self) -> Result<(), LabError> {
        let started: Vec<usize> =
            (0..self.actors.len()).filter(|&peer| self.actors[peer].life > 0).collect();
        loop {
            let listens = |peer: &usize| self.puppets.values().any(|there| there == peer);
            let Some(&late) = started.iter().find(|&peer| !listens(peer)) else { return Ok(()) };
            if self.elapsed() > PUPPET_PATIENCE || self.actors[late].process.is_none() {
                let peer = self.scenario.peers[late].name.clone();
                return Err(LabError::Peer { peer, what: "does not come to listen".to_owned() });
            }
            self.listen(LOOK).await;
        }
    }

    async fn act(&mut self, due: Due) -> Result<(), LabError> {
        match due {
            Due::Start(peer) | Due::Act(Action::Restart, peer) => self.start(peer),
            Due::Act(Action::Kill, peer) => {
                if let Some(process) = self.actors[peer].process.take() {
                    process.kill().await;
                    self.told(|peer| Happened::Killed { peer }, peer);
                }
                Ok(())
            }
            Due::Act(Action::Stop, peer) => {
                if let Some(process) = self.actors[peer].process.take() {
                    process.stop().await;
                    self.told(|peer| Happened::Stopped { peer }, peer);
                }
                Ok(())
            }
        }
    }

    fn start(&mut self, peer: usize) -> Result<(), LabError> {
        if self.actors[peer].process.is_some() {
            return Ok(());
        }
        let program = self.stage.program(self.scenario, peer, &self.tracker);
        folder(&program.home)?;
        let actor = &mut self.actors[peer];
        actor.life += 1;
        actor.before = sum(actor.before, actor.now);
        actor.now = (0, 0, 0);
        let process = program.start(peer, actor.life, self.lines.clone());
        actor.process = Some(process.map_err(|error| LabError::Peer {
            peer: self.scenario.peers[peer].name.clone(),
            what: format!("cannot be started: {error}"),
        })?);
        self.told(|peer| Happened::Started { peer }, peer);
        Ok(())
    }

    /// Takes in what the processes say for so long.
    async fn listen(&mut self, time: Duration) {
        let until = tokio::time::sleep(time);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return,
                Some(line) = self.heard.recv() => self.hear(line),
            }
        }
    }

    fn hear(&mut self, Line { peer, life, told }: Line) {
        let now = self.elapsed();
        let actor = &mut self.actors[peer];
        if actor.life != life {
            return; // the last words of one that was killed
        }
        match told {
            Told::Progress { uploaded, downloaded, wasted } => {
                actor.count((uploaded, downloaded, wasted));
            }
            Told::Complete { uploaded, downloaded, wasted } => {
                actor.count((uploaded, downloaded, wasted));
                actor.seen.complete.get_or_insert(now);
                self.told(|peer| Happened::Complete { peer }, peer);
            }
            Told::Banned { peer: address, reason } => {
                actor.seen.bans.insert(address.clone(), reason);
                self.banned(peer, address);
            }
            Told::Listening { at } => {
                let role = self.scenario.peers[peer].role;
                if matches!(role, RoleName::Poisoner | RoleName::Liar) {
                    self.puppets.insert(at, peer);
                }
            }
            Told::Error { message } => self.told(|peer| Happened::Error { peer, message }, peer),
            Told::Ended => actor.process = None,
        }
    }

    fn banned(&mut self, by: usize, address: String) {
        let now = self.elapsed();
        let culprit =
            address.parse().ok().and_then(|at: SocketAddr| self.puppets.get(&at).copied());
        if let Some(culprit) = culprit {
            self.actors[culprit].seen.banned.get_or_insert(now);
        }
        let whom = culprit.map_or(address, |peer| self.scenario.peers[peer].name.clone());
        self.told(|by| Happened::Banned { by, whom }, by);
    }

    fn told(&mut self, what: impl FnOnce(String) -> Happened, peer: usize) {
        let now = self.elapsed();
        (self.tell)(now, what(self.scenario.peers[peer].name.clone()));
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(Instant::ZERO)
    }

    /// Asks everybody to end, all at once.
    async fn end(&mut self) {
        let processes = self.actors.iter_mut().filter_map(|actor| actor.process.take());
        let mut ending: tokio::task::JoinSet<()> = processes.map(Process::stop).collect();
        // Their last lines are read, lest they wait for a reader.
        loop {
            tokio::select! {
                ended = ending.join_next() => if ended.is_none() { return },
                Some(_) = self.heard.recv() => {}
            }
        }
    }
}

impl Actor {
    fn count(&mut self, now: (u64, u64, u64)) {
        self.now = now;
        let all = sum(self.before, now);
        (self.seen.uploaded, self.seen.downloaded, self.seen.wasted) = all;
    }
}

fn sum(a: (u64, u64, u64), b: (u64, u64, u64)) -> (u64, u64, u64) {
    (a.0 + b.0, a.1 + b.1, a.2 + b.2)
}

fn fill(path: &Path, scenario: &Scenario) -> std::io::Result<()> {
    let mut rng = Rng::seeded(scenario.seed);
    let mut file = std::io::BufWriter::new(File::create(path)?);
    let mut block = [0; 16 << 10];
    let mut left = scenario.total;
    while left > 0 {
        rng.fill(&mut block);
        let len = left.min(block.len() as u64) as usize;
        file.write_all(&block[..len])?;
        left -= len as u64;
    }
    file.flush()
}
