mod items;

use super::*;
use crate::bencode::{BencodeError, Dict, List};
use crate::id::{InfoHash, NodeId};
use crate::sign::{PublicKey, Signature};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::SocketAddr;

const ASKER: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");
const SWARM: InfoHash = InfoHash(OTHER.0);

fn aa() -> TransactionId {
    TransactionId::new(b"aa").unwrap()
}

fn asks(ask: Ask) -> Message {
    Message::query(aa(), Query { id: ASKER, read_only: false, ask })
}

fn answers(reply: Reply) -> Message {
    Message::reply(aa(), reply)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The value reads as `message`, and `message` is written as exactly these bytes.
#[track_caller]
fn both_ways(wire: &str, message: &Message) {
    assert_eq!(Message::parse(wire.as_bytes()).as_ref(), Ok(message), "{wire}");
    assert_eq!(message.encode().escape_ascii().to_string(), wire);
}

#[test]
fn the_messages_of_the_specification() {
    both_ways("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", &asks(Ask::Ping));
    let pong = answers(Reply::new(OTHER));
    both_ways("d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", &pong);
    both_ways(
        "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        &asks(Ask::FindNode { target: OTHER, want: None }),
    );
    both_ways(
        "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        &asks(Ask::GetPeers {
            info_hash: SWARM,
            want: None,
            no_seed: false,
            scrape: false,
            bootstrap: false,
        }),
    );
    let token = Token::new(b"aoeusnth").unwrap();
    let peers = vec![addr("97.120.106.101:11893"), addr("105.100.104.116:28269")];
    let reply = Reply { values: Some(peers), token: Some(token.clone()), ..Reply::new(ASKER) };
    both_ways(
        "d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        &answers(reply),
    );
    both_ways(
        "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:\
         aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        &asks(Ask::AnnouncePeer {
            info_hash: SWARM,
            port: 6881,
            implied_port: true,
            seed: None,
            token,
            name: None,
        }),
    );
    let text = Text::new(b"A Generic Error Ocurred");
    let fault =
        Fault { code: ErrorCode::GENERIC, text, observed: None, id: None, observed_port: None };
    let error = Message { transaction: aa(), version: None, body: Body::Error(fault) };
    both_ways("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", &error);
}

#[test]
fn sizes_are_those_of_the_network() {
    let sized = |ask, read_only| {
        let mut message = asks(ask);
        message.version = Some(ClientTag(*b"GG01"));
        if let Body::Query(query) = &mut message.body {
            query.read_only = read_only;
        }
        message.encode().len()
    };
    assert_eq!(sized(Ask::Ping, false), 65);
    assert_eq!(sized(Ask::Ping, true), 72);
    assert_eq!(sized(Ask::FindNode { target: OTHER, want: None }, false), 101);
    let get = Ask::GetPeers {
        info_hash: SWARM,
        want: None,
        no_seed: false,
        scrape: false,
        bootstrap: false,
    };
    assert_eq!(sized(get, false), 104);
}

