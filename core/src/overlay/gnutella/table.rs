//! Query routing tables: which words a neighbour, or we, can be asked for.

use super::library::ROUTED_MIN;
use crate::proto::gnutella::{Compressor, Qrp, Query, Urn, inflate, word_slot};
use crate::words::words;
use bytes::Bytes;

/// Bytes of data in one PATCH.
const PATCH_MAX: usize = 1 << 10;
/// What we call infinity: a slot is taken or not.
const INFINITY: u8 = 2;

/// A set of words that knows too many, never too few.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    log2: u32,
    bits: Vec<u64>,
}

impl Table {
    /// No word, in `1 << log2` slots; 6 to 21.
    pub fn new(log2: u32) -> Self {
        let log2 = log2.clamp(6, 21);
        Self { log2, bits: vec![0; 1 << (log2 - 6)] }
    }

    /// These words, which must be small.
    pub fn of(log2: u32, words: impl Iterator<Item = String>) -> Self {
        let mut new = Self::new(log2);
        words.for_each(|word| new.insert(&word));
        new
    }

    fn has_slot(&self, slot: usize) -> bool {
        self.bits.get(slot / 64).is_some_and(|bits| bits >> (slot % 64) & 1 == 1)
    }

    fn set(&mut self, slot: usize, taken: bool) {
        let Some(bits) = self.bits.get_mut(slot / 64) else { return };
        *bits = *bits & !(1 << (slot % 64)) | u64::from(taken) << (slot % 64);
    }

    /// Puts a word in, which must be small.
    pub fn insert(&mut self, word: &str) {
        self.set(word_slot(word.as_bytes(), self.log2) as usize, true);
    }

    /// Whether a word may have been put in.
    pub fn has(&self, word: &str) -> bool {
        self.has_slot(word_slot(word.as_bytes(), self.log2) as usize)
    }

    /// Whether somebody with this table may answer a query: all its routed words are here, or one name of content is.
    pub fn meets(&self, query: &Query) -> bool {
        let mut long = words(&query.text).into_iter().filter(|w| w.len() >= ROUTED_MIN).peekable();
        let worded = long.peek().is_some() && long.all(|word| self.has(&word));
        let mut urns = query.extensions.urns.iter().filter(|urn| !matches!(urn, Urn::Wanted(_)));
        worded || urns.any(|urn| self.has(&urn.to_string().to_lowercase()))
    }

    /// Takes over every word of another table, whatever its size.
    pub fn merge(&mut self, other: &Self) {
        if other.log2 == self.log2 {
            self.bits.iter_mut().zip(&other.bits).for_each(|(mine, theirs)| *mine |= theirs);
            return;
        }
        for slot in (0..1 << other.log2).filter(|&slot| other.has_slot(slot)) {
            if other.log2 > self.log2 {
                self.set(slot >> (other.log2 - self.log2), true);
            } else {
                let wide = self.log2 - other.log2;
                (slot << wide..(slot + 1) << wide).for_each(|slot| self.set(slot, true));
            }
        }
    }

    /// The messages that give a neighbour this table.
    pub fn messages(&self) -> Vec<Qrp> {
        let slots = 1 << self.log2;
        // One nibble a slot: -1 for who is taken, the high nibble first.
        let nibble = |slot| if self.has_slot(slot) { 0xf } else { 0 };
        let plain: Vec<u8> =
            (0..slots / 2).map(|pair| nibble(2 * pair) << 4 | nibble(2 * pair + 1)).collect();
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&plain, 6);
        let parts: Vec<Bytes> = packed
            .chunks(PATCH_MAX.max(packed.len().div_ceil(255)))
            .map(Bytes::copy_from_slice)
            .collect();
        let total = parts.len() as u8;
        let patch =
            |(seq, data)| Qrp::Patch { seq, total, compressor: Compressor::Zlib, bits: 4, data };
        let reset = Qrp::Reset { slots: slots as u32, infinity: INFINITY };
        std::iter::once(reset).chain((1..=total).zip(parts).map(patch)).collect()
    }
}

/// The table of a neighbour while it is being received.
#[derive(Debug, Default)]
pub(super) struct Received {
    table: Option<Table>,
    /// Parts so far: how many of how many, how packed, how wide, and their data.
    parts: Option<(u8, u8, Compressor, u8, Vec<u8>)>,
    complete: bool,
}

/// The parts of a table do not fit together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BadSequence;

impl Received {
    /// The table, once a whole sequence has come; until then everything may be asked.
    pub(super) fn table(&self) -> Option<&Table> {
        self.table.as_ref().filter(|_| self.complete)
    }

