//! What the packets between a node and its supernode mean.

use super::reader::{Reader, push_addr, push_packed};
use super::tag::Tags;
use super::{NODES_MAX, Packet, Query, Reply, UuHash, WireError, clean_name};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Kinds of packets. Those from 0xe0 on are ours.
mod id {
    pub(super) const NODES: u16 = 0x00;
    pub(super) const NODE_INFO: u16 = 0x02;
    pub(super) const SHARE_NOW: u16 = 0x03;
    pub(super) const UNSHARE: u16 = 0x05;
    pub(super) const QUERY: u16 = 0x06;
    pub(super) const REPLY: u16 = 0x07;
    pub(super) const QUERY_END: u16 = 0x08;
    pub(super) const STATS: u16 = 0x09;
    pub(super) const PUSH: u16 = 0x0d;
    pub(super) const PING_ME: u16 = 0x15;
    pub(super) const NETWORK: u16 = 0x1d;
    pub(super) const ECHO: u16 = 0x1e;
    pub(super) const SHARE: u16 = 0x22;
    pub(super) const VERSION: u16 = 0x26;
    pub(super) const EXTERNAL_IP: u16 = 0x2c;
    pub(super) const OURS: u16 = 0xe0;
    pub(super) const RECEIPT: u16 = 0xe1;
    pub(super) const SCORE: u16 = 0xe2;
    pub(super) const PROMOTE: u16 = 0xe3;
}

/// Who says something: some kinds mean one thing from a node and another from a supernode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// An ordinary node.
    Node,
    /// A supernode.
    Supernode,
}

/// A supernode that can be tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeRow {
    /// Where it listens.
    pub addr: SocketAddrV4,
    /// Minutes since somebody saw it.
    pub seen_min: u8,
    /// Percent; clients of old prefer a higher one, so it is what is free.
    pub load: u8,
}

/// A node says who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeInfo {
    /// Where it says that it listens.
    pub addr: SocketAddrV4,
    /// 14 times the logarithm to base 2 of its kilobits per second, and 59; 0xd1 is endless.
    pub bandwidth: u8,
    /// Its user.
    pub user: String,
}

/// A file as it stands in shares and answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its name in the network.
    pub hash: UuHash,
    /// Under which the host also serves it; of most hosts [`UuHash::file_id`].
    pub file_id: u64,
    /// Bytes. Clients of old know 32 bits of it.
    pub size: u64,
    /// What else is known.
    pub tags: Tags,
}

/// A file with its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// 0 unknown, 1 audio, 2 video, 3 image, 4 document, 5 software.
    pub media: u8,
    /// Which.
    pub file: File,
}

/// Somebody wants a host behind a firewall to connect to him.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PushRequest {
    /// By which he knows the connection.
    pub id: u32,
    /// Where he listens.
    pub to: SocketAddrV4,
    /// The host as the hit named it.
    pub source: SocketAddrV4,
    /// The supernode that the hit came from.
    pub supernode: SocketAddrV4,
    /// The host's user.
    pub user: String,
}

/// A node is to connect somewhere and to say `GIVE`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PushOrder {
    /// What to say.
    pub id: u32,
    /// Where.
    pub to: SocketAddrV4,
}

/// How many files there are, and how much: `mantissa` times 2 to the power of `exponent` - 30, in gigabytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Volume {
    /// Files.
    pub files: u32,
    /// See above.
    pub mantissa: u16,
    /// See above.
    pub exponent: u16,
}

/// The size of the network. Never sent to clients of old: giFT leaves a supernode that knows fewer than 100 000 users.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stats {
    /// Users.
    pub users: u32,
    /// All files.
    pub all: Volume,
    /// Other, audio, video, image, document, software.
    pub media: [Volume; 6],
}

/// What a download was worth, said by who downloaded. Ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Who served.
    pub host: SocketAddrV4,
    /// The supernode that knows him.
    pub supernode: SocketAddrV4,
    /// His user.
    pub user: String,
    /// Bytes that passed their hash.
    pub good_bytes: u64,
    /// Pieces or files that did not.
    pub bad: u16,
    /// Transfers that he promised and broke off.
    pub failed: u16,
}

/// How much somebody is worth, as a question and as the answer. Ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Score {
    /// The user.
    pub user: String,
    /// Where he is.
    pub ip: Ipv4Addr,
    /// The supernode that knows him.
    pub supernode: SocketAddrV4,
    /// 0 to 1000; absent in a question.
    pub score: Option<u16>,
}

