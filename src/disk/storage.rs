//! One torrent on disk: stores verified pieces, reads blocks, keeps the resume record true.
//!
//! The order of steps is the point. A piece is hashed, listed as unsynced, written, reported. A sync takes a batch
//! of written pieces, calls fdatasync on their files, saves a record that names them, and only then takes them off
//! the list. Never writes a piece whose hash is wrong, never decides what to fetch.

use super::check::{Checked, OnProgress, Opened};
use super::fault::{StorageError, at};
use super::files::{Files, Holder, holder};
use super::pool::{Job, Kept, Pool, Shared, Whole, held};
use super::room::Preallocate;
use super::state::{State, replace};
use bytes::Bytes;
use gaggle_core::clock::Instant;
use gaggle_core::geometry::{Block, PieceIndex};
use gaggle_core::id::{PieceHash, TorrentHashes};
use gaggle_core::storage::{
    Batch, DiskDone, DiskFault, FileRecord, Journal, Layout, Record, Stamp, Verdict, Verify,
};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

/// Bytes of pieces that one torrent may have waiting to be hashed and written. At the bound [`Storage::store`]
/// refuses, unless nothing else waits: then one piece of any size is taken.
pub const STORE_BYTES_MAX: u64 = 64 << 20;
/// Reads that one torrent may have waiting. At the bound [`Storage::read`] refuses.
pub const READS_MAX: usize = 256;

/// Finds the hash that a piece must have.
pub type PieceHashOf = Arc<dyn Fn(PieceIndex) -> Option<PieceHash> + Send + Sync>;
/// Takes what the disk has to say. Called on disk threads: it must not block for long.
pub type Sink = Box<dyn Fn(DiskEvent) + Send + Sync>;

/// Everything needed to open a torrent's storage.
#[derive(Clone)]
pub struct StorageSpec {
    /// Whose data it is.
    pub hashes: TorrentHashes,
    /// Its files, with the selection applied by [`Layout::select`].
    pub layout: Layout,
    /// The hash of each piece.
    pub piece_hash: PieceHashOf,
    /// Folder that the torrent's paths are relative to.
    pub out_dir: PathBuf,
    /// Folder for records, lists, locks and parts files.
    pub state_dir: PathBuf,
    /// Whether anything may be written to `out_dir`.
    pub access: Access,
    /// How room is made for files.
    pub preallocate: Preallocate,
    /// What is believed without reading.
    pub verify: Verify,
    /// Whether files with other content may be overwritten.
    pub overwrite: bool,
}

/// What may happen in the output folder.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Access {
    /// Nothing is made or changed, and symbolic links are followed: for seeding what a user points at.
    ReadOnly,
    /// Files are made and written; symbolic links are refused.
    #[default]
    ReadWrite,
}

/// News from the disk.
#[derive(Debug)]
pub enum DiskEvent {
    /// For the torrent's machine.
    Done(DiskDone),
    /// Payload for a peer's connection, past the machine: the blocks of one [`Storage::read`], in its order.
    Read {
        /// The connection that asked.
        peer: u32,
        /// What was asked, and the bytes.
        blocks: Vec<(Block, Bytes)>,
    },
    /// A sync failed. Pieces stored since the last one are hashed again at the next start; a full disk may
    /// show itself here first.
    SyncFailed(DiskFault),
}

/// The bound is reached; the request comes back. Something of this torrent is under way, and its [`DiskEvent`] is
/// the time to try again.
#[derive(Debug)]
pub struct Busy<T>(pub T);

/// A torrent's files, open. Dropping it without [`Self::close`] is like a kill: nothing is lost, but what is not
/// synced is hashed at the next start.
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Arc<Shared>,
    sink: Sink,
    hashes: TorrentHashes,
    layout: Layout,
    piece_hash: PieceHashOf,
    out_dir: PathBuf,
    access: Access,
    files: Files,
    books: Mutex<Books>,
    syncing: Mutex<()>, // one sync at a time; taken before `books`
    load: Mutex<Load>,
    idle: Condvar,
}

struct Books {
    journal: Journal,
    state: State,
    stamps: Vec<Option<Stamp>>,
    parts: Option<Stamp>,
    made: BTreeSet<usize>,   // files whose names are not durable yet
    dirty: BTreeSet<Holder>, // written since the last sync began
    totals: (u64, u64),      // downloaded, uploaded
    saved_totals: (u64, u64),
    closed: bool,
}

#[derive(Default)]
struct Load {
    jobs: usize,
    store_bytes: u64,
    reads: usize,
}

