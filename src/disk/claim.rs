//! Hashes many pieces on all cores: threads claim runs of neighbours in order, so that reading stays sequential
//! and memory stays at one buffer per thread. Knows nothing of files or verdicts.

use gaggle_core::geometry::{Geometry, PieceIndex};
use gaggle_core::hash::PieceHasher;
use gaggle_core::storage::{Extent, Place};
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes read at once.
const READ_LEN: usize = 1 << 20;
/// A thread claims about so many bytes at a time.
const CLAIM_LEN: u32 = 8 << 20;

/// What one thread keeps from piece to piece.
pub(super) struct Scratch {
    pub(super) buffer: Vec<u8>,
    /// The source read last: pieces are claimed in runs, so the next read is mostly of the same.
    pub(super) last: Option<(usize, File)>,
}

/// Why a pass ended early.
pub(super) enum Stop<E> {
    Asked,
    Failed(E),
}

/// Threads to use when nobody says: one per core.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Calls `hash` for every piece, on `threads` threads, and `done` with the number finished so far after each.
/// Results are in the order of `pieces`.
pub(super) fn each_piece<T: Send, E: Send>(
    geometry: &Geometry,
    pieces: &[PieceIndex],
    threads: usize,
    hash: impl Fn(PieceIndex, &mut Scratch) -> Result<T, E> + Sync,
    done: impl Fn(usize) -> ControlFlow<()> + Sync,
) -> Result<Vec<T>, Stop<E>> {
    let run = (CLAIM_LEN / geometry.piece_len()).clamp(1, 1024) as usize;
    let (next, finished, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let buffer = vec![0; READ_LEN.min(geometry.piece_len() as usize)];
        let mut scratch = Scratch { buffer, last: None };
        let mut mine = Vec::new();
        loop {
            let from = next.fetch_add(run, Ordering::Relaxed);
            let Some(claimed) = pieces.get(from..pieces.len().min(from + run)) else {
                return Ok(mine);
            };
            for (at, &piece) in claimed.iter().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(mine);
                }
                match hash(piece, &mut scratch) {
                    Ok(result) => mine.push((from + at, result)),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        return Err(Stop::Failed(error));
                    }
                }
                if done(finished.fetch_add(1, Ordering::Relaxed) + 1).is_break() {
                    stop.store(true, Ordering::Relaxed);
                    return Err(Stop::Asked);
                }
            }
            if claimed.len() < run {
                return Ok(mine);
            }
        }
    };
    let threads = threads.clamp(1, pieces.len().div_ceil(run).max(1));
    let all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = vec![work()];
        all.extend(others.into_iter().map(|other| other.join().expect("hashing does not panic")));
        all
    });
    let mut results = Vec::with_capacity(pieces.len());
    for part in all {
        results.extend(part?);
    }
    results.sort_unstable_by_key(|&(at, _)| at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Feeds the bytes of `extents` to a hasher through `buffer`. `read` fills a whole slice from a place, and says
/// `false` if the bytes are not there; then so does this.
pub(super) fn hash_extents<E>(
    extents: &[Extent],
    buffer: &mut [u8],
    mut read: impl FnMut(Place, &mut [u8]) -> Result<bool, E>,
) -> Result<Option<PieceHasher>, E> {
    let mut hasher = PieceHasher::v1();
    for extent in extents {
        let mut at = 0;
        while at < extent.len {
            let len = buffer.len().min((extent.len - at) as usize);
            if !read(advance(extent.place, at), &mut buffer[..len])? {
                return Ok(None);
            }
            hasher.update(&buffer[..len]);
            at += len as u32;
        }
    }
    Ok(Some(hasher))
}

fn advance(place: Place, by: u32) -> Place {
    match place {
        Place::File { file, offset } => Place::File { file, offset: offset + u64::from(by) },
        Place::Parts { offset } => Place::Parts { offset: offset + u64::from(by) },
        Place::Pad => Place::Pad,
    }
}
