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

fn free_riders(seed: u64, policy: ChokerPolicy, seed_cap: BytesPerSec) -> Outcome {
    let torrent = TorrentSpec::new("fair", SIZE, 256 * KIB).unwrap();
    let link = Link { delay: ms(30), loss: 0.001, rate: kib_per_sec(8192) };
    let choker = ChokerConfig { policy, ..ChokerConfig::default() };
    let mut world = world(seed, link);
    world.spawn(Setup::new(Role::Seed).limits(Some(seed_cap), None), &torrent);
    let leech = Setup::new(Role::Leech).limits(Some(CAP), None).choker(choker);
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

fn play(policy: ChokerPolicy, seed_cap: BytesPerSec, runs: u64) -> Summary {
    let runs: Vec<Outcome> =
        seeds(1..=runs).into_iter().map(|seed| free_riders(seed, policy, seed_cap)).collect();
    let contested: usize = runs.iter().map(|run| run.rounds.contested).sum();
    let right: usize = runs.iter().map(|run| run.rounds.right).sum();
    let summary = Summary {
        best: runs.iter().map(|run| run.best).fold(0.0, f64::max),
        mean: median(runs.iter().map(|run| run.mean).collect()),
        right: right as f64 / contested.max(1) as f64,
        seconds: median(runs.iter().map(|run| run.seconds).collect()),
    };
    let text = format!(
        "{policy:?}, seed {}, leeches {}, {} runs: when the median contributor is done ({:.0} s) {FREE_RIDERS} free riders hold {:.0} % on \
         average, the best of them in any run {:.0} %; the regular slots hold the best measured \
         rates in {:.1} % of {contested} contested rounds",
        seed_cap,
        CAP,
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
    let on = play(ChokerPolicy::TitForTat, CAP, 5);
    let off = play(ChokerPolicy::Random, CAP, 3);
    assert!(on.best <= 0.5, "a free rider held {}", on.best);
    assert!(on.right >= 0.95, "the best had the slots in only {} of the rounds", on.right);
    assert!(on.seconds <= ONE_COPY_S * 1.15, "free riders cost the others time: {}", on.seconds);
    assert!(off.mean > on.best * 1.5, "without it free riders hold only {}", off.mean);
    assert!(off.right < on.right, "without it the best still hold the slots: {}", off.right);
    assert!(off.seconds > on.seconds, "without it contributors are as fast: {}", off.seconds);
    let fast_seed = play(ChokerPolicy::TitForTat, BytesPerSec(CAP.0 * 2), 3);
    assert!(fast_seed.best <= 0.5, "beside a fast seed a free rider held {}", fast_seed.best);
    assert!(fast_seed.right >= 0.95, "the best had the slots in {}", fast_seed.right);
}
