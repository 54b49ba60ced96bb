//! Dialogues about what is relayed, answered and searched for.

use super::*;

#[test]
fn a_query_crosses_each_link_once_and_its_hits_go_back() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b, c) = (desk.join(true), desk.join(true), desk.join(true));
    desk.give(a, &travelled(query(1, "moon blue", 3), 1));
    let sent = desk.sent();
    let whom: Vec<_> = sent
        .iter()
        .map(|(link, one)| (*link, one.header.kind, one.header.ttl, one.header.hops))
        .collect();
    assert_eq!(
        whom,
        [(a, Kind::QUERY_HIT, 3, 0), (b, Kind::QUERY, 2, 2), (c, Kind::QUERY, 2, 2)],
        "answered, and relayed to the others"
    );
    let found = QueryHit::parse(&sent[0].1.payload).unwrap();
    assert_eq!((found.hits.len(), found.hits[0].name.as_str()), (1, "blue moon.mp3"));
    assert_eq!(found.trailer.unwrap().push, Some(false));
    // The same once more, from elsewhere.
    desk.give(b, &travelled(query(1, "moon blue", 2), 2));
    assert_eq!((desk.sent().len(), desk.servent.counters().duplicates), (0, 1));
    // Hits find their way, byte for byte; those that nobody asked for do not.
    let found = travelled(hit(1, 8, 3), 1);
    desk.give(c, &found);
    let sent = desk.sent();
    assert_eq!((sent.len(), sent[0].0, &sent[0].1.payload), (1, a, &found.payload));
    assert_eq!((sent[0].1.header.ttl, sent[0].1.header.hops), (2, 2));
    desk.give(c, &hit(99, 8, 3));
    assert_eq!((desk.sent().len(), desk.servent.counters().unrouted), (0, 1));
    // Push finds the servent that answered.
    let push =
        Push { target: Guid([8; 16]), index: 0, addr: v4("198.18.9.9:1"), ggep: Ggep::new() };
    desk.give(b, &Descriptor::new(Guid([3; 16]), Kind::PUSH, 4, push.encode()));
    let sent = desk.sent();
    assert_eq!((sent.len(), sent[0].0, sent[0].1.header.kind), (1, c, Kind::PUSH));
    assert_eq!(Push::parse(&sent[0].1.payload), Ok(push));
    // To nobody whom the one who asks may not name.
    for bad in ["127.0.0.1:22", "10.0.0.1:80", "198.18.9.9:0"] {
        let push = Push { target: Guid([8; 16]), index: 0, addr: v4(bad), ggep: Ggep::new() };
        desk.give(b, &Descriptor::new(Guid([4; 16]), Kind::PUSH, 4, push.encode()));
        assert_eq!(desk.sent(), [], "{bad}");
    }
    desk.now += Duration::from_secs(600);
    desk.give(c, &hit(1, 8, 3));
    assert_eq!((desk.sent().len(), desk.servent.counters().unrouted), (0, 2), "forgotten");
}

#[test]
fn attack_45_answers_that_point_inside() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(a, &query(1, "violet light", 3));
    desk.sent();
    for (addr, push, relayed) in [
        ("10.0.0.1:80", None, 0),
        ("127.0.0.1:22", Some(false), 0),
        ("198.18.7.7:0", None, 0),
        // Who must be asked for a Push is not connected to.
        ("10.0.0.1:80", Some(true), 1),
        ("198.18.7.7:80", None, 1),
    ] {
        let mut answer = QueryHit::parse(&hit(1, 7, 3).payload).unwrap();
        answer.addr = v4(addr);
        answer.trailer = Some(Trailer { push, ..Trailer::default() });
        desk.give(b, &Descriptor::new(Guid([1; 16]), Kind::QUERY_HIT, 3, answer.encode()));
        assert_eq!(desk.sent().len(), relayed, "{addr}");
    }
    assert_eq!(desk.servent.counters().refused, 3);
}

#[test]
fn how_far_descriptors_go() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(a, &query(1, "far away", 1));
    desk.give(a, &travelled(query(2, "too far", 9), 6));
    assert_eq!(desk.sent_of(Kind::QUERY), []);
    desk.give(a, &query(3, "hostile", 16));
    assert_eq!(desk.servent.counters().too_far, 1);
    desk.give(a, &query(4, "cut to seven", 15));
    let sent = desk.sent_of(Kind::QUERY);
    assert_eq!((sent.len(), sent[0].0, sent[0].1.header.ttl), (1, b, 6));
    desk.give(a, &query(5, "no more", 0));
    assert_eq!((desk.sent().len(), desk.servent.counters().too_far), (0, 2));
}

