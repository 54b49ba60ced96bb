//! What a user may set for one torrent, and what a torrent says about itself.

use crate::external::Sighting;
use crate::geometry::PieceIndex;
use crate::id::PeerId;
use crate::storage::DiskFault;
use crate::swarm::choker::ChokerConfig;
use crate::swarm::picker::PickerPolicy;
use crate::swarm::roster::RosterConfig;
use crate::swarm::source::{SourceFault, SourceKey};
use crate::units::BytesPerSec;
use bytes::Bytes;
use std::net::SocketAddr;

/// Settings of one torrent. Limits count payload only; `None` is unlimited.
#[derive(Clone, Debug)]
pub struct TorrentConfig {
    /// Name and version told in the extension handshake.
    pub client: String,
    /// What we answer to in handshakes.
    pub our_id: PeerId,
    /// Where others can reach us; told in the extension handshake.
    pub listen_port: Option<u16>,
    /// The port of our node of the DHT, told to peers that have one. Never done for a private torrent.
    pub dht_port: Option<u16>,
    /// Whether peers are told of each other. Never done for a private torrent.
    pub pex: bool,
    /// Most bytes per second to fetch.
    pub down: Option<BytesPerSec>,
    /// Most bytes per second to send.
    pub up: Option<BytesPerSec>,
    /// Whom to unchoke, and how many.
    pub choker: ChokerConfig,
    /// How to choose pieces.
    pub picker: PickerPolicy,
    /// Whom to connect to.
    pub roster: RosterConfig,
}

/// Something that a person or a script may want to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is never spoken to again.
    Banned {
        /// Who.
        peer: SocketAddr,
        /// Why, in words.
        reason: String,
    },
    /// A peer says that there is a node of the DHT. Never of a torrent that is private.
    DhtNode(SocketAddr),
    /// Every wanted piece is verified and in its place.
    Done,
    /// The disk refused; the torrent has stopped asking for data.
    Fault(DiskFault),
    /// The info dictionary of a magnet, its hash already checked. The driver opens storage and
    /// answers with [`super::Torrent::set_content`].
    Metadata(Bytes),
    /// A peer says where it sees us. Not told again while it says the same.
    Seen(Sighting),
    /// A source is never asked again: it lied, or failed too often.
    SourceGone {
        /// Which one.
        source: SourceKey,
        /// The last thing that was wrong with it.
        fault: SourceFault,
    },
    /// A piece is verified and in its place.
    Verified(PieceIndex),
}

/// How a torrent stands, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Status {
    /// Verified bytes of wanted pieces.
    pub done: u64,
    /// Bytes of wanted pieces.
    pub total: u64,
    /// Bytes of all pieces that are not verified, unwanted ones included.
    pub missing: u64,
    /// Pieces verified, and all of them.
    pub pieces: (u32, u32),
    /// Payload arriving now.
    pub down: BytesPerSec,
    /// Payload leaving now.
    pub up: BytesPerSec,
    /// Payload received since the start, wasted bytes included.
    pub downloaded: u64,
    /// Payload sent since the start.
    pub uploaded: u64,
    /// Payload that was of no use: duplicates, blocks nobody asked for, bad pieces.
    pub wasted: u64,
    /// Live connections.
    pub peers: usize,
    /// Of these, peers that have everything.
    pub seeds: usize,
    /// Distributed copies among us and our peers.
    pub copies: f64,
    /// Peers that want something of ours.
    pub interested: usize,
    /// Peers that we upload to.
    pub unchoked: usize,
    /// Addresses known but not connected.
    pub candidates: usize,
    /// Least part of the content that a connected incomplete peer has, 0 to 1; 1 without one.
    pub slowest: f64,
    /// Peers that were seen to hold everything, now or earlier.
    pub completed_peers: usize,
    /// Why nothing arrives.
    pub waiting: Waiting,
}

/// Why a torrent that is not done receives nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Waiting {
    /// It receives, or wants nothing.
    #[default]
    No,
    /// Nobody is connected.
    NoPeers,
    /// No peer has told us what the torrent consists of.
    NoMetadata,
    /// Connected peers lack what we want.
    NobodyHas,
    /// Peers have it, but choke us.
    Choked,
    /// Data waits for the disk.
    Disk,
    /// Asked, not yet answered.
    Slow,
}
