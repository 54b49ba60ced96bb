//! Numbers for people and scripts. Reads everything, changes nothing that decides.

use super::{Status, Torrent, Waiting};
use crate::bitfield::Bitfield;
use crate::clock::Instant;
use crate::id::PeerId;
use crate::proto::peer::{Choke, Interest};
use crate::swarm::PeerKey;
use crate::units::BytesPerSec;
use std::net::SocketAddr;

/// One live peer, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// Its connection.
    pub peer: PeerKey,
    /// The other end of the socket.
    pub addr: SocketAddr,
    /// What it answers to.
    pub id: PeerId,
    /// What it calls itself, as it wrote it: escape before printing.
    pub client: Option<String>,
    /// Payload received from it.
    pub downloaded: u64,
    /// Payload sent to it.
    pub uploaded: u64,
    /// Payload arriving from it now.
    pub down: BytesPerSec,
    /// Payload going to it now.
    pub up: BytesPerSec,
    /// Whether it lets us fetch.
    pub unchokes_us: bool,
    /// Whether we let it fetch.
    pub unchoked: bool,
    /// Whether it takes and does not give, so that it gets what others leave.
    pub free_rider: bool,
    /// Part of the content it has, 0 to 1.
    pub progress: f64,
}

impl Torrent {
    /// Which pieces are verified; `None` while the metadata is unknown.
    pub fn have(&self) -> Option<&Bitfield> {
        self.content.as_ref().map(|content| content.picker.have())
    }

    /// Whether every wanted piece is verified.
    pub fn is_done(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.done)
    }

    /// Bytes of wanted pieces that are not verified; `None` while the metadata is unknown.
    pub fn left(&self) -> Option<u64> {
        self.content.as_ref().map(|content| content.picker.wanted_left())
    }

    /// Payload received so far, from peers and sources.
    pub const fn downloaded(&self) -> u64 {
        self.down_meter.total()
    }

    /// Number of live connections.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Everything at a glance. `now` only ages the rates.
    pub fn status(&mut self, now: Instant) -> Status {
        let mut status = Status {
            down: self.down_meter.rate(now),
            up: self.up_meter.rate(now),
            downloaded: self.down_meter.total(),
            uploaded: self.up_meter.total(),
            wasted: self.wasted,
            peers: self.peers.len(),
            candidates: self.roster.candidates(),
            completed_peers: self.completed_peers.len(),
            slowest: 1.0,
            ..Status::default()
        };
        for connection in self.peers.values() {
            let session = &connection.session;
            status.interested += usize::from(session.they_want() == Interest::Interested);
            status.unchoked += usize::from(session.we_choke() == Choke::Unchoked);
        }
        if let Some(content) = &self.content {
            status.total = content.wanted_total;
            status.done = content.wanted_total - content.picker.wanted_left();
            let missing = content.picker.have().zeros();
            status.missing = missing.map(|piece| u64::from(content.geometry.size_of(piece))).sum();
            status.pieces = (content.picker.have().count(), content.geometry.pieces());
            status.copies = content.picker.copies();
            for pieces in self.peers.keys().filter_map(|&peer| content.picker.pieces_of(peer)) {
                status.seeds += usize::from(pieces.is_full());
                status.slowest = status.slowest.min(share(pieces));
            }
        }
        status.waiting = self.waiting(status.down);
        status
    }

    /// Every live peer.
    pub fn peers(&mut self, now: Instant) -> Vec<PeerStatus> {
        let pieces = self.content.as_ref().map(|content| &content.picker);
        self.peers
            .iter_mut()
            .map(|(&peer, c)| PeerStatus {
                peer,
                addr: c.addr,
                id: c.id,
                client: c.theirs.client.clone(),
                downloaded: c.down.total(),
                uploaded: c.up.total(),
                down: c.down.rate(now),
                up: c.up.rate(now),
                unchokes_us: c.session.they_choke() == Choke::Unchoked,
                unchoked: c.session.we_choke() == Choke::Unchoked,
                free_rider: c.served_last,
                progress: pieces.and_then(|p| p.pieces_of(peer)).map_or(0.0, share),
            })
            .collect()
    }

    fn waiting(&self, down: BytesPerSec) -> Waiting {
        let Some(content) = &self.content else {
            return if self.peers.is_empty() { Waiting::NoPeers } else { Waiting::NoMetadata };
        };
        if content.done {
            return Waiting::No;
        }
        if self.fault.is_some() || self.disk_is_behind() {
            return Waiting::Disk;
        }
        if down.0 > 0 {
            return Waiting::No;
        }
        if self.sources.is_asking() {
            return Waiting::Slow;
        }
        if self.peers.is_empty() {
            return Waiting::NoPeers;
        }
        let mut useful =
            self.peers.values().filter(|c| c.session.we_want() == Interest::Interested);
        let mut any = false;
        if useful.any(|c| {
            any = true;
            c.session.they_choke() == Choke::Unchoked
        }) {
            return Waiting::Slow;
        }
        if any { Waiting::Choked } else { Waiting::NobodyHas }
    }
}

fn share(pieces: &Bitfield) -> f64 {
    f64::from(pieces.count()) / f64::from(pieces.len().max(1))
}
