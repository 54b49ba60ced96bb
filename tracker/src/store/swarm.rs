//! The peers of one torrent in one address family.
//!
//! One flat array, leeches before seeds, so that both counts and a choice among leeches only cost nothing. The key
//! of a peer is its packed address: whoever announces from there last is who it is.

use super::ledger::Source;
use gaggle_core::id::PeerId;
use gaggle_core::proto::announce::{Announce, Event};
use gaggle_core::rng::Rng;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;

/// Up to here a swarm has no index: looking through the array is as fast and takes no memory.
pub(super) const SMALL: usize = 16;
/// Peers looked at to find one that has been silent for long; the true oldest would cost O(n).
const EVICTION_SAMPLE: usize = 16;

/// Who announces.
pub(super) struct Asker {
    pub(super) addr: SocketAddr,
    pub(super) id: PeerId,
    pub(super) now_s: u32,
}

/// Whom to hand out.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) want: usize,
    /// A seed has no use for another seed.
    pub(super) leeches_only: bool,
    /// Peers not heard since are left out.
    pub(super) oldest_s: u32,
}

/// Whether a peer was in the swarm already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    No,
    Yes,
    /// It was a leech and says, for the first time, that it has completed.
    JustCompleted,
}

/// `N` is 6 for IPv4 and 18 for IPv6: the length of a packed address.
#[derive(Default)]
pub(super) struct Swarm<const N: usize> {
    peers: Vec<Peer<N>>,
    /// `peers[..leeches]` lack something, the rest is seeds.
    leeches: usize,
    index: Option<Box<Index<N>>>,
}

#[derive(Clone, Copy)]
struct Peer<const N: usize> {
    key: [u8; N],
    id: PeerId,
    heard_s: u32,
    completion_counted: bool,
}

#[derive(Default)]
struct Index<const N: usize> {
    places: HashMap<[u8; N], u32>,
    by_source: HashMap<Source, u32>,
}

impl<const N: usize> Swarm<N> {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn leeches(&self) -> usize {
        self.leeches
    }

    pub(super) fn seeds(&self) -> usize {
        self.peers.len() - self.leeches
    }

    /// Peers that came from `source`.
    pub(super) fn count_from(&self, source: Source) -> usize {
        match &self.index {
            Some(index) => index.by_source.get(&source).map_or(0, |&n| n as usize),
            None => self.peers.iter().filter(|peer| source_of(&peer.key) == source).count(),
        }
    }

    /// Adds a peer that is not there yet.
    pub(super) fn insert(&mut self, asker: &Asker, is_seed: bool) {
        let Some(key) = key_of::<N>(asker.addr) else { return };
        let place = self.peers.len();
        let (id, heard_s) = (asker.id, asker.now_s);
        self.peers.push(Peer { key, id, heard_s, completion_counted: false });
        match &mut self.index {
            Some(index) => index.add(key, place),
            None if self.peers.len() > SMALL => self.build_index(),
            None => {}
        }
        if !is_seed {
            self.swap(place, self.leeches);
            self.leeches += 1;
        }
    }

    /// Brings a peer up to date if it is there.
    pub(super) fn refresh(&mut self, asker: &Asker, ask: &Announce) -> Known {
        let Some(place) = key_of(asker.addr).and_then(|key| self.find(&key)) else {
            return Known::No;
        };
        let was_leech = place < self.leeches;
        let peer = &mut self.peers[place];
        peer.heard_s = asker.now_s;
        if peer.id != asker.id {
            // Another client at the same address, or the same one restarted.
            peer.id = asker.id;
            peer.completion_counted = false;
        }
        let completes = ask.event == Event::Completed && was_leech && !peer.completion_counted;
        peer.completion_counted |= completes;
        match (was_leech, ask.left == 0) {
            (true, true) => {
                self.leeches -= 1;
                self.swap(place, self.leeches);
            }
            (false, false) => {
                self.swap(place, self.leeches);
                self.leeches += 1;
            }
            _ => {}
        }
        if completes { Known::JustCompleted } else { Known::Yes }
    }

    /// Removes a peer and says whose it was.
    pub(super) fn remove(&mut self, addr: SocketAddr) -> Option<Source> {
        let place = self.find(&key_of(addr)?)?;
        Some(self.remove_at(place))
    }

    /// Removes one that has been silent for long: the most silent of a few drawn at random.
    pub(super) fn evict_silent(&mut self, rng: &mut Rng) -> Option<Source> {
        let drawn = (0..EVICTION_SAMPLE).map(|_| rng.index(self.peers.len()));
        let oldest = drawn.min_by_key(|&place| self.peers.get(place).map(|peer| peer.heard_s))?;
        (oldest < self.peers.len()).then(|| self.remove_at(oldest))
    }

