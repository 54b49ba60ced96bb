//! Production DHT nodes by the thousand on virtual time, and the figures that they must reach; and what attackers
//! must not achieve.
//!
//! The ordinary run uses small networks; `GAGGLE_FULL=1` the sizes of the claims. `GAGGLE_SEED=17` replays one seed.

mod attacks;
mod churn;
mod families;
mod items;
mod lookups;
mod serving;

use gaggle_core::clock::Instant;
use gaggle_core::lab::{Overlay, Wire};
use gaggle_core::overlay::kademlia::{Config, Event, Found, LookupId};
use std::time::Duration;

fn full() -> bool {
    std::env::var("GAGGLE_FULL").is_ok_and(|value| value == "1")
}

/// One size for the ordinary run, one for the claim.
fn sized<T>(small: T, large: T) -> T {
    if full() { large } else { small }
}

fn seeds() -> Vec<u64> {
    match std::env::var("GAGGLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(one) => vec![one],
        None => (1..=sized(1, 5)).collect(),
    }
}

fn figure(text: &str) {
    println!("FIGURE dht {text}");
}

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// The value that this share of all does not exceed.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// A network that has existed for long: `live` nodes whose tables also name `dead` hosts.
fn settled(seed: u64, live: usize, dead: usize, config: &Config) -> Overlay {
    let mut world = Overlay::new(seed, Wire::default());
    for _ in 0..live {
        world.spawn(config.clone());
    }
    for _ in 0..dead {
        world.spawn_dead();
    }
    world.acquaint();
    world
}

/// How one lookup went.
struct Outcome {
    found: Found,
    first_peer: Option<Duration>,
}

/// Runs until a lookup is over, and says how it went.
fn outcome(
    world: &mut Overlay,
    host: usize,
    lookup: LookupId,
    started: Instant,
) -> Option<Outcome> {
    let mut first_peer = None;
    for _ in 0..6_000 {
        for (at, who, event) in world.take_events() {
            match event {
                Event::Peers { lookup: id, .. } if who == host && id == lookup => {
                    first_peer = first_peer.or(Some(at.since(started)));
                }
                Event::Done { lookup: id, found } if who == host && id == lookup => {
                    return Some(Outcome { found, first_peer });
                }
                _ => {}
            }
        }
        world.run(Duration::from_millis(10));
    }
    None
}
