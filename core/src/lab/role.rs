//! Who takes part: a torrent to share, the parts that can be played, and what the world does to a player's words
//! and disk.

use super::stream::Link;
use crate::bitfield::Bitfield;
use crate::geometry::{Geometry, GeometryError, Version};
use crate::hash;
use crate::id::{InfoHash, TorrentHashes};
use crate::swarm::choker::{ChokerConfig, Slots};
use crate::swarm::picker::PickerPolicy;
use crate::units::BytesPerSec;
use bytes::Bytes;

/// A torrent without content: sizes, and an info dictionary to name it by.
#[derive(Clone, Debug)]
pub struct TorrentSpec {
    /// How it is cut.
    pub geometry: Geometry,
    /// Its dictionary; the piece hashes in it are zeros, since the lab's blocks have no bytes to hash.
    pub info: Bytes,
    /// What it is called on the wire.
    pub hash: InfoHash,
}

impl TorrentSpec {
    /// A torrent of `total` bytes in pieces of `piece_len`.
    pub fn new(name: &str, total: u64, piece_len: u64) -> Result<Self, GeometryError> {
        let geometry = Geometry::new(Version::V1, total, piece_len)?;
        let hashes = geometry.pieces() as usize * 20;
        let mut info = format!(
            "d6:lengthi{total}e4:name{}:{name}12:piece lengthi{piece_len}e6:pieces{hashes}:",
            name.len()
        )
        .into_bytes();
        info.resize(info.len() + hashes, 0);
        info.push(b'e');
        let hash = InfoHash(hash::sha1([&info[..]]));
        Ok(Self { geometry, info: info.into(), hash })
    }

    pub(super) fn hashes(&self) -> TorrentHashes {
        TorrentHashes::V1(self.hash)
    }
}

/// The parts that can be played. Each is a production machine; see [`Setup`] for what sets it apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Has nothing, lies about every piece, and serves none ([`Mischief::Boast`]).
    Boaster,
    /// Downloads, and gives nobody a slot.
    FreeRider,
    /// Has nothing at first.
    Leech,
    /// Claims to have everything and never sends any of it ([`Mischief::Mute`]).
    Liar,
    /// Has everything, and everything it sends is wrong ([`Mischief::Poison`]).
    Poisoner,
    /// Has everything.
    Seed,
    /// A leech on a line of a twentieth.
    Slow,
    /// Claims everything, floods hints, never sends ([`Mischief::Spam`]).
    Spammer,
    /// Serves everybody up to 99 % ([`Mischief::StallAt`]).
    Staller,
    /// A leech that pays as little as it can ([`Mischief::Stint`]), to everybody.
    Tyrant,
}

/// Which blocks a poisoner spoils.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Poison {
    /// All.
    Always,
    /// Every other one it sends, so that one block is seen in both versions.
    Alternating,
    /// One in so many, drawn at random.
    OneIn(u32),
}

/// What the world does to an actor's words and disk. The actor's machine is the production one all the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mischief {
    /// Announces pieces that it lacks, and answers no request for them.
    Boast,
    /// Takes requests and never answers.
    Mute,
    /// An honest actor.
    None,
    /// Sends wrong blocks.
    Poison(Poison),
    /// Never answers, and sends this many suggestions and as many allowed-fast messages to everybody.
    Spam(u32),
    /// Answers until the other side has this part of the content, 0 to 1; never afterwards.
    StallAt(f64),
    /// Sends each peer the least for which that one keeps it unchoked, as `BitTyrant` does.
    Stint,
}

/// One actor: a role, and what is particular about it.
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) role: Role,
    pub(super) mischief: Mischief,
    pub(super) complete: bool,
    pub(super) line_up: Option<BytesPerSec>,
    pub(super) line_down: Option<BytesPerSec>,
    pub(super) limit_up: Option<BytesPerSec>,
    pub(super) limit_down: Option<BytesPerSec>,
    pub(super) picker: PickerPolicy,
    pub(super) choker: ChokerConfig,
    pub(super) magnet: bool,
}

/// A slow host's line is the link's rate divided by this.
const SLOWER: u64 = 20;
/// More slots than a swarm of the lab has leeches.
const EVERYBODY: usize = 1000;
/// Hints of each kind that a [`Role::Spammer`] sends to everybody.
const SPAM: u32 = 2000;

impl From<Role> for Setup {
    fn from(role: Role) -> Self {
        let mischief = match role {
            Role::Boaster => Mischief::Boast,
            Role::Liar => Mischief::Mute,
            Role::Poisoner => Mischief::Poison(Poison::Always),
            Role::Spammer => Mischief::Spam(SPAM),
            Role::Staller => Mischief::StallAt(0.99),
            Role::Tyrant => Mischief::Stint,
            Role::FreeRider | Role::Leech | Role::Seed | Role::Slow => Mischief::None,
        };
        let complete = matches!(
            role,
            Role::Liar | Role::Poisoner | Role::Seed | Role::Spammer | Role::Staller
        );
        let mut choker = ChokerConfig::default();
        match role {
            Role::FreeRider => choker.slots = Slots::Fixed(0),
            Role::Tyrant => choker.slots = Slots::Fixed(EVERYBODY),
            _ => {}
        }
        Self {
            role,
            mischief,
            complete,
            line_up: None,
            line_down: None,
            limit_up: None,
            limit_down: None,
            picker: PickerPolicy::default(),
            choker,
            magnet: false,
        }
    }
}

impl Setup {
    /// An actor of this role.
    pub fn new(role: Role) -> Self {
        role.into()
    }

    /// Rates of this host's line, instead of the link's.
    #[must_use]
    pub fn line(mut self, up: BytesPerSec, down: BytesPerSec) -> Self {
        (self.line_up, self.line_down) = (Some(up), Some(down));
        self
    }

    /// Limits that the user set, in bytes of content.
    #[must_use]
    pub fn limits(mut self, up: Option<BytesPerSec>, down: Option<BytesPerSec>) -> Self {
        (self.limit_up, self.limit_down) = (up, down);
        self
    }

    /// How it chooses pieces.
    #[must_use]
    pub fn picker(mut self, policy: PickerPolicy) -> Self {
        self.picker = policy;
        self
    }

    /// Whom it unchokes.
    #[must_use]
    pub fn choker(mut self, config: ChokerConfig) -> Self {
        self.choker = config;
        self
    }

    /// What the world does to it.
    #[must_use]
    pub fn mischief(mut self, mischief: Mischief) -> Self {
        self.mischief = mischief;
        self
    }

    /// It knows the info hash only, and fetches the metadata from peers.
    #[must_use]
    pub fn magnet(mut self) -> Self {
        self.magnet = true;
        self
    }

    pub(super) fn lines(&self, link: &Link) -> (u64, u64) {
        let share = if self.role == Role::Slow { SLOWER } else { 1 };
        let rate = |own: Option<BytesPerSec>| own.unwrap_or(link.rate).0 / share;
        (rate(self.line_up).max(1), rate(self.line_down).max(1))
    }

    pub(super) fn first_pieces(&self, pieces: u32) -> Bitfield {
        if self.complete { Bitfield::full(pieces) } else { Bitfield::empty(pieces) }
    }
}
