//! Query routing: the messages that build a table, and the hash that finds a word in one.

use super::messages::{fixed, u32_at};
use super::{GnutellaError, SLOTS_MAX};
use bytes::Bytes;

/// How the data of a patch is packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compressor {
    /// Not at all.
    None,
    /// As one zlib stream over the whole sequence.
    Zlib,
}

/// One message about the table of a neighbour.
// After QRP 0.1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Qrp {
    /// A table of this many slots, all of them empty.
    Reset {
        /// A power of two of at most 2 Mi.
        slots: u32,
        /// A slot with less than this is taken.
        infinity: u8,
    },
    /// A part of a sequence that changes the table.
    Patch {
        /// Which part, from 1.
        seq: u8,
        /// Parts of the sequence.
        total: u8,
        /// Of the sequence.
        compressor: Compressor,
        /// Bits of one change: 1, 2, 4 or 8.
        bits: u8,
        /// Changes, packed.
        data: Bytes,
    },
}

impl Qrp {
    /// Reads a payload.
    ///
    /// # Errors
    /// An unknown variant or compressor, a table whose size is no power of two or too large, a part that is none of
    /// its sequence.
    pub fn parse(raw: &Bytes) -> Result<Self, GnutellaError> {
        let malformed = GnutellaError::Malformed { what: "QRP", got: raw.len() };
        match raw.first() {
            Some(0) => {
                let fixed = fixed::<6>(raw, "QRP")?;
                let (slots, infinity) = (u32_at(fixed, 1), fixed[5]);
                let fits = slots.is_power_of_two() && (2..=SLOTS_MAX).contains(&slots);
                if fits && infinity > 0 {
                    Ok(Self::Reset { slots, infinity })
                } else {
                    Err(malformed)
                }
            }
            Some(1) => {
                let [_, seq, total, compressor, bits] = *fixed::<5>(raw, "QRP")?;
                let compressor = match compressor {
                    0 => Compressor::None,
                    1 => Compressor::Zlib,
                    _ => return Err(malformed),
                };
                if seq == 0 || seq > total || !matches!(bits, 1 | 2 | 4 | 8) {
                    return Err(malformed);
                }
                Ok(Self::Patch { seq, total, compressor, bits, data: raw.slice(5..) })
            }
            _ => Err(malformed),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Reset { slots, infinity } => {
                let mut out = vec![0];
                out.extend_from_slice(&slots.to_le_bytes());
                out.push(*infinity);
                out
            }
            Self::Patch { seq, total, compressor, bits, data } => {
                let compressor = u8::from(*compressor == Compressor::Zlib);
                let mut out = vec![1, *seq, *total, compressor, *bits];
                out.extend_from_slice(data);
                out
            }
        }
    }
}

/// The slot of a word in lower case, in a table of `1 << log2_slots` slots.
// After QRP 0.1, hash function.
pub fn word_slot(word: &[u8], log2_slots: u32) -> u32 {
    let folded =
        word.iter().enumerate().fold(0, |x, (i, &byte)| x ^ u32::from(byte) << (8 * (i % 4)));
    folded.wrapping_mul(0x4f1b_bcdc).checked_shr(32 - log2_slots).unwrap_or(0)
}

/// Unpacks a zlib stream of at most `most` bytes; `None` if it is none or larger.
pub fn inflate(data: &[u8], most: usize) -> Option<Vec<u8>> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(data, most).ok()
}
