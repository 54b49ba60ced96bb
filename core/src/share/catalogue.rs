//! Everything that is shared at one moment, found by what identifies it and by its words.
//!
//! Never changes: who looks again makes a new one with [`Catalogue::renewed`], in which a file that is the same has the
//! same number, so that what was published by number stays true.

use super::hasher::Hashes;
use super::names::shown;
use crate::id::InfoHash;
use crate::proto::fasttrack::UuHash;
use crate::storage::Stamp;
use crate::words::{Meeting, words};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Leaps that one search may cost, so that none takes longer than some tenths of a millisecond.
const LEAPS_MAX: u32 = 20_000;
/// The word that all files of torrents have.
const OF_TORRENT: &str = "btih";

/// Where a file lies. Nobody else learns of it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Which of the folders that are shared, as who opens it counts them.
    pub folder: u32,
    /// Components below that folder.
    pub path: Vec<String>,
}

/// A file that is shared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// What others see of it: a name without any folder.
    pub name: String,
    /// Where it lies.
    pub place: Place,
    /// Its size, and when it was changed last before it was hashed.
    pub stamp: Stamp,
    /// What names its content; `None` for a file of a torrent that has not been hashed yet.
    pub hashes: Option<Hashes>,
    /// The torrent that it belongs to, and which of its files it is.
    pub torrent: Option<(InfoHash, u32)>,
}

/// What is shared.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// In the order of their numbers.
    items: Vec<(u32, Arc<Item>)>,
    /// A number that nothing has had yet.
    next: u32,
    bytes: u64,
    /// Places in `items`, ascending.
    by_word: BTreeMap<Box<str>, Vec<u32>>,
    by_sha1: BTreeMap<[u8; 20], u32>,
    by_uu: BTreeMap<UuHash, u32>,
    by_torrent: BTreeMap<(InfoHash, u32), u32>,
}

impl Item {
    /// A file under the name that others may see.
    pub fn new(place: Place, stamp: Stamp) -> Self {
        Self { name: shown(&place.path), place, stamp, hashes: None, torrent: None }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.stamp.len
    }

    fn words(&self) -> Vec<String> {
        let mut words = words(&self.name);
        if let Some((info, _)) = self.torrent {
            // Every network lets a file be found by these two, whatever else it knows of torrents.
            words.extend([OF_TORRENT.into(), info.to_string()]);
        }
        words
    }
}

impl Catalogue {
    /// A first catalogue.
    pub fn of(items: Vec<Item>) -> Self {
        Self::default().renewed(items)
    }

    /// What is shared now. What was shared before, and is the same, keeps its number; all else has one that nothing had.
    /// Of several copies of one content under one name there is one, one of a torrent if there is any.
    pub fn renewed(&self, items: Vec<Item>) -> Self {
        let room = u32::try_from(items.len()).ok().and_then(|len| self.next.checked_add(len));
        let Some(room) = room else {
            // After four thousand million files, numbers begin anew.
            return Self::of(items);
        };
        let before: BTreeMap<&Place, &(u32, Arc<Item>)> =
            self.items.iter().map(|entry| (&entry.1.place, entry)).collect();
        let mut next = self.next;
        let mut numbered: Vec<(u32, Arc<Item>)> = Vec::with_capacity(items.len());
        for item in without_copies(items) {
            match before.get(&item.place).filter(|(_, old)| **old == item) {
                Some(same) => numbered.push((*same).clone()),
                None => {
                    numbered.push((next, Arc::new(item)));
                    next += 1;
                }
            }
        }
        debug_assert!(next <= room);
        numbered.sort_unstable_by_key(|(number, _)| *number);
        Self::indexed(numbered, next)
    }

    fn indexed(items: Vec<(u32, Arc<Item>)>, next: u32) -> Self {
        let mut new = Self { next, ..Self::default() };
        for (at, (number, item)) in (0..).zip(&items) {
            new.bytes = new.bytes.saturating_add(item.size());
            for word in item.words() {
                match new.by_word.get_mut(word.as_str()) {
                    // A name can have the word that its torrent brings.
                    Some(places) if places.last() == Some(&at) => {}
                    Some(places) => places.push(at),
                    None => {
                        new.by_word.insert(word.into(), vec![at]);
                    }
                }
            }
            if let Some(hashes) = &item.hashes {
                new.by_sha1.entry(hashes.sha1).or_insert(*number);
                new.by_uu.entry(hashes.uu).or_insert(*number);
            }
            if let Some(torrent) = item.torrent {
                new.by_torrent.entry(torrent).or_insert(*number);
            }
        }
        Self { items, ..new }
    }

