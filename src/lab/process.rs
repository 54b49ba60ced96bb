//! One peer as a process: how it is started, what it says on its JSON lines, how it is ended.

use super::LabError;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// A process that was asked to end gets this long before it is killed.
const FAREWELL: Duration = Duration::from_secs(5);

/// Something that a process said, or that it has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Banned {
        peer: String,
        reason: String,
    },
    Complete {
        uploaded: u64,
        downloaded: u64,
        wasted: u64,
    },
    /// stdout is closed.
    Ended,
    Error {
        message: String,
    },
    Listening {
        at: SocketAddr,
    },
    Progress {
        uploaded: u64,
        downloaded: u64,
        wasted: u64,
    },
}

/// What was told, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) peer: usize,
    /// Counts restarts of the peer.
    pub(super) life: u32,
    pub(super) told: Told,
}

/// What a process is given.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) exe: PathBuf,
    pub(super) args: Vec<OsString>,
    /// Home, state and cache; the process sees no other.
    pub(super) home: PathBuf,
    /// stderr of all its lives.
    pub(super) log: PathBuf,
}

/// A running process. Dropping it kills it.
pub(super) struct Process {
    child: Child,
}

impl Program {
    /// Starts it; what it says goes to `lines` under `peer` and `life`.
    pub(super) fn start(
        &self,
        peer: usize,
        life: u32,
        lines: mpsc::Sender<Line>,
    ) -> std::io::Result<Process> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut child = self.command().stdout(Stdio::piped()).stderr(log).spawn()?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(async move {
                let mut text = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = text.next_line().await {
                    if let Some(told) = read(&line)
                        && lines.send(Line { peer, life, told }).await.is_err()
                    {
                        return; // nobody listens: the run is over
                    }
                }
                let _ = lines.send(Line { peer, life, told: Told::Ended }).await;
            });
        }
        Ok(Process { child })
    }

    /// Runs it to its end; the error is what it said on stderr.
    pub(super) async fn run(&self) -> Result<(), String> {
        let output = self.command().output().await.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(&self.args).stdin(Stdio::null()).kill_on_drop(true);
        // The user's own settings and proxies have no say in a scenario.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_lowercase();
            if text.starts_with("gaggle_") || text.ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        for folder in ["CONFIG", "STATE", "CACHE", "DATA"] {
            let path = self.home.join(folder.to_lowercase());
            command.env(format!("XDG_{folder}_HOME"), path);
        }
        command.env("GAGGLE_NO_LSD", "1"); // a scenario has its own swarm, and no neighbours
        command.env("GAGGLE_NO_DHT", "1").env("GAGGLE_DHT_BOOTSTRAP", "none"); // nor anybody far away
        command.env("GAGGLE_NO_UPNP", "1"); // nor the router
        command
    }
}

impl Process {
    /// Ends it without a warning, and waits until it is gone.
    pub(super) async fn kill(mut self) {
        let _ = self.child.kill().await; // an error means that it has ended by itself
    }

    /// Asks it to end, and waits.
    pub(super) async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(FAREWELL, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }
}

/// One line of `--json`, if it is one that matters here.
fn read(line: &str) -> Option<Told> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
    let traffic = || (number("uploaded"), number("downloaded"), number("wasted"));
    Some(match event.get("type")?.as_str()? {
        "banned" => {
            Told::Banned { peer: text("peer")?, reason: text("reason").unwrap_or_default() }
        }
        "complete" => {
            let (uploaded, downloaded, wasted) = traffic();
            Told::Complete { uploaded, downloaded, wasted }
        }
        "error" => Told::Error { message: text("message")? },
        "progress" => {
            let (uploaded, downloaded, wasted) = traffic();
            Told::Progress { uploaded, downloaded, wasted }
        }
        "seeding" => Told::Listening { at: text("listen")?.parse().ok()? },
        _ => return None,
    })
}

/// Makes a folder; the error says which.
pub(super) fn folder(path: &Path) -> Result<(), LabError> {
    std::fs::create_dir_all(path)
        .map_err(|error| LabError::Stage(format!("cannot create {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_matter_are_read_and_others_are_passed_over() {
        let line = r#"{"type":"progress","info_hash":"aa","done":1,"uploaded":7,"downloaded":9,"wasted":1,"eta":null}"#;
        let traffic = Told::Progress { uploaded: 7, downloaded: 9, wasted: 1 };
        assert_eq!(read(line), Some(traffic));
        let line = r#"{"type":"banned","peer":"127.0.0.1:9","reason":"bad"}"#;
        let banned = Told::Banned { peer: "127.0.0.1:9".to_owned(), reason: "bad".to_owned() };
        assert_eq!(read(line), Some(banned));
        for other in [r#"{"type":"exit","code":0}"#, "[1]", "no json", r#"{"type":"banned"}"#, ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
