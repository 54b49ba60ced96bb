use super::*;
use crate::bitfield::Bitfield;
use crate::clock::Instant;
use crate::geometry::{BLOCK_LEN, Block, Geometry, PieceIndex, Version};
use crate::rng::Rng;
use crate::swarm::picker::Picker;
use crate::swarm::rate::TokenBucket;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const FILE: u64 = 1000;
const PART: Part = Part { first: 100, len: 50, file_len: FILE };

fn ranged(first: u64, last: u64) -> Head {
    let (range, len) =
        (Some(first..=last), last.checked_sub(first).map(|less| less.saturating_add(1)));
    Head { status: 206, range, total: Some(FILE), len, retry_after: None }
}

#[test]
fn attack_36_only_what_was_asked_for_is_read() {
    let check = |head: Head, want: Result<u64, SourceFault>| {
        assert_eq!(PART.accept(&head), want, "{head:?}");
    };
    check(ranged(100, 149), Ok(50));
    check(ranged(100, 119), Ok(20)); // it has no more
    check(Head { total: None, len: None, ..ranged(100, 149) }, Ok(50));
    check(ranged(0, 49), Err(SourceFault::Range { got: Some(0), want: 100 }));
    check(ranged(101, 149), Err(SourceFault::Range { got: Some(101), want: 100 }));
    #[expect(clippy::reversed_empty_ranges, reason = "a lie")]
    let backwards = Head { range: Some(100..=99), ..ranged(100, 149) };
    check(backwards, Err(SourceFault::Range { got: Some(100), want: 100 }));
    let silent = Head { range: None, ..ranged(100, 149) };
    check(silent, Err(SourceFault::Range { got: None, want: 100 }));
    check(ranged(100, 150), Err(SourceFault::TooLong(50)));
    check(ranged(100, u64::MAX), Err(SourceFault::TooLong(50)));
    let other = Head { total: Some(FILE + 1), ..ranged(100, 149) };
    check(other, Err(SourceFault::Total { got: FILE + 1, want: FILE }));
    check(Head { len: Some(51), ..ranged(100, 149) }, Err(SourceFault::TooLong(50)));
    let short = SourceFault::Short { got: 49, want: 50 };
    check(Head { len: Some(49), ..ranged(100, 149) }, Err(short));
    check(Head { status: 200, ..ranged(100, 149) }, Err(SourceFault::Unranged));
    for status in [100, 204, 301, 302, 307, 404, 416, 500] {
        check(Head { status, ..ranged(100, 149) }, Err(SourceFault::Status(status)));
    }
    let retry_after = Some(Duration::from_secs(7));
    for status in [429, 503] {
        check(
            Head { status, retry_after, ..Head::default() },
            Err(SourceFault::Busy { retry_after }),
        );
    }
}

#[test]
fn attack_36_a_whole_file_will_do_only_if_it_was_asked_for() {
    let part = Part { first: 0, len: FILE, file_len: FILE };
    let whole = |len| Head { status: 200, len, ..Head::default() };
    assert_eq!(part.accept(&whole(Some(FILE))), Ok(FILE));
    assert_eq!(part.accept(&whole(None)), Ok(FILE));
    let other = SourceFault::Total { got: FILE - 1, want: FILE };
    assert_eq!(part.accept(&whole(Some(FILE - 1))), Err(other));
    let beginning = Part { len: FILE - 1, ..part };
    assert_eq!(beginning.accept(&whole(Some(FILE))), Err(SourceFault::Unranged));
}

#[test]
fn attack_36_an_endless_body_ends_where_the_range_does() {
    let geometry = Geometry::new(Version::V1, 1 << 20, 1 << 17).unwrap();
    let mut cutter = Cutter::new(geometry, 1 << 17, 1 << 17);
    let mut out = Vec::new();
    let mut sent = 0u64;
    let end = loop {
        let flood = Bytes::from(vec![7; 50_000]);
        sent += flood.len() as u64;
        if let Err(fault) = cutter.cut(flood, &mut out) {
            break fault;
        }
        assert!(sent <= 1 << 17, "{sent} bytes are borne");
    };
    assert_eq!(end, SourceFault::TooLong(1 << 17));
    assert!(out.iter().all(|(block, _)| block.piece.0 == 1), "nothing beyond the range");
    assert_eq!((out.len(), cutter.is_full(), cutter.end()), (8, true, Ok(())));
    assert_eq!(cutter.cut(Bytes::from_static(b"x"), &mut out), Err(end));
}

