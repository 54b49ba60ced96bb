//! What somebody looks for.

use super::Filter;
use crate::words::words;

/// Words, and what hits must be beside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// As networks are asked, in the spelling of whoever asks.
    pub text: String,
    /// The same, folded.
    pub words: Vec<String>,
    /// What must hold as well.
    pub filter: Filter,
}

/// There is nothing to ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no word of two letters or more to search for")]
pub struct NoWords;

impl Question {
    /// Of words as they were typed. One with `-` before it must not be in a name.
    ///
    /// # Errors
    /// Nothing is left that a network could be asked for: a letter alone is in every other name.
    pub fn new<W: AsRef<str>>(typed: &[W], mut filter: Filter) -> Result<Self, NoWords> {
        let mut text: Vec<&str> = Vec::new();
        for word in typed.iter().flat_map(|words| words.as_ref().split_whitespace()) {
            match word.strip_prefix('-') {
                Some(not) => filter.without.extend(words(not)),
                None => text.push(word),
            }
        }
        let text = text.join(" ");
        let words = words(&text);
        if !words.iter().any(|word| word.chars().count() > 1) {
            return Err(NoWords);
        }
        Ok(Self { text, words, filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_what_must_not_be_there() {
        let question = Question::new(&["Blue Moon", "-Live", "café"], Filter::default()).unwrap();
        assert_eq!(question.text, "Blue Moon café");
        assert_eq!(question.words, ["blue", "moon", "cafe"]);
        assert_eq!(question.filter.without, ["live"]);
        for none in [&[""][..], &["-live"], &["a", "b"], &["..."], &[]] {
            assert_eq!(Question::new(none, Filter::default()), Err(NoWords), "{none:?}");
        }
    }
}
