//! SHA-1 of messages that come in parts, several of them interleaved.
//!
//! Decides which messages share a loop: always as many as there are, up to [`LANES`]; one that ends makes room for the
//! next. Whole blocks are hashed where they lie; only a block that two parts share is copied together.
//= RFC 3174

pub use super::lanes::LANES;
use super::lanes::{Block, State, compress};

const BLOCK: usize = size_of::<Block>();

/// A message on its way, without ever lying in memory as a whole.
#[derive(Clone, Debug)]
pub struct Sha1 {
    state: State,
    shared: Block, // its first `len % BLOCK` bytes wait for the rest of their block
    len: u64,
}

impl Sha1 {
    /// An empty message.
    pub const fn new() -> Self {
        let state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
        Self { state, shared: [0; BLOCK], len: 0 }
    }

    /// The next bytes of the message. Where several messages wait, [`update_each`] is twice as fast.
    pub fn update(&mut self, part: &[u8]) {
        let mut lane = Lane::new(self, std::iter::once(part));
        while lane.advance() {
            step([&mut lane]);
        }
    }

    /// SHA-1 of everything so far.
    pub fn finish(mut self) -> [u8; 20] {
        let mut padding = [0; BLOCK + 8];
        padding[0] = 0x80;
        let end = BLOCK - (self.shared_len() + 8) % BLOCK;
        padding[end..end + 8].copy_from_slice(&(self.len * 8).to_be_bytes());
        self.update(&padding[..end + 8]);
        self.state.map(u32::to_be_bytes).as_flattened().try_into().expect("five times four bytes")
    }

    const fn shared_len(&self) -> usize {
        (self.len % BLOCK as u64) as usize
    }

    /// Ends the block that was begun by earlier parts, and returns what is left of this one.
    fn end_shared<'p>(&mut self, part: &'p [u8]) -> &'p [u8] {
        let from = self.shared_len();
        if from == 0 {
            return part;
        }
        let (head, rest) = part.split_at(part.len().min(BLOCK - from));
        self.begin_shared(from, head);
        if self.shared_len() == 0 {
            compress(std::array::from_mut(&mut self.state), [&[self.shared]]);
        }
        rest
    }

    /// Keeps bytes that are no whole block, until the next part.
    fn begin_shared(&mut self, from: usize, bytes: &[u8]) {
        self.shared[from..from + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u64;
    }
}

impl Default for Sha1 {
    fn default() -> Self {
        Self::new()
    }
}

/// SHA-1 of each of several pieces, which lie in any number of parts; each piece may have its own length.
pub fn pieces<P: AsRef<[u8]>>(pieces: &[&[P]]) -> Vec<[u8; 20]> {
    let mut messages = vec![Sha1::new(); pieces.len()];
    let parts = pieces.iter().map(|parts| parts.iter().map(AsRef::as_ref));
    feed(messages.iter_mut().zip(parts));
    messages.into_iter().map(Sha1::finish).collect()
}

/// The next bytes of each of several messages. Best in fours, and parts of one length.
pub fn update_each(messages: &mut [Sha1], parts: &[&[u8]]) {
    feed(messages.iter_mut().zip(parts.iter().map(|part| std::iter::once(*part))));
}

/// A message and what is still to be fed to it.
struct Lane<'m, 'p, I> {
    message: &'m mut Sha1,
    parts: I,
    blocks: &'p [Block], // of the part at hand
    tail: &'p [u8],      // what follows them, less than a block
}

impl<'m, 'p, I: Iterator<Item = &'p [u8]>> Lane<'m, 'p, I> {
    const fn new(message: &'m mut Sha1, parts: I) -> Self {
        Self { message, parts, blocks: &[], tail: &[] }
    }

    /// Goes on to the next part that has whole blocks; `false` if there is none.
    fn advance(&mut self) -> bool {
        while self.blocks.is_empty() {
            // If a block is still unfinished, then the part ended with it and the tail is empty.
            self.message.begin_shared(0, self.tail);
            self.tail = &[];
            let Some(part) = self.parts.next() else { return false };
            (self.blocks, self.tail) = self.message.end_shared(part).as_chunks();
        }
        true
    }
}

/// Feeds every message all its parts.
fn feed<'m, 'p, I: Iterator<Item = &'p [u8]>>(messages: impl Iterator<Item = (&'m mut Sha1, I)>) {
    let lanes = messages.map(|(message, parts)| Lane::new(message, parts));
    let mut waiting = lanes.filter_map(|mut lane| lane.advance().then_some(lane));
    let mut active: Vec<_> = waiting.by_ref().take(LANES).collect();
    loop {
        match &mut active[..] {
            [] => return,
            [a] => step([a]),
            [a, b] => step([a, b]),
            [a, b, c] => step([a, b, c]),
            [a, b, c, d, ..] => step([a, b, c, d]),
        }
        active.retain_mut(Lane::advance);
        active.extend(waiting.by_ref().take(LANES - active.len()));
    }
}

/// Feeds the blocks at hand, until the first lane has none left.
fn step<const N: usize, I>(lanes: [&mut Lane<'_, '_, I>; N]) {
    let mut states = lanes.each_ref().map(|lane| lane.message.state);
    let count = compress(&mut states, lanes.each_ref().map(|lane| lane.blocks));
    for (lane, state) in lanes.into_iter().zip(states) {
        lane.message.state = state;
        lane.message.len += (count * BLOCK) as u64;
        lane.blocks = &lane.blocks[count..];
    }
}
