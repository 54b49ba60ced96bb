//! The Bloom filters that count a swarm without naming anybody twice.
//!
//! Estimates only: who is in a filter cannot be told from it, and beyond some 6 000 addresses neither can how many.
//= BEP 33 §bloom filter

use crate::hash::sha1;
use std::fmt;
use std::net::IpAddr;

/// Bytes of a filter.
pub const FILTER_LEN: usize = 256;
const BITS: u32 = 8 * FILTER_LEN as u32;

/// A set of addresses as 2 048 bits, two for each address.
#[derive(Clone, Eq, PartialEq)]
pub struct Filter(pub Box<[u8; FILTER_LEN]>);

impl Filter {
    /// Of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a filter of exactly [`FILTER_LEN`] bytes.
    pub fn from_slice(raw: &[u8]) -> Option<Self> {
        raw.try_into().ok().map(|bits: [u8; FILTER_LEN]| Self(Box::new(bits)))
    }

    /// Adds an address; the port plays no part.
    pub fn insert(&mut self, ip: IpAddr) {
        let hash = match ip {
            IpAddr::V4(v4) => sha1([&v4.octets()[..]]),
            IpAddr::V6(v6) => sha1([&v6.octets()[..]]),
        };
        for at in [0, 2] {
            let bit = usize::from(u16::from_le_bytes([hash[at], hash[at + 1]])) % BITS as usize;
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Adds everybody who is in `other`.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(ours, theirs)| *ours |= theirs);
    }

    /// How many addresses are in it, roughly.
    pub fn estimate(&self) -> f64 {
        let m = f64::from(BITS);
        let zeros = self.0.iter().map(|byte| byte.count_zeros()).sum::<u32>();
        // In a full filter one bit counts as unset, or the logarithm would be endless.
        let zeros = f64::from(zeros.max(1));
        ((zeros / m).ln() / (2.0 * (1.0 - 1.0 / m).ln())).abs()
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self(Box::new([0; FILTER_LEN]))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter(~{:.0})", self.estimate())
    }
}
