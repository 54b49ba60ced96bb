//! Goal: peers that lie, poison, stall or spam cost an honest swarm little, and never its content.
//! Method: whole swarms with production machines as liars; the world spoils what they send.

use crate::{KIB, MIB, figure, kib_per_sec, ms, secs, seeds, world};
use gaggle_core::lab::{End, HostId, Link, Mischief, Poison, Role, Setup, TorrentSpec, World};

fn link() -> Link {
    Link { delay: ms(20), loss: 0.001, rate: kib_per_sec(2048) }
}

fn spec() -> TorrentSpec {
    TorrentSpec::new("target", 16 * MIB, 128 * KIB).unwrap()
}

struct Attack {
    leeches: usize,
    liars: usize,
    liar: Setup,
    within_s: u64,
}

struct Outcome {
    world: World,
    crowd: Vec<HostId>,
    liars: Vec<HostId>,
    seconds: f64,
    /// Bytes of no use per leech, as a part of the content; the worst leech.
    waste: f64,
}

impl Attack {
    fn play(self, seed: u64) -> Outcome {
        let torrent = spec();
        let mut world = world(seed, link());
        // The liars come first, so that everybody meets them.
        let liars = world.spawn_many(self.liars, self.liar, &torrent);
        world.spawn(Role::Seed, &torrent);
        let crowd = world.spawn_many(self.leeches, Role::Leech, &torrent);
        let end = world.run_until(secs(self.within_s), |w| w.complete(&crowd));
        assert_eq!(end, End::Reached, "GAGGLE_SEED={seed}\n{}", world.last_events(80));
        let seconds = world.now().as_secs_f64();
        let wasted = |world: &mut World, id| world.status(id).map_or(0, |status| status.wasted);
        let most = crowd.iter().map(|&id| wasted(&mut world, id)).max().unwrap_or(0);
        let waste = most as f64 / torrent.geometry.total() as f64;
        Outcome { world, crowd, liars, seconds, waste }
    }
}

impl Outcome {
    /// How many of the leeches banned every liar that sent them anything.
    fn banned_by_its_victims(&self) -> (usize, usize) {
        let met = |leech, liar| self.world.received_from(leech, liar) > 0;
        let pairs: Vec<(HostId, HostId)> = self
            .crowd
            .iter()
            .flat_map(|&leech| self.liars.iter().map(move |&liar| (leech, liar)))
            .filter(|&(leech, liar)| met(leech, liar))
            .collect();
        let banned = pairs.iter().filter(|&&(leech, liar)| self.world.has_banned(leech, liar));
        (banned.count(), pairs.len())
    }

    fn nobody_honest_is_banned(&self) {
        for &leech in &self.crowd {
            for &other in &self.crowd {
                assert!(!self.world.has_banned(leech, other), "{leech:?} banned {other:?}");
            }
        }
    }
}

fn report(name: &str, outcomes: &[Outcome]) {
    let slowest = outcomes.iter().map(|outcome| outcome.seconds).fold(0.0, f64::max);
    let waste = outcomes.iter().map(|outcome| outcome.waste).fold(0.0, f64::max);
    let (banned, met) = outcomes
        .iter()
        .map(Outcome::banned_by_its_victims)
        .fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    let mut text = format!(
        "{} runs: all honest leeches finish, slowest {slowest:.1} s, most waste of one leech {:.0} % of the content",
        outcomes.len(),
        waste * 100.0
    );
    if banned > 0 {
        text.push_str(&format!(
            ", {banned} of {met} peers that were sent bad blocks banned the sender"
        ));
    }
    figure(name, &text);
}

fn poisoner(poison: Poison) -> Setup {
    Setup::new(Role::Poisoner).mischief(Mischief::Poison(poison))
}

