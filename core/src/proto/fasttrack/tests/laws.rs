//! Laws for any message and any bytes.

use super::*;
use bytes::BytesMut;
use mesh::{Guid, MESSAGE_MAX, MeshMessage, TTL_MAX};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_addr() -> impl Strategy<Value = std::net::SocketAddrV4> {
    any::<([u8; 4], u16)>().prop_map(|(ip, port)| std::net::SocketAddrV4::new(ip.into(), port))
}

fn any_name() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{0,12}"
}

fn any_file() -> impl Strategy<Value = File> {
    let tags = vec((any::<u32>(), vec(any::<u8>(), 0..40)), 0..6);
    (any::<[u8; 20]>(), any::<u64>(), any::<u64>(), tags).prop_map(|(hash, file_id, size, tags)| {
        let with = |tags: Tags, (kind, value): (u32, Vec<u8>)| tags.with(kind, value);
        let tags = tags.into_iter().fold(Tags::default(), with);
        File { hash: UuHash(hash), file_id, size, tags }
    })
}

fn any_hit() -> impl Strategy<Value = Hit> {
    // Few addresses and users, so that some come twice.
    let addr = (0u8..3).prop_map(|n| std::net::SocketAddrV4::new([9, 9, 9, n].into(), 1214));
    (addr, any::<u8>(), "[ab]?", any_file()).prop_map(|(addr, bandwidth, user, file)| Hit {
        addr,
        bandwidth,
        user,
        network: NETWORK.into(),
        file,
    })
}

fn any_terms() -> impl Strategy<Value = Vec<Term>> {
    let compare = prop_oneof![
        Just(Compare::About),
        Just(Compare::AtLeast),
        Just(Compare::AtMost),
        Just(Compare::Equal),
        Just(Compare::Words),
        (6u8..).prop_map(Compare::Other),
    ];
    let term = (compare, any::<u8>(), vec(any::<u8>(), 0..30));
    vec(term.prop_map(|(compare, tag, value)| Term { compare, tag, value }), 0..5)
}

fn any_push() -> impl Strategy<Value = PushRequest> {
    (any::<u32>(), any_addr(), any_addr(), any_addr(), any_name()).prop_map(
        |(id, to, source, supernode, user)| PushRequest { id, to, source, supernode, user },
    )
}

fn any_receipt() -> impl Strategy<Value = Receipt> {
    (any_addr(), any_addr(), any_name(), any::<u64>(), any::<(u16, u16)>()).prop_map(
        |(host, supernode, user, good_bytes, (bad, failed))| Receipt {
            host,
            supernode,
            user,
            good_bytes,
            bad,
            failed,
        },
    )
}

fn any_score() -> impl Strategy<Value = Score> {
    (any_name(), any::<[u8; 4]>(), any_addr(), proptest::option::of(0u16..=1000))
        .prop_map(|(user, ip, supernode, score)| Score { user, ip: ip.into(), supernode, score })
}

fn any_message() -> impl Strategy<Value = (From, Message)> {
    let node = From::Node;
    let supernode = From::Supernode;
    let info = (any_addr(), any::<u8>(), any_name()).prop_map(|(addr, bandwidth, user)| NodeInfo {
        addr,
        bandwidth,
        user,
    });
    let rows = vec((any_addr(), any::<u8>(), any::<u8>()), 0..5).prop_map(|rows| {
        rows.into_iter().map(|(addr, seen_min, load)| NodeRow { addr, seen_min, load }).collect()
    });
    let query = (any::<u16>(), any::<u16>(), any::<u8>(), any_terms())
        .prop_map(|(max, id, realm, terms)| Query { max, id, realm: Realm(realm), terms });
    let reply = (any_addr(), any::<u16>(), vec(any_hit(), 0..6))
        .prop_map(|(supernode, id, hits)| Reply { supernode, id, hits });
    prop_oneof![
        info.prop_map(move |info| (node, Message::NodeInfo(info))),
        rows.prop_map(move |rows| (supernode, Message::Nodes(rows))),
        query.prop_map(move |query| (node, Message::Query(query))),
        reply.prop_map(move |reply| (supernode, Message::Reply(reply))),
        any_score().prop_map(move |score| (supernode, Message::Score(score))),
        any_push().prop_map(move |push| (node, Message::PushRequest(push))),
        any_receipt().prop_map(move |receipt| (node, Message::Receipt(receipt))),
        (any::<u8>(), any_file())
            .prop_map(move |(media, file)| (node, Message::Share(Share { media, file }))),
        any::<u32>().prop_map(move |uptime_s| (node, Message::Ours { uptime_s })),
        Just((supernode, Message::Promote)),
    ]
}

