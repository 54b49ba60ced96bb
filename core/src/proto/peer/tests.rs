//! The codec and the session together: laws, and the attacks that end here.

use super::*;
use crate::bitfield::Bitfield;
use crate::blame::Blame;
use crate::geometry::{BLOCK_LEN, Block, Geometry, PIECES_MAX, PieceIndex, Version};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

/// 20 pieces of 64 KiB, the last one 1 000 bytes long.
fn geometry() -> Geometry {
    Geometry::new(Version::V1, 19 * 65536 + 1000, 65536).unwrap()
}

fn both() -> Reserved {
    Reserved::NONE.with_extension().with_fast()
}

fn session() -> Session {
    Session::new(both(), both(), Some(geometry()))
}

fn request(index: u32, begin: u32, len: u32) -> Request {
    Request { index, begin, len }
}

fn bits(bytes: &[u8]) -> Message {
    Message::Bitfield(Bytes::copy_from_slice(bytes))
}

// ── laws of the codec ──

fn any_request() -> impl Strategy<Value = Request> {
    (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(index, begin, len)| request(index, begin, len))
}

fn any_bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), len).prop_map(Bytes::from)
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        any::<u32>().prop_map(Message::Have),
        any::<u32>().prop_map(Message::Suggest),
        any::<u32>().prop_map(Message::AllowedFast),
        any::<u16>().prop_map(Message::Port),
        any_bytes(1..600).prop_map(Message::Bitfield),
        any_request().prop_map(Message::Request),
        any_request().prop_map(Message::Cancel),
        any_request().prop_map(Message::Reject),
        (any::<u8>(), any_bytes(0..600))
            .prop_map(|(id, payload)| Message::Extended { id, payload }),
        prop_oneof![10u8..=12, 18u8..=19, 21u8..].prop_map(Message::Unknown),
    ]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        4 => any_message().prop_map(Frame::Message),
        1 => (any::<u32>(), any::<u32>(), any_bytes(1..2000))
            .prop_map(|(index, begin, data)| Frame::Block { index, begin, data }),
    ]
}

fn encode(frames: &[Frame]) -> BytesMut {
    let mut out = BytesMut::new();
    for frame in frames {
        match frame {
            Frame::Message(message) => message.encode_into(&mut out),
            Frame::Block { index, begin, data } => {
                out.extend_from_slice(&piece_header(*index, *begin, data.len() as u32));
                out.extend_from_slice(data);
            }
        }
    }
    out
}

/// Decodes a stream that arrives in these portions, holding no more than the decoder asked for; also says
/// how many bytes were held at most.
fn decode(
    stream: &[u8],
    bounds: Bounds,
    cuts: &[usize],
) -> (Vec<Frame>, usize, Result<(), WireError>) {
    let (mut decoder, mut input) = (Decoder::new(bounds), BytesMut::new());
    let (mut frames, mut held, mut at) = (Vec::new(), 0, 0);
    let mut cuts = cuts.iter().cycle();
    loop {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, held, Err(error)),
            }
        }
        if at == stream.len() {
            assert!(decoder.wants() > 0);
            return (frames, held, Ok(()));
        }
        let cut = cuts.next().copied().unwrap_or(usize::MAX).max(1);
        let end = stream.len().min(at + cut.min(decoder.wants()));
        input.extend_from_slice(&stream[at..end]);
        held = held.max(input.len());
        at = end;
    }
}

