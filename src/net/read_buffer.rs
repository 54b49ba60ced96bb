//! Memory for one connection's reads: large while it is busy, little while it is idle.
//!
//! Blocks are slices of these buffers and leave to be hashed and written. A buffer whose slices are all gone
//! is used again, because memory touched for the first time costs more than what is copied into it.

use bytes::BytesMut;
use std::collections::VecDeque;

/// Least room for a read, and all that an idle connection holds.
const READ_MIN: usize = 4 * 1024;
/// Most that is made ready because a message at the front lacks it: a block. Longer messages get room as they
/// arrive, so that nobody makes us allocate by announcing.
const AHEAD_MAX: usize = 16 * 1024 + 13;
/// Most used buffers that are watched for reuse; when there are more, the oldest is left to its slices.
const RETIRED_MAX: usize = 8;

/// Read buffers of one connection.
pub(super) struct ReadBuffer {
    current: BytesMut,
    /// Bytes of the allocation behind `current`.
    size: usize,
    /// Emptied handles on earlier buffers, which may still have slices, and their sizes.
    retired: VecDeque<(BytesMut, usize)>,
    /// Room for the next read: doubles when reads fill it, halves when they leave most of it.
    room: usize,
    read_max: usize,
}

impl ReadBuffer {
    /// Starts with bytes that were read already. Reads bring at most `read_max` bytes, or [`READ_MIN`].
    pub(super) fn new(leftover: BytesMut, read_max: usize) -> Self {
        let (size, read_max) = (leftover.capacity(), read_max.max(READ_MIN));
        Self { current: leftover, size, retired: VecDeque::new(), room: READ_MIN, read_max }
    }

    /// Bytes that came and are not decoded.
    pub(super) const fn bytes(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// The same, with room behind them for a read. `wants` is what the message at the front lacks.
    pub(super) fn make_room(&mut self, wants: usize) -> &mut BytesMut {
        let wants = wants.min(AHEAD_MAX);
        // A nearly full buffer is not worth a read of its own; a half full one is.
        if self.spare() < wants.max(self.room / 2) {
            let (mut next, size) = self.take(self.current.len() + wants.max(self.room));
            next.extend_from_slice(&self.current);
            let mut old = std::mem::replace(&mut self.current, next);
            old.clear();
            self.retire(old, self.size);
            self.size = size;
        }
        &mut self.current
    }

    /// Bytes that the next read can bring.
    pub(super) fn spare(&self) -> usize {
        self.current.capacity() - self.current.len()
    }

    /// Learns from a read that brought `got` bytes where `spare` would have fitted.
    pub(super) fn learn(&mut self, got: usize, spare: usize) {
        if got == spare {
            self.room = (self.room * 2).min(self.read_max);
        } else if got < self.room / 8 {
            self.room = (self.room / 2).max(READ_MIN);
        }
    }

    /// Nothing came for a while: gives back all memory but for the bytes that are there.
    pub(super) fn rest(&mut self) {
        self.room = READ_MIN;
        self.retired.clear();
        if self.size > READ_MIN {
            self.current = BytesMut::from(&self.current[..]);
            self.size = self.current.capacity();
        }
    }

    /// Bytes of every allocation that is held here, slices elsewhere or not.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.size + self.retired.iter().map(|(_, size)| size).sum::<usize>()
    }

    /// An empty buffer of at least that capacity, and its size: one whose slices are gone, or a new one.
    fn take(&mut self, capacity: usize) -> (BytesMut, usize) {
        for _ in 0..self.retired.len() {
            let Some((mut old, size)) = self.retired.pop_front() else { break };
            if size < capacity {
                continue; // from before the reads grew
            }
            if old.try_reclaim(capacity) {
                return (old, size);
            }
            self.retired.push_back((old, size));
        }
        (BytesMut::with_capacity(capacity), capacity)
    }

    fn retire(&mut self, old: BytesMut, size: usize) {
        if size == 0 {
            return;
        }
        if self.retired.len() == RETIRED_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back((old, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read that fills all there is room for, handed out as one slice.
    fn fill(buffer: &mut ReadBuffer) -> bytes::Bytes {
        let input = buffer.make_room(1);
        let spare = input.capacity() - input.len();
        input.resize(input.capacity(), 7);
        buffer.learn(spare, spare);
        buffer.bytes().split().freeze()
    }

    #[test]
    fn reads_grow_while_they_fill_and_a_rest_gives_it_back() {
        let mut buffer = ReadBuffer::new(BytesMut::new(), 64 * 1024);
        let sizes: Vec<_> = (0..6).map(|_| fill(&mut buffer).len()).collect();
        assert_eq!(sizes, [4096, 8192, 16384, 32768, 65536, 65536]);
        buffer.bytes().extend_from_slice(b"begun");
        buffer.rest();
        assert!(buffer.held() <= READ_MIN);
        assert_eq!(buffer.bytes().as_ref(), b"begun");
    }

    #[test]
    fn a_buffer_is_used_again_once_its_slices_are_gone() {
        let mut buffer = ReadBuffer::new(BytesMut::new(), READ_MIN);
        let first = fill(&mut buffer);
        let at = first.as_ptr();
        let second = fill(&mut buffer);
        assert_ne!(second.as_ptr(), at, "the first is still in use");
        drop(first);
        assert_eq!(fill(&mut buffer).as_ptr(), at);
    }

    #[test]
    fn what_is_kept_for_reuse_is_bounded() {
        let mut buffer = ReadBuffer::new(BytesMut::new(), READ_MIN);
        let slices: Vec<_> = (0..100).map(|_| fill(&mut buffer)).collect();
        assert!(buffer.held() <= (RETIRED_MAX + 1) * READ_MIN);
        drop(slices);
    }

    #[test]
    fn an_announced_length_allocates_at_most_a_block() {
        let mut buffer = ReadBuffer::new(BytesMut::new(), 256 * 1024);
        buffer.make_room(256 * 1024);
        assert!(buffer.held() <= AHEAD_MAX);
    }
}
