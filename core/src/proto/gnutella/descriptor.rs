//! The 23 bytes before every payload, and cutting a stream into descriptors.

use super::{GnutellaError, PAYLOAD_MAX, QUERY_MAX, SMALL_MAX};
use crate::rng::Rng;
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// Bytes of a header.
pub const HEADER_LEN: usize = 23;

/// Names a descriptor, so that answers find their way back, or a servent.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// A new one, marked as that of a servent younger than 0.4.
    pub fn random(rng: &mut Rng) -> Self {
        let mut id = [0; 16];
        rng.fill(&mut id);
        (id[8], id[15]) = (0xff, 0);
        Self(id)
    }

    /// Reads 32 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let raw = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        raw.try_into().ok().map(Self)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a descriptor is: the type byte.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Kind(pub u8);

impl Kind {
    /// Who is there?
    pub const PING: Self = Self(0x00);
    /// I am, or somebody I know.
    pub const PONG: Self = Self(0x01);
    /// I leave, and why.
    pub const BYE: Self = Self(0x02);
    /// Words that a neighbour can be asked for.
    pub const QRP: Self = Self(0x30);
    /// A message of some vendor's to the neighbour.
    pub const VENDOR: Self = Self(0x31);
    /// The same, of all vendors'.
    pub const STANDARD_VENDOR: Self = Self(0x32);
    /// Please connect to somebody.
    pub const PUSH: Self = Self(0x40);
    /// Who has this?
    pub const QUERY: Self = Self(0x80);
    /// I have.
    pub const QUERY_HIT: Self = Self(0x81);

    /// Bytes that a payload of this kind has at most.
    pub const fn payload_max(self) -> usize {
        match self {
            Self::PING | Self::PONG | Self::BYE | Self::PUSH => SMALL_MAX,
            Self::QUERY => QUERY_MAX,
            _ => PAYLOAD_MAX,
        }
    }
}

/// The first 19 bytes of a descriptor; the length belongs to the payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Shared by a question and its answers.
    pub guid: Guid,
    /// What follows.
    pub kind: Kind,
    /// Links that it may still cross.
    pub ttl: u8,
    /// Links that it has crossed.
    pub hops: u8,
}

/// One message as it travels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Descriptor {
    /// Where it comes from and how far it may go.
    pub header: Header,
    /// What it says; kept as it came.
    pub payload: Bytes,
}

impl Descriptor {
    /// A descriptor that has crossed no link yet.
    pub fn new(guid: Guid, kind: Kind, ttl: u8, payload: impl Into<Bytes>) -> Self {
        Self { header: Header { guid, kind, ttl, hops: 0 }, payload: payload.into() }
    }

    /// Takes one descriptor off the front of a stream; `None` until all of it is there.
    ///
    /// # Errors
    /// A length that its kind does not have: the stream is out of step and cannot be read on.
    pub fn decode(stream: &mut BytesMut) -> Result<Option<Self>, GnutellaError> {
        let Some(raw) = stream.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let kind = Kind(raw[16]);
        let claimed = u32::from_le_bytes([raw[19], raw[20], raw[21], raw[22]]);
        let got = usize::try_from(claimed).unwrap_or(usize::MAX);
        let most = kind.payload_max();
        if got > most {
            return Err(GnutellaError::Length { kind: kind.0, got, most });
        }
        if stream.len() < HEADER_LEN + got {
            return Ok(None);
        }
        let guid = Guid(raw[..16].try_into().expect("16 of 23 bytes"));
        let header = Header { guid, kind, ttl: raw[17], hops: raw[18] };
        stream.advance(HEADER_LEN);
        Ok(Some(Self { header, payload: stream.split_to(got).freeze() }))
    }

    /// Bytes on the wire.
    pub fn wire_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Appends the bytes for the wire.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Header { guid, kind, ttl, hops } = self.header;
        out.extend_from_slice(&guid.0);
        out.extend_from_slice(&[kind.0, ttl, hops]);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.payload);
    }

    /// The bytes for the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.wire_len());
        self.encode_into(&mut out);
        out
    }
}