#[test]
fn whoever_cannot_be_answered_is_not() {
    #[track_caller]
    fn silent(raw: &[u8], want: &KrpcError) {
        let got = Message::parse(raw).unwrap_err();
        assert_eq!(&got, want, "{}", raw.escape_ascii());
        assert_eq!(got.answer(), None);
    }
    silent(b"", &KrpcError::Size { got: 0 });
    silent(b"d1:t0:1:y1:qe", &KrpcError::Size { got: 13 });
    silent(&[b'd'; 5000], &KrpcError::Size { got: 5000 });
    silent(b"l1:ad2:id20:abcdefghij0123456789e", &KrpcError::Envelope("d"));
    silent(b"d1:ad2:id20:abcdefghij0123456789e ", &KrpcError::Envelope("d"));
    silent(b"d1:q4:ping1:y1:q1:xi00ee", &BencodeError::Integer { at: 19 }.into());
    silent(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe", &KrpcError::Envelope("t"));
    silent(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:ti1e1:y1:qe", &KrpcError::Envelope("t"));
    silent(b"d1:q4:ping1:t17:aaaaaaaaaaaaaaaaa1:y1:qe", &KrpcError::Transaction { got: 17 });
    silent(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aae", &KrpcError::Envelope("y"));
    silent(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y2:qqe", &KrpcError::Envelope("y"));
    silent(b"d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe", &KrpcError::Envelope("q"));
    silent(b"d1:rd2:id19:abcdefghij012345678e1:t2:aa1:y1:re", &KrpcError::ReplyId);
    silent(b"d1:t2:aa1:y1:r1:zi0ee", &KrpcError::Envelope("r"));
    let deep = format!("d1:t2:aa1:x{}{}1:y1:qe", "l".repeat(34), "e".repeat(34));
    silent(deep.as_bytes(), &BencodeError::Depth { at: 44, max: 34 }.into());
    let many = format!("d1:t2:aa1:xl{}e1:y1:qe", "0:".repeat(1100));
    assert!(matches!(
        Message::parse(many.as_bytes()),
        Err(KrpcError::Bencode(BencodeError::TooManyTokens { max: 1000, .. }))
    ));
}

/// The query with these arguments is answered with this error.
#[track_caller]
fn answered(args: &str, method: &str, code: ErrorCode) {
    let raw = format!("d1:a{args}1:q{}:{method}1:t2:aa1:y1:qe", method.len());
    let refusal = Message::parse(raw.as_bytes()).unwrap_err().answer().expect(&raw);
    assert_eq!((refusal.transaction, refusal.code), (aa(), code), "{raw}");
    let fault = Message::refuse(refusal, Some(addr("1.2.3.4:5"))).encode();
    assert!(fault.len() < raw.len() + 60 && Message::parse(&fault).is_ok());
}

/// Arguments of a query: the id of the asker, and the rest.
fn with(rest: &str) -> String {
    format!("d2:id20:abcdefghij0123456789{rest}e")
}

#[test]
fn a_wrong_argument_is_answered_with_203_and_an_unknown_query_with_204() {
    const HASH: &str = "9:info_hash20:mnopqrstuvwxyz123456";
    answered("le", "ping", ErrorCode::PROTOCOL);
    answered("de", "ping", ErrorCode::PROTOCOL);
    answered("d2:id19:abcdefghij012345678e", "ping", ErrorCode::PROTOCOL);
    answered(&with(""), "find_node", ErrorCode::PROTOCOL);
    answered(&with("6:target5:short"), "find_node", ErrorCode::PROTOCOL);
    answered(&with(""), "get_peers", ErrorCode::PROTOCOL);
    answered(&with(&format!("{HASH}4:porti0e5:token1:x")), "announce_peer", ErrorCode::PROTOCOL);
    answered(
        &with(&format!("{HASH}4:porti65536e5:token1:x")),
        "announce_peer",
        ErrorCode::PROTOCOL,
    );
    answered(&with(&format!("{HASH}4:porti-1e5:token1:x")), "announce_peer", ErrorCode::PROTOCOL);
    answered(&with(&format!("{HASH}5:token1:x")), "announce_peer", ErrorCode::PROTOCOL);
    answered(&with(&format!("{HASH}4:porti1e")), "announce_peer", ErrorCode::PROTOCOL);
    let long = format!("{HASH}4:porti1e5:token65:{}", "x".repeat(65));
    answered(&with(&long), "announce_peer", ErrorCode::PROTOCOL);
    answered(&with(""), "sample_infohashes", ErrorCode::PROTOCOL);
    answered(&with(""), "nonsense", ErrorCode::METHOD);
    answered(&with(""), "", ErrorCode::METHOD);
}

#[test]
fn strange_messages_of_the_network_are_read() {
    let read = |raw: &[u8]| Message::parse(raw).unwrap_or_else(|e| panic!("{e}"));
    let Body::Query(query) = read(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n62:n42:n9i1eee1:q4:vote2:roi1e1:t0:\
          1:v9:long long1:y1:qe",
    )
    .body
    else {
        panic!("a query")
    };
    let want = Some(Want { v4: true, v6: true });
    assert_eq!(query.ask, Ask::Unknown { method: Text::new(b"vote"), target: OTHER, want });
    assert!(query.read_only);

    let reply = |r: Dict| match read(
        &Dict::new()
            .bytes("t", "aa")
            .bytes("y", "r")
            .dict("r", r.bytes("id", ASKER.0))
            .into_bytes(),
    )
    .body
    {
        Body::Reply(reply) => reply,
        other => panic!("{other:?}"),
    };
    let mixed = List::of_bytes([&b"axje.u"[..], &[1; 18], b"bad", &[2, 2, 2, 2, 0, 0]]).int(7);
    let values = reply(Dict::new().list("values", mixed)).values.unwrap();
    assert_eq!(
        values,
        [addr("97.120.106.101:11893"), addr("[101:101:101:101:101:101:101:101]:257")]
    );
    let joined = reply(Dict::new().list("values", List::of_bytes([b"axje.uidhtnmidhtnm"])));
    assert_eq!(joined.values.map(|values| values.len()), Some(1), "18 bytes are one of IPv6");
    let joined = reply(Dict::new().list("values", List::of_bytes([b"axje.uidhtnm"])));
    assert_eq!(
        joined.values.unwrap(),
        [addr("97.120.106.101:11893"), addr("105.100.104.116:28269")]
    );
    assert_eq!(reply(Dict::new().bytes("values", "axje.u")).values, None);

    let node = [&OTHER.0[..], b"axje.u"].concat();
    let port_0 = [&OTHER.0[..], &[1, 2, 3, 4, 0, 0]].concat();
    let nodes = reply(Dict::new().bytes("nodes", [&node[..], &port_0, &node, b"tail"].concat()));
    assert_eq!(nodes.nodes.map(|nodes| nodes.len()), Some(2));
    let many = reply(Dict::new().bytes("nodes", node.repeat(100)));
    assert_eq!(many.nodes.map(|nodes| nodes.len()), Some(NODES_MAX));
    let odd = Dict::new().bytes("token", [0; 65]).bytes("BFsd", [0; 255]).bytes("samples", [0; 21]);
    let odd = reply(odd.int("p", 65536).int("nodes", 1).list("nodes6", List::new()));
    assert_eq!(odd, Reply::new(ASKER));
    let samples =
        reply(Dict::new().bytes("samples", "").int("interval", 1i64 << 40).int("num", -1));
    let nothing = Samples { interval_s: SAMPLE_INTERVAL_MAX_S, total: 0, hashes: vec![] };
    assert_eq!(samples.samples, Some(nothing));

    let fault = |e: &str| match read(format!("d1:e{e}1:t2:aa1:y1:ee").as_bytes()).body {
        Body::Error(fault) => (fault.code.0, fault.text.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(fault("l3:badi203ee"), (203, "bad".into()));
    assert_eq!(fault("d4:codei203ee"), (0, String::new()));
    assert_eq!(fault("li99999999999e3:a\x1bbe"), (0, "a\\x1bb".into()));
}

#[test]
fn what_does_not_fit_is_left_out_in_order() {
    let contact =
        |n: u8| Contact { id: NodeId([n; 20]), addr: SocketAddr::from(([n, 1, 1, 1], 1)) };
    let contact6 = |n: u8| Contact { id: NodeId([n; 20]), addr: SocketAddr::from(([n; 16], 1)) };
    let peers: Vec<_> = (0..100).map(|n| SocketAddr::from(([n, 2, 3, 4], 5))).collect();
    let token = Token::new(b"1234");
    let reply = Reply {
        nodes: Some((1..=8).map(contact).collect()),
        values: Some(peers.clone()),
        token: token.clone(),
        observed: Some(addr("1.2.3.4:5")),
        ..Reply::new(ASKER)
    };
    let sent = |reply: &Reply| {
        let mut message = answers(reply.clone());
        message.version = Some(ClientTag(*b"GG01"));
        let raw = message.encode();
        assert!(raw.len() <= DATAGRAM_MAX, "{}", raw.len());
        match Message::parse(&raw).unwrap().body {
            Body::Reply(reply) => (reply, raw.len()),
            other => panic!("{other:?}"),
        }
    };
    let (got, len) = sent(&reply);
    assert_eq!((len, got.values.as_deref()), (1022, Some(&peers[..89])), "the table of BEP 32");
    assert_eq!(got.nodes, reply.nodes);
    let both = Reply { nodes6: Some((1..=8).map(contact6).collect()), ..reply.clone() };
    assert_eq!(sent(&both).0.values.map(|values| values.len()), Some(49));
    let filters = Reply { seeds: Some(Filter::new()), leeches: Some(Filter::new()), ..reply };
    assert_eq!(sent(&filters).0.values.map(|values| values.len()), Some(22));
    let everything = Reply { nodes6: Some((0..32).map(contact6).collect()), ..filters };
    let (got, _) = sent(&everything);
    assert_eq!((got.values.map(|v| v.len()), got.token), (Some(0), token));
}

#[test]
fn filters_count_as_the_specification_says() {
    let filter = |hex: &str| {
        let hex: String = hex.split_whitespace().collect();
        Filter::from_slice(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap()
    };
    let zeros = |filter: &Filter| filter.0.iter().map(|byte| byte.count_zeros()).sum::<u32>();
    let mut one = Filter::new();
    one.insert("192.168.1.1".parse().unwrap());
    let set: Vec<usize> = (0..2048).filter(|bit| one.0[bit / 8] >> (bit % 8) & 1 == 1).collect();
    assert_eq!(set, [1711, 1831]);

    let mut v4 = Filter::new();
    (0..=255).for_each(|n| v4.insert([192, 0, 2, n].into()));
    assert_eq!((&v4, zeros(&v4)), (&filter(BEP33_V4), 1592));
    assert!((v4.estimate() - 257.8546).abs() < 1e-4, "{}", v4.estimate());
    let mut v6 = Filter::new();
    (0..=0x3e7).for_each(|n| v6.insert([0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into()));
    let mut both = v4.clone();
    both.merge(&v6);
    assert_eq!((&both, zeros(&both)), (&filter(BEP33_BOTH), 619));
    assert!((both.estimate() - 1224.9309).abs() < 1e-4, "{}", both.estimate());

    assert!(Filter::new().estimate() == 0.0);
    assert!(Filter(Box::new([255; FILTER_LEN])).estimate().is_finite());
    assert_eq!(Filter::from_slice(&[0; 255]), None);
}

const BEP33_BOTH: &str = "\
    f6c3f5eaa07ffd91bde89f777f26fb2bff37bdb8fb2bbaa2fd3ddde7bacfff75ee7ccbaefe5eedb1fbfaff67f6abff5e\
    43ddbca3fd9b9ffdf4ffd3e9dff12d1bdf59db53dbe9fa5b7ff3b8fdfcde1afb8bedd7be2f3ee71ebbbfe93bcdeefe14\
    8246c2bc5dbff7e7efdcf24fd8dc7adffd8fffdfddfff7a4bbeedf5cb95ce81fc7fcff1ff4ffffdfe5f7fdcbb7fd79b3\
    fa1fc77bfe07fff905b7b7ffc7fefeffe0b8370bb0cd3f5b7f2bd93feb4386cfdd6f7fd5bfaf2e9ebffffeecd67adbf7\
    c67f17efd5d75eba6ffeba7fff47a91eb1bfbb53e8abfb5762abe8ff237279bfefbfeef5ffc5febfdfe5adffadfee1fb\
    737ffffbfd9f6aeffeee76b6fd8f72ef";
const BEP33_V4: &str = "\
    24c0004020043000102012743e00480037110820422110008000c0e302854835a05401a4045021302a306c060001881002d8a0a3a8001901b40a\
    800900310008d2108110c2496a0028700010d804188b01415200082004088026411104a804048002002000080680828c400080cc40020c042c04\
    94447280928041402104080d4240040414a41f0205654800b0811830d2020042b002c5800004a71d0204804a0028120a004c10017801490b8340\
    04044106005421000c86900a0020500203510060144e900100924a1018141a028012913f0041802250042280481200002004430804210101c081\
    11c10801001080002038008211004266848606b035001048";

#[test]
fn addresses_of_ipv4_in_disguise_are_left_out() {
    let contact = |text| Contact { id: OTHER, addr: addr(text) };
    let odd = ["[::ffff:9.9.9.9]:53", "[::9.9.9.9]:53", "[2001:db8::1]:1"];
    let reply = Reply {
        nodes6: Some(odd.map(contact).to_vec()),
        values: Some(odd.map(addr).to_vec()),
        ..Reply::new(ASKER)
    };
    let want = Reply {
        nodes6: Some(vec![contact(odd[2])]),
        values: Some(vec![addr(odd[2])]),
        ..Reply::new(ASKER)
    };
    assert_eq!(Message::parse(&answers(reply).encode()), Ok(answers(want)));
}

fn any_id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId)
}

fn any_hash() -> impl Strategy<Value = InfoHash> {
    any::<[u8; 20]>().prop_map(InfoHash)
}

fn any_v4() -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 4]>(), 1..=u16::MAX).prop_map(|(ip, port)| (ip, port).into())
}

fn any_v6() -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 16]>(), 1..=u16::MAX).prop_map(|(ip, port)| (ip, port).into())
}

