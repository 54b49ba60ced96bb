//! The disk against real files: what is stored comes back, restarts believe only what is true, and foreign data
//! stays as it was.

mod guards;
mod hashing;
mod killed;
mod no_space;
mod restart;

use super::*;
use bytes::Bytes;
use gaggle_core::clock::Instant;
use gaggle_core::geometry::{Block, Geometry, PieceIndex, Version};
use gaggle_core::hash::sha1;
use gaggle_core::id::{InfoHash, PieceHash, TorrentHashes};
use gaggle_core::rng::Rng;
use gaggle_core::storage::{DiskDone, DiskFault, FileSpec, Layout, Verdict, Verify};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tempfile::TempDir;

/// Pieces of three blocks, the last of them short, so that nothing is aligned with anything.
const PIECE_LEN: u32 = 40_000;

/// A torrent, a folder for it and a folder for its state.
struct Sandbox {
    _dir: TempDir,
    base: PathBuf,
    content: Vec<u8>,
    layout: Layout,
    preallocate: Preallocate,
    access: Access,
    verify: Verify,
    overwrite: bool,
}

/// A storage with a pool of its own, so that a kill can be waited for. Its clock stands still: no sync happens
/// unless a test asks.
struct Session {
    storage: Storage,
    checked: Checked,
    events: Receiver<DiskEvent>,
    pool: Pool,
}

impl Sandbox {
    /// Files of these sizes in a folder `top`; a negative size is padding.
    fn new(sizes: &[i64]) -> Self {
        let (mut content, mut files) = (Vec::new(), Vec::new());
        let mut rng = Rng::seeded(1);
        for (at, &size) in sizes.iter().enumerate() {
            let (len, offset) = (size.unsigned_abs(), content.len() as u64);
            let path = vec!["top".into(), format!("d{}", at % 2), format!("f{at}")];
            files.push(FileSpec { path, len, offset, pad: size < 0 });
            content.resize(content.len() + len as usize, 0);
            if size > 0 {
                rng.fill(&mut content[offset as usize..]);
            }
        }
        let geometry = Geometry::new(Version::V1, content.len() as u64, PIECE_LEN.into()).unwrap();
        let layout = Layout::new(geometry, files).unwrap();
        let (preallocate, access) = (Preallocate::Full, Access::ReadWrite);
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_owned();
        Self {
            _dir: dir,
            base,
            content,
            layout,
            preallocate,
            access,
            verify: Verify::Auto,
            overwrite: false,
        }
    }

    fn spec(&self) -> StorageSpec {
        let hashes: Vec<_> = (0..self.pieces()).map(|piece| sha1([self.piece(piece)])).collect();
        StorageSpec {
            hashes: TorrentHashes::V1(InfoHash([5; 20])),
            layout: self.layout.clone(),
            piece_hash: Arc::new(move |piece| {
                hashes.get(piece.idx()).copied().map(PieceHash::Sha1)
            }),
            out_dir: self.out(),
            state_dir: self.base.join("state"),
            access: self.access,
            preallocate: self.preallocate,
            verify: self.verify,
            overwrite: self.overwrite,
        }
    }

    fn try_open(&self) -> Result<Session, StorageError> {
        open_spec(self.spec())
    }

    fn open(&self) -> Session {
        self.try_open().unwrap()
    }

    fn out(&self) -> PathBuf {
        self.base.join("out")
    }

    fn path(&self, file: usize) -> PathBuf {
        self.layout.files()[file].path.iter().fold(self.out(), |path, name| path.join(name))
    }

    /// What the file must hold.
    fn want(&self, file: usize) -> &[u8] {
        let spec = &self.layout.files()[file];
        &self.content[spec.offset as usize..][..spec.len as usize]
    }

    /// Puts the right file in place, as if the user had it already.
    fn put(&self, file: usize) {
        std::fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        std::fs::write(self.path(file), self.want(file)).unwrap();
    }

    fn put_all(&self) {
        let files = self.layout.files().iter().enumerate();
        files.filter(|(_, file)| !file.pad).for_each(|(at, _)| self.put(at));
    }

