//! Who works on which torrent: one byte of one file for each, so that a thousand torrents need one descriptor.
//!
//! The locks belong to the open file (`F_OFD_SETLK`), not to the process: they end with it, however it ends, and two
//! pools in one process exclude each other.

use super::fault::{StorageError, at};
use super::pool::held;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The file, in the folder of the records.
const NAME: &str = "locks";

pub(super) struct Locks {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    ours: Mutex<BTreeSet<u64>>,
}

/// One torrent in one folder, ours until this is dropped.
pub(super) struct Lock {
    all: Arc<Locks>,
    byte: u64,
}

impl Locks {
    pub(super) fn open(folder: &Path) -> Result<Arc<Self>, StorageError> {
        let path = folder.join(NAME);
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(at(&path))?;
        Ok(Arc::new(Self { folder: folder.to_owned(), path, file, ours: Mutex::default() }))
    }

    /// The folder of the records.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Locks what `name` begins with the hash of; `None` if somebody else has it, or we do.
    pub(super) fn take(self: &Arc<Self>, name: [u8; 8]) -> Result<Option<Lock>, StorageError> {
        let byte = u64::from_be_bytes(name) >> 2; // so that its end is a position in a file, too
        let mut ours = held(&self.ours);
        if ours.contains(&byte) || !self.set(libc::F_WRLCK, byte)? {
            return Ok(None);
        }
        ours.insert(byte);
        Ok(Some(Lock { all: Arc::clone(self), byte }))
    }

    /// `false` if another process is in the way.
    fn set(&self, kind: i32, byte: u64) -> Result<bool, StorageError> {
        let range = libc::flock {
            l_type: kind as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: byte as i64,
            l_len: 1,
            l_pid: 0,
        };
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range)) {
            Ok(_) => Ok(true),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
            Err(error) => Err(at(&self.path)(Errno::from_raw_os_error(error as i32))),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut ours = held(&self.all.ours);
        if let Err(error) = self.all.set(libc::F_UNLCK, self.byte) {
            tracing::warn!(%error, "a torrent stays locked until this process ends");
        }
        ours.remove(&self.byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_is_locked_once_in_and_between_processes() {
        let folder = tempfile::tempdir().unwrap();
        // Another description of the file is what another process has.
        let [ours, theirs] = [(), ()].map(|()| Locks::open(folder.path()).unwrap());
        let lock = ours.take([7; 8]).unwrap();
        assert!(lock.is_some());
        assert!(ours.take([7; 8]).unwrap().is_none());
        assert!(theirs.take([7; 8]).unwrap().is_none());
        assert!(theirs.take([0xff; 8]).unwrap().is_some(), "others are free, up to the last");
        drop(lock);
        assert!(theirs.take([7; 8]).unwrap().is_some());
    }
}
