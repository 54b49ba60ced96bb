//! Whom we serve, in what order, and when a request is refused.

use super::connection::{Connection, REQUESTS_MAX};
use super::download::request_of;
use super::spread::Spread;
use super::{Close, PeerKey, Torrent};
use crate::clock::Instant;
use crate::geometry::{Block, PieceIndex};
use crate::proto::peer::{Choke, Interest, Message};
use crate::storage::{DiskFault, DiskOp};
use crate::swarm::choker::Contender;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of one read: adjacent blocks are read and sent together.
const READ_MAX: u64 = 256 << 10;
/// Bytes read for one peer and not yet on the wire, when it is slow.
const SENDING_MIN: u64 = 256 << 10;
/// The same when it is fast: more would only be memory.
const SENDING_MAX: u64 = 2 << 20;
/// A peer that was just choked may not have heard of it: its requests are no flood for so long.
const CHOKE_GRACE: Duration = Duration::from_secs(2);
/// Requests refused after the grace; one more closes the connection (libtorrent allows 300).
const REFUSED_MAX: u32 = 300;
/// Requests refused during the grace: no more than it may leave with us can have crossed our choke on the way. One
/// more closes the connection.
const CROSSED_MAX: u32 = REQUESTS_MAX as u32;
/// Times that an allowed-fast piece may be fetched while choked, then no more.
const FAST_TIMES: u64 = 3;
/// Bytes that one host may fetch while choked, over all its connections.
const FAST_BYTES_MAX: u64 = 8 << 20;
/// Hosts whose free bytes are remembered. At the bound no other host gets any.
const FAST_HOSTS_MAX: usize = 1024;
/// With a limit, at least so much time's worth is sent at a time: a timer for every block would cost more than
/// the block.
const TURN: Duration = Duration::from_millis(10);

impl Torrent {
    pub(super) fn on_request(&mut self, now: Instant, peer: PeerKey, block: Block) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(content) = &self.content else { return };
        let have = content.picker.have().has(block.piece) && content.geometry.contains(block);
        let choked = connection.session.we_choke() == Choke::Choked;
        let fast_left = connection.fast_left.get_mut(&block.piece);
        if have && connection.queue.len() < REQUESTS_MAX {
            let len = u64::from(block.len);
            let granted = match fast_left {
                _ if !choked => true,
                Some(left) if *left >= len => {
                    *left -= len;
                    true
                }
                _ => false,
            };
            if granted {
                connection.queue.push_back(block);
                self.uploads_due = true;
                return;
            }
        }
        // Every refusal is answered, so their number is bounded from the first moment.
        let (refused, max) = if now.since(connection.choked_at) > CHOKE_GRACE {
            (&mut connection.refused, REFUSED_MAX)
        } else {
            (&mut connection.crossed, CROSSED_MAX)
        };
        *refused += 1;
        if *refused > max {
            return self.close(peer, Close::RequestFlood);
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
        self.now = now;
        self.uploads_due = true;
    }

    /// Turns queued requests into reads, peer after peer, as far as limits allow; free riders get what the others
    /// leave.
    pub(super) fn pump_uploads(&mut self, now: Instant) {
        if self.upload_at.is_some_and(|at| now < at) {
            return; // the bucket is dry until then
        }
        self.pump_class(now, false);
        if self.upload_at.is_none() && self.peers.values().any(|c| c.served_last) {
            self.pump_class(now, true);
        }
    }

    fn pump_class(&mut self, now: Instant, last: bool) {
        let mut idle = 0;
        while let Some(peer) = self.next_peer(self.upload_turn) {
            let in_class = self.peers.get(&peer).is_some_and(|c| c.served_last == last);
            let read = in_class && self.read_for(now, peer);
            if self.upload_at.is_some() && !read {
                return; // the bucket ran dry before this one's turn, which therefore comes next
            }
            idle = if read { 0 } else { idle + 1 };
            self.upload_turn = peer;
            if idle >= self.peers.len() || self.upload_at.is_some() {
                return;
            }
        }
    }

    fn next_peer(&self, after: PeerKey) -> Option<PeerKey> {
        let later = self.peers.range(PeerKey(after.0.saturating_add(1))..).next();
        later.or_else(|| self.peers.iter().next()).map(|(&peer, _)| peer)
    }

