//! One seed and several leeches whose uploads are capped, each its own process, against the fluid bound.
//!
//! With every upload at most `u`, `n` leeches and `f` bytes, nobody can be faster than
//! `max(f / u, n * f / (u * (n + 1)))`: the seed must send everything once, and all copies share all uploads.

use super::{Client, Common, Programs, median, scratch};
use anyhow::{Context, ensure};
use clap::Args;
use harness::{Deadline, Process, content, figure, gaggle, libtorrent, namespace};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// Seconds that the swarm may take before the run counts as failed.
const SWARM_S: u64 = 120;
/// How much slower than the bound the last leech may be.
const BAR: f64 = 1.25;
/// Copies that the seed may have sent when the leeches first hold every piece together.
const FIRST_COPY_BAR: f64 = 1.15;

#[derive(Args)]
pub(crate) struct Capped {
    #[command(flatten)]
    pub(super) common: Common,
    /// Leeches beside the one seed
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=20))]
    leeches: u8,
    /// Bytes to move, in MiB
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Bytes in a piece, in KiB
    #[arg(long, default_value_t = 256)]
    piece_kib: u64,
    /// Upload cap of everybody, in MiB per second
    #[arg(long, default_value_t = 20)]
    cap_mib: u64,
    /// Measured swarms of each client
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

/// One swarm.
struct Swarm {
    last_s: f64,
    copies: f64,
    /// Copies sent when the leeches first held every piece together; known of gaggle only.
    first_copy: f64,
    uploaders: usize,
}

impl Capped {
    fn bound_s(&self) -> f64 {
        let (leeches, alone) = (f64::from(self.leeches), self.mib as f64 / self.cap_mib as f64);
        alone.max(alone * leeches / (leeches + 1.0))
    }

    pub(super) fn run(&self, programs: &Programs) -> anyhow::Result<bool> {
        let work = scratch(&self.common.work)?;
        let file = work.path().join("seed/content.bin");
        content::write(&file, self.mib << 20, 1)?;
        let tracker_at = SocketAddr::new(namespace::host(1), 6969);
        let url = format!("http://{tracker_at}/announce");
        let torrent = work.path().join("content.torrent");
        programs.libtorrent.create(&file, &torrent, self.piece_kib << 10, &url)?;
        let want = content::digest(&file)?;
        println!("{} leeches, bound {:.1} s", self.leeches, self.bound_s());

        let mut met = true;
        for client in &self.common.clients {
            let mut swarms = Vec::new();
            for _ in 0..self.runs {
                // A fresh tracker each time: it must not name peers of the swarm before.
                let _tracker = programs.gaggle.tracker(tracker_at, work.path(), work.path())?;
                swarms.push(self.swarm(programs, *client, work.path(), &want)?);
            }
            let ours = self.report(*client, &swarms);
            met &= ours || *client != Client::Gaggle;
        }
        Ok(met)
    }

