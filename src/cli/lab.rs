//! `gaggle lab`: plays a scripted swarm, and says which of its expectations came true.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, plain};
use super::target::Target;
use crate::engine::What;
use crate::lab::{Happened, LabError, Mode, Part, Puppet, Report, Scenario, Stage, play_sim};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Play scripted swarms: real processes on this machine, or a simulation
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle lab run poisoner.toml
  gaggle lab run crowd.toml --seed 7 --report out/
  gaggle lab check crowd.toml

A scenario says who takes part, what goes wrong when, and what must come of it. The exit code is 0 if
it does; otherwise 1, and the line of each failed expectation is named.")]
pub(super) struct Lab {
    #[command(subcommand)]
    what: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Play a scenario and judge its expectations
    Run(Run),
    /// Say whether a scenario makes sense, and play nothing
    Check {
        /// The scenario
        file: PathBuf,
    },
    /// Be a peer that lies; `lab run` starts it
    #[command(hide = true)]
    Peer(Peer),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle lab run poisoner.toml
  gaggle lab run crowd.toml --seed 7 --report out/
  gaggle lab run crowd.toml --json

A scenario is TOML:
  mode = \"real\" or \"sim\"; seed, name, time_limit if you like
  [content]   size, piece_length
  [link]      delay, loss, rate (sim)
  [[peers]]   name, role, count, up, down, start
              roles: seed leech free-rider slow poisoner liar, in sim also staller spammer boaster
  [[steps]]   at, and one of kill, stop, restart
  [[expect]]  complete or banned, with within; incomplete; uploads, with at_least or at_most
Peers are chosen by name: \"crowd\", \"crowd[3]\", \"crowd[0..5]\", or \"all\" that download.")]
struct Run {
    /// The scenario
    file: PathBuf,
    /// Decides the content, and in a simulation all chance [default: the scenario's, else 1]
    #[arg(long, value_name = "N", env = "GAGGLE_SEED")]
    seed: Option<u64>,
    /// Write report.json here, and what the processes said on stderr
    #[arg(long, value_name = "DIR", env = "GAGGLE_REPORT")]
    report: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Peer {
    /// Which promise it breaks
    #[arg(value_enum)]
    part: PartName,
    /// The .torrent
    torrent: String,
    /// Where peers can reach it
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where it announces itself (repeat)
    #[arg(long, value_name = "URL")]
    tracker: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PartName {
    /// Claims everything and sends nothing
    Liar,
    /// Claims everything and sends wrong bytes
    Poisoner,
}

/// A temporary folder, gone when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0); // what cannot be removed now, the system clears away
    }
}

impl Lab {
    /// Plays, checks, or lies until a signal comes.
    pub(super) async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        match self.what {
            Question::Run(run) => run.run(env).await,
            Question::Check { file } => {
                let scenario = Scenario::load(&file).map_err(|error| failure(&error))?;
                env.result(format_args!(
                    "{} makes sense: {} peers, {} expectations",
                    file.display(),
                    scenario.peer_count(),
                    scenario.expectation_count()
                ))?;
                Ok(Exit::Done)
            }
            Question::Peer(peer) => peer.run(env).await,
        }
    }
}

impl Run {
    async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        let mut scenario = Scenario::load(&self.file).map_err(|error| failure(&error))?;
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        let report = match scenario.mode {
            Mode::Sim => play_sim(&scenario).map_err(|error| failure(&error))?,
            Mode::Real => match self.real(env, &scenario).await? {
                Ok(report) => report,
                Err(signal) => return Ok(signal),
            },
        };
        if let Some(folder) = &self.report {
            write(folder, &report)?;
        }
        self.tell(env, &report)?;
        Ok(if report.ok { Exit::Done } else { Exit::Other })
    }

    /// `Err` is the signal that came first; the processes have ended then, too.
    async fn real(&self, env: &Env, scenario: &Scenario) -> anyhow::Result<Result<Report, Exit>> {
        let scratch = scratch()?;
        let exe = std::env::current_exe()
            .map_err(|e| Failure::io("cannot find this program's own file", &e))?;
        let stage = Stage { exe, folder: scratch.0.clone() };
        let play = stage.play(scenario, |at, happened| tell(env, at, &happened));
        let played =
            env.unless_stopped(async { Ok(play.await.map_err(|error| failure(&error))?) }).await;
        if let Some(folder) = &self.report {
            keep_logs(&scratch.0, folder)?;
        }
        played
    }

    fn tell(&self, env: &Env, report: &Report) -> anyhow::Result<()> {
        let file = self.file.display();
        for verdict in &report.verdicts {
            let (line, expectation, why) = (verdict.line, &verdict.expectation, &verdict.why);
            env.emit(&Event::Expectation { line, expectation, ok: verdict.ok, why })?;
            let ok = if verdict.ok { "ok  " } else { "FAIL" };
            env.result(format_args!("{ok}  {file}:{line}  {expectation}: {why}"))?;
        }
        let trace_hash = report.trace_hash.as_deref();
        if let Some(hash) = trace_hash {
            _ = env.trace_hash.set(hash.to_owned());
        }
        env.emit(&Event::Lab {
            name: &report.name,
            mode: report.mode,
            seed: report.seed,
            ok: report.ok,
            seconds: report.seconds,
            trace_hash,
        })?;
        let failed = report.verdicts.iter().filter(|verdict| !verdict.ok).count();
        let outcome = match failed {
            0 => "as expected".to_owned(),
            1 => "1 expectation failed".to_owned(),
            n => format!("{n} expectations failed"),
        };
        let trace = trace_hash.map(|hash| format!(", trace {hash}")).unwrap_or_default();
        let (name, seconds, seed) = (&report.name, report.seconds, report.seed);
        env.result(format_args!("{name}: {outcome} ({seconds:.1} s, seed {seed}{trace})"))
    }
}

