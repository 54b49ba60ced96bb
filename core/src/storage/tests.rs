use super::*;
use crate::bitfield::Bitfield;
use crate::geometry::{Block, Geometry, PieceIndex, Version};
use crate::id::{InfoHash, InfoHashV2, TorrentHashes};
use proptest::prelude::*;

/// Files of these sizes, one behind the other; a negative size is padding.
fn layout(piece_len: u64, sizes: &[i64]) -> Layout {
    let mut offset = 0;
    let mut files = Vec::new();
    for (at, &size) in sizes.iter().enumerate() {
        let len = size.unsigned_abs();
        let path = vec!["top".into(), format!("f{at}")];
        files.push(FileSpec { path, len, offset, pad: size < 0 });
        offset += len;
    }
    Layout::new(Geometry::new(Version::V1, offset, piece_len).unwrap(), files).unwrap()
}

fn file(file: usize, offset: u64, len: u32) -> Extent {
    Extent { place: Place::File { file, offset }, len }
}

fn parts(offset: u64, len: u32) -> Extent {
    Extent { place: Place::Parts { offset }, len }
}

#[test]
fn pieces_cross_files_and_padding_has_no_place() {
    let layout = layout(10, &[7, 0, 5, -8, 4]);
    assert_eq!(layout.extents(PieceIndex(0)), [file(0, 0, 7), file(2, 0, 3)]);
    let pad = Extent { place: Place::Pad, len: 8 };
    assert_eq!(layout.extents(PieceIndex(1)), [file(2, 3, 2), pad]);
    assert_eq!(layout.extents(PieceIndex(2)), [file(4, 0, 4)]);
    let block = Block { piece: PieceIndex(0), begin: 8, len: 2 };
    assert_eq!(layout.extents_of(block), [file(2, 1, 2)]);
    assert!(layout.empty_files().eq([1]));
    assert_eq!(layout.pieces_of(1), 0..0);
}

#[test]
fn unselected_neighbours_go_to_the_parts_file_and_slots_ignore_the_selection() {
    let mut layout = layout(10, &[25, 3, 3, 20, 9]);
    layout.select(&[0, 0, 0, 1, 0]);
    layout.reset_stored(&[]);
    assert_eq!(layout.extents(PieceIndex(2)), [parts(0, 10)], "three unselected files in one run");
    assert_eq!(layout.extents(PieceIndex(3)), [parts(10, 1), file(3, 0, 9)]);
    assert!(layout.wanted_pieces().ones().eq([3, 4, 5].map(PieceIndex)));
    assert_eq!(layout.extents(PieceIndex(5)), [file(3, 19, 1), parts(21, 9)]);
    assert_eq!(layout.wanted_bytes(), 20);

    let before = layout.stored().to_vec();
    layout.select(&[0, 0, 0, 0, 2]);
    assert_eq!(
        layout.extents(PieceIndex(3)),
        [parts(10, 1), file(3, 0, 9)],
        "stays where it is stored"
    );
    assert_eq!(layout.extents(PieceIndex(5)), [file(3, 19, 1), file(4, 0, 9)]);
    assert_eq!(
        layout.moves(PieceIndex(5), &before),
        [Move { from: 21, file: 4, offset: 0, len: 9 }]
    );
    assert_eq!(layout.piece_priorities(), [0, 0, 0, 0, 0, 2]);
}

#[test]
fn lists_that_are_no_layout_are_refused() {
    let geometry = Geometry::new(Version::V1, 10, 16384).unwrap();
    let new = |path: &[&str], len, offset| {
        let path = path.iter().map(ToString::to_string).collect();
        Layout::new(geometry, vec![FileSpec { path, len, offset, pad: false }]).err()
    };
    assert_eq!(new(&["a"], 10, 0), None);
    assert_eq!(new(&["a"], 10, 1), Some(LayoutError::Gap { file: 0, got: 1, want: 0 }));
    assert_eq!(new(&["a"], u64::MAX, 0), Some(LayoutError::Total { got: u64::MAX, want: 10 }));
    for path in [&["..", "a"][..], &[], &["a", ""], &["a/b"], &["."], &["a\0"]] {
        assert_eq!(new(path, 10, 0), Some(LayoutError::UnsafePath { file: 0 }), "{path:?}");
    }
}

