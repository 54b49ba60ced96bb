//! What crosses the links of a network, counted.

use gaggle_core::clock::Instant;
use gaggle_core::proto::gnutella::{Guid, HEADER_LEN, Kind};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What one search has cost and found.
pub(crate) struct Search {
    pub(crate) began: Instant,
    pub(crate) queries: u64,
    pub(crate) answers: u64,
    /// Messages about it that are neither.
    pub(crate) others: u64,
    /// Servents that the query has come to, the asker too.
    pub(crate) reached: BTreeSet<usize>,
    /// Queries that came to where it had been.
    pub(crate) duplicates: u64,
    pub(crate) first: Option<Instant>,
    pub(crate) files: usize,
}

/// Messages and bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

#[derive(Default)]
pub(crate) struct Tap {
    /// By kind.
    pub(crate) loads: BTreeMap<Kind, Load>,
    pub(crate) searches: BTreeMap<Guid, Search>,
    /// What has left on a link, and what has come on one.
    left: HashSet<u64>,
    came: HashSet<u64>,
    /// Descriptors that left on a link on which they had left before, or had come.
    pub(crate) twice: u64,
}

/// What a descriptor is; a line of the handshake is none.
pub(crate) fn kind(bytes: &[u8]) -> Option<Kind> {
    let descriptor = bytes.len() >= HEADER_LEN && !bytes.starts_with(b"GNUTELLA");
    descriptor.then(|| Kind(bytes[16]))
}

/// Links that a descriptor may yet cross, this one too.
pub(crate) fn ttl(bytes: &[u8]) -> u8 {
    bytes[17]
}

fn guid(bytes: &[u8]) -> Guid {
    Guid(bytes[..16].try_into().expect("a header"))
}

/// One descriptor on one link in one direction: TTL and hops change on the way, nothing else does.
fn crossing(from: usize, to: usize, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (from, to, &bytes[..17], &bytes[HEADER_LEN..]).hash(&mut hasher);
    hasher.finish()
}

/// Kinds that are meant for more than the neighbour.
fn travels(kind: Kind) -> bool {
    [Kind::PING, Kind::PONG, Kind::QUERY, Kind::QUERY_HIT, Kind::PUSH].contains(&kind)
}

impl Tap {
    pub(crate) fn watch(&mut self, now: Instant, search: Guid, asker: usize) {
        self.searches.insert(
            search,
            Search {
                began: now,
                queries: 0,
                answers: 0,
                others: 0,
                reached: BTreeSet::from([asker]),
                duplicates: 0,
                first: None,
                files: 0,
            },
        );
    }

    pub(crate) fn sent(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let Some(kind) = kind(bytes) else { return };
        let load = self.loads.entry(kind).or_default();
        load.messages += 1;
        load.bytes += bytes.len() as u64;
        if travels(kind) {
            let again = !self.left.insert(crossing(from, to, bytes));
            self.twice += u64::from(again || self.came.contains(&crossing(to, from, bytes)));
        }
        if let Some(search) = self.searches.get_mut(&guid(bytes)) {
            match kind {
                Kind::QUERY => search.queries += 1,
                Kind::QUERY_HIT => search.answers += 1,
                _ => search.others += 1,
            }
        }
    }

    pub(crate) fn arrived(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let Some(kind) = kind(bytes).filter(|kind| travels(*kind)) else { return };
        self.came.insert(crossing(from, to, bytes));
        if kind == Kind::QUERY
            && let Some(search) = self.searches.get_mut(&guid(bytes))
        {
            search.duplicates += u64::from(!search.reached.insert(to));
        }
    }

    pub(crate) fn found(&mut self, now: Instant, search: Guid, files: usize) {
        if let Some(search) = self.searches.get_mut(&search) {
            search.first.get_or_insert(now);
            search.files += files;
        }
    }

    /// Forgets what has passed, but not whether something passed twice.
    pub(crate) fn clear(&mut self) {
        *self = Self { twice: self.twice, ..Self::default() };
    }
}
