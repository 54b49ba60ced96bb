use super::*;
use gaggle_core::storage::{Record, journal};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

fn corrupt(torrent: &Sandbox, file: usize, at: u64) {
    let open = std::fs::OpenOptions::new().write(true).open(torrent.path(file)).unwrap();
    open.write_all_at(b"corrupted", at).unwrap();
}

/// Moves a file's time, so that no clock has to be waited for.
fn touch(path: &std::path::Path, to: impl FnOnce(SystemTime) -> SystemTime) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    file.set_modified(to(now)).unwrap();
}

#[test]
fn an_undisturbed_restart_hashes_nothing() {
    for preallocate in [Preallocate::None, Preallocate::Sparse, Preallocate::Full] {
        let torrent = Sandbox { preallocate, ..Sandbox::new(&[100_000, 7, 90_000]) };
        let session = torrent.open();
        session.store_all(&torrent, [0, 2, 3]);
        session.storage.set_totals(11, 22);
        session.close();
        for _ in 0..2 {
            let session = torrent.open();
            assert_eq!((session.checked.hashed_pieces, session.checked.trusted_pieces), (0, 3));
            assert_eq!((session.has(), session.checked.downloaded), (vec![0, 2, 3], 11));
            assert_eq!(session.checked.uploaded, 22);
            session.close();
        }
    }
}

#[test]
fn after_a_kill_only_what_was_not_synced_is_hashed() {
    for preallocate in [Preallocate::None, Preallocate::Full] {
        let torrent = Sandbox { preallocate, ..Sandbox::new(&[100_000, 7, 290_000]) };
        let session = torrent.open();
        session.store_all(&torrent, [0, 4]);
        session.storage.sync().unwrap();
        session.store_all(&torrent, [1, 5, 7]);
        session.kill();
        corrupt(&torrent, 2, 5 * u64::from(PIECE_LEN) - 100_007); // piece 5 was torn
        let session = torrent.open();
        assert_eq!((session.checked.hashed_pieces, session.checked.trusted_pieces), (3, 2));
        assert_eq!(session.has(), [0, 1, 4, 7]);
        session.kill();
        let session = torrent.open(); // adopted pieces are listed, or by now synced, but never lost
        assert!(session.checked.hashed_pieces <= 2);
        assert_eq!(session.has(), [0, 1, 4, 7]);
        session.store_all(&torrent, [5, 2, 3, 6, 8, 9]);
        session.close();
        assert_eq!(torrent.open().checked.trusted_pieces, 10);
    }
}

#[test]
fn the_pool_syncs_on_its_own() {
    let torrent = Sandbox::new(&[100_000]);
    let ticks = std::sync::atomic::AtomicU64::new(0);
    let step = journal::SYNC_EVERY.as_micros() as u64 + 1; // every look at the clock finds the next sync due
    let clock =
        move || Instant::from_micros(ticks.fetch_add(step, std::sync::atomic::Ordering::Relaxed));
    let session = open_with(torrent.spec(), Arc::new(clock)).unwrap();
    session.store_all(&torrent, 0..3);
    let record = torrent.state_file("record");
    let durable = || Record::decode(&std::fs::read(&record).unwrap()).unwrap().durable;
    while !durable().is_full() {
        assert!(session.events.recv_timeout(Duration::from_millis(5)).is_err(), "no sync fails");
    }
    session.kill();
    assert_eq!(torrent.open().checked.trusted_pieces, 3);
}

#[test]
fn a_fresh_download_that_is_killed_at_once_is_ours() {
    let torrent = Sandbox { preallocate: Preallocate::None, ..Sandbox::new(&[100_000]) };
    let session = torrent.open();
    session.store_all(&torrent, [1]);
    session.kill();
    corrupt(&torrent, 0, 40_000); // not one piece is right now, yet nothing is foreign
    assert_eq!(torrent.open().has(), [0u32; 0]);
}

#[test]
fn a_file_that_somebody_changed_is_hashed() {
    let torrent = Sandbox::new(&[100_000, 100_000]);
    let session = torrent.open();
    session.store_all(&torrent, 0..5);
    session.close();
    corrupt(&torrent, 1, 60_000);
    touch(&torrent.path(1), |now| now + Duration::from_secs(3));
    let session = torrent.open();
    assert_eq!((session.checked.hashed_pieces, session.has()), (3, vec![0, 1, 2, 3]));
    session.close();

    let trusting = Sandbox { verify: Verify::Trust, ..torrent };
    corrupt(&trusting, 0, 0);
    touch(&trusting.path(0), |now| now + Duration::from_secs(3));
    assert_eq!(trusting.open().checked.hashed_pieces, 0, "as asked");
    let always = Sandbox { verify: Verify::Always, ..trusting };
    assert_eq!(always.open().has(), [1, 2, 3]);
}

