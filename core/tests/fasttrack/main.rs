//! Goal: what nodes share is found through their supernodes, and again soon after half of those have died.
//! Method: production nodes and supernodes on virtual time; each popular file lies at one node in a hundred, each rare
//! one at three nodes. Random nodes search; a search succeeds with its first hit within five seconds.
//!
//! The ordinary run uses a small network; `GAGGLE_FULL=1` that of the claim. `GAGGLE_SEED=17` replays one seed.

mod world;

use gaggle_core::overlay::fasttrack::{Event, Supernode};
use gaggle_core::proto::fasttrack::{File, Query, Share, Tags, UuHash, tag_kind};
use std::collections::BTreeSet;
use std::time::Duration;
use world::World;

/// Files that one node in a hundred has.
const POPULAR: usize = 20;
/// What a node waits for a hit.
const PATIENCE: Duration = Duration::from_secs(5);

fn full() -> bool {
    std::env::var("GAGGLE_FULL").is_ok_and(|value| value == "1")
}

fn seeds() -> Vec<u64> {
    match std::env::var("GAGGLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(one) => vec![one],
        None => (1..=if full() { 5 } else { 1 }).collect(),
    }
}

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn share(kind: &str, n: usize) -> Share {
    let mut hash = [kind.as_bytes()[0]; 20];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    let tags = Tags::default().with(tag_kind::FILE_NAME, format!("{kind}{n} song.mp3"));
    Share { media: 1, file: File { hash: UuHash(hash), file_id: 0, size: 1, tags } }
}

/// A network of which everybody is attached.
fn network(seed: u64, nodes: usize, supernodes: usize) -> World {
    let mut world = World::new(seed);
    world.add_supernodes(supernodes as u32);
    world.run(secs(30));
    for n in 0..nodes {
        let has: Vec<usize> = (0..POPULAR).filter(|_| world.rng().below(100) == 0).collect();
        world.add_node(|node| {
            let popular = has.iter().map(|&file| share("popular", file));
            for file in popular.chain([share("rare", n / 3)]) {
                assert!(node.share(file));
            }
        });
        world.run(secs(60) / nodes as u32);
    }
    world.run(secs(30));
    world
}

/// Shares of searches for popular and for rare files that succeed, and messages of a search for a popular one.
fn searches(world: &mut World, nodes: usize, count: usize) -> (f64, f64, f64) {
    let mut shares = [0.0; 2];
    let mut messages = 0;
    for (nth, kind) in ["popular", "rare"].into_iter().enumerate() {
        let kinds = if nth == 0 { POPULAR } else { nodes / 3 };
        let before = world.sent;
        let mut open = BTreeSet::new();
        world.take_events();
        for _ in 0..count {
            let (node, file) = (world.rng().index(nodes), world.rng().index(kinds));
            let query = Query::words(0, 100, &format!("{kind}{file}"));
            let id = world.act(node, |node, now| node.search(now, query));
            open.extend(id.map(|id| (node, id, world.now())));
            world.run(Duration::from_millis(20));
        }
        world.run(PATIENCE);
        let mut found = BTreeSet::new();
        for (at, node, event) in world.take_events() {
            if let Event::Found { search, .. } = event {
                let asked = open.iter().find(|(who, id, _)| (*who, *id) == (node, search));
                found.extend(asked.filter(|(.., since)| at.since(*since) <= PATIENCE).copied());
            }
        }
        shares[nth] = found.len() as f64 / count as f64;
        if nth == 0 {
            messages = world.sent.0 - before.0 + world.sent.1 - before.1;
        }
    }
    (shares[0], shares[1], messages as f64 / count as f64)
}

#[test]
fn claim_search_fasttrack_survives_half_of_its_supernodes() {
    let (nodes, supernodes) = if full() { (30_000, 300) } else { (1_500, 15) };
    let count = if full() { 500 } else { 100 };
    for seed in seeds() {
        let mut world = network(seed, nodes, supernodes);
        let (attached, crowd) = (world.attached(), most_children(&world));
        assert!(attached * 100 >= nodes * 99, "seed {seed}: {attached} of {nodes} attached");
        let (popular, rare, messages) = searches(&mut world, nodes, count);

        let mut doomed: Vec<usize> = (0..supernodes).collect();
        world.rng().shuffle(&mut doomed);
        doomed[..supernodes / 2].iter().for_each(|&n| world.kill(n));
        world.run(secs(60));
        let attached = world.attached();
        let (popular_then, rare_then, _) = searches(&mut world, nodes, count);
        println!(
            "FIGURE search fasttrack, {nodes} nodes, {supernodes} supernodes, seed {seed}: popular files found in \
             {:.1} % of searches ({messages:.0} messages each), rare in {:.1} %; 60 s after the loss of half of the \
             supernodes {:.1} % and {:.1} %, {:.1} % of nodes attached; at most {crowd} nodes before and {} after at one",
            100.0 * popular,
            100.0 * rare,
            100.0 * popular_then,
            100.0 * rare_then,
            100.0 * attached as f64 / nodes as f64,
            most_children(&world),
        );
        assert!(popular >= 0.9, "seed {seed}: {popular}");
        assert!(popular_then >= 0.95 * popular, "seed {seed}: {popular} and then {popular_then}");
    }
}

fn most_children(world: &World) -> usize {
    world.supernodes().map(Supernode::children).max().unwrap_or(0)
}
