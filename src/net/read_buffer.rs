//! Memory for one connection's reads: large while it is busy, little while it is idle.
//!
//! Blocks are slices of these buffers and leave to be hashed and written. A buffer whose slices are all gone
//! is used again, by whichever connection needs one next, because memory touched for the first time costs more than
//! what is copied into it.

use bytes::BytesMut;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Least room for a read, and all that an idle connection holds.
const READ_MIN: usize = 4 * 1024;
/// Most that is made ready because a message at the front lacks it: a block. Longer messages get room as they
/// arrive, so that nobody makes us allocate by announcing.
const AHEAD_MAX: usize = 16 * 1024 + 13;
/// Room of all busy connections together, which they share alike.
const ROOM_SUM: usize = 1 << 20;
/// What each of them may have even so: with less, most of the time goes to the system.
const SHARE_MIN: usize = 64 * 1024;
/// Bytes of used buffers that are watched for reuse: what may be on its way to the disk, and a little more than the picker
/// lets be in hand of large pieces where paths are short. When there are more, the oldest is left to its slices.
const USED_MAX: usize = 40 << 20;
/// Smaller ones are not worth it.
const USED_MIN: usize = 32 * 1024;
/// Used buffers that are looked at for one that is free. The oldest come first, and mostly are; those that are not come
/// last the next time.
const LOOKS: usize = 32;

/// Used buffers of all connections. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    used: Arc<Mutex<Used>>,
    /// Connections that are busy, see [`ReadBuffer`].
    busy: Arc<AtomicUsize>,
}

/// Emptied handles on buffers, which may still have slices, and their sizes.
#[derive(Debug, Default)]
struct Used {
    buffers: VecDeque<(BytesMut, usize)>,
    bytes: usize,
}

impl Buffers {
    /// An empty buffer of at least that capacity, and its size: one whose slices are gone, or a new one.
    fn take(&self, capacity: usize) -> (BytesMut, usize) {
        if capacity >= USED_MIN {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..used.buffers.len().min(LOOKS) {
                let Some((mut old, size)) = used.buffers.pop_front() else { break };
                if !old.try_reclaim(size) {
                    used.buffers.push_back((old, size));
                    continue;
                }
                used.bytes -= size;
                if size >= capacity {
                    return (old, size);
                }
                // Reads have outgrown it: it is freed.
            }
        }
        (BytesMut::with_capacity(capacity), capacity)
    }

    fn give_back(&self, old: BytesMut, size: usize) {
        if size < USED_MIN || self.busy.load(Relaxed) == 0 {
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.buffers.push_back((old, size));
        used.bytes += size;
        while used.bytes > USED_MAX
            && let Some((_, size)) = used.buffers.pop_front()
        {
            used.bytes -= size;
        }
    }

    /// The room that each busy connection may have: a power of two.
    fn share(&self) -> usize {
        let each = ROOM_SUM / self.busy.load(Relaxed).max(1);
        (1 << each.max(1).ilog2()).max(SHARE_MIN)
    }

    /// One connection less is busy. If it was the last one, nobody needs the buffers soon: all are left to their slices.
    fn calm(&self) {
        if self.busy.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Used::default();
    }
}

/// Read buffers of one connection.
pub struct ReadBuffer {
    current: BytesMut,
    /// Bytes of the allocation behind `current`.
    size: usize,
    others: Buffers,
    /// Room for the next read: doubles when reads fill it, halves when they leave most of it.
    room: usize,
    /// Reads so much at a time that its buffers are used again, or did a moment ago.
    busy: bool,
    read_max: usize,
}

impl ReadBuffer {
    /// Starts with bytes that were read already. Reads bring at most `read_max` bytes, or 4 KiB.
    pub fn new(leftover: BytesMut, read_max: usize, others: Buffers) -> Self {
        let (size, read_max) = (leftover.capacity(), read_max.max(READ_MIN));
        Self { current: leftover, size, others, room: READ_MIN, busy: false, read_max }
    }

    /// Bytes that came and are not decoded.
    pub const fn bytes(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// The same, with room behind them for a read. `wants` is what the message at the front lacks.
    pub fn make_room(&mut self, wants: usize) -> &mut BytesMut {
        let wants = wants.min(AHEAD_MAX);
        // A nearly full buffer is not worth a read of its own; a half full one is.
        if self.spare() < wants.max(self.room / 2) {
            let needed = self.current.len() + wants.max(self.room);
            // Few sizes, so that one fits in the place of another.
            let usual = if self.room < USED_MIN { 0 } else { self.room + AHEAD_MAX };
            let (mut next, size) = self.others.take(needed.max(usual));
            next.extend_from_slice(&self.current);
            let mut old = std::mem::replace(&mut self.current, next);
            old.clear();
            self.others.give_back(old, self.size);
            self.size = size;
        }
        &mut self.current
    }

    /// Bytes that the next read can bring.
    pub(super) fn spare(&self) -> usize {
        self.current.capacity() - self.current.len()
    }

    /// Learns from a read that brought `got` bytes where `spare` would have fitted.
    pub fn learn(&mut self, got: usize, spare: usize) {
        let room = if got == spare {
            self.room * 2
        } else if got < self.room / 4 {
            (self.room / 2).max(READ_MIN)
        } else {
            self.room
        };
        self.set_room(room.min(self.read_max).min(self.others.share()));
    }

    fn set_room(&mut self, room: usize) {
        // A pause of one round trip must not cost the buffers: calm is who reads next to nothing.
        if !self.busy && room >= USED_MIN {
            self.others.busy.fetch_add(1, Relaxed);
            self.busy = true;
        } else if self.busy && room <= READ_MIN {
            self.others.calm();
            self.busy = false;
        }
        self.room = room;
    }

    /// Nothing came for a while: gives back all memory but for the bytes that are there.
    pub(super) fn rest(&mut self) {
        self.set_room(READ_MIN);
        if self.size > READ_MIN {
            self.current = BytesMut::from(&self.current[..]);
            self.size = self.current.capacity();
        }
    }

    /// Bytes of every allocation that is held here, slices elsewhere or not.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.size + self.others.used.lock().unwrap().bytes
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.set_room(READ_MIN);
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
        let mut buffer = ReadBuffer::new(BytesMut::new(), 64 * 1024, Buffers::default());
        let sizes: Vec<_> = (0..6).map(|_| fill(&mut buffer).len()).collect();
        let [half, whole] = [32768 + AHEAD_MAX, 65536 + AHEAD_MAX];
        assert_eq!(sizes, [4096, 8192, 16384, half, whole, whole]);
        buffer.bytes().extend_from_slice(b"begun");
        buffer.rest();
        assert!(buffer.held() <= READ_MIN);
        assert_eq!(buffer.bytes().as_ref(), b"begun");
    }

