//! The short messages: Ping, Pong, Push and Bye.

use super::{Ggep, GnutellaError, Guid};
use std::net::SocketAddrV4;

/// `Who is there?`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ping {
    /// `SCP` asks for addresses of others.
    pub ggep: Ggep,
}

/// A servent that takes connections, and what it shares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pong {
    /// Where it listens.
    pub addr: SocketAddrV4,
    /// Files that it shares.
    pub files: u32,
    /// KiB that it shares.
    pub kbytes: u32,
    /// More about it, and other servents.
    pub ggep: Ggep,
}

/// Asks somebody who cannot be reached to connect to us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Push {
    /// Who shall connect: the servent id of his hits.
    pub target: Guid,
    /// Which of his files is wanted.
    pub index: u32,
    /// Where to.
    pub addr: SocketAddrV4,
    /// More about the asker.
    pub ggep: Ggep,
}

/// The last words on a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bye {
    /// 2xx: all is well; 4xx: your fault; 5xx: mine.
    pub code: u16,
    /// In words. Header lines after the first line end are dropped on reading.
    pub reason: String,
}

/// Characters kept of a reason.
const REASON_MAX: usize = 200;

impl Ping {
    /// Reads a payload; an extension that cannot be read counts as absent.
    pub fn parse(raw: &[u8]) -> Self {
        Self { ggep: tail(raw) }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.ggep.encode_into(false, &mut out);
        out
    }
}

impl Pong {
    /// Reads a payload.
    ///
    /// # Errors
    /// Fewer than 14 bytes.
    pub fn parse(raw: &[u8]) -> Result<Self, GnutellaError> {
        let fixed = fixed::<14>(raw, "Pong")?;
        Ok(Self {
            addr: addr(&fixed[2..6], &fixed[..2]),
            files: u32_at(fixed, 6),
            kbytes: u32_at(fixed, 10),
            ggep: tail(&raw[14..]),
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.addr.port().to_le_bytes().to_vec();
        out.extend_from_slice(&self.addr.ip().octets());
        out.extend_from_slice(&self.files.to_le_bytes());
        out.extend_from_slice(&self.kbytes.to_le_bytes());
        self.ggep.encode_into(false, &mut out);
        out
    }
}

impl Push {
    /// Reads a payload.
    ///
    /// # Errors
    /// Fewer than 26 bytes.
    pub fn parse(raw: &[u8]) -> Result<Self, GnutellaError> {
        let fixed = fixed::<26>(raw, "Push")?;
        Ok(Self {
            target: Guid(fixed[..16].try_into().expect("16 bytes")),
            index: u32_at(fixed, 16),
            addr: addr(&fixed[20..24], &fixed[24..26]),
            ggep: tail(&raw[26..]),
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.target.0.to_vec();
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.addr.ip().octets());
        out.extend_from_slice(&self.addr.port().to_le_bytes());
        self.ggep.encode_into(false, &mut out);
        out
    }
}

impl Bye {
    /// Reads a payload.
    ///
    /// # Errors
    /// Fewer than 2 bytes.
    pub fn parse(raw: &[u8]) -> Result<Self, GnutellaError> {
        let code = u16::from_le_bytes(*fixed::<2>(raw, "Bye")?);
        let text = raw[2..].split(|&byte| matches!(byte, 0 | b'\r' | b'\n')).next();
        let text = text.unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        Ok(Self {
            code,
            reason: text.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect(),
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.code.to_le_bytes().to_vec();
        out.extend_from_slice(self.reason.as_bytes());
        out.push(0);
        out
    }
}

pub(super) fn fixed<'a, const N: usize>(
    raw: &'a [u8],
    what: &'static str,
) -> Result<&'a [u8; N], GnutellaError> {
    raw.first_chunk().ok_or(GnutellaError::Malformed { what, got: raw.len() })
}

/// An IPv4 address in network order, and a port that is not.
pub(super) fn addr(ip: &[u8], port: &[u8]) -> SocketAddrV4 {
    SocketAddrV4::new([ip[0], ip[1], ip[2], ip[3]].into(), u16::from_le_bytes([port[0], port[1]]))
}

pub(super) fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().expect("4 bytes"))
}

fn tail(raw: &[u8]) -> Ggep {
    Ggep::parse(raw).map(|(ggep, _)| ggep).unwrap_or_default()
}
