//! Whole networks to search in, of production machines on virtual time: what a search finds and what it costs.
//!
//! The ordinary run is small; `GAGGLE_FULL=1` has the sizes of the claims. `GAGGLE_SEED=17` replays one seed.

mod agenda;
mod fasttrack;
mod gnutella;
mod napster;
#[path = "../scale/mod.rs"]
mod scale;

use scale::{full, quantile, secs, seeds, sized};
use std::time::Duration;

fn figure(network: &str, text: &str) {
    println!("FIGURE search_{network} {text}");
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// In percent.
fn percent(some: usize, all: usize) -> f64 {
    100.0 * some as f64 / all as f64
}
