//! A world of DHT nodes by the ten thousand: the production [`Node`] on datagrams that take time and get lost.
//!
//! Decides when a datagram arrives, whether it does, and who is dead. Messages pass typed, but each is charged, and
//! judged by the limits of its receiver, with the length that it has when it is written. Never tells a node anything
//! that the network would not, except for [`Overlay::acquaint`], which gives every node the table it would have
//! after hours.

use crate::clock::Instant;
use crate::id::NodeId;
use crate::overlay::kademlia::{Config, Event, Families, Node, Snapshot, WIDTH, id_for, places};
use crate::proto::krpc::{Contact, Message};
use crate::rng::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// What lies between two hosts.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// One way between two median hosts.
    pub delay: Duration,
    /// How much hosts differ: the standard deviation of the logarithm of a host's half of a delay.
    pub spread: f64,
    /// How far one delay strays from what the two hosts usually have, up or down: a share of it.
    pub jitter: f64,
    /// Share of datagrams that vanish.
    pub loss: f64,
}

impl Default for Wire {
    /// What the claims are measured on: 50 ms one way between median hosts, and two thirds of all within a factor of
    /// 1.4 of it. A tenth of jitter, so that nothing comes in step.
    fn default() -> Self {
        Self { delay: Duration::from_millis(50), spread: 0.4, jitter: 0.1, loss: 0.0 }
    }
}

/// Bytes of the IP and UDP headers.
const HEADERS: u64 = 28;
/// Every host has a /24 of its own from here on, so that the rules for subnets stay on.
const FIRST_IP: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 0);
/// And a /48, for the same reason.
const FIRST_SITE: u16 = 0x2a00;
const PORT: u16 = 6881;

struct Host {
    families: Families,
    /// Among the nodes of IPv4, and among those of IPv6.
    ids: [NodeId; 2],
    node: Option<Box<Node>>,
    /// Half of a delay.
    access_us: u64,
    wake_at: Instant,
    bytes: u64,
    datagrams: u64,
}

