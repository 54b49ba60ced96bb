//! Bencoded answers to announces and scrapes.

use super::query::TRACKER_ID_MAX;
use crate::bencode::{BencodeError, Dict, Limits, List, Value};
use crate::compact;
use crate::id::{InfoHash, PeerId};
use crate::proto::announce::{Answer, Counts, MAX_PEERS, RetryIn, Terms, shown_text};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Bytes of an answer; what reads from the network stops there and fails, also after decompression.
pub const MAX_BODY: usize = 2 << 20;
/// Characters of a body that is no answer which are shown to the user.
const EXCERPT_MAX: usize = 60;

/// How peers are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// 6 bytes each in `peers`, 18 each in `peers6`.
    Compact,
    /// A list of dictionaries.
    Dicts {
        /// Whether each names its peer id.
        ids: bool,
    },
}

/// Why a body is not the answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Broken bencode.
    #[error("broken answer: {0}")]
    Bencode(#[from] BencodeError),
    /// No byte at all.
    #[error("empty answer")]
    Empty,
    /// Not bencode, most likely a web page.
    #[error("not a tracker's answer: `{starts}`")]
    NotBencode {
        /// Its first characters, made fit to show.
        starts: String,
    },
    /// The tracker said no.
    #[error("refused: {reason}")]
    Refused {
        /// Why, made fit to show.
        reason: String,
        /// When to ask again, if it said so.
        retry_in: Option<RetryIn>,
    },
}

/// The body that answers an announce.
pub fn encode_announce(terms: &Terms, peers: &[(SocketAddr, PeerId)], layout: Layout) -> Vec<u8> {
    let Terms { interval, min_interval, counts, external_ip, warning, tracker_id } = terms;
    let mut dict = Dict::new()
        .int("complete", counts.seeds)
        .int("downloaded", counts.completed)
        .int("incomplete", counts.leeches);
    for (key, time) in [("interval", interval), ("min interval", min_interval)] {
        if let Some(time) = time {
            dict = dict.int(key, time.as_secs());
        }
    }
    match external_ip {
        Some(IpAddr::V4(ip)) => dict = dict.bytes("external ip", ip.octets()),
        Some(IpAddr::V6(ip)) => dict = dict.bytes("external ip", ip.octets()),
        None => {}
    }
    if let Some(warning) = warning {
        dict = dict.bytes("warning message", warning);
    }
    if !tracker_id.is_empty() {
        dict = dict.bytes("tracker id", tracker_id);
    }
    match layout {
        Layout::Compact => push_compact(dict, peers),
        Layout::Dicts { ids } => dict.list("peers", peer_dicts(peers, ids)),
    }
    .into_bytes()
}

/// The body that refuses, sent with status 200 because clients read no other.
pub fn encode_failure(reason: &str, retry_in: Option<RetryIn>) -> Vec<u8> {
    let dict = Dict::new().bytes("failure reason", reason);
    match retry_in {
        Some(RetryIn::After(time)) => dict.int("retry in", time.as_secs().div_ceil(60)),
        Some(RetryIn::Never) => dict.bytes("retry in", "never"),
        None => dict,
    }
    .into_bytes()
}

/// The body that answers a scrape.
//= BEP 48 §the tracker response
pub fn encode_scrape(files: &[(InfoHash, Counts)]) -> Vec<u8> {
    let mut sorted = files.to_vec();
    sorted.sort_by_key(|(hash, _)| *hash);
    sorted.dedup_by_key(|(hash, _)| *hash);
    let entries = sorted.iter().fold(Dict::new(), |dict, (hash, counts)| {
        let entry = Dict::new()
            .int("complete", counts.seeds)
            .int("downloaded", counts.completed)
            .int("incomplete", counts.leeches);
        dict.dict(hash.0, entry)
    });
    Dict::new().dict("files", entries).into_bytes()
}

