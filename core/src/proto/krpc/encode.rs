//! Messages to datagrams: sorted keys, no key that says nothing, never more than fits.

use super::message::{Ask, Body, Contact, Fault, Message, Query, Reply, Token, Want};
use super::{DATAGRAM_ITEM_MAX, DATAGRAM_MAX, Kept, Put};
use crate::compact;
use crate::id::NodeId;
use std::net::SocketAddr;

/// Bytes of one peer in `values`, with the digits before it.
const VALUE_V4: usize = 2 + compact::V4_LEN;
const VALUE_V6: usize = 3 + compact::V6_LEN;

impl Message {
    /// The bytes that its datagram has at most.
    pub fn datagram_max(&self) -> usize {
        let with_item = match &self.body {
            Body::Query(query) => matches!(query.ask, Ask::Put { .. }),
            Body::Reply(reply) => matches!(reply.kept, Some(Kept::Item(_))),
            Body::Error(_) => false,
        };
        if with_item { DATAGRAM_ITEM_MAX } else { DATAGRAM_MAX }
    }

    /// The datagram, at most [`Self::datagram_max`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.encode_into(&mut out);
        out
    }

    /// Replaces what is in `out` by the datagram. What does not fit is left out: first peers, the last ones
    /// first, then samples, then nodes of IPv6, then nodes, then names and filters. The item stays.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        self.write(out);
        let max = self.datagram_max();
        if out.len() <= max {
            return;
        }
        let mut shorter = self.clone();
        while out.len() > max && shorter.shed(out.len() - max) {
            shorter.write(out);
        }
    }

    /// Gives up about `excess` bytes of what is least needed; `false` when there is nothing left to give up.
    fn shed(&mut self, excess: usize) -> bool {
        let Body::Reply(reply) = &mut self.body else { return false };
        if let Some(values) = reply.values.as_mut().filter(|values| !values.is_empty()) {
            let mut freed = 0;
            while freed < excess
                && let Some(last) = values.pop()
            {
                freed += if last.is_ipv4() { VALUE_V4 } else { VALUE_V6 };
            }
            return true;
        }
        if let Some(samples) = reply.samples.as_mut().filter(|samples| !samples.hashes.is_empty()) {
            samples.hashes.truncate(samples.hashes.len().saturating_sub(excess.div_ceil(20)));
            return true;
        }
        let lists = [&mut reply.nodes6, &mut reply.nodes];
        let Some(nodes) = lists.into_iter().flatten().find(|nodes| !nodes.is_empty()) else {
            let filters = reply.seeds.take().is_some() | reply.leeches.take().is_some();
            return reply.name.take().is_some() || filters;
        };
        nodes.truncate(nodes.len().saturating_sub(excess.div_ceil(20 + compact::V4_LEN)));
        true
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(b'd');
        let kind = match &self.body {
            Body::Query(query) => {
                write_query(out, query);
                b"q"
            }
            Body::Reply(reply) => {
                write_observed(out, reply.observed);
                write_reply(out, reply);
                b"r"
            }
            Body::Error(fault) => {
                write_fault(out, fault);
                write_observed(out, fault.observed);
                write_fault_results(out, fault);
                b"e"
            }
        };
        pair(out, b"t", self.transaction.as_bytes());
        if let Some(version) = self.version {
            pair(out, b"v", &version.0);
        }
        pair(out, b"y", kind);
        out.push(b'e');
    }
}

fn write_query(out: &mut Vec<u8>, query: &Query) {
    string(out, b"a");
    out.push(b'd');
    let id = |out: &mut Vec<u8>| pair(out, b"id", &query.id.0);
    let method: &[u8] = match &query.ask {
        Ask::Ping => {
            id(out);
            b"ping"
        }
        Ask::FindNode { target, want } => {
            id(out);
            pair(out, b"target", &target.0);
            write_want(out, *want);
            b"find_node"
        }
        Ask::GetPeers { info_hash, want, no_seed, scrape, bootstrap } => {
            flag(out, b"bs", *bootstrap);
            id(out);
            pair(out, b"info_hash", &info_hash.0);
            flag(out, b"noseed", *no_seed);
            flag(out, b"scrape", *scrape);
            write_want(out, *want);
            b"get_peers"
        }
        Ask::AnnouncePeer { info_hash, port, implied_port, seed, token, name } => {
            id(out);
            flag(out, b"implied_port", *implied_port);
            pair(out, b"info_hash", &info_hash.0);
            if let Some(name) = name {
                pair(out, b"n", name.as_bytes());
            }
            number(out, b"port", (*port).into());
            if let Some(seed) = seed {
                number(out, b"seed", (*seed).into());
            }
            pair(out, b"token", token.as_bytes());
            b"announce_peer"
        }
        Ask::Get { target, seq, want } => {
            id(out);
            if let Some(seq) = seq {
                number(out, b"seq", (*seq).into());
            }
            pair(out, b"target", &target.0);
            write_want(out, *want);
            b"get"
        }
        Ask::Put { token, put } => {
            write_put(out, &query.id, token, put);
            b"put"
        }
        Ask::SampleInfohashes { target, want } => {
            id(out);
            pair(out, b"target", &target.0);
            write_want(out, *want);
            b"sample_infohashes"
        }
        Ask::Unknown { method, target, want } => {
            id(out);
            pair(out, b"target", &target.0);
            write_want(out, *want);
            method.as_bytes()
        }
    };
    out.push(b'e');
    pair(out, b"q", method);
    flag(out, b"ro", query.read_only);
}

