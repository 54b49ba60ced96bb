//! Drives one torrent: the only `select!` it has, and no lock.
//!
//! Never decides anything that the machine could: it carries values between the machine, the connections, the disk
//! and the trackers. Payload goes from a connection to the assembly and from there to the disk pool; the machine sees
//! piece, offset and length.

use super::api::{AddTorrent, DownloadEvent, EngineError, Snapshot};
use super::assembly::Assembly;
use super::command::{Command, Commands, Reach};
use super::content::{Content, Opened, Opening};
use super::engine::{EVENTS_MAX, Shared};
use super::hints;
use super::link::{Deaf, Link};
use super::sources::Sources;
use super::storing::Work;
use crate::disk::DiskEvent;
use crate::locate::is_near_host;
use crate::net::{
    ConnectError, Connected, FROM_PEER_QUEUE, FromPeer, Item, Pump, PumpConfig, TO_PEER_QUEUE,
    ToPeer,
};
use gaggle_core::blame::Blame;
use gaggle_core::clock::Instant;
use gaggle_core::id::TorrentHashes;
use gaggle_core::metainfo::Metainfo;
use gaggle_core::proto::peer::Handshake;
use gaggle_core::scope::Scope;
use gaggle_core::storage::DiskFault;
use gaggle_core::swarm::PeerKey;
use gaggle_core::swarm::picker::Priority;
use gaggle_core::swarm::roster::{Direction, Source};
use gaggle_core::swarm::torrent::{Event, Fate, Hello, Torrent, Transmit};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Time for connections to take what was said before a stop.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often a snapshot is published.
const SNAPSHOT: Duration = Duration::from_millis(200);
/// Reads taken in before the machine's outputs are looked at.
const READS_PER_DRAIN: usize = 32;
/// More than the disk may have under way for one torrent, so that its threads never wait for us.
pub(super) const DISK_QUEUE: usize = 8192;

/// Peers that may wait until the check is over; others will try again.
const EARLY_MAX: usize = 64;

/// The ends of the channels that lead out of the task.
pub(super) struct Outputs {
    /// Boxed, because the queue makes room for 32 at a time.
    pub(super) events: mpsc::Sender<Box<DownloadEvent>>,
    pub(super) snapshots: watch::Sender<Snapshot>,
}

/// Everything one torrent needs of the world.
pub(super) struct TorrentTask {
    pub(super) shared: Arc<Shared>,
    hashes: TorrentHashes,
    add: AddTorrent,
    pub(super) torrent: Torrent,
    out: Outputs,

    opening: Option<Opening>,
    pub(super) content: Option<Content>,
    pub(super) assembly: Assembly,
    /// Work that the disk was too busy to take.
    pub(super) waiting: VecDeque<Work>,

    pub(super) links: BTreeMap<PeerKey, Link>,
    /// Links with something to hand over.
    pub(super) behind: BTreeSet<PeerKey>,
    pumps: JoinSet<()>,
    dials: JoinSet<(SocketAddr, Result<Connected, ConnectError>)>,
    /// Dialled us during the check, when they would have been told that we have nothing.
    early: Vec<Connected>,
    /// Where we are reached, for those that find peers.
    reach: Reach,
    /// Names of the link.
    lookups: JoinSet<()>,
    /// From the first connection on: most of a thousand torrents have none.
    heard: Option<Heard>,
    /// Hosts of byte ranges.
    pub(super) sources: Sources,
    disk: (mpsc::Sender<Box<DiskEvent>>, mpsc::Receiver<Box<DiskEvent>>),

    // What the snapshots say beside the machine's status.
    metainfo: Option<Arc<Metainfo>>,
    running: bool,
    refused: BTreeMap<SocketAddr, ConnectError>,
}

/// The ends of the channel from all connections.
type Heard = (mpsc::Sender<FromPeer>, mpsc::Receiver<FromPeer>);

