//! Dialogues: what a neighbour says, byte for byte, and what the machine answers, in both roles.

mod bounds;
mod hostile;
mod reach;
mod relay;

use super::super::Library;
use super::super::library::tests::file;
use super::*;
use crate::proto::gnutella::{
    First, Ggep, Handshake, Hit, Ping, Pong, Push, Qrp, Query, Trailer, Vendor,
};
use crate::rng::Rng;
use crate::share::Catalogue;
use std::net::SocketAddr;
use std::sync::Arc;

fn v4(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn library(names: &[&str]) -> Library {
    // Different contents, numbered in this order.
    let mut files = Catalogue::default();
    let mut items = Vec::new();
    for (content, name) in (7..).zip(names) {
        items.push(file(name, 9000, Some(content)));
        files = files.renewed(items.clone());
    }
    Library::new(Arc::new(files))
}

/// A servent and the far ends of its links.
struct Desk {
    servent: Servent,
    now: Instant,
    next: u8,
}

impl Desk {
    fn new(config: Config, names: &[&str]) -> Self {
        let rng = Rng::seeded(5);
        let servent = Servent::new(Instant::ZERO, config, Some(Guid([9; 16])), library(names), rng);
        Self { servent, now: Instant::ZERO, next: 0 }
    }

    fn of(role: Role) -> Self {
        Self::new(Config::of(role, v4("198.18.0.1:6346")), &["blue moon.mp3", "red sun.mp3"])
    }

    fn accept(&mut self) -> LinkId {
        self.next += 1;
        let addr = SocketAddr::from(([198, 18, self.next, 1], 4000));
        self.servent.accept(self.now, addr)
    }

    fn say(&mut self, link: LinkId, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        self.servent.handle_bytes(self.now, link, &mut input);
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.servent.handle_timeout(self.now);
        }
    }

    /// Everything for one link; what is for others is lost.
    fn heard(&mut self, link: LinkId) -> Vec<u8> {
        let mut heard = Vec::new();
        while let Some(out) = self.servent.poll_transmit() {
            self.servent.handle_sent(out.link, out.bytes.len());
            if out.link == link {
                heard.extend_from_slice(&out.bytes);
            }
        }
        heard
    }

    /// Descriptors for every link, in order.
    fn sent(&mut self) -> Vec<(LinkId, Descriptor)> {
        let mut sent = Vec::new();
        while let Some(out) = self.servent.poll_transmit() {
            self.servent.handle_sent(out.link, out.bytes.len());
            let mut bytes = BytesMut::from(&out.bytes[..]);
            if let Some(one) = Descriptor::decode(&mut bytes).ok().flatten() {
                sent.push((out.link, one));
            }
        }
        sent
    }

    fn sent_of(&mut self, kind: Kind) -> Vec<(LinkId, Descriptor)> {
        self.sent().into_iter().filter(|(_, one)| one.header.kind == kind).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.servent.poll_event()).collect()
    }

    fn block(&mut self, link: LinkId) -> Handshake {
        let mut heard = BytesMut::from(&self.heard(link)[..]);
        Handshake::decode(&mut heard).unwrap().unwrap()
    }

    /// A neighbour that has come and says what it is.
    fn join(&mut self, ultrapeer: bool) -> LinkId {
        let link = self.accept();
        let hello = format!(
            "GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: {ultrapeer}\r\nX-Query-Routing: 0.1\r\nX-Degree: 32\r\nX-Max-TTL: 4\r\n\
             Bye-Packet: 0.1\r\nVendor-Message: 0.2\r\n\r\n"
        );
        self.say(link, hello.as_bytes());
        self.say(link, b"GNUTELLA/0.6 200 OK\r\n\r\n");
        self.sent();
        self.events();
        assert!(self.servent.link(link).unwrap().side().is_some());
        link
    }

    fn give(&mut self, link: LinkId, descriptor: &Descriptor) {
        self.say(link, &descriptor.encode());
    }

    fn closed(&mut self) -> Why {
        self.sent();
        let closed = self.events().into_iter().find_map(|event| match event {
            Event::Closed { why, .. } => Some(why),
            _ => None,
        });
        closed.expect("a link was closed")
    }
}

fn query(n: u8, text: &str, ttl: u8) -> Descriptor {
    Descriptor::new(Guid([n; 16]), Kind::QUERY, ttl, Query::words(text).encode())
}

