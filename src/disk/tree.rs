//! Opens files below one folder, component by component, so that no name can lead out of it.
//!
//! For writing, every symbolic link below the folder is refused, even one that stays inside: a link that is checked
//! now can be changed before it is followed, while `openat` with `O_NOFOLLOW` cannot be raced. For reading alone
//! (seeding what the user pointed at) links are followed, as they were when the torrent was made: only bytes with
//! the right hash are ever sent.

use super::descriptors::{Descriptors, Key, Share};
use super::fault::{StorageError, at};
use gaggle_core::storage::Stamp;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder that everything happens in. The folder itself may be reached through links.
pub(super) struct Tree {
    root: PathBuf,
    device: u64,
    inode: u64,
    links: Links,
    share: Share,
}

/// What to do at a symbolic link below the folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Open {
    Read,
    /// For reading and writing; a missing file and its folders are made.
    Write,
    /// For reading and writing what is there.
    WriteExisting,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    pub(super) links: u64,
    pub(super) device: u64,
}

impl Tree {
    pub(super) fn open(
        root: &Path,
        links: Links,
        descriptors: &Arc<Descriptors>,
    ) -> Result<Self, StorageError> {
        let stat = rustix::fs::stat(root).map_err(at(root))?;
        let (device, inode, share) = (stat.st_dev, stat.st_ino, descriptors.share());
        let tree = Self { root: root.to_owned(), device, inode, links, share };
        tree.top()?;
        Ok(tree)
    }

    /// What is open of it.
    pub(super) const fn share(&self) -> &Share {
        &self.share
    }

    /// The folder. If it had to be closed and another stands in its place now, that is an error: what was checked
    /// is not in there.
    fn top(&self) -> Result<Arc<File>, StorageError> {
        if let Some(top) = self.share.find(Key::Root, Open::Read) {
            return Ok(top);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, &self.root, flags, Mode::empty());
        let top = top.map_err(at(&self.root))?;
        let stat = rustix::fs::fstat(&top).map_err(at(&self.root))?;
        // For reading alone any folder does: whoever gets its bytes checks them.
        let same = (stat.st_dev, stat.st_ino) == (self.device, self.inode);
        if !same && self.links == Links::Refuse {
            return Err(at(&self.root)(Errno::STALE));
        }
        Ok(self.share.keep(Key::Root, Open::Read, File::from(top)))
    }

    /// The path as a person would type it.
    pub(super) fn full(&self, path: &[String]) -> PathBuf {
        path.iter().fold(self.root.clone(), |full, name| full.join(name))
    }

