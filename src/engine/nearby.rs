//! Between one torrent and the neighbours on the wire: lets them hear of it, and the torrent of them.
//!
//! Never speaks of a torrent that is private, nor of a magnet that has turned out to be.
//= BEP 27

use super::api::Snapshot;
use super::command::{Command, Reach};
use super::engine::Shared;
use crate::locate::{Ask, AskId, Found, Locator};
use gaggle_core::id::InfoHash;
use gaggle_core::proto::announce::{Announce, Event};
use gaggle_core::swarm::roster::Source;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Answers that may wait to be read; more are dropped.
const FOUND_QUEUE: usize = 16;
/// Neighbours that are counted; more are found, and not counted.
const COUNTED_MAX: usize = 1000;

/// The local discovery of one torrent. Dropping it ends it.
pub(super) struct Handle {
    heard: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Handle {
    /// How many neighbours have been heard of.
    pub(super) fn heard(&self) -> usize {
        *self.heard.borrow()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins as soon as the torrent runs. `None` if discovery is off.
pub(super) fn start(
    shared: &Arc<Shared>,
    info_hash: InfoHash,
    torrent: Reach,
    snapshots: &watch::Receiver<Snapshot>,
) -> Option<Handle> {
    shared.lsd.as_ref()?;
    let shared = Arc::clone(shared);
    let mut snapshots = snapshots.clone();
    let (count, heard) = watch::channel(0);
    let task = tokio::spawn(async move {
        if snapshots.wait_for(|snapshot| snapshot.running).await.is_err() {
            return;
        }
        if is_private(&snapshots) {
            return;
        }
        let (found, mut answers) = mpsc::channel(FOUND_QUEUE);
        if let Some(lsd) = &shared.lsd {
            lsd.submit(AskId(0), Ask::Peers(ask(&shared, info_hash)), found);
        }
        let mut known: Vec<SocketAddr> = Vec::new();
        loop {
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some(Found::Peers { peers, .. }) => {
                        let new = peers.iter().filter(|peer| !known.contains(peer));
                        let new: Vec<SocketAddr> = new.copied().collect();
                        known.extend(new);
                        known.truncate(COUNTED_MAX);
                        count.send_replace(known.len());
                        torrent.tell(Command::AddPeers(Source::Lsd, peers));
                    }
                    Some(Found::Done { outcome, .. }) => {
                        return tracing::debug!(?outcome, "local discovery has ended");
                    }
                    Some(Found::Searched { .. }) => {} // neighbours are not searched
                    None => return,
                },
                changed = snapshots.changed() => {
                    if changed.is_err() || is_private(&snapshots) {
                        return; // which drops the receiver, and so ends the ask
                    }
                }
            }
        }
    });
    Some(Handle { heard, task })
}

fn is_private(snapshots: &watch::Receiver<Snapshot>) -> bool {
    snapshots.borrow().metainfo.as_ref().is_some_and(|metainfo| metainfo.info.private)
}

/// Of all this the neighbours hear the torrent and the port.
fn ask(shared: &Shared, info_hash: InfoHash) -> Announce {
    Announce {
        info_hash,
        peer_id: shared.our_id,
        port: shared.listen.port(), // not that of the router: they are on this side of it
        uploaded: 0,
        downloaded: 0,
        left: 0,
        event: Event::None,
        key: shared.key,
        want: None,
        tracker_id: Vec::new(),
    }
}
