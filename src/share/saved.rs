//! The record of hashes in the state folder, which all processes of one user write.

use super::Shared;
use crate::disk::replace;
use gaggle_core::share::Record;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

/// A longer file is none of ours.
const LEN_MAX: u64 = 128 << 20;

fn path(shared: &Shared) -> PathBuf {
    shared.config.state_dir.join("share.record")
}

/// What is there; nothing if it cannot be believed, which costs hashing again.
pub(super) fn load(shared: &Shared) -> Record {
    let path = path(shared);
    let mut raw = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(LEN_MAX + 1).read_to_end(&mut raw));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Record::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "hashes of earlier runs cannot be read");
            Record::default()
        }
        Ok(_) => Record::decode(&raw).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "everything is hashed again");
            Record::default()
        }),
    }
}

/// Replaces what is there, but for what another process knows of files that are not in `folders`. One process at a time:
/// who finds the file locked leaves it, and saves at the next look. Whether it was done.
pub(super) fn save(shared: &Shared, record: &mut Record, folders: &[Vec<u8>]) -> bool {
    let path = path(shared);
    let folder = &shared.config.state_dir;
    let lock = std::fs::create_dir_all(folder).and_then(|()| {
        let lock = path.with_extension("lock");
        File::options().create(true).truncate(false).write(true).open(lock)
    });
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(path = %folder.display(), %error, "hashes are not kept");
            return false;
        }
    };
    if lock.try_lock().is_err() {
        return false;
    }
    record.absorb(load(shared), folders);
    if let Err(error) = replace(&path, &record.encode()) {
        tracing::warn!(%error, "hashes are not kept");
        return false;
    }
    true
}
