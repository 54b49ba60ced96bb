//! The two trackers: ours and opentracker.

use crate::case::Tracker;
use crate::creators::gaggle;
use crate::http;
use crate::torrent::hex;
use anyhow::{Context, ensure};
use harness::{Deadline, Process};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Seconds within which a seed must be known to its tracker: a hash check and one announce.
const SEED_KNOWN_S: u64 = 60;

/// A tracker that listens.
pub(crate) struct Running {
    process: Process,
    at: SocketAddr,
}

impl Tracker {
    /// The program that must be installed.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Gaggle => env!("CARGO_BIN_EXE_gaggle"),
            Self::Opentracker => "opentracker",
        }
    }

    /// Starts it, for one torrent.
    pub(crate) fn start(
        self,
        at: SocketAddr,
        info_hash: &[u8; 20],
        work: &Path,
    ) -> anyhow::Result<Running> {
        let process = match self {
            Self::Gaggle => gaggle().tracker(at, work, work)?,
            Self::Opentracker => opentracker(at, info_hash, work)?,
        };
        Ok(Running { process, at })
    }
}

/// Debian builds it with a whitelist; as root it changes its root to its folder and becomes nobody.
fn opentracker(at: SocketAddr, info_hash: &[u8; 20], work: &Path) -> anyhow::Result<Process> {
    let folder = work.join("opentracker");
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    fs::write(folder.join("whitelist"), format!("{}\n", hex(info_hash)))?;
    fs::set_permissions(folder.join("whitelist"), Permissions::from_mode(0o644))?;
    let mut command = Command::new("opentracker");
    let port = at.port().to_string();
    command.args(["-i", &at.ip().to_string(), "-p", &port, "-P", &port]);
    command.arg("-d").arg(&folder).args(["-w", "whitelist"]).current_dir(&folder);
    let mut process = Process::start("opentracker", command, work)?;
    let up = Deadline::after_secs(15).poll(|| {
        process.still_runs()?;
        Ok(std::net::TcpStream::connect(at).ok())
    })?;
    up.with_context(|| format!("opentracker does not listen\n{}", process.tail()))?;
    Ok(process)
}

impl Running {
    /// Waits until the tracker counts a seed of the torrent.
    pub(crate) fn wait_seed(&mut self, info_hash: &[u8; 20]) -> anyhow::Result<()> {
        let escaped: String = info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
        let target = format!("/scrape?info_hash={escaped}");
        let seeds = Deadline::after_secs(SEED_KNOWN_S).poll(|| {
            self.process.still_runs()?;
            let answer = http::ask(self.at, "GET", &target, &[], b"")?;
            ensure!(answer.status == 200, "scrape: HTTP status {}", answer.status);
            Ok(complete(&answer.body).filter(|seeds| *seeds > 0))
        })?;
        seeds.with_context(|| {
            format!("no seed announced itself in {SEED_KNOWN_S} s\n{}", self.process.tail())
        })?;
        Ok(())
    }
}

/// The count of seeds in a scrape answer.
fn complete(body: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("8:completei")?;
    rest.split('e').next()?.parse().ok()
}
