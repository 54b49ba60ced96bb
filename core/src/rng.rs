//! Seeded randomness: the same seed gives the same decisions.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A deterministic generator. Production seeds it from the operating system, the lab from a `u64`.
///
/// Holds only its seed until it is first drawn from: a stream takes ten times the room, and of the machines of a
/// torrent that lies idle most never draw.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: [u8; 32],
    stream: Option<Box<ChaCha8Rng>>,
}

impl Rng {
    /// A generator that a scenario can name by one number.
    pub fn seeded(seed: u64) -> Self {
        Self::from_entropy(ChaCha8Rng::seed_from_u64(seed).get_seed())
    }

    /// A generator from 32 bytes of entropy.
    pub fn from_entropy(seed: [u8; 32]) -> Self {
        Self { seed, stream: None }
    }

    /// A new generator whose stream is independent of later draws from this one.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Self::from_entropy(seed)
    }

    /// Any 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.stream().next_u32()
    }

    /// Any 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream().next_u64()
    }

    /// A number in `0..bound`, and 0 when `bound` is 0. The bias is below 2⁻³² for bounds under 2³².
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into a slice of `len` elements; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One element, or `None` of an empty slice.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }

    /// Puts `items` into a uniformly random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.stream().fill_bytes(out);
    }

    fn stream(&mut self) -> &mut ChaCha8Rng {
        let seed = self.seed;
        self.stream.get_or_insert_with(|| Box::new(ChaCha8Rng::from_seed(seed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream() {
        let (mut a, mut b) = (Rng::seeded(7), Rng::seeded(7));
        for bound in 1..100 {
            let drawn = a.below(bound);
            assert!(drawn < bound);
            assert_eq!(drawn, b.below(bound));
        }
        assert_ne!(Rng::seeded(7).next_u64(), Rng::seeded(8).next_u64());
        assert_eq!(a.pick::<u8>(&[]), None);
        assert_eq!(Rng::seeded(7).next_u64(), ChaCha8Rng::seed_from_u64(7).next_u64());
    }
}