    /// Removes whoever was last heard before `oldest_s`.
    pub(super) fn expire(&mut self, oldest_s: u32, mut gone: impl FnMut(Source)) {
        // Backwards: removal moves only later peers, which have been looked at, into the gap.
        for place in (0..self.peers.len()).rev() {
            if self.peers[place].heard_s < oldest_s {
                gone(self.remove_at(place));
            }
        }
        if self.peers.len() <= SMALL / 2 {
            self.index = None;
            self.peers.shrink_to(SMALL);
        }
    }

    /// Adds up to `want` peers to `out`, each with the same chance, never the asker.
    ///
    /// The array is cut into `want` runs and one peer is drawn from each, after a random turn: as many draws as
    /// peers, whatever the size of the swarm.
    pub(super) fn choose(
        &self,
        rng: &mut Rng,
        asker: &Asker,
        choice: Choice,
        out: &mut Vec<(SocketAddr, PeerId)>,
    ) {
        let end = if choice.leeches_only { self.leeches } else { self.peers.len() };
        let own = key_of(asker.addr).and_then(|key| self.find(&key)).filter(|&own| own < end);
        let others = end - usize::from(own.is_some());
        let count = choice.want.min(others);
        if count == 0 {
            return;
        }
        let turn = rng.index(others);
        for run in 0..count {
            let Range { start, end } = run * others / count..(run + 1) * others / count;
            let mut place = (start + rng.index(end - start) + turn) % others;
            if own.is_some_and(|own| place >= own) {
                place += 1;
            }
            let peer = &self.peers[place];
            let addr = addr_of(&peer.key);
            // 127.0.0.1 is somebody else to whoever is not on this machine.
            let unreachable = addr.ip().is_loopback() && !asker.addr.ip().is_loopback();
            if peer.heard_s >= choice.oldest_s && !unreachable {
                out.push((addr, peer.id));
            }
        }
    }

    fn find(&self, key: &[u8; N]) -> Option<usize> {
        match &self.index {
            Some(index) => index.places.get(key).map(|&place| place as usize),
            None => self.peers.iter().position(|peer| peer.key == *key),
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        self.peers.swap(a, b);
        if let Some(index) = &mut self.index {
            for place in [a, b] {
                index.places.insert(self.peers[place].key, place as u32);
            }
        }
    }

    fn remove_at(&mut self, mut place: usize) -> Source {
        if place < self.leeches {
            self.leeches -= 1;
            self.swap(place, self.leeches);
            place = self.leeches;
        }
        self.swap(place, self.peers.len() - 1);
        let peer = self.peers.pop().expect("a place was given, so there is a peer");
        if let Some(index) = &mut self.index {
            index.take(&peer.key);
        }
        source_of(&peer.key)
    }

    fn build_index(&mut self) {
        let mut index = Box::<Index<N>>::default();
        for (place, peer) in self.peers.iter().enumerate() {
            index.add(peer.key, place);
        }
        self.index = Some(index);
    }
}

impl<const N: usize> Index<N> {
    fn add(&mut self, key: [u8; N], place: usize) {
        self.places.insert(key, place as u32);
        *self.by_source.entry(source_of(&key)).or_default() += 1;
    }

    fn take(&mut self, key: &[u8; N]) {
        self.places.remove(key);
        let source = source_of(key);
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

/// `None` if the address is of the other family.
fn key_of<const N: usize>(addr: SocketAddr) -> Option<[u8; N]> {
    let mut key = [0; N];
    let (ip, port) = key.split_at_mut(N.checked_sub(2)?);
    match addr {
        SocketAddr::V4(v4) if ip.len() == 4 => ip.copy_from_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) if ip.len() == 16 => ip.copy_from_slice(&v6.ip().octets()),
        _ => return None,
    }
    port.copy_from_slice(&addr.port().to_be_bytes());
    Some(key)
}

fn addr_of<const N: usize>(key: &[u8; N]) -> SocketAddr {
    let (ip, port) = key.split_at(N - 2);
    let port = u16::from_be_bytes([port[0], port[1]]);
    match <[u8; 4]>::try_from(ip) {
        Ok(v4) => (v4, port).into(),
        Err(_) => (<[u8; 16]>::try_from(ip).expect("N is 6 or 18"), port).into(),
    }
}

fn source_of<const N: usize>(key: &[u8; N]) -> Source {
    Source::of(addr_of(key).ip())
}
