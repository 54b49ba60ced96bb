//! Torrents and links made to harm: rows of the project's table of attacks that end in this module.

use super::*;
use crate::bencode::{BencodeError, check, span_of};
use crate::geometry::{GeometryError, PIECE_LEN_MAX, PIECES_MAX};
use crate::hash::sha1;
use crate::id::InfoHash;
use crate::metainfo::*;
use std::path::{Component, Path};

fn parse(info: Dict) -> Result<Metainfo, MetainfoError> {
    Metainfo::parse(&torrent(info))
}

/// Whatever the names were: below the output folder, by plain names only, each file somewhere else.
#[track_caller]
fn assert_contained(metainfo: &Metainfo) {
    let root = Path::new("/out");
    let mut seen = std::collections::BTreeSet::new();
    for entry in &metainfo.info.files {
        let full = entry.path.iter().fold(root.to_path_buf(), |path, name| path.join(name));
        let below = full.strip_prefix(root).unwrap();
        assert_eq!(below.components().count(), entry.path.len(), "{full:?}");
        assert!(below.components().all(|c| matches!(c, Component::Normal(_))), "{full:?}");
        assert!(entry.path.iter().all(|name| names::is_safe(name)), "{full:?}");
        assert!(entry.pad || seen.insert(full.clone()), "{full:?} twice");
    }
}

#[test]
fn attack_01_no_path_leaves_the_output_folder() {
    let hostile = [
        "..",
        ".",
        "",
        "/",
        "\\",
        "../..",
        "..\\..",
        "/etc/passwd",
        "C:",
        "c:\\x",
        "C:x",
        "\\\\host\\share",
        "a\0/../b",
        "\0",
        "x/..",
        "~",
        "/..",
        "../",
        "\u{2215}..",
        "..\u{200d}",
        "\u{202e}..",
        "%2e%2e%2f",
    ];
    for name in hostile {
        for path in [vec![name], vec![name, "x"], vec!["x", name], vec![name, name, name]] {
            let metainfo = parse(files([file(425, &path)]).bytes("name", name)).unwrap();
            assert_contained(&metainfo);
        }
        assert_contained(&parse(single().bytes("name", name)).unwrap());
    }
    let raw = |parts: &[&[u8]]| file(9, &[]).list("path", List::of_bytes(parts));
    let overlong = [&b"\xc0\xae\xc0\xae"[..], b"\xc0\xaf", b"\xff/\xff", b"..\xff"];
    assert_contained(&parse(files([raw(&overlong)])).unwrap());
}

#[test]
fn attack_02_symlinks_are_never_made() {
    let link = |path: &[&str], target: &[&str]| {
        let entry = file(0, path).bytes("attr", "l");
        entry.list("symlink path", List::of_bytes(target))
    };
    let metainfo = parse(files([
        link(&["out"], &["..", "..", "etc"]),
        file(9, &["out", "passwd"]), // through the link
        link(&["a"], &["b"]),        // a loop
        link(&["b"], &["a"]),
        file(5, &["b"]).bytes("attr", "x"), // over a link
        link(&["self"], &["self"]),
        link(&["far"], &["x"]).int("length", 1_000_000), // claims bytes of its own
    ]))
    .unwrap();
    let info = &metainfo.info;
    assert_eq!(info.symlinks, [0, 2, 3, 5, 6]);
    for (index, entry) in info.files.iter().enumerate() {
        let link = info.symlinks.contains(&index);
        assert_eq!((entry.pad, entry.len == 0), (link, link), "{index}");
    }
    assert_eq!(info.geometry.total(), 14);
    assert_contained(&metainfo);
}

