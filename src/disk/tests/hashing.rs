use super::super::hashing::{FileReport, HashingError, Source, hash_content, verify};
use super::*;

const GO_ON: &(dyn Fn(Progress) -> ControlFlow<()> + Sync) = &|_| ControlFlow::Continue(());

/// Files with these contents hash like their concatenation, whatever the number of threads.
fn check(contents: &[Vec<u8>], piece_len: u32) {
    let dir = tempfile::tempdir().unwrap();
    let source = |(at, content): (usize, &Vec<u8>)| {
        let path = dir.path().join(at.to_string());
        std::fs::write(&path, content).unwrap();
        Source { path: Some(path), len: content.len() as u64 }
    };
    let sources: Vec<_> = contents.iter().enumerate().map(source).collect();
    let want: Vec<_> =
        contents.concat().chunks(piece_len as usize).map(|piece| sha1([piece])).collect();
    for threads in [1, 3] {
        assert_eq!(hash_content(&sources, piece_len, Some(threads), GO_ON).unwrap(), want);
    }
}

#[test]
fn content_of_every_shape() {
    let mut rng = Rng::seeded(3);
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes);
        bytes
    };
    check(&[], 16384);
    check(&[vec![], vec![]], 16384);
    check(&[random(1)], 16384);
    check(&[random(32768)], 16384);
    check(&[vec![], random(32768), vec![], random(1), vec![]], 16384);
    check(&[random(5_000_000)], 16384);
    check(&[random(3 << 20), random(1_000_000)], 2 << 20);
    let many: Vec<_> = (0..10_000).map(|at| random(at % 7)).collect();
    check(&many, 16384);
}

#[test]
fn padding_is_hashed_as_zeros_and_changed_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "abc").unwrap();
    let source = |len| Source { path: Some(path.clone()), len };
    let padded = [source(3), Source { path: None, len: 16381 }, source(3)];
    let want = [sha1([&b"abc"[..], &[0; 16381]]), sha1([&b"abc"[..]])];
    assert_eq!(hash_content(&padded, 16384, None, GO_ON).unwrap(), want);
    for len in [2, 4] {
        let changed = hash_content(&[source(len)], 16384, None, GO_ON);
        assert!(matches!(changed, Err(HashingError::Changed { path: named }) if named == path));
    }
    let stopped = hash_content(&[source(3)], 16384, None, &|_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(HashingError::Cancelled)));
}

#[test]
fn verify_says_which_files_are_bad_missing_or_too_long() {
    let torrent = Sandbox::new(&[80_000, 80_000, 40_000, 40_000, -40_000, 0]);
    torrent.put_all();
    let run = |fast| {
        verify(&torrent.layout, &torrent.spec().piece_hash, &torrent.out(), fast, GO_ON).unwrap()
    };
    assert!(run(false).good.is_full() && run(false).files.iter().all(FileReport::is_good));

    let mut bad = torrent.want(0).to_vec();
    bad[50_000] ^= 1;
    std::fs::write(torrent.path(0), bad).unwrap();
    std::fs::write(torrent.path(1), &torrent.want(1)[..50_000]).unwrap();
    std::fs::write(torrent.path(2), [torrent.want(2), b"tail"].concat()).unwrap();
    std::fs::remove_file(torrent.path(3)).unwrap();
    let report = run(false);
    let seen: Vec<_> = report.files.iter().map(|file| (file.found, file.bad_pieces)).collect();
    let want = [(80_000, 1), (50_000, 1), (40_004, 0)].map(|(len, bad)| (Some(len), bad));
    assert_eq!(seen[..3], want);
    assert_eq!(seen[3..], [(None, 1), (Some(40_000), 0), (Some(0), 0)]);
    assert!(report.good.ones().map(|piece| piece.0).eq([0, 2, 4, 6]));
    assert!(run(true).good.ones().map(|piece| piece.0).eq([0, 1, 6]), "sizes alone");
}
