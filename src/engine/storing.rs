//! Work for the disk, in the machine's order, and what has come of it.

use super::content::Content;
use super::task::TorrentTask;
use crate::disk::{Busy, DiskEvent};
use crate::net::ToPeer;
use bytes::Bytes;
use gaggle_core::geometry::{Block, PieceIndex};
use gaggle_core::storage::DiskOp;
use gaggle_core::swarm::PeerKey;

/// One piece of work for the disk, payload included.
pub(super) enum Work {
    Read(u32, Vec<Block>),
    Store(PieceIndex, Vec<Bytes>),
}

impl TorrentTask {
    pub(super) fn on_disk(&mut self, event: DiskEvent) {
        match event {
            DiskEvent::Done(done) => self.torrent.handle_disk(self.shared.clock.now(), done),
            DiskEvent::Read { peer, blocks } => {
                let peer = PeerKey(peer);
                if let Some(link) = self.links.get_mut(&peer) {
                    link.push(ToPeer::Blocks(blocks));
                    self.behind.insert(peer);
                }
            }
            DiskEvent::SyncFailed(fault) => self.on_fault(fault),
        }
        while let Some(work) = self.waiting.pop_front() {
            if let Err(work) = self.hand_over(work) {
                return self.waiting.push_front(work);
            }
        }
    }

    pub(super) fn work(&mut self, op: DiskOp) {
        let work = match op {
            DiskOp::Read { peer, blocks } => Work::Read(peer, blocks),
            DiskOp::Store { piece } => Work::Store(piece, self.assembly.take(piece)),
        };
        if !self.waiting.is_empty() {
            return self.waiting.push_back(work); // in order
        }
        if let Err(work) = self.hand_over(work) {
            self.waiting.push_back(work);
        }
    }

    /// Gives work to the disk, or back if it is busy.
    fn hand_over(&mut self, work: Work) -> Result<(), Work> {
        let Some(Content { storage, .. }) = &self.content else { return Ok(()) };
        match work {
            Work::Read(peer, blocks) => {
                storage.read(peer, blocks).map_err(|Busy(blocks)| Work::Read(peer, blocks))
            }
            Work::Store(piece, blocks) => {
                storage.store(piece, blocks).map_err(|Busy(blocks)| Work::Store(piece, blocks))
            }
        }
    }
}
