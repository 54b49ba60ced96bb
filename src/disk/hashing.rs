//! Hashes content for `create` and reports on it for `verify`, on all cores with bounded memory.
//!
//! Reads only. Files that change while they are hashed are an error, not a torrent.

use super::check::{OnProgress, Progress, hash, look};
use super::claim::{Stop, cores, hash_pieces};
use super::descriptors::Descriptors;
use super::fault::{StorageError, fault};
use super::files::Files;
use super::storage::PieceHashOf;
use super::tree::{Links, Tree};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::geometry::{Geometry, GeometryError, PieceIndex, Version};
use gaggle_core::hash::LANES;
use gaggle_core::storage::{DiskFault, FileSpec, Layout, LayoutError, Place};
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why content could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashingError {
    /// The progress callback asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The file has another size than when it was listed.
    #[error("{} changed while it was hashed", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// Too many pieces, or no content.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The sizes overflow.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// One file to hash, in the order of the torrent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// Where it is; `None` for padding, which is hashed as zeros.
    pub path: Option<PathBuf>,
    /// Bytes when it was listed.
    pub len: u64,
}

/// SHA-1 of every piece of the files, one behind the other. No pieces if they hold no bytes.
///
/// `threads` is by default one per core; each needs half a MiB. `progress` may break it off.
pub fn hash_content(
    sources: &[Source],
    piece_len: u32,
    threads: Option<usize>,
    progress: OnProgress<'_>,
) -> Result<Vec<[u8; 20]>, HashingError> {
    let mut offset = 0u64;
    let spec = |(at, source): (usize, &Source)| {
        let start = offset;
        offset = offset.saturating_add(source.len);
        let path = vec![at.to_string()]; // never opened: the layout is only the map of the pieces
        FileSpec { path, len: source.len, offset: start, pad: source.path.is_none() }
    };
    let specs: Vec<FileSpec> = sources.iter().enumerate().map(spec).collect();
    if offset == 0 {
        return Ok(Vec::new());
    }
    let geometry = Geometry::new(Version::V1, offset, piece_len.into())?;
    let layout = Layout::new(geometry, specs)?;
    let pieces: Vec<PieceIndex> = geometry.iter().collect();
    let read = |open: &mut Open, place: Place, out: &mut [u8]| {
        read_source(sources, open, place, out).map(|()| true)
    };
    let to_hash = geometry.pieces();
    let done = |hashed: usize| progress(Progress { hashed: hashed as u32, to_hash });
    let threads = threads.unwrap_or_else(cores);
    let hashes = hash_pieces(&layout, &pieces, threads, read, done).map_err(|stop| match stop {
        Stop::Asked => HashingError::Cancelled,
        Stop::Failed(error) => error,
    })?;
    let there = |hash: Option<_>| hash.expect("read_source fills the slice or fails");
    Ok(hashes.into_iter().map(there).collect())
}

/// What [`verify`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The pieces that are there and right; empty sets of files aside, all of them if the data is good.
    pub good: Bitfield,
    /// One entry per file of the torrent.
    pub files: Vec<FileReport>,
}

/// What [`verify`] found of one file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FileReport {
    /// Bytes on disk; `None` if it is missing. Padding has the size that it should have.
    pub found: Option<u64>,
    /// Bytes that the torrent says.
    pub len: u64,
    /// Pieces that hold bytes of it and are not right.
    pub bad_pieces: u32,
}

impl FileReport {
    /// Whether size and pieces are what they must be.
    pub fn is_good(&self) -> bool {
        self.found == Some(self.len) && self.bad_pieces == 0
    }
}

/// Compares a folder with a torrent. With `fast`, only sizes: pieces in files of the right size count as good.
pub fn verify(
    layout: &Layout,
    piece_hash: &PieceHashOf,
    dir: &Path,
    fast: bool,
    progress: OnProgress<'_>,
) -> Result<Report, StorageError> {
    let files =
        Files::new(Tree::open(dir, Links::Follow, &Descriptors::new())?, layout, PathBuf::new());
    let seen = look(layout, &files)?;
    let found = |at: usize| match seen[at] {
        Some(seen) => Some(seen.stamp.len),
        None => layout.files()[at].pad.then_some(layout.files()[at].len),
    };
    let mut there = Bitfield::full(layout.geometry().pieces());
    let lens: Vec<Option<u64>> = (0..seen.len()).map(found).collect();
    for (at, file) in layout.files().iter().enumerate() {
        let absent = |piece: &PieceIndex| match lens[at] {
            None => true,
            Some(len) if fast => len != file.len,
            Some(len) => len < file.len && ends_after(layout, *piece, file, len),
        };
        for piece in layout.pieces_of(at).map(PieceIndex).filter(absent) {
            there.remove(piece);
        }
    }
    let good = if fast { there } else { hash(layout, &files, piece_hash, &there, progress)? };
    let report = |(at, file): (usize, &FileSpec)| {
        let bad = layout.pieces_of(at).filter(|&piece| !good.has(PieceIndex(piece))).count();
        FileReport { found: lens[at], len: file.len, bad_pieces: bad as u32 }
    };
    let files = layout.files().iter().enumerate().map(report).collect();
    Ok(Report { good, files })
}

/// Whether the piece has bytes past the end of a file that is only `len` bytes long.
fn ends_after(layout: &Layout, piece: PieceIndex, file: &FileSpec, len: u64) -> bool {
    let geometry = layout.geometry();
    geometry.offset_of(piece) + u64::from(geometry.size_of(piece)) > file.offset + len
}

/// The sources that a thread read last, the latest in front: as many as pieces are read in turn.
type Open = VecDeque<(usize, File)>;

fn read_source(
    sources: &[Source],
    open: &mut Open,
    place: Place,
    out: &mut [u8],
) -> Result<(), HashingError> {
    let Place::File { file: at, offset } = place else {
        out.fill(0);
        return Ok(());
    };
    let Some(path) = &sources[at].path else {
        out.fill(0);
        return Ok(());
    };
    let changed = || HashingError::Changed { path: path.clone() };
    let failed = |error: std::io::Error| HashingError::Disk(fault(path, &error));
    if !open.iter().any(|(file, _)| *file == at) {
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != sources[at].len {
            return Err(changed());
        }
        open.truncate(LANES - 1);
        open.push_front((at, file));
    }
    let (_, file) = open.iter().find(|(file, _)| *file == at).expect("it was opened above");
    match file.read_exact_at(out, offset) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(changed()),
        other => other.map_err(failed),
    }
}
