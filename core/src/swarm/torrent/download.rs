//! Asking peers for blocks, and judging what they send.

use super::connection::ALLOWED_MAX;
use super::{Close, Content, Event, PeerKey, Torrent};
use crate::clock::Instant;
use crate::geometry::{BLOCK_LEN, Block, PieceIndex};
use crate::proto::peer::{Choke, Interest, Message, Request};
use crate::storage::{DiskFault, DiskOp, Verdict};
use crate::swarm::picker::{Arrival, Mode, PickerPolicy};
use crate::swarm::roster::Sentence;
use crate::swarm::source::SourceKey;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A peer that owes blocks and has sent none for so long is snubbed.
//= BEP 3 §choking (anti-snubbing: a minute)
const SNUB_AFTER: Duration = Duration::from_secs(60);
/// In endgame, and when the pieces in progress fill the memory, a peer that owes blocks and has sent none for so long is
/// passed over until it sends one. Without this, the others wait a minute for each silent peer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A request that is not answered while others are is given up after this.
const STALE_AFTER: Duration = Duration::from_secs(40);
/// Requests that a peer rejects without sending a block in between, before it counts as snubbing us.
const REJECTED_MAX: u32 = 64;
/// A peer that chokes us and has the fast extension rejects what it will not answer; later, silence says the same.
const REJECT_TIME: Duration = Duration::from_secs(5);
/// Bytes of whole pieces that may wait for the disk, and two pieces in any case. Beyond it nothing more is asked for.
const STORING_MAX: u64 = 12 << 20;
/// Blocks nobody asked for that are tolerated; one more closes the connection.
const UNASKED_MAX: u32 = 256;

/// What the driver does with the bytes of a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Fate {
    /// Forget them.
    Drop,
    /// Keep them until the piece is stored.
    Keep(Block),
}

impl Torrent {
    /// A block has arrived. The bytes stay with the driver.
    pub fn handle_block(
        &mut self,
        now: Instant,
        peer: PeerKey,
        index: u32,
        begin: u32,
        len: u32,
    ) -> Fate {
        let Some(connection) = self.peers.get_mut(&peer) else { return Fate::Drop };
        if connection.closing {
            return Fate::Drop;
        }
        if let Err(error) = connection.session.on_block(index, begin, len) {
            self.close(peer, Close::Misbehaved(error));
            return Fate::Drop;
        }
        self.now = now;
        self.down_meter.add(now, u64::from(len));
        let block = Block { piece: PieceIndex(index), begin, len };
        if let Some(asked) = connection.asked.remove(&block) {
            connection.last_block = now;
            connection.rejected = 0;
            connection.pipeline.arrived(now, asked, len, connection.asked.len());
            self.unsnub(peer);
        }
        let Some(fate) = self.take_in(now, peer, block) else {
            return self.unasked(peer, len);
        };
        if let (Fate::Keep(_), Some(connection)) = (fate, self.peers.get_mut(&peer)) {
            connection.down.add(now, u64::from(len)); // only what is of use earns reciprocity
            connection.last_block = now;
        }
        self.unsnub(peer);
        self.fill_requests(now, peer);
        fate
    }

    /// A block of a peer or a source joins its piece; `None` if it was not asked for.
    pub(super) fn take_in(&mut self, now: Instant, peer: PeerKey, block: Block) -> Option<Fate> {
        let content = self.content.as_mut()?;
        match content.picker.block_arrived(peer, block) {
            Arrival::Unasked => None,
            Arrival::Duplicate => {
                self.wasted += u64::from(block.len);
                Some(Fate::Drop)
            }
            Arrival::Kept { cancel } => {
                self.cancel(now, &cancel, block);
                Some(Fate::Keep(block))
            }
            Arrival::PieceReady { cancel } => {
                self.storing += u64::from(content.geometry.size_of(block.piece));
                self.disk.push_back(DiskOp::Store { piece: block.piece });
                self.cancel(now, &cancel, block);
                Some(Fate::Keep(block))
            }
        }
    }

