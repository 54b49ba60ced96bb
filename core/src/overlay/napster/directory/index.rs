//! Who shares what, and which files have these words.
//!
//! One list of files for each word, in the order in which they were shared; a search walks the lists of all its words
//! together, newest file first, and leaps over what one of them does not have. Never reads the clock and never judges
//! users: who may be named is the caller's word for each file.

use super::UserId;
use crate::id::InfoHash;
use crate::proto::napster::{
    BITRATES, Compare, FILE_WORDS_MAX, FREQUENCIES, File, FileHash, Media, Property, Query, Text,
    WantedMedia, btih_of, round_up, words,
};
use crate::words::Meeting;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Leaps and files that one search may cost, so that none takes longer than some milliseconds. What was found until then
/// is the answer: the newest files.
pub(super) const STEPS_MAX: u32 = 20_000;
/// Numbers of files that are gone are taken back when there are more of them than files, and so many beside.
const GONE_MAX: usize = 4096;

/// A file that somebody shares, as the directory keeps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Shared {
    pub(super) user: UserId,
    pub(super) path: Text,
    pub(super) size: u64,
    pub(super) hash: FileHash,
    pub(super) media: Media,
    pub(super) bitrate: u32,
    pub(super) frequency: u32,
    pub(super) seconds: u32,
    pub(super) btih: Option<InfoHash>,
}

struct Entry {
    shared: Shared,
    /// Numbers of its terms.
    terms: Box<[u32]>,
}

/// The files with one word, or with another thing that can be looked up.
struct Posting {
    term: Arc<[u8]>,
    /// Ascending.
    files: Vec<u32>,
    /// How many of them are gone.
    gone: u32,
}

#[derive(Default)]
pub(super) struct Index {
    entries: Vec<Option<Box<Entry>>>,
    live: usize,
    bytes: u64,
    terms: BTreeMap<Arc<[u8]>, u32>,
    postings: Vec<Posting>,
    free: Vec<u32>,
    owned: BTreeMap<UserId, BTreeMap<Text, u32>>,
}

impl Shared {
    /// A file that came with message 100 or 870. Rates are rounded, as everybody expects.
    pub(super) fn mp3(user: UserId, file: File) -> Self {
        Self {
            user,
            btih: btih_of(&file.path),
            path: file.path,
            size: file.size.into(),
            hash: file.hash,
            media: Media::Mp3,
            bitrate: round_up(file.bitrate, &BITRATES),
            frequency: round_up(file.frequency, &FREQUENCIES),
            seconds: file.seconds,
        }
    }

    /// A file of another kind, of which less is known.
    pub(super) fn other(user: UserId, path: Text, size: u64, hash: FileHash, media: Media) -> Self {
        let (bitrate, frequency, btih) = (0, 0, btih_of(&path));
        Self { user, path, size, hash, media, bitrate, frequency, seconds: 0, btih }
    }

    /// Bytes as messages can say it.
    pub(super) fn wire_size(&self) -> u32 {
        self.size.try_into().unwrap_or(u32::MAX)
    }

    pub(super) fn file(&self) -> File {
        File {
            path: self.path.clone(),
            hash: self.hash,
            size: self.wire_size(),
            bitrate: self.bitrate,
            frequency: self.frequency,
            seconds: self.seconds,
        }
    }

    /// Whether it is what a query wants, but for its words and for who shares it.
    fn fits(&self, query: &Query) -> bool {
        let kind = match query.media {
            WantedMedia::Unsaid => self.media == Media::Mp3,
            WantedMedia::Any => true,
            WantedMedia::Only(media) => self.media == media,
        };
        kind && query.bounds.iter().all(|bound| match bound.property {
            Property::LineSpeed => true,
            Property::Bitrate => bound.holds(self.bitrate),
            Property::Frequency => bound.holds(self.frequency),
            Property::Size => bound.holds(self.wire_size()),
            Property::Duration => bound.holds(self.seconds),
        })
    }
}

