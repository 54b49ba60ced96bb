//! What supernodes say to each other: a framing of our own, because that of old was never known.
//!
//! A connection begins with [`MAGIC`]; then each message has its length in four bytes and its kind in one before it.

use super::hit::{push_hits, read_hits};
use super::query::{push_terms, read_terms};
use super::reader::{Reader, push_addr};
use super::{Hit, PushRequest, Realm, Receipt, Score, Term, WireError, clean_name};
use bytes::{Buf, BytesMut};
use std::net::{Ipv4Addr, SocketAddrV4};

/// First bytes of a connection; no other kind begins like this.
pub const MAGIC: [u8; 4] = *b"GGSN";
/// Of what is written here.
pub const VERSION: u8 = 1;
/// Bytes of a message; longer closes the connection. A reply to a node may have as many.
pub const MESSAGE_MAX: usize = 64 << 10;
/// How many supernodes a query, or anything else that is passed on, sees at most, one after another.
pub const TTL_MAX: u8 = 4;
/// Most bytes of a reason to leave; the rest is cut off.
const REASON_MAX: usize = 100;

/// Names a query wherever it goes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Guid(pub [u8; 16]);

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MeshMessage {
    /// The sender leaves.
    Bye(String),
    /// All that the sender will find for a query has been said.
    End(Guid),
    /// First message of either side.
    Hello {
        /// Where the sender listens.
        addr: SocketAddrV4,
        /// Names the sender for as long as it lives.
        key: [u8; 32],
        /// Percent.
        load: u8,
    },
    /// Results.
    Hits {
        /// Of which query.
        guid: Guid,
        /// The supernode that knows the hosts.
        supernode: SocketAddrV4,
        /// They.
        hits: Vec<Hit>,
    },
    /// On its way to a host behind a firewall.
    Push {
        /// Supernodes that it may still pass, 1 to [`TTL_MAX`].
        ttl: u8,
        /// What.
        request: PushRequest,
    },
    /// Search.
    Query {
        /// Its name.
        guid: Guid,
        /// 1 to [`TTL_MAX`]; 1 asks the receiver alone.
        ttl: u8,
        /// Results that are still wanted.
        want: u16,
        /// Which kinds of files.
        realm: Realm,
        /// As in [`super::Query`].
        terms: Vec<Term>,
    },
    /// What a node of the receiver was worth to one of the sender.
    Receipt {
        /// Supernodes that it may still pass, 1 to [`TTL_MAX`].
        ttl: u8,
        /// The user who says so, and where he is.
        by: (String, Ipv4Addr),
        /// What.
        receipt: Receipt,
    },
    /// A question about somebody's reputation, or the answer.
    Score {
        /// Supernodes that it may still pass, 1 to [`TTL_MAX`].
        ttl: u8,
        /// What.
        score: Score,
    },
    /// How the sender is doing.
    Stats {
        /// Nodes that it serves.
        children: u16,
        /// Files that they share.
        files: u32,
        /// Percent.
        load: u8,
    },
}

mod id {
    pub(super) const HELLO: u8 = 1;
    pub(super) const QUERY: u8 = 2;
    pub(super) const HITS: u8 = 3;
    pub(super) const END: u8 = 4;
    pub(super) const PUSH: u8 = 5;
    pub(super) const STATS: u8 = 6;
    pub(super) const BYE: u8 = 7;
    pub(super) const RECEIPT: u8 = 8;
    pub(super) const SCORE: u8 = 9;
}

