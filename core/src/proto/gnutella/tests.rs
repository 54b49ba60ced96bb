use super::*;
use crate::id::InfoHash;
use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::SocketAddrV4;

const GUID: Guid = Guid([1, 2, 3, 4, 5, 6, 7, 8, 0xff, 10, 11, 12, 13, 14, 15, 0]);

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.replace(' ', "").as_bytes()).unwrap()
}

fn addr(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn stream(raw: &[u8]) -> BytesMut {
    BytesMut::from(raw)
}

#[test]
fn headers_of_descriptors() {
    let ping = Descriptor::new(GUID, Kind::PING, 7, Bytes::new());
    let wire = hex("0102030405060708ff0a0b0c0d0e0f00 00 07 00 00000000");
    assert_eq!(ping.encode(), wire);
    assert_eq!(wire.len(), HEADER_LEN);
    let mut two = stream(&[&wire[..], &wire[..22]].concat());
    assert_eq!(Descriptor::decode(&mut two), Ok(Some(ping)));
    assert_eq!(Descriptor::decode(&mut two), Ok(None));
    for (kind, byte) in [
        (Kind::PING, 0x00),
        (Kind::PONG, 0x01),
        (Kind::BYE, 0x02),
        (Kind::QRP, 0x30),
        (Kind::VENDOR, 0x31),
        (Kind::STANDARD_VENDOR, 0x32),
        (Kind::PUSH, 0x40),
        (Kind::QUERY, 0x80),
        (Kind::QUERY_HIT, 0x81),
    ] {
        assert_eq!(kind.0, byte);
    }
}

#[test]
fn a_length_is_refused_before_its_bytes_have_come() {
    #[track_caller]
    fn check(kind: Kind, len: u32, fine: bool) {
        let mut raw = Descriptor::new(GUID, kind, 1, Bytes::new()).encode();
        raw[19..].copy_from_slice(&len.to_le_bytes());
        let mut raw = stream(&raw);
        let got = Descriptor::decode(&mut raw);
        assert_eq!(got.is_ok(), fine, "{kind:?} {len}");
        assert!(raw.capacity() < 1024);
    }
    check(Kind::QUERY, 1024, true);
    check(Kind::QUERY, 1025, false);
    check(Kind::QUERY_HIT, 65_536, true);
    check(Kind::QUERY_HIT, 65_537, false);
    check(Kind::PONG, 4097, false);
    check(Kind(0x77), u32::MAX, false);
}

#[test]
fn payloads_of_the_sheet() {
    let pong = Pong { addr: addr("1.2.3.4:6346"), files: 10, kbytes: 64, ggep: Ggep::new() };
    let raw = hex("ca18 01020304 0a000000 40000000");
    assert_eq!((pong.encode(), Pong::parse(&raw)), (raw, Ok(pong)));

    let query = Query::words("blue moon");
    let raw = [&hex("8000")[..], b"blue moon\0"].concat();
    assert_eq!((query.encode(), Query::parse(&raw)), (raw, Ok(query)));
    // The index query, and the old minimum speed that is no flag.
    assert_eq!(Query::parse(b"\x80\0    \0").unwrap().text, "    ");
    assert_eq!(Query::parse(b"\x40\x01x\0").unwrap().flags, 0);
    assert_eq!(Query::parse(b"\xc0\x0ax\0").unwrap().hits_max(), 10);

    let push = Push { target: GUID, index: 7, addr: addr("10.0.0.1:6347"), ggep: Ggep::new() };
    let raw = hex("0102030405060708ff0a0b0c0d0e0f00 07000000 0a000001 cb18");
    assert_eq!((push.encode(), Push::parse(&raw)), (raw, Ok(push)));

    let bye = Bye { code: 203, reason: "Becoming a leaf node".into() };
    let raw = [&hex("cb00")[..], b"Becoming a leaf node\0"].concat();
    assert_eq!((bye.encode(), Bye::parse(&raw)), (raw, Ok(bye)));
    let long = Bye::parse(b"\xf5\x01Desync\r\nServer: x\r\n\r\n\0").unwrap();
    assert_eq!(long, Bye { code: 501, reason: "Desync".into() });
}

/// As gtk-gnutella writes them: the record with a SHA-1 and a block, the vendor with its two bytes of state.
#[test]
fn a_hit_of_gtk_gnutella() {
    let sha1 = [7; 20];
    let urn = Urn::Sha1(sha1).to_string();
    let mut raw = hex("01 ca18 0a000001 e8030000 01000000 39300000");
    raw.extend_from_slice(b"some name.mp3\0");
    raw.extend_from_slice(urn.as_bytes());
    raw.extend_from_slice(&hex("1c c3 02 5454 58"));
    raw.extend_from_slice(&[9; 24]);
    raw.extend_from_slice(&hex("82 4354 44 01020304 00"));
    raw.extend_from_slice(b"GTKG\x02\x2c\x21");
    raw.extend_from_slice(&hex("c3 83 544c53 40"));
    raw.extend_from_slice(&GUID.0);
    let read = QueryHit::parse(&raw).unwrap();
    let hit = &read.hits[0];
    assert_eq!((hit.index, hit.size, hit.name.as_str()), (1, 12_345, "some name.mp3"));
    assert_eq!(hit.extensions.sha1(), Some(sha1));
    assert_eq!(hit.extensions.ggep.get("TT").unwrap()[..], [9; 24]);
    assert_eq!(hit.extensions.ggep.get("CT").unwrap()[..], [1, 2, 3, 4]);
    let trailer = read.trailer.as_ref().unwrap();
    assert_eq!((&trailer.vendor, trailer.push), (b"GTKG", Some(false)));
    assert_eq!((trailer.busy, trailer.uploaded), (Some(false), Some(false)));
    assert_eq!((trailer.measured, read.servent), (None, GUID));
    assert_eq!(trailer.ggep.get("TLS").unwrap().len(), 0);
    assert_eq!(read.encode(), raw);
}

#[test]
fn a_hit_with_an_info_hash_and_more_than_four_gigabytes() {
    let info = InfoHash([3; 20]);
    let urns = vec![Urn::Sha1([1; 20]), Urn::Btih(info)];
    let ggep = Ggep::new().with("BT", [&info.0[..], &hex("05000000 e11a")].concat());
    let extensions = Extensions { urns, ggep };
    let hit = Hit { index: 1, size: 1 << 33, name: "big".into(), extensions };
    let sent = QueryHit {
        addr: addr("10.0.0.1:6346"),
        speed: 1,
        hits: vec![hit],
        trailer: None,
        servent: GUID,
    };
    let raw = sent.encode();
    assert_eq!(raw[15..19], [0xff; 4]);
    let area = &raw[19 + 4..raw.len() - 16];
    assert_eq!(area.iter().filter(|&&byte| byte == 0).count(), 1, "one NUL, at the end");
    assert_eq!(QueryHit::parse(&raw), Ok(sent));
    // A hit that claims more files than it has.
    let mut raw = raw;
    raw[0] = 2;
    assert!(QueryHit::parse(&raw).is_err());
}

#[test]
fn the_push_bit_is_the_other_way_round() {
    let trailer =
        |push, measured| Trailer { vendor: *b"GGLE", push, measured, ..Trailer::default() };
    for (push, measured, a, b) in [
        (Some(true), None, 0x01, 0x01),
        (Some(false), None, 0x00, 0x01),
        (None, Some(true), 0x10, 0x10),
        (None, Some(false), 0x10, 0x00),
    ] {
        let hit = QueryHit {
            addr: addr("1.1.1.1:1"),
            speed: 0,
            hits: Vec::new(),
            trailer: Some(trailer(push, measured)),
            servent: GUID,
        };
        let raw = hit.encode();
        assert_eq!(raw[11..18], *b"GGLE\x02".iter().copied().chain([a, b]).collect::<Vec<_>>());
        assert_eq!(QueryHit::parse(&raw), Ok(hit));
    }
}

#[test]
fn hashes_of_words() {
    for (word, bits, slot) in [
        ("eb", 13, 6791),
        ("ebcklmenq", 13, 3527),
        ("n", 16, 65_003),
        ("ndflaleme", 16, 45_559),
        ("zzzzzzzzzzz", 10, 944),
        ("test", 3, 2),
    ] {
        assert_eq!(word_slot(word.as_bytes(), bits), slot, "{word}");
    }
}

#[test]
fn routing_tables_of_the_sheet() {
    #[track_caller]
    fn both(raw: &str, want: &Qrp) {
        let raw = Bytes::from(hex(raw));
        assert_eq!(Qrp::parse(&raw).as_ref(), Ok(want));
        assert_eq!(want.encode(), raw);
    }
    let patch = |compressor, bits, data: &str| Qrp::Patch {
        seq: 1,
        total: 1,
        compressor,
        bits,
        data: hex(data).into(),
    };
    both("00 08000000 07", &Qrp::Reset { slots: 8, infinity: 7 });
    both("00 00400000 02", &Qrp::Reset { slots: 16_384, infinity: 2 });
    both("01 01 01 00 08 00 00 fa 00 00 00 00 00", &patch(Compressor::None, 8, "0000fa0000000000"));
    both("01 01 01 00 04 00 a0 00 00", &patch(Compressor::None, 4, "00a00000"));
    let packed = "789c6358c0c0000001e400a1";
    both("01 01 01 01 04 789c6358c0c0000001e400a1", &patch(Compressor::Zlib, 4, packed));
    assert_eq!(inflate(&hex(packed), 4), Some(hex("00a00000")));
    assert_eq!(inflate(&hex(packed), 3), None);
    for bad in [
        "00 07000000 07",
        "00 00004000 02",
        "00 08000000 00",
        "01 02 01 00 04",
        "01 00 01 00 04",
        "01 01 01 02 04",
        "01 01 01 00 03",
        "02",
        "",
    ] {
        assert!(Qrp::parse(&hex(bad).into()).is_err(), "{bad}");
    }
}

#[test]
fn ggep_lengths_and_packing() {
    let block = |len: usize| {
        let mut out = Vec::new();
        Ggep::new().with("X", vec![1; len]).encode_into(false, &mut out);
        out[3..out.len() - len].to_vec()
    };
    assert_eq!(block(0), [0x40]);
    assert_eq!(block(63), [0x7f]);
    assert_eq!(block(64), [0x81, 0x40]);
    assert_eq!(block(4095), [0xbf, 0x7f]);
    assert_eq!(block(4096), [0x81, 0x80, 0x40]);
    // Deflated and then COBS, as only others write it.
    let deflated = hex("789c 6358 c0c0 0000 01e4 00a1");
    let runs = deflated.split(|&byte| byte == 0);
    let cobs: Vec<u8> = runs.flat_map(|run| [&[run.len() as u8 + 1][..], run].concat()).collect();
    let raw = [&[0xc3, 0xe1, b'Z', 0x40 | cobs.len() as u8][..], &cobs].concat();
    let (read, used) = Ggep::parse(&raw).unwrap();
    assert_eq!((read.get("Z").unwrap()[..].to_vec(), used), (hex("00a00000"), raw.len()));
}

#[test]
fn hostile_ggep() {
    let item = |flags: u8| [flags, b'X', 0x40];
    let many = |count: usize| [&[0xc3][..], &item(1).repeat(count - 1), &item(0x81)].concat();
    assert!(Ggep::parse(&many(32)).is_ok());
    assert!(Ggep::parse(&many(33)).is_err());
    for bad in [
        "c3",
        "c380 40",
        "c391 58 40",
        "c381 58 80",
        "c381 58 81818140",
        "c381 58 c0",
        "c381 58 41",
    ] {
        assert!(Ggep::parse(&hex(bad)).is_err(), "{bad}");
    }
    // A mebibyte in one KiB: the item counts as absent.
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 1 << 20], 9);
    let len = [0x80 | (bomb.len() >> 6) as u8, 0x40 | (bomb.len() & 0x3f) as u8];
    let raw = [&[0xc3, 0xa1, b'X'][..], &len, &bomb].concat();
    let (read, used) = Ggep::parse(&raw).unwrap();
    assert!(read.is_empty() && used == raw.len());
}

