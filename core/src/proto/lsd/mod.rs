//! Local service discovery: one datagram to everybody on the wire says which torrents a peer has, and its port.
//!
//! Decides which lines of a stranger's datagram are believed. Never says who the sender is (the socket does), and
//! never when to speak.
//= BEP 14

#[cfg(test)]
mod tests;

use crate::id::InfoHash;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU16;

/// Whom to speak to over IPv4.
pub const GROUP_V4: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), 6771));
/// Whom to speak to over IPv6.
pub const GROUP_V6: SocketAddr = SocketAddr::V6(SocketAddrV6::new(
    Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f),
    6771,
    0,
    0,
));
/// Longest datagram, both ways: it passes an Ethernet in one piece. A longer one is not read.
//= BEP 14 §protocol (1400 bytes)
pub const MESSAGE_MAX: usize = 1400;
/// Most torrents in one datagram; more are told in several, and not read. A hash takes 52 bytes, the rest 150.
pub const HASHES_MAX: usize = 20;
/// Most bytes of a cookie; a longer one counts as none.
pub const COOKIE_MAX: usize = 64;

const METHOD: &str = "BT-SEARCH * HTTP/1.1";

/// "I have these torrents, and listen at this port."
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announcement {
    /// Where the sender accepts peers, at the address that the datagram came from.
    pub port: NonZeroU16,
    /// At least one, at most [`HASHES_MAX`].
    pub hashes: Vec<InfoHash>,
    /// By which a sender knows its own words.
    pub cookie: Option<String>,
}

/// Why a datagram says nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LsdError {
    /// Longer than any peer may send.
    #[error("{0} bytes, at most {MESSAGE_MAX} are read")]
    Length(usize),
    /// It begins otherwise.
    #[error("not a BT-SEARCH")]
    Method,
    /// No line with a hash of 40 digits.
    #[error("no Infohash")]
    NoHash,
    /// The port is missing, 0 or no number.
    #[error("no usable Port")]
    Port,
}

impl Announcement {
    /// Reads a datagram. Lines may end in either way and come in any order; what nobody here knows is skipped.
    pub fn parse(datagram: &[u8]) -> Result<Self, LsdError> {
        if datagram.len() > MESSAGE_MAX {
            return Err(LsdError::Length(datagram.len()));
        }
        let text = String::from_utf8_lossy(datagram);
        let mut lines = text.split('\n').map(str::trim);
        if !lines.next().is_some_and(|line| line.eq_ignore_ascii_case(METHOD)) {
            return Err(LsdError::Method);
        }
        let (mut port, mut hashes, mut cookie) = (None, Vec::new(), None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("port") {
                port = port.or_else(|| value.parse().ok());
            } else if name.eq_ignore_ascii_case("infohash") {
                let hash = InfoHash::from_hex(value);
                let new = hash.filter(|hash| hashes.len() < HASHES_MAX && !hashes.contains(hash));
                hashes.extend(new);
            } else if name.eq_ignore_ascii_case("cookie") && value.len() <= COOKIE_MAX {
                cookie = cookie.or_else(|| Some(value.to_owned()));
            }
        }
        let port = port.ok_or(LsdError::Port)?;
        if hashes.is_empty() {
            return Err(LsdError::NoHash);
        }
        Ok(Self { port, hashes, cookie })
    }

    /// The datagram for one of the two groups.
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!("{METHOD}\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for hash in self.hashes.iter().take(HASHES_MAX) {
            text.push_str(&format!("Infohash: {hash}\r\n"));
        }
        if let Some(cookie) = &self.cookie {
            text.push_str(&format!("cookie: {cookie}\r\n"));
        }
        // Two empty lines, as the BEP has it.
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}
