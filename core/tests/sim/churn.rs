//! Goal: a flash crowd finishes although a third of it crashes and packets are lost.
//! Method: 64 seeds; two oracles watch every step; one seed is played twice.

use crate::{MIB, figure, ms, secs, seeds, world};
use gaggle_core::lab::{End, Link, Role, TorrentSpec, World};
use gaggle_core::units::BytesPerSec;

fn flash_crowd(seed: u64) -> (World, End, f64) {
    let torrent = TorrentSpec::new("crowd", 4 * MIB, 65_536).unwrap();
    let link = Link { delay: ms(40), loss: 0.01, rate: BytesPerSec(5 * MIB / 2) };
    let mut world = world(seed, link);
    world.spawn(Role::Seed, &torrent);
    let crowd = world.spawn_many(30, Role::Leech, &torrent);
    world.at(secs(2)).crash(&crowd[..5]);
    world.at(secs(5)).crash(&crowd[5..10]);
    let end = world.run_until(secs(1800), |w| w.complete(&crowd[10..]));
    let last = world.now().as_secs_f64();
    (world, end, last)
}

#[test]
fn claim_crashes_a_flash_crowd_finishes() {
    let mut times = Vec::new();
    let mut facts = 0;
    for seed in seeds(1..=64) {
        let (world, end, last) = flash_crowd(seed);
        assert_eq!(end, End::Reached, "GAGGLE_SEED={seed}\n{}", world.last_events(50));
        times.push(last);
        facts += world.facts();
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    figure(
        "crashes",
        &format!(
            "{} seeds of 30 leeches, a third crashed, 1 % loss: all others finish; slowest run {worst:.1} s, \
             median {:.1} s, {facts} events",
            times.len(),
            crate::median(times)
        ),
    );
}

#[test]
fn claim_crashes_one_seed_replayed_gives_the_identical_trace() {
    let (once, ..) = flash_crowd(7);
    let (again, ..) = flash_crowd(7);
    assert_eq!(once.trace_hash(), again.trace_hash());
    assert_eq!(once.facts(), again.facts());
    assert_eq!(once.last_events(200), again.last_events(200));
    let (other, ..) = flash_crowd(8);
    assert_ne!(once.trace_hash(), other.trace_hash());
    figure("crashes", &format!("seed 7 twice: trace {:016x}", once.trace_hash()));
}