impl Storage {
    /// Locks the torrent, checks what is there, makes files, and returns what the torrent has.
    ///
    /// Blocks for as long as hashing takes; `progress` is called from several threads after every few pieces and can
    /// break it off.
    pub fn open(
        pool: &Pool,
        spec: StorageSpec,
        sink: Sink,
        progress: OnProgress<'_>,
    ) -> Result<(Self, Checked), StorageError> {
        let Opened { layout, files, state, out_dir, start, checked } =
            super::check::open(&pool.shared(), &spec, progress)?;
        let shared = pool.shared();
        let now = shared.now();
        let mut journal = Journal::new(start.durable);
        start.adopted.ones().for_each(|piece| journal.adopted(now, piece));
        let totals = (checked.downloaded, checked.uploaded);
        let books = Books {
            journal,
            state,
            stamps: start.stamps,
            parts: start.parts,
            made: start.made,
            dirty: BTreeSet::new(),
            totals,
            saved_totals: totals,
            closed: false,
        };
        let inner = Arc::new(Inner {
            pool: Arc::clone(&shared),
            sink,
            hashes: spec.hashes,
            layout,
            piece_hash: spec.piece_hash,
            out_dir,
            access: spec.access,
            files,
            books: Mutex::new(books),
            syncing: Mutex::new(()),
            load: Mutex::default(),
            idle: Condvar::new(),
        });
        if start.changed {
            inner.begin_record()?;
        }
        let kept: Weak<dyn Kept> = Arc::downgrade(&(Arc::clone(&inner) as Arc<dyn Kept>));
        shared.look_after(kept);
        inner.rest();
        Ok((Self { inner }, checked))
    }

    /// Where every piece lies.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// The output folder, absolute.
    pub fn out_dir(&self) -> &std::path::Path {
        &self.inner.out_dir
    }

    /// Hashes a whole piece, given as its bytes in order, and writes it if it is right.
    /// Answered by [`DiskDone::Stored`] or [`DiskDone::StoreFailed`].
    pub fn store(&self, piece: PieceIndex, blocks: Vec<Bytes>) -> Result<(), Busy<Vec<Bytes>>> {
        let bytes: u64 = blocks.iter().map(|block| block.len() as u64).sum();
        {
            let mut load = held(&self.inner.load);
            if load.store_bytes > 0 && load.store_bytes + bytes > STORE_BYTES_MAX {
                return Err(Busy(blocks));
            }
            load.store_bytes += bytes;
            load.jobs += 1;
        }
        let inner = Arc::clone(&self.inner);
        let then = move |blocks: Vec<Bytes>, hash| {
            let done = inner.store(piece, &blocks, hash);
            drop(blocks);
            inner.finish(|load| load.store_bytes -= bytes, DiskEvent::Done(done));
        };
        self.inner.pool.submit(Job::Pieces(vec![Whole { blocks, then: Box::new(then) }]));
        Ok(())
    }

    /// Reads blocks that the torrent has, for a peer; neighbours are read at once. Answered by
    /// [`DiskEvent::Read`] or [`DiskDone::ReadFailed`].
    pub fn read(&self, peer: u32, blocks: Vec<Block>) -> Result<(), Busy<Vec<Block>>> {
        {
            let mut load = held(&self.inner.load);
            if load.reads >= READS_MAX {
                return Err(Busy(blocks));
            }
            load.reads += 1;
            load.jobs += 1;
        }
        let inner = Arc::clone(&self.inner);
        self.inner.pool.submit(Job::Other(Box::new(move || {
            let event = inner.read(peer, blocks);
            inner.finish(|load| load.reads -= 1, event);
        })));
        Ok(())
    }

    /// Bytes of pieces that wait for the disk: what "the disk is behind" means.
    pub fn waiting_bytes(&self) -> u64 {
        held(&self.inner.load).store_bytes
    }

    /// Payload totals over all runs, saved with the next record.
    pub fn set_totals(&self, downloaded: u64, uploaded: u64) {
        held(&self.inner.books).totals = (downloaded, uploaded);
    }

    /// Makes everything stored so far durable and records it, now. Blocks; call it off the runtime's threads.
    pub fn sync(&self) -> Result<(), DiskFault> {
        self.inner.sync(Journal::flush).map_err(StorageError::into_fault)
    }

    /// Waits for the work under way, then syncs and saves the record. Blocks; later work is refused with a fault.
    /// May be left waiting by a process that must end at once: the next start then hashes what is listed.
    pub fn close(&self) -> Result<(), DiskFault> {
        let mut load = held(&self.inner.load);
        while load.jobs > 0 {
            load = self.inner.idle.wait(load).unwrap_or_else(PoisonError::into_inner);
        }
        drop(load);
        if std::mem::replace(&mut held(&self.inner.books).closed, true) {
            return Ok(());
        }
        self.inner.sync(Journal::flush).map_err(StorageError::into_fault)?;
        self.inner.drop_parts();
        held(&self.inner.books).state.unlock();
        Ok(())
    }
}

