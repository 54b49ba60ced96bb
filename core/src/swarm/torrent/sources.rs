//! Sources of byte ranges beside the peers: see [`crate::swarm::source`]. Their blocks take the road of everybody's.

use super::{Event, Fate, PeerKey, Torrent};
use crate::clock::Instant;
use crate::geometry::Block;
use crate::scope::{Scope, canonical};
use crate::swarm::source::{
    FetchKey, SourceFault, SourceKey, SourceOp, SourceRefusal, SourceSpec, SourceStatus, pieces_in,
};

impl Torrent {
    /// A host that serves a part of the content. The metadata must be known: where its file lies is in there.
    pub fn add_source(
        &mut self,
        now: Instant,
        mut spec: SourceSpec,
    ) -> Result<SourceKey, SourceRefusal> {
        spec.addr = spec.addr.map(canonical);
        let Some(content) = &self.content else { return Err(SourceRefusal::NoMetadata) };
        if self.private {
            return Err(SourceRefusal::Private);
        }
        let (from, to) = (spec.span.start, spec.span.end);
        if to > content.geometry.total() || pieces_in(&content.geometry, &spec.span).is_empty() {
            return Err(SourceRefusal::NoPiece { from, to });
        }
        if let Some(addr) = spec.addr {
            if Scope::of(addr.ip()).is_none_or(|scope| scope < spec.teller) {
                return Err(SourceRefusal::Address(addr.ip()));
            }
            if self.roster.is_banned(addr) {
                return Err(SourceRefusal::Banned);
            }
        }
        if self.sources.is_known(&spec) {
            return Err(SourceRefusal::Known);
        }
        let key = SourceKey(self.next_key);
        if !self.sources.add(now, key, spec) {
            return Err(SourceRefusal::Full(self.sources.status(now).len()));
        }
        self.next_key += 1;
        self.now = now;
        self.fill_sources(now);
        Ok(key)
    }

    /// It is not to be asked any more.
    pub fn remove_source(&mut self, now: Instant, source: SourceKey) {
        let Some(content) = self.content.as_mut().filter(|_| self.sources.knows(source)) else {
            return;
        };
        self.sources.end(&mut content.picker, source, SourceFault::Removed);
        self.now = now;
        self.fill_everyone(now);
    }

    /// The next thing to do with a source.
    #[must_use]
    pub fn poll_source(&mut self) -> Option<SourceOp> {
        self.sources.poll()
    }

    /// Whether bodies should be left unread: as much waits for the disk as may.
    pub fn sources_wait(&self) -> bool {
        self.disk_is_behind()
    }

    /// A block of a range has come; those of one range come in their order. The bytes stay with the driver.
    pub fn handle_source_block(&mut self, now: Instant, fetch: FetchKey, block: Block) -> Fate {
        let Some(source) = self.sources.arrived(now, fetch, block) else { return Fate::Drop };
        self.now = now;
        self.down_meter.add(now, u64::from(block.len));
        let fate = self.take_in(now, source.peer(), block).unwrap_or_else(|| {
            self.wasted += u64::from(block.len);
            Fate::Drop
        });
        if fate != Fate::Drop {
            self.sources.kept(now, source, block.len);
        }
        if let Some(content) = &mut self.content
            && self.sources.stop_if_idle(&mut content.picker, fetch)
        {
            self.fill_sources(now);
        }
        fate
    }

    /// A range has ended, `Ok` when its body did as its head announced. What did not come goes to others.
    pub fn handle_fetch_end(
        &mut self,
        now: Instant,
        fetch: FetchKey,
        how: Result<(), SourceFault>,
    ) {
        let Some(content) = &mut self.content else { return };
        self.now = now;
        let gone = self.sources.ended(now, &mut content.picker, fetch, how);
        self.sources_gone(gone);
        self.fill_sources(now);
    }

    /// Every source, those that are gone included.
    pub fn sources(&self, now: Instant) -> Vec<SourceStatus> {
        self.sources.status(now)
    }

    /// Asks the sources for as much as they bear.
    pub(super) fn fill_sources(&mut self, now: Instant) {
        if self.fault.is_some()
            || self.sources.is_empty()
            || self.is_done()
            || self.disk_is_behind()
        {
            return;
        }
        let Some(content) = &mut self.content else { return };
        let total = self.down_meter.rate(now);
        if let Some(ready) = self.sources.fill(now, &mut content.picker, &mut self.down, total) {
            self.download_at = Some(self.download_at.map_or(ready, |at| at.min(ready)));
        }
    }

    /// Notices silence of sources, and asks them for more.
    pub(super) fn tick_sources(&mut self, now: Instant) {
        let behind = self.disk_is_behind();
        let Some(content) = &mut self.content else { return };
        if self.sources.is_empty() {
            return;
        }
        let gone = self.sources.tick(now, &mut content.picker, behind);
        self.sources_gone(gone);
        self.fill_sources(now);
    }

    /// Which of those who contributed to a piece are sources.
    pub(super) fn sources_of(&self, contributors: &[PeerKey]) -> Vec<SourceKey> {
        let keys = contributors.iter().map(|peer| SourceKey(peer.0));
        keys.filter(|&key| self.sources.knows(key)).collect()
    }

    pub(super) fn sources_gone(
        &mut self,
        gone: impl IntoIterator<Item = (SourceKey, SourceFault)>,
    ) {
        for (source, fault) in gone {
            if fault == SourceFault::BadPiece
                && let Some(addr) = self.sources.addr_of(source)
            {
                self.expel(addr, "sent data that fails its hash");
            }
            self.events.push_back(Event::SourceGone { source, fault });
        }
    }
}
