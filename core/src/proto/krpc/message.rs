//! What a message says, as types: nobody above the codec sees a dictionary.

use super::{ErrorCode, Filter, Kept, Put, Refusal, TEXT_MAX, TOKEN_MAX, TRANSACTION_MAX};
use crate::id::{InfoHash, NodeId};
use std::fmt;
use std::net::SocketAddr;

/// Names a query for as long as its answer may come; at most [`TRANSACTION_MAX`] bytes.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TransactionId {
    len: u8,
    /// Zero beyond `len`, so that equal ids compare equal.
    bytes: [u8; TRANSACTION_MAX],
}

/// Two letters and two version bytes of the sender's program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientTag(pub [u8; 4]);

/// Proves to the one who made it that we can read at our address. At most [`TOKEN_MAX`] bytes.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct Token(Box<[u8]>);

/// Bytes that are meant to be read by people, at most [`TEXT_MAX`] of them.
#[derive(Clone, Eq, PartialEq)]
pub struct Text(Box<[u8]>);

/// A node and where it can be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Contact {
    /// What it calls itself.
    pub id: NodeId,
    /// Never with port 0.
    pub addr: SocketAddr,
}

/// One datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Repeated by the answer.
    pub transaction: TransactionId,
    /// The sender's program, if it says so.
    pub version: Option<ClientTag>,
    /// The question or the answer.
    pub body: Body,
}

/// Question, answer, or refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// `y` = `q`
    Query(Query),
    /// `y` = `r`
    Reply(Reply),
    /// `y` = `e`
    Error(Fault),
}

/// A question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// Who asks.
    pub id: NodeId,
    /// The sender answers nothing and wants to be in nobody's table.
    //= BEP 43
    pub read_only: bool,
    /// What is asked.
    pub ask: Ask,
}

/// What a node can be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// Are you there?
    Ping,
    /// Who is closest to this id?
    FindNode {
        /// The id.
        target: NodeId,
        /// Of which families; absent means that of the transport.
        want: Option<Want>,
    },
    /// Who is in this swarm, and who is closest to it?
    GetPeers {
        /// The swarm.
        info_hash: InfoHash,
        /// As in `FindNode`; peers are always of the transport's family.
        want: Option<Want>,
        /// Rather peers that are no seeds.
        //= BEP 33
        no_seed: bool,
        /// Asks for the filters.
        //= BEP 33
        scrape: bool,
        /// libtorrent marks the queries of its bootstrap.
        bootstrap: bool,
    },
    /// I am in this swarm.
    AnnouncePeer {
        /// The swarm.
        info_hash: InfoHash,
        /// Where the sender takes connections; never 0 without `implied_port`.
        port: u16,
        /// The port that the datagram came from counts, not `port`. Written if it is set.
        implied_port: bool,
        /// Whether the sender has everything, if it says so.
        //= BEP 33
        seed: Option<bool>,
        /// From the reply to `GetPeers`.
        token: Token,
        /// libtorrent may tell the torrent's name.
        name: Option<Text>,
    },
    /// What is stored under this target, and who is closest to it?
    //= BEP 44 §get message
    Get {
        /// The target.
        target: NodeId,
        /// Of a mutable item, the value is only wanted if it is newer than this; never negative.
        seq: Option<i64>,
        /// As in `FindNode`.
        want: Option<Want>,
    },
    /// Store this.
    //= BEP 44 §put messages
    Put {
        /// From the reply to `Get`.
        token: Token,
        /// What, and on which condition.
        put: Box<Put>,
    },
    /// Which swarms do you know?
    //= BEP 51
    SampleInfohashes {
        /// Who is closest to this is answered along.
        target: NodeId,
        /// As in `FindNode`.
        want: Option<Want>,
    },
    /// A query nobody here knows, but it names a target: answered like `FindNode`, so that newer protocols can
    /// walk over us.
    Unknown {
        /// What was asked.
        method: Text,
        /// Its `target`, or its `info_hash`.
        target: NodeId,
        /// As in `FindNode`.
        want: Option<Want>,
    },
}

