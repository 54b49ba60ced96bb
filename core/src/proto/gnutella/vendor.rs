//! Messages between neighbours that some vendor thought of and others took over.

use super::GnutellaError;
use super::messages::fixed;
use bytes::Bytes;

/// Messages that a list is read to; further ones are ignored.
const SUPPORTED_MAX: usize = 256;
const BEAR: [u8; 4] = *b"BEAR";
const LIME: [u8; 4] = *b"LIME";

/// A message that goes no further than the neighbour.
// After vendor message 0.2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Vendor {
    /// What the neighbour understands: vendor, selector, version.
    Supported(Vec<([u8; 4], u16, u16)>),
    /// Send me no query that has come further than this many hops.
    HopsFlow(u8),
    /// Please connect to me at this port, say two line ends and close, so that I know whether others can.
    ConnectBack(u16),
    /// How many hits of your query have you kept?
    HowMany,
    /// So many; `STOP` ends the search.
    Kept(u16),
    /// Please relay Push to me; the descriptor id is the servent's.
    ProxyPlease,
    /// I will, and am at this address (4 bytes and a port).
    ProxyIs(std::net::SocketAddrV4),
    /// Anything else.
    Other {
        /// Whose.
        vendor: [u8; 4],
        /// Which.
        selector: u16,
        /// Of what version.
        version: u16,
        /// What it says.
        data: Bytes,
    },
}

impl Vendor {
    /// In `Kept`: search no more.
    pub const STOP: u16 = 0xffff;

    /// Reads a payload.
    ///
    /// # Errors
    /// Fewer than 8 bytes, or fewer than a message that we know needs.
    pub fn parse(raw: &Bytes) -> Result<Self, GnutellaError> {
        let head = fixed::<8>(raw, "vendor message")?;
        let vendor: [u8; 4] = head[..4].try_into().expect("4 bytes");
        let selector = u16::from_le_bytes([head[4], head[5]]);
        let version = u16::from_le_bytes([head[6], head[7]]);
        let data = raw.slice(8..);
        Ok(match (vendor, selector, version) {
            ([0, 0, 0, 0], 0, _) => {
                let (count, items) =
                    data.split_first_chunk::<2>().ok_or(GnutellaError::Malformed {
                        what: "messages supported",
                        got: raw.len(),
                    })?;
                let count = usize::from(u16::from_le_bytes(*count)).min(SUPPORTED_MAX);
                let read = |item: &[u8; 8]| {
                    let [a, b, c, d, s0, s1, v0, v1] = *item;
                    ([a, b, c, d], u16::from_le_bytes([s0, s1]), u16::from_le_bytes([v0, v1]))
                };
                Self::Supported(items.as_chunks().0.iter().take(count).map(read).collect())
            }
            (BEAR, 4, 1) => Self::HopsFlow(fixed::<1>(&data, "hops flow")?[0]),
            (BEAR, 7, 1) => {
                Self::ConnectBack(u16::from_le_bytes(*fixed::<2>(&data, "connect back")?))
            }
            (BEAR, 11, 1) => Self::HowMany,
            (BEAR, 12, 1) => Self::Kept(u16::from_le_bytes(*fixed::<2>(&data, "leaf guidance")?)),
            (LIME, 21, 1..=2) => Self::ProxyPlease,
            (LIME, 22, 2) => {
                let raw = fixed::<6>(&data, "push proxy")?;
                Self::ProxyIs(super::messages::addr(&raw[..4], &raw[4..]))
            }
            _ => Self::Other { vendor, selector, version, data },
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let (vendor, selector, version, data) = match self {
            Self::Supported(items) => {
                let mut data = (items.len() as u16).to_le_bytes().to_vec();
                for (vendor, selector, version) in items {
                    data.extend_from_slice(vendor);
                    data.extend_from_slice(&selector.to_le_bytes());
                    data.extend_from_slice(&version.to_le_bytes());
                }
                ([0; 4], 0, 0, data)
            }
            Self::HopsFlow(hops) => (BEAR, 4, 1, vec![*hops]),
            Self::ConnectBack(port) => (BEAR, 7, 1, port.to_le_bytes().to_vec()),
            Self::HowMany => (BEAR, 11, 1, Vec::new()),
            Self::Kept(hits) => (BEAR, 12, 1, hits.to_le_bytes().to_vec()),
            Self::ProxyPlease => (LIME, 21, 2, Vec::new()),
            Self::ProxyIs(addr) => {
                let mut data = addr.ip().octets().to_vec();
                data.extend_from_slice(&addr.port().to_le_bytes());
                (LIME, 22, 2, data)
            }
            Self::Other { vendor, selector, version, data } => {
                (*vendor, *selector, *version, data.to_vec())
            }
        };
        let mut out = vendor.to_vec();
        out.extend_from_slice(&u16::to_le_bytes(selector));
        out.extend_from_slice(&u16::to_le_bytes(version));
        out.extend_from_slice(&data);
        out
    }
}
