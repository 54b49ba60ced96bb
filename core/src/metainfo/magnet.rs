//! Magnet links: which torrent, and hints where to begin.
//!
//! The topic must be right; every other parameter is a hint, left out when it makes no sense. What a
//! link may make us remember is bounded.

use super::names;
use super::torrent::{WEB_SEEDS_MAX, url};
use crate::id::{InfoHash, InfoHashV2, TorrentHashes};
use data_encoding::{BASE32, HEXLOWER_PERMISSIVE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// Most peers kept of a link; the rest is left out.
pub const PEERS_MAX: usize = 100;
/// Most trackers kept of a link; the rest is left out. Fewer than of a file: links come from anywhere.
pub const LINK_TRACKERS_MAX: usize = 100;
/// Most ranges kept of a selection; the rest is left out.
pub const RANGES_MAX: usize = 1000;
/// Highest file index a selection can name: no torrent we accept has more files. A range that goes
/// further ends here, one that begins further is left out.
const FILE_INDEX_MAX: u32 = super::info::PATH_PARTS_MAX as u32;

/// What a magnet link says.
//= BEP 9 §magnet URI format
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Magnet {
    /// The topics.
    pub hashes: TorrentHashes,
    /// What to call it until its metadata has come; a safe name.
    pub name: Option<String>,
    /// Announce URLs, each once. At most [`LINK_TRACKERS_MAX`] are read.
    pub trackers: Vec<String>,
    /// HTTP sources. At most [`WEB_SEEDS_MAX`] are read.
    pub web_seeds: Vec<String>,
    /// Peers to try first. At most [`PEERS_MAX`] are read.
    pub peers: Vec<PeerHint>,
    /// Indices of the wanted files: ascending ranges with gaps between them. `None`: all.
    //= BEP 53
    pub select: Option<Vec<RangeInclusive<u32>>>,
}

/// Where a peer may be: an address, or a name that must be looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerHint {
    /// IP address without brackets, or host name.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// Why a text is no magnet link to a torrent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// No `xt` that names a torrent.
    #[error("the link names no torrent: xt=urn:btih: or xt=urn:btmh: is missing")]
    NoTopic,
    /// Not `magnet:?`.
    #[error("not a magnet link")]
    Scheme,
    /// A hash of the right length with characters that no hash has.
    #[error("the hash in the link is neither hex nor base32")]
    TopicDigits,
    /// A hash of a length that no hash has.
    #[error("the hash in the link has {chars} characters, not 40, 32 (base32) or 68 (urn:btmh)")]
    TopicLength {
        /// Its length.
        chars: usize,
    },
    /// A multihash of another kind than 32 bytes of SHA-256.
    #[error("the link's urn:btmh topic is no SHA-256 multihash")]
    TopicKind,
}

impl Magnet {
    /// A link that says no more than which torrent.
    pub fn of(hashes: TorrentHashes) -> Self {
        let (trackers, web_seeds, peers) = (Vec::new(), Vec::new(), Vec::new());
        Self { hashes, name: None, trackers, web_seeds, peers, select: None }
    }

    /// Reads a link. Several topics may name both versions; of one version the first good one counts.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        let link = link.trim();
        let (scheme, query) = link.split_once('?').ok_or(MagnetError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("magnet:") {
            return Err(MagnetError::Scheme);
        }
        let mut topics = Topics::default();
        for (_, value) in parameters(query).filter(|(key, _)| *key == "xt") {
            topics.add(&percent_decode_str(value).decode_utf8_lossy());
        }
        let mut magnet = Self::of(topics.hashes()?);
        for (key, value) in parameters(query) {
            magnet.hint(key, value);
        }
        Ok(magnet)
    }

    /// Reads a bare info hash: 40 hex digits, 32 of base32, or 64 hex digits for version 2.
    pub fn from_hash(text: &str) -> Option<Self> {
        let text = text.trim();
        let hashes = match text.len() {
            64 => TorrentHashes::V2(InfoHashV2::from_hex(text)?),
            _ => TorrentHashes::V1(btih(text).ok()?),
        };
        Some(Self::of(hashes))
    }

    /// The info hash as handshakes and announces carry it.
    pub fn info_hash(&self) -> InfoHash {
        self.hashes.wire()
    }

    /// Whether the link asks for the file of this index.
    pub fn selects(&self, file: u32) -> bool {
        self.select.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(&file)))
    }

    /// Names one more peer to try first, unless it is named already, or there are [`PEERS_MAX`].
    pub fn add_peer(&mut self, peer: PeerHint) {
        push_new(&mut self.peers, Some(peer), PEERS_MAX);
    }

    fn hint(&mut self, key: &str, value: &str) {
        let decoded = || percent_decode_str(value);
        let as_url = || url(&decoded().collect::<Vec<u8>>());
        match key {
            "dn" if self.name.is_none() => {
                let spaced = value.replace('+', " ");
                let raw: Vec<u8> = percent_decode_str(&spaced).collect();
                self.name = (!raw.is_empty()).then(|| names::safe(&raw).into_owned());
            }
            "tr" => push_new(&mut self.trackers, as_url(), LINK_TRACKERS_MAX),
            "ws" => push_new(&mut self.web_seeds, as_url(), WEB_SEEDS_MAX),
            "x.pe" => {
                let text = decoded().decode_utf8().ok();
                push_new(&mut self.peers, text.and_then(|t| PeerHint::parse(&t)), PEERS_MAX);
            }
            "so" if self.select.is_none() => {
                self.select = decoded().decode_utf8().ok().and_then(|text| ranges(&text));
            }
            _ => {}
        }
    }
}

