//! The objects of `--json`, one per line. Adding keys is allowed, renaming is not.
//!
//! Bytes, seconds, bytes per second; hashes in lower-case hex.

use serde::Serialize;

/// One line of `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
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
        /// Pieces that are right.
        good_pieces: u32,
        /// First and last index of every run of pieces that are not.
        bad_ranges: &'a [(u32, u32)],
        /// How long it took.
        seconds: f64,
    },
}

/// A file in a listing.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ListedFile {
    /// From 1; what `--select` takes.
    pub index: usize,
    /// With the torrent's name in front.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}
