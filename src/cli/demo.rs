//! `gaggle demo`: a whole swarm in one process: tracker, one seed, two downloaders, real sockets.
//!
//! Nothing leaves this machine and nothing stays on it: all ports are on loopback, all files in a
//! temporary folder.

use super::create::{Making, summary};
use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, of_engine};
use super::progress::{Meter, TICK, clock};
use super::tracker;
use crate::disk::hashing::{FileReport, verify};
use crate::engine::{AddTorrent, Download, DownloadEvent, Engine, EngineConfig, Selection, What};
use crate::net::Clock;
use gaggle_core::metainfo::Metainfo;
use gaggle_core::storage::{Layout, Verify};
use gaggle_core::swarm::choker::Slots;
use gaggle_core::swarm::torrent::Status;
use gaggle_core::units::{BytesPerSec, Size};
use gaggle_tracker::TrackerConfig;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The content is at least this large, so that there is something to see.
const CONTENT_LEN_MIN: u64 = 16 << 20;
/// The seed needs about this long for one copy: long enough for the downloaders to trade.
const COPY_TIME_S: u64 = 3;
/// How often it says how far the downloaders are, where there is no terminal for bars.
const PLAIN: Duration = Duration::from_secs(1);
/// Something is wrong if it takes longer than this and a second for every 4 MiB.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watch a small swarm at work: tracker, seed and two downloaders on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle demo
  gaggle demo ./some-folder
  gaggle demo --json

It moves this program's own executable, repeated to 16 MiB, unless a path is given. All ports are on
loopback, all files in a temporary folder that is removed at the end.")]
pub(super) struct Demo {
    /// What to move instead
    path: Option<PathBuf>,
}

/// A temporary folder, gone when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0); // what cannot be removed now, the system clears away
    }
}

/// Smaller content may come from the seed alone before the downloaders have met.
const TRADES_FROM: u64 = 4 << 20;

/// One participant with a folder of its own.
struct Node {
    name: &'static str,
    download: Download,
    folder: PathBuf,
}

impl Demo {
    /// Fails unless both downloaders end with the same bytes and have traded with each other.
    pub(super) async fn run(self, env: &Arc<Env>) -> anyhow::Result<Exit> {
        let scratch = scratch()?;
        let path = match &self.path {
            Some(path) => path.clone(),
            None => content(&scratch.0)?,
        };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let tracker = tracker::start(&TrackerConfig::new(loopback))?;
        let url = format!("http://{}/announce", tracker.local_addr());
        let making = Making { tracker: vec![url.clone()], ..Making::default() };
        let made = match making.make(env, &path, None).await? {
            Ok(made) => made,
            Err(exit) => return Ok(exit),
        };
        if made.renamed > 0 {
            return Err(Failure::usage("the demo needs names that every system can have").into());
        }
        env.note(summary(&made));
        env.note(format_args!("tracker {url}"));
        let total = made.metainfo.info.geometry.total();
        let limit = BytesPerSec(total / COPY_TIME_S).max(BytesPerSec(1 << 20));
        let mut nodes = Vec::new();
        for (name, folder, up) in [
            ("seed", made.parent.clone(), Some(limit)),
            ("downloader 1", scratch.0.join("1"), None),
            ("downloader 2", scratch.0.join("2"), None),
        ] {
            let state = scratch.0.join(format!("state of {name}"));
            nodes.push(start(env, name, folder, state, up, &made.metainfo, &url).await?);
        }
        let clock = Clock::start();
        let end = watch(env, &mut nodes, total).await;
        let took = clock.now().since(gaggle_core::clock::Instant::ZERO);
        // A snapshot may be a fifth of a second old; the last bytes shall count.
        tokio::time::sleep(TICK).await;
        let statuses: Vec<Status> = nodes.iter().map(|n| n.download.snapshot().status).collect();
        let folders: Vec<PathBuf> = nodes.iter().skip(1).map(|node| node.folder.clone()).collect();
        for node in nodes {
            node.download.stop().await;
        }
        tracker.stop().await;
        match end? {
            Some(signal) => Ok(signal),
            None => {
                compare(&made.metainfo, &folders)?;
                close(env, &statuses, total, took)
            }
        }
    }
}

async fn start(
    env: &Env,
    name: &'static str,
    folder: PathBuf,
    state_dir: PathBuf,
    up: Option<BytesPerSec>,
    metainfo: &Metainfo,
    tracker: &str,
) -> Result<Node, Failure> {
    let engine = Engine::start(EngineConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        state_dir,
        down: None,
        up,
        max_peers: 10,
        slots: Slots::Auto,
        congestion: None,
        pex: true,
        lan: true,
        lsd: false, // nothing leaves this machine
        port_map: false,
        dht: None,
    });
    let engine = engine.await.map_err(|e| of_engine(&e))?;
    env.note(format_args!("{name:<12} {}", engine.listen_addr()));
    let is_seed = name == "seed";
    let mut metainfo = metainfo.clone();
    metainfo.trackers.clear(); // it is given below, as one that the user chose
    let add = AddTorrent {
        what: What::Metainfo(Arc::new(metainfo)),
        out_dir: folder.clone(),
        select: Selection::All,
        peers: Vec::new(),
        link_peers: Vec::new(),
        trackers: vec![tracker.to_owned()],
        verify: if is_seed { Verify::Trust } else { Verify::Auto },
        preallocate: crate::disk::Preallocate::default(),
        overwrite: false,
        seed_only: is_seed,
    };
    let download = engine.add(add).await.map_err(|e| of_engine(&e))?;
    Ok(Node { name, download, folder })
}