    /// `None` if nothing is there; an error if it is not a regular file.
    pub(super) fn look(&self, path: &[String]) -> Result<Option<Seen>, StorageError> {
        let Some((folder, name)) = self.folder(path, Open::Read)? else { return Ok(None) };
        let flags = match self.links {
            Links::Follow => AtFlags::empty(),
            Links::Refuse => AtFlags::SYMLINK_NOFOLLOW,
        };
        match rustix::fs::statat(&folder, name, flags) {
            Ok(stat) => self.regular(&stat, path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(at(&self.full(path))(errno)),
        }
    }

    /// Opens a regular file; `None` if it is missing and not to be made.
    pub(super) fn file(&self, path: &[String], open: Open) -> Result<Option<File>, StorageError> {
        let Some((folder, name)) = self.folder(path, open)? else { return Ok(None) };
        // NONBLOCK: a fifo in the way must not hang the thread before it is seen to be one.
        let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK | self.nofollow();
        flags |= match open {
            Open::Read => OFlags::RDONLY,
            Open::WriteExisting => OFlags::RDWR,
            Open::Write => OFlags::RDWR | OFlags::CREATE,
        };
        let fd = match rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o666)) {
            Ok(fd) => fd,
            Err(Errno::NOENT) if open != Open::Write => return Ok(None),
            Err(errno) => return Err(self.blocked(&folder, path, path.len(), errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(at(&self.full(path)))?;
        let seen = self.regular(&stat, path)?;
        if open != Open::Read && seen.links > 1 {
            return Err(StorageError::HardLinked { path: self.full(path), links: seen.links });
        }
        Ok(Some(File::from(fd)))
    }

    /// The file system of the folder.
    pub(super) const fn device(&self) -> u64 {
        self.device
    }

    /// Makes everything on the file system durable.
    pub(super) fn sync_all(&self) -> Result<(), StorageError> {
        readable(&*self.top()?).and_then(rustix::fs::syncfs).map_err(at(&self.root))
    }

    /// Makes the names in a folder durable; the empty path is the folder that everything happens in.
    pub(super) fn sync_folder(&self, path: &[String]) -> Result<(), StorageError> {
        let Some(folder) = self.open_folder(path)? else { return Ok(()) };
        rustix::fs::fsync(folder).map_err(at(&self.full(path)))
    }

    /// Names what is in a folder, `.` and `..` aside, with what stands there; links are not followed. What is gone when
    /// it is looked at is passed over, and a folder that is not there is empty.
    pub(super) fn list(
        &self,
        path: &[String],
        mut visit: impl FnMut(&[u8], &Stat),
    ) -> Result<(), StorageError> {
        let Some(folder) = self.open_folder(path)? else { return Ok(()) };
        let full = self.full(path);
        for entry in Dir::read_from(&folder).map_err(at(&full))? {
            let entry = entry.map_err(at(&full))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => visit(name.to_bytes(), &stat),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(at(&full)(errno)),
            }
        }
        Ok(())
    }

    /// A folder below, or by the empty path the one that everything happens in, for reading.
    fn open_folder(&self, path: &[String]) -> Result<Option<OwnedFd>, StorageError> {
        let folder = match path.split_last() {
            None => readable(&*self.top()?),
            Some(_) => {
                let Some((above, name)) = self.folder(path, Open::Read)? else { return Ok(None) };
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | self.nofollow();
                match rustix::fs::openat(&above, name, flags, Mode::empty()) {
                    Err(Errno::NOENT) => return Ok(None),
                    folder => folder.and_then(|folder| readable(&folder)),
                }
            }
        };
        folder.map(Some).map_err(at(&self.full(path)))
    }

    /// Removes a file that this process made and could not use.
    pub(super) fn remove(&self, path: &[String]) -> Result<(), StorageError> {
        let Some((folder, name)) = self.folder(path, Open::Read)? else { return Ok(()) };
        rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(at(&self.full(path)))
    }

    /// The folder that holds the last component, and that component.
    fn folder<'a>(
        &self,
        path: &'a [String],
        open: Open,
    ) -> Result<Option<(Arc<File>, &'a str)>, StorageError> {
        let (name, folders) = path.split_last().expect("a layout has no empty path");
        let mut at_folder = self.top()?;
        for (depth, component) in folders.iter().enumerate() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | self.nofollow();
            let enter = || rustix::fs::openat(&at_folder, component.as_str(), flags, Mode::empty());
            let entered = match enter() {
                Err(Errno::NOENT) if open != Open::Write => return Ok(None),
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(
                        &at_folder,
                        component.as_str(),
                        Mode::from_raw_mode(0o777),
                    ) {
                        Ok(()) | Err(Errno::EXIST) => enter(),
                        Err(errno) => Err(errno),
                    }
                }
                entered => entered,
            };
            at_folder = match entered {
                Ok(fd) => Arc::new(File::from(fd)),
                Err(errno) => return Err(self.blocked(&at_folder, path, depth + 1, errno)),
            };
        }
        Ok(Some((at_folder, name)))
    }

    /// Says what is wrong with the last of the first `depth` components.
    fn blocked(
        &self,
        folder: impl AsFd,
        path: &[String],
        depth: usize,
        errno: Errno,
    ) -> StorageError {
        let full = self.full(&path[..depth]);
        let stat = rustix::fs::statat(folder, path[depth - 1].as_str(), AtFlags::SYMLINK_NOFOLLOW);
        let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
        match (errno, kind) {
            (Errno::LOOP | Errno::NOTDIR, Ok(FileType::Symlink)) => {
                StorageError::Symlink { path: full }
            }
            (Errno::NOTDIR | Errno::ISDIR | Errno::NXIO, _) => {
                StorageError::NotAFile { path: full }
            }
            _ => at(&full)(errno),
        }
    }

    fn regular(&self, stat: &Stat, path: &[String]) -> Result<Seen, StorageError> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                Ok(Seen { stamp: stamp(stat), links: stat.st_nlink, device: stat.st_dev })
            }
            FileType::Symlink => Err(StorageError::Symlink { path: self.full(path) }),
            _ => Err(StorageError::NotAFile { path: self.full(path) }),
        }
    }

    fn nofollow(&self) -> OFlags {
        match self.links {
            Links::Follow => OFlags::empty(),
            Links::Refuse => OFlags::NOFOLLOW,
        }
    }
}

/// Size and time; a time outside 1677..2262 is cut off, which only makes it look changed.
pub(super) fn stamp(stat: &Stat) -> Stamp {
    let ns = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64);
    Stamp { len: stat.st_size as u64, mtime_ns: ns }
}

/// A descriptor that can be synced, of a folder that is open only by path.
fn readable(folder: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, ".", flags, Mode::empty())
}
