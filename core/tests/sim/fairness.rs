//! Goal: who gives, gets.
//! Method: 4 free riders among 12 leeches; how much do they hold when the median contributor is done, and do the
//! regular slots go to those who send most? Once with tit-for-tat, once with slots dealt at random.
//!
//! The seed and all leeches have the same cap; once more with a seed of twice as much. Beside a seed that is much
//! slower than its leeches the contributors wait for it, and what they have to spare costs nobody anything: there
//! free riders are as far as everybody, and nobody is the worse for it.

use crate::{KIB, MIB, figure, kib_per_sec, median, ms, secs, seeds, world};
use gaggle_core::lab::{End, Link, Role, Rounds, Setup, TorrentSpec};
use gaggle_core::swarm::choker::{ChokerConfig, ChokerPolicy};
use gaggle_core::units::BytesPerSec;

const CONTRIBUTORS: usize = 8;
const FREE_RIDERS: usize = 4;
const SIZE: u64 = 512 * MIB;
/// What every leech sends at most, and the seed in the first scenario.
const CAP: BytesPerSec = BytesPerSec(512 * KIB);
/// What the seed needs to send one copy at that cap: nobody can be done before.
const ONE_COPY_S: f64 = 1024.0;

struct Outcome {
    /// What the free riders held on average when the median contributor was done, 0 to 1.
    mean: f64,
    /// What the best of them held.
    best: f64,
    rounds: Rounds,
    seconds: f64,
}

/// Who decides by what: the leeches, and the seed.
#[derive(Clone, Copy)]
struct Policies {
    leeches: ChokerPolicy,
    seed: ChokerPolicy,
}

const ON: Policies = Policies { leeches: ChokerPolicy::TitForTat, seed: ChokerPolicy::TitForTat };
const OFF: Policies = Policies { leeches: ChokerPolicy::Random, seed: ChokerPolicy::Random };
const SEED_OFF: Policies =
    Policies { leeches: ChokerPolicy::TitForTat, seed: ChokerPolicy::Random };

fn free_riders(seed: u64, policies: Policies, seed_cap: BytesPerSec) -> Outcome {
    let torrent = TorrentSpec::new("fair", SIZE, 256 * KIB).unwrap();
    let link = Link { delay: ms(30), loss: 0.001, rate: kib_per_sec(8192) };
    let choker = |policy| ChokerConfig { policy, ..ChokerConfig::default() };
    let mut world = world(seed, link);
    world.spawn(
        Setup::new(Role::Seed).limits(Some(seed_cap), None).choker(choker(policies.seed)),
        &torrent,
    );
    let leech = Setup::new(Role::Leech).limits(Some(CAP), None).choker(choker(policies.leeches));
    let crowd = world.spawn_many(CONTRIBUTORS, leech, &torrent);
    let riders = world.spawn_many(FREE_RIDERS, Role::FreeRider, &torrent);
    world.watch_rounds(&crowd);
    let half = crowd.len() / 2;
    let end = world.run_until(secs(3600), |w| {
        crowd.iter().filter(|&&id| w.done_at(id).is_some()).count() >= half
    });
    assert_eq!(end, End::Reached, "GAGGLE_SEED={seed}\n{}", world.last_events(50));
    let given: u64 = riders.iter().map(|&id| world.sent(id)).sum();
    assert_eq!(given, 0, "GAGGLE_SEED={seed}: free riders give nothing");
    let held: Vec<f64> = riders.iter().map(|&id| world.progress(id)).collect();
    Outcome {
        mean: held.iter().sum::<f64>() / held.len() as f64,
        best: held.iter().copied().fold(0.0, f64::max),
        rounds: world.rounds().clone(),
        seconds: world.now().as_secs_f64(),
    }
}

struct Summary {
    /// The most that any free rider held in any run.
    best: f64,
    mean: f64,
    right: f64,
    seconds: f64,
}

