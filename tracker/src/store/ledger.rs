//! How much each source of announces has made us remember.
//!
//! Decides admission over all swarms; the bounds of one swarm are that swarm's own.

use super::{Limits, Refusal};
use std::collections::HashMap;
use std::net::IpAddr;

/// Who is behind an address: an IPv4 address, or the /64 network that one IPv6 host can fill at will.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Source {
    V4([u8; 4]),
    V6Net([u8; 8]),
}

impl Source {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6Net([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Counts over all swarms. Bounded by [`Limits::peers`], since a source without a peer is dropped.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) torrents: usize,
    pub(super) peers: usize,
    by_source: HashMap<Source, u32>,
}

impl Ledger {
    /// Counts one more peer, and one more torrent if it opens one; changes nothing if it refuses.
    pub(super) fn admit(
        &mut self,
        source: Source,
        limits: &Limits,
        new_torrent: bool,
    ) -> Result<(), Refusal> {
        let torrents = self.torrents + usize::from(new_torrent);
        if torrents > limits.torrents || self.peers >= limits.peers {
            return Err(Refusal::Full);
        }
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        if of_source as usize >= limits.peers_per_source {
            return Err(Refusal::Source);
        }
        self.by_source.insert(source, of_source + 1);
        self.peers += 1;
        self.torrents = torrents;
        Ok(())
    }

    /// Counts one peer less.
    pub(super) fn release(&mut self, gone: Option<Source>) {
        let Some(source) = gone else { return };
        self.peers -= 1;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    /// Whether nobody is accounted for.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.torrents == 0 && self.peers == 0 && self.by_source.is_empty()
    }
}
