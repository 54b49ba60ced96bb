//! Other supernodes: who is linked to this one, how well each has answered, and whom to link to next.

use super::{LinkKey, Supernode, SupernodeOutput};
use crate::clock::Instant;
use crate::overlay::fasttrack::reputation::Identity;
use crate::proto::fasttrack::mesh::MeshMessage;
use crate::scope::Scope;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Links to other supernodes that this one sees to.
const DEGREE_MIN: usize = 8;
/// Links that it lets others have, too; further ones are closed.
const DEGREE_MAX: usize = 16;
/// Of both, links that it has dialled itself, to whom it chose: whoever invents supernodes that call it does not cut it off.
const CHOSEN_MIN: usize = 4;
/// Links to one address, and supernodes there that are remembered.
const EACH_ADDRESS: usize = 2;
/// A supernode that was dialled is not dialled again for so long.
const DIAL_AGAIN: Duration = Duration::from_secs(60);
/// How long a supernode may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// Other supernodes that are remembered; beyond them the one that was heard of longest ago is forgotten.
pub(super) const KNOWN_MAX: usize = 1000;
/// What is not heard of for so long is no longer dialled.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Weight of the newest round trip and of the newest yield.
const NEWEST: f64 = 0.25;
/// Taken for the round trip of a mate that has not been asked yet, in seconds.
const TRIP_UNKNOWN_S: f64 = 0.2;

/// Another supernode.
#[derive(Debug)]
pub(super) struct Mate {
    /// Where it is seen.
    pub(super) from: Ipv4Addr,
    /// Where it listens; `None` until it has said so.
    pub(super) addr: Option<SocketAddrV4>,
    /// Whether it was chosen, and did not call.
    chosen: bool,
    since: Instant,
    /// Seconds until it has answered a query, and results it had, on average.
    trip_s: f64,
    results: f64,
}

impl Mate {
    /// An answer to a query.
    pub(super) fn answered(&mut self, trip: Duration, results: usize) {
        self.trip_s += NEWEST * (trip.as_secs_f64() - self.trip_s);
        self.results += NEWEST * (results as f64 - self.results);
    }

    /// Results for the time that one waits for them. One is added, so that who had none so far is asked again.
    pub(super) fn worth(&self) -> f64 {
        (1.0 + self.results) / self.trip_s.max(0.001)
    }
}

impl Supernode {
    /// A connection to another supernode, which is seen at `from`, stands; `dialled` if that was asked for. Both say who
    /// they are.
    pub fn handle_mate(&mut self, now: Instant, link: LinkKey, from: Ipv4Addr, dialled: bool) {
        let called = self.mates.len() - self.chosen();
        let full = !dialled && called >= DEGREE_MAX - CHOSEN_MIN;
        if full || self.mates.len() >= DEGREE_MAX || self.is_crowded(from) {
            self.tell(link, MeshMessage::Bye("full".to_owned()));
            self.outbox.push_back(SupernodeOutput::Close(link));
            return;
        }
        let (trip_s, results) = (TRIP_UNKNOWN_S, 0.0);
        let mate = Mate { from, addr: None, chosen: dialled, since: now, trip_s, results };
        self.mates.insert(link, mate);
        let (addr, key, load) = (self.config.addr, self.key, self.load());
        self.tell(link, MeshMessage::Hello { addr, key, load });
    }

    /// A supernode says something; nothing before its name counts.
    pub fn handle_mesh(&mut self, now: Instant, link: LinkKey, message: MeshMessage) {
        let Some(mate) = self.mates.get(&link) else { return };
        match message {
            MeshMessage::Hello { addr, key, .. } if mate.addr.is_none() => {
                let twice = self.mates.values().any(|mate| mate.addr == Some(addr));
                if twice || key == self.key || !is_own(mate.from, *addr.ip()) {
                    return self.drop_mate(now, link);
                }
                self.learn(now, addr);
                if let Some(mate) = self.mates.get_mut(&link) {
                    mate.addr = Some(addr);
                }
                let (children, files) = (self.children.len() as u16, self.index.len() as u32);
                self.tell(link, MeshMessage::Stats { children, files, load: self.load() });
            }
            MeshMessage::Bye(_) => self.drop_mate(now, link),
            _ if mate.addr.is_none() => {}
            MeshMessage::Query { guid, ttl, want, realm, terms } => {
                self.search_for_mate(now, link, guid, ttl, want, realm, terms);
            }
            MeshMessage::Hits { guid, supernode, hits } => {
                self.on_hits(now, link, guid, supernode, hits);
            }
            MeshMessage::End(guid) => self.on_end(now, link, guid),
            MeshMessage::Push { ttl, request } => self.push(Some(link), ttl - 1, request),
            MeshMessage::Receipt { ttl, by: (user, ip), receipt } => {
                self.on_receipt(now, Some(link), ttl - 1, &Identity { user, ip }, receipt);
            }
            MeshMessage::Score { ttl, score } => match score.score {
                None => self.on_score_question(now, link, ttl - 1, score),
                Some(_) => self.on_score_answer(now, link, score),
            },
            MeshMessage::Stats { .. } => {
                if let Some(addr) = mate.addr {
                    self.learn(now, addr);
                }
            }
            MeshMessage::Hello { .. } => {}
        }
    }

