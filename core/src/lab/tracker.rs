//! The world's tracker: who has announced which torrent lately, and a random handful of them.

use super::host::HostId;
use crate::clock::Instant;
use crate::id::InfoHash;
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between announces of a host that is content.
pub(super) const INTERVAL: Duration = Duration::from_secs(120);
/// Time between announces of a host that lacks peers.
pub(super) const INTERVAL_HUNGRY: Duration = Duration::from_secs(30);
/// A host with fewer peers lacks some.
pub(super) const ENOUGH_PEERS: usize = 5;
/// Most hosts in one answer.
const ANSWER_MAX: usize = 50;

/// Remembers who announced.
#[derive(Default)]
pub(super) struct Tracker {
    swarms: BTreeMap<InfoHash, BTreeMap<HostId, Instant>>,
}

impl Tracker {
    /// Notes the host and names up to [`ANSWER_MAX`] others.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        torrent: InfoHash,
        host: HostId,
        rng: &mut Rng,
    ) -> Vec<HostId> {
        let swarm = self.swarms.entry(torrent).or_default();
        swarm.retain(|_, heard| *heard + INTERVAL * 2 > now);
        let mut others: Vec<HostId> =
            swarm.keys().copied().filter(|&other| other != host).collect();
        rng.shuffle(&mut others);
        others.truncate(ANSWER_MAX);
        swarm.insert(host, now);
        others
    }

    /// The host says good-bye.
    pub(super) fn stopped(&mut self, torrent: InfoHash, host: HostId) {
        if let Some(swarm) = self.swarms.get_mut(&torrent) {
            swarm.remove(&host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_others_of_the_same_torrent_until_they_leave_or_expire() {
        let (mut tracker, mut rng) = (Tracker::default(), Rng::seeded(1));
        let (a, b) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let start = Instant::ZERO;
        assert!(tracker.announce(start, a, HostId(0), &mut rng).is_empty());
        assert_eq!(tracker.announce(start, a, HostId(1), &mut rng), [HostId(0)]);
        assert!(tracker.announce(start, b, HostId(2), &mut rng).is_empty());
        tracker.stopped(a, HostId(0));
        assert_eq!(tracker.announce(start, a, HostId(3), &mut rng), [HostId(1)]);
        let later = start + INTERVAL * 2;
        assert!(tracker.announce(later, a, HostId(4), &mut rng).is_empty());
    }
}
