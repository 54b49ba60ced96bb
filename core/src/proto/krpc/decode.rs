//! Datagrams to messages, as tolerant as the deployed network needs.
//!
//! What is required must be right. What is optional and wrong counts as absent, so that one strange key does not
//! cost a whole answer.

use super::message::{
    Ask, Body, ClientTag, Contact, Fault, Message, Query, Reply, Samples, Text, Token,
    TransactionId, Want,
};
use super::{
    DATAGRAM_IN_MAX, DATAGRAM_IN_MIN, ErrorCode, Filter, Item, ItemError, ItemValue, Kept,
    KrpcError, NODES_MAX, Put, SAMPLE_INTERVAL_MAX_S, SAMPLES_MAX, Salt, Signed, item,
};
use crate::bencode::{Kind, Limits, Value};
use crate::compact;
use crate::id::{InfoHash, NodeId};
use crate::sign::{PublicKey, Signature};
use std::net::{IpAddr, SocketAddr};

/// A message, and inside its arguments any value that an item may have.
const LIMITS: Limits = Limits {
    depth: item::LIMITS.depth + 2,
    tokens: Limits::DATAGRAM.tokens + item::LIMITS.tokens,
    bytes: DATAGRAM_IN_MAX,
};

impl Message {
    /// Reads one datagram.
    //= BEP 5 §krpc protocol
    pub fn parse(raw: &[u8]) -> Result<Self, KrpcError> {
        let got = raw.len();
        if !(DATAGRAM_IN_MIN..=DATAGRAM_IN_MAX).contains(&got) {
            return Err(KrpcError::Size { got });
        }
        // Noise is refused by its first and last byte before anything is scanned.
        if raw[0] != b'd' || raw[got - 1] != b'e' {
            return Err(KrpcError::Envelope("d"));
        }
        let value = Value::parse(raw, LIMITS)?;
        let keys = ["a", "e", "ip", "q", "r", "ro", "t", "v", "y"];
        let [args, fault, ip, method, results, read_only, transaction, version, kind] =
            pick(&value, keys);
        let transaction = bytes(transaction).ok_or(KrpcError::Envelope("t"))?;
        let got = transaction.len();
        let transaction = TransactionId::new(transaction).ok_or(KrpcError::Transaction { got })?;
        let observed = bytes(ip).and_then(address);
        let body = match bytes(kind) {
            Some(b"q") => {
                let method = bytes(method).ok_or(KrpcError::Envelope("q"))?;
                Body::Query(query(transaction, method, args, flag(read_only))?)
            }
            Some(b"r") => Body::Reply(reply(results, observed)?),
            Some(b"e") => Body::Error(read_fault(fault, results, observed)),
            _ => return Err(KrpcError::Envelope("y")),
        };
        let version = bytes(version).and_then(|tag| tag.try_into().ok()).map(ClientTag);
        Ok(Self { transaction, version, body })
    }
}

/// The values of some keys, found in one walk.
fn pick<'a, const N: usize>(dict: &Value<'a>, keys: [&str; N]) -> [Option<Value<'a>>; N] {
    let mut found = [None; N];
    for (key, value) in dict.as_dict().into_iter().flatten() {
        if let Some(at) = keys.iter().position(|known| known.as_bytes() == key) {
            found[at] = Some(value);
        }
    }
    found
}