impl Inner {
    fn finish(&self, release: impl FnOnce(&mut Load), event: DiskEvent) {
        {
            let mut load = held(&self.load);
            release(&mut load);
        }
        (self.sink)(event);
        held(&self.load).jobs -= 1; // after the sink: a closed storage says no more
        self.idle.notify_all();
    }

    fn store(&self, piece: PieceIndex, blocks: &[Bytes], hash: [u8; 20]) -> DiskDone {
        let bytes: u64 = blocks.iter().map(|block| block.len() as u64).sum();
        let size = self.layout.geometry().size_of(piece);
        let good = (self.piece_hash)(piece) == Some(PieceHash::Sha1(hash));
        if bytes != u64::from(size) || !good {
            return DiskDone::Stored { piece, verdict: Verdict::Bad };
        }
        match self.write(piece, blocks, size) {
            Ok(()) => DiskDone::Stored { piece, verdict: Verdict::Good },
            Err(error) => DiskDone::StoreFailed { piece, fault: error.into_fault() },
        }
    }

    fn write(&self, piece: PieceIndex, blocks: &[Bytes], size: u32) -> Result<(), StorageError> {
        let extents = self.layout.extents(piece);
        {
            let mut books = held(&self.books);
            if books.closed || self.access == Access::ReadOnly {
                let why = if books.closed { "closed" } else { "opened for reading only" };
                return Err(
                    DiskFault::Denied(format!("{} is {why}", self.out_dir.display())).into()
                );
            }
            if books.journal.has(piece) {
                return Ok(());
            }
            if !books.journal.begin(piece) {
                return Err(
                    DiskFault::Io(format!("piece {} is being written already", piece.0)).into()
                );
            }
            if let Err(error) = books.state.append(piece) {
                books.journal.abandoned(piece);
                return Err(error);
            }
        }
        let written = self.files.write(&extents, blocks);
        let mut books = held(&self.books);
        books.dirty.extend(self.holders(piece));
        if let Err(error) = written {
            books.journal.abandoned(piece);
            return Err(error);
        }
        let before = books.journal.poll_timeout();
        let now = self.pool.now();
        books.journal.stored(now, piece, size);
        let after = books.journal.poll_timeout();
        drop(books);
        if after != before {
            self.pool.poke();
        }
        Ok(())
    }

    fn read(&self, peer: u32, blocks: Vec<Block>) -> DiskEvent {
        let mut done = Vec::with_capacity(blocks.len());
        let mut rest = &blocks[..];
        while let Some(first) = rest.first() {
            let (run, len) = neighbours(rest);
            let whole = Block { len, ..*first };
            let mut buffer = self.pool.buffers.take(len as usize);
            let extents = self.layout.extents_of(whole);
            let fault = match self.files.read(&extents, &mut buffer) {
                Ok(true) => None,
                Ok(false) => {
                    Some(DiskFault::Io(format!("piece {} is not all there", first.piece.0)))
                }
                Err(error) => Some(error.into_fault()),
            };
            if let Some(fault) = fault {
                return DiskEvent::Done(DiskDone::ReadFailed { peer, blocks, fault });
            }
            let mut bytes = self.pool.buffers.lend(buffer);
            done.extend(
                rest[..run].iter().map(|block| (*block, bytes.split_to(block.len as usize))),
            );
            rest = &rest[run..];
        }
        DiskEvent::Read { peer, blocks: done }
    }

    /// Syncs the batch that `take` finds, and saves the record if that or the totals changed it.
    fn sync(&self, take: impl FnOnce(&mut Journal) -> Option<Batch>) -> Result<(), StorageError> {
        let _one = held(&self.syncing);
        let (batch, holders, made) = {
            let mut books = held(&self.books);
            let Some(batch) = take(&mut books.journal) else {
                let totals_changed = books.totals != books.saved_totals;
                drop(books);
                return if totals_changed { self.save(None) } else { Ok(()) };
            };
            let mut holders = std::mem::take(&mut books.dirty);
            holders.extend(batch.pieces.iter().flat_map(|piece| self.holders(*piece)));
            let written = |file: &usize| holders.contains(&Holder::File(*file));
            let made: BTreeSet<usize> = books.made.iter().copied().filter(written).collect();
            (batch, holders, made)
        };
        if let Err(error) = self.flush(&holders, &made) {
            let mut books = held(&self.books);
            books.dirty.extend(holders);
            books.journal.sync_lost(batch);
            return Err(error);
        }
        let saved = self.save(Some(&batch));
        let mut books = held(&self.books);
        match saved {
            Ok(()) => {
                books.made.retain(|file| !made.contains(file));
                books.journal.synced(batch);
                let Books { journal, state, .. } = &mut *books;
                state.rewrite_list(journal.listed())
            }
            Err(error) => {
                books.dirty.extend(holders);
                let now = self.pool.now();
                books.journal.sync_failed(now, batch);
                Err(error)
            }
        }
    }

