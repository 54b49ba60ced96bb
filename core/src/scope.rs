//! How far an address is good for: this machine, one wire, a private net, everywhere.
//!
//! Decides whose word about an address counts: somebody on this machine may name anything, somebody in a private net
//! not this machine, and a stranger only what is good for everybody. So networks of one's own and tests work, and
//! nobody can aim us at our own services. Says nothing about whether the address is worth dialling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One form per address, so that one host has one name: IPv4 mapped into IPv6 is IPv4. The wire that a link-local address
/// holds on stays with it.
pub fn canonical(mut addr: SocketAddr) -> SocketAddr {
    addr.set_ip(addr.ip().to_canonical());
    addr
}

/// The smallest network that one party is given: an address of IPv4, a /64 of IPv6, all of which one host can have.
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// How far an address is good for, narrowest first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// On one machine.
    Loopback,
    /// On one wire.
    Link,
    /// In a private net.
    Private,
    /// Everywhere, as far as the address tells.
    Global,
}

impl Scope {
    /// The scope of an address that one host can have; `None` for all others (unspecified, multicast, reserved). IPv4
    /// mapped into IPv6 counts as IPv4.
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    /// Whether an address is that of one host on this machine or in a network of one's own, and not good for everybody.
    pub fn is_near(ip: IpAddr) -> bool {
        Self::of(ip).is_some_and(|scope| scope < Self::Global)
    }

    /// Whether somebody at `from` may tell us about `ip`: only who is as near can know an address that is good near
    /// by.
    pub fn may_tell(from: IpAddr, ip: IpAddr) -> bool {
        let (from, to) = (Self::of(from), Self::of(ip));
        from.is_some() && to.is_some() && from <= to
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        match ip.octets() {
            [0 | 224..=255, ..] => None,
            [127, ..] => Some(Self::Loopback),
            [169, 254, ..] => Some(Self::Link),
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some(Self::Private),
            [100, 64..=127, ..] => Some(Self::Private), // between a carrier and its customers, RFC 6598
            _ => Some(Self::Global),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Self> {
        match ip.segments()[0] {
            _ if ip.is_unspecified() => None,
            _ if ip.is_loopback() => Some(Self::Loopback),
            0xff00..=0xffff => None,
            0xfe80..=0xfebf => Some(Self::Link),
            0xfc00..=0xfdff | 0xfec0..=0xfeff => Some(Self::Private), // the latter those of old
            _ => Some(Self::Global),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_and_their_scopes() {
        for (text, want) in [
            ("127.8.9.1", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("::ffff:127.0.0.1", Scope::Loopback),
            ("169.254.1.1", Scope::Link),
            ("fe80::1", Scope::Link),
            ("10.0.0.1", Scope::Private),
            ("172.31.0.1", Scope::Private),
            ("192.168.1.1", Scope::Private),
            ("100.127.0.1", Scope::Private),
            ("fd00::1", Scope::Private),
            ("fec0::1", Scope::Private),
            ("100.128.0.1", Scope::Global),
            ("198.18.0.1", Scope::Global),
            ("2001:db8::1", Scope::Global),
        ] {
            assert_eq!(Scope::of(ip(text)), Some(want), "{text}");
            assert_eq!(Scope::is_near(ip(text)), want != Scope::Global, "{text}");
        }
        for text in
            ["0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "ff02::1"]
        {
            assert_eq!(Scope::of(ip(text)), None, "{text}");
            assert!(!Scope::is_near(ip(text)), "{text}");
        }
    }

    #[test]
    fn one_ipv6_host_counts_as_one_whatever_address_it_takes() {
        let network = |text: &str| network_of(ip(text));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::7"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
    }

    #[test]
    fn an_address_has_one_form_and_keeps_its_wire() {
        let mapped: SocketAddr = "[::ffff:9.9.9.9]:5".parse().unwrap();
        assert_eq!(canonical(mapped), "9.9.9.9:5".parse().unwrap());
        let near: SocketAddr = "[fe80::1%3]:5".parse().unwrap();
        assert_eq!(canonical(near), near);
        assert_ne!(near, "[fe80::1%4]:5".parse().unwrap());
    }

    #[test]
    fn only_who_is_as_near_may_tell_of_what_is_near() {
        let nets = ["127.0.0.1", "169.254.1.1", "10.0.0.1", "9.9.9.9"].map(ip);
        for (nth, &from) in nets.iter().enumerate() {
            for (other, &about) in nets.iter().enumerate() {
                assert_eq!(Scope::may_tell(from, about), other >= nth, "{from} about {about}");
            }
        }
    }
}
