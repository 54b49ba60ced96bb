//! Carries out what a machine wants of its sources.

use super::source::{ANSWER_WAIT, Means, Source};
use super::{Host, Kind, Worth};
use crate::net::{Buffers, Clock, Dialer};
use bytes::Bytes;
use gaggle_core::geometry::{Block, Geometry};
use gaggle_core::swarm::source::{FetchKey, SourceFault, SourceKey, SourceOp, SourceSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// Reads of all sources of a download that may wait for it. When it is full, sources are not read and TCP slows them
/// down: at most this many reads of 256 KiB wait.
pub const FETCHED_QUEUE: usize = 16;

/// What one read of one range brought, or how it ended.
#[derive(Debug)]
pub struct Fetched {
    /// Which range.
    pub fetch: FetchKey,
    /// Of which kind its host is.
    pub kind: Kind,
    /// Whole blocks, in their order.
    pub blocks: Vec<(Block, Bytes)>,
    /// Nothing follows: `Ok` if the body did as its head announced.
    pub end: Option<Result<(), SourceFault>>,
}

/// The hosts of one download, and the ranges that they are asked for.
pub struct Fetches {
    means: Means,
    sources: BTreeMap<SourceKey, Arc<Source>>,
    running: BTreeMap<FetchKey, (SourceKey, AbortHandle)>,
    /// Dropping it ends all of them.
    tasks: JoinSet<()>,
    queue: (mpsc::Sender<Fetched>, mpsc::Receiver<Fetched>),
    got: BTreeMap<Kind, u64>,
    /// Of all hosts that there were.
    worth: BTreeMap<SourceKey, Arc<Worth>>,
}

impl Fetches {
    /// No hosts yet.
    pub fn new(dialer: Dialer, buffers: Buffers, clock: Clock) -> Self {
        Self {
            means: Means { dialer, buffers, clock, patience: ANSWER_WAIT },
            sources: BTreeMap::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            queue: mpsc::channel(FETCHED_QUEUE),
            got: BTreeMap::new(),
            worth: BTreeMap::new(),
        }
    }

    /// What the machine is to know of a host: `span` says which bytes of the download its file is.
    pub fn spec(host: &Host, span: std::ops::Range<u64>) -> SourceSpec {
        // A user of these networks has one place for each who asks.
        SourceSpec { addr: host.addr(), teller: host.teller, span, parallel: 1 }
    }

    /// The machine has taken this host.
    pub fn add(&mut self, key: SourceKey, host: Host) {
        self.got.entry(host.kind).or_default();
        self.worth.insert(key, Arc::clone(&host.worth));
        self.sources.insert(key, Arc::new(Source::new(host, self.means.clone())));
    }

    /// The machine has given it up.
    pub fn remove(&mut self, key: SourceKey, fault: &SourceFault) {
        self.sources.remove(&key);
        if let Some(worth) = self.worth.get(&key).filter(|_| *fault == SourceFault::BadPiece) {
            worth.set_lied();
        }
    }

    /// So many bytes of a host have passed their hash.
    pub fn credit(&self, key: SourceKey, bytes: u64) {
        if let Some(worth) = self.worth.get(&key).filter(|worth| !worth.has_lied()) {
            worth.set_good(bytes);
        }
    }

    /// Nothing is wanted for now: hosts need not keep connections for us.
    pub fn close_idle(&self) {
        self.sources.values().for_each(|source| source.close_idle());
    }

    /// Does what the machine wants.
    pub fn carry_out(&mut self, op: SourceOp, geometry: Geometry) {
        while self.tasks.try_join_next().is_some() {}
        match op {
            SourceOp::Ask(ask) => {
                self.sources.values().for_each(|source| source.prune());
                let Some(source) = self.sources.get(&ask.source).cloned() else { return };
                let kind = source.kind();
                let out = self.queue.0.clone();
                let task = self.tasks.spawn(async move {
                    let end = source.fetch(&ask, geometry, &out).await;
                    if let Err(fault) = &end {
                        tracing::debug!(source = ask.source.0, %fault, "a range ends");
                    }
                    let end =
                        Fetched { fetch: ask.fetch, kind, blocks: Vec::new(), end: Some(end) };
                    let _ = out.send(end).await;
                });
                self.running.insert(ask.fetch, (ask.source, task));
            }
            SourceOp::Stop { fetch, broke_off } => {
                if let Some((source, task)) = self.running.remove(&fetch) {
                    task.abort();
                    if let Some(worth) = self.worth.get(&source).filter(|_| broke_off) {
                        worth.set_broken_off(true);
                    }
                }
            }
        }
    }

    /// So many bytes of that kind count as received.
    pub fn count(&mut self, kind: Kind, bytes: u64) {
        *self.got.entry(kind).or_default() += bytes;
    }

    /// What has come; waits for ever if nothing does. What was stopped says nothing. May be dropped at any time.
    pub async fn next(&mut self) -> Fetched {
        loop {
            let Some(fetched) = self.queue.1.recv().await else {
                return std::future::pending().await; // never: one sender is ours
            };
            if !self.running.contains_key(&fetched.fetch) {
                continue;
            }
            if fetched.end.is_some() {
                self.running.remove(&fetched.fetch);
            }
            return fetched;
        }
    }

    /// Bytes received, by kind of source; those that any source was of are there.
    pub const fn got(&self) -> &BTreeMap<Kind, u64> {
        &self.got
    }
}
