//! One live peer as its torrent sees it: what was asked, what is owed, when it last did something.

use super::gossip::Gossip;
use super::metadata::Exchange;
use super::relay::Meetings;
use crate::clock::Instant;
use crate::external::Sighting;
use crate::geometry::{Block, PieceIndex};
use crate::id::PeerId;
use crate::proto::extension::{ExtensionHandshake, Ids, REQQ_DEFAULT};
use crate::proto::peer::Session;
use crate::swarm::pipeline::Pipeline;
use crate::swarm::rate::Meter;
use crate::swarm::roster::Direction;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Requests a peer may leave with us at a time; told as `reqq`. More are refused.
pub(super) const REQUESTS_MAX: usize = 2000;
/// Suggested pieces that are remembered per peer; more are ignored (libtorrent keeps 16).
pub(super) const SUGGESTED_MAX: usize = 16;
/// Pieces that a peer may declare allowed fast; more are ignored. BEP 6 suggests sets of 10.
pub(super) const ALLOWED_MAX: usize = 32;

/// State of one connection. Protocol rules live in [`Session`]; this holds the traffic.
pub(super) struct Connection {
    pub(super) addr: SocketAddr,
    pub(super) direction: Direction,
    pub(super) id: PeerId,
    pub(super) session: Session,
    pub(super) joined: Instant,
    pub(super) exchange: Exchange,
    pub(super) gossip: Gossip,
    pub(super) meetings: Meetings,
    /// The extensions that we have offered it.
    pub(super) offered: Ids,

    // What we ask of them.
    pub(super) pipeline: Pipeline,
    /// Blocks asked for and not yet answered, with the time of asking.
    pub(super) asked: BTreeMap<Block, Instant>,
    pub(super) last_block: Instant,
    pub(super) snubbed: bool,
    /// Silent in endgame: the last blocks are asked of others first.
    pub(super) passed_over: bool,
    /// When they last choked us.
    pub(super) choked_us_at: Instant,
    /// Requests they rejected since their last block.
    pub(super) rejected: u32,
    pub(super) allowed: Vec<PieceIndex>,
    pub(super) suggested: VecDeque<PieceIndex>,
    pub(super) down: Meter,
    /// Blocks that nobody asked this peer for.
    pub(super) unasked: u32,

    // What they ask of us.
    pub(super) queue: VecDeque<Block>,
    /// A free rider, as of the last choke round: it gets what the others leave of a limit.
    pub(super) served_last: bool,
    /// Bytes read or being read for this peer and not yet on the wire.
    pub(super) sending: u64,
    /// Pieces the peer may fetch while choked, and how many bytes of each are left to it.
    pub(super) fast_left: BTreeMap<PieceIndex, u64>,
    pub(super) up: Meter,
    pub(super) sent_since_unchoke: u64,
    pub(super) choked_at: Instant,
    /// Requests refused since we last unchoked the peer.
    pub(super) refused: u32,
    /// Requests refused so soon after we choked the peer that it may not have known.
    pub(super) crossed: u32,
    pub(super) last_sent: Instant,
    /// Times that it has named its node of the DHT.
    pub(super) ports_told: u32,

    /// What it says of itself: name, port, extensions.
    pub(super) theirs: ExtensionHandshake,
    /// Where it says that it sees us.
    pub(super) sighting: Option<Sighting>,
    /// We have asked the driver to close it: nothing it still sends counts.
    pub(super) closing: bool,
}

impl Connection {
    pub(super) fn new(
        now: Instant,
        addr: SocketAddr,
        direction: Direction,
        id: PeerId,
        session: Session,
    ) -> Self {
        Self {
            addr,
            direction,
            id,
            session,
            joined: now,
            exchange: Exchange::default(),
            gossip: Gossip::new(now),
            meetings: Meetings::default(),
            offered: Ids::default(),
            pipeline: Pipeline::new(now, REQQ_DEFAULT.get()),
            asked: BTreeMap::new(),
            last_block: now,
            snubbed: false,
            passed_over: false,
            choked_us_at: now,
            rejected: 0,
            allowed: Vec::new(),
            suggested: VecDeque::new(),
            down: Meter::new(now),
            unasked: 0,
            queue: VecDeque::new(),
            served_last: false,
            sending: 0,
            fast_left: BTreeMap::new(),
            up: Meter::new(now),
            sent_since_unchoke: 0,
            choked_at: now,
            refused: 0,
            crossed: 0,
            last_sent: now,
            ports_told: 0,
            theirs: ExtensionHandshake::default(),
            sighting: None,
            closing: false,
        }
    }
}
