//! What loads, and what is refused. The rows of `must_fail`, `must_be_made_safe` and
//! `must_load_as_it_is` are those of libtorrent's `test_torrents` and Transmission's assets that concern
//! version 1.

use super::*;
use crate::bencode::{Limits, span_of};
use crate::geometry::{PIECE_LEN_MAX, PieceIndex, Version};
use crate::hash::{sha1, sha256};
use crate::id::{InfoHash, InfoHashV2, PieceHash, TorrentHashes};
use crate::metainfo::{FileEntry, MetainfoError, TRACKERS_MAX};
use bytes::Bytes;
use proptest::prelude::*;

#[track_caller]
fn check(info: Dict, why: &str) {
    let error = Metainfo::parse(&torrent(info)).unwrap_err().to_string();
    assert_eq!(error, why);
}

#[test]
fn must_fail() {
    check(without(single(), b"piece length"), "info.piece length is missing");
    check(
        single().bytes("piece length", "16384"),
        "info.piece length is a string instead of an integer",
    );
    check(single().int("piece length", -16384), "info.piece length is negative");
    check(without(single(), b"name"), "info.name is missing");
    check(single().int("name", 4), "info.name is an integer instead of a string");
    check(single().int("length", -425), "info.length is negative");
    check(bare_info(), "info.length is missing");
    check(single().int("length", 0), "the torrent lists no file with content");
    check(files([]), "the torrent lists no file with content");
    check(files([file(0, &["a"])]), "the torrent lists no file with content");
    check(files([file(0, &["a"]).bytes("attr", "p")]), "the torrent lists no file with content");
    check(without(single(), b"pieces"), "info.pieces is missing");
    check(single().int("pieces", 1), "info.pieces is an integer instead of a string");
    let twenty = "bytes, expected 20 for the sizes of the files";
    check(single().bytes("pieces", ""), &format!("info.pieces holds 0 {twenty}"));
    check(single().bytes("pieces", [0; 24]), &format!("info.pieces holds 24 {twenty}"));
    check(single().bytes("pieces", [0; 40]), &format!("info.pieces holds 40 {twenty}"));
    check(
        single().int("length", 20_000),
        "info.pieces holds 20 bytes, expected 40 for the sizes of the files",
    );
    check(
        single().int("length", 16_384i64 * 107_374_183),
        "107374183 pieces, at most 2097152 are allowed",
    );
    check(
        single().int("meta version", 2).dict("file tree", Dict::new()),
        "its version 1 and version 2 file lists differ at `temp`",
    );
    check(
        without(single().int("meta version", 2).dict("file tree", Dict::new()), b"pieces"),
        "version 2 only is not supported yet: the torrent has no version 1 piece hashes",
    );
    check(single().int("meta version", 3), "meta version 3 is unknown");
}

#[test]
fn must_fail_for_a_file() {
    check(
        files([file(1, &["a"]), file(1, &["b"]), file(1, &["c"]), file(-1, &["d"])]),
        "files[3].length is negative",
    );
    check(
        files([file(1, &["a"]).list("length", List::new())]),
        "files[0].length is a list instead of an integer",
    );
    check(files([without(file(1, &["a"]), b"length")]), "files[0].length is missing");
    check(files([without(file(1, &["a"]), b"path")]), "files[0].path is missing");
    check(
        files([file(1, &[]).list("path", List::new().bytes("a").int(5))]),
        "files[0].path is an integer instead of a string",
    );
    check(files([file(1, &["a"]).int("path", 1)]), "files[0].path is an integer instead of a list");
    check(files([file(1, &[])]), "files[0].path has 0 elements, expected 1 to 100");
    check(single().int("files", 1), "info.files is an integer instead of a list");
    check(
        bare_info().list("files", List::new().int(1)),
        "files[0] is an integer instead of a dictionary",
    );
    check(
        files([
            file(9, &["a"]),
            file(0, &["b"])
                .bytes("attr", "l")
                .list("symlink path", List::new().list(List::of_bytes(["a"]))),
        ]),
        "files[1].symlink path is a list instead of a string",
    );
}

