//! Goal: somebody who has nothing to trade gets a chance soon.
//! Method: a newcomer joins a swarm of leeches that have traded for a while; when does the first of them, not the
//! seed, unchoke it?

use crate::{KIB, MIB, figure, kib_per_sec, ms, secs, seeds, world};
use gaggle_core::lab::{End, HostId, Link, Role, Setup, TorrentSpec, World};
use gaggle_core::swarm::choker::OPTIMISTIC;

/// Seconds until a leech of an established swarm unchokes somebody who came later.
fn wait_of_a_newcomer(seed: u64) -> (World, f64) {
    let torrent = TorrentSpec::new("newcomer", 64 * MIB, 256 * KIB).unwrap();
    let link = Link { delay: ms(30), loss: 0.001, rate: kib_per_sec(4096) };
    let cap = Some(kib_per_sec(256));
    let mut world = world(seed, link);
    let source = world.spawn(Setup::new(Role::Seed).limits(cap, None), &torrent);
    let leech = Setup::new(Role::Leech).limits(cap, None);
    let crowd: Vec<HostId> = world.spawn_many(20, leech.clone(), &torrent);
    let established = secs(60 + seed % 30);
    assert_eq!(world.run_until(established, |_| false), End::Deadline);
    assert!(!world.complete(&crowd[..1]), "the swarm must still be trading");
    // The seed is out of the way: what it gives to newcomers must not hide what the leeches do.
    world.leave(&[source]);
    let newcomer = world.spawn(leech, &torrent);
    let joined = world.now();
    let unchoked = |w: &World| crowd.iter().filter_map(|&by| w.unchoked_by(newcomer, by)).min();
    world.run_until(established + OPTIMISTIC * 10, |w| unchoked(w).is_some());
    let wait = unchoked(&world).map_or(f64::INFINITY, |at| at.since(joined).as_secs_f64());
    (world, wait)
}

#[test]
fn claim_policies_a_newcomer_is_unchoked_within_three_optimistic_periods() {
    let limit = (OPTIMISTIC * 3).as_secs_f64();
    let mut waits = Vec::new();
    for seed in seeds(1..=20) {
        let (world, wait) = wait_of_a_newcomer(seed);
        assert!(wait <= limit, "GAGGLE_SEED={seed}: {wait:.1} s\n{}", world.last_events(50));
        waits.push(wait);
    }
    let worst = waits.iter().copied().fold(0.0, f64::max);
    let text = format!(
        "{} newcomers among 20 leeches: first unchoked by a leech after {:.1} s (median), {worst:.1} s (worst), \
         allowed {limit:.0} s",
        waits.len(),
        crate::median(waits)
    );
    figure("policies", &text);
}
