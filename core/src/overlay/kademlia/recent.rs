//! Whom we have just exchanged datagrams with: a router on the way remembers them already.
//!
//! Remembers endpoints for a while, a bounded number of them. Decides nothing else.

use crate::clock::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Routers keep an entry for an exchange over UDP at least this long.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// Endpoints remembered; the one heard from longest ago is forgotten first. 40 bytes each; two or three
/// lookups meet as many.
const RECENT_MAX: usize = 64;

/// Endpoints that have answered lately, the latest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(VecDeque<(SocketAddr, Instant)>);

impl Recent {
    /// Notes an exchange.
    pub(super) fn note(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(at) = self.0.iter().position(|(known, _)| *known == addr) {
            self.0.remove(at);
        } else if self.0.len() >= RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((addr, now));
    }

    /// Whether there was an exchange lately.
    pub(super) fn knows(&self, now: Instant, addr: SocketAddr) -> bool {
        let latest = self.0.iter().rev().take_while(|(_, at)| now.since(*at) < KEPT_FOR);
        latest.into_iter().any(|(known, _)| *known == addr)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(SocketAddr, Instant)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_for_a_while() {
        let addr = |n: u16| SocketAddr::from(([60, 0, 0, 1], n));
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut recent = Recent::default();
        (0..10_000).for_each(|n| recent.note(at(0), addr(n)));
        let known =
            |recent: &Recent, s| (0..10_000).filter(|&n| recent.knows(at(s), addr(n))).count();
        assert_eq!((known(&recent, 119), known(&recent, 120)), (RECENT_MAX, 0));
        recent.note(at(100), addr(9_999));
        assert_eq!(known(&recent, 150), 1);
        assert!(recent.heap_bytes() < 6 << 10);
    }
}
