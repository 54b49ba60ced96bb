//! Query strings of announces and scrapes.

use super::escape;
use crate::id::{InfoHash, PeerId};
use crate::proto::announce::{Announce, Event};
use std::fmt::Write as _;

/// Hashes in one scrape; a request with more is refused whole.
pub const MAX_SCRAPE: usize = 74;
/// Bytes of one query; a longer one is refused before it is looked at.
const QUERY_MAX: usize = 8 * 1024;
/// Bytes kept of a tracker id; a longer one is ignored.
pub(super) const TRACKER_ID_MAX: usize = 256;

/// What an announce over HTTP says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnnounceQuery {
    /// Who, where and why. `ip=` is never believed and has no field: it would aim swarms at victims.
    pub announce: Announce,
    /// Whether packed peers are welcome; only `compact=0` says no.
    //= BEP 23
    pub compact: bool,
    /// Whether a list of peers may leave out their ids.
    pub no_peer_id: bool,
}

/// The torrents of one scrape.
//= BEP 48
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScrapeQuery {
    /// 1 to [`MAX_SCRAPE`].
    pub hashes: Vec<InfoHash>,
}

/// Why a query is refused; shown to the client as the failure reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A percent sign without two hex digits behind it.
    #[error("broken percent escape")]
    Escape,
    /// Something other than started, completed, stopped or nothing.
    #[error("unknown event")]
    Event,
    /// A scrape without a hash asks for everything.
    #[error("full scrape is not offered: name an info_hash")]
    FullScrape,
    /// Neither 20 nor 32 bytes.
    #[error("info_hash has {0} bytes, not 20")]
    InfoHashLength(usize),
    /// More than one in an announce.
    #[error("more than one info_hash")]
    InfoHashTwice,
    /// More bytes than any client needs.
    #[error("query of {0} bytes is too long")]
    Long(usize),
    /// A key that every announce has.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Not a number, or negative, or too large.
    #[error("{0} is not a number in range")]
    Number(&'static str),
    /// Not 20 bytes.
    #[error("peer_id has {0} bytes, not 20")]
    PeerIdLength(usize),
    /// Nobody could connect there.
    #[error("port must be 1 to 65535")]
    Port,
    /// Too many hashes in one scrape.
    #[error("{0} hashes in one scrape, at most {MAX_SCRAPE} are answered")]
    ScrapeCount(usize),
}

impl AnnounceQuery {
    /// The part behind the question mark.
    pub fn encode(&self) -> String {
        let Announce {
            info_hash,
            peer_id,
            port,
            uploaded,
            downloaded,
            left,
            event,
            key,
            want,
            tracker_id,
        } = &self.announce;
        let mut out = String::with_capacity(320);
        out.push_str("info_hash=");
        escape::push(&mut out, &info_hash.0);
        out.push_str("&peer_id=");
        escape::push(&mut out, &peer_id.0);
        let compact = u8::from(self.compact);
        let _ = write!(
            out,
            "&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}\
             &compact={compact}&key={key:08x}"
        );
        if self.no_peer_id {
            out.push_str("&no_peer_id=1");
        }
        match event {
            Event::None => {}
            Event::Started => out.push_str("&event=started"),
            Event::Completed => out.push_str("&event=completed"),
            Event::Stopped => out.push_str("&event=stopped"),
        }
        if let Some(want) = want {
            let _ = write!(out, "&numwant={want}");
        }
        if !tracker_id.is_empty() {
            out.push_str("&trackerid=");
            escape::push(&mut out, tracker_id);
        }
        out
    }

    /// Reads the part behind the question mark. Unknown keys are ignored; of a repeated key the last counts.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut seen = Seen::default();
        for pair in pairs(query)? {
            let (key, value) = pair?;
            seen.take(key, value)?;
        }
        seen.finish()
    }
}

impl ScrapeQuery {
    /// The part behind the question mark.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for hash in self.hashes.iter().take(MAX_SCRAPE) {
            out.push_str(if out.is_empty() { "info_hash=" } else { "&info_hash=" });
            escape::push(&mut out, &hash.0);
        }
        out
    }

    /// Reads the part behind the question mark.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut hashes = Vec::new();
        for pair in pairs(query)? {
            let (key, value) = pair?;
            if key == "info_hash" {
                hashes.push(info_hash(&value)?);
            }
        }
        match hashes.len() {
            0 => Err(QueryError::FullScrape),
            1..=MAX_SCRAPE => Ok(Self { hashes }),
            many => Err(QueryError::ScrapeCount(many)),
        }
    }
}

