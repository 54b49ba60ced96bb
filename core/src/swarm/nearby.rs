//! Local discovery of all torrents of a program: when to speak of which, and whom to believe.
//!
//! Decides the pace, and that only the sender's own address counts. Never opens a socket, and never speaks of a
//! torrent that it was not given: private ones are not given to it.
//= BEP 14

use crate::clock::Instant;
use crate::id::InfoHash;
use crate::proto::lsd::{Announcement, HASHES_MAX};
use crate::rng::Rng;
use crate::scope::{Scope, canonical};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

/// From one announcement of a torrent to the next.
//= BEP 14 §protocol (5 minutes)
pub const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Never sooner than this, also when a torrent is stopped and started.
//= BEP 14 §protocol (once a minute)
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// The first announcement waits up to this: torrents that start together share a datagram, and machines that do are
/// not all heard at once.
pub const START_JITTER: Duration = Duration::from_millis(250);
/// Later ones are by up to this late.
pub const JITTER: Duration = Duration::from_secs(15);
/// Datagrams that are read in a second. More are not looked at: who speaks so much says nothing.
pub const HEARD_PER_S: u32 = 10;
/// Torrents that are spoken of. More are not, and not listened for: each costs the wire 52 bytes in five minutes.
pub const TORRENTS_MAX: usize = 1024;

/// A torrent that is spoken of.
#[derive(Clone, Debug)]
struct Spoken {
    port: NonZeroU16,
    next: Instant,
    last: Option<Instant>,
    /// Stopped; remembered only for the pace.
    stopped: bool,
}

/// Local discovery without its sockets: commands and datagrams in, announcements out.
#[derive(Clone, Debug)]
pub struct Nearby {
    rng: Rng,
    cookie: String,
    torrents: BTreeMap<InfoHash, Spoken>,
    /// When the current second of listening began, and what was read in it.
    heard: (Instant, u32),
}

impl Nearby {
    /// Nothing to speak of yet.
    pub fn new(mut rng: Rng) -> Self {
        let cookie = format!("{:016x}", rng.next_u64());
        Self { rng, cookie, torrents: BTreeMap::new(), heard: (Instant::ZERO, 0) }
    }

    /// Begins to speak of a torrent, and to listen for it.
    pub fn start(&mut self, now: Instant, hash: InfoHash, port: NonZeroU16) {
        self.torrents.retain(|_, spoken| !spoken.is_forgotten(now));
        if self.torrents.len() >= TORRENTS_MAX && !self.torrents.contains_key(&hash) {
            return;
        }
        let soon = now + self.jitter(START_JITTER);
        let last = self.torrents.get(&hash).and_then(|spoken| spoken.last);
        let next = last.map_or(soon, |last| soon.max(last + INTERVAL_MIN));
        self.torrents.insert(hash, Spoken { port, next, last, stopped: false });
    }

    /// Speaks of it no more.
    pub fn stop(&mut self, hash: InfoHash) {
        if let Some(spoken) = self.torrents.get_mut(&hash) {
            spoken.stopped = true;
        }
    }

    /// The next thing to say to both groups; ask until there is nothing.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Announcement> {
        let mut due = self.torrents.iter_mut().filter(|(_, t)| !t.stopped && t.next <= now);
        let (&first, spoken) = due.next()?;
        let port = spoken.port;
        let same = due.filter(|(_, t)| t.port == port).map(|(&hash, _)| hash);
        let hashes: Vec<InfoHash> = std::iter::once(first).chain(same).take(HASHES_MAX).collect();
        for hash in &hashes {
            let late = self.jitter(JITTER);
            if let Some(spoken) = self.torrents.get_mut(hash) {
                (spoken.last, spoken.next) = (Some(now), now + INTERVAL + late);
            }
        }
        Some(Announcement { port, hashes, cookie: Some(self.cookie.clone()) })
    }

    /// When [`Self::poll_transmit`] will have something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.torrents.values().filter(|spoken| !spoken.stopped).map(|spoken| spoken.next).min()
    }

    /// A datagram came from `from`; `neighbour` says whether that is on a net of ours. Whoever of us it names has a
    /// peer there: the address that it came from, with the port that it names.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        neighbour: bool,
        datagram: &[u8],
    ) -> Option<(SocketAddr, Vec<InfoHash>)> {
        if now.since(self.heard.0) >= Duration::from_secs(1) {
            self.heard = (now, 0);
        }
        self.heard.1 = self.heard.1.saturating_add(1);
        let mut peer = canonical(from);
        let usable = match (Scope::of(peer.ip()), peer) {
            (Some(Scope::Private | Scope::Global), _) => true,
            // A link-local address is of use only with its wire.
            (Some(Scope::Link), SocketAddr::V6(v6)) => v6.scope_id() != 0,
            _ => false,
        };
        if self.heard.1 > HEARD_PER_S || !neighbour || !usable {
            return None;
        }
        let said = Announcement::parse(datagram).ok()?;
        if said.cookie.as_ref() == Some(&self.cookie) {
            return None; // we hear ourselves
        }
        let ours = |hash: &InfoHash| self.torrents.get(hash).is_some_and(|t| !t.stopped);
        let hashes: Vec<InfoHash> = said.hashes.into_iter().filter(ours).collect();
        peer.set_port(said.port.get());
        (!hashes.is_empty()).then_some((peer, hashes))
    }

    fn jitter(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.below(most))
    }
}