fn travelled(mut descriptor: Descriptor, hops: u8) -> Descriptor {
    descriptor.header.hops = hops;
    descriptor
}

fn hit(n: u8, servent: u8, ttl: u8) -> Descriptor {
    let hit = QueryHit {
        addr: v4("198.18.7.7:6346"),
        speed: 1,
        hits: (0..10)
            .map(|index| Hit {
                index,
                size: 1,
                name: "blue moon".into(),
                extensions: Default::default(),
            })
            .collect(),
        trailer: None,
        servent: Guid([servent; 16]),
    };
    Descriptor::new(Guid([n; 16]), Kind::QUERY_HIT, ttl, hit.encode())
}

fn table_of(words: &[&str]) -> Vec<Descriptor> {
    let mut table = Table::new(16);
    words.iter().for_each(|word| table.insert(word));
    let messages = table.messages().into_iter();
    messages.map(|message| Descriptor::new(Guid([1; 16]), Kind::QRP, 1, message.encode())).collect()
}

#[test]
fn the_handshake_of_old() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let link = desk.accept();
    desk.say(link, b"GNUTELLA CONNECT/0.4\n\n");
    assert_eq!(desk.heard(link), b"GNUTELLA OK\n\n");
    desk.give(link, &Descriptor::new(Guid([1; 16]), Kind::PING, 7, Bytes::new()));
    let sent = desk.sent();
    assert_eq!(
        (sent.len(), sent[0].1.header.kind, sent[0].1.header.guid),
        (1, Kind::PONG, Guid([1; 16]))
    );
}

#[test]
fn three_steps_and_what_follows_at_once() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let link = desk.accept();
    // In pieces, as streams come.
    let mut input = BytesMut::new();
    for byte in b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nX-Query-Routing: 0.1\r\nVendor-Message: 0.2\r\n\r\n" {
        input.extend_from_slice(&[*byte]);
        desk.servent.handle_bytes(desk.now, link, &mut input);
    }
    let answer = desk.block(link);
    assert_eq!(answer.first, First::Status(200, "OK".into()));
    for (name, value) in [
        ("Listen-IP", "198.18.0.1:6346"),
        ("Remote-IP", "198.18.1.1"),
        ("X-Ultrapeer", "True"),
        ("X-Ultrapeer-Needed", "True"),
        ("X-Query-Routing", "0.1"),
        ("X-Max-TTL", "4"),
        ("X-Degree", "32"),
        ("Pong-Caching", "0.1"),
        ("Bye-Packet", "0.1"),
        ("Accept-Encoding", "deflate"),
        ("GUID", "09090909090909090909090909090909"),
    ] {
        assert_eq!(answer.get(name), Some(value), "{name}");
    }
    assert_eq!(answer.get("Content-Encoding"), None, "it does not unpack");
    // The last block and the first descriptor in one read.
    let ping = Descriptor::new(Guid([2; 16]), Kind::PING, 1, Bytes::new()).encode();
    desk.say(link, &[&b"GNUTELLA/0.6 200 OK\r\n\r\n"[..], &ping].concat());
    let kinds: Vec<Kind> = desk.sent().iter().map(|(_, one)| one.header.kind).collect();
    assert_eq!(kinds, [Kind::VENDOR, Kind::QRP, Kind::QRP, Kind::PONG]);
    let joined = Event::Joined { link, side: Side::Ultrapeer, packed_in: false, packed_out: false };
    assert_eq!(desk.events(), [joined]);
}