#[test]
fn must_fail_before_there_is_an_info_dictionary() {
    for (bytes, why) in [
        (&b"5:hello"[..], "the file is a string instead of a dictionary"),
        (b"de", "info is missing"),
        (b"d4:info5:helloe", "info is a string instead of a dictionary"),
        (b"", "not a torrent: ends in the middle of a value, after 0 bytes"),
        (b"<html>", "not a torrent: unexpected byte 0x3c at byte 0"),
    ] {
        assert_eq!(Metainfo::parse(bytes).unwrap_err().to_string(), why);
    }
    let whole = torrent(single());
    for end in 0..whole.len() {
        assert!(Metainfo::parse(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn must_be_made_safe() {
    #[track_caller]
    fn check(path: &[&str], want: &str) {
        let metainfo = Metainfo::parse(&torrent(files([file(425, path)]))).unwrap();
        assert_eq!(paths(&metainfo), [want]);
    }
    check(&["..", "..", "bar"], "temp/_/_/bar");
    check(&["foo/../../../bar", "x"], "temp/foo_.._.._.._bar/x");
    check(&["/foobar"], "temp/_foobar");
    check(&["/", "..", "bar"], "temp/_/_/bar");
    check(&["abc\\..\\def"], "temp/abc_.._def");
    check(&["", "", "bar"], "temp/_/_/bar");
    check(&["."], "temp/_");
    let named = |name: &str| {
        let metainfo = Metainfo::parse(&torrent(single().bytes("name", name))).unwrap();
        assert_eq!(paths(&metainfo)[0], metainfo.info.name);
        (metainfo.info.name.clone(), metainfo.info_hash().to_string())
    };
    assert_eq!(named("foobar ").0, "foobar");
    assert_eq!(named(&"x".repeat(300)).0.len(), 240);
    // Nothing left of the name: the info hash tells such torrents apart.
    for nothing in ["", "..", ".", " ", "\u{202e}"] {
        let (name, hash) = named(nothing);
        assert_eq!(name, hash);
    }
    let twice =
        Metainfo::parse(&torrent(files([file(5, &["d", "a.txt"]), file(6, &["d", "a.txt"])])));
    assert_eq!(paths(&twice.unwrap()), ["temp/d/a.txt", "temp/d/a.1.txt"]);
}

#[test]
fn must_load_as_it_is() {
    let no_edits = |bytes: &[u8]| {
        let metainfo = Metainfo::parse(bytes).unwrap();
        let bytes = bytes.trim_ascii_end();
        let span = span_of(bytes, Limits::TORRENT, &[b"info"]);
        let raw = &bytes[span.unwrap().unwrap()];
        assert_eq!(metainfo.info_hash(), InfoHash(sha1([raw])));
        metainfo
    };
    // Unordered keys: hashed as they are, and unknown ones kept.
    let unordered = b"d4:infod6:lengthi425e12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa\
        4:name4:temp1:a1:bee";
    assert_eq!(no_edits(unordered).info.name, "temp");
    // The largest piece there may be, and a newline that an editor left.
    let mut large = torrent(single().int("piece length", PIECE_LEN_MAX));
    large.push(b'\n');
    assert_eq!(no_edits(&large).info.geometry.piece_len(), 536_854_528);
    // No date, and a date that is no number.
    assert_eq!(no_edits(&torrent(single())).creation_date, None);
    let dated = Dict::new().dict("info", single()).bytes("creation date", "today").into_bytes();
    assert_eq!(no_edits(&dated).creation_date, None);
    // A name in a local character set beside one in UTF-8.
    let local = single().bytes("name", b"t\xe9").bytes("name.utf-8", "té");
    assert_eq!(no_edits(&torrent(local)).info.name, "té");
    let local = files([file(3, &["?"]).list("path.utf-8", List::of_bytes(["é"]))]);
    assert_eq!(paths(&no_edits(&torrent(local))), ["temp/é"]);
    // Empty files, anywhere.
    let empty = files([file(0, &["a"]), file(0, &["b"]), file(9, &["c"]), file(0, &["d"])]);
    let metainfo = no_edits(&torrent(empty));
    let offsets: Vec<_> = metainfo.info.files.iter().map(|f| (f.len, f.offset)).collect();
    assert_eq!(offsets, [(0, 0), (0, 0), (9, 0), (0, 9)]);
}

#[test]
fn padding_and_attributes() {
    let info = files([
        file(45, &["run.sh"]).bytes("attr", "x"),
        without(file(100, &[]), b"path").bytes("attr", "p"),
        file(4, &[".secret"]).bytes("attr", "hx"),
        file(100, &[".pad", "100"]).bytes("attr", "p"),
        file(7, &["_____padding_file_0_if you see this file_____"]),
        file(1, &["z"]).int("attr", 5),
    ]);
    let info = Metainfo::parse(&torrent(info)).unwrap().info;
    let of = |test: fn(&FileEntry) -> bool| {
        (0..info.files.len()).filter(|&i| test(&info.files[i])).collect::<Vec<_>>()
    };
    assert_eq!(of(|f| f.pad), [1, 3, 4]);
    assert_eq!(of(|f| f.executable), [0, 2]);
    assert_eq!(of(|f| f.hidden), [2]);
    assert_eq!(info.files[3].path, ["temp", ".pad", "100"]);
    assert_eq!(info.files[5].offset, 45 + 100 + 4 + 100 + 7);
    assert!(!info.single);
    let single = single().bytes("attr", "x");
    let info = Metainfo::parse(&torrent(single)).unwrap().info;
    assert!(info.single && info.files[0].executable);
}

#[test]
fn trackers_web_seeds_and_nodes_in_every_odd_form() {
    fn parse(outer: Dict) -> Metainfo {
        Metainfo::parse(&outer.dict("info", single()).into_bytes()).unwrap()
    }
    let tiers = |outer: Dict| parse(outer).trackers;
    assert_eq!(tiers(Dict::new().bytes("announce", "\thttp://a/ ")), [["http://a/"]]);
    assert_eq!(tiers(Dict::new().int("announce", 1)), Vec::<Vec<String>>::new());
    let list = List::new()
        .list(List::of_bytes(["http://a/", "http://b/"]))
        .list(List::of_bytes(["", " "]))
        .bytes("http://bare/")
        .int(7)
        .list(List::new().int(1).bytes("http://a/").bytes("http://c/\r\nX: y").bytes(b"\xff"))
        .list(List::of_bytes(["http://d/"]));
    let outer = Dict::new().bytes("announce", "http://z/").list("announce-list", list);
    assert_eq!(
        tiers(outer),
        [vec!["http://a/", "http://b/"], vec!["http://bare/"], vec!["http://d/"]]
    );
    let empty = Dict::new().bytes("announce", "http://z/").list("announce-list", List::new());
    assert_eq!(tiers(empty), [["http://z/"]]);
    let many = (0..2000).map(|n| format!("http://{n}/"));
    let many = many.fold(List::new(), |list, url| list.list(List::of_bytes([url])));
    assert_eq!(tiers(Dict::new().list("announce-list", many)).len(), TRACKERS_MAX);

    let seeds = |outer: Dict| parse(outer).web_seeds;
    assert_eq!(seeds(Dict::new().bytes("url-list", "http://w/")), ["http://w/"]);
    assert_eq!(
        seeds(Dict::new().list("url-list", List::of_bytes(["http://w/", "http://w/", "x"]))),
        ["http://w/", "x"]
    );
    for nothing in
        [List::of_bytes([""]), List::new().list(List::of_bytes([""])), List::new().int(-20)]
    {
        assert!(seeds(Dict::new().list("url-list", nothing)).is_empty());
    }
    assert!(seeds(Dict::new().bytes("url-list", "")).is_empty());

    let node = |host: &str, port: i64| List::new().bytes(host).int(port);
    let nodes = List::new()
        .list(node("router.example", 6881))
        .list(node("", 1))
        .list(node("a", 0))
        .list(node("a", 65536))
        .list(List::of_bytes(["a", "1"]))
        .int(3)
        .list(node("::1", 1));
    let nodes = parse(Dict::new().list("nodes", nodes)).nodes;
    assert_eq!(nodes, [("router.example".to_owned(), 6881), ("::1".to_owned(), 1)]);
}

#[test]
fn pieces_private_and_source() {
    let hashes: Vec<u8> = (0..60).collect();
    let info = single().int("length", 40_000).bytes("pieces", &hashes).int("private", 1);
    let info = Metainfo::parse(&torrent(info.bytes("source", "HOME"))).unwrap().info;
    assert_eq!((info.private, info.source.as_deref()), (true, Some("HOME")));
    assert_eq!((info.geometry.pieces(), info.pieces.len()), (3, 3));
    let third = PieceHash::Sha1(hashes[40..].try_into().unwrap());
    assert_eq!(info.pieces.of(PieceIndex(2)), Some(third));
    assert_eq!(info.pieces.of(PieceIndex(3)), None);
    assert_eq!(info.pieces.of(PieceIndex(u32::MAX)), None);
    for (value, private) in [(0, false), (1, true), (2, true)] {
        let info = single().int("private", value);
        assert_eq!(Metainfo::parse(&torrent(info)).unwrap().info.private, private);
    }
}

#[test]
fn a_hybrid_loads_as_version_1_with_both_hashes() {
    let leaf = |len: i64| Dict::new().dict("", Dict::new().int("length", len));
    let tree = Dict::new().dict("a", leaf(45)).dict("d", Dict::new().dict("b", leaf(7)));
    let v1 = [
        file(45, &["a"]),
        file(16339, &[".pad", "16339"]).bytes("attr", "p"),
        file(7, &["d", "b"]),
    ];
    let hybrid = |v1: [Dict; 3], tree: Dict| {
        files(v1).bytes("pieces", [3; 40]).int("meta version", 2).dict("file tree", tree)
    };
    let info = hybrid(v1.clone(), tree.clone());
    let raw = info.clone().into_bytes();
    let metainfo = Metainfo::parse(&torrent(info)).unwrap();
    let want = TorrentHashes::Hybrid(InfoHash(sha1([&raw[..]])), InfoHashV2(sha256([&raw[..]])));
    assert_eq!(metainfo.hashes(), want);
    assert_eq!(metainfo.info.geometry.version(), Version::V1);
    let longer = hybrid(v1.clone(), tree.clone().dict("a", leaf(46)));
    let more = hybrid(v1.clone(), tree.clone().dict("e", leaf(0)));
    let fewer = hybrid(v1, Dict::new().dict("a", leaf(45)));
    for (info, at) in [(longer, "a"), (more, "e"), (fewer, "d/b")] {
        let want = MetainfoError::Inconsistent { path: at.to_owned() };
        assert_eq!(Metainfo::parse(&torrent(info)).unwrap_err(), want);
    }
}

#[test]
fn metadata_from_a_peer_must_have_the_hash_of_the_link() {
    let info = Bytes::from(single().into_bytes());
    let v1 = InfoHash(sha1([&info[..]]));
    let v2 = InfoHashV2(sha256([&info[..]]));
    for want in [TorrentHashes::V1(v1), TorrentHashes::V2(v2), TorrentHashes::Hybrid(v1, v2)] {
        let metainfo = Metainfo::from_info(info.clone(), &want).unwrap();
        assert_eq!(metainfo.info_bytes(), &info);
        assert_eq!(metainfo.info.pieces.of(PieceIndex(0)), Some(PieceHash::Sha1([7; 20])));
    }
    let (bad, bad_v2) = (InfoHash([1; 20]), InfoHashV2([1; 32]));
    for want in
        [TorrentHashes::V1(bad), TorrentHashes::V2(bad_v2), TorrentHashes::Hybrid(v1, bad_v2)]
    {
        let error = Metainfo::from_info(info.clone(), &want).unwrap_err();
        assert!(matches!(error, MetainfoError::WrongHash { .. }), "{error}");
    }
}

#[test]
fn a_torrent_is_written_back_around_the_same_info_bytes() {
    // Unordered and with an unknown key: a re-encoding would change the hash.
    let info =
        b"d6:lengthi425e4:name4:temp12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa1:ai1ee";
    let file = Dict::new()
        .raw("info", info)
        .bytes("announce", "http://a/")
        .bytes("comment", "hi")
        .bytes("created by", "me")
        .int("creation date", 12)
        .bytes("url-list", "http://w/")
        .list("nodes", List::new().list(List::new().bytes("h").int(1)))
        .dict("piece layers", Dict::new())
        .into_bytes();
    let mut metainfo = Metainfo::parse(&file).unwrap();
    assert_eq!(metainfo.to_bytes(), file);
    metainfo.trackers.push(vec!["http://b/".to_owned()]);
    let again = Metainfo::parse(&metainfo.to_bytes()).unwrap();
    assert_eq!(again.trackers, [["http://a/"], ["http://b/"]]);
    assert_eq!(again.hashes(), metainfo.hashes());
    assert_eq!(
        again.magnet().to_string(),
        format!(
            "magnet:?xt=urn:btih:{}&dn=temp&tr=http%3A%2F%2Fa%2F&tr=http%3A%2F%2Fb%2F\
             &ws=http%3A%2F%2Fw%2F",
            again.info_hash()
        )
    );
}

proptest! {
    #[test]
    fn a_torrent_with_a_changed_byte_never_panics(
        at in any::<prop::sample::Index>(), to in prop_oneof![any::<u8>(), prop::sample::select(b"ilde0:".to_vec())]) {
        let good = files([file(45, &["d", "x"]).bytes("attr", "x"), file(7, &["d", "y"])]);
        let mut bytes = Dict::new().dict("info", good).list("nodes", List::new()).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(metainfo) = Metainfo::parse(&bytes) {
            let again = Metainfo::parse(&metainfo.to_bytes()).unwrap();
            prop_assert_eq!(again.hashes(), metainfo.hashes());
        }
    }
}
