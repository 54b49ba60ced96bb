//! What a user of the engine says and hears: settings, requests, snapshots, events, errors.

use crate::disk::Preallocate;
use crate::fetch::Kind;
use crate::locate::DhtConfig;
use crate::net::ConnectError;
use gaggle_core::geometry::PieceIndex;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::{Magnet, Metainfo, PeerHint};
use gaggle_core::storage::DiskFault;
use gaggle_core::storage::Verify;
use gaggle_core::swarm::announce::TrackerStatus;
use gaggle_core::swarm::choker::Slots;
use gaggle_core::swarm::source::SourceRefusal;
use gaggle_core::swarm::torrent::Status;
use gaggle_core::units::BytesPerSec;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Settings of one engine. Limits count payload and are shared by all its torrents.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where peers can dial us; port 0 takes any free one, a wildcard address serves both families.
    pub listen: SocketAddr,
    /// Where resume records, parts files and locks live.
    pub state_dir: PathBuf,
    /// Most bytes per second to fetch.
    pub down: Option<BytesPerSec>,
    /// Most bytes per second to send.
    pub up: Option<BytesPerSec>,
    /// Most live connections per torrent.
    pub max_peers: usize,
    /// Most peers to upload to at a time, per torrent.
    pub slots: Slots,
    /// The congestion control of connections to peers; `None` leaves it to the system.
    pub congestion: Option<String>,
    /// Whether peers of a torrent that is not private are told of each other.
    pub pex: bool,
    /// Whether peers are looked for among the neighbours on the wire, by multicast. Never for a private torrent,
    /// and not while listening on loopback only, where no neighbour could call.
    pub lsd: bool,
    /// Keeps to this network: of the trackers, nodes and peers that torrents, links and trackers name, only those at
    /// private addresses. The peers and trackers that the user names himself are not touched by it.
    pub lan: bool,
    /// Whether the router is asked for ports that lead to us. Not while listening on loopback only.
    pub port_map: bool,
    /// A node of the DHT, which peers of a torrent that is not private are looked for with. Its own state folder goes
    /// unused: it keeps what it knows in `state_dir`.
    pub dht: Option<DhtConfig>,
}

/// What the DHT has brought one torrent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DhtSeen {
    /// Nodes asked by the last lookup that is over.
    pub asked: u32,
    /// Of them, nodes that answered.
    pub answered: u32,
    /// Nodes that keep our announce.
    pub stored: u32,
    /// Different peers so far.
    pub peers: usize,
    /// Lookups that are over.
    pub lookups: u32,
    /// Why nobody answered, in words.
    pub trouble: Option<String>,
}

/// A torrent by its file or by its link.
#[derive(Clone, Debug)]
pub enum What {
    /// Only hashes and hints; the rest comes from peers.
    Magnet(Box<Magnet>),
    /// Everything there is to know.
    Metainfo(Arc<Metainfo>),
}

/// Which files of a torrent are wanted. Indices count from 1, as `show` prints them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Selection {
    /// Every file.
    #[default]
    All,
    /// Files whose index lies in one of the ranges, or whose path matches one of the globs.
    Some {
        /// Inclusive index ranges.
        ranges: Vec<std::ops::RangeInclusive<usize>>,
        /// Shell patterns over the path, `/` between components.
        globs: Vec<String>,
    },
}

/// What to do with one torrent.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// The torrent.
    pub what: What,
    /// Where its files go, or already are.
    pub out_dir: PathBuf,
    /// Which of its files are wanted.
    pub select: Selection,
    /// Peers that the user named: tried at once, and also where a private torrent keeps to its tracker.
    pub peers: Vec<SocketAddr>,
    /// Peers that the link named: tried at once, but for a private torrent. Names are looked up meanwhile.
    pub link_peers: Vec<PeerHint>,
    /// Trackers beside those it names itself; a tier of its own.
    pub trackers: Vec<String>,
    /// How much of existing data to hash.
    pub verify: Verify,
    /// How to make room on the disk.
    pub preallocate: Preallocate,
    /// Whether a file that is in the way may be written into.
    pub overwrite: bool,
    /// Whether the data must be there already: nothing is created, nothing is fetched into.
    pub seed_only: bool,
}

