//! Memory that blocks are read into for peers, used again when the last of its slices was sent.
//!
//! New memory costs a page fault for every 4 KiB and more time than the copy itself; the buffer that came back last
//! is the warmest.

use super::pool::held;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// Bytes that wait to be used again. What comes back beyond it is freed.
const FREE_MAX: usize = 2 << 20;
/// Smaller buffers are not worth it.
const FREE_MIN: usize = 16 << 10;

/// Buffers of all torrents of a pool. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Recycled {
    free: Arc<Mutex<Free>>,
}

#[derive(Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer that comes back.
struct Lent {
    data: Vec<u8>,
    from: Recycled,
}

impl Recycled {
    /// A buffer of that length, full of anything, and not much larger: a slow peer may hold it for long.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let mut free = held(&self.free);
        let fitting =
            free.buffers.iter().rposition(|buffer| (len..=2 * len).contains(&buffer.capacity()));
        let found = fitting.map(|at| free.buffers.swap_remove(at));
        free.bytes -= found.as_ref().map_or(0, Vec::capacity);
        drop(free);
        let mut buffer = found.unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// The same bytes to be sent; the buffer comes back when the last slice of them is gone.
    pub(super) fn lend(&self, data: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { data, from: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        let mut free = held(&self.from.free);
        if data.capacity() >= FREE_MIN && free.bytes + data.capacity() <= FREE_MAX {
            free.bytes += data.capacity();
            free.buffers.push(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let buffers = Recycled::default();
        let mut data = buffers.take(FREE_MIN);
        data[..20].copy_from_slice(b"block one, block two");
        let at = data.as_ptr();
        let (one, two) = {
            let mut both = buffers.lend(data);
            (both.split_to(9), both)
        };
        drop(one);
        let other = buffers.take(FREE_MIN);
        assert_ne!(other.as_ptr(), at, "the second is still there");
        assert_eq!(&two[..11], b", block two");
        drop(two);
        assert_eq!(buffers.take(2 * FREE_MIN).len(), 2 * FREE_MIN, "it is too small for this");
        let small = buffers.take(100);
        assert_ne!(small.as_ptr(), at, "and too large for this");
        let again = buffers.take(FREE_MIN - 100);
        assert_eq!((again.as_ptr(), again.len()), (at, FREE_MIN - 100));
    }

    #[test]
    fn what_waits_is_bounded() {
        let buffers = Recycled::default();
        let lent: Vec<Bytes> =
            (0..2 * FREE_MAX / FREE_MIN).map(|_| buffers.lend(buffers.take(FREE_MIN))).collect();
        drop(lent);
        assert!(held(&buffers.free).bytes <= FREE_MAX);
    }
}