fn any_mesh_message() -> impl Strategy<Value = MeshMessage> {
    let guid = any::<[u8; 16]>().prop_map(Guid);
    prop_oneof![
        "[a-z ]{0,40}".prop_map(MeshMessage::Bye),
        guid.clone().prop_map(MeshMessage::End),
        (any_addr(), any::<[u8; 32]>(), any::<u8>())
            .prop_map(|(addr, key, load)| MeshMessage::Hello { addr, key, load }),
        (guid.clone(), any_addr(), vec(any_hit(), 0..6))
            .prop_map(|(guid, supernode, hits)| MeshMessage::Hits { guid, supernode, hits }),
        (1..=TTL_MAX, any_push()).prop_map(|(ttl, request)| MeshMessage::Push { ttl, request }),
        (1..=TTL_MAX, any_score()).prop_map(|(ttl, score)| MeshMessage::Score { ttl, score }),
        (guid, 1..=TTL_MAX, any::<u16>(), any::<u8>(), any_terms()).prop_map(
            |(guid, ttl, want, realm, terms)| {
                MeshMessage::Query { guid, ttl, want, realm: Realm(realm), terms }
            }
        ),
        (1..=TTL_MAX, any_name(), any::<[u8; 4]>(), any_receipt()).prop_map(
            |(ttl, user, ip, receipt)| MeshMessage::Receipt { ttl, by: (user, ip.into()), receipt }
        ),
        any::<(u16, u32, u8)>().prop_map(|(children, files, load)| MeshMessage::Stats {
            children,
            files,
            load
        }),
    ]
}

/// Both ends of a session, opened, with the bytes cut as the test likes.
fn opened(step: usize) -> (Session, Session) {
    let mut node = Session::node(Hello::ours(1, 3));
    let mut supernode = Session::supernode(Answer::ours(5));
    for _ in 0..3 {
        carry(&mut node, &mut supernode, step);
        carry(&mut supernode, &mut node, step);
    }
    assert!(node.is_open() && supernode.is_open());
    (node, supernode)
}

