//! Decides in which file, and where in it, each byte of a torrent lies.
//!
//! Everything is computed once from the file list; a lookup is a binary search. Pad files are never stored, and
//! bytes of unselected files that share a piece with wanted ones go to the *parts file*, which the driver keeps
//! in its state folder. Never opens, creates or names a real path.

use crate::bitfield::Bitfield;
use crate::geometry::{Block, Geometry, PieceIndex};
use crate::metainfo::{FileEntry, Info};
use std::ops::Range;

/// One entry of a torrent's file list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileSpec {
    /// Components below the output folder, already made safe by the metainfo parser.
    pub path: Vec<String>,
    /// Bytes; may be 0.
    pub len: u64,
    /// First byte, counted from the start of the torrent.
    pub offset: u64,
    /// Filler that is all zeros and has no file.
    //= BEP 47 §padding files
    pub pad: bool,
}

/// Why a file list is not a layout.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The files leave a gap, overlap or are out of order.
    #[error("file {file} starts at byte {got}, expected {want}")]
    Gap {
        /// Index of the file.
        file: usize,
        /// Its offset.
        got: u64,
        /// Where the file before it ends.
        want: u64,
    },
    /// The files do not add up to the torrent.
    #[error("the files hold {got} bytes, the pieces {want}")]
    Total {
        /// Sum of the files, saturating.
        got: u64,
        /// What the geometry says.
        want: u64,
    },
    /// A path that could lead out of the output folder.
    #[error("the path of file {file} is not safe")]
    UnsafePath {
        /// Index of the file.
        file: usize,
    },
}

/// Where some bytes are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a file of the torrent.
    File {
        /// Index into [`Layout::files`].
        file: usize,
        /// First byte in that file.
        offset: u64,
    },
    /// Nowhere: the bytes are zeros.
    Pad,
    /// In the parts file.
    Parts {
        /// First byte in the parts file. Does not depend on the selection.
        offset: u64,
    },
}

/// A run of bytes that lies in one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    /// Where it starts.
    pub place: Place,
    /// Bytes, never 0.
    pub len: u32,
}

/// Bytes that leave the parts file because their own file is now selected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Move {
    /// Where they are in the parts file.
    pub from: u64,
    /// The file they belong to.
    pub file: usize,
    /// Where in that file.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

/// Maps pieces to files, under a selection of files.
///
/// A new layout wants every file with priority 1. `stored` says which files have their own place on disk: it
/// follows the selection, but a file that was ever stored stays so, and nothing moves back when it is deselected.
#[derive(Clone, Debug)]
pub struct Layout {
    geometry: Geometry,
    files: Vec<FileSpec>,
    spans: Vec<Span>, // the files that are not empty; they tile the torrent
    priorities: Vec<u8>,
    stored: Vec<bool>,
    borders: Vec<PieceIndex>, // pieces with bytes of two or more files, ascending: slots of the parts file
}

#[derive(Clone, Copy, Debug)]
struct Span {
    end: u64,
    file: usize,
}

impl Layout {
    /// The layout of a torrent that was parsed.
    pub fn of(info: &Info) -> Result<Self, LayoutError> {
        let spec = |file: &FileEntry| FileSpec {
            path: file.path.clone(),
            len: file.len,
            offset: file.offset,
            pad: file.pad,
        };
        Self::new(info.geometry, info.files.iter().map(spec).collect())
    }

    /// Checks that the files tile the torrent exactly and that no path could escape.
    pub fn new(geometry: Geometry, files: Vec<FileSpec>) -> Result<Self, LayoutError> {
        let mut end = 0u64;
        let mut spans = Vec::with_capacity(files.len());
        for (file, spec) in files.iter().enumerate() {
            if spec.offset != end {
                return Err(LayoutError::Gap { file, got: spec.offset, want: end });
            }
            if !spec.pad && !is_safe(&spec.path) {
                return Err(LayoutError::UnsafePath { file });
            }
            end = end.saturating_add(spec.len);
            if spec.len > 0 {
                spans.push(Span { end, file });
            }
        }
        if end != geometry.total() {
            return Err(LayoutError::Total { got: end, want: geometry.total() });
        }
        let stored: Vec<bool> = files.iter().map(|file| !file.pad).collect();
        let priorities = stored.iter().map(|&stored| u8::from(stored)).collect();
        let mut layout = Self { geometry, files, spans, priorities, stored, borders: Vec::new() };
        layout.borders = layout.find_borders();
        Ok(layout)
    }