fn play(policies: Policies, seed_cap: BytesPerSec, runs: u64) -> Summary {
    let runs: Vec<Outcome> =
        seeds(1..=runs).into_iter().map(|seed| free_riders(seed, policies, seed_cap)).collect();
    let contested: usize = runs.iter().map(|run| run.rounds.contested).sum();
    let right: usize = runs.iter().map(|run| run.rounds.right).sum();
    let summary = Summary {
        best: runs.iter().map(|run| run.best).fold(0.0, f64::max),
        mean: median(runs.iter().map(|run| run.mean).collect()),
        right: right as f64 / contested.max(1) as f64,
        seconds: median(runs.iter().map(|run| run.seconds).collect()),
    };
    let Policies { leeches, seed } = policies;
    let text = format!(
        "{leeches:?} leeches at {CAP}, {seed:?} seed at {seed_cap}, {} runs: when the median contributor is done \
         ({:.0} s) {FREE_RIDERS} free riders hold {:.0} % on average, the best of them in any run {:.0} %; the \
         regular slots hold the best measured rates in {:.1} % of {contested} contested rounds",
        runs.len(),
        summary.seconds,
        summary.mean * 100.0,
        summary.best * 100.0,
        summary.right * 100.0
    );
    figure("policies", &text);
    summary
}

#[test]
fn claim_policies_free_riders_hold_at_most_half_when_the_median_contributor_is_done() {
    let on = play(ON, CAP, 5);
    let off = play(OFF, CAP, 3);
    assert!(on.best <= 0.5, "a free rider held {}", on.best);
    assert!(on.right >= 0.95, "the best had the slots in only {} of the rounds", on.right);
    assert!(on.seconds <= ONE_COPY_S * 1.15, "free riders cost the others time: {}", on.seconds);
    assert!(off.mean > on.best * 1.5, "without it free riders hold only {}", off.mean);
    assert!(off.right < on.right, "without it the best still hold the slots: {}", off.right);
    assert!(off.seconds > on.seconds, "without it contributors are as fast: {}", off.seconds);
    let fast_seed = play(ON, BytesPerSec(CAP.0 * 2), 3);
    assert!(fast_seed.best <= 0.5, "beside a fast seed a free rider held {}", fast_seed.best);
    assert!(fast_seed.right >= 0.95, "the best had the slots in {}", fast_seed.right);
    let seed_off = play(SEED_OFF, CAP, 2);
    assert!(seed_off.seconds > on.seconds * 1.1, "the seed's part: {}", seed_off.seconds);
    assert!(seed_off.mean > on.best * 1.5, "the seed's part: {}", seed_off.mean);
}

/// Large pieces take long to be passed on: who is still at it must not be blamed.
#[test]
fn claim_policies_a_seed_tells_free_riders_from_contributors() {
    let torrent = TorrentSpec::new("large", 1024 * MIB, 4 * MIB).unwrap();
    let link = Link { delay: ms(30), loss: 0.001, rate: kib_per_sec(8192) };
    for riders in [FREE_RIDERS, 0] {
        let mut world = world(1, link);
        let source = world.spawn(Setup::new(Role::Seed).limits(Some(CAP), None), &torrent);
        let leech = Setup::new(Role::Leech).limits(Some(CAP), None);
        let crowd = world.spawn_many(CONTRIBUTORS, leech, &torrent);
        let riders = world.spawn_many(riders, Role::FreeRider, &torrent);
        let (mut samples, mut blamed, mut found) = (0, 0, 0);
        while !world.complete(&crowd) {
            world.run_until(secs(samples * 10), |_| false);
            samples += 1;
            assert!(samples < 1000, "contributors never finish");
            for (host, status) in world.peers(source) {
                blamed += u64::from(status.free_rider && crowd.contains(&host));
                found += u64::from(status.free_rider && riders.contains(&host));
            }
        }
        let (blamed, found) = (
            blamed as f64 / (samples * CONTRIBUTORS as u64) as f64,
            found as f64 / (samples * riders.len().max(1) as u64) as f64,
        );
        let text = format!(
            "pieces of 4 MiB, {} free riders: the seed takes {:.1} % of contributors and {:.0} % of free riders for \
             free riders, over {} s",
            riders.len(),
            blamed * 100.0,
            found * 100.0,
            samples * 10,
        );
        figure("policies", &text);
        assert!(blamed <= 0.02, "{text}");
        assert!(riders.is_empty() || found >= 0.5, "{text}");
    }
}