    /// Files.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is shared.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All files with their numbers, which ascend.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, &Arc<Item>)> {
        self.items.iter().map(|(number, item)| (*number, item))
    }

    /// The file with a number.
    pub fn get(&self, number: u32) -> Option<&Arc<Item>> {
        let at = self.items.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.items[at].1)
    }

    /// The number of a file with this SHA-1.
    pub fn with_sha1(&self, sha1: &[u8; 20]) -> Option<u32> {
        self.by_sha1.get(sha1).copied()
    }

    /// The number of a file with this UUHash, which proves nothing.
    pub fn with_uu(&self, uu: &UuHash) -> Option<u32> {
        self.by_uu.get(uu).copied()
    }

    /// The files of a torrent that are shared: which of its files, and its number here.
    pub fn of_torrent(&self, info: InfoHash) -> impl Iterator<Item = (u32, u32)> {
        let files = self.by_torrent.range((info, 0)..=(info, u32::MAX));
        files.map(|((_, file), number)| (*file, *number))
    }

    /// Numbers of at most `most` files that have all of these words in their names, those that came last first. The
    /// words are as [`crate::words::words`] gives them; without any, nothing is found.
    pub fn find(&self, words: &[String], most: usize) -> Vec<u32> {
        let lists: Option<Vec<&[u32]>> =
            words.iter().map(|word| self.by_word.get(word.as_str()).map(Vec::as_slice)).collect();
        let found = Meeting::of(lists.unwrap_or_default(), LEAPS_MAX).take(most);
        found.map(|at| self.items[at as usize].0).collect()
    }

    /// Every word that something can be found by, once.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.by_word.keys().map(AsRef::as_ref)
    }

    /// Numbers that name something here and nothing in `other`: what is gone in a newer catalogue, or what is new since
    /// an older one.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u32, &'a Arc<Item>)> {
        self.iter().filter(|(number, _)| other.get(*number).is_none())
    }
}

