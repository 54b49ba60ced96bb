//! Local service discovery: the sockets and the clock for a `gaggle_core::swarm::nearby::Nearby`.
//!
//! Decides which interfaces are spoken on and which senders are neighbours. Never speaks beyond the wire (hop limit
//! 1), never on an interface that peers cannot reach us on, and never sends for a torrent whose asker has left.
//= BEP 14

use super::{Ask, AskId, Found, LocateError, Locator, Network};
use crate::net::Clock;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::lsd::{Announcement, GROUP_V4, GROUP_V6, MESSAGE_MAX};
use gaggle_core::rng::Rng;
use gaggle_core::scope::{Scope, canonical};
use gaggle_core::swarm::nearby::Nearby;
use if_addrs::{IfAddr, Interface};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Asks that may wait to be taken up; more fail at once.
const ASKS_MAX: usize = 64;
/// Interfaces that are spoken on and listened on; a machine with more (bridges of containers) uses the first ones.
const INTERFACES_MAX: usize = 16;
/// How far a datagram goes: to the neighbours.
const HOPS: u32 = 1;
/// Pause after the system could not receive.
const RECEIVE_PAUSE: Duration = Duration::from_millis(200);

/// Discovery on the wires of this machine, for all torrents of an engine. Dropping it ends it.
#[derive(Debug)]
pub struct Lsd {
    asks: mpsc::Sender<Asked>,
}

#[derive(Debug)]
struct Asked {
    id: AskId,
    info_hash: InfoHash,
    port: NonZeroU16,
    found: mpsc::Sender<Found>,
}

struct Task {
    clock: Clock,
    nearby: Nearby,
    /// Where peers can reach us.
    listen: IpAddr,
    asks: mpsc::Receiver<Asked>,
    asked: BTreeMap<InfoHash, (AskId, mpsc::Sender<Found>)>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    nets: Vec<Net>,
}

/// An address of ours and the net it lies in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Net {
    ip: IpAddr,
    prefix: u8,
    interface: u32,
}

impl Lsd {
    /// Listens on the wires by which peers can reach `listen`. An error if none of the groups can be listened to.
    /// Must be called inside a tokio runtime.
    pub fn start(listen: IpAddr, clock: Clock, rng: Rng) -> Result<Self, LocateError> {
        let of = |group: SocketAddr, wanted: bool| match wanted {
            true => receiver(group).map(Some),
            false => Ok(None),
        };
        let v4 = of(GROUP_V4, listen.is_ipv4() || listen.is_unspecified());
        let v6 = of(GROUP_V6, listen.is_ipv6());
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_) | Ok(None)) | (Ok(None), Err(error)) => {
                return Err(LocateError::Socket(error.kind()));
            }
            (v4, v6) => (v4.unwrap_or_default(), v6.unwrap_or_default()), // one of them is enough
        };
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let task = Task {
            clock,
            nearby: Nearby::new(rng),
            listen,
            asks: asked,
            asked: BTreeMap::new(),
            v4,
            v6,
            nets: Vec::new(),
        };
        tokio::spawn(task.run());
        Ok(Self { asks })
    }
}

impl Locator for Lsd {
    fn network(&self) -> Network {
        Network::Lsd
    }

    /// Speaks of the torrent until the receiver is dropped.
    fn submit(&self, id: AskId, ask: Ask, found: mpsc::Sender<Found>) {
        let Ask::Peers(announce) = ask;
        let outcome = match NonZeroU16::new(announce.port) {
            None => Err(LocateError::Socket(io::ErrorKind::AddrNotAvailable)),
            Some(port) => {
                let asked = Asked { id, info_hash: announce.info_hash, port, found: found.clone() };
                self.asks
                    .try_send(asked)
                    .map_err(|_| LocateError::Socket(io::ErrorKind::WouldBlock))
            }
        };
        if let Err(error) = outcome {
            let _ = found.try_send(Found::Done { id, outcome: Err(error) });
        }
    }
}

impl Task {
    async fn run(mut self) {
        self.look_around();
        let (mut from_v4, mut from_v6) = ([0; MESSAGE_MAX + 1], [0; MESSAGE_MAX + 1]);
        loop {
            self.announce();
            let wake = self.nearby.poll_timeout();
            tokio::select! {
                asked = self.asks.recv() => match asked {
                    Some(asked) => self.begin(asked),
                    None => return,
                },
                (len, from) = receive(self.v4.as_ref(), &mut from_v4) => self.heard(from, &from_v4[..len]),
                (len, from) = receive(self.v6.as_ref(), &mut from_v6) => self.heard(from, &from_v6[..len]),
                () = self.clock.sleep_until(wake) => {}
            }
        }
    }

