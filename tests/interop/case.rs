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

/// Two kinds of choice, each with what was chosen.
type Pair = ((usize, u8), (usize, u8));

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

    fn pairs(self) -> impl Iterator<Item = Pair> {
        let choices = self.choices();
        (0..choices.len()).flat_map(move |a| {
            (a + 1..choices.len()).map(move |b| ((a, choices[a]), (b, choices[b])))
        })
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

/// Few cases in which every pair of choices occurs. Greedy and without chance: always the same cases.
pub(crate) fn covering() -> Vec<Case> {
    let all = product();
    let mut open: BTreeSet<Pair> = all.iter().flat_map(|case| case.pairs()).collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let gain = |case: &Case| case.pairs().filter(|pair| open.contains(pair)).count();
        let Some(best) = all.iter().rev().copied().max_by_key(gain) else { break };
        for pair in best.pairs() {
            open.remove(&pair);
        }
        chosen.push(best);
    }
    chosen
}

#[test]
fn every_pair_of_choices_occurs() {
    let pairs =
        |cases: &[Case]| cases.iter().flat_map(|case| case.pairs()).collect::<BTreeSet<_>>();
    let (all, few) = (product(), covering());
    assert_eq!(all.len(), 160);
    assert_eq!(pairs(&few), pairs(&all));
    assert!(few.len() <= 24, "{} cases: the check has no time for that many", few.len());
    assert_eq!(few, covering(), "the same cases every time");
}
