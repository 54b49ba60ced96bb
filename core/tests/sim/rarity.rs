//! Goal: rarest-first lets a seed leave early; random picking does not.
//! Method: 1 024 pieces, equal caps, a third of the leeches comes late; the seed leaves once it has sent 1.15
//! copies; who finishes?

use crate::{KIB, figure, kib_per_sec, ms, secs, seeds, world};
use gaggle_core::lab::{End, Link, Role, Setup, TorrentSpec};
use gaggle_core::swarm::picker::PickerPolicy;

const LEECHES: usize = 12;
/// They come when the seed has sent nine tenths of a copy, so that not all are done before it leaves.
const LATE: usize = 4;
const PIECES: u64 = 1024;
const PIECE_LEN: u64 = 32 * KIB;

struct Outcome {
    all_finished: bool,
    /// Pieces that the leeches have between them.
    survived: usize,
    seconds: f64,
    /// What the seed had sent when it left.
    copies: f64,
    /// What the leeches had on average at that moment.
    progress: f64,
}

fn seed_leaves_early(seed: u64, policy: PickerPolicy) -> Outcome {
    let torrent = TorrentSpec::new("rare", PIECES * PIECE_LEN, PIECE_LEN).unwrap();
    let total = torrent.geometry.total();
    let link = Link { delay: ms(20), loss: 0.0, rate: kib_per_sec(4096) };
    let cap = Some(kib_per_sec(512));
    let mut world = world(seed, link);
    let source = world.spawn(Setup::new(Role::Seed).limits(cap, None), &torrent);
    let leech = Setup::new(Role::Leech).limits(cap, None).picker(policy);
    let mut crowd = world.spawn_many(LEECHES - LATE, leech.clone(), &torrent);
    let end = world.run_until(secs(3600), |w| w.sent(source) >= total * 9 / 10);
    assert_eq!(end, End::Reached, "GAGGLE_SEED={seed}\n{}", world.last_events(50));
    crowd.extend(world.spawn_many(LATE, leech, &torrent));
    let enough = total * 115 / 100;
    let end = world.run_until(secs(3600), |w| w.sent(source) >= enough || w.complete(&crowd));
    assert_eq!(end, End::Reached, "GAGGLE_SEED={seed}\n{}", world.last_events(50));
    let copies = world.sent(source) as f64 / total as f64;
    let progress = crowd.iter().map(|&id| world.progress(id)).sum::<f64>() / LEECHES as f64;
    world.leave(&[source]);
    // An hour is thirty times what the swarm needs: whoever is not done by then lacks a piece nobody has.
    let end = world.run_until(secs(3600), |w| w.complete(&crowd));
    let survives =
        |piece| crowd.iter().any(|&id| world.have(id).is_some_and(|have| have.has(piece)));
    Outcome {
        all_finished: end == End::Reached,
        survived: torrent.geometry.iter().filter(|&piece| survives(piece)).count(),
        seconds: world.now().as_secs_f64(),
        copies,
        progress,
    }
}

fn finishes(policy: PickerPolicy) -> (usize, usize, String) {
    let runs: Vec<Outcome> =
        seeds(1..=20).into_iter().map(|seed| seed_leaves_early(seed, policy)).collect();
    let finished = runs.iter().filter(|run| run.all_finished).count();
    let least = runs.iter().map(|run| run.survived).min().unwrap_or(0);
    let mean = |of: fn(&Outcome) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let slowest = runs.iter().map(|run| run.seconds).fold(0.0, f64::max);
    let text = format!(
        "{policy:?}: {finished} of {} runs finish; the seed left after {:.2} copies on average, the leeches then had \
         {:.0} %; fewest pieces left between them {least} of {PIECES}; slowest run {slowest:.0} s",
        runs.len(),
        mean(|run| run.copies),
        100.0 * mean(|run| run.progress),
    );
    (finished, runs.len(), text)
}

#[test]
fn claim_policies_rarest_first_lets_the_seed_leave_after_1_15_copies() {
    let (rarest, runs, text) = finishes(PickerPolicy::RarestFirst);
    figure("policies", &text);
    let (random, _, text) = finishes(PickerPolicy::Random);
    figure("policies", &text);
    assert!(rarest * 20 >= runs * 19, "only {rarest} of {runs} runs finish with rarest-first");
    assert!(random < rarest, "random picking is no worse: {random} against {rarest}");
}
