//! Addresses packed as trackers, PEX and the DHT send them: 6 bytes for IPv4, 18 for IPv6.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a packed IPv4 address and port.
pub const V4_LEN: usize = 6;
/// Bytes of a packed IPv6 address and port.
pub const V6_LEN: usize = 18;

/// Appends the packed form: 6 or 18 bytes by family.
//= BEP 23
//= BEP 7
pub fn push(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr {
        SocketAddr::V4(v4) => out.extend_from_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) => out.extend_from_slice(&v6.ip().octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Reads packed IPv4 addresses; a trailing partial one and port 0 are skipped.
pub fn read_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(V4_LEN).filter_map(|raw| {
        let ip: [u8; 4] = raw[..4].try_into().ok()?;
        peer(Ipv4Addr::from(ip).into(), &raw[4..])
    })
}

/// Reads packed IPv6 addresses; a trailing partial one and port 0 are skipped.
pub fn read_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(V6_LEN).filter_map(|raw| {
        let ip: [u8; 16] = raw[..16].try_into().ok()?;
        peer(Ipv6Addr::from(ip).into(), &raw[16..])
    })
}

/// Whether an IPv6 address is one of IPv4 in disguise: mapped (`::ffff:a.b.c.d`) or compatible (`::a.b.c.d`).
///
/// No packet of IPv6 ever comes from one, and what is sent to one goes to a host of IPv4 that has nothing to do with it.
/// `::1` and `::` are what they are.
pub fn hides_v4(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, ..])
        && !ip.is_loopback()
        && !ip.is_unspecified()
}

fn peer(ip: std::net::IpAddr, port: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(port.try_into().ok()?);
    (port != 0).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_round_trip_and_port_zero_is_dropped() {
        let v4: SocketAddr = "1.2.3.4:5".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        push(&mut a, v4);
        push(&mut a, "9.9.9.9:0".parse().unwrap());
        a.push(1);
        push(&mut b, v6);
        assert_eq!(read_v4(&a).collect::<Vec<_>>(), [v4]);
        assert_eq!(read_v6(&b).collect::<Vec<_>>(), [v6]);
    }

    #[test]
    fn addresses_of_ipv4_in_disguise() {
        for (ip, want) in [
            ("::ffff:8.8.8.8", true),
            ("::8.8.8.8", true),
            ("::1", false),
            ("::", false),
            ("::1:0:0", false),
            ("2002:808:808::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(hides_v4(ip.parse().unwrap()), want, "{ip}");
        }
    }
}
