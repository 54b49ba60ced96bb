//! Keeps foreign data from harm, then makes files and room for what will be written.
//!
//! Every guard is asked before the first file is made or changed: a refusal leaves the folder as it was.

use super::fault::{StorageError, at as fault_at};
use super::files::{Files, Holder};
use super::tree::{Open, Seen};
use bytes::Bytes;
use gaggle_core::bitfield::Bitfield;
use gaggle_core::geometry::PieceIndex;
use gaggle_core::storage::{Extent, Layout, Place};
use rustix::fs::{FallocateFlags, SeekFrom, seek};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How room is made for files that are to be written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Preallocate {
    /// Space is reserved, so that a full disk shows at the start. Sparse where the file system cannot do that, and
    /// in memory (tmpfs), where it only has to be free; zeros are never written.
    #[default]
    Full,
    /// Files grow as pieces arrive.
    None,
    /// Files get their size, but no space.
    Sparse,
}

/// The file system in memory, by its number in statfs(2).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// A checked torrent just before it is written to.
pub(super) struct Room<'a> {
    pub(super) layout: &'a Layout,
    pub(super) files: &'a Files,
    pub(super) seen: &'a [Option<Seen>],
    /// Per file, whether our record says that we stored it; empty without a record.
    pub(super) before: &'a [bool],
    pub(super) have: &'a Bitfield,
    /// Pieces with bytes that must leave the parts file.
    pub(super) moves: &'a Bitfield,
}