#[test]
fn names_of_content() {
    let sha1 = *b"abcdefghij0123456789";
    let base32 = data_encoding::BASE32_NOPAD.encode(&sha1);
    #[track_caller]
    fn check(text: &str, want: impl Into<Option<Urn>>) {
        assert_eq!(Urn::parse(text.as_bytes()), want.into(), "{text}");
    }
    check(&format!("urn:sha1:{base32}"), Some(Urn::Sha1(sha1)));
    check(&format!("URN:SHA1:{}", base32.to_lowercase()), Some(Urn::Sha1(sha1)));
    check(&format!("urn:bitprint:{base32}.{}", "A".repeat(39)), Some(Urn::Sha1(sha1)));
    check(&format!("urn:btih:{base32}"), Some(Urn::Btih(InfoHash(sha1))));
    check(&format!("urn:btih:{}", InfoHash(sha1)), Some(Urn::Btih(InfoHash(sha1))));
    check("urn:", Some(Urn::Wanted(String::new())));
    check("urn:sha1:", Some(Urn::Wanted("sha1".into())));
    check("urn:ed2khash:00", Some(Urn::Other("urn:ed2khash:00".into())));
    check("urn:sha1:ABC", None);
    check(&format!("urn:sha1:{}", "0".repeat(32)), None);
    check("urn", None);
    check("<xml>", None);
    check(&format!("urn:x:{}", "y".repeat(300)), None);
}

