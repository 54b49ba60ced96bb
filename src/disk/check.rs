//! What happens before the first byte is received: look at what is there, hash what is not known.
//!
//! Files are looked at and hashed before anything is made or changed; a refusal leaves the folder as it was.

use super::claim::{Stop, cores, hash_pieces};
use super::fault::{StorageError, at};
use super::files::{Files, Holder};
use super::pool::Shared;
use super::room::Room;
use super::state::State;
use super::storage::{Access, PieceHashOf, StorageSpec};
use super::tree::{Links, Seen, Tree};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::geometry::PieceIndex;
use gaggle_core::id::PieceHash;
use gaggle_core::storage::{FileRecord, Found, Layout, Place, Record, Stamp, plan};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// How far a check is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Pieces hashed so far.
    pub hashed: u32,
    /// Pieces to hash in all.
    pub to_hash: u32,
}

/// What a torrent starts with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checked {
    /// The pieces that are there.
    pub have: Bitfield,
    /// How many were read and hashed, good or bad.
    pub hashed_pieces: u32,
    /// How many were taken from the record without reading.
    pub trusted_pieces: u32,
    /// Files on disk with more bytes than the torrent says. They are left as they are.
    pub too_long: Vec<usize>,
    /// Payload bytes received in earlier runs.
    pub downloaded: u64,
    /// Payload bytes sent in earlier runs.
    pub uploaded: u64,
}

/// Everything that [`open`] found and made.
pub(super) struct Opened {
    pub(super) layout: Layout,
    pub(super) files: Files,
    pub(super) state: State,
    pub(super) out_dir: PathBuf,
    pub(super) start: Start,
    pub(super) checked: Checked,
}

/// What the journal and the first record begin with.
pub(super) struct Start {
    pub(super) durable: Bitfield, // the record says so, and it is believed
    pub(super) adopted: Bitfield, // there, but perhaps not durable
    pub(super) stamps: Vec<Option<Stamp>>,
    pub(super) parts: Option<Stamp>,
    pub(super) made: BTreeSet<usize>,
    pub(super) changed: bool, // the record on disk does not say all this
}

/// Called with how far the check is, from several threads.
pub(super) type OnProgress<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

pub(super) fn open(
    pool: &Shared,
    spec: &StorageSpec,
    progress: OnProgress<'_>,
) -> Result<Opened, StorageError> {
    let write = spec.access == Access::ReadWrite;
    if write {
        std::fs::create_dir_all(&spec.out_dir).map_err(at(&spec.out_dir))?;
    }
    let out_dir = std::fs::canonicalize(&spec.out_dir).map_err(at(&spec.out_dir))?;
    let state = State::open(&pool.locks(&spec.state_dir)?, &spec.hashes, &out_dir)?;
    let mut layout = spec.layout.clone();
    let record = state.load_record()?.filter(|record| {
        record.fits(&spec.hashes, layout.geometry(), layout.files().len())
            && record.out_dir == out_dir.as_os_str().as_bytes()
    });
    let before = record.as_ref().map_or_else(Vec::new, Record::stored);
    layout.reset_stored(&before);
    let links = if write { Links::Refuse } else { Links::Follow };
    let tree = Tree::open(&out_dir, links, &pool.descriptors)?;
    let files = Files::new(tree, &layout, state.parts_path());
    let seen = look(&layout, &files)?;
    let stamps: Vec<_> = seen.iter().map(|seen| seen.map(|seen| seen.stamp)).collect();
    let plan = {
        let (listed, listed_mtime_ns) = state.load_list(layout.geometry())?;
        let (record, parts) = (record.as_ref(), files.stamp(Holder::Parts)?);
        plan(
            &layout,
            &Found { record, listed: &listed, listed_mtime_ns, files: &stamps, parts },
            spec.verify,
        )
    };
    let mut found = hash(&layout, &files, &spec.piece_hash, &plan.hash, progress)?;
    let mut hashed_pieces = plan.hash.count();
    let mut made = BTreeSet::new();
    if write {
        let mut have = found.clone();
        have.insert_all(&plan.trusted);
        let (before, mut moves) = (&before[..], plan.moves);
        moves.remove_all(&found);
        let (layout, files, seen) = (&layout, &files, &seen[..]);
        let room = Room { layout, files, seen, before, have: &have, moves: &moves };
        room.guard(spec.overwrite)?;
        made = room.make(spec.preallocate)?;
        room.move_parts()?;
        hashed_pieces += moves.count();
        found.insert_all(&hash(layout, files, &spec.piece_hash, &moves, progress)?);
    }
    let mut start = Start {
        stamps: look(&layout, &files)?.iter().map(|seen| seen.map(|seen| seen.stamp)).collect(),
        parts: files.stamp(Holder::Parts)?,
        durable: Bitfield::empty(layout.geometry().pieces()),
        adopted: found,
        made,
        changed: true,
    };
    let trusted_pieces = plan.trusted.count();
    for piece in plan.trusted.ones() {
        let durable = record.as_ref().is_some_and(|record| record.durable.has(piece));
        if durable { &mut start.durable } else { &mut start.adopted }.insert(piece);
    }
    start.changed = record.as_ref().is_none_or(|record| start.differs(&layout, record));
    let checked = start.checked(&layout, (hashed_pieces, trusted_pieces), record.as_ref());
    Ok(Opened { layout, files, state, out_dir, start, checked })
}