proptest! {
    #[test]
    fn where_reads_split_is_invisible(sent in vec(any_frame(), 1..20), cuts in vec(1usize..700, 1..30)) {
        let bounds = Bounds::new(None);
        let stream = encode(&sent);
        let (by_cuts, _, result) = decode(&stream, bounds, &cuts);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&by_cuts, &sent);
        let mut whole = stream.clone();
        let mut decoder = Decoder::new(bounds);
        let at_once: Vec<_> = std::iter::from_fn(|| decoder.next(&mut whole).unwrap()).collect();
        prop_assert_eq!(at_once, sent);
        prop_assert!(!decoder.mid_message(&whole));
    }

    #[test]
    fn hostile_bytes_never_panic_and_never_grow_the_buffer(
        raw in vec(prop_oneof![3 => 0u8..22, 1 => any::<u8>()], 0..4096),
        pieces in prop::option::of(1u32..3000), cut in 1usize..900,
    ) {
        let bounds = Bounds::new(pieces);
        let (frames, held, _) = decode(&raw, bounds, &[cut]);
        prop_assert!(held <= bounds.buffered_max());
        let mut session = Session::new(both(), both(), Some(geometry()));
        for frame in frames {
            let _ = match frame {
                Frame::Message(message) => session.on_message(message).map(|_| ()),
                Frame::Block { index, begin, data } =>
                    session.on_block(index, begin, data.len() as u32).map(|_| ()),
            };
        }
    }

    #[test]
    fn hostile_messages_never_panic_a_session_and_name_only_what_exists(
        sent in vec(any_message(), 0..60), known: bool, ours: [u8; 8], theirs: [u8; 8],
    ) {
        let known = known.then(geometry);
        let mut session = Session::new(Reserved(ours), Reserved(theirs), known);
        for message in sent {
            let Ok(input) = session.on_message(message) else { continue };
            match input {
                Input::Request(block) | Input::Cancel(block) | Input::Reject(block) =>
                    prop_assert!(geometry().contains(block)),
                Input::Have(piece) | Input::Suggest(piece) | Input::AllowedFast(piece) =>
                    prop_assert!(piece.0 < geometry().pieces()),
                Input::Pieces(has) => prop_assert_eq!(has.len(), geometry().pieces()),
                _ => {}
            }
        }
        let _ = session.metadata_known(geometry());
    }
}

#[test]
fn unknown_messages_are_skipped_without_being_held() {
    let mut stream = BytesMut::from(&[0, 0x10, 0, 0, 99][..]); // 1 MiB of id 99
    stream.resize(4 + (1 << 20), 7);
    stream.extend_from_slice(&[0, 0, 0, 1, 1]);
    let (frames, held, result) = decode(&stream, Bounds::new(Some(20)), &[usize::MAX]);
    assert_eq!(result, Ok(()));
    assert_eq!(frames, [Message::Unknown(99), Message::Unchoke].map(Frame::Message));
    assert!(held <= 16 * 1024, "{held} bytes were held");
}

#[test]
fn the_decoder_says_what_it_waits_for() {
    let mut decoder = Decoder::new(Bounds::new(Some(20)));
    let mut input = BytesMut::new();
    let sent = piece_header(1, 0, BLOCK_LEN);
    let waits = [(0, 4), (4, 1), (5, 4 + 9 + 16384 - 5), (13, 16384)];
    for (have, wants) in waits {
        input.extend_from_slice(&sent[input.len()..have]);
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert_eq!(decoder.wants(), wants, "after {have} bytes");
        assert_eq!(decoder.mid_message(&input), have > 0);
    }
}

#[test]
fn a_block_is_a_slice_of_the_read_buffer() {
    let mut input = BytesMut::from(&piece_header(3, 16384, 100)[..]);
    input.resize(13 + 100, 42);
    let payload_at = input[13..].as_ptr();
    let frame = Decoder::new(Bounds::new(Some(20))).next(&mut input).unwrap();
    let Some(Frame::Block { index: 3, begin: 16384, data }) = frame else { panic!("{frame:?}") };
    assert_eq!(data.as_ptr(), payload_at);
    assert_eq!(data.len(), 100);
}

// ── what may be said when ──

#[test]
fn the_first_message_rule() {
    #[track_caller]
    fn check(sent: &[Message], want: &Result<Input, PeerError>) {
        let mut session = session();
        let (last, before) = sent.split_last().unwrap();
        for message in before {
            session.on_message(message.clone()).unwrap();
        }
        assert_eq!(session.on_message(last.clone()), *want, "{sent:?}");
    }
    let all = || Ok(Input::Pieces(Bitfield::full(20)));
    let full = || bits(&[0xff, 0xff, 0xf0]);
    let extended = Message::Extended { id: 0, payload: Bytes::from_static(b"de") };
    check(&[full()], &all());
    check(&[Message::HaveAll], &all());
    check(&[Message::HaveNone], &Ok(Input::Pieces(Bitfield::empty(20))));
    // What Transmission and aria2 send before their bitfield closes nothing.
    check(&[extended, Message::Port(1), Message::KeepAlive, Message::Unknown(99), full()], &all());
    check(&[Message::AllowedFast(3), Message::Suggest(4), Message::HaveAll], &all());
    for other in [Message::Have(1), Message::Unchoke, Message::Interested] {
        // aria2 sends a bitfield in place of many haves.
        check(&[other.clone(), full()], &Ok(Input::MorePieces(Bitfield::full(20))));
        check(&[other, Message::HaveAll], &Err(PeerError::NotFirst { id: 14 }));
    }
}