#[test]
fn attack_45_queries_that_go_nowhere() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(a, &query(1, "a b c", 3));
    desk.give(a, &query(2, "   ", 3));
    desk.give(a, &query(3, "con\u{7}trol", 3));
    desk.give(a, &query(4, &"long ".repeat(60), 3));
    assert_eq!((desk.sent().len(), desk.servent.counters().refused), (0, 4));
    desk.give(a, &query(5, "once", 3));
    desk.give(a, &query(6, "once", 3));
    assert_eq!(desk.sent_of(Kind::QUERY).len(), 1, "again within five seconds");
    desk.pass(5);
    desk.give(a, &query(7, "once", 3));
    assert_eq!(desk.sent_of(Kind::QUERY).iter().filter(|(link, _)| *link == b).count(), 1);
    // Four blanks ask what is shared, and only us.
    desk.give(a, &query(8, "    ", 1));
    let sent = desk.sent();
    assert_eq!((sent.len(), QueryHit::parse(&sent[0].1.payload).unwrap().hits.len()), (1, 2));
}

#[test]
fn the_last_link_is_crossed_only_to_who_may_know() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, yes, no, unknown) =
        (desk.join(true), desk.join(true), desk.join(true), desk.join(true));
    let (leaf, other) = (desk.join(false), desk.join(false));
    table_of(&["violet"]).iter().for_each(|one| desk.give(yes, one));
    table_of(&["violet"]).iter().for_each(|one| desk.give(leaf, one));
    table_of(&["green"]).iter().for_each(|one| desk.give(no, one));
    table_of(&["green"]).iter().for_each(|one| desk.give(other, one));
    desk.give(a, &query(1, "violet", 2));
    let whom: Vec<_> = desk.sent().iter().map(|(link, one)| (*link, one.header.ttl)).collect();
    assert_eq!(whom, [(yes, 1), (unknown, 1), (leaf, 1)]);
    // With links to go, tables say nothing; leaves are asked whatever the TTL.
    desk.give(a, &query(2, "violet light", 3));
    let whom: Vec<_> = desk.sent().iter().map(|(link, _)| *link).collect();
    assert_eq!(whom, [yes, no, unknown]);
    desk.give(a, &query(3, "violet", 1));
    assert_eq!(desk.servent.counters().refused, 0);
    let whom: Vec<_> = desk.sent().iter().map(|(link, _)| *link).collect();
    assert_eq!(whom, [leaf]);
    // What the leaf can be asked for is told to ultrapeers within a minute.
    desk.pass(61);
    let told = desk.sent_of(Kind::QRP);
    let mut received = super::super::super::table::Received::default();
    for (_, one) in told.iter().filter(|(link, _)| *link == a) {
        received.handle(Qrp::parse(&one.payload).unwrap()).unwrap();
    }
    let table = received.table().unwrap();
    assert!(table.has("violet") && table.has("moon") && !table.has("purple"));
}

#[test]
fn pings_are_answered_from_what_was_heard() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    for n in 1..=15u8 {
        let pong = Pong {
            addr: SocketAddrV4::new([198, 18, 90, n].into(), 1),
            files: 1,
            kbytes: 8,
            ggep: Ggep::new(),
        };
        desk.give(
            b,
            &travelled(Descriptor::new(Guid([n; 16]), Kind::PONG, 3, pong.encode()), n % 3),
        );
    }
    assert_eq!(desk.servent.hosts().count(), 15);
    let ping = |n: u8, ttl, hops| {
        let ping = Ping { ggep: Ggep::new().with("SCP", vec![1]) };
        travelled(Descriptor::new(Guid([n; 16]), Kind::PING, ttl, ping.encode()), hops)
    };
    desk.give(a, &ping(1, 1, 0));
    let sent = desk.sent();
    assert_eq!(sent.len(), 1, "with TTL 1 only about ourselves");
    let me = Pong::parse(&sent[0].1.payload).unwrap();
    assert_eq!((me.addr, me.files, me.kbytes.is_power_of_two()), (v4("198.18.0.1:6346"), 2, true));
    assert_eq!(me.ggep.get("IPP").unwrap().len(), 60);
    desk.give(a, &ping(2, 4, 0));
    assert_eq!((desk.sent().len(), desk.servent.counters().refused), (0, 1), "within a second");
    desk.now += Duration::from_secs(1);
    desk.give(a, &ping(3, 4, 0));
    let sent = desk.sent();
    assert_eq!(sent.len(), 11, "ourselves and ten others, and nobody else was asked");
    assert!(sent.iter().all(|(link, one)| *link == a && one.header.kind == Kind::PONG));
    assert!(
        sent.iter().all(|(_, one)| one.header.ttl + one.header.hops <= 7 && one.header.ttl > 0)
    );
    desk.now += Duration::from_secs(1);
    desk.give(a, &ping(4, 2, 0));
    let hops: Vec<u8> = desk.sent().iter().map(|(_, one)| one.header.hops).collect();
    assert!(hops.len() > 1 && hops.iter().all(|&hops| hops <= 1), "a crawler wants neighbours");
}