#[test]
fn attack_03_names_that_deceive_or_do_not_fit() {
    for (raw, name) in [
        (&b".."[..], "_"),
        (b"", "_"),
        (b"....", "_"),
        (b"line\nbreak\x1b[31m", "line_break_[31m"),
        ("invoice\u{202e}fdp.exe".as_bytes(), "invoicefdp.exe"),
        ("zero\u{200b}width\u{feff}".as_bytes(), "zerowidth"),
        (b"latin\xe9.txt", "latin_.txt"),
        (b"AUX", "_AUX"),
        (b"com7.log", "_com7.log"),
    ] {
        let info = files([file(9, &[]).list("path", List::new().bytes(raw))]);
        let metainfo = parse(info).unwrap();
        assert_eq!(metainfo.info.files[0].path[1], name);
        assert_contained(&metainfo);
    }
    let long = format!("{}.mkv", "x".repeat(300));
    let metainfo = parse(files([file(9, &[&long])])).unwrap();
    let name = &metainfo.info.files[0].path[1];
    assert!(name.len() == names::NAME_LEN_MAX && name.ends_with("x.mkv"), "{name}");
}

#[test]
fn attack_04_entries_that_collide() {
    let metainfo = parse(files([
        file(1, &["a"]),
        file(1, &["a"]),
        file(1, &["a", "b"]), // the file as a folder
        file(1, &["c", "d"]),
        file(1, &["c"]),   // the folder as a file
        file(1, &["a."]),  // the same once it is safe
        file(1, &["a.1"]), // the name that the second one got
    ]))
    .unwrap();
    assert_eq!(
        paths(&metainfo),
        ["temp/a", "temp/a.1", "temp/a.2/b", "temp/c/d", "temp/c.1", "temp/a.3", "temp/a.1.1"]
    );
    assert_contained(&metainfo);
    let max = names::COLLISIONS_MAX;
    let same = |count| parse(files((0..count).map(|_| file(1, &["d", "a"]))));
    assert_contained(&same(32).unwrap()); // 31 · 32 / 2 = 496 attempts
    assert_eq!(same(33).unwrap_err(), MetainfoError::Collisions { max });
}

#[test]
fn attack_05_deep_nesting() {
    let lists = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    let too_deep = |at| BencodeError::Depth { at, max: 100 };
    assert_eq!(check(&lists(100), Limits::TORRENT), Ok(()));
    assert_eq!(check(&lists(10_000), Limits::TORRENT), Err(too_deep(100)));
    assert_eq!(check(&vec![b'l'; 1 << 20], Limits::TORRENT), Err(too_deep(100)));
    let mut tree = b"d0:d6:lengthi1eee".to_vec();
    for _ in 0..4_000 {
        tree = [b"d1:a", &tree[..], b"e"].concat();
    }
    let info = single().int("meta version", 2).raw("file tree", &tree);
    let error = parse(info).unwrap_err();
    assert!(matches!(error, MetainfoError::Bencode(BencodeError::Depth { max: 100, .. })));
    let path = vec!["d"; PATH_DEPTH_MAX + 1];
    assert!(parse(files([file(1, &path[1..])])).is_ok());
    let error = parse(files([file(1, &path)])).unwrap_err();
    assert!(matches!(error, MetainfoError::PathDepth { parts: 101, .. }), "{error}");
}

#[test]
fn attack_06_more_values_bytes_and_digits_than_there_should_be() {
    let max = Limits::TORRENT.tokens;
    let many = [b"l".to_vec(), b"le".repeat(max), b"e".to_vec()].concat();
    let error = check(&many, Limits::TORRENT);
    assert_eq!(error, Err(BencodeError::TooManyTokens { at: 1 + 2 * (max - 1), max }));
    let small = Limits { bytes: 1000, ..Limits::TORRENT };
    assert_eq!(check(&many, small), Err(BencodeError::TooLong { max: 1000 }));
    for malformed in ["i-0e", "i07e", "i-07e", "ie", "i+7e"] {
        let error = check(malformed.as_bytes(), Limits::TORRENT);
        assert_eq!(error, Err(BencodeError::Integer { at: 0 }), "{malformed}");
    }
    let nines = format!("i{}e", "9".repeat(1 << 20));
    let error = check(nines.as_bytes(), Limits::TORRENT);
    assert_eq!(error, Err(BencodeError::IntegerRange { at: 0 }));
    for lie in ["99999999999:", "9223372036854775808:x", "18446744073709551617:x", "010:x"] {
        let error = check(lie.as_bytes(), Limits::TORRENT);
        assert_eq!(error, Err(BencodeError::Length { at: 0 }), "{lie}");
    }
    // A length within bounds allocates nothing before the bytes are there.
    let error = check(b"4294967295:x", Limits::TORRENT);
    assert_eq!(error, Err(BencodeError::Truncated { at: 12 }));
    let parts = vec!["d"; 90];
    let error = parse(files((0..11_200).map(|_| file(1, &parts)))).unwrap_err();
    assert!(matches!(error, MetainfoError::Collisions { .. }), "{error}");
    let links = (0..11_200).map(|_| {
        let target = List::of_bytes(["x"]);
        file(0, &parts).bytes("attr", "l").list("symlink path", target)
    });
    let error = parse(files(links)).unwrap_err();
    assert_eq!(error, MetainfoError::TooManyParts { max: PATH_PARTS_MAX });
}