impl Room<'_> {
    /// Refuses if something would be destroyed: a file that is not ours and has nothing of the torrent, or one
    /// with other names. `overwrite` lifts the first.
    pub(super) fn guard(&self, overwrite: bool) -> Result<(), StorageError> {
        let wanted = self.layout.wanted_pieces();
        for (at, seen) in self.seen.iter().enumerate() {
            let Some(seen) = seen else { continue };
            let mut pieces = self.layout.pieces_of(at).map(PieceIndex);
            let path = || self.files.path(Holder::File(at));
            if seen.links > 1
                && pieces.clone().any(|piece| wanted.has(piece) && !self.have.has(piece))
            {
                return Err(StorageError::HardLinked { path: path(), links: seen.links });
            }
            let ours = overwrite || self.before.get(at).copied().unwrap_or(false);
            let untouched = seen.stamp.len == 0 || self.layout.files()[at].len == 0;
            if ours || untouched || pieces.any(|piece| self.have.has(piece)) {
                continue;
            }
            if !self.is_zero(at)? && !self.is_half_moved(at)? {
                return Err(StorageError::Foreign { path: path() });
            }
        }
        Ok(())
    }

    /// Makes empty files, and room for those that lack pieces. Returns the files that did not exist before.
    pub(super) fn make(&self, how: Preallocate) -> Result<BTreeSet<usize>, StorageError> {
        let mut made = BTreeSet::new();
        let made_all = self.make_each(how, &mut made);
        if made_all.is_err() {
            for &at in &made {
                if let Err(error) = self.files.remove(at) {
                    tracing::warn!(%error, "left behind");
                }
            }
        }
        // Files that grow piece by piece are made later; their names need a sync all the same.
        let missing = |&at: &usize| self.layout.stored()[at] && self.seen[at].is_none();
        made_all.map(|()| (0..self.seen.len()).filter(missing).collect())
    }

    fn make_each(&self, how: Preallocate, made: &mut BTreeSet<usize>) -> Result<(), StorageError> {
        for at in self.layout.empty_files() {
            self.make_one(at, made)?;
        }
        let mut promised = 0;
        for (at, spec) in self.layout.files().iter().enumerate() {
            let complete =
                || self.layout.pieces_of(at).all(|piece| self.have.has(PieceIndex(piece)));
            let wanted = self.layout.priorities()[at] > 0 && spec.len > 0;
            if how == Preallocate::None || !wanted || complete() {
                continue;
            }
            let file = self.make_one(at, made)?;
            reserve(&file, spec.len, how, &mut promised)
                .map_err(fault_at(&self.files.path(Holder::File(at))))?;
        }
        Ok(())
    }

    fn make_one(
        &self,
        at: usize,
        made: &mut BTreeSet<usize>,
    ) -> Result<std::sync::Arc<File>, StorageError> {
        let file = self
            .files
            .open(Holder::File(at), Open::Write)?
            .expect("a file opened for writing is made");
        if self.seen[at].is_none() {
            made.insert(at);
        }
        Ok(file)
    }

    /// Copies bytes out of the parts file into files that are selected now. The parts file keeps them: until the
    /// next record is saved, the old one still points there.
    pub(super) fn move_parts(&self) -> Result<(), StorageError> {
        for piece in self.moves.ones() {
            for part in self.layout.moves(piece, self.before) {
                let mut bytes = vec![0; part.len as usize];
                let from = Extent { place: Place::Parts { offset: part.from }, len: part.len };
                if self.files.read(&[from], &mut bytes)? {
                    let to = Extent {
                        place: Place::File { file: part.file, offset: part.offset },
                        len: part.len,
                    };
                    self.files.write(&[to], &[Bytes::from(bytes)])?;
                }
            }
        }
        Ok(())
    }

    /// Whether an earlier run was killed after it had copied something from the parts file into this one, and
    /// before it had recorded that.
    fn is_half_moved(&self, at_file: usize) -> Result<bool, StorageError> {
        let touches = |piece: &PieceIndex| self.layout.pieces_of(at_file).contains(&piece.0);
        for piece in self.moves.ones().filter(touches) {
            for part in self.layout.moves(piece, self.before).iter().filter(|m| m.file == at_file) {
                let len = part.len;
                let read = |place| {
                    let mut bytes = vec![0; len as usize];
                    self.files
                        .read(&[Extent { place, len }], &mut bytes)
                        .map(|there| there.then_some(bytes))
                };
                let from = read(Place::Parts { offset: part.from })?;
                if from.is_some()
                    && from == read(Place::File { file: at_file, offset: part.offset })?
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether the file holds no byte but zeros: what an earlier preallocation leaves. Holes are not read.
    fn is_zero(&self, at_file: usize) -> Result<bool, StorageError> {
        let path = self.files.path(Holder::File(at_file));
        let Some(file) = self.files.open(Holder::File(at_file), Open::Read)? else {
            return Ok(true);
        };
        let mut buffer = vec![0; 1 << 20];
        let mut pos = 0;
        loop {
            pos = match seek(&file, SeekFrom::Data(pos)) {
                Ok(data) => data,
                Err(Errno::NXIO) => return Ok(true), // nothing but a hole up to the end
                Err(Errno::INVAL) => pos,            // this file system cannot tell
                Err(errno) => return Err(fault_at(&path)(errno)),
            };
            match file.read_at(&mut buffer, pos) {
                Ok(0) => return Ok(true),
                Ok(len) if buffer[..len].iter().any(|&byte| byte != 0) => return Ok(false),
                Ok(len) => pos += len as u64,
                Err(error) => return Err(fault_at(&path)(error)),
            }
        }
    }
}

/// Gives the file its size, and space if asked. A longer file stays as it is. When the disk is full the file gets
/// its old size back.
fn reserve(file: &File, len: u64, how: Preallocate, promised: &mut u64) -> Result<(), Errno> {
    let meta = rustix::fs::fstat(file)?;
    let old = meta.st_size as u64;
    let lacks = len.saturating_sub((meta.st_blocks as u64).saturating_mul(512));
    if how == Preallocate::Full && (old < len || lacks > 0) {
        let system = rustix::fs::fstatfs(file)?;
        if system.f_type == TMPFS {
            // Room is memory here: to reserve it is to clear every page, for a piece that overwrites all of it.
            *promised += lacks;
            let free = system.f_bavail.saturating_mul(system.f_bsize as u64);
            // A tmpfs without a limit says that it has no blocks at all.
            if system.f_blocks > 0 && free < *promised {
                return Err(Errno::NOSPC);
            }
        } else if allocate(file, old, len)? {
            return Ok(());
        }
    }
    if old < len { rustix::fs::ftruncate(file, len) } else { Ok(()) }
}

/// `Ok(false)` if the file system cannot reserve space.
fn allocate(file: &File, old: u64, len: u64) -> Result<bool, Errno> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(errno) => {
                rustix::fs::ftruncate(file, old)?;
                return Err(errno);
            }
        }
    }
}
