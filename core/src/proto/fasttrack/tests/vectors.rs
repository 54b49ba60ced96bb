//! Bytes that were published or seen on the wire, one by one.

use super::*;
use bytes::BytesMut;

fn stream(seed: u32, len: usize) -> (usize, Vec<u8>) {
    let mut stream = KeyStream::new(seed);
    let pos = stream.pos();
    let mut bytes = vec![0; len];
    stream.apply(&mut bytes);
    (pos, bytes)
}

#[test]
fn key_streams() {
    for (seed, pos, first, last) in [
        (
            0x1234_5678,
            9,
            "32752834a02b082ff66f4f0a7c3a63d348cbc8a5fcaf96c5e8e6755b92d76ab9",
            "94b4295a1e4f8e5a77a806878df28f89",
        ),
        (
            0xfacb_1238,
            32,
            "308d04bffc3ebd213c2953fe6797a615ec52238c5d8e2160870c836c8d2e9766",
            "ac162653ac69a3c8ac29f2a14bf3a03c",
        ),
    ] {
        let (began, bytes) = stream(seed, 4096);
        assert_eq!(began, pos);
        assert_eq!(bytes[..32], hex(first));
        assert_eq!(bytes[4080..], hex(last));
    }
}

#[test]
fn key_streams_of_a_handshake() {
    for (seed, pos, name) in
        [(0x5357_4152, 12, "b370bad202b6"), (0xfacb_1238 ^ 0x5357_4152, 55, "1fa875a5eed1")]
    {
        let mut stream = KeyStream::new(seed);
        assert_eq!(stream.pos(), pos);
        let mut bytes = *b"KaZaA\0";
        stream.apply(&mut bytes);
        assert_eq!(bytes[..], hex(name));
    }
    assert_eq!(0xfacb_1238_u32 ^ 0x5357_4152, 0xa99c_536a);
}

#[test]
fn masks_of_seeds() {
    let table = "facb1238:3209d21b 53574152:a8117710 12345678:0a560342 deadbeef:4c000410 00000000:48a00a33 \
                 00000001:0a24408d 53570000:000a0002 53570101:83301108 53570202:50080510 53570303:08810390 \
                 53570404:1008c118 53570505:068f9612 53570606:029a8adc 53570707:00004002 53570808:1496268d \
                 53570909:fb113a40 53570a0a:62786dde 53570b0b:00083002 53570c0c:00400400 53570d0d:07008040 \
                 53570e0e:10001004 53570f0f:2af929e2";
    let number = |text| u32::from_str_radix(text, 16).unwrap();
    let pairs = table.split_whitespace().map(|pair| pair.split_once(':').unwrap());
    let pairs: Vec<_> = pairs.map(|(seed, mask)| (number(seed), number(mask))).collect();
    assert_eq!(pairs, SEEDS);
    assert_eq!(mask_of(0x5357_0e0e), Some(0x1000_1004));
    assert_eq!(mask_of(0x5357_0e0f), None);
}

#[test]
fn first_words() {
    let legacy = hex("fa00b62b facb1238 3209d232");
    let hello = Hello::parse(legacy.as_slice().try_into().unwrap()).unwrap();
    assert_eq!((hello.random, hello.seed), (0xfa00_b62b, 0xfacb_1238));
    assert_eq!(hello.masked_type ^ mask_of(hello.seed).unwrap(), 0x29);
    assert_eq!(hello.encode(), legacy);
    assert_eq!(Answer::ours(1).encode(), hex("53574152 a8117711"));
    for nth in 0..SEEDS.len() {
        assert_eq!(Answer::ours(nth).check(), Ok(()));
        let ours = Hello::ours(7, nth);
        assert_eq!(ours.masked_type ^ mask_of(ours.seed).unwrap(), PLAIN_TYPE);
    }
    let other = Answer { seed: 0x5357_4152, masked_type: 0xa811_7710 ^ 0x29 };
    assert_eq!(other.check(), Err(WireError::Cipher(0x29)));
    assert!(Answer { seed: 0x5357_4152, masked_type: 0xa811_7710 }.check().is_ok(), "type 0");
    assert!(Answer { seed: 2, masked_type: 0 }.check().is_ok(), "its name will tell");
    assert!(is_network(b"kazaa") && is_network(b"GROKSTER") && is_network(b"fileshare"));
    assert!(!is_network(b"kaza") && !is_network(b""));
}