    /// Links to whom it chose.
    fn chosen(&self) -> usize {
        self.mates.values().filter(|mate| mate.chosen).count()
    }

    /// Whether there are links enough to this address; on this machine all have the same.
    fn is_crowded(&self, ip: Ipv4Addr) -> bool {
        let same = self.mates.values().filter(|mate| mate.from == ip).count();
        same >= EACH_ADDRESS && !self.config.limits.exempt(ip)
    }

    /// There is, or was, a supernode.
    pub fn learn(&mut self, now: Instant, addr: SocketAddrV4) {
        if addr == self.config.addr || addr.port() == 0 {
            return;
        }
        if !self.known.contains_key(&addr) {
            let ip = *addr.ip();
            let there = SocketAddrV4::new(ip, 0)..=SocketAddrV4::new(ip, u16::MAX);
            let there = self.known.range(there);
            let forgotten =
                if there.clone().count() >= EACH_ADDRESS && !self.config.limits.exempt(ip) {
                    oldest(there)
                } else if self.known.len() >= KNOWN_MAX {
                    oldest(self.known.iter())
                } else {
                    None
                };
            forgotten.map(|addr| self.known.remove(&addr));
        }
        self.known.entry(addr).or_insert((now, None)).0 = now;
    }

    /// Leaves: everybody is told, nobody is closed by that.
    pub fn leave(&mut self) {
        let links: Vec<LinkKey> = self.mates.keys().copied().collect();
        for link in links {
            self.tell(link, MeshMessage::Bye("leaving".to_owned()));
        }
    }

    fn drop_mate(&mut self, now: Instant, link: LinkKey) {
        self.outbox.push_back(SupernodeOutput::Close(link));
        self.handle_closed(now, link);
    }

    /// Sees that there are enough links, and tells those there are that this supernode lives.
    pub(super) fn look_after_mates(&mut self, now: Instant) {
        let mute = |mate: &Mate| mate.addr.is_none() && now.since(mate.since) >= HELLO_MAX;
        let mute: Vec<LinkKey> =
            self.mates.iter().filter(|(_, mate)| mute(mate)).map(|(link, _)| *link).collect();
        mute.into_iter().for_each(|link| self.drop_mate(now, link));

        let (children, files) = (self.children.len() as u16, self.index.len() as u32);
        let stats = MeshMessage::Stats { children, files, load: self.load() };
        let links: Vec<LinkKey> = self.mates.keys().copied().collect();
        links.into_iter().for_each(|link| self.tell(link, stats.clone()));

        let linked: Vec<SocketAddrV4> = self.mates.values().filter_map(|mate| mate.addr).collect();
        let mut free: Vec<SocketAddrV4> = self
            .known
            .iter()
            .filter(|(addr, (heard, dialled))| {
                !linked.contains(addr)
                    && !self.is_crowded(*addr.ip())
                    && now.since(*heard) < KNOWN_FOR
                    && dialled.is_none_or(|at| now.since(at) >= DIAL_AGAIN)
            })
            .map(|(addr, _)| *addr)
            .collect();
        self.rng.shuffle(&mut free);
        let missing = DEGREE_MIN.saturating_sub(self.mates.len());
        let missing = missing.max(CHOSEN_MIN.saturating_sub(self.chosen()));
        for addr in free.into_iter().take(missing) {
            if let Some((_, dialled)) = self.known.get_mut(&addr) {
                *dialled = Some(now);
            }
            self.outbox.push_back(SupernodeOutput::Dial(addr));
        }
    }
}

/// Of which nothing has been heard for the longest time.
fn oldest<'a>(
    known: impl Iterator<Item = (&'a SocketAddrV4, &'a (Instant, Option<Instant>))>,
) -> Option<SocketAddrV4> {
    known.min_by_key(|(_, (heard, _))| *heard).map(|(addr, _)| *addr)
}

/// Whether who is seen at `from` may say that he listens at `ip`: there, or further out, where his net is seen. Others
/// are told of it, and it is dialled again; nobody takes the place of another.
fn is_own(from: Ipv4Addr, ip: Ipv4Addr) -> bool {
    let scope = |ip| Scope::of(IpAddr::V4(ip));
    scope(ip).is_some() && (from == ip || scope(from) < scope(ip))
}
