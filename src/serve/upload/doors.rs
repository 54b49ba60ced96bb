//! How many connections there may be, of all hosts and of each.

use super::held;
use gaggle_core::scope::network_of;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

pub(super) struct Doors {
    most: usize,
    each: usize,
    loopback_too: bool,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One connection, as long as it is held.
pub(super) struct Entry {
    doors: Arc<Doors>,
    host: IpAddr,
}

impl Doors {
    pub(super) fn new(most: usize, each: usize, loopback_too: bool) -> Arc<Self> {
        Arc::new(Self { most, each, loopback_too, open: Mutex::default() })
    }

    /// `None` if there are too many already.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Entry> {
        let host = network_of(ip);
        let exempt = host.is_loopback() && !self.loopback_too;
        let mut open = held(&self.open);
        let his = open.get(&host).copied().unwrap_or(0);
        if open.values().sum::<usize>() >= self.most || (his >= self.each && !exempt) {
            return None;
        }
        open.insert(host, his + 1);
        Some(Entry { doors: Arc::clone(self), host })
    }

    pub(super) fn open(&self) -> usize {
        held(&self.open).values().sum()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = held(&self.doors.open);
        if let Some(his) = open.get_mut(&self.host) {
            *his -= 1;
            if *his == 0 {
                open.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_takes_all_and_all_together_have_a_bound() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let doors = Doors::new(5, 2, false);
        let mut entries: Vec<Entry> = (0..5).filter_map(|_| doors.enter(ip("9.9.9.9"))).collect();
        assert_eq!((entries.len(), doors.open()), (2, 2));
        entries.extend((0..9).filter_map(|_| doors.enter(ip("::ffff:127.0.0.1"))));
        assert_eq!(entries.len(), 5, "this machine is exempt, but for the bound of all");
        assert!(doors.enter(ip("8.8.8.8")).is_none());
        entries.remove(0);
        assert!(doors.enter(ip("8.8.8.8")).is_some());
        entries.clear();
        assert!(held(&doors.open).is_empty());
        let strict = Doors::new(5, 1, true);
        let entry = strict.enter(ip("::1"));
        assert!(entry.is_some() && strict.enter(ip("::1")).is_none());
    }
}