/// Families of nodes that are asked for. Other words in the list are ignored.
//= BEP 32 §want
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Want {
    /// `n4`
    pub v4: bool,
    /// `n6`
    pub v6: bool,
}

/// An answer. Which fields are there depends on the question, and on who answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Who answers.
    pub id: NodeId,
    /// The address that the question came from, as the one who answers saw it.
    //= BEP 42
    pub observed: Option<SocketAddr>,
    /// The port of that address, which libtorrent writes a second time.
    pub observed_port: Option<u16>,
    /// Nodes of IPv4.
    pub nodes: Option<Vec<Contact>>,
    /// Nodes of IPv6.
    pub nodes6: Option<Vec<Contact>>,
    /// Peers. Those of both families may be mixed when read; only one family is written by honest nodes.
    pub values: Option<Vec<SocketAddr>>,
    /// Needed for an announce. Absent when none would be taken.
    pub token: Option<Token>,
    /// Filter over the seeds.
    pub seeds: Option<Filter>,
    /// Filter over the other peers.
    pub leeches: Option<Filter>,
    /// Swarms that the node knows.
    pub samples: Option<Samples>,
    /// The torrent's name as libtorrent remembers it.
    pub name: Option<Text>,
    /// The item that was asked for, or how new it is.
    pub kept: Option<Kept>,
}

/// A sample of the swarms that a node stores.
//= BEP 51 §protocol
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Samples {
    /// Seconds before asking again makes sense; 0 to 21 600.
    pub interval_s: u32,
    /// How many swarms the node stores.
    pub total: u64,
    /// Some of them.
    pub hashes: Vec<InfoHash>,
}

/// A refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Its number; 0 if the sender wrote none.
    pub code: ErrorCode,
    /// In the sender's words.
    pub text: Text,
    /// As in [`Reply`].
    pub observed: Option<SocketAddr>,
    /// Who refuses: libtorrent writes results beside the error.
    pub id: Option<NodeId>,
    /// As in [`Reply`].
    pub observed_port: Option<u16>,
}

impl TransactionId {
    /// `None` if there are more than [`TRANSACTION_MAX`] bytes.
    pub fn new(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; TRANSACTION_MAX];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        Some(Self { len: raw.len() as u8, bytes })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl From<u32> for TransactionId {
    fn from(number: u32) -> Self {
        let mut bytes = [0; TRANSACTION_MAX];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Self { len: 4, bytes }
    }
}

impl Token {
    /// `None` if there are more than [`TOKEN_MAX`] bytes.
    pub fn new(raw: &[u8]) -> Option<Self> {
        (raw.len() <= TOKEN_MAX).then(|| Self(raw.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Text {
    /// Keeps the first [`TEXT_MAX`] bytes.
    pub fn new(raw: &[u8]) -> Self {
        Self(raw[..raw.len().min(TEXT_MAX)].into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Text {
    /// Fit for a terminal: everything but printable ASCII is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl Message {
    /// A question.
    pub fn query(transaction: TransactionId, query: Query) -> Self {
        Self { transaction, version: None, body: Body::Query(query) }
    }

    /// An answer to the one who asked from `observed`.
    pub fn reply(transaction: TransactionId, reply: Reply) -> Self {
        Self { transaction, version: None, body: Body::Reply(reply) }
    }

    /// A refusal to the one who asked from `observed`.
    pub fn refuse(refusal: Refusal, observed: Option<SocketAddr>) -> Self {
        let text = Text::new(refusal.text.as_bytes());
        let fault = Fault { code: refusal.code, text, observed, id: None, observed_port: None };
        Self { transaction: refusal.transaction, version: None, body: Body::Error(fault) }
    }
}

impl Reply {
    /// An answer that says nothing yet.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            observed: None,
            observed_port: None,
            nodes: None,
            nodes6: None,
            values: None,
            token: None,
            seeds: None,
            leeches: None,
            samples: None,
            name: None,
            kept: None,
        }
    }
}

macro_rules! escaped {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{}\"", self.as_bytes().escape_ascii())
            }
        }
    )*};
}
escaped!(TransactionId, Token, Text);
