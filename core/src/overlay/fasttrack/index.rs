//! What the nodes of a supernode share, and which of it a search means.
//!
//! Finds words anywhere in the texts of a file, letter case and accents aside. Never looks at more than a bounded number of files
//! for one search, and answers nothing to one without a word or a hash.

use crate::proto::fasttrack::{Compare, File, Realm, Share, Term, UuHash, tag_kind};
use crate::words::{fold, split};
use std::collections::{BTreeMap, BTreeSet};

/// Files looked at for one search; what is behind them is not found.
const LOOKED_AT_MAX: usize = 20_000;
/// How far "about" may be off, in percent.
const ABOUT_PERCENT: u64 = 10;

/// One file of one owner.
#[derive(Clone, Debug)]
struct Row<O> {
    owner: O,
    media: u8,
    file: File,
    /// All that words are looked for in, folded, a line for each tag.
    text: String,
}

/// Files of many owners.
#[derive(Clone, Debug)]
pub struct Index<O> {
    rows: BTreeMap<u32, Row<O>>,
    next: u32,
    words: BTreeMap<String, BTreeSet<u32>>,
    hashes: BTreeMap<UuHash, BTreeSet<u32>>,
    owners: BTreeMap<O, BTreeSet<u32>>,
}

impl<O> Default for Index<O> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            next: 0,
            words: BTreeMap::new(),
            hashes: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }
}

impl<O: Copy + Ord> Index<O> {
    /// Files of all owners.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Files of one owner.
    pub fn count_of(&self, owner: O) -> usize {
        self.owners.get(&owner).map_or(0, BTreeSet::len)
    }

    /// Adds a file; in place of the same file of the same owner, if it is there.
    pub fn add(&mut self, owner: O, share: Share) {
        self.remove(owner, share.file.hash);
        let at = self.next;
        self.next = self.next.wrapping_add(1);
        let texts = tag_kind::SEARCHED.iter().filter_map(|&kind| share.file.tags.of(kind));
        let lines: Vec<String> = texts.map(folded).collect();
        let text = lines.join("\n");
        for word in split(&text) {
            match self.words.get_mut(word) {
                Some(rows) => {
                    rows.insert(at);
                }
                None => {
                    self.words.insert(word.to_owned(), BTreeSet::from([at]));
                }
            }
        }
        self.hashes.entry(share.file.hash).or_default().insert(at);
        self.owners.entry(owner).or_default().insert(at);
        self.rows.insert(at, Row { owner, media: share.media, file: share.file, text });
    }

    /// Takes a file of one owner away.
    pub fn remove(&mut self, owner: O, hash: UuHash) {
        let (Some(same), Some(own)) = (self.hashes.get(&hash), self.owners.get(&owner)) else {
            return;
        };
        if let Some(&at) = same.intersection(own).next() {
            self.forget(at);
        }
    }

    /// Takes all files of one owner away.
    pub fn remove_all(&mut self, owner: O) {
        for at in self.owners.remove(&owner).unwrap_or_default() {
            self.forget(at);
        }
    }

    fn forget(&mut self, at: u32) {
        let Some(row) = self.rows.remove(&at) else { return };
        let leave = |rows: &mut BTreeSet<u32>| {
            rows.remove(&at);
            rows.is_empty()
        };
        for word in split(&row.text) {
            if self.words.get_mut(word).is_some_and(leave) {
                self.words.remove(word);
            }
        }
        if self.hashes.get_mut(&row.file.hash).is_some_and(leave) {
            self.hashes.remove(&row.file.hash);
        }
        if self.owners.get_mut(&row.owner).is_some_and(leave) {
            self.owners.remove(&row.owner);
        }
    }

    /// Files for which all terms hold, at most `max`.
    pub fn find(&self, realm: Realm, terms: &[Term], max: usize) -> Vec<(O, &File)> {
        let fits = |row: &&Row<O>| {
            realm.media().is_none_or(|media| media == row.media)
                && terms.iter().all(|term| holds(term, row))
        };
        let rows = self.candidates(terms).into_iter().take(LOOKED_AT_MAX);
        let rows = rows.filter_map(|at| self.rows.get(&at)).filter(fits);
        rows.take(max).map(|row| (row.owner, &row.file)).collect()
    }

    /// All files that can fit, and others.
    fn candidates(&self, terms: &[Term]) -> BTreeSet<u32> {
        if let Some(hash) = terms.iter().find_map(hash_of) {
            return self.hashes.get(&hash).cloned().unwrap_or_default();
        }
        let texts = terms.iter().filter(|term| term.compare == Compare::Words);
        let texts: Vec<String> = texts.map(|term| folded(&term.value)).collect();
        // The longest word is in the fewest files.
        let longest = texts.iter().flat_map(|text| split(text)).max_by_key(|word| word.len());
        let Some(longest) = longest else { return BTreeSet::new() };
        let containing = self.words.iter().filter(|(word, _)| word.contains(longest));
        containing.flat_map(|(_, rows)| rows.iter().copied()).collect()
    }
}

fn folded(text: &[u8]) -> String {
    fold(&String::from_utf8_lossy(text)).into_owned()
}

fn hash_of(term: &Term) -> Option<UuHash> {
    let asked = term.compare == Compare::Equal && u32::from(term.tag) == tag_kind::HASH;
    asked.then(|| term.value[..].try_into().ok().map(UuHash))?
}