proptest! {
    #[test]
    fn blocks_are_the_same_however_the_body_is_split(
        total in 1u64..200_000, piece_len in 1u64..60_000, from in 0u32..40, pieces in 1u32..5,
        cuts in prop::collection::vec(1usize..40_000, 1..20), missing in 0usize..40_000) {
        prop_assume!(total.div_ceil(piece_len) < 1000);
        let geometry = Geometry::new(Version::V1, total, piece_len).unwrap();
        let from = from % geometry.pieces();
        let pieces: Vec<_> = geometry.iter().skip(from as usize).take(pieces as usize).collect();
        let at = geometry.offset_of(pieces[0]);
        let len: u64 = pieces.iter().map(|&piece| u64::from(geometry.size_of(piece))).sum();
        let body: Vec<u8> = (0..len as usize - missing.min(len as usize)).map(|n| (n / 3) as u8).collect();
        let mut want: Vec<(Block, Bytes)> = Vec::new();
        let mut begin = 0;
        for (piece, nth) in pieces.iter().flat_map(|&p| (0..geometry.blocks_in(p)).map(move |n| (p, n))) {
            let block = geometry.block(piece, nth);
            let end = begin + block.len as usize;
            if end <= body.len() {
                want.push((block, Bytes::copy_from_slice(&body[begin..end])));
            }
            begin = end;
        }
        let mut cutter = Cutter::new(geometry, at, len);
        let mut out = Vec::new();
        let mut rest = Bytes::from(body);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            cutter.cut(rest.split_to((*cut).min(rest.len())), &mut out).unwrap();
            prop_assert!(out.iter().all(|(block, bytes)| bytes.len() == block.len as usize));
        }
        prop_assert_eq!(out, want);
        prop_assert_eq!(cutter.end().is_ok(), missing == 0);
    }

    #[test]
    fn no_head_makes_more_be_read_than_was_asked_for(status in prop_oneof![Just(200u16), Just(206), any::<u16>()],
        first in any::<u64>(), last in any::<u64>(), total in prop::option::of(any::<u64>()),
        len in prop::option::of(any::<u64>()), near: bool) {
        let first = if near { PART.first } else { first };
        let head = Head { status, range: Some(first..=last), total, len, retry_after: None };
        if let Ok(follows) = PART.accept(&head) {
            prop_assert!((1..=PART.len).contains(&follows));
            prop_assert_eq!(first, PART.first);
        }
    }
}

#[test]
fn a_file_has_the_pieces_that_no_other_file_reaches_into() {
    let piece = u64::from(BLOCK_LEN);
    let geometry = Geometry::new(Version::V1, 10 * piece - 5, piece).unwrap();
    let pieces = |span: std::ops::Range<u64>| -> Vec<u32> {
        pieces_in(&geometry, &span).ones().map(|piece| piece.0).collect()
    };
    assert_eq!(pieces(0..10 * piece - 5), (0..10).collect::<Vec<_>>());
    assert_eq!(pieces(1..3 * piece), [1, 2]);
    assert_eq!(pieces(piece..3 * piece - 1), [1]);
    assert_eq!(pieces(8 * piece..10 * piece - 5), [8, 9], "the last piece is short");
    assert_eq!(pieces(8 * piece..10 * piece - 6), [8]);
    #[expect(clippy::reversed_empty_ranges, reason = "a lie")]
    let nonsense = [3 * piece..piece, u64::MAX..u64::MAX, u64::MAX..0];
    for span in nonsense {
        assert!(pieces(span).is_empty());
    }
    assert!(pieces(3..4).is_empty());
}