/// What can be searched for in a path: the words of the file's name and of its folder, without what follows the last
/// dot; the last [`FILE_WORDS_MAX`] of them.
fn words_of(path: &[u8]) -> Vec<Vec<u8>> {
    let mut folders = path.rsplitn(3, |byte| b"\\/".contains(byte));
    let kept = folders.next().map_or(0, <[u8]>::len);
    let kept = kept + folders.next().map_or(0, |folder| folder.len() + 1);
    let tail = &path[path.len() - kept..];
    let stem = tail.iter().rposition(|&byte| byte == b'.').map_or(tail, |dot| &tail[..dot]);
    let mut found: Vec<Vec<u8>> = Vec::new();
    for word in words(stem) {
        if !found.contains(&word) {
            found.push(word);
        }
    }
    found.drain(..found.len().saturating_sub(FILE_WORDS_MAX));
    found
}

/// Terms that no word can be, because words have neither of these signs.
fn hash_term(hash: &FileHash) -> Vec<u8> {
    [b"=", hash.as_bytes()].concat()
}

fn size_term(size: u32) -> Vec<u8> {
    format!("#{size}").into_bytes()
}

impl Index {
    /// Files there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// What they are together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many files a user shares.
    pub(super) fn count(&self, user: UserId) -> usize {
        self.owned.get(&user).map_or(0, BTreeMap::len)
    }

    /// A file of a user.
    pub(super) fn get(&self, user: UserId, path: &Text) -> Option<&Shared> {
        let id = *self.owned.get(&user)?.get(path)?;
        self.entries[id as usize].as_ref().map(|entry| &entry.shared)
    }

