//! One search that is given to one neighbour after another, until enough has been found.

use super::{LinkId, TTL_MAX};
use crate::clock::Instant;
use crate::proto::gnutella::{Guid, Query};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// Neighbours that are asked first, to see how common it is; of few, no more than half, because nobody can be asked
/// twice, and those who are left are asked further.
const PROBES: usize = 3;
/// How long answers may take for each link that a question crosses.
const WAIT_PER_HOP: Duration = Duration::from_millis(2_400);
/// And for each of the first neighbours.
const WAIT_PER_PROBE: Duration = Duration::from_secs(1);
/// Files that are enough for ourselves.
pub(super) const ENOUGH: u32 = 150;
/// Files that are enough for a leaf.
pub(super) const ENOUGH_FOR_LEAF: u32 = 50;
/// Servents that a search reaches at most, as far as can be reckoned.
const HORIZON_MAX: f64 = 200_000.0;
/// How long a search goes on.
const LIFE: Duration = Duration::from_secs(180);
/// Neighbours after which a leaf is asked how many hits it kept.
const GUIDED_EVERY: usize = 3;

/// Who wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    Own,
    Leaf(LinkId),
}

/// A neighbour that can be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) link: LinkId,
    /// Its links, as it says.
    pub(super) degree: u32,
    pub(super) ttl_max: u8,
    /// It said that a question with TTL 1 is welcome.
    pub(super) probes: bool,
    /// Its table meets the question.
    pub(super) meets: bool,
}

/// What to do next.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Ask these, each with its TTL. `guide`: also ask the leaf how many hits it kept.
    Ask { whom: Vec<(LinkId, u8)>, guide: bool },
    /// Nothing until `due`.
    Wait,
    /// It is over.
    End,
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) guid: Guid,
    pub(super) query: Query,
    pub(super) payload: Bytes,
    pub(super) origin: Origin,
    began: Instant,
    due: Instant,
    enough: u32,
    got: u32,
    asked: BTreeSet<LinkId>,
    /// Servents reached, reckoned.
    horizon: f64,
}

impl Search {
    pub(super) fn new(
        now: Instant,
        guid: Guid,
        query: Query,
        payload: Bytes,
        origin: Origin,
    ) -> Self {
        let enough = if origin == Origin::Own { ENOUGH } else { ENOUGH_FOR_LEAF };
        // An asker who wants fewer gets fewer.
        let wanted = Some(u32::from(query.hits_max())).filter(|&most| most > 0);
        let enough = wanted.map_or(enough, |most| most.min(enough));
        let asked = BTreeSet::new();
        Self {
            guid,
            query,
            payload,
            origin,
            began: now,
            due: now,
            enough,
            got: 0,
            asked,
            horizon: 0.0,
        }
    }

    /// When to call `step`.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// So many more files were found; less than nothing are those that were junk.
    pub(super) fn found(&mut self, files: i64) {
        self.got = u32::try_from((i64::from(self.got) + files).max(0)).unwrap_or(u32::MAX);
    }

    /// The leaf says how many it kept.
    pub(super) fn kept(&mut self, files: u32) {
        self.got = files;
    }

    /// A neighbour has the question already: it came from there, too, and would be dropped there.
    pub(super) fn knows(&mut self, link: LinkId) {
        self.asked.insert(link);
    }

    /// What to do now, of those that can be asked.
    pub(super) fn step(&mut self, now: Instant, mut candidates: Vec<Candidate>) -> Step {
        candidates.retain(|candidate| !self.asked.contains(&candidate.link));
        if self.got >= self.enough || self.horizon >= HORIZON_MAX || now.since(self.began) >= LIFE {
            return Step::End;
        }
        if now < self.due {
            return Step::Wait;
        }
        if candidates.is_empty() {
            return Step::End;
        }
        // Whose table meets it comes first; then the order is that of the links.
        candidates.sort_by_key(|candidate| !candidate.meets);
        let first = self.asked.is_empty();
        let probes = if first { PROBES.min(candidates.len() / 2) } else { 0 };
        let whom: Vec<(LinkId, u8)> = if probes > 0 {
            candidates.iter().take(probes).map(|one| (one.link, probe_ttl(one))).collect()
        } else {
            candidates
                .iter()
                .take(1)
                .map(|one| (one.link, self.next_ttl(one, candidates.len())))
                .collect()
        };
        for (&(link, ttl), candidate) in whom.iter().zip(&candidates) {
            self.asked.insert(link);
            self.horizon += horizon(candidate.degree, ttl);
        }
        let far = whom.iter().map(|&(_, ttl)| ttl).max().unwrap_or(1);
        self.due = now + WAIT_PER_HOP * u32::from(far) + WAIT_PER_PROBE * probes as u32;
        let leaf =
            matches!(self.origin, Origin::Leaf(_)) && self.query.flags & Query::LEAF_GUIDED != 0;
        Step::Ask { whom, guide: leaf && self.asked.len().is_multiple_of(GUIDED_EVERY) }
    }

