//! Messages by which two peers that cannot be dialled find each other through a third.
//!
//! Decides what is a message at all. Never judges the address beyond its port: whoever passes it on does.
//= BEP 55

use super::error::ExtensionError;
use crate::compact;
use bytes::Bytes;
use std::net::SocketAddr;

/// One message. The address is the other side's: whom the sender wants to meet, or shall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HolepunchMessage {
    /// Open a uTP connection to there, now: the other side does the same.
    Connect(SocketAddr),
    /// The meeting with that peer cannot be arranged.
    Failed(SocketAddr, HolepunchError),
    /// Let me and that peer meet.
    Rendezvous(SocketAddr),
}

/// Why a meeting cannot be arranged. The number is the one on the wire.
//= BEP 55 §error codes
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HolepunchError {
    /// There can be no peer at such an address.
    NoSuchPeer = 1,
    /// The relay is not connected to that peer.
    NotConnected = 2,
    /// That peer does not know the extension.
    NoSupport = 3,
    /// The peer is the one that asks, or the relay.
    NoSelf = 4,
}

impl HolepunchError {
    fn from_code(code: u32) -> Option<Self> {
        [Self::NoSuchPeer, Self::NotConnected, Self::NoSupport, Self::NoSelf]
            .into_iter()
            .find(|error| *error as u32 == code)
    }
}

impl HolepunchMessage {
    /// Reads a payload. `Ok(None)` for what nobody here knows: a kind of message, of address or of error. The error
    /// code, which is 0 in all other messages, may be missing there: libtorrent leaves it out. What follows is not
    /// looked at.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, ExtensionError> {
        let [kind, family, rest @ ..] = payload else {
            return Err(ExtensionError::Field("msg_type"));
        };
        let len = match family {
            0 => compact::V4_LEN,
            1 => compact::V6_LEN,
            _ => return Ok(None),
        };
        let (addr, rest) = rest.split_at_checked(len).ok_or(ExtensionError::Field("addr"))?;
        let addr = match family {
            0 => compact::read_v4(addr).next(),
            _ => compact::read_v6(addr).next(),
        };
        let addr = addr.ok_or(ExtensionError::Field("port"))?;
        Ok(match kind {
            0 => Some(Self::Rendezvous(addr)),
            1 => Some(Self::Connect(addr)),
            2 => {
                let code = rest.first_chunk().ok_or(ExtensionError::Field("err_code"))?;
                let error = HolepunchError::from_code(u32::from_be_bytes(*code));
                error.map(|error| Self::Failed(addr, error))
            }
            _ => None,
        })
    }

    /// The payload to send under the id that the peer assigned.
    pub fn encode(self) -> Bytes {
        let (kind, addr, code) = match self {
            Self::Rendezvous(addr) => (0, addr, 0),
            Self::Connect(addr) => (1, addr, 0),
            Self::Failed(addr, error) => (2, addr, error as u32),
        };
        let mut out = vec![kind, u8::from(addr.is_ipv6())];
        compact::push(&mut out, addr);
        out.extend(code.to_be_bytes());
        out.into()
    }
}