    /// The one file of that kind in the state folder.
    fn state_file(&self, kind: &str) -> PathBuf {
        let folder = std::fs::read_dir(self.base.join("state/resume")).unwrap();
        let mut paths = folder.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|found| found == kind)).expect(kind)
    }

    fn pieces(&self) -> u32 {
        self.layout.geometry().pieces()
    }

    fn piece(&self, piece: u32) -> &[u8] {
        let geometry = self.layout.geometry();
        let start = geometry.offset_of(PieceIndex(piece)) as usize;
        &self.content[start..][..geometry.size_of(PieceIndex(piece)) as usize]
    }

    fn blocks(&self, piece: u32) -> Vec<Bytes> {
        self.piece(piece).chunks(16 << 10).map(Bytes::copy_from_slice).collect()
    }
}

fn open_spec(spec: StorageSpec) -> Result<Session, StorageError> {
    open_with(spec, Arc::new(|| Instant::ZERO))
}

fn open_with(spec: StorageSpec, clock: Clock) -> Result<Session, StorageError> {
    let pool = Pool::start(Some(2), clock).unwrap();
    let (sender, events) = sync_channel(1_000);
    let sink = Box::new(move |event| sender.send(event).unwrap_or_default());
    let (storage, checked) = Storage::open(&pool, spec, sink, &|_| ControlFlow::Continue(()))?;
    Ok(Session { storage, checked, events, pool })
}

impl Session {
    fn event(&self) -> DiskEvent {
        self.events.recv_timeout(Duration::from_secs(20)).expect("the disk answers")
    }