fn any_addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![any_v4(), any_v6()]
}

fn any_text() -> impl Strategy<Value = Text> {
    vec(any::<u8>(), 0..=TEXT_MAX).prop_map(|raw| Text::new(&raw))
}

fn any_token() -> impl Strategy<Value = Token> {
    vec(any::<u8>(), 0..=TOKEN_MAX).prop_map(|raw| Token::new(&raw).unwrap())
}

fn any_want() -> impl Strategy<Value = Option<Want>> {
    option::of(any::<[bool; 2]>().prop_map(|[v4, v6]| Want { v4, v6 }))
}

fn any_value() -> impl Strategy<Value = ItemValue> {
    let scalar = || {
        prop_oneof![
            any::<i64>().prop_map(|int| format!("i{int}e").into_bytes()),
            vec(any::<u8>(), 0..40)
                .prop_map(|raw| [format!("{}:", raw.len()).as_bytes(), &raw].concat()),
        ]
    };
    let dict = vec((vec(any::<u8>(), 0..5), scalar()), 0..8).prop_map(|entries| {
        let filled = |dict: Dict, (key, value): (Vec<u8>, Vec<u8>)| dict.raw(key, &value);
        entries.into_iter().fold(Dict::new(), filled).into_bytes()
    });
    let long = vec(any::<u8>(), 900..=996).prop_map(|raw| ItemValue::of_bytes(&raw).unwrap());
    let short = prop_oneof![scalar(), dict].prop_map(|raw| ItemValue::new(&raw).unwrap());
    prop_oneof![short, long]
}

