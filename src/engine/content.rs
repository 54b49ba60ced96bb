//! From metadata to open storage: which files are wanted, where they go, what is there already.

use super::api::{AddTorrent, EngineError, Selection};
use crate::disk::{Access, Checked, DiskEvent, Pool, Progress, Storage, StorageSpec};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::metainfo::{Info, Metainfo};
use gaggle_core::storage::Layout;
use globset::{GlobBuilder, GlobSetBuilder};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Priority of a wanted file; 0 is unwanted.
const WANTED: u8 = 1;

/// A torrent whose metadata is known and whose storage is open.
pub(super) struct Content {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) storage: Arc<Storage>,
    pub(super) path: PathBuf,
    /// Payload received and sent in earlier runs.
    pub(super) before: (u64, u64),
}

/// What opening brought.
pub(super) struct Opened {
    pub(super) content: Content,
    pub(super) checked: Checked,
    pub(super) wanted: Bitfield,
}

/// Storage on its way to being open. Dropping it breaks the check off after the piece in hand.
pub(super) struct Opening {
    pub(super) outcome: JoinHandle<Result<Opened, EngineError>>,
    pub(super) progress: watch::Receiver<(u32, u32)>,
    broken_off: Arc<AtomicBool>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.broken_off.store(true, Ordering::Relaxed);
    }
}

impl Opening {
    /// Begins to look at what is there, on a thread that may block.
    pub(super) fn begin(
        pool: &Pool,
        metainfo: Arc<Metainfo>,
        add: &AddTorrent,
        state_dir: PathBuf,
        events: mpsc::Sender<Box<DiskEvent>>,
    ) -> Self {
        let (pool, add) = (pool.clone(), add.clone());
        let broken_off = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&broken_off);
        let (report, progress) = watch::channel((0, 0));
        let outcome = tokio::task::spawn_blocking(move || {
            let on_progress = |at: Progress| {
                report.send_replace((at.hashed, at.to_hash));
                match stop.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            open(&pool, metainfo, &add, state_dir, events, &on_progress)
        });
        Self { outcome, progress, broken_off }
    }
}

fn open(
    pool: &Pool,
    metainfo: Arc<Metainfo>,
    add: &AddTorrent,
    state_dir: PathBuf,
    events: mpsc::Sender<Box<DiskEvent>>,
    progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
) -> Result<Opened, EngineError> {
    let mut layout = Layout::of(&metainfo.info)?;
    layout.select(&priorities(&metainfo.info, &add.select)?);
    let wanted = if add.seed_only {
        Bitfield::empty(metainfo.info.geometry.pieces())
    } else {
        layout.wanted_pieces()
    };
    let hashes = Arc::clone(&metainfo);
    let spec = StorageSpec {
        hashes: metainfo.hashes(),
        layout,
        piece_hash: Arc::new(move |piece| hashes.info.pieces.of(piece)),
        out_dir: add.out_dir.clone(),
        state_dir,
        access: if add.seed_only { Access::ReadOnly } else { Access::ReadWrite },
        preallocate: add.preallocate,
        verify: add.verify,
        overwrite: add.overwrite,
    };
    // The queue holds more than the disk may have under way, so this never waits while the torrent lives.
    let sink = Box::new(move |event| drop(events.blocking_send(Box::new(event))));
    let (storage, checked) = Storage::open(pool, spec, sink, progress)
        .map_err(|error| EngineError::Storage(Arc::new(error)))?;
    let top = metainfo.info.files.first().and_then(|file| file.path.first());
    let path = top.map_or_else(|| storage.out_dir().to_owned(), |top| storage.out_dir().join(top));
    let before = (checked.downloaded, checked.uploaded);
    let content = Content { metainfo, storage: Arc::new(storage), path, before };
    Ok(Opened { content, checked, wanted })
}

/// Priority of every file under a selection.
fn priorities(info: &Info, select: &Selection) -> Result<Vec<u8>, EngineError> {
    let Selection::Some { ranges, globs } = select else {
        return Ok(vec![WANTED; info.files.len()]);
    };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = GlobBuilder::new(glob).literal_separator(false).build();
        set.add(glob.map_err(|error| EngineError::Glob(error.to_string()))?);
    }
    let set = set.build().map_err(|error| EngineError::Glob(error.to_string()))?;
    let chosen = |(at, file): (usize, &gaggle_core::metainfo::FileEntry)| {
        // Patterns speak of the path inside the torrent, with or without its top folder.
        let whole = file.path.join("/");
        let inner = file.path.get(1..).unwrap_or_default().join("/");
        ranges.iter().any(|range| range.contains(&(at + 1)))
            || set.is_match(&whole)
            || set.is_match(&inner)
    };
    let priorities: Vec<u8> =
        info.files.iter().enumerate().map(|file| u8::from(chosen(file)) * WANTED).collect();
    if priorities.iter().all(|&priority| priority == 0) {
        return Err(EngineError::NothingSelected);
    }
    Ok(priorities)
}