    fn begin(&mut self, Asked { id, info_hash, port, found }: Asked) {
        self.asked.insert(info_hash, (id, found));
        self.nearby.start(self.clock.now(), info_hash, port);
    }

    /// Says what is due, on every wire.
    fn announce(&mut self) {
        let now = self.clock.now();
        if self.nearby.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let nearby = &mut self.nearby;
        self.asked.retain(|&hash, (_, found)| {
            if found.is_closed() {
                nearby.stop(hash);
            }
            !found.is_closed()
        });
        self.look_around();
        while let Some(announcement) = self.nearby.poll_transmit(now) {
            for net in voices(&self.nets, self.listen) {
                if let Err(error) = say(net, &announcement) {
                    tracing::debug!(ip = %net.ip, %error, "cannot announce locally");
                }
            }
        }
    }

    fn heard(&mut self, from: SocketAddr, datagram: &[u8]) {
        let neighbour = self.nets.iter().any(|net| net.holds(canonical(from)));
        let now = self.clock.now();
        let found = self.nearby.handle_datagram(now, from, neighbour, datagram);
        let Some((peer, hashes)) = found else { return };
        for hash in hashes {
            if let Some(&(id, ref found)) = self.asked.get(&hash) {
                // Whoever does not take it in time hears the next one.
                let _ = found.try_send(Found::Peers { id, peers: vec![peer] });
            }
        }
    }

    /// Which nets we are in, now: interfaces come and go.
    fn look_around(&mut self) {
        let found = if_addrs::get_if_addrs().unwrap_or_default();
        self.nets = found.iter().filter_map(Net::of).collect();
        // Whoever has an address that holds elsewhere, too, is better called by that.
        self.nets.sort_by_key(Net::is_of_one_wire);
        let mut joined = Vec::new();
        for net in &self.nets {
            if joined.len() < INTERFACES_MAX && !joined.contains(&(net.interface, net.ip.is_ipv4()))
            {
                joined.push((net.interface, net.ip.is_ipv4()));
                let socket = if net.ip.is_ipv4() { &self.v4 } else { &self.v6 };
                if let Some(socket) = socket {
                    let _ = net.join(socket); // it may have joined before
                }
            }
        }
    }
}

impl Net {
    /// None for loopback, and for IPv4 addresses that hold on one wire only: which wire that is they do not say.
    fn of(interface: &Interface) -> Option<Self> {
        let prefix = match &interface.addr {
            IfAddr::V4(v4) => v4.prefixlen,
            IfAddr::V6(v6) => v6.prefixlen,
        };
        let ip = interface.ip();
        let net = Self { ip, prefix, interface: interface.index.unwrap_or_default() };
        let usable = match Scope::of(ip) {
            Some(Scope::Link) => net.is_of_one_wire() && net.interface != 0,
            scope => matches!(scope, Some(Scope::Private | Scope::Global)),
        };
        usable.then_some(net)
    }

    /// Whether its addresses say nothing without the interface.
    fn is_of_one_wire(&self) -> bool {
        self.ip.is_ipv6() && Scope::of(self.ip) == Some(Scope::Link)
    }

    /// Our address in it.
    fn addr(&self) -> SocketAddr {
        match self.ip {
            IpAddr::V6(ip) if self.is_of_one_wire() => {
                SocketAddrV6::new(ip, 0, 0, self.interface).into()
            }
            ip => SocketAddr::new(ip, 0),
        }
    }

