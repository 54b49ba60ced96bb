//! Round trips, golden bytes, and the attacks on extension messages.

use super::*;
use crate::bencode::BencodeError;
use bytes::Bytes;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

const HOLEPUNCH_ERRORS: [HolepunchError; 4] = [
    HolepunchError::NoSuchPeer,
    HolepunchError::NotConnected,
    HolepunchError::NoSupport,
    HolepunchError::NoSelf,
];

fn parse(text: &str) -> ExtensionHandshake {
    ExtensionHandshake::parse(text.as_bytes()).unwrap()
}

fn any_handshake() -> impl Strategy<Value = ExtensionHandshake> {
    let reqq = prop::option::of((1..=REQQ_MAX.get()).prop_map(|n| NonZeroU16::new(n).unwrap()));
    let port = prop::option::of((1..=u16::MAX).prop_map(|n| NonZeroU16::new(n).unwrap()));
    let about = ("[ -~]{1,64}", reqq, port, prop::option::of(1..=METADATA_LEN_MAX));
    let addresses = (any::<Option<[u8; 4]>>(), any::<Option<[u8; 16]>>(), any::<Option<[u8; 4]>>());
    let ids = [Extension::Metadata, Extension::Pex, Extension::Holepunch]
        .map(|extension| any::<Option<u8>>().prop_map(move |id| id.map(|id| (extension, id))));
    (ids, about, any::<Option<bool>>(), addresses).prop_map(
        |(ids, (client, reqq, port, metadata_size), upload_only, (ipv4, ipv6, your_ip))| {
            let some = ids.into_iter().flatten();
            ExtensionHandshake {
                ids: some.fold(Ids::default(), |ids, (extension, id)| ids.with(extension, id)),
                client: Some(client),
                reqq,
                port,
                metadata_size,
                upload_only,
                your_ip: your_ip.map(Into::into),
                ipv4: ipv4.map(Into::into),
                ipv6: ipv6.map(Into::into),
            }
        },
    )
}

proptest! {
    #[test]
    fn handshakes_round_trip(sent in any_handshake()) {
        prop_assert_eq!(ExtensionHandshake::parse(&sent.encode()), Ok(sent));
    }

    #[test]
    fn metadata_messages_round_trip(len in 1usize..40_000, piece in 0u32..4, kind in 0..3) {
        let info = Bytes::from(vec![7; len]);
        let sent = match kind {
            0 => MetadataMessage::Request { piece },
            1 => MetadataMessage::Reject { piece },
            _ => MetadataMessage::answer(&info, piece),
        };
        prop_assert_eq!(MetadataMessage::parse(&sent.encode()), Ok(Some(sent)));
    }

    #[test]
    fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ExtensionHandshake::parse(&raw);
        let _ = HolepunchMessage::parse(&raw);
        let _ = MetadataMessage::parse(&Bytes::from(raw));
    }

    #[test]
    fn holepunch_messages_round_trip(v6: bool, ip: [u8; 16], port in 1u16.., kind in 0usize..6) {
        let ip = if v6 { IpAddr::from(ip) } else { IpAddr::from(*ip.first_chunk::<4>().unwrap()) };
        let addr = SocketAddr::new(ip, port);
        let sent = match HOLEPUNCH_ERRORS.get(kind) {
            Some(error) => HolepunchMessage::Failed(addr, *error),
            None if kind == 4 => HolepunchMessage::Connect(addr),
            None => HolepunchMessage::Rendezvous(addr),
        };
        prop_assert_eq!(HolepunchMessage::parse(&sent.encode()), Ok(Some(sent)));
    }

    #[test]
    fn hostile_numbers_never_panic(
        kind in 0i64..4, piece: i64, total: i64, id: i64, reqq: i64, port: i64,
    ) {
        let data = format!("d8:msg_typei{kind}e5:piecei{piece}e10:total_sizei{total}eeabc");
        let _ = MetadataMessage::parse(&Bytes::from(data));
        let shake = parse(&format!(
            "d1:md11:ut_metadatai{id}ee13:metadata_sizei{total}e1:pi{port}e4:reqqi{reqq}ee"
        ));
        prop_assert_eq!(shake.reqq.is_some(), reqq > 0);
        prop_assert!(shake.reqq.is_none_or(|reqq| reqq <= REQQ_MAX));
        prop_assert!(shake.metadata_size.is_none_or(|size| size <= METADATA_LEN_MAX));
    }

    #[test]
    fn metadata_pieces_tile_the_dictionary(total in 1u32..=METADATA_LEN_MAX) {
        let pieces = metadata_pieces(total);
        let mut at = 0;
        for piece in 0..pieces {
            let range = metadata_range(total, piece).unwrap();
            prop_assert_eq!(range.start, at);
            prop_assert!(!range.is_empty());
            at = range.end;
        }
        prop_assert_eq!(at, total as usize);
        prop_assert_eq!(metadata_range(total, pieces), None);
    }
}

