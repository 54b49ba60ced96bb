//! The plainest list of candidates: each is dialled once. Backoff, limits and blame follow.
#![allow(missing_docs)]
use crate::blame::Blame;
use crate::clock::Instant;
use crate::id::PeerId;
use crate::rng::Rng;
use std::net::SocketAddr;
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    Explicit,
    Tracker,
    Dht,
    Pex,
    Lsd,
    Incoming,
    Resume,
    Magnet,
}
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Incoming,
    Outgoing,
}
#[derive(Clone, Debug, Default)]
pub struct RosterConfig {
    pub connections_max: usize,
}
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sentence {
    Ban,
    Parole,
}
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("banned")]
    Banned,
}
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Admitted,
    Replaces(SocketAddr),
}
pub struct Outcome {
    pub useful: bool,
    pub fault: Option<Blame>,
}
pub struct Roster {
    banned: Vec<SocketAddr>,
    c: Vec<SocketAddr>,
}
impl Roster {
    pub fn new(_c: RosterConfig, _i: PeerId, _r: Rng) -> Self {
        Self { banned: vec![], c: vec![] }
    }
    pub fn add(&mut self, _n: Instant, _s: Source, a: SocketAddr) -> bool {
        self.c.push(a);
        true
    }
    pub fn poll_dial(&mut self, _n: Instant, _w: bool) -> Option<SocketAddr> {
        self.c.pop()
    }
    pub fn dial_failed(&mut self, _n: Instant, _a: SocketAddr) {}
    pub fn connected(
        &mut self,
        _n: Instant,
        _a: SocketAddr,
        _d: Direction,
        _p: PeerId,
    ) -> Result<Admission, Refusal> {
        Ok(Admission::Admitted)
    }
    pub fn disconnected(&mut self, _n: Instant, _a: SocketAddr, _o: Outcome) {}
    pub fn piece_passed(&mut self, _c: &[SocketAddr]) {}
    pub fn piece_failed(&mut self, _n: Instant, c: &[SocketAddr]) -> Vec<(SocketAddr, Sentence)> {
        if c.len() == 1 {
            vec![(c[0], Sentence::Ban)]
        } else {
            c.iter().map(|a| (*a, Sentence::Parole)).collect()
        }
    }
    pub fn ban(&mut self, _n: Instant, a: SocketAddr) {
        self.banned.push(a)
    }
    pub fn is_banned(&self, a: SocketAddr) -> bool {
        self.banned.contains(&a)
    }
    pub fn on_parole(&self, _a: SocketAddr) -> bool {
        false
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn candidates(&self) -> usize {
        0
    }
}