#[test]
fn a_leaf_calls_an_ultrapeer() {
    let mut desk = Desk::of(Role::Leaf);
    desk.servent.add_host(v4("198.18.5.1:6346"));
    desk.pass(1);
    assert_eq!(desk.events(), [Event::Dial(v4("198.18.5.1:6346"))]);
    let link = desk.servent.connect(desk.now, "198.18.5.1:6346".parse().unwrap());
    let hello = desk.block(link);
    assert_eq!((hello.first.clone(), hello.flag("X-Ultrapeer")), (First::Connect06, Some(false)));
    desk.say(link, b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nX-Query-Routing: 0.1\r\nVendor-Message: 0.2\r\n\r\n");
    let mut heard = BytesMut::from(&desk.heard(link)[..]);
    let last = Handshake::decode(&mut heard).unwrap().unwrap();
    assert_eq!(last, Handshake::new(First::Status(200, "OK".into())));
    let first = Descriptor::decode(&mut heard).unwrap().unwrap();
    assert!(matches!(Vendor::parse(&first.payload), Ok(Vendor::Supported(_))));
    let reset = Descriptor::decode(&mut heard).unwrap().unwrap();
    assert_eq!(reset.payload[..], [0, 0, 0, 1, 0, 2], "RESET of 65 536 slots, infinity 2");
    let patch = Descriptor::decode(&mut heard).unwrap().unwrap();
    assert!(patch.payload.starts_with(&[1, 1, 1, 1, 4, 0x78]), "one PATCH, zlib, four bits");
    assert_eq!(patch.header.ttl, 1);
}

#[test]
fn leaves_refuse_leaves_and_say_where_else_to_try() {
    let mut desk = Desk::of(Role::Leaf);
    desk.servent.add_host(v4("198.18.5.1:6346"));
    let link = desk.accept();
    desk.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\n\r\n");
    assert_eq!(
        desk.heard(link),
        b"GNUTELLA/0.6 503 I am a leaf\r\nX-Try-Ultrapeers: 198.18.5.1:6346\r\n\r\n"
    );
    assert_eq!(desk.closed(), Why::Refused(503, "I am a leaf".into()));
    // Who calls us names nobody, let in or not.
    let mut busy = Desk::of(Role::Ultrapeer);
    let link = busy.accept();
    busy.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nX-Try: 198.18.8.1:1\r\n\r\n");
    busy.say(link, b"GNUTELLA/0.6 503 No\r\nX-Try-Ultrapeers: 198.18.8.2:2\r\n\r\n");
    assert_eq!((busy.closed(), busy.servent.hosts().count()), (Why::Refused(503, "No".into()), 0));
    // And an ultrapeer that refuses us names others.
    let link = desk.servent.connect(desk.now, "198.18.6.1:6346".parse().unwrap());
    desk.say(link, b"GNUTELLA/0.6 503 Full\r\nX-Try-Ultrapeers: 198.18.8.1:1,198.18.8.2:2 2004-01-01,127.0.0.1:3\r\n\r\n");
    assert_eq!(desk.closed(), Why::Refused(503, "Full".into()));
    let hosts: Vec<_> = desk.servent.hosts().collect();
    assert_eq!(hosts, [v4("198.18.8.2:2"), v4("198.18.8.1:1"), v4("198.18.5.1:6346")]);
}

#[test]
fn an_ultrapeer_without_leaves_becomes_a_leaf_if_asked() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let other = desk.join(true);
    let link = desk.servent.connect(desk.now, "198.18.5.1:6346".parse().unwrap());
    desk.heard(link);
    let answer = b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nX-Ultrapeer-Needed: False\r\n\r\n";
    desk.say(link, answer);
    let mut to_other = Vec::new();
    let mut last = None;
    while let Some(out) = desk.servent.poll_transmit() {
        if out.link == other {
            to_other.extend_from_slice(&out.bytes);
        } else {
            last = last.or(Some(out.bytes));
        }
    }
    assert_eq!(&last.unwrap()[..], b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: False\r\n\r\n");
    assert_eq!(desk.servent.role(), Role::Leaf);
    let bye = Descriptor::decode(&mut BytesMut::from(&to_other[..])).unwrap().unwrap();
    let text = Bye::parse(&bye.payload).unwrap();
    assert_eq!((text.code, text.reason.as_str(), bye.header.ttl), (203, "Becoming a leaf node", 1));
    // One with leaves stays what it is.
    let mut desk = Desk::of(Role::Ultrapeer);
    desk.join(false);
    let link = desk.servent.connect(desk.now, "198.18.5.1:6346".parse().unwrap());
    desk.heard(link);
    desk.say(link, answer);
    assert_eq!(desk.servent.role(), Role::Ultrapeer);
}

#[test]
fn packing_is_agreed_for_each_direction() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let link = desk.accept();
    desk.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\nAccept-Encoding: deflate\r\nVendor-Message: 0.2\r\n\r\n");
    let out = desk.servent.poll_transmit().unwrap();
    assert!(!out.packed, "the handshake never is");
    let answer = Handshake::decode(&mut BytesMut::from(&out.bytes[..])).unwrap().unwrap();
    assert_eq!(answer.get("Content-Encoding"), Some("deflate"));
    let mut input =
        BytesMut::from(&b"GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n\x78\x9c"[..]);
    desk.servent.handle_bytes(desk.now, link, &mut input);
    assert_eq!(input, b"\x78\x9c"[..], "the stream is the driver's to unpack");
    let joined = Event::Joined { link, side: Side::Leaf, packed_in: true, packed_out: true };
    assert_eq!(desk.events(), [joined]);
    assert!(desk.servent.poll_transmit().unwrap().packed);

    let mut desk = Desk::new(
        Config { deflate: false, ..Config::of(Role::Ultrapeer, v4("198.18.0.1:6346")) },
        &[],
    );
    let link = desk.accept();
    desk.say(
        link,
        b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\nAccept-Encoding: deflate\r\n\r\n",
    );
    let answer = desk.block(link);
    assert_eq!((answer.get("Accept-Encoding"), answer.get("Content-Encoding")), (None, None));
    desk.say(link, b"GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n");
    assert!(matches!(desk.closed(), Why::Refused(400, _)));
}