prop_compose! {
    fn any_signed()(key in any::<[u8; 32]>(), seq in 0..=i64::MAX, low in any::<[u8; 32]>()) -> Signed {
        let signature = [low, key].concat().try_into().unwrap();
        Signed { key: PublicKey(key), seq, signature: Signature(signature) }
    }
}

fn any_item() -> impl Strategy<Value = Item> {
    (any_value(), option::of(any_signed())).prop_map(|(value, signed)| Item { value, signed })
}

prop_compose! {
    /// Only a mutable item has a salt or a condition.
    fn any_put()(
        item in any_item(), salt in vec(any::<u8>(), 0..=SALT_MAX), cas in option::of(any::<i64>()),
    ) -> Put {
        match item.signed {
            Some(_) => Put { item, salt: Salt::new(&salt).unwrap(), cas },
            None => Put::new(item),
        }
    }
}

fn any_kept() -> impl Strategy<Value = Option<Kept>> {
    option::of(prop_oneof![
        any_item().prop_map(|item| Kept::Item(Box::new(item))),
        (0..=i64::MAX).prop_map(Kept::Seq),
    ])
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let announce =
        (any_hash(), 1..=u16::MAX, any::<bool>(), option::of(any::<bool>()), any_token())
            .prop_flat_map(|fixed| (Just(fixed), option::of(any_text())))
            .prop_map(|((info_hash, port, implied_port, seed, token), name)| Ask::AnnouncePeer {
                info_hash,
                port,
                implied_port,
                seed,
                token,
                name,
            });
    prop_oneof![
        Just(Ask::Ping),
        (any_id(), any_want()).prop_map(|(target, want)| Ask::FindNode { target, want }),
        (any_id(), any_want()).prop_map(|(target, want)| Ask::SampleInfohashes { target, want }),
        (any_id(), option::of(0..=i64::MAX), any_want()).prop_map(|(target, seq, want)| Ask::Get {
            target,
            seq,
            want
        }),
        (any_token(), any_put()).prop_map(|(token, put)| Ask::Put { token, put: Box::new(put) }),
        (any_id(), any_want()).prop_map(|(target, want)| Ask::Unknown {
            method: Text::new(b"vote"),
            target,
            want
        }),
        (any_hash(), any_want(), any::<[bool; 3]>()).prop_map(
            |(info_hash, want, [no_seed, scrape, bootstrap])| Ask::GetPeers {
                info_hash,
                want,
                no_seed,
                scrape,
                bootstrap
            }
        ),
        announce,
    ]
}

