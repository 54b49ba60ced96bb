//! Figures that lines of `--json` carry.

use crate::fetch::Kind;
use gaggle_core::units::Size;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// How a Napster client stands with its directory.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum NapsterState {
    /// On its way.
    Connecting,
    /// It was let in.
    In,
    /// It was not, or lost it, and tries again.
    Waiting,
}

/// A node of the DHT in figures.
/// Payload by kind of source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(in super::super) struct BySource {
    /// Peers.
    pub(super) bittorrent: u64,
    /// Hosts of Gnutella.
    pub(super) gnutella: u64,
    /// Hosts of FastTrack.
    pub(super) fasttrack: u64,
    /// Users of Napster.
    pub(super) napster: u64,
}

impl BySource {
    /// Of peers, and of hosts by their kind.
    pub(in super::super) fn of(bittorrent: u64, hosts: &BTreeMap<Kind, u64>) -> Self {
        let of = |kind| hosts.get(&kind).copied().unwrap_or_default();
        Self {
            bittorrent,
            gnutella: of(Kind::Gnutella),
            fasttrack: of(Kind::FastTrack),
            napster: of(Kind::Napster),
        }
    }
}

/// `1.2 MiB from bittorrent, 800.0 KiB from napster`.
impl fmt::Display for BySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bittorrent, gnutella, fasttrack, napster } = *self;
        let hosts = [Kind::Gnutella, Kind::FastTrack, Kind::Napster].map(Kind::name);
        let named = hosts.into_iter().zip([gnutella, fasttrack, napster]);
        let given =
            [("bittorrent", bittorrent)].into_iter().chain(named).filter(|(_, bytes)| *bytes > 0);
        let given: Vec<String> =
            given.map(|(kind, bytes)| format!("{} from {kind}", Size(bytes))).collect();
        f.write_str(&given.join(", "))
    }
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in super::super) struct DhtCounts {
    /// In its table.
    pub nodes: usize,
    /// That wait for a place there.
    pub spare: usize,
    /// Swarms stored for others.
    pub swarms: usize,
    /// Peers stored for others.
    pub peers: usize,
    /// Items stored for others.
    pub items: usize,
    /// Questions it has sent.
    pub asked: u64,
    /// Of them, answered.
    pub answered: u64,
    /// Questions of others that passed the limits.
    pub queries: u64,
    /// Those that did not.
    pub limited: u64,
    /// Our addresses, by what others say: none, one, or one of each family.
    pub external: Vec<String>,
    /// Why there are no nodes.
    pub why: Option<String>,
}

/// A servent of Gnutella in figures.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in super::super) struct GnutellaCounts {
    /// `leaf` or `ultrapeer`.
    pub role: &'static str,
    /// Where others can connect to it, as far as it is known.
    pub addr: String,
    /// Others cannot.
    pub firewalled: bool,
    /// Links to servents that relay.
    pub ultrapeers: usize,
    /// Links to leaves.
    pub leaves: usize,
    /// Servents that could be tried.
    pub hosts: usize,
    /// Files that it shares.
    pub files: usize,
    /// Ranges of files that went out whole.
    pub uploads: u64,
    /// Bytes of files that went out.
    pub uploaded: u64,
}

/// A node of FastTrack in figures.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in super::super) struct FastTrackCounts {
    /// `node` or `supernode`.
    pub role: &'static str,
    /// The supernode that it belongs to; itself if it is one.
    pub supernode: Option<String>,
    /// What it is worth to others, 0 to 1000, as its supernode says.
    pub score: u16,
    /// Supernodes that it knows of.
    pub known: usize,
    /// Files that it shares.
    pub shared: usize,
    /// Of a supernode: nodes that belong to it, itself among them.
    pub nodes: usize,
    /// Of a supernode: other supernodes that it is linked to.
    pub supernodes: usize,
    /// Of a supernode: files of its nodes.
    pub files: usize,
    /// Ranges of files that went out whole.
    pub uploads: u64,
    /// Bytes of files that went out.
    pub uploaded: u64,
    /// Connections that were refused, or left because they did not read.
    pub refused: u64,
}

/// A file in a listing.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct ListedFile {
    /// From 1; what `--select` takes.
    pub index: usize,
    /// With the torrent's name in front.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// What a network has answered to a search.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Searched<'a> {
    /// Which.
    pub network: &'a str,
    /// The way into it.
    pub servers: &'a [String],
    /// Servers and neighbours that we were connected to in the end.
    pub links: usize,
    /// Files that it told of.
    pub hits: usize,
    /// Of them, new ones that were wanted.
    pub kept: usize,
    /// Of them, those that were not wanted.
    pub filtered: usize,
    /// Of them, those that were too many.
    pub ignored: usize,
    /// Whether it had said all.
    pub ended: bool,
    /// What went wrong.
    pub error: Option<&'a str>,
}

/// One result of a search.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Result<'a> {
    /// What `get` takes, from 1.
    pub id: usize,
    /// Of most of its sources.
    pub network: &'a str,
    /// Made safe.
    pub name: &'a str,
    /// If anybody knows.
    pub bytes: Option<u64>,
    /// Of its torrent.
    pub info_hash: Option<String>,
    /// Hosts that have it.
    pub sources: usize,
    /// The link that joins its swarm.
    pub magnet: Option<String>,
    /// Hosts by their networks.
    pub networks: BTreeMap<&'a str, usize>,
    /// Of the whole file, as some host says.
    pub sha1: Option<String>,
    /// Of parts of it, as FastTrack says.
    pub uuhash: Option<String>,
    /// Of the hosts, those that can give nothing now.
    pub busy: usize,
    /// Of the fastest host, as it says, in kbit/s.
    pub speed: Option<u32>,
    /// Of the nearest host, milliseconds there and back.
    pub ping_ms: Option<f64>,
    /// Why it is probably junk: `echo` or `off-topic`.
    pub junk: Option<&'static str>,
}
