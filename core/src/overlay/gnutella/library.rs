//! What a servent shares, as the network sees it, and which of it a query means.

use crate::proto::gnutella::{Extensions, Ggep, Hit, Query, Urn};
use crate::share::{Catalogue, Item};
use crate::words::words;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes of the shortest word that is routed by.
pub(super) const ROUTED_MIN: usize = 3;

/// Files under the numbers of a catalogue.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: Arc<Catalogue>,
}

impl Library {
    /// All that is shared.
    pub fn new(files: Arc<Catalogue>) -> Self {
        Self { files }
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
        u32::try_from(self.files.bytes() >> 10).unwrap_or(u32::MAX)
    }

    /// The file with this number.
    pub fn get(&self, index: u32) -> Option<&Arc<Item>> {
        self.files.get(index)
    }

    /// The file with this name of content. A torrent stands for its one file; if it has several, none is meant.
    pub fn named(&self, urn: &Urn) -> Option<u32> {
        match urn {
            Urn::Sha1(sha1) => self.files.with_sha1(sha1),
            Urn::Btih(info) => {
                let mut files = self.files.of_torrent(*info);
                files.next().filter(|_| files.next().is_none()).map(|(_, index)| index)
            }
            Urn::Wanted(_) | Urn::Other(_) => None,
        }
    }

    /// The numbers of at most `most` files that came last.
    pub(super) fn last(&self, most: usize) -> Vec<u32> {
        self.files.iter().rev().take(most).map(|(index, _)| index).collect()
    }

    /// Numbers of at most `most` files that have all words of the query, or one of its names of content.
    pub fn find(&self, query: &Query, most: usize) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for urn in &query.extensions.urns {
            match urn {
                Urn::Btih(info) => {
                    let files = self.files.of_torrent(*info).map(|(_, index)| index);
                    found.extend(files.take(most));
                }
                urn => found.extend(self.named(urn)),
            }
        }
        let words = words(&query.text);
        if words.iter().any(|word| word.chars().count() > 1) {
            found.extend(self.files.find(&words, most));
        }
        let mut seen = BTreeSet::new();
        found.retain(|index| seen.insert(*index));
        found.truncate(most);
        found
    }

    /// A file as an answer shows it.
    pub(super) fn hit(&self, index: u32, port: u16) -> Option<Hit> {
        let file = self.get(index)?;
        let mut ggep = Ggep::new();
        if let Some((info, nth)) = file.torrent {
            let place = [&info.0[..], &nth.to_le_bytes(), &port.to_le_bytes()].concat();
            // Some look for the name of the torrent here, without its scheme, and not beside that of the file.
            let urn = Urn::Btih(info).to_string();
            ggep = ggep.with("BT", place).with("u", urn["urn:".len()..].to_owned());
        }
        let extensions = Extensions { urns: urns(file).collect(), ggep };
        Some(Hit { index, size: file.size(), name: file.name.clone(), extensions })
    }

    /// What a neighbour may route queries by: long words, without one to three letters at their end too, and names of
    /// content.
    pub(super) fn routed(&self) -> impl Iterator<Item = String> {
        let words = self.files.words().flat_map(|word| {
            let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).rev().take(3).collect();
            let cut = ends.into_iter().filter(|&end| end >= ROUTED_MIN);
            let whole = (word.len() >= ROUTED_MIN).then_some(word.len());
            whole.into_iter().chain(cut).map(|end| word[..end].to_owned())
        });
        let urns = self.files.iter().flat_map(|(_, file)| urns(file));
        words.chain(urns.map(|urn| urn.to_string().to_lowercase()))
    }
}

/// The SHA-1 first: some take an info hash that stands alone for one.
fn urns(file: &Item) -> impl Iterator<Item = Urn> {
    let sha1 = file.hashes.map(|hashes| Urn::Sha1(hashes.sha1));
    let torrent = file.torrent.map(|(info, _)| Urn::Btih(info));
    sha1.into_iter().chain(torrent)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::id::InfoHash;
    use crate::proto::fasttrack::UuHash;
    use crate::share::{Hashes, Place, Stamp};

    /// A file whose SHA-1 is one byte over and over.
    pub(crate) fn file(name: &str, size: u64, sha1: Option<u8>) -> Item {
        let place = Place { folder: 0, path: vec![name.to_owned()] };
        let hashes =
            sha1.map(|byte| Hashes { sha1: [byte; 20], md5: [byte; 16], uu: UuHash([byte; 20]) });
        Item { hashes, ..Item::new(place, Stamp { len: size, mtime_ns: 0 }) }
    }

    fn library() -> Library {
        let torrent = Some((InfoHash([2; 20]), 3));
        let sky = Item { torrent, ..file("blue sky.ogg", 5000, None) };
        // One after the other, so that they are numbered in this order.
        let mut items = Vec::new();
        let mut files = Catalogue::default();
        for item in [
            file("Blue_Moon (live).mp3", 5000, Some(1)),
            file("Café à la carte.pdf", 5000, None),
            sky,
        ] {
            items.push(item);
            files = files.renewed(items.clone());
        }
        Library::new(Arc::new(files))
    }

    #[test]
    fn words_are_folded_and_all_must_be_met() {
        #[track_caller]
        fn check(text: &str, want: &[u32]) {
            assert_eq!(library().find(&Query::words(text), 10), want, "{text}");
        }
        check("BLUE", &[2, 0]);
        check("moon blue", &[0]);
        check("blue mars", &[]);
        check("cafe CARTE", &[1]);
        check("a", &[]); // words of one letter alone mean nothing
        check("a cafe", &[1]);
        check("", &[]);
        check(&format!("btih {}", InfoHash([2; 20])), &[2]);
        assert_eq!(library().find(&Query::words("blue"), 1), [2]);
        assert_eq!((library().last(2), library().kbytes()), (vec![2, 1], 14));
    }

    #[test]
    fn a_name_of_content_is_enough() {
        let (sha1, btih) = (Urn::Sha1([1; 20]), Urn::Btih(InfoHash([2; 20])));
        let find = |urns: &[Urn], text: &str, most| {
            let extensions = Extensions::of_urns(urns.to_vec());
            library().find(&Query { extensions, ..Query::words(text) }, most)
        };
        assert_eq!(find(std::slice::from_ref(&sha1), "\\", 10), [0]);
        assert_eq!(find(&[btih.clone(), sha1.clone()], "blue", 10), [2, 0], "each once");
        assert_eq!(find(&[btih.clone(), sha1.clone()], "blue", 1), [2]);
        assert_eq!((library().named(&sha1), library().named(&btih)), (Some(0), Some(2)));
        assert_eq!(library().named(&Urn::Wanted(String::new())), None);
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
        let name = hit.extensions.ggep.get("u").unwrap();
        assert_eq!(*name, "btih:AIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQC");
        assert_eq!(library().hit(9, 1), None);
    }
}