/// How one torrent stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Numbers of the swarm.
    pub status: Status,
    /// Known once the metadata is.
    pub metainfo: Option<Arc<Metainfo>>,
    /// Whether it takes part in the swarm: what it has is known, or nothing is, as with a magnet.
    pub running: bool,
    /// Pieces hashed and pieces to hash, while existing data is being checked.
    pub checking: Option<(u32, u32)>,
    /// What every tracker last said.
    pub trackers: Vec<TrackerStatus>,
    /// Neighbours on the wire that have been heard of; `None` if nobody listens for them.
    pub neighbours: Option<usize>,
    /// What the DHT has brought; `None` if it is off, or the torrent private.
    pub dht: Option<DhtSeen>,
    /// Peers, one by one.
    pub peers: Vec<gaggle_core::swarm::torrent::PeerStatus>,
    /// Why the last attempt to connect failed, for each peer that was given by hand and is not connected.
    pub refused: BTreeMap<SocketAddr, ConnectError>,
    /// Payload from hosts that are no peers, by their kind: part of `status.downloaded`. Empty if there were none.
    pub from: BTreeMap<Kind, u64>,
    /// Where every wanted file lies: the single file, or the torrent's folder.
    pub path: Option<PathBuf>,
}

impl Snapshot {
    /// Payload from peers.
    pub fn from_peers(&self) -> u64 {
        self.status.downloaded.saturating_sub(self.from.values().sum())
    }
}

/// Something that happened to one torrent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DownloadEvent {
    /// A peer is never spoken to again.
    Banned {
        /// Who.
        peer: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Existing data has been looked at.
    Checked {
        /// Pieces that had to be hashed.
        hashed_pieces: u32,
        /// Pieces the record vouched for.
        trusted_pieces: u32,
        /// Verified bytes of wanted files.
        done: u64,
    },
    /// Every wanted byte is verified and in its place.
    Complete {
        /// The single file, or the torrent's folder.
        path: PathBuf,
    },
    /// It cannot go on.
    Failed(EngineError),
    /// The metadata is known.
    MetadataKnown(Arc<Metainfo>),
    /// A piece is verified and in its place.
    Verified(PieceIndex),
}

/// Why the engine or a torrent cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The same torrent runs already in this engine.
    #[error("{0} is already running")]
    AlreadyRunning(InfoHash),
    /// The disk refused while running.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// A selection pattern that is none.
    #[error("{0}")]
    Glob(String),
    /// The files of the torrent do not fit together.
    #[error(transparent)]
    Layout(#[from] gaggle_core::storage::LayoutError),
    /// The kernel does not have this congestion control, or not for us.
    #[error("congestion control {name}: {text}")]
    Congestion {
        /// What was asked for.
        name: String,
        /// What the system said.
        text: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {text}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        text: String,
    },
    /// The metadata that peers sent has the right hash, but makes no torrent.
    #[error("the metadata is unusable: {0}")]
    Metadata(#[from] gaggle_core::metainfo::MetainfoError),
    /// The torrent has no file of that number, counted from 0.
    #[error("the torrent has no file {0}")]
    NoFile(usize),
    /// The selection names no file of the torrent.
    #[error("no file of the torrent matches the selection")]
    NothingSelected,
    /// A host is not asked for its file.
    #[error("not a source: {0}")]
    Source(#[from] SourceRefusal),
    /// The engine has been shut down.
    #[error("the engine has stopped")]
    Stopped,
    /// Storage could not be opened, or holds something else.
    #[error(transparent)]
    Storage(Arc<crate::disk::StorageError>),
    /// The system gave no threads, or no randomness.
    #[error("the system refused: {0}")]
    System(String),
}