#[test]
fn fast_messages_need_both_sides() {
    let plain = Session::new(both(), Reserved::NONE.with_extension(), Some(geometry()));
    let fast = [
        (13, Message::Suggest(1)),
        (14, Message::HaveAll),
        (15, Message::HaveNone),
        (16, Message::Reject(request(0, 0, 16384))),
        (17, Message::AllowedFast(1)),
    ];
    for (id, message) in fast {
        let want = Err(PeerError::FastNotAgreed { id });
        assert_eq!(plain.clone().on_message(message.clone()), want);
        session().on_message(message).unwrap();
    }
    let mut deaf = Session::new(Reserved::NONE, both(), Some(geometry()));
    let extended = Message::Extended { id: 0, payload: Bytes::new() };
    assert_eq!(deaf.on_message(extended), Ok(Input::Nothing));
}

#[test]
fn choke_and_interest_are_kept_per_direction() {
    let mut session = session();
    assert_eq!(session.on_message(Message::Unchoke), Ok(Input::Choke(Choke::Unchoked)));
    assert_eq!(session.on_message(Message::Interested), Ok(Input::Interest(Interest::Interested)));
    assert_eq!((session.they_choke(), session.we_choke()), (Choke::Unchoked, Choke::Choked));
    assert_eq!(session.set_choke(Choke::Choked), None);
    assert_eq!(session.set_choke(Choke::Unchoked), Some(Message::Unchoke));
    assert_eq!(session.set_interest(Interest::NotInterested), None);
    assert_eq!(session.set_interest(Interest::Interested), Some(Message::Interested));
    assert_eq!(session.set_interest(Interest::Interested), None);
    assert_eq!((session.we_choke(), session.we_want()), (Choke::Unchoked, Interest::Interested));
    assert_eq!(
        (session.they_choke(), session.they_want()),
        (Choke::Unchoked, Interest::Interested)
    );
}

#[test]
fn our_opening_says_what_we_have() {
    let (fast, plain) = (session(), Session::new(both(), Reserved::NONE, None));
    let (none, all) = (Bitfield::empty(20), Bitfield::full(20));
    let mut one = Bitfield::empty(20);
    one.insert(PieceIndex(1));
    assert_eq!(fast.opening(Some(&all)), Some(Message::HaveAll));
    assert_eq!(fast.opening(Some(&none)), Some(Message::HaveNone));
    assert_eq!(fast.opening(None), Some(Message::HaveNone));
    assert_eq!(fast.opening(Some(&one)), Some(bits(&[0x40, 0, 0])));
    assert_eq!(plain.opening(Some(&all)), Some(bits(&[0xff, 0xff, 0xf0])));
    assert_eq!(plain.opening(Some(&none)), None);
    assert_eq!(plain.opening(None), None);
}

#[test]
fn what_was_said_before_the_metadata_is_checked_when_it_comes() {
    #[track_caller]
    fn check(sent: &[Message], want: Result<&[u32], PeerError>) {
        let mut session = Session::new(both(), both(), None);
        for message in sent {
            assert_eq!(session.on_message(message.clone()), Ok(Input::Nothing));
        }
        let has = session.metadata_known(geometry());
        let has = has.map(|has| has.ones().map(|piece| piece.0).collect::<Vec<_>>());
        assert_eq!(has, want.map(<[u32]>::to_vec), "{sent:?}");
        assert_eq!(session.metadata_known(geometry()), Ok(Bitfield::empty(20)));
        assert_eq!(session.on_message(Message::Have(2)), Ok(Input::Have(PieceIndex(2))));
    }
    check(&[], Ok(&[]));
    check(&[bits(&[0x80, 0, 0x10]), Message::Have(9)], Ok(&[0, 9, 19]));
    check(&[Message::HaveAll], Ok(&Vec::from_iter(0..20)));
    check(&[Message::HaveNone, Message::Have(19)], Ok(&[19]));
    check(&[Message::Have(1), bits(&[0x80, 0, 0x1f])], Ok(&[0, 1, 19]));
    let long = PeerError::BitfieldLength { got: 4, want: 3 };
    check(&[Message::Have(1), bits(&[0, 0, 0, 1]), bits(&[0, 0, 0])], Err(long));
    check(&[bits(&[0x80])], Err(PeerError::BitfieldLength { got: 1, want: 3 }));
    check(&[Message::Have(20)], Err(PeerError::PieceIndex { id: 4, index: 20, pieces: 20 }));
    let mut session = Session::new(both(), both(), None);
    let index = PIECES_MAX;
    assert_eq!(
        session.on_message(Message::Have(index)),
        Err(PeerError::PieceIndex { id: 4, index, pieces: PIECES_MAX }),
    );
    let early = session.on_message(Message::Request(request(0, 0, 16384)));
    assert_eq!(early, Err(PeerError::TooEarly { id: 6 }));
}

