//! What is to happen in a virtual world, and when.

use gaggle_core::clock::Instant;
use std::collections::BTreeMap;

/// Things to come, in the order of time; at one time in the order in which they were put in.
pub(crate) struct Agenda<T> {
    due: BTreeMap<(Instant, u64), T>,
    put: u64,
}

impl<T> Agenda<T> {
    pub(crate) const fn new() -> Self {
        Self { due: BTreeMap::new(), put: 0 }
    }

    pub(crate) fn put(&mut self, at: Instant, what: T) {
        self.due.insert((at, self.put), what);
        self.put += 1;
    }

    /// Takes out the next thing that happens until `end`.
    pub(crate) fn next(&mut self, end: Instant) -> Option<(Instant, T)> {
        let next = self.due.first_entry().filter(|next| next.key().0 <= end)?;
        let ((at, _), what) = next.remove_entry();
        Some((at, what))
    }
}