#[test]
fn claim_poison_a_leech_and_a_seed_finish_and_ban_the_poisoner() {
    let mut outcomes = Vec::new();
    for seed in seeds(1..=20) {
        let liar = Setup::new(Role::Poisoner);
        let outcome = Attack { leeches: 1, liars: 1, liar, within_s: 600 }.play(seed);
        assert!(
            outcome.world.has_banned(outcome.crowd[0], outcome.liars[0]),
            "GAGGLE_SEED={seed}\n{}",
            outcome.world.last_events(50)
        );
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("poison", &outcomes);
}

#[test]
fn attack_20_corrupt_piece_by_one() {
    let mut outcomes = Vec::new();
    for seed in seeds(1..=8) {
        let liar = Setup::new(Role::Poisoner);
        let outcome = Attack { leeches: 8, liars: 1, liar, within_s: 600 }.play(seed);
        let (banned, met) = outcome.banned_by_its_victims();
        assert_eq!(banned, met, "GAGGLE_SEED={seed}: all that it poisoned must have banned it");
        assert!(outcome.waste < 0.25, "GAGGLE_SEED={seed}: waste {}", outcome.waste);
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("attack_20_by_one", &outcomes);
}

#[test]
fn attack_20_corrupt_piece_by_many() {
    let mut outcomes = Vec::new();
    for seed in seeds(1..=8) {
        let liar = Setup::new(Role::Poisoner);
        let outcome = Attack { leeches: 8, liars: 6, liar, within_s: 900 }.play(seed);
        assert!(outcome.waste < 0.75, "GAGGLE_SEED={seed}: waste {}", outcome.waste);
        let (banned, met) = outcome.banned_by_its_victims();
        assert!(banned * 2 >= met, "GAGGLE_SEED={seed}: {banned} of {met} were banned");
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("attack_20_by_many", &outcomes);
}

#[test]
fn attack_20_alternating_versions_of_a_block() {
    let mut outcomes = Vec::new();
    for seed in seeds(1..=8) {
        let liar = poisoner(if seed % 2 == 0 { Poison::Alternating } else { Poison::OneIn(4) });
        let outcome = Attack { leeches: 8, liars: 2, liar, within_s: 900 }.play(seed);
        assert!(outcome.waste < 0.5, "GAGGLE_SEED={seed}: waste {}", outcome.waste);
        let (banned, met) = outcome.banned_by_its_victims();
        assert!(banned * 2 >= met, "GAGGLE_SEED={seed}: {banned} of {met} were banned");
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("attack_20_alternating", &outcomes);
}

#[test]
fn attack_21_false_have_then_never_send() {
    let mut outcomes = Vec::new();
    for (seed, role) in
        seeds(1..=8).into_iter().zip([Role::Boaster, Role::Liar].into_iter().cycle())
    {
        // More liars than peers that the last block may be asked of at once.
        let outcome = Attack { leeches: 6, liars: 6, liar: role.into(), within_s: 60 }.play(seed);
        assert!(outcome.waste < 0.1, "GAGGLE_SEED={seed}: waste {}", outcome.waste);
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("attack_21_false_have", &outcomes);
}

#[test]
fn attack_21_stall_at_99_percent() {
    let mut outcomes = Vec::new();
    for seed in seeds(1..=8) {
        let liar = Role::Staller.into();
        let outcome = Attack { leeches: 6, liars: 6, liar, within_s: 60 }.play(seed);
        assert!(outcome.waste < 0.1, "GAGGLE_SEED={seed}: waste {}", outcome.waste);
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("attack_21_stall", &outcomes);
}

#[test]
fn attack_22_fake_seed_that_spams_suggestions() {
    let mut outcomes = Vec::new();
    for seed in seeds(1..=8) {
        let outcome =
            Attack { leeches: 6, liars: 2, liar: Role::Spammer.into(), within_s: 900 }.play(seed);
        assert!(outcome.waste < 0.1, "GAGGLE_SEED={seed}: waste {}", outcome.waste);
        outcome.nobody_honest_is_banned();
        outcomes.push(outcome);
    }
    report("attack_22_fake_seed", &outcomes);
}

#[test]
fn a_full_disk_stops_one_torrent_and_loses_nothing() {
    let torrent = spec();
    let mut world = world(3, link());
    world.spawn(Role::Seed, &torrent);
    let crowd = world.spawn_many(4, Role::Leech, &torrent);
    world.at(secs(4)).fill_disk(&crowd[..1]);
    let end = world.run_until(secs(600), |w| w.complete(&crowd[1..]));
    assert_eq!(end, End::Reached, "{}", world.last_events(50));
    let full = crowd[0];
    let before = world.progress(full);
    assert!(before > 0.0 && before < 1.0, "the disk filled up in mid-download: {before}");
    assert!(
        world
            .log(full)
            .iter()
            .any(|(_, event)| { matches!(event, gaggle_core::swarm::torrent::Event::Fault(_)) })
    );
    assert_eq!(world.have(full).map(|have| f64::from(have.count()) / 128.0), Some(before));
    // Room again, and a new start: what was verified counts, the rest is fetched.
    world.make_room(&[full]);
    world.leave(&[full]);
    world.restart(&[full]);
    let end = world.run_until(secs(1200), |w| w.complete(&crowd));
    assert_eq!(end, End::Reached, "{}", world.last_events(50));
}
