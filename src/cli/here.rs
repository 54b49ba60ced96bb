//! Under which address other machines reach this one.
//!
//! It asks the routing table and sends nothing. Behind NAT the answer is the address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};

/// The address that packets to elsewhere would carry, IPv4 first; loopback on a machine without a
/// network.
pub(super) fn address() -> IpAddr {
    // Documentation ranges: they have a route wherever there is a default route, and nobody lives there.
    let v4 = || toward(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = || {
        toward(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    };
    v4().or_else(v6).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

fn toward(from: IpAddr, to: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect((to, 9)).ok()?; // fixes the route of a datagram socket; nothing is sent
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// The listening address as others would write it: a wildcard becomes [`address`].
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = if listen.ip().is_unspecified() { address() } else { listen.ip() };
    SocketAddr::new(ip, listen.port())
}

/// What a node of FastTrack that listens there says of its address, if that is not where it listens.
pub(super) fn external(listen: SocketAddrV4) -> Option<Ipv4Addr> {
    match reachable(listen.into()).ip() {
        IpAddr::V4(ip) if listen.ip().is_unspecified() => Some(ip),
        _ => None,
    }
}

/// Whether machines other than this one can reach it.
pub(super) fn is_public(listen: SocketAddr) -> bool {
    !listen.ip().is_loopback()
}

/// Whether it listens to others, but does not know under which address they could reach it: without
/// a default route the routing table does not say.
pub(super) fn is_stuck(listen: SocketAddr) -> bool {
    is_public(listen) && !is_public(reachable(listen))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_wildcard_becomes_an_address_and_others_stay() {
        let reachable = |text: &str| super::reachable(text.parse().unwrap());
        assert!(!reachable("[::]:5").ip().is_unspecified());
        assert_eq!(reachable("0.0.0.0:5").port(), 5);
        assert_eq!(reachable("127.0.0.1:7"), "127.0.0.1:7".parse().unwrap());
    }
}
