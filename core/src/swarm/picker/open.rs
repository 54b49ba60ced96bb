//! A piece of which at least one block was asked for, and who was asked for what.

use crate::swarm::PeerKey;

/// One block of an open piece.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    /// Came from this peer.
    Arrived(PeerKey),
    /// Asked of one peer; in endgame of a few more.
    Asked(PeerKey, Vec<PeerKey>),
    /// To be asked for.
    Free,
}

#[derive(Clone, Debug)]
pub(super) struct Open {
    slots: Vec<Slot>,
    arrived: u32,
    free: u32,
    /// No slot below this one is free.
    free_from: usize,
    /// The peer on parole that has this piece to itself.
    pub(super) alone: Option<PeerKey>,
}

impl Open {
    pub(super) fn new(blocks: u32) -> Self {
        let slots = vec![Slot::Free; blocks as usize];
        Self { slots, arrived: 0, free: blocks, free_from: 0, alone: None }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Blocks that nobody was asked for.
    pub(super) const fn free(&self) -> u32 {
        self.free
    }

    /// Blocks that are here or asked for.
    pub(super) fn in_hand(&self) -> u32 {
        self.slots.len() as u32 - self.free
    }

    /// Blocks that were asked for and are not here.
    pub(super) fn asked_for(&self) -> u32 {
        self.in_hand() - self.arrived
    }

    /// Whether every block is here, so that the piece is being checked.
    pub(super) fn is_whole(&self) -> bool {
        self.arrived as usize == self.slots.len()
    }

    /// Whether nothing has arrived and nothing is asked for.
    pub(super) fn is_idle(&self) -> bool {
        self.free as usize == self.slots.len()
    }

    /// Asks `peer` for the first free block and returns which one that is.
    pub(super) fn ask(&mut self, peer: PeerKey) -> Option<u32> {
        let ahead = self.slots[self.free_from..].iter().position(|slot| *slot == Slot::Free);
        let Some(ahead) = ahead else {
            self.free_from = self.slots.len();
            return None;
        };
        let at = self.free_from + ahead;
        self.free_from = at + 1;
        self.free -= 1;
        self.slots[at] = Slot::Asked(peer, Vec::new());
        Some(at as u32)
    }

    /// Asks one more peer for a block that others were asked for already.
    pub(super) fn ask_again(&mut self, nth: usize, peer: PeerKey) {
        if let Some(Slot::Asked(_, more)) = self.slots.get_mut(nth) {
            more.push(peer);
        }
    }

    /// The peer will not send this block.
    pub(super) fn release(&mut self, nth: u32, peer: PeerKey) {
        let Some(slot) = self.slots.get_mut(nth as usize) else { return };
        let Slot::Asked(first, more) = slot else { return };
        if *first != peer {
            more.retain(|other| *other != peer);
        } else if let Some(other) = more.pop() {
            *first = other;
        } else {
            *slot = Slot::Free;
            self.free += 1;
            self.free_from = self.free_from.min(nth as usize);
        }
    }

    /// Takes a block in. Returns the others that were asked for it, or `None` if it was here already.
    pub(super) fn arrive(&mut self, nth: u32, peer: PeerKey) -> Option<Vec<PeerKey>> {
        let slot = self.slots.get_mut(nth as usize)?;
        let mut others = match std::mem::replace(slot, Slot::Arrived(peer)) {
            Slot::Arrived(first) => {
                *slot = Slot::Arrived(first);
                return None;
            }
            Slot::Asked(first, mut more) => {
                more.push(first);
                more
            }
            Slot::Free => {
                self.free -= 1;
                Vec::new()
            }
        };
        self.arrived += 1;
        others.retain(|other| *other != peer);
        others.sort_unstable();
        Some(others)
    }

    /// Every outstanding request: who, and for which block.
    pub(super) fn asked(&self) -> impl Iterator<Item = (PeerKey, u32)> + '_ {
        self.slots.iter().enumerate().flat_map(|(nth, slot)| {
            let (first, more) = match slot {
                Slot::Asked(first, more) => (Some(*first), more.as_slice()),
                _ => (None, [].as_slice()),
            };
            first.into_iter().chain(more.iter().copied()).map(move |peer| (peer, nth as u32))
        })
    }

    /// Who sent something, each once, in order of their keys.
    pub(super) fn contributors(&self) -> Vec<PeerKey> {
        let sent = |slot: &Slot| if let Slot::Arrived(peer) = slot { Some(*peer) } else { None };
        let mut peers: Vec<PeerKey> = self.slots.iter().filter_map(sent).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }
}
