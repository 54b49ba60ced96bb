//! Which addresses can be those of nodes, and who may name them: [`Scope`] decides whose word counts.

use crate::compact::hides_v4;
use crate::scope::Scope;
use std::net::{IpAddr, SocketAddr};

/// Whether this can be the address of a node: one host, in the family that it seems to be of.
pub fn plausible(addr: &SocketAddr) -> bool {
    let disguised = matches!(addr.ip(), IpAddr::V6(v6) if hides_v4(v6));
    addr.port() != 0 && !disguised && Scope::of(addr.ip()).is_some()
}

/// Whether `addr` may be believed to be a host when `from` says so.
pub fn may_name(from: IpAddr, addr: SocketAddr) -> bool {
    plausible(&addr) && Scope::may_tell(from, addr.ip())
}

/// The network that one customer usually has the whole of: /24 of IPv4, /64 of IPv6.
///
/// `None` where many hosts of one network are what is expected: on this machine and in a private network.
pub fn subnet(ip: IpAddr) -> Option<u64> {
    if Scope::of(ip) != Some(Scope::Global) {
        return None;
    }
    Some(prefix(ip))
}

/// The same of any address.
pub(super) fn prefix(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_of_addresses() {
        #[track_caller]
        fn check(ip: &str, want: Option<Scope>) {
            assert_eq!(Scope::of(ip.parse().unwrap()), want, "{ip}");
        }
        for ip in ["8.8.8.8", "198.18.7.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            check(ip, Some(Scope::Global));
        }
        for ip in ["10.0.0.1", "172.31.0.1", "192.168.9.9", "100.64.0.1", "fd00::1", "fec0::1"] {
            check(ip, Some(Scope::Private));
        }
        check("169.254.1.1", Some(Scope::Link));
        check("fe80::1", Some(Scope::Link));
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            check(ip, Some(Scope::Loopback));
        }
        for ip in
            ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1"]
        {
            check(ip, None);
        }
    }

    #[test]
    fn nobody_names_what_reaches_less_far_than_himself() {
        let order = ["127.0.0.1", "169.254.1.1", "10.0.0.1", "8.8.8.8"];
        for (i, from) in order.iter().enumerate() {
            for (j, to) in order.iter().enumerate() {
                let to = SocketAddr::new(to.parse().unwrap(), 1);
                assert_eq!(may_name(from.parse().unwrap(), to), i <= j, "{from} names {to}");
            }
        }
        let [any, host] = ["0.0.0.0", "8.8.8.8"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert!(!may_name(any, SocketAddr::new(host, 1)));
        assert!(!may_name(host, SocketAddr::new(any, 1)));
        assert!(!may_name(host, SocketAddr::new(host, 0)));
        for disguised in ["::ffff:8.8.8.8", "::8.8.8.8"] {
            assert!(!may_name(host, SocketAddr::new(disguised.parse().unwrap(), 1)), "{disguised}");
        }
    }

    #[test]
    fn subnets_are_of_public_addresses_only() {
        let of = |ip: &str| subnet(ip.parse().unwrap());
        assert_eq!(of("198.18.7.1"), of("198.18.7.200"));
        assert_ne!(of("198.18.7.1"), of("198.18.8.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!((of("10.0.0.1"), of("127.0.0.1"), of("fd00::1")), (None, None, None));
    }
}