#[test]
fn a_damaged_record_is_ignored_and_what_exists_is_hashed() {
    let torrent = Sandbox::new(&[100_000]);
    let session = torrent.open();
    session.store_all(&torrent, [0, 1]);
    session.close();
    let state = torrent.base.join("state/resume");
    let records = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let record =
        records.into_iter().find(|path| path.extension().is_some_and(|e| e == "record")).unwrap();
    let mut bytes = std::fs::read(&record).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    let session = torrent.open();
    assert_eq!((session.checked.hashed_pieces, session.has()), (3, vec![0, 1]));
}

#[test]
fn existing_data_is_found_without_a_record() {
    let torrent = Sandbox::new(&[100_000, 60_000, 40_000]);
    torrent.put(0);
    torrent.put(2);
    let session = torrent.open();
    // Piece 2 is half in the missing file 1, and piece 3 wholly: neither is read.
    assert_eq!((session.checked.hashed_pieces, session.has()), (3, vec![0, 1, 4]));
    session.store_all(&torrent, [2, 3]);
    session.close();
    assert_eq!(std::fs::read(torrent.path(1)).unwrap(), torrent.want(1));
}

#[test]
fn missing_files_are_missed_and_too_long_ones_reported_and_left() {
    let torrent = Sandbox::new(&[80_000, 80_000, 80_000]);
    torrent.put_all();
    torrent.open().close();
    std::fs::remove_file(torrent.path(0)).unwrap();
    let longer = [torrent.want(2), b"tail"].concat();
    std::fs::write(torrent.path(2), &longer).unwrap();
    let session = torrent.open();
    assert_eq!((session.has(), &session.checked.too_long[..]), (vec![2, 3, 4, 5], &[2][..]));
    session.store_all(&torrent, [0, 1]);
    session.close();
    assert_eq!(std::fs::read(torrent.path(2)).unwrap(), longer);
}

#[test]
fn unselected_files_are_not_made_and_their_neighbours_bytes_wait_for_them() {
    let mut torrent = Sandbox::new(&[50_000, 5_000, 70_000, 20_000, 100_000]);
    torrent.layout.select(&[0, 0, 1, 0, 0]);
    torrent.layout.reset_stored(&[]);
    let wanted: Vec<u32> = torrent.layout.wanted_pieces().ones().map(|piece| piece.0).collect();
    assert_eq!(wanted, [1, 2, 3]);
    let session = torrent.open();
    session.store_all(&torrent, wanted);
    session.close();
    let there =
        |torrent: &Sandbox| (0..5).filter(|&at| torrent.path(at).exists()).collect::<Vec<_>>();
    assert_eq!(there(&torrent), [2]);

    let session = torrent.open();
    assert_eq!((session.checked.hashed_pieces, session.checked.trusted_pieces), (0, 3));
    let border = Block { piece: PieceIndex(1), begin: 0, len: 40_000 };
    let DiskEvent::Read { blocks, .. } = session.read(vec![border]) else { panic!() };
    assert_eq!(blocks[0].1, torrent.piece(1), "served from the file and the parts file");
    session.close();

    torrent.layout.select(&[0, 1, 1, 1, 0]);
    let session = torrent.open();
    assert_eq!(session.has(), [1, 2, 3], "nothing is fetched again");
    assert_eq!(session.checked.trusted_pieces, 1, "what moved is hashed");
    assert_eq!(there(&torrent), [1, 2, 3]);
    assert_eq!(std::fs::read(torrent.path(1)).unwrap(), torrent.want(1));
    session.close();

    torrent.layout.select(&[1; 5]);
    let session = torrent.open();
    let parts = torrent.state_file("parts");
    session.store_all(&torrent, [0, 4, 5, 6]);
    session.close();
    assert!((0..5).all(|at| std::fs::read(torrent.path(at)).unwrap() == torrent.want(at)));
    assert!(!parts.exists());
    assert_eq!(torrent.open().checked.trusted_pieces, 7);
}

#[test]
fn one_process_per_torrent_and_folder() {
    let torrent = Sandbox::new(&[100_000]);
    let session = torrent.open();
    assert!(matches!(torrent.try_open(), Err(StorageError::InUse { .. })));
    let elsewhere = StorageSpec { out_dir: torrent.base.join("other"), ..torrent.spec() };
    open_spec(elsewhere).unwrap().close();
    session.storage.close().unwrap();
    torrent.open().close();
}

#[test]
fn a_check_can_be_broken_off() {
    let torrent = Sandbox::new(&[400_000]);
    torrent.put_all();
    let pool = Pool::start(None, Arc::new(|| Instant::ZERO)).unwrap();
    let opened =
        Storage::open(&pool, torrent.spec(), Box::new(|_| ()), &|_| ControlFlow::Break(()));
    assert_eq!(opened.err(), Some(StorageError::Cancelled));
}
