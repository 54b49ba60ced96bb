//! A whole .torrent file: the info dictionary and what surrounds it.
//!
//! What surrounds it is not covered by the info hash, so anything odd there is left out and never a
//! reason to refuse: trackers, web seeds and nodes are hints.

use super::error::{MetainfoError, Place};
use super::info::{Info, lossy};
use super::magnet::Magnet;
use crate::bencode::{Dict, Kind, Limits, List, Value};
use crate::hash::{sha1, sha256};
use crate::id::{InfoHash, InfoHashV2, TorrentHashes};
use bytes::Bytes;

/// Most trackers kept of a torrent, all tiers together; the rest is left out.
pub const TRACKERS_MAX: usize = 500;
/// Most web seeds kept of a torrent; the rest is left out.
pub const WEB_SEEDS_MAX: usize = 100;
/// Most DHT nodes kept of a torrent; the rest is left out.
pub const NODES_MAX: usize = 100;
/// Longest URL, in bytes; a longer one is left out.
pub const URL_LEN_MAX: usize = 4096;
/// Most bytes of unknown top-level entries that are carried along; a larger one is left out.
const OTHER_LEN_MAX: usize = 32 << 20;

/// What a .torrent file says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metainfo {
    /// The part that the info hash covers.
    pub info: Info,
    /// Announce URLs in tiers, each URL once. At most [`TRACKERS_MAX`].
    //= BEP 12
    pub trackers: Vec<Vec<String>>,
    /// HTTP sources of the content. At most [`WEB_SEEDS_MAX`].
    //= BEP 19
    pub web_seeds: Vec<String>,
    /// DHT nodes to begin with: host and port. At most [`NODES_MAX`].
    //= BEP 5 §torrent file extensions
    pub nodes: Vec<(String, u16)>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// The info dictionary as it came.
    info_bytes: Bytes,
    /// Entries we have no use for, such as `piece layers`, so that [`Self::to_bytes`] keeps them.
    others: Vec<(Vec<u8>, Bytes)>,
}

impl Metainfo {
    /// Reads a .torrent file within [`Limits::TORRENT`]. Blanks may follow it: editors leave a newline.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let root = Value::parse(bytes.trim_ascii_end(), Limits::TORRENT)?;
        let wrong =
            MetainfoError::Kind { at: Place::of("the file"), got: root.kind(), want: Kind::Dict };
        let entries = root.as_dict().ok_or(wrong)?;
        let info = root.at("info").ok_or(MetainfoError::Missing { at: Place::of("info") })?;
        let info_bytes = Bytes::copy_from_slice(info.raw());
        let mut metainfo = Self::around(Info::parse(&info, &info_bytes)?, info_bytes);
        let (mut announce, mut tiers) = (None, None);
        for (key, value) in entries {
            match key {
                b"announce" => announce = value.as_bytes(),
                b"announce-list" => tiers = Some(value),
                b"comment" => metainfo.comment = value.as_bytes().map(lossy),
                b"created by" => metainfo.created_by = value.as_bytes().map(lossy),
                b"creation date" => metainfo.creation_date = value.as_int(),
                b"info" => {}
                b"nodes" => metainfo.nodes = nodes(&value),
                b"url-list" => metainfo.web_seeds = web_seeds(&value),
                _ if key.len() + value.raw().len() > OTHER_LEN_MAX => {}
                _ => metainfo.others.push((key.to_vec(), Bytes::copy_from_slice(value.raw()))),
            }
        }
        metainfo.trackers = tiers.map(|list| trackers(&list)).unwrap_or_default();
        if metainfo.trackers.is_empty() {
            metainfo.trackers.extend(announce.and_then(url).map(|one| vec![one]));
        }
        Ok(metainfo)
    }

    /// Takes an info dictionary that a peer sent, within [`Limits::METADATA`], if it has the hashes that
    /// `want` names. Trackers and the rest are for the caller to fill in from the magnet link.
    //= BEP 9 §metadata
    pub fn from_info(info: Bytes, want: &TorrentHashes) -> Result<Self, MetainfoError> {
        let v1 = |want: &InfoHash| {
            let got = InfoHash(sha1([&info[..]]));
            (got != *want).then(|| (want.to_string(), got.to_string()))
        };
        let v2 = |want: &InfoHashV2| {
            let got = InfoHashV2(sha256([&info[..]]));
            (got != *want).then(|| (want.to_string(), got.to_string()))
        };
        let wrong = match want {
            TorrentHashes::V1(hash) => v1(hash),
            TorrentHashes::V2(hash) => v2(hash),
            TorrentHashes::Hybrid(hash, hash_v2) => v1(hash).or_else(|| v2(hash_v2)),
        };
        if let Some((want, got)) = wrong {
            return Err(MetainfoError::WrongHash { want, got });
        }
        let parsed = Info::parse(&Value::parse(&info, Limits::METADATA)?, &info)?;
        Ok(Self::around(parsed, info))
    }

    /// Nothing but this info dictionary.
    fn around(info: Info, info_bytes: Bytes) -> Self {
        Self {
            info,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            info_bytes,
            others: Vec::new(),
        }
    }

    /// Every info hash it has.
    pub fn hashes(&self) -> TorrentHashes {
        self.info.hashes
    }

    /// The info hash as handshakes and announces carry it.
    pub fn info_hash(&self) -> InfoHash {
        self.info.hashes.wire()
    }

    /// The info dictionary as it came: what the hash covers, and what a peer is sent who asks for it.
    pub fn info_bytes(&self) -> &Bytes {
        &self.info_bytes
    }

    /// The .torrent file for this: the info dictionary as it came, and around it what the fields say now.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = Dict::new();
        for (key, value) in &self.others {
            file = file.raw(key, value);
        }
        let outer = Outer {
            trackers: &self.trackers,
            web_seeds: &self.web_seeds,
            nodes: &self.nodes,
            comment: self.comment.as_deref(),
            created_by: self.created_by.as_deref(),
            creation_date: self.creation_date,
        };
        outer.write(file).raw("info", &self.info_bytes).into_bytes()
    }

    /// The magnet link that leads to it.
    pub fn magnet(&self) -> Magnet {
        Magnet {
            name: Some(self.info.name.clone()),
            trackers: self.trackers.iter().flatten().cloned().collect(),
            web_seeds: self.web_seeds.clone(),
            ..Magnet::of(self.hashes())
        }
    }
}

