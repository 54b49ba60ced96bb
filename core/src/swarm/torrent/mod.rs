//! One torrent, without sockets or files: everything it decides, and nothing it does.
//!
//! The driver calls one `handle_*` or command, then drains every `poll_*`. Payload never comes in here: of a
//! block the machine hears piece, offset and length, and answers whether the driver is to keep the bytes.

mod config;
mod connection;
mod download;
mod exchange;
mod gossip;
mod metadata;
mod peers;
mod relay;
mod sources;
mod spread;
mod status;
mod tour;
mod upload;

#[cfg(test)]
mod tests;

pub use config::{Event, Status, TorrentConfig, Waiting};
pub use download::Fate;
pub use peers::{Close, Hello};
pub use status::PeerStatus;

use crate::bitfield::Bitfield;
use crate::clock::Instant;
use crate::geometry::{Geometry, PieceIndex};
use crate::id::TorrentHashes;
use crate::metainfo::is_private;
use crate::proto::peer::Message;
use crate::rng::Rng;
use crate::storage::{DiskDone, DiskFault, DiskOp};
use crate::swarm::PeerKey;
use crate::swarm::choker::Choker;
use crate::swarm::picker::{Picker, Priority};
use crate::swarm::rate::{Meter, TokenBucket};
use crate::swarm::roster::{Roster, Source};
use crate::swarm::source::Sources;
use crate::units::BytesPerSec;
use bytes::Bytes;
use connection::Connection;
use metadata::Fetch;
use spread::Spread;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tour::Tour;

/// How often snubs, expiries and keep-alives are looked at while anybody is connected.
const TICK: Duration = Duration::from_secs(1);
/// Departed peers whose address is remembered, so that a piece found bad later still has a culprit.
const DEPARTED_MAX: usize = 512;

/// What the driver is to do with a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Transmit {
    /// Close it, after what was queued before.
    Close {
        /// Which connection.
        peer: PeerKey,
        /// Why, for the log.
        reason: Close,
    },
    /// Send a message, in this order.
    Send {
        /// Which connection.
        peer: PeerKey,
        /// What to send.
        message: Message,
    },
}

/// What is known once the metadata is.
struct Content {
    geometry: Geometry,
    picker: Picker,
    info: Bytes,
    wanted_total: u64,
    done: bool,
}

/// Who a peer was that has left.
struct Departed {
    peer: PeerKey,
    id: crate::id::PeerId,
    addr: SocketAddr,
}

/// One torrent and its connections.
pub struct Torrent {
    config: TorrentConfig,
    hashes: TorrentHashes,
    rng: Rng,
    content: Option<Content>,
    /// Peers may come from its trackers only. Known once the metadata is.
    private: bool,
    fetch: Fetch,
    peers: BTreeMap<PeerKey, Connection>,
    sources: Sources,
    departed: VecDeque<Departed>,
    /// For peers and sources.
    next_key: u32,
    roster: Roster,
    choker: Choker,
    completed_peers: std::collections::BTreeSet<crate::id::PeerId>,

    up: TokenBucket,
    down: TokenBucket,
    up_meter: Meter,
    down_meter: Meter,
    wasted: u64,
    /// Bytes of whole pieces that the disk has not answered for.
    storing: u64,
    fault: Option<DiskFault>,

    /// When anything last came in: what outputs are made up to.
    now: Instant,
    next_tick: Instant,
    /// Requests came, or room for answers: uploads are looked at once per drain.
    uploads_due: bool,
    /// Somebody's interest changed, or somebody left: so are slots.
    slots_due: bool,
    /// Somebody could have been asked for more but for the disk or the memory.
    held_back: bool,
    upload_at: Option<Instant>,
    download_at: Option<Instant>,
    upload_turn: PeerKey,
    tour: Tour,
    spread: Spread,
    /// Bytes that hosts may still fetch while choked. See `grant_fast`.
    fast_spent: BTreeMap<std::net::IpAddr, u64>,

    transmit: VecDeque<Transmit>,
    disk: VecDeque<DiskOp>,
    events: VecDeque<Event>,
}

