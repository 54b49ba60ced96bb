//! What is probably junk. It is shown last, and never counts as enough.

use super::Question;
use super::hit::{Hit, Voice};
use crate::words::words;
use std::collections::{BTreeMap, BTreeSet};

/// Different sizes that one host has of what is called exactly what was asked for; from so many on it has none of them.
const ECHOES_MAX: usize = 3;

/// Why something is taken for junk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spam {
    /// All who have it answer every question with files of that very name.
    Echo,
    /// Its name does not have the words that were asked for.
    OffTopic,
}

impl Spam {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::OffTopic => "off-topic",
        }
    }
}

/// Those who echo a question: files of several sizes whose names are its words and nothing else.
pub(super) fn echoes(question: &Question, hits: &[Hit]) -> BTreeSet<Voice> {
    let mut sizes: BTreeMap<Voice, BTreeSet<Option<u64>>> = BTreeMap::new();
    for hit in hits {
        let stem = hit.name.rsplit_once('.').map_or(hit.name.as_str(), |(stem, _)| stem);
        if words(stem) == question.words {
            sizes.entry(hit.reach.voice()).or_default().insert(hit.size);
        }
    }
    sizes
        .into_iter()
        .filter(|(_, sizes)| sizes.len() >= ECHOES_MAX)
        .map(|(voice, _)| voice)
        .collect()
}

/// What is wrong with something that these hosts have.
pub(super) fn judge(
    question: &Question,
    sources: &[Hit],
    echoes: &BTreeSet<Voice>,
) -> Option<Spam> {
    if sources.iter().all(|hit| echoes.contains(&hit.reach.voice())) {
        return Some(Spam::Echo);
    }
    (!sources.iter().any(|hit| is_about(question, hit))).then_some(Spam::OffTopic)
}

/// Whether every word of the question is in the name, or names the torrent.
fn is_about(question: &Question, hit: &Hit) -> bool {
    let torrent = hit.hashes.torrent.map(|torrent| torrent.to_string());
    let name = words(&hit.name);
    question.words.iter().all(|wanted| {
        let named = torrent.as_ref().is_some_and(|torrent| wanted == "btih" || wanted == torrent);
        named || name.iter().any(|word| word.contains(wanted.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::hit::tests::hit;
    use super::super::{Filter, Hashes};
    use super::*;
    use crate::id::InfoHash;

    fn question(text: &str) -> Question {
        Question::new(&[text], Filter::default()).unwrap()
    }

    #[test]
    fn who_has_exactly_that_in_every_size_has_nothing() {
        let question = question("blue moon");
        let mut hits: Vec<Hit> = (0..3).map(|size| hit(1, "Blue Moon.mp3", size)).collect();
        hits.extend((0..2).map(|size| hit(2, "blue_moon.mp3", size)));
        hits.extend((0..9).map(|size| hit(3, "Blue Moon (live).mp3", size)));
        let echoes = echoes(&question, &hits);
        assert_eq!(echoes, BTreeSet::from([hits[0].reach.voice()]));
        assert_eq!(judge(&question, &hits[..1], &echoes), Some(Spam::Echo));
        assert_eq!(judge(&question, &hits[3..4], &echoes), None);
        assert_eq!(judge(&question, &hits[..4], &echoes), None, "somebody else has it, too");
    }

    #[test]
    fn a_name_must_have_the_words() {
        #[track_caller]
        fn check(asked: &str, name: &str, torrent: Option<InfoHash>, want: Option<Spam>) {
            let hashes = Hashes { torrent, ..Hashes::default() };
            let hit = Hit { hashes, ..hit(1, name, 1) };
            assert_eq!(judge(&question(asked), &[hit], &BTreeSet::new()), want, "{asked}: {name}");
        }
        check("blue", "BLUE moon", None, None);
        check("blu", "bluebird", None, None);
        check("cafe", "Café.pdf", None, None);
        check("blue moon", "blue sky", None, Some(Spam::OffTopic));
        let torrent = InfoHash([0xab; 20]);
        let asked = format!("btih {torrent}");
        check(&asked, "blue", Some(torrent), None);
        check(&asked, "blue", Some(InfoHash([1; 20])), Some(Spam::OffTopic));
    }
}
