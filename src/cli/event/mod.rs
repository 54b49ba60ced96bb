//! The objects of `--json`, one per line. Adding keys is allowed, renaming is not.
//!
//! Bytes, seconds, bytes per second; hashes in lower-case hex.

mod counts;

pub(super) use counts::{
    BySource, DhtCounts, FastTrackCounts, GnutellaCounts, ListedFile, NapsterState, Result,
    Searched,
};

use serde::Serialize;

/// One line of `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// A peer is never spoken to again.
    Banned {
        /// The torrent in which it sinned.
        info_hash: String,
        /// Its address.
        peer: String,
        /// Why.
        reason: &'a str,
    },
    /// Existing data has been looked at.
    Checked {
        /// Of the torrent.
        info_hash: String,
        /// Pieces that were read and hashed.
        hashed_pieces: u32,
        /// Pieces that the record vouched for.
        trusted_pieces: u32,
        /// Verified bytes of wanted files.
        done: u64,
    },
    /// A download is verified and in its place.
    Complete {
        /// Of the torrent; null of a file that came from the hosts of a search alone.
        info_hash: Option<String>,
        /// Of the file or the top folder.
        name: &'a str,
        /// Wanted bytes.
        bytes: u64,
        /// Since it was begun, metadata and checking included.
        seconds: f64,
        /// The file or the top folder.
        path: &'a str,
        /// Payload since this start.
        downloaded: u64,
        /// Payload since this start.
        uploaded: u64,
        /// Of `downloaded`, bytes that were of no use.
        wasted: u64,
        /// `downloaded` by kind of source; only if hosts of a search were asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<BySource>,
    },
    /// Where the configuration file is looked for.
    ConfigPath {
        /// The file.
        path: &'a str,
        /// Whether it is there.
        exists: bool,
    },
    /// `create` is done.
    Created {
        /// Of the new torrent.
        info_hash: String,
        /// Its link.
        magnet: String,
        /// Where it was written; null after a dry run.
        torrent: Option<&'a str>,
        /// Number of pieces.
        pieces: u32,
        /// Bytes of content.
        bytes: u64,
        /// Bytes of a piece.
        piece_length: u32,
        /// Number of files.
        files: usize,
        /// How long hashing took.
        seconds: f64,
    },
    /// `dht announce` is done.
    DhtAnnounced {
        /// Of the torrent.
        info_hash: String,
        /// Where peers are told to connect to.
        port: u16,
        /// Nodes asked.
        asked: u32,
        /// Nodes that keep it.
        stored: u32,
        /// How long it took.
        seconds: f64,
    },
    /// `dht get` is done.
    DhtGet {
        /// Where the item is looked for.
        target: String,
        /// Nodes asked.
        asked: u32,
        /// Of them, nodes that answered in time.
        answered: u32,
        /// Nodes that had it.
        copies: u32,
        /// How long it took.
        seconds: f64,
    },
    /// `dht get`: what was found.
    DhtItem {
        /// Where it is stored.
        target: String,
        /// Of its owner; null of an immutable item.
        key: Option<String>,
        /// Its sequence number; null of an immutable item.
        seq: Option<i64>,
        /// Its owner's signature; null of an immutable item.
        signature: Option<String>,
        /// The value, if it is text.
        text: Option<&'a str>,
        /// The value as it is encoded, in hex digits.
        bencode: String,
    },
    /// `dht peers` is done.
    DhtLookup {
        /// Of the torrent.
        info_hash: String,
        /// Nodes asked.
        asked: u32,
        /// Of them, nodes that answered in time.
        answered: u32,
        /// Different peers.
        peers: usize,
        /// How many seeds there are, roughly, and how many other peers; `None` if no node has said so.
        seeds: Option<u64>,
        /// See `seeds`.
        leeches: Option<u64>,
        /// How long it took.
        seconds: f64,
    },
    /// `dht node` listens.
    DhtNode {
        /// Addresses and true ports.
        listen: &'a [String],
        /// Its id among the nodes of IPv4; null when it is not one.
        id_v4: Option<String>,
        /// Its id among the nodes of IPv6; null when it is not one.
        id_v6: Option<String>,
    },
    /// `dht peers`: one that was found.
    DhtPeer {
        /// Of the torrent.
        info_hash: String,
        /// Its address.
        peer: String,
    },
    /// `dht ping` was answered.
    DhtPong {
        /// By whom.
        addr: String,
        /// His id.
        id: &'a str,
        /// After so many milliseconds.
        ms: f64,
    },
    /// `dht put` is done.
    DhtPut {
        /// Where it is stored.
        target: String,
        /// Of its owner; null of an immutable item.
        key: Option<String>,
        /// Its sequence number; null of an immutable item.
        seq: Option<i64>,
        /// Nodes asked.
        asked: u32,
        /// Nodes that keep it.
        stored: u32,
        /// The highest number of an error that others refused it with; null if none did.
        refused: Option<i32>,
        /// How long it took.
        seconds: f64,
    },
    /// How a node stands: `dht status`, and `dht node` whenever it changes.
    DhtStatus {
        /// The figures.
        #[serde(flatten)]
        counts: DhtCounts,
        /// Nodes known from the last run; `status` only.
        #[serde(skip_serializing_if = "Option::is_none")]
        saved: Option<usize>,
    },
    /// Something failed; `exit` follows.
    Error {
        /// The exit code.
        code: u8,
        /// What failed, on which object.
        message: &'a str,
        /// Further lines.
        details: &'a [String],
        /// What to do next.
        hint: Option<&'a str>,
    },
    /// The last line.
    Exit {
        /// The exit code.
        code: u8,
        /// Of a simulation in the lab: equal for equal runs.
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_hash: Option<&'a str>,
    },
    /// An expectation of a scenario, judged.
    Expectation {
        /// Where it stands in the file.
        line: usize,
        /// As it stands there.
        expectation: &'a str,
        /// Whether it has come true.
        ok: bool,
        /// The figures, or who failed and how.
        why: &'a str,
    },
    /// `demo`: what one node sent to another.
    Sent {
        /// Who.
        from: &'a str,
        /// To whom.
        to: &'a str,
        /// Payload.
        bytes: u64,
    },
    /// `verify` of one file.
    File {
        /// From 1.
        index: usize,
        /// With the torrent's name in front.
        path: String,
        /// `ok`, `bad`, `long`, `missing` or `short`.
        status: &'static str,
        /// Bytes that the torrent says.
        bytes: u64,
        /// Bytes on disk; null when it is missing.
        found: Option<u64>,
        /// Pieces with bytes of it that are not right.
        bad_pieces: u32,
    },
    /// A file that comes from the hosts of a search alone, about every 300 ms.
    Fetching {
        /// Of the file.
        name: &'a str,
        /// Bytes that are there; none of them is verified before all are.
        done: u64,
        /// Bytes of it.
        total: u64,
        /// Of them, 0 to 100.
        percent: f64,
        /// Bytes per second now.
        down: u64,
        /// Hosts that are asked now.
        hosts: usize,
        /// Seconds to go; null when nothing moves.
        eta: Option<u64>,
    },
    /// `search`: a file that somebody has, as it is heard of.
    Found {
        /// Who tells.
        network: &'a str,
        /// Made safe.
        name: &'a str,
        /// If anybody knows.
        bytes: Option<u64>,
    },
    /// How a servent stands, whenever that changes.
    GnutellaStatus(GnutellaCounts),
    /// `net fasttrack`: how it stands, when that changes.
    FasttrackStatus(FastTrackCounts),
    /// Hashing of files on the way, about every 300 ms.
    Hashing {
        /// What is hashed.
        name: &'a str,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// Bytes per second.
        rate: u64,
    },
    /// `search`: one result, the best first.
    Hit(Result<'a>),
    /// `show` of a link.
    Magnet {
        /// The 20 bytes of the wire.
        info_hash: String,
        /// Of version 2.
        info_hash_v2: Option<String>,
        /// What it is called until its metadata has come.
        name: Option<&'a str>,
        /// Announce URLs.
        trackers: &'a [String],
        /// HTTP sources.
        web_seeds: &'a [String],
        /// Host and port.
        peers: Vec<String>,
        /// The canonical link.
        magnet: String,
    },
    /// A scenario has been played.
    Lab {
        /// Of the scenario.
        name: &'a str,
        /// `real` or `sim`.
        mode: &'a str,
        /// With which it can be played again.
        seed: u64,
        /// Whether every expectation has come true.
        ok: bool,
        /// How long it took, in its own time.
        seconds: f64,
        /// Of a simulation: equal for equal runs.
        trace_hash: Option<&'a str>,
    },
    /// Something that happened while a scenario was played.
    LabPeer {
        /// Its name in the scenario.
        peer: &'a str,
        /// `banned`, `complete`, `error`, `killed`, `started` or `stopped`.
        what: &'a str,
        /// Seconds since the beginning.
        seconds: f64,
        /// Whom it banned, or its complaint.
        about: Option<&'a str>,
    },
    /// A node of a search network listens.
    Listening {
        /// Which network.
        network: &'static str,
        /// Address and true port; null if nobody can connect to it.
        addr: Option<String>,
    },
    /// A magnet's metadata has come.
    Metadata {
        /// Of the torrent.
        info_hash: String,
        /// Of the file or the top folder.
        name: &'a str,
        /// Of all files together.
        bytes: u64,
    },
    /// `net napster` with `--connect`: how it stands, when that changes.
    NapsterClient {
        /// With its directory.
        state: NapsterState,
        /// The directory that let it in.
        server: Option<String>,
        /// Why it waits.
        why: Option<String>,
        /// Files that it shares.
        shared: usize,
        /// Users of the directory.
        users: u64,
        /// Their files.
        files: u64,
        /// Files that it gives now.
        uploads: usize,
        /// Bytes of files that it has given.
        uploaded: u64,
    },
    /// `net napster`: how a directory stands, when that changes.
    NapsterDirectory {
        /// Users who are here.
        users: usize,
        /// Files they share.
        files: usize,
        /// Of all files together.
        bytes: u64,
        /// Searches that were answered.
        searches: u64,
        /// Connections, of users and others.
        connections: usize,
        /// Connections and searches that were refused.
        refused: u64,
    },
    /// `net napster --browse`: a file of a user.
    NapsterFile {
        /// As he shares it.
        path: String,
        /// Its size; 4294967295 for anything larger.
        bytes: u32,
    },
    /// `net napster --whois`: who a user is.
    NapsterUser {
        /// His name.
        nick: &'a str,
        /// His program.
        client: String,
        /// Seconds since he came.
        online: u64,
        /// Files that he shares.
        shared: u32,
        /// Files that he gives now.
        uploads: u32,
        /// Files that he fetches now.
        downloads: u32,
        /// Code of his link's speed.
        speed: u8,
    },
    /// A running transfer, about every 300 ms.
    Progress {
        /// Of the torrent.
        info_hash: String,
        /// Verified bytes that are wanted.
        done: u64,
        /// Bytes that are wanted.
        total: u64,
        /// Of the wanted bytes, 0 to 100; 100 only when nothing is missing.
        percent: f64,
        /// Bytes per second now.
        down: u64,
        /// Bytes per second now.
        up: u64,
        /// Payload since this start.
        downloaded: u64,
        /// Payload since this start.
        uploaded: u64,
        /// Of `downloaded`, bytes that were of no use.
        wasted: u64,
        /// Live connections.
        peers: usize,
        /// Of these, peers that have everything.
        seeds: usize,
        /// Seconds to go; null when nothing moves, 0 when it is done.
        eta: Option<u64>,
        /// Distributed copies in the swarm as seen here.
        copies: f64,
    },
    /// `seed` and `share` with `--publish`: how it stands in one network, when that changes.
    Published {
        /// Which network.
        network: &'static str,
        /// Servers and neighbours that it is connected to; without any it goes on trying.
        links: usize,
        /// Files that can be found there.
        files: usize,
        /// Why there is no link, as far as anybody has said.
        error: Option<&'a str>,
    },
    /// `tracker scrape`.
    Scrape {
        /// The tracker.
        url: &'a str,
        /// The swarm.
        info_hash: String,
        /// Peers that have everything.
        seeds: u32,
        /// Peers that do not.
        leeches: u32,
        /// Downloads ever completed.
        completed: u32,
    },
    /// `search`: what one network was asked and has answered.
    Searched(Searched<'a>),
    /// `seed` is ready: the data has been verified.
    Seeding {
        /// Of the torrent.
        info_hash: String,
        /// The link that leads here.
        magnet: &'a str,
        /// Address and true port.
        listen: String,
    },
    /// `share` is ready.
    Shared {
        /// The link to paste elsewhere.
        magnet: &'a str,
        /// Of the torrent.
        info_hash: String,
        /// Where the .torrent was written.
        torrent: &'a str,
    },
    /// One line of `config show`.
    Setting {
        /// `section.name`.
        key: &'a str,
        /// As it was written; null when nothing is set.
        value: Option<serde_json::Value>,
        /// `default`, a file or a variable.
        origin: String,
    },
    /// `show` of a torrent.
    Torrent {
        /// The 20 bytes of the wire.
        info_hash: String,
        /// Of version 2.
        info_hash_v2: Option<String>,
        /// Of the file or the top folder.
        name: &'a str,
        /// Of all files together.
        bytes: u64,
        /// Number of pieces.
        pieces: u32,
        /// Bytes of a piece.
        piece_length: u32,
        /// Peers come from its trackers only.
        private: bool,
        /// Source tag.
        source: Option<&'a str>,
        /// Free text.
        comment: Option<&'a str>,
        /// The program that made it.
        created_by: Option<&'a str>,
        /// Seconds since 1970.
        creation_date: Option<i64>,
        /// Announce URLs in tiers.
        trackers: &'a [Vec<String>],
        /// HTTP sources.
        web_seeds: &'a [String],
        /// Host and port.
        nodes: Vec<String>,
        /// Without padding.
        files: Vec<ListedFile>,
        /// The link that leads to it.
        magnet: String,
        /// What is odd about it.
        lints: &'a [String],
    },
    /// A tracker has started.
    Tracker {
        /// Address and true port.
        listen: String,
        /// To announce to.
        urls: &'a [String],
    },
    /// Why nothing arrives, when that changes.
    Waiting {
        /// Of the torrent.
        info_hash: String,
        /// In words.
        reason: &'a str,
        /// What each source has said.
        sources: &'a [String],
    },
    /// The router has opened ports that lead to us.
    PortsMapped {
        /// The language it was asked in: `pcp`, `nat-pmp` or `upnp`.
        by: &'a str,
        /// Its address on this side.
        router: String,
        /// Its address on the other, as far as it says.
        external: Option<&'a str>,
        /// Where peers can connect to; null when that was refused.
        tcp: Option<u16>,
        /// Where the node of the DHT can be asked; null without one.
        udp: Option<u16>,
    },
    /// `tracker check`.
    TrackerAnswers {
        /// The tracker.
        url: &'a str,
        /// How long it took.
        seconds: f64,
        /// Seconds between announces, as it wishes.
        interval: Option<u64>,
        /// Our address as it sees it.
        external_ip: Option<String>,
        /// Something that the user should read.
        warning: Option<&'a str>,
    },
    /// `verify` is done.
    Verified {
        /// Of the torrent.
        info_hash: String,
        /// Of the file or the top folder.
        name: &'a str,
        /// Whether every file is as it must be.
        ok: bool,
        /// Number of pieces.
        pieces: u32,
        /// Pieces that are right; null with `--fast`, which hashes none.
        good_pieces: Option<u32>,
        /// First and last index of every run of pieces that are not, or cannot be.
        bad_ranges: &'a [(u32, u32)],
        /// How long it took.
        seconds: f64,
    },
}