impl Spoken {
    /// Whether it is remembered no more.
    fn is_forgotten(&self, now: Instant) -> bool {
        self.stopped && self.last.is_none_or(|last| now.since(last) >= INTERVAL_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::lsd::GROUP_V4;

    const PORT: NonZeroU16 = NonZeroU16::new(6881).unwrap();

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn hash(tag: u8) -> InfoHash {
        InfoHash([tag; 20])
    }

    fn nearby() -> Nearby {
        Nearby::new(Rng::seeded(1))
    }

    fn said(hashes: &[InfoHash], port: u16, cookie: &str) -> Vec<u8> {
        let port = NonZeroU16::new(port).unwrap();
        let cookie = Some(cookie.to_owned());
        Announcement { port, hashes: hashes.to_vec(), cookie }.encode(GROUP_V4)
    }

    #[test]
    fn every_torrent_is_announced_at_once_and_every_five_minutes() {
        let mut nearby = nearby();
        nearby.start(at(0), hash(1), PORT);
        let mut times = Vec::new();
        while let Some(next) = nearby.poll_timeout().filter(|&next| next < at(1_000_000)) {
            assert!(
                next == at(0) || nearby.poll_transmit(next - Duration::from_micros(1)).is_none()
            );
            assert_eq!(nearby.poll_transmit(next).unwrap().hashes, [hash(1)]);
            assert_eq!(nearby.poll_transmit(next), None);
            times.push(next);
        }
        assert_eq!(times.len(), 4, "{times:?}");
        assert!(times[0] <= at(0) + START_JITTER);
        let gaps = times.windows(2).map(|pair| pair[1].since(pair[0]));
        assert!(gaps.into_iter().all(|gap| (INTERVAL..=INTERVAL + JITTER).contains(&gap)));
    }

    #[test]
    fn starting_again_and_again_is_heard_once_a_minute() {
        let mut nearby = nearby();
        let mut announced = 0;
        for second in 0..180 {
            nearby.start(at(second * 1000), hash(1), PORT);
            announced += usize::from(nearby.poll_transmit(at(second * 1000 + 500)).is_some());
            nearby.stop(hash(1));
            assert_eq!(nearby.poll_transmit(at(second * 1000 + 900)), None);
        }
        assert_eq!(announced, 3);
        assert_eq!(nearby.poll_timeout(), None);
    }

    #[test]
    fn many_torrents_share_datagrams() {
        let mut nearby = nearby();
        for tag in 0..45 {
            nearby.start(at(0), hash(tag), PORT);
        }
        let sizes: Vec<usize> = std::iter::from_fn(|| nearby.poll_transmit(at(1000)))
            .map(|announcement| announcement.hashes.len())
            .collect();
        assert_eq!(sizes, [HASHES_MAX, HASHES_MAX, 5]);
    }

    #[test]
    fn a_neighbour_is_found_at_its_own_address_and_the_port_it_names() {
        let mut nearby = nearby();
        nearby.start(at(0), hash(1), PORT);
        let from = "192.168.1.7:6771".parse().unwrap();
        let message = said(&[hash(1), hash(2)], 51_413, "other");
        let found = nearby.handle_datagram(at(0), from, true, &message);
        assert_eq!(found, Some(("192.168.1.7:51413".parse().unwrap(), vec![hash(1)])));
        let own = nearby.poll_transmit(at(1000)).unwrap().encode(GROUP_V4);
        assert_eq!(nearby.handle_datagram(at(1000), from, true, &own), None, "its own echo");
        nearby.stop(hash(1));
        assert_eq!(nearby.handle_datagram(at(2000), from, true, &message), None);
    }

    #[test]
    fn attack_41_only_neighbours_are_heard_and_not_more_than_ten_a_second() {
        let mut nearby = nearby();
        nearby.start(at(0), hash(1), PORT);
        let message = said(&[hash(1)], 80, "x");
        let hear = |nearby: &mut Nearby, from: &str, neighbour| {
            nearby.handle_datagram(at(0), from.parse().unwrap(), neighbour, &message).is_some()
        };
        assert!(!hear(&mut nearby, "9.9.9.9:6771", false), "from another net");
        assert!(!hear(&mut nearby, "127.0.0.1:6771", true), "in the name of this machine");
        assert!(!hear(&mut nearby, "[fe80::1]:6771", true), "which wire?");
        let near = "[fe80::1%2]:6771".parse().unwrap();
        let peer = nearby.handle_datagram(at(0), near, true, &message).map(|(peer, _)| peer);
        assert_eq!(peer, Some("[fe80::1%2]:80".parse().unwrap()));
        let foreign = said(&[hash(9)], 80, "x");
        let from = "10.0.0.2:6771".parse().unwrap();
        assert_eq!(nearby.handle_datagram(at(0), from, true, &foreign), None, "not our torrent");
        let mut heard = 0;
        for n in 0..10_000 {
            let found = nearby.handle_datagram(at(2000 + n / 5), from, true, &message);
            heard += u32::from(found.is_some());
        }
        assert!((2 * HEARD_PER_S..=3 * HEARD_PER_S).contains(&heard), "{heard} in two seconds");
    }

    #[test]
    fn attack_41_memory_is_bounded() {
        let mut nearby = nearby();
        for n in 0..10_000u32 {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            nearby.start(at(0), InfoHash(hash), PORT);
        }
        assert_eq!(nearby.torrents.len(), TORRENTS_MAX);
    }
}
