//! One look after the other: which files are there, which of them are known, and which must be hashed.

use super::hashing::hash_each;
use super::saved::{load, save};
use super::{Shared, Source, View, What, held, real};
use crate::disk::{Folder, Kind};
use gaggle_core::clock::Instant;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::names::is_safe;
use gaggle_core::share::{
    Catalogue, DEPTH_MAX, FILES_MAX, Item, Known, LeftOut, LeftOutFor, Place, Record, judge,
};
use gaggle_core::storage::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// While files are hashed, those that are ready are published so often, or as much more seldom as it takes long.
const PUBLISH_EVERY: Duration = Duration::from_secs(2);
/// The part of the time that publishing may take.
const PUBLISH_PART: u32 = 10;
/// And what is known of them is saved so often: a killed run loses no more.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// A file that is there.
pub(super) struct Seen {
    pub(super) folder: Arc<Folder>,
    pub(super) place: Place,
    /// The whole path without links: what it is remembered by.
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    pub(super) torrent: Option<(InfoHash, u32)>,
    /// How long it has been seen with this stamp, if that does not settle it already.
    pub(super) unchanged: Duration,
}

/// Looks through the folders. Lives on a thread of its own.
pub(super) struct Looker {
    shared: Arc<Shared>,
    record: Record,
    /// Whether something in the record is not saved.
    unsaved: bool,
    /// Folders that were looked through as a whole, without links: the record knows all that is there.
    whole: Vec<Vec<u8>>,
    catalogue: Arc<Catalogue>,
    /// What the catalogue was made of.
    items: BTreeMap<Place, Item>,
    /// When files were first seen as they are, of those whose time does not tell that they have not changed since.
    unsettled: BTreeMap<PathBuf, (Stamp, Instant)>,
    looks: u64,
}

/// What one look has found so far.
#[derive(Default)]
struct Found {
    files: Vec<Seen>,
    /// Their paths: nothing is shared twice.
    paths: BTreeSet<PathBuf>,
    left_out: LeftOut,
}

/// A folder that is being looked through.
struct Top {
    id: u32,
    folder: Arc<Folder>,
    /// Where it is, without links.
    real: PathBuf,
}

impl Looker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            record: Record::default(),
            unsaved: false,
            whole: Vec::new(),
            catalogue: Arc::default(),
            items: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            looks: 0,
        }
    }

    pub(super) fn run(mut self) {
        self.record = load(&self.shared);
        loop {
            let began = self.shared.now();
            self.look();
            if self.unsaved {
                self.unsaved = !save(&self.shared, &mut self.record, &self.whole);
            }
            if !self.shared.wait(self.shared.now().since(began)) {
                return;
            }
        }
    }

    fn look(&mut self) {
        let mut found = self.walk();
        let mut items: BTreeMap<Place, Item> = BTreeMap::new();
        let (torrents, record) = (self.shared.config.torrents, &self.record);
        // What is known is published before anything is hashed.
        found.files.retain(|seen| {
            let known = record.get(seen.path.as_os_str().as_bytes(), &seen.stamp);
            if let Some(item) = item(seen, known, torrents) {
                items.insert(seen.place.clone(), item);
            }
            let missing = torrents && seen.can_be_torrent();
            known.is_none_or(|known| !known.settled || (missing && known.torrent.is_none()))
        });
        let Found { files: mut to_hash, mut left_out, .. } = found;
        let mut left = to_hash.len();
        let mut publish_at = self.publish(&items, left_out, left);
        let shared = Arc::clone(&self.shared);
        let mut saved = shared.now();
        self.date(&mut to_hash);
        hash_each(&shared, &to_hash, |seen, known| {
            left -= 1;
            match known.and_then(|known| Some((known, item(seen, Some(&known), torrents)?))) {
                Some((known, item)) => {
                    items.insert(seen.place.clone(), item);
                    let path = seen.path.as_os_str().as_bytes().to_vec();
                    self.unsaved |= self.record.insert(path, known);
                }
                None => {
                    items.remove(&seen.place);
                    left_out.count(LeftOutFor::Unreadable);
                }
            }
            let now = shared.now();
            if now >= publish_at {
                publish_at = self.publish(&items, left_out, left);
            }
            if now.since(saved) >= SAVE_EVERY {
                self.unsaved = !save(&shared, &mut self.record, &self.whole);
                saved = now;
            }
        });
        if !shared.is_stopping() {
            self.looks += 1;
            self.publish(&items, left_out, left);
        }
    }

    /// Says how long each file has been as it is. One that is as old as the last look will not be hashed for ever, even if
    /// its time lies in the future.
    fn date(&mut self, files: &mut [Seen]) {
        let now = self.shared.now();
        let before = std::mem::take(&mut self.unsettled);
        for seen in files {
            let since = match before.get(&seen.path) {
                Some((stamp, since)) if *stamp == seen.stamp => *since,
                _ => now,
            };
            seen.unchanged = now.since(since);
            self.unsettled.insert(seen.path.clone(), (seen.stamp, since));
        }
    }

    /// Says when it may be done again while files are hashed.
    fn publish(
        &mut self,
        items: &BTreeMap<Place, Item>,
        left_out: LeftOut,
        to_hash: usize,
    ) -> Instant {
        let began = self.shared.now();
        if self.items != *items {
            self.items.clone_from(items);
            self.catalogue = Arc::new(self.catalogue.renewed(items.values().cloned().collect()));
        }
        let catalogue = Arc::clone(&self.catalogue);
        let view = View { catalogue, left_out, to_hash, looks: self.looks };
        self.shared.view.send_replace(view);
        let now = self.shared.now();
        now + PUBLISH_EVERY.max(now.since(began) * PUBLISH_PART)
    }

    /// All files that are there, those of torrents first: a file that is in a torrent and in a folder is the torrent's.
    fn walk(&mut self) -> Found {
        let (all, unfinished) = {
            let sources = held(&self.shared.sources);
            (sources.all.clone(), sources.unfinished.clone())
        };
        // Now, since by now they are there: by whatever links one comes to a file, it is the same.
        let unfinished = unfinished.iter().map(|path| real(path)).collect();
        let mut all: Vec<(u32, Arc<Source>)> = all.into_iter().collect();
        all.sort_by_key(|(id, source)| (matches!(source.what, What::Everything), *id));
        let mut found = Found::default();
        let mut open = BTreeMap::new();
        self.whole.clear();
        for (id, source) in all {
            let folder = match Folder::open(&source.root, &self.shared.descriptors) {
                Ok(folder) => Arc::new(folder),
                Err(error) => {
                    tracing::warn!(%error, "a folder is not shared");
                    found.left_out.count(LeftOutFor::Unreadable);
                    continue;
                }
            };
            open.insert(id, Arc::clone(&folder));
            let top = Top { id, folder, real: real(&source.root) };
            match &source.what {
                What::Torrent(info, files) => found.torrent(&top, *info, files),
                What::Everything => {
                    // What could not be looked at may still be there.
                    if found.everything(&self.shared, &top, &unfinished) {
                        let there =
                            |path: &[u8]| found.paths.contains(Path::new(OsStr::from_bytes(path)));
                        let root = top.real.as_os_str().as_bytes().to_vec();
                        self.unsaved |= self.record.keep_below(&root, there);
                        self.whole.push(root);
                    }
                }
            }
        }
        held(&self.shared.sources).open = open;
        found
    }
}

