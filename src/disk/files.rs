//! The files of one torrent: reads and writes extents, opening what it needs.

use super::descriptors::Key;
use super::fault::{StorageError, at};
use super::pool::held;
use super::tree::{Open, Seen, Tree, stamp};
use bytes::Bytes;
use gaggle_core::storage::{DiskFault, Extent, Layout, Place, Stamp};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// So many files are synced by one syncfs.
const SYNC_ALL_FROM: usize = 64;
/// Slices of one `pwritev`, the kernel's limit.
const SLICES_MAX: usize = 1024;

/// Locks for the files that are written to: more than most machines have threads that write. Files that share a lock wait
/// for each other.
const WRITERS: usize = 8;

/// Something that holds content: a file of the torrent, or the parts file.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Holder {
    File(usize),
    Parts,
}

pub(super) struct Files {
    tree: Tree,
    paths: Vec<Vec<String>>,
    parts: PathBuf,
    /// Files that are there, or were: none of them is made a second time.
    known: Mutex<BTreeSet<usize>>,
    /// Held while a file is written to, by its number: tmpfs, ext4, XFS and btrfs let one writer at a time into a file anyway,
    /// and who waits there burns a core.
    writing: [Mutex<()>; WRITERS],
}

impl Files {
    pub(super) fn new(tree: Tree, layout: &Layout, parts: PathBuf) -> Self {
        let paths = layout.files().iter().map(|file| file.path.clone()).collect();
        Self { tree, paths, parts, known: Mutex::default(), writing: Default::default() }
    }

    pub(super) fn path(&self, holder: Holder) -> PathBuf {
        match holder {
            Holder::File(file) => self.tree.full(&self.paths[file]),
            Holder::Parts => self.parts.clone(),
        }
    }

    pub(super) fn look(&self, file: usize) -> Result<Option<Seen>, StorageError> {
        let seen = self.tree.look(&self.paths[file])?;
        if seen.is_some() {
            held(&self.known).insert(file);
        }
        Ok(seen)
    }

    /// Closes everything; what is needed is opened again.
    pub(super) fn rest(&self) {
        self.tree.share().close_all();
    }

    /// Removes a file that this process made and could not use.
    pub(super) fn remove(&self, file: usize) -> Result<(), StorageError> {
        self.tree.share().close(Key::Holder(Holder::File(file)));
        held(&self.known).remove(&file);
        self.tree.remove(&self.paths[file])
    }

    /// Makes one file's bytes durable.
    pub(super) fn sync(&self, holder: Holder) -> Result<(), Errno> {
        match self.open(holder, Open::Read) {
            Ok(Some(file)) => rustix::fs::fdatasync(&file),
            // What is gone has nothing to lose; the next start sees that it is missing.
            Ok(None) => Ok(()),
            Err(_) => Err(Errno::IO),
        }
    }

    /// Where very many files are on one file system, one syncfs takes the place of a journal commit for each, names
    /// included. `Ok(false)` if it was not done.
    pub(super) fn sync_many(&self, holders: &BTreeSet<Holder>) -> Result<bool, StorageError> {
        if holders.len() < SYNC_ALL_FROM {
            return Ok(false);
        }
        for holder in holders {
            let same = match holder {
                Holder::File(file) => {
                    self.look(*file)?.is_none_or(|seen| seen.device == self.tree.device())
                }
                Holder::Parts => {
                    self.sync(Holder::Parts).map_err(at(&self.parts))?;
                    true
                }
            };
            if !same {
                return Ok(false);
            }
        }
        self.tree.sync_all().map(|()| true)
    }

    /// Makes the names of files, and of the folders above them, durable.
    pub(super) fn sync_names(&self, files: &BTreeSet<usize>) -> Result<(), StorageError> {
        let above = files.iter().flat_map(|&file| {
            let path = &self.paths[file];
            (0..path.len()).map(|depth| &path[..depth])
        });
        let folders: BTreeSet<&[String]> = above.collect();
        folders.into_iter().try_for_each(|folder| self.tree.sync_folder(folder))
    }

    /// Size and time as they are now; `None` if there is no such file.
    pub(super) fn stamp(&self, holder: Holder) -> Result<Option<Stamp>, StorageError> {
        match holder {
            Holder::File(file) => Ok(self.look(file)?.map(|seen| seen.stamp)),
            Holder::Parts => match rustix::fs::stat(&self.parts) {
                Ok(stat) => Ok(Some(stamp(&stat))),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(at(&self.parts)(errno)),
            },
        }
    }

    /// An open file; `None` if it is missing and only to be read.
    pub(super) fn open(
        &self,
        holder: Holder,
        mode: Open,
    ) -> Result<Option<Arc<File>>, StorageError> {
        if let Some(file) = self.tree.share().find(Key::Holder(holder), mode) {
            return Ok(Some(file));
        }
        let opened = match holder {
            Holder::File(file) if mode == Open::Write => Some(self.open_to_write(file)?),
            Holder::File(file) => self.tree.file(&self.paths[file], mode)?,
            Holder::Parts => open_parts(&self.parts, mode)?,
        };
        Ok(opened.map(|file| self.tree.share().keep(Key::Holder(holder), mode, file)))
    }

