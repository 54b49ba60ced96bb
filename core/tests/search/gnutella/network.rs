//! Networks of a shape, and what their servents share.

use super::world::{World, addr};
use crate::secs;
use gaggle_core::overlay::gnutella::{Config, Library, Role};
use gaggle_core::rng::Rng;
use gaggle_core::share::{Catalogue, Item, Place};
use gaggle_core::storage::Stamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Words that one servent in a hundred has a file of.
pub(crate) const POPULAR: usize = 20;
/// Words that three servents have a file of.
pub(crate) const RARE: usize = 50;
/// Files that somebody who shares has, beside those.
const FILES: usize = 10;
/// Slots of a table, as a power of two: files are few, and tables many.
const TABLE_LOG2: u32 = 12;

/// Who is linked to whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// Everybody relays and has so many links.
    Even(usize),
    /// Everybody relays; the number of links follows a power law.
    Flat,
    /// One in ten relays, and of them the number of links follows a power law; the others are leaves of three of them.
    Tiers,
}

pub(crate) struct Network {
    pub(crate) world: World,
    pub(crate) servents: usize,
    /// Who has a file of which word.
    pub(crate) popular: Vec<BTreeSet<usize>>,
    pub(crate) rare: Vec<BTreeSet<usize>>,
    /// Links of all who relay to others who do, of one on the average.
    pub(crate) degree: f64,
    /// They ask some neighbours at a time.
    pub(crate) dynamic: bool,
}

/// Numbers of links from 3 to `most`, with a share of k to the power of -2.5.
fn power_law(rng: &mut Rng, count: usize, most: usize) -> Vec<usize> {
    let weight = |k: usize| (k as f64).powf(-2.5);
    let all: f64 = (3..=most).map(weight).sum();
    let draw = |rng: &mut Rng| {
        let mut left = rng.unit() * all;
        let enough = |k: &usize| {
            left -= weight(*k);
            left <= 0.0
        };
        (3..=most).find(enough).unwrap_or(most)
    };
    (0..count).map(|_| draw(rng)).collect()
}

/// Links at random between hosts with so many each; what would be a second one of two hosts, or to itself, is left out.
fn wire(rng: &mut Rng, degrees: &[usize]) -> BTreeSet<(usize, usize)> {
    let mut ends: Vec<usize> =
        degrees.iter().enumerate().flat_map(|(host, &links)| vec![host; links]).collect();
    let mut links = BTreeSet::new();
    // What could not be linked is tried again a few times.
    for _ in 0..5 {
        rng.shuffle(&mut ends);
        let mut left = Vec::new();
        for pair in ends.chunks(2) {
            match *pair {
                [a, b] if a != b && links.insert((a.min(b), a.max(b))) => {}
                _ => left.extend_from_slice(pair),
            }
        }
        ends = left;
    }
    links
}

/// So many of those who share.
fn holders(rng: &mut Rng, sharers: &[usize], count: usize) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(sharers[rng.index(sharers.len())]);
    }
    chosen
}

impl Network {
    /// A network that took `grown` to come into being, in which 70 of 100 share nothing.
    pub(crate) fn new(
        seed: u64,
        servents: usize,
        shape: Shape,
        grown: Duration,
        adjust: impl Fn(&mut Config),
    ) -> Self {
        let mut world = World::new(seed);
        let mut dynamic = false;
        let mut order: Vec<usize> = (0..servents).collect();
        world.rng.shuffle(&mut order);
        let sharers = &order[..servents * 3 / 10];
        let one_in_hundred = (servents / 100).max(1);
        let mut held = |words: usize, count: usize| -> Vec<BTreeSet<usize>> {
            (0..words).map(|_| holders(&mut world.rng, sharers, count)).collect()
        };
        let (popular, rare) = (held(POPULAR, one_in_hundred), held(RARE, 3));

        let relays = if shape == Shape::Tiers { servents / 10 } else { servents };
        let degrees = match shape {
            Shape::Even(links) => vec![links; relays],
            Shape::Flat => power_law(&mut world.rng, relays, 100),
            Shape::Tiers => power_law(&mut world.rng, relays, 32),
        };
        let sharers: BTreeSet<usize> = sharers.iter().copied().collect();
        for host in 0..servents {
            let role = if host < relays { Role::Ultrapeer } else { Role::Leaf };
            let mut config = Config::of(role, addr(host));
            config.table_log2 = TABLE_LOG2;
            config.deflate = false;
            if let Some(&links) = degrees.get(host) {
                (config.links, config.links_max) = (links, links);
            }
            adjust(&mut config);
            dynamic = config.dynamic;
            let mut names = Vec::new();
            if sharers.contains(&host) {
                let band = |rng: &mut Rng| format!("band{}", rng.below(500));
                names.extend(
                    (0..FILES).map(|n| format!("{} track{n} of{host}.mp3", band(&mut world.rng))),
                );
            }
            let has = |words: &[BTreeSet<usize>], kind: &str| -> Vec<String> {
                let here = words.iter().enumerate().filter(|(_, who)| who.contains(&host));
                here.map(|(n, _)| format!("{kind} song{n}.mp3")).collect()
            };
            names.extend(has(&popular, "famous"));
            names.extend(has(&rare, "obscure"));
            let item = |name| {
                let place = Place { folder: 0, path: vec![name] };
                Item::new(place, Stamp { len: 4_000_000, mtime_ns: 0 })
            };
            let files = Catalogue::of(names.into_iter().map(item).collect());
            world.add(config, Library::new(Arc::new(files)));
        }

        let leaves = links_of_leaves(&mut world.rng, servents, relays);
        let links = wire(&mut world.rng, &degrees);
        let degree = 2.0 * links.len() as f64 / relays as f64;
        let mut links: Vec<(usize, usize)> = links.into_iter().collect();
        world.rng.shuffle(&mut links);
        // Leaves come first, so that ultrapeers tell each other of them at once.
        world.pings_lost = true;
        let gap = grown / (leaves.len() + links.len()) as u32;
        for (from, to) in leaves.into_iter().chain(links) {
            world.connect(from, to);
            world.run(gap);
        }
        // Tables that have changed are told once a minute.
        world.run(secs(70));
        world.pings_lost = false;
        assert_eq!(world.closed.first(), None, "a link ended");
        world.tap.clear();
        Self { world, servents, popular, rare, degree, dynamic }
    }
}

/// Somebody at random who is none of these.
pub(crate) fn one_but(rng: &mut Rng, servents: usize, but: &BTreeSet<usize>) -> usize {
    loop {
        let one = rng.index(servents);
        if !but.contains(&one) {
            return one;
        }
    }
}

/// Each leaf has three ultrapeers; each ultrapeer has about as many leaves as any other.
fn links_of_leaves(rng: &mut Rng, servents: usize, relays: usize) -> Vec<(usize, usize)> {
    let mut links = Vec::new();
    for leaf in relays..servents {
        let first = rng.index(relays);
        // Two steps that have nothing to do with each other.
        let (step, other) = (1 + rng.index(relays / 2 - 1), relays / 2 + rng.index(relays / 2 - 1));
        links.extend([0, step, other].map(|step| (leaf, (first + step) % relays)));
    }
    links
}
