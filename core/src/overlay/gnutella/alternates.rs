//! Who else has a file that we share, as those say who download it: each is told of others.
//!
//! Never believes a stranger about a private address or lets one fill the list, and passes on none that the asker could
//! not know. Whether somebody has the file at all, nobody here checks.
// After HUGE 0.94.

use crate::scope::{Scope, canonical, network_of};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

/// Files of which others are known; beyond it the one of which nobody has spoken for longest is forgotten.
const FILES_MAX: usize = 1000;
/// Addresses of one file; beyond it the oldest is forgotten.
const EACH_MAX: usize = 20;
/// Of them, those that one host has named; further ones of his are ignored.
const OF_ONE_MAX: usize = 4;
/// Addresses in one answer.
const TOLD_MAX: usize = 10;
/// Hosts that must have found an address dead.
const DEAD_MIN: usize = 3;

#[derive(Clone, Debug)]
struct Known {
    addr: SocketAddrV4,
    by: IpAddr,
    dead: Vec<IpAddr>,
}

#[derive(Clone, Debug, Default)]
struct Holders {
    known: Vec<Known>,
    touched: u64,
}

/// Others who have files, by the SHA-1 of what they have.
#[derive(Clone, Debug, Default)]
pub struct Alternates {
    files: BTreeMap<[u8; 20], Holders>,
    tick: u64,
}

impl Alternates {
    /// A downloader of a file names others who have it, and such as have it no longer.
    pub fn heard(
        &mut self,
        file: [u8; 20],
        from: IpAddr,
        alive: &[SocketAddrV4],
        dead: &[SocketAddrV4],
    ) {
        let by = network_of(from);
        let can_be = |addr: &&SocketAddrV4| {
            addr.port() != 0 && Scope::may_tell(from, IpAddr::V4(*addr.ip()))
        };
        for addr in dead {
            self.failed(file, by, *addr);
        }
        for addr in alive.iter().filter(can_be) {
            let holders = self.of(file);
            let by_him = holders.known.iter().filter(|known| known.by == by).count();
            if by_him >= OF_ONE_MAX || holders.known.iter().any(|known| known.addr == *addr) {
                continue;
            }
            if holders.known.len() >= EACH_MAX {
                holders.known.remove(0);
            }
            holders.known.push(Known { addr: *addr, by, dead: Vec::new() });
        }
    }

    /// Those whom somebody may be told who wants this file, the newest first; not himself, and not whom he has named.
    pub fn tell(&self, file: &[u8; 20], to: SocketAddr) -> Vec<SocketAddrV4> {
        let to = canonical(to).ip();
        let known = self.files.get(file).map_or(&[][..], |holders| &holders.known);
        let may = |known: &&Known| {
            let ip = IpAddr::V4(*known.addr.ip());
            let his = ip == to || known.by == network_of(to);
            // On one machine all have the same address.
            (!his || to.is_loopback()) && Scope::may_tell(to, ip)
        };
        known.iter().rev().filter(may).take(TOLD_MAX).map(|known| known.addr).collect()
    }

    fn failed(&mut self, file: [u8; 20], by: IpAddr, addr: SocketAddrV4) {
        let Some(holders) = self.files.get_mut(&file) else { return };
        holders.known.retain_mut(|known| {
            if known.addr == addr && !known.dead.contains(&by) {
                known.dead.push(by);
            }
            known.dead.len() < DEAD_MIN
        });
    }

    fn of(&mut self, file: [u8; 20]) -> &mut Holders {
        if self.files.len() >= FILES_MAX && !self.files.contains_key(&file) {
            let oldest = self.files.iter().min_by_key(|(_, holders)| holders.touched);
            let oldest = oldest.map(|(file, _)| *file);
            oldest.map(|file| self.files.remove(&file));
        }
        self.tick += 1;
        let holders = self.files.entry(file).or_default();
        holders.touched = self.tick;
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: [u8; 20] = [1; 20];

    fn addrs(texts: &[&str]) -> Vec<SocketAddrV4> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn host(n: u8) -> IpAddr {
        [9, 9, 9, n].into()
    }

    fn told(alternates: &Alternates, to: &str) -> Vec<String> {
        let told = alternates.tell(&FILE, format!("{to}:1").parse().unwrap());
        told.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_learns_of_others() {
        let mut alternates = Alternates::default();
        alternates.heard(FILE, host(1), &addrs(&["9.9.9.1:5", "8.8.8.8:6"]), &[]);
        alternates.heard(FILE, host(2), &addrs(&["8.8.8.8:6"]), &[]);
        assert_eq!(told(&alternates, "9.9.9.2"), ["8.8.8.8:6", "9.9.9.1:5"]);
        assert_eq!(told(&alternates, "9.9.9.1"), [""; 0], "he knows");
        alternates.heard(FILE, host(3), &addrs(&["9.9.9.1:7"]), &[]);
        assert_eq!(told(&alternates, "9.9.9.1"), [""; 0], "not himself");
        assert!(alternates.tell(&[2; 20], "9.9.9.2:1".parse().unwrap()).is_empty());
        // Two who found it dead could be one who wants it so.
        for (n, left) in [(1, 3), (1, 3), (2, 3), (3, 2)] {
            alternates.heard(FILE, host(n), &[], &addrs(&["8.8.8.8:6"]));
            assert_eq!(told(&alternates, "9.9.9.9").len(), left);
        }
    }

    /// Row 45: addresses of victims, of our own net, and without end.
    #[test]
    fn attack_45_alternates() {
        let mut alternates = Alternates::default();
        let near = ["127.0.0.1:80", "10.0.0.1:80", "192.168.1.1:80", "0.0.0.0:80", "8.8.8.8:0"];
        alternates.heard(FILE, host(1), &addrs(&near), &[]);
        assert!(told(&alternates, "127.0.0.1").is_empty());
        // In a net of its own it works, and is not told outside.
        alternates.heard(FILE, [10, 0, 0, 7].into(), &addrs(&["10.0.0.1:80"]), &[]);
        assert_eq!(told(&alternates, "10.0.0.9"), ["10.0.0.1:80"]);
        assert!(told(&alternates, "9.9.9.9").is_empty());
        for n in 0..=255 {
            let many: Vec<_> =
                (0..=255).map(|m| SocketAddrV4::new([8, 8, n, m].into(), 1)).collect();
            alternates.heard(FILE, host(1), &many, &[]);
        }
        assert_eq!(told(&alternates, "9.9.9.9").len(), OF_ONE_MAX);
        for n in 0..=255 {
            alternates.heard(FILE, host(n), &addrs(&[&format!("7.7.7.{n}:1")]), &[]);
        }
        assert_eq!(told(&alternates, "9.9.9.9").len(), TOLD_MAX);
        assert_eq!(alternates.files[&FILE].known.len(), EACH_MAX);
        for n in 0..2 * FILES_MAX as u16 {
            let mut file = [7; 20];
            file[..2].copy_from_slice(&n.to_be_bytes());
            alternates.heard(file, host(1), &addrs(&["7.7.7.7:1"]), &[]);
        }
        assert_eq!(alternates.files.len(), FILES_MAX);
        assert!(!alternates.files.contains_key(&FILE));
    }
}
