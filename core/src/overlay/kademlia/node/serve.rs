//! Answers to queries: who may ask, how much may be said, what is stored.

use super::{Node, side_of};
use crate::clock::Instant;
use crate::id::{InfoHash, NodeId};
use crate::overlay::kademlia::{K, Refused};
use crate::proto::krpc::{
    Ask, Body, Contact, DATAGRAM_ITEM_MAX, DATAGRAM_MAX, ErrorCode, Kept, Message, Put, Query,
    Refusal, Reply, Token, TransactionId, Want,
};
use crate::scope::Scope;
use std::net::SocketAddr;

/// How many times the bytes of a query an answer may have, unless the one who asks has shown that he is where the
/// query says: a forged sender must not be flooded through us.
const AMPLIFICATION_MAX: usize = 8;
/// Bytes of an answer besides what is listed below.
const ANSWER_HEAD: usize = 90;
/// Bytes of what belongs to an item besides its value.
const ITEM_HEAD: usize = 140;
/// Bytes of both filters with their keys.
const FILTERS_LEN: usize = 2 * (6 + 4 + 256);

impl Node {
    /// A datagram that came in, from whomever.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, raw: &[u8]) {
        match Message::parse(raw) {
            Ok(message) => self.handle_message(now, from, message, raw.len()),
            Err(error) => {
                self.counters.malformed += 1;
                if let Some(refusal) = error.answer().filter(|_| self.admits(now, from)) {
                    self.refuse(now, from, refusal);
                }
            }
        }
    }

    /// A message that came in as `len` bytes.
    pub fn handle_message(&mut self, now: Instant, from: SocketAddr, message: Message, len: usize) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if !self.sides[side_of(&from)].active || Scope::of(from.ip()).is_none() || from.port() == 0
        {
            self.counters.stray += 1;
            return;
        }
        match message.body {
            Body::Query(query) => {
                if self.admits(now, from) {
                    self.heard_at = Some(now);
                    self.serve(now, from, message.transaction, query, len);
                }
            }
            Body::Reply(reply) => self.on_reply(now, from, message.transaction, reply),
            Body::Error(fault) => self.on_error(now, from, message.transaction, &fault),
        }
    }

    /// Whether a query from there is answered at all.
    fn admits(&mut self, now: Instant, from: SocketAddr) -> bool {
        if self.config.read_only {
            return false;
        }
        let admitted = self.sources.admit(now, from.ip(), &self.config.limits);
        self.counters.limited += u64::from(!admitted);
        admitted
    }

    fn serve(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: TransactionId,
        query: Query,
        len: usize,
    ) {
        self.counters.queries += 1;
        let side = side_of(&from);
        let own = self.sides[side].table.own();
        if query.id == own {
            return; // our own words, thrown back
        }
        let sender = Contact { id: query.id, addr: from };
        let table = &mut self.sides[side].table;
        let trusted =
            if query.read_only { table.trusts(&sender) } else { table.queried_by(now, sender) };
        let room = if trusted { DATAGRAM_MAX } else { (AMPLIFICATION_MAX * len).min(DATAGRAM_MAX) };
        let mut reply = Reply::new(own);
        reply.observed = Some(from);
        match query.ask {
            Ask::Ping => {}
            Ask::FindNode { target, want } | Ask::Unknown { target, want, .. } => {
                self.name_nodes(&mut reply, &target, want, from);
            }
            Ask::GetPeers { info_hash, want, no_seed, scrape, .. } => {
                self.name_nodes(&mut reply, &info_hash.into(), want, from);
                self.name_peers(now, &mut reply, info_hash, (no_seed, scrape), from, room);
            }
            Ask::AnnouncePeer { info_hash, port, implied_port, seed, token, .. } => {
                let port = if implied_port { from.port() } else { port };
                let addr = SocketAddr::new(from.ip(), port);
                let seed = seed.unwrap_or(false);
                if let Err((code, text)) = self.store(now, info_hash, addr, seed, &token) {
                    self.refuse(now, from, Refusal { transaction, code, text });
                    return;
                }
            }
            Ask::Get { target, seq, want } => {
                self.name_nodes(&mut reply, &target, want, from);
                self.name_item(now, &mut reply, target, seq, from);
            }
            Ask::Put { token, put } => {
                if let Err((code, text)) = self.store_item(now, *put, from, &token) {
                    self.refuse(now, from, Refusal { transaction, code, text });
                    return;
                }
            }
            Ask::SampleInfohashes { target, want } => {
                self.name_nodes(&mut reply, &target, want, from);
                let mut samples = self.sides[side].peers.sample(now, &mut self.rng);
                let left = room.saturating_sub(body_len(&reply));
                samples.hashes.truncate(left / 20);
                reply.samples = Some(samples);
            }
        }
        self.answer(now, from, Message::reply(transaction, reply));
    }

    /// The closest nodes, of the families that were asked for.
    //= BEP 32 §want
    fn name_nodes(&self, reply: &mut Reply, target: &NodeId, want: Option<Want>, from: SocketAddr) {
        let transport = Want { v4: from.is_ipv4(), v6: from.is_ipv6() };
        let want = want.filter(|want| want.v4 || want.v6).unwrap_or(transport);
        let reach = Scope::of(from.ip());
        let closest = |side: usize| {
            let mut nodes = self.sides[side].table.closest(target, K);
            // Nobody is told of what he cannot reach and would have to take for a lie.
            nodes.retain(|node| node.addr != from && Scope::of(node.addr.ip()) >= reach);
            nodes
        };
        reply.nodes = want.v4.then(|| closest(0));
        reply.nodes6 = want.v6.then(|| closest(1));
    }

    /// Peers or filters, and the token to announce with if an announce would be stored.
    fn name_peers(
        &mut self,
        now: Instant,
        reply: &mut Reply,
        swarm: InfoHash,
        (no_seed, scrape): (bool, bool),
        from: SocketAddr,
        room: usize,
    ) {
        let peers = &self.sides[side_of(&from)].peers;
        if peers.would_store(swarm, from) {
            reply.token = Some(self.tokens.issue(now, from.ip(), swarm.into()));
        }
        let left = room.saturating_sub(body_len(reply));
        if scrape {
            if let Some((seeds, leeches)) =
                peers.filters(now, swarm).filter(|_| left >= FILTERS_LEN)
            {
                (reply.seeds, reply.leeches) = (Some(seeds), Some(leeches));
            }
            return;
        }
        let most = left / if from.is_ipv4() { 8 } else { 21 };
        reply.values = peers.some(now, swarm, no_seed, most, &mut self.rng);
    }

    fn store(
        &mut self,
        now: Instant,
        swarm: InfoHash,
        addr: SocketAddr,
        seed: bool,
        token: &Token,
    ) -> Result<(), (ErrorCode, &'static str)> {
        self.check_token(now, addr, swarm.into(), token)?;
        if !self.sides[side_of(&addr)].peers.store(now, swarm, addr, seed) {
            return Err((ErrorCode::PROTOCOL, "storage full"));
        }
        self.counters.stored += 1;
        Ok(())
    }

    /// The item, if it is newer than the one who asks has it, and the token to replace it with. It is sent whole, to
    /// strangers as well, for a part of it is of no use: at most seventeen times the bytes of the query.
    //= BEP 44 §get message
    fn name_item(
        &mut self,
        now: Instant,
        reply: &mut Reply,
        target: NodeId,
        known: Option<i64>,
        from: SocketAddr,
    ) {
        let items = &self.sides[side_of(&from)].items;
        if items.would_store(target, from.ip()) {
            reply.token = Some(self.tokens.issue(now, from.ip(), target));
        }
        reply.kept = items.get(now, target).map(|item| match item.seq() {
            Some(seq) if known.is_some_and(|known| known >= seq) => Kept::Seq(seq),
            _ => Kept::Item(Box::new(item.clone())),
        });
    }

    fn store_item(
        &mut self,
        now: Instant,
        put: Put,
        from: SocketAddr,
        token: &Token,
    ) -> Result<(), (ErrorCode, &'static str)> {
        self.check_token(now, from, put.target(), token)?;
        let items = &mut self.sides[side_of(&from)].items;
        items.put(now, from.ip(), put).map_err(Refused::answer)?;
        self.counters.stored += 1;
        Ok(())
    }

    fn check_token(
        &mut self,
        now: Instant,
        from: SocketAddr,
        target: NodeId,
        token: &Token,
    ) -> Result<(), (ErrorCode, &'static str)> {
        if self.tokens.accepts(now, from.ip(), target, token) {
            return Ok(());
        }
        self.counters.bad_tokens += 1;
        Err((ErrorCode::PROTOCOL, "bad token"))
    }

    fn refuse(&mut self, now: Instant, to: SocketAddr, refusal: Refusal) {
        self.answer(now, to, Message::refuse(refusal, Some(to)));
    }

    /// Sends an answer, if the budget has that much left.
    fn answer(&mut self, now: Instant, to: SocketAddr, mut message: Message) {
        let bytes = match &message.body {
            Body::Reply(reply) => body_len(reply),
            _ => ANSWER_HEAD,
        };
        if !self.budget.take(now, bytes, &self.config.limits) {
            self.counters.over_budget += 1;
            return;
        }
        message.version = self.config.version;
        self.counters.answers += 1;
        self.outbox.push_back((to, message));
    }
}

/// About how many bytes an answer has; never less than it really has.
fn body_len(reply: &Reply) -> usize {
    let list = |len: Option<usize>, each: usize| len.map_or(0, |len| 13 + len * each);
    let item = match &reply.kept {
        Some(Kept::Item(item)) => ITEM_HEAD + item.value.as_bytes().len(),
        Some(Kept::Seq(_)) => ITEM_HEAD,
        None => 0,
    };
    let all = ANSWER_HEAD
        + item
        + list(reply.nodes.as_ref().map(Vec::len), 26)
        + list(reply.nodes6.as_ref().map(Vec::len), 38)
        + list(reply.values.as_ref().map(Vec::len), 21)
        + list(reply.samples.as_ref().map(|samples| samples.hashes.len()), 20)
        + reply.samples.as_ref().map_or(0, |_| 50)
        + reply.token.as_ref().map_or(0, |token| 11 + token.as_bytes().len())
        + reply.seeds.as_ref().map_or(0, |_| FILTERS_LEN);
    all.min(DATAGRAM_ITEM_MAX)
}
