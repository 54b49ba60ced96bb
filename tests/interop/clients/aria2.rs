//! aria2c: all flags, and a leech ends with 0 when it is done.

use super::{Client, Part, Role};
use anyhow::bail;
use harness::Process;

struct Aria2 {
    process: Process,
    role: Role,
}

pub(super) fn start(part: &Part) -> anyhow::Result<Box<dyn Client>> {
    let mut command = part.command("aria2c");
    command.args([
        "--no-conf",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--file-allocation=none",
        "--summary-interval=0",
        "--show-console-readout=false",
        "--console-log-level=notice",
        "--allow-overwrite=true",
        "--bt-tracker-interval=5",
    ]);
    match part.ways.dht.first() {
        None => _ = command.arg("--enable-dht=false"),
        Some(node) => {
            command.arg("--enable-dht=true").arg(format!("--dht-entry-point={node}"));
            command.arg(format!("--dht-listen-port={}", part.listen.port()));
            command.arg(format!("--dht-file-path={}", part.work.join("dht.dat").display()));
        }
    }
    command.arg(format!("--listen-port={}", part.listen.port()));
    command.arg(format!("--interface={}", part.listen.ip()));
    command.arg(format!("--dir={}", part.dir.display()));
    match part.role {
        Role::Leech => command.arg("--seed-time=0"),
        Role::Seed => command.args(["--seed-ratio=0.0", "--check-integrity=true"]),
    };
    command.arg(&part.torrent);
    let process = Process::start("aria2c", command, &part.work)?;
    Ok(Box::new(Aria2 { process, role: part.role }))
}

impl Client for Aria2 {
    fn has_all(&mut self) -> anyhow::Result<bool> {
        match (self.process.try_wait()?, self.role) {
            (Some(status), Role::Leech) if status.success() => Ok(true),
            (Some(status), _) => bail!("aria2c ended with {status}\n{}", self.process.tail()),
            // It checks its data first and announces then; the tracker tells when.
            (None, role) => Ok(role == Role::Seed),
        }
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
