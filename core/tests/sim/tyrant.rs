//! Goal: who pays as little as it can is a nuisance to nobody but itself.
//! Method: 11 leeches and a twelfth, once as honest as they, once one that pays each peer the least that keeps it
//! unchoked, as `BitTyrant` does, and that leaves as soon as it has everything. How much later is the median of the
//! eleven done? Once beside a seed with the cap of the leeches, for which all must wait, and once beside a seed of four
//! times as much, where what everybody sends decides.
//!
//! A rich one, with four times the cap of the others, keeps to itself what an honest one would give away. That is the
//! others' loss beside an honest one, and no rule of theirs can claim it: it is printed, and has no bar.

use crate::{KIB, MIB, figure, full, kib_per_sec, median, ms, secs, seeds, world};
use gaggle_core::lab::{End, Link, Role, Setup, TorrentSpec};
use gaggle_core::units::BytesPerSec;

const OTHERS: usize = 11;
const SIZE: u64 = 256 * MIB;
/// What a leech sends at most.
const CAP: BytesPerSec = BytesPerSec(512 * KIB);
/// How much later the others may be for it.
const BAR: f64 = 1.10;

struct Outcome {
    /// When the median of the eleven was done, in seconds.
    others: f64,
    /// When the twelfth was done, in seconds.
    twelfth: f64,
    /// Bytes that the twelfth sent in that time, as a part of what it took.
    paid: f64,
}

/// What the seed and the twelfth send at most.
#[derive(Clone, Copy)]
struct Caps {
    seed: BytesPerSec,
    twelfth: BytesPerSec,
}

fn swarm(seed: u64, role: Role, caps: Caps) -> Outcome {
    let torrent = TorrentSpec::new("tyrant", SIZE, 256 * KIB).unwrap();
    let link = Link { delay: ms(30), loss: 0.001, rate: kib_per_sec(8192) };
    let mut world = world(seed, link);
    let capped = |role, cap| Setup::new(role).limits(Some(cap), None);
    world.spawn(capped(Role::Seed, caps.seed), &torrent);
    let others = world.spawn_many(OTHERS, capped(Role::Leech, CAP), &torrent);
    let twelfth = world.spawn(capped(role, caps.twelfth), &torrent);
    let mut paid = None;
    while paid.is_none() || !world.complete(&others) {
        let wants_more = paid.is_none();
        let end = world.run_until(secs(7200), |w| {
            w.complete(&others) && !wants_more || wants_more && w.done_at(twelfth).is_some()
        });
        assert_eq!(end, End::Reached, "GAGGLE_SEED={seed}\n{}", world.last_events(50));
        if wants_more {
            paid = Some(world.sent(twelfth) as f64 / SIZE as f64);
            if role == Role::Tyrant {
                world.leave(&[twelfth]);
            }
        }
    }
    let at = |id| world.done_at(id).expect("all are done").as_secs_f64();
    Outcome {
        others: median(others.iter().map(|&id| at(id)).collect()),
        twelfth: at(twelfth),
        paid: paid.unwrap_or_default(),
    }
}

/// Plays both swarms, prints the figure, and returns how much later the others are and how much less the twelfth pays.
fn compare(caps: Caps) -> (f64, f64) {
    let runs = if full() { 5 } else { 1 };
    let play = |role| -> Vec<Outcome> {
        seeds(1..=runs).into_iter().map(|seed| swarm(seed, role, caps)).collect()
    };
    let (honest, tyrant) = (play(Role::Leech), play(Role::Tyrant));
    let middle =
        |of: &[Outcome], value: fn(&Outcome) -> f64| median(of.iter().map(value).collect());
    let (before, after) = (middle(&honest, |o| o.others), middle(&tyrant, |o| o.others));
    let (given, paid) = (middle(&honest, |o| o.paid), middle(&tyrant, |o| o.paid));
    let text = format!(
        "seed at {}, one of 12 leeches at {}, the others at {CAP}: it pays the least that keeps it unchoked, {paid:.2} of \
         what it takes (honest {given:.2}); the median of the others is done after {after:.0} s, beside an honest one \
         {before:.0} s, {:+.1} %; itself after {:.0} s, honest {:.0} s; runs: {runs}",
        caps.seed,
        caps.twelfth,
        (after / before - 1.0) * 100.0,
        middle(&tyrant, |o| o.twelfth),
        middle(&honest, |o| o.twelfth),
    );
    figure("policies", &text);
    (after / before, paid / given)
}

#[test]
fn claim_policies_one_who_pays_the_least_delays_the_others_by_at_most_a_tenth() {
    let fast = BytesPerSec(CAP.0 * 4);
    for seed in [CAP, fast] {
        let (later, _) = compare(Caps { seed, twelfth: CAP });
        assert!(later <= BAR, "the others took {later:.2} times as long");
    }
    let (_, less) = compare(Caps { seed: fast, twelfth: fast });
    assert!(less < 0.8, "it does not save anything: it pays {less:.2} of what an honest one gives");
}
