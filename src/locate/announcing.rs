//! Drives the announcer of one torrent over real trackers.
//!
//! Decides nothing about whom to ask when: [`Announcer`] does. Never keeps peers back, and never waits for whoever
//! takes them: when the channel is full, peers are dropped, and the next announce brings others.

use super::{Ask, AskId, Found, Trackers};
use crate::net::Clock;
use gaggle_core::clock::Instant;
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::announce::{Announce, Event};
use gaggle_core::rng::Rng;
use gaggle_core::swarm::announce::{self, Announcer, Failure, Pace, TrackerKey, TrackerStatus};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How long `stopped` may take, over all trackers; what has not gone out by then is given up.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// Peers to ask for when they are needed, as libtorrent does; otherwise the tracker decides.
const WANT: u32 = 200;
/// Answers that may wait to be read; an ask gives two.
const FOUND_QUEUE: usize = 4;

/// Who announces what.
#[derive(Clone, Debug)]
pub struct AnnouncingSetup {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Us.
    pub peer_id: PeerId,
    /// Where we accept connections, unless [`Progress`] says otherwise.
    pub port: u16,
    /// The same for the whole run of the program.
    pub key: u32,
    /// Trackers as in the torrent.
    pub tiers: Vec<Vec<String>>,
    /// How often to ask.
    pub pace: Pace,
}

/// How the torrent stands; published by its owner whenever it changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Payload bytes sent since the start.
    pub uploaded: u64,
    /// Payload bytes received since the start.
    pub downloaded: u64,
    /// Wanted bytes still missing. For a magnet without metadata any number but 0.
    pub left: u64,
    /// Trackers are asked as often as they allow.
    pub needs_peers: bool,
    /// The port of a router that leads to us, if there is one.
    pub port: Option<NonZeroU16>,
    /// The last wanted piece has arrived since the start. True from the beginning for a seed, which then never
    /// announces a completion.
    pub complete: bool,
}

/// The announces of one torrent at work. Dropping it ends them without a farewell.
pub struct Announcing {
    stop: Option<oneshot::Sender<()>>,
    status: watch::Receiver<Vec<TrackerStatus>>,
    task: JoinHandle<()>,
}

struct Task {
    announcer: Announcer,
    setup: AnnouncingSetup,
    trackers: Trackers,
    clock: Clock,
    progress: watch::Receiver<Progress>,
    peers: mpsc::Sender<Vec<SocketAddr>>,
    status: watch::Sender<Vec<TrackerStatus>>,
    said_complete: bool,
}

/// An announce under way.
struct UnderWay {
    tracker: TrackerKey,
    found: mpsc::Receiver<Found>,
    peers: usize,
}

impl Announcing {
    /// Begins to announce at once; peers go to `peers` as they are heard of.
    ///
    /// It also ends, with a farewell, when the sender of `progress` is dropped.
    pub fn start(
        setup: AnnouncingSetup,
        trackers: Trackers,
        clock: Clock,
        rng: Rng,
        progress: watch::Receiver<Progress>,
        peers: mpsc::Sender<Vec<SocketAddr>>,
    ) -> Self {
        let announcer = Announcer::new(&setup.tiers, setup.pace, rng);
        let (status, status_seen) = watch::channel(announcer.status());
        let (stop, stopped) = oneshot::channel();
        let said_complete = progress.borrow().complete;
        let task =
            Task { announcer, setup, trackers, clock, progress, peers, status, said_complete };
        let task = tokio::spawn(Box::new(task).run(stopped));
        Self { stop: Some(stop), status: status_seen, task }
    }

    /// How it stands with each tracker.
    pub fn status(&self) -> Vec<TrackerStatus> {
        self.status.borrow().clone()
    }

    /// The same, for whoever wants to hear about changes.
    pub fn watch_status(&self) -> watch::Receiver<Vec<TrackerStatus>> {
        self.status.clone()
    }

    /// Says `stopped` to all trackers that know us; returns after [`FAREWELL`] at most.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // The task keeps the time itself; an error means that it has ended already.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Task {
    async fn run(mut self: Box<Self>, mut stop: oneshot::Receiver<()>) {
        let mut under_way: Option<UnderWay> = None;
        loop {
            self.follow_progress();
            if under_way.is_none() {
                under_way = self.begin();
            }
            let _ = self.status.send_if_modified(|shown| {
                let now = self.announcer.status();
                let changed = *shown != now;
                *shown = now;
                changed
            });
            tokio::select! {
                biased;
                _ = &mut stop => break,
                changed = self.progress.changed() => if changed.is_err() { break },
                found = next(&mut under_way) => self.found(&mut under_way, found),
                () = self.clock.sleep_until(self.announcer.poll_timeout()), if under_way.is_none() => {}
            }
        }
        drop(under_way);
        self.say_farewell().await;
    }