#[test]
fn our_handshake_on_the_wire() {
    let ours = ExtensionHandshake {
        ids: Ids::ours(|_| false),
        client: Some("gaggle 0.1.0".to_owned()),
        reqq: NonZeroU16::new(2000),
        port: NonZeroU16::new(6881),
        metadata_size: Some(31235),
        upload_only: Some(true),
        your_ip: Some("1.2.3.4".parse().unwrap()),
        ..ExtensionHandshake::default()
    };
    let wire: &[u8] =
        b"d1:md12:ut_holepunchi3e11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei31235e1:pi6881e4:reqqi2000e\
        11:upload_onlyi1e1:v12:gaggle 0.1.06:yourip4:\x01\x02\x03\x04e";
    assert_eq!(ours.encode(), wire);
}

#[test]
fn ids_belong_to_the_side_that_assigned_them() {
    assert_eq!(Extension::from_our_id(1), Some(Extension::Metadata));
    assert_eq!(Extension::from_our_id(0), None);
    assert_eq!(Extension::from_our_id(2), Some(Extension::Pex));
    assert_eq!(Extension::from_our_id(3), Some(Extension::Holepunch));
    assert_eq!(Extension::from_our_id(4), None);
    let without = Ids::ours(|extension| extension == Extension::Pex);
    assert_eq!((without.of(Extension::Metadata), without.of(Extension::Pex)), (Some(1), None));
    // As uTorrent sends it, with extensions that nobody here knows.
    let theirs = parse("d1:md11:LT_metadatai1e11:ut_metadatai3e7:µT_PEXi2ee1:pi6881ee");
    assert_eq!(theirs.ids.of(Extension::Metadata), Some(3));
    assert_eq!(theirs.port, NonZeroU16::new(6881));
}

#[test]
fn a_later_handshake_changes_only_what_it_names() {
    let mut peer = parse("d1:md11:ut_metadatai3ee13:metadata_sizei100e4:reqqi7e1:v1:xe");
    peer.update(parse("d13:metadata_sizei999e11:upload_onlyi1ee"));
    assert_eq!(peer.ids.of(Extension::Metadata), Some(3));
    assert_eq!((peer.reqq, peer.client.as_deref()), (NonZeroU16::new(7), Some("x")));
    assert_eq!(peer.upload_only, Some(true));
    assert_eq!(peer.metadata_size, Some(100), "one dictionary has one size");
    peer.update(parse("d1:md11:ut_metadatai0eee"));
    assert_eq!(peer.ids.of(Extension::Metadata), None, "0 withdraws");
}

#[test]
fn metadata_messages_of_the_bep() {
    #[track_caller]
    fn check(wire: &'static [u8], want: &MetadataMessage) {
        assert_eq!(
            MetadataMessage::parse(&Bytes::from_static(wire)).as_ref(),
            Ok(&Some(want.clone()))
        );
        assert_eq!(want.encode(), wire);
    }
    check(b"d8:msg_typei0e5:piecei0ee", &MetadataMessage::Request { piece: 0 });
    check(b"d8:msg_typei2e5:piecei0ee", &MetadataMessage::Reject { piece: 0 });
    let data = Bytes::from_static(b"xyz");
    check(
        b"d8:msg_typei1e5:piecei0e10:total_sizei3eexyz",
        &MetadataMessage::Data { piece: 0, total_size: 3, data },
    );
    let unknown = Bytes::from_static(b"d8:msg_typei9e5:piecei0ee");
    assert_eq!(MetadataMessage::parse(&unknown), Ok(None));
}

