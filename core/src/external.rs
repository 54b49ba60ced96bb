//! Which addresses we have, by what others say who see us from outside.
//!
//! Decides whose word counts, and when there are enough of them: one vote for each network that votes, of those who
//! can know. Nothing is decided before many agree, and it takes more than half of all votes. Never says what follows from it.
//= BEP 42 §bootstrapping

use crate::clock::Instant;
use crate::scope::Scope;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Votes that decide at once.
const ENOUGH: usize = 25;
/// Votes that decide when they were all that came in [`PATIENCE`].
const FEW: usize = 4;
/// How long to collect before a few votes are enough.
const PATIENCE: Duration = Duration::from_secs(300);
/// Voters remembered; then the count begins anew, undecided.
const VOTERS_MAX: usize = 50;
/// Addresses that are counted at a time; another takes the place of one with the fewest votes.
const CHOICES_MAX: usize = 8;

/// Somebody says where he sees us: a tracker, a peer, a node of the DHT, a router.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// Who says so.
    pub by: IpAddr,
    /// What he takes for our address.
    pub us: IpAddr,
}

/// Our addresses, one of each family.
#[derive(Clone, Debug, Default)]
pub struct External {
    /// IPv4, IPv6.
    polls: [Poll; 2],
}

/// A poll that is under way, and what came of those before.
#[derive(Clone, Debug, Default)]
struct Poll {
    /// Networks that have voted.
    voters: Vec<IpAddr>,
    counts: Vec<(IpAddr, u16)>,
    began: Option<Instant>,
    winner: Option<IpAddr>,
}

impl External {
    /// Counts a vote. The winner, when there is one, ends the poll: the next vote begins another.
    pub fn hear(&mut self, now: Instant, sighting: Sighting) -> Option<IpAddr> {
        let (by, us) = (sighting.by.to_canonical(), sighting.us.to_canonical());
        if !Scope::may_tell(by, us) || by.is_ipv4() != us.is_ipv4() {
            return None;
        }
        self.polls[usize::from(us.is_ipv6())].add(now, network(by), us)
    }

    /// The last winner; before there is one, who leads.
    pub fn address(&self, v6: bool) -> Option<IpAddr> {
        let poll = &self.polls[usize::from(v6)];
        let leader = poll.counts.iter().rev().max_by_key(|(_, count)| *count); // of equals the first
        poll.winner.or(leader.map(|(ip, _)| *ip))
    }
}

impl Poll {
    fn add(&mut self, now: Instant, voter: IpAddr, seen: IpAddr) -> Option<IpAddr> {
        if self.voters.contains(&voter) {
            return None;
        }
        self.voters.push(voter);
        if let Some((_, count)) = self.counts.iter_mut().find(|(ip, _)| *ip == seen) {
            *count += 1;
        } else {
            if self.counts.len() >= CHOICES_MAX
                && let Some(fewest) = (0..CHOICES_MAX).min_by_key(|&at| self.counts[at].1)
            {
                self.counts.remove(fewest);
            }
            self.counts.push((seen, 1));
        }
        let began = *self.began.get_or_insert(now);
        let votes = self.voters.len();
        if votes < ENOUGH && (votes < FEW || now.since(began) < PATIENCE) {
            return None;
        }
        self.counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let runner_up = self.counts.get(1).map_or(0, |&(_, count)| count);
        let wins = |count: u16| 2 * usize::from(count) > votes && 2 * count > 3 * runner_up;
        let winner = self.counts.first().filter(|&&(_, count)| wins(count));
        let winner = winner.map(|&(ip, _)| ip);
        if winner.is_some() || votes >= VOTERS_MAX {
            *self = Self { winner: winner.or(self.winner), ..Self::default() };
        }
        winner
    }
}

