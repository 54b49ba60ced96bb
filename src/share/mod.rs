//! The files that this process shares, for every network that publishes them.
//!
//! A thread of its own looks through the folders now and then, hashes what is new or has changed on a bounded number of
//! threads, one read for all hashes, and publishes a [`Catalogue`] each time. Hashes are kept between runs. Decides
//! nothing about names or words: that is `core::share`.
//!
//! Never follows a link below a shared folder, never shows where a file lies, and opens nothing that is not in the
//! catalogue: what was replaced by a link, moved or changed since it was hashed is refused.

mod hashing;
mod look;
mod saved;
#[cfg(test)]
mod tests;

use crate::disk::{Descriptors, Folder};
use crate::net::Clock;
use gaggle_core::clock::Instant;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::{Info, Metainfo};
use gaggle_core::share::{Catalogue, Item, LeftOut};
use look::Looker;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// How long after a look the next one is taken at least, however often it is wished for: a stranger can make us wish.
const GAP: Duration = Duration::from_secs(1);
/// And so many times as long as the last one took, so that no stranger keeps the disk busy.
const GAP_TIMES: u32 = 9;
/// Bytes of a .torrent that is given out; one that was made of a file of 32 GB has 40 kB.
const TORRENT_MAX: u64 = 1 << 20;

/// What to share, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folders that are shared with all that is in them, but for what [`gaggle_core::share::judge`] leaves out.
    pub folders: Vec<PathBuf>,
    /// Where hashes are kept between runs.
    pub state_dir: PathBuf,
    /// Whether each file in `folders` becomes a torrent of its own, the same that `create` makes of it by default.
    /// Hashing takes a third longer.
    pub torrents: bool,
    /// Threads that hash; by default one per core.
    pub threads: Option<usize>,
    /// How often folders are looked through.
    pub rescan: Duration,
}

impl Config {
    /// Defaults: a look every minute, and no torrents.
    pub fn new(folders: Vec<PathBuf>, state_dir: PathBuf) -> Self {
        let rescan = Duration::from_secs(60);
        Self { folders, state_dir, torrents: false, threads: None, rescan }
    }
}

/// What is shared at a moment, and how far it is known.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The files.
    pub catalogue: Arc<Catalogue>,
    /// What lies in the folders and is not shared.
    pub left_out: LeftOut,
    /// Files that are still to be hashed. Those of torrents are in the catalogue already.
    pub to_hash: usize,
    /// How often all folders have been looked through and hashed.
    pub looks: u64,
}

/// Why a file is not given out. Says nothing of where it lies, so that it may be told to anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It has changed since it was hashed.
    #[error("the file has changed")]
    Changed,
    /// It is no longer there, or no longer shared.
    #[error("the file is gone")]
    Gone,
    /// Something else stands in its place, such as a link; or it cannot be read.
    #[error("the file cannot be read")]
    Unreadable,
}

/// Shares files until it is dropped. Cheap to clone.
#[derive(Clone)]
pub struct Library {
    guard: Arc<Guard>,
}

struct Guard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the handles and the looking thread share.
struct Shared {
    config: Config,
    clock: Clock,
    descriptors: Arc<Descriptors>,
    sources: Mutex<Sources>,
    view: watch::Sender<View>,
    wish: Mutex<Wish>,
    woken: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Sources {
    next: u32,
    all: BTreeMap<u32, Arc<Source>>,
    /// As they were when they were looked through last.
    open: BTreeMap<u32, Arc<Folder>>,
    /// Files that are not complete, and may not be there yet.
    unfinished: BTreeSet<PathBuf>,
}

/// Files of one folder.
struct Source {
    root: PathBuf,
    what: What,
}

enum What {
    Everything,
    /// Components below the folder and bytes of those files of a torrent that are shared, by their numbers in it.
    Torrent(InfoHash, Vec<(u32, Vec<String>, u64)>),
}

/// What the looking thread is to do.
#[derive(Default)]
struct Wish {
    look: bool,
    stop: bool,
}

impl Library {
    /// Begins to look. Folders that are missing now are looked for again later.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(config: Config, clock: Clock) -> std::io::Result<Self> {
        Self::start_with(config, clock, [])
    }