    /// Whether an address lies in this net.
    fn holds(&self, addr: SocketAddr) -> bool {
        if let (true, SocketAddr::V6(v6)) = (self.is_of_one_wire(), addr)
            && v6.scope_id() != self.interface
        {
            return false;
        }
        let differs = match (self.ip, addr.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differs >= self.prefix.into()
    }

    fn join(&self, socket: &UdpSocket) -> io::Result<()> {
        match (self.ip, GROUP_V4.ip(), GROUP_V6.ip()) {
            (IpAddr::V4(ip), IpAddr::V4(group), _) => socket.join_multicast_v4(group, ip),
            (IpAddr::V6(_), _, IpAddr::V6(group)) => {
                socket.join_multicast_v6(&group, self.interface)
            }
            _ => Ok(()),
        }
    }
}

/// Where to speak from: the address that we listen on, or one of each interface and family.
fn voices(nets: &[Net], listen: IpAddr) -> Vec<Net> {
    let mut chosen: Vec<Net> = Vec::new();
    for net in nets {
        let wanted = match listen.is_unspecified() {
            true => listen.is_ipv6() || net.ip.is_ipv4(), // the IPv6 wildcard serves both families
            false => net.ip == listen,
        };
        let new = |other: &Net| {
            (other.interface, other.ip.is_ipv4()) != (net.interface, net.ip.is_ipv4())
        };
        if wanted && chosen.len() < INTERFACES_MAX && chosen.iter().all(new) {
            chosen.push(*net);
        }
    }
    chosen
}

fn say(net: Net, announcement: &Announcement) -> io::Result<()> {
    let group = if net.ip.is_ipv4() { GROUP_V4 } else { GROUP_V6 };
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    match net.ip {
        IpAddr::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(HOPS)?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(net.interface)?;
            socket.set_multicast_hops_v6(HOPS)?;
        }
    }
    // Our own address is what the neighbours will dial.
    socket.bind(&net.addr().into())?;
    socket.set_nonblocking(true)?;
    socket.send_to(&announcement.encode(group), &group.into()).map(drop)
}

/// Bound to the group itself, so that nothing else arrives; other programs of this machine do the same.
fn receiver(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&group.into())?;
    UdpSocket::from_std(socket.into())
}

/// The next datagram; never, without a socket.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        match socket.recv_from(buffer).await {
            Ok(received) => return received,
            Err(error) => {
                tracing::debug!(%error, "cannot hear the neighbours");
                tokio::time::sleep(RECEIVE_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(ip: &str, prefix: u8, interface: u32) -> Net {
        Net { ip: ip.parse().unwrap(), prefix, interface }
    }

    #[test]
    fn attack_41_a_neighbour_is_in_a_net_of_ours() {
        let check = |net: Net, ip: &str, want| {
            let addr: SocketAddr =
                format!("[{ip}]:1").parse().or_else(|_| format!("{ip}:1").parse()).unwrap();
            assert_eq!(net.holds(addr), want, "{ip}");
        };
        let lan = net("192.168.1.5", 24, 2);
        check(lan, "192.168.1.200", true);
        check(lan, "192.168.2.1", false);
        check(lan, "::ffff:192.168.1.1", false); // canonical by then
        check(net("10.0.0.1", 0, 2), "9.9.9.9", true);
        check(net("198.18.0.1", 32, 1), "198.18.0.1", true);
        check(net("198.18.0.1", 32, 1), "198.18.0.2", false);
        let v6 = net("2001:db8:1::5", 64, 2);
        check(v6, "2001:db8:1::ffff:1", true);
        check(v6, "2001:db8:2::1", false);
        let wire = net("fe80::5", 64, 2);
        check(wire, "fe80::1%2", true);
        check(wire, "fe80::1%3", false);
        check(wire, "fe80::1", false);
        check(wire, "2001:db8:1::1", false);
        assert_eq!(wire.addr(), "[fe80::5%2]:0".parse().unwrap());
    }

    #[test]
    fn one_voice_for_each_interface_and_family() {
        let nets = [
            net("10.0.0.1", 8, 2),
            net("10.0.0.2", 8, 2),
            net("2001:db8::1", 64, 2),
            net("192.168.1.1", 24, 3),
        ];
        let from = |listen: &str| -> Vec<String> {
            let voices = voices(&nets, listen.parse().unwrap());
            voices.iter().map(|net| net.ip.to_string()).collect()
        };
        assert_eq!(from("::"), ["10.0.0.1", "2001:db8::1", "192.168.1.1"]);
        assert_eq!(from("0.0.0.0"), ["10.0.0.1", "192.168.1.1"]);
        assert_eq!(from("10.0.0.2"), ["10.0.0.2"]);
        assert_eq!(from("9.9.9.9"), [""; 0]);
        let many: Vec<Net> = (0..100).map(|n| net("10.0.0.1", 8, n)).collect();
        assert_eq!(super::voices(&many, "0.0.0.0".parse().unwrap()).len(), INTERFACES_MAX);
    }
}