/// Until both downloaders are complete. `Some` is the signal that came first.
async fn watch(env: &Env, nodes: &mut [Node], total: u64) -> Result<Option<Exit>, Failure> {
    let mut meters: Vec<Meter<'_>> =
        nodes.iter().skip(1).map(|_| Meter::new(env, total).plain_every(PLAIN)).collect();
    let mut complete = vec![false; nodes.len()];
    complete[0] = true; // the seed
    let deadline = PATIENCE + Duration::from_secs(total >> 22);
    let mut ticks = tokio::time::interval(TICK);
    let [seed, one, two] = nodes else { return Ok(None) };
    let end = loop {
        let (at, event) = tokio::select! {
            exit = env.signals.first() => break Ok(Some(exit)),
            event = seed.download.event() => (0, event),
            event = one.download.event() => (1, event),
            event = two.download.event() => (2, event),
            _ = ticks.tick() => {
                for (node, meter) in [&*one, &*two].into_iter().zip(&mut meters) {
                    let status = node.download.snapshot().status;
                    meter.download(node.name, node.download.info_hash(), &status, None);
                }
                if meters[0].elapsed() > deadline {
                    let what = format!("the downloaders did not finish in {}", clock(deadline.as_secs()));
                    break Err(Failure::new(Exit::Stalled, what));
                }
                continue;
            }
        };
        match event {
            Some(DownloadEvent::Complete { .. }) => complete[at] = true,
            Some(DownloadEvent::Failed(error)) => break Err(of_engine(&error)),
            None => break Err(Failure::new(Exit::Other, "a part of the demo ended by itself")),
            Some(_) => {}
        }
        if complete.iter().all(|&done| done) {
            break Ok(None);
        }
    };
    meters.into_iter().for_each(Meter::finish);
    end
}

/// Hashes what both downloaders hold.
fn compare(metainfo: &Metainfo, folders: &[PathBuf]) -> Result<(), Failure> {
    let layout = Layout::of(&metainfo.info).map_err(|e| Failure::usage(e.to_string()))?;
    let hashes = metainfo.info.pieces.clone();
    let hash: crate::disk::PieceHashOf = Arc::new(move |piece| hashes.of(piece));
    for folder in folders {
        let report = verify(&layout, &hash, folder, false, &|_| ControlFlow::Continue(()))
            .map_err(|e| super::exit::of_storage(&e))?;
        if !report.files.iter().all(FileReport::is_good) || !report.good.is_full() {
            return Err(Failure::new(Exit::Mismatch, "the copies are not what was sent"));
        }
    }
    Ok(())
}

/// Says who sent how much to whom. The seed received nothing, so totals tell it exactly: what a
/// downloader sent went to the other one, and the rest of what that one received came from the seed.
fn close(env: &Env, statuses: &[Status], total: u64, took: Duration) -> anyhow::Result<Exit> {
    let [_, one, two] = statuses else { return Ok(Exit::Other) };
    let from_seed = |to: &Status, other: &Status| to.downloaded.saturating_sub(other.uploaded);
    let sent = [
        ("seed", "downloader 1", from_seed(one, two)),
        ("seed", "downloader 2", from_seed(two, one)),
        ("downloader 1", "downloader 2", one.uploaded),
        ("downloader 2", "downloader 1", two.uploaded),
    ];
    let seconds = took.as_secs_f64();
    env.result(format_args!("two verified copies of {} in {seconds:.1} s", Size(total)))?;
    for (from, to, bytes) in sent {
        env.emit(&Event::Sent { from, to, bytes })?;
        env.result(format_args!("  {from:<12} sent {:>10} to {to}", Size(bytes).to_string()))?;
    }
    if total < TRADES_FROM {
        env.note("  (too small for the downloaders to have anything to trade)");
    } else if one.uploaded == 0 || two.uploaded == 0 {
        let what = "the downloaders did not trade with each other";
        return Err(Failure::new(Exit::Other, what).into());
    }
    Ok(Exit::Done)
}

fn scratch() -> Result<Scratch, Failure> {
    let path = std::env::temp_dir().join(format!("gaggle-demo-{}", std::process::id()));
    std::fs::create_dir_all(&path)
        .map_err(|e| Failure::io(format_args!("cannot create {}", path.display()), &e))?;
    Ok(Scratch(path))
}

/// This program's own executable, repeated to [`CONTENT_LEN_MIN`].
fn content(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: std::io::Error| Failure::io("cannot read this program's own file", &e);
    let own = std::fs::read(std::env::current_exe().map_err(failed)?).map_err(failed)?;
    let path = folder.join("gaggle.bin");
    let full = |e: std::io::Error| Failure::io(format_args!("cannot write {}", path.display()), &e);
    let mut file = std::fs::File::create(&path).map_err(full)?;
    for _ in 0..CONTENT_LEN_MIN.div_ceil(own.len().max(1) as u64) {
        file.write_all(&own).map_err(full)?;
    }
    Ok(path)
}
