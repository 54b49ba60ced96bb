//! gaggle as a process, through the part of its command line that scripts may rely on.

use crate::{Deadline, Process, Said};
use anyhow::Context;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One seed or leech to be.
#[derive(Clone, Debug)]
pub struct Part {
    /// The .torrent file.
    pub torrent: PathBuf,
    /// Where the content lies, or is to be put.
    pub dir: PathBuf,
    /// Where it listens and what it dials from.
    pub listen: SocketAddr,
    /// Its own state folder: two processes never share one.
    pub state: PathBuf,
    /// More flags of the command line.
    pub flags: Vec<String>,
}

/// The program under test.
#[derive(Clone, Debug)]
pub struct Gaggle {
    exe: PathBuf,
    lsd: bool,
    dht: bool,
    upnp: bool,
}

impl Gaggle {
    /// The program at this path.
    pub fn new(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), lsd: false, dht: false, upnp: false }
    }

    /// Speaks to the neighbours, which only a namespace may hear.
    #[must_use]
    pub fn with_lsd(self) -> Self {
        Self { lsd: true, ..self }
    }

    /// Takes part in the DHT, of which it knows the nodes that it is told of and no others.
    #[must_use]
    pub fn with_dht(self) -> Self {
        Self { dht: true, ..self }
    }

    /// Asks the router for ports, which must be one of the test's own.
    #[must_use]
    pub fn with_upnp(self) -> Self {
        Self { upnp: true, ..self }
    }

    /// The bare program, without the user's configuration.
    pub fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.exe);
        command.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
        command.env("XDG_CACHE_HOME", home.join("cache")).env("XDG_STATE_HOME", home.join("state"));
        // `GAGGLE_*` in the environment are its settings, and those of the tests are none.
        let settings =
            std::env::vars_os().filter(|(key, _)| key.as_encoded_bytes().starts_with(b"GAGGLE_"));
        settings.for_each(|(key, _)| _ = command.env_remove(key));
        command.env_remove("RUST_LOG");
        // Measurements have no company, and tests no wire to speak on. Whoever wants it says so.
        if !self.lsd {
            command.env("GAGGLE_NO_LSD", "1");
        }
        if !self.dht {
            command.env("GAGGLE_NO_DHT", "1");
        }
        // Whatever a test starts, nobody out there hears of it.
        command.env("GAGGLE_DHT_BOOTSTRAP", "none");
        if !self.upnp {
            command.env("GAGGLE_NO_UPNP", "1");
        }
        command
    }

    fn transfer(&self, verb: &str, part: &Part, place: &str) -> Command {
        let mut command = self.command(&part.state);
        command.arg(verb).arg(&part.torrent).arg(place).arg(&part.dir);
        command.arg("--listen").arg(part.listen.to_string());
        command.arg("--state-dir").arg(&part.state).arg("--json").args(&part.flags);
        command
    }

    /// Starts `gaggle seed`; it serves once [`seeding`] has seen its line.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn seed(&self, name: &str, part: &Part, logs: &Path) -> anyhow::Result<Process> {
        Process::start(name, self.transfer("seed", part, "--data"), logs)
    }

    /// Starts `gaggle get`.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn get(&self, name: &str, part: &Part, logs: &Path) -> anyhow::Result<Process> {
        Process::start(name, self.transfer("get", part, "-o"), logs)
    }

    /// Starts `gaggle tracker` and waits until it accepts connections.
    ///
    /// # Errors
    /// It cannot be started or does not listen within 15 s.
    pub fn tracker(&self, listen: SocketAddr, home: &Path, logs: &Path) -> anyhow::Result<Process> {
        let mut command = self.command(home);
        command.arg("tracker").arg("--listen").arg(listen.to_string());
        let mut process = Process::start("gaggle-tracker", command, logs)?;
        let up = Deadline::after_secs(15).poll(|| {
            process.still_runs()?;
            Ok(std::net::TcpStream::connect(listen).ok())
        })?;
        up.with_context(|| format!("gaggle tracker does not listen\n{}", process.tail()))?;
        Ok(process)
    }

    /// Runs `gaggle create PATH -o TORRENT --json` with more flags and returns the object it prints.
    ///
    /// # Errors
    /// It fails, or prints no `created` object.
    pub fn create(&self, path: &Path, torrent: &Path, flags: &[&str]) -> anyhow::Result<Value> {
        let home = torrent.with_extension("home");
        let mut command = self.command(&home);
        command.arg("create").arg(path).arg("-o").arg(torrent).arg("--json").args(flags);
        let output = command.output().context("cannot start gaggle create")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(
            output.status.success(),
            "gaggle create: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let created = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        created
            .into_iter()
            .find(|object| object["type"] == "created")
            .with_context(|| format!("gaggle create printed no `created` object: {text}"))
    }
}

/// The object on a line of JSON Lines, if its `type` is this one.
pub fn event(said: &Said, kind: &str) -> Option<Value> {
    let object: Value = serde_json::from_str(&said.text).ok()?;
    (object["type"] == kind).then_some(object)
}

/// Waits until a seed has verified its data and listens.
///
/// # Errors
/// It ended, or is not there at the deadline.
pub fn seeding(process: &mut Process, deadline: Deadline) -> anyhow::Result<Value> {
    process.wait_line(deadline, |said| event(said, "seeding"))
}

/// Waits for the `complete` object of a `get`, with the moment of its line.
///
/// # Errors
/// It ended, or is not complete at the deadline.
pub fn complete(process: &mut Process, deadline: Deadline) -> anyhow::Result<(Said, Value)> {
    process.wait_line(deadline, |said| Some((said.clone(), event(said, "complete")?)))
}

/// A counter in the first `progress` object that says so; `None` if none did yet.
pub fn counter_when(process: &Process, key: &str, says: impl Fn(&Value) -> bool) -> Option<u64> {
    let said = process.said();
    let mut progress = said.iter().filter_map(|said| event(said, "progress"));
    progress.find(says).and_then(|object| object[key].as_u64())
}

/// The last value of a counter in the `progress` objects (or the `complete` one) so far.
pub fn last_counter(process: &Process, key: &str) -> u64 {
    let said = process.said();
    let values = said.iter().filter_map(|said| serde_json::from_str::<Value>(&said.text).ok());
    values.filter_map(|object| object[key].as_u64()).next_back().unwrap_or(0)
}