#[test]
fn there_is_room_for_so_many() {
    let mut config = Config::of(Role::Ultrapeer, v4("198.18.0.1:6346"));
    (config.leaves_max, config.links_max) = (2, 1);
    let mut desk = Desk::new(config, &[]);
    desk.join(false);
    desk.join(true);
    desk.join(false);
    for (ultrapeer, network) in [("True", 100), ("False", 101)] {
        let link = desk.servent.accept(desk.now, SocketAddr::from(([198, 18, network, 1], 1)));
        desk.say(
            link,
            format!("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: {ultrapeer}\r\n\r\n").as_bytes(),
        );
        assert_eq!(desk.closed(), Why::Refused(503, "Full".into()));
    }
    // Two of one public network, and as many as there is room for of this machine.
    let mut desk = Desk::of(Role::Ultrapeer);
    for (ip, third) in [([198, 18, 50, 1], false), ([127, 0, 0, 1], true)] {
        for nth in 0..3 {
            let link = desk.servent.accept(desk.now, SocketAddr::from((ip, nth + 1)));
            desk.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\n\r\n");
            desk.say(link, b"GNUTELLA/0.6 200 OK\r\n\r\n");
            let open = desk.servent.link(link).is_some_and(|link| link.side().is_some());
            assert_eq!(open, nth < 2 || third, "{ip:?} {nth}");
        }
    }
}

#[test]
fn links_that_end_with_a_word() {
    #[track_caller]
    fn check(role: Role, ultrapeer: bool, code: u16, act: impl Fn(&mut Desk, LinkId)) {
        let mut desk = Desk::of(role);
        let link = desk.join(ultrapeer);
        act(&mut desk, link);
        let byes = desk.sent_of(Kind::BYE);
        assert_eq!(byes.len(), 1, "{code}");
        assert_eq!(Bye::parse(&byes[0].1.payload).unwrap().code, code);
        let closed = desk.events().into_iter().any(|event| matches!(event, Event::Closed { .. }));
        assert!(closed && desk.servent.link(link).is_none());
    }
    check(Role::Ultrapeer, false, 414, |desk, link| {
        desk.give(link, &travelled(query(1, "relayed", 2), 1));
    });
    check(Role::Ultrapeer, true, 413, |desk, link| desk.give(link, &table_of(&["x"])[1]));
    check(Role::Ultrapeer, true, 400, |desk, link| {
        desk.give(link, &query(1, &"x".repeat(1100), 2));
    });
    check(Role::Ultrapeer, true, 501, |desk, link| desk.say(link, &[0xff; 23]));
    check(Role::Leaf, true, 406, |desk, _| desk.pass(60 + 30 + 2));
    check(Role::Leaf, true, 200, |desk, _| desk.servent.shut_down(desk.now));
    check(Role::Ultrapeer, false, 409, |desk, link| {
        for n in 0..=111u8 {
            desk.give(link, &query(n, &format!("query {n} of many"), 1));
        }
    });
}

