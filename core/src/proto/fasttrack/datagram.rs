//! Datagrams: who is there, and has he room?

use super::reader::Reader;
use super::{WireError, clean_name};

const PING: u8 = 0x27;
const PONG: u8 = 0x28;
const FULL: u8 = 0x29;
const KNOCK: u8 = 0xc0;
/// The least cipher that a client asks for, as giFT writes it; nobody checks it.
const CIPHER: u32 = 0xa9;

/// What passes between hosts without a session. All are shorter than 100 bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Datagram {
    /// A supernode without room.
    Full,
    /// The answer to a request for a datagram.
    Knock,
    /// "Is there a supernode of this network?"
    Ping {
        /// Name of the network.
        network: String,
    },
    /// A supernode with room.
    Pong {
        /// Nodes that it serves.
        children: u8,
        /// Percent.
        load: u8,
        /// Name of the network.
        network: String,
    },
}

impl Datagram {
    /// Reads one.
    pub fn parse(raw: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader(raw);
        match reader.u8("datagram")? {
            PING => {
                reader.u32("ping")?;
                reader.u8("ping")?;
                Ok(Self::Ping { network: clean_name(reader.until(0, "network")?) })
            }
            PONG => {
                reader.u32("pong")?;
                let [_, _age, _degree, children, load, _] = reader.array("pong")?;
                Ok(Self::Pong { children, load, network: clean_name(reader.until(0, "network")?) })
            }
            FULL => Ok(Self::Full),
            KNOCK => Ok(Self::Knock),
            other => Err(WireError::Selector(other)),
        }
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Full => {
                out.push(FULL);
                out.extend_from_slice(&CIPHER.to_be_bytes());
                out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
            }
            Self::Knock => out.push(KNOCK),
            Self::Ping { network } => {
                out.push(PING);
                out.extend_from_slice(&CIPHER.to_be_bytes());
                out.push(0x80);
                push_name(&mut out, network);
            }
            Self::Pong { children, load, network } => {
                out.push(PONG);
                out.extend_from_slice(&CIPHER.to_be_bytes());
                out.extend_from_slice(&[0, 0, 0, *children, *load, 0]);
                push_name(&mut out, network);
            }
        }
        out
    }
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(clean_name(name.as_bytes()).as_bytes());
    out.push(0);
}