/// Reads the answer to an announce. A field of the wrong type or out of range counts as absent.
pub fn parse_announce(body: &[u8]) -> Result<Answer, ReplyError> {
    let root = parse_root(body)?;
    let text = |key| root.at(key).and_then(|v| v.as_bytes());
    let seconds = |key| root.at(key).and_then(|v| v.as_uint()).map(Duration::from_secs);
    let mut peers = Vec::new();
    for key in ["peers", "peers6"] {
        let Some(value) = root.at(key) else { continue };
        let room = MAX_PEERS - peers.len();
        match (value.as_bytes(), value.as_list()) {
            (Some(packed), _) if key == "peers" => {
                peers.extend(compact::read_v4(packed).take(room));
            }
            (Some(packed), _) => peers.extend(compact::read_v6(packed).take(room)),
            (None, Some(list)) => peers.extend(list.filter_map(peer_of_dict).take(room)),
            (None, None) => {}
        }
    }
    let tracker_id = text("tracker id").filter(|id| id.len() <= TRACKER_ID_MAX);
    let terms = Terms {
        interval: seconds("interval"),
        min_interval: seconds("min interval"),
        counts: counts_of(&root),
        external_ip: text("external ip").and_then(ip_of_bytes),
        warning: text("warning message").map(shown_text),
        tracker_id: tracker_id.unwrap_or_default().to_vec(),
    };
    Ok(Answer { peers, terms })
}

/// Reads the answer to a scrape: one entry for each of `hashes`, `None` where the tracker knows nothing.
pub fn parse_scrape(body: &[u8], hashes: &[InfoHash]) -> Result<Vec<Option<Counts>>, ReplyError> {
    let root = parse_root(body)?;
    let files = root.at("files");
    let of = |hash: &InfoHash| files.as_ref()?.dict_get(&hash.0).map(|entry| counts_of(&entry));
    Ok(hashes.iter().map(of).collect())
}

fn push_compact(dict: Dict, peers: &[(SocketAddr, PeerId)]) -> Dict {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for &(addr, _) in peers {
        compact::push(if addr.is_ipv4() { &mut v4 } else { &mut v6 }, addr);
    }
    // `peers` is always there, since old clients take its absence for an error.
    let dict = dict.bytes("peers", v4);
    if v6.is_empty() { dict } else { dict.bytes("peers6", v6) }
}

fn peer_dicts(peers: &[(SocketAddr, PeerId)], ids: bool) -> List {
    peers.iter().fold(List::new(), |list, (addr, id)| {
        let dict = Dict::new().bytes("ip", addr.ip().to_string()).int("port", addr.port());
        list.dict(if ids { dict.bytes("peer id", id.0) } else { dict })
    })
}

/// A host name in place of an address is skipped: looking it up would let a tracker make us ask any name server.
fn peer_of_dict(entry: Value<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = entry.at("ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(entry.at("port")?.as_uint()?).ok().filter(|&port| port != 0)?;
    Some(SocketAddr::new(ip, port))
}

fn ip_of_bytes(raw: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(raw).map(|raw| Ipv4Addr::from(raw).into());
    v4.or_else(|_| <[u8; 16]>::try_from(raw).map(|raw| Ipv6Addr::from(raw).into())).ok()
}

fn counts_of(dict: &Value<'_>) -> Counts {
    let count = |key| {
        let value = dict.at(key).and_then(|v| v.as_uint()).unwrap_or_default();
        u32::try_from(value).unwrap_or(u32::MAX)
    };
    Counts {
        seeds: count("complete"),
        leeches: count("incomplete"),
        completed: count("downloaded"),
    }
}

/// The dictionary of a body that is one and is no refusal.
///
/// Blanks after it are accepted: aquatic ends its answers with CR LF and counts them.
fn parse_root(body: &[u8]) -> Result<Value<'_>, ReplyError> {
    let body = body.trim_ascii_end();
    match body.first() {
        None => return Err(ReplyError::Empty),
        Some(b'd') => {}
        Some(_) => {
            let starts = shown_text(body).chars().take(EXCERPT_MAX).collect();
            return Err(ReplyError::NotBencode { starts });
        }
    }
    let root = Value::parse(body, Limits { bytes: MAX_BODY, ..Limits::MESSAGE })?;
    let Some(reason) = root.at("failure reason") else { return Ok(root) };
    let reason = shown_text(reason.as_bytes().unwrap_or(b"no reason given"));
    Err(ReplyError::Refused { reason, retry_in: root.at("retry in").and_then(retry_in) })
}

/// Minutes, as a number or as its digits.
//= BEP 31
fn retry_in(value: Value<'_>) -> Option<RetryIn> {
    if value.as_bytes() == Some(b"never") {
        return Some(RetryIn::Never);
    }
    let minutes = value.as_uint().or_else(|| value.as_str()?.parse().ok())?;
    Some(RetryIn::After(Duration::from_secs(minutes.saturating_mul(60))))
}
