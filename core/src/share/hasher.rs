//! Everything that names a file's content, from one pass over it.

use crate::hash::{Sha1, update_each};
use crate::proto::fasttrack::{UuHash, UuHasher};
use crate::proto::napster::CLASSIC_HASH_BYTES;
use md5::{Digest as _, Md5};

/// What names the content of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hashes {
    /// SHA-1 of all of it: the only one here that proves anything.
    pub sha1: [u8; 20],
    /// MD5 of its first [`CLASSIC_HASH_BYTES`], as Napster's clients send it.
    pub md5: [u8; 16],
    /// FastTrack's.
    pub uu: UuHash,
}

/// What one pass over a file gives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hashed {
    /// What names it.
    pub hashes: Hashes,
    /// SHA-1 of each of its pieces, as a torrent of it alone has them; empty if they were not asked for.
    pub pieces: Vec<[u8; 20]>,
}

/// Hashes a file that is read once from its beginning to its end.
pub struct Hasher {
    /// Of the whole, and of the piece at hand.
    sha1: [Sha1; 2],
    md5: Md5,
    /// Bytes that the MD5 still takes.
    classic_left: u64,
    uu: UuHasher,
    pieces: Option<Pieces>,
}

struct Pieces {
    len: usize,
    /// Bytes that the piece at hand still takes; never 0.
    left: usize,
    done: Vec<[u8; 20]>,
}

impl Hasher {
    /// For a file of `len` bytes; if `piece_len` is given and not 0, with the hashes of its pieces.
    pub fn new(len: u64, piece_len: Option<u32>) -> Self {
        let pieces = |len: u32| Pieces { len: len as usize, left: len as usize, done: Vec::new() };
        Self {
            sha1: [Sha1::new(), Sha1::new()],
            md5: Md5::new(),
            classic_left: CLASSIC_HASH_BYTES,
            uu: UuHasher::new(len),
            pieces: piece_len.filter(|&len| len > 0).map(pieces),
        }
    }

    /// The next bytes; what goes beyond the length is ignored.
    pub fn update(&mut self, part: &[u8]) {
        let mut part = self.uu.update(part);
        let classic = part.len().min(self.classic_left as usize);
        self.md5.update(&part[..classic]);
        self.classic_left -= classic as u64;
        let Some(pieces) = &mut self.pieces else { return self.sha1[0].update(part) };
        while !part.is_empty() {
            let (head, rest) = part.split_at(part.len().min(pieces.left));
            update_each(&mut self.sha1, &[head, head]);
            pieces.left -= head.len();
            if pieces.left == 0 {
                pieces.done.push(std::mem::take(&mut self.sha1[1]).finish());
                pieces.left = pieces.len;
            }
            part = rest;
        }
    }

    /// All that names it; `None` if the file was shorter than it was said to be.
    pub fn finish(self) -> Option<Hashed> {
        let uu = self.uu.finish()?;
        let [whole, piece] = self.sha1;
        let mut pieces = Vec::new();
        if let Some(Pieces { len, left, done }) = self.pieces {
            pieces = done;
            pieces.extend((left < len).then(|| piece.finish()));
        }
        let hashes = Hashes { sha1: whole.finish(), md5: self.md5.finalize().into(), uu };
        Some(Hashed { hashes, pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha1;
    use crate::proto::fasttrack::FileHasher;
    use data_encoding::HEXLOWER;

    /// The content of the vectors for FastTrack's hashes.
    fn content(len: u64) -> Vec<u8> {
        (0..len).map(|i| (i.wrapping_mul(i).wrapping_mul(31) + i / 7) as u8).collect()
    }

    fn hash(content: &[u8], piece_len: Option<u32>, step: usize) -> Hashed {
        let mut hasher = Hasher::new(content.len() as u64, piece_len);
        content.chunks(step).for_each(|part| hasher.update(part));
        hasher.finish().unwrap()
    }

    #[test]
    fn one_pass_gives_what_each_network_computes() {
        for len in [0, 1, 299_999, 300_000, 300_001, 307_201, 1_355_777] {
            let content = content(len);
            let got = hash(&content, Some(1 << 14), 10_007);
            assert_eq!(got.hashes.sha1, sha1([&content[..]]));
            let head = &content[..content.len().min(300_000)];
            assert_eq!(got.hashes.md5, <[u8; 16]>::from(Md5::digest(head)), "{len}");
            let mut other = FileHasher::new(len);
            other.update(&content);
            assert_eq!(got.hashes.uu, other.finish().unwrap().uu, "{len}");
            let pieces: Vec<_> = content.chunks(1 << 14).map(|piece| sha1([piece])).collect();
            assert_eq!(got.pieces, pieces, "{len}");
            assert_eq!(hash(&content, None, 1 << 18), Hashed { pieces: Vec::new(), ..got });
        }
    }

    #[test]
    fn known_content() {
        let of = |text: &str| hash(text.as_bytes(), None, 7).hashes;
        let hex = |raw: &[u8]| HEXLOWER.encode(raw);
        // The test suites of RFC 1321 and RFC 3174.
        assert_eq!(hex(&of("abc").md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(&of("abc").sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let vector = hash(&content(1_355_777), None, 65_536).hashes.uu;
        assert_eq!(vector.to_string(), "422922672fb7e75cfdcf2d8921a696a2b5440513");
    }

    #[test]
    fn a_file_that_shrank_or_grew() {
        let mut short = Hasher::new(10, Some(4));
        short.update(&[0; 9]);
        assert_eq!(short.finish(), None);
        let mut long = Hasher::new(10, Some(4));
        long.update(&[0; 9]);
        long.update(&[0; 9]);
        assert_eq!(long.finish().unwrap(), hash(&[0; 10], Some(4), 10));
    }
}
