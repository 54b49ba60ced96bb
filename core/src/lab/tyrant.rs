//! A strategic leech: it pays each peer the least for which that peer goes on serving it.
//!
//! Its machine is the production one and unchokes everybody; the world hands out what it sends at the rate of each
//! peer's account. Pay falls while the peer serves us and rises while it does not, by the steps of `BitTyrant` (Piatek
//! and others, NSDI 2007). Unlike there nobody is left out when pay exceeds the limit: accounts share it instead.

use super::events::Happening;
use super::host::HostId;
use super::stream::Item;
use super::world::World;
use crate::clock::Instant;
use crate::geometry::Block;
use crate::swarm::PeerKey;
use crate::units::BytesPerSec;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Rounds that a peer must have served us before it is paid less.
const PATIENCE: u32 = 3;
/// Pay after a step down and after a step up, in percent of before.
const DOWN_PERCENT: u64 = 90;
/// See [`DOWN_PERCENT`].
const UP_PERCENT: u64 = 120;
/// The first pay is the limit divided by this: about what a slot gets.
const FIRST_SHARE: u64 = 8;
/// Least pay: nearly nothing, but requests are answered in the end.
const PAY_MIN: u64 = 1024;

/// What the leech pays to one peer.
struct Account {
    /// Bytes a second.
    pay: u64,
    served_rounds: u32,
    free_at: Instant,
    owed: VecDeque<Block>,
    due: bool,
}

/// All accounts; bounded by its connections, and what is owed by what a machine reads ahead for a peer.
#[derive(Default)]
pub(super) struct Purse(BTreeMap<PeerKey, Account>);

impl World {
    /// These blocks are read and will go out when their turn comes.
    pub(super) fn owe(&mut self, id: HostId, peer: PeerKey, blocks: Vec<Block>) {
        let host = &mut self.hosts[id.idx()];
        let limit = host.setup.limit_up.unwrap_or(BytesPerSec(host.up_rate));
        let account = host.purse.0.entry(peer).or_insert_with(|| Account {
            pay: limit.0 / FIRST_SHARE,
            served_rounds: 0,
            free_at: Instant::ZERO,
            owed: VecDeque::new(),
            due: false,
        });
        account.owed.extend(blocks);
        if !account.due {
            account.due = true;
            let at = account.free_at.max(self.now);
            self.agenda.add(at, Happening::Pay { host: id, life: host.life, peer });
        }
    }

    /// The next block for one peer goes out.
    pub(super) fn pay(&mut self, id: HostId, peer: PeerKey) -> Option<HostId> {
        let now = self.now;
        let Some(way) = self.way(id, peer) else {
            self.host_mut(id).purse.0.remove(&peer);
            return None;
        };
        let host = &mut self.hosts[id.idx()];
        let account = host.purse.0.get_mut(&peer)?;
        account.due = false;
        let block = account.owed.pop_front()?;
        let takes = u64::from(block.len) * 1_000_000 / account.pay.max(PAY_MIN);
        account.free_at = now + Duration::from_micros(takes);
        if !account.owed.is_empty() {
            account.due = true;
            let next = Happening::Pay { host: id, life: host.life, peer };
            self.agenda.add(account.free_at, next);
        }
        self.enqueue(way, Item::Block { block, bad: false });
        None
    }

    /// A choke round has been held: looks who serves us for what we pay.
    pub(super) fn review_pay(&mut self, id: HostId) {
        let now = self.now;
        let host = &mut self.hosts[id.idx()];
        let limit = host.setup.limit_up.unwrap_or(BytesPerSec(host.up_rate));
        let Some(machine) = &mut host.machine else { return };
        for peer in machine.peers(now) {
            let Some(account) = host.purse.0.get_mut(&peer.peer) else { continue };
            if peer.unchokes_us {
                account.served_rounds += 1;
                if account.served_rounds >= PATIENCE {
                    account.pay = (account.pay * DOWN_PERCENT / 100).max(PAY_MIN);
                }
            } else {
                account.served_rounds = 0;
                account.pay = (account.pay * UP_PERCENT / 100).min(limit.0);
            }
        }
    }
}
