//! Answers to a search.

use super::message::File;
use super::reader::{Reader, push_addr};
use super::{HITS_MAX, WireError, clean_name};
use std::net::SocketAddrV4;

/// Ends the name of a user that is written out.
const NAMED: u8 = 1;
/// "The same user as before at this address."
const AS_BEFORE: u8 = 2;

/// One file at one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Where the file can be had. A private address or port 0 says that the host must be asked to connect to us.
    pub addr: SocketAddrV4,
    /// A logarithm of the host's speed.
    pub bandwidth: u8,
    /// Who shares it.
    pub user: String,
    /// In which network.
    pub network: String,
    /// What.
    pub file: File,
}

/// Some of the answers to one query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The supernode that knows the hosts, and that a request to push goes to.
    pub supernode: SocketAddrV4,
    /// Of the query.
    pub id: u16,
    /// At most [`HITS_MAX`].
    pub hits: Vec<Hit>,
}

impl Reply {
    /// Reads the payload of a packet.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader(payload);
        let supernode = reader.addr("supernode")?;
        let id = reader.u16("reply")?;
        let hits = read_hits(&mut reader)?;
        Ok(Self { supernode, id, hits })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_addr(&mut out, self.supernode);
        out.extend_from_slice(&self.id.to_be_bytes());
        push_hits(&mut out, &self.hits);
        out
    }
}

/// A number of hits, and they.
pub(super) fn read_hits(reader: &mut Reader<'_>) -> Result<Vec<Hit>, WireError> {
    let count = usize::from(reader.u16("number of hits")?);
    if count > HITS_MAX {
        return Err(WireError::Count { what: "hits", got: count, max: HITS_MAX });
    }
    let mut hits: Vec<Hit> = Vec::new();
    for _ in 0..count {
        let addr = reader.addr("hit")?;
        let bandwidth = reader.u8("hit")?;
        let (user, network) = if reader.0.first() == Some(&AS_BEFORE) {
            reader.u8("user")?;
            let before = hits.iter().rev().find(|hit| hit.addr == addr);
            let before = before.ok_or(WireError::Value("user"))?;
            (before.user.clone(), before.network.clone())
        } else {
            let user = clean_name(reader.until(NAMED, "user")?);
            (user, clean_name(reader.until(0, "network")?))
        };
        let file = File::read(reader)?;
        hits.push(Hit { addr, bandwidth, user, network, file });
    }
    Ok(hits)
}

pub(super) fn push_hits(out: &mut Vec<u8>, hits: &[Hit]) {
    let hits = &hits[..hits.len().min(HITS_MAX)];
    out.extend_from_slice(&(hits.len() as u16).to_be_bytes());
    for (at, hit) in hits.iter().enumerate() {
        push_addr(out, hit.addr);
        out.push(hit.bandwidth);
        // Several users may share an address, above all that of who has none.
        let mut before = hits[..at].iter().filter(|before| before.addr == hit.addr).peekable();
        let same = |before: &Hit| before.user == hit.user && before.network == hit.network;
        if before.peek().is_some() && before.all(same) {
            out.push(AS_BEFORE);
        } else {
            out.extend_from_slice(clean_name(hit.user.as_bytes()).as_bytes());
            out.push(NAMED);
            out.extend_from_slice(clean_name(hit.network.as_bytes()).as_bytes());
            out.push(0);
        }
        hit.file.push(out);
    }
}
