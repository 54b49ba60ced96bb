//! Whether what a seed gives travels on.
//!
//! A seed is given nothing, so it cannot tell by bytes who gives. But it hears of every piece that a peer finishes:
//! one that it handed to a single peer, and that another then has, was passed on. Only pieces that nobody else had
//! are watched, and peers are judged beside each other: where no peer tells a seed what it has, or nobody can reach
//! anybody, all look alike and none is blamed. Never withholds anything; the choker acts on the verdict.
//!
//! Super-seeding (BEP 16) watches the same thing, but hides pieces until it has seen it.

use crate::clock::Instant;
use crate::geometry::PieceIndex;
use crate::swarm::PeerKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a peer was given counts against it after this, before anything was measured: three choke rounds, in which
/// others can ask it and be served.
const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// Never sooner than this.
const PATIENCE_MIN: Duration = Duration::from_secs(5);
/// Once measured: so many times what it takes on average until a piece is passed on.
const PATIENCE_FACTOR: u32 = 4;
/// Weight of the newest pass in that average, one part in so many.
const LATEST: u32 = 16;
/// A peer is judged once so many pieces count.
const JUDGED_MIN: u32 = 4;
/// A peer hoards if it passes on less than one part in so many of what the best peer does.
const HOARDS_BELOW: u32 = 4;
/// Pieces of one peer that are watched at a time; of more nothing is noted.
const WATCHED_MAX: u32 = 64;
/// Past pieces that count: at twice as many each is worth half, so that a peer can change its name.
const REMEMBERED: u32 = 32;

/// What became of the pieces that one peer was given.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed_on: u32,
    kept: u32,
    watched: u32,
}

impl Tally {
    fn settle(&mut self, passed_on: bool) {
        self.watched -= 1;
        if passed_on {
            self.passed_on += 1;
        } else {
            self.kept += 1;
        }
        if self.passed_on + self.kept >= 2 * REMEMBERED {
            self.passed_on /= 2;
            self.kept /= 2;
        }
    }
}

/// The pieces that only one peer was given, and what is known of those peers.
#[derive(Debug, Default)]
pub(super) struct Spread {
    watched: BTreeMap<PieceIndex, (PeerKey, Instant)>,
    tallies: BTreeMap<PeerKey, Tally>,
    hoarders: Vec<PeerKey>,
    /// From giving a piece until another peer has it too, on average.
    pass_time: Option<Duration>,
}

impl Spread {
    /// A peer is being sent a part of a piece; `first` if nobody else is known to have it.
    pub(super) fn gave(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex, first: bool) {
        let patience = self.patience();
        match self.watched.get(&piece) {
            Some(&(holder, _)) if holder == peer => {}
            Some(&(holder, since)) => {
                // Whoever has it next may have it from either. A holder that had its time has not used it.
                self.watched.remove(&piece);
                let tally = self.tallies.entry(holder).or_default();
                if now.since(since) >= patience {
                    tally.settle(false);
                } else {
                    tally.watched -= 1;
                }
            }
            None if first => {
                let tally = self.tallies.entry(peer).or_default();
                if tally.watched < WATCHED_MAX {
                    tally.watched += 1;
                    self.watched.insert(piece, (peer, now));
                }
            }
            None => {}
        }
    }

    /// A peer says that it has the piece.
    pub(super) fn has(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex) {
        if let Some(&(holder, since)) = self.watched.get(&piece)
            && holder != peer
        {
            self.watched.remove(&piece);
            self.tallies.entry(holder).or_default().settle(true);
            let took = now.since(since);
            let before = self.pass_time.unwrap_or(took);
            self.pass_time = Some((before * (LATEST - 1) + took) / LATEST);
        }
    }

    /// A peer has gone.
    pub(super) fn left(&mut self, peer: PeerKey) {
        self.tallies.remove(&peer);
        self.watched.retain(|_, (holder, _)| *holder != peer);
    }

    /// Whether the peer keeps to itself what it is given, as of the last [`Self::judge`].
    pub(super) fn hoards(&self, peer: PeerKey) -> bool {
        self.hoarders.contains(&peer)
    }

    /// Whether a piece was given to such a peer alone.
    pub(super) fn is_hoarded(&self, piece: PieceIndex) -> bool {
        self.watched.get(&piece).is_some_and(|&(holder, _)| self.hoards(holder))
    }

    fn patience(&self) -> Duration {
        let measured = self.pass_time.map(|time| time * PATIENCE_FACTOR);
        measured.map_or(PATIENCE_MAX, |time| time.clamp(PATIENCE_MIN, PATIENCE_MAX))
    }

