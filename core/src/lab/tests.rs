//! The world itself: that it moves content, notices what is wrong, and repeats itself.

use super::*;
use crate::swarm::torrent::Event;
use crate::units::BytesPerSec;
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn link() -> Link {
    Link { delay: Duration::from_millis(20), loss: 0.01, rate: BytesPerSec(2 * MIB) }
}

fn spec() -> TorrentSpec {
    TorrentSpec::new("small", MIB, 65_536).unwrap()
}

fn watched(seed: u64) -> World {
    let mut world = World::new(seed, link());
    world.always("no bad piece is ever kept", oracle::kept_pieces_hash_right);
    world.always("queues stay bounded", oracle::queues_bounded);
    world
}

#[test]
fn one_seed_serves_three_leeches_at_the_speed_of_its_line() {
    let mut world = watched(1);
    let seed = world.spawn(Role::Seed, &spec());
    let crowd = world.spawn_many(3, Role::Leech, &spec());
    assert_eq!(world.run_until(secs(60), |w| w.complete(&crowd)), End::Reached);
    assert!(world.sent(seed) >= MIB, "{}", world.last_events(50));
    let got = |id| {
        world.received_from(id, seed)
            + crowd.iter().map(|&o| world.received_from(id, o)).sum::<u64>()
    };
    assert!(crowd.iter().all(|&id| got(id) >= MIB));
    let fastest = crowd.iter().filter_map(|&id| world.done_at(id)).min().unwrap();
    assert!(fastest.as_secs_f64() > 0.5, "a mebibyte in {fastest} over 2 MiB/s");
}

#[test]
fn a_slow_line_is_slow() {
    let mut world = watched(2);
    world.spawn(Role::Seed, &spec());
    let slow = world.spawn(Role::Slow, &spec());
    let fast = world.spawn(Role::Leech, &spec());
    assert_eq!(world.run_until(secs(120), |w| w.complete(&[slow, fast])), End::Reached);
    let took = |id| world.done_at(id).unwrap().as_secs_f64();
    assert!(took(slow) > 9.0 && took(fast) < 5.0, "slow {} fast {}", took(slow), took(fast));
}

#[test]
fn who_knows_only_the_hash_fetches_the_metadata_from_peers() {
    let mut world = watched(3);
    world.spawn(Role::Seed, &spec());
    let leech = world.spawn(Setup::new(Role::Leech).magnet(), &spec());
    assert_eq!(world.run_until(secs(60), |w| w.complete(&[leech])), End::Reached);
    assert!(world.log(leech).iter().any(|(_, event)| matches!(event, Event::Metadata(_))));
}

#[test]
fn crashes_leaves_and_restarts_happen_when_planned() {
    let big = TorrentSpec::new("big", 16 * MIB, 65_536).unwrap();
    let mut world = watched(4);
    let seed = world.spawn(Role::Seed, &big);
    let crowd = world.spawn_many(2, Role::Leech, &big);
    world.at(secs(3)).crash(&crowd[..1]);
    world.at(secs(4)).leave(&[seed]);
    world.run_until(secs(5), |_| false);
    let kept = world.progress(crowd[0]);
    assert!(world.have(crowd[0]).is_none() && world.have(seed).is_none());
    assert!(kept > 0.05 && kept < 0.5, "what was durable is still there: {kept}");
    let stuck = world.run_until(secs(60), |w| w.complete(&crowd));
    assert_eq!(stuck, End::Deadline, "nobody has the rest");
    world.restart(&[seed, crowd[0]]);
    assert_eq!(world.run_until(secs(300), |w| w.complete(&crowd)), End::Reached);
}

#[test]
fn an_oracle_that_says_no_ends_the_run() {
    let mut world = watched(5);
    world.always("nobody has ten pieces", |world, id| {
        match world.have(id).map_or(0, crate::bitfield::Bitfield::count) {
            10 => Err(format!("host {} has", id.0)),
            _ => Ok(()),
        }
    });
    world.spawn(Role::Seed, &spec());
    let leech = world.spawn(Role::Leech, &spec());
    let why = format!("host {} has", leech.0);
    let end = world.run_until(secs(60), |w| w.complete(&[leech]));
    assert_eq!(end, End::Violated { oracle: "nobody has ten pieces", why });
}

#[test]
fn a_poisoned_block_spoils_the_piece_and_costs_the_poisoner_its_place() {
    let mut world = watched(6);
    let poisoner = world.spawn(Role::Poisoner, &spec());
    let leech = world.spawn(Role::Leech, &spec());
    let seed = world.spawn(Role::Seed, &spec());
    assert_eq!(world.run_until(secs(300), |w| w.complete(&[leech])), End::Reached);
    assert!(world.has_banned(leech, poisoner) && !world.has_banned(leech, seed));
}

#[test]
fn one_seed_is_one_trace() {
    let play = |seed| {
        let mut world = watched(seed);
        world.spawn(Role::Seed, &spec());
        let crowd = world.spawn_many(5, Role::Leech, &spec());
        world.run_until(secs(60), |w| w.complete(&crowd));
        (world.trace_hash(), world.facts(), world.now())
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7).0, play(8).0);
}

#[test]
fn a_tyrant_pays_ever_less_to_who_serves_it_anyway() {
    let torrent = TorrentSpec::new("stinted", 64 * MIB, 262_144).unwrap();
    let capped = |role| Setup::new(role).limits(Some(BytesPerSec(MIB / 4)), None);
    let sent = |role| {
        let mut world = watched(7);
        world.spawn(capped(Role::Seed), &torrent);
        let other = world.spawn(capped(Role::Leech), &torrent);
        let one = world.spawn(capped(role), &torrent);
        assert_eq!(world.run_until(secs(1200), |w| w.complete(&[one, other])), End::Reached);
        world.sent(one)
    };
    let (honest, tyrant) = (sent(Role::Leech), sent(Role::Tyrant));
    assert!(tyrant < honest / 2, "it paid {tyrant}, an honest one {honest}");
}
