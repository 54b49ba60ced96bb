//! Whether what a seed gives travels on.
//!
//! A seed is given nothing, so it cannot tell by bytes who gives. But it hears of every piece that a peer finishes:
//! one that it handed to a single peer, and that another then has, was passed on. Only pieces that nobody else had
//! are watched, from the moment when the peer was sent all of one, and peers are judged beside each other: where no
//! peer tells a seed what it has, or nobody can reach anybody, all look alike and none is blamed. Never withholds
//! anything; the choker acts on the verdict.
//!
//! It rests on what peers say of themselves. An accomplice that claims what a hoarder was given clears it, and a
//! liar that claims nearly every piece leaves nothing to watch: then a seed is as good as one without this.
//! Super-seeding (BEP 16) watches the same thing, but hides pieces until it has seen it.
//!
//! The numbers below have no source but the simulations in `core/tests/sim/fairness.rs`.

use crate::clock::Instant;
use crate::geometry::PieceIndex;
use crate::swarm::PeerKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a peer has counts against it after this, before anything was measured: three choke rounds, in which others
/// can ask it and be served.
const PATIENCE_FIRST: Duration = Duration::from_secs(30);
/// Once measured: so many times what it takes on average until a piece is passed on.
const PATIENCE_FACTOR: u32 = 4;
/// But within these bounds.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// And never sooner than after so many times what we took to send the piece: others are no faster.
const GIVE_TIMES: u32 = 2;
/// Weight of the newest pass in that average, one part in so many.
const LATEST: u32 = 16;
/// A peer is judged once so many pieces count.
const JUDGED_MIN: u32 = 4;
/// A peer hoards if it passes on less than one part in so many of what the best peer does.
const HOARDS_BELOW: u32 = 4;
/// Pieces of one peer that are watched at a time; of more nothing is noted.
const WATCHED_MAX: u32 = 64;
/// Pieces of all peers that are remembered at a time; of more nothing is noted.
const PIECES_MAX: usize = 4096;
/// What is past is worth half at every such step, so that a peer can mend its ways.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// What became of the pieces that one peer was given.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed_on: u32,
    kept: u32,
    watched: u32,
}

/// A piece that was given to one peer while nobody else had it.
#[derive(Clone, Copy, Debug)]
struct Watch {
    holder: PeerKey,
    began: Instant,
    sent: u64,
    /// When the holder had been sent all of it.
    whole: Option<Instant>,
    /// Somebody else was sent a part of it: whoever has it next may have it from either.
    shared: bool,
}

/// The pieces that only one peer was given, and what is known of those peers.
#[derive(Debug, Default)]
pub(super) struct Spread {
    watches: BTreeMap<PieceIndex, Watch>,
    tallies: BTreeMap<PeerKey, Tally>,
    hoarders: Vec<PeerKey>,
    /// From the holder having a piece until another peer has it too, on average.
    pass_time: Option<Duration>,
    aged: Instant,
}

impl Spread {
    /// A peer is being sent `bytes` of a piece of `size`; `first` if nobody else is known to have it.
    pub(super) fn gave(
        &mut self,
        now: Instant,
        peer: PeerKey,
        piece: PieceIndex,
        (bytes, size): (u64, u64),
        first: bool,
    ) {
        let room = self.watches.len() < PIECES_MAX;
        let base = self.patience();
        let Some(watch) = self.watches.get_mut(&piece) else {
            let tally = self.tallies.entry(peer).or_default();
            if first && room && tally.watched < WATCHED_MAX {
                tally.watched += 1;
                let whole = (bytes >= size).then_some(now);
                let watch = Watch { holder: peer, began: now, sent: bytes, whole, shared: false };
                self.watches.insert(piece, watch);
            }
            return;
        };
        if watch.shared {
            return;
        }
        if watch.holder == peer {
            watch.sent += bytes;
            if watch.sent >= size {
                watch.whole.get_or_insert(now);
            }
            return;
        }
        watch.shared = true;
        // A holder that had its time has not used it.
        let late = watch.is_late(now, base);
        let tally = self.tallies.entry(watch.holder).or_default();
        tally.watched = tally.watched.saturating_sub(1);
        tally.kept += u32::from(late);
    }

    /// A peer says that it has the piece.
    pub(super) fn has(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex) {
        let Some(watch) = self.watches.get_mut(&piece) else { return };
        if watch.holder == peer && !watch.shared {
            watch.whole.get_or_insert(now);
            return;
        }
        let Watch { holder, whole, shared, .. } = *watch;
        self.watches.remove(&piece);
        if shared {
            return;
        }
        let tally = self.tallies.entry(holder).or_default();
        tally.watched = tally.watched.saturating_sub(1);
        // Sooner than the holder had it, it came from elsewhere.
        if let Some(since) = whole {
            tally.passed_on += 1;
            let took = now.since(since);
            let before = self.pass_time.unwrap_or(took);
            self.pass_time = Some((before * (LATEST - 1) + took) / LATEST);
        }
    }

    /// A peer has gone.
    pub(super) fn left(&mut self, peer: PeerKey) {
        self.tallies.remove(&peer);
        self.watches.retain(|_, watch| watch.holder != peer);
        self.hoarders.retain(|&hoarder| hoarder != peer);
    }

    /// Whether the peer keeps to itself what it is given, as of the last [`Self::judge`].
    pub(super) fn hoards(&self, peer: PeerKey) -> bool {
        self.hoarders.contains(&peer)
    }

    /// Whether a piece was given to such a peer alone.
    pub(super) fn is_hoarded(&self, piece: PieceIndex) -> bool {
        let hoarded = |watch: &Watch| !watch.shared && self.hoards(watch.holder);
        !self.hoarders.is_empty() && self.watches.get(&piece).is_some_and(hoarded)
    }

