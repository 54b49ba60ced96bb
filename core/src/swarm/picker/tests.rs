//! What the picker promises, one by one.

use super::*;
use crate::geometry::{BLOCK_LEN, Version};
use crate::rng::Rng;

pub(super) fn geometry(pieces: u32, blocks: u32) -> Geometry {
    let piece_len = u64::from(blocks * BLOCK_LEN);
    Geometry::new(Version::V1, u64::from(pieces) * piece_len - 100, piece_len).unwrap()
}

pub(super) fn picker(pieces: u32, blocks: u32, seed: u64) -> Picker {
    Picker::new(geometry(pieces, blocks), Bitfield::empty(pieces), Rng::seeded(seed))
}

/// The same with the first [`RANDOM_FIRST`] pieces there, so that rarity counts.
fn warm(pieces: u32, blocks: u32, seed: u64) -> Picker {
    let have = set(pieces, 0..RANDOM_FIRST);
    Picker::new(geometry(pieces, blocks), have, Rng::seeded(seed))
}

pub(super) fn set(len: u32, pieces: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut field = Bitfield::empty(len);
    for piece in pieces {
        field.insert(PieceIndex(piece));
    }
    field
}

pub(super) fn reserve(picker: &mut Picker, peer: u32, want: usize) -> Vec<Block> {
    let mut out = Vec::new();
    picker.reserve(PeerKey(peer), want, &mut out);
    out
}

fn pieces_of(blocks: &[Block]) -> Vec<u32> {
    let mut pieces: Vec<u32> = blocks.iter().map(|block| block.piece.0).collect();
    pieces.dedup();
    pieces
}

/// Delivers blocks and says that every finished piece is good.
fn deliver(picker: &mut Picker, peer: u32, blocks: &[Block]) {
    for &block in blocks {
        if let Arrival::PieceReady { .. } = picker.block_arrived(PeerKey(peer), block) {
            let _ = picker.piece_checked(block.piece, Verdict::Good);
        }
    }
}

#[test]
fn the_rarest_piece_goes_first_and_equals_are_random() {
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let mut picker = warm(12, 1, seed);
        picker.peer_joined(PeerKey(0), Bitfield::full(12));
        picker.peer_joined(PeerKey(1), set(12, 4..10));
        picker.peer_joined(PeerKey(2), set(12, 4..8));
        assert_eq!(picker.mode(), Mode::RarestFirst);
        let order: Vec<u32> =
            reserve(&mut picker, 0, 8).iter().map(|block| block.piece.0).collect();
        let sorted = |part: &[u32]| part.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(sorted(&order[..2]), BTreeSet::from([10, 11]));
        assert_eq!(sorted(&order[2..4]), BTreeSet::from([8, 9]));
        assert_eq!(sorted(&order[4..]), BTreeSet::from([4, 5, 6, 7]));
        seen.insert(order);
    }
    assert!(seen.len() > 32, "only {} orders in 64 runs", seen.len());
}

#[test]
fn the_first_pieces_are_random_whatever_their_rarity() {
    let mut firsts = BTreeSet::new();
    for seed in 0..64 {
        let mut picker = picker(16, 1, seed);
        picker.peer_joined(PeerKey(0), Bitfield::full(16));
        picker.peer_joined(PeerKey(1), set(16, 1..16)); // piece 0 is the rarest
        assert_eq!(picker.mode(), Mode::RandomFirst);
        firsts.insert(reserve(&mut picker, 0, 1)[0].piece);
    }
    assert!(firsts.len() > 8, "{firsts:?}");
}

#[test]
fn a_peer_finishes_its_piece_and_helps_with_others_before_opening_one() {
    let mut picker = warm(12, 4, 3);
    picker.peer_joined(PeerKey(0), Bitfield::full(12));
    picker.peer_joined(PeerKey(1), Bitfield::full(12));
    let mine = reserve(&mut picker, 0, 2);
    let more = reserve(&mut picker, 0, 1);
    assert_eq!(pieces_of(&[mine.clone(), more].concat()).len(), 1, "one piece at a time");
    // As rare as any other: the piece in progress is helped to its end, and only then is another begun.
    let helper = reserve(&mut picker, 1, 2);
    assert_eq!(helper[0].piece, mine[0].piece);
    assert_ne!(helper[1].piece, mine[0].piece);
    assert_eq!(picker.open_pieces(), 2);
}

#[test]
fn a_rarer_untouched_piece_beats_one_in_progress() {
    let mut picker = warm(12, 4, 3);
    picker.peer_joined(PeerKey(0), set(12, 4..8));
    picker.peer_joined(PeerKey(1), set(12, 4..12));
    assert!(reserve(&mut picker, 0, 1)[0].piece.0 < 8);
    assert!(reserve(&mut picker, 1, 1)[0].piece.0 >= 8);
}