#[test]
fn a_search_of_a_leaf_is_carried_on_for_it() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let leaf = desk.join(false);
    let ups: Vec<LinkId> = (0..6).map(|_| desk.join(true)).collect();
    let ask = Query { flags: Query::FLAGS | Query::LEAF_GUIDED, ..Query::words("violet light") };
    desk.give(leaf, &Descriptor::new(Guid([1; 16]), Kind::QUERY, 4, ask.encode()));
    let sent = desk.sent();
    let asked: Vec<_> = sent.iter().filter(|(_, one)| one.header.kind == Kind::QUERY).collect();
    assert_eq!(
        asked
            .iter()
            .map(|(link, one)| (*link, one.header.ttl, one.header.hops))
            .collect::<Vec<_>>(),
        ups[..3].iter().map(|&link| (link, 2, 1)).collect::<Vec<_>>()
    );
    let guide = sent.iter().find(|(_, one)| one.header.kind == Kind::VENDOR).unwrap();
    assert_eq!((guide.0, guide.1.header.guid), (leaf, Guid([1; 16])));
    assert_eq!(Vendor::parse(&guide.1.payload), Ok(Vendor::HowMany));
    desk.pass(8);
    assert_eq!(desk.sent_of(Kind::QUERY).len(), 1, "then one at a time");
    let stop = Vendor::Kept(Vendor::STOP).encode();
    desk.give(leaf, &Descriptor::new(Guid([1; 16]), Kind::VENDOR, 1, stop));
    desk.pass(30);
    assert_eq!(desk.sent_of(Kind::QUERY), [], "the leaf has enough");
    // Whatever still comes goes to the leaf.
    desk.give(ups[0], &hit(1, 7, 3));
    assert_eq!(desk.sent()[0].0, leaf);
}

#[test]
fn an_answer_that_two_neighbours_have_passes_once() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (asker, a, b) = (desk.join(true), desk.join(true), desk.join(true));
    desk.give(asker, &query(1, "violet light", 4));
    desk.sent();
    // One has kept it since somebody else asked, the other brings it from its author.
    desk.give(a, &hit(1, 7, 3));
    desk.give(b, &travelled(hit(1, 7, 3), 2));
    desk.give(b, &hit(1, 8, 3));
    assert_eq!(desk.sent_of(Kind::QUERY_HIT).len(), 2);
    assert_eq!(desk.servent.counters().duplicates, 1);
}

#[test]
fn a_leaf_answers_counts_and_stops() {
    let mut desk = Desk::of(Role::Leaf);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(a, &travelled(query(1, "red sun", 1), 3));
    let sent = desk.sent();
    assert_eq!(
        (sent.len(), sent[0].0, sent[0].1.header.ttl),
        (1, a, 5),
        "an answer, and nothing is relayed"
    );
    desk.give(b, &travelled(hit(1, 7, 2), 1));
    assert_eq!((desk.sent(), desk.servent.counters().unrouted), (vec![], 1), "whoever says so");
    let search = desk.servent.search(desk.now, Query::words("violet")).unwrap();
    let sent = desk.sent();
    assert_eq!(sent.iter().map(|(link, _)| *link).collect::<Vec<_>>(), [a, b]);
    assert_ne!(Query::parse(&sent[0].1.payload).unwrap().flags & Query::LEAF_GUIDED, 0);
    let mut answer = hit(1, 7, 2);
    answer.header.guid = search;
    desk.give(a, &answer);
    assert!(
        matches!(&desk.events()[..], [Event::Hit { search: of, hit, .. }] if *of == search && hit.hits.len() == 10)
    );
    desk.servent.discount(search, 4);
    desk.give(a, &Descriptor::new(search, Kind::VENDOR, 1, Vendor::HowMany.encode()));
    let sent = desk.sent();
    assert_eq!(Vendor::parse(&sent[0].1.payload), Ok(Vendor::Kept(6)));
    assert_eq!(desk.servent.push(desk.now, Guid([7; 16]), 3), Ok(()));
    assert_eq!(desk.sent_of(Kind::PUSH)[0].0, a);
    assert_eq!(desk.servent.push(desk.now, Guid([6; 16]), 3), Err(NoPush::NoWay));
    desk.servent.stop(desk.now, search);
    let sent = desk.sent();
    assert_eq!(Vendor::parse(&sent[0].1.payload), Ok(Vendor::Kept(Vendor::STOP)));
    desk.give(a, &answer);
    assert_eq!(desk.events(), []);
}