#[test]
fn attack_23_senseless_fields_of_the_handshake_are_ignored_or_clamped() {
    #[track_caller]
    fn ignored(text: &str) {
        assert_eq!(parse(text), ExtensionHandshake::default(), "{text}");
    }
    ignored("de");
    ignored("d1:mi5ee");
    ignored("d1:md11:ut_metadatai-1eee");
    ignored("d1:md11:ut_metadatai256eee");
    ignored("d1:md11:ut_metadatai4294967297eee");
    ignored("d1:md11:ut_metadata1:3ee");
    ignored("d1:pi0ee");
    ignored("d1:pi-1ee");
    ignored("d1:pi65536ee");
    ignored("d4:reqqi0ee");
    ignored("d4:reqqi-1ee");
    ignored("d6:yourip3:abce");
    ignored("d6:youripi5ee");
    ignored("d4:ipv43:abc4:ipv64:abcde");
    ignored("d13:metadata_sizei0ee");
    ignored("d13:metadata_sizei-1ee");
    ignored("d13:metadata_sizei1099511627776ee");
    ignored("d13:metadata_sizei31457281ee");
    ignored("d1:vi7ee");
    ignored("d1:v3:\r\n\u{7}e");
    assert_eq!(parse("d4:reqqi1000000000ee").reqq, Some(REQQ_MAX));
    assert_eq!(parse("d13:metadata_sizei31457280ee").metadata_size, Some(METADATA_LEN_MAX));
    let mapped = b"d6:yourip16:\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04e";
    let mapped = ExtensionHandshake::parse(mapped).unwrap();
    assert_eq!(mapped.your_ip, Some("1.2.3.4".parse().unwrap()));
}

#[test]
fn attack_23_a_huge_or_deceptive_client_name_is_cut_and_cleaned() {
    let client = |name: &[u8]| {
        let text = [format!("d1:v{}:", name.len()).as_bytes(), name, b"e"].concat();
        ExtensionHandshake::parse(&text).unwrap().client
    };
    assert_eq!(client(&[b'x'; 60_000]).unwrap().len(), CLIENT_LEN_MAX);
    assert!(client(&[0xff; 60_000]).unwrap().len() <= CLIENT_LEN_MAX);
    assert_eq!(client("qB\u{202e}it\x1b[2J\u{200b}".as_bytes()).unwrap(), "qBit[2J");
    assert_eq!(client(b"\xb5Torrent 3.5").unwrap(), "\u{fffd}Torrent 3.5");
}

#[test]
fn attack_23_what_is_no_dictionary_or_too_deep_is_refused_as_a_whole() {
    let refused = |text: &[u8]| ExtensionHandshake::parse(text).unwrap_err();
    assert_eq!(refused(b"i5e"), ExtensionError::NotDictionary);
    assert_eq!(refused(b"le"), ExtensionError::NotDictionary);
    assert!(matches!(refused(b""), ExtensionError::Bencode(_)));
    let deep = [&b"d1:m"[..], &[b'l'; 1000], &[b'e'; 1000], b"e"].concat();
    let error = refused(&deep);
    assert!(matches!(error, ExtensionError::Bencode(BencodeError::Depth { .. })), "{error:?}");
    let many = [&b"d1:ml"[..], &b"i1e".repeat(600), b"ee"].concat();
    let error = refused(&many);
    assert!(
        matches!(error, ExtensionError::Bencode(BencodeError::TooManyTokens { .. })),
        "{error:?}"
    );
    assert_eq!(error.blame(), crate::blame::Blame::Remote);
}

