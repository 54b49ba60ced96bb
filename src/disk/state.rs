//! The state folder's files of one torrent: resume record, unsynced list, parts.
//!
//! Named by info hash and output folder, so that a seed and a download of one torrent on one machine do not meet.
//! A record replaces the last one whole: temporary file, fsync, rename, fsync of the folder. The list is appended
//! to without a sync. Never reads or writes content.

use super::fault::{StorageError, at, fault};
use super::locks::{Lock, Locks};
use super::tree::stamp;
use gaggle_core::bitfield::Bitfield;
use gaggle_core::geometry::{Geometry, PieceIndex};
use gaggle_core::hash::sha1;
use gaggle_core::id::{InfoHash, TorrentHashes};
use gaggle_core::storage::Record;
use gaggle_core::storage::resume::{ENTRY_LEN, list_entry, read_list};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder below the state folder.
pub(super) const FOLDER: &str = "resume";
/// Largest record or list that is read: above what the most pieces and a million files need. A larger one is
/// not ours and is ignored.
const STATE_LEN_MAX: u64 = 128 << 20;

pub(super) struct State {
    folder: PathBuf,
    stem: String,
    info_hash: InfoHash,
    list: Option<File>, // while there is something in it
    list_len: u64,
    lock: Option<Lock>, // released at the latest when the last job of the torrent ends
}

impl State {
    /// Locks the torrent. `out_dir` is absolute.
    pub(super) fn open(
        locks: &Arc<Locks>,
        hashes: &TorrentHashes,
        out_dir: &Path,
    ) -> Result<Self, StorageError> {
        let folder = locks.folder().to_owned();
        let place = sha1([out_dir.as_os_str().as_bytes()]);
        let info_hash = hashes.wire();
        let stem =
            format!("{info_hash}-{:02x}{:02x}{:02x}{:02x}", place[0], place[1], place[2], place[3]);
        let name = sha1([stem.as_bytes()]);
        let lock = locks.take(name[..8].try_into().expect("eight of twenty bytes"))?;
        if lock.is_none() {
            return Err(StorageError::InUse { path: folder.join(&stem) });
        }
        let path = folder.join(format!("{stem}.unsynced"));
        let len = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(at(&path)(error)),
        };
        let list_len = len - len % ENTRY_LEN as u64; // a torn tail is written over
        Ok(Self { folder, stem, info_hash, list: None, list_len, lock })
    }

    /// Lets another process have the torrent.
    pub(super) fn unlock(&mut self) {
        self.lock = None;
    }

    pub(super) fn parts_path(&self) -> PathBuf {
        self.path("parts")
    }

    /// `None` if there is no record that can be believed.
    pub(super) fn load_record(&self) -> Result<Option<Record>, StorageError> {
        let path = self.path("record");
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > STATE_LEN_MAX => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        let record = Record::decode(&bytes);
        if let Err(error) = &record {
            tracing::warn!(path = %path.display(), %error, "resume record ignored");
        }
        Ok(record.ok())
    }

    /// The pieces of the unsynced list and when it was last written.
    pub(super) fn load_list(&self, geometry: &Geometry) -> Result<(Bitfield, i64), StorageError> {
        let path = self.path("unsynced");
        let list = match File::open(&path) {
            Ok(list) => list,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((read_list(self.info_hash, geometry, &[]), i64::MIN));
            }
            Err(error) => return Err(at(&path)(error)),
        };
        let stat = rustix::fs::fstat(&list).map_err(at(&path))?;
        let mut bytes = vec![0; self.list_len.min(STATE_LEN_MAX) as usize];
        list.read_exact_at(&mut bytes, 0).map_err(at(&path))?;
        Ok((read_list(self.info_hash, geometry, &bytes), stamp(&stat).mtime_ns))
    }

    /// Lists a piece before it is written. A failed write is written over by the next.
    pub(super) fn append(&mut self, piece: PieceIndex) -> Result<(), StorageError> {
        let entry = list_entry(self.info_hash, piece);
        let path = self.path("unsynced");
        let list = match self.list.take() {
            Some(list) => list,
            None => writable(&path)?,
        };
        let written = list.write_all_at(&entry, self.list_len);
        self.list = Some(list);
        written.map_err(at(&path))?;
        self.list_len += ENTRY_LEN as u64;
        Ok(())
    }

    /// Replaces the list. No sync: what it loses in a power cut was not durable either.
    pub(super) fn rewrite_list(
        &mut self,
        pieces: impl Iterator<Item = PieceIndex>,
    ) -> Result<(), StorageError> {
        let entries: Vec<u8> = pieces.flat_map(|piece| list_entry(self.info_hash, piece)).collect();
        if entries.is_empty() && self.list_len == 0 {
            return Ok(());
        }
        let (temp, path) = (self.path("unsynced.tmp"), self.path("unsynced"));
        let file = writable(&temp)?;
        file.set_len(0).map_err(at(&temp))?;
        file.write_all_at(&entries, 0).map_err(at(&temp))?;
        std::fs::rename(&temp, &path).map_err(at(&path))?;
        self.list_len = entries.len() as u64;
        self.list = (self.list_len > 0).then_some(file);
        Ok(())
    }

    /// Where the record is.
    pub(super) fn record_path(&self) -> PathBuf {
        self.path("record")
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem))
    }
}

/// Replaces a file durably: whoever reads it, now or after a power cut, finds the old bytes or the new. Takes the path
/// alone so that no lock is held while the disk works. Two at a time are one too many: their temporary file is the same.
/// Its name can be guessed, so what is there already is not written to but removed, be it from a run that was killed or a
/// link that somebody has put there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".tmp");
    let written = (|| {
        match std::fs::remove_file(&temp) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::create_new(&temp)?; // follows no link
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temp, path)?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        File::open(folder)?.sync_all()
    })();
    written.map_err(|error| StorageError::Disk(fault(path, &error)))
}

fn writable(path: &Path) -> Result<File, StorageError> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    open.map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_replaced_is_not_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let [path, temp, others] =
            ["record", "record.tmp", "others"].map(|name| dir.path().join(name));
        std::fs::write(&others, "theirs").unwrap();
        symlink(&others, &temp).unwrap();
        replace(&path, b"ours").unwrap();
        assert_eq!(
            (read(&path).unwrap(), read(&others).unwrap()),
            (b"ours".into(), b"theirs".into())
        );
        assert!(path.symlink_metadata().unwrap().is_file() && !temp.exists());
        // Nor is a file made where there was none.
        let nowhere = dir.path().join("nowhere");
        symlink(&nowhere, &temp).unwrap();
        replace(&path, b"again").unwrap();
        assert_eq!((read(&path).unwrap(), nowhere.exists()), (b"again".into(), false));
        std::fs::write(&temp, "left by a run that was killed, and longer").unwrap();
        replace(&path, b"last").unwrap();
        assert_eq!(read(&path).unwrap(), b"last");
    }
}