fn without_copies(mut items: Vec<Item>) -> Vec<Item> {
    let mut seen: BTreeSet<(Option<[u8; 20]>, String)> = BTreeSet::new();
    // Those of torrents first; what is in the order of places otherwise stays so.
    items.sort_by(|a, b| (a.torrent.is_none(), &a.place).cmp(&(b.torrent.is_none(), &b.place)));
    items.retain(|item| {
        let sha1 = item.hashes.map(|hashes| hashes.sha1);
        sha1.is_none() || seen.insert((sha1, item.name.clone()))
    });
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(path: &str, content: u8) -> Item {
        let path = path.split('/').map(str::to_owned).collect();
        let stamp = Stamp { len: 1000 + u64::from(content), mtime_ns: 7 };
        let hashes = Hashes { sha1: [content; 20], md5: [content; 16], uu: UuHash([content; 20]) };
        Item { hashes: Some(hashes), ..Item::new(Place { folder: 0, path }, stamp) }
    }

    fn found(catalogue: &Catalogue, text: &str) -> Vec<u32> {
        catalogue.find(&words(text), 10)
    }

    fn library() -> Catalogue {
        let mut items = vec![
            item("Blue_Moon (live).mp3", 1),
            item("books/Café à la carte.pdf", 2),
            item("blue sky.ogg", 3),
        ];
        items[2].torrent = Some((InfoHash([2; 20]), 3));
        Catalogue::of(items)
    }

    #[test]
    fn words_are_folded_and_all_must_be_met() {
        let library = library();
        let number = |content: u8| library.with_sha1(&[content; 20]).unwrap();
        let (moon, cafe, sky) = (number(1), number(2), number(3));
        #[track_caller]
        fn check(library: &Catalogue, text: &str, want: &[u32]) {
            let mut got = found(library, text);
            got.sort_unstable();
            assert_eq!(got, want, "{text}");
        }
        let mut blue = [moon, sky];
        blue.sort_unstable();
        check(&library, "BLUE", &blue);
        check(&library, "moon blue", &[moon]);
        check(&library, "cafe CARTE", &[cafe]);
        check(&library, "blue mars", &[]);
        check(&library, "books", &[]); // a folder is nobody's business
        check(&library, "", &[]);
        check(&library, &format!("btih {}", InfoHash([2; 20])), &[sky]);
        assert_eq!(library.find(&words("blue"), 1).len(), 1);
        assert!(library.words().any(|word| word == "carte"));
    }

    #[test]
    fn what_identifies_a_file_leads_to_it() {
        let library = library();
        let sky = library.with_uu(&UuHash([3; 20])).unwrap();
        assert_eq!(library.get(sky).unwrap().name, "blue sky.ogg");
        assert_eq!(library.of_torrent(InfoHash([2; 20])).collect::<Vec<_>>(), [(3, sky)]);
        assert_eq!(library.of_torrent(InfoHash([3; 20])).next(), None);
        assert_eq!(library.with_sha1(&[9; 20]), None);
        assert_eq!((library.get(99), library.len(), library.bytes()), (None, 3, 3006));
    }

    #[test]
    fn who_stays_keeps_his_number() {
        let old = library();
        let kept: Vec<(u32, Item)> =
            old.iter().map(|(number, item)| (number, Item::clone(item))).collect();
        let mut items: Vec<Item> = kept.iter().map(|(_, item)| item.clone()).collect();
        items.remove(0);
        items[0].stamp.mtime_ns += 1;
        items.push(item("new.txt", 9));
        let new = old.renewed(items);
        assert_eq!(new.get(kept[2].0).map(|item| &item.name), Some(&kept[2].1.name));
        assert!(new.get(kept[0].0).is_none() && new.get(kept[1].0).is_none());
        let gone: Vec<u32> = old.beyond(&new).map(|(number, _)| number).collect();
        assert_eq!(gone, [kept[0].0, kept[1].0]);
        let came: Vec<&str> = new.beyond(&old).map(|(_, item)| item.name.as_str()).collect();
        assert_eq!(came.len(), 2);
        assert!(came.contains(&"new.txt") && came.contains(&kept[1].1.name.as_str()));
        assert!(new.beyond(&old).all(|(number, _)| number >= 3), "no number is used again");
    }

    #[test]
    fn numbers_that_ran_out_begin_anew() {
        let last = Catalogue { next: u32::MAX - 1, ..Catalogue::default() };
        let new = last.renewed(vec![item("a", 1), item("b", 2)]);
        assert_eq!(new.iter().map(|(number, _)| number).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn copies_are_one_and_those_of_torrents_come_first() {
        let mut items = vec![item("a/x.bin", 1), item("b/x.bin", 1), item("b/y.bin", 1)];
        items[1].torrent = Some((InfoHash([4; 20]), 0));
        let library = Catalogue::of(items);
        let names: Vec<&str> = library.iter().map(|(_, item)| item.name.as_str()).collect();
        assert_eq!(names, ["x.bin", "y.bin"], "another name is another way to find it");
        assert_eq!(library.iter().next().unwrap().1.place.path[0], "b");
        // Not hashed yet: nobody knows what they are.
        let unknown = |path: &str| Item { hashes: None, ..item(path, 1) };
        assert_eq!(Catalogue::of(vec![unknown("a/x"), unknown("b/x")]).len(), 2);
    }

    proptest! {
        #[test]
        fn finds_what_a_walk_finds(rounds in prop::collection::vec(
            prop::collection::btree_map("[ab]/[a-d] [a-d] [a-d]", 0u8..4, 0..20), 1..4), text in "[a-d]( [a-d])?") {
            let mut library = Catalogue::default();
            for files in rounds {
                let items: Vec<Item> = files.iter().map(|(path, content)| item(path, *content)).collect();
                let renewed = library.renewed(items);
                let stayed = library.iter().filter(|(number, item)| renewed.get(*number) == Some(*item));
                prop_assert_eq!(library.len(), stayed.count() + library.beyond(&renewed).count());
                library = renewed;
            }
            let wanted = words(&text);
            let mut want: Vec<u32> = library
                .iter()
                .filter(|(_, item)| wanted.iter().all(|word| words(&item.name).contains(word)))
                .map(|(number, _)| number)
                .collect();
            want.reverse();
            prop_assert_eq!(library.find(&wanted, 100), want);
        }
    }
}