/// The arguments of a `put`.
fn write_put(out: &mut Vec<u8>, id: &NodeId, token: &Token, put: &Put) {
    if let Some(cas) = put.cas {
        number(out, b"cas", cas.into());
    }
    pair(out, b"id", &id.0);
    if let Some(signed) = &put.item.signed {
        pair(out, b"k", &signed.key.0);
        if !put.salt.as_bytes().is_empty() {
            pair(out, b"salt", put.salt.as_bytes());
        }
        number(out, b"seq", signed.seq.into());
        pair(out, b"sig", &signed.signature.0);
    }
    pair(out, b"token", token.as_bytes());
    string(out, b"v");
    out.extend_from_slice(put.item.value.as_bytes());
}

fn write_reply(out: &mut Vec<u8>, reply: &Reply) {
    string(out, b"r");
    out.push(b'd');
    for (key, filter) in [(b"BFpe", &reply.leeches), (b"BFsd", &reply.seeds)] {
        if let Some(filter) = filter {
            pair(out, key, &filter.0[..]);
        }
    }
    pair(out, b"id", &reply.id.0);
    if let Some(samples) = &reply.samples {
        number(out, b"interval", samples.interval_s.into());
    }
    let item = match &reply.kept {
        Some(Kept::Item(item)) => Some(item),
        Some(Kept::Seq(_)) | None => None,
    };
    let signed = item.and_then(|item| item.signed.as_ref());
    if let Some(signed) = signed {
        pair(out, b"k", &signed.key.0);
    }
    if let Some(name) = &reply.name {
        pair(out, b"n", name.as_bytes());
    }
    write_nodes(out, b"nodes", reply.nodes.as_deref(), SocketAddr::is_ipv4);
    write_nodes(out, b"nodes6", reply.nodes6.as_deref(), SocketAddr::is_ipv6);
    if let Some(samples) = &reply.samples {
        number(out, b"num", samples.total.into());
    }
    if let Some(port) = reply.observed_port {
        number(out, b"p", port.into());
    }
    if let Some(samples) = &reply.samples {
        string(out, b"samples");
        length(out, 20 * samples.hashes.len());
        samples.hashes.iter().for_each(|hash| out.extend_from_slice(&hash.0));
    }
    if let Some(seq) = reply.kept.as_ref().and_then(Kept::seq) {
        number(out, b"seq", seq.into());
    }
    if let Some(signed) = signed {
        pair(out, b"sig", &signed.signature.0);
    }
    if let Some(token) = &reply.token {
        pair(out, b"token", token.as_bytes());
    }
    if let Some(item) = item {
        string(out, b"v");
        out.extend_from_slice(item.value.as_bytes());
    }
    if let Some(values) = &reply.values {
        string(out, b"values");
        out.push(b'l');
        for &peer in values {
            length(out, if peer.is_ipv4() { compact::V4_LEN } else { compact::V6_LEN });
            compact::push(out, peer);
        }
        out.push(b'e');
    }
    out.push(b'e');
}

/// A node in the wrong list would be read as others than it is: it is left out.
fn write_nodes(
    out: &mut Vec<u8>,
    key: &[u8],
    nodes: Option<&[Contact]>,
    fits: fn(&SocketAddr) -> bool,
) {
    let Some(nodes) = nodes else { return };
    let fitting = || nodes.iter().filter(|node| fits(&node.addr));
    let packed =
        |node: &Contact| 20 + if node.addr.is_ipv4() { compact::V4_LEN } else { compact::V6_LEN };
    string(out, key);
    length(out, fitting().map(packed).sum());
    for node in fitting() {
        out.extend_from_slice(&node.id.0);
        compact::push(out, node.addr);
    }
}

fn write_fault(out: &mut Vec<u8>, fault: &Fault) {
    string(out, b"e");
    out.push(b'l');
    integer(out, fault.code.0.into());
    string(out, fault.text.as_bytes());
    out.push(b'e');
}

fn write_fault_results(out: &mut Vec<u8>, fault: &Fault) {
    let Some(id) = fault.id else { return };
    string(out, b"r");
    out.push(b'd');
    pair(out, b"id", &id.0);
    if let Some(port) = fault.observed_port {
        number(out, b"p", port.into());
    }
    out.push(b'e');
}

fn write_observed(out: &mut Vec<u8>, observed: Option<SocketAddr>) {
    let Some(addr) = observed else { return };
    string(out, b"ip");
    length(out, if addr.is_ipv4() { compact::V4_LEN } else { compact::V6_LEN });
    compact::push(out, addr);
}

fn write_want(out: &mut Vec<u8>, want: Option<Want>) {
    let Some(want) = want else { return };
    string(out, b"want");
    out.push(b'l');
    for (name, wanted) in [(b"n4", want.v4), (b"n6", want.v6)] {
        if wanted {
            string(out, name);
        }
    }
    out.push(b'e');
}

fn flag(out: &mut Vec<u8>, key: &[u8], set: bool) {
    if set {
        number(out, key, 1);
    }
}

fn number(out: &mut Vec<u8>, key: &[u8], value: i128) {
    string(out, key);
    integer(out, value);
}

fn pair(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    string(out, key);
    string(out, value);
}

fn integer(out: &mut Vec<u8>, value: i128) {
    out.push(b'i');
    if value < 0 {
        out.push(b'-');
    }
    digits(out, value.unsigned_abs() as u64);
    out.push(b'e');
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn length(out: &mut Vec<u8>, len: usize) {
    digits(out, len as u64);
    out.push(b':');
}

fn digits(out: &mut Vec<u8>, mut value: u64) {
    const LONGEST: usize = 20;
    let mut text = [b'0'; LONGEST];
    let mut at = LONGEST - 1;
    loop {
        text[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
        at -= 1;
    }
    out.extend_from_slice(&text[at..]);
}