#[test]
fn a_push_that_is_for_us() {
    let mut desk = Desk::of(Role::Leaf);
    let link = desk.join(true);
    let push = |addr: &str| {
        let push = Push { target: Guid([9; 16]), index: 1, addr: v4(addr), ggep: Ggep::new() };
        Descriptor::new(Guid([1; 16]), Kind::PUSH, 1, push.encode())
    };
    desk.give(link, &push("198.18.9.9:77"));
    assert_eq!(desk.events(), [Event::Push { link, addr: v4("198.18.9.9:77"), index: 1 }]);
    for bad in ["127.0.0.1:22", "10.0.0.1:80", "198.18.9.9:0", "224.0.0.1:5"] {
        desk.give(link, &push(bad));
        assert_eq!(desk.events(), [], "{bad}");
    }
}

#[test]
fn a_leaf_behind_a_wall_gets_a_proxy() {
    let config = Config { firewalled: true, ..Config::of(Role::Leaf, v4("198.18.0.1:6346")) };
    let mut desk = Desk::new(config, &["blue moon"]);
    let link = desk.accept();
    desk.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nVendor-Message: 0.2\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n");
    let sent = desk.sent();
    assert_eq!(Vendor::parse(&sent[1].1.payload), Ok(Vendor::ProxyPlease));
    assert_eq!(sent[1].1.header.guid, Guid([9; 16]));
    // It answers nobody who is behind one as well.
    let walled = Query { flags: Query::FLAGS | Query::FIREWALLED, ..Query::words("blue") };
    desk.give(link, &Descriptor::new(Guid([1; 16]), Kind::QUERY, 1, walled.encode()));
    assert_eq!(desk.sent(), []);
    desk.give(link, &query(2, "moon", 1));
    assert_eq!(
        QueryHit::parse(&desk.sent()[0].1.payload).unwrap().trailer.unwrap().push,
        Some(true)
    );
    // The ultrapeer's side of it.
    let mut desk = Desk::of(Role::Ultrapeer);
    let (leaf, asker) = (desk.join(false), desk.join(true));
    desk.give(leaf, &Descriptor::new(Guid([5; 16]), Kind::VENDOR, 1, Vendor::ProxyPlease.encode()));
    let sent = desk.sent();
    assert_eq!(Vendor::parse(&sent[0].1.payload), Ok(Vendor::ProxyIs(v4("198.18.0.1:6346"))));
    let push =
        Push { target: Guid([5; 16]), index: 1, addr: v4("198.18.9.9:77"), ggep: Ggep::new() };
    desk.give(asker, &Descriptor::new(Guid([1; 16]), Kind::PUSH, 1, push.encode()));
    assert_eq!(desk.sent()[0].0, leaf);
}

#[test]
fn a_question_that_was_just_answered_goes_nowhere() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b, c) = (desk.join(true), desk.join(true), desk.join(true));
    desk.give(a, &query(1, "violet light", 3));
    desk.give(b, &hit(1, 8, 3));
    desk.sent();
    desk.give(c, &query(2, "Light, violet", 3));
    let sent = desk.sent();
    assert_eq!((sent.len(), sent[0].0, sent[0].1.header.guid), (1, c, Guid([2; 16])));
    assert_eq!(
        (sent[0].1.payload.clone(), desk.servent.counters().cached),
        (hit(1, 8, 3).payload, 1)
    );
    desk.servent.handle_closed(b);
    desk.give(c, &query(3, "violet light", 3));
    assert_eq!(desk.sent_of(Kind::QUERY).len(), 1, "who brought it is gone");
}

#[test]
fn hops_flow_is_obeyed() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(b, &Descriptor::new(Guid([1; 16]), Kind::VENDOR, 1, Vendor::HopsFlow(2).encode()));
    desk.give(a, &travelled(query(1, "one more", 3), 0));
    desk.give(a, &travelled(query(2, "two more", 3), 1));
    assert_eq!(desk.sent_of(Kind::QUERY).len(), 1);
}
