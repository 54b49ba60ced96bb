//! What a tracker sends.

use super::{CONNECT_LEN, Family, MAX_DATAGRAM, MAX_SCRAPE, action, u32_at, u64_at};
use crate::compact;
use crate::proto::announce::{Counts, MAX_PEERS, shown_text};
use std::net::SocketAddr;

/// Bytes before the peers of an announce reply.
pub(super) const ANNOUNCE_HEAD: usize = 20;
/// Bytes before the counts of a scrape reply and the text of an error.
const HEAD: usize = 8;

/// A datagram from a tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Grants a connection id.
    Connect {
        /// From the request.
        transaction: u32,
        /// To be used for a minute.
        connection: u64,
    },
    /// Answers an announce.
    Announce {
        /// From the request.
        transaction: u32,
        /// Seconds until the next announce.
        interval_s: u32,
        /// Peers without everything.
        leeches: u32,
        /// Peers with everything.
        seeds: u32,
        /// All of one family, none with port 0. At most [`MAX_PEERS`] are read, and [`MAX_DATAGRAM`] is filled.
        peers: Vec<SocketAddr>,
    },
    /// Answers a scrape.
    Scrape {
        /// From the request.
        transaction: u32,
        /// One entry for each hash asked, in order.
        counts: Vec<Counts>,
    },
    /// Refuses.
    Error {
        /// From the request.
        transaction: u32,
        /// Why, made fit to show.
        reason: String,
    },
}

/// Why a datagram is not a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Not one of the four.
    #[error("action {0} is unknown")]
    Action(u32),
    /// Too short, or not a whole number of entries.
    #[error("{got} bytes for action {action}")]
    Length {
        /// What it claims to be.
        action: u32,
        /// How much came.
        got: usize,
    },
    /// Shorter than any reply.
    #[error("{0} bytes")]
    Short(usize),
}

impl Reply {
    /// The request this answers.
    pub fn transaction(&self) -> u32 {
        match self {
            Self::Connect { transaction, .. }
            | Self::Announce { transaction, .. }
            | Self::Scrape { transaction, .. }
            | Self::Error { transaction, .. } => *transaction,
        }
    }

    /// Reads one datagram that came over a socket of `family`.
    pub fn parse(raw: &[u8], family: Family) -> Result<Self, ReplyError> {
        let short = ReplyError::Short(raw.len());
        let (action, transaction) = u32_at(raw, 0).zip(u32_at(raw, 4)).ok_or(short)?;
        let length = ReplyError::Length { action, got: raw.len() };
        match action {
            action::CONNECT => {
                let connection = u64_at(raw, 8).ok_or(length)?;
                Ok(Self::Connect { transaction, connection })
            }
            action::ANNOUNCE => {
                let packed = raw.get(ANNOUNCE_HEAD..).ok_or(length)?;
                if packed.len() % family.stride() != 0 {
                    return Err(length);
                }
                Ok(Self::Announce {
                    transaction,
                    interval_s: u32_at(raw, 8).ok_or(length)?,
                    leeches: u32_at(raw, 12).ok_or(length)?,
                    seeds: u32_at(raw, 16).ok_or(length)?,
                    peers: match family {
                        Family::V4 => compact::read_v4(packed).take(MAX_PEERS).collect(),
                        Family::V6 => compact::read_v6(packed).take(MAX_PEERS).collect(),
                    },
                })
            }
            action::SCRAPE => parse_scrape(raw, transaction).ok_or(length),
            action::ERROR => Ok(Self::Error { transaction, reason: shown_text(&raw[HEAD..]) }),
            other => Err(ReplyError::Action(other)),
        }
    }

    /// The datagram, never longer than [`MAX_DATAGRAM`]: what does not fit is left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CONNECT_LEN);
        let mut head = |action: u32, transaction: &u32| {
            out.extend_from_slice(&action.to_be_bytes());
            out.extend_from_slice(&transaction.to_be_bytes());
        };
        match self {
            Self::Connect { transaction, connection } => {
                head(action::CONNECT, transaction);
                out.extend_from_slice(&connection.to_be_bytes());
            }
            Self::Announce { transaction, interval_s, leeches, seeds, peers } => {
                head(action::ANNOUNCE, transaction);
                for number in [interval_s, leeches, seeds] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                // Mixed families cannot be told apart by the reader: the first peer decides.
                let family = peers.first().map_or(Family::V4, |peer| Family::of(peer.ip()));
                let fitting = peers.iter().filter(|peer| Family::of(peer.ip()) == family);
                fitting.take(family.peers_max()).for_each(|&peer| compact::push(&mut out, peer));
            }
            Self::Scrape { transaction, counts } => {
                head(action::SCRAPE, transaction);
                for entry in counts.iter().take((MAX_DATAGRAM - HEAD) / 12) {
                    for number in [entry.seeds, entry.completed, entry.leeches] {
                        out.extend_from_slice(&number.to_be_bytes());
                    }
                }
            }
            Self::Error { transaction, reason } => {
                head(action::ERROR, transaction);
                let kept = reason.len().min(MAX_DATAGRAM - HEAD);
                out.extend_from_slice(&reason.as_bytes()[..kept]);
            }
        }
        out
    }
}

fn parse_scrape(raw: &[u8], transaction: u32) -> Option<Reply> {
    let (entries, rest) = raw.get(HEAD..)?.as_chunks::<12>();
    let count = |entry: &[u8; 12], at| u32_at(entry, at).unwrap_or_default();
    let counts = entries
        .iter()
        .take(MAX_SCRAPE)
        .map(|entry| Counts {
            seeds: count(entry, 0),
            completed: count(entry, 4),
            leeches: count(entry, 8),
        })
        .collect();
    rest.is_empty().then_some(Reply::Scrape { transaction, counts })
}
