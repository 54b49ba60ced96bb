//! A set of pieces, stored as 64-bit words, in the bit order of the wire when turned into bytes.

use crate::geometry::PieceIndex;
use std::fmt;

/// Which of a torrent's pieces somebody has.
#[derive(Clone, Eq, PartialEq)]
pub struct Bitfield {
    words: Vec<u64>, // piece 0 is the highest bit of the first word; bits past `len` are zero
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// No piece of `len`.
    pub fn empty(len: u32) -> Self {
        Self { words: vec![0; (len as usize).div_ceil(64)], len, ones: 0 }
    }

    /// Every piece of `len`.
    pub fn full(len: u32) -> Self {
        let mut all = Self { words: vec![u64::MAX; (len as usize).div_ceil(64)], len, ones: len };
        all.clear_spare();
        all
    }

    /// Reads the body of a bitfield message. `None` if the byte count is not exactly right;
    /// spare bits are ignored, as deployed clients do.
    //= BEP 3 §peer messages (bitfield)
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != (len as usize).div_ceil(8) {
            return None;
        }
        let mut field = Self::empty(len);
        for (word, chunk) in field.words.iter_mut().zip(bytes.chunks(8)) {
            let mut raw = [0; 8];
            raw[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_be_bytes(raw);
        }
        field.clear_spare();
        field.ones = field.words.iter().map(|word| word.count_ones()).sum();
        Some(field)
    }

    /// The body of a bitfield message.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate((self.len as usize).div_ceil(8));
        bytes
    }

    /// Number of pieces the set is about.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no piece is in the set.
    pub const fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// Whether every piece is in the set.
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// How many pieces are in the set.
    pub const fn count(&self) -> u32 {
        self.ones
    }

    /// Whether the piece is in the set; false for an index past the end.
    pub fn has(&self, piece: PieceIndex) -> bool {
        piece.0 < self.len && self.words[piece.idx() / 64] & mask(piece) != 0
    }

    /// Adds a piece; returns whether it was new. An index past the end changes nothing.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece.0 >= self.len || self.has(piece) {
            return false;
        }
        self.words[piece.idx() / 64] |= mask(piece);
        self.ones += 1;
        true
    }

    /// Removes a piece; returns whether it was there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.has(piece) {
            return false;
        }
        self.words[piece.idx() / 64] &= !mask(piece);
        self.ones -= 1;
        true
    }

    /// Adds every piece of `other`, a set about as many pieces.
    pub fn insert_all(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
        self.recount();
    }

    /// Removes every piece of `other`.
    pub fn remove_all(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= !theirs);
        self.recount();
    }

    /// The pieces in the set, in order.
    pub fn ones(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| bits(at, word))
    }

    /// The pieces not in the set, in order.
    pub fn zeros(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        let len = self.len;
        self.words
            .iter()
            .enumerate()
            .flat_map(|(at, &word)| bits(at, !word))
            .take_while(move |piece| piece.0 < len)
    }

    /// Whether `other` has any piece that this set lacks. Word by word: 64 pieces a step.
    pub fn lacks_any_of(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| theirs & !mine != 0)
    }

    /// How many pieces both sets have.
    pub fn count_common(&self, other: &Self) -> u32 {
        self.words.iter().zip(&other.words).map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// The pieces that both sets have, each once, in a ring that begins at `start`. 64 pieces a step.
    pub fn common_from<'a>(
        &'a self,
        other: &'a Self,
        start: PieceIndex,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        let words = self.words.len().min(other.words.len());
        let head = u64::MAX >> (start.0 % 64);
        let steps = if words == 0 { 0 } else { words + 1 }; // the first word is visited twice, halved
        (0..steps).flat_map(move |step| {
            let at = (start.idx() / 64 + step) % words;
            let part = match step {
                0 => head,
                last if last == words => !head,
                _ => u64::MAX,
            };
            bits(at, self.words[at] & other.words[at] & part)
        })
    }

    fn recount(&mut self) {
        self.clear_spare();
        self.ones = self.words.iter().map(|word| word.count_ones()).sum();
    }

    fn clear_spare(&mut self) {
        let used = self.len % 64;
        if used != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= u64::MAX << (64 - used);
        }
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({}/{})", self.ones, self.len)
    }
}

const fn mask(piece: PieceIndex) -> u64 {
    1 << (63 - piece.0 % 64)
}

fn bits(at: usize, mut word: u64) -> impl Iterator<Item = PieceIndex> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.leading_zeros();
            word &= !(1 << (63 - bit));
            PieceIndex(at as u32 * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn wire_form_is_high_bit_first_and_exact() {
        let mut field = Bitfield::empty(10);
        field.insert(PieceIndex(0));
        field.insert(PieceIndex(9));
        assert_eq!(field.to_wire(), [0b1000_0000, 0b0100_0000]);
        assert_eq!(Bitfield::from_wire(&[0xff, 0xff], 10), Some(Bitfield::full(10)));
        assert_eq!(Bitfield::from_wire(&[0xff], 10), None);
        assert_eq!(Bitfield::from_wire(&[0xff; 3], 10), None);
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(len in 1u32..300, ops in prop::collection::vec((any::<bool>(), 0u32..320), 0..200)) {
            let mut field = Bitfield::empty(len);
            let mut model = BTreeSet::new();
            for (insert, index) in ops {
                let piece = PieceIndex(index);
                if insert {
                    prop_assert_eq!(field.insert(piece), index < len && model.insert(index));
                } else {
                    prop_assert_eq!(field.remove(piece), model.remove(&index));
                }
            }
            prop_assert_eq!(field.count() as usize, model.len());
            prop_assert!(field.ones().map(|p| p.0).eq(model.iter().copied()));
            prop_assert!(field.zeros().map(|p| p.0).eq((0..len).filter(|i| !model.contains(i))));
            prop_assert_eq!(Bitfield::from_wire(&field.to_wire(), len), Some(field.clone()));
            prop_assert_eq!(Bitfield::empty(len).lacks_any_of(&field), !model.is_empty());
            prop_assert!(!Bitfield::full(len).lacks_any_of(&field));
            let mut rest = Bitfield::full(len);
            rest.remove_all(&field);
            prop_assert!(rest.ones().eq(field.zeros()));
            rest.insert_all(&field);
            prop_assert_eq!(rest, Bitfield::full(len));
        }

        #[test]
        fn a_ring_visits_every_common_piece_once(len in 1u32..300, a in prop::collection::btree_set(0u32..300, 0..100),
            b in prop::collection::btree_set(0u32..300, 0..100), start in 0u32..300) {
            let of = |set: &BTreeSet<u32>| {
                let mut field = Bitfield::empty(len);
                set.iter().for_each(|&piece| { field.insert(PieceIndex(piece)); });
                field
            };
            let start = start % len;
            let common: Vec<u32> = a.intersection(&b).copied().filter(|&piece| piece < len).collect();
            let (after, before): (Vec<u32>, Vec<u32>) = common.iter().partition(|&&piece| piece >= start);
            let ring: Vec<u32> = of(&a).common_from(&of(&b), PieceIndex(start)).map(|piece| piece.0).collect();
            prop_assert_eq!(ring, [after, before].concat());
            prop_assert_eq!(of(&a).count_common(&of(&b)) as usize, common.len());
        }
    }
}
