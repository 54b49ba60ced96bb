//! Trackers of one torrent: asks them, and passes on what they know.
use super::api::{AddTorrent, Snapshot};
use super::engine::Shared;
use super::task::Command;
use gaggle_core::id::InfoHash;
use gaggle_core::swarm::announce::TrackerStatus;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
pub(super) struct Handle;
impl Handle {
    pub(super) fn trackers(&self) -> Vec<TrackerStatus> {
        Vec::new()
    }
    pub(super) async fn stop(self) {}
}
pub(super) fn start(
    _s: &Arc<Shared>,
    _a: &AddTorrent,
    _h: InfoHash,
    _c: &mpsc::Sender<Command>,
    _sn: &watch::Receiver<Snapshot>,
) -> Handle {
    Handle
}
