//! The one place where the operating system's randomness comes in.

use gaggle_core::rng::Rng;
use std::io;

/// A generator that nobody can predict. Fails only where the system has no randomness to give.
pub fn os_rng() -> io::Result<Rng> {
    os_entropy().map(Rng::from_entropy)
}

/// 32 bytes that nobody can predict, such as a key is made from.
pub fn os_entropy() -> io::Result<[u8; 32]> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)?;
    Ok(entropy)
}
