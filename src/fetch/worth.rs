//! What a host was worth to a download, for whoever keeps account of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Of one host. All who have a clone of the host see the same; it is final when the download is over.
#[derive(Debug, Default)]
pub struct Worth {
    good: AtomicU64,
    lied: AtomicBool,
    broke_off: AtomicBool,
}

impl Worth {
    /// Bytes from it that passed their hash.
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Whether it sent bytes that did not.
    pub fn has_lied(&self) -> bool {
        self.lied.load(Ordering::Relaxed)
    }

    /// Whether it began with the last range that it was asked for and did not end it.
    pub fn has_broken_off(&self) -> bool {
        self.broke_off.load(Ordering::Relaxed)
    }

    pub(super) fn set_good(&self, bytes: u64) {
        self.good.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_lied(&self) {
        self.lied.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_broken_off(&self, broke_off: bool) {
        self.broke_off.store(broke_off, Ordering::Relaxed);
    }
}