#[test]
fn a_reader_that_is_too_slow_is_told_and_then_left() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(a, &query(1, "some words", 3));
    desk.give(a, &query(3, "other words", 3));
    // The driver takes nothing off: hits pile up for the asker.
    for n in 0..230u8 {
        desk.give(b, &hit(1, n, 3));
    }
    desk.pass(1);
    desk.give(a, &query(2, "more words", 3));
    assert_eq!(desk.servent.counters().refused, 1, "its queries are dropped");
    for n in 0..200u8 {
        desk.give(b, &hit(3, n, 3));
    }
    let why = desk.closed();
    assert_eq!(why, Why::Ours(502));
}

#[test]
fn handshakes_do_not_take_for_ever() {
    let mut desk = Desk::of(Role::Leaf);
    desk.accept();
    desk.pass(14);
    assert_eq!(desk.events(), []);
    desk.pass(2);
    assert_eq!(desk.closed(), Why::Timeout);
    let link = desk.accept();
    desk.say(link, b"\x13BitTorrent protocol");
    assert_eq!(desk.closed(), Why::Wire(GnutellaError::Handshake));
}

#[test]
fn a_bye_of_the_other_side() {
    let mut desk = Desk::of(Role::Leaf);
    let link = desk.join(true);
    desk.give(
        link,
        &Descriptor::new(Guid([1; 16]), Kind::BYE, 1, Bytes::from_static(b"\xc8\0Bye\0")),
    );
    assert_eq!(desk.closed(), Why::Bye(200, "Bye".into()));
}

#[test]
fn who_listens_everywhere_learns_its_address_from_neighbours() {
    let config = Config::of(Role::Leaf, v4("0.0.0.0:6346"));
    let mut desk = Desk::new(config, &[]);
    let call = |desk: &mut Desk, n: u8, remote: &str| {
        let there = SocketAddr::from(([198, 18, n, 1], 6346));
        let link = desk.servent.connect(desk.now, there);
        let hello = desk.block(link);
        let answer =
            format!("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nRemote-IP: {remote}\r\n\r\n");
        desk.say(link, answer.as_bytes());
        desk.sent();
        hello.get("Listen-IP").map(ToOwned::to_owned)
    };
    assert_eq!(call(&mut desk, 1, "127.0.0.1"), None, "there is nothing to say yet");
    assert_eq!(desk.servent.addr(), v4("0.0.0.0:6346"), "a stranger cannot mean this machine");
    assert_eq!(call(&mut desk, 2, "198.18.70.7"), None);
    assert_eq!(desk.servent.addr(), v4("198.18.70.7:6346"));
    assert_eq!(call(&mut desk, 3, "198.18.70.7"), Some("198.18.70.7:6346".into()));
}

#[test]
fn a_leaf_that_can_do_more_comes_again_as_an_ultrapeer() {
    let mut desk = Desk::of(Role::Leaf);
    let link = desk.join(true);
    desk.servent.become_ultrapeer(desk.now);
    assert_eq!(desk.servent.role(), Role::Ultrapeer);
    let byes = desk.sent_of(Kind::BYE);
    assert_eq!((byes.len(), byes[0].0), (1, link));
    assert_eq!(Bye::parse(&byes[0].1.payload).unwrap().code, 203);
    desk.events();
    desk.pass(1);
    assert_eq!(desk.events(), [Event::Dial(v4("198.18.1.1:4000"))]);
    desk.join(false); // and it takes leaves
    // Whose role is his owner's wish stays what he is, whatever others like.
    let fixed = Config { fixed: true, ..Config::of(Role::Ultrapeer, v4("198.18.0.1:6346")) };
    let mut desk = Desk::new(fixed, &[]);
    let link = desk.servent.connect(desk.now, "198.18.5.1:6346".parse().unwrap());
    desk.heard(link);
    desk.say(
        link,
        b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nX-Ultrapeer-Needed: False\r\n\r\n",
    );
    assert_eq!(desk.servent.role(), Role::Ultrapeer);
}

