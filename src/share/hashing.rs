//! Reads files once each, for all their hashes, on a few threads.

use super::Shared;
use super::look::Seen;
use crate::disk::{Folder, StorageError, at};
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::{Build, Content, Metainfo, piece_length_auto};
use gaggle_core::share::{Hashed, Hasher, Known, is_settled};
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Bytes read at once.
const READ_LEN: usize = 256 << 10;
/// Results that wait for the looking thread, for each of the hashing ones; beyond it they wait for it.
const RESULTS_MAX: usize = 16;

/// Hashes files and tells of each, in the order in which they end; `None` if it could not be read as it was seen.
pub(super) fn hash_each(
    shared: &Shared,
    files: &[Seen],
    mut tell: impl FnMut(&Seen, Option<Known>),
) {
    let cores = || std::thread::available_parallelism().map_or(2, usize::from);
    let threads = shared.config.threads.unwrap_or_else(cores).clamp(1, files.len().max(1));
    let next = AtomicUsize::new(0);
    let work = |results: mpsc::SyncSender<(usize, Option<Known>)>| {
        let mut buffer = vec![0; READ_LEN];
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(seen) = files.get(at).filter(|_| !shared.is_stopping()) else { return };
            let known = hash(shared, seen, &mut buffer).unwrap_or_else(|error| {
                tracing::warn!(%error, "a file is not shared");
                None
            });
            if results.send((at, known)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let (results, hashed) = mpsc::sync_channel(RESULTS_MAX * threads);
        for _ in 0..threads {
            let results = results.clone();
            let work = &work;
            scope.spawn(move || work(results));
        }
        drop(results);
        for (at, known) in hashed {
            if !shared.is_stopping() {
                tell(&files[at], known);
            }
        }
    });
}

/// `Ok(None)` if it is gone or changes.
fn hash(shared: &Shared, seen: &Seen, buffer: &mut [u8]) -> Result<Option<Known>, StorageError> {
    let opened_ns = i64::try_from(shared.clock.unix().as_nanos()).unwrap_or(i64::MAX);
    let Some((mut file, stamp)) = seen.folder.read(&seen.place.path)? else { return Ok(None) };
    if stamp != seen.stamp {
        return Ok(None);
    }
    let alone = shared.config.torrents && seen.can_be_torrent();
    let piece_len = alone.then(|| piece_length_auto(stamp.len));
    let mut hasher = Hasher::new(stamp.len, piece_len);
    let mut left = stamp.len;
    while left > 0 && !shared.is_stopping() {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let len = match file.read(&mut buffer[..want]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| at(&seen.path)(error))?,
        };
        if len == 0 {
            return Ok(None);
        }
        hasher.update(&buffer[..len]);
        left -= len as u64;
    }
    let after = Folder::stamp(&file).map_err(|error| at(&seen.path)(error))?;
    let hashed = hasher.finish().filter(|_| after == stamp);
    Ok(hashed.map(|hashed| Known {
        stamp,
        hashes: hashed.hashes,
        torrent: piece_len.and_then(|len| make_torrent(shared, seen, len, &hashed)),
        settled: is_settled(&stamp, opened_ns, seen.unchanged),
    }))
}

/// Makes the torrent that `create` makes by default, and keeps it if it can.
fn make_torrent(shared: &Shared, seen: &Seen, piece_len: u32, hashed: &Hashed) -> Option<InfoHash> {
    let build = Build {
        name: seen.place.path.last()?.as_bytes().to_vec(),
        piece_len,
        content: Content::File(seen.stamp.len),
        pieces: hashed.pieces.concat(),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private: false,
        source: None,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    let bytes = build.to_bytes().ok()?;
    let info_hash = Metainfo::parse(&bytes).ok()?.info_hash();
    let path = shared.torrent_path(info_hash);
    if !path.exists()
        && let Err(error) = keep(&path, &bytes)
    {
        tracing::warn!(path = %path.display(), %error, "a torrent is not kept");
    }
    Some(info_hash)
}

/// Not synced: one that a power cut took is missed when it is asked for, and ten thousand of them would take minutes.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Two threads, of two processes too, may make the same one.
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let temp = path.with_extension(format!("{process}-{thread:?}.tmp"));
    std::fs::write(&temp, bytes)?;
    std::fs::rename(&temp, path)
}
