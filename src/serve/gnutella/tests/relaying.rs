//! What an ultrapeer does for others, and how it becomes a leaf.

use super::*;
use gaggle_core::proto::gnutella::{Ggep, Hit, Pong, Push, QueryHit};

impl Far {
    /// Every descriptor of this kind that was given out before what the servent hears now. It answers a Ping a second.
    async fn before_now(&mut self, kind: Kind) -> Vec<Descriptor> {
        let ping = Descriptor::new(guid(0xaa), Kind::PING, 1, vec![]);
        self.give(&ping).await;
        let mut before = Vec::new();
        loop {
            let next = self.next().await.expect("it was closed");
            if (next.header.kind, next.header.guid) == (Kind::PONG, ping.header.guid) {
                return before;
            }
            before.extend((next.header.kind == kind).then_some(next));
        }
    }
}

/// Ten files of a servent.
fn answer(query: u8, servent: u8) -> Descriptor {
    let hit =
        |index| Hit { index, size: 1, name: "violet light".into(), extensions: <_>::default() };
    let answer = QueryHit {
        addr: "127.0.0.1:7777".parse().unwrap(),
        speed: 1,
        hits: (0..10).map(hit).collect(),
        trailer: None,
        servent: guid(servent),
    };
    Descriptor::new(guid(query), Kind::QUERY_HIT, 3, answer.encode())
}

#[tokio::test]
async fn a_leaf_that_asks_for_it_is_given_pushes() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut leaf = Far::join(&servent, false, "").await;
    let mut other = Far::join(&servent, true, "").await;
    leaf.give(&Descriptor::new(guid(0x77), Kind::VENDOR, 1, Vendor::ProxyPlease.encode())).await;
    let answer = loop {
        let next = leaf.next_of(Kind::VENDOR).await;
        if next.header.guid == guid(0x77) {
            break next;
        }
    };
    let mut want = b"LIME\x16\0\x02\0\x7f\0\0\x01".to_vec();
    want.extend(servent.addr().port().to_le_bytes());
    assert_eq!((answer.header.ttl, &answer.payload[..]), (1, &want[..]));
    // The last link costs no TTL.
    let addr = "127.0.0.1:80".parse().unwrap();
    let push = Push { target: guid(0x77), index: 9, addr, ggep: Ggep::new() };
    other.give(&Descriptor::new(guid(2), Kind::PUSH, 1, push.encode())).await;
    let got = leaf.next_of(Kind::PUSH).await;
    assert_eq!((got.header.ttl, got.header.hops, &got.payload[..]), (1, 1, &push.encode()[..]));
}

#[tokio::test]
async fn a_leafs_question_goes_to_three_ultrapeers_first() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut leaf = Far::join(&servent, false, "").await;
    let mut ultrapeers = Vec::new();
    for _ in 0..7 {
        ultrapeers.push(Far::join(&servent, true, "").await);
    }
    until(&servent, |status| (status.ultrapeers, status.leaves) == (7, 1)).await;
    let ask = Query { flags: Query::FLAGS | Query::LEAF_GUIDED, ..Query::words("violet light") };
    let ask = Descriptor::new(guid(1), Kind::QUERY, 4, ask.encode());
    leaf.give(&ask).await;
    // How many hits has it kept? This is asked when they have been.
    let guide = loop {
        let next = leaf.next_of(Kind::VENDOR).await;
        if next.header.guid == guid(1) {
            break next;
        }
    };
    assert_eq!(guide.payload[..], *b"BEAR\x0b\0\x01\0");
    let mut asked = Vec::new();
    for ultrapeer in &mut ultrapeers {
        asked.extend(ultrapeer.before_now(Kind::QUERY).await);
    }
    // One hop so far, and two links to go; the payload as it came. The fourth would be asked eight seconds later.
    let mut want = ask.encode();
    (want[17], want[18]) = (2, 1);
    assert_eq!(asked.iter().map(Descriptor::encode).collect::<Vec<_>>(), vec![want; 3]);
}

#[tokio::test]
async fn what_was_just_answered_is_not_asked_again() {
    let servent = start(config(Role::Ultrapeer), None);
    let [mut one, mut two] =
        [Far::join(&servent, true, "").await, Far::join(&servent, true, "").await];
    let mut has = Far::join(&servent, true, "").await;
    until(&servent, |status| status.ultrapeers == 3).await;
    one.give(&query(1, "violet light", 3)).await;
    has.next_of(Kind::QUERY).await;
    has.give(&answer(1, 0x77)).await;
    one.next_of(Kind::QUERY_HIT).await;
    // In other words, and under another name.
    two.give(&query(2, "LIGHT, violet", 3)).await;
    let kept = two.next_of(Kind::QUERY_HIT).await;
    assert_eq!((kept.header.guid, &kept.payload), (guid(2), &answer(1, 0x77).payload));
    assert_eq!(has.before_now(Kind::QUERY).await, []);
    assert_eq!(until(&servent, |status| status.counters.cached == 1).await.counters.unrouted, 0);
    // The same question on another way is dropped.
    two.give(&query(1, "violet light", 2)).await;
    until(&servent, |status| status.counters.duplicates == 1).await;
}

#[tokio::test]
async fn pings_are_answered_from_what_was_heard() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut asker = Far::join(&servent, true, "").await;
    let mut other = Far::join(&servent, true, "").await;
    for n in 1..=12 {
        let addr = SocketAddrV4::new([198, 18, 90, n].into(), 6346);
        let pong = Pong { addr, files: 1, kbytes: 9, ggep: Ggep::new() };
        other.give(&Descriptor::new(guid(n), Kind::PONG, 3, pong.encode())).await;
    }
    other.before_now(Kind::PONG).await;
    asker.give(&Descriptor::new(guid(20), Kind::PING, 4, vec![])).await;
    let mut heard = Vec::new();
    for _ in 0..11 {
        let pong = asker.next_of(Kind::PONG).await;
        assert_eq!(pong.header.guid, guid(20));
        heard.push(Pong::parse(&pong.payload).unwrap().addr);
    }
    assert_eq!(heard[0], servent.addr());
    assert!(heard[1..].iter().all(|addr| addr.ip().octets()[..3] == [198, 18, 90]), "{heard:?}");
    // Nobody else was asked for it.
    tokio::time::sleep(Duration::from_millis(1_100)).await; // it answers a link once a second
    let asked = other.before_now(Kind::PING).await;
    assert!(asked.iter().all(|ping| ping.header.guid != guid(20)));
}

#[tokio::test]
async fn an_ultrapeer_that_is_not_needed_becomes_a_leaf() {
    let mut wishes = config(Role::Auto);
    wishes.promote_after = Duration::from_millis(1);
    let servent = start(wishes, None);
    until(&servent, |status| status.role == Now::Ultrapeer).await;
    let mut other = Far::join(&servent, true, "").await;
    until(&servent, |status| status.ultrapeers == 1).await;
    let listener = TcpListener::bind(NOWHERE).await.unwrap();
    servent.connect(vec![listener.local_addr().unwrap()]).await;
    let mut far = Far::of(soon(listener.accept()).await.unwrap().0);
    assert_eq!(far.block().await.get("X-Ultrapeer"), Some("True"));
    far.say("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nX-Ultrapeer-Needed: False\r\n\r\n").await;
    assert_eq!(far.text().await, "GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: False\r\n\r\n");
    let bye = other.end().await.pop().unwrap();
    assert_eq!(bye.encode()[16..], *b"\x02\x01\0\x17\0\0\0\xcb\0Becoming a leaf node\0");
}