    pub(super) fn handle(&mut self, message: Qrp) -> Result<(), BadSequence> {
        match message {
            Qrp::Reset { slots, .. } => {
                // Smaller tables than 64 slots say nothing; they are widened by no one and refused.
                if slots < 64 {
                    return Err(BadSequence);
                }
                *self = Self { table: Some(Table::new(slots.ilog2())), ..Self::default() };
                Ok(())
            }
            Qrp::Patch { seq, total, compressor, bits, data } => {
                let table = self.table.as_mut().ok_or(BadSequence)?;
                let want = (usize::from(bits) << table.log2) / 8;
                let (had, _, _, _, all) = match self.parts.take() {
                    None if seq == 1 => (0, total, compressor, bits, Vec::new()),
                    Some(parts)
                        if (parts.0 + 1, parts.1, parts.2, parts.3)
                            == (seq, total, compressor, bits) =>
                    {
                        parts
                    }
                    _ => return Err(BadSequence),
                };
                let mut all = all;
                // zlib makes nothing much longer than it was.
                if all.len() + data.len() > want + want / 64 + 64 {
                    return Err(BadSequence);
                }
                all.extend_from_slice(&data);
                if seq < total {
                    self.parts = Some((had + 1, total, compressor, bits, all));
                    return Ok(());
                }
                let plain = match compressor {
                    Compressor::None => all,
                    Compressor::Zlib => inflate(&all, want).ok_or(BadSequence)?,
                };
                if plain.len() != want {
                    return Err(BadSequence);
                }
                table.patch(&plain, bits);
                self.complete = true;
                Ok(())
            }
        }
    }
}

impl Table {
    /// Who becomes less than infinity is taken, who grows is not. Values between the two only had a meaning when tables
    /// told of words that are several links away, and nobody sends those.
    fn patch(&mut self, plain: &[u8], bits: u8) {
        let per_byte = usize::from(8 / bits);
        for (at, &byte) in plain.iter().enumerate().filter(|&(_, &byte)| byte != 0) {
            for nth in 0..per_byte {
                let change = byte << (nth as u8 * bits) >> (8 - bits);
                let negative = change >> (bits - 1) == 1;
                if change != 0 {
                    self.set(at * per_byte + nth, negative);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn received(messages: Vec<Qrp>) -> Received {
        let mut received = Received::default();
        for message in messages {
            assert!(received.table().is_none(), "everything is asked until the sequence ends");
            received.handle(message).unwrap();
        }
        received
    }

    fn patch(seq: u8, total: u8, bits: u8, data: Vec<u8>) -> Qrp {
        Qrp::Patch { seq, total, compressor: Compressor::None, bits, data: data.into() }
    }

    /// A neighbour whose one table of 65 536 slots is all ones, and one that takes words back.
    #[test]
    fn tables_of_others() {
        let full = [
            vec![Qrp::Reset { slots: 65_536, infinity: 7 }],
            vec![patch(1, 1, 4, vec![0xff; 32_768])],
        ];
        assert!(received(full.concat()).table().unwrap().meets(&Query::words("anything at all")));
        for bits in [4, 8] {
            let step = |value: u8| {
                let mut data = vec![0; 64 * usize::from(bits) / 8];
                data[0] = if bits == 4 { value << 4 } else { value };
                patch(1, 1, bits, data)
            };
            let mut one = received(vec![Qrp::Reset { slots: 64, infinity: 7 }, step(0xfa)]);
            assert!(one.table().unwrap().has_slot(0) && !one.table().unwrap().has_slot(1));
            one.handle(step(6)).unwrap();
            assert!(!one.table().unwrap().has_slot(0));
        }
    }

    #[test]
    fn sequences_that_do_not_fit_together() {
        let reset = || Qrp::Reset { slots: 64, infinity: 2 };
        for bad in [
            vec![patch(1, 1, 8, vec![0; 64])],
            vec![reset(), patch(2, 2, 8, vec![0; 64])],
            vec![reset(), patch(1, 2, 8, vec![0; 32]), patch(1, 2, 8, vec![0; 32])],
            vec![reset(), patch(1, 2, 8, vec![0; 32]), patch(2, 3, 8, vec![0; 32])],
            vec![reset(), patch(1, 1, 8, vec![0; 63])],
            vec![reset(), patch(1, 2, 8, vec![0; 1 << 15])],
            vec![Qrp::Reset { slots: 32, infinity: 2 }],
        ] {
            let mut received = Received::default();
            let last = bad.into_iter().map(|message| received.handle(message)).last();
            assert_eq!(last, Some(Err(BadSequence)));
        }
    }

    #[test]
    fn every_word_must_be_met() {
        let mut table = Table::new(16);
        let words = ["blue", "moon", "urn:sha1:aeaqcaibaeaqcaibaeaqcaibaeaqcaib"];
        words.iter().for_each(|word| table.insert(word));
        assert!(table.meets(&Query::words("Blue of moon")));
        assert!(!table.meets(&Query::words("blue mars")));
        assert!(!table.meets(&Query::words("of")));
        let urns = crate::proto::gnutella::Extensions::of_urns(vec![Urn::Sha1([1; 20])]);
        assert!(table.meets(&Query { extensions: urns, ..Query::words("mars") }));
    }

    proptest! {
        #[test]
        fn a_table_is_the_same_at_the_other_end(words in proptest::collection::vec("[a-z]{3,9}", 0..300), log2 in 6u32..17) {
            let mut table = Table::new(log2);
            words.iter().for_each(|word| table.insert(word));
            let got = received(table.messages());
            prop_assert_eq!(got.table(), Some(&table));
            for other in 6..17 {
                let mut merged = Table::new(other);
                merged.merge(&table);
                prop_assert!(words.iter().all(|word| merged.has(word)));
            }
        }
    }
}