#[test]
fn an_ultrapeer_that_comes_later_is_asked_what_the_others_were() {
    let mut desk = Desk::of(Role::Leaf);
    let search = desk.servent.search(desk.now, Query::words("blue moon")).unwrap();
    desk.accept();
    let link = desk.servent.connect(desk.now, "198.18.5.1:6346".parse().unwrap());
    desk.heard(link);
    desk.say(link, b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\n\r\n");
    let asked = desk.sent_of(Kind::QUERY);
    assert_eq!((asked.len(), asked[0].0, asked[0].1.header.guid), (1, link, search));
    desk.servent.stop(desk.now, search);
    let link = desk.servent.connect(desk.now, "198.18.6.1:6346".parse().unwrap());
    desk.heard(link);
    desk.say(link, b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\n\r\n");
    assert_eq!(desk.sent_of(Kind::QUERY), []);
}

#[test]
fn other_files_can_be_shared_at_any_time() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let link = desk.join(true);
    let hits = |desk: &mut Desk, n: u8, text: &str| {
        desk.give(link, &travelled(query(n, text, 1), 1));
        desk.sent_of(Kind::QUERY_HIT).len()
    };
    assert_eq!(hits(&mut desk, 1, "blue moon"), 1);
    desk.pass(62);
    assert_eq!(desk.sent_of(Kind::QRP), [], "nothing has changed");
    desk.servent.share(library(&["green star.mp3"]));
    assert_eq!((hits(&mut desk, 2, "blue"), hits(&mut desk, 3, "green star")), (0, 1));
    desk.pass(4);
    assert!(desk.sent_of(Kind::QRP).iter().any(|(to, _)| *to == link), "the neighbour is told");
}

/// A leaf, its ultrapeer and another with a leaf, all of them machines.
#[test]
fn servents_find_each_others_files() {
    let config = |role, n: u8| Config::of(role, SocketAddrV4::new([198, 18, n, 1].into(), 6346));
    let roles = [Role::Leaf, Role::Ultrapeer, Role::Ultrapeer, Role::Leaf];
    let mut all: Vec<Servent> = (0..4u8)
        .map(|n| {
            let files = library(if n == 3 { &["blue moon.mp3"] } else { &[] });
            let rng = Rng::seeded(n.into());
            Servent::new(Instant::ZERO, config(roles[usize::from(n)], n), None, files, rng)
        })
        .collect();
    let mut now = Instant::ZERO;
    // (servent, its link) at both ends.
    let mut wires = Vec::new();
    for (from, to) in [(0, 1), (1, 2), (3, 2)] {
        let there = SocketAddr::from(([198, 18, to as u8, 1], 6346));
        let here = SocketAddr::from(([198, 18, from as u8, 1], 6346));
        wires.push(((from, all[from].connect(now, there)), (to, all[to].accept(now, here))));
    }
    let mut buffers: BTreeMap<(usize, LinkId), BytesMut> = BTreeMap::new();
    let mut run = |all: &mut Vec<Servent>, now: Instant| {
        for _ in 0..20 {
            for n in 0..all.len() {
                while let Some(out) = all[n].poll_transmit() {
                    all[n].handle_sent(out.link, out.bytes.len());
                    let end = (n, out.link);
                    let far = wires.iter().find_map(|&(a, b)| {
                        if a == end { Some(b) } else { (b == end).then_some(a) }
                    });
                    let (to, link) = far.unwrap();
                    let buffer = buffers.entry((to, link)).or_default();
                    buffer.extend_from_slice(&out.bytes);
                    // Packed only in name: this driver packs nothing, so it hands in what is left at once.
                    all[to].handle_bytes(now, link, buffer);
                    all[to].handle_bytes(now, link, buffer);
                }
            }
        }
    };
    run(&mut all, now);
    assert!(all.iter().all(|servent| servent.links().all(|(_, link)| link.side().is_some())));
    let search = all[0].search(now, Query::words("moon")).unwrap();
    for _ in 0..20 {
        run(&mut all, now);
        now += Duration::from_secs(1);
        all.iter_mut().for_each(|servent| servent.handle_timeout(now));
    }
    let hits: Vec<_> = std::iter::from_fn(|| all[0].poll_event())
        .filter_map(|event| match event {
            Event::Hit { search: of, hit, .. } if of == search => Some(hit),
            _ => None,
        })
        .collect();
    assert_eq!((hits.len(), hits[0].servent), (1, all[3].guid()));
    assert_eq!(all[0].push(now, hits[0].servent, 0), Ok(()));
    run(&mut all, now);
    let pushed = std::iter::from_fn(|| all[3].poll_event()).find_map(|event| match event {
        Event::Push { addr, index, .. } => Some((addr, index)),
        _ => None,
    });
    assert_eq!(pushed, Some((v4("198.18.0.1:6346"), 0)));
}