/// Where to scrape what is announced at `announce_url`; `None` if the tracker's URL does not follow the custom.
//= BEP 48 §the tracker url
pub fn scrape_url(announce_url: &str) -> Option<String> {
    let (head, query) = announce_url.split_at(announce_url.find('?').unwrap_or(announce_url.len()));
    let (path, last) = head.rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    Some(format!("{path}/scrape{rest}{query}"))
}

/// The keys of an announce as far as they have come.
#[derive(Default)]
struct Seen {
    info_hash: Option<InfoHash>,
    peer_id: Option<PeerId>,
    port: Option<u16>,
    left: Option<u64>,
    uploaded: u64,
    downloaded: u64,
    event: Event,
    key: u32,
    want: Option<u32>,
    tracker_id: Vec<u8>,
    full_dicts: bool,
    no_peer_id: bool,
}

impl Seen {
    fn take(&mut self, key: &str, value: Vec<u8>) -> Result<(), QueryError> {
        match key {
            "info_hash" if self.info_hash.is_some() => return Err(QueryError::InfoHashTwice),
            "info_hash" => self.info_hash = Some(info_hash(&value)?),
            "peer_id" => {
                let id = value.as_slice().try_into();
                let id = id.map_err(|_| QueryError::PeerIdLength(value.len()))?;
                self.peer_id = Some(PeerId(id));
            }
            "port" => {
                let port = number("port", &value)?;
                let port = u16::try_from(port).ok().filter(|&port| port != 0);
                self.port = Some(port.ok_or(QueryError::Port)?);
            }
            "left" => self.left = Some(number("left", &value)?),
            "uploaded" => self.uploaded = number("uploaded", &value)?,
            "downloaded" => self.downloaded = number("downloaded", &value)?,
            "event" => self.event = event(&value)?,
            "key" => {
                // Meant for the tracker's eyes only; clients write hex of any length, or anything at all.
                let text = std::str::from_utf8(&value).unwrap_or_default();
                self.key = u32::from_str_radix(text, 16).unwrap_or_default();
            }
            // Negative or strange means "as you like"; what is beyond a u32 is certainly "many".
            "numwant" => match number("numwant", &value) {
                Ok(want) => self.want = Some(u32::try_from(want).unwrap_or(u32::MAX)),
                Err(_) => self.want = None,
            },
            "trackerid" if value.len() <= TRACKER_ID_MAX => self.tracker_id = value,
            "compact" => self.full_dicts = value == b"0",
            "no_peer_id" => self.no_peer_id = value == b"1",
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<AnnounceQuery, QueryError> {
        let announce = Announce {
            info_hash: self.info_hash.ok_or(QueryError::Missing("info_hash"))?,
            peer_id: self.peer_id.ok_or(QueryError::Missing("peer_id"))?,
            port: self.port.ok_or(QueryError::Missing("port"))?,
            left: self.left.ok_or(QueryError::Missing("left"))?,
            uploaded: self.uploaded,
            downloaded: self.downloaded,
            event: self.event,
            key: self.key,
            want: self.want,
            tracker_id: self.tracker_id,
        };
        Ok(AnnounceQuery { announce, compact: !self.full_dicts, no_peer_id: self.no_peer_id })
    }
}

type Pair<'a> = Result<(&'a str, Vec<u8>), QueryError>;

fn pairs(query: &str) -> Result<impl Iterator<Item = Pair<'_>>, QueryError> {
    if query.len() > QUERY_MAX {
        return Err(QueryError::Long(query.len()));
    }
    Ok(query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((key, escape::decode(value).ok_or(QueryError::Escape)?))
    }))
}

/// A version 2 hash is announced by its first 20 bytes; clients that send all 32 mean the same swarm.
//= BEP 52 §infohash (truncated)
fn info_hash(value: &[u8]) -> Result<InfoHash, QueryError> {
    match (value.len(), value.first_chunk()) {
        (20 | 32, Some(first)) => Ok(InfoHash(*first)),
        (other, _) => Err(QueryError::InfoHashLength(other)),
    }
}

/// Digits only: no sign, no blank.
fn number(key: &'static str, value: &[u8]) -> Result<u64, QueryError> {
    let digits = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
    digits.and_then(|text| text.parse().ok()).ok_or(QueryError::Number(key))
}

fn event(value: &[u8]) -> Result<Event, QueryError> {
    match value {
        // A partial seed that stays in the swarm; BEP 21 gives it an event, our counts do not need one.
        b"" | b"paused" => Ok(Event::None),
        b"started" => Ok(Event::Started),
        b"completed" => Ok(Event::Completed),
        b"stopped" => Ok(Event::Stopped),
        _ => Err(QueryError::Event),
    }
}
