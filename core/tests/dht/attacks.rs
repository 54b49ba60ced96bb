//! What attackers of the DHT must not achieve: rows 30 to 33 of the table of attacks.

use gaggle_core::bencode::Dict;
use gaggle_core::clock::Instant;
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::overlay::kademlia::{Config, Event, Limits, Node, Snapshot, Terms, id_for};
use gaggle_core::proto::krpc::{
    Ask, Body, Contact, DATAGRAM_MAX, Item, ItemValue, Kept, Message, Put, Query, Reply, Salt,
    Token, TransactionId,
};
use gaggle_core::rng::Rng;
use gaggle_core::sign::SecretKey;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const OWN: NodeId = NodeId([0x11; 20]);
const SWARM: InfoHash = InfoHash([0x99; 20]);
const NO_LIMITS: Limits =
    Limits { per_source: None, per_subnet: None, reply_budget: None, new_destinations: 1000 };

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn public(n: u32) -> SocketAddr {
    SocketAddr::from(((0x3c00_0001 + (n << 8)).to_be_bytes(), 6881))
}

/// A node that asks nothing of its own accord.
fn victim(limits: Limits, terms: Terms) -> Node {
    let config = Config { upkeep: false, limits, terms, ..Config::default() };
    let snapshot = Snapshot { id_v4: Some(OWN), ..Snapshot::default() };
    Node::new(at(0), config, &snapshot, Rng::seeded(1))
}

fn plain() -> Node {
    victim(NO_LIMITS, Terms::default())
}

/// Sends raw bytes, and returns what is sent back.
fn throw(node: &mut Node, now: Instant, from: SocketAddr, raw: &[u8]) -> Option<Vec<u8>> {
    node.handle_datagram(now, from, raw);
    let answer = node.poll_transmit();
    assert!(answer.as_ref().is_none_or(|(to, _)| *to == from) && node.poll_transmit().is_none());
    answer.map(|(_, raw)| raw)
}

fn ask(node: &mut Node, now: Instant, from: SocketAddr, ask: Ask) -> Option<Body> {
    let query = Query { id: NodeId([7; 20]), read_only: false, ask };
    let raw = Message::query(TransactionId::from(1), query).encode();
    throw(node, now, from, &raw).map(|raw| Message::parse(&raw).unwrap().body)
}

fn get_peers(info_hash: InfoHash) -> Ask {
    Ask::GetPeers { info_hash, want: None, no_seed: false, scrape: false, bootstrap: false }
}

fn announce(info_hash: InfoHash, token: Token) -> Ask {
    Ask::AnnouncePeer { info_hash, port: 1, implied_port: false, seed: None, token, name: None }
}

fn token(node: &mut Node, now: Instant, from: SocketAddr, swarm: InfoHash) -> Option<Token> {
    match ask(node, now, from, get_peers(swarm)) {
        Some(Body::Reply(reply)) => reply.token,
        other => panic!("{other:?}"),
    }
}

fn stored(node: &Node) -> (usize, usize) {
    let side = node.status(at(0)).v4.unwrap();
    (side.swarms, side.peers)
}