#[test]
fn attack_24_metadata_pieces_of_the_wrong_index_or_size() {
    #[track_caller]
    fn check(head: &str, data: usize, want: ExtensionError) {
        let wire = [head.as_bytes(), &vec![0; data]].concat();
        assert_eq!(MetadataMessage::parse(&wire.into()), Err(want), "{head}");
    }
    let head =
        |piece: i64, total: i64| format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total}ee");
    check(&head(-1, 10), 10, ExtensionError::Field("piece"));
    check(&head(1, 10), 10, ExtensionError::PieceRange { piece: 1, pieces: 1 });
    check(&head(262_144, 20_000), 1, ExtensionError::PieceRange { piece: 262_144, pieces: 2 });
    for total in [0, -1, 31_457_281, 1 << 40] {
        check(&head(0, total), 1, ExtensionError::TotalSize(total));
    }
    for (piece, got, want) in [(0, 16383, 16384), (0, 16385, 16384), (1, 0, 3616), (1, 16384, 3616)]
    {
        let piece_u32 = piece as u32;
        check(
            &head(piece, 20_000),
            got,
            ExtensionError::DataLength { piece: piece_u32, got, want },
        );
    }
    check("d8:msg_typei1e5:piecei0ee", 0, ExtensionError::Field("total_size"));
    check("d5:piecei0ee", 0, ExtensionError::Field("msg_type"));
}

#[test]
fn requests_past_the_end_are_rejected() {
    let info = Bytes::from(vec![1; 20_000]);
    assert_eq!(MetadataMessage::answer(&info, 2), MetadataMessage::Reject { piece: 2 });
    assert_eq!(
        MetadataMessage::answer(&info, u32::MAX),
        MetadataMessage::Reject { piece: u32::MAX }
    );
    let last = MetadataMessage::answer(&info, 1);
    assert!(
        matches!(last, MetadataMessage::Data { total_size: 20_000, data, .. } if data.len() == 3616)
    );
}

#[test]
fn holepunch_messages_of_the_bep() {
    #[track_caller]
    fn check(wire: &[u8], want: HolepunchMessage) {
        assert_eq!(HolepunchMessage::parse(wire), Ok(Some(want)));
        assert_eq!(want.encode(), wire);
    }
    let v4: SocketAddr = "1.2.3.4:6881".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
    check(b"\x00\x00\x01\x02\x03\x04\x1a\xe1\0\0\0\0", HolepunchMessage::Rendezvous(v4));
    check(
        b"\x01\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1\0\0\0\0",
        HolepunchMessage::Connect(v6),
    );
    for (code, error) in (1..).zip(HOLEPUNCH_ERRORS) {
        let wire = [&b"\x02\x00\x01\x02\x03\x04\x1a\xe1\0\0\0"[..], &[code]].concat();
        check(&wire, HolepunchMessage::Failed(v4, error));
    }
    // As libtorrent sends it: the error code only where there is an error.
    let short = HolepunchMessage::parse(b"\x00\x00\x01\x02\x03\x04\x1a\xe1");
    assert_eq!(short, Ok(Some(HolepunchMessage::Rendezvous(v4))));
}

#[test]
fn holepunch_messages_that_are_none_are_told_from_those_nobody_knows() {
    let parse = HolepunchMessage::parse;
    for unknown in [
        &b"\x03\x00\x01\x02\x03\x04\x1a\xe1\0\0\0\0"[..],
        b"\x00\x02\x01\x02\x03\x04\x1a\xe1",
        b"\x02\x00\x01\x02\x03\x04\x1a\xe1\0\0\0\x05",
        b"\x02\x00\x01\x02\x03\x04\x1a\xe1\0\0\0\x00",
        b"\x02\x00\x01\x02\x03\x04\x1a\xe1\xff\xff\xff\xff",
    ] {
        assert_eq!(parse(unknown), Ok(None), "{unknown:?}");
    }
    assert_eq!(parse(b""), Err(ExtensionError::Field("msg_type")));
    assert_eq!(parse(b"\x00"), Err(ExtensionError::Field("msg_type")));
    assert_eq!(parse(b"\x00\x00\x01\x02\x03\x04\x1a"), Err(ExtensionError::Field("addr")));
    assert_eq!(parse(b"\x00\x01\x01\x02\x03\x04\x1a\xe1"), Err(ExtensionError::Field("addr")));
    assert_eq!(parse(b"\x00\x00\x01\x02\x03\x04\0\0"), Err(ExtensionError::Field("port")));
    let no_code = parse(b"\x02\x00\x01\x02\x03\x04\x1a\xe1\0\0\0");
    assert_eq!(no_code, Err(ExtensionError::Field("err_code")));
}
