//! How far an address is good for: this machine, one wire, a private net, everywhere.
//!
//! Decides whose word about an address counts; says nothing about whether the address is worth dialling.

use std::net::{IpAddr, Ipv6Addr};

/// How far an address is good for, narrowest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
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
    /// The scope of an address; IPv4 mapped into IPv6 counts as IPv4.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            IpAddr::V4(ip) if ip.is_private() || is_carrier_nat(ip.octets()) => Self::Private,
            IpAddr::V6(ip) if ip.is_loopback() => Self::Loopback,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V6(ip) if ip.is_unique_local() || is_site_local(ip) => Self::Private,
            _ => Self::Global,
        }
    }

    /// Whether somebody at `from` may tell us about `ip`: only who is as near can know an address that is good near
    /// by. Otherwise a stranger on the internet could make us knock at doors of our own net.
    pub fn may_tell(from: IpAddr, ip: IpAddr) -> bool {
        Self::of(ip) >= Self::of(from)
    }
}

/// 100.64.0.0/10, between a carrier and its customers.
//= RFC 6598
const fn is_carrier_nat(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

/// fec0::/10, the private nets of old.
const fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
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
            assert_eq!(Scope::of(ip(text)), want, "{text}");
        }
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