fn code(answer: Option<Vec<u8>>) -> i32 {
    match Message::parse(&answer.expect("an error")).unwrap().body {
        Body::Error(fault) => fault.code.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn attack_30_answers_that_nobody_asked_for_are_dropped() {
    let mut node = plain();
    let (asked, elsewhere) = (addr("60.0.0.1:6881"), addr("60.0.0.2:6881"));
    node.vouch(at(0), Contact { id: NodeId([7; 20]), addr: asked }, Duration::ZERO);
    node.lookup_peers(at(0), SWARM);
    let (to, question) = node.poll_message().expect("a question");
    assert_eq!(to, asked);
    let mut reply = Reply::new(NodeId([7; 20]));
    reply.values = Some(vec![addr("66.66.66.66:66")]);
    let wrong = TransactionId::from(0xdead_beef);
    let echo = question.transaction;
    for (from, transaction) in [
        (asked, wrong),
        (elsewhere, echo),
        (SocketAddr::new(asked.ip(), 6882), echo),
        (asked, TransactionId::new(&echo.as_bytes()[..3]).unwrap()),
        (asked, TransactionId::new(&[echo.as_bytes(), b"x"].concat()).unwrap()),
    ] {
        let raw = Message::reply(transaction, reply.clone()).encode();
        assert_eq!(throw(&mut node, at(10), from, &raw), None);
        assert_eq!(node.poll_event(), None, "{from} {transaction:?}");
    }
    // The right endpoint under another name: none of what it says is used, and it loses its place.
    let liar = Reply { id: NodeId([8; 20]), ..reply };
    assert_eq!(throw(&mut node, at(20), asked, &Message::reply(echo, liar).encode()), None);
    assert!(matches!(node.poll_event(), Some(Event::Done { found, .. }) if found.peers == 0));
    assert_eq!(node.status(at(20)).v4.unwrap().nodes.good, 0);
}

#[test]
fn attack_30_malformed_queries_get_an_error_or_nothing() {
    let mut node = plain();
    let from = addr("60.0.0.1:6881");
    let query = |q: &str, a: Dict| {
        Dict::new().bytes("t", "aa").bytes("y", "q").bytes("q", q).dict("a", a).into_bytes()
    };
    let me = || Dict::new().bytes("id", [7; 20]);
    for raw in [
        query("ping", Dict::new().bytes("id", [7; 19])),
        query("find_node", me().bytes("target", [7; 21])),
        query("get_peers", me().int("info_hash", 5)),
        query("announce_peer", me().bytes("info_hash", [9; 20]).int("port", 1)),
        query(
            "announce_peer",
            me().bytes("info_hash", [9; 20]).int("port", 1).bytes("token", "no"),
        ),
        Dict::new().bytes("t", "aa").bytes("y", "q").bytes("q", "ping").int("a", 1).into_bytes(),
    ] {
        assert_eq!(code(throw(&mut node, at(0), from, &raw)), 203, "{}", raw.escape_ascii());
    }
    for raw in [&b"d1:y1:qe"[..], b"d1:q4:ping1:t2:aa1:y1:qe ", &[b'l'; 500], &[0; 2000]] {
        assert_eq!(throw(&mut node, at(0), from, raw), None);
    }
    assert_eq!(stored(&node), (0, 0));
}

const SALT: &[u8] = b"salt";

fn owner() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

fn value(text: &str) -> ItemValue {
    ItemValue::of_bytes(text.as_bytes()).unwrap()
}

fn signed(seq: i64, text: &str) -> Put {
    let salt = Salt::new(SALT).unwrap();
    Put { item: Item::sign(&owner(), &salt, seq, value(text)), salt, cas: None }
}

/// A put with its token, good or not.
fn put(node: &mut Node, now: Instant, from: SocketAddr, put: Put, token: Token) -> Result<(), i32> {
    match ask(node, now, from, Ask::Put { token, put: Box::new(put) }) {
        Some(Body::Reply(_)) => Ok(()),
        Some(Body::Error(fault)) => Err(fault.code.0),
        other => panic!("{other:?}"),
    }
}

fn get(node: &mut Node, now: Instant, from: SocketAddr, target: NodeId) -> Reply {
    match ask(node, now, from, Ask::Get { target, seq: None, want: None }) {
        Some(Body::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn put_with_token(node: &mut Node, from: SocketAddr, item: Put) -> Result<(), i32> {
    let token = get(node, at(0), from, item.target()).token.ok_or(0)?;
    put(node, at(0), from, item, token)
}

fn items(node: &Node) -> usize {
    node.status(at(0)).v4.unwrap().items
}

#[test]
fn attack_30_items_of_the_wrong_size_or_without_a_good_signature_are_refused() {
    let mut node = plain();
    let from = public(1);
    let target = signed(1, "honest").target();
    let good = get(&mut node, at(0), from, target).token.unwrap();
    // Raw, for no honest program can write them.
    let written = |change: fn(Dict) -> Dict| {
        let Item { value, signed: Some(signed) } = signed(1, "honest").item else { panic!() };
        let put = Dict::new().bytes("id", [7; 20]).bytes("k", signed.key.0).bytes("salt", SALT);
        let put = put.bytes("sig", signed.signature.0).int("seq", 1).raw("v", value.as_bytes());
        let put = change(put.bytes("token", good.as_bytes()));
        let query = Dict::new().bytes("t", "aa").bytes("y", "q").bytes("q", "put");
        query.dict("a", put).into_bytes()
    };
    let mut refused = |want: i32, change: fn(Dict) -> Dict| {
        assert_eq!(code(throw(&mut node, at(0), from, &written(change))), want);
        assert_eq!(items(&node), 0);
    };
    refused(205, |put| put.bytes("v", [4; 997]));
    refused(207, |put| put.bytes("salt", [2; 65]));
    refused(207, |put| put.bytes("salt", [2; 1200]));
    refused(206, |put| put.bytes("sig", [3; 64]));
    refused(206, |put| put.int("seq", 2));
    refused(206, |put| put.bytes("v", "forged"));
    // Another key or salt is another place, for which the token is not good.
    refused(203, |put| put.bytes("k", [1; 32]));
    refused(203, |put| put.bytes("salt", "tlas"));
    refused(203, |put| put.int("seq", -1));
    refused(203, |put| put.bytes("sig", [3; 63]));
    refused(203, |put| put.bytes("token", "abcd"));
    refused(203, |put| put.raw("v", b"d1:bi1e1:ai1ee"));
    let answer = throw(&mut node, at(0), from, &written(|put| put)).unwrap();
    assert!(matches!(Message::parse(&answer).unwrap().body, Body::Reply(_)), "nothing is wrong");
    assert_eq!(items(&node), 1);
}

#[test]
fn attack_30_an_old_item_and_an_old_token_cannot_be_replayed() {
    let mut node = plain();
    let from = public(1);
    assert_eq!(put_with_token(&mut node, from, signed(i64::MAX - 1, "new")), Ok(()));
    assert_eq!(put_with_token(&mut node, public(2), signed(1, "old")), Err(302));
    let cas = |put: Put, cas| Put { cas: Some(cas), ..put };
    assert_eq!(put_with_token(&mut node, from, cas(signed(i64::MAX, "last"), 1)), Err(301));
    assert_eq!(put_with_token(&mut node, from, signed(i64::MAX - 1, "other")), Err(302));
    assert_eq!(
        put_with_token(&mut node, from, cas(signed(i64::MAX, "last"), i64::MAX - 1)),
        Ok(())
    );
    // The numbers end here: none is so high that it would begin again.
    assert_eq!(put_with_token(&mut node, from, signed(0, "wrapped")), Err(302));
    let target = signed(1, "").target();
    let reply = get(&mut node, at(0), from, target);
    let Some(Kept::Item(item)) = reply.kept else { panic!("{reply:?}") };
    assert_eq!((item.seq(), &item.value), (Some(i64::MAX), &value("last")));
    let token = reply.token.unwrap();
    let again = || signed(i64::MAX, "last");
    assert_eq!(put(&mut node, at(0), public(2), again(), token.clone()), Err(203));
    assert_eq!(put(&mut node, at(900_000), from, again(), token), Err(203));
}

#[test]
fn attack_30_odd_node_lists_are_cut_to_what_is_whole() {
    let mut node = plain();
    let asked = addr("60.0.0.1:6881");
    node.ping(at(0), asked);
    let (_, question) = node.poll_message().unwrap();
    let one = [&[5; 20][..], &[61, 1, 1, 1, 0x1a, 0xe1]].concat();
    let nodes = [one.repeat(1), vec![1; 25]].concat();
    let results = Dict::new().bytes("id", [7; 20]).bytes("nodes", nodes).bytes("nodes6", [6; 37]);
    let raw = Dict::new().bytes("t", question.transaction.as_bytes()).bytes("y", "r");
    node.handle_datagram(at(1), asked, &raw.dict("r", results).into_bytes());
    let census = node.status(at(1)).v4.unwrap().nodes;
    assert_eq!((census.good, census.spare), (1, 1));
}

#[test]
fn attack_30_a_token_cannot_be_replayed() {
    let mut node = plain();
    let from = public(1);
    let good = token(&mut node, at(0), from, SWARM).unwrap();
    let refused = |node: &mut Node, now, from, swarm| {
        let answer = ask(node, now, from, announce(swarm, good.clone()));
        assert!(matches!(answer, Some(Body::Error(fault)) if fault.code.0 == 203));
        assert_eq!(stored(node), (0, 0));
    };
    refused(&mut node, at(1), public(2), SWARM);
    refused(&mut node, at(1), from, InfoHash([0x98; 20]));
    refused(&mut node, at(900_000), from, SWARM);
    let fresh = token(&mut node, at(900_000), from, SWARM).unwrap();
    assert!(matches!(
        ask(&mut node, at(900_001), from, announce(SWARM, fresh)),
        Some(Body::Reply(_))
    ));
    assert_eq!(stored(&node), (1, 1));
}

#[test]
fn attack_31_sybils_of_one_subnet_get_one_question_and_one_place() {
    let mut node = plain();
    let honest = Contact { id: NodeId([0x90; 20]), addr: public(1) };
    node.vouch(at(0), honest, Duration::from_millis(50));
    node.lookup_peers(at(0), SWARM);
    let (to, question) = node.poll_message().unwrap();
    let sybil = |n: u8, host| {
        let mut id = SWARM.0;
        id[19] = n;
        Contact { id: NodeId(id), addr: SocketAddr::from(([70, 7, 7, host], 1000 + u16::from(n))) }
    };
    let mut reply = Reply::new(honest.id);
    let inside = [
        "127.0.0.1:22",
        "10.0.0.1:80",
        "192.168.1.1:80",
        "169.254.169.254:80",
        "0.0.0.0:1",
        "224.0.0.1:1",
    ];
    let inside = inside.iter().enumerate();
    let mut nodes: Vec<Contact> = (0..20).map(|n| sybil(n, n)).collect();
    nodes.extend(
        inside.map(|(n, text)| Contact { id: NodeId([0x98 + n as u8; 20]), addr: addr(text) }),
    );
    reply.nodes = Some(nodes);
    node.handle_message(at(50), to, Message::reply(question.transaction, reply), 500);
    let asked: Vec<SocketAddr> =
        std::iter::from_fn(|| node.poll_message()).map(|(to, _)| to).collect();
    assert_eq!(asked.len(), 1, "one of the /24, nobody inside: {asked:?}");
    assert_eq!(asked[0].ip(), IpAddr::from([70, 7, 7, 0]));

    // They all answer pings as well; still only one gets a place in its bucket.
    let mut table = plain();
    for n in 0..200 {
        table.vouch(at(0), sybil(n, n), Duration::from_millis(1));
    }
    assert_eq!(table.status(at(0)).v4.unwrap().nodes.good, 1);
    // One address under many names has one place in all of the table.
    let mut rng = Rng::seeded(3);
    for port in 1..200 {
        let contact =
            Contact { id: NodeId::random(&mut rng), addr: SocketAddr::from(([71, 1, 1, 1], port)) };
        table.vouch(at(0), contact, Duration::from_millis(1));
    }
    assert_eq!(table.status(at(0)).v4.unwrap().nodes.good, 2);
}

#[test]
fn attack_31_ids_that_fit_their_address_are_preferred() {
    let mut node = plain();
    let mut rng = Rng::seeded(5);
    // A thousand nodes with ids of their own choice fill the far bucket.
    for n in 0..1000 {
        let mut id = NodeId::random(&mut rng);
        id.0[0] |= 0x80;
        node.vouch(at(0), Contact { id, addr: public(n) }, Duration::from_millis(10));
    }
    let good = |node: &Node| node.status(at(0)).v4.unwrap().nodes.good;
    assert_eq!(good(&node), 128);
    let mut kept = 0;
    for n in 1000..1100 {
        let id = id_for(public(n).ip(), &mut rng);
        if id.0[0] & 0x80 != 0 {
            node.vouch(at(0), Contact { id, addr: public(n) }, Duration::from_millis(100));
            kept += usize::from(node.snapshot().nodes.iter().any(|contact| contact.id == id));
        }
    }
    assert!(kept >= 30, "only {kept} of those with a fitting id got a place");
    assert_eq!(good(&node), 128);
}

#[test]
fn attack_32_a_forged_sender_is_not_flooded_through_us() {
    let mut node = victim(Limits::default(), Terms::default());
    for n in 0..300u32 {
        let id = NodeId::random(&mut Rng::seeded(u64::from(n)));
        node.vouch(at(0), Contact { id, addr: public(n) }, Duration::from_millis(10));
    }
    let forged = addr("99.9.9.9:53");
    let query = Query { id: NodeId([7; 20]), read_only: true, ask: get_peers(SWARM) };
    let raw = Message::query(TransactionId::from(1), query).encode();
    let mut bytes = 0;
    for ms in 0..60_000 {
        bytes += throw(&mut node, at(ms), forged, &raw).map_or(0, |answer| answer.len());
    }
    let brought = 60_000 * raw.len();
    assert!(bytes < 352 * 400, "{bytes} bytes: a burst of 50 and 5 answers a second");
    assert!(bytes * 40 < brought, "{bytes} bytes for {brought}");
    // Nonsense is not answered, and errors count like answers.
    assert_eq!(
        throw(&mut node, at(59_999), forged, b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe"),
        None
    );
}

#[test]
fn attack_32_many_forged_senders_share_one_budget() {
    let mut node = victim(Limits::default(), Terms::default());
    let query = Query { id: NodeId([7; 20]), read_only: true, ask: get_peers(SWARM) };
    let raw = Message::query(TransactionId::from(1), query).encode();
    let mut bytes = 0;
    for n in 0..60_000u32 {
        bytes += throw(&mut node, at(n.into()), public(n), &raw).map_or(0, |answer| answer.len());
    }
    assert!(bytes <= (60 + 3) * 8_000, "{bytes} bytes in a minute");
}

#[test]
fn attack_32_answers_to_strangers_are_bounded_by_what_they_sent() {
    let mut node = plain();
    for n in 0..300 {
        let good = token(&mut node, at(0), public(n), SWARM).unwrap();
        ask(&mut node, at(0), public(n), announce(SWARM, good)).unwrap();
    }
    let stranger = public(1000);
    for scrape in [false, true] {
        for id in [NodeId([7; 20]), NodeId([8; 20])] {
            let ask = Ask::GetPeers {
                info_hash: SWARM,
                want: None,
                no_seed: false,
                scrape,
                bootstrap: false,
            };
            let raw = Message::query(TransactionId::from(1), Query { id, read_only: false, ask })
                .encode();
            let answer = throw(&mut node, at(1), stranger, &raw).unwrap();
            assert!(
                answer.len() <= 8 * raw.len() && answer.len() <= DATAGRAM_MAX,
                "{}",
                answer.len()
            );
        }
    }
    // Who has answered us from there may be told as much as fits.
    node.vouch(at(1), Contact { id: NodeId([7; 20]), addr: stranger }, Duration::ZERO);
    let Some(Body::Reply(reply)) = ask(&mut node, at(2), stranger, get_peers(SWARM)) else {
        panic!()
    };
    assert!(reply.values.unwrap().len() > 80);
}

#[test]
fn attack_32_an_item_is_no_bait_for_a_flood() {
    let mut node = plain();
    for n in 0..300u32 {
        let id = NodeId::random(&mut Rng::seeded(u64::from(n)));
        node.vouch(at(0), Contact { id, addr: public(n) }, Duration::from_millis(10));
    }
    let large = ItemValue::of_bytes(&[0x1b; 996]).unwrap();
    let item = Put::new(Item { value: large, signed: None });
    let target = item.target();
    assert_eq!(put_with_token(&mut node, public(1000), item), Ok(()));
    node.set_limits(Limits::default());
    let query = Query {
        id: NodeId([7; 20]),
        read_only: true,
        ask: Ask::Get { target, seq: None, want: None },
    };
    let raw = Message::query(TransactionId::from(1), query).encode();
    let mut bytes = 0;
    for ms in 0..60_000u32 {
        let answer = throw(&mut node, at(ms.into()), public(2000 + ms), &raw).unwrap_or_default();
        assert!(answer.len() <= 17 * raw.len(), "{} bytes", answer.len());
        bytes += answer.len();
    }
    assert!(bytes <= (60 + 3) * 8_000, "{bytes} bytes in a minute");
}

#[test]
fn attack_33_a_flood_of_items_is_bounded_and_one_network_cannot_have_all() {
    let mut node = plain();
    let item = |n: u32| Put::new(Item { value: value(&n.to_string()), signed: None });
    // Guessed tokens store nothing.
    for n in 0..100 {
        let guess = Token::new(&n.to_string().into_bytes()).unwrap();
        assert_eq!(put(&mut node, at(0), public(1), item(n), guess), Err(203));
    }
    assert_eq!(items(&node), 0);
    let one = (0..2_000).filter(|&n| put_with_token(&mut node, public(1), item(n)).is_ok());
    assert!(one.count() < 2_000 && items(&node) == 21, "a 32nd of 700, but {}", items(&node));
    let mut withheld = 0;
    for n in 0..3_000 {
        withheld +=
            usize::from(put_with_token(&mut node, public(2 + n), item(5_000 + n)) == Err(0));
    }
    assert_eq!(items(&node), 700);
    assert!(withheld > 500, "who would not be stored gets no token: {withheld}");
}

#[test]
fn attack_33_stored_peers_are_bounded_and_the_nearest_swarms_stay() {
    let mut node = plain();
    // Without a token nothing is stored at all.
    for n in 0..100 {
        let guess = Token::new(&n.to_string().into_bytes()).unwrap();
        let answer = ask(&mut node, at(0), public(n), announce(SWARM, guess));
        assert!(matches!(answer, Some(Body::Error(_))));
    }
    assert_eq!(stored(&node), (0, 0));
    // One address is one peer, however often it announces.
    for port in 1..100 {
        let from = SocketAddr::new(public(1).ip(), port);
        let good = token(&mut node, at(0), from, OWN_SWARM).unwrap();
        ask(&mut node, at(0), from, announce(OWN_SWARM, good));
    }
    assert_eq!(stored(&node), (1, 1));
    // A flood of swarms with proper tokens: 2000 are kept, among them the one nearest to us.
    let mut rng = Rng::seeded(9);
    let mut withheld = 0;
    for n in 0..6_000 {
        let swarm = InfoHash(NodeId::random(&mut rng).0);
        match token(&mut node, at(n), public(n as u32), swarm) {
            Some(good) => drop(ask(&mut node, at(n), public(n as u32), announce(swarm, good))),
            None => withheld += 1,
        }
    }
    assert_eq!(stored(&node).0, 2000);
    assert!(withheld > 1000, "who would not be stored gets no token: {withheld}");
    let Some(Body::Reply(reply)) = ask(&mut node, at(6_001), public(3), get_peers(OWN_SWARM))
    else {
        panic!()
    };
    assert_eq!(reply.values.map(|peers| peers.len()), Some(1));
    // A flood of peers of one swarm: 500 are kept, and the others get no token.
    let mut withheld = 0;
    for n in 0..600 {
        match token(&mut node, at(7_000), public(n), OWN_SWARM) {
            Some(good) => drop(ask(&mut node, at(7_000), public(n), announce(OWN_SWARM, good))),
            None => withheld += 1,
        }
    }
    assert_eq!((withheld, stored(&node).1), (100, 500 + 1999));
}

/// As near to our id as can be.
const OWN_SWARM: InfoHash = InfoHash(OWN.0);