#[test]
fn extension_areas_skip_what_nobody_knows() {
    let sha1 = Urn::Sha1([5; 20]);
    let mut area = b"<audio/>\x1c{x}\x1c".to_vec();
    area.extend_from_slice(sha1.to_string().as_bytes());
    area.push(0x1c);
    Ggep::new()
        .with("u", format!("btih:{}", "A".repeat(32)))
        .with("H", [&[1][..], &[6; 20]].concat())
        .encode_into(true, &mut area);
    let query = [&b"\x80\0\\\0"[..], &area].concat();
    let read = Query::parse(&query).unwrap().extensions.urns;
    assert_eq!(read, [sha1, Urn::Btih(InfoHash([0; 20])), Urn::Sha1([6; 20])]);
    let flood = [&b"\x80\0x\0"[..], &b"urn:a:b\x1c".repeat(100)].concat();
    assert_eq!(Query::parse(&flood).unwrap().extensions.urns.len(), 1);
}

#[test]
fn handshakes_of_the_sheet() {
    #[track_caller]
    fn both(raw: &[u8], want: &Handshake) {
        let mut raw = stream(raw);
        assert_eq!(want.encode(), raw);
        assert_eq!(Handshake::decode(&mut raw).unwrap().as_ref(), Some(want));
        assert!(raw.is_empty());
    }
    both(b"GNUTELLA CONNECT/0.4\n\n", &Handshake::new(First::Connect04));
    both(b"GNUTELLA OK\n\n", &Handshake::new(First::Ok04));
    both(
        b"GNUTELLA CONNECT/0.6\r\nUser-Agent: x/1\r\nX-Ultrapeer: True\r\n\r\n",
        &Handshake::new(First::Connect06).with("User-Agent", "x/1").with("X-Ultrapeer", "True"),
    );
    both(b"GNUTELLA/0.6 200 OK\r\n\r\n", &Handshake::new(First::Status(200, "OK".into())));
    both(
        b"GNUTELLA/0.6 403 Gnet connection not compressed\r\n\r\n",
        &Handshake::new(First::Status(403, "Gnet connection not compressed".into())),
    );
}

