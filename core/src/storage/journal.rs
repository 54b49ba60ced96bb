//! Decides when written pieces are synced and which of them a resume record may name.
//!
//! A piece goes through: being written, unsynced, in a batch that is being synced, durable. Only durable pieces
//! are recorded; the others stand in the unsynced list and are hashed again at the next start. Never touches a
//! file: the driver writes the list, calls fdatasync and reports.

use crate::bitfield::Bitfield;
use crate::clock::Instant;
use crate::geometry::PieceIndex;
use std::collections::BTreeSet;
use std::time::Duration;

/// A finished piece waits at most this long for a sync to begin.
pub const SYNC_EVERY: Duration = Duration::from_secs(5);
/// So many finished bytes start a sync at once: what a restart must hash after a kill is about this much, a
/// quarter of a second with SHA extensions.
pub const SYNC_BYTES: u64 = 512 << 20;
/// Pause after a failed sync before it is tried again.
pub const SYNC_RETRY: Duration = Duration::from_secs(30);

/// Pieces that one sync makes durable. Must come back through [`Journal::synced`] or [`Journal::sync_failed`].
#[derive(Debug, Eq, PartialEq)]
#[must_use]
pub struct Batch {
    /// Every piece stored before the sync began, ascending.
    pub pieces: Vec<PieceIndex>,
}

/// The policy machine of one torrent's durability.
#[derive(Debug)]
pub struct Journal {
    durable: Bitfield,
    writing: BTreeSet<PieceIndex>,
    unsynced: BTreeSet<PieceIndex>,
    syncing: BTreeSet<PieceIndex>,
    doubtful: BTreeSet<PieceIndex>, // the system failed to sync them: never durable in this run
    waiting_bytes: u64,
    due: Option<Instant>,
}

impl Journal {
    /// Starts with the pieces that an earlier record names and the start-up check trusted.
    pub const fn new(durable: Bitfield) -> Self {
        Self {
            durable,
            writing: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            syncing: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            waiting_bytes: 0,
            due: None,
        }
    }

    /// A piece was found good by hashing at start-up. It may still sit in the page cache only, so it is due for
    /// a sync at once.
    pub fn adopted(&mut self, now: Instant, piece: PieceIndex) {
        if !self.durable.has(piece) {
            self.unsynced.insert(piece);
            self.due = Some(now);
        }
    }

    /// A verified piece is about to be written. Returns whether to write it: not if it is there already or
    /// somebody is at it. The driver appends it to the unsynced list before it writes.
    pub fn begin(&mut self, piece: PieceIndex) -> bool {
        !self.has(piece) && self.writing.insert(piece)
    }

    /// The piece is in its place, perhaps only in the page cache. `len` in bytes.
    pub fn stored(&mut self, now: Instant, piece: PieceIndex, len: u32) {
        self.writing.remove(&piece);
        self.unsynced.insert(piece);
        self.waiting_bytes += u64::from(len);
        let by = if self.waiting_bytes >= SYNC_BYTES { now } else { now + SYNC_EVERY };
        self.due = Some(self.due.map_or(by, |due| due.min(by)));
    }

    /// Writing the piece failed: it is not there.
    pub fn abandoned(&mut self, piece: PieceIndex) {
        self.writing.remove(&piece);
    }

