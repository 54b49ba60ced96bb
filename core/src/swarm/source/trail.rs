//! Whether an address may be asked, given who led us there.
//!
//! A peer, a torrent file or a server far away must not make us knock at our own services, neither by an address, nor by
//! a name that resolves to one, nor by a redirect.

use super::SourceFault;
use crate::scope::Scope;
use std::net::IpAddr;

/// Redirects that are followed for one range (transmission: 10). One more is a fault of the source.
pub const REDIRECTS_MAX: u8 = 5;

/// The way from whoever named a source to the bytes. Each connection is a step, of the address as it was resolved; a
/// redirect speaks with the voice of the host that sent it, and of nobody nearer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trail {
    teller: Scope,
    steps: u8,
}

impl Trail {
    /// The way begins with whoever named the source; see [`super::SourceSpec::teller`].
    pub const fn new(teller: Scope) -> Self {
        Self { teller, steps: 0 }
    }

    /// Call before each connection, the first and that after each redirect.
    pub fn step(&mut self, to: IpAddr) -> Result<(), SourceFault> {
        if self.steps > REDIRECTS_MAX {
            return Err(SourceFault::Redirects(REDIRECTS_MAX));
        }
        let scope = Scope::of(to).filter(|&scope| self.teller <= scope);
        self.teller = scope.ok_or(SourceFault::Address(to))?;
        self.steps += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(teller: Scope, steps: &[&str]) -> Result<(), SourceFault> {
        let mut trail = Trail::new(teller);
        steps.iter().try_for_each(|ip| trail.step(ip.parse().unwrap()))
    }

    #[test]
    fn attack_36_nobody_is_led_to_what_is_nearer_than_who_leads() {
        let refused = |ip: &str| Err(SourceFault::Address(ip.parse().unwrap()));
        for near in ["127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "fd00::1"] {
            assert_eq!(walk(Scope::Global, &[near]), refused(near));
            assert_eq!(walk(Scope::Loopback, &["9.9.9.9", near]), refused(near), "by a redirect");
            let mapped = format!("::ffff:{near}");
            if mapped.parse::<IpAddr>().is_ok() {
                assert_eq!(walk(Scope::Global, &[&mapped]), refused(&mapped));
            }
        }
        assert_eq!(walk(Scope::Private, &["127.0.0.1"]), refused("127.0.0.1"));
        assert_eq!(walk(Scope::Loopback, &["10.0.0.1", "127.0.0.1"]), refused("127.0.0.1"));
        let back = ["10.0.0.1", "9.9.9.9", "10.0.0.1"];
        assert_eq!(walk(Scope::Loopback, &back), refused("10.0.0.1"), "and not by a detour");
        for nobody in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::"] {
            assert_eq!(walk(Scope::Loopback, &[nobody]), refused(nobody));
        }
        assert_eq!(
            walk(Scope::Loopback, &["127.0.0.1", "127.0.0.2", "10.0.0.1", "::1"]),
            refused("::1")
        );
        assert_eq!(walk(Scope::Global, &["9.9.9.9", "2001:db8::1"]), Ok(()));
        assert_eq!(walk(Scope::Private, &["192.168.1.1", "10.0.0.1", "9.9.9.9"]), Ok(()));
    }

    #[test]
    fn attack_36_redirects_end() {
        let hops = usize::from(REDIRECTS_MAX) + 1;
        assert_eq!(walk(Scope::Global, &vec!["9.9.9.9"; hops]), Ok(()));
        let end = Err(SourceFault::Redirects(REDIRECTS_MAX));
        assert_eq!(walk(Scope::Global, &vec!["9.9.9.9"; hops + 1]), end);
    }
}
