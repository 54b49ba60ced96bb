//! Production servents and a wire between them that takes time. Bytes pass whole and in order; links are made where
//! the network says, whomever a servent would like to dial.

use super::tap::{Tap, kind, ttl};
use crate::agenda::Agenda;
use bytes::{Bytes, BytesMut};
use gaggle_core::clock::Instant;
use gaggle_core::overlay::gnutella::{Config, Event, Library, LinkId, Servent, Why};
use gaggle_core::proto::gnutella::{Guid, Kind, Query};
use gaggle_core::rng::Rng;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

enum What {
    Bytes { to: usize, link: LinkId, bytes: Bytes },
    Closed { of: usize, link: LinkId },
    Wake(usize),
}

struct Host {
    servent: Servent,
    /// Who is at the other end of a link, and its name there.
    far: BTreeMap<LinkId, (usize, LinkId)>,
    access_us: u64,
    wake_at: Instant,
}

/// One seed is one trace.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    hosts: Vec<Host>,
    agenda: Agenda<What>,
    pub(crate) tap: Tap,
    /// Nobody hears a Ping that is for more than the neighbour.
    pub(crate) pings_lost: bool,
    /// Why links ended.
    pub(crate) closed: Vec<Why>,
}

/// Every host has a /24 of its own.
pub(crate) fn addr(host: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x1400_0001 + ((host as u32) << 8)), 6346)
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            rng: Rng::seeded(seed),
            hosts: Vec::new(),
            agenda: Agenda::new(),
            tap: Tap::default(),
            pings_lost: false,
            closed: Vec::new(),
        }
    }

    /// Adds a servent 5 to 45 ms from the middle of the net.
    pub(crate) fn add(&mut self, config: Config, library: Library) {
        let servent = Servent::new(self.now, config, None, library, self.rng.fork());
        let access_us = 5_000 + self.rng.below(40_000);
        let far = BTreeMap::new();
        self.hosts.push(Host { servent, far, access_us, wake_at: Instant::FAR_FUTURE });
        self.settle(self.hosts.len() - 1);
    }

    /// One connects to another.
    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        let at = |host| SocketAddr::from(addr(host));
        let ours = self.hosts[from].servent.connect(self.now, at(to));
        let theirs = self.hosts[to].servent.accept(self.now, at(from));
        self.hosts[from].far.insert(ours, (to, theirs));
        self.hosts[to].far.insert(theirs, (from, ours));
        self.settle(from);
    }

    pub(crate) fn search(&mut self, host: usize, query: Query) -> Guid {
        let servent = &mut self.hosts[host].servent;
        let guid = servent.search(self.now, query).expect("searches are few");
        self.tap.watch(self.now, guid, host);
        self.settle(host);
        guid
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, what)) = self.agenda.next(end) {
            self.now = at;
            match what {
                What::Bytes { to, link, bytes } => {
                    let Some(&(from, _)) = self.hosts[to].far.get(&link) else { continue };
                    self.tap.arrived(from, to, &bytes);
                    let mut input = BytesMut::from(&bytes[..]);
                    self.hosts[to].servent.handle_bytes(at, link, &mut input);
                    assert!(input.is_empty(), "a message that is no message: {bytes:?}");
                    self.settle(to);
                }
                What::Closed { of, link } => {
                    self.hosts[of].far.remove(&link);
                    self.hosts[of].servent.handle_closed(link);
                    self.settle(of);
                }
                What::Wake(host) if self.hosts[host].wake_at == at => {
                    self.hosts[host].wake_at = Instant::FAR_FUTURE;
                    self.hosts[host].servent.handle_timeout(at);
                    self.settle(host);
                }
                What::Wake(_) => {}
            }
        }
        self.now = end;
    }

    fn delay(&self, a: usize, b: usize) -> Duration {
        Duration::from_micros(self.hosts[a].access_us + self.hosts[b].access_us)
    }

    /// Carries out what a servent wants after it was given something.
    fn settle(&mut self, host: usize) {
        while let Some(out) = self.hosts[host].servent.poll_transmit() {
            let this = &mut self.hosts[host];
            this.servent.handle_sent(out.link, out.bytes.len());
            let Some(&(to, link)) = this.far.get(&out.link) else { continue };
            let ping = kind(&out.bytes) == Some(Kind::PING) && ttl(&out.bytes) > 1;
            if ping && self.pings_lost {
                continue;
            }
            self.tap.sent(host, to, &out.bytes);
            let at = self.now + self.delay(host, to);
            self.agenda.put(at, What::Bytes { to, link, bytes: out.bytes });
        }
        while let Some(event) = self.hosts[host].servent.poll_event() {
            match event {
                Event::Closed { link, why } => {
                    self.closed.push(why);
                    if let Some((of, link)) = self.hosts[host].far.remove(&link) {
                        let at = self.now + self.delay(host, of);
                        self.agenda.put(at, What::Closed { of, link });
                    }
                }
                Event::Hit { search, hit, .. } => self.tap.found(self.now, search, hit.hits.len()),
                Event::ConnectBack(_)
                | Event::Dial(_)
                | Event::Joined { .. }
                | Event::Push { .. }
                | Event::Searched(_) => {}
            }
        }
        let this = &mut self.hosts[host];
        let wake = this.servent.poll_timeout().max(self.now);
        if wake != this.wake_at && wake < Instant::FAR_FUTURE {
            this.wake_at = wake;
            self.agenda.put(wake, What::Wake(host));
        }
    }
}
