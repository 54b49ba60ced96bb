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

pub(crate) struct Descriptors {
    most: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    open: BTreeMap<(u64, Key), Entry>,
    /// The same in the order in which they are closed: a torrent of many files opens one for nearly every piece.
    order: BTreeMap<Turn, (u64, Key)>,
    tick: u64,
    owners: u64,
}

/// Rank, and the tick of the last use, which no other has.
type Turn = (u8, u64);

struct Entry {
    file: Arc<File>,
    mode: Open,
    turn: Turn,
}

impl Cache {
    fn find(&mut self, at: (u64, Key), mode: Open) -> Option<Arc<File>> {
        let entry = self.open.get_mut(&at)?;
        if mode == Open::Write && entry.mode == Open::Read {
            return None;
        }
        self.order.remove(&entry.turn);
        self.tick += 1;
        entry.turn.1 = self.tick;
        self.order.insert(entry.turn, at);
        Some(Arc::clone(&entry.file))
    }

    fn insert(&mut self, at: (u64, Key), mode: Open, file: Arc<File>) {
        self.remove(at);
        self.tick += 1;
        let turn = (rank(at.1, mode), self.tick);
        self.order.insert(turn, at);
        self.open.insert(at, Entry { file, mode, turn });
    }

    fn remove(&mut self, at: (u64, Key)) {
        if let Some(entry) = self.open.remove(&at) {
            self.order.remove(&entry.turn);
        }
    }
}

/// One torrent's part in the descriptors; dropping it closes what it has open.
pub(super) struct Share {
    all: Arc<Descriptors>,
    owner: u64,
}

impl Descriptors {
    /// As many as fit beside the connections under the limit of this process.
    pub(crate) fn new() -> Arc<Self> {
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
        held(&self.all.cache).find((self.owner, key), mode)
    }

    /// Keeps one open, in the place of the one that was not used for longest if there are too many. Whoever uses that
    /// one now has it until it is done.
    pub(super) fn keep(&self, key: Key, mode: Open, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut cache = held(&self.all.cache);
        if cache.open.len() >= self.all.most
            && let Some(&first) = cache.order.values().next()
        {
            cache.remove(first);
        }
        cache.insert((self.owner, key), mode, Arc::clone(&file));
        file
    }

    pub(super) fn close(&self, key: Key) {
        held(&self.all.cache).remove((self.owner, key));
    }

    pub(super) fn close_all(&self) {
        let mut cache = held(&self.all.cache);
        cache.open.retain(|&(owner, _), _| owner != self.owner);
        cache.order.retain(|_, &mut (owner, _)| owner != self.owner);
    }
}

/// What is closed first. What was written is to be synced by the descriptor that wrote it, if there is any choice.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(file: usize) -> Key {
        Key::Holder(Holder::File(file))
    }

    fn keep(share: &Share, file: usize, mode: Open) {
        share.keep(key(file), mode, tempfile::tempfile().unwrap());
    }

    #[track_caller]
    fn is_open(share: &Share, files: &[usize]) {
        let cache = held(&share.all.cache);
        let open: Vec<_> =
            (0..9).filter(|&at| cache.open.contains_key(&(share.owner, key(at)))).collect();
        assert_eq!(open, files);
        let turns: Vec<_> = cache.open.iter().map(|(at, entry)| (entry.turn, *at)).collect();
        assert_eq!(cache.order, turns.into_iter().collect());
    }

    #[test]
    fn the_one_unused_for_longest_is_closed_and_what_was_written_last() {
        let all = Descriptors::at_most(3);
        let (ours, theirs) = (all.share(), all.share());
        keep(&ours, 0, Open::Write);
        keep(&ours, 1, Open::Read);
        keep(&ours, 2, Open::Read);
        assert!(ours.find(key(1), Open::Read).is_some());
        keep(&ours, 3, Open::Read);
        is_open(&ours, &[0, 1, 3]);
        assert!(ours.find(key(1), Open::Write).is_none(), "it is open for reading alone");
        keep(&theirs, 1, Open::Write);
        is_open(&ours, &[0, 3]);
        keep(&ours, 3, Open::Write); // the same again: nothing is lost by it
        is_open(&ours, &[0, 3]);
        ours.close(key(0));
        ours.close(key(7));
        is_open(&ours, &[3]);
        drop(theirs);
        is_open(&ours, &[3]);
        assert_eq!(all.open(), 1);
    }
}