    /// The same with torrents that are shared from the first look on, as [`Library::add_torrent`] shares them.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start_with<'a>(
        config: Config,
        clock: Clock,
        torrents: impl IntoIterator<Item = (InfoHash, &'a Info, &'a Path)>,
    ) -> std::io::Result<Self> {
        let mut sources = Sources::default();
        for (info_hash, info, dir) in torrents {
            Source::torrent(info_hash, info, dir).into_iter().for_each(|new| sources.add(new));
        }
        for root in &config.folders {
            sources.add(Source { root: absolute(root), what: What::Everything });
        }
        let shared = Arc::new(Shared {
            config,
            clock,
            descriptors: Descriptors::new(),
            sources: Mutex::new(sources),
            view: watch::Sender::new(View::default()),
            wish: Mutex::default(),
            woken: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let looker = Looker::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("share".to_owned());
        let thread = Some(thread.spawn(move || looker.run())?);
        Ok(Self { guard: Arc::new(Guard { shared, thread }) })
    }

    /// What is shared now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.shared().view.borrow().catalogue)
    }

    /// What is shared now, and from now on.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.shared().view.subscribe()
    }

    /// Looks through all folders soon, without waiting for the next time.
    pub fn look_again(&self) {
        self.shared().wish(|wish| wish.look = true);
    }

    /// Shares the files of a torrent that lie complete in `dir`, from the next look on, which is soon. Those of another
    /// size are not shared, nor are those that are hidden; the content is taken for what it is said to be, as whoever
    /// downloads checks it. Nothing of a private torrent is shared: others may hear of it from its trackers alone.
    //= BEP 27
    pub fn add_torrent(&self, info_hash: InfoHash, info: &Info, dir: &Path) {
        if let Some(source) = Source::torrent(info_hash, info, dir) {
            held(&self.shared().sources).add(source);
            self.look_again();
        }
    }

    /// Shares a torrent no longer. What is being given out now goes on.
    pub fn remove_torrent(&self, info_hash: InfoHash) {
        let is = |what: &What| matches!(what, What::Torrent(hash, _) if *hash == info_hash);
        held(&self.shared().sources).all.retain(|_, source| !is(&source.what));
        self.look_again();
    }

    /// Names all files that are not complete, such as those of downloads into a shared folder: they are not shared.
    pub fn set_unfinished(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths = paths.into_iter().map(|path| absolute(&path)).collect();
        held(&self.shared().sources).unfinished = paths;
        self.look_again();
    }

    /// Opens a file of the catalogue for reading, if it is still what was hashed. It may grow or shrink while it is read;
    /// nobody is to be sent more than [`Item::size`] bytes of it.
    ///
    /// Blocks while the disk works.
    ///
    /// # Errors
    /// [`Refused`], and then a new look is taken soon.
    pub fn open(&self, item: &Item) -> Result<File, Refused> {
        let folder = held(&self.shared().sources).open.get(&item.place.folder).cloned();
        let opened = folder.map_or(Ok(None), |folder| folder.read(&item.place.path));
        let refused = match opened {
            Ok(Some((file, stamp))) if stamp == item.stamp => return Ok(file),
            Ok(Some(_)) => Refused::Changed,
            Ok(None) => Refused::Gone,
            Err(error) => {
                // Strangers decide how often this is said.
                tracing::debug!(%error, "a shared file is not given out");
                Refused::Unreadable
            }
        };
        self.look_again();
        Err(refused)
    }

    /// The bytes of a .torrent that was made of a file of the catalogue; `None` if there is none, or it is damaged.
    /// Blocks while the disk works.
    pub fn torrent(&self, info_hash: InfoHash) -> Option<Vec<u8>> {
        // Those of files that are no longer shared, or that another process shares, lie there too.
        self.catalogue().of_torrent(info_hash).next()?;
        let file = File::open(self.shared().torrent_path(info_hash)).ok()?;
        let mut bytes = Vec::new();
        file.take(TORRENT_MAX).read_to_end(&mut bytes).ok()?;
        let metainfo = Metainfo::parse(&bytes).ok()?;
        (metainfo.info_hash() == info_hash).then_some(bytes)
    }

    /// Ends all work. What was hashed is kept.
    pub fn stop(&self) {
        self.shared().stop();
    }

    fn shared(&self) -> &Shared {
        &self.guard.shared
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks through shared folders panicked");
        }
    }
}

impl Source {
    /// Nothing of a private torrent.
    fn torrent(info_hash: InfoHash, info: &Info, dir: &Path) -> Option<Self> {
        let files = (0..).zip(&info.files).filter(|(_, file)| !file.pad && file.len > 0);
        let files = files.map(|(at, file)| (at, file.path.clone(), file.len)).collect();
        let source = Self { root: absolute(dir), what: What::Torrent(info_hash, files) };
        (!info.private).then_some(source)
    }
}

impl Sources {
    fn add(&mut self, source: Source) {
        self.all.insert(self.next, Arc::new(source));
        self.next = self.next.wrapping_add(1);
    }
}

impl Shared {
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.wish(|wish| wish.stop = true);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn wish(&self, change: impl FnOnce(&mut Wish)) {
        change(&mut held(&self.wish));
        self.woken.notify_all();
    }

    /// Waits until it is time for the next look, after one that took so long; `false` if there is none.
    fn wait(&self, took: Duration) -> bool {
        let (began, rescan) = (self.now(), self.config.rescan);
        let gap = GAP.max(took.saturating_mul(GAP_TIMES));
        let mut wish = held(&self.wish);
        loop {
            let wait = if wish.look { rescan.min(gap) } else { rescan };
            let left = (began + wait).since(self.now());
            if wish.stop || left.is_zero() {
                wish.look = false;
                return !wish.stop;
            }
            let woken = self.woken.wait_timeout(wish, left);
            wish = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn torrent_path(&self, info_hash: InfoHash) -> PathBuf {
        self.config.state_dir.join("torrents").join(format!("{info_hash}.torrent"))
    }
}

/// Without the present folder a path stays as it is, and is not found.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Where a path leads: by whatever links one comes to a file, it is the same.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| absolute(path))
}

/// Every critical section here leaves what it changes consistent.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