impl std::str::FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(link: &str) -> Result<Self, MagnetError> {
        Self::parse(link)
    }
}

/// Escapes all that could end a value or be read as something else.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The canonical link: topics first, then `dn`, `tr`, `ws`, `x.pe` and `so`.
impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hashes {
            TorrentHashes::V1(v1) => write!(f, "magnet:?xt=urn:btih:{v1}")?,
            TorrentHashes::V2(v2) => write!(f, "magnet:?xt=urn:btmh:1220{v2}")?,
            TorrentHashes::Hybrid(v1, v2) => {
                write!(f, "magnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}")?;
            }
        }
        let texts = |key: &'static str, values: &[String], f: &mut fmt::Formatter<'_>| {
            values.iter().try_for_each(|v| write!(f, "&{key}={}", utf8_percent_encode(v, ESCAPED)))
        };
        texts("dn", self.name.as_slice(), f)?;
        texts("tr", &self.trackers, f)?;
        texts("ws", &self.web_seeds, f)?;
        for peer in &self.peers {
            write!(f, "&x.pe={peer}")?;
        }
        for (nth, range) in self.select.iter().flatten().enumerate() {
            write!(f, "{}{}", if nth == 0 { "&so=" } else { "," }, range.start())?;
            if range.end() > range.start() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

impl PeerHint {
    /// Reads `1.2.3.4:5`, `[2001:db8::1]:5` or `host.example:5`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(v6) => {
                v6.strip_suffix(']').filter(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok())?
            }
            None => Some(host).filter(|host| is_host(host))?,
        };
        Some(Self { host: host.to_owned(), port })
    }

    /// The address, unless the host is a name.
    pub fn addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for PeerHint {
    fn from(addr: SocketAddr) -> Self {
        Self { host: addr.ip().to_string(), port: addr.port() }
    }
}

impl fmt::Display for PeerHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr() {
            Some(addr) => write!(f, "{addr}"),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Letters, digits, dots and dashes, as DNS has them.
fn is_host(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Keys and values, `tr.1` and `xt.2` read as `tr` and `xt`, and links out of HTML read as well.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|part| {
        let (key, value) = part.strip_prefix("amp;").unwrap_or(part).split_once('=')?;
        let numbered = key.split_once('.').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
        Some((numbered.map_or(key, |(key, _)| key), value))
    })
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: Option<T>, max: usize) {
    if let Some(item) = item
        && list.len() < max
        && !list.contains(&item)
    {
        list.push(item);
    }
}

/// Topics as far as they are read.
#[derive(Default)]
struct Topics {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
    /// What was wrong with the first bad one; it counts only if none is good.
    bad: Option<MagnetError>,
}

impl Topics {
    fn add(&mut self, urn: &str) {
        let result = if let Some(hash) = strip_prefix_ignoring_case(urn, "urn:btih:") {
            btih(hash).map(|hash| self.v1 = self.v1.or(Some(hash)))
        } else if let Some(hash) = strip_prefix_ignoring_case(urn, "urn:btmh:") {
            btmh(hash).map(|hash| self.v2 = self.v2.or(Some(hash)))
        } else {
            Ok(()) // a topic of another network
        };
        if let Err(error) = result {
            self.bad.get_or_insert(error);
        }
    }

    fn hashes(self) -> Result<TorrentHashes, MagnetError> {
        match (self.v1, self.v2) {
            (Some(v1), Some(v2)) => Ok(TorrentHashes::Hybrid(v1, v2)),
            (Some(v1), None) => Ok(TorrentHashes::V1(v1)),
            (None, Some(v2)) => Ok(TorrentHashes::V2(v2)),
            (None, None) => Err(self.bad.unwrap_or(MagnetError::NoTopic)),
        }
    }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn btih(text: &str) -> Result<InfoHash, MagnetError> {
    match text.len() {
        40 => InfoHash::from_hex(text).ok_or(MagnetError::TopicDigits),
        32 => {
            let raw = BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok();
            raw.and_then(|raw| raw.try_into().ok()).map(InfoHash).ok_or(MagnetError::TopicDigits)
        }
        _ => Err(MagnetError::TopicLength { chars: text.chars().count() }),
    }
}

/// A multihash: `12` for SHA-256, `20` for 32 bytes, then the hash.
//= BEP 9 §magnet URI format (btmh)
fn btmh(text: &str) -> Result<InfoHashV2, MagnetError> {
    if text.len() != 68 {
        return Err(MagnetError::TopicLength { chars: text.chars().count() });
    }
    let raw = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| MagnetError::TopicDigits)?;
    match raw.as_slice() {
        [0x12, 0x20, hash @ ..] => {
            hash.try_into().map(InfoHashV2).map_err(|_| MagnetError::TopicKind)
        }
        _ => Err(MagnetError::TopicKind),
    }
}

/// Reads `0,2,4-6` into ascending ranges with gaps between them. Nothing is ever expanded.
fn ranges(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let index = |digits: &str| digits.trim().parse::<u64>().ok();
        let (first, last) = (index(first)?, index(last)?.min(FILE_INDEX_MAX.into()));
        (first <= last).then_some((first as u32, last as u32))
    };
    let mut found: Vec<_> = text.split(',').filter_map(one).take(RANGES_MAX).collect();
    found.sort_unstable();
    let mut merged: Vec<RangeInclusive<u32>> = Vec::new();
    for (first, last) in found {
        match merged.last_mut() {
            Some(before) if first <= *before.end() + 1 => {
                *before = *before.start()..=last.max(*before.end());
            }
            _ => merged.push(first..=last),
        }
    }
    (!merged.is_empty()).then_some(merged)
}
