//! Servents that a Ping is answered with, so that it need not be relayed.

use super::{LinkId, PONGS_MAX};
use crate::clock::Instant;
use crate::proto::gnutella::Pong;
use crate::rng::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// How long an ultrapeer passes one on.
const LIFE: Duration = Duration::from_secs(20);
/// How long a leaf does.
const LIFE_OF_LEAF: Duration = Duration::from_secs(120);
/// Pongs that are kept; beyond it the oldest is forgotten.
const KEPT_MAX: usize = 100;
/// Of them, those that one link has brought; beyond it its oldest is forgotten.
const KEPT_OF_ONE_MAX: usize = 20;

/// A pong, how far it had come, who brought it and when.
#[derive(Debug)]
struct Kept {
    at: Instant,
    from: LinkId,
    hops: u8,
    pong: Pong,
}

/// The latest pongs.
#[derive(Debug, Default)]
pub(super) struct Pongs(VecDeque<Kept>);

impl Pongs {
    pub(super) fn keep(&mut self, now: Instant, from: LinkId, hops: u8, pong: Pong) {
        self.0.retain(|kept| kept.pong.addr != pong.addr);
        let of_one = self.0.iter().filter(|kept| kept.from == from).count();
        let crowded = if of_one >= KEPT_OF_ONE_MAX {
            self.0.iter().position(|kept| kept.from == from)
        } else {
            (self.0.len() >= KEPT_MAX).then_some(0)
        };
        crowded.map(|at| self.0.remove(at));
        self.0.push_back(Kept { at: now, from, hops, pong });
    }

    /// Some pongs with the hops that they had come, near ones and far ones, none of those that the asker brought.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        asker: LinkId,
        leaf: bool,
        rng: &mut Rng,
    ) -> Vec<(u8, Pong)> {
        let life = if leaf { LIFE_OF_LEAF } else { LIFE };
        self.0.retain(|kept| now.since(kept.at) < life);
        let mut others: Vec<&Kept> = self.0.iter().filter(|kept| kept.from != asker).collect();
        rng.shuffle(&mut others);
        // Taking the first of each distance, then the second, spreads them.
        let mut seen = [0usize; 256];
        let mut ranked: Vec<(usize, &Kept)> = others
            .into_iter()
            .map(|kept| {
                let nth = &mut seen[usize::from(kept.hops)];
                *nth += 1;
                (*nth, kept)
            })
            .collect();
        ranked.sort_by_key(|(nth, _)| *nth);
        ranked.into_iter().take(PONGS_MAX).map(|(_, kept)| (kept.hops, kept.pong.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gnutella::Ggep;

    fn pong(n: u8) -> Pong {
        let addr = std::net::SocketAddrV4::new([198, 18, n, 1].into(), 6346);
        Pong { addr, files: 0, kbytes: 0, ggep: Ggep::new() }
    }

    #[test]
    fn ten_of_every_distance_and_none_of_the_askers() {
        let (mut pongs, mut rng) = (Pongs::default(), Rng::seeded(1));
        for n in 0..60u8 {
            pongs.keep(Instant::ZERO, LinkId(u64::from(n % 4)), n / 15 + 1, pong(n));
        }
        let got = pongs.choose(Instant::ZERO, LinkId(0), false, &mut rng);
        assert_eq!(got.len(), PONGS_MAX);
        assert!(got.iter().all(|(_, pong)| pong.addr.ip().octets()[2] % 4 != 0));
        for hops in 1..=4 {
            assert!(got.iter().filter(|(had, _)| *had == hops).count() >= 2, "{hops}");
        }
        let later = Instant::ZERO + LIFE;
        assert_eq!(pongs.choose(later, LinkId(0), true, &mut rng).len(), PONGS_MAX);
        assert_eq!(pongs.choose(later, LinkId(0), false, &mut rng).len(), 0);
    }

    #[test]
    fn a_flood_from_one_link_leaves_the_others() {
        let (mut pongs, mut rng) = (Pongs::default(), Rng::seeded(1));
        pongs.keep(Instant::ZERO, LinkId(1), 1, pong(0));
        for n in 1..=255 {
            pongs.keep(Instant::ZERO, LinkId(2), 1, pong(n));
        }
        assert_eq!(pongs.choose(Instant::ZERO, LinkId(2), false, &mut rng), [(1, pong(0))]);
        assert_eq!(pongs.0.len(), 1 + KEPT_OF_ONE_MAX);
    }
}
