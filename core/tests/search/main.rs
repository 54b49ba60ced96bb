//! Whole networks to search in, of production machines on virtual time: what a search finds and what it costs.
//!
//! The ordinary run is small; `GAGGLE_FULL=1` has the sizes of the claims. `GAGGLE_SEED=17` replays one seed.

mod agenda;
mod fasttrack;
mod gnutella;
mod napster;

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

fn figure(network: &str, text: &str) {
    println!("FIGURE search_{network} {text}");
}

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// In percent.
fn percent(some: usize, all: usize) -> f64 {
    100.0 * some as f64 / all as f64
}

/// The value that this share of all does not exceed.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