#[test]
fn attack_07_the_hash_covers_the_bytes_as_they_came() {
    let info =
        b"d6:lengthi425e4:name4:temp12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa1:ai1ee";
    let file = [b"d8:announce3:a:b4:info", &info[..], b"1:xi1e1:bi2ee"].concat();
    let metainfo = Metainfo::parse(&file).unwrap();
    assert_eq!(metainfo.info_hash(), InfoHash(sha1([&info[..]])));
    assert_eq!(span_of(&file, Limits::TORRENT, &[b"info"]), Ok(Some(22..22 + info.len())));
    let written = metainfo.to_bytes();
    assert_eq!(Metainfo::parse(&written).unwrap().info_bytes(), &info[..]);
    let twice = [b"d4:info", &info[..], b"4:info", &info[..], b"e"].concat();
    let error = Metainfo::parse(&twice).unwrap_err();
    assert_eq!(error, MetainfoError::Bencode(BencodeError::DuplicateKey { at: 7 + info.len() }));
    let apart = [b"d4:info", &info[..], b"1:ai1e4:info", &info[..], b"e"].concat();
    assert!(matches!(
        Metainfo::parse(&apart),
        Err(MetainfoError::Bencode(BencodeError::DuplicateKey { .. }))
    ));
    let trailing = [&file[..], b"de"].concat();
    let error = Metainfo::parse(&trailing).unwrap_err();
    assert_eq!(error, MetainfoError::Bencode(BencodeError::Trailing { at: file.len() }));
}

#[test]
fn attack_08_piece_lengths_that_cannot_be() {
    let with = |len: i64| parse(single().int("piece length", len)).map(|m| m.info.geometry);
    for len in [0, PIECE_LEN_MAX as i64 + 1, 512 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, i64::MAX] {
        let want = MetainfoError::Geometry(GeometryError::PieceLength(len as u64));
        assert_eq!(with(len), Err(want));
    }
    for len in [-1, i64::MIN] {
        assert_eq!(with(len).unwrap_err().to_string(), "info.piece length is negative");
    }
    // Version 1 needs no power of two, and no more than one piece.
    for len in [425, 1000, 16_385, PIECE_LEN_MAX.into()] {
        assert_eq!(with(len).unwrap().pieces(), 1);
    }
}

#[test]
fn attack_09_piece_hashes_that_do_not_fit_the_sizes() {
    let with = |hashes: usize, total: i64| {
        let info = bare_info().int("length", total).bytes("pieces", vec![0; hashes]);
        parse(info).map(|m| m.info.pieces.len())
    };
    assert_eq!(with(40, 16_385), Ok(2));
    for (got, total, want) in [(20, 16_385, 40), (40, 16_384, 20), (39, 16_385, 40), (0, 1, 20)] {
        assert_eq!(with(got, total), Err(MetainfoError::Pieces { got, want }));
    }
    let most = i64::from(PIECES_MAX) * 16_384;
    let want = MetainfoError::Pieces { got: 20, want: 20 * PIECES_MAX as usize };
    assert_eq!(with(20, most), Err(want));
    let want = GeometryError::TooManyPieces(u64::from(PIECES_MAX) + 1);
    assert_eq!(with(20, most + 1), Err(MetainfoError::Geometry(want)));
}

