//! One seed to one leech, as fast as they can.

use super::{Client, Common, Programs, median, scratch};
use anyhow::ensure;
use clap::Args;
use harness::{Deadline, Process, content, figure, gaggle, libtorrent, namespace};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// Seconds that one transfer may take.
const TRANSFER_S: u64 = 300;
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Args)]
pub(crate) struct Pair {
    #[command(flatten)]
    pub(super) common: Common,
    /// Bytes to move, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Bytes in a piece, in KiB
    #[arg(long, default_value_t = 1024)]
    piece_kib: u64,
    /// Measured transfers of each client
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// One transfer.
struct Run {
    client: Client,
    mib_per_s: f64,
    seed_cpu_s: f64,
    leech_cpu_s: f64,
}

impl Pair {
    pub(super) fn run(&self, programs: &Programs) -> anyhow::Result<bool> {
        let work = scratch(&self.common.work)?;
        let file = work.path().join("seed/content.bin");
        let torrent = work.path().join("content.torrent");
        println!(
            "{} MiB, pieces of {} KiB, libtorrent {}",
            self.mib,
            self.piece_kib,
            programs.libtorrent.version()
        );
        content::write(&file, self.mib << 20, 1)?;
        programs.libtorrent.create(&file, &torrent, self.piece_kib << 10, "")?;
        let want = content::digest(&file)?;
        touch_memory(work.path(), self.mib << 20)?;

        let mut runs = Vec::new();
        for round in 0..self.runs {
            // A B, B A, A B: what drifts hits both.
            let mut order = self.common.clients.clone();
            if round % 2 == 1 {
                order.reverse();
            }
            for client in order {
                let run = self.transfer(programs, client, work.path(), &want)?;
                println!(
                    "{:<11} {:>7.0} MiB/s   CPU seconds: seed {:.2}, leech {:.2}",
                    client.name(),
                    run.mib_per_s,
                    run.seed_cpu_s,
                    run.leech_cpu_s
                );
                runs.push(run);
            }
        }
        report(&runs, self.mib);
        Ok(true)
    }

    fn transfer(
        &self,
        programs: &Programs,
        client: Client,
        work: &Path,
        want: &str,
    ) -> anyhow::Result<Run> {
        let here = tempfile::tempdir_in(work)?;
        let torrent = work.join("content.torrent");
        let seed_at = SocketAddr::new(namespace::host(1), 6881);
        let leech_at = SocketAddr::new(namespace::host(2), 6881);
        let (mut seed, mut leech, began);
        match client {
            Client::Gaggle => {
                let part = |dir: &Path, listen, state: &str, flags: &[&str]| gaggle::Part {
                    torrent: torrent.clone(),
                    dir: dir.to_path_buf(),
                    listen,
                    state: here.path().join(state),
                    flags: flags.iter().map(ToString::to_string).collect(),
                };
                let from = part(&work.join("seed"), seed_at, "state-seed", &[]);
                seed = programs.gaggle.seed("seed", &from, here.path())?;
                gaggle::seeding(&mut seed, Deadline::after_secs(TRANSFER_S))?;
                let peer = seed_at.to_string();
                let flags = ["--peer", &peer, "--seed", "never"];
                let to = part(&here.path().join("out"), leech_at, "state-leech", &flags);
                leech = programs.gaggle.get("leech", &to, here.path())?;
                began = leech.started();
            }
            Client::Libtorrent => {
                let part = |dir: &Path, listen, peers| libtorrent::Part {
                    torrent: torrent.clone(),
                    dir: dir.to_path_buf(),
                    listen,
                    peers,
                    up: 0,
                    down: 0,
                    lsd: false,
                    dht: Vec::new(),
                    utp: false,
                    pex: true,
                };
                let from = part(&work.join("seed"), seed_at, vec![]);
                seed = programs.libtorrent.start("seed", "seed", &from, here.path())?;
                libtorrent::go(&mut seed)?;
                libtorrent::done(&mut seed, Deadline::after_secs(TRANSFER_S))?;
                let to = part(&here.path().join("out"), leech_at, vec![seed_at]);
                leech = programs.libtorrent.start("leech", "leech", &to, here.path())?;
                began = libtorrent::go(&mut leech)?.at;
            }
        }
        let seed_before = seed.cpu_s();
        let ended = wait_complete(client, &mut leech)?;
        let (seed_cpu_s, leech_cpu_s) = (seed.cpu_s() - seed_before, leech.cpu_s());
        let got = content::digest(&here.path().join("out/content.bin"))?;
        ensure!(got == want, "{}: the copy differs", client.name());
        let seconds = (ended - began).as_secs_f64();
        Ok(Run { client, mib_per_s: self.mib as f64 / seconds, seed_cpu_s, leech_cpu_s })
    }
}

/// Waits for the leech's own word, watching its CPU time: it may end right after it.
fn wait_complete(client: Client, leech: &mut Process) -> anyhow::Result<Instant> {
    let deadline = Deadline::after_secs(TRANSFER_S);
    match client {
        Client::Gaggle => Ok(gaggle::complete(leech, deadline)?.0.at),
        Client::Libtorrent => Ok(libtorrent::done(leech, deadline)?.at),
    }
}

/// Memory that was never used is slow the first time, and would punish whoever comes first.
fn touch_memory(work: &Path, bytes: u64) -> anyhow::Result<()> {
    let file = work.join("touched");
    content::write(&file, bytes, 2)?;
    Ok(std::fs::remove_file(file)?)
}

fn report(runs: &[Run], mib: u64) {
    let of = |client: Client, value: fn(&Run) -> f64| {
        median(&mut runs.iter().filter(|run| run.client == client).map(value).collect::<Vec<_>>())
    };
    let mut said = Vec::new();
    for client in [Client::Gaggle, Client::Libtorrent] {
        let rate = of(client, |run| run.mib_per_s);
        if rate > 0.0 {
            let cpu = of(client, |run| run.seed_cpu_s + run.leech_cpu_s) * 1024.0 / mib as f64;
            let megabytes = rate * MIB / 1e6;
            said.push(format!("{} {megabytes:.0} MB/s ({cpu:.2} CPU s/GiB)", client.name()));
        }
    }
    let rival = of(Client::Libtorrent, |run| run.mib_per_s);
    if rival > 0.0 && said.len() == 2 {
        said.push(format!("ratio {:.2}", of(Client::Gaggle, |run| run.mib_per_s) / rival));
    }
    figure("pair", &said.join(", "));
}