    /// Looks who keeps what they are given: once per choke round.
    pub(super) fn judge(&mut self, now: Instant) {
        if now.since(self.aged) >= HALF_LIFE {
            self.aged = now;
            for tally in self.tallies.values_mut() {
                tally.passed_on /= 2;
                tally.kept /= 2;
            }
        }
        let base = self.patience();
        let mut late: BTreeMap<PeerKey, u32> = BTreeMap::new();
        for watch in self.watches.values() {
            if !watch.shared && watch.is_late(now, base) {
                *late.entry(watch.holder).or_default() += 1;
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

    fn patience(&self) -> Duration {
        let measured = self.pass_time.map(|time| time * PATIENCE_FACTOR);
        measured.map_or(PATIENCE_FIRST, |time| time.clamp(PATIENCE.0, PATIENCE.1))
    }
}

impl Watch {
    /// Whether the holder has had the piece for long enough to pass it on.
    fn is_late(&self, now: Instant, patience: Duration) -> bool {
        self.whole.is_some_and(|whole| {
            let gave = whole.since(self.began);
            now.since(whole) >= patience.max(gave * GIVE_TIMES)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVER: PeerKey = PeerKey(1);
    const KEEPER: PeerKey = PeerKey(2);
    const OTHER: PeerKey = PeerKey(3);
    const ALL: (u64, u64) = (256, 256);
    const HALF: (u64, u64) = (128, 256);

    const fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn pieces(from: u32) -> impl Iterator<Item = PieceIndex> {
        (from..from + JUDGED_MIN).map(PieceIndex)
    }

    /// Gives both as many pieces as a verdict takes; one of them passes its pieces on within 3 s.
    fn played() -> Spread {
        let mut spread = Spread::default();
        for (mine, theirs) in pieces(0).zip(pieces(100)) {
            spread.gave(secs(0), GIVER, mine, ALL, true);
            spread.gave(secs(0), KEEPER, theirs, ALL, true);
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
    fn time_counts_from_having_the_whole_piece_and_large_pieces_take_longer() {
        let mut spread = played();
        for piece in pieces(200) {
            spread.gave(secs(20), OTHER, piece, HALF, true);
        }
        spread.judge(secs(100));
        assert!(!spread.hoards(OTHER), "nobody can pass on what he is still being sent");
        for piece in pieces(200) {
            spread.gave(secs(100), OTHER, piece, HALF, true); // no have is needed: we know what we sent
        }
        spread.judge(secs(100 + 159));
        assert!(!spread.hoards(OTHER), "we took 80 s, so others need as long");
        spread.judge(secs(100 + 160));
        assert!(spread.hoards(OTHER));
    }

    #[test]
    fn nobody_is_blamed_where_nothing_travels() {
        let mut spread = Spread::default();
        for (mine, theirs) in pieces(0).zip(pieces(100)) {
            spread.gave(secs(0), GIVER, mine, ALL, true);
            spread.gave(secs(0), KEEPER, theirs, ALL, true);
        }
        spread.judge(secs(1000));
        assert!(!spread.hoards(GIVER) && !spread.hoards(KEEPER));
    }

    #[test]
    fn a_piece_given_twice_proves_nothing_for_either() {
        let mut spread = played();
        for piece in pieces(100) {
            spread.gave(secs(31), OTHER, piece, HALF, false);
            spread.has(secs(32), GIVER, piece);
        }
        spread.judge(secs(32));
        assert!(spread.hoards(KEEPER), "it had its time, and the others have them from us");
        // And who asks second for what another is still being sent earns nothing by what that one does.
        let mut early = played();
        for piece in pieces(300) {
            early.gave(secs(1), GIVER, piece, HALF, true);
            early.gave(secs(1), OTHER, piece, HALF, true);
            early.gave(secs(2), OTHER, piece, HALF, true);
            early.has(secs(3), GIVER, piece);
        }
        assert_eq!(early.tallies.get(&OTHER).map_or(0, |tally| tally.passed_on), 0);
        assert_eq!(early.tallies[&GIVER].passed_on, JUDGED_MIN);
        early.judge(secs(3));
        assert!(!early.hoards(OTHER) && !early.hoards(GIVER));
    }

    #[test]
    fn what_is_watched_and_remembered_is_bounded_and_goes_with_the_peer() {
        let mut spread = played();
        spread.judge(secs(12));
        assert!(spread.hoards(KEEPER));
        spread.judge(secs(12 + 600));
        assert_eq!(spread.tallies[&GIVER].passed_on, JUDGED_MIN / 2, "the past counts for less");
        spread.judge(secs(12 + 600));
        assert_eq!(spread.tallies[&GIVER].passed_on, JUDGED_MIN / 2, "but only with time");
        assert!(!spread.hoards(KEEPER), "nobody is left to be compared with");
        spread.left(KEEPER);
        assert!(!spread.hoards(KEEPER), "another peer may get its key");
        for piece in 0..10 * WATCHED_MAX {
            spread.gave(secs(0), KEEPER, PieceIndex(1000 + piece), ALL, true);
        }
        assert_eq!(spread.watches.len(), WATCHED_MAX as usize);
        for peer in 10..1000 {
            for piece in 0..WATCHED_MAX {
                spread.gave(secs(0), PeerKey(peer), PieceIndex(peer * 1000 + piece), ALL, true);
            }
        }
        assert_eq!(spread.watches.len(), PIECES_MAX);
        for peer in 0..1000 {
            spread.left(PeerKey(peer));
        }
        assert!(spread.watches.is_empty() && spread.tallies.is_empty());
    }
}
