//! Hosts of byte ranges of one torrent, beside its connections: what they bring takes the same road.
//!
//! Whom to ask for what is the machine's decision, how that is done is [`crate::fetch`]'s.

use super::api::EngineError;
use super::task::TorrentTask;
use crate::fetch::{Fetched, Fetches, Host, Kind};
use crate::net::Dialer;
use gaggle_core::swarm::source::{SOURCES_MAX, SourceFault, SourceKey, SourceRefusal};
use gaggle_core::swarm::torrent::Fate;
use std::collections::BTreeMap;

/// The hosts, as far as the torrent's task holds them.
#[derive(Default)]
pub(super) struct Sources {
    /// From the first host on: most torrents have none.
    fetches: Option<Fetches>,
    /// Named before it was known what the torrent consists of, with the number of their file.
    early: Vec<(Host, usize)>,
}

impl Sources {
    /// What has come; never, if there are no hosts.
    pub(super) async fn next(&mut self) -> Fetched {
        match &mut self.fetches {
            Some(fetches) => fetches.next().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn remove(&mut self, key: SourceKey, fault: &SourceFault) {
        if let Some(fetches) = &mut self.fetches {
            fetches.remove(key, fault);
        }
    }

    /// Nothing is missing.
    pub(super) fn close_idle(&self) {
        if let Some(fetches) = &self.fetches {
            fetches.close_idle();
        }
    }

    /// Payload from hosts, by their kind; those that any host was of are there.
    pub(super) fn got(&self) -> BTreeMap<Kind, u64> {
        self.fetches.as_ref().map(|fetches| fetches.got().clone()).unwrap_or_default()
    }
}

impl TorrentTask {
    /// A host that has the file of that number. Waits for the metadata, if that is not known.
    pub(super) fn add_source(&mut self, host: Host, file: usize) -> Result<(), EngineError> {
        let Some(content) = &self.content else {
            if self.sources.early.len() >= SOURCES_MAX {
                return Err(SourceRefusal::Full(SOURCES_MAX).into());
            }
            self.sources.early.push((host, file));
            return Ok(());
        };
        let entry = content.metainfo.info.files.get(file).filter(|entry| !entry.pad);
        let entry = entry.ok_or(EngineError::NoFile(file))?;
        let shared = &self.shared;
        let dialer = Dialer { lan: shared.config.lan, ..shared.dialer.clone() };
        if let Some(addr) = host.addr()
            && !dialer.may_dial(addr.ip())
        {
            return Err(SourceRefusal::Address(addr.ip()).into());
        }
        let spec = Fetches::spec(&host, entry.offset..entry.offset + entry.len);
        let key = self.torrent.add_source(shared.clock.now(), spec)?;
        let fetches = self
            .sources
            .fetches
            .get_or_insert_with(|| Fetches::new(dialer, shared.buffers.clone(), shared.clock));
        fetches.add(key, host);
        Ok(())
    }

    /// Carries out what the machine wants of hosts.
    pub(super) fn ask_sources(&mut self) {
        while let Some(op) = self.torrent.poll_source() {
            if let (Some(content), Some(fetches)) = (&self.content, &mut self.sources.fetches) {
                fetches.carry_out(op, content.metainfo.info.geometry);
            }
        }
    }

    /// The metadata is known, and what is there has been checked.
    pub(super) fn add_early_sources(&mut self) {
        for (host, file) in std::mem::take(&mut self.sources.early) {
            let named = format!("{host:?}");
            if let Err(refusal) = self.add_source(host, file) {
                tracing::debug!(host = named, %refusal, "a source is not asked");
            }
        }
    }

    /// Credits the hosts with what they have given, and leaves them.
    pub(super) fn end_sources(&mut self) {
        if let Some(fetches) = &self.sources.fetches {
            let sources = self.torrent.sources(self.shared.clock.now());
            sources.iter().for_each(|one| fetches.credit(one.source, one.good));
        }
        self.sources = Sources::default();
    }

    /// What one read of a host brought.
    pub(super) fn on_fetched(&mut self, fetched: Fetched) {
        let Fetched { fetch, kind, blocks, end } = fetched;
        let now = self.shared.clock.now();
        let before = self.torrent.downloaded();
        for (block, data) in blocks {
            let fate = self.torrent.handle_source_block(now, fetch, block);
            if let (Fate::Keep(block), Some(content)) = (fate, &self.content) {
                self.assembly.keep(&content.metainfo.info.geometry, block, data);
            }
        }
        if let Some(fetches) = &mut self.sources.fetches {
            fetches.count(kind, self.torrent.downloaded() - before);
        }
        if let Some(end) = end {
            self.torrent.handle_fetch_end(now, fetch, end);
        }
    }
}
