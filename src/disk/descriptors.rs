//! The descriptors of all torrents that share a pool: opened when needed; the one unused for longest is closed for
//! the next. A thousand idle torrents hold none.

use super::files::Holder;
use super::pool::held;
use super::tree::Open;
use rustix::process::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

/// Most descriptors that are kept, if the system allows as many; beyond it nothing gets faster.
const OPEN_MAX: u64 = 512;
/// Fewest: what the threads of a pool use at a time.
const OPEN_MIN: u64 = 8;
/// The part of what the system allows us that files may have: connections need the rest.
const PART: u64 = 4;

/// What a torrent keeps open.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Key {
    /// The folder that everything happens in.
    Root,
    /// Something that holds content.
    Holder(Holder),
}

pub(super) struct Descriptors {
    most: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    open: BTreeMap<(u64, Key), Entry>,
    tick: u64,
    owners: u64,
}

struct Entry {
    file: Arc<File>,
    mode: Open,
    used: u64,
}

/// One torrent's part in the descriptors; dropping it closes what it has open.
pub(super) struct Share {
    all: Arc<Descriptors>,
    owner: u64,
}

impl Descriptors {
    /// As many as fit beside the connections under the limit of this process.
    pub(super) fn new() -> Arc<Self> {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::at_most((allowed / PART).clamp(OPEN_MIN, OPEN_MAX) as usize)
    }

    pub(super) fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self { most, cache: Mutex::default() })
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        let mut cache = held(&self.cache);
        cache.owners += 1;
        Share { all: Arc::clone(self), owner: cache.owners }
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        held(&self.cache).open.len()
    }
}

impl Share {
    /// What is open, in a mode that does.
    pub(super) fn find(&self, key: Key, mode: Open) -> Option<Arc<File>> {
        let mut cache = held(&self.all.cache);
        cache.tick += 1;
        let used = cache.tick;
        let entry = cache.open.get_mut(&(self.owner, key))?;
        if mode == Open::Write && entry.mode == Open::Read {
            return None;
        }
        entry.used = used;
        Some(Arc::clone(&entry.file))
    }

    /// Keeps one open, in the place of the one that was not used for longest if there are too many. Whoever uses that
    /// one now has it until it is done.
    pub(super) fn keep(&self, key: Key, mode: Open, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut cache = held(&self.all.cache);
        if cache.open.len() >= self.all.most
            // What was written is to be synced by the descriptor that wrote it, if there is any choice.
            && let Some((&oldest, _)) =
                cache.open.iter().min_by_key(|((_, key), entry)| (rank(*key, entry.mode), entry.used))
        {
            cache.open.remove(&oldest);
        }
        let used = cache.tick;
        cache.open.insert((self.owner, key), Entry { file: Arc::clone(&file), mode, used });
        file
    }

    pub(super) fn close(&self, key: Key) {
        held(&self.all.cache).open.remove(&(self.owner, key));
    }

    pub(super) fn close_all(&self) {
        held(&self.all.cache).open.retain(|&(owner, _), _| owner != self.owner);
    }
}

/// What is closed first.
const fn rank(key: Key, mode: Open) -> u8 {
    match (key, mode) {
        (Key::Holder(_), Open::Read) => 0,
        (Key::Root, _) => 1,
        (Key::Holder(_), Open::Write | Open::WriteExisting) => 2,
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.close_all();
    }
}
