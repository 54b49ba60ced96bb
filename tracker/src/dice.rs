//! The one place where the operating system's randomness comes in.

use gaggle_core::rng::Rng;
use std::io;

/// A generator that nobody can predict. Fails only where the system has no randomness to give.
pub(crate) fn os_rng() -> io::Result<Rng> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)?;
    Ok(Rng::from_entropy(entropy))
}