    /// The files of a user in the order of their paths, from the one after `after` on.
    pub(super) fn of_user(
        &self,
        user: UserId,
        after: Option<&Text>,
    ) -> impl Iterator<Item = &Shared> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let files = self.owned.get(&user).into_iter().flat_map(move |files| files.range(range));
        files.filter_map(|(_, &id)| self.entries[id as usize].as_ref().map(|entry| &entry.shared))
    }

    /// Takes in a file; `false` if its owner shares that path already.
    pub(super) fn add(&mut self, shared: Shared) -> bool {
        let id = self.entries.len() as u32;
        let files = self.owned.entry(shared.user).or_default();
        if files.contains_key(&shared.path) {
            return false;
        }
        files.insert(shared.path.clone(), id);
        let mut terms = words_of(shared.path.as_bytes());
        let torrent = shared.btih.map(|hash| hash.to_string().into_bytes());
        terms.extend(torrent.filter(|hash| !terms.contains(hash)));
        if shared.hash != FileHash::NONE {
            terms.push(hash_term(&shared.hash));
        }
        terms.push(size_term(shared.wire_size()));
        let terms = terms.into_iter().map(|term| self.post(term, id)).collect();
        self.bytes = self.bytes.saturating_add(shared.size);
        self.live += 1;
        self.entries.push(Some(Box::new(Entry { shared, terms })));
        true
    }

    fn post(&mut self, term: Vec<u8>, id: u32) -> u32 {
        if let Some(&number) = self.terms.get(term.as_slice()) {
            self.postings[number as usize].files.push(id);
            return number;
        }
        let term: Arc<[u8]> = term.into();
        let posting = Posting { term: term.clone(), files: vec![id], gone: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.postings[number as usize] = posting;
                number
            }
            None => {
                self.postings.push(posting);
                self.postings.len() as u32 - 1
            }
        };
        self.terms.insert(term, number);
        number
    }

    /// Forgets a file; whether it was there.
    pub(super) fn remove(&mut self, user: UserId, path: &Text) -> bool {
        let Some(files) = self.owned.get_mut(&user) else { return false };
        let Some(id) = files.remove(path) else { return false };
        if files.is_empty() {
            self.owned.remove(&user);
        }
        self.erase(id);
        self.renumber();
        true
    }

    /// Forgets all files of a user; how many they were.
    pub(super) fn remove_all(&mut self, user: UserId) -> usize {
        let files = self.owned.remove(&user).unwrap_or_default();
        files.values().for_each(|&id| self.erase(id));
        self.renumber();
        files.len()
    }

    fn erase(&mut self, id: u32) {
        let Some(entry) = self.entries[id as usize].take() else { return };
        self.live -= 1;
        self.bytes = self.bytes.saturating_sub(entry.shared.size);
        for &number in &entry.terms {
            let posting = &mut self.postings[number as usize];
            posting.gone += 1;
            // Half of a list may be gone: then a search passes over as many as it looks at, and cleaning is cheap.
            if 2 * posting.gone as usize <= posting.files.len() {
                continue;
            }
            posting.files.retain(|&file| self.entries[file as usize].is_some());
            posting.gone = 0;
            if posting.files.is_empty() {
                posting.files = Vec::new();
                self.terms.remove(&posting.term);
                self.free.push(number);
            }
        }
    }

    /// Gives files new numbers without gaps, in the same order, when there are too many gaps.
    fn renumber(&mut self) {
        if self.entries.len() <= 2 * self.live + GONE_MAX {
            return;
        }
        let mut next = 0;
        let new: Vec<u32> = self
            .entries
            .iter()
            .map(|entry| {
                let number = next;
                next += u32::from(entry.is_some());
                number
            })
            .collect();
        for posting in &mut self.postings {
            posting.files.retain(|&file| self.entries[file as usize].is_some());
            posting.files.iter_mut().for_each(|file| *file = new[*file as usize]);
            posting.gone = 0;
        }
        for files in self.owned.values_mut() {
            files.values_mut().for_each(|file| *file = new[*file as usize]);
        }
        self.entries.retain(Option::is_some);
    }

    fn files(&self, term: &[u8]) -> Option<&[u32]> {
        let number = *self.terms.get(term)?;
        Some(&self.postings[number as usize].files)
    }

    /// How many files carry this torrent.
    pub(super) fn with_torrent(&self, hash: InfoHash) -> u32 {
        let number = self.terms.get(hash.to_string().as_bytes());
        number.map_or(0, |&number| {
            let posting = &self.postings[number as usize];
            posting.files.len() as u32 - posting.gone
        })
    }

    /// Files with this hash and size that may be named: at most `rows`, newest first.
    pub(super) fn same(
        &self,
        hash: FileHash,
        size: u32,
        rows: usize,
        may: impl Fn(&Shared) -> bool,
    ) -> Vec<&Shared> {
        let terms = [hash_term(&hash), size_term(size)];
        self.meet(terms.iter().map(Vec::as_slice), &[], rows, may)
    }

    /// Files that fit a query and that may be named: at most `rows`, newest first. `None` if the query has no word.
    pub(super) fn search(
        &self,
        query: &Query,
        rows: usize,
        may: impl Fn(&Shared) -> bool,
    ) -> Option<Vec<&Shared>> {
        let btih = query.btih.map(|hash| hash.to_string().into_bytes());
        let size = query.bounds.iter().find_map(|bound| {
            let exact = bound.property == Property::Size && bound.compare == Compare::Equal;
            exact.then(|| size_term(bound.value))
        });
        if query.contains.is_empty() && btih.is_none() {
            return None;
        }
        let terms = query.contains.iter().map(Text::as_bytes);
        let terms = terms.chain(btih.as_deref()).chain(size.as_deref());
        let without: Vec<&[u32]> =
            query.excludes.iter().filter_map(|word| self.files(word.as_bytes())).collect();
        Some(self.meet(terms, &without, rows, |shared| shared.fits(query) && may(shared)))
    }

    fn meet<'a>(
        &self,
        terms: impl Iterator<Item = &'a [u8]>,
        without: &[&[u32]],
        rows: usize,
        fits: impl Fn(&Shared) -> bool,
    ) -> Vec<&Shared> {
        let mut found = Vec::new();
        let lists: Option<Vec<&[u32]>> = terms.map(|term| self.files(term)).collect();
        for file in Meeting::of(lists.unwrap_or_default(), STEPS_MAX) {
            let entry = self.entries[file as usize].as_ref();
            let excluded = || without.iter().any(|list| list.binary_search(&file).is_ok());
            if let Some(entry) = entry.filter(|entry| fits(&entry.shared) && !excluded()) {
                found.push(&entry.shared);
            }
            if found.len() >= rows {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::napster::Bound;
    use crate::rng::Rng;

    fn text(words: &[Vec<u8>]) -> Vec<String> {
        words.iter().map(|word| String::from_utf8(word.clone()).unwrap()).collect()
    }

    #[test]
    fn the_words_of_a_path() {
        assert_eq!(
            text(&words_of(b"C:\\x\\The Artist\\01 - the Song.live.mp3")),
            ["the", "artist", "01", "song", "live"]
        );
        assert_eq!(text(&words_of(b"song")), ["song"]);
        assert_eq!(text(&words_of(b"a/b/c.d")), ["b", "c"]);
        let long: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
        assert_eq!(text(&words_of(long.join(" ").as_bytes())), long[9..]);
    }

    fn shared(user: impl Into<u64>, path: &str, size: u64) -> Shared {
        Shared::other(UserId(user.into()), path.into(), size, FileHash::NONE, Media::Audio)
    }

    /// Goal: the index says what a plain walk over all files says, whatever comes and goes.
    #[test]
    fn agrees_with_a_walk_over_everything() {
        let mut rng = Rng::seeded(5);
        let mut index = Index::default();
        let mut model: Vec<Shared> = Vec::new();
        for round in 0..30_000u32 {
            if rng.below(100) < 52 {
                let word = |rng: &mut Rng| {
                    let most = [3, 20, 200][rng.index(3)];
                    format!("w{}", rng.below(most))
                };
                let path = format!("{} {} {}.x", word(&mut rng), word(&mut rng), word(&mut rng));
                let new = shared(rng.below(20), &path, rng.below(50));
                let twice = model.iter().any(|old| (old.user, &old.path) == (new.user, &new.path));
                assert_eq!(index.add(new.clone()), !twice);
                if !twice {
                    model.push(new);
                }
            } else if rng.below(500) == 0 {
                let user = UserId(rng.below(20));
                let before = model.len();
                model.retain(|shared| shared.user != user);
                assert_eq!(index.remove_all(user), before - model.len());
            } else if !model.is_empty() {
                let gone = model.remove(rng.index(model.len()));
                assert!(
                    index.remove(gone.user, &gone.path) && !index.remove(gone.user, &gone.path)
                );
            }
            if round % 50 == 0 {
                let text = format!("w{} w{} -w{}", rng.below(3), rng.below(20), rng.below(200));
                let query = Query::for_words(&text);
                let fits = |shared: &&Shared| {
                    let words = words_of(shared.path.as_bytes());
                    let has = |word: &Text| words.iter().any(|have| have == word.as_bytes());
                    query.contains.iter().all(has) && !query.excludes.iter().any(has)
                };
                let want: Vec<&Shared> = model.iter().rev().filter(fits).take(40).collect();
                assert_eq!(index.search(&query, 40, |_| true).unwrap(), want, "{text}");
            }
        }
        assert_eq!((index.len(), index.bytes()), (model.len(), model.iter().map(|s| s.size).sum()));
        assert!(index.entries.len() <= 2 * index.live + GONE_MAX);
        (0..20).for_each(|user| {
            index.remove_all(UserId(user));
        });
        assert!(index.terms.is_empty() && index.len() == 0 && index.owned.is_empty());
        assert_eq!(index.free.len(), index.postings.len());
    }

    #[test]
    fn the_walk_is_bounded() {
        let mut index = Index::default();
        let count = 3 * STEPS_MAX;
        (0..count).for_each(|n| {
            // The words never meet, and their files alternate: the worst there is.
            assert!(index.add(shared(
                n / 5000,
                &format!("{} {n}", if n % 2 == 0 { "a" } else { "b" }),
                7
            )));
        });
        // No file is as large, and every one is looked at; an exact size is found at once.
        let mut query = Query::for_words("a");
        let seen = std::cell::Cell::new(0);
        index.search(&query, 1, |_| {
            seen.set(seen.get() + 1);
            false
        });
        assert_eq!(seen.get(), STEPS_MAX);
        assert!(index.add(shared(99u64, "a first", 8)));
        assert!((0..STEPS_MAX).all(|n| index.add(shared(100 + n / 5000, &format!("a {n}"), 7))));
        query.bounds.push(Bound { property: Property::Size, compare: Compare::Equal, value: 8 });
        assert_eq!(index.search(&query, 9, |_| true).unwrap().len(), 1);
    }
}