    /// Asks this peer for as much as its pipeline takes.
    pub(super) fn fill_requests(&mut self, now: Instant, peer: PeerKey) {
        if self.disk_is_behind() {
            self.held_back = true;
            return;
        }
        let Some(content) = &mut self.content else { return };
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let choked = connection.session.they_choke() == Choke::Choked;
        if self.fault.is_some()
            || connection.session.we_want() == Interest::NotInterested
            || (choked && connection.allowed.is_empty())
        {
            return;
        }
        let room = connection.pipeline.refill(connection.asked.len()) as u64;
        if room == 0 {
            return;
        }
        let block_len = u64::from(BLOCK_LEN);
        let granted = self.down.take(now, room * block_len);
        let want = (granted / block_len) as usize;
        let mut blocks = Vec::new();
        if choked {
            content.picker.reserve_from(peer, &connection.allowed, want, &mut blocks);
        } else {
            // A seed's suggestions say what is rare: who picks at random does not look at them.
            if self.config.picker == PickerPolicy::RarestFirst && !connection.suggested.is_empty() {
                let suggested = connection.suggested.make_contiguous();
                content.picker.reserve_from(peer, suggested, want, &mut blocks);
            }
            content.picker.reserve(peer, want - blocks.len(), &mut blocks);
        }
        self.down.put_back(granted - blocks.len() as u64 * block_len);
        if want == 0 {
            let ready = self.down.ready_at(now, block_len);
            self.download_at = Some(self.download_at.map_or(ready, |at| at.min(ready)));
        }
        if blocks.is_empty() {
            self.held_back |= want > 0;
            return;
        }
        if connection.asked.is_empty() {
            connection.last_block = now; // the minute of the snub begins with the first request
        }
        connection.pipeline.sent(now, blocks.len());
        connection.asked.extend(blocks.iter().map(|&block| (block, now)));
        for block in blocks {
            self.send(now, peer, Message::Request(request_of(block)));
        }
    }

    /// Whether as much waits for the disk as may.
    pub(super) fn disk_is_behind(&self) -> bool {
        let piece_len = self.content.as_ref().map_or(0, |content| content.geometry.piece_len());
        self.storing >= STORING_MAX.max(2 * u64::from(piece_len))
    }

    pub(super) fn fill_everyone(&mut self, now: Instant) {
        let mut peers: Vec<PeerKey> = self.peers.keys().copied().collect();
        self.rng.shuffle(&mut peers); // a tight limit must not always feed the same peer first
        let sources_first = !self.sources.is_empty() && self.rng.below(2) == 0; // nor always the peers
        if sources_first {
            self.fill_sources(now);
        }
        for peer in peers {
            self.fill_requests(now, peer);
        }
        if !sources_first {
            self.fill_sources(now);
        }
    }

    /// They have stopped serving us.
    pub(super) fn on_choked(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.pipeline.choked(now);
        connection.choked_us_at = now;
        // With the fast extension each request is rejected one by one (BEP 6); without it, all are gone.
        if !connection.session.agreed().fast() {
            self.give_up_all(now, peer, false);
        }
    }

