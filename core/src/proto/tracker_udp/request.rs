//! What a client sends.

use super::{
    ANNOUNCE_LEN, CONNECT_LEN, MAX_SCRAPE, MAX_URL_DATA, PROTOCOL_ID, action, array_at, u32_at,
    u64_at,
};
use crate::id::{InfoHash, PeerId};
use crate::proto::announce::{Announce, Event};

/// Bytes before the hashes of a scrape request, and of every request's head.
const HEAD: usize = 16;

mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const URL_DATA: u8 = 2;
}

/// A datagram to a tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Asks for a connection id, which proves that the source address is real.
    Connect {
        /// Repeated in the reply.
        transaction: u32,
    },
    /// Joins, refreshes or leaves a swarm.
    Announce {
        /// From the connect reply.
        connection: u64,
        /// Repeated in the reply.
        transaction: u32,
        /// `tracker_id` has no place on this wire and is dropped.
        announce: Announce,
        /// Path and query of the tracker's URL, at most [`MAX_URL_DATA`] bytes.
        //= BEP 41 §url data
        url_data: Vec<u8>,
    },
    /// Asks for the counts of up to [`MAX_SCRAPE`] swarms.
    Scrape {
        /// From the connect reply.
        connection: u64,
        /// Repeated in the reply.
        transaction: u32,
        /// Answered in this order.
        hashes: Vec<InfoHash>,
    },
}

/// Why a datagram is not a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Neither connect, announce nor scrape.
    #[error("action {0} is unknown")]
    Action(u32),
    /// An event other than 0 to 3.
    #[error("event {0} is unknown")]
    Event(u32),
    /// Too short or not a whole number of hashes.
    #[error("{got} bytes for action {action}")]
    Length {
        /// What it claims to be.
        action: u32,
        /// How much came.
        got: usize,
    },
    /// An option that runs past the end, or too much URL data.
    #[error("broken options after the announce")]
    Options,
    /// A connect request without the constant that marks this protocol.
    #[error("not this protocol")]
    Protocol,
    /// A scrape of nothing, or of more than [`MAX_SCRAPE`].
    #[error("{0} hashes in one scrape, at most {MAX_SCRAPE} are answered")]
    ScrapeCount(usize),
    /// Shorter than any request: there is nothing to answer to.
    #[error("{0} bytes")]
    Short(usize),
}

impl Request {
    /// The connection id and transaction id of anything long enough to have them.
    pub fn head(raw: &[u8]) -> Option<(u64, u32)> {
        Some((u64_at(raw, 0)?, u32_at(raw, 12)?))
    }

    /// Reads one datagram.
    ///
    /// Bytes after a connect request are ignored; after an announce they must be options.
    pub fn parse(raw: &[u8]) -> Result<Self, RequestError> {
        let short = RequestError::Short(raw.len());
        let (connection, transaction) = Self::head(raw).ok_or(short)?;
        match u32_at(raw, 8).ok_or(short)? {
            action::CONNECT if connection == PROTOCOL_ID => Ok(Self::Connect { transaction }),
            action::CONNECT => Err(RequestError::Protocol),
            action::ANNOUNCE => parse_announce(raw, connection, transaction),
            action::SCRAPE => {
                let (hashes, rest) = raw[HEAD..].as_chunks::<20>();
                if !rest.is_empty() {
                    let got = raw.len();
                    return Err(RequestError::Length { action: action::SCRAPE, got });
                }
                if hashes.is_empty() || hashes.len() > MAX_SCRAPE {
                    return Err(RequestError::ScrapeCount(hashes.len()));
                }
                let hashes = hashes.iter().copied().map(InfoHash).collect();
                Ok(Self::Scrape { connection, transaction, hashes })
            }
            other => Err(RequestError::Action(other)),
        }
    }

