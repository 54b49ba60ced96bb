//! Connection ids of BEP 15 that need no memory.
//!
//! An id is the head of SHA-256 over a secret, the minute it was made in and the asker's address: only who receives
//! at that address can know it, and checking costs three hashes at most. It never depends on the asker's port,
//! since NATs change those between two datagrams.

use gaggle_core::clock::Instant;
use gaggle_core::hash::sha256;
use std::net::IpAddr;

/// Ids change this often.
const WINDOW_S: u64 = 60;
/// An id is good in the window it was made in and in this many after it: 120 to 180 s in all.
//= BEP 15 §connect (a tracker accepts an id for two minutes)
const WINDOWS_AFTER: u64 = 2;

/// Mints and checks ids.
pub(crate) struct ConnectionIds {
    secret: [u8; 32],
}

impl ConnectionIds {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The id for whoever receives at `ip`.
    pub(crate) fn mint(&self, now: Instant, ip: IpAddr) -> u64 {
        self.of_window(window(now), ip)
    }

    /// Whether `id` was given to `ip` not too long ago.
    pub(crate) fn is_good(&self, now: Instant, ip: IpAddr, id: u64) -> bool {
        let newest = window(now);
        let windows = newest.saturating_sub(WINDOWS_AFTER)..=newest;
        windows.rev().any(|window| self.of_window(window, ip) == id)
    }

    // A secret before a message of fixed length (16-byte address) cannot be extended, and only 8 of 32 bytes are
    // ever shown, so the plain hash is a MAC here.
    fn of_window(&self, window: u64, ip: IpAddr) -> u64 {
        let octets = match ip.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let digest = sha256([&self.secret[..], &window.to_be_bytes(), &octets]);
        u64::from_be_bytes(*digest.first_chunk().expect("8 of 32 bytes"))
    }
}

fn window(now: Instant) -> u64 {
    now.as_micros() / (WINDOW_S * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_id_is_good_for_two_to_three_minutes_at_one_address() {
        let ids = ConnectionIds::new([1; 32]);
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        for start_s in [0, 59, 60, 100] {
            let start = Instant::from_micros(start_s * 1_000_000);
            let id = ids.mint(start, ip);
            let good_after = |s| ids.is_good(start + Duration::from_secs(s), ip, id);
            assert!(good_after(0) && good_after(60) && good_after(120));
            assert!(!good_after(181));
        }
        let now = Instant::ZERO;
        let id = ids.mint(now, ip);
        assert!(ids.is_good(now, "::ffff:10.0.0.1".parse().unwrap(), id));
        assert!(!ids.is_good(now, "10.0.0.2".parse().unwrap(), id));
        assert!(!ids.is_good(now, ip, id ^ 1));
        assert!(!ConnectionIds::new([2; 32]).is_good(now, ip, id));
    }
}