#[test]
fn handshake_lines_of_others() {
    let mut raw = stream(
        b"GNUTELLA/0.6 503 Full\nx-try: 1.2.3.4:5,\n 2.3.4.5:6\nX-TRY: 3.4.5.6:7\nx-ultrapeer: tRUE\n\n\xe3",
    );
    let read = Handshake::decode(&mut raw).unwrap().unwrap();
    assert_eq!(read.first, First::Status(503, "Full".into()));
    assert_eq!(read.list("X-Try").collect::<Vec<_>>(), ["1.2.3.4:5", "2.3.4.5:6", "3.4.5.6:7"]);
    assert_eq!(read.flag("X-Ultrapeer"), Some(true));
    assert_eq!(raw, b"\xe3"[..], "what follows stays");
    for (bad, length) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), false),
        (b"GNUTELLA CONNECT/0.5\r\n\r\n".to_vec(), false),
        (b"GNUTELLA/0.6 2000 OK\r\n\r\n".to_vec(), false),
        (b"GNUTELLA/0.6 200 OK\r\nno colon\r\n\r\n".to_vec(), false),
        (b"GNUTELLA/0.6 200 OK\r\n continued\r\n\r\n".to_vec(), false),
        ([&b"GNUTELLA CONNECT/0.6\r\n"[..], &b"a: b\r\n".repeat(1000)].concat(), true),
    ] {
        let got = Handshake::decode(&mut stream(&bad)).unwrap_err();
        assert_eq!(matches!(got, GnutellaError::HandshakeLength { .. }), length, "{got}");
    }
    let names: String = (0..65).map(|nth| format!("h{nth}: v\r\n")).collect();
    let raw = format!("GNUTELLA CONNECT/0.6\r\n{names}\r\n");
    assert_eq!(Handshake::decode(&mut stream(raw.as_bytes())), Err(GnutellaError::Handshake));
}