    /// When [`Self::sync_due`] has something to do. `None` while a sync is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| self.syncing.is_empty())
    }

    /// A batch, if one is due. One at a time.
    pub fn sync_due(&mut self, now: Instant) -> Option<Batch> {
        if self.poll_timeout().is_some_and(|due| due <= now) { self.flush() } else { None }
    }

    /// A batch of everything that waits, due or not; `None` if nothing does or a sync is under way.
    pub fn flush(&mut self) -> Option<Batch> {
        if !self.syncing.is_empty() || self.unsynced.is_empty() {
            return None;
        }
        self.syncing = std::mem::take(&mut self.unsynced);
        (self.waiting_bytes, self.due) = (0, None);
        Some(Batch { pieces: self.syncing.iter().copied().collect() })
    }

    /// Every file of the batch was synced after [`Self::flush`] returned it: its pieces are durable.
    #[expect(clippy::needless_pass_by_value, reason = "a batch is spent once")]
    pub fn synced(&mut self, batch: Batch) {
        for piece in &batch.pieces {
            self.syncing.remove(piece);
            self.durable.insert(*piece);
        }
    }

    /// The files were not synced: nobody knows what reached the disk, and another sync would not tell, for the
    /// kernel marks what it could not write as clean and then reports success. The pieces stay listed, to be hashed
    /// at the next start, and no record of this run names them.
    #[expect(clippy::needless_pass_by_value, reason = "a batch is spent once")]
    pub fn sync_lost(&mut self, batch: Batch) {
        for piece in &batch.pieces {
            self.syncing.remove(piece);
            self.doubtful.insert(*piece);
        }
    }

    /// The data is safe, but the record could not be saved. The pieces stay listed and are tried again after
    /// [`SYNC_RETRY`].
    #[expect(clippy::needless_pass_by_value, reason = "a batch is spent once")]
    pub fn sync_failed(&mut self, now: Instant, batch: Batch) {
        for piece in &batch.pieces {
            self.syncing.remove(piece);
            self.unsynced.insert(*piece);
        }
        self.due = Some(now + SYNC_RETRY);
    }

    /// What a record written now may name.
    pub const fn durable(&self) -> &Bitfield {
        &self.durable
    }

    /// What the unsynced list must hold: every piece that is touched and not durable.
    pub fn listed(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        let touched = self.writing.iter().chain(&self.unsynced).chain(&self.syncing);
        touched.chain(&self.doubtful).copied()
    }

    /// Whether the piece is in its place, durable or not.
    pub fn has(&self, piece: PieceIndex) -> bool {
        let waits = [&self.unsynced, &self.syncing, &self.doubtful];
        self.durable.has(piece) || waits.iter().any(|pieces| pieces.contains(&piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_batch_holds_only_what_was_stored_before_it_began() {
        let mut journal = Journal::new(Bitfield::empty(8));
        let mut now = Instant::ZERO;
        assert!(journal.begin(PieceIndex(1)));
        assert!(!journal.begin(PieceIndex(1)), "somebody is at it");
        journal.stored(now, PieceIndex(1), 100);
        assert_eq!(journal.sync_due(now), None);
        now += SYNC_EVERY;
        let batch = journal.sync_due(now).unwrap();
        assert_eq!(batch.pieces, [PieceIndex(1)]);
        assert!(journal.begin(PieceIndex(2)));
        journal.stored(now, PieceIndex(2), 100);
        assert_eq!(journal.poll_timeout(), None, "one sync at a time");
        journal.synced(batch);
        assert!(journal.durable().ones().eq([PieceIndex(1)]));
        assert!(journal.listed().eq([PieceIndex(2)]));
        assert_eq!(journal.poll_timeout(), Some(now + SYNC_EVERY));
    }

    #[test]
    fn many_bytes_start_a_sync_at_once_and_a_failed_one_is_retried() {
        let mut journal = Journal::new(Bitfield::empty(8));
        for piece in 0..2 {
            assert!(journal.begin(PieceIndex(piece)));
            journal.stored(Instant::ZERO, PieceIndex(piece), (SYNC_BYTES / 2) as u32);
        }
        let batch = journal.sync_due(Instant::ZERO).unwrap();
        let later = Instant::ZERO + SECOND;
        journal.sync_failed(later, batch);
        assert!(journal.durable().is_empty());
        assert_eq!(journal.poll_timeout(), Some(later + SYNC_RETRY));
        assert_eq!(journal.listed().count(), 2);
    }

    #[test]
    fn what_a_failed_sync_may_have_lost_is_never_durable_afterwards() {
        let mut journal = Journal::new(Bitfield::empty(8));
        assert!(journal.begin(PieceIndex(0)));
        journal.stored(Instant::ZERO, PieceIndex(0), 1);
        let batch = journal.flush().unwrap();
        journal.sync_lost(batch);
        assert_eq!(journal.flush(), None, "the next sync would succeed whatever was lost");
        assert!(journal.has(PieceIndex(0)) && !journal.begin(PieceIndex(0)));
        assert!(journal.listed().eq([PieceIndex(0)]));
    }

    #[test]
    fn what_is_there_is_not_written_twice() {
        let mut journal = Journal::new(Bitfield::full(2));
        assert!(!journal.begin(PieceIndex(0)));
        journal.adopted(Instant::ZERO, PieceIndex(1));
        assert_eq!(journal.poll_timeout(), None);
    }
}
