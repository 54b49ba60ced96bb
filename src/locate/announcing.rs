//! Drives the announcer of one torrent over real trackers.
//!
//! Decides nothing about whom to ask when: [`Announcer`] does. Has no task of its own: it moves while its owner waits
//! for it.

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
use tokio::sync::mpsc;

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

/// How the torrent stands; its owner says so whenever it changes.
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
    announcer: Announcer,
    setup: AnnouncingSetup,
    trackers: Trackers,
    clock: Clock,
    progress: Progress,
    said_complete: bool,
    under_way: Option<UnderWay>,
}

/// An announce under way.
struct UnderWay {
    tracker: TrackerKey,
    found: mpsc::Receiver<Found>,
    peers: usize,
}

impl Announcing {
    /// The first announce is made by the first [`Self::step`].
    pub fn new(
        mut setup: AnnouncingSetup,
        trackers: Trackers,
        clock: Clock,
        rng: Rng,
        progress: Progress,
    ) -> Self {
        let tiers = std::mem::take(&mut setup.tiers); // the announcer knows them from here on
        let mut announcer = Announcer::new(&tiers, setup.pace, rng);
        announcer.set_needs_peers(progress.needs_peers);
        let said_complete = progress.complete;
        Self { announcer, setup, trackers, clock, progress, said_complete, under_way: None }
    }

    /// How it stands with each tracker.
    pub fn status(&self) -> Vec<TrackerStatus> {
        self.announcer.status()
    }

    /// What is announced from now on; a completion at once.
    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
        self.announcer.set_needs_peers(progress.needs_peers);
        if progress.complete && !self.said_complete {
            self.said_complete = true;
            self.announcer.completed(self.clock.now());
        }
    }

    /// Waits until the next announce is due and makes it, or for the next word on the one under way. Returns the peers
    /// that were heard of; the status may have changed. May be dropped and called again at any time, and is to be
    /// called anew after [`Self::set_progress`].
    pub async fn step(&mut self) -> Vec<SocketAddr> {
        if let Some(current) = &mut self.under_way {
            let found = current.found.recv().await;
            return self.found(found);
        }
        self.clock.sleep_until(self.announcer.poll_timeout()).await;
        self.begin();
        Vec::new()
    }

    /// Says `stopped` to all trackers that know us, all at once; returns after [`FAREWELL`] at most. Whoever does not
    /// hear it in time forgets us by itself.
    pub async fn stop(mut self) {
        self.under_way = None;
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

    /// Makes the next announce if it is due. URLs that cannot be asked fail at once, until one can.
    fn begin(&mut self) {
        while let Some(ask) = self.announcer.poll(self.clock.now()) {
            let tracker = ask.tracker;
            match self.submit(ask) {
                Ok(found) => {
                    self.under_way = Some(UnderWay { tracker, found, peers: 0 });
                    return;
                }
                Err(error) => self.failed(tracker, &error),
            }
        }
    }

    fn submit(&self, ask: announce::Ask) -> Result<mpsc::Receiver<Found>, super::LocateError> {
        let locator = self.trackers.locator(&ask.url)?;
        tracing::debug!(url = %ask.url, event = ?ask.event, "announce");
        let Progress { uploaded, downloaded, left, needs_peers, port, .. } = self.progress;
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

    fn found(&mut self, found: Option<Found>) -> Vec<SocketAddr> {
        let Some(current) = &mut self.under_way else { return Vec::new() };
        let tracker = current.tracker;
        match found {
            Some(Found::Peers { peers, .. }) => {
                current.peers += peers.len();
                return peers;
            }
            Some(Found::Searched { .. }) => return Vec::new(), // a tracker has nothing to search
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
        self.under_way = None;
        Vec::new()
    }

    fn failed(&mut self, tracker: TrackerKey, error: &super::LocateError) {
        tracing::debug!(%error, "announce failed");
        let failure = Failure { reason: error.to_string(), retry_in: error.retry_in() };
        self.announcer.handle_answer(self.clock.now(), tracker, Err(failure));
    }
}
