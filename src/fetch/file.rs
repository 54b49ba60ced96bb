//! The file that a download without a torrent goes to: under another name until all of it is there and checked.
//!
//! What can be checked in the end is kept when the download ends before that, with a record of which parts are there.
//! The record is believed by the download of the same content alone, and vouches for nothing: parts that are wrong make
//! the whole wrong, which is seen. Blocks while the disk works.

use super::Known;
use crate::disk::{StorageError, at, replace};
use bytes::Bytes;
use gaggle_core::bencode::{Dict, Limits, Value};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::hash::sha1;
use gaggle_core::metainfo::names;
use gaggle_core::rng::Rng;
use gaggle_core::share::{Hasher, Hashes};
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of a file that are read at once to be hashed.
const READ_LEN: usize = 1 << 20;
/// How often what is there is written down: what has come since is lost when the program is killed.
pub(super) const RECORD_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a name that are repeated in that of its unfinished file, so that there is room for what is added to it.
const NAME_LEN: usize = 200;
/// Of a record: one bit for each part of the largest file.
const RECORD: Limits = Limits { depth: 2, tokens: 16, bytes: 1 << 20 };

/// A file that is not whole. When it is dropped, it is removed, unless it was put in its place or is to be resumed.
pub(super) struct Unfinished {
    path: PathBuf,
    target: PathBuf,
    file: File,
    len: u64,
    overwrite: bool,
    /// What it will be compared with; `None` if it cannot be resumed.
    content: Option<[u8; 20]>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    placed: bool,
    /// Parts that are there.
    have: Option<Bitfield>,
    /// The same, as the record says.
    recorded: Option<Bitfield>,
}

/// Where a file of that name goes. The name may be a stranger's: it cannot lead out of the folder.
pub(super) fn target(dir: &Path, name: &str) -> PathBuf {
    dir.join(&*names::safe(name.as_bytes()))
}

/// What a file of that length must be, in one name. `None` if nothing will be checked.
fn content(known: &Known, len: u64) -> Option<[u8; 20]> {
    let hash = known.sha1.or(known.uu.map(|uu| uu.0)).filter(|_| known.is_proof())?;
    let kind: &[u8] = if known.sha1.is_some() { b"sha1" } else { b"uu" };
    Some(sha1([kind, &hash, &len.to_be_bytes()]))
}

impl Unfinished {
    /// Makes it beside its target, which must be free, unless it may be overwritten; or takes up what an earlier download
    /// of the same content has left, if no other is at it.
    pub(super) fn open(
        target: PathBuf,
        len: u64,
        known: &Known,
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
        let mut name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ends = name.char_indices().map(|(begin, one)| begin + one.len_utf8());
        name.truncate(ends.take_while(|end| *end <= NAME_LEN).last().unwrap_or(0));
        let named = |key: String| dir.join(format!(".{name}.{key}.part"));
        let content = content(known, len);
        let taken_up = content.and_then(|content| {
            let path = named(data_encoding::HEXLOWER.encode(&content[..4]));
            Some((take_up(&path)?, path))
        });
        let (file, path, content) = match taken_up {
            Some((file, path)) => (file, path, content),
            None => {
                let path = named(format!("{:08x}", rng.next_u32()));
                let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
                (made.map_err(at(&path))?, path, None)
            }
        };
        let made = Self { path, target, file, len, overwrite, content, state: Mutex::default() };
        made.file.set_len(len).map_err(at(&made.path))?;
        Ok(made)
    }

    /// Of so many parts those that are there from an earlier time, as its record says.
    pub(super) fn found(&self, parts: u32) -> Option<Bitfield> {
        let content = self.content?;
        let mut raw = Vec::new();
        let record = left_by_us(OpenOptions::new().read(true), &self.record_path())?;
        record.take(RECORD.bytes as u64 + 1).read_to_end(&mut raw).ok()?;
        let value = Value::parse(&raw, RECORD).ok()?;
        let same = value.at("content")?.as_bytes()? == content;
        let have = Bitfield::from_wire(value.at("have")?.as_bytes()?, parts).filter(|_| same)?;
        self.keep(Some(have.clone()));
        Some(have)
    }

    /// These parts are worth keeping; `None` if nothing is.
    pub(super) fn keep(&self, have: Option<Bitfield>) {
        self.state().have = have.filter(|have| !have.is_empty());
    }

    pub(super) fn write(&self, parts: &[(u64, Bytes)]) -> Result<(), StorageError> {
        let mut parts = parts.iter();
        parts.try_for_each(|(at, bytes)| self.file.write_all_at(bytes, *at)).map_err(at(&self.path))
    }

    /// Writes down which parts are there, if that has changed and the file can be resumed.
    pub(super) fn record(&self) -> Result<(), StorageError> {
        let Some(content) = self.content else { return Ok(()) };
        let have = {
            let State { have, recorded, .. } = &*self.state();
            have.clone().filter(|_| have != recorded)
        };
        let Some(have) = have else { return Ok(()) };
        // Of what is said to be there, nothing may be lost with the power.
        self.file.sync_data().map_err(at(&self.path))?;
        let record = Dict::new().bytes("content", content).bytes("have", have.to_wire());
        replace(&self.record_path(), &record.into_bytes())?;
        self.state().recorded = Some(have);
        Ok(())
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
        self.state().placed = true;
        let dir = self.target.parent().unwrap_or_else(|| Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
        Ok(self.target.clone())
    }

    fn record_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".have");
        path.into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (placed, worth) = {
            let state = self.state();
            (state.placed, state.have.is_some())
        };
        if !placed && worth && self.content.is_some() {
            if let Err(error) = self.record() {
                tracing::warn!(%error, "what is there of a file cannot be resumed");
            }
            return;
        }
        if !placed {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = std::fs::remove_file(self.record_path());
    }
}

/// Opens what is to be resumed, or makes it. `None` if another download is at it, or it cannot be had.
fn take_up(path: &Path) -> Option<File> {
    let made = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            left_by_us(OpenOptions::new().read(true).write(true), path)?
        }
        made => made.ok()?,
    };
    file.try_lock().ok()?;
    // The other one may have put it in its place a moment ago.
    let (ours, there) = (file.metadata().ok()?, std::fs::symlink_metadata(path).ok()?);
    ((ours.dev(), ours.ino()) == (there.dev(), there.ino())).then_some(file)
}

/// Opens a file whose name anybody could have guessed, if nobody else can have put it there: neither what a link leads to,
/// nor what has another name or owner.
fn left_by_us(options: &mut OpenOptions, path: &Path) -> Option<File> {
    // To open a pipe would wait for its other end.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    let file = options.open(path).ok()?;
    let seen = file.metadata().ok()?;
    let uid = rustix::process::geteuid().as_raw();
    (seen.is_file() && seen.nlink() == 1 && seen.uid() == uid).then_some(file)
}

/// What names the content of a file; `None` if it is not there, or has another size. Blocks while it reads all of it.
///
/// # Errors
/// The disk refuses.
pub fn hash(path: &Path, len: u64) -> Result<Option<Hashes>, StorageError> {
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
