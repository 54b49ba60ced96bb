//! Searches: clauses in any order, and the words that names are made of.

use super::fields::{Fields, Line};
use super::{Media, NapsterError, QUERY_WORDS_MAX, Text};
use crate::id::InfoHash;

/// Which kinds of files are meant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WantedMedia {
    /// Nothing was said, which means mp3.
    #[default]
    Unsaid,
    /// `TYPE ANY`
    Any,
    /// One.
    Only(Media),
}

/// A number of a file, or of who shares it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Property {
    /// Code of the sharer's link, 0 to 10.
    LineSpeed,
    /// kbit/s
    Bitrate,
    /// Hz
    Frequency,
    /// Bytes
    Size,
    /// Seconds
    Duration,
}

/// How it is compared.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Compare {
    /// `EQUAL TO`
    Equal,
    /// `AT LEAST`
    AtLeast,
    /// `AT BEST`
    AtMost,
}

/// What a property must be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bound {
    /// Which property.
    pub property: Property,
    /// How it is compared.
    pub compare: Compare,
    /// With what.
    pub value: u32,
}

/// A search.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// All of them must occur; at most [`QUERY_WORDS_MAX`] together with `excludes`. In lower case, as [`words`] gives
    /// them.
    pub contains: Vec<Text>,
    /// None of them may occur.
    pub excludes: Vec<Text>,
    /// How many rows are wanted; 0 or nothing: as many as the directory gives.
    pub max_results: u32,
    /// Kinds of files.
    pub media: WantedMedia,
    /// All of them must hold.
    pub bounds: Vec<Bound>,
    /// Only files of users of this very server.
    pub local: bool,
    /// Only files of this torrent. Only directories with the swarm extension know it.
    pub btih: Option<InfoHash>,
}

impl Property {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::LineSpeed, "LINESPEED"),
        (Self::Bitrate, "BITRATE"),
        (Self::Frequency, "FREQ"),
        (Self::Size, "SIZE"),
        (Self::Duration, "DURATION"),
    ];
}

impl Compare {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Equal, "EQUAL TO"), (Self::AtLeast, "AT LEAST"), (Self::AtMost, "AT BEST")];
}

fn named<T: Copy>(names: &[(T, &str)], raw: &[u8]) -> Option<T> {
    names.iter().find(|(_, name)| raw.eq_ignore_ascii_case(name.as_bytes())).map(|(one, _)| *one)
}

impl Bound {
    /// Whether a value is within.
    pub fn holds(&self, value: u32) -> bool {
        match self.compare {
            Compare::Equal => value == self.value,
            Compare::AtLeast => value >= self.value,
            Compare::AtMost => value <= self.value,
        }
    }
}

impl Query {
    /// A search for all the words of a text, in files of any kind. A word with `-` before it must not occur.
    pub fn for_words(text: &str) -> Self {
        let mut query = Self { media: WantedMedia::Any, ..Self::default() };
        query.add_words(text.as_bytes());
        query
    }

    /// What old servers understand: words and a number of rows.
    #[must_use]
    pub fn simplest(&self) -> Self {
        let Self { contains, max_results, .. } = self.clone();
        Self { contains, max_results, ..Self::default() }
    }

    /// Whether it looks for further sources of a file that is known, and not for something new.
    pub fn finds_sources(&self) -> bool {
        let exact =
            |bound: &Bound| (bound.property, bound.compare) == (Property::Size, Compare::Equal);
        self.btih.is_some() || self.bounds.iter().any(exact)
    }

    /// Reads the data of a search.
    ///
    /// # Errors
    /// [`NapsterError::Clause`] if there is one that nobody here knows.
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, NapsterError> {
        let mut query = Self::default();
        while let Some(clause) = fields.next() {
            let known = query.clause(&clause.to_ascii_uppercase(), &mut fields);
            known.ok_or(NapsterError::Clause)?;
        }
        Ok(query)
    }

    fn clause(&mut self, clause: &[u8], fields: &mut Fields<'_>) -> Option<()> {
        match clause {
            b"FILENAME" => match fields.next()?.to_ascii_uppercase().as_slice() {
                b"CONTAINS" => self.add_words(fields.next()?),
                b"EXCLUDES" => self.add_excluded(fields.next()?),
                _ => return None,
            },
            b"MAX_RESULTS" => self.max_results = fields.number("rows").ok()?,
            b"TYPE" => {
                let wanted = fields.next()?;
                self.media = if wanted.eq_ignore_ascii_case(b"ANY") {
                    WantedMedia::Any
                } else {
                    WantedMedia::Only(Media::parse(wanted)?)
                };
            }
            b"LOCAL" | b"LOCAL_ONLY" => self.local = true,
            b"BTIH" => {
                let hex = std::str::from_utf8(fields.next()?).ok()?;
                self.btih = Some(InfoHash::from_hex(hex)?);
            }
            _ => {
                let property = named(&Property::NAMES, clause)?;
                let compare = named(&Compare::NAMES, fields.next()?)?;
                let value = fields.number("value").ok()?;
                self.bounds.push(Bound { property, compare, value });
            }
        }
        Some(())
    }

    fn add_words(&mut self, text: &[u8]) {
        for word in text.split(u8::is_ascii_whitespace) {
            match word.strip_prefix(b"-") {
                Some(not) => self.add_excluded(not),
                None => Self::add(&mut self.contains, self.excludes.len(), word),
            }
        }
    }

    fn add_excluded(&mut self, text: &[u8]) {
        Self::add(&mut self.excludes, self.contains.len(), text);
    }

    fn add(to: &mut Vec<Text>, others: usize, text: &[u8]) {
        for word in words(text) {
            let word = Text::new(word);
            if to.len() + others < QUERY_WORDS_MAX && !to.contains(&word) {
                to.push(word);
            }
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut line = Line::default();
        let joined = |words: &[Text]| {
            let words: Vec<&[u8]> = words.iter().map(Text::as_bytes).collect();
            Text::new(words.join(&b' '))
        };
        if !self.contains.is_empty() {
            line = line.word("FILENAME CONTAINS").quoted(&joined(&self.contains));
        }
        if !self.excludes.is_empty() {
            line = line.word("FILENAME EXCLUDES").quoted(&joined(&self.excludes));
        }
        if self.max_results > 0 {
            line = line.word("MAX_RESULTS").word(self.max_results);
        }
        line = match self.media {
            WantedMedia::Unsaid => line,
            WantedMedia::Any => line.word("TYPE ANY"),
            WantedMedia::Only(media) => line.word("TYPE").word(media.name()),
        };
        for bound in &self.bounds {
            let property = Property::NAMES[bound.property as usize].1;
            let compare = Compare::NAMES[bound.compare as usize].1;
            line = line.word(property).quoted(&compare.into()).word(bound.value);
        }
        if self.local {
            line = line.word("LOCAL");
        }
        if let Some(hash) = self.btih {
            line = line.word("BTIH").quoted(&Text::new(hash.to_string()));
        }
        line.0
    }
}

/// The words of a text in lower case: runs of letters, digits and `'`. Every byte from 128 on belongs to a word, so
/// that those of UTF-8 stay whole.
pub fn words(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'\'' || *byte >= 128;
    text.split(move |byte| !inside(byte)).filter(|run| !run.is_empty()).map(|run| {
        match std::str::from_utf8(run) {
            Ok(text) if !text.is_ascii() => text.to_lowercase().into_bytes(),
            _ => run.to_ascii_lowercase(),
        }
    })
}
