//! Whole swarms of production machines on virtual time, and the figures that the policies must reach.
//!
//! `GAGGLE_SEED=17` replays exactly one seed of every test, `GAGGLE_FULL=1` plays the long form of those that have one.

mod churn;
mod fairness;
mod hostile;
mod newcomer;
mod rarity;
mod tyrant;

use gaggle_core::lab::{Link, World, oracle};
use gaggle_core::units::BytesPerSec;
use std::ops::RangeInclusive;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The seeds of a test, or the one that the environment names.
fn seeds(all: RangeInclusive<u64>) -> Vec<u64> {
    match std::env::var("GAGGLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(one) => vec![one],
        None => all.collect(),
    }
}

/// Whether the long form was asked for.
fn full() -> bool {
    std::env::var("GAGGLE_FULL").is_ok_and(|value| value == "1")
}

/// A line that `cargo xtask check --full` collects: the name of what was measured, and the measure.
fn figure(name: &str, text: &str) {
    println!("FIGURE {name} {text}");
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn kib_per_sec(kib: u64) -> BytesPerSec {
    BytesPerSec(kib * KIB)
}

/// A world with the oracles of safety.
fn world(seed: u64, link: Link) -> World {
    let mut world = World::new(seed, link);
    world.always("no bad piece is ever kept", oracle::kept_pieces_hash_right);
    world.always("queues stay bounded", oracle::queues_bounded);
    world
}

/// The value that half of them do not exceed.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
