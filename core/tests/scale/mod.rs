//! How large a simulation of many nodes is, and how its values are summed up.

use std::time::Duration;

/// Whether the sizes of the claims were asked for.
pub(crate) fn full() -> bool {
    std::env::var("GAGGLE_FULL").is_ok_and(|value| value == "1")
}

/// One size for the ordinary run, one for the claim.
pub(crate) fn sized<T>(small: T, large: T) -> T {
    if full() { large } else { small }
}

/// One seed in the ordinary run, five for the claim, or the one that the environment names.
pub(crate) fn seeds() -> Vec<u64> {
    match std::env::var("GAGGLE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(one) => vec![one],
        None => (1..=sized(1, 5)).collect(),
    }
}

pub(crate) const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// The value that this share of all does not exceed.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
