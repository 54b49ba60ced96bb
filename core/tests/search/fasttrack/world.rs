//! Production nodes and supernodes on virtual time. Messages pass typed, in order, after the delay between two hosts;
//! a supernode that is switched off closes its connections, as its system would, and answers no datagram.

use crate::agenda::Agenda;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{
    Cache, Event, Limits, LinkKey, Node, NodeConfig, NodeOutput, Supernode, SupernodeConfig,
    SupernodeOutput,
};
use gaggle_core::proto::fasttrack::mesh::MeshMessage;
use gaggle_core::proto::fasttrack::{Datagram, Message};
use gaggle_core::rng::Rng;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Every host has a /24 of its own.
const NODES_FROM: u32 = 0x1400_0000;
const SUPERNODES_FROM: u32 = 0x3c00_0000;
const PORT: u16 = 1214;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Host {
    Node(u32),
    Supernode(u32),
}

enum What {
    Wake(Host),
    Datagram {
        from: Host,
        to: Host,
        datagram: Datagram,
    },
    /// A node reaches a supernode.
    Arrive {
        node: u32,
        to: u32,
        key: LinkKey,
    },
    Opened {
        node: u32,
        key: LinkKey,
    },
    Closed {
        node: u32,
        key: LinkKey,
    },
    /// A supernode learns that a link is gone.
    Gone {
        of: u32,
        key: LinkKey,
    },
    ToNode {
        node: u32,
        key: LinkKey,
        message: Message,
    },
    ToSupernode {
        to: u32,
        key: LinkKey,
        message: Message,
    },
    Meet {
        a: u32,
        b: u32,
    },
    Mesh {
        to: u32,
        key: LinkKey,
        message: MeshMessage,
    },
}

struct Attached {
    node: Box<Node>,
    /// The link it uses, and to whom.
    link: Option<(LinkKey, u32)>,
    access_us: u64,
    wake_at: Instant,
}

struct Hub {
    machine: Option<Box<Supernode>>,
    children: BTreeMap<LinkKey, u32>,
    /// The other end of a link to a supernode, with its key there.
    mates: BTreeMap<LinkKey, (u32, LinkKey)>,
    access_us: u64,
    wake_at: Instant,
}

pub(crate) struct World {
    now: Instant,
    rng: Rng,
    nodes: Vec<Attached>,
    hubs: Vec<Hub>,
    agenda: Agenda<What>,
    keys: u64,
    events: Vec<(Instant, usize, Event)>,
    /// Messages, of supernodes and of nodes.
    pub(crate) sent: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            rng: Rng::seeded(seed),
            nodes: Vec::new(),
            hubs: Vec::new(),
            agenda: Agenda::new(),
            keys: 0,
            events: Vec::new(),
            sent: 0,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Adds supernodes that know a few of each other.
    pub(crate) fn add_supernodes(&mut self, count: u32) {
        for n in 0..count {
            let known: Vec<SocketAddrV4> =
                (0..12).map(|_| supernode_addr(self.rng.below(count.into()) as u32)).collect();
            let config = SupernodeConfig { addr: supernode_addr(n), limits: Limits::default() };
            let machine = Supernode::new(self.now, config, &known, self.rng.fork());
            let access_us = self.access();
            let (children, mates) = (BTreeMap::new(), BTreeMap::new());
            let machine = Some(Box::new(machine));
            let wake_at = Instant::FAR_FUTURE;
            self.hubs.push(Hub { machine, children, mates, access_us, wake_at });
            self.settle(Host::Supernode(n));
        }
    }

    /// Adds a node that knows ten supernodes and shares what `shares` says.
    pub(crate) fn add_node(&mut self, shares: impl FnOnce(&mut Node)) -> usize {
        let n = self.nodes.len() as u32;
        let mut cache = Cache::new(1_000_000);
        for _ in 0..10 {
            cache.add(supernode_addr(self.rng.index(self.hubs.len()) as u32));
        }
        let config = NodeConfig { user: format!("u{n}"), addr: node_addr(n), bandwidth: 0x60 };
        let mut node = Box::new(Node::new(self.now, config, cache, self.rng.fork()));
        shares(&mut node);
        let access_us = self.access();
        let wake_at = Instant::FAR_FUTURE;
        self.nodes.push(Attached { node, link: None, access_us, wake_at });
        self.settle(Host::Node(n));
        n as usize
    }

    pub(crate) fn attached(&self) -> usize {
        self.nodes.iter().filter(|one| one.node.supernode().is_some()).count()
    }

    pub(crate) fn supernodes(&self) -> impl Iterator<Item = &Supernode> {
        self.hubs.iter().filter_map(|hub| hub.machine.as_deref())
    }

    pub(crate) fn act<T>(&mut self, node: usize, f: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let answer = f(&mut self.nodes[node].node, self.now);
        self.settle(Host::Node(node as u32));
        answer
    }

    pub(crate) fn take_events(&mut self) -> Vec<(Instant, usize, Event)> {
        std::mem::take(&mut self.events)
    }

