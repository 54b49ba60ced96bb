//! How many connections may not yet have said what they are, in all and of each address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that have not yet said what they are. At the bound no more are accepted until one has, or is late; the
/// system's backlog holds the others.
const STRANGERS_MAX: usize = 256;
/// Of them, those of one address; further ones are closed.
pub(super) const STRANGERS_EACH: usize = 8;

/// Counts strangers.
#[derive(Debug)]
pub(super) struct Gate {
    all: Arc<Semaphore>,
    each: Mutex<BTreeMap<IpAddr, usize>>,
    each_max: usize,
    loopback_too: bool,
}

/// The place of one. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    ip: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

/// The place of one whom two look after: who decides what he is gives it back, or it is free when both have let go. So
/// one who is refused keeps it for as long as his connection lasts.
#[derive(Clone, Debug)]
pub(super) struct Seat(Arc<Mutex<Option<Permit>>>);

impl Seat {
    pub(super) fn new(permit: Option<Permit>) -> Self {
        Self(Arc::new(Mutex::new(permit)))
    }

    /// It is known what he is.
    pub(super) fn give_back(&self) {
        let permit = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(permit);
    }
}

impl Gate {
    pub(super) fn new(each_max: usize, loopback_too: bool) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(STRANGERS_MAX));
        Arc::new(Self { all, each: Mutex::default(), each_max, loopback_too })
    }

    /// Waits for room for one more stranger, whoever it will be.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        let room = Arc::clone(&self.all).acquire_owned().await;
        room.expect("the semaphore is never closed")
    }

    /// The place of one who has come; `None` if there are enough of his address.
    pub(super) fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        room: OwnedSemaphorePermit,
    ) -> Option<Permit> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let here = each.get(&ip).copied().unwrap_or_default();
        if here >= self.each_max && (self.loopback_too || !ip.is_loopback()) {
            return None;
        }
        each.insert(ip, here + 1);
        Some(Permit { gate: Arc::clone(self), ip, _one_of_all: room })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut each = self.gate.each.lock().unwrap_or_else(PoisonError::into_inner);
        match each.get_mut(&self.ip) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                each.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_of_each_address_and_as_many_as_there_are_of_this_machine() {
        let (stranger, here) = (IpAddr::from([198, 18, 0, 1]), IpAddr::from([127, 0, 0, 1]));
        let gate = Gate::new(2, false);
        let mut in_there = Vec::new();
        for n in 0..4 {
            let permit = gate.enter(stranger, gate.room().await);
            assert_eq!(permit.is_some(), n < 2);
            in_there.extend(permit);
            in_there.extend(gate.enter(here, gate.room().await));
        }
        assert_eq!(in_there.len(), 2 + 4);
        assert_eq!(gate.all.available_permits(), STRANGERS_MAX - 6);
        in_there.clear();
        assert!(gate.each.lock().unwrap().is_empty());
        // A seat is free once it is given back, or both have let go.
        for given_back in [true, false] {
            let owner = Seat::new(gate.enter(stranger, gate.room().await));
            let link = owner.clone();
            if given_back {
                owner.give_back();
            }
            drop(owner);
            assert_eq!(gate.each.lock().unwrap().is_empty(), given_back);
            drop(link);
            assert!(gate.each.lock().unwrap().is_empty());
        }
        let strict = Gate::new(1, true);
        let _one = strict.enter(here, strict.room().await).unwrap();
        assert!(strict.enter(here, strict.room().await).is_none());
    }
}