impl TorrentTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        hashes: TorrentHashes,
        add: AddTorrent,
        torrent: Torrent,
        reach: Reach,
        out: Outputs,
    ) -> Self {
        Self {
            shared,
            hashes,
            add,
            torrent,
            out,
            opening: None,
            content: None,
            assembly: Assembly::default(),
            waiting: VecDeque::new(),
            links: BTreeMap::new(),
            behind: BTreeSet::new(),
            pumps: JoinSet::new(),
            dials: JoinSet::new(),
            early: Vec::new(),
            reach,
            lookups: JoinSet::new(),
            heard: None,
            sources: Sources::default(),
            disk: mpsc::channel(DISK_QUEUE),
            metainfo: None,
            running: false,
            refused: BTreeMap::new(),
        }
    }

    /// Runs until it is told to stop. Boxed, because a future that owns it would hold it once for each of its steps.
    pub(super) async fn run(
        mut self: Box<Self>,
        mut commands: Commands,
        metainfo: Option<Arc<Metainfo>>,
    ) {
        match metainfo {
            Some(metainfo) => self.open(metainfo),
            None => {
                self.running = true;
                self.add_peers();
                self.publish();
            }
        }
        let mut ticks = tokio::time::interval(SNAPSHOT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // A torrent in which nothing happens is not looked at again: thousands of them may lie idle.
        let mut restless = true;
        let stopped = loop {
            self.drain();
            let wake = self.wake_at();
            let mut quiet = false;
            tokio::select! {
                biased; // finish local work before accepting remote work
                Some(event) = self.disk.1.recv() => self.on_disk(*event),
                command = commands.recv() => match command.map(|command| *command) {
                    Some(Command::Stop(done)) => break Some(done),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                opened = opened(&mut self.opening) => {
                    self.on_opened(opened);
                    for early in std::mem::take(&mut self.early) {
                        self.connected(early, Direction::Incoming);
                    }
                }
                () = self.shared.clock.sleep_until(wake) => {
                    self.torrent.handle_timeout(self.shared.clock.now());
                }
                _ = ticks.tick(), if restless => quiet = !self.publish(),
                Some(Ok((addr, outcome))) = self.dials.join_next() => self.on_dialled(addr, outcome),
                Some(_) = self.pumps.join_next() => {}
                fetched = self.sources.next(), if !self.torrent.sources_wait() => {
                    self.on_fetched(fetched);
                    self.take_reads(READS_PER_DRAIN); // hosts that always have more keep no peer waiting
                }
                // Last, because there is always more of it while the torrent is what holds things up.
                Some(from) = next_read(&mut self.heard) => self.on_reads(from),
            }
            restless = !quiet;
        };
        let (shared, info_hash) = (Arc::clone(&self.shared), self.hashes.wire());
        self.stop().await;
        shared.forget(info_hash);
        if let Some(done) = stopped {
            let _ = done.send(()); // whoever asked may have stopped waiting
        }
    }

    /// When the machine wants to be woken, but never at once again: a machine that is early loses a millisecond, a
    /// machine with a mistake does not take a core.
    fn wake_at(&self) -> Option<Instant> {
        let soonest = self.shared.clock.now() + Duration::from_millis(1);
        self.torrent.poll_timeout().map(|at| at.max(soonest))
    }

    // ── metadata and storage ──

    fn open(&mut self, metainfo: Arc<Metainfo>) {
        self.metainfo = Some(Arc::clone(&metainfo));
        let state_dir = self.shared.config.state_dir.clone();
        let events = self.disk.0.clone();
        let pool = &self.shared.pool;
        self.opening = Some(Opening::begin(pool, metainfo, &self.add, state_dir, events));
    }

    fn on_opened(&mut self, outcome: Result<Opened, EngineError>) {
        self.opening = None;
        let Opened { content, checked, wanted } = match outcome {
            Ok(opened) => opened,
            Err(error) => return self.tell(DownloadEvent::Failed(error)),
        };
        let info = &content.metainfo.info;
        let done = info
            .geometry
            .iter()
            .filter(|&piece| checked.have.has(piece) && (wanted.has(piece) || self.add.seed_only))
            .map(|piece| u64::from(info.geometry.size_of(piece)))
            .sum();
        let priority = |piece| if wanted.has(piece) { Priority::Normal } else { Priority::Skip };
        let raw = content.metainfo.info_bytes().clone();
        let geometry = info.geometry;
        self.content = Some(content);
        for (&peer, link) in &mut self.links {
            link.push(ToPeer::MetadataKnown { pieces: geometry.pieces() });
            self.behind.insert(peer);
        }
        let now = self.shared.clock.now();
        self.torrent.set_content(now, raw, geometry, checked.have, priority);
        self.running = true;
        self.add_peers();
        self.add_early_sources();
        self.publish();
        // After the snapshot, which whoever hears this will look at.
        self.tell(DownloadEvent::Checked {
            hashed_pieces: checked.hashed_pieces,
            trusted_pieces: checked.trusted_pieces,
            done,
        });
    }

    fn add_peers(&mut self) {
        let peers = std::mem::take(&mut self.add.peers);
        self.on_candidates(Source::Explicit, peers);
        let (peers, mut names) = hints::sort(&std::mem::take(&mut self.add.link_peers));
        self.on_candidates(Source::Magnet, peers);
        if self.shared.config.lan {
            names.retain(|name| is_near_host(&name.host));
        }
        self.lookups = hints::look_up(names, &self.reach);
    }

    /// Who keeps to this network tries nobody elsewhere on the word of others. Whoever was heard on the wire is in it,
    /// even where everybody's address is public.
    fn on_candidates(&mut self, source: Source, mut peers: Vec<SocketAddr>) {
        if self.shared.config.lan && !matches!(source, Source::Explicit | Source::Lsd) {
            peers.retain(|peer| Scope::is_near(peer.ip()));
        }
        self.torrent.handle_candidates(self.shared.clock.now(), source, &peers);
    }

    fn on_metadata(&mut self, info: bytes::Bytes) {
        match Metainfo::from_info(info, &self.hashes) {
            Ok(metainfo) => {
                let metainfo = Arc::new(metainfo);
                self.tell(DownloadEvent::MetadataKnown(Arc::clone(&metainfo)));
                self.open(metainfo);
                self.publish(); // at once: if it is private, nobody may go on asking about it
            }
            Err(error) => self.tell(DownloadEvent::Failed(EngineError::Metadata(error))),
        }
    }

    // ── connections ──

    fn on_dialled(&mut self, addr: SocketAddr, outcome: Result<Connected, ConnectError>) {
        match outcome {
            Ok(connected) => self.connected(connected, Direction::Outgoing),
            Err(error) => {
                tracing::debug!(%addr, %error, "cannot connect");
                self.torrent.handle_dial_failed(self.shared.clock.now(), addr);
                if self.add.peers.contains(&addr) {
                    self.refused.insert(addr, error);
                }
            }
        }
    }

    fn connected(&mut self, connected: Connected, direction: Direction) {
        let theirs = &connected.theirs;
        let hello = Hello {
            addr: connected.addr,
            direction,
            peer_id: theirs.peer_id,
            reserved: theirs.reserved,
        };
        let addr = connected.addr;
        let peer = match self.torrent.handle_connected(self.shared.clock.now(), &hello) {
            Ok(peer) => peer,
            Err(refusal) => return tracing::debug!(%addr, %refusal, "refused"),
        };
        tracing::debug!(%addr, ?peer, ?direction, "connected");
        self.refused.remove(&addr);
        let (queue, from_torrent) = mpsc::channel(TO_PEER_QUEUE);
        let pump = Pump {
            peer,
            pieces: self.content.as_ref().map(|content| content.metainfo.info.geometry.pieces()),
            queue: from_torrent,
            out: self.heard.get_or_insert_with(|| mpsc::channel(FROM_PEER_QUEUE)).0.clone(),
            buffers: self.shared.buffers.clone(),
            clock: self.shared.clock,
            config: PumpConfig::default(),
        };
        let pump = self.pumps.spawn(pump.run(connected));
        self.links.insert(peer, Link::new(queue, pump));
    }

    /// What several reads brought, if they wait: the machine's outputs are drained once for all of them.
    fn on_reads(&mut self, first: FromPeer) {
        self.on_heard(first);
        self.take_reads(READS_PER_DRAIN - 1);
    }

    fn take_reads(&mut self, most: usize) {
        for _ in 0..most {
            let Some((_, heard)) = &mut self.heard else { return };
            match heard.try_recv() {
                Ok(next) => self.on_heard(next),
                Err(_) => return,
            }
        }
    }

    /// Everything that one read of one connection brought.
    fn on_heard(&mut self, FromPeer { peer, items }: FromPeer) {
        let now = self.shared.clock.now();
        for item in items {
            match item {
                Item::Message(message) => self.torrent.handle_message(now, peer, message),
                Item::Sent { bytes } => self.torrent.handle_sent(now, peer, bytes),
                Item::Block { block, data } => {
                    let (index, begin, len) = (block.piece.0, block.begin, block.len);
                    let fate = self.torrent.handle_block(now, peer, index, begin, len);
                    if let (Fate::Keep(block), Some(content)) = (fate, &self.content) {
                        self.assembly.keep(&content.metainfo.info.geometry, block, data);
                    }
                }
                Item::Closed(closed) => {
                    tracing::debug!(?peer, %closed, "connection over");
                    if let Some(link) = self.links.remove(&peer) {
                        link.cut();
                    }
                    self.torrent.handle_disconnected(now, peer, Some(closed.blame()));
                }
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::Send { peer, message } => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.say(message);
                    self.behind.insert(peer);
                }
            }
            Transmit::Close { peer, reason } => {
                tracing::debug!(?peer, %reason, "closing");
                let Some(link) = self.links.remove(&peer) else { return };
                if reason.is_hostile() {
                    link.cut();
                } else {
                    link.close();
                }
                let now = self.shared.clock.now();
                self.torrent.handle_disconnected(now, peer, Some(reason.blame()));
            }
        }
    }

    /// Hands over what was said since the last time. A peer that does not read is let go.
    fn flush_links(&mut self) {
        for peer in std::mem::take(&mut self.behind) {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            match link.flush() {
                Ok(()) if link.is_behind() => drop(self.behind.insert(peer)),
                Ok(()) => {}
                Err(Deaf) => {
                    tracing::debug!(?peer, "does not read");
                    self.links.remove(&peer).into_iter().for_each(Link::cut);
                    let now = self.shared.clock.now();
                    self.torrent.handle_disconnected(now, peer, Some(Blame::Network));
                }
            }
        }
    }

    // ── the machine's outputs ──

    pub(super) fn on_fault(&self, fault: DiskFault) {
        self.tell(DownloadEvent::Failed(EngineError::Disk(fault)));
    }

    /// Carries out everything the machine wants now.
    fn drain(&mut self) {
        let now = self.shared.clock.now();
        loop {
            while let Some(transmit) = self.torrent.poll_transmit() {
                self.transmit(transmit);
            }
            while let Some(op) = self.torrent.poll_disk() {
                self.work(op);
            }
            while let Some(event) = self.torrent.poll_event() {
                self.on_event(event);
            }
            self.ask_sources();
            // Between check and content nobody is dialled: a newcomer would be told that we have nothing.
            if self.opening.is_none() {
                while let Some(addr) = self.torrent.poll_dial(now) {
                    self.dial(addr);
                }
            }
            self.flush_links();
            let Some(transmit) = self.torrent.poll_transmit() else { return };
            self.transmit(transmit); // a link given up just now may have had consequences
        }
    }

    fn dial(&mut self, addr: SocketAddr) {
        let dialer = self.shared.dialer.clone();
        let ours = Handshake {
            info_hash: self.hashes.wire(),
            peer_id: self.shared.our_id,
            reserved: self.shared.reserved(self.is_private()),
        };
        self.dials.spawn(async move { (addr, dialer.dial(addr, ours).await) });
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Banned { peer, reason } => self.tell(DownloadEvent::Banned { peer, reason }),
            Event::Done => {
                self.publish();
                if let Some(content) = &self.content {
                    self.sources.close_idle();
                    self.tell(DownloadEvent::Complete { path: content.path.clone() });
                }
            }
            Event::DhtNode(addr) => {
                if let Some(dht) = &self.shared.dht {
                    dht.suggest(addr);
                }
            }
            Event::Fault(fault) => self.on_fault(fault),
            Event::Metadata(info) => self.on_metadata(info),
            Event::SourceGone { source, fault } => {
                tracing::debug!(source = source.0, %fault, "a source is given up");
                self.sources.remove(source, &fault);
            }
            Event::Seen(sighting) => _ = self.shared.external.sightings.try_send(sighting),
            // The snapshot counts them; a queue full of pieces would leave no room for what ends a transfer.
            Event::Verified(piece) if self.out.events.capacity() > EVENTS_MAX / 2 => {
                self.tell(DownloadEvent::Verified(piece));
            }
            _ => {}
        }
    }

    fn is_private(&self) -> bool {
        self.metainfo.as_ref().is_some_and(|metainfo| metainfo.info.private)
    }

    /// Events that nobody takes are dropped: the snapshot carries the state.
    fn tell(&self, event: DownloadEvent) {
        let _ = self.out.events.try_send(Box::new(event));
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::AddSource { host, file, done } => {
                let _ = done.send(self.add_source(*host, file)); // whoever asked may have stopped waiting
            }
            Command::AddPeers(source, peers) => self.on_candidates(source, peers),
            Command::Incoming(peer) if self.opening.is_none() => {
                self.connected(*peer, Direction::Incoming);
            }
            Command::Incoming(peer) if self.early.len() < EARLY_MAX => self.early.push(*peer),
            Command::Incoming(_) => {}
            Command::SetLimits(down, up) => {
                self.torrent.set_limits(self.shared.clock.now(), down, up);
            }
            Command::Stop(_) => {} // ends the loop before it comes here
        }
    }

    /// Shows how it stands to those who watch, if that has changed. Returns whether it may change without anything
    /// that this task hears of: rates fall, and a check goes on.
    fn publish(&mut self) -> bool {
        let now = self.shared.clock.now();
        self.torrent.set_external(self.shared.addresses(), self.shared.port());
        let status = self.torrent.status(now);
        if let Some(content) = &self.content {
            let (down, up) = content.before;
            content.storage.set_totals(down + status.downloaded, up + status.uploaded);
        }
        let snapshot = Snapshot {
            status,
            metainfo: self.metainfo.clone(),
            running: self.running,
            checking: self.opening.as_ref().map(|opening| *opening.progress.borrow()),
            peers: self.torrent.peers(now),
            refused: self.refused.clone(),
            from: self.sources.got(),
            path: self.content.as_ref().map(|content| content.path.clone()),
            ..Snapshot::default() // the rest is known to others
        };
        let changed = self.out.snapshots.send_if_modified(|shown| {
            let changed = *shown != snapshot;
            *shown = snapshot;
            changed
        });
        changed || self.opening.is_some()
    }

    async fn stop(mut self: Box<Self>) {
        self.publish();
        self.end_sources();
        self.dials.abort_all();
        // The last words, that our last pieces have come, matter to whoever counts copies.
        self.flush_links();
        std::mem::take(&mut self.links).into_values().for_each(Link::close);
        let said = async { while self.pumps.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WORDS, said).await;
        self.pumps.abort_all();
        self.opening = None;
        if let Some(Content { storage, .. }) = self.content.take() {
            drop(self.disk); // the disk's last words have no listener, and must not wait for one
            let closed = tokio::task::spawn_blocking(move || storage.close()).await;
            if let Ok(Err(fault)) = closed {
                let event = DownloadEvent::Failed(EngineError::Disk(fault));
                let _ = self.out.events.try_send(Box::new(event));
            }
        }
    }
}

/// What one read of one connection brought; never, if there was none yet.
async fn next_read(heard: &mut Option<Heard>) -> Option<FromPeer> {
    match heard {
        Some((_, heard)) => heard.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for storage that is being opened; for ever if none is.
async fn opened(opening: &mut Option<Opening>) -> Result<Opened, EngineError> {
    match opening {
        Some(opening) => {
            let outcome = (&mut opening.outcome).await;
            outcome.unwrap_or(Err(EngineError::Stopped))
        }
        None => std::future::pending().await,
    }
}