fn carry(from: &mut Session, to: &mut Session, step: usize) {
    for part in from.poll_transmit().unwrap_or_default().chunks(step) {
        to.handle_bytes(part).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_round_trip((from, message) in any_message()) {
        let packet = message.encode();
        prop_assert!(packet.payload.len() <= payload_max(packet.kind));
        prop_assert_eq!(Message::parse(from, &packet), Ok(message));
    }

    #[test]
    fn mesh_messages_round_trip(sent in vec(any_mesh_message(), 1..4)) {
        let bytes: Vec<u8> = sent.iter().flat_map(MeshMessage::encode).collect();
        let mut buf = BytesMut::from(&bytes[..]);
        for message in sent {
            prop_assert_eq!(MeshMessage::decode(&mut buf), Ok(Some(message)));
        }
        prop_assert_eq!(MeshMessage::decode(&mut buf), Ok(None));
    }

    #[test]
    fn any_payload_is_read_or_refused(
        kind in prop_oneof![0u16..0x30, 0xe0u16..0xe4], payload in vec(any::<u8>(), 0..300)
    ) {
        let packet = Packet { kind, payload: payload.into() };
        for from in [From::Node, From::Supernode] {
            if let Ok(message) = Message::parse(from, &packet) {
                // What was read is written in one form, and that form stays as it is.
                let written = message.encode();
                let again = Message::parse(from, &written);
                prop_assert_eq!(again.as_ref().map(Message::encode), Ok(written));
                prop_assert_eq!(again, Ok(message));
            }
        }
    }

    #[test]
    fn any_mesh_bytes_are_read_or_refused(mut raw in vec(any::<u8>(), 1..300)) {
        raw[0] %= 10;
        let len = (raw.len() as u32).to_be_bytes();
        let mut buf = BytesMut::from(&[&len[..], &raw].concat()[..]);
        let _ = MeshMessage::decode(&mut buf);
        let _ = Datagram::parse(&raw);
        let _ = Ask::parse(&raw);
        let _ = Answered::parse(&raw);
        let _ = parse_give(&raw);
    }

    #[test]
    fn any_bytes_end_a_session_or_wait(raw in vec(any::<u8>(), 0..400), step in 1usize..50) {
        let mut fresh = [Session::node(Hello::ours(9, 1)), Session::supernode(Answer::ours(2))];
        for session in &mut fresh {
            for part in raw.chunks(step) {
                if session.handle_bytes(part).is_err() {
                    break;
                }
                while let Ok(Some(_)) = session.poll_frame() {}
            }
        }
        let (_, mut open) = opened(400);
        if open.handle_bytes(&raw).is_ok() {
            while let Ok(Some(_)) = open.poll_frame() {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn where_reads_split_is_invisible(
        sent in vec(any_message(), 1..12), step in 1usize..40
    ) {
        let (mut node, mut supernode) = opened(step);
        for (nth, (from, message)) in sent.iter().enumerate() {
            let sender = if *from == From::Node { &mut node } else { &mut supernode };
            sender.send(Frame::Packet(message.encode()));
            if nth % 3 == 0 {
                sender.send(Frame::Ping);
            }
        }
        carry(&mut node, &mut supernode, step);
        carry(&mut supernode, &mut node, step);
        for (nth, (from, message)) in sent.iter().enumerate() {
            let receiver = if *from == From::Node { &mut supernode } else { &mut node };
            prop_assert_eq!(receiver.poll_frame(), Ok(Some(Frame::Packet(message.encode()))));
            if nth % 3 == 0 {
                prop_assert_eq!(receiver.poll_frame(), Ok(Some(Frame::Ping)));
            }
        }
    }
}

#[test]
fn lengths_are_refused_before_anything_is_buffered() {
    // The header of the first packet: kind and length in the order of the first state.
    for (kind, max) in [(0x00, 1600), (0x06, 16 << 10), (0x22, 16 << 10)] {
        for (len, legal) in [(max, true), (max + 1, false)] {
            let [hi, lo] = (len as u16).to_be_bytes();
            let mut buf = BytesMut::from(&[0x4b, kind as u8, 0, hi, lo][..]);
            let want = if legal { Ok(None) } else { Err(WireError::Length { kind, len, max }) };
            assert_eq!(Decoder::default().next(&mut buf), want);
        }
    }
    assert_eq!(payload_max(0x07), 0xffff);
    for other in [0x00, 0x4a, 0x51, 0xff] {
        let mut buf = BytesMut::from(&[other][..]);
        assert_eq!(Decoder::default().next(&mut buf), Err(WireError::Selector(other)));
    }
    let mut buf = BytesMut::from(&[0xff; 8][..]);
    assert!(matches!(MeshMessage::decode(&mut buf), Err(WireError::Length { .. })));
    let mut buf = BytesMut::from(&[0; 8][..]);
    assert!(matches!(MeshMessage::decode(&mut buf), Err(WireError::Length { .. })));
    let mut buf = BytesMut::from(&(MESSAGE_MAX as u32).to_be_bytes()[..]);
    assert_eq!(MeshMessage::decode(&mut buf), Ok(None));
}

/// Nothing goes further over supernodes than four of them.
#[test]
fn steps_are_counted() {
    for (ttl, legal) in [(0, false), (1, true), (4, true), (5, false), (255, false)] {
        let guid = Guid([7; 16]);
        let (want, realm, terms) = (9, Realm::ALL, Query::words(0, 9, "x").terms);
        let query = MeshMessage::Query { guid, ttl, want, realm, terms };
        let read = MeshMessage::decode(&mut BytesMut::from(&query.encode()[..]));
        let want = if legal { Ok(Some(query)) } else { Err(WireError::Value("ttl")) };
        assert_eq!(read, want, "{ttl}");
    }
}

/// Row 45: counts that lie cost nothing, and the largest legal packet is small change.
#[test]
fn attack_45_counts_that_lie() {
    let reply =
        |count: &str, rest: &str| Reply::parse(&hex(&format!("{}{count}{rest}", "00".repeat(8))));
    assert_eq!(
        reply("ffff", ""),
        Err(WireError::Count { what: "hits", got: 65_535, max: HITS_MAX })
    );
    assert_eq!(reply("03e8", ""), Err(WireError::Short("hit")));
    // "The same user as before" needs somebody before.
    assert_eq!(reply("0001", "09090909 04be 00 02"), Err(WireError::Value("user")));
    let terms = hex("0001 0020 0000 01 3f ff");
    assert!(matches!(Query::parse(&terms), Err(WireError::Count { what: "terms", .. })));
    let tags = hex(&format!("{} 00 00 8fffffff7f", "00".repeat(24)));
    let packet = Packet { kind: 0x22, payload: tags.into() };
    assert_eq!(Message::parse(From::Node, &packet), Err(WireError::Short("tag")));
    let huge = hex(&format!("{} 00 00 01 02 8fffffff7f", "00".repeat(24)));
    let packet = Packet { kind: 0x22, payload: huge.into() };
    assert_eq!(Message::parse(From::Node, &packet), Err(WireError::Short("tag")));
    // More tags than anybody needs are read over.
    let many = hex(&format!("{} 00 00 50 {}", "00".repeat(24), "020161".repeat(80)));
    let packet = Packet { kind: 0x22, payload: many.into() };
    let Ok(Message::Share(share)) = Message::parse(From::Node, &packet) else { panic!("a share") };
    assert_eq!(share.file.tags.iter().count(), TAGS_MAX);
}

/// Rows 3 and 45: a name from the network is a name and nothing else.
#[test]
fn attack_03_names_of_files() {
    for (raw, want) in [
        (&b"../../etc/passwd"[..], "passwd"),
        (b"C:\\windows\\evil.mp3", "evil.mp3"),
        (b"..", "_"),
        (b"a/..", "_"),
        (b"music/", "_"),
        (b"\xff\x00x.mp3", "__x.mp3"),
        (b"con.mp3", "_con.mp3"),
    ] {
        let tags = Tags::default().with(tag_kind::FILE_NAME, raw);
        let name = tags.file_name().unwrap();
        assert_eq!(name, want, "{}", raw.escape_ascii());
    }
    let long = Tags::default().with(tag_kind::FILE_NAME, vec![b'a'; 300]);
    assert!(long.file_name().unwrap().len() <= crate::metainfo::names::NAME_LEN_MAX);
    let ask = b"GET /123/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n\r\n";
    // A path in a request stays what it is: it only ever meets names of the library.
    let Ok(Some((ask, _))) = Ask::parse(ask) else { panic!("a request") };
    assert_eq!(ask.target, Target::Name { file_id: 123, name: "../../etc/passwd".into() });
    assert_eq!(clean_name(b"an\x01n\0\x02"), "ann");
    assert_eq!(clean_name(&[b'x'; 200]).len(), NAME_MAX);
}