// ── attacks; the numbers are the rows of the table in the project's design notes ──

#[test]
fn attack_15_announced_length_is_refused_before_it_is_buffered() {
    #[track_caller]
    fn check(pieces: Option<u32>, sent: &[u8], want: WireError) {
        let (frames, held, result) = decode(sent, Bounds::new(pieces), &[1]);
        assert_eq!((frames.len(), result), (0, Err(want)), "{sent:?}");
        assert!(held <= 5, "{held} bytes were held");
    }
    let max = (1 << 20) + 1;
    check(Some(20), &[0xff; 4], WireError::TooLong { len: u32::MAX, max });
    check(Some(20), &[0x40, 0, 0, 0], WireError::TooLong { len: 1 << 30, max });
    check(
        Some(20),
        &[0, 0, 0x40, 10, 7],
        WireError::Length { id: 7, len: 16394, min: 10, max: 16393 },
    );
    check(Some(20), &[0, 0, 0, 5, 5], WireError::Length { id: 5, len: 5, min: 4, max: 4 });
    check(None, &[0, 4, 0, 2, 5], WireError::Length { id: 5, len: 0x40002, min: 2, max: 0x40001 });
    check(
        Some(20),
        &[0, 1, 0, 3, 20],
        WireError::Length { id: 20, len: 65539, min: 2, max: 65538 },
    );
    check(Some(20), &[0, 0, 0, 2, 0], WireError::Length { id: 0, len: 2, min: 1, max: 1 });
    check(Some(20), &[0, 0, 0, 12, 6], WireError::Length { id: 6, len: 12, min: 13, max: 13 });
    let error = PeerError::from(WireError::TooLong { len: 1, max: 0 });
    assert_eq!(error.blame(), Blame::Remote);
}

#[test]
fn attack_15_the_most_that_is_ever_held_for_one_message() {
    assert_eq!(Bounds::new(Some(20)).buffered_max(), 4 + 2 + 64 * 1024);
    assert_eq!(Bounds::new(None).buffered_max(), 4 + 1 + 256 * 1024);
    let mut stream = BytesMut::from(&[0, 1, 0, 2, 20, 0][..]);
    stream.resize(4 + 2 + 65536, 0);
    let (frames, held, _) = decode(&stream, Bounds::new(Some(20)), &[usize::MAX]);
    assert_eq!((frames.len(), held), (1, Bounds::new(Some(20)).buffered_max()));
}

#[test]
fn attack_16_a_second_statement_of_pieces() {
    let full = || bits(&[0xff, 0xff, 0xf0]);
    let first = [full(), Message::HaveAll, Message::HaveNone];
    for one in &first {
        for (id, two) in [(14, Message::HaveAll), (15, Message::HaveNone)] {
            for known in [Some(geometry()), None] {
                let mut session = Session::new(both(), both(), known);
                session.on_message(one.clone()).unwrap();
                let error = session.on_message(two.clone()).unwrap_err();
                assert_eq!(error, PeerError::NotFirst { id }, "{one:?} {two:?}");
                assert_eq!(error.blame(), Blame::Remote);
            }
        }
        // A bitfield adds to what was said, and its size is checked again.
        let mut session = Session::new(both(), both(), Some(geometry()));
        session.on_message(one.clone()).unwrap();
        let more = session.on_message(bits(&[0x40, 0, 0])).unwrap();
        let Input::MorePieces(more) = more else { panic!("{more:?}") };
        assert_eq!(more.ones().collect::<Vec<_>>(), [PieceIndex(1)]);
        let error = session.on_message(bits(&[0x40, 0])).unwrap_err();
        assert_eq!(error, PeerError::BitfieldLength { got: 2, want: 3 });
    }
}