    pub(super) fn on_reject(&mut self, now: Instant, peer: PeerKey, block: Block) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        if connection.asked.remove(&block).is_none() {
            return;
        }
        connection.allowed.retain(|&piece| piece != block.piece);
        connection.suggested.retain(|&piece| piece != block.piece);
        if let Some(content) = &mut self.content {
            content.picker.release(peer, block);
        }
        connection.pipeline.gave_up(connection.asked.len());
        connection.rejected += 1;
        // No new request at once: whoever rejects one would reject the next, and so on at the speed of the line.
        if connection.rejected >= REJECTED_MAX && !connection.snubbed {
            self.snub(now, peer);
        }
    }

    pub(super) fn on_allowed(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex) {
        if let Some(connection) = self.peers.get_mut(&peer)
            && connection.allowed.len() < ALLOWED_MAX
            && !connection.allowed.contains(&piece)
        {
            connection.allowed.push(piece);
            self.fill_requests(now, peer);
        }
    }

    /// Notices silence, and gives its reservations back.
    pub(super) fn expire_requests(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        if connection.asked.is_empty() {
            return;
        }
        let choked = connection.session.they_choke() == Choke::Choked;
        if choked && now.since(connection.choked_us_at) >= REJECT_TIME {
            let allowed = connection.allowed.clone();
            return self.give_up(now, peer, |block, _| !allowed.contains(&block.piece));
        }
        if !choked && now.since(connection.last_block) >= SNUB_AFTER {
            return self.snub(now, peer);
        }
        // What it owes is all that is left to ask for, or fills the memory.
        let others_wait = |content: &Content| {
            content.picker.mode() == Mode::Endgame || content.picker.memory_is_full()
        };
        let waited_for = self.content.as_ref().is_some_and(others_wait);
        if !choked && waited_for && now.since(connection.last_block) >= PATIENCE {
            return self.pass_over(now, peer);
        }
        // A peer that serves others of our requests but never this one must not hold it for ever.
        let answered = connection.last_block;
        self.give_up(now, peer, |_, at| at < answered && now.since(at) >= STALE_AFTER);
    }

    /// The peer owes us and does not pay: what it was asked for goes to others.
    fn snub(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.snubbed = true;
        connection.pipeline.set_snubbed(true);
        connection.last_block = now;
        if let Some(content) = &mut self.content {
            content.picker.set_slow(peer, true);
        }
        self.give_up_all(now, peer, true);
        self.fill_everyone(now);
    }

    /// Everybody waits for a peer that may have vanished: others are asked first. It is not choked for that, and its
    /// requests stand, for it may just be slow, and the only one.
    fn pass_over(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.passed_over = true;
        connection.pipeline.set_snubbed(true);
        if let Some(content) = &mut self.content {
            content.picker.set_slow(peer, true);
        }
        self.give_up_all(now, peer, false);
        self.fill_everyone(now);
    }

    /// Gives some requests back, and withdraws them.
    fn give_up(&mut self, now: Instant, peer: PeerKey, which: impl Fn(Block, Instant) -> bool) {
        let Some(content) = &mut self.content else { return };
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let mut given_up = Vec::new();
        connection.asked.retain(|&block, at| {
            let gone = which(block, *at);
            if gone {
                given_up.push(block);
            }
            !gone
        });
        connection.pipeline.gave_up(connection.asked.len());
        given_up.iter().for_each(|&block| content.picker.release(peer, block));
        for block in given_up {
            self.send(now, peer, Message::Cancel(request_of(block)));
        }
    }

    pub(super) fn piece_checked(&mut self, now: Instant, piece: PieceIndex, verdict: Verdict) {
        let Some(content) = &mut self.content else { return };
        let size = u64::from(content.geometry.size_of(piece));
        let everyone = verdict == Verdict::Bad || content.picker.mode() == Mode::Endgame;
        self.storing = self.storing.saturating_sub(size);
        let shares = content.picker.shares(piece);
        let contributors = content.picker.piece_checked(piece, verdict);
        match verdict {
            Verdict::Good => self.piece_passed(now, piece, &contributors, &shares),
            Verdict::Bad => self.piece_failed(size, &contributors),
        }
        if std::mem::take(&mut self.held_back) || everyone {
            self.fill_everyone(now);
        } else {
            self.fill_sources(now);
        }
    }

    pub(super) fn store_failed(&mut self, piece: PieceIndex, fault: DiskFault) {
        let Some(content) = &mut self.content else { return };
        self.storing = self.storing.saturating_sub(u64::from(content.geometry.size_of(piece)));
        content.picker.piece_lost(piece);
        self.fault(fault);
    }

    /// The disk is not to be relied on: nothing more is asked for. Said once.
    pub(super) fn fault(&mut self, fault: DiskFault) {
        if self.fault.is_none() {
            self.fault = Some(fault.clone());
            self.events.push_back(Event::Fault(fault));
        }
    }

    fn piece_passed(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        contributors: &[PeerKey],
        shares: &BTreeMap<PeerKey, u64>,
    ) {
        let addrs = self.addrs_of(contributors);
        self.roster.piece_passed(&addrs);
        self.review_parole(contributors);
        for source in self.sources_of(contributors) {
            if let Some(content) = &mut self.content {
                let good = shares.get(&PeerKey(source.0)).copied().unwrap_or(0);
                self.sources.passed(&mut content.picker, source, good);
            }
        }
        self.events.push_back(Event::Verified(piece));
        let everyone: Vec<PeerKey> = self.peers.keys().copied().collect();
        for peer in everyone {
            // Seeds, too: they need no piece, but whoever shares wants to know how far others are.
            self.send(now, peer, Message::Have(piece.0));
            self.update_interest(now, peer);
        }
        if let Some(content) = &mut self.content
            && !content.done
            && content.picker.is_done()
        {
            content.done = true;
            self.sources.done(now, &mut content.picker);
            self.events.push_back(Event::Done);
            self.became_done(now);
        }
    }

    fn piece_failed(&mut self, size: u64, contributors: &[PeerKey]) {
        self.wasted += size;
        let addrs = self.addrs_of(contributors);
        let sources = self.sources_of(contributors);
        // A liar that is known already explains the piece: its co-authors are not to blame, and it is not news.
        if addrs.iter().any(|&addr| self.roster.is_banned(addr))
            || sources.iter().any(|&source| self.sources.is_liar(source))
        {
            return;
        }
        // One author whose partners are forgotten is no lone author.
        let alone = contributors.len() == 1;
        if !alone && addrs.len() + sources.len() <= 1 {
            return;
        }
        for (addr, sentence) in self.roster.piece_failed(&addrs, alone) {
            if sentence == Sentence::Ban {
                self.expel(addr, "sent data that fails its hash");
            }
        }
        for source in sources {
            let Some(content) = &mut self.content else { return };
            let gone = self.sources.spoiled(&mut content.picker, source, alone);
            self.sources_gone(gone);
        }
        self.review_parole(contributors);
    }

    fn review_parole(&mut self, contributors: &[PeerKey]) {
        let Some(content) = &mut self.content else { return };
        for &peer in contributors {
            if let Some(connection) = self.peers.get(&peer) {
                content.picker.set_parole(peer, self.roster.is_on_parole(connection.addr));
            }
        }
    }

    /// Where these peers are or were, each once: one that left and came back is one.
    fn addrs_of(&self, peers: &[PeerKey]) -> Vec<SocketAddr> {
        let gone = |peer| self.departed.iter().find(|gone| gone.peer == peer);
        let mut seen = Vec::new();
        let mut addrs = Vec::new();
        for peer in peers {
            let live = self.peers.get(peer).map(|c| (c.id, c.addr));
            let Some((id, addr)) = live.or_else(|| gone(*peer).map(|g| (g.id, g.addr))) else {
                continue;
            };
            if !seen.contains(&id) {
                seen.push(id);
                addrs.push(addr);
            }
        }
        addrs
    }

    fn unasked(&mut self, peer: PeerKey, len: u32) -> Fate {
        self.wasted += u64::from(len);
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.unasked += 1;
            if connection.unasked > UNASKED_MAX {
                self.close(peer, Close::UnaskedData);
            }
        }
        Fate::Drop
    }

    fn unsnub(&mut self, peer: PeerKey) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        if connection.snubbed || connection.passed_over {
            connection.snubbed = false;
            connection.passed_over = false;
            connection.pipeline.set_snubbed(false);
            if let Some(content) = &mut self.content {
                content.picker.set_slow(peer, false);
            }
        }
    }

    /// Gives all requests back; `withdraw` tells the peer, which may still be about to answer.
    fn give_up_all(&mut self, now: Instant, peer: PeerKey, withdraw: bool) {
        let Some(content) = &mut self.content else { return };
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        connection.asked.clear();
        connection.pipeline.gave_up(0);
        let blocks = content.picker.release_all(peer);
        for block in blocks {
            if withdraw {
                self.send(now, peer, Message::Cancel(request_of(block)));
            }
        }
    }

    fn cancel(&mut self, now: Instant, others: &[PeerKey], block: Block) {
        for &other in others {
            if let Some(connection) = self.peers.get_mut(&other)
                && connection.asked.remove(&block).is_some()
            {
                connection.pipeline.gave_up(connection.asked.len());
                self.send(now, other, Message::Cancel(request_of(block)));
                self.fill_requests(now, other);
            } else if let Some(content) = &mut self.content
                && self.sources.cancelled(&mut content.picker, SourceKey(other.0), block)
            {
                self.fill_sources(now);
            }
        }
    }
}

pub(super) fn request_of(block: Block) -> Request {
    Request { index: block.piece.0, begin: block.begin, len: block.len }
}