prop_compose! {
    fn any_samples()(
        interval_s in 0..=SAMPLE_INTERVAL_MAX_S, total in 0..=i64::MAX as u64, hashes in vec(any_hash(), 0..10),
    ) -> Samples {
        Samples { interval_s, total, hashes }
    }
}

prop_compose! {
    /// One that fits a datagram whatever is in it.
    fn any_reply()(
        id in any_id(), observed in option::of(any_addr()), observed_port in option::of(any::<u16>()),
        nodes in option::of(vec((any_id(), any_v4()), 0..5)), nodes6 in option::of(vec((any_id(), any_v6()), 0..4)),
        values in option::of(vec(any_addr(), 0..5)), token in option::of(any_token()),
        samples in option::of(any_samples()), name in option::of(any_text()),
        (bloom, kept) in prop_oneof![
            any::<bool>().prop_map(|bloom| (bloom, None)),
            any_kept().prop_map(|kept| (false, kept)),
        ],
    ) -> Reply {
        let contact = |(id, addr)| Contact { id, addr };
        let mut filter = Filter::new();
        filter.insert([1, 2, 3, 4].into());
        Reply {
            id, observed, observed_port, values, token, samples, name,
            nodes: nodes.map(|nodes| nodes.into_iter().map(contact).collect()),
            nodes6: nodes6.map(|nodes| nodes.into_iter().map(contact).collect()),
            seeds: bloom.then_some(filter),
            leeches: None,
            kept,
        }
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let by = option::of((any_id(), option::of(any::<u16>())));
    let fault = (any::<i32>(), any_text(), option::of(any_addr()), by).prop_map(
        |(code, text, observed, by)| {
            let (id, observed_port) = by.map_or((None, None), |(id, port)| (Some(id), port));
            Body::Error(Fault { code: ErrorCode(code), text, observed, id, observed_port })
        },
    );
    let query = (any_id(), any::<bool>(), any_ask())
        .prop_map(|(id, read_only, ask)| Body::Query(Query { id, read_only, ask }));
    let body = prop_oneof![query, any_reply().prop_map(Body::Reply), fault];
    (vec(any::<u8>(), 0..=TRANSACTION_MAX), option::of(any::<[u8; 4]>()), body).prop_map(
        |(transaction, version, body)| Message {
            transaction: TransactionId::new(&transaction).unwrap(),
            version: version.map(ClientTag),
            body,
        },
    )
}

proptest! {
    #[test]
    fn messages_round_trip(message in any_message()) {
        let raw = message.encode();
        prop_assert!(raw.len() <= message.datagram_max(), "{}", raw.len());
        let read = Message::parse(&raw);
        // Beside a long value not all nodes fit.
        let whole = raw.len() + 300 > DATAGRAM_ITEM_MAX || read.as_ref() == Ok(&message);
        prop_assert!(read.is_ok() && whole, "{read:?}");
        prop_assert_eq!(read.unwrap().encode(), raw);
    }

    #[test]
    fn a_cut_message_is_none_and_is_not_answered(message in any_message(), cut in any::<prop::sample::Index>()) {
        let raw = message.encode();
        let got = Message::parse(&raw[..cut.index(raw.len())]);
        prop_assert!(got.as_ref().is_err_and(|e| e.answer().is_none()), "{got:?}");
    }

    #[test]
    fn hostile_bytes_never_panic(raw in vec(any::<u8>(), 0..300)) {
        let _ = Message::parse(&raw);
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(message in any_message(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut raw = message.encode();
        let at = at.index(raw.len());
        raw[at] = to;
        if let Ok(read) = Message::parse(&raw) {
            prop_assert_eq!(Message::parse(&read.encode()), Ok(read));
        }
    }
}
