//! Goal: a lookup asks few nodes, finds the right ones, and does not wait for the dead.
//! Method: settled networks, upkeep off so that the share of stale entries stays what it is; lookups one after another
//! from random nodes for random targets.

use crate::{figure, outcome, quantile, secs, seeds, settled, sized};
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::lab::Overlay;
use gaggle_core::overlay::kademlia::{Config, LookupPolicy, Node, Soft, Terms};
use std::time::Duration;

fn quiet(policy: LookupPolicy) -> Config {
    // The lookups come one after another and take hours; what was announced must last as long.
    let terms = Terms { life: secs(24 * 3600), ..Terms::default() };
    Config { upkeep: false, policy, terms, ..Config::default() }
}

fn any_up(world: &mut Overlay, live: usize) -> usize {
    world.rng().index(live)
}

/// A node that has looked something up before, so that it knows how long answers take.
fn warmed_up(world: &mut Overlay, live: usize) -> usize {
    let host = any_up(world, live);
    let target = NodeId::random(world.rng());
    world.act(host, |node, now| node.find_nodes(now, target));
    world.run(secs(20));
    host
}

#[test]
fn claim_dht_lookups_in_a_static_network() {
    let (live, lookups) = sized((1_000, 60), (10_000, 1_000));
    for seed in seeds() {
        let mut world = settled(seed, live, 0, &quiet(LookupPolicy::default()));
        let (mut asked, mut right, mut took) = (0.0, 0, Vec::new());
        for _ in 0..lookups {
            let (host, target) = (any_up(&mut world, live), NodeId::random(world.rng()));
            let started = world.now();
            let id = world.act(host, |node, now| node.find_nodes(now, target)).unwrap()[0];
            let outcome = outcome(&mut world, host, id, started).expect("every lookup ends");
            asked += f64::from(outcome.found.asked);
            took.push(outcome.found.took.as_secs_f64());
            let own = world.contact(host).id;
            let nearest = outcome.found.closest.first().map(|contact| contact.id);
            // Nobody finds himself by asking others.
            let truth = world.closest(&target, false).filter(|&id| id != own);
            right += usize::from(truth.is_none() || nearest == truth);
        }
        let weights = world.up().into_iter().filter_map(|host| world.node(host));
        let weight = weights.map(Node::state_bytes).max().unwrap_or(0);
        let (mean, share) = (asked / lookups as f64, right as f64 / lookups as f64);
        figure(&format!(
            "static network of {live} nodes, seed {seed}: {mean:.1} queries a lookup, closest node found in {:.2} %, \
             p50 {:.2} s, p90 {:.2} s, heaviest node {:.1} KiB",
            100.0 * share,
            quantile(&mut took, 0.5),
            quantile(&mut took, 0.9),
            weight as f64 / 1024.0,
        ));
        assert!(weight < 30 << 10, "seed {seed}: a node of {weight} bytes");
        assert!(mean <= 27.0, "seed {seed}: {mean} queries");
        assert!(share >= 0.999, "seed {seed}: {share}");
    }
}

/// p50 and p90 of whole lookups, and p50 of the time to the first peer, in seconds.
fn stale(seed: u64, policy: LookupPolicy, lookups: usize) -> (f64, f64, f64, f64) {
    let live: usize = sized(1_500, 20_000);
    let mut world = settled(seed, live, live * 2 / 3, &quiet(policy));
    let swarms: Vec<InfoHash> = (0..20).map(|_| InfoHash(NodeId::random(world.rng()).0)).collect();
    for &swarm in &swarms {
        for _ in 0..3 {
            let host = any_up(&mut world, live);
            world.act(host, |node, now| node.announce(now, swarm, None, false));
            world.run(secs(1));
        }
    }
    world.run(secs(30));
    let (mut took, mut first, mut asked) = (Vec::new(), Vec::new(), 0.0);
    for nth in 0..lookups {
        let host = warmed_up(&mut world, live);
        let swarm = swarms[nth % swarms.len()];
        let started = world.now();
        let id = world.act(host, |node, now| node.lookup_peers(now, swarm)).unwrap()[0];
        let outcome = outcome(&mut world, host, id, started).expect("every lookup ends");
        took.push(outcome.found.took.as_secs_f64());
        asked += f64::from(outcome.found.asked);
        first.push(outcome.first_peer.map_or(60.0, |time| time.as_secs_f64()));
    }
    let (p50, p90) = (quantile(&mut took, 0.5), quantile(&mut took, 0.9));
    (p50, p90, quantile(&mut first, 0.5), asked / lookups as f64)
}

#[test]
fn claim_dht_lookups_among_the_dead() {
    let live = sized(1_500, 20_000);
    for seed in seeds() {
        let (p50, p90, first, asked) = stale(seed, LookupPolicy::default(), sized(40, 400));
        figure(&format!(
            "{live} nodes, 40 % of all entries dead, seed {seed}: lookup p50 {p50:.2} s, p90 {p90:.2} s, first peer p50 \
             {:.0} ms, {asked:.1} queries",
            1000.0 * first
        ));
        assert!(p50 < 1.0 && p90 < 1.5, "seed {seed}: p50 {p50}, p90 {p90}");
        assert!(first < 0.25, "seed {seed}: first peer after {first}");
    }
}

#[test]
fn claim_dht_libtorrents_rule_takes_what_it_takes() {
    let policy = LookupPolicy {
        soft: Soft::Fixed(secs(1)),
        hard: Duration::from_secs(15),
        wait_for_stalled: true,
        ..LookupPolicy::default()
    };
    for seed in seeds() {
        let (p50, p90, first, asked) = stale(seed, policy, sized(30, 200));
        figure(&format!(
            "the same network under libtorrent's rule for the end (1 s, 15 s), seed {seed}: lookup p50 {p50:.1} s, p90 \
             {p90:.1} s, first peer p50 {:.0} ms, {asked:.1} queries",
            1000.0 * first
        ));
        assert!(
            (14.0..17.0).contains(&p50),
            "seed {seed}: the world is not the known one: {p50} s"
        );
    }
}