/// What passes between a node and its supernode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// Four bytes that come back as they are.
    Echo([u8; 4]),
    /// To a node: the address that the supernode sees it at. giFT shares and searches only after it.
    ExternalIp(Ipv4Addr),
    /// The name of a network or a program.
    Network(String),
    /// From a node: who it is.
    NodeInfo(NodeInfo),
    /// To a node: supernodes.
    Nodes(Vec<NodeRow>),
    /// The sender is one of ours and understands the kinds from 0xe0 on; with the seconds it has been up.
    Ours {
        /// Seconds.
        uptime_s: u32,
    },
    /// Asks for a datagram to this address.
    PingMe(SocketAddrV4),
    /// To a node: it has what a supernode needs, and more are needed. Ours.
    Promote,
    /// To a node: connect to somebody.
    PushOrder(PushOrder),
    /// From a node: have somebody connect to me.
    PushRequest(PushRequest),
    /// From a node: search.
    Query(Query),
    /// To a node: a search is over.
    QueryEnd(u16),
    /// From a node: what a download was worth. Ours.
    Receipt(Receipt),
    /// To a node: results.
    Reply(Reply),
    /// Both ways: whose reputation, and, to a node, how much of it. Ours.
    Score(Score),
    /// From a node: a file can be had.
    Share(Share),
    /// To a node: say what you share. mldonkey does so only then.
    ShareNow,
    /// To a node: the size of the network.
    Stats(Stats),
    /// From a node: a file can no longer be had.
    Unshare(File),
    /// Of the protocol; giFT sends back what it gets.
    Version(u32),
    /// Anything else; ignored, orders to upgrade above all.
    Unknown(u16),
}

impl Message {
    /// Reads a packet of this sender.
    pub fn parse(from: From, packet: &Packet) -> Result<Self, WireError> {
        let mut reader = Reader(&packet.payload);
        let r = &mut reader;
        Ok(match (packet.kind, from) {
            (id::NODES, From::Supernode) => Self::Nodes(read_nodes(r)?),
            (id::NODE_INFO, From::Node) => Self::NodeInfo(NodeInfo::read(r)?),
            (id::SHARE_NOW, From::Supernode) => Self::ShareNow,
            (id::UNSHARE, From::Node) => Self::Unshare(File::read(r)?),
            (id::QUERY, From::Node) => Self::Query(Query::parse(&packet.payload)?),
            (id::REPLY, From::Supernode) => Self::Reply(Reply::parse(&packet.payload)?),
            (id::QUERY_END, From::Supernode) => Self::QueryEnd(r.u16("query end")?),
            (id::STATS, From::Supernode) => Self::Stats(Stats::read(r)?),
            (id::PUSH, From::Node) => Self::PushRequest(PushRequest::read(r)?),
            (id::PUSH, From::Supernode) => {
                Self::PushOrder(PushOrder { id: r.u32("push")?, to: r.addr("push")? })
            }
            (id::PING_ME, _) => Self::PingMe(r.addr("address")?),
            (id::NETWORK, _) => Self::Network(clean_name(r.0)),
            (id::ECHO, _) => Self::Echo(r.array("echo")?),
            (id::SHARE, From::Node) => Self::Share(Share::read(r)?),
            (id::VERSION, _) => Self::Version(r.u32("version")?),
            (id::EXTERNAL_IP, From::Supernode) => Self::ExternalIp(r.array::<4>("address")?.into()),
            (id::OURS, _) => Self::Ours { uptime_s: r.u32("uptime")? },
            (id::RECEIPT, From::Node) => Self::Receipt(Receipt::read(r)?),
            (id::SCORE, _) => Self::Score(Score::read(r)?),
            (id::PROMOTE, From::Supernode) => Self::Promote,
            (kind, _) => Self::Unknown(kind),
        })
    }

    /// The packet.
    pub fn encode(&self) -> Packet {
        let mut out = Vec::new();
        let kind = self.push(&mut out);
        Packet { kind, payload: Bytes::from(out) }
    }

    /// Appends the payload and returns the kind.
    fn push(&self, out: &mut Vec<u8>) -> u16 {
        match self {
            Self::Echo(bytes) => out.extend_from_slice(bytes),
            Self::ExternalIp(ip) => out.extend_from_slice(&ip.octets()),
            Self::Network(name) => out.extend_from_slice(clean_name(name.as_bytes()).as_bytes()),
            Self::NodeInfo(info) => info.push(out),
            Self::Nodes(rows) => {
                for row in rows.iter().take(NODES_MAX) {
                    push_addr(out, row.addr);
                    out.extend_from_slice(&[row.seen_min, row.load]);
                }
            }
            Self::Ours { uptime_s } => out.extend_from_slice(&uptime_s.to_be_bytes()),
            Self::PingMe(addr) => push_addr(out, *addr),
            Self::Promote | Self::ShareNow | Self::Unknown(_) => {}
            Self::PushOrder(order) => {
                out.extend_from_slice(&order.id.to_be_bytes());
                push_addr(out, order.to);
            }
            Self::PushRequest(request) => request.push(out),
            Self::Query(query) => out.extend_from_slice(&query.encode()),
            Self::QueryEnd(id) => out.extend_from_slice(&id.to_be_bytes()),
            Self::Receipt(receipt) => receipt.push(out),
            Self::Reply(reply) => out.extend_from_slice(&reply.encode()),
            Self::Score(score) => score.push(out),
            Self::Share(share) => {
                out.extend_from_slice(&[0, share.media, 0, 0]);
                share.file.push(out);
            }
            Self::Stats(stats) => stats.push(out),
            Self::Unshare(file) => file.push(out),
            Self::Version(version) => out.extend_from_slice(&version.to_be_bytes()),
        }
        self.kind()
    }

