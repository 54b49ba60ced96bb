//! Supernodes that a node has heard of, for now and for its next start.

use crate::clock::Instant;
use crate::proto::fasttrack::NodeRow;
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::time::Duration;

/// Supernodes that are remembered; beyond them the one that was seen longest ago is forgotten.
const CACHE_MAX: usize = 1000;
/// Class of a supernode in a line of the file.
const SUPERNODE: u8 = 1;
/// A supernode that failed as often is forgotten, if others are known.
const FAILED_MAX: u8 = 3;
/// The wait doubles at most as often.
const DOUBLED_MAX: u32 = 10;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Known {
    /// Percent that is taken, as far as told.
    load: u8,
    /// Seconds since 1970.
    seen: u64,
    failed: u8,
    /// In which round of drawing it was last drawn.
    round: u32,
}

/// Addresses of supernodes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cache {
    known: BTreeMap<SocketAddrV4, Known>,
    /// Seconds since 1970 at the origin of [`Instant`].
    epoch: u64,
    round: u32,
    /// Waits in a row.
    waits: u32,
}

impl Cache {
    /// Empty; `epoch` is what the clock of the world, in seconds since 1970, says at the origin of [`Instant`].
    pub fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Reads the lines of a file: host, port, class, load, seconds since 1970. Those that are not understood, and those
    /// of ordinary nodes, are skipped.
    pub fn parse(epoch: u64, text: &str) -> Self {
        let mut cache = Self::new(epoch);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let mut next = || words.next();
            let (Some(Ok(ip)), Some(Ok(port))) =
                (next().map(str::parse), next().map(str::parse::<u16>))
            else {
                continue;
            };
            let class = next().and_then(|class| class.parse().ok()).unwrap_or(SUPERNODE);
            let load = next().and_then(|load| load.parse().ok()).unwrap_or(0);
            let seen = next().and_then(|seen| seen.parse().ok()).unwrap_or(0);
            if class >= SUPERNODE && port != 0 {
                cache.insert(SocketAddrV4::new(ip, port), load, seen);
            }
        }
        cache
    }

    /// The lines, those that were seen last first.
    pub fn to_text(&self) -> String {
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_by_key(|(addr, known)| (std::cmp::Reverse(known.seen), known.load, **addr));
        let mut text = String::new();
        for (addr, Known { load, seen, .. }) in known {
            let _ = writeln!(text, "{} {} {SUPERNODE} {load} {seen}", addr.ip(), addr.port());
        }
        text
    }

    /// Somebody names a supernode to begin with.
    pub fn add(&mut self, addr: SocketAddrV4) {
        self.insert(addr, 0, 0);
    }

    /// All that are known.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.known.keys().copied()
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// A supernode tells of another one.
    pub(super) fn heard(&mut self, now: Instant, row: NodeRow) {
        if row.addr.port() != 0 {
            let seen = self.unix(now).saturating_sub(60 * u64::from(row.seen_min));
            self.insert(row.addr, 100 - row.load.min(100), seen);
        }
    }

    /// A supernode is there.
    pub(super) fn seen(&mut self, now: Instant, addr: SocketAddrV4) {
        let seen = self.unix(now);
        if let Some(known) = self.known.get_mut(&addr) {
            (known.seen, known.failed) = (seen, 0);
            self.waits = 0;
        }
    }

    /// A supernode did not answer, or is gone.
    pub(super) fn failed(&mut self, addr: SocketAddrV4) {
        let Some(known) = self.known.get_mut(&addr) else { return };
        known.failed = known.failed.saturating_add(1);
        if known.failed >= FAILED_MAX && self.known.len() > 2 * usize::from(FAILED_MAX) {
            self.known.remove(&addr);
        }
    }

    /// Some to ping, by chance: first those that were not drawn in this round, and of them those that did not fail.
    pub(super) fn draw(
        &mut self,
        count: usize,
        but: Option<SocketAddrV4>,
        rng: &mut Rng,
    ) -> Vec<SocketAddrV4> {
        let mut all: Vec<SocketAddrV4> =
            self.known.keys().copied().filter(|addr| Some(*addr) != but).collect();
        rng.shuffle(&mut all);
        all.sort_by_key(|addr| self.known.get(addr).map(|known| (known.round, known.failed)));
        all.truncate(count);
        self.round += 1;
        for addr in &all {
            if let Some(known) = self.known.get_mut(addr) {
                known.round = self.round;
            }
        }
        all
    }

    /// How long to wait before the next are tried: longer each time in a row.
    pub(super) fn wait(&mut self, min: Duration, max: Duration) -> Duration {
        self.waits = (self.waits + 1).min(DOUBLED_MAX);
        (min * 2_u32.pow(self.waits - 1)).min(max)
    }

    fn unix(&self, now: Instant) -> u64 {
        self.epoch + now.as_micros() / 1_000_000
    }

    fn insert(&mut self, addr: SocketAddrV4, load: u8, seen: u64) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.seen = known.seen.max(seen);
            known.load = load;
            return;
        }
        if self.known.len() >= CACHE_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.seen);
            if let Some(oldest) = oldest.map(|(addr, _)| *addr) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(addr, Known { load, seen, failed: 0, round: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_file() {
        let text = "9.9.9.2 1214 1 40 1000000\n9.9.9.1 1215 1 0 900000\n";
        let more = "9.9.9.7 1 0 5 5\nrubbish\n9.9.9.8 x 1 1 1\n9.9.9.8 0 1 1 1\n\n";
        let cache = Cache::parse(0, &format!("{more}{text}"));
        assert_eq!(cache.to_text(), text);
        assert_eq!(cache, Cache::parse(0, text));
    }

    #[test]
    fn who_was_not_tried_yet_comes_first() {
        let mut cache = Cache::new(0);
        let addr = |n: u8| SocketAddrV4::new([9, 9, 9, n].into(), 1214);
        (1..=10).for_each(|n| cache.add(addr(n)));
        let mut rng = Rng::seeded(1);
        let mut drawn = cache.draw(5, None, &mut rng);
        drawn.extend(cache.draw(5, None, &mut rng));
        drawn.sort();
        assert_eq!(drawn, (1..=10).map(addr).collect::<Vec<_>>());
        (0..3).for_each(|_| cache.failed(addr(3)));
        assert_eq!(cache.len(), 9);
        assert!(!cache.draw(20, Some(addr(4)), &mut rng).contains(&addr(4)));
        let s = Duration::from_secs;
        let waits: Vec<Duration> = (0..9).map(|_| cache.wait(s(2), s(300))).collect();
        assert_eq!(waits[..3], [s(2), s(4), s(8)]);
        assert_eq!(waits[8], s(300));
        cache.seen(Instant::ZERO, addr(1));
        assert_eq!(cache.wait(s(2), s(300)), s(2));
    }

    /// Row 45: a list without end.
    #[test]
    fn attack_45_supernodes_without_end() {
        let mut cache = Cache::new(1_000_000);
        for n in 0..5_000u32 {
            let addr = SocketAddrV4::new((0x0900_0000 + n).into(), 1214);
            cache.heard(Instant::ZERO, NodeRow { addr, seen_min: (n % 250) as u8, load: 255 });
        }
        assert_eq!(cache.len(), CACHE_MAX);
    }
}