/// Several addresses of one network (/24 and /48, what one customer has) are one voter, for they are too easily had; but in a private net or on one machine
/// they are different hosts.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        _ if Scope::of(ip) != Some(Scope::Global) => ip,
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() >> 8 << 8).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A tracker, a router, a peer or a node: it makes no difference.
    fn vote(external: &mut External, now: Instant, by: IpAddr, us: &str) -> Option<IpAddr> {
        external.hear(now, Sighting { by, us: ip(us) })
    }

    #[test]
    fn many_voters_decide_and_one_network_is_one_voter() {
        let mut external = External::default();
        let now = Instant::ZERO;
        for n in 0..200 {
            assert_eq!(vote(&mut external, now, IpAddr::from([8, 8, 8, n]), "6.6.6.6"), None);
        }
        assert_eq!(external.address(false), Some(ip("6.6.6.6")), "nobody else has spoken");
        let decided = (0..30u8)
            .find_map(|n| vote(&mut external, now, IpAddr::from([9, 9, n, 1]), "198.18.0.1"));
        assert_eq!(decided, Some(ip("198.18.0.1")));
        assert_eq!(external.address(false), decided);
        assert_eq!(vote(&mut external, now, ip("7.7.7.7"), "6.6.6.6"), None);
        assert_eq!(external.address(false), decided, "until another wins");
        assert_eq!(external.address(true), None);
    }

    #[test]
    fn two_liars_among_many_fancies_win_nothing() {
        let mut external = External::default();
        let by = |n: u8| IpAddr::from([9, 9, n, 1]);
        for n in 0..2 {
            vote(&mut external, Instant::ZERO, by(n), "198.18.6.6");
        }
        for n in 2..9 {
            vote(&mut external, Instant::ZERO, by(n), &format!("198.18.7.{n}"));
        }
        let decided = (9..49).find_map(|n| vote(&mut external, Instant::ZERO, by(n), "198.18.0.1"));
        assert_eq!(decided, Some(ip("198.18.0.1")), "who comes late is counted");
        let one_customer = |n: u16| IpAddr::from([0x2001, 0xdb8, 1, n, 0, 0, 0, 1]);
        let bought = (0..100)
            .find_map(|n| vote(&mut external, Instant::ZERO, one_customer(n), "2001:db8:ffff::1"));
        assert_eq!(bought, None);
    }

    #[test]
    fn who_cannot_know_has_no_vote() {
        let mut external = External::default();
        for (by, us) in [
            ("9.9.9.9", "192.168.1.1"),
            ("10.0.0.1", "127.0.0.1"),
            ("9.9.9.9", "2001:db8::1"),
            ("9.9.9.9", "0.0.0.0"),
            ("9.9.9.9", "224.0.0.1"),
            ("240.0.0.1", "198.18.0.1"),
        ] {
            assert_eq!(vote(&mut external, Instant::ZERO, ip(by), us), None);
            assert_eq!(
                (external.address(false), external.address(true)),
                (None, None),
                "{by} {us}"
            );
        }
        vote(&mut external, Instant::ZERO, ip("192.168.1.1"), "198.18.0.1");
        assert_eq!(external.address(false), Some(ip("198.18.0.1")), "a router knows");
        vote(&mut external, Instant::ZERO, ip("2001:db8::1"), "2001:db8::2");
        assert_eq!(external.address(true), Some(ip("2001:db8::2")));
    }

    #[test]
    fn a_few_decide_late_and_a_tie_never() {
        let mut external = External::default();
        let later = Instant::ZERO + PATIENCE;
        for n in 0..4u8 {
            let by = IpAddr::from([9, 9, n, 1]);
            assert_eq!(vote(&mut external, Instant::ZERO, by, "198.18.0.1"), None);
        }
        let decided = vote(&mut external, later, ip("7.7.7.7"), "198.18.0.1");
        assert_eq!(decided, Some(ip("198.18.0.1")));
        let tie = (0..49u8).find_map(|n| {
            let us = format!("198.18.0.{}", n % 2 + 1);
            vote(&mut external, later, IpAddr::from([9, 9, n, 1]), &us)
        });
        assert_eq!(tie, None);
    }
}
