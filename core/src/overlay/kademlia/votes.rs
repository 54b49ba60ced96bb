//! Which address we have, by what the nodes say that answer us.
//!
//! One vote for each address that votes. Nothing is decided before many agree, and a tie decides nothing.
//= BEP 42 §bootstrapping

use super::address::prefix;
use crate::clock::Instant;
use crate::scope::Scope;
use std::net::IpAddr;
use std::time::Duration;

/// Votes that decide at once.
const ENOUGH: usize = 25;
/// Votes that decide when they were all that came in [`PATIENCE`].
const FEW: usize = 4;
/// How long to collect before a few votes are enough.
const PATIENCE: Duration = Duration::from_secs(300);
/// Voters remembered; then the count begins anew, undecided.
const VOTERS_MAX: usize = 50;
/// Addresses that are counted; further ones are somebody's fancy.
const CHOICES_MAX: usize = 8;

/// A poll that is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    /// Networks that have voted.
    voters: Vec<u64>,
    counts: Vec<(IpAddr, u16)>,
    began: Option<Instant>,
}

impl Votes {
    /// Counts what `voter` says about our address. The winner, when there is one, ends the poll.
    pub(super) fn add(&mut self, now: Instant, voter: IpAddr, seen: IpAddr) -> Option<IpAddr> {
        let global = |ip| Scope::of(ip) == Some(Scope::Global);
        if !global(voter) || !global(seen) || voter.is_ipv4() != seen.is_ipv4() {
            return None;
        }
        // Several addresses of one network are one voter: they are too easily had.
        let voter = prefix(voter);
        if self.voters.contains(&voter) {
            return None;
        }
        self.voters.push(voter);
        if let Some((_, count)) = self.counts.iter_mut().find(|(ip, _)| *ip == seen) {
            *count += 1;
        } else if self.counts.len() < CHOICES_MAX {
            self.counts.push((seen, 1));
        }
        let began = *self.began.get_or_insert(now);
        let votes = self.voters.len();
        if votes < ENOUGH && (votes < FEW || now.since(began) < PATIENCE) {
            return None;
        }
        self.counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let runner_up = self.counts.get(1).map_or(0, |&(_, count)| count);
        let winner = self.counts.first().filter(|&&(_, count)| 2 * count > 3 * runner_up);
        let winner = winner.map(|&(ip, _)| ip);
        if winner.is_some() || votes >= VOTERS_MAX {
            *self = Self::default();
        }
        winner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn many_voters_decide_and_one_network_is_one_voter() {
        let mut votes = Votes::default();
        let ours = ip("198.18.0.1");
        for n in 0..200 {
            assert_eq!(votes.add(Instant::ZERO, IpAddr::from([8, 8, 8, n]), ip("6.6.6.6")), None);
        }
        assert_eq!(votes.add(Instant::ZERO, ip("127.0.0.1"), ours), None);
        assert_eq!(votes.add(Instant::ZERO, ip("9.9.9.9"), ip("192.168.1.1")), None);
        assert_eq!(votes.add(Instant::ZERO, ip("9.9.9.9"), ip("2001:db8::1")), None);
        let decided =
            (0..30u8).find_map(|n| votes.add(Instant::ZERO, IpAddr::from([9, 9, n, 1]), ours));
        assert_eq!(decided, Some(ours));
    }

    #[test]
    fn a_few_decide_late_and_a_tie_never() {
        let mut votes = Votes::default();
        let later = Instant::ZERO + PATIENCE;
        for n in 0..4u8 {
            assert_eq!(
                votes.add(Instant::ZERO, IpAddr::from([9, 9, n, 1]), ip("198.18.0.1")),
                None
            );
        }
        assert_eq!(votes.add(later, ip("7.7.7.7"), ip("198.18.0.1")), Some(ip("198.18.0.1")));
        let tie = (0..49u8).find_map(|n| {
            votes.add(later, IpAddr::from([9, 9, n, 1]), IpAddr::from([198, 18, 0, n % 2 + 1]))
        });
        assert_eq!(tie, None);
    }
}