    /// Looks who keeps what they are given: once per choke round.
    pub(super) fn judge(&mut self, now: Instant) {
        let patience = self.patience();
        let mut late: BTreeMap<PeerKey, u32> = BTreeMap::new();
        for (holder, since) in self.watched.values() {
            if now.since(*since) >= patience {
                *late.entry(*holder).or_default() += 1;
            }
        }
        let percent = |(peer, tally): (&PeerKey, &Tally)| {
            let judged = tally.passed_on + tally.kept + late.get(peer).copied().unwrap_or(0);
            (judged >= JUDGED_MIN).then(|| (*peer, tally.passed_on * 100 / judged))
        };
        let shares: Vec<(PeerKey, u32)> = self.tallies.iter().filter_map(percent).collect();
        let best = shares.iter().map(|&(_, share)| share).max().unwrap_or(0);
        let hoards = |&(_, share): &(PeerKey, u32)| share * HOARDS_BELOW < best;
        self.hoarders = shares.into_iter().filter(hoards).map(|(peer, _)| peer).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVER: PeerKey = PeerKey(1);
    const KEEPER: PeerKey = PeerKey(2);
    const OTHER: PeerKey = PeerKey(3);

    const fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn pieces(from: u32) -> impl Iterator<Item = PieceIndex> {
        (from..from + JUDGED_MIN).map(PieceIndex)
    }

    /// Gives both as many pieces as a verdict takes; one of them passes its pieces on.
    fn played() -> Spread {
        let mut spread = Spread::default();
        for (mine, theirs) in pieces(0).zip(pieces(100)) {
            spread.gave(secs(0), GIVER, mine, true);
            spread.gave(secs(0), KEEPER, theirs, true);
            spread.has(secs(1), GIVER, mine);
            spread.has(secs(1), KEEPER, theirs);
            spread.has(secs(3), OTHER, mine);
        }
        spread
    }

    #[test]
    fn who_keeps_what_others_would_pass_on_is_found_after_its_time() {
        let mut spread = played();
        spread.judge(secs(11));
        assert!(!spread.hoards(KEEPER), "it has had no time yet");
        spread.judge(secs(12)); // four times what the other took
        assert!(spread.hoards(KEEPER) && !spread.hoards(GIVER) && !spread.hoards(OTHER));
        assert!(spread.is_hoarded(PieceIndex(100)) && !spread.is_hoarded(PieceIndex(0)));
        for piece in pieces(100) {
            spread.has(secs(20), OTHER, piece);
        }
        spread.judge(secs(40));
        assert!(!spread.hoards(KEEPER), "late is not never");
    }

    #[test]
    fn nobody_is_blamed_where_nothing_travels() {
        let mut spread = Spread::default();
        for (mine, theirs) in pieces(0).zip(pieces(100)) {
            spread.gave(secs(0), GIVER, mine, true);
            spread.gave(secs(0), KEEPER, theirs, true);
        }
        spread.judge(secs(1000));
        assert!(!spread.hoards(GIVER) && !spread.hoards(KEEPER));
    }

    #[test]
    fn a_piece_given_twice_proves_nothing_for_the_first() {
        let mut spread = played();
        for piece in pieces(100) {
            spread.gave(secs(31), OTHER, piece, false);
            spread.has(secs(32), OTHER, piece);
            spread.has(secs(32), GIVER, piece);
        }
        spread.judge(secs(32));
        assert!(spread.hoards(KEEPER), "others have them from us");
        let mut early = played();
        for piece in pieces(100) {
            early.gave(secs(1), OTHER, piece, false);
        }
        early.judge(secs(100));
        assert!(!early.hoards(KEEPER), "it had no time to pass them on");
    }

    #[test]
    fn what_is_watched_and_remembered_is_bounded_and_goes_with_the_peer() {
        let mut spread = Spread::default();
        for piece in 0..10 * WATCHED_MAX {
            spread.gave(secs(0), KEEPER, PieceIndex(piece), true);
        }
        assert_eq!(spread.watched.len(), WATCHED_MAX as usize);
        for piece in 0..10_000 {
            spread.gave(secs(0), GIVER, PieceIndex(100_000 + piece), true);
            spread.has(secs(1), OTHER, PieceIndex(100_000 + piece));
        }
        assert!(spread.tallies[&GIVER].passed_on < 2 * REMEMBERED);
        spread.left(KEEPER);
        spread.left(GIVER);
        assert!(spread.watched.is_empty() && spread.tallies.is_empty());
    }
}
