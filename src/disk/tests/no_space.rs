use super::*;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Set for the second run of the test, inside a mount namespace: the small file system.
const SMALL: &str = "GAGGLE_TEST_SMALL_FS";

#[test]
fn a_full_disk_stops_the_writing_and_keeps_every_verified_piece() {
    if let Some(small) = std::env::var_os(SMALL) {
        return fill(Path::new(&small));
    }
    let small = tempfile::tempdir().unwrap();
    let itself = std::env::current_exe().unwrap();
    let name = std::thread::current().name().unwrap().to_owned();
    let script =
        r#"mount -t tmpfs -o size=1m none "$1" || exit 99; exec "$2" --exact "$3" --nocapture"#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    let run = command.arg(small.path()).arg(itself).arg(name).env(SMALL, small.path()).output();
    match run {
        Ok(run) if run.status.success() => {}
        Ok(run) if run.status.code() != Some(101) => {
            let why = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(!harness::clients_required(), "no mount namespace here: {why}");
            let skipped = format!("SKIPPED a_full_disk..: no mount namespace here: {why}\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        }
        run => panic!("{run:?}"),
    }
}

/// Half of the pieces fit; with reserving, the torrent is refused at the start.
fn fill(small: &Path) {
    let torrent =
        Sandbox { preallocate: Preallocate::None, ..Sandbox::new(&[50 * i64::from(PIECE_LEN)]) };
    let spec = || StorageSpec { out_dir: small.join("out"), ..torrent.spec() };
    let session = open_spec(spec()).unwrap();
    let mut stored = Vec::new();
    let full = loop {
        let piece = stored.len() as u32;
        match session.store(&torrent, piece) {
            DiskDone::Stored { verdict: Verdict::Good, .. } => stored.push(piece),
            DiskDone::StoreFailed { fault, .. } => break fault,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(full, DiskFault::NoSpace(_)), "{full:?}");
    assert!(stored.len() > 15, "{} pieces", stored.len());
    session.close();
    let session = open_spec(spec()).unwrap();
    assert_eq!((session.has(), session.checked.hashed_pieces), (stored, 0));
    session.close();

    std::fs::remove_dir_all(small.join("out")).unwrap();
    let reserving = StorageSpec { preallocate: Preallocate::Full, ..spec() };
    let refused = open_spec(reserving).err();
    assert!(matches!(refused, Some(StorageError::Disk(DiskFault::NoSpace(_)))), "{refused:?}");
    let left = std::fs::read_dir(small.join("out/top/d0")).unwrap().count();
    assert_eq!(left, 0, "what could not be used is not left behind");

    let two = Sandbox::new(&[20 * i64::from(PIECE_LEN); 2]);
    let refused = open_spec(StorageSpec { out_dir: small.join("two"), ..two.spec() }).err();
    assert!(matches!(refused, Some(StorageError::Disk(DiskFault::NoSpace(_)))), "{refused:?}");
    let one = Sandbox::new(&[20 * i64::from(PIECE_LEN)]);
    open_spec(StorageSpec { out_dir: small.join("one"), ..one.spec() }).unwrap().close();
}