/// Sizes of files, some of them padding, and a selection.
fn shapes() -> impl Strategy<Value = (u64, Vec<i64>, Vec<u8>)> {
    let size = prop_oneof![3 => 0i64..50, 1 => -30i64..0, 1 => 100i64..400];
    (1u64..60, prop::collection::vec(size, 1..20), prop::collection::vec(0u8..4, 20))
        .prop_filter("holds bytes", |(_, sizes, _)| sizes.iter().any(|&size| size != 0))
}

proptest! {
    #[test]
    fn every_byte_has_exactly_one_place((piece_len, sizes, selection) in shapes()) {
        let mut layout = layout(piece_len, &sizes);
        layout.select(&selection);
        layout.reset_stored(&[]);
        let (mut in_files, mut in_parts) = (vec![0u64; sizes.len()], Vec::new());
        for piece in layout.geometry().iter() {
            let extents = layout.extents(piece);
            prop_assert_eq!(extents.iter().map(|e| e.len).sum::<u32>(), layout.geometry().size_of(piece));
            for extent in extents {
                match extent.place {
                    Place::File { file, offset } => {
                        prop_assert_eq!(offset, in_files[file], "files are filled in order");
                        in_files[file] += u64::from(extent.len);
                    }
                    Place::Parts { offset } => in_parts.push((offset, offset + u64::from(extent.len))),
                    Place::Pad => {}
                }
            }
        }
        in_parts.sort_unstable();
        prop_assert!(in_parts.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", in_parts);
        for (at, &len) in in_files.iter().enumerate() {
            let stored = sizes[at] > 0 && selection[at] > 0;
            prop_assert_eq!(len, if stored { sizes[at] as u64 } else { 0 });
        }
    }

    #[test]
    fn selecting_more_moves_exactly_what_lay_in_the_parts_file((piece_len, sizes, selection) in shapes()) {
        let mut layout = layout(piece_len, &sizes);
        layout.select(&selection);
        layout.reset_stored(&[]);
        let before = (layout.stored().to_vec(), layout.clone());
        layout.select(&[1; 20]);
        for piece in layout.geometry().iter() {
            let moved: u32 = layout.moves(piece, &before.0).iter().map(|m| m.len).sum();
            let was: u32 = before.1.extents(piece).iter()
                .filter(|e| matches!(e.place, Place::Parts { .. })).map(|e| e.len).sum();
            prop_assert_eq!(moved, was);
        }
    }

    #[test]
    fn records_survive_a_round_trip_and_no_damage(record in records(), at: prop::sample::Index, flip in 1u8..) {
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= flip;
        prop_assert!(Record::decode(&damaged).is_err());
        prop_assert!(Record::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn hostile_bytes_never_panic(mut raw in prop::collection::vec(any::<u8>(), 0..400), sign: bool) {
        if sign {
            raw.splice(..0, *b"GGRESUM1");
            let check = crate::hash::sha1([&raw[..]]);
            raw.extend(check); // past the checksum, into the parser
        }
        prop_assert!(Record::decode(&raw).is_err());
        resume::read_list(InfoHash([1; 20]), &Geometry::new(Version::V1, 100, 1).unwrap(), &raw);
    }
}

fn records() -> impl Strategy<Value = Record> {
    let hashes = prop_oneof![
        any::<[u8; 20]>().prop_map(|v1| TorrentHashes::V1(InfoHash(v1))),
        any::<[u8; 32]>().prop_map(|v2| TorrentHashes::V2(InfoHashV2(v2))),
        any::<([u8; 20], [u8; 32])>()
            .prop_map(|(a, b)| TorrentHashes::Hybrid(InfoHash(a), InfoHashV2(b))),
    ];
    let stamp = || {
        prop::option::of(any::<(u64, i64)>().prop_map(|(len, mtime_ns)| Stamp { len, mtime_ns }))
    };
    let file = (any::<u8>(), any::<bool>(), stamp());
    let file = file.prop_map(|(priority, stored, stamp)| FileRecord { priority, stored, stamp });
    let rest = (stamp(), prop::collection::vec(any::<u8>(), 0..60), any::<u64>(), any::<u64>());
    (
        hashes,
        1u64..5_000,
        prop::collection::vec(file, 0..9),
        prop::collection::vec(any::<bool>(), 80),
        rest,
    )
        .prop_map(|(hashes, total, files, bits, (parts, out_dir, downloaded, uploaded))| {
            let geometry = Geometry::new(Version::Hybrid, total, 64).unwrap();
            let mut durable = Bitfield::empty(geometry.pieces());
            bits.iter().enumerate().filter(|bit| *bit.1).for_each(|(at, _)| {
                durable.insert(PieceIndex(at as u32));
            });
            Record { hashes, geometry, out_dir, durable, files, parts, downloaded, uploaded }
        })
}

#[test]
fn a_torn_list_loses_only_what_is_torn() {
    let (hash, geometry) = (InfoHash([7; 20]), Geometry::new(Version::V1, 100, 10).unwrap());
    let mut list: Vec<u8> =
        [3, 0, 9].iter().flat_map(|&p| resume::list_entry(hash, PieceIndex(p))).collect();
    list[8..16].fill(0); // a hole where piece 0 was: zeros must not read as piece 0
    list.extend(&resume::list_entry(hash, PieceIndex(4))[..5]);
    list.splice(24..24, resume::list_entry(hash, PieceIndex(10))); // past the end
    assert!(resume::read_list(hash, &geometry, &list).ones().eq([3, 9].map(PieceIndex)));
    assert!(resume::read_list(InfoHash([8; 20]), &geometry, &list).is_empty());
}

/// A torrent of two files with two pieces each, fully durable, and what [`plan`] makes of a changed world.
struct Start {
    layout: Layout,
    record: Record,
    listed: Bitfield,
    files: [Option<Stamp>; 2],
}

impl Start {
    fn new() -> Self {
        let layout = layout(10, &[20, 20]);
        let files = [Some(Stamp { len: 20, mtime_ns: 1_000 }); 2];
        let stored = |stamp| FileRecord { priority: 1, stored: true, stamp };
        let record = Record {
            hashes: TorrentHashes::V1(InfoHash([1; 20])),
            geometry: *layout.geometry(),
            out_dir: b"/out".to_vec(),
            durable: Bitfield::full(4),
            files: files.map(stored).to_vec(),
            parts: None,
            downloaded: 0,
            uploaded: 0,
        };
        Self { layout, record, listed: Bitfield::empty(4), files }
    }

    #[track_caller]
    fn check(&self, record: bool, verify: Verify, trusted: &[u32], hash: &[u32]) {
        let found = Found {
            record: record.then_some(&self.record),
            listed: &self.listed,
            listed_mtime_ns: 5_000,
            files: &self.files,
            parts: None,
        };
        let plan = plan(&self.layout, &found, verify);
        assert!(plan.trusted.ones().map(|p| p.0).eq(trusted.iter().copied()), "trusted: {plan:?}");
        assert!(plan.hash.ones().map(|p| p.0).eq(hash.iter().copied()), "hash: {:?}", plan.hash);
        assert!(plan.moves.is_empty());
    }
}

#[test]
fn an_undisturbed_restart_hashes_nothing() {
    let start = Start::new();
    start.check(true, Verify::Auto, &[0, 1, 2, 3], &[]);
    start.check(true, Verify::Always, &[], &[0, 1, 2, 3]);
    start.check(false, Verify::Auto, &[], &[0, 1, 2, 3]);
    start.check(false, Verify::Trust, &[0, 1, 2, 3], &[]);
}

#[test]
fn only_listed_pieces_are_hashed_after_a_kill() {
    let mut start = Start::new();
    start.record.durable.remove(PieceIndex(3));
    start.record.durable.remove(PieceIndex(2));
    start.listed.insert(PieceIndex(3));
    start.files[1] = Some(Stamp { len: 20, mtime_ns: 4_000 }); // our own write after the record
    start.check(true, Verify::Auto, &[0, 1], &[3]);
    start.check(true, Verify::Trust, &[0, 1], &[3]); // trust is in the record, not in a half-written piece
    start.files[1] = Some(Stamp { len: 19, mtime_ns: 4_000 }); // nobody of us shortens a file
    start.check(true, Verify::Auto, &[0, 1], &[2]);
    let late = 5_000 + WRITE_LAG_MAX.as_nanos() as i64 + 1;
    start.files[1] = Some(Stamp { len: 20, mtime_ns: late });
    start.check(true, Verify::Auto, &[0, 1], &[2, 3]);
}

#[test]
fn a_touched_file_is_hashed_and_a_missing_one_is_not_there() {
    let mut start = Start::new();
    start.files[0] = Some(Stamp { len: 20, mtime_ns: 1_001 });
    start.check(true, Verify::Auto, &[2, 3], &[0, 1]);
    start.check(true, Verify::Trust, &[0, 1, 2, 3], &[]);
    start.files = [None, Some(Stamp { len: 15, mtime_ns: 1_000 })];
    start.check(true, Verify::Auto, &[], &[2]);
    start.check(false, Verify::Trust, &[], &[2]);
}