    fn swarm(
        &self,
        programs: &Programs,
        client: Client,
        work: &Path,
        want: &str,
    ) -> anyhow::Result<Swarm> {
        let here = tempfile::tempdir_in(work)?;
        let mut seed = self.start(programs, client, work, here.path(), 0)?;
        let ready = Deadline::after_secs(60);
        match client {
            Client::Gaggle => drop(gaggle::seeding(&mut seed, ready)?),
            Client::Libtorrent => {
                libtorrent::go(&mut seed)?;
                libtorrent::done(&mut seed, ready)?;
            }
        }
        // The announce of the seed follows its readiness within moments.
        std::thread::sleep(std::time::Duration::from_secs(1));
        let mut leeches = Vec::new();
        let began = Instant::now();
        for number in 1..=self.leeches {
            leeches.push(self.start(programs, client, work, here.path(), number)?);
        }
        if client == Client::Libtorrent {
            leeches.iter_mut().try_for_each(|leech| libtorrent::go(leech).map(drop))?;
        }
        let deadline = Deadline::after_secs(SWARM_S);
        let mut last_s = 0.0_f64;
        for leech in &mut leeches {
            let ended = match client {
                Client::Gaggle => gaggle::complete(leech, deadline)?.0.at,
                Client::Libtorrent => libtorrent::done(leech, deadline)?.at,
            };
            last_s = last_s.max((ended - began).as_secs_f64());
        }
        // One more progress line of everybody, so that the counters are of the end.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let sent = |process: &Process| gaggle::last_counter(process, "uploaded");
        let in_copies = |bytes: u64| bytes as f64 / (self.mib << 20) as f64;
        let copies = in_copies(sent(&seed));
        // One copy is the seed's own.
        let spread = |progress: &serde_json::Value| progress["copies"].as_f64() >= Some(2.0);
        let first_copy = gaggle::counter_when(&seed, "uploaded", spread).map_or(copies, in_copies);
        let uploaders = leeches.iter().filter(|leech| sent(leech) > 0).count();
        for number in 1..=self.leeches {
            let copy = here.path().join(format!("out-{number}/content.bin"));
            let got = content::digest(&copy).with_context(|| copy.display().to_string())?;
            ensure!(got == want, "{}: copy {number} differs", client.name());
        }
        Ok(Swarm { last_s, copies, first_copy, uploaders })
    }

    /// Number 0 is the seed.
    fn start(
        &self,
        programs: &Programs,
        client: Client,
        work: &Path,
        here: &Path,
        number: u8,
    ) -> anyhow::Result<Process> {
        let seeds = number == 0;
        let name = format!("peer-{number}");
        let dir = if seeds { work.join("seed") } else { here.join(format!("out-{number}")) };
        let torrent = work.join("content.torrent");
        let listen = SocketAddr::new(namespace::host(number + 2), 6881);
        match client {
            Client::Gaggle => {
                let mut flags = vec!["--up".to_owned(), format!("{}MiB", self.cap_mib)];
                if !seeds {
                    flags.extend(["--seed".to_owned(), "forever".to_owned()]);
                }
                let part = gaggle::Part {
                    torrent,
                    dir,
                    listen,
                    state: here.join(format!("state-{number}")),
                    flags,
                };
                let start = if seeds { gaggle::Gaggle::seed } else { gaggle::Gaggle::get };
                start(&programs.gaggle, &name, &part, here)
            }
            Client::Libtorrent => {
                let part = libtorrent::Part {
                    torrent,
                    dir,
                    listen,
                    peers: vec![],
                    up: self.cap_mib << 20,
                    down: 0,
                    lsd: false,
                    dht: Vec::new(),
                    utp: false,
                    pex: true,
                };
                programs.libtorrent.start(&name, if seeds { "seed" } else { "leech" }, &part, here)
            }
        }
    }

    /// Prints a client's medians; whether they meet the bar.
    fn report(&self, client: Client, swarms: &[Swarm]) -> bool {
        let middle =
            |value: fn(&Swarm) -> f64| median(&mut swarms.iter().map(value).collect::<Vec<_>>());
        let (last_s, copies) = (middle(|swarm| swarm.last_s), middle(|swarm| swarm.copies));
        let first_copy = middle(|swarm| swarm.first_copy);
        let uploaders = swarms.iter().map(|swarm| swarm.uploaders).min().unwrap_or(0);
        let ratio = last_s / self.bound_s();
        let mut text = format!(
            "{} last of {} after {last_s:.1} s = {ratio:.2} x bound {:.1} s, seed sent {copies:.2} copies",
            client.name(),
            self.leeches,
            self.bound_s()
        );
        if client == Client::Gaggle {
            text += &format!(", {first_copy:.2} until the leeches held every piece");
        }
        text += &format!(", {uploaders} leeches upload");
        figure("capped", &text);
        ratio <= BAR && first_copy <= FIRST_COPY_BAR && uploaders == usize::from(self.leeches)
    }
}
