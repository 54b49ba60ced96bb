//! What the fuzz target `metadata` and the replay of its corpus both run: a magnet among peers that have its metadata,
//! or say so.
//!
//! Each step is one byte, its low three bits what is done and the next three by which peer, and what that needs:
//! 0 comes or goes, 6 shakes hands again (size: a byte 0 for the true one, else four more bytes), 1 gives what it was
//! asked for first, 2 gives something else of that length, 3 rejects it, 4 gives what it likes (piece and total in four
//! bytes each, length in two), 5 asks (four bytes), 7 lets time pass (a byte, quarters of a second).

use bytes::Bytes;
use gaggle_core::bitfield::Bitfield;
use gaggle_core::clock::Instant;
use gaggle_core::geometry::{Geometry, Version};
use gaggle_core::hash::sha1;
use gaggle_core::id::{InfoHash, PeerId, TorrentHashes};
use gaggle_core::proto::extension::{
    Extension, ExtensionHandshake, HANDSHAKE_ID, Ids, METADATA_LEN_MAX, MetadataMessage,
    metadata_pieces, metadata_range,
};
use gaggle_core::proto::peer::Message;
use gaggle_core::rng::Rng;
use gaggle_core::swarm::PeerKey;
use gaggle_core::swarm::choker::ChokerConfig;
use gaggle_core::swarm::picker::{PickerPolicy, Priority};
use gaggle_core::swarm::roster::{Direction, RosterConfig};
use gaggle_core::swarm::torrent::{Close, Event, Hello, Torrent, TorrentConfig, Transmit};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// The id under which these peers speak of metadata.
const THEIR_ID: u8 = 3;
/// Bytes of the dictionary: three blocks.
const LEN: usize = 40_000;
/// Blocks that a peer may be asked for at a time.
const ASKED_MAX: usize = 4;
/// Blocks that a peer may have from us beyond one copy.
const SERVED_SLACK: u32 = 64;
/// Seconds after which an honest peer that is alone with us must have given everything.
const PATIENCE_S: u64 = 60;

/// Runs one input; panics if somebody is asked for what he does not have or for too much, if an honest peer is banned,
/// if a false dictionary is taken, or if the true one cannot be had afterwards. Returns whether it came before that.
pub(crate) fn metadata(data: &[u8]) -> bool {
    let mut world = World::new();
    let mut input = Input(data);
    while world.step(&mut input).is_some() {}
    let early = world.got;
    (0..8).for_each(|who| world.leave(who));
    world.join(8, LEN as u32);
    for _ in 0..PATIENCE_S {
        while world.owed(8).is_some_and(|piece| world.give(8, piece)) {}
        world.pass(Duration::from_secs(1));
    }
    assert!(world.got, "an honest peer could not give the metadata");
    early
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn size(&mut self) -> Option<u32> {
        if self.take()? == [0] { Some(LEN as u32) } else { self.number() }
    }
}

#[derive(Default)]
struct Peer {
    key: Option<PeerKey>,
    /// What it has first said the dictionary measures: a later word does not count.
    size: Option<u32>,
    owes: VecDeque<u32>,
    served: u32,
    /// Has ever given false metadata.
    lied: bool,
}

struct World {
    now: Instant,
    info: Bytes,
    torrent: Torrent,
    peers: BTreeMap<u8, Peer>,
    got: bool,
}

impl World {
    fn new() -> Self {
        let info = Bytes::from(vec![b'i'; LEN]);
        let config = TorrentConfig {
            client: "fuzz".to_owned(),
            our_id: PeerId([0xff; 20]),
            listen_port: Some(6881),
            pex: true,
            dht_port: None,
            down: None,
            up: None,
            choker: ChokerConfig::default(),
            picker: PickerPolicy::default(),
            roster: RosterConfig::default(),
        };
        let hashes = TorrentHashes::V1(InfoHash(sha1([&info[..]])));
        let torrent = Torrent::new(Instant::ZERO, config, hashes, Rng::seeded(1));
        let peers = (0..=8).map(|who| (who, Peer::default())).collect();
        Self { now: Instant::ZERO, info, torrent, peers, got: false }
    }

