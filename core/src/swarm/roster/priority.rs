//! Whom everybody in a swarm prefers alike: an order of all pairs of peers that nobody chose.
//!
//! Decides ties only: among candidates that are otherwise equal when there are more than places, and among
//! connections that are of no use when one must go. An attacker with many addresses in one net gets few places by
//! it, and the graph of connections comes out random.
//= BEP 40

use super::Roster;
use crate::clock::Instant;
use crate::external::{External, Sighting};
use crate::hash::crc32c;
use crate::scope::Scope;
use std::net::{IpAddr, SocketAddr};

/// How much two peers should be connected, higher first; the same at both ends. 0 between families.
//= BEP 40 §formula
pub fn canonical_priority(a: SocketAddr, b: SocketAddr) -> u32 {
    match (a.ip().to_canonical(), b.ip().to_canonical()) {
        (a_ip, b_ip) if a_ip == b_ip => {
            let ports = [a.port().min(b.port()), a.port().max(b.port())];
            crc32c(&ports.map(u16::to_be_bytes).concat())
        }
        (IpAddr::V4(a), IpAddr::V4(b)) => of_ips(a.octets(), b.octets(), 2),
        (IpAddr::V6(a), IpAddr::V6(b)) => of_ips(a.octets(), b.octets(), 6),
        _ => 0,
    }
}

/// `whole` bytes count in full, and one more for each that is common beyond; of the others every other bit. So
/// whoever owns a net has few different priorities in it.
fn of_ips<const N: usize>(a: [u8; N], b: [u8; N], whole: usize) -> u32 {
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = whole.max(common + 1);
    let masked = |ip: [u8; N]| -> [u8; N] {
        std::array::from_fn(|at| if at < whole { ip[at] } else { ip[at] & 0x55 })
    };
    let (low, high) = (masked(a.min(b)), masked(a.max(b)));
    crc32c(&[low, high].concat())
}

/// Our own address.
#[derive(Clone, Debug, Default)]
pub(super) struct Ourselves {
    /// What the peers of this torrent say.
    heard: External,
    /// What was found out elsewhere, IPv4 and IPv6: under which address the whole world sees us.
    told: [Option<IpAddr>; 2],
    port: u16,
}

impl Ourselves {
    /// Whom that address would connect to. In a private net we have another address than outside.
    fn toward(&self, there: IpAddr) -> Option<SocketAddr> {
        let far = Scope::of(there) == Some(Scope::Global);
        let told = self.told[usize::from(there.is_ipv6())].filter(|_| far);
        let ip = told.or_else(|| self.heard.address(there.is_ipv6()))?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// The priority of a connection between us and that address; 0 while nobody told us our own.
    fn priority(&self, there: SocketAddr) -> u32 {
        self.toward(there.ip()).map_or(0, |us| canonical_priority(us, there))
    }
}

impl Roster {
    /// A peer says where it sees us. Only a hint: it decides nothing but ties.
    //= BEP 10 §handshake message (yourip)
    pub fn seen_at(&mut self, now: Instant, sighting: Sighting, port: u16) {
        self.ourselves.heard.hear(now, sighting);
        self.ourselves.port = port;
    }

    /// Under which addresses everybody sees us, IPv4 and IPv6, as far as others than our peers have found out.
    pub fn set_external(&mut self, addresses: [Option<IpAddr>; 2], port: u16) {
        (self.ourselves.told, self.ourselves.port) = (addresses, port);
    }

    /// Whether this is where we listen, as far as anybody has told us.
    pub fn is_us(&self, addr: SocketAddr) -> bool {
        let addr = super::canonical(addr);
        self.own.contains(&addr) || self.ourselves.toward(addr.ip()) == Some(addr)
    }

    /// How much we and this address should be connected, higher first; 0 while our own is unknown.
    pub fn priority(&self, there: SocketAddr) -> u32 {
        self.ourselves.priority(super::canonical(there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(a: &str, b: &str) -> u32 {
        let both = [(a, b), (b, a)]
            .map(|(a, b)| canonical_priority(a.parse().unwrap(), b.parse().unwrap()));
        assert_eq!(both[0], both[1], "the same at both ends");
        both[0]
    }

    #[test]
    fn vectors_of_the_bep() {
        assert_eq!(priority("123.213.32.10:0", "98.76.54.32:0"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10:0", "123.213.32.234:0"), 0x9956_8189);
    }

    #[test]
    fn masks_follow_how_near_two_addresses_are() {
        let v4 = |a: &str, b: &str| priority(&format!("{a}:1"), &format!("{b}:2"));
        assert_eq!(v4("230.12.123.1", "230.12.123.3"), crc32c(b"\xe6\x0c\x7b\x01\xe6\x0c\x7b\x03"));
        assert_eq!(v4("230.12.23.1", "230.12.123.3"), crc32c(b"\xe6\x0c\x17\x01\xe6\x0c\x7b\x01"));
        assert_eq!(v4("230.120.23.1", "230.12.123.3"), crc32c(b"\xe6\x0c\x51\x01\xe6\x78\x15\x01"));
        assert_eq!(priority("230.12.123.3:1234", "230.12.123.3:300"), crc32c(b"\x01\x2c\x04\xd2"));
        let v6 = |a: &str, b: &str| priority(&format!("[{a}]:1"), &format!("[{b}]:2"));
        let low = |whole: &[u8]| [whole, &[0x55; 16][whole.len()..]].concat();
        let ffff = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let far = [low(b"\x20\x01\x0d\xb8\0\0"), low(&[0xff; 6])].concat();
        assert_eq!(v6("2001:db8:0:ffff:ffff:ffff:ffff:ffff", ffff), crc32c(&far));
        let same_48 = [low(b"\xff\xff\xff\xff\xff\xff\x01"), low(&[0xff; 7])].concat();
        assert_eq!(v6("ffff:ffff:ffff:1ff:ffff:ffff:ffff:ffff", ffff), crc32c(&same_48));
        let same_56 = [low(b"\xff\xff\xff\xff\xff\xff\xff\x01"), low(&[0xff; 8])].concat();
        assert_eq!(v6("ffff:ffff:ffff:ff01:ffff:ffff:ffff:ffff", ffff), crc32c(&same_56));
        assert_eq!(priority("1.2.3.4:5", "[2001:db8::1]:5"), 0);
        assert_eq!(priority("[::ffff:9.9.9.9]:5", "8.8.8.8:5"), priority("9.9.9.9:5", "8.8.8.8:5"));
    }

    #[test]
    fn our_own_address_is_what_most_say_and_far_away_what_all_say() {
        let addr = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mut ourselves = Ourselves { port: 5, ..Ourselves::default() };
        let there = addr("9.9.9.9:1");
        assert_eq!(ourselves.priority(there), 0);
        for (by, us) in [("1.1.1.1", "8.8.8.8"), ("1.1.2.1", "7.7.7.7"), ("1.1.3.1", "7.7.7.7")] {
            ourselves.heard.hear(Instant::ZERO, Sighting { by: ip(by), us: ip(us) });
        }
        assert_eq!(ourselves.priority(there), canonical_priority(addr("7.7.7.7:5"), there));
        assert_eq!(ourselves.priority(addr("[2001:db8::1]:1")), 0);
        ourselves.told[0] = Some(ip("198.18.0.1"));
        assert_eq!(ourselves.priority(there), canonical_priority(addr("198.18.0.1:5"), there));
        let near = addr("192.168.1.9:1");
        assert_eq!(ourselves.priority(near), canonical_priority(addr("7.7.7.7:5"), near));
    }
}