    /// Kind of the packet.
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Echo(_) => id::ECHO,
            Self::ExternalIp(_) => id::EXTERNAL_IP,
            Self::Network(_) => id::NETWORK,
            Self::NodeInfo(_) => id::NODE_INFO,
            Self::Nodes(_) => id::NODES,
            Self::Ours { .. } => id::OURS,
            Self::PingMe(_) => id::PING_ME,
            Self::Promote => id::PROMOTE,
            Self::PushOrder(_) | Self::PushRequest(_) => id::PUSH,
            Self::Query(_) => id::QUERY,
            Self::QueryEnd(_) => id::QUERY_END,
            Self::Receipt(_) => id::RECEIPT,
            Self::Reply(_) => id::REPLY,
            Self::Score(_) => id::SCORE,
            Self::Share(_) => id::SHARE,
            Self::ShareNow => id::SHARE_NOW,
            Self::Stats(_) => id::STATS,
            Self::Unshare(_) => id::UNSHARE,
            Self::Version(_) => id::VERSION,
            Self::Unknown(kind) => *kind,
        }
    }
}

/// Rows of eight bytes; a partial one at the end, and those beyond [`NODES_MAX`], are ignored.
fn read_nodes(reader: &Reader<'_>) -> Result<Vec<NodeRow>, WireError> {
    let rows = reader.0.as_chunks::<8>().0.iter().take(NODES_MAX);
    rows.map(|row| {
        let mut row = Reader(row);
        let addr = row.addr("supernode")?;
        Ok(NodeRow { addr, seen_min: row.u8("supernode")?, load: row.u8("supernode")? })
    })
    .collect()
}

impl NodeInfo {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let addr = reader.addr("node info")?;
        let bandwidth = reader.u8("node info")?;
        reader.u8("node info")?;
        Ok(Self { addr, bandwidth, user: clean_name(reader.0) })
    }

    fn push(&self, out: &mut Vec<u8>) {
        push_addr(out, self.addr);
        out.extend_from_slice(&[self.bandwidth, 0]);
        out.extend_from_slice(clean_name(self.user.as_bytes()).as_bytes());
    }
}

impl File {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            hash: UuHash(reader.array("hash")?),
            file_id: reader.packed("file id")?,
            size: reader.packed("size")?,
            tags: Tags::read(reader)?,
        })
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0);
        push_packed(out, self.file_id);
        push_packed(out, self.size);
        self.tags.push(out);
    }
}

impl Share {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let [_, media, _, _] = reader.array("share")?;
        Ok(Self { media, file: File::read(reader)? })
    }
}

impl PushRequest {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: reader.u32("push")?,
            to: reader.addr("push")?,
            source: reader.addr("push")?,
            supernode: reader.addr("push")?,
            user: clean_name(reader.0),
        })
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_be_bytes());
        [self.to, self.source, self.supernode].into_iter().for_each(|addr| push_addr(out, addr));
        out.extend_from_slice(clean_name(self.user.as_bytes()).as_bytes());
    }
}

impl Volume {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let what = "stats";
        let (files, mantissa) = (reader.u32(what)?, reader.u16(what)?);
        Ok(Self { files, mantissa, exponent: reader.u16(what)? })
    }

    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.files.to_be_bytes());
        out.extend_from_slice(&self.mantissa.to_be_bytes());
        out.extend_from_slice(&self.exponent.to_be_bytes());
    }
}

impl Stats {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (users, all) = (reader.u32("stats")?, Volume::read(reader)?);
        let mut media = [Volume::default(); 6];
        for volume in &mut media {
            *volume = Volume::read(reader)?;
        }
        Ok(Self { users, all, media })
    }

    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.users.to_be_bytes());
        self.all.push(out);
        self.media.iter().for_each(|volume| volume.push(out));
    }
}

impl Receipt {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            host: reader.addr("receipt")?,
            supernode: reader.addr("receipt")?,
            good_bytes: reader.packed("receipt")?,
            bad: reader.u16("receipt")?,
            failed: reader.u16("receipt")?,
            user: clean_name(std::mem::take(&mut reader.0)),
        })
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        push_addr(out, self.host);
        push_addr(out, self.supernode);
        push_packed(out, self.good_bytes);
        out.extend_from_slice(&self.bad.to_be_bytes());
        out.extend_from_slice(&self.failed.to_be_bytes());
        out.extend_from_slice(clean_name(self.user.as_bytes()).as_bytes());
    }
}

impl Score {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (ip, supernode) = (reader.array::<4>("score")?.into(), reader.addr("score")?);
        let score = match reader.u16("score")? {
            u16::MAX => None,
            score @ ..=1000 => Some(score),
            _ => return Err(WireError::Value("score")),
        };
        Ok(Self { ip, supernode, score, user: clean_name(std::mem::take(&mut reader.0)) })
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ip.octets());
        push_addr(out, self.supernode);
        out.extend_from_slice(&self.score.unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(clean_name(self.user.as_bytes()).as_bytes());
    }
}