    /// Switches a supernode off.
    pub(crate) fn kill(&mut self, n: usize) {
        let hub = &mut self.hubs[n];
        hub.machine = None;
        let (children, mates) = (std::mem::take(&mut hub.children), std::mem::take(&mut hub.mates));
        let me = Host::Supernode(n as u32);
        for (key, node) in children {
            self.after(self.delay(me, Host::Node(node)), What::Closed { node, key });
        }
        for (mate, key) in mates.into_values() {
            self.after(self.delay(me, Host::Supernode(mate)), What::Gone { of: mate, key });
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, what)) = self.agenda.next(end) {
            self.now = at;
            self.happen(what);
        }
        self.now = end;
    }

    /// 5 to 45 ms from a host to the middle of the net.
    fn access(&mut self) -> u64 {
        5_000 + self.rng.below(40_000)
    }

    fn access_of(&self, host: Host) -> u64 {
        match host {
            Host::Node(n) => self.nodes[n as usize].access_us,
            Host::Supernode(n) => self.hubs[n as usize].access_us,
        }
    }

    fn delay(&self, a: Host, b: Host) -> Duration {
        Duration::from_micros(self.access_of(a) + self.access_of(b))
    }

    fn after(&mut self, delay: Duration, what: What) {
        self.agenda.put(self.now + delay, what);
    }

    fn fresh_key(&mut self) -> LinkKey {
        self.keys += 1;
        LinkKey(self.keys)
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Wake(host) => self.wake(host),
            What::Datagram { from, to, datagram } => match to {
                Host::Node(n) => {
                    let Host::Supernode(from) = from else { return };
                    let node = &mut self.nodes[n as usize].node;
                    node.handle_datagram(now, supernode_addr(from), &datagram);
                    self.settle(to);
                }
                Host::Supernode(n) => {
                    let Host::Node(from) = from else { return };
                    if let Some(machine) = &mut self.hubs[n as usize].machine {
                        machine.handle_datagram(node_addr(from), &datagram);
                        self.settle(to);
                    }
                }
            },
            What::Arrive { node, to, key } => {
                let (a, b) = (Host::Node(node), Host::Supernode(to));
                let delay = self.delay(a, b);
                if self.nodes[node as usize].link != Some((key, to)) {
                    return;
                }
                let hub = &mut self.hubs[to as usize];
                let Some(machine) = &mut hub.machine else {
                    return self.after(delay, What::Closed { node, key });
                };
                hub.children.insert(key, node);
                machine.handle_child(now, key, node_addr(node));
                self.after(delay, What::Opened { node, key });
                self.settle(b);
            }
            What::Opened { node, key } => self.node_with(node, key, |node| node.handle_open(now)),
            What::Closed { node, key } => {
                let one = &mut self.nodes[node as usize];
                if one.link.is_some_and(|(have, _)| have == key) {
                    one.link = None;
                    one.node.handle_closed(now);
                    self.settle(Host::Node(node));
                }
            }
            What::Gone { of, key } => {
                let hub = &mut self.hubs[of as usize];
                hub.children.remove(&key);
                hub.mates.remove(&key);
                if let Some(machine) = &mut hub.machine {
                    machine.handle_closed(now, key);
                    self.settle(Host::Supernode(of));
                }
            }
            What::ToNode { node, key, message } => {
                self.node_with(node, key, |node| node.handle_message(now, message));
            }
            What::ToSupernode { to, key, message } => {
                if let Some(machine) = &mut self.hubs[to as usize].machine {
                    machine.handle_message(now, key, message);
                    self.settle(Host::Supernode(to));
                }
            }
            What::Meet { a, b } => self.meet(a, b),
            What::Mesh { to, key, message } => {
                if let Some(machine) = &mut self.hubs[to as usize].machine {
                    machine.handle_mesh(now, key, message);
                    self.settle(Host::Supernode(to));
                }
            }
        }
    }

    fn node_with(&mut self, node: u32, key: LinkKey, f: impl FnOnce(&mut Node)) {
        let one = &mut self.nodes[node as usize];
        if one.link.is_some_and(|(have, _)| have == key) {
            f(&mut one.node);
            self.settle(Host::Node(node));
        }
    }

    fn meet(&mut self, a: u32, b: u32) {
        let up = |world: &Self, n: u32| world.hubs[n as usize].machine.is_some();
        if !up(self, a) || !up(self, b) {
            return;
        }
        let (at_a, at_b) = (self.fresh_key(), self.fresh_key());
        self.hubs[a as usize].mates.insert(at_a, (b, at_b));
        self.hubs[b as usize].mates.insert(at_b, (a, at_a));
        for (n, key, other, dialled) in [(a, at_a, b, true), (b, at_b, a, false)] {
            if let Some(machine) = &mut self.hubs[n as usize].machine {
                machine.handle_mate(self.now, key, *supernode_addr(other).ip(), dialled);
            }
            self.settle(Host::Supernode(n));
        }
    }

    fn wake(&mut self, host: Host) {
        let now = self.now;
        match host {
            Host::Node(n) => {
                let one = &mut self.nodes[n as usize];
                if one.wake_at != now {
                    return;
                }
                one.wake_at = Instant::FAR_FUTURE;
                one.node.handle_timeout(now);
            }
            Host::Supernode(n) => {
                let hub = &mut self.hubs[n as usize];
                if hub.wake_at != now {
                    return;
                }
                hub.wake_at = Instant::FAR_FUTURE;
                if let Some(machine) = &mut hub.machine {
                    machine.handle_timeout(now);
                }
            }
        }
        self.settle(host);
    }

    /// Carries out what a machine wants after it was given something.
    fn settle(&mut self, host: Host) {
        let (wake, before) = match host {
            Host::Node(n) => {
                while let Some(output) = self.nodes[n as usize].node.poll_output() {
                    self.node_wants(n, output);
                }
                let one = &mut self.nodes[n as usize];
                while let Some(event) = one.node.poll_event() {
                    self.events.push((self.now, n as usize, event));
                }
                let wake = one.node.poll_timeout().max(self.now);
                (wake, std::mem::replace(&mut one.wake_at, wake))
            }
            Host::Supernode(n) => {
                while let Some(machine) = &mut self.hubs[n as usize].machine
                    && let Some(output) = machine.poll_output()
                {
                    self.supernode_wants(n, output);
                }
                let hub = &mut self.hubs[n as usize];
                let Some(machine) = &hub.machine else { return };
                let wake = machine.poll_timeout().max(self.now);
                (wake, std::mem::replace(&mut hub.wake_at, wake))
            }
        };
        if wake != before && wake < Instant::FAR_FUTURE {
            self.agenda.put(wake, What::Wake(host));
        }
    }

    fn node_wants(&mut self, n: u32, output: NodeOutput) {
        let from = Host::Node(n);
        match output {
            NodeOutput::Close => self.hang_up(n),
            NodeOutput::Connect(addr) => {
                self.hang_up(n);
                let Some(to) = self.supernode_at(addr) else { return };
                let key = self.fresh_key();
                self.nodes[n as usize].link = Some((key, to));
                // A connection, then the handshake.
                let trip = self.delay(from, Host::Supernode(to));
                self.after(3 * trip, What::Arrive { node: n, to, key });
            }
            NodeOutput::Datagram(addr, datagram) => {
                let Some(to) = self.supernode_at(addr).map(Host::Supernode) else { return };
                self.after(self.delay(from, to), What::Datagram { from, to, datagram });
            }
            NodeOutput::Say(message) => {
                let Some((key, to)) = self.nodes[n as usize].link else { return };
                self.sent += 1;
                let delay = self.delay(from, Host::Supernode(to));
                self.after(delay, What::ToSupernode { to, key, message });
            }
        }
    }

    fn hang_up(&mut self, n: u32) {
        if let Some((key, to)) = self.nodes[n as usize].link.take() {
            let delay = self.delay(Host::Node(n), Host::Supernode(to));
            self.after(delay, What::Gone { of: to, key });
        }
    }

    fn supernode_wants(&mut self, n: u32, output: SupernodeOutput) {
        let from = Host::Supernode(n);
        match output {
            SupernodeOutput::Close(key) => {
                let hub = &mut self.hubs[n as usize];
                if let Some(node) = hub.children.remove(&key) {
                    self.after(self.delay(from, Host::Node(node)), What::Closed { node, key });
                } else if let Some((mate, at)) = hub.mates.remove(&key) {
                    let delay = self.delay(from, Host::Supernode(mate));
                    self.after(delay, What::Gone { of: mate, key: at });
                }
            }
            SupernodeOutput::Datagram(addr, datagram) => {
                let node = (u32::from(*addr.ip()) - NODES_FROM) >> 8;
                let to = Host::Node(node);
                self.after(self.delay(from, to), What::Datagram { from, to, datagram });
            }
            SupernodeOutput::Dial(addr) => {
                let Some(to) = self.supernode_at(addr) else { return };
                let delay = 2 * self.delay(from, Host::Supernode(to));
                self.after(delay, What::Meet { a: n, b: to });
            }
            SupernodeOutput::Mesh(key, message) => {
                let Some(&(to, key)) = self.hubs[n as usize].mates.get(&key) else { return };
                self.sent += 1;
                let delay = self.delay(from, Host::Supernode(to));
                self.after(delay, What::Mesh { to, key, message });
            }
            SupernodeOutput::Node(key, message) => {
                let Some(&node) = self.hubs[n as usize].children.get(&key) else { return };
                self.sent += 1;
                self.after(self.delay(from, Host::Node(node)), What::ToNode { node, key, message });
            }
        }
    }

    fn supernode_at(&self, addr: SocketAddrV4) -> Option<u32> {
        let n = u32::from(*addr.ip()).checked_sub(SUPERNODES_FROM)? >> 8;
        ((n as usize) < self.hubs.len()).then_some(n)
    }
}

fn supernode_addr(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(SUPERNODES_FROM + (n << 8) + 1), PORT)
}

fn node_addr(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(NODES_FROM + (n << 8) + 1), PORT)
}