    /// The datagram.
    ///
    /// URL data beyond [`MAX_URL_DATA`] and hashes beyond [`MAX_SCRAPE`] are left out.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Connect { transaction } => head(PROTOCOL_ID, action::CONNECT, *transaction),
            Self::Announce { connection, transaction, announce, url_data } => {
                let mut out = head(*connection, action::ANNOUNCE, *transaction);
                push_announce(&mut out, announce);
                push_url_data(&mut out, url_data);
                out
            }
            Self::Scrape { connection, transaction, hashes } => {
                let mut out = head(*connection, action::SCRAPE, *transaction);
                hashes.iter().take(MAX_SCRAPE).for_each(|hash| out.extend_from_slice(&hash.0));
                out
            }
        }
    }
}

fn head(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(ANNOUNCE_LEN.max(CONNECT_LEN));
    out.extend_from_slice(&connection.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
    out
}

//= BEP 15 §ipv4 announce request
fn parse_announce(raw: &[u8], connection: u64, transaction: u32) -> Result<Request, RequestError> {
    let fields = || {
        Some(Announce {
            info_hash: InfoHash(array_at(raw, 16)?),
            peer_id: PeerId(array_at(raw, 36)?),
            downloaded: u64_at(raw, 56)?,
            left: u64_at(raw, 64)?,
            uploaded: u64_at(raw, 72)?,
            event: Event::None,
            // Bytes 84..88 are the address the client wishes for; believing it would aim swarms at victims.
            key: u32_at(raw, 88)?,
            want: u32_at(raw, 92).filter(|&want| i32::try_from(want).is_ok()),
            port: u16::from_be_bytes(array_at(raw, 96)?),
            tracker_id: Vec::new(),
        })
    };
    let length = RequestError::Length { action: action::ANNOUNCE, got: raw.len() };
    let mut announce = fields().ok_or(length)?;
    announce.event = match u32_at(raw, 80).ok_or(length)? {
        0 => Event::None,
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        other => return Err(RequestError::Event(other)),
    };
    let url_data = parse_options(&raw[ANNOUNCE_LEN..]).ok_or(RequestError::Options)?;
    Ok(Request::Announce { connection, transaction, announce, url_data })
}

/// URL data may be split over several options, which are joined.
//= BEP 41 §extension format
fn parse_options(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut url_data = Vec::new();
    while let Some((&kind, after)) = rest.split_first() {
        rest = after;
        match kind {
            option::END => break,
            option::NOP => {}
            _ => {
                let (&len, after) = rest.split_first()?;
                let (body, after) = after.split_at_checked(len.into())?;
                rest = after;
                if kind == option::URL_DATA {
                    url_data.extend_from_slice(body);
                }
            }
        }
    }
    (url_data.len() <= MAX_URL_DATA).then_some(url_data)
}

fn push_announce(out: &mut Vec<u8>, announce: &Announce) {
    let event: u32 = match announce.event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    out.extend_from_slice(&announce.info_hash.0);
    out.extend_from_slice(&announce.peer_id.0);
    out.extend_from_slice(&announce.downloaded.to_be_bytes());
    out.extend_from_slice(&announce.left.to_be_bytes());
    out.extend_from_slice(&announce.uploaded.to_be_bytes());
    out.extend_from_slice(&event.to_be_bytes());
    out.extend_from_slice(&[0; 4]); // the tracker shall use the address it sees
    out.extend_from_slice(&announce.key.to_be_bytes());
    let want = announce.want.map_or(-1, |want| i32::try_from(want).unwrap_or(i32::MAX));
    out.extend_from_slice(&want.to_be_bytes());
    out.extend_from_slice(&announce.port.to_be_bytes());
}

fn push_url_data(out: &mut Vec<u8>, url_data: &[u8]) {
    for part in url_data[..url_data.len().min(MAX_URL_DATA)].chunks(255) {
        out.extend_from_slice(&[option::URL_DATA, part.len() as u8]);
        out.extend_from_slice(part);
    }
    if !url_data.is_empty() {
        out.push(option::END);
    }
}
