//! Answers to what was asked a moment ago, so that the same question need not go out again.

use super::LinkId;
use crate::clock::Instant;
use crate::proto::gnutella::{Query, Urn};
use crate::words::words;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long answers are passed on.
const LIFE: Duration = Duration::from_secs(60);
/// Files that answers must name together to be enough.
const ENOUGH: usize = 10;
/// Questions that are remembered; beyond it the one asked first is forgotten.
const QUESTIONS_MAX: usize = 200;
/// Answers to one question that are remembered; further ones are not.
const ANSWERS_MAX: usize = 16;
/// Bytes of an answer that is remembered.
const ANSWER_MAX: usize = 4 << 10;

/// What is asked, whoever asks and in whatever order he writes the words.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Question(Vec<String>, Vec<Urn>);

impl Question {
    pub(super) fn of(query: &Query) -> Self {
        let mut words = words(&query.text);
        words.sort();
        let mut urns = query.extensions.urns.clone();
        urns.retain(|urn| !matches!(urn, Urn::Wanted(_)));
        urns.sort();
        Self(words, urns)
    }
}

/// What came back: by whom, how many files, and the payload.
#[derive(Debug)]
struct Answers {
    since: Instant,
    came: Vec<(LinkId, usize, Bytes)>,
}

/// Questions with what came back for them.
#[derive(Debug, Default)]
pub(super) struct Cache(BTreeMap<Question, Answers>);

impl Cache {
    /// Remembers one answer that a link brought and that names so many files.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        question: &Question,
        from: LinkId,
        payload: &Bytes,
        files: usize,
    ) {
        self.0.retain(|_, answers| now.since(answers.since) < LIFE);
        if !self.0.contains_key(question) && self.0.len() >= QUESTIONS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, answers)| answers.since);
            let oldest = oldest.map(|(question, _)| question.clone());
            oldest.map(|question| self.0.remove(&question));
        }
        let new = || Answers { since: now, came: Vec::new() };
        let came = &mut self.0.entry(question.clone()).or_insert_with(new).came;
        let known = came.iter().any(|(_, _, known)| known == payload);
        if came.len() < ANSWERS_MAX && payload.len() <= ANSWER_MAX && !known {
            came.push((from, files, payload.clone()));
        }
    }

    /// Answers that are fresh and enough.
    pub(super) fn get(&self, now: Instant, question: &Question) -> Option<Vec<Bytes>> {
        let answers = self.0.get(question)?;
        let fresh = now.since(answers.since) < LIFE;
        let files: usize = answers.came.iter().map(|(_, files, _)| files).sum();
        let payloads = || answers.came.iter().map(|(_, _, payload)| payload.clone()).collect();
        (fresh && files >= ENOUGH).then(payloads)
    }

    /// A link is gone, and with it the way to those who answered on it.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.0.values_mut().for_each(|answers| answers.came.retain(|(from, ..)| *from != link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_answers_are_passed_on_for_a_minute() {
        let mut cache = Cache::default();
        let ask = |text: &str| Question::of(&Query::words(text));
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        cache.keep(at(0), &ask("blue moon"), LinkId(1), &Bytes::from_static(b"a"), 9);
        assert_eq!(cache.get(at(1), &ask("blue moon")), None);
        cache.keep(at(1), &ask("Moon, BLUE!"), LinkId(2), &Bytes::from_static(b"a"), 9);
        assert_eq!(cache.get(at(1), &ask("blue moon")), None, "the same answer again is no more");
        cache.keep(at(1), &ask("Moon, BLUE!"), LinkId(2), &Bytes::from_static(b"b"), 1);
        assert_eq!(cache.get(at(59), &ask("blue moon")).unwrap().len(), 2);
        assert_eq!(cache.get(at(60), &ask("blue moon")), None);
        cache.forget(LinkId(2));
        assert_eq!(cache.get(at(59), &ask("blue moon")), None);
        for n in 0..1000 {
            cache.keep(at(2), &ask(&format!("w{n}")), LinkId(1), &Bytes::from_static(b"a"), 1);
        }
        assert!(cache.0.len() <= QUESTIONS_MAX);
    }
}