impl Torrent {
    /// A torrent of which only the hashes are known. Follow with [`Self::set_content`] when the
    /// metadata is at hand; otherwise it is fetched from peers.
    pub fn new(now: Instant, config: TorrentConfig, hashes: TorrentHashes, mut rng: Rng) -> Self {
        Self {
            fetch: Fetch::new(hashes),
            roster: Roster::new(config.roster, config.our_id, rng.fork()),
            choker: Choker::new(config.choker, rng.fork()),
            up: TokenBucket::new(config.up, now),
            down: TokenBucket::new(config.down, now),
            up_meter: Meter::new(now),
            down_meter: Meter::new(now),
            config,
            hashes,
            rng,
            content: None,
            private: false,
            peers: BTreeMap::new(),
            sources: Sources::default(),
            departed: VecDeque::new(),
            next_key: 0,
            completed_peers: std::collections::BTreeSet::new(),
            wasted: 0,
            storing: 0,
            fault: None,
            now,
            next_tick: now + TICK,
            uploads_due: false,
            slots_due: false,
            held_back: false,
            upload_at: None,
            download_at: None,
            upload_turn: PeerKey(0),
            tour: Tour::default(),
            spread: Spread::default(),
            fast_spent: BTreeMap::new(),
            transmit: VecDeque::new(),
            disk: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The metadata is known and existing data has been checked: downloading and seeding may begin.
    ///
    /// `info` are the raw bytes of the dictionary, `have` the pieces that are verified and in place,
    /// `priority` what the user wants of each piece.
    pub fn set_content(
        &mut self,
        now: Instant,
        info: Bytes,
        geometry: Geometry,
        have: Bitfield,
        priority: impl Fn(PieceIndex) -> Priority,
    ) {
        self.private = is_private(&info);
        if self.private {
            self.keep_to_trackers();
        }
        let mut picker = Picker::new(geometry, have, self.rng.fork());
        picker.set_policy(self.config.picker);
        let wanted = geometry.iter().filter(|&piece| priority(piece) != Priority::Skip);
        let wanted_total = wanted.map(|piece| u64::from(geometry.size_of(piece))).sum();
        picker.set_priorities(priority);
        self.choker.set_piece_len(u64::from(geometry.piece_len()));
        let done = picker.is_done();
        if picker.have().is_full() {
            self.tour = Tour::new(geometry.iter(), &mut self.rng);
        }
        self.content = Some(Content { geometry, picker, info, wanted_total, done });
        if done {
            self.events.push_back(Event::Done);
        }
        let waiting: Vec<PeerKey> = self.peers.keys().copied().collect();
        for peer in waiting {
            self.content_arrived(now, peer);
        }
    }

    /// Addresses where peers may be.
    pub fn handle_candidates(&mut self, now: Instant, source: Source, addrs: &[SocketAddr]) {
        for &addr in addrs {
            self.roster.add(now, source, addr);
        }
    }

    /// Nobody answered there, or the handshake failed.
    pub fn handle_dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.roster.dial_failed(now, addr);
    }

    /// Time has passed: call when [`Self::poll_timeout`] says so; calling early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.upload_at.is_some_and(|at| at <= now) {
            self.upload_at = None;
            self.uploads_due = true;
        }
        if self.download_at.is_some_and(|at| at <= now) {
            self.download_at = None;
            self.fill_everyone(now);
        }
        if self.choker.round_due() <= now && !self.peers.is_empty() {
            self.choke_round(now);
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tick(now);
        }
    }

    /// What the disk did.
    pub fn handle_disk(&mut self, now: Instant, done: DiskDone) {
        self.now = now;
        match done {
            DiskDone::Stored { piece, verdict } => self.piece_checked(now, piece, verdict),
            DiskDone::StoreFailed { piece, fault } => self.store_failed(piece, fault),
            DiskDone::ReadFailed { peer, blocks, fault } => {
                self.read_failed(now, PeerKey(peer), &blocks, fault);
            }
        }
    }

    /// Under which addresses everybody sees us, IPv4 and IPv6, as far as it has been found out, and at which port others
    /// can reach us. Peers that connect from now on hear of the port.
    pub fn set_external(&mut self, addresses: [Option<IpAddr>; 2], port: u16) {
        self.config.listen_port = Some(port);
        self.roster.set_external(addresses, port);
    }

    /// Changes the rate limits of this torrent.
    pub fn set_limits(&mut self, now: Instant, down: Option<BytesPerSec>, up: Option<BytesPerSec>) {
        self.config.up = up;
        self.up.set_limit(now, up);
        self.down.set_limit(now, down);
        (self.upload_at, self.download_at) = (None, None);
        self.now = now;
        self.uploads_due = true;
        self.fill_everyone(now);
    }

    /// The next message to send or connection to close.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.transmit.is_empty() && std::mem::take(&mut self.slots_due) {
            self.fill_slots(self.now);
        }
        self.transmit.pop_front()
    }

    /// The next address to connect to. Answer with [`Self::handle_connected`] or
    /// [`Self::handle_dial_failed`].
    #[must_use]
    pub fn poll_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        // A seed dials too: some leeches cannot be reached from each other, and some never dial.
        self.roster.poll_dial(now, self.fault.is_none())
    }

    /// The next piece of work for the disk.
    #[must_use]
    pub fn poll_disk(&mut self) -> Option<DiskOp> {
        if self.disk.is_empty() && std::mem::take(&mut self.uploads_due) {
            self.pump_uploads(self.now);
        }
        self.disk.pop_front()
    }

    /// The next thing to tell the user.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called, and [`Self::poll_dial`] asked again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let live = (!self.peers.is_empty()).then(|| self.next_tick.min(self.choker.round_due()));
        let rests = self.sources.poll_timeout().filter(|_| !self.is_done());
        let rests = rests.map(|at| at.max(self.next_tick));
        let sources = if self.sources.is_asking() { Some(self.next_tick) } else { rests };
        [live, sources, self.roster.poll_timeout(), self.upload_at, self.download_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn tick(&mut self, now: Instant) {
        self.expire_metadata(now);
        self.gossip(now);
        if let Some(content) = &mut self.content {
            let on_the_way = self.peers.values().map(|peer| peer.pipeline.on_the_way(now)).sum();
            content.picker.set_on_the_way(on_the_way);
        }
        let peers: Vec<PeerKey> = self.peers.keys().copied().collect();
        for peer in peers {
            self.expire_requests(now, peer);
            self.fill_requests(now, peer);
            self.keep_alive(now, peer);
        }
        self.tick_sources(now);
    }

    fn send(&mut self, now: Instant, peer: PeerKey, message: Message) {
        if let Some(connection) = self.peers.get_mut(&peer) {
            connection.last_sent = now;
            self.transmit.push_back(Transmit::Send { peer, message });
        }
    }
}
