//! The file that a download without a torrent goes to: under another name until all of it is there and checked.
//!
//! Blocks while the disk works.

use crate::disk::{StorageError, at};
use bytes::Bytes;
use gaggle_core::metainfo::names;
use gaggle_core::rng::Rng;
use gaggle_core::share::{Hasher, Hashes};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a file that are read at once to be hashed.
const READ_LEN: usize = 1 << 20;

/// A file that is not whole. It is removed when it is dropped, unless it was put in its place.
pub(super) struct Unfinished {
    path: PathBuf,
    target: PathBuf,
    file: File,
    len: u64,
    overwrite: bool,
    placed: AtomicBool,
}

/// Where a file of that name goes. The name may be a stranger's: it cannot lead out of the folder.
pub(super) fn target(dir: &Path, name: &str) -> PathBuf {
    dir.join(&*names::safe(name.as_bytes()))
}

impl Unfinished {
    /// Makes it beside its target, which must be free, unless it may be overwritten.
    pub(super) fn create(
        target: PathBuf,
        len: u64,
        overwrite: bool,
        rng: &mut Rng,
    ) -> Result<Self, StorageError> {
        match std::fs::symlink_metadata(&target) {
            Ok(there) if there.is_dir() => return Err(StorageError::NotAFile { path: target }),
            Ok(_) if !overwrite => return Err(StorageError::Foreign { path: target }),
            _ => {}
        }
        let dir = target.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = dir.join(format!(".{name}.{:08x}.part", rng.next_u32()));
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = made.map_err(at(&path))?;
        let made = Self { path, target, file, len, overwrite, placed: AtomicBool::new(false) };
        made.file.set_len(len).map_err(at(&made.path))?;
        Ok(made)
    }

    pub(super) fn write(&self, parts: &[(u64, Bytes)]) -> Result<(), StorageError> {
        let mut parts = parts.iter();
        parts.try_for_each(|(at, bytes)| self.file.write_all_at(bytes, *at)).map_err(at(&self.path))
    }

    pub(super) fn hash(&self) -> Result<Option<Hashes>, StorageError> {
        hash(&self.path, self.len)
    }

    /// Gives it its name. What stands there by now is replaced only if it may be.
    pub(super) fn place(&self) -> Result<PathBuf, StorageError> {
        self.file.sync_data().map_err(at(&self.path))?;
        let flags = if self.overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.target, flags) {
            Err(Errno::EXIST) => return Err(StorageError::Foreign { path: self.target.clone() }),
            // Not every file system can tell; then a look at it must do.
            Err(Errno::INVAL | Errno::NOSYS) if !self.target.exists() => {
                std::fs::rename(&self.path, &self.target).map_err(at(&self.target))?;
            }
            renamed => renamed.map_err(at(&self.target))?,
        }
        self.placed.store(true, Ordering::Relaxed);
        let dir = self.target.parent().unwrap_or_else(|| Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
        Ok(self.target.clone())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.placed.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What names the content of a file; `None` if it is not there, or has another size.
pub(super) fn hash(path: &Path, len: u64) -> Result<Option<Hashes>, StorageError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(at(path))?,
    };
    let there = file.metadata().map_err(at(path))?;
    if !there.is_file() || there.len() != len {
        return Ok(None);
    }
    let mut hasher = Hasher::new(len, None);
    let mut buffer = vec![0; READ_LEN];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish().map(|hashed| hashed.hashes)),
            Ok(got) => hasher.update(&buffer[..got]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(at(path)(error)),
        }
    }
}
