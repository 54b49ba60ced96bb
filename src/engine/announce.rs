//! Between one torrent and its trackers: tells them how it stands, and the torrent whom they know.
//!
//! Never decides whom to ask when: the announcer of core does.

use super::api::{AddTorrent, EngineError, Snapshot, What};
use super::command::{Command, Reach};
use super::engine::Shared;
use crate::locate::{Announcing, AnnouncingSetup, Mapped, Progress, is_near};
use crate::net::os_rng;
use gaggle_core::id::InfoHash;
use gaggle_core::swarm::announce::{Pace, TrackerStatus};
use gaggle_core::swarm::roster::Source;
use std::num::NonZeroU16;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// With fewer peers than this, connected or known, trackers are asked as often as they allow.
const PEERS_ENOUGH: usize = 30;
/// What a magnet says is missing while nobody knows how much that is.
const LEFT_UNKNOWN: u64 = 1 << 30;

/// The announces of one torrent. Dropping it ends them without a farewell.
pub(super) struct Handle {
    statuses: watch::Receiver<Vec<TrackerStatus>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Handle {
    /// What every tracker last said.
    pub(super) fn trackers(&self) -> Vec<TrackerStatus> {
        self.statuses.borrow().clone()
    }

    /// Tells the trackers that we leave; takes a second at most.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Begins to announce as soon as the torrent knows what it has.
pub(super) fn start(
    shared: &Arc<Shared>,
    add: &AddTorrent,
    info_hash: InfoHash,
    torrent: Reach,
    snapshots: &watch::Receiver<Snapshot>,
) -> Result<Handle, EngineError> {
    let rng = os_rng().map_err(|error| EngineError::System(error.to_string()))?;
    let setup = AnnouncingSetup {
        info_hash,
        peer_id: shared.our_id,
        port: shared.listen.port(),
        key: shared.key,
        tiers: tiers(add, shared.config.lan),
        pace: Pace::default(),
    };
    let trackers = shared.trackers.trusting(add.trackers.iter().cloned().collect());
    let mut snapshots = snapshots.clone();
    let (stop, mut stopped) = oneshot::channel();
    let (shown, statuses) = watch::channel(Vec::new());
    let (clock, shared) = (shared.clock, Arc::clone(shared));
    let task = tokio::spawn(async move {
        let ready = snapshots.wait_for(|snapshot| snapshot.running);
        let begun = tokio::select! {
            ready = ready => ready.map(|snapshot| progress(&snapshot, shared.mapped_port())),
            _ = &mut stopped => return,
        };
        let Ok(begun) = begun else { return };
        let mut announcing = Announcing::new(setup, trackers, clock, rng, begun);
        let mut ports = shared.watch_ports();
        loop {
            shown.send_replace(announcing.status());
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                peers = announcing.step() => {
                    if !peers.is_empty() {
                        torrent.tell(Command::AddPeers(Source::Tracker, peers));
                    }
                }
                // Of a quiet torrent there is no new snapshot to tell it by.
                () = changed(&mut ports) => {
                    announcing.set_progress(progress(&snapshots.borrow(), shared.mapped_port()));
                }
                changed = snapshots.changed() => match changed {
                    Ok(()) => {
                        let now = progress(&snapshots.borrow_and_update(), shared.mapped_port());
                        announcing.set_progress(now);
                    }
                    Err(_) => break,
                },
            }
        }
        Box::pin(announcing.stop()).await; // or all of its steps would take room from the start
    });
    Ok(Handle { statuses, stop, task })
}

/// The router has given other ports; never, if none is asked.
async fn changed(ports: &mut Option<watch::Receiver<Option<Mapped>>>) {
    if let Some(watched) = ports
        && watched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Trackers of the torrent, and those the user added as a tier of their own.
fn tiers(add: &AddTorrent, lan: bool) -> Vec<Vec<String>> {
    let mut own: Vec<Vec<String>> = match &add.what {
        What::Magnet(magnet) => magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
        What::Metainfo(metainfo) => metainfo.trackers.clone(),
    };
    if lan {
        own.iter_mut().for_each(|tier| tier.retain(|url| is_near(url)));
        own.retain(|tier| !tier.is_empty());
    }
    let extra = (!add.trackers.is_empty()).then(|| add.trackers.clone());
    extra.into_iter().chain(own).collect()
}

fn progress(snapshot: &Snapshot, port: Option<NonZeroU16>) -> Progress {
    let status = &snapshot.status;
    let known = status.pieces.1 > 0; // the metadata alone says nothing of what is there
    let left = if known { status.missing } else { LEFT_UNKNOWN };
    let wants = !known || status.done < status.total;
    Progress {
        uploaded: status.uploaded,
        downloaded: status.downloaded,
        left,
        needs_peers: wants
            && (status.peers == 0 || status.peers + status.candidates < PEERS_ENOUGH),
        port,
        // What was here already when we began was completed in another run.
        complete: known && left == 0 && status.downloaded > 0,
    }
}