const LARGE: u64 = 32 << 20;

/// So many sources of a torrent of large pieces.
fn large_pieces(sources: u32) -> (Picker, Sources, TokenBucket) {
    let geometry = Geometry::new(Version::V1, 16 * LARGE, LARGE).unwrap();
    let picker = Picker::new(geometry, Bitfield::empty(16), Rng::seeded(1));
    let (now, mut all) = (Instant::ZERO, Sources::default());
    for key in 0..sources {
        let (span, teller) = (0..16 * LARGE, Scope::Global);
        let spec = SourceSpec { addr: None, teller, span, parallel: 1 };
        assert!(all.add(now, SourceKey(key), spec));
    }
    (picker, all, TokenBucket::new(None, now))
}

#[test]
fn no_more_large_pieces_are_begun_than_may_wait_in_memory() {
    let (mut picker, mut sources, mut limit) = large_pieces(ACTIVE_MAX as u32);
    let (now, geometry) = (Instant::ZERO, *picker.geometry());
    let mut begun = 0;
    for _ in 0..2 {
        sources.fill(now, &mut picker, &mut limit, BytesPerSec(0));
        while let Some(op) = sources.poll() {
            let SourceOp::Ask(ask) = op else { panic!("{op:?}") };
            begun += 1;
            assert_eq!(ask.part.len, LARGE);
            // All but the last block has come.
            let piece = PieceIndex((ask.at / LARGE) as u32);
            for nth in 0..geometry.blocks_in(piece) - 1 {
                let block = geometry.block(piece, nth);
                assert_eq!(sources.arrived(now, ask.fetch, block), Some(ask.source));
                let _ = picker.block_arrived(ask.source.peer(), block);
            }
        }
    }
    assert_eq!(begun * LARGE, AHEAD_MAX);
}

#[test]
fn who_sends_next_to_nothing_does_not_keep_the_others_from_being_asked() {
    let (mut picker, mut sources, mut limit) = large_pieces(4);
    let geometry = *picker.geometry();
    let mut running: BTreeMap<FetchKey, (Ask, u32)> = BTreeMap::new();
    let (mut pieces, mut asked, mut stops) = (BTreeSet::new(), BTreeMap::new(), 0);
    // All send a block every 25 seconds, only the last of them one every second.
    for second in 0..900 {
        let now = Instant::ZERO + Duration::from_secs(second);
        assert_eq!(sources.tick(now, &mut picker, false), []);
        sources.fill(now, &mut picker, &mut limit, BytesPerSec(0));
        while let Some(op) = sources.poll() {
            match op {
                SourceOp::Stop { fetch, .. } => {
                    stops += 1;
                    assert!(running.remove(&fetch).is_some());
                }
                SourceOp::Ask(ask) => {
                    assert!(ask.part.len <= LARGE);
                    pieces.insert(ask.at / LARGE);
                    *asked.entry(ask.source).or_insert(0) += 1;
                    let nth = (ask.at % LARGE / u64::from(BLOCK_LEN)) as u32;
                    running.insert(ask.fetch, (ask, nth));
                }
            }
        }
        assert_eq!(running.len() as u64, AHEAD_MAX / LARGE);
        for (&fetch, (ask, nth)) in &mut running {
            if ask.source == SourceKey(3) || second % 25 == 0 {
                let block = geometry.block(PieceIndex((ask.at / LARGE) as u32), *nth);
                assert_eq!(sources.arrived(now, fetch, block), Some(ask.source));
                let _ = picker.block_arrived(ask.source.peer(), block);
                sources.kept(now, ask.source, block.len);
                *nth += 1;
            }
        }
    }
    assert_eq!(asked.len(), 4, "each had its turn: {asked:?}");
    assert!(running.values().any(|(ask, _)| ask.source == SourceKey(3)), "the fastest stays");
    assert!(stops <= 3, "{stops}: those who are known to be slow do not take turns");
    assert_eq!(pieces.len() as u64, AHEAD_MAX / LARGE, "what was begun goes on first");
}
