//! What was delivered: a running hash of all of it, and the last of it in words.

use super::host::HostId;
use super::stream::Item;
use crate::clock::Instant;
use crate::proto::peer::{Message, Request};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// Steps that are remembered for [`super::World::last_events`]; the oldest are forgotten.
const REMEMBERED: usize = 4096;

/// Something that the trace records.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Announced { peers: usize },
    Banned { whom: HostId },
    Block { from: HostId, piece: u32, begin: u32, bad: bool },
    Broke { from: HostId },
    Closed { by: HostId },
    Connected { with: HostId },
    DialFailed,
    Done,
    Left { crashed: bool },
    Said { from: HostId, what: &'static str, number: u64 },
    Started { pieces: u32 },
    Stored { piece: u32, good: bool },
    StoreFailed { piece: u32 },
}

/// The record of a run.
#[derive(Default)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    last: VecDeque<(Instant, HostId, Fact)>,
}

impl Trace {
    pub(super) fn note(&mut self, at: Instant, host: HostId, fact: Fact) {
        self.mix(at.as_micros());
        self.mix(u64::from(host.0));
        self.mix_fact(&fact);
        self.count += 1;
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back((at, host, fact));
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Facts recorded so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn tail(&self, n: usize) -> String {
        let mut text = String::new();
        for (at, host, fact) in self.last.iter().skip(self.last.len().saturating_sub(n)) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{at} host {} {fact:?}", host.0);
        }
        text
    }

    fn mix_fact(&mut self, fact: &Fact) {
        let (kind, a, b): (u64, u64, u64) = match fact {
            Fact::Announced { peers } => (1, *peers as u64, 0),
            Fact::Banned { whom } => (2, u64::from(whom.0), 0),
            Fact::Block { from, piece, begin, bad } => {
                self.mix(u64::from(from.0));
                (3, u64::from(*piece) << 32 | u64::from(*begin), u64::from(*bad))
            }
            Fact::Broke { from } => (4, u64::from(from.0), 0),
            Fact::Closed { by } => (5, u64::from(by.0), 0),
            Fact::Connected { with } => (6, u64::from(with.0), 0),
            Fact::DialFailed => (7, 0, 0),
            Fact::Done => (8, 0, 0),
            Fact::Left { crashed } => (9, u64::from(*crashed), 0),
            Fact::Said { from, what, number } => {
                self.mix(u64::from(from.0));
                (10, digest(what.as_bytes()), *number)
            }
            Fact::Started { pieces } => (11, u64::from(*pieces), 0),
            Fact::Stored { piece, good } => (12, u64::from(*piece), u64::from(*good)),
            Fact::StoreFailed { piece } => (13, u64::from(*piece), 0),
        };
        self.mix(kind);
        self.mix(a);
        self.mix(b);
    }

    /// One round of a multiplicative hash: fast, and any changed word changes what follows.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A delivered item as a fact.
pub(super) fn fact_of(from: HostId, item: &Item) -> Fact {
    match item {
        Item::Block { block, bad } => {
            Fact::Block { from, piece: block.piece.0, begin: block.begin, bad: *bad }
        }
        Item::Fin => Fact::Closed { by: from },
        Item::Message(message) => {
            let (what, number) = name(message);
            Fact::Said { from, what, number }
        }
    }
}

fn name(message: &Message) -> (&'static str, u64) {
    let range = |r: &Request| u64::from(r.index) << 32 | u64::from(r.begin);
    match message {
        Message::AllowedFast(piece) => ("allowed fast", u64::from(*piece)),
        Message::Bitfield(bits) => ("bitfield", digest(bits)),
        Message::Cancel(r) => ("cancel", range(r)),
        Message::Choke => ("choke", 0),
        Message::Extended { id, payload } => ("extended", digest(payload) ^ u64::from(*id)),
        Message::Have(piece) => ("have", u64::from(*piece)),
        Message::HaveAll => ("have all", 0),
        Message::HaveNone => ("have none", 0),
        Message::Interested => ("interested", 0),
        Message::KeepAlive => ("keep-alive", 0),
        Message::NotInterested => ("not interested", 0),
        Message::Port(port) => ("port", u64::from(*port)),
        Message::Reject(r) => ("reject", range(r)),
        Message::Request(r) => ("request", range(r)),
        Message::Suggest(piece) => ("suggest", u64::from(*piece)),
        Message::Unchoke => ("unchoke", 0),
        Message::Unknown(id) => ("unknown", u64::from(*id)),
    }
}

fn digest(raw: &[u8]) -> u64 {
    raw.iter().fold(7, |sum: u64, &byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)))
}