#[test]
fn too_many_open_pieces_are_finished_before_a_rarer_one() {
    let mut picker = warm(64, 4, 3);
    picker.peer_joined(PeerKey(0), set(64, 4..40));
    picker.peer_joined(PeerKey(1), set(64, 4..64));
    // Leave pieces half done: take one block each, as suggestions make it possible.
    for piece in 4..8 {
        let mut out = Vec::new();
        picker.reserve_from(PeerKey(0), &[PieceIndex(piece)], 1, &mut out);
        assert_eq!(out.len(), 1);
    }
    let piece = reserve(&mut picker, 1, 1)[0].piece.0;
    assert!((4..8).contains(&piece), "4 open pieces for 2 peers: {piece} should wait");
}

#[test]
fn priorities_go_before_rarity_and_skipped_pieces_are_never_asked_for() {
    let mut picker = warm(10, 1, 9);
    picker.peer_joined(PeerKey(0), Bitfield::full(10));
    picker.peer_joined(PeerKey(1), set(10, [7]));
    picker.set_priorities(|piece| match piece.0 {
        7 => Priority::High,
        8 => Priority::Low,
        9 => Priority::Skip,
        _ => Priority::Normal,
    });
    let order = pieces_of(&reserve(&mut picker, 0, 20));
    assert_eq!((order[0], order[order.len() - 1], order.len()), (7, 8, 5));
    assert!(!order.contains(&9));
}

#[test]
fn a_suspect_on_parole_gets_whole_pieces_alone_until_the_end() {
    let mut picker = warm(7, 2, 5);
    picker.peer_joined(PeerKey(0), Bitfield::full(7));
    picker.peer_joined(PeerKey(1), Bitfield::full(7));
    picker.set_parole(PeerKey(0), true);
    let alone = reserve(&mut picker, 0, 1)[0].piece;
    let first = reserve(&mut picker, 1, 4);
    assert!(first.iter().all(|block| block.piece != alone), "nobody shares the suspect's piece");
    // Nothing is untouched any more: the suspect does not hold up the end.
    assert_eq!(reserve(&mut picker, 1, 1)[0].piece, alone);
    deliver(&mut picker, 1, &first);
    assert_eq!(picker.have().count(), 6);
}

#[test]
fn a_bad_piece_names_its_authors_and_starts_from_nothing() {
    let mut picker = picker(1, 4, 5);
    picker.peer_joined(PeerKey(3), Bitfield::full(1));
    picker.peer_joined(PeerKey(8), Bitfield::full(1));
    let (a, b) = (reserve(&mut picker, 8, 2), reserve(&mut picker, 3, 2));
    for (peer, block) in [(8, a[0]), (8, a[1]), (3, b[0]), (3, b[1])] {
        let _ = picker.block_arrived(PeerKey(peer), block);
    }
    assert_eq!(picker.piece_checked(PieceIndex(0), Verdict::Bad), [PeerKey(3), PeerKey(8)]);
    assert_eq!(picker.wanted_left(), geometry(1, 4).total());
    assert_eq!(reserve(&mut picker, 3, 9).len(), 4);
}

#[test]
fn a_block_that_comes_after_it_was_given_up_is_used() {
    let mut picker = picker(2, 2, 5);
    picker.peer_joined(PeerKey(0), Bitfield::full(2));
    let blocks = reserve(&mut picker, 0, 2);
    assert_eq!(picker.release_all(PeerKey(0)), blocks);
    assert_eq!(picker.open_pieces(), 0);
    assert_eq!(picker.block_arrived(PeerKey(0), blocks[0]), Arrival::Kept { cancel: vec![] });
    assert_eq!(picker.block_arrived(PeerKey(0), blocks[0]), Arrival::Unasked, "but only once");
    assert_eq!(picker.block_arrived(PeerKey(0), blocks[1]), Arrival::PieceReady { cancel: vec![] });
}

#[test]
fn attack_19_blocks_nobody_asked_for_are_told_apart() {
    let mut picker = picker(2, 2, 5);
    picker.peer_joined(PeerKey(0), Bitfield::full(2));
    picker.peer_joined(PeerKey(1), Bitfield::full(2));
    let block = reserve(&mut picker, 0, 1)[0];
    let odd = [
        Block { len: 0, ..block },
        Block { len: BLOCK_LEN + 1, ..block },
        Block { begin: block.begin + 1, ..block },
        Block { begin: u32::MAX, ..block },
        Block { piece: PieceIndex(u32::MAX), ..block },
        geometry(2, 2).block(block.piece, 1),
    ];
    for never_asked in odd {
        assert_eq!(
            picker.block_arrived(PeerKey(0), never_asked),
            Arrival::Unasked,
            "{never_asked:?}"
        );
    }
    assert_eq!(picker.block_arrived(PeerKey(1), block), Arrival::Unasked, "asked of another");
    assert_eq!(picker.block_arrived(PeerKey(7), block), Arrival::Unasked, "not even a peer");
    assert_eq!(picker.block_arrived(PeerKey(0), block), Arrival::Kept { cancel: vec![] });
    assert_eq!(picker.block_arrived(PeerKey(0), block), Arrival::Unasked, "a second time");
}