/// What surrounds an info dictionary, on its way out.
pub(super) struct Outer<'a> {
    pub(super) trackers: &'a [Vec<String>],
    pub(super) web_seeds: &'a [String],
    pub(super) nodes: &'a [(String, u16)],
    pub(super) comment: Option<&'a str>,
    pub(super) created_by: Option<&'a str>,
    pub(super) creation_date: Option<i64>,
}

impl Outer<'_> {
    /// Sets these entries as mktorrent does: lists only where one value does not do.
    pub(super) fn write(&self, mut file: Dict) -> Dict {
        let mut urls = self.trackers.iter().flatten();
        if let Some(first) = urls.next() {
            file = file.bytes("announce", first);
        }
        if urls.next().is_some() {
            let tiers = self.trackers.iter().filter(|tier| !tier.is_empty());
            let tiers = tiers.fold(List::new(), |list, tier| list.list(List::of_bytes(tier)));
            file = file.list("announce-list", tiers);
        }
        if let Some(comment) = self.comment {
            file = file.bytes("comment", comment);
        }
        if let Some(program) = self.created_by {
            file = file.bytes("created by", program);
        }
        if let Some(seconds) = self.creation_date {
            file = file.int("creation date", seconds);
        }
        if !self.nodes.is_empty() {
            let nodes = self.nodes.iter().fold(List::new(), |list, (host, port)| {
                list.list(List::new().bytes(host).int(*port))
            });
            file = file.list("nodes", nodes);
        }
        match self.web_seeds {
            [] => file,
            [one] => file.bytes("url-list", one),
            many => file.list("url-list", List::of_bytes(many)),
        }
    }
}

/// A URL without the blanks that people leave around it; `None` if it cannot be one. Whether its scheme
/// and host are acceptable is for whoever dials it.
pub(super) fn url(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?.trim();
    let fits = !text.is_empty() && text.len() <= URL_LEN_MAX;
    (fits && !text.contains(char::is_control)).then(|| text.to_owned())
}

/// Tiers of URLs; also read where someone left out the inner lists. Each URL counts once.
fn trackers(list: &Value<'_>) -> Vec<Vec<String>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut tiers = Vec::new();
    for tier in list.as_list().into_iter().flatten() {
        let bare = tier.as_bytes().into_iter();
        let inner = tier.as_list().into_iter().flatten().filter_map(|v| v.as_bytes());
        let mut urls = Vec::new();
        for one in bare.chain(inner).filter_map(url) {
            if seen.len() < TRACKERS_MAX && seen.insert(one.clone()) {
                urls.push(one);
            }
        }
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    tiers
}

/// One URL or a list of them.
//= BEP 19 §metadata extension
fn web_seeds(value: &Value<'_>) -> Vec<String> {
    let listed = value.as_list().into_iter().flatten().filter_map(|v| v.as_bytes());
    let mut seeds = Vec::new();
    for one in value.as_bytes().into_iter().chain(listed).filter_map(url) {
        if seeds.len() < WEB_SEEDS_MAX && !seeds.contains(&one) {
            seeds.push(one);
        }
    }
    seeds
}

fn nodes(value: &Value<'_>) -> Vec<(String, u16)> {
    // 253 characters are the longest name that DNS knows.
    let node = |pair: Value<'_>| {
        let mut pair = pair.as_list()?;
        let host = pair.next()?.as_str()?;
        let port = u16::try_from(pair.next()?.as_int()?).ok().filter(|&port| port != 0)?;
        let fits = (1..=253).contains(&host.len()) && !host.contains(char::is_control);
        fits.then(|| (host.to_owned(), port))
    };
    value.as_list().into_iter().flatten().filter_map(node).take(NODES_MAX).collect()
}
