//! Goal: what nodes share is found through their supernodes, and again soon after half of those have died.
//! Method: production nodes and supernodes on virtual time; each popular file lies at one node in a hundred, each rare
//! one at three nodes. Random nodes search; a search succeeds with its first hit within five seconds.

mod world;

use crate::{figure, ms, percent, secs, seeds, sized};
use gaggle_core::overlay::fasttrack::{Event, Supernode};
use gaggle_core::proto::fasttrack::{File, Query, Share, Tags, UuHash, tag_kind};
use std::collections::BTreeSet;
use std::time::Duration;
use world::World;

/// Files that one node in a hundred has.
const POPULAR: usize = 20;
/// What a node waits for a hit.
const PATIENCE: Duration = secs(5);

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

/// What some searches found and cost.
struct Tally {
    asked: usize,
    found: usize,
    /// Of one search, without those that pass when nobody searches.
    messages: f64,
}

/// Random nodes search for files of this kind.
fn searches(world: &mut World, nodes: usize, kind: &str, kinds: usize, count: usize) -> Tally {
    const GAP: Duration = ms(20);
    let idle = world.sent;
    world.run(GAP * count as u32 + PATIENCE);
    let before = world.sent;
    let mut open = BTreeSet::new();
    world.take_events();
    for _ in 0..count {
        let (node, file) = (world.rng().index(nodes), world.rng().index(kinds));
        let query = Query::words(0, 100, &format!("{kind}{file}"));
        let id = world.act(node, |node, now| node.search(now, query));
        open.extend(id.map(|id| (node, id, world.now())));
        world.run(GAP);
    }
    world.run(PATIENCE);
    let mut found = BTreeSet::new();
    for (at, node, event) in world.take_events() {
        if let Event::Found { search, .. } = event {
            let asked = open.iter().find(|(who, id, _)| (*who, *id) == (node, search));
            found.extend(asked.filter(|(.., since)| at.since(*since) <= PATIENCE).copied());
        }
    }
    let messages = (world.sent - before) as f64 - (before - idle) as f64;
    Tally { asked: count, found: found.len(), messages: messages / count as f64 }
}

impl Tally {
    fn share(&self) -> f64 {
        percent(self.found, self.asked)
    }
}

#[test]
fn claim_search_fasttrack_survives_half_of_its_supernodes() {
    let (nodes, supernodes, count) = sized((1_500, 15, 100), (30_000, 300, 500));
    for seed in seeds() {
        let mut world = network(seed, nodes, supernodes);
        let (attached, crowd) = (world.attached(), most_children(&world));
        assert!(attached * 100 >= nodes * 99, "seed {seed}: {attached} of {nodes} attached");
        let both = |world: &mut World| {
            let popular = searches(world, nodes, "popular", POPULAR, count);
            (popular, searches(world, nodes, "rare", nodes / 3, count))
        };
        let (popular, rare) = both(&mut world);

        let mut doomed: Vec<usize> = (0..supernodes).collect();
        world.rng().shuffle(&mut doomed);
        doomed[..supernodes / 2].iter().for_each(|&n| world.kill(n));
        // The measurement begins with as long a rest as it takes.
        let rest = ms(20) * count as u32 + PATIENCE;
        world.run(secs(60).saturating_sub(rest));
        let attached = world.attached();
        let (popular_then, rare_then) = both(&mut world);
        figure(
            "fasttrack",
            &format!(
                "{nodes} nodes, {supernodes} supernodes, seed {seed}: popular files found in {:.1} % of searches ({:.0} \
                 messages each), rare in {:.1} % ({:.0} messages); 60 s after the loss of half of the supernodes {:.1} % \
                 and {:.1} %, {:.1} % of nodes attached; at most {crowd} nodes before and {} after at one",
                popular.share(),
                popular.messages,
                rare.share(),
                rare.messages,
                popular_then.share(),
                rare_then.share(),
                percent(attached, nodes),
                most_children(&world),
            ),
        );
        assert!(popular.share() >= 90.0, "seed {seed}: {}", popular.share());
        assert!(popular_then.share() >= 0.95 * popular.share(), "seed {seed}: popular");
        let (found, found_then) =
            (popular.found + rare.found, popular_then.found + rare_then.found);
        assert!(found_then * 100 >= found * 95, "seed {seed}: {found} and then {found_then}");
    }
}

fn most_children(world: &World) -> usize {
    world.supernodes().map(Supernode::children).max().unwrap_or(0)
}