impl Found {
    fn torrent(&mut self, top: &Top, info: InfoHash, files: &[(u32, Vec<String>, u64)]) {
        for (nth, path, len) in files {
            // What its maker took for complete is complete, whatever it is called.
            if path.iter().any(|name| judge(name.as_bytes()) == Err(LeftOutFor::Hidden)) {
                self.left_out.count(LeftOutFor::Hidden);
                continue;
            }
            match top.folder.look(path) {
                Ok(Some(stamp)) if stamp.len == *len => {
                    self.add(top, path.clone(), stamp, Some((info, *nth)));
                }
                Ok(_) => self.left_out.count(LeftOutFor::Unfinished),
                Err(_) => self.left_out.count(LeftOutFor::Unreadable),
            }
        }
    }

    /// Whatever is below a folder, but for our own records; whether all of it could be looked at.
    fn everything(&mut self, shared: &Shared, top: &Top, unfinished: &BTreeSet<PathBuf>) -> bool {
        let records = real(&shared.config.state_dir);
        let mut whole = true;
        let mut below: Vec<Vec<String>> = vec![Vec::new()];
        while let Some(path) = below.pop() {
            if shared.is_stopping() {
                return false;
            }
            let listed = top.folder.list(&path, |raw, kind| {
                let judged = match kind {
                    Kind::Link => Err(LeftOutFor::Link),
                    _ => judge(raw),
                };
                let name = match judged {
                    Ok(name) => name.to_owned(),
                    Err(why) => return self.left_out.count(why),
                };
                let path = [&path[..], &[name]].concat();
                match kind {
                    Kind::Folder if path.len() >= DEPTH_MAX => {
                        self.left_out.count(LeftOutFor::TooMany);
                    }
                    Kind::Folder if top.real_path(&path) == records => {
                        self.left_out.count(LeftOutFor::Hidden);
                    }
                    Kind::Folder => below.push(path),
                    Kind::File(_) if unfinished.contains(&top.real_path(&path)) => {
                        self.left_out.count(LeftOutFor::Unfinished);
                    }
                    Kind::File(stamp) => self.add(top, path, stamp, None),
                    Kind::Link | Kind::Special => self.left_out.count(LeftOutFor::Special),
                }
            });
            if let Err(error) = listed {
                tracing::warn!(%error, "a folder is not shared");
                self.left_out.count(LeftOutFor::Unreadable);
                whole = false;
            }
        }
        whole
    }

    fn add(
        &mut self,
        top: &Top,
        path: Vec<String>,
        stamp: Stamp,
        torrent: Option<(InfoHash, u32)>,
    ) {
        if self.files.len() >= FILES_MAX {
            return self.left_out.count(LeftOutFor::TooMany);
        }
        let real = top.real_path(&path);
        if self.paths.insert(real.clone()) {
            let (folder, place) = (Arc::clone(&top.folder), Place { folder: top.id, path });
            let unchanged = Duration::ZERO;
            self.files.push(Seen { folder, place, path: real, stamp, torrent, unchanged });
        }
    }
}

impl Top {
    fn real_path(&self, path: &[String]) -> PathBuf {
        path.iter().fold(self.real.clone(), |full, name| full.join(name))
    }
}

impl Seen {
    /// Whether a torrent can be made of it alone: others would have to change an unsafe name, and then not find the file
    /// that they have.
    pub(super) fn can_be_torrent(&self) -> bool {
        let name = self.place.path.last();
        self.torrent.is_none() && self.stamp.len > 0 && name.is_some_and(|name| is_safe(name))
    }
}

/// What is published of a file: all that is known of it. A file of a torrent can be found before it is hashed.
fn item(seen: &Seen, known: Option<&Known>, torrents: bool) -> Option<Item> {
    if known.is_none() && seen.torrent.is_none() {
        return None;
    }
    let alone = known.and_then(|known| known.torrent).filter(|_| torrents).map(|info| (info, 0));
    Some(Item {
        hashes: known.map(|known| known.hashes),
        torrent: seen.torrent.or(alone),
        ..Item::new(seen.place.clone(), seen.stamp)
    })
}
