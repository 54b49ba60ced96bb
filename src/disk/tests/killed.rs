use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Set for the process that is killed: where it works.
const CHILD: &str = "GAGGLE_TEST_KILLED_IN";
/// The victim syncs after every so many pieces.
const SYNC_PIECES: u32 = 8;

#[test]
fn a_killed_process_loses_no_piece_that_it_reported() {
    let mut torrent = Sandbox::new(&[1_000_000, 3, 2_600_000]);
    if let Some(dir) = std::env::var_os(CHILD) {
        torrent.base = PathBuf::from(dir);
        return be_killed(&torrent);
    }
    let mut rng = Rng::seeded(11);
    let mut have = 0;
    while have < torrent.pieces() {
        let reported = kill_after(&torrent, 1 + rng.below(30) as usize);
        let session = torrent.open();
        let checked = &session.checked;
        assert!(checked.have.count() >= have + reported, "{checked:?} after {have} and {reported}");
        // What was stored since the last record, what was being written, and nothing more.
        assert!(checked.hashed_pieces <= 2 * SYNC_PIECES + 2, "{checked:?}");
        have = checked.have.count();
        session.close();
    }
    let whole: Vec<u8> = (0..3).flat_map(|at| std::fs::read(torrent.path(at)).unwrap()).collect();
    assert!(whole == torrent.content);
}

/// Runs the victim until it has reported `lines` pieces, or all, and kills it. How many it reported.
fn kill_after(torrent: &Sandbox, lines: usize) -> u32 {
    let name = std::thread::current().name().unwrap().to_owned();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name, "--nocapture"]).env(CHILD, &torrent.base);
    let mut victim = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let reported = output.filter(|line| line.ends_with(" is stored")).take(lines).count();
    victim.kill().unwrap();
    victim.wait().unwrap();
    reported as u32
}

/// Stores what is missing, several pieces at a time, and says so piece by piece.
fn be_killed(torrent: &Sandbox) {
    let session = torrent.open();
    let missing: Vec<_> = session.checked.have.zeros().collect();
    for batch in missing.chunks(SYNC_PIECES as usize) {
        for &piece in batch {
            session.storage.store(piece, torrent.blocks(piece.0)).unwrap();
        }
        for _ in batch {
            let DiskEvent::Done(DiskDone::Stored { piece, verdict: Verdict::Good }) =
                session.event()
            else {
                panic!("not stored")
            };
            let mut out = std::io::stdout().lock();
            writeln!(out, "\n{} is stored", piece.0).unwrap();
            out.flush().unwrap();
        }
        session.storage.sync().unwrap();
    }
}
