//! Announce and scrape over UDP: datagrams to values and back, and one exchange with its retransmissions.
//!
//! Both sides use this: the tracker parses requests and encodes replies, the client does the reverse. It never
//! decides whom to ask or what to answer, and mints no connection id.
//= BEP 15
//= BEP 41

mod exchange;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use exchange::{CONNECTION_LIFE, Exchange, ExchangeError, Outcome, Query, Retry};
pub use reply::{Reply, ReplyError};
pub use request::{Request, RequestError};

/// What every connect request carries in place of a connection id.
//= BEP 15 §connect
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// Bytes of a connect request and of its reply.
pub const CONNECT_LEN: usize = 16;
/// Bytes of an announce request without options.
pub const ANNOUNCE_LEN: usize = 98;
/// Hashes in one scrape; a request with more is refused whole, so that counts never land on the wrong torrent.
//= BEP 15 §scrape (about 74 torrents)
pub const MAX_SCRAPE: usize = 74;
/// Bytes of URL data kept from the options of one announce; a longer one is refused.
pub const MAX_URL_DATA: usize = 1024;
/// Bytes of the largest datagram sent: with its headers it passes every IPv6 path (1 280 bytes), tunnels included.
/// What does not fit is left out; 200 IPv4 or 67 IPv6 peers do.
pub const MAX_DATAGRAM: usize = 1232;

/// Which kind of addresses an announce reply packs; the socket's family decides, nothing in the reply says so.
//= BEP 15 §ipv6
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// 6 bytes each.
    V4,
    /// 18 bytes each.
    V6,
}

impl Family {
    /// The family of a (canonical) address.
    pub fn of(ip: std::net::IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of one packed address.
    pub const fn stride(self) -> usize {
        match self {
            Self::V4 => crate::compact::V4_LEN,
            Self::V6 => crate::compact::V6_LEN,
        }
    }

    /// Peers of this family that fit into one reply of [`MAX_DATAGRAM`] bytes.
    pub const fn peers_max(self) -> usize {
        (MAX_DATAGRAM - reply::ANNOUNCE_HEAD) / self.stride()
    }
}

mod action {
    pub(super) const CONNECT: u32 = 0;
    pub(super) const ANNOUNCE: u32 = 1;
    pub(super) const SCRAPE: u32 = 2;
    pub(super) const ERROR: u32 = 3;
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|raw| u32::from_be_bytes(*raw))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|raw| u64::from_be_bytes(*raw))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}