#[test]
fn attack_16_bitfield_size_disconnects_and_spare_bits_are_ignored() {
    for bytes in [&[0xff, 0xff][..], &[0xff; 4], &[]] {
        let error = session().on_message(bits(bytes)).unwrap_err();
        assert_eq!(error, PeerError::BitfieldLength { got: bytes.len(), want: 3 });
        assert_eq!(error.blame(), Blame::Remote);
    }
    let input = session().on_message(bits(&[0xff, 0xff, 0xff]));
    assert_eq!(input, Ok(Input::Pieces(Bitfield::full(20))));
}

#[test]
fn attack_17_numbers_outside_the_torrent() {
    #[track_caller]
    fn check(message: &Message, want: &PeerError) {
        let error = session().on_message(message.clone()).unwrap_err();
        assert_eq!(error, *want, "{message:?}");
        assert_eq!(error.blame(), Blame::Remote);
    }
    for index in [20, 0x8000_0000, u32::MAX] {
        check(&Message::Have(index), &PeerError::PieceIndex { id: 4, index, pieces: 20 });
        check(&Message::Suggest(index), &PeerError::PieceIndex { id: 13, index, pieces: 20 });
        check(&Message::AllowedFast(index), &PeerError::PieceIndex { id: 17, index, pieces: 20 });
    }
    for len in [0, REQUEST_LEN_MAX + 1, u32::MAX] {
        check(&Message::Request(request(0, 0, len)), &PeerError::RequestLength { len });
    }
    let outside = [
        (request(20, 0, 16384), 0),
        (request(u32::MAX, 0, 16384), 0),
        (request(0, 65536, 1), 65536),
        (request(0, 49153, 16384), 65536),
        (request(0, u32::MAX, 16384), 65536), // begin + len overflows 32 bits
        (request(19, 0, 1001), 1000),
    ];
    for (asked, size) in outside {
        let Request { index, begin, len } = asked;
        let error = |id| PeerError::BlockRange { id, index, begin, len, size };
        check(&Message::Request(asked), &error(6));
        check(&Message::Cancel(asked), &error(8));
        check(&Message::Reject(asked), &error(16));
    }
    let legal = session().on_message(Message::Request(request(19, 0, 1000)));
    assert_eq!(legal, Ok(Input::Request(Block { piece: PieceIndex(19), begin: 0, len: 1000 })));
}

#[test]
fn attack_19_blocks_that_cannot_be_what_was_asked() {
    // Empty, and longer than any request of ours: refused by length alone.
    let empty = piece_header(0, 0, 0);
    let (_, _, result) = decode(&empty, Bounds::new(Some(20)), &[]);
    assert_eq!(result, Err(WireError::Length { id: 7, len: 9, min: 10, max: 16393 }));
    let long = piece_header(0, 0, BLOCK_LEN + 1);
    let (_, held, result) = decode(&long, Bounds::new(Some(20)), &[]);
    assert_eq!(result, Err(WireError::Length { id: 7, len: 16394, min: 10, max: 16393 }));
    assert!(held <= 5);
    // Outside its piece.
    for (index, begin, len, size) in [(20, 0, 1, 0), (0, 65530, 10, 65536), (19, 0, 16384, 1000)] {
        let error = session().on_block(index, begin, len).unwrap_err();
        assert_eq!(error, PeerError::BlockRange { id: 7, index, begin, len, size });
        assert_eq!(error.blame(), Blame::Remote);
    }
    // At an odd place inside it: legal here, and the torrent counts it as waste.
    let odd = session().on_block(0, 7, 16384);
    assert_eq!(odd, Ok(Block { piece: PieceIndex(0), begin: 7, len: 16384 }));
}

#[test]
fn attack_22_hints_are_checked_values_and_add_no_availability() {
    let mut session = session();
    for _ in 0..1000 {
        let input = session.on_message(Message::Suggest(3)).unwrap();
        assert_eq!(input, Input::Suggest(PieceIndex(3)));
        let input = session.on_message(Message::AllowedFast(3)).unwrap();
        assert_eq!(input, Input::AllowedFast(PieceIndex(3)));
    }
    // Before the metadata is known a hint is worth nothing and is not kept.
    let mut session = Session::new(both(), both(), None);
    assert_eq!(session.on_message(Message::Suggest(3)), Ok(Input::Nothing));
    assert_eq!(session.metadata_known(geometry()), Ok(Bitfield::empty(20)));
}