fn query(
    transaction: TransactionId,
    method: &[u8],
    args: Option<Value<'_>>,
    read_only: bool,
) -> Result<Query, KrpcError> {
    let wrong = |key| KrpcError::Argument { transaction, key };
    let args = args.filter(|args| args.kind() == Kind::Dict).ok_or(wrong("a"))?;
    let keys = [
        "bs",
        "id",
        "implied_port",
        "info_hash",
        "n",
        "noseed",
        "port",
        "scrape",
        "seed",
        "target",
        "token",
        "want",
    ];
    let [bs, id, implied, info_hash, n, noseed, port, scrape, seed, target, token, want] =
        pick(&args, keys);
    let id = hash(id).map(NodeId).ok_or(wrong("id"))?;
    let info_hash = hash(info_hash).map(InfoHash).ok_or(wrong("info_hash"));
    let target = hash(target).map(NodeId).ok_or(wrong("target"));
    let want = want.and_then(|want| read_want(&want));
    let ask = match method {
        b"ping" => Ask::Ping,
        b"find_node" => Ask::FindNode { target: target?, want },
        b"get_peers" => Ask::GetPeers {
            info_hash: info_hash?,
            want,
            no_seed: flag(noseed),
            scrape: flag(scrape),
            bootstrap: flag(bs),
        },
        b"announce_peer" => {
            let implied_port = flag(implied);
            let port = port.and_then(|port| port.as_uint()).and_then(|port| port.try_into().ok());
            let port = match port {
                Some(port) if port != 0 || implied_port => port,
                None if implied_port => 0,
                _ => return Err(wrong("port")),
            };
            Ask::AnnouncePeer {
                info_hash: info_hash?,
                port,
                implied_port,
                seed: seed.and_then(|seed| seed.as_int()).map(|seed| seed != 0),
                token: bytes(token).and_then(Token::new).ok_or(wrong("token"))?,
                name: bytes(n).map(Text::new),
            }
        }
        b"get" => Ask::Get { target: target?, seq: seq_of(&args), want },
        b"put" => Ask::Put {
            put: Box::new(read_put(transaction, &args)?),
            token: bytes(token).and_then(Token::new).ok_or(wrong("token"))?,
        },
        b"sample_infohashes" => Ask::SampleInfohashes { target: target?, want },
        method => {
            let target = target.or(info_hash.map(|hash| NodeId(hash.0)));
            let target = target.map_err(|_| KrpcError::Method { transaction })?;
            Ask::Unknown { method: Text::new(method), target, want }
        }
    };
    Ok(Query { id, read_only, ask })
}

/// What is to be stored. That its parts have the sizes that they must have is judged before the token is: it costs less.
//= BEP 44 §put messages
fn read_put(transaction: TransactionId, args: &Value<'_>) -> Result<Put, KrpcError> {
    let wrong = |key| KrpcError::Argument { transaction, key };
    let [cas, salt, value] = pick(args, ["cas", "salt", "v"]);
    let value = value.ok_or(wrong("v"))?;
    let value = ItemValue::new(value.raw()).map_err(|error| match error {
        ItemError::TooLong { got } => KrpcError::ValueLength { transaction, got },
        _ => wrong("v"),
    })?;
    let Some(signed) = read_signed(args).map_err(wrong)? else {
        return Ok(Put::new(Item { value, signed: None }));
    };
    let salt = salt.map_or(Ok(&[][..]), |salt| salt.as_bytes().ok_or(wrong("salt")))?;
    let salt = Salt::new(salt).ok_or(KrpcError::SaltLength { transaction, got: salt.len() })?;
    let cas = cas.map(|cas| cas.as_int().ok_or(wrong("cas"))).transpose()?;
    Ok(Put { item: Item { value, signed: Some(signed) }, salt, cas })
}