    /// One step of the input; `None` at its end.
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let [step] = input.take()?;
        let who = step >> 3 & 7;
        match step & 7 {
            0 if self.peer(who).key.is_some() => self.leave(who),
            0 => {
                let size = input.size()?;
                self.join(who, size);
            }
            1 => _ = self.owed(who).map(|piece| self.give(who, piece)),
            2 => {
                if let (Some(piece), Some(size)) = (self.owed(who), self.peer(who).size) {
                    let len = metadata_range(size, piece).map_or(0, |range| range.len());
                    self.lie(who, piece, size, len);
                }
            }
            3 => {
                if let Some(piece) = self.owed(who) {
                    self.say(who, &MetadataMessage::Reject { piece });
                }
            }
            4 => {
                let (piece, total) = (input.number()?, input.number()?);
                let len = u16::from_le_bytes(input.take()?);
                self.lie(who, piece, total, len.into());
            }
            5 => {
                let piece = input.number()?;
                self.say(who, &MetadataMessage::Request { piece });
            }
            6 => {
                let size = input.size()?;
                self.shake(who, size);
            }
            _ => {
                let [quarters] = input.take()?;
                self.pass(Duration::from_millis(250) * u32::from(quarters));
            }
        }
        Some(())
    }

    fn peer(&mut self, who: u8) -> &mut Peer {
        self.peers.get_mut(&who).expect("one of nine")
    }

    fn join(&mut self, who: u8, size: u32) {
        let hello = Hello {
            addr: addr(who),
            direction: Direction::Incoming,
            peer_id: PeerId([who + 1; 20]),
            reserved: Torrent::reserved(),
        };
        // One who was banned is refused.
        if let Ok(key) = self.torrent.handle_connected(self.now, &hello) {
            *self.peer(who) = Peer { key: Some(key), lied: self.peer(who).lied, ..Peer::default() };
            self.shake(who, size);
        }
    }

    fn shake(&mut self, who: u8, size: u32) {
        let handshake = ExtensionHandshake {
            ids: Ids::default().with(Extension::Metadata, THEIR_ID),
            metadata_size: Some(size),
            ..ExtensionHandshake::default()
        };
        let said = Some(size).filter(|size| (1..=METADATA_LEN_MAX).contains(size));
        let peer = self.peer(who);
        peer.size = peer.size.or(said);
        self.hear(who, HANDSHAKE_ID, handshake.encode());
    }

    fn leave(&mut self, who: u8) {
        if let Some(key) = self.peer(who).key.take() {
            self.torrent.handle_disconnected(self.now, key, None);
            self.settle();
        }
    }

    fn owed(&mut self, who: u8) -> Option<u32> {
        self.peer(who).owes.pop_front()
    }

    /// Answers as an honest peer does.
    fn give(&mut self, who: u8, piece: u32) -> bool {
        self.say(who, &MetadataMessage::answer(&self.info.clone(), piece));
        true
    }

    fn lie(&mut self, who: u8, piece: u32, total_size: u32, len: usize) {
        self.peer(who).lied = true;
        let data = Bytes::from(vec![b'x'; len]);
        self.say(who, &MetadataMessage::Data { piece, total_size, data });
    }

    fn say(&mut self, who: u8, message: &MetadataMessage) {
        self.hear(who, Extension::Metadata.our_id(), message.encode());
    }

    fn hear(&mut self, who: u8, id: u8, payload: Bytes) {
        if let Some(key) = self.peer(who).key {
            self.torrent.handle_message(self.now, key, Message::Extended { id, payload });
            self.settle();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.torrent.handle_timeout(self.now);
        self.settle();
    }

    /// Carries out what the torrent wants, and looks whether it may.
    fn settle(&mut self) {
        let mut asked: BTreeMap<PeerKey, usize> = BTreeMap::new();
        while let Some(transmit) = self.torrent.poll_transmit() {
            match transmit {
                Transmit::Send { peer, message: Message::Extended { id: THEIR_ID, payload } } => {
                    self.on_said(peer, &payload, asked.entry(peer).or_default());
                }
                Transmit::Close { peer, reason } => self.on_close(peer, &reason),
                _ => {}
            }
        }
        while self.torrent.poll_dial(self.now).is_some() {}
        while self.torrent.poll_disk().is_some() {}
        while let Some(event) = self.torrent.poll_event() {
            match event {
                Event::Metadata(info) => self.on_metadata(info),
                Event::Banned { peer, reason } => {
                    let liar = self.peers.iter().find(|&(&who, _)| addr(who) == peer);
                    assert!(liar.is_some_and(|(_, peer)| peer.lied), "{peer} banned: {reason}");
                }
                _ => {}
            }
        }
    }

    fn on_said(&mut self, key: PeerKey, payload: &Bytes, asked: &mut usize) {
        let said = MetadataMessage::parse(payload).expect("we write what can be read");
        let Some(peer) = self.peers.values_mut().find(|peer| peer.key == Some(key)) else { return };
        match said {
            Some(MetadataMessage::Request { piece }) => {
                let size = peer.size.expect("who has said no size is not asked");
                assert!(!self.got && piece < metadata_pieces(size), "{piece} of {size} bytes");
                *asked += 1;
                assert!(*asked <= ASKED_MAX);
                peer.owes.push_back(piece);
            }
            Some(MetadataMessage::Data { piece, total_size, data }) => {
                assert!(self.got && total_size as usize == LEN);
                let range = metadata_range(total_size, piece).expect("a piece that is there");
                assert_eq!(data, self.info.slice(range));
                peer.served += 1;
                assert!(peer.served <= metadata_pieces(total_size) + SERVED_SLACK);
            }
            _ => {}
        }
    }

    fn on_close(&mut self, key: PeerKey, reason: &Close) {
        if let Some(peer) = self.peers.values_mut().find(|peer| peer.key == Some(key)) {
            peer.key = None;
        }
        self.torrent.handle_disconnected(self.now, key, Some(reason.blame()));
    }

    fn on_metadata(&mut self, info: Bytes) {
        assert!(!self.got && info == self.info);
        self.got = true;
        let geometry = Geometry::new(Version::V1, 1 << 20, 1 << 16).expect("a torrent");
        let nothing = Bitfield::empty(geometry.pieces());
        self.torrent.set_content(self.now, info, geometry, nothing, |_| Priority::Normal);
    }
}

fn addr(who: u8) -> SocketAddr {
    SocketAddr::from(([198, 18, who, 1], 6881))
}