    /// Sets the priority of every file, 0 = not wanted; missing entries are 0, pads are never wanted.
    /// Files that become wanted become stored; none stops being stored until [`Self::reset_stored`].
    pub fn select(&mut self, priorities: &[u8]) {
        for (at, file) in self.files.iter().enumerate() {
            let priority = if file.pad { 0 } else { priorities.get(at).copied().unwrap_or(0) };
            self.priorities[at] = priority;
            self.stored[at] |= priority > 0;
        }
    }

    /// Forgets what was ever stored: from here on exactly the wanted files and those in `before` are.
    /// Called once at start, with what the resume record says.
    pub fn reset_stored(&mut self, before: &[bool]) {
        for (at, file) in self.files.iter().enumerate() {
            let was = before.get(at).copied().unwrap_or(false);
            self.stored[at] = !file.pad && (was || self.priorities[at] > 0);
        }
    }

    /// Sizes of the torrent.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The file list, pads and empty files included.
    pub fn files(&self) -> &[FileSpec] {
        &self.files
    }

    /// Per file, whether it has its own place in the output folder.
    pub fn stored(&self) -> &[bool] {
        &self.stored
    }

    /// Per file, 0 for one that is not wanted.
    pub fn priorities(&self) -> &[u8] {
        &self.priorities
    }