#[test]
fn the_line_after_a_push() {
    let raw = b"GIV 1:3a3f31028777103c5ecc35d7b7f1f732/file\n\n";
    let mut read = stream(raw);
    let giv = Giv::decode(&mut read).unwrap().unwrap();
    assert_eq!((giv.index, giv.name.as_str()), (1, "file"));
    assert_eq!(giv.servent.to_string(), "3a3f31028777103c5ecc35d7b7f1f732");
    assert_eq!(giv.encode(), raw);
    assert_eq!(Giv::decode(&mut stream(b"GIV 1:3a")), Ok(None));
    for bad in [
        &b"GIV x:3a3f31028777103c5ecc35d7b7f1f732/f\n\n"[..],
        b"GIV 1:3a/f\n\n",
        b"GIVE",
        &b"GIV 1:".repeat(500),
    ] {
        assert!(Giv::decode(&mut stream(bad)).is_err());
    }
}

#[test]
fn vendor_messages_of_the_sheet() {
    #[track_caller]
    fn both(raw: &[u8], want: &Vendor) {
        assert_eq!(Vendor::parse(&Bytes::copy_from_slice(raw)).as_ref(), Ok(want));
        assert_eq!(want.encode(), raw);
    }
    both(b"BEAR\x04\0\x01\0\x05", &Vendor::HopsFlow(5));
    both(b"BEAR\x07\0\x01\0\xca\x18", &Vendor::ConnectBack(6346));
    both(b"BEAR\x0b\0\x01\0", &Vendor::HowMany);
    both(b"BEAR\x0c\0\x01\0\xff\xff", &Vendor::Kept(Vendor::STOP));
    both(b"LIME\x15\0\x02\0", &Vendor::ProxyPlease);
    both(b"LIME\x16\0\x02\0\x0a\0\0\x01\xca\x18", &Vendor::ProxyIs(addr("10.0.0.1:6346")));
    both(b"\0\0\0\0\0\0\0\0\x01\0BEAR\x04\0\x01\0", &Vendor::Supported(vec![(*b"BEAR", 4, 1)]));
    assert!(Vendor::parse(&Bytes::from_static(b"BEAR\x04\0\x01\0")).is_err());
}

fn any_guid() -> impl Strategy<Value = Guid> {
    any::<[u8; 16]>().prop_map(Guid)
}

fn any_addr() -> impl Strategy<Value = SocketAddrV4> {
    any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddrV4::new(ip.into(), port))
}

/// Items that mean nothing to the extension area itself.
fn any_ggep() -> impl Strategy<Value = Ggep> {
    vec(("[A-Z]{3,15}", vec(any::<u8>(), 0..600)), 0..4).prop_map(|items| {
        items.into_iter().fold(Ggep::new(), |ggep, (id, data)| ggep.with(&id, data))
    })
}