    /// The smallest TTL that may bring what is missing, when the neighbours that are left share it.
    fn next_ttl(&self, candidate: &Candidate, left: usize) -> u8 {
        let missing = f64::from(self.enough.saturating_sub(self.got));
        // Nothing found so far is as rare as half a file.
        let per_host = f64::from(self.got).max(0.5) / self.horizon.max(1.0);
        let hosts = missing / per_host / left.max(1) as f64;
        let most = candidate.ttl_max.clamp(1, TTL_MAX);
        // Biased low: too few hosts cost another step, too many cannot be taken back.
        (1..most).find(|&ttl| horizon(candidate.degree, ttl) >= hosts * 0.8).unwrap_or(most)
    }
}

fn probe_ttl(candidate: &Candidate) -> u8 {
    let near = candidate.probes && candidate.meets;
    if near { 1 } else { 2.min(candidate.ttl_max.max(1)) }
}

/// Servents within so many links of a neighbour with so many.
fn horizon(degree: u32, ttl: u8) -> f64 {
    let wide = f64::from(degree.clamp(2, 200) - 1);
    (0..i32::from(ttl)).map(|far| wide.powi(far)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(origin: Origin, flags: u16) -> Search {
        let query = Query { flags: Query::FLAGS | flags, ..Query::words("blue moon") };
        let payload = query.encode().into();
        Search::new(Instant::ZERO, Guid([1; 16]), query, payload, origin)
    }

    fn candidates(count: u64) -> Vec<Candidate> {
        let one =
            |n| Candidate { link: LinkId(n), degree: 32, ttl_max: 4, probes: true, meets: n == 9 };
        (0..count).map(one).collect()
    }

    fn asked(step: Step) -> Vec<(u64, u8)> {
        let Step::Ask { whom, .. } = step else { panic!("{step:?}") };
        whom.into_iter().map(|(link, ttl)| (link.0, ttl)).collect()
    }

    #[test]
    fn three_are_asked_first_then_one_after_another() {
        let mut search = search(Origin::Own, 0);
        let first = asked(search.step(Instant::ZERO, candidates(10)));
        assert_eq!(first, [(9, 1), (0, 2), (1, 2)], "whose table meets it comes first and is near");
        // Two links and three probes: 4.8 s and 3 s.
        let due = Instant::from_micros(7_800_000);
        assert_eq!(search.due(), due);
        assert_eq!(search.step(due - Duration::from_micros(1), candidates(10)), Step::Wait);
        // Nothing found: as far as allowed.
        assert_eq!(asked(search.step(due, candidates(10))), [(2, 4)]);
        assert_eq!(search.due(), due + 4 * WAIT_PER_HOP);
    }

    #[test]
    fn what_is_common_is_looked_for_near_by() {
        let mut search = search(Origin::Own, 0);
        let _ = search.step(Instant::ZERO, candidates(10));
        search.found(60); // of some 65 hosts: 150 need about 100 more, from seven links
        assert_eq!(asked(search.step(search.due(), candidates(10))), [(2, 2)]);
        search.found(90);
        assert_eq!(search.step(search.due(), candidates(10)), Step::End);
    }

    #[test]
    fn junk_does_not_end_a_search() {
        let mut search = search(Origin::Own, 0);
        let _ = search.step(Instant::ZERO, candidates(10));
        search.found(200);
        search.found(-195);
        assert!(matches!(search.step(search.due(), candidates(10)), Step::Ask { .. }));
    }

    #[test]
    fn who_has_the_question_is_not_asked() {
        let mut search = search(Origin::Own, 0);
        let _ = search.step(Instant::ZERO, candidates(10));
        search.knows(LinkId(2));
        assert_eq!(asked(search.step(search.due(), candidates(10))), [(3, 4)]);
    }

    #[test]
    fn it_ends_without_anybody_to_ask_and_after_its_time() {
        let mut one = search(Origin::Own, 0);
        assert_eq!(asked(one.step(Instant::ZERO, candidates(3))), [(0, 2)], "two are left");
        assert_eq!(asked(one.step(one.due(), candidates(3))), [(1, 4)]);
        assert_eq!(asked(one.step(one.due(), candidates(3))), [(2, 4)]);
        assert_eq!(one.step(one.due(), candidates(3)), Step::End);
        let mut one = search(Origin::Own, 0);
        assert_eq!(one.step(Instant::ZERO + LIFE, candidates(3)), Step::End);
        let mut one = search(Origin::Own, 0);
        let far = |n: u64| Candidate { degree: 200, ..candidates(n + 1)[n as usize] };
        let mut now = Instant::ZERO;
        for n in 0..4 {
            let _ = one.step(now, vec![far(n)]);
            now = one.due();
        }
        assert_eq!(one.step(now, vec![far(4)]), Step::End, "beyond the horizon");
    }

    #[test]
    fn a_leaf_guides_and_is_content_with_less() {
        let leaf = Origin::Leaf(LinkId(77));
        let mut guided = search(leaf, Query::LEAF_GUIDED);
        let Step::Ask { guide, .. } = guided.step(Instant::ZERO, candidates(9)) else { panic!() };
        assert!(guide);
        guided.kept(50);
        assert_eq!(guided.step(guided.due(), candidates(9)), Step::End);
        let mut few = search(leaf, 5);
        few.found(5);
        assert_eq!(few.step(Instant::ZERO, candidates(9)), Step::End);
    }
}