    /// A connection whose reads are as large as they get.
    fn busy(others: &Buffers) -> ReadBuffer {
        let mut buffer = ReadBuffer::new(BytesMut::new(), USED_MIN, others.clone());
        (0..4).for_each(|_| drop(fill(&mut buffer)));
        buffer
    }

    #[test]
    fn a_buffer_is_used_again_once_its_slices_are_gone() {
        let others = Buffers::default();
        let [mut ours, mut theirs] = [(), ()].map(|()| busy(&others));
        let first = fill(&mut ours);
        let at = first.as_ptr();
        let second = fill(&mut ours);
        assert_ne!(second.as_ptr(), at, "the first is still in use");
        drop(first);
        let found = (0..4).any(|_| fill(&mut theirs).as_ptr() == at);
        assert!(found, "another connection has it now");
    }

    #[test]
    fn one_that_is_free_is_found_behind_those_that_are_not_and_too_small_ones_are_freed() {
        let others = Buffers::default();
        let mut buffer = busy(&others);
        let pinned: Vec<_> = (0..LOOKS).map(|_| fill(&mut buffer)).collect();
        let free = fill(&mut buffer).as_ptr(); // the slice is gone
        let found = (0..3).any(|_| fill(&mut buffer).as_ptr() == free);
        assert!(found, "the second look goes on where the first ended");
        let before = buffer.held();
        drop(pinned);
        others.take(2 * USED_MIN + AHEAD_MAX);
        assert!(buffer.held() < before / 2, "larger ones are wanted now");
    }

    #[test]
    fn the_last_one_that_is_busy_leaves_nothing_behind() {
        let others = Buffers::default();
        let [mut ours, mut theirs] = [(), ()].map(|()| busy(&others));
        drop([(); 3].map(|()| fill(&mut ours)));
        let calm = |buffer: &mut ReadBuffer| (0..8).for_each(|_| buffer.learn(1, READ_MIN));
        calm(&mut ours);
        assert!(ours.held() > ours.size, "the other one is busy");
        calm(&mut theirs);
        drop([(); 3].map(|()| fill(&mut ours)));
        assert_eq!(ours.held(), ours.size);
    }

    #[test]
    fn many_busy_connections_share_the_room() {
        let others = Buffers::default();
        let new = |_| ReadBuffer::new(BytesMut::new(), 256 * 1024, others.clone());
        let grow = |buffer: &mut ReadBuffer| {
            (0..8).for_each(|_| drop(fill(buffer)));
            buffer.room
        };
        let mut first = new(0);
        assert_eq!(grow(&mut first), 256 * 1024, "few have all that they can use");
        let mut many: Vec<_> = (0..7).map(new).collect();
        many.iter_mut().for_each(|buffer| _ = grow(buffer));
        assert_eq!(grow(&mut many[3]), ROOM_SUM / 8);
        many.extend((0..160).map(new));
        many.iter_mut().for_each(|buffer| _ = grow(buffer));
        assert_eq!(grow(&mut many[3]), SHARE_MIN);
        many.iter_mut().take(150).for_each(ReadBuffer::rest);
        drop(many);
        assert_eq!(grow(&mut first), 256 * 1024, "who rests or is gone has no share");
    }

    #[test]
    fn what_is_kept_for_reuse_is_bounded() {
        let others = Buffers::default();
        let mut buffer = busy(&others);
        let slices: Vec<_> = (0..2 * USED_MAX / USED_MIN).map(|_| fill(&mut buffer)).collect();
        assert!(buffer.held() <= USED_MAX + USED_MIN + AHEAD_MAX);
        drop(slices);
        buffer.rest();
        assert!(buffer.held() <= READ_MIN);
    }

    #[test]
    fn an_announced_length_allocates_at_most_a_block() {
        let mut buffer = ReadBuffer::new(BytesMut::new(), 256 * 1024, Buffers::default());
        buffer.make_room(256 * 1024);
        assert!(buffer.held() <= AHEAD_MAX);
    }
}