#[test]
fn attack_21_a_stalling_peer_costs_one_duplicate_per_idle_peer() {
    let mut picker = picker(4, 8, 2);
    for peer in 0..12 {
        picker.peer_joined(PeerKey(peer), Bitfield::full(4));
    }
    assert_eq!(
        reserve(&mut picker, 0, 100).len(),
        32,
        "the liar takes everything, and sends nothing"
    );
    assert_eq!(picker.mode(), Mode::Endgame);
    let mut asked = BTreeMap::<Block, usize>::new();
    for peer in 1..12 {
        let extra = reserve(&mut picker, peer, 100);
        assert_eq!(extra.len(), 1, "one duplicate for an idle peer");
        assert_eq!(reserve(&mut picker, peer, 100), [], "and none while it has something to do");
        *asked.entry(extra[0]).or_insert(1) += 1;
    }
    assert!(asked.values().all(|&copies| copies <= ENDGAME_COPIES_MAX));
    for round in 0..32 {
        // Others finish the torrent block by block; whoever was asked too is told to be cancelled.
        for peer in 1..12 {
            let block = picker.asked(PeerKey(peer)).next();
            let Some(block) = block.or_else(|| reserve(&mut picker, peer, 1).first().copied())
            else {
                continue;
            };
            let (Arrival::Kept { cancel } | Arrival::PieceReady { cancel }) =
                picker.block_arrived(PeerKey(peer), block)
            else {
                panic!("round {round}: {block:?} of {peer} was of no use")
            };
            assert!(cancel.contains(&PeerKey(0)));
            let _ = picker.piece_checked(block.piece, Verdict::Good);
        }
    }
    assert!(picker.is_done());
    assert_eq!((picker.outstanding(PeerKey(0)), picker.in_flight_bytes()), (0, 0));
}

#[test]
fn attack_22_a_fake_seed_raises_no_availability_once_it_is_snubbed() {
    let mut picker = warm(8, 2, 2);
    picker.peer_joined(PeerKey(0), Bitfield::full(8)); // says it has all, sends nothing
    picker.peer_joined(PeerKey(1), set(8, 0..7));
    picker.peer_joined(PeerKey(2), set(8, [7])); // the same by single haves
    assert!(picker.copies() > 2.0);
    picker.release_all(PeerKey(0));
    picker.set_slow(PeerKey(0), true);
    picker.set_slow(PeerKey(2), true);
    assert_eq!(picker.availability(PieceIndex(7)), 0, "nobody can be relied on for piece 7");
    assert!(picker.copies() < 1.0);
    assert!(picker.is_interesting(PeerKey(0)), "it is still asked");
    assert_ne!(reserve(&mut picker, 0, 1)[0].piece.0, 7, "but not for what nobody else has");
    assert!(picker.peer_has(PeerKey(2), PieceIndex(6)));
    picker.set_slow(PeerKey(2), false);
    assert_eq!((picker.availability(PieceIndex(7)), picker.availability(PieceIndex(6))), (1, 2));
    picker.peer_left(PeerKey(0));
    picker.peer_left(PeerKey(2));
    assert_eq!((picker.availability(PieceIndex(7)), picker.availability(PieceIndex(6))), (0, 1));
}

#[test]
fn a_large_torrent_costs_no_scan_per_reservation() {
    // 100 000 pieces, 200 peers with a random half each: 20 000 reservations of a whole piece. A scan of all pieces
    // for each would be 2 000 000 000 steps.
    let pieces = 100_000;
    let mut rng = Rng::seeded(1);
    let mut picker = warm(pieces, 2, 2);
    for peer in 0..200 {
        let field = set(pieces, (0..pieces).filter(|_| rng.below(2) == 0));
        picker.peer_joined(PeerKey(peer), field);
    }
    for round in 0..20_000 {
        let got = reserve(&mut picker, round % 200, 2);
        assert_eq!(got.len(), 2);
        deliver(&mut picker, round % 200, &got);
    }
    assert!(picker.have().count() > 19_000);
}