fn holds<O>(term: &Term, row: &Row<O>) -> bool {
    let tag = u32::from(term.tag);
    let value = || row.file.tags.of(tag);
    let number = || match tag {
        tag_kind::SIZE => Some(row.file.size),
        _ => row.file.tags.number(tag),
    };
    let both = || number().zip(term.number());
    match term.compare {
        Compare::Words => {
            let wanted = folded(&term.value);
            let has = |text: &str| wanted.split_whitespace().all(|word| text.contains(word));
            match tag {
                0 => has(&row.text),
                _ => value().is_some_and(|text| has(&folded(text))),
            }
        }
        Compare::Equal if tag == tag_kind::HASH => row.file.hash.0[..] == term.value,
        Compare::Equal if tag == tag_kind::SIZE => both().is_some_and(|(have, want)| have == want),
        Compare::Equal => value().is_some_and(|have| have.eq_ignore_ascii_case(&term.value)),
        Compare::AtMost => both().is_some_and(|(have, want)| have <= want),
        Compare::AtLeast => both().is_some_and(|(have, want)| have >= want),
        Compare::About => {
            both().is_some_and(|(have, want)| have.abs_diff(want) <= want / 100 * ABOUT_PERCENT)
        }
        Compare::Other(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::fasttrack::{Query, Tags};

    fn share(n: u8, name: &str, seconds: u64) -> Share {
        let tags = Tags::default().with(tag_kind::FILE_NAME, name);
        let tags = tags.with_number(tag_kind::LENGTH, seconds).with(tag_kind::ARTIST, "Björk");
        let file = File { hash: UuHash([n; 20]), file_id: 1, size: 1000 * u64::from(n), tags };
        Share { media: 1 + n % 2, file }
    }

    fn library() -> Index<u8> {
        let mut index = Index::default();
        index.add(1, share(1, "Hidden Place.mp3", 328));
        index.add(1, share(2, "Hidden-place live.mp3", 400));
        index.add(2, share(1, "other name.mp3", 328));
        index
    }

    fn found(index: &Index<u8>, terms: &[Term]) -> Vec<(u8, u8)> {
        let found = index.find(Realm::ALL, terms, 10);
        found.into_iter().map(|(owner, file)| (owner, file.hash.0[0])).collect()
    }

    #[test]
    fn every_word_must_occur_somewhere() {
        let index = library();
        for (words, want) in [
            ("hidden", vec![(1, 1), (1, 2)]),
            ("PLACE hid", vec![(1, 1), (1, 2)]),
            ("björk LIVE", vec![(1, 2)]),
            ("bjork live", vec![(1, 2)]),
            ("hidden-place", vec![(1, 2)]),
            ("hidden nowhere", vec![]),
            ("- .", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(found(&index, &Query::words(0, 9, words).terms), want, "{words}");
        }
        let terms = Query::words(0, 9, "björk").terms;
        assert_eq!(index.find(Realm(0xa2), &terms, 10).len(), 2, "video");
        assert_eq!(index.find(Realm(0x3f), &terms, 2).len(), 2, "no more than wanted");
    }

    #[test]
    fn hashes_and_numbers() {
        let index = library();
        let hash = Query::hash(0, 9, UuHash([1; 20])).terms;
        assert_eq!(found(&index, &hash), [(1, 1), (2, 1)]);
        let term = |compare, tag, value: Vec<u8>| {
            let mut terms = Query::words(0, 9, "mp3").terms;
            terms.push(Term { compare, tag, value });
            terms
        };
        let seconds = tag_kind::LENGTH as u8;
        // 328 and 400 as packed numbers.
        let (short, long) = (vec![0x82, 0x48], vec![0x83, 0x10]);
        assert_eq!(found(&index, &term(Compare::AtLeast, seconds, long.clone())), [(1, 2)]);
        assert_eq!(found(&index, &term(Compare::AtMost, seconds, short.clone())).len(), 2);
        assert_eq!(found(&index, &term(Compare::Equal, seconds, long)), [(1, 2)]);
        assert_eq!(found(&index, &term(Compare::About, seconds, vec![0x82, 0x50])).len(), 2);
        let size = tag_kind::SIZE as u8;
        assert_eq!(found(&index, &term(Compare::Equal, size, vec![0x8f, 0x50])), [(1, 2)]);
        assert_eq!(found(&index, &term(Compare::Other(6), 0x1f, vec![2])).len(), 3);
        assert_eq!(
            found(&index, &[Term { compare: Compare::AtLeast, tag: size, value: vec![0] }]),
            []
        );
    }

    #[test]
    fn what_leaves_is_gone_without_a_trace() {
        let mut index = library();
        index.add(1, share(1, "renamed.mp3", 5));
        assert_eq!((index.len(), index.count_of(1)), (3, 2));
        assert_eq!(found(&index, &Query::words(0, 9, "renamed").terms), [(1, 1)]);
        index.remove(1, UuHash([1; 20]));
        index.remove(1, UuHash([9; 20]));
        assert_eq!(index.len(), 2);
        index.remove_all(1);
        index.remove_all(1);
        index.remove_all(2);
        assert!(index.is_empty() && index.words.is_empty() && index.hashes.is_empty());
        assert!(index.owners.is_empty());
    }
}
