//! The words of names and of queries, and where the lists of those that have them meet.
//!
//! One rule for all that we match ourselves: [`fold`] makes one spelling of those that people take for the same, and
//! [`split`] cuts it into runs of letters and digits. What a foreign program must be asked in its own spelling, bytes of
//! no known character set, stays with its protocol.

use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use std::borrow::Cow;

/// Different words of one text that [`words`] takes; further ones are ignored.
pub const WORDS_MAX: usize = 32;

/// A text without case, accents, and the other differences that a keyboard makes: `Café`, `CAFE´` typed as two
/// characters, and `cafe` in full-width letters are all `cafe`. Folding twice changes nothing more.
///
/// Only the accents of scripts whose readers leave them out when they search are dropped: the vowel signs of India and
/// the marks of kana make other words.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let apart = DecomposingNormalizerBorrowed::new_nfkd();
    let mut folded = String::with_capacity(text.len());
    // What becomes small may come apart once more.
    let small: String = apart.normalize(text).chars().flat_map(char::to_lowercase).collect();
    for c in apart.normalize(&small).chars().filter(|&c| !is_accent(c)) {
        match alike(c) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(c),
        }
    }
    Cow::Owned(ComposingNormalizerBorrowed::new_nfc().normalize(&folded).into_owned())
}

/// The blocks of accents for Latin, Greek and Cyrillic letters.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// Letters that no table takes apart, as those write them who do not have them.
fn alike(c: char) -> Option<&'static str> {
    Some(match c {
        'æ' => "ae",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ŧ' => "t",
        'ς' => "σ",
        _ => return None,
    })
}

/// The words of a folded text: runs of letters and digits, with the marks that belong to them.
pub fn split(folded: &str) -> impl Iterator<Item = &str> {
    let marks = CanonicalCombiningClassMapBorrowed::new();
    let inside = move |c: char| c.is_alphanumeric() || (!c.is_ascii() && marks.get_u8(c) != 0);
    folded.split(move |c| !inside(c)).filter(|word| !word.is_empty())
}

/// The words of a name or a query, folded, each once, in their order; the first [`WORDS_MAX`] of them.
pub fn words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in split(&fold(text)) {
        if found.len() == WORDS_MAX {
            break;
        }
        if !found.iter().any(|known| known == word) {
            found.push(word.into());
        }
    }
    found
}

/// The numbers that are in all of several ascending lists, the largest first.
///
/// Leaps over what one of them does not have, and gives up after a number of leaps, so that no choice of words makes a
/// search long: what has been found until then is the answer.
#[derive(Clone, Debug)]
pub struct Meeting<'a> {
    lists: Vec<&'a [u32]>,
    leaps: u32,
}

impl<'a> Meeting<'a> {
    /// Of these lists; nothing if there is none. At most `leaps` leaps and finds.
    pub fn of(mut lists: Vec<&'a [u32]>, leaps: u32) -> Self {
        // From the rarest one the leaps are the longest.
        lists.sort_by_key(|list| list.len());
        Self { lists, leaps }
    }
}

impl Iterator for Meeting<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let mut wanted = *self.lists.first()?.last()?;
        let mut agreed = 0;
        let mut at = 0;
        while agreed < self.lists.len() {
            self.leaps = self.leaps.checked_sub(1)?;
            self.lists[at] = up_to(self.lists[at], wanted);
            let last = *self.lists[at].last()?;
            agreed = if last == wanted { agreed + 1 } else { 1 };
            wanted = last;
            at = (at + 1) % self.lists.len();
        }
        for list in &mut self.lists {
            *list = &list[..list.len() - 1];
        }
        Some(wanted)
    }
}

/// The part of an ascending list that does not exceed `most`. Looks near the end first: leaps are mostly short.
fn up_to(list: &[u32], most: u32) -> &[u32] {
    let mut leap = 1;
    while leap <= list.len() && list[list.len() - leap] > most {
        leap *= 2;
    }
    let (low, high) = (list.len().saturating_sub(leap), list.len() - leap / 2);
    &list[..low + list[low..high].partition_point(|&number| number <= most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn spellings_of_one_word() {
        #[track_caller]
        fn check(spellings: &[&str], want: &str) {
            for text in spellings {
                assert_eq!(fold(text), want, "{text}");
            }
        }
        check(&["cafe", "CAFE", "Café", "cafe\u{301}", "ｃａｆé"], "cafe");
        check(&["Björk", "BJO\u{308}RK"], "bjork");
        check(&["straße", "STRASSE", "STRAẞE"], "strasse");
        check(&["İstanbul", "istanbul", "ıstanbul"], "istanbul");
        check(&["ΟΔΟΣ", "οδός", "οδοσ"], "οδοσ");
        check(&["Ёлка", "елка"], "елка");
        check(&["Ærø", "aero"], "aero");
        check(&["Łódź", "LODZ"], "lodz");
        check(&["ﬁne", "fine"], "fine");
        // These marks make another word.
        check(&["が", "か\u{3099}"], "が");
        assert_ne!(fold("が"), fold("か"));
        check(&["한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"], "한국");
        assert_eq!(words("हिन्दी गीत"), ["हिन्दी", "गीत"]);
    }

    #[test]
    fn runs_of_letters_and_digits() {
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            assert_eq!(words(text), want, "{text}");
        }
        check("Blue_Moon (live) - 01.mp3", &["blue", "moon", "live", "01", "mp3"]);
        check("a.b a-b", &["a", "b"]);
        check("../..\\ \0\n", &[]);
        check("日本語 テスト", &["日本語", "テスト"]);
        let many: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
        assert_eq!(words(&many.join(" ")), many[..WORDS_MAX]);
    }

    #[test]
    fn a_meeting_gives_up() {
        let lists: Vec<Vec<u32>> =
            (0..2).map(|odd| (0..100_000).map(|n| 2 * n + odd).collect()).collect();
        // They never meet, and alternate: the worst there is.
        let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        assert_eq!(Meeting::of(lists.clone(), 1000).next(), None);
        assert_eq!(Meeting::of(vec![lists[0]], 1000).count(), 1000);
        assert_eq!(Meeting::of(Vec::new(), 1000).next(), None);
    }

    proptest! {
        #[test]
        fn folding_again_changes_nothing(text in any::<String>()) {
            let folded = fold(&text).into_owned();
            prop_assert_eq!(fold(&folded), folded.as_str());
            for word in words(&text) {
                prop_assert_eq!(words(&word), [word]);
            }
        }

        #[test]
        fn lists_meet_where_sets_do(lists in prop::collection::vec(prop::collection::btree_set(0u32..60, 0..50), 1..4)) {
            let flat: Vec<Vec<u32>> = lists.iter().map(|list| list.iter().copied().collect()).collect();
            let (first, others) = lists.split_first().unwrap();
            let common: BTreeSet<u32> =
                first.iter().copied().filter(|n| others.iter().all(|list| list.contains(n))).collect();
            let met: Vec<u32> = Meeting::of(flat.iter().map(Vec::as_slice).collect(), 10_000).collect();
            prop_assert_eq!(met, common.into_iter().rev().collect::<Vec<_>>());
        }
    }
}