    fn store(&self, torrent: &Sandbox, piece: u32) -> DiskDone {
        self.storage.store(PieceIndex(piece), torrent.blocks(piece)).unwrap();
        match self.event() {
            DiskEvent::Done(done) => done,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn store_all(&self, torrent: &Sandbox, pieces: impl IntoIterator<Item = u32>) {
        for piece in pieces {
            let want = DiskDone::Stored { piece: PieceIndex(piece), verdict: Verdict::Good };
            assert_eq!(self.store(torrent, piece), want);
        }
    }

    fn read(&self, blocks: Vec<Block>) -> DiskEvent {
        self.storage.read(7, blocks).unwrap();
        self.event()
    }

    fn has(&self) -> Vec<u32> {
        self.checked.have.ones().map(|piece| piece.0).collect()
    }

    fn close(self) {
        self.storage.close().unwrap();
        self.pool.stop();
    }

    /// Ends as a process does that is killed: no sync, no record.
    fn kill(self) {
        drop(self.storage);
        self.pool.stop();
    }
}

#[test]
fn what_is_stored_comes_back() {
    for preallocate in [Preallocate::None, Preallocate::Sparse, Preallocate::Full] {
        let torrent =
            Sandbox { preallocate, ..Sandbox::new(&[100_000, 0, 7, 50_000, -10_000, 130_001]) };
        let session = torrent.open();
        assert_eq!((session.checked.hashed_pieces, session.has()), (0, vec![]));
        session.store_all(&torrent, (0..torrent.pieces()).rev());
        for (at, file) in torrent.layout.files().iter().enumerate() {
            if file.pad {
                assert!(!torrent.path(at).exists(), "padding has no file");
            } else {
                assert_eq!(std::fs::read(torrent.path(at)).unwrap(), torrent.want(at), "file {at}");
            }
        }
        for piece in 0..torrent.pieces() {
            let geometry = torrent.layout.geometry();
            let count = geometry.blocks_in(PieceIndex(piece));
            let mut blocks: Vec<_> =
                (0..count).map(|nth| geometry.block(PieceIndex(piece), nth)).collect();
            blocks.push(Block { piece: PieceIndex(piece), begin: 3, len: 5 }); // not a neighbour
            let DiskEvent::Read { peer: 7, blocks: read } = session.read(blocks) else { panic!() };
            let (odd, whole) = read.split_last().unwrap();
            assert_eq!(odd.1, torrent.piece(piece)[3..8]);
            let whole: Vec<u8> = whole.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
            assert_eq!(whole, torrent.piece(piece));
        }
        session.close();
    }
}

#[test]
fn a_bad_piece_is_told_and_not_written() {
    let torrent = Sandbox { preallocate: Preallocate::None, ..Sandbox::new(&[100_000]) };
    let session = torrent.open();
    let mut blocks = torrent.blocks(0);
    blocks.swap(0, 1);
    session.storage.store(PieceIndex(0), blocks).unwrap();
    let bad = DiskDone::Stored { piece: PieceIndex(0), verdict: Verdict::Bad };
    assert!(matches!(session.event(), DiskEvent::Done(done) if done == bad));
    session.storage.store(PieceIndex(1), torrent.blocks(1)[..2].to_vec()).unwrap();
    assert!(matches!(
        session.event(),
        DiskEvent::Done(DiskDone::Stored { verdict: Verdict::Bad, .. })
    ));
    assert!(!torrent.path(0).exists());
    let blocks = vec![torrent.layout.geometry().block(PieceIndex(0), 0)];
    let DiskEvent::Done(DiskDone::ReadFailed { peer: 7, blocks: asked, .. }) =
        session.read(blocks.clone())
    else {
        panic!("nothing is there to read")
    };
    assert_eq!(asked, blocks);
}

#[test]
fn padding_that_is_not_zeros_is_a_fault_of_the_torrent() {
    let mut torrent = Sandbox::new(&[30_000, -10_000, 40_000]);
    torrent.content[30_000] = 1; // the hashes cover it, no file can give it back
    let session = torrent.open();
    assert!(matches!(
        session.store(&torrent, 0),
        DiskDone::StoreFailed { fault: DiskFault::Io(_), .. }
    ));
    session.store_all(&torrent, [1]);
}

#[test]
fn more_files_than_descriptors() {
    const FILES: usize = 3 * 512;
    let torrent = Sandbox::new(&vec![1_000; FILES]);
    let session = torrent.open();
    session.store_all(&torrent, 0..torrent.pieces());
    assert!(session.pool.shared().descriptors.open() <= 512);
    session.close();
    assert!((0..FILES).all(|at| std::fs::read(torrent.path(at)).unwrap() == torrent.want(at)));
    assert_eq!(torrent.open().checked.trusted_pieces, torrent.pieces());
}

#[test]
fn waiting_work_is_bounded_and_closing_waits_for_it() {
    let torrent = Sandbox::new(&[2 * i64::from(PIECE_LEN)]);
    let gate = Arc::new(std::sync::Barrier::new(2));
    let mut spec = torrent.spec();
    let (inner, hash) = (Arc::clone(&gate), spec.piece_hash);
    spec.piece_hash = Arc::new(move |piece| {
        if piece.0 == 0 {
            inner.wait();
        }
        hash(piece)
    });
    let session = open_spec(spec).unwrap();
    let huge = || vec![Bytes::from(vec![0; STORE_BYTES_MAX as usize])];
    session.storage.store(PieceIndex(0), torrent.blocks(0)).unwrap();
    let Err(Busy(blocks)) = session.storage.store(PieceIndex(1), huge()) else { panic!("taken") };
    assert_eq!((session.storage.waiting_bytes(), blocks), (u64::from(PIECE_LEN), huge()));
    gate.wait();
    assert!(matches!(
        session.event(),
        DiskEvent::Done(DiskDone::Stored { verdict: Verdict::Good, .. })
    ));
    session.storage.store(PieceIndex(1), [huge(), huge()].concat()).unwrap(); // alone, any size is taken
    session.storage.close().unwrap();
    assert_eq!((session.storage.waiting_bytes(), session.events.try_iter().count()), (0, 1));
    assert!(matches!(
        session.store(&torrent, 1),
        DiskDone::StoreFailed { fault: DiskFault::Denied(_), .. }
    ));
}

#[test]
fn a_file_that_is_removed_under_us_is_not_made_again() {
    for preallocate in [Preallocate::None, Preallocate::Sparse, Preallocate::Full] {
        let torrent = Sandbox { preallocate, ..Sandbox::new(&[120_000]) };
        let session = torrent.open();
        session.store_all(&torrent, [0, 1]);
        session.close();
        let session = torrent.open();
        assert_eq!(session.has(), [0, 1]);
        std::fs::remove_file(torrent.path(0)).unwrap();
        // The descriptor may still be open; then the piece goes where nobody finds it.
        let _ = session.store(&torrent, 2);
        session.close();
        let left = torrent.open().has();
        assert!(left.is_empty(), "{preallocate:?}: {left:?} of a file that is gone");
    }
}
