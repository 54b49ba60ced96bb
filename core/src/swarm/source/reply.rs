//! What a source answers: whether its head promises what was asked for, and the body cut into blocks.
//= BEP 19 §HTTP/FTP seeding (byte ranges)

use super::SourceFault;
use crate::geometry::{BLOCK_LEN, Block, Geometry};
use bytes::{Buf, Bytes, BytesMut};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What an answer says before its body, whatever the protocol it is written in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head {
    /// As in HTTP: 206 for a range, 200 for a file, 503 and 429 for a host that has no place.
    pub status: u16,
    /// First and last byte of what follows, counted in the file.
    pub range: Option<RangeInclusive<u64>>,
    /// Bytes of the file.
    pub total: Option<u64>,
    /// Bytes that follow.
    pub len: Option<u64>,
    /// When to ask again after a refusal.
    pub retry_after: Option<Duration>,
}

/// Bytes of one file that are asked for in one request. Not empty, and inside the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// First byte, counted in the file.
    pub first: u64,
    /// How many.
    pub len: u64,
    /// Bytes of the file.
    pub file_len: u64,
}

impl Part {
    /// How many bytes of this part follow, from its first on; a host that has only some of the file may send fewer than
    /// asked for. An error if something else follows, or nothing.
    pub fn accept(&self, head: &Head) -> Result<u64, SourceFault> {
        match head.status {
            206 => self.accept_range(head),
            200 => self.accept_whole(head),
            429 | 503 => Err(SourceFault::Busy { retry_after: head.retry_after }),
            other => Err(SourceFault::Status(other)),
        }
    }

    fn accept_range(&self, head: &Head) -> Result<u64, SourceFault> {
        self.check_total(head.total)?;
        let range = head.range.clone().ok_or(SourceFault::Range { got: None, want: self.first })?;
        if *range.start() != self.first || range.is_empty() {
            return Err(SourceFault::Range { got: Some(*range.start()), want: self.first });
        }
        let less = range.end() - range.start(); // the length, less one
        if less >= self.len {
            return Err(SourceFault::TooLong(self.len));
        }
        self.check_len(less + 1, head.len)
    }

    /// A whole file will do if that is what was asked for.
    fn accept_whole(&self, head: &Head) -> Result<u64, SourceFault> {
        if self.len != self.file_len {
            return Err(SourceFault::Unranged);
        }
        self.check_total(head.total.or(head.len))?;
        self.check_len(self.len, head.len)
    }

    fn check_total(&self, total: Option<u64>) -> Result<(), SourceFault> {
        match total {
            Some(got) if got != self.file_len => {
                Err(SourceFault::Total { got, want: self.file_len })
            }
            _ => Ok(()),
        }
    }

    fn check_len(&self, want: u64, len: Option<u64>) -> Result<u64, SourceFault> {
        match len {
            Some(got) if got > want => Err(SourceFault::TooLong(want)),
            Some(got) if got < want => Err(SourceFault::Short { got, want }),
            _ => Ok(want),
        }
    }
}

/// Cuts the bytes of a range into blocks, however they were split on the way. Holds less than one block; copies only
/// blocks that come in several parts.
#[derive(Clone, Debug)]
pub struct Cutter {
    geometry: Geometry,
    /// Where in the torrent the next block begins.
    at: u64,
    /// Bytes of the range, and how many have come.
    len: u64,
    got: u64,
    begun: BytesMut,
}

impl Cutter {
    /// For a range of `len` bytes that begins at `at` in the torrent, where a block begins.
    pub fn new(geometry: Geometry, at: u64, len: u64) -> Self {
        let len = len.min(geometry.total().saturating_sub(at));
        Self { geometry, at, len, got: 0, begun: BytesMut::new() }
    }

    /// Takes in what has come and appends what is whole to `out`. Bytes beyond the range are an error; the blocks before
    /// them are good.
    pub fn cut(
        &mut self,
        mut bytes: Bytes,
        out: &mut Vec<(Block, Bytes)>,
    ) -> Result<(), SourceFault> {
        let room = self.len - self.got;
        let excess = bytes.len() as u64 > room;
        if excess {
            bytes.truncate(room as usize);
        }
        self.got += bytes.len() as u64;
        while !bytes.is_empty() {
            let block = self.next();
            let missing = block.len as usize - self.begun.len();
            if self.begun.is_empty() && bytes.len() >= missing {
                out.push((block, bytes.split_to(missing)));
            } else {
                let part = bytes.len().min(missing);
                self.begun.reserve(missing);
                self.begun.extend_from_slice(&bytes[..part]);
                bytes.advance(part);
                if part < missing {
                    break;
                }
                out.push((block, self.begun.split().freeze()));
            }
            self.at += u64::from(block.len);
        }
        if excess { Err(SourceFault::TooLong(self.len)) } else { Ok(()) }
    }

    /// Whether the whole range has come. More is an error.
    pub const fn is_full(&self) -> bool {
        self.got == self.len
    }

    /// The body has ended.
    pub fn end(&self) -> Result<(), SourceFault> {
        if self.is_full() {
            Ok(())
        } else {
            Err(SourceFault::Short { got: self.got, want: self.len })
        }
    }

    /// The block that begins at `at`.
    fn next(&self) -> Block {
        let piece_len = u64::from(self.geometry.piece_len());
        let piece = crate::geometry::PieceIndex((self.at / piece_len) as u32);
        self.geometry.block(piece, (self.at % piece_len) as u32 / BLOCK_LEN)
    }
}
