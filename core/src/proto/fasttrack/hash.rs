//! The names of files: UUHash and KZHash.
//!
//! A UUHash covers the first 300 KiB, samples at powers of two and the end. The rest of the file can be anything, so it
//! may group results and never proves a download.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use md5::{Digest, Md5};
use std::fmt;
use std::ops::Range;

/// Bytes of the head, of a sample and of the end.
const SAMPLE: u64 = 300 << 10;
/// Where the first sample begins; each further one begins at twice the distance.
const FIRST_SAMPLE: u64 = 1 << 20;
/// Bytes of a leaf of the tree.
const LEAF: usize = 32 << 10;

/// What a file is called in the network.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UuHash(pub [u8; 20]);

/// A UUHash, and a tree of MD5 over all of the file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct KzHash {
    /// As in shares and replies.
    pub uu: UuHash,
    /// Root of the tree.
    pub tree: [u8; 16],
}

impl UuHash {
    /// Reads 40 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let raw = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        raw.try_into().ok().map(Self)
    }

    /// Reads the form of links and headers: `=` and base64. A doubled `=` is in use.
    pub fn from_base64(text: &str) -> Option<Self> {
        let raw = BASE64.decode(text.trim_start_matches('=').as_bytes()).ok()?;
        raw.try_into().ok().map(Self)
    }

    /// 29 characters, as in links and in the header `X-KazaaTag`.
    pub fn to_base64(self) -> String {
        format!("={}", BASE64.encode(&self.0))
    }

    /// The number by which shares and old URLs name the file: CRC-16 of the hash, 14 bits of it.
    pub fn file_id(self) -> u16 {
        let crc = self.0.iter().fold(0u16, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
        crc & 0x3fff
    }

    /// Whether two files of the same size may be the same: mldonkey writes a constant where the samples belong, so only
    /// the MD5 of the beginning is compared. Good for grouping, and for nothing else.
    pub fn may_be(&self, other: &Self) -> bool {
        self.0[..16] == other.0[..16]
    }
}

impl fmt::Display for UuHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UuHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for KzHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uu)?;
        self.tree.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The UUHash of a file that is read once from its beginning to its end.
pub struct UuHasher {
    len: u64,
    at: u64,
    head: Md5,
    crc: u32,
    /// What is still to be sampled, the last first.
    samples: Vec<Range<u64>>,
}

impl UuHasher {
    /// For a file of `len` bytes.
    pub fn new(len: u64) -> Self {
        let mut samples = samples(len);
        samples.reverse();
        Self { len, at: 0, head: Md5::new(), crc: !0, samples }
    }

    /// The next bytes. Answers with those that belong to the file: what goes beyond its length is ignored.
    pub fn update<'p>(&mut self, part: &'p [u8]) -> &'p [u8] {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        let part = &part[..part.len().min(left)];
        let (begin, end) = (self.at, self.at + part.len() as u64);
        let within = |range: &Range<u64>| {
            let (from, to) = (range.start.clamp(begin, end), range.end.clamp(begin, end));
            &part[(from - begin) as usize..(to - begin) as usize]
        };
        self.head.update(within(&(0..SAMPLE)));
        while let Some(sample) = self.samples.last() {
            self.crc = crc32(self.crc, within(sample));
            if sample.end > end {
                break;
            }
            self.samples.pop();
        }
        self.at = end;
        part
    }

    /// The hash; `None` if the file was shorter than it was said to be.
    pub fn finish(self) -> Option<UuHash> {
        if self.at < self.len {
            return None;
        }
        let mut hash = [0; 20];
        hash[..16].copy_from_slice(&self.head.finalize());
        hash[16..].copy_from_slice(&(self.crc ^ self.len as u32).to_le_bytes());
        Some(UuHash(hash))
    }
}

/// Both hashes of a file that is read once from its beginning to its end. The tree takes an MD5 of all of it, which
/// [`UuHasher`] alone does not.
pub struct FileHasher {
    uu: UuHasher,
    tree: Tree,
}

impl FileHasher {
    /// For a file of `len` bytes.
    pub fn new(len: u64) -> Self {
        Self { uu: UuHasher::new(len), tree: Tree::default() }
    }

    /// The next bytes; what goes beyond the length is ignored.
    pub fn update(&mut self, part: &[u8]) {
        self.tree.update(self.uu.update(part));
    }

    /// The hashes; `None` if the file was shorter than it was said to be.
    pub fn finish(self) -> Option<KzHash> {
        self.uu.finish().map(|uu| KzHash { uu, tree: self.tree.finish() })
    }
}

/// What the last four bytes of a UUHash cover, in order. Nothing of a file of 300 KiB; a sample that would overlap the
/// end is left out.
fn samples(len: u64) -> Vec<Range<u64>> {
    if len <= SAMPLE {
        return Vec::new();
    }
    let doubling = std::iter::successors(Some(FIRST_SAMPLE), |at| at.checked_mul(2));
    let fits = doubling.take_while(|at| at.checked_add(SAMPLE).is_some_and(|end| end <= len));
    let mut samples: Vec<_> = fits.map(|at| at..at + SAMPLE).collect();
    samples.pop_if(|last| last.end > len - SAMPLE);
    samples.push(len - SAMPLE.min(len - SAMPLE)..len);
    samples
}

/// CRC-32 with the usual polynomial, without the exclusive or at the end.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| CRC32[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let (mut crc, mut bit) = (at as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

/// MD5 of blocks, of pairs of them, of pairs of those; who has no partner is hashed alone.
#[derive(Default)]
struct Tree {
    leaf: Md5,
    leaf_len: usize,
    /// On each level the node that waits for its partner: as few as the length has bits.
    waiting: Vec<Option<[u8; 16]>>,
}

impl Tree {
    fn update(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let (head, rest) = part.split_at(part.len().min(LEAF - self.leaf_len));
            self.leaf.update(head);
            self.leaf_len += head.len();
            part = rest;
            if self.leaf_len == LEAF {
                self.end_leaf();
            }
        }
    }

    fn end_leaf(&mut self) {
        let mut node: [u8; 16] = self.leaf.finalize_reset().into();
        self.leaf_len = 0;
        for level in &mut self.waiting {
            match level.take() {
                Some(left) => node = md5(&[left, node]),
                None => {
                    *level = Some(node);
                    return;
                }
            }
        }
        self.waiting.push(Some(node));
    }

    fn finish(mut self) -> [u8; 16] {
        if self.leaf_len > 0 {
            self.end_leaf();
        }
        if self.waiting.is_empty() {
            return md5(&[]);
        }
        let top = self.waiting.len() - 1;
        let mut last: Option<[u8; 16]> = None;
        for (level, waiting) in self.waiting.into_iter().enumerate() {
            last = match (waiting, last) {
                (Some(left), Some(right)) => Some(md5(&[left, right])),
                // The one node of the highest level is the root, but a leaf never is.
                (Some(root), None) if level == top && level > 0 => Some(root),
                (Some(alone), None) | (None, Some(alone)) => Some(md5(&[alone])),
                (None, None) => None,
            };
        }
        last.unwrap_or_default()
    }
}

fn md5(parts: &[[u8; 16]]) -> [u8; 16] {
    let mut hasher = Md5::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}
