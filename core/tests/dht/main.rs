//! Production DHT nodes by the thousand on virtual time, and the figures that they must reach; and what attackers
//! must not achieve.
//!
//! The ordinary run uses small networks; `GAGGLE_FULL=1` the sizes of the claims. `GAGGLE_SEED=17` replays one seed.

mod attacks;
mod churn;
mod families;
mod items;
mod lookups;
mod renamed;
#[path = "../scale/mod.rs"]
mod scale;
mod serving;

use gaggle_core::clock::Instant;
use gaggle_core::lab::{Overlay, Wire};
use gaggle_core::overlay::kademlia::{Config, Event, Found, LookupId};
use scale::{full, quantile, secs, seeds, sized};
use std::time::Duration;

fn figure(text: &str) {
    println!("FIGURE dht {text}");
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
