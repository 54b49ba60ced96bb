//! The answer: files of one servent, how to reach it, and what state it is in.

use super::messages::{addr, fixed, u32_at};
use super::{Extensions, Ggep, GnutellaError, Guid};
use std::net::SocketAddrV4;

/// Bytes of a name that is kept; a hit with a longer one is malformed.
const NAME_MAX: usize = 4 << 10;
const FIXED_LEN: usize = 11;
const GUID_LEN: usize = 16;
const PUSH: u8 = 1;
const BUSY: u8 = 1 << 2;
const UPLOADED: u8 = 1 << 3;
const MEASURED: u8 = 1 << 4;
const GGEP: u8 = 1 << 5;

/// One file of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Its number at that servent.
    pub index: u32,
    /// Bytes.
    pub size: u64,
    /// As that servent calls it: nothing says that it is safe as a file name.
    pub name: String,
    /// Names of its content, and more about it.
    pub extensions: Extensions,
}

/// What a servent says about itself. `None` is `not said`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trailer {
    /// Whose program it is.
    pub vendor: [u8; 4],
    /// It takes no connections: a Push is needed.
    pub push: Option<bool>,
    /// All upload slots are taken.
    pub busy: Option<bool>,
    /// It has uploaded something before.
    pub uploaded: Option<bool>,
    /// The speed was measured.
    pub measured: Option<bool>,
    /// Push proxies, browse host and others.
    pub ggep: Ggep,
}

/// Files of one servent that match a query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueryHit {
    /// Where it serves them.
    pub addr: SocketAddrV4,
    /// kbit/s.
    pub speed: u32,
    /// At most 255.
    pub hits: Vec<Hit>,
    /// What old servents leave out.
    pub trailer: Option<Trailer>,
    /// The servent: what a Push is addressed to.
    pub servent: Guid,
}

impl QueryHit {
    /// Reads a payload.
    ///
    /// # Errors
    /// It ends before the number of files that it claims, or has no room for the id of the servent.
    pub fn parse(raw: &[u8]) -> Result<Self, GnutellaError> {
        let malformed = || GnutellaError::Malformed { what: "QueryHit", got: raw.len() };
        let head = fixed::<FIXED_LEN>(raw, "QueryHit")?;
        let (body, guid) = raw[FIXED_LEN..].split_last_chunk::<GUID_LEN>().ok_or_else(malformed)?;
        let mut rest = body;
        let mut hits = Vec::new();
        for _ in 0..head[0] {
            hits.push(Hit::parse(&mut rest).ok_or_else(malformed)?);
        }
        Ok(Self {
            addr: addr(&head[3..7], &head[1..3]),
            speed: u32_at(head, 7),
            hits,
            trailer: Trailer::parse(rest),
            servent: Guid(*guid),
        })
    }

    /// The payload; of more than 255 files the first 255.
    pub fn encode(&self) -> Vec<u8> {
        let hits = &self.hits[..self.hits.len().min(255)];
        let mut out = vec![hits.len() as u8];
        out.extend_from_slice(&self.addr.port().to_le_bytes());
        out.extend_from_slice(&self.addr.ip().octets());
        out.extend_from_slice(&self.speed.to_le_bytes());
        hits.iter().for_each(|hit| hit.encode_into(&mut out));
        self.trailer.iter().for_each(|trailer| trailer.encode_into(&mut out));
        out.extend_from_slice(&self.servent.0);
        out
    }
}

impl Hit {
    fn parse(raw: &mut &[u8]) -> Option<Self> {
        let (fixed, rest) = raw.split_first_chunk::<8>()?;
        let (name, rest) = until_nul(rest)?;
        let (area, rest) = until_nul(rest)?;
        let name = String::from_utf8_lossy(name).into_owned();
        if name.len() > NAME_MAX {
            return None;
        }
        *raw = rest;
        let mut extensions = Extensions::parse(area);
        let size = u32_at(fixed, 4);
        let large = extensions.ggep.get("LF").filter(|raw| size == u32::MAX && raw.len() <= 8);
        let large = large
            .map(|raw| raw.iter().rev().fold(0, |size: u64, &byte| size << 8 | u64::from(byte)));
        extensions.ggep.remove("LF");
        Some(Self { index: u32_at(fixed, 0), size: large.unwrap_or(size.into()), name, extensions })
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_le_bytes());
        let small = u32::try_from(self.size).unwrap_or(u32::MAX);
        out.extend_from_slice(&small.to_le_bytes());
        out.extend(self.name.bytes().filter(|&byte| byte != 0));
        out.push(0);
        if self.size >= u32::MAX.into() {
            let raw = self.size.to_le_bytes();
            let len = 8 - self.size.leading_zeros() as usize / 8;
            let mut extensions = self.extensions.clone();
            extensions.ggep = extensions.ggep.with("LF", raw[..len].to_vec());
            extensions.encode_into(true, out);
        } else {
            self.extensions.encode_into(true, out);
        }
        out.push(0);
    }
}

impl Trailer {
    fn parse(raw: &[u8]) -> Option<Self> {
        let (vendor, rest) = raw.split_first_chunk::<4>()?;
        let (&len, rest) = rest.split_first()?;
        let (open, private) = rest.split_at_checked(len.into())?;
        let [a, b] = [0, 1].map(|at| open.get(at).copied().unwrap_or_default());
        let said = |bit| (a & bit != 0).then_some(b & bit != 0);
        // Some write XML before or after the block, so look for where it begins.
        let begin = private.iter().position(|&byte| byte == 0xc3);
        let ggep = begin.and_then(|begin| Ggep::parse(&private[begin..]).ok());
        Some(Self {
            vendor: *vendor,
            // Alone of all, this bit has its value in the first byte.
            push: (b & PUSH != 0).then_some(a & PUSH != 0),
            busy: said(BUSY),
            uploaded: said(UPLOADED),
            measured: said(MEASURED),
            ggep: ggep.map(|(ggep, _)| ggep).unwrap_or_default(),
        })
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        let (mut a, mut b) = (0, 0);
        let rest = [(BUSY, self.busy), (UPLOADED, self.uploaded), (MEASURED, self.measured)];
        for (bit, said) in rest {
            a |= if said.is_some() { bit } else { 0 };
            b |= if said == Some(true) { bit } else { 0 };
        }
        b |= if self.push.is_some() { PUSH } else { 0 };
        a |= if self.push == Some(true) { PUSH } else { 0 };
        if !self.ggep.is_empty() {
            (a, b) = (a | GGEP, b | GGEP);
        }
        out.extend_from_slice(&self.vendor);
        out.extend_from_slice(&[2, a, b]);
        self.ggep.encode_into(false, out);
    }
}

fn until_nul(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = raw.iter().position(|&byte| byte == 0)?;
    Some((&raw[..end], &raw[end + 1..]))
}