    /// One read for one peer; false if it has none to make now.
    fn read_for(&mut self, now: Instant, peer: PeerKey) -> bool {
        let Some(connection) = self.peers.get_mut(&peer) else { return false };
        if connection.queue.is_empty() {
            return false;
        }
        let ahead = connection.up.rate(now).times(Duration::from_millis(200));
        let watermark = ahead.clamp(SENDING_MIN, SENDING_MAX);
        if connection.sending >= watermark {
            return false;
        }
        let mut blocks: Vec<Block> = Vec::new();
        let mut bytes = 0;
        while let Some(&next) = connection.queue.front() {
            let adjacent = blocks
                .last()
                .is_none_or(|b| b.piece == next.piece && b.begin + b.len == next.begin);
            let len = u64::from(next.len);
            if !adjacent || (!blocks.is_empty() && bytes + len > READ_MAX) {
                break;
            }
            if !self.up.take_all(now, len) {
                let turn = self.up.limit().map_or(0, |limit| limit.times(TURN));
                self.upload_at = Some(self.up.ready_at(now, turn.min(READ_MAX).max(len)));
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
        self.watch(now, peer, blocks[0].piece, bytes);
        self.disk.push_back(DiskOp::Read { peer: peer.0, blocks });
        true
    }

    /// Notes who is given what nobody else has: see [`super::spread`].
    fn watch(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex, bytes: u64) {
        if let Some(content) = &self.content
            && content.picker.have().is_full()
        {
            let size = u64::from(content.geometry.size_of(piece));
            let first = content.picker.availability(piece) == 0;
            self.spread.gave(now, peer, piece, (bytes, size), first);
        }
    }

    pub(super) fn read_failed(
        &mut self,
        now: Instant,
        peer: PeerKey,
        blocks: &[Block],
        fault: DiskFault,
    ) {
        let bytes: u64 = blocks.iter().map(|block| u64::from(block.len)).sum();
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.sending = connection.sending.saturating_sub(bytes);
            for &block in blocks {
                self.reject(now, peer, block);
            }
        }
        // The piece went bad under us. Nobody can be told that we have it no more: a peer that keeps asking is
        // rejected, and one that cannot hear that is let go.
        if let (Some(content), Some(block)) = (&mut self.content, blocks.first()) {
            content.picker.piece_lost(block.piece);
        }
        if self.peers.get(&peer).is_some_and(|c| !c.session.agreed().fast()) {
            self.close(peer, Close::Local);
        }
        self.fault(fault);
    }

    pub(super) fn choke_round(&mut self, now: Instant) {
        self.review_spread(now);
        let contenders = self.contenders(now);
        let rate = self.up_meter.rate(now);
        let seeding = self.is_done();
        for (peer, choke) in self.choker.round(now, seeding, self.config.up, rate, &contenders) {
            match choke {
                Choke::Choked => self.choke(now, peer),
                Choke::Unchoked => self.unchoke(now, peer),
            }
        }
        let optimistic = self.choker.optimistic();
        for contender in contenders {
            if let Some(connection) = self.peers.get_mut(&contender.peer) {
                connection.served_last = Some(contender.peer) != optimistic
                    && self.choker.is_free_rider(seeding, &contender);
            }
        }
    }

    /// As a seed: looks who keeps what they are given, and proposes to others what those alone have.
    fn review_spread(&mut self, now: Instant) {
        let Some(content) = self.content.as_ref().filter(|c| c.picker.have().is_full()) else {
            self.spread = Spread::default(); // a piece went bad under us, and what it said is past
            return;
        };
        self.spread.judge(now);
        let is_served = |c: &Connection| {
            c.session.we_choke() == Choke::Unchoked && c.session.they_want() == Interest::Interested
        };
        let served: Vec<PeerKey> =
            self.peers.iter().filter(|(_, c)| is_served(c)).map(|(&peer, _)| peer).collect();
        if served.is_empty() {
            return; // an old seed need not look at a million pieces every round
        }
        let slow = |peer: &PeerKey| !served.contains(peer) || self.spread.hoards(*peer);
        let missing = |&piece: &PieceIndex| {
            content.picker.availability(piece) == 0 || self.spread.is_hoarded(piece)
        };
        self.tour.go_round_again(
            self.peers.keys().copied().filter(slow),
            content.geometry.iter().filter(missing),
            &mut self.rng,
        );
        for peer in served {
            self.propose(now, peer);
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

    /// Every live peer as the choker sees it.
    pub(crate) fn contenders(&mut self, now: Instant) -> Vec<Contender> {
        let content = self.content.as_ref();
        let complete = |peer| {
            content
                .and_then(|c| c.picker.pieces_of(peer))
                .is_some_and(crate::bitfield::Bitfield::is_full)
        };
        let spread = &self.spread;
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
                given: c.down.total(),
                taken: c.up.total(),
                hoards: spread.hoards(peer),
            })
            .collect()
    }

    /// When the choker holds its next round.
    pub(crate) fn round_due(&self) -> Instant {
        self.choker.round_due()
    }

    /// Who has the optimistic slot.
    pub(crate) fn optimistic(&self) -> Option<PeerKey> {
        self.choker.optimistic()
    }

    fn unchoke(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.sent_since_unchoke = 0;
        connection.refused = 0;
        if let Some(message) = connection.session.set_choke(Choke::Unchoked) {
            self.send(now, peer, message);
        }
        self.propose(now, peer);
    }

    /// Suggests to a peer that we serve what nobody else was suggested.
    pub(super) fn propose(&mut self, now: Instant, peer: PeerKey) {
        let Some(content) = &self.content else { return };
        let Some(connection) = self.peers.get(&peer) else { return };
        let serves = connection.session.we_choke() == Choke::Unchoked;
        if !content.picker.have().is_full() || !serves || !connection.session.agreed().fast() {
            return;
        }
        if self.spread.hoards(peer) {
            return;
        }
        let wanted =
            |piece| content.picker.availability(piece) == 0 || self.spread.is_hoarded(piece);
        for piece in self.tour.suggest(peer, wanted) {
            self.send(now, peer, Message::Suggest(piece.0));
        }
    }

    fn choke(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(message) = connection.session.set_choke(Choke::Choked) else { return };
        connection.choked_at = now;
        connection.crossed = 0;
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
        let ip = connection.addr.ip();
        if self.fast_spent.len() >= FAST_HOSTS_MAX && !self.fast_spent.contains_key(&ip) {
            return;
        }
        let spent = self.fast_spent.entry(ip).or_default();
        let mut granted = Vec::new();
        for piece in pieces {
            let bytes = u64::from(content.geometry.size_of(piece)) * FAST_TIMES;
            if content.picker.have().has(piece) && *spent + bytes <= FAST_BYTES_MAX {
                *spent += bytes;
                connection.fast_left.insert(piece, bytes);
                granted.push(piece);
            }
        }
        for piece in granted {
            self.send(now, peer, Message::AllowedFast(piece.0));
        }
    }

    fn reject(&mut self, now: Instant, peer: PeerKey, block: Block) {
        if self.peers.get(&peer).is_some_and(|c| c.session.agreed().fast()) {
            self.send(now, peer, Message::Reject(request_of(block)));
        }
    }
}