    /// The files that a piece lies in.
    fn holders(&self, piece: PieceIndex) -> impl Iterator<Item = Holder> + use<> {
        let extents = self.layout.extents(piece).into_iter();
        extents.filter_map(|extent| holder(extent.place)).map(|(holder, _)| holder)
    }

    /// Makes files durable, and the names of those that are new; then notes sizes and times.
    fn flush(
        &self,
        holders: &BTreeSet<Holder>,
        made: &BTreeSet<usize>,
    ) -> Result<(), StorageError> {
        if !self.files.sync_many(holders)? {
            for holder in holders {
                match self.files.sync(*holder) {
                    // A read-only or special file system has nothing of ours to lose.
                    Err(Errno::ROFS | Errno::INVAL) if self.access == Access::ReadOnly => {}
                    synced => synced.map_err(at(&self.files.path(*holder)))?,
                }
            }
            self.files.sync_names(made)?;
        }
        let stamp = |holder: &Holder| self.files.stamp(*holder).map(|stamp| (*holder, stamp));
        let stamps = holders.iter().map(stamp).collect::<Result<Vec<_>, _>>()?;
        let mut books = held(&self.books);
        for (holder, stamp) in stamps {
            match holder {
                Holder::File(file) => books.stamps[file] = stamp,
                Holder::Parts => books.parts = stamp,
            }
        }
        Ok(())
    }

    /// Saves a record of what is durable and of the batch that just became so.
    fn save(&self, batch: Option<&Batch>) -> Result<(), StorageError> {
        let (record, path, totals) = {
            let books = held(&self.books);
            let mut durable = books.journal.durable().clone();
            batch.into_iter().flat_map(|batch| &batch.pieces).for_each(|piece| {
                durable.insert(*piece);
            });
            let file = |at: usize| FileRecord {
                priority: self.layout.priorities()[at],
                stored: self.layout.stored()[at],
                stamp: books.stamps[at],
            };
            let record = Record {
                hashes: self.hashes,
                geometry: *self.layout.geometry(),
                out_dir: self.out_dir.as_os_str().as_bytes().to_vec(),
                durable,
                files: (0..books.stamps.len()).map(file).collect(),
                parts: books.parts,
                downloaded: books.totals.0,
                uploaded: books.totals.1,
            };
            (record, books.state.record_path(), books.totals)
        };
        replace(&path, &record.encode())?;
        held(&self.books).saved_totals = totals;
        Ok(())
    }

    /// Removes the parts file once every file has its own place and a record says so.
    fn drop_parts(&self) {
        let layout = &self.layout;
        if layout.files().iter().zip(layout.stored()).all(|(file, stored)| file.pad || *stored) {
            let path = self.files.path(Holder::Parts);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "parts file not removed");
                }
                _ => {}
            }
        }
    }

    /// Closes everything, because it may be long until somebody asks. Not while something may still be written: a file
    /// that was removed and made anew behind our back must not pass for the one that was synced before.
    fn rest(&self) {
        let complete = held(&self.books).journal.durable().is_full();
        if complete || self.access == Access::ReadOnly {
            self.files.rest();
        }
    }

    /// The first record of a run. What was found good by hashing goes onto the list before the old record, which
    /// may still name it, is replaced.
    fn begin_record(&self) -> Result<(), StorageError> {
        {
            let mut books = held(&self.books);
            let Books { journal, state, .. } = &mut *books;
            state.rewrite_list(journal.listed())?;
        }
        self.save(None)
    }
}

impl Kept for Inner {
    fn deadline(&self) -> Option<Instant> {
        let books = held(&self.books);
        books.journal.poll_timeout().filter(|_| !books.closed)
    }

    fn keep(&self, now: Instant) {
        if self.deadline().is_none_or(|due| due > now) {
            return;
        }
        if let Err(error) = self.sync(|journal| journal.sync_due(now)) {
            (self.sink)(DiskEvent::SyncFailed(error.into_fault()));
        }
        if self.deadline().is_none() {
            self.rest();
        }
    }
}

/// How many of the first blocks follow one another inside a piece, and their bytes together.
fn neighbours(blocks: &[Block]) -> (usize, u32) {
    let mut len = blocks[0].len;
    let mut run = 1;
    for block in &blocks[1..] {
        if block.piece != blocks[0].piece || block.begin != blocks[0].begin + len {
            break;
        }
        len += block.len;
        run += 1;
    }
    (run, len)
}