    /// Makes the file at most once: one that was removed behind our back held pieces that a new one does not.
    fn open_to_write(&self, file: usize) -> Result<File, StorageError> {
        let known = held(&self.known).contains(&file);
        let mode = if known { Open::WriteExisting } else { Open::Write };
        let opened = self.tree.file(&self.paths[file], mode)?;
        held(&self.known).insert(file);
        opened.ok_or_else(|| {
            let path = self.path(Holder::File(file));
            DiskFault::Io(format!("{} was removed while it was in use", path.display())).into()
        })
    }

    fn writing_to(&self, holder: Holder) -> &Mutex<()> {
        match holder {
            Holder::File(file) => &self.writing[file % WRITERS],
            Holder::Parts => &self.writing[0],
        }
    }

    /// Fills `out` with the bytes of `extents`, which are as long. `Ok(false)` if some are not there.
    pub(super) fn read(
        &self,
        extents: &[Extent],
        mut out: &mut [u8],
    ) -> Result<bool, StorageError> {
        for extent in extents {
            let (here, rest) = out.split_at_mut(extent.len as usize);
            if !self.read_into(extent.place, here)? {
                return Ok(false);
            }
            out = rest;
        }
        Ok(out.is_empty()) // or it would hold what another torrent left there
    }

    /// Fills `out` from one place; zeros for padding. `Ok(false)` if the bytes are not there, or cannot be read.
    pub(super) fn read_into(&self, place: Place, out: &mut [u8]) -> Result<bool, StorageError> {
        let Some((holder, offset)) = holder(place) else {
            out.fill(0);
            return Ok(true);
        };
        let Some(file) = self.open(holder, Open::Read)? else { return Ok(false) };
        match file.read_exact_at(out, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                tracing::warn!(path = %self.path(holder).display(), offset, "unreadable, taken as missing");
                Ok(false)
            }
            Err(error) => Err(at(&self.path(holder))(error)),
        }
    }

    /// Writes `parts`, one behind the other, to `extents`. What falls on padding is dropped, and must be zeros:
    /// nothing else could be given back.
    /// The lengths agree: the caller has hashed the piece.
    pub(super) fn write(&self, extents: &[Extent], parts: &[Bytes]) -> Result<(), StorageError> {
        let mut rest = Cursor { parts, at: 0 };
        for extent in extents {
            let mut slices = rest.take(extent.len as usize);
            let Some((holder, mut offset)) = holder(extent.place) else {
                if slices.iter().any(|slice| slice.iter().any(|&byte| byte != 0)) {
                    return Err(DiskFault::Io("the torrent's padding is not zeros".into()).into());
                }
                continue;
            };
            let path = || self.path(holder);
            let file = self.open(holder, Open::Write)?.expect("a file opened for writing is made");
            let mut slices = &mut slices[..];
            let _alone = held(self.writing_to(holder));
            while !slices.is_empty() {
                let batch = &slices[..slices.len().min(SLICES_MAX)];
                match rustix::io::pwritev(&file, batch, offset) {
                    Ok(0) => return Err(at(&path())(std::io::Error::from(ErrorKind::WriteZero))),
                    Ok(written) => {
                        offset += written as u64;
                        IoSlice::advance_slices(&mut slices, written);
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(at(&path())(errno)),
                }
            }
        }
        Ok(())
    }
}

/// Who holds the bytes and where; `None` for padding.
pub(super) const fn holder(place: Place) -> Option<(Holder, u64)> {
    match place {
        Place::File { file, offset } => Some((Holder::File(file), offset)),
        Place::Pad => None,
        Place::Parts { offset } => Some((Holder::Parts, offset)),
    }
}

fn open_parts(path: &Path, mode: Open) -> Result<Option<File>, StorageError> {
    let write = mode == Open::Write;
    match OpenOptions::new().read(true).write(write).create(write).truncate(false).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound && !write => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Walks over a piece's blocks, cutting them where extents end.
struct Cursor<'a> {
    parts: &'a [Bytes],
    at: usize, // in the first of `parts`
}

impl<'a> Cursor<'a> {
    fn take(&mut self, mut len: usize) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity(len / (16 << 10) + 2);
        while len > 0 {
            let Some(part) = self.parts.first() else { break };
            let cut = &part[self.at..part.len().min(self.at + len)];
            (len, self.at) = (len - cut.len(), self.at + cut.len());
            if self.at == part.len() {
                (self.parts, self.at) = (&self.parts[1..], 0);
            }
            if !cut.is_empty() {
                slices.push(IoSlice::new(cut));
            }
        }
        slices
    }
}
