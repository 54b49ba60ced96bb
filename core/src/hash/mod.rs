//! Hashing of content: one message at a time for whatever is small, several interleaved for pieces.
//!
//! Never reads a file or compares with what a torrent says. The only module that may hold unsafe code, and only in
//! `lanes.rs`.

mod lanes;
mod sha1;
#[cfg(test)]
mod tests;

pub use self::lanes::interleaves;
pub use self::sha1::{LANES, Sha1, pieces, update_each};
use sha2::Digest as _;

/// SHA-1 of bytes that lie in several places.
pub fn sha1<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 20] {
    let mut message = Sha1::new();
    parts.into_iter().for_each(|part| message.update(part));
    message.finish()
}

/// SHA-256 of bytes that lie in several places.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// CRC-32 with the polynomial of Castagnoli. No defence against anybody who wants a certain value.
//= RFC 3720 §12.1
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| CRC32C[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let (mut crc, mut bit) = (at as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};
