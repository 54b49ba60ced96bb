//! Hashes many pieces on all cores: threads claim runs of neighbours in order, so that reading stays sequential, and
//! take them a few at a time, because pieces that are hashed together cost less than half as much. Memory stays at one
//! buffer per thread. Knows nothing of files or verdicts.

use gaggle_core::geometry::PieceIndex;
use gaggle_core::hash::{LANES, Sha1, update_each};
use gaggle_core::storage::{Extent, Layout, Place};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes read at once of each piece: few enough that those of [`LANES`] pieces are hashed out of the cache.
const READ_LEN: usize = 128 << 10;
/// A thread claims about so many bytes at a time.
const CLAIM_LEN: u32 = 8 << 20;

/// Why a pass ended early.
pub(super) enum Stop<E> {
    Asked,
    Failed(E),
}

/// Threads to use when nobody says: one per core.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// SHA-1 of every piece, in the order of `pieces`; `None` where bytes are missing.
///
/// `read` fills a whole slice from a place and says `false` if the bytes are not there; what it needs from one call to
/// the next is in its `S`, one per thread. `done` is called with the number of finished pieces, after every few.
pub(super) fn hash_pieces<S: Default, E: Send>(
    layout: &Layout,
    pieces: &[PieceIndex],
    threads: usize,
    read: impl Fn(&mut S, Place, &mut [u8]) -> Result<bool, E> + Sync,
    done: impl Fn(usize) -> ControlFlow<()> + Sync,
) -> Result<Vec<Option<[u8; 20]>>, Stop<E>> {
    let piece_len = layout.geometry().piece_len();
    let run = (CLAIM_LEN / piece_len).clamp(LANES as u32, 1024) as usize;
    let run = run.min(pieces.len().div_ceil(threads.max(1))).max(1); // work for every thread
    let (next, finished, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut buffer = vec![0; LANES * READ_LEN.min(piece_len as usize)];
        let mut state = S::default();
        let mut mine = Vec::new();
        loop {
            let from = next.fetch_add(run, Ordering::Relaxed);
            let Some(claimed) = pieces.get(from..pieces.len().min(from + run)) else {
                return Ok(mine);
            };
            for (group, together) in claimed.chunks(LANES).enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(mine);
                }
                let extents = together.iter().map(|piece| layout.extents(*piece));
                match hash_group(extents, &mut buffer, |place, out| read(&mut state, place, out)) {
                    Ok(hashes) => mine.extend((from + group * LANES..).zip(hashes)),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        return Err(Stop::Failed(error));
                    }
                }
                let count = together.len();
                if done(finished.fetch_add(count, Ordering::Relaxed) + count).is_break() {
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

/// SHA-1 of a few pieces, whose bytes go through `buffer` in turn.
fn hash_group<E>(
    pieces: impl Iterator<Item = Vec<Extent>>,
    buffer: &mut [u8],
    mut read: impl FnMut(Place, &mut [u8]) -> Result<bool, E>,
) -> Result<impl Iterator<Item = Option<[u8; 20]>>, E> {
    let mut walks: Vec<Walk> = pieces.map(Walk::new).collect();
    let mut messages = vec![Sha1::new(); walks.len()];
    let room = buffer.len() / LANES;
    while walks.iter().any(|walk| !walk.is_over()) {
        let rooms = walks.iter_mut().zip(buffer.chunks_exact_mut(room));
        let parts: Vec<&[u8]> =
            rooms.map(|(walk, room)| walk.fill(room, &mut read)).collect::<Result<_, E>>()?;
        update_each(&mut messages, &parts);
    }
    let hash = |(walk, message): (Walk, Sha1)| walk.all_there.then(|| message.finish());
    Ok(walks.into_iter().zip(messages).map(hash))
}

/// How far a piece has been read.
struct Walk {
    extents: Vec<Extent>,
    next: usize, // of the extents
    at: u32,     // bytes of that one which are read
    all_there: bool,
}

impl Walk {
    const fn new(extents: Vec<Extent>) -> Self {
        Self { extents, next: 0, at: 0, all_there: true }
    }

    fn is_over(&self) -> bool {
        self.next == self.extents.len() || !self.all_there
    }

    /// The next bytes of the piece, as many as there is room for.
    fn fill<'r, E>(
        &mut self,
        room: &'r mut [u8],
        read: &mut impl FnMut(Place, &mut [u8]) -> Result<bool, E>,
    ) -> Result<&'r [u8], E> {
        let mut filled = 0;
        while filled < room.len() && !self.is_over() {
            let extent = self.extents[self.next];
            let len = (room.len() - filled).min((extent.len - self.at) as usize);
            self.all_there = read(advance(extent.place, self.at), &mut room[filled..filled + len])?;
            filled += len;
            self.at += len as u32;
            if self.at == extent.len {
                (self.next, self.at) = (self.next + 1, 0);
            }
        }
        Ok(&room[..filled])
    }
}

fn advance(place: Place, by: u32) -> Place {
    match place {
        Place::File { file, offset } => Place::File { file, offset: offset + u64::from(by) },
        Place::Parts { offset } => Place::Parts { offset: offset + u64::from(by) },
        Place::Pad => Place::Pad,
    }
}