    /// Wanted files of no bytes: no piece creates them, so somebody must.
    pub fn empty_files(&self) -> impl Iterator<Item = usize> + '_ {
        let wanted = |&at: &usize| self.files[at].len == 0 && self.priorities[at] > 0;
        (0..self.files.len()).filter(wanted)
    }

    /// Pieces that hold at least one byte of a wanted file. A piece of padding alone is wanted with everything
    /// else only when every file is, so that a full selection ends as a seed.
    pub fn wanted_pieces(&self) -> Bitfield {
        let mut wanted = Bitfield::empty(self.geometry.pieces());
        for piece in self.geometry.iter().zip(self.piece_priorities()) {
            if piece.1 > 0 {
                wanted.insert(piece.0);
            }
        }
        wanted
    }

    /// Per piece, the highest priority of the files it holds bytes of.
    pub fn piece_priorities(&self) -> Vec<u8> {
        let mut of = vec![0u8; self.geometry.pieces() as usize];
        let everything =
            (0..self.files.len()).all(|at| self.files[at].pad || self.priorities[at] > 0);
        for (at, file) in self.files.iter().enumerate() {
            let priority = if file.pad { u8::from(everything) } else { self.priorities[at] };
            for piece in self.pieces_of(at) {
                let slot = &mut of[piece as usize];
                *slot = priority.max(*slot);
            }
        }
        of
    }

    /// Bytes of all wanted files.
    pub fn wanted_bytes(&self) -> u64 {
        let wanted = self.files.iter().zip(&self.priorities).filter(|(_, p)| **p > 0);
        wanted.map(|(file, _)| file.len).sum()
    }

    /// Indices of the pieces that hold bytes of this file; empty for an empty file.
    pub fn pieces_of(&self, file: usize) -> Range<u32> {
        let FileSpec { offset, len, .. } = self.files[file];
        let piece_len = u64::from(self.geometry.piece_len());
        if len == 0 {
            0..0
        } else {
            (offset / piece_len) as u32..((offset + len - 1) / piece_len + 1) as u32
        }
    }

    /// Where a whole piece lies, in order and without gaps.
    pub fn extents(&self, piece: PieceIndex) -> Vec<Extent> {
        self.extents_of(self.whole(piece))
    }

    /// Where part of a piece lies, in order and without gaps. The block must lie inside its piece.
    pub fn extents_of(&self, block: Block) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::with_capacity(2);
        self.each_part(block, |part| {
            let place = self.place(block.piece, &part);
            match extents.last_mut() {
                Some(last) if follows(last, place) => last.len += part.len,
                _ => extents.push(Extent { place, len: part.len }),
            }
        });
        extents
    }

    /// What must leave the parts file for `piece` to lie where [`Self::extents`] says, if `before` tells which
    /// files were stored when it was written.
    pub fn moves(&self, piece: PieceIndex, before: &[bool]) -> Vec<Move> {
        let mut moves = Vec::new();
        self.each_part(self.whole(piece), |part| {
            let was = before.get(part.file).copied().unwrap_or(false);
            if self.stored[part.file] && !was {
                let from = self.slot(piece) + u64::from(part.begin);
                moves.push(Move { from, file: part.file, offset: part.offset, len: part.len });
            }
        });
        moves
    }

    fn whole(&self, piece: PieceIndex) -> Block {
        Block { piece, begin: 0, len: self.geometry.size_of(piece) }
    }

    /// Calls `each` for every file that the block touches, in order.
    fn each_part(&self, block: Block, mut each: impl FnMut(Part)) {
        let start = self.geometry.offset_of(block.piece);
        let (mut at, end) =
            (start + u64::from(block.begin), start + u64::from(block.begin) + u64::from(block.len));
        let first = self.spans.partition_point(|span| span.end <= at);
        for span in &self.spans[first..] {
            if at >= end {
                break;
            }
            let len = (span.end.min(end) - at) as u32;
            let offset = at - self.files[span.file].offset;
            each(Part { file: span.file, offset, begin: (at - start) as u32, len });
            at += u64::from(len);
        }
    }

    fn place(&self, piece: PieceIndex, part: &Part) -> Place {
        if self.files[part.file].pad {
            Place::Pad
        } else if self.stored[part.file] {
            Place::File { file: part.file, offset: part.offset }
        } else {
            Place::Parts { offset: self.slot(piece) + u64::from(part.begin) }
        }
    }

    /// First byte of the piece's slot in the parts file. Border pieces come first, so the file stays short; other
    /// pieces are never wanted without a place of their own, but a slot for each keeps this function total.
    fn slot(&self, piece: PieceIndex) -> u64 {
        let nth = match self.borders.binary_search(&piece) {
            Ok(nth) => nth as u64,
            Err(_) => self.borders.len() as u64 + u64::from(piece.0),
        };
        nth * u64::from(self.geometry.piece_len())
    }

    fn find_borders(&self) -> Vec<PieceIndex> {
        let mut borders = Vec::new();
        let mut last = None; // last piece of the file before
        for (at, file) in self.files.iter().enumerate() {
            if file.pad || file.len == 0 {
                continue;
            }
            let pieces = self.pieces_of(at);
            if last == Some(pieces.start) && borders.last() != Some(&PieceIndex(pieces.start)) {
                borders.push(PieceIndex(pieces.start));
            }
            last = Some(pieces.end - 1);
        }
        borders
    }
}

/// Bytes of one file inside one piece.
struct Part {
    file: usize,
    offset: u64, // in the file
    begin: u32,  // in the piece
    len: u32,
}

/// Whether bytes at `next` lie directly behind `last`, so that one read or write serves both.
fn follows(last: &Extent, next: Place) -> bool {
    match (last.place, next) {
        (Place::Pad, Place::Pad) => true,
        (Place::Parts { offset }, Place::Parts { offset: next }) => {
            offset + u64::from(last.len) == next
        }
        _ => false,
    }
}

/// Whether a path leads nowhere but down. The metainfo parser has replaced names that do not; whoever else brings a path
/// must not slip one through.
pub fn is_safe(path: &[String]) -> bool {
    let fine =
        |name: &String| !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
    !path.is_empty() && path.iter().all(fine)
}
