//! Gives a torrent that is complete to whoever asks, until it is enough. What `seed` and `share` have
//! in common.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, of_engine};
use super::progress::{Meter, TICK};
use crate::engine::{AddTorrent, Download, DownloadEvent, Engine, What};
use crate::net::Clock;
use gaggle_core::clock::Instant;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::Metainfo;
use gaggle_core::swarm::torrent::Status;
use gaggle_core::units::Size;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How much is enough; the first that is reached counts. Without any it ends by a signal only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Enough {
    /// Copies sent.
    pub ratio: Option<f64>,
    /// Time spent.
    pub time: Option<Duration>,
    /// Peers that have been seen to hold everything.
    pub copies: Option<usize>,
}

/// A torrent that is being given.
pub(super) struct Giving {
    env: Arc<Env>,
    download: Download,
    /// Name of the file or the top folder.
    pub name: String,
    id: InfoHash,
    /// Known once [`Giving::begin`] is over.
    metainfo: Option<Arc<Metainfo>>,
    /// The folder that holds the content.
    pub dir: PathBuf,
    total: u64,
    /// When the slowest peer was first seen, and how far it was.
    slowest: Option<(Instant, f64)>,
}

impl Giving {
    /// Adds the torrent and waits until its data has been looked at. All of it must be there.
    /// `Err` is the signal that stopped it.
    pub(super) async fn begin(
        env: &Arc<Env>,
        engine: &Engine,
        add: AddTorrent,
    ) -> Result<Result<Self, Exit>, Failure> {
        let dir = add.out_dir.clone();
        let (name, metainfo) = match &add.what {
            What::Metainfo(metainfo) => (metainfo.info.name.clone(), Some(metainfo.clone())),
            What::Magnet(magnet) => (magnet.info_hash().to_string(), None),
        };
        let download = engine.add(add).await.map_err(|e| of_engine(&e))?;
        let id = download.info_hash();
        let mut this =
            Self { env: env.clone(), download, name, id, metainfo, dir, total: 0, slowest: None };
        let done = match this.checked().await {
            Ok(Ok(done)) => done,
            Ok(Err(exit)) => {
                this.download.stop().await;
                return Ok(Err(exit));
            }
            Err(failure) => {
                this.download.stop().await;
                return Err(failure);
            }
        };
        // Not from a snapshot: the one that tells of the metadata may come after this event.
        let metainfo = this.metainfo.as_ref();
        this.total = metainfo.map_or(0, |metainfo| metainfo.info.geometry.total());
        if done < this.total {
            this.download.stop().await;
            let missing = this.total - done;
            let (name, dir) = (this.name, this.dir.display());
            let what =
                format!("{name} in {dir} is not complete: {missing} bytes are missing or wrong");
            return Err(Failure::new(Exit::Mismatch, what)
                .hint("`gaggle verify TORRENT DIR` lists them, `gaggle get` fetches them"));
        }
        Ok(Ok(this))
    }

    /// Bytes that are there, or the signal that came first.
    async fn checked(&mut self) -> Result<Result<u64, Exit>, Failure> {
        let env = self.env.clone();
        let mut meter = Meter::new(&env, 0);
        let mut ticks = tokio::time::interval(TICK);
        let end = loop {
            tokio::select! {
                biased;
                exit = env.signals.first() => break Ok(Err(exit)),
                event = self.download.event() => match event {
                    Some(DownloadEvent::Checked { hashed_pieces, trusted_pieces, done }) => {
                        let info_hash = self.id.to_string();
                        _ = env.emit(&Event::Checked { info_hash, hashed_pieces, trusted_pieces, done });
                        break Ok(Ok(done));
                    }
                    Some(DownloadEvent::Failed(error)) => break Err(of_engine(&error)),
                    Some(DownloadEvent::MetadataKnown(metainfo)) => {
                        self.name.clone_from(&metainfo.info.name);
                        self.metainfo = Some(metainfo);
                    }
                    Some(_) => {}
                    None => break Err(Failure::new(Exit::Other, format!("{} ended by itself", self.name))),
                },
                _ = ticks.tick() => meter.checking(&self.name, &self.download.snapshot()),
            }
        };
        meter.finish();
        end
    }

    /// The torrent that is given.
    pub(super) fn metainfo(&self) -> Option<&Metainfo> {
        self.metainfo.as_deref()
    }

    /// Ends it before it was given.
    pub(super) async fn stop(self) {
        self.download.stop().await;
    }