#[test]
fn attack_10_sizes_that_overflow() {
    let total = |sizes: &[i64]| {
        let list = sizes.iter().enumerate().map(|(n, &len)| file(len, &[&n.to_string()]));
        parse(files(list)).map(|m| m.info.geometry.total())
    };
    assert_eq!(total(&[1, 2]), Ok(3));
    for sizes in [&[i64::MAX, 1][..], &[i64::MAX, i64::MAX, i64::MAX], &[1, i64::MAX]] {
        let error = total(sizes).unwrap_err().to_string();
        assert_eq!(error, "the sizes up to files[1].length add up to more than 2^63 bytes");
    }
    assert!(matches!(total(&[i64::MAX]), Err(MetainfoError::Geometry(_))));
    assert!(matches!(parse(single().int("length", i64::MAX)), Err(MetainfoError::Geometry(_))));
    assert_eq!(total(&[0, 0]), Err(MetainfoError::NoFiles));
    assert_eq!(total(&[5, -1]).unwrap_err().to_string(), "files[1].length is negative");
    let beyond = bare_info().raw("length", b"i9223372036854775808e");
    let error = parse(beyond).unwrap_err();
    assert!(matches!(error, MetainfoError::Bencode(BencodeError::IntegerRange { .. })));
}

#[test]
fn attack_11_a_hybrid_with_two_different_layouts() {
    let leaf = |len: i64| Dict::new().dict("", Dict::new().int("length", len));
    let hybrid = |tree: Dict| {
        let info = files([file(5, &["a"]), file(6, &["b"])]).int("meta version", 2);
        parse(info.dict("file tree", tree)).map(|_| ())
    };
    let same = Dict::new().dict("a", leaf(5)).dict("b", leaf(6));
    assert_eq!(hybrid(same.clone()), Ok(()));
    let swapped = b"d1:bd0:d6:lengthi6eee1:ad0:d6:lengthi5eeee";
    let info = files([file(5, &["a"]), file(6, &["b"])]).int("meta version", 2);
    assert!(matches!(
        parse(info.raw("file tree", swapped)),
        Err(MetainfoError::Inconsistent { .. })
    ));
    for other in [
        same.clone().dict("a", leaf(6)),
        same.clone().dict("c", leaf(0)),
        same.clone().dict("b", Dict::new().dict("b", leaf(6))),
        same.int("b", 6),
        Dict::new(),
    ] {
        assert!(matches!(hybrid(other), Err(MetainfoError::Inconsistent { .. })));
    }
}

#[test]
fn attack_14_magnets_that_ask_for_too_much() {
    let hash = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
    let mut link =
        format!("magnet:?xt=urn:btih:zz&xt=urn:btih:{hash}&xt=urn:btmh:1220&so=0-4294967295");
    for n in 0..10_000 {
        link += &format!("&tr=http://t{n}/&ws=http://w{n}/&x.pe=10.0.{}.{}:1", n / 256, n % 256);
        link += &format!("&xt=urn:btih:{n}");
    }
    let magnet = Magnet::parse(&link).unwrap();
    assert_eq!(magnet.info_hash(), InfoHash::from_hex(hash).unwrap());
    let counts = [magnet.trackers.len(), magnet.web_seeds.len(), magnet.peers.len()];
    assert_eq!(counts, [LINK_TRACKERS_MAX, WEB_SEEDS_MAX, PEERS_MAX]);
    // One range, never four thousand million numbers, and no further than a torrent can have files.
    assert_eq!(magnet.select, Some(vec![0..=PATH_PARTS_MAX as u32]));
    let with = |so: &str| {
        let link = format!("magnet:?xt=urn:btih:{hash}&so={so}");
        Magnet::parse(&link).unwrap().select
    };
    let many: Vec<_> = (0..5_000).map(|n| (2 * n).to_string()).collect();
    assert_eq!(with(&many.join(",")).map(|ranges| ranges.len()), Some(RANGES_MAX));
    let beyond =
        "4294967295,18446744073709551615-18446744073709551616,99999999999999999999,-1,5-3,-";
    assert_eq!(with(beyond), None);
    let long = format!(
        "magnet:?xt=urn:btih:{hash}&tr=http://{}/&dn={}",
        "t".repeat(5_000),
        "n".repeat(5_000)
    );
    let magnet = Magnet::parse(&long).unwrap();
    assert_eq!((magnet.trackers.len(), magnet.name.map(|n| n.len())), (0, Some(240)));
}
