//! Whom we serve, in what order, and when a request is refused.

use super::connection::REQUESTS_MAX;
use super::download::request_of;
use super::{Close, PeerKey, Torrent};
use crate::clock::Instant;
use crate::geometry::{Block, PieceIndex};
use crate::proto::peer::{Choke, Interest, Message};
use crate::storage::DiskOp;
use crate::swarm::choker::Contender;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of one read: adjacent blocks are read and sent together.
const READ_MAX: u64 = 256 << 10;
/// Bytes read for one peer and not yet on the wire, when it is slow.
const SENDING_MIN: u64 = 512 << 10;
/// The same when it is fast: more would only be memory.
const SENDING_MAX: u64 = 4 << 20;
/// A peer that was just choked may not have heard of it: its requests are no flood for so long.
const CHOKE_GRACE: Duration = Duration::from_secs(2);
/// Requests refused after the grace; one more closes the connection (libtorrent allows 300).
const REFUSED_MAX: u32 = 300;
/// Blocks of each allowed-fast piece that a choked peer may fetch: three times the piece, then no more.
const FAST_TIMES: usize = 3;

impl Torrent {
    pub(super) fn on_request(&mut self, now: Instant, peer: PeerKey, block: Block) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(content) = &self.content else { return };
        let have = content.picker.have().has(block.piece) && content.geometry.contains(block);
        let choked = connection.session.we_choke() == Choke::Choked;
        let fast_left = connection.fast_left.get_mut(&block.piece).filter(|left| **left > 0);
        if have && connection.queue.len() < REQUESTS_MAX {
            if !choked {
                connection.queue.push_back(block);
                return self.pump_uploads(now);
            }
            if let Some(left) = fast_left {
                *left -= 1;
                connection.queue.push_back(block);
                return self.pump_uploads(now);
            }
        }
        if now.since(connection.choked_at) > CHOKE_GRACE {
            connection.refused += 1;
            if connection.refused > REFUSED_MAX {
                return self.close(peer, Close::RequestFlood);
            }
        }
        self.reject(now, peer, block);
    }

    pub(super) fn on_cancel(&mut self, now: Instant, peer: PeerKey, block: Block) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let before = connection.queue.len();
        connection.queue.retain(|queued| *queued != block);
        if connection.queue.len() < before {
            self.reject(now, peer, block); //= BEP 6 §reject request (a cancel is answered too)
        }
    }

    /// Payload of this peer has gone into its socket.
    pub fn handle_sent(&mut self, now: Instant, peer: PeerKey, bytes: u64) {
        self.up_meter.add(now, bytes);
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.sending = connection.sending.saturating_sub(bytes);
            connection.up.add(now, bytes);
            connection.sent_since_unchoke += bytes;
            connection.last_sent = now;
        }
        self.pump_uploads(now);
    }

    /// Turns queued requests into reads, peer after peer, as far as limits allow.
    pub(super) fn pump_uploads(&mut self, now: Instant) {
        if self.upload_at.is_some_and(|at| now < at) {
            return; // the bucket is dry until then
        }
        let mut turn = Some(self.upload_turn);
        let mut idle = 0;
        while let Some(peer) = turn.and_then(|after| self.next_peer(after)) {
            if self.read_for(now, peer) {
                idle = 0;
            } else {
                idle += 1;
            }
            self.upload_turn = peer;
            if idle >= self.peers.len() || self.upload_at.is_some() {
                return;
            }
            turn = Some(peer);
        }
    }

    fn next_peer(&self, after: PeerKey) -> Option<PeerKey> {
        let later = self.peers.range(PeerKey(after.0.saturating_add(1))..).next();
        later.or_else(|| self.peers.iter().next()).map(|(&peer, _)| peer)
    }

    /// One read for one peer; false if it has none to make now.
    fn read_for(&mut self, now: Instant, peer: PeerKey) -> bool {
        let Some(connection) = self.peers.get_mut(&peer) else { return false };
        let half_second = connection.up.rate(now).times(Duration::from_millis(500));
        let watermark = half_second.clamp(SENDING_MIN, SENDING_MAX);
        if connection.queue.is_empty() || connection.sending >= watermark {
            return false;
        }
        let group_max = if self.up.limit().is_some() { 0 } else { READ_MAX };
        let mut blocks: Vec<Block> = Vec::new();
        let mut bytes = 0;
        while let Some(&next) = connection.queue.front() {
            let adjacent = blocks
                .last()
                .is_none_or(|b| b.piece == next.piece && b.begin + b.len == next.begin);
            let len = u64::from(next.len);
            if !adjacent || (!blocks.is_empty() && bytes + len > group_max) {
                break;
            }
            if !self.up.take_all(now, len) {
                self.upload_at = Some(self.up.ready_at(now, len));
                break;
            }
            connection.queue.pop_front();
            bytes += len;
            blocks.push(next);
        }
        if blocks.is_empty() {
            return false;
        }
        connection.sending += bytes;
        self.disk.push_back(DiskOp::Read { peer: peer.0, blocks });
        true
    }

    pub(super) fn read_failed(&mut self, now: Instant, peer: PeerKey, blocks: &[Block]) {
        let bytes: u64 = blocks.iter().map(|block| u64::from(block.len)).sum();
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.sending = connection.sending.saturating_sub(bytes);
            for &block in blocks {
                self.reject(now, peer, block);
            }
        }
    }

    pub(super) fn choke_round(&mut self, now: Instant) {
        let contenders = self.contenders(now);
        let rate = self.up_meter.rate(now);
        let seeding = self.is_done();
        for (peer, choke) in self.choker.round(now, seeding, self.config.up, rate, &contenders) {
            match choke {
                Choke::Choked => self.choke(now, peer),
                Choke::Unchoked => self.unchoke(now, peer),
            }
        }
    }

    /// Gives slots that are free to whoever waits, without waiting for the next round.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        let contenders = self.contenders(now);
        let seeding = self.is_done();
        for peer in self.choker.fill(now, seeding, &contenders) {
            self.unchoke(now, peer);
        }
    }

    fn contenders(&mut self, now: Instant) -> Vec<Contender> {
        let content = self.content.as_ref();
        let complete = |peer| {
            content.and_then(|c| c.picker.pieces_of(peer)).is_some_and(crate::bitfield::Bitfield::is_full)
        };
        self.peers
            .iter_mut()
            .map(|(&peer, c)| Contender {
                peer,
                interested: c.session.they_want() == Interest::Interested,
                unchoked: c.session.we_choke() == Choke::Unchoked,
                down: c.down.rate(now),
                up: c.up.rate(now),
                snubbed: c.snubbed,
                joined: c.joined,
                sent: c.sent_since_unchoke,
                complete: complete(peer),
            })
            .collect()
    }

    fn unchoke(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.sent_since_unchoke = 0;
        connection.refused = 0;
        if let Some(message) = connection.session.set_choke(Choke::Unchoked) {
            self.send(now, peer, message);
        }
    }

    fn choke(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(message) = connection.session.set_choke(Choke::Choked) else { return };
        connection.choked_at = now;
        let (kept, refused): (VecDeque<Block>, VecDeque<Block>) =
            std::mem::take(&mut connection.queue)
                .into_iter()
                .partition(|block| connection.fast_left.contains_key(&block.piece));
        connection.queue = kept;
        self.send(now, peer, message);
        for block in refused {
            self.reject(now, peer, block);
        }
    }

    /// Declares pieces that this peer may fetch while choked.
    pub(super) fn grant_fast(&mut self, now: Instant, peer: PeerKey, pieces: Vec<PieceIndex>) {
        let Some(content) = &self.content else { return };
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let geometry = content.geometry;
        let pieces: Vec<PieceIndex> =
            pieces.into_iter().filter(|&piece| content.picker.have().has(piece)).collect();
        for &piece in &pieces {
            let blocks = geometry.blocks_in(piece) as usize;
            connection.fast_left.insert(piece, blocks * FAST_TIMES);
        }
        for piece in pieces {
            self.send(now, peer, Message::AllowedFast(piece.0));
        }
    }

    fn reject(&mut self, now: Instant, peer: PeerKey, block: Block) {
        if self.peers.get(&peer).is_some_and(|c| c.session.agreed().fast()) {
            self.send(now, peer, Message::Reject(request_of(block)));
        }
    }
}