    /// Gives until it is enough or a signal comes; both are a good end.
    pub(super) async fn give(mut self, enough: Enough) -> Result<Exit, Failure> {
        let env = self.env.clone();
        let mut meter = Meter::new(&env, self.total);
        let clock = Clock::start();
        let over = enough.time.map(|time| Instant::ZERO + time);
        let mut changes = self.download.changes();
        let mut ticks = tokio::time::interval(TICK);
        // With nobody there nothing changes: a thousand torrents that wait must not wake for it.
        let mut alone = false;
        let end = loop {
            tokio::select! {
                biased;
                _ = env.signals.first() => break Ok(Exit::Done),
                () = clock.sleep_until(over) => break Ok(Exit::Done),
                Ok(()) = changes.changed(), if alone => alone = false,
                event = self.download.event() => match event {
                    Some(DownloadEvent::Failed(error)) => break Err(of_engine(&error)),
                    Some(DownloadEvent::Banned { peer, reason }) => {
                        let (info_hash, peer) = (self.id.to_string(), peer.to_string());
                        env.note(format_args!("{}: banned {peer}: {reason}", self.name));
                        _ = env.emit(&Event::Banned { info_hash, peer, reason: &reason });
                    }
                    Some(_) => {}
                    None => break Err(Failure::new(Exit::Other, format!("{} ended by itself", self.name))),
                },
                _ = ticks.tick(), if !alone => {
                    changes.mark_unchanged();
                    let mut status = self.download.snapshot().status;
                    alone = status.peers == 0;
                    // Nothing is wanted here, so the machine counts nothing as done.
                    (status.done, status.total) = (self.total, self.total);
                    let slowest = self.slowest(&status, clock.now());
                    meter.upload(&self.name, self.id, &status, &slowest);
                    if enough.is_reached(&status) {
                        break Ok(Exit::Done);
                    }
                }
            }
        };
        meter.finish();
        Box::pin(self.download.stop()).await; // or all of its steps would take room from the start
        let status = changes.borrow().status; // its last
        let copies = status.uploaded as f64 / self.total.max(1) as f64;
        let (sent, whole) = (Size(status.uploaded), status.completed_peers);
        env.note(format_args!(
            "{} stopped: sent {sent} ({copies:.2} copies), {whole} peer{} complete",
            self.name,
            if whole == 1 { "" } else { "s" }
        ));
        end
    }

    /// ` · slowest 63 %, ETA 2m10s` while anybody lacks something.
    fn slowest(&mut self, status: &Status, now: Instant) -> String {
        if status.peers <= status.seeds {
            self.slowest = None;
            return String::new();
        }
        let (since, from) = *self.slowest.get_or_insert((now, status.slowest));
        let percent = (status.slowest * 100.0).floor();
        let (gained, took) = (status.slowest - from, now.since(since).as_secs_f64());
        if gained < 0.0 {
            self.slowest = None; // somebody newer is the slowest now
        }
        if gained <= 0.0 {
            return format!(" · slowest {percent:.0} %");
        }
        let left = (1.0 - status.slowest) * took / gained;
        format!(" · slowest {percent:.0} %, ETA {}", super::progress::clock(left.ceil() as u64))
    }
}

impl Enough {
    /// Whether enough has been sent; time is looked at elsewhere.
    fn is_reached(&self, status: &Status) -> bool {
        let sent = status.uploaded as f64 / status.total.max(1) as f64;
        self.ratio.is_some_and(|ratio| sent >= ratio)
            || self.copies.is_some_and(|copies| status.completed_peers >= copies)
    }
}

/// Gives several torrents at a time; the first failure counts, after all have ended.
pub(super) async fn give_all(all: Vec<Giving>, enough: Enough) -> anyhow::Result<Exit> {
    let mut running = tokio::task::JoinSet::new();
    for giving in all {
        running.spawn(giving.give(enough));
    }
    let mut end = Ok(Exit::Done);
    while let Some(ended) = running.join_next().await {
        if let (Ok(_), Err(failure)) = (&end, ended?) {
            end = Err(failure);
        }
    }
    Ok(end?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_that_is_reached_counts() {
        let status = Status { uploaded: 150, total: 100, completed_peers: 2, ..Status::default() };
        let reached = |enough: Enough| enough.is_reached(&status);
        assert!(!reached(Enough::default()));
        assert!(reached(Enough { ratio: Some(1.5), ..Enough::default() }));
        assert!(!reached(Enough { ratio: Some(1.6), ..Enough::default() }));
        assert!(reached(Enough { ratio: Some(9.0), copies: Some(2), ..Enough::default() }));
        assert!(!reached(Enough { copies: Some(3), ..Enough::default() }));
    }
}