/// The owner's part of an item. There is none without a key and a signature; the error is what is wrong with it.
fn read_signed(dict: &Value<'_>) -> Result<Option<Signed>, &'static str> {
    let [key, signature] = pick(dict, ["k", "sig"]);
    if key.or(signature).is_none() {
        return Ok(None);
    }
    Ok(Some(Signed {
        key: array(key).map(PublicKey).ok_or("k")?,
        seq: seq_of(dict).ok_or("seq")?,
        signature: array(signature).map(Signature).ok_or("sig")?,
    }))
}

/// What a node says of an item. One that is no whole item counts as absent.
fn read_kept(results: &Value<'_>) -> Option<Kept> {
    let [value] = pick(results, ["v"]);
    let Some(value) = value else { return seq_of(results).map(Kept::Seq) };
    let value = ItemValue::new(value.raw()).ok()?;
    let signed = read_signed(results).ok()?;
    Some(Kept::Item(Box::new(Item { value, signed })))
}

fn reply(results: Option<Value<'_>>, observed: Option<SocketAddr>) -> Result<Reply, KrpcError> {
    let results = results.ok_or(KrpcError::Envelope("r"))?;
    let keys = [
        "BFpe", "BFsd", "id", "interval", "n", "nodes", "nodes6", "num", "p", "samples", "token",
        "values",
    ];
    let [leeches, seeds, id, interval, n, nodes, nodes6, num, port, samples, token, values] =
        pick(&results, keys);
    let id = hash(id).map(NodeId).ok_or(KrpcError::ReplyId)?;
    let samples = bytes(samples).filter(|raw| raw.len() % 20 == 0).map(|raw| Samples {
        interval_s: uint(interval).map_or(SAMPLE_INTERVAL_MAX_S, |interval| {
            interval.min(SAMPLE_INTERVAL_MAX_S.into()) as u32
        }),
        total: uint(num).unwrap_or_default(),
        hashes: raw.as_chunks().0.iter().take(SAMPLES_MAX).map(|raw| InfoHash(*raw)).collect(),
    });
    Ok(Reply {
        id,
        observed,
        observed_port: uint(port).and_then(|port| port.try_into().ok()),
        nodes: bytes(nodes).map(|raw| read_nodes(raw, 20 + compact::V4_LEN)),
        nodes6: bytes(nodes6).map(|raw| read_nodes(raw, 20 + compact::V6_LEN)),
        values: values.and_then(|values| read_values(&values)),
        token: bytes(token).and_then(Token::new),
        seeds: bytes(seeds).and_then(Filter::from_slice),
        leeches: bytes(leeches).and_then(Filter::from_slice),
        samples,
        name: bytes(n).map(Text::new),
        kept: read_kept(&results),
    })
}

/// `[code, text]`; some write them the other way round, and some a dictionary or nothing of the kind.
fn read_fault(
    fault: Option<Value<'_>>,
    results: Option<Value<'_>>,
    observed: Option<SocketAddr>,
) -> Fault {
    let items = || fault.and_then(|fault| fault.as_list()).into_iter().flatten();
    let code = items().find_map(|item| item.as_int()).unwrap_or_default();
    let text = items().find_map(|item| item.as_bytes()).unwrap_or_default();
    let [id, port] = results.map(|results| pick(&results, ["id", "p"])).unwrap_or_default();
    // The port belongs to the id: without it, it is not written either.
    let id = hash(id).map(NodeId);
    Fault {
        code: ErrorCode(code.try_into().unwrap_or_default()),
        text: Text::new(text),
        observed,
        id,
        observed_port: id.and(uint(port)).and_then(|port| port.try_into().ok()),
    }
}

/// The tail of a list that is not a whole number of nodes is ignored, and so is a node with port 0 or with an address
/// of IPv4 that is written as one of IPv6.
fn read_nodes(raw: &[u8], stride: usize) -> Vec<Contact> {
    let nodes = raw.chunks_exact(stride).filter_map(|node| {
        let (id, addr) = node.split_first_chunk()?;
        Some(Contact { id: NodeId(*id), addr: host(addr)? })
    });
    nodes.take(NODES_MAX).collect()
}

/// Strings of 6 or 18 bytes, mixed as they come. Very old nodes write one string with all of them.
fn read_values(values: &Value<'_>) -> Option<Vec<SocketAddr>> {
    let items = values.as_list()?;
    let mut peers = Vec::new();
    for raw in items.filter_map(|item| item.as_bytes()) {
        match raw.len() {
            compact::V4_LEN | compact::V6_LEN => peers.extend(host(raw)),
            len if len % compact::V4_LEN == 0 => peers.extend(compact::read_v4(raw)),
            _ => {}
        }
    }
    Some(peers)
}

fn read_want(want: &Value<'_>) -> Option<Want> {
    let has = |name: &[u8]| {
        want.as_list().into_iter().flatten().any(|item| item.as_bytes() == Some(name))
    };
    want.as_list().map(|_| Want { v4: has(b"n4"), v6: has(b"n6") })
}

/// An address that somebody else is said to have.
fn host(raw: &[u8]) -> Option<SocketAddr> {
    address(raw).filter(|addr| match addr.ip() {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !compact::hides_v4(v6),
    })
}

fn address(raw: &[u8]) -> Option<SocketAddr> {
    match raw.len() {
        compact::V4_LEN => compact::read_v4(raw).next(),
        compact::V6_LEN => compact::read_v6(raw).next(),
        _ => None,
    }
}

fn bytes(value: Option<Value<'_>>) -> Option<&[u8]> {
    value?.as_bytes()
}

fn uint(value: Option<Value<'_>>) -> Option<u64> {
    value?.as_uint()
}

fn hash(value: Option<Value<'_>>) -> Option<[u8; 20]> {
    array(value)
}

fn array<const N: usize>(value: Option<Value<'_>>) -> Option<[u8; N]> {
    bytes(value)?.try_into().ok()
}

/// A sequence number, which is never negative.
fn seq_of(dict: &Value<'_>) -> Option<i64> {
    dict.at("seq")?.as_int().filter(|seq| *seq >= 0)
}

fn flag(value: Option<Value<'_>>) -> bool {
    value.and_then(|value| value.as_int()).is_some_and(|flag| flag != 0)
}