fn any_urn() -> impl Strategy<Value = Urn> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(Urn::Sha1),
        any::<[u8; 20]>().prop_map(|hash| Urn::Btih(InfoHash(hash))),
        Just(Urn::Wanted("sha1".into())),
        "[a-z0-9]{1,30}".prop_map(|value| Urn::Other(format!("urn:md5:{value}"))),
    ]
}

fn any_extensions() -> impl Strategy<Value = Extensions> {
    (vec(any_urn(), 0..4), any_ggep()).prop_map(|(mut urns, ggep)| {
        urns.sort();
        urns.dedup();
        Extensions { urns, ggep }
    })
}

prop_compose! {
    fn any_hit()(index: u32, size: u64, name in "[^\0]{0,40}", extensions in any_extensions()) -> Hit {
        Hit { index, size, name, extensions }
    }
}

prop_compose! {
    fn any_query_hit()(
        addr in any_addr(), speed: u32, hits in vec(any_hit(), 0..5), servent in any_guid(),
        trailer in option::of((any::<[u8; 4]>(), option::of(any::<bool>()), option::of(any::<bool>()),
                               option::of(any::<bool>()), option::of(any::<bool>()), any_ggep())),
    ) -> QueryHit {
        let trailer = trailer.map(|(vendor, push, busy, uploaded, measured, ggep)| {
            Trailer { vendor, push, busy, uploaded, measured, ggep }
        });
        QueryHit { addr, speed, hits, trailer, servent }
    }
}

proptest! {
    #[test]
    fn messages_round_trip(
        addr in any_addr(), target in any_guid(), index: u32, files: u32, kbytes: u32, ggep in any_ggep(),
        text in "[^\0]{0,60}", extensions in any_extensions(), hit in any_query_hit(),
    ) {
        let pong = Pong { addr, files, kbytes, ggep: ggep.clone() };
        prop_assert_eq!(Pong::parse(&pong.encode()), Ok(pong));
        let push = Push { target, index, addr, ggep: ggep.clone() };
        prop_assert_eq!(Push::parse(&push.encode()), Ok(push));
        let ping = Ping { ggep };
        prop_assert_eq!(Ping::parse(&ping.encode()), ping);
        let query = Query { flags: Query::FLAGS | 3, text, extensions };
        prop_assert_eq!(Query::parse(&query.encode()), Ok(query));
        prop_assert_eq!(QueryHit::parse(&hit.encode()), Ok(hit));
    }

    #[test]
    fn where_reads_split_is_invisible(
        sent in vec((any_guid(), any::<(u8, u8)>(), vec(any::<u8>(), 0..300)), 1..8), cuts in vec(1usize..50, 1..20),
    ) {
        let sent: Vec<_> = sent.into_iter().map(|(guid, (kind, ttl), payload)| {
            Descriptor::new(guid, Kind(kind), ttl, payload)
        }).collect();
        let wire: Vec<u8> = sent.iter().flat_map(Descriptor::encode).collect();
        let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
        let mut cuts = cuts.iter().cycle();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            buffer.extend_from_slice(now);
            rest = later;
            while let Some(one) = Descriptor::decode(&mut buffer).unwrap() {
                got.push(one);
            }
        }
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn hostile_bytes_never_panic(raw in vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::copy_from_slice(&raw);
        let _ = Descriptor::decode(&mut stream(&raw));
        let _ = Handshake::decode(&mut stream(&raw));
        let _ = (Ping::parse(&raw), Pong::parse(&raw), Push::parse(&raw), Bye::parse(&raw));
        let _ = (Query::parse(&raw), QueryHit::parse(&raw), Qrp::parse(&bytes), Vendor::parse(&bytes));
        let _ = Ggep::parse(&[&[0xc3], &raw[..]].concat());
    }

    #[test]
    fn a_changed_hit_is_read_or_refused(hit in any_query_hit(), at in any::<prop::sample::Index>(), to: u8) {
        let mut raw = hit.encode();
        let at = at.index(raw.len());
        raw[at] = to;
        if let Ok(read) = QueryHit::parse(&raw) {
            let written = read.encode();
            prop_assert_eq!(QueryHit::parse(&written).map(|read| read.encode()), Ok(written));
        }
    }
}