/// The whole handshake of a client of old with a supernode of ours, byte by byte.
#[test]
fn a_legacy_client_logs_in() {
    let mut supernode = Session::supernode(Answer::ours(1));
    assert_eq!(supernode.poll_transmit(), None);
    supernode.handle_bytes(&hex("fa00b62b facb1238 3209d232")).unwrap();
    // It says all it has to say at once, waiting for nothing.
    assert_eq!(supernode.poll_transmit(), Some(hex("53574152 a8117711 b370bad202b6")));
    assert!(!supernode.is_open());
    supernode.handle_bytes(&hex("1fa875a5eed1")).unwrap();
    assert!(supernode.is_open());
}

#[test]
fn a_client_of_ours_logs_in_and_gives_up_on_another_cipher() {
    let hello = Hello { random: 0xfa00_b62b, seed: 0xfacb_1238, masked_type: 0x3209_d232 };
    let mut node = Session::node(hello);
    assert_eq!(node.poll_transmit(), Some(hex("fa00b62b facb1238 3209d232")));
    node.handle_bytes(&hex("53574152 a8117711")).unwrap();
    // The name follows the answer at once.
    assert_eq!(node.poll_transmit(), Some(hex("1fa875a5eed1")));
    node.handle_bytes(&hex("b370bad202b6")).unwrap();
    assert!(node.is_open());

    let mut other = Session::node(hello);
    let refused = other.handle_bytes(&hex("53574152 a8117739"));
    assert_eq!(refused, Err(WireError::Cipher(0x29)));
    // Of a seed that nobody knows the name tells.
    let mut unknown = Session::node(hello);
    unknown.handle_bytes(&hex("00000002 12345678")).unwrap();
    let mut name = *b"kazaa\0";
    KeyStream::new(2).apply(&mut name);
    unknown.handle_bytes(&name).unwrap();
    assert!(unknown.is_open());
    let mut unknown = Session::node(hello);
    unknown.handle_bytes(&hex("00000002 12345678")).unwrap();
    assert_eq!(unknown.handle_bytes(&[0xff; 40]), Err(WireError::Network));
}

#[test]
fn headers_are_shuffled_by_a_running_state() {
    let mut encoder = Encoder::default();
    let mut sent = Vec::new();
    for (kind, len, header, state) in [
        (0x02, 14, "4b 02 00 00 0e", 0xffff_ffbe),
        (0x22, 53, "4b 00 00 22 35", 0x0000_0016),
        (0x06, 19, "4b 00 00 06 13", 0xffff_fff0),
    ] {
        let begin = sent.len();
        let payload = vec![b'x'; len].into();
        encoder.push(&Frame::Packet(Packet { kind, payload }), &mut sent);
        encoder.push(&Frame::Ping, &mut sent);
        assert_eq!(sent[begin..begin + 5], hex(header));
        assert_eq!(encoder.state(), state);
    }
    let (mut decoder, mut buf) = (Decoder::default(), BytesMut::from(&sent[..]));
    for (kind, len) in [(0x02, 14), (0x22, 53), (0x06, 19)] {
        let Ok(Some(Frame::Packet(packet))) = decoder.next(&mut buf) else { panic!("a packet") };
        assert_eq!((packet.kind, packet.payload.len()), (kind, len));
        assert_eq!(decoder.next(&mut buf), Ok(Some(Frame::Ping)));
    }
    assert_eq!(decoder.next(&mut buf), Ok(None));
}

#[test]
fn queries_of_clients() {
    let gift = hex("0001 03e8 0000 01 bf 01 05 00 07 7061796c6f6164");
    let query = Query::parse(&gift).unwrap();
    assert_eq!(query, Query::words(0, 1000, "payload"));
    assert_eq!(query.encode(), gift);
    assert_eq!(query.realm.media(), None);

    let mldonkey = hex("0001 0020 0000 01 3f 01 05 00 07 7061796c6f6164");
    let query = Query::parse(&mldonkey).unwrap();
    assert_eq!((query.max, query.realm.media()), (32, None));
    assert_eq!(query.encode(), mldonkey);
    for (audio, video) in [(0xa1, 0xa2), (0x21, 0x22)] {
        assert_eq!((Realm(audio).media(), Realm(video).media()), (Some(1), Some(2)));
    }

    let hash = "422922672fb7e75cfdcf2d8921a696a2ff4ffbff";
    let search = hex(&format!("0001 0020 0007 01 3f 02 00 03 14 {hash} 06 1f 01 02"));
    let query = Query::parse(&search).unwrap();
    let wanted = Query::hash(7, 32, UuHash::from_hex(hash).unwrap());
    assert_eq!(query.terms[0], wanted.terms[0]);
    assert_eq!(query.terms[1].compare, Compare::Other(6));
    assert_eq!(query.encode(), search);
    // The extra term is there even when it is not counted.
    let uncounted = hex(&format!("0001 0020 0007 01 3f 01 00 03 14 {hash} 06 1f 01 02"));
    assert_eq!(Query::parse(&uncounted).unwrap().terms, wanted.terms);
}

