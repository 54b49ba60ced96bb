use super::*;
use std::os::unix::fs::symlink;

#[test]
fn a_foreign_file_is_left_alone_unless_told_otherwise() {
    let torrent = Sandbox::new(&[100_000, 50_000]);
    std::fs::create_dir_all(torrent.path(1).parent().unwrap()).unwrap();
    std::fs::write(torrent.path(1), "my diary").unwrap();
    let path = torrent.path(1).canonicalize().unwrap();
    let refused = torrent.try_open().err().unwrap();
    assert_eq!(refused, StorageError::Foreign { path });
    assert!(refused.protects_data());
    assert_eq!(std::fs::read(torrent.path(1)).unwrap(), b"my diary");
    assert!(!torrent.path(0).exists(), "a refusal leaves the folder as it was");

    let told = Sandbox { overwrite: true, ..torrent };
    let session = told.open();
    session.store_all(&told, 0..4);
    assert_eq!(std::fs::read(told.path(1)).unwrap(), told.want(1));
}

#[test]
fn a_file_of_zeros_or_with_one_good_piece_is_taken_over() {
    let torrent = Sandbox::new(&[100_000, 150_000]);
    torrent.put_all();
    std::fs::write(torrent.path(0), vec![0; 100_000]).unwrap();
    let mut mixed = vec![9; 150_000];
    mixed[60_000..100_000].copy_from_slice(torrent.piece(4));
    std::fs::write(torrent.path(1), mixed).unwrap();
    assert_eq!(torrent.open().has(), [4]);
}

#[test]
fn bytes_that_a_killed_run_had_moved_are_not_foreign() {
    let mut torrent =
        Sandbox { preallocate: Preallocate::None, ..Sandbox::new(&[30_000, 5_000, 45_000]) };
    torrent.layout.select(&[0, 0, 1]);
    torrent.layout.reset_stored(&[]);
    let session = torrent.open();
    session.store_all(&torrent, [0]);
    session.close();
    torrent.layout.select(&[1, 1, 1]);
    torrent.put(0); // file 0 was moved, file 1 was not: piece 0 is wrong where it is
    assert_eq!(torrent.open().has(), [0]);
    assert_eq!(std::fs::read(torrent.path(1)).unwrap(), torrent.want(1));
}

#[test]
fn a_file_with_other_names_is_never_written_into() {
    let torrent = Sandbox { overwrite: true, ..Sandbox::new(&[100_000, 50_000]) };
    torrent.put(0);
    let other = torrent.base.join("other");
    std::fs::hard_link(torrent.path(0), &other).unwrap();
    // Piece 2 ends in file 0 and is not complete without file 1.
    assert!(matches!(torrent.try_open(), Err(StorageError::HardLinked { links: 2, .. })));
    torrent.put(1);
    let session = torrent.open();
    assert_eq!(session.has(), [0, 1, 2, 3], "complete data is read through any name");
}

#[test]
fn a_name_that_appears_later_stops_the_writing() {
    let torrent = Sandbox { preallocate: Preallocate::None, ..Sandbox::new(&[100_000]) };
    let session = torrent.open();
    let other = torrent.base.join("other");
    std::fs::create_dir_all(torrent.path(0).parent().unwrap()).unwrap();
    std::fs::write(&other, "precious").unwrap();
    std::fs::hard_link(&other, torrent.path(0)).unwrap();
    assert!(matches!(
        session.store(&torrent, 0),
        DiskDone::StoreFailed { fault: DiskFault::Denied(_), .. }
    ));
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
}

#[test]
fn attack_02_symlinks_never_lead_out() {
    // A link where a file belongs, one where a folder belongs, and one that is put there while we run.
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("f0");
    std::fs::write(&victim, "untouched").unwrap();

    let torrent = Sandbox { overwrite: true, ..Sandbox::new(&[100_000]) };
    std::fs::create_dir_all(torrent.path(0).parent().unwrap()).unwrap();
    symlink(&victim, torrent.path(0)).unwrap();
    assert!(matches!(torrent.try_open(), Err(StorageError::Symlink { .. })));

    let torrent = Sandbox { overwrite: true, ..Sandbox::new(&[100_000]) };
    std::fs::create_dir_all(torrent.out().join("top")).unwrap();
    symlink(outside.path(), torrent.out().join("top/d0")).unwrap();
    let Err(StorageError::Symlink { path }) = torrent.try_open() else {
        panic!("folder link followed")
    };
    assert!(path.ends_with("top/d0"));

    let torrent = Sandbox { preallocate: Preallocate::None, ..Sandbox::new(&[100_000]) };
    let session = torrent.open();
    std::fs::create_dir_all(torrent.out().join("top")).unwrap();
    symlink(outside.path(), torrent.out().join("top/d0")).unwrap();
    let done = session.store(&torrent, 0);
    assert!(matches!(&done, DiskDone::StoreFailed { fault: DiskFault::Denied(_), .. }), "{done:?}");

    assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_link_to_the_output_folder_is_the_users_choice() {
    let torrent = Sandbox::new(&[100_000]);
    let real = torrent.base.join("real");
    std::fs::create_dir(&real).unwrap();
    symlink(&real, torrent.out()).unwrap();
    let session = torrent.open();
    session.store_all(&torrent, 0..3);
    assert_eq!(std::fs::read(real.join("top/d0/f0")).unwrap(), torrent.content);
}

#[test]
fn what_is_in_the_way_is_named_and_does_not_hang() {
    let torrent = Sandbox::new(&[100_000]);
    std::fs::create_dir_all(torrent.path(0)).unwrap();
    let path = torrent.path(0).canonicalize().unwrap();
    assert_eq!(torrent.try_open().err(), Some(StorageError::NotAFile { path }));

    let torrent = Sandbox::new(&[100_000]);
    std::fs::create_dir_all(torrent.out()).unwrap();
    std::fs::write(torrent.out().join("top"), "a file where a folder must be").unwrap();
    assert!(
        matches!(torrent.try_open(), Err(StorageError::NotAFile { path }) if path.ends_with("top"))
    );

    let torrent = Sandbox { access: Access::ReadOnly, ..Sandbox::new(&[100_000]) };
    std::fs::create_dir_all(torrent.path(0).parent().unwrap()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(torrent.path(0)).status().unwrap();
    assert!(made.success());
    assert!(matches!(torrent.try_open(), Err(StorageError::NotAFile { .. })));
}

#[test]
fn reading_alone_changes_nothing_and_follows_links() {
    let torrent = Sandbox { access: Access::ReadOnly, ..Sandbox::new(&[100_000, 0, 50_000]) };
    assert!(
        matches!(torrent.try_open(), Err(StorageError::Disk(DiskFault::Io(_)))),
        "no such folder"
    );
    std::fs::create_dir_all(torrent.path(0).parent().unwrap()).unwrap();
    let blob = torrent.base.join("blob");
    std::fs::write(&blob, torrent.want(0)).unwrap();
    symlink(&blob, torrent.path(0)).unwrap();
    let session = torrent.open();
    assert_eq!(session.has(), [0, 1]);
    assert!(matches!(
        session.store(&torrent, 2),
        DiskDone::StoreFailed { fault: DiskFault::Denied(_), .. }
    ));
    session.close();
    assert!(!torrent.path(1).exists() && !torrent.path(2).exists());
    assert_eq!(torrent.open().checked.trusted_pieces, 2);
}