impl Host {
    fn is_in(&self, v6: bool) -> bool {
        if v6 { self.families.v6 } else { self.families.v4 }
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Happening {
    Deliver(u32),
    Wake(u32),
}

struct Parcel {
    from: SocketAddr,
    to: u32,
    len: usize,
    message: Message,
}

/// A network of nodes on virtual time. One seed is one trace.
pub struct Overlay {
    now: Instant,
    wire: Wire,
    first_ip: Ipv4Addr,
    rng: Rng,
    hosts: Vec<Host>,
    agenda: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    scheduled: u64,
    parcels: Vec<Option<Parcel>>,
    free: Vec<u32>,
    events: Vec<(Instant, usize, Event)>,
    scratch: Vec<u8>,
}

impl Overlay {
    /// An empty network.
    pub fn new(seed: u64, wire: Wire) -> Self {
        Self {
            now: Instant::ZERO,
            wire,
            first_ip: FIRST_IP,
            rng: Rng::seeded(seed),
            hosts: Vec::new(),
            agenda: BinaryHeap::new(),
            scheduled: 0,
            parcels: Vec::new(),
            free: Vec::new(),
            events: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Begins with other addresses: each host gets a /24 of its own from `first` on. Before anybody is there.
    #[must_use]
    pub fn with_addresses_from(self, first: Ipv4Addr) -> Self {
        assert!(self.hosts.is_empty(), "a host keeps its address");
        Self { first_ip: first, ..self }
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The die of the world, for choices of a test.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Adds a node that starts now; its number counts from 0.
    pub fn spawn(&mut self, config: Config) -> usize {
        let rng = self.rng.fork();
        let ids = self.new_ids(config.families);
        self.start(rng, ids, config)
    }

    /// The same with these ids, which need not fit its addresses. The world goes by them also when the node has taken others.
    pub fn spawn_as(&mut self, ids: [NodeId; 2], config: Config) -> usize {
        let rng = self.rng.fork();
        self.start(rng, ids, config)
    }

    fn start(&mut self, rng: Rng, ids: [NodeId; 2], config: Config) -> usize {
        let families = config.families;
        let snapshot = Snapshot {
            id_v4: families.v4.then_some(ids[0]),
            id_v6: families.v6.then_some(ids[1]),
            nodes: Vec::new(),
        };
        let node = Node::new(self.now, config, &snapshot, rng);
        let host = self.add(families, ids, Some(Box::new(node)));
        self.settle(host);
        host
    }

    /// Adds a host, of IPv4, that others may remember, but that answers nothing.
    pub fn spawn_dead(&mut self) -> usize {
        let families = Families { v4: true, v6: false };
        let ids = self.new_ids(families);
        self.add(families, ids, None)
    }

    /// Switches a host off, without a word.
    pub fn kill(&mut self, host: usize) {
        self.hosts[host].node = None;
    }

    /// Hands out the node of a host, which is switched off by that: for a driver with sockets, in a world that is
    /// the twin of another one.
    pub fn take(&mut self, host: usize) -> Option<Box<Node>> {
        self.hosts[host].node.take()
    }

    /// Whether a host runs.
    pub fn is_up(&self, host: usize) -> bool {
        self.hosts[host].node.is_some()
    }

    /// Hosts that were ever there.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// The hosts that run.
    pub fn up(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&host| self.is_up(host)).collect()
    }

    /// Who and where a host is: in the network of IPv4 if it takes part in that.
    pub fn contact(&self, host: usize) -> Contact {
        self.contact_in(host, !self.hosts[host].families.v4)
    }

    /// The same in the network of IPv4, or in that of IPv6.
    pub fn contact_in(&self, host: usize, v6: bool) -> Contact {
        Contact { id: self.hosts[host].ids[usize::from(v6)], addr: self.addr_of(host, v6) }
    }

    /// Looks at a node that runs.
    pub fn node(&self, host: usize) -> Option<&Node> {
        self.hosts[host].node.as_deref()
    }

    /// Gives a node a command now, if it runs.
    pub fn act<T>(
        &mut self,
        host: usize,
        command: impl FnOnce(&mut Node, Instant) -> T,
    ) -> Option<T> {
        let now = self.now;
        let answer = command(self.hosts[host].node.as_mut()?, now);
        self.settle(host);
        Some(answer)
    }

    /// What nodes have reported since the last call.
    pub fn take_events(&mut self) -> Vec<(Instant, usize, Event)> {
        std::mem::take(&mut self.events)
    }

    /// Bytes, with headers, and datagrams that a host has sent.
    pub fn sent(&self, host: usize) -> (u64, u64) {
        (self.hosts[host].bytes, self.hosts[host].datagrams)
    }

    /// How long a datagram between two hosts takes, but for jitter.
    pub fn delay(&self, a: usize, b: usize) -> Duration {
        Duration::from_micros(self.hosts[a].access_us + self.hosts[b].access_us)
    }

    /// The running node of IPv4, or of IPv6, that is truly closest to an id.
    pub fn closest(&self, target: &NodeId, v6: bool) -> Option<NodeId> {
        let up = self.hosts.iter().filter(|host| host.node.is_some() && host.is_in(v6));
        up.map(|host| host.ids[usize::from(v6)]).min_by_key(|id| id.distance(target))
    }

    /// Gives every node a full table, drawn from all hosts there are: dead ones included, in proportion.
    pub fn acquaint(&mut self) {
        [false, true].into_iter().for_each(|v6| self.acquaint_in(v6));
    }

    fn acquaint_in(&mut self, v6: bool) {
        let there = self.hosts.iter().enumerate().filter(|(_, host)| host.is_in(v6));
        let mut ids: Vec<(NodeId, usize)> =
            there.map(|(at, host)| (host.ids[usize::from(v6)], at)).collect();
        ids.sort_unstable();
        for host in 0..self.hosts.len() {
            if !self.is_up(host) || !self.hosts[host].is_in(v6) {
                continue;
            }
            let own = self.hosts[host].ids[usize::from(v6)];
            let mut known = Vec::new();
            let (mut low, mut high) = (0, ids.len());
            for depth in 0..160 {
                if high - low <= 1 {
                    break;
                }
                let bit = |id: &NodeId| id.0[depth / 8] >> (7 - depth % 8) & 1;
                let middle = low + ids[low..high].partition_point(|(id, _)| bit(id) == 0);
                let (near, far) = if bit(&own) == 0 {
                    (low..middle, middle..high)
                } else {
                    (middle..high, low..middle)
                };
                // As many as the bucket of that depth holds.
                let room = places(WIDTH, depth);
                known.extend(self.draw(far, room).into_iter().map(|at| ids[at].1));
                (low, high) = (near.start, near.end);
            }
            self.rng.shuffle(&mut known);
            for other in known {
                let rtt = 2 * self.delay(host, other);
                let (now, contact) = (self.now, self.contact_in(other, v6));
                if let Some(node) = &mut self.hosts[host].node {
                    node.vouch(now, contact, rtt);
                }
            }
        }
    }

    /// Runs for some time.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, ..))) = self.agenda.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, what))) = self.agenda.pop() else { break };
            self.now = at;
            match what {
                Happening::Deliver(parcel) => self.deliver(parcel),
                Happening::Wake(host) => {
                    let host = host as usize;
                    if self.hosts[host].wake_at == at {
                        self.hosts[host].wake_at = Instant::FAR_FUTURE;
                        if let Some(node) = &mut self.hosts[host].node {
                            node.handle_timeout(at);
                            self.settle(host);
                        }
                    }
                }
            }
        }
        self.now = end;
    }

    /// Those that fit the addresses of the next host.
    fn new_ids(&mut self, families: Families) -> [NodeId; 2] {
        let host = self.hosts.len();
        [(false, families.v4), (true, families.v6)].map(|(v6, wanted)| match wanted {
            true => id_for(self.addr_of(host, v6).ip(), &mut self.rng),
            false => NodeId([0; 20]),
        })
    }

    fn add(&mut self, families: Families, ids: [NodeId; 2], node: Option<Box<Node>>) -> usize {
        // Twelve dice make a bell.
        let bell: f64 = (0..12).map(|_| self.rng.unit()).sum::<f64>() - 6.0;
        let half = self.wire.delay.as_micros() as f64 / 2.0;
        let access_us = (half * (self.wire.spread * bell).exp()) as u64;
        self.hosts.push(Host {
            families,
            ids,
            node,
            access_us,
            wake_at: Instant::FAR_FUTURE,
            bytes: 0,
            datagrams: 0,
        });
        self.hosts.len() - 1
    }

    fn draw(&mut self, from: std::ops::Range<usize>, count: usize) -> Vec<usize> {
        if from.len() <= count {
            return from.collect();
        }
        let mut drawn = std::collections::BTreeSet::new();
        while drawn.len() < count {
            drawn.insert(from.start + self.rng.index(from.len()));
        }
        drawn.into_iter().collect()
    }

    fn schedule(&mut self, at: Instant, what: Happening) {
        self.agenda.push(Reverse((at, self.scheduled, what)));
        self.scheduled += 1;
    }

    fn deliver(&mut self, parcel: u32) {
        let Some(sent) = self.parcels[parcel as usize].take() else { return };
        self.free.push(parcel);
        let host = sent.to as usize;
        let now = self.now;
        if let Some(node) = &mut self.hosts[host].node {
            node.handle_message(now, sent.from, sent.message, sent.len);
            self.settle(host);
        }
    }

    /// Carries out what a node wants after it was given something.
    fn settle(&mut self, host: usize) {
        loop {
            let Some(node) = &mut self.hosts[host].node else { return };
            let Some((to, message)) = node.poll_message() else { break };
            self.post(host, to, message);
        }
        let Some(node) = &mut self.hosts[host].node else { return };
        while let Some(event) = node.poll_event() {
            self.events.push((self.now, host, event));
        }
        let wake = node.poll_timeout().unwrap_or(Instant::FAR_FUTURE).max(self.now);
        if wake != self.hosts[host].wake_at {
            self.hosts[host].wake_at = wake;
            if wake < Instant::FAR_FUTURE {
                self.schedule(wake, Happening::Wake(host as u32));
            }
        }
    }

    fn post(&mut self, from: usize, to: SocketAddr, message: Message) {
        message.encode_into(&mut self.scratch);
        let len = self.scratch.len();
        self.hosts[from].bytes += len as u64 + HEADERS;
        self.hosts[from].datagrams += 1;
        let Some(host) = self.host_at(to) else { return };
        if self.hosts[host].node.is_none() || self.rng.unit() < self.wire.loss {
            return;
        }
        let from_addr = self.addr_of(from, to.is_ipv6());
        let parcel = Parcel { from: from_addr, to: host as u32, len, message };
        let at = self.free.pop().unwrap_or_else(|| {
            self.parcels.push(None);
            self.parcels.len() as u32 - 1
        });
        self.parcels[at as usize] = Some(parcel);
        let jitter = 1.0 - self.wire.jitter + 2.0 * self.wire.jitter * self.rng.unit();
        let delay = (self.delay(from, host).as_micros() as f64 * jitter) as u64;
        self.schedule(self.now + Duration::from_micros(delay), Happening::Deliver(at));
    }

    /// The last byte differs from host to host, because the ids that fit an address depend on it.
    fn addr_of(&self, host: usize, v6: bool) -> SocketAddr {
        if v6 {
            let [high, low] = [(host >> 16) as u16, host as u16];
            let ip = Ipv6Addr::new(FIRST_SITE, high, low, 0, 0, 0, 0, 1);
            return SocketAddr::new(ip.into(), PORT);
        }
        let last = host as u32 * 167 % 254 + 1;
        let ip = Ipv4Addr::from(u32::from(self.first_ip) + ((host as u32) << 8) + last);
        SocketAddr::new(IpAddr::V4(ip), PORT)
    }

    fn host_at(&self, addr: SocketAddr) -> Option<usize> {
        let host = match addr.ip() {
            IpAddr::V4(ip) => (u32::from(ip).checked_sub(self.first_ip.into())? >> 8) as usize,
            IpAddr::V6(ip) => {
                let [_, high, low, ..] = ip.segments();
                usize::from(high) << 16 | usize::from(low)
            }
        };
        let there = self.hosts.get(host).is_some_and(|host| host.is_in(addr.is_ipv6()));
        (there && self.addr_of(host, addr.is_ipv6()) == addr).then_some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_hosts() {
        let mut world =
            Overlay::new(1, Wire::default()).with_addresses_from([198, 18, 0, 0].into());
        for host in 0..300 {
            assert_eq!(world.spawn_dead(), host);
            assert_eq!(world.host_at(world.contact(host).addr), Some(host));
        }
        assert_eq!(world.contact(299).addr, "198.19.43.150:6881".parse().unwrap());
        let strangers = ["198.18.0.2:6881", "198.18.0.1:6882", "198.19.44.63:6881", "9.9.9.9:6881"];
        for stranger in strangers {
            assert_eq!(world.host_at(stranger.parse().unwrap()), None, "{stranger}");
        }
        let families = Families { v4: false, v6: true };
        let host = world.spawn(Config { families, ..Config::default() });
        let addr = world.contact(host).addr;
        assert_eq!(
            (addr, world.host_at(addr)),
            ("[2a00:0:12c::1]:6881".parse().unwrap(), Some(300))
        );
        for stranger in ["[2a00:0:12c::2]:6881", "[2a00:0:1::1]:6881", "198.19.44.63:6881"] {
            assert_eq!(world.host_at(stranger.parse().unwrap()), None, "{stranger}");
        }
    }

    #[test]
    fn a_node_that_was_taken_is_the_twin_of_the_one_that_stays() {
        let world = || {
            let mut world = Overlay::new(3, Wire::default());
            let hosts: Vec<usize> = (0..20).map(|_| world.spawn(Config::default())).collect();
            world.acquaint();
            (world, hosts)
        };
        let ((mut one, hosts), (other, _)) = (world(), world());
        for host in hosts {
            let taken = one.take(host).unwrap();
            assert_eq!(taken.snapshot(), other.node(host).unwrap().snapshot());
            assert!(!one.is_up(host) && one.contact(host) == other.contact(host));
            assert_eq!(one.delay(0, host), other.delay(host, 0));
        }
    }

    #[test]
    fn one_seed_is_one_trace() {
        let run = |seed| {
            let mut world = Overlay::new(seed, Wire { loss: 0.05, ..Wire::default() });
            let first = world.spawn(Config::default());
            let config = Config { bootstrap: vec![world.contact(first).addr], ..Config::default() };
            for _ in 0..30 {
                world.spawn(config.clone());
            }
            world.run(Duration::from_secs(60));
            let sent: Vec<_> = (0..31).map(|host| world.sent(host)).collect();
            (sent, world.take_events())
        };
        assert!(run(1) == run(1) && run(1).0 != run(2).0);
    }
}
