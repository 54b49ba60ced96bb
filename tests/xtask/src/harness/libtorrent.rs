//! libtorrent as a process: Python bindings driven by `tests/interop/libtorrent_peer.py`.

use crate::{Deadline, Process, Said};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has libtorrent.
#[derive(Clone, Debug)]
pub struct Libtorrent {
    python: PathBuf,
    version: String,
}

/// One seed or leech to be.
#[derive(Clone, Debug)]
pub struct Part {
    /// The .torrent file.
    pub torrent: PathBuf,
    /// Where the content lies, or is to be put.
    pub dir: PathBuf,
    /// Where it listens and what it dials from.
    pub listen: SocketAddr,
    /// Peers to dial at once.
    pub peers: Vec<SocketAddr>,
    /// Upload cap in bytes per second; 0 is none.
    pub up: u64,
    /// Download cap in bytes per second; 0 is none.
    pub down: u64,
    /// Whether it looks for neighbours; only inside a namespace.
    pub lsd: bool,
    /// Nodes of the DHT to begin with; without any it takes no part.
    pub dht: Vec<SocketAddr>,
    /// Whether it speaks uTP, and says what it hears and says of holepunching.
    pub utp: bool,
    /// Whether it exchanges peers.
    pub pex: bool,
}

impl Libtorrent {
    /// The one of `GAGGLE_LIBTORRENT_PYTHON`, else of `/usr/bin/python3` (Debian: python3-libtorrent).
    ///
    /// # Errors
    /// That Python is missing or has no libtorrent.
    pub fn find() -> anyhow::Result<Self> {
        let python = std::env::var_os("GAGGLE_LIBTORRENT_PYTHON")
            .map_or_else(|| PathBuf::from("/usr/bin/python3"), PathBuf::from);
        let version = Command::new(&python)
            .args(["-c", "import libtorrent; print(libtorrent.version)"])
            .output()
            .with_context(|| format!("cannot run {}", python.display()))?;
        if !version.status.success() {
            bail!("{} has no libtorrent (Debian: python3-libtorrent)", python.display());
        }
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        Ok(Self { python, version })
    }

    /// As the library says it, like `2.0.8.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn script(&self, config: &Value) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../interop/libtorrent_peer.py"));
        command.arg(config.to_string());
        command
    }

    /// Starts a session that begins to seed or leech at [`go`].
    ///
    /// # Errors
    /// The script does not start.
    pub fn start(
        &self,
        name: &str,
        mode: &str,
        part: &Part,
        logs: &Path,
    ) -> anyhow::Result<Process> {
        let peers: Vec<String> = part.peers.iter().map(ToString::to_string).collect();
        let dht: Vec<String> = part.dht.iter().map(ToString::to_string).collect();
        let config = json!({
            "mode": mode, "torrent": part.torrent, "dir": part.dir, "ip": part.listen.ip().to_string(),
            "listen": part.listen.to_string(), "peers": peers, "up": part.up,
            "down": part.down, "lsd": part.lsd, "dht": dht, "utp": part.utp, "pex": part.pex,
        });
        let mut process = Process::start(name, self.script(&config), logs)?;
        process.wait_line(Deadline::after_secs(30), |said| event(said, "up"))?;
        Ok(process)
    }

    /// Starts a session that takes part in the DHT and carries out orders about items: [`order`].
    ///
    /// # Errors
    /// The script does not start, or knows nobody in the DHT at the deadline.
    pub fn items(
        &self,
        name: &str,
        listen: SocketAddr,
        dht: Vec<SocketAddr>,
        logs: &Path,
        deadline: Deadline,
    ) -> anyhow::Result<Process> {
        let (torrent, dir) = (PathBuf::new(), PathBuf::new());
        let part = Part {
            torrent,
            dir,
            listen,
            peers: Vec::new(),
            up: 0,
            down: 0,
            lsd: false,
            dht,
            pex: false,
            utp: false,
        };
        let mut process = self.start(name, "items", &part, logs)?;
        process.wait_line(deadline, |said| event(said, "go"))?;
        Ok(process)
    }

    /// Writes a version 1 torrent of the files in byte order of their paths.
    ///
    /// # Errors
    /// The script fails; with what it said.
    pub fn create(
        &self,
        content: &Path,
        torrent: &Path,
        piece: u64,
        tracker: &str,
    ) -> anyhow::Result<()> {
        let config = json!({
            "mode": "create", "content": content, "torrent": torrent, "piece": piece, "tracker": tracker,
        });
        let output = self.script(&config).output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success(), "libtorrent create: {errors}");
        Ok(())
    }
}

/// Lets a started session begin.
///
/// # Errors
/// The script has ended.
pub fn go(process: &mut Process) -> anyhow::Result<Said> {
    process.tell("go")?;
    process.wait_line(Deadline::after_secs(10), |said| event(said, "go"))
}

/// Lets a session put or get an item, as the script has it, and waits for what became of that.
///
/// # Errors
/// The script ended, or has not answered at the deadline.
pub fn order(process: &mut Process, order: &Value, deadline: Deadline) -> anyhow::Result<Value> {
    let mut order = order.clone();
    let number = process.said().len();
    order["n"] = number.into();
    process.tell(&order.to_string())?;
    process.wait_line(deadline, |said| {
        let answer: Value = serde_json::from_str(&said.text).ok()?;
        (answer["type"] == "item" && answer["n"] == number).then_some(answer)
    })
}

/// Waits until everything is there and verified.
///
/// # Errors
/// The script ended or is not done at the deadline.
pub fn done(process: &mut Process, deadline: Deadline) -> anyhow::Result<Said> {
    process.wait_line(deadline, |said| event(said, "done"))
}

fn event(said: &Said, kind: &str) -> Option<Said> {
    let object: Value = serde_json::from_str(&said.text).ok()?;
    (object["type"] == kind).then(|| said.clone())
}
