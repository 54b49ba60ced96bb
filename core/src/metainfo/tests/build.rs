//! Torrents we make, beside those that other programs made of the same content.

use crate::geometry::GeometryError;
use crate::hash::sha1;
use crate::metainfo::{
    Build, BuildError, BuildFile, Content, Metainfo, piece_length_auto, sort_files,
};

/// What `fixtures/torrents/make.py` puts into its files.
fn content(len: u64, seed: u64) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + (i >> 8) * 7 + seed * 101) % 251) as u8).collect()
}

/// Hashes files in their order, as whoever creates a torrent does.
fn build(name: &str, piece_len: u32, content_of: &[(&[&str], u64, u64)], alone: bool) -> Build {
    let mut listed: Vec<_> = content_of
        .iter()
        .map(|&(path, len, seed)| {
            let path = path.iter().map(|part| part.as_bytes().to_vec()).collect();
            (BuildFile { path, len, pad: false }, seed)
        })
        .collect();
    let mut sorted: Vec<_> = listed.iter().map(|(file, _)| file.clone()).collect();
    sort_files(&mut sorted);
    listed.sort_by_key(|(file, _)| sorted.iter().position(|s| s == file));
    let bytes: Vec<u8> = listed.iter().flat_map(|(file, seed)| content(file.len, *seed)).collect();
    Build {
        name: name.as_bytes().to_vec(),
        piece_len,
        content: if alone { Content::File(sorted[0].len) } else { Content::Folder(sorted) },
        pieces: bytes.chunks(piece_len as usize).flat_map(|piece| sha1([piece])).collect(),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private: false,
        source: None,
        comment: None,
        created_by: None,
        creation_date: None,
    }
}

macro_rules! theirs {
    ($name:literal) => {
        Metainfo::parse(include_bytes!(concat!("../../../../fixtures/torrents/", $name))).unwrap()
    };
}

#[test]
fn other_programs_make_the_same_info_dictionary() {
    #[track_caller]
    fn check(ours: &Build, theirs: &Metainfo) {
        let ours = Metainfo::parse(&ours.to_bytes().unwrap()).unwrap();
        assert_eq!(
            ours.info_bytes().escape_ascii().to_string(),
            theirs.info_bytes().escape_ascii().to_string()
        );
    }
    let one = build("one.bin", 32768, &[(&["one.bin"], 100_000, 1)], true);
    check(&one, &theirs!("mktorrent_one.torrent"));
    check(&one, &theirs!("libtorrent_one.torrent"));
    let exact = build("exact.bin", 32768, &[(&["exact.bin"], 65_536, 2)], true);
    check(&exact, &theirs!("mktorrent_exact.torrent"));
    check(&exact, &theirs!("libtorrent_exact.torrent"));
    let nested = build(
        "nested",
        32768,
        &[
            (&["sub", "b"], 20_000, 3),
            (&["sub.x"], 1, 4),
            (&["sub", "a", "z"], 16_384, 5),
            (&["a.txt"], 40_000, 6),
            (&["sub-y"], 3, 7),
        ],
        false,
    );
    check(&nested, &theirs!("mktorrent_nested.torrent"));
    check(&nested, &theirs!("libtorrent_nested.torrent"));
    let private = |build: &Build| Build { private: true, ..build.clone() };
    check(&private(&one), &theirs!("transmission_one.torrent"));
    check(&private(&nested), &theirs!("transmission_nested.torrent"));
    // Upper case sorts first and empty files are kept, which Transmission does otherwise.
    let mixed = build(
        "mixed",
        32768,
        &[(&["b"], 9, 8), (&["Zeta"], 8, 9), (&["Empty", "e"], 0, 0), (&["é"], 30_000, 10)],
        false,
    );
    check(&mixed, &theirs!("mktorrent_mixed.torrent"));
    check(&mixed, &theirs!("libtorrent_mixed.torrent"));
    let alone = build("alone", 32768, &[(&["f"], 5, 11)], false);
    check(&alone, &theirs!("mktorrent_alone.torrent"));
    check(&alone, &theirs!("libtorrent_alone.torrent"));
    check(&private(&alone), &theirs!("transmission_alone.torrent"));
    let full = Build {
        trackers: vec![
            vec!["http://t/announce".to_owned(), "http://u/".to_owned()],
            vec!["http://v/".to_owned()],
        ],
        web_seeds: vec!["http://w/".to_owned(), "http://x/".to_owned()],
        source: Some("SRC".to_owned()),
        comment: Some("hello".to_owned()),
        created_by: Some("mktorrent 1.1".to_owned()),
        ..private(&one)
    };
    let theirs = include_bytes!("../../../../fixtures/torrents/mktorrent_full.torrent");
    assert_eq!(
        full.to_bytes().unwrap().escape_ascii().to_string(),
        theirs.escape_ascii().to_string()
    );
}

#[test]
fn what_cannot_become_a_torrent_is_refused() {
    let good = build("a", 16384, &[(&["a"], 5, 1)], false);
    let with = |content: Content| Build { content, ..good.clone() }.to_bytes().unwrap_err();
    assert_eq!(with(Content::File(0)), BuildError::Geometry(GeometryError::Empty));
    assert_eq!(with(Content::File(16385)), BuildError::Hashes { got: 20, want: 40 });
    let path = |parts: &[&[u8]]| parts.iter().map(|part| part.to_vec()).collect();
    let file = |len, parts| BuildFile { path: path(parts), len, pad: false };
    assert_eq!(with(Content::Folder(vec![file(5, &[])])), BuildError::NoName);
    assert_eq!(with(Content::Folder(vec![file(5, &[b""])])), BuildError::NoName);
    let huge = vec![file(u64::MAX, &[b"a"]), file(1, &[b"b"])];
    assert_eq!(with(Content::Folder(huge)), BuildError::SizeOverflow);
    let nameless = Build { name: Vec::new(), ..good.clone() };
    assert_eq!(nameless.to_bytes(), Err(BuildError::NoName));
}

#[test]
fn automatic_piece_lengths() {
    const MIB: u64 = 1 << 20;
    for (total, len) in [
        (0, 16 << 10),
        (1, 16 << 10),
        (30 * MIB, 16 << 10),
        (32 * MIB, 32 << 10),
        (256 * MIB, 256 << 10),
        (1024 * MIB, 1 << 20),
        (5 * 1024 * MIB, 4 << 20),
        (64 * 1024 * MIB, 16 << 20),
        (u64::MAX, 16 << 20),
    ] {
        assert_eq!(piece_length_auto(total), len, "{total}");
    }
    for total in (16 * MIB..32_000 * MIB).step_by(7_777_777) {
        let pieces = total.div_ceil(piece_length_auto(total).into());
        assert!((1000..=2000).contains(&pieces), "{total}: {pieces}");
    }
}
