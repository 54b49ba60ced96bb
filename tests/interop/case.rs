//! The choices of an interop case, and a small set of cases in which every pair of choices occurs.

use std::collections::BTreeSet;
use std::fmt;

/// Who takes part beside gaggle.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Other {
    Transmission,
    Aria2,
    Rtorrent,
    Qbittorrent,
    Libtorrent,
}

/// Which way the content goes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Gaggle {
    Seeds,
    Leeches,
}

/// What is moved.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Layout {
    Single,
    Multi,
}

/// Who made the torrent.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Creator {
    Gaggle,
    Transmission,
    Mktorrent,
    Libtorrent,
}

/// Who introduces the peers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Tracker {
    Gaggle,
    Opentracker,
}

pub(crate) const OTHERS: [Other; 5] =
    [Other::Transmission, Other::Aria2, Other::Rtorrent, Other::Qbittorrent, Other::Libtorrent];
const WAYS: [Gaggle; 2] = [Gaggle::Seeds, Gaggle::Leeches];
const LAYOUTS: [Layout; 2] = [Layout::Single, Layout::Multi];
const CREATORS: [Creator; 4] =
    [Creator::Gaggle, Creator::Transmission, Creator::Mktorrent, Creator::Libtorrent];
const TRACKERS: [Tracker; 2] = [Tracker::Gaggle, Tracker::Opentracker];

/// One choice of each kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Case {
    pub(crate) other: Other,
    pub(crate) gaggle: Gaggle,
    pub(crate) layout: Layout,
    pub(crate) creator: Creator,
    pub(crate) tracker: Tracker,
}

/// Some kinds of choice, each with what was chosen: something that the subset must contain.
type Goal = Vec<(usize, u8)>;

impl Case {
    fn choices(self) -> [u8; 5] {
        [
            self.other as u8,
            self.gaggle as u8,
            self.layout as u8,
            self.creator as u8,
            self.tracker as u8,
        ]
    }

    /// Every pair of choices; and with whom, which way and what, together.
    fn goals(self) -> impl Iterator<Item = Goal> {
        let choices = self.choices();
        let pairs = (0..choices.len()).flat_map(move |a| {
            (a + 1..choices.len()).map(move |b| vec![(a, choices[a]), (b, choices[b])])
        });
        pairs.chain([(0..3).map(|kind| (kind, choices[kind])).collect()])
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { other, gaggle, layout, creator, tracker } = self;
        write!(
            f,
            "{other:?} gaggle-{gaggle:?} {layout:?} created-by-{creator:?} tracker-{tracker:?}"
        )
    }
}

/// Every combination.
pub(crate) fn product() -> Vec<Case> {
    let mut cases = Vec::new();
    for other in OTHERS {
        for gaggle in WAYS {
            for layout in LAYOUTS {
                for creator in CREATORS {
                    for tracker in TRACKERS {
                        cases.push(Case { other, gaggle, layout, creator, tracker });
                    }
                }
            }
        }
    }
    cases
}

/// Few cases that reach every goal. Greedy and without chance: always the same cases.
pub(crate) fn covering() -> Vec<Case> {
    let all = product();
    let mut open: BTreeSet<Goal> = all.iter().flat_map(|case| case.goals()).collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let gain = |case: &Case| case.goals().filter(|goal| open.contains(goal)).count();
        let Some(best) = all.iter().rev().copied().max_by_key(gain) else { break };
        for goal in best.goals() {
            open.remove(&goal);
        }
        chosen.push(best);
    }
    chosen
}

#[test]
fn every_pair_of_choices_occurs() {
    let (all, few) = (product(), covering());
    assert_eq!(all.len(), 160);
    let has = |a: (usize, u8), b: (usize, u8)| {
        few.iter().any(|case| case.choices()[a.0] == a.1 && case.choices()[b.0] == b.1)
    };
    for case in &all {
        for (kind, choice) in case.choices().into_iter().enumerate() {
            for (other_kind, other_choice) in case.choices().into_iter().enumerate() {
                assert!(has((kind, choice), (other_kind, other_choice)), "{case}");
            }
        }
    }
    assert!(few.len() <= 24, "{} cases: the check has no time for that many", few.len());
    assert_eq!(few, covering(), "the same cases every time");
}
