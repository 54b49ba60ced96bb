//! What a servent shares, and which of it a query means.

use crate::id::InfoHash;
use crate::proto::gnutella::{Extensions, Ggep, Hit, Query, Urn};
use std::collections::BTreeMap;

/// Bytes of the shortest word that is routed by.
pub(super) const ROUTED_MIN: usize = 3;
/// Words of a query that are looked at; further ones are ignored.
const WORDS_MAX: usize = 32;

/// A file that is offered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shared {
    /// Its name without any folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-1 of all of it, once known.
    pub sha1: Option<[u8; 20]>,
    /// The torrent that it belongs to, and which of its files it is.
    pub torrent: Option<(InfoHash, u32)>,
}

/// Files with their numbers, found by words and by names of content.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: Vec<Shared>,
    by_word: BTreeMap<String, Vec<u32>>,
    by_urn: BTreeMap<Urn, Vec<u32>>,
}

/// The words of a name or a query: runs of letters and digits, small, without the accents of Latin letters, each once.
pub fn words(text: &str) -> Vec<String> {
    let folded: String = text.chars().flat_map(char::to_lowercase).map(fold).collect();
    let mut found: Vec<String> = Vec::new();
    for word in folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if found.len() < WORDS_MAX && !found.iter().any(|known| known == word) {
            found.push(word.into());
        }
    }
    found
}

fn fold(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' => 'i',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => 'o',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => 'u',
        'ý' | 'ÿ' => 'y',
        'ś' | 'ŝ' | 'ş' | 'š' => 's',
        'ź' | 'ż' | 'ž' => 'z',
        c => c,
    }
}

impl Library {
    /// An index over these files; the number of a file is its place.
    pub fn new(files: Vec<Shared>) -> Self {
        let mut new = Self::default();
        for (index, file) in (0..).zip(&files) {
            let mut names = words(&file.name);
            if let Some((info, _)) = file.torrent {
                // Relays strip the URN from queries, but not these two words.
                names.extend(["btih".into(), info.to_string()]);
            }
            for word in names {
                let place = new.by_word.entry(word).or_default();
                if place.last() != Some(&index) {
                    place.push(index);
                }
            }
            for urn in file.urns() {
                new.by_urn.entry(urn).or_default().push(index);
            }
        }
        new.files = files;
        new
    }

    /// Files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing is shared.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// KiB of all files together, as far as the field goes.
    pub fn kbytes(&self) -> u32 {
        let total: u64 = self.files.iter().map(|file| file.size >> 10).sum();
        u32::try_from(total).unwrap_or(u32::MAX)
    }

    /// The file with this number.
    pub fn get(&self, index: u32) -> Option<&Shared> {
        self.files.get(index as usize)
    }

    /// Numbers of at most `most` files that have all words of the query, or one of its names of content.
    pub fn find(&self, query: &Query, most: usize) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        let named = query.extensions.urns.iter().filter_map(|urn| self.by_urn.get(urn)).flatten();
        let words = words(&query.text);
        let meant = words.iter().any(|word| word.chars().count() > 1);
        let mut lists: Vec<&[u32]> = words
            .iter()
            .map(|word| self.by_word.get(word).map(Vec::as_slice).unwrap_or_default())
            .collect();
        lists.sort_by_key(|list| list.len());
        let worded =
            lists.split_first().filter(|_| meant).into_iter().flat_map(|(first, others)| {
                first
                    .iter()
                    .filter(|index| others.iter().all(|list| list.binary_search(index).is_ok()))
            });
        for &index in named.chain(worded) {
            if found.len() == most {
                break;
            }
            if !found.contains(&index) {
                found.push(index);
            }
        }
        found
    }

    /// A file as an answer shows it.
    pub(super) fn hit(&self, index: u32, port: u16) -> Option<Hit> {
        let file = self.get(index)?;
        let mut ggep = Ggep::new();
        if let Some((info, nth)) = file.torrent {
            let place = [&info.0[..], &nth.to_le_bytes(), &port.to_le_bytes()].concat();
            ggep = ggep.with("BT", place);
        }
        let extensions = Extensions { urns: file.urns().collect(), ggep };
        Some(Hit { index, size: file.size, name: file.name.clone(), extensions })
    }

    /// What a neighbour may route queries by: long words, without one to three letters at their end too, and names of
    /// content.
    pub(super) fn routed(&self) -> impl Iterator<Item = String> {
        let words = self.by_word.keys().flat_map(|word| {
            let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).rev().take(3).collect();
            let cut = ends.into_iter().filter(|&end| end >= ROUTED_MIN);
            let whole = (word.len() >= ROUTED_MIN).then_some(word.len());
            whole.into_iter().chain(cut).map(|end| word[..end].to_owned())
        });
        words.chain(self.by_urn.keys().map(|urn| urn.to_string().to_lowercase()))
    }
}

impl Shared {
    /// The SHA-1 first: some take an info hash that stands alone for one.
    fn urns(&self) -> impl Iterator<Item = Urn> {
        let torrent = self.torrent.map(|(info, _)| Urn::Btih(info));
        self.sha1.map(Urn::Sha1).into_iter().chain(torrent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> Library {
        let file = |name: &str, sha1| Shared { name: name.into(), size: 5000, sha1, torrent: None };
        let mut files = vec![
            file("Blue_Moon (live).mp3", Some([1; 20])),
            file("Café à la carte.pdf", None),
            file("blue sky.ogg", None),
        ];
        files[2].torrent = Some((InfoHash([2; 20]), 3));
        Library::new(files)
    }

    #[test]
    fn words_are_folded_and_all_must_be_met() {
        #[track_caller]
        fn check(text: &str, want: &[u32]) {
            assert_eq!(library().find(&Query::words(text), 10), want, "{text}");
        }
        check("BLUE", &[0, 2]);
        check("moon blue", &[0]);
        check("blue mars", &[]);
        check("cafe CARTE", &[1]);
        check("a", &[]); // words of one letter alone mean nothing
        check("a cafe", &[1]);
        check("", &[]);
        check(&format!("btih {}", InfoHash([2; 20])), &[2]);
        assert_eq!(library().find(&Query::words("blue"), 1), [0]);
    }

    #[test]
    fn a_name_of_content_is_enough() {
        let urns = vec![Urn::Sha1([1; 20])];
        let query = Query { extensions: Extensions::of_urns(urns), ..Query::words("\\") };
        assert_eq!(library().find(&query, 10), [0]);
    }

    #[test]
    fn what_is_routed_by() {
        let routed: Vec<String> = library().routed().collect();
        for word in ["blue", "blu", "moon", "moo", "live", "sky", "carte", "cart", "car", "mp3"] {
            assert!(routed.iter().any(|known| known == word), "{word}");
        }
        assert!(routed.iter().all(|word| word.len() >= 3));
        assert!(routed.contains(&Urn::Sha1([1; 20]).to_string().to_lowercase()));
    }

    #[test]
    fn an_answer_names_the_torrent_after_the_file() {
        let hit = library().hit(2, 6881).unwrap();
        assert_eq!(hit.extensions.urns, [Urn::Btih(InfoHash([2; 20]))]);
        let place = hit.extensions.ggep.get("BT").unwrap();
        assert_eq!(
            (place.len(), &place[20..24], &place[24..]),
            (26, &[3, 0, 0, 0][..], &[0xe1, 0x1a][..])
        );
        assert_eq!(library().hit(9, 1), None);
    }
}
