//! Who holds the regular slots after each choke round, beside who should.

use super::host::HostId;
use crate::clock::Instant;
use crate::swarm::torrent::Torrent;
use crate::units::BytesPerSec;

/// Choke rounds of the hosts that are watched, while they download.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    watched: Vec<HostId>,
    /// Rounds in which more peers that do not snub us wanted a regular slot than got one.
    pub contested: usize,
    /// Of these, rounds after which nobody without a regular slot had a better measured rate than one with it.
    pub right: usize,
}

impl Rounds {
    /// The part of the contested rounds that were right; 1 without any.
    pub fn share_right(&self) -> f64 {
        if self.contested == 0 { 1.0 } else { self.right as f64 / self.contested as f64 }
    }

    pub(super) fn watch(&mut self, hosts: &[HostId]) {
        self.watched.extend_from_slice(hosts);
    }

    /// A round has just been held.
    pub(super) fn note(&mut self, now: Instant, id: HostId, machine: &mut Torrent) {
        if !self.watched.contains(&id) || machine.is_done() {
            return;
        }
        let optimistic = machine.optimistic();
        let mut worst_in: Option<BytesPerSec> = None;
        let mut best_out: Option<BytesPerSec> = None;
        for peer in machine.contenders(now) {
            if !peer.interested || peer.complete || peer.snubbed {
                continue;
            }
            if peer.unchoked && Some(peer.peer) != optimistic {
                worst_in = Some(worst_in.map_or(peer.down, |rate| rate.min(peer.down)));
            } else {
                best_out = Some(best_out.map_or(peer.down, |rate| rate.max(peer.down)));
            }
        }
        if let (Some(worst_in), Some(best_out)) = (worst_in, best_out) {
            self.contested += 1;
            self.right += usize::from(worst_in >= best_out);
        }
    }
}