    fn follow_progress(&mut self) {
        let Progress { needs_peers, complete, .. } = *self.progress.borrow_and_update();
        self.announcer.set_needs_peers(needs_peers);
        if complete && !self.said_complete {
            self.said_complete = true;
            self.announcer.completed(self.clock.now());
        }
    }

    /// Makes the next announce if it is due. URLs that cannot be asked fail at once, until one can.
    fn begin(&mut self) -> Option<UnderWay> {
        loop {
            let ask = self.announcer.poll(self.clock.now())?;
            let tracker = ask.tracker;
            match self.submit(ask) {
                Ok(found) => return Some(UnderWay { tracker, found, peers: 0 }),
                Err(error) => self.failed(tracker, &error),
            }
        }
    }

    fn submit(&self, ask: announce::Ask) -> Result<mpsc::Receiver<Found>, super::LocateError> {
        let locator = self.trackers.locator(&ask.url)?;
        tracing::debug!(url = %ask.url, event = ?ask.event, "announce");
        let Progress { uploaded, downloaded, left, needs_peers, port, .. } =
            *self.progress.borrow();
        let want = match ask.event {
            Event::Stopped => Some(0),
            _ => needs_peers.then_some(WANT),
        };
        let announce = Announce {
            info_hash: self.setup.info_hash,
            peer_id: self.setup.peer_id,
            port: port.map_or(self.setup.port, NonZeroU16::get),
            uploaded,
            downloaded,
            left,
            event: ask.event,
            key: self.setup.key,
            want,
            tracker_id: ask.tracker_id,
        };
        let (found, receiver) = mpsc::channel(FOUND_QUEUE);
        locator.submit(AskId(0), Ask::Peers(announce), found);
        Ok(receiver)
    }

    fn found(&mut self, under_way: &mut Option<UnderWay>, found: Option<Found>) {
        let Some(current) = under_way else { return };
        let tracker = current.tracker;
        match found {
            Some(Found::Peers { peers, .. }) => {
                current.peers += peers.len();
                let _ = self.peers.try_send(peers);
                return;
            }
            Some(Found::Searched { .. }) => return, // a tracker has nothing to search
            Some(Found::Done { outcome: Ok(terms), .. }) => {
                if let Some(warning) = &terms.warning {
                    tracing::warn!(%warning, "tracker warns");
                }
                let (now, peers) = (self.clock.now(), current.peers);
                self.announcer.handle_answer(now, tracker, Ok((&terms, peers)));
            }
            Some(Found::Done { outcome: Err(error), .. }) => self.failed(tracker, &error),
            None => {
                let lost = Failure { reason: "given up".to_owned(), retry_in: None };
                self.announcer.handle_answer(self.clock.now(), tracker, Err(lost));
            }
        }
        *under_way = None;
    }

    fn failed(&mut self, tracker: TrackerKey, error: &super::LocateError) {
        tracing::debug!(%error, "announce failed");
        let failure = Failure { reason: error.to_string(), retry_in: error.retry_in() };
        self.announcer.handle_answer(self.clock.now(), tracker, Err(failure));
    }

    /// All at once; whoever does not hear it in time forgets us by itself.
    async fn say_farewell(mut self: Box<Self>) {
        self.announcer.stop();
        let deadline: Instant = self.clock.now() + FAREWELL;
        let mut farewells = Vec::new();
        while let Some(ask) = self.announcer.poll(self.clock.now()) {
            farewells.extend(self.submit(ask));
        }
        for mut farewell in farewells {
            tokio::select! {
                () = async { while farewell.recv().await.is_some() {} } => {}
                () = self.clock.sleep_until(Some(deadline)) => break,
            }
        }
    }
}

/// The next word of the announce under way; never, if there is none.
async fn next(under_way: &mut Option<UnderWay>) -> Option<Found> {
    match under_way {
        Some(current) => current.found.recv().await,
        None => std::future::pending().await,
    }
}