impl MeshMessage {
    /// Takes one message off `buf`; `None`: incomplete, `buf` untouched. What has an unknown kind is skipped.
    pub fn decode(buf: &mut BytesMut) -> Result<Option<Self>, WireError> {
        loop {
            let Some(&prefix) = buf.first_chunk::<4>() else { return Ok(None) };
            let len = u32::from_be_bytes(prefix) as usize;
            if !(1..=MESSAGE_MAX).contains(&len) {
                return Err(WireError::Length { kind: 0, len, max: MESSAGE_MAX });
            }
            if buf.len() < 4 + len {
                return Ok(None);
            }
            buf.advance(4);
            if let Some(message) = Self::parse(&buf.split_to(len))? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads a message without its length; `None` is a kind that nobody here knows.
    fn parse(raw: &[u8]) -> Result<Option<Self>, WireError> {
        let mut reader = Reader(raw);
        let r = &mut reader;
        let message = match r.u8("message")? {
            id::HELLO => {
                if r.u8("hello")? != VERSION {
                    return Err(WireError::Value("version"));
                }
                let (key, addr) = (r.array("hello")?, r.addr("hello")?);
                Self::Hello { key, addr, load: r.u8("hello")? }
            }
            id::QUERY => {
                let guid = Guid(r.array("query")?);
                let ttl = read_ttl(r)?;
                let want = r.u16("query")?;
                let (realm, terms) = read_terms(r)?;
                Self::Query { guid, ttl, want, realm, terms }
            }
            id::HITS => {
                let (guid, supernode) = (Guid(r.array("hits")?), r.addr("hits")?);
                Self::Hits { guid, supernode, hits: read_hits(r)? }
            }
            id::END => Self::End(Guid(r.array("end")?)),
            id::PUSH => Self::Push { ttl: read_ttl(r)?, request: PushRequest::read(r)? },
            id::STATS => {
                let (children, files) = (r.u16("stats")?, r.u32("stats")?);
                Self::Stats { children, files, load: r.u8("stats")? }
            }
            id::BYE => Self::Bye(clean_name(&r.0[..r.0.len().min(REASON_MAX)])),
            id::RECEIPT => {
                let ttl = read_ttl(r)?;
                let ip = r.array::<4>("receipt")?.into();
                let by = clean_name(r.until(0, "receipt")?);
                Self::Receipt { ttl, by: (by, ip), receipt: Receipt::read(r)? }
            }
            id::SCORE => Self::Score { ttl: read_ttl(r)?, score: Score::read(r)? },
            _ => return Ok(None),
        };
        Ok(Some(message))
    }

    /// The message with its length.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        match self {
            Self::Bye(reason) => {
                out.push(id::BYE);
                out.extend_from_slice(clean_name(reason.as_bytes()).as_bytes());
            }
            Self::End(guid) => {
                out.push(id::END);
                out.extend_from_slice(&guid.0);
            }
            Self::Hello { addr, key, load } => {
                out.extend_from_slice(&[id::HELLO, VERSION]);
                out.extend_from_slice(key);
                push_addr(&mut out, *addr);
                out.push(*load);
            }
            Self::Hits { guid, supernode, hits } => {
                out.push(id::HITS);
                out.extend_from_slice(&guid.0);
                push_addr(&mut out, *supernode);
                push_hits(&mut out, hits);
            }
            Self::Push { ttl, request } => {
                out.extend_from_slice(&[id::PUSH, *ttl]);
                request.push(&mut out);
            }
            Self::Query { guid, ttl, want, realm, terms } => {
                out.push(id::QUERY);
                out.extend_from_slice(&guid.0);
                out.push(*ttl);
                out.extend_from_slice(&want.to_be_bytes());
                push_terms(&mut out, *realm, terms);
            }
            Self::Receipt { ttl, by: (user, ip), receipt } => {
                out.extend_from_slice(&[id::RECEIPT, *ttl]);
                out.extend_from_slice(&ip.octets());
                out.extend_from_slice(clean_name(user.as_bytes()).as_bytes());
                out.push(0);
                receipt.push(&mut out);
            }
            Self::Score { ttl, score } => {
                out.extend_from_slice(&[id::SCORE, *ttl]);
                score.push(&mut out);
            }
            Self::Stats { children, files, load } => {
                out.push(id::STATS);
                out.extend_from_slice(&children.to_be_bytes());
                out.extend_from_slice(&files.to_be_bytes());
                out.push(*load);
            }
        }
        let len = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&len.to_be_bytes());
        out
    }
}

fn read_ttl(reader: &mut Reader<'_>) -> Result<u8, WireError> {
    Some(reader.u8("ttl")?).filter(|ttl| (1..=TTL_MAX).contains(ttl)).ok_or(WireError::Value("ttl"))
}