impl Peer {
    async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        let target = Target::parse(&self.torrent)?;
        let What::Metainfo(metainfo) = target.read(env).await? else {
            return Err(Failure::usage("a lying peer needs a .torrent, not a link").into());
        };
        let part = match self.part {
            PartName::Liar => Part::Liar,
            PartName::Poisoner => Part::Poisoner,
        };
        let puppet = Puppet::bind(part, &metainfo, self.listen, self.tracker)
            .map_err(|e| Failure::io(format_args!("cannot listen on {}", self.listen), &e))?;
        env.emit(&Event::Seeding {
            info_hash: metainfo.info_hash().to_string(),
            magnet: &metainfo.magnet().to_string(),
            listen: puppet.addr().to_string(),
        })?;
        env.note(format_args!("lying on {}", puppet.addr()));
        tokio::select! {
            played = puppet.play() => {
                played.map_err(|e| Failure::new(Exit::Other, format!("cannot lie: {}", plain(&e))))?;
            }
            _ = env.signals.first() => {}
        }
        Ok(Exit::Done)
    }
}

fn tell(env: &Env, at: Duration, happened: &Happened) {
    let (peer, what, about) = match happened {
        Happened::Banned { by, whom } => (by, "banned", Some(whom.as_str())),
        Happened::Complete { peer } => (peer, "complete", None),
        Happened::Error { peer, message } => (peer, "error", Some(message.as_str())),
        Happened::Killed { peer } => (peer, "killed", None),
        Happened::Started { peer } => (peer, "started", None),
        Happened::Stopped { peer } => (peer, "stopped", None),
    };
    let seconds = at.as_secs_f64();
    _ = env.emit(&Event::LabPeer { peer, what, seconds, about });
    let about = about.map(|about| format!(" {about}")).unwrap_or_default();
    env.note(format_args!("{seconds:>7.1} s  {peer} {what}{about}"));
}

fn failure(error: &LabError) -> Failure {
    let exit = match error {
        LabError::Line { .. } | LabError::Read { .. } => Exit::Usage,
        _ => Exit::Other,
    };
    Failure::new(exit, error.to_string())
}

fn scratch() -> Result<Scratch, Failure> {
    let path = std::env::temp_dir().join(format!("gaggle-lab-{}", std::process::id()));
    std::fs::create_dir_all(&path)
        .map_err(|e| Failure::io(format_args!("cannot create {}", path.display()), &e))?;
    Ok(Scratch(path))
}

fn write(folder: &Path, report: &Report) -> anyhow::Result<()> {
    let path = folder.join("report.json");
    let text = serde_json::to_string_pretty(report)?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|e| Failure::io(format_args!("cannot write {}", path.display()), &e))?;
    Ok(())
}

/// What each process said on stderr, as `NAME.log`.
fn keep_logs(scratch: &Path, folder: &Path) -> Result<(), Failure> {
    let failed = |e| Failure::io(format_args!("cannot write to {}", folder.display()), &e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    for entry in std::fs::read_dir(scratch).map_err(failed)?.flatten() {
        let log = entry.path().join("log");
        if log.is_file() {
            let name = format!("{}.log", entry.file_name().to_string_lossy());
            std::fs::copy(&log, folder.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}