impl Start {
    fn differs(&self, layout: &Layout, record: &Record) -> bool {
        let file = |at: usize| FileRecord {
            priority: layout.priorities()[at],
            stored: layout.stored()[at],
            stamp: self.stamps[at],
        };
        self.durable != record.durable
            || !self.adopted.is_empty()
            || self.parts != record.parts
            || !(0..self.stamps.len()).map(file).eq(record.files.iter().copied())
    }

    fn checked(&self, layout: &Layout, counts: (u32, u32), record: Option<&Record>) -> Checked {
        let mut have = self.adopted.clone();
        have.insert_all(&self.durable);
        let long =
            |&at: &usize| self.stamps[at].is_some_and(|now| now.len > layout.files()[at].len);
        Checked {
            have,
            hashed_pieces: counts.0,
            trusted_pieces: counts.1,
            too_long: (0..self.stamps.len()).filter(long).collect(),
            downloaded: record.map_or(0, |record| record.downloaded),
            uploaded: record.map_or(0, |record| record.uploaded),
        }
    }
}

/// What stands where stored files belong.
pub(super) fn look(layout: &Layout, files: &Files) -> Result<Vec<Option<Seen>>, StorageError> {
    let stored = layout.stored().iter().enumerate();
    stored.map(|(at, &stored)| if stored { files.look(at) } else { Ok(None) }).collect()
}

/// Reads and hashes pieces on all cores; those that are right.
pub(super) fn hash(
    layout: &Layout,
    files: &Files,
    piece_hash: &PieceHashOf,
    pieces: &Bitfield,
    progress: OnProgress<'_>,
) -> Result<Bitfield, StorageError> {
    let mut good = Bitfield::empty(pieces.len());
    let pieces: Vec<PieceIndex> = pieces.ones().collect();
    let read = |(): &mut (), place: Place, out: &mut [u8]| files.read_into(place, out);
    let to_hash = pieces.len() as u32;
    let done = |hashed: usize| progress(Progress { hashed: hashed as u32, to_hash });
    let hashes = hash_pieces(layout, &pieces, cores(), read, done).map_err(|stop| match stop {
        Stop::Asked => StorageError::Cancelled,
        Stop::Failed(error) => error,
    })?;
    for (piece, hash) in pieces.into_iter().zip(hashes) {
        if hash.is_some_and(|hash| piece_hash(piece) == Some(PieceHash::Sha1(hash))) {
            good.insert(piece);
        }
    }
    Ok(good)
}
