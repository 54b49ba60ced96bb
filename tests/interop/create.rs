//! The same content gives the same info hash, whoever makes the torrent.

use crate::case::Creator;
use crate::creators::Order;
use crate::torrent::{hex, info_hash};
use anyhow::{Context, ensure};
use harness::{clients_required, content, figure, full, installed};
use std::fs;
use std::path::{Path, PathBuf};

const PIECE_LEN: u64 = 32 << 10;
const TRACKER: &str = "http://198.18.0.1:6969/announce";

/// Content of some shape.
struct Shape {
    name: &'static str,
    /// Transmission sorts without regard to case and leaves empty files out.
    transmission_agrees: bool,
    files: Vec<(String, u64)>,
}

fn shape(name: &'static str, transmission_agrees: bool, files: &[(&str, u64)]) -> Shape {
    let files = files.iter().map(|(name, len)| ((*name).to_owned(), *len)).collect();
    Shape { name, transmission_agrees, files }
}

/// An empty path stands for a torrent of the file itself.
fn shapes() -> Vec<Shape> {
    let count = if full() { 10_000 } else { 500 };
    let small = (0..count).map(|n| (format!("d{:02}/f{n:05}.dat", n % 17), n % 97 + 1)).collect();
    vec![
        shape("single", true, &[("", 5 * PIECE_LEN + 4_321)]),
        shape("exact", true, &[("", 8 * PIECE_LEN)]),
        shape("exact-many", true, &[("a.bin", 3 * PIECE_LEN - 100), ("b.bin", PIECE_LEN + 100)]),
        shape(
            "nested",
            true,
            &[("a/b/c/d.bin", 70_000), ("a/b/e.bin", 10), ("a/f.bin", PIECE_LEN), ("g.bin", 99)],
        ),
        shape(
            "empty-files",
            false,
            &[("a.bin", 40_000), ("b.bin", 0), ("c/d.bin", 0), ("e.bin", 7)],
        ),
        Shape { name: "small-files", transmission_agrees: true, files: small },
        // By bytes: `-` and `.` before `/`, capitals before small letters, letters before accents.
        shape(
            "byte-order",
            false,
            &[
                ("a/b.bin", 1_000),
                ("a-b/c.bin", 2_000),
                ("a.bin", 3_000),
                ("Z.bin", 4_000),
                ("_.bin", 5_000),
                ("b10.bin", 6_000),
                ("b9.bin", 7_000),
                ("\u{e9}.bin", 8_000),
            ],
        ),
    ]
}

fn lay_out(shape: &Shape, folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join(shape.name);
    for ((name, len), seed) in shape.files.iter().zip(1..) {
        let path = if name.is_empty() { root.clone() } else { root.join(name) };
        content::write(&path, *len, seed)?;
    }
    Ok(root)
}

fn made_by(creator: Creator, content: &Path, work: &Path, private: bool) -> anyhow::Result<String> {
    let torrent = work.join(format!("{creator:?}-{private}.torrent"));
    creator
        .create(&Order {
            content,
            torrent: &torrent,
            piece_len: PIECE_LEN,
            tracker: TRACKER,
            private,
        })
        .with_context(|| format!("{creator:?}"))?;
    let hash =
        info_hash(&fs::read(&torrent)?).with_context(|| format!("{creator:?}: no torrent"))?;
    // 10 000 files are no reason to keep four torrents of them.
    fs::remove_file(&torrent)?;
    Ok(hex(&hash))
}

/// Compares gaggle with the other creators on one shape; the names of those that agree.
fn agree(shape: &Shape) -> anyhow::Result<Vec<Creator>> {
    let scratch = tempfile::tempdir()?;
    let root = lay_out(shape, scratch.path())?;
    let work = scratch.path().join("torrents");
    fs::create_dir(&work)?;
    let mut agreed = Vec::new();
    let others = [
        (Creator::Mktorrent, false, true),
        (Creator::Mktorrent, true, true),
        (Creator::Libtorrent, false, true),
        (Creator::Transmission, true, shape.transmission_agrees),
    ];
    for (creator, private, comparable) in others {
        if !comparable {
            continue;
        }
        let program = creator.program();
        if !program.starts_with('/') && !installed(program) {
            ensure!(!clients_required(), "{program} is not installed");
            eprintln!("SKIPPED {creator:?}: {program} is not installed");
            continue;
        }
        let theirs = made_by(creator, &root, &work, private)?;
        let ours = made_by(Creator::Gaggle, &root, &work, private)?;
        ensure!(ours == theirs, "{}: gaggle {ours}, {creator:?} {theirs}", shape.name);
        agreed.push(creator);
    }
    Ok(agreed)
}

#[test]
fn claim_create_agrees_with_other_creators() {
    let shapes = shapes();
    let mut comparisons = 0;
    for shape in &shapes {
        comparisons +=
            agree(shape).unwrap_or_else(|error| panic!("{}: {error:?}", shape.name)).len();
    }
    figure("create", &format!("{comparisons} comparisons on {} shapes, all equal", shapes.len()));
}

/// The other creators among themselves: when this fails, it is not gaggle's fault.
#[test]
fn foreign_creators_agree() {
    if !installed("mktorrent") || !installed("transmission-create") {
        assert!(!clients_required(), "mktorrent or transmission-create is not installed");
        eprintln!("SKIPPED: mktorrent or transmission-create is not installed");
        return;
    }
    for shape in shapes() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let root = lay_out(&shape, scratch.path()).expect("content can be written");
        let work = scratch.path().join("torrents");
        fs::create_dir(&work).expect("a folder can be made");
        let made = |creator, private| {
            made_by(creator, &root, &work, private).unwrap_or_else(|error| panic!("{error:?}"))
        };
        let name = shape.name;
        assert_eq!(made(Creator::Mktorrent, false), made(Creator::Libtorrent, false), "{name}");
        if shape.transmission_agrees {
            assert_eq!(made(Creator::Mktorrent, true), made(Creator::Transmission, true), "{name}");
        }
    }
}