/// One payload of each kind, written by hand from the layout of the kinds.
#[test]
fn payloads() {
    #[track_caller]
    fn both_ways(from: From, kind: u16, payload: &str, want: &Message) {
        let packet = Packet { kind, payload: hex(payload).into() };
        assert_eq!(Message::parse(from, &packet).as_ref(), Ok(want));
        assert_eq!(want.encode(), packet);
    }
    let sn = addr("5.6.7.8:1214");
    let row = NodeRow { addr: sn, seen_min: 3, load: 40 };
    both_ways(From::Supernode, 0x00, "05060708 04be 03 28", &Message::Nodes(vec![row]));
    let info = NodeInfo { addr: addr("1.2.3.4:1214"), bandwidth: 0x60, user: "giFTed".into() };
    both_ways(From::Node, 0x02, "01020304 04be 60 00 676946546564", &Message::NodeInfo(info));
    both_ways(From::Supernode, 0x03, "", &Message::ShareNow);
    let file = song("a.mp3");
    let hash = "000102030405060708090a0b0c0d0e0f10111213";
    let id = {
        let mut id = Vec::new();
        reader::push_packed(&mut id, file.file_id);
        id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    // 4 000 000 and 245 in groups of seven bits.
    let body = format!("{hash} {id} 81f49200 02 02 05 612e6d7033 05 02 8175");
    both_ways(From::Node, 0x05, &body, &Message::Unshare(file.clone()));
    let share = Share { media: 1, file: file.clone() };
    both_ways(From::Node, 0x22, &format!("00 01 00 00 {body}"), &Message::Share(share));
    let reply = Reply {
        supernode: sn,
        id: 9,
        hits: vec![hit("1.2.3.4:1214", "ann", "a.mp3"), hit("1.2.3.4:1214", "ann", "a.mp3")],
    };
    both_ways(
        From::Supernode,
        0x07,
        &format!(
            "05060708 04be 0009 0002 01020304 04be 68 616e6e 01 4b615a6141 00 {body} \
             01020304 04be 68 02 {body}"
        ),
        &Message::Reply(reply),
    );
    both_ways(From::Supernode, 0x08, "0009", &Message::QueryEnd(9));
    let volume = Volume { files: 7, mantissa: 3, exponent: 31 };
    let stats = Stats { users: 2, all: volume, media: [volume; 6] };
    let volumes = "00000007 0003 001f".repeat(7);
    both_ways(From::Supernode, 0x09, &format!("00000002 {volumes}"), &Message::Stats(stats));
    let request = PushRequest {
        id: 0x0102_0304,
        to: addr("1.1.1.1:11"),
        source: addr("10.0.0.2:22"),
        supernode: sn,
        user: "bob".into(),
    };
    let wanted = "01020304 01010101 000b 0a000002 0016 05060708 04be 626f62";
    both_ways(From::Node, 0x0d, wanted, &Message::PushRequest(request));
    let order = PushOrder { id: 0x0102_0304, to: addr("1.1.1.1:11") };
    both_ways(From::Supernode, 0x0d, "01020304 01010101 000b", &Message::PushOrder(order));
    for from in [From::Node, From::Supernode] {
        both_ways(from, 0x15, "05060708 04be", &Message::PingMe(sn));
        both_ways(from, 0x1d, "4b615a6141", &Message::Network("KaZaA".into()));
        both_ways(from, 0x1e, "01020304", &Message::Echo([1, 2, 3, 4]));
        both_ways(from, 0x26, "00000022", &Message::Version(0x22));
    }
    both_ways(From::Supernode, 0x2c, "01020304", &Message::ExternalIp([1, 2, 3, 4].into()));
    for ignored in [0x01, 0x0a, 0x0b, 0x1f, 0x20, 0x21, 0x23, 0x24, 0x2b, 0x8000, 0xc000] {
        let packet = Packet { kind: ignored, payload: hex("00").into() };
        let read = Message::parse(From::Supernode, &packet);
        assert_eq!(read, Ok(Message::Unknown(ignored)));
    }
}

#[test]
fn datagrams() {
    let network = NETWORK.to_owned();
    let ping = Datagram::Ping { network: network.clone() };
    assert_eq!(ping.encode(), hex("27 000000a9 80 4b615a6141 00"));
    let pong = Datagram::Pong { children: 7, load: 50, network };
    assert_eq!(pong.encode(), hex("28 000000a9 00 00 00 07 32 00 4b615a6141 00"));
    for datagram in [ping, pong, Datagram::Full, Datagram::Knock] {
        assert_eq!(Datagram::parse(&datagram.encode()), Ok(datagram));
    }
    assert!(Datagram::parse(b"").is_err() && Datagram::parse(&[0x28; 3]).is_err());
}

#[test]
fn hashes_of_files() {
    let content: Vec<u8> = (0..3_000_000u64).map(|i| (i * i * 31 + i / 7) as u8).collect();
    for (len, uu, file_id, tree) in [
        (0, "d41d8cd98f00b204e9800998ecf8427effffffff", 10881, "d41d8cd98f00b204e9800998ecf8427e"),
        (1, "93b885adfe0da089cdf634904fd59f71feffffff", 10456, "7e4696ef25d5faececd853ce5e2a233b"),
        (
            307_200,
            "422922672fb7e75cfdcf2d8921a696a2ff4ffbff",
            14305,
            "b255670047d38174d47080f78f7a703a",
        ),
        (
            307_201,
            "422922672fb7e75cfdcf2d8921a696a296bdfa1e",
            3656,
            "baa0ac89e0a398bafb0c76776eda966c",
        ),
        (
            700_000,
            "422922672fb7e75cfdcf2d8921a696a2aac24c41",
            1563,
            "ab24dcc9c1a0311be809d01ab0555503",
        ),
        (
            1_355_776,
            "422922672fb7e75cfdcf2d8921a696a2bdaee0ea",
            15881,
            "5595ef28a9d3429db8de374b520bc31c",
        ),
        (
            1_355_777,
            "422922672fb7e75cfdcf2d8921a696a2b5440513",
            3403,
            "815b5ff387146de49dea1f507b5b6776",
        ),
        (
            3_000_000,
            "422922672fb7e75cfdcf2d8921a696a2db209755",
            10211,
            "f0a967be95c385fb134179118d89abf1",
        ),
    ] {
        for step in [len.max(1), 65_536, 9_999] {
            let mut hasher = FileHasher::new(len as u64);
            content[..len].chunks(step).for_each(|part| hasher.update(part));
            let hash = hasher.finish().unwrap();
            assert_eq!(hash.to_string(), format!("{uu}{tree}"), "{len} by {step}");
            assert_eq!(hash.uu.file_id(), file_id);
        }
    }
    let mut short = FileHasher::new(10);
    short.update(b"123456789");
    assert_eq!(short.finish(), None);
}

#[test]
fn texts_of_a_hash() {
    let hash = UuHash::from_hex("422922672fb7e75cfdcf2d8921a696a2aac24c41").unwrap();
    let text = hash.to_base64();
    assert_eq!(text, "=QikiZy+351z9zy2JIaaWoqrCTEE=");
    assert_eq!(text.len(), 29);
    assert_eq!(UuHash::from_base64(&text), Some(hash));
    assert_eq!(UuHash::from_base64(&format!("={text}")), Some(hash));
    assert_eq!(UuHash::from_base64("=AAAA"), None);
    assert_eq!(UuHash::from_hex("4229"), None);
    // What mldonkey publishes of the same file.
    let loose = UuHash::from_hex("422922672fb7e75cfdcf2d8921a696a2ff4ffbff").unwrap();
    assert!(hash.may_be(&loose) && hash != loose);
}

#[test]
fn a_torrent_is_carried_by_keywords() {
    let torrent = crate::id::InfoHash([0xab; 20]);
    let tags = Tags::default().with(tag_kind::KEYWORDS, "live 1999").with_torrent(torrent);
    let want = format!("live 1999 btih:{torrent}");
    assert_eq!(tags.of(tag_kind::KEYWORDS), Some(want.as_bytes()));
    assert_eq!(tags.torrent(), Some(torrent));
    assert_eq!(Tags::default().with(tag_kind::INFO_HASH, [0xab; 20]).torrent(), Some(torrent));
    assert_eq!(Tags::default().with(tag_kind::KEYWORDS, "btih:abc").torrent(), None);
}