#[test]
fn peers_that_leave_with_pieces_begun_stop_nobody() {
    let cases = [(1024, 2), (256, 8), (64, 16)];
    for (blocks, leavers) in cases {
        // They send one block, or all but one.
        for sent in [1, blocks as usize - 1] {
            let pieces = 100;
            let mut picker = warm(pieces, blocks, 1);
            for peer in 0..leavers {
                picker.peer_joined(PeerKey(peer), set(pieces, [10 + peer])); // the only one that has it
            }
            for peer in 0..leavers {
                let got = reserve(&mut picker, peer, sent);
                deliver(&mut picker, peer, &got);
                picker.peer_left(PeerKey(peer));
            }
            let others = (4..pieces).filter(|piece| !(10..10 + leavers).contains(piece));
            picker.peer_joined(PeerKey(99), set(pieces, others));
            let got = reserve(&mut picker, 99, 50).len();
            assert_eq!(got, 50, "{leavers} left pieces of {blocks} with {sent} blocks here");
        }
    }
}

#[test]
fn what_long_paths_hold_does_not_fill_the_memory() {
    let mut picker = warm(100, 16, 1);
    picker.peer_joined(PeerKey(1), Bitfield::full(100));
    let most = (OPEN_BYTES_MAX / u64::from(BLOCK_LEN)) as usize;
    let first = reserve(&mut picker, 1, 2 * most).len();
    assert!((most..most + 16).contains(&first), "{first} of {most}");
    for (on_the_way, more) in [(4 << 20, 0), (5 << 20, 64), (8 << 20, 256 - 64)] {
        picker.set_on_the_way(on_the_way);
        assert!(on_the_way + BESIDE_THE_WAY <= OPEN_BYTES_MAX || !picker.memory_is_full());
        let got = reserve(&mut picker, 1, 2 * most).len();
        assert!((more..more + 16).contains(&got), "{got} for {more} with {on_the_way} on the way");
    }
    picker.set_on_the_way(0);
    assert!(picker.memory_is_full());
    assert_eq!(reserve(&mut picker, 1, 16), []);
}

#[test]
fn a_source_that_was_asked_for_much_keeps_no_peer_from_beginning() {
    let mut picker = warm(256, 16, 1);
    picker.source_joined(PeerKey(0), Bitfield::full(256));
    let mut run = Vec::new();
    picker.reserve_run(PeerKey(0), None, 16 << 20, &mut run);
    assert_eq!(run.len(), 1024, "16 MiB at once");
    picker.peer_joined(PeerKey(1), Bitfield::full(256));
    let begun = reserve(&mut picker, 1, 64);
    assert_eq!(begun.len(), 64);
    assert!(begun.iter().all(|block| !run.contains(block)));
    // What has come of it is memory in use.
    let came = (OPEN_BYTES_MAX_LARGE / u64::from(BLOCK_LEN)) as usize;
    picker.reserve_run(PeerKey(0), None, 24 << 20, &mut run);
    for block in &run[..came.min(run.len())] {
        let _ = picker.block_arrived(PeerKey(0), *block);
    }
    assert_eq!(reserve(&mut picker, 1, 64).len(), 0);
}

#[test]
fn what_slow_sources_have_begun_to_send_keeps_no_peer_from_beginning() {
    // Pieces of 32 MiB, each of two sources in the middle of one.
    let mut picker = warm(64, 2048, 1);
    for key in [0, 1] {
        picker.source_joined(PeerKey(key), Bitfield::full(64));
        let mut run = Vec::new();
        picker.reserve_run(PeerKey(key), None, 1, &mut run);
        assert_eq!(run.len(), 2048, "a whole piece");
        for block in &run[..1500] {
            let _ = picker.block_arrived(PeerKey(key), *block);
        }
    }
    picker.peer_joined(PeerKey(2), Bitfield::full(64));
    assert_eq!(reserve(&mut picker, 2, 64).len(), 64);
}

#[test]
fn a_run_goes_on_where_the_last_one_ended_unless_something_is_wanted_more() {
    let mut picker = warm(64, 2, 1);
    picker.source_joined(PeerKey(0), Bitfield::full(64));
    let next = |picker: &mut Picker, after: Option<u32>| {
        let mut run = Vec::new();
        let most = u64::from(8 * BLOCK_LEN);
        picker.reserve_run(PeerKey(0), after.map(PieceIndex), most, &mut run);
        pieces_of(&run)
    };
    let first = next(&mut picker, Some(9));
    assert_eq!(first, [10, 11, 12, 13]);
    picker.set_priorities(|piece| match piece.0 {
        40 | 41 => Priority::High,
        _ => Priority::Normal,
    });
    assert_eq!(next(&mut picker, Some(13)), [40, 41], "one priority at a time");
    assert_eq!(next(&mut picker, Some(13)), [14, 15, 16, 17]);
    let end = next(&mut picker, Some(61));
    assert_eq!(end, [60, 61, 62, 63], "and back from the end of what is free");
}
