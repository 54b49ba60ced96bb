//! What other supernodes can make one believe and do.

use super::*;
use crate::proto::fasttrack::Hit;

/// Row 45: we are made to dial an address that is not the speaker's.
#[test]
fn attack_45_supernodes_at_our_own_services_and_at_others() {
    let mut sn = supernode(1, Limits::default());
    sn.handle_timeout(at(0));
    outputs(&mut sn);
    let cases = [
        ("10.0.0.1:25", false),
        ("9.9.8.8:1214", false),
        ("0.0.0.0:5", false),
        ("9.9.7.1:1214", true),
    ];
    for (link, (claimed, dialled)) in (1..).zip(cases) {
        call(&mut sn, at(0), link, ip(7), addr(claimed));
        let closed = outputs(&mut sn).contains(&SupernodeOutput::Close(LinkKey(link)));
        assert_eq!(closed, !dialled, "{claimed}");
        sn.handle_closed(at(0), LinkKey(link));
        sn.handle_timeout(at(10_000 * link));
        let dials = outputs(&mut sn).contains(&SupernodeOutput::Dial(addr(claimed)));
        assert_eq!(dials, dialled, "{claimed}");
    }
    // Who is within our net may be seen from outside at another address.
    call(&mut sn, at(0), 9, Ipv4Addr::new(192, 168, 0, 9), addr("9.9.9.9:1214"));
    assert_eq!(sn.mates(), 1);
}

/// Row 45: supernodes that are invented to be the only ones that one knows.
#[test]
fn attack_45_invented_supernodes_cut_nobody_off() {
    let mut sn = supernode(1, Limits::default());
    let honest = |n: u8| SocketAddrV4::new(ip(n), 1214);
    (100..110).for_each(|n| sn.learn(at(0), honest(n)));
    let open = |sn: &Supernode| sn.mates.len();
    // From one address, under many ports.
    for link in 0..50 {
        call(&mut sn, at(1), link, ip(66), SocketAddrV4::new(ip(66), 1000 + link as u16));
    }
    assert_eq!(open(&sn), 2);
    // One after the other, they are not remembered either.
    for link in 50..200 {
        let old: Vec<LinkKey> = sn.mates.keys().copied().collect();
        old.into_iter().for_each(|old| sn.handle_closed(at(1), old));
        call(&mut sn, at(1), link, ip(66), SocketAddrV4::new(ip(66), 1000 + link as u16));
    }
    let there = |known: &&SocketAddrV4| *known.ip() == ip(66);
    assert_eq!(sn.known.keys().filter(there).count(), 2);
    assert!((100..110).all(|n| sn.known.contains_key(&honest(n))));
    // From many addresses: places are left for whom it chooses, and it sees to it that they are taken.
    for n in 10..40 {
        call(&mut sn, at(2), 1000 + u64::from(n), ip(n), honest(n));
    }
    assert_eq!(open(&sn), 12);
    outputs(&mut sn);
    sn.handle_timeout(at(20_000));
    let dials: Vec<SocketAddrV4> = outputs(&mut sn)
        .into_iter()
        .filter_map(|output| match output {
            SupernodeOutput::Dial(to) => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(dials.len(), 4);
    for (link, to) in (2000..).zip(&dials) {
        sn.handle_mate(at(20_001), LinkKey(link), *to.ip(), true);
        say_hello(&mut sn, at(20_001), link, *to);
    }
    assert_eq!(sn.mates(), 16);
    outputs(&mut sn);
    sn.handle_timeout(at(90_000));
    assert!(!outputs(&mut sn).iter().any(|output| matches!(output, SupernodeOutput::Dial(_))));
    // On this machine all have one address.
    let mut here = supernode(1, Limits::default());
    let addr = |n: u64| SocketAddrV4::new(Ipv4Addr::LOCALHOST, n as u16);
    (1..=20).for_each(|n| call(&mut here, at(0), n, Ipv4Addr::LOCALHOST, addr(n)));
    assert_eq!((here.mates(), here.known.len()), (12, 12));
    let mut strict = supernode(1, Limits { loopback_too: true, ..Limits::default() });
    (1..=20).for_each(|n| call(&mut strict, at(0), n, Ipv4Addr::LOCALHOST, addr(n)));
    assert_eq!((strict.mates(), strict.known.len()), (2, 2));
}

/// Row 45: reputation out of nothing.
#[test]
fn attack_45_reputations_that_others_invent() {
    let mut sn = supernode(1, Limits::default());
    log_in(&mut sn, at(0), 1);
    for n in [2, 3] {
        call(&mut sn, at(0), n, ip(n as u8), SocketAddrV4::new(ip(n as u8), 1214));
    }
    outputs(&mut sn);
    let (user, supernode) = ("eve".to_owned(), SocketAddrV4::new(ip(2), 1214));
    let question = Score { user, ip: Ipv4Addr::new(8, 8, 66, 1), supernode, score: None };
    let answer = |score, question: &Score| MeshMessage::Score {
        ttl: 4,
        score: Score { score: Some(score), ..question.clone() },
    };
    let told = |sn: &mut Supernode| -> Vec<Option<u16>> {
        let scores = said(sn, 1).into_iter().filter_map(|message| match message {
            Message::Score(score) => Some(score.score),
            _ => None,
        });
        scores.collect()
    };
    // Unasked, by another one than was asked, and about somebody else.
    sn.handle_mesh(at(1), LinkKey(2), answer(50, &question));
    sn.handle_message(at(2), LinkKey(1), Message::Score(question.clone()));
    sn.handle_mesh(at(3), LinkKey(3), answer(50, &question));
    let other = Score { supernode: SocketAddrV4::new(ip(3), 1214), ..question.clone() };
    sn.handle_mesh(at(3), LinkKey(2), answer(50, &other));
    assert_eq!(told(&mut sn), []);
    // Who was asked is believed so far, once.
    sn.handle_mesh(at(4), LinkKey(2), answer(1000, &question));
    sn.handle_mesh(at(4), LinkKey(2), answer(1000, &question));
    assert_eq!(told(&mut sn), [Some(100)]);
    sn.handle_message(at(5), LinkKey(1), Message::Score(question.clone()));
    sn.handle_mesh(at(6), LinkKey(2), answer(57, &question));
    assert_eq!(told(&mut sn), [Some(57)]);
    let eve = Identity { user: "eve".into(), ip: question.ip };
    assert_eq!(sn.ledger().score(at(6), &eve), 10, "no account is made of it");
    // Nor is a node of its own believed in further, whoever says that it was there before.
    let us = Identity { user: "u1".into(), ip: Ipv4Addr::new(8, 8, 1, 1) };
    let (user, ip) = (us.user.clone(), us.ip);
    let question = Score { user, ip, supernode, score: None };
    sn.handle_message(at(6), LinkKey(1), Message::Score(question.clone()));
    sn.handle_mesh(at(6), LinkKey(2), answer(1000, &question));
    assert_eq!(told(&mut sn), [Some(100)]);
    assert_eq!((sn.ledger().worth(at(6), &us), sn.ledger().score(at(6), &us)), (100, 10));
    // Another name of the same node brings nothing with it.
    let us = Identity { user: "u9".into(), ..us };
    let call_it = |sn: &mut Supernode, user: &str| {
        let info = NodeInfo { addr: addr("8.8.1.1:1214"), bandwidth: 0x60, user: user.into() };
        sn.handle_message(at(6), LinkKey(1), Message::NodeInfo(info));
    };
    call_it(&mut sn, "u9");
    let question = Score { user: "u9".into(), ..question };
    sn.handle_message(at(6), LinkKey(1), Message::Score(question.clone()));
    sn.handle_mesh(at(6), LinkKey(2), answer(1000, &question));
    told(&mut sn);
    assert_eq!(sn.ledger().worth(at(6), &us), 10);
    call_it(&mut sn, "u1");
    // Receipts of as many nodes as a supernode likes to invent are the word of one.
    let receipt = Receipt {
        host: addr("8.8.1.1:1214"),
        supernode: sn.addr(),
        user: "u1".into(),
        good_bytes: 1 << 40,
        bad: 0,
        failed: 0,
    };
    for n in 0..200 {
        let by = (format!("friend{n}"), Ipv4Addr::new(7, 7, n, 1));
        let receipt = receipt.clone();
        sn.handle_mesh(at(7), LinkKey(3), MeshMessage::Receipt { ttl: 4, by, receipt });
    }
    let one = Identity { user: "u1".into(), ip: Ipv4Addr::new(8, 8, 1, 1) };
    assert_eq!(sn.ledger().score(at(7), &one), 10 + 36);
}

/// Row 45: answers that point into our own net. A host that is nearer than its supernode is never dialled, so that one
/// must not be near itself.
#[test]
fn attack_45_hosts_of_supernodes_that_nobody_out_there_can_know() {
    let limits = Limits::default();
    let at_home = SupernodeConfig { addr: addr("192.168.0.1:1214"), limits };
    let mut sn = Supernode::new(at(0), at_home, &[], Rng::seeded(1));
    let node = addr("192.168.0.7:1214");
    sn.handle_child(at(0), LinkKey(1), node);
    let info = NodeInfo { addr: node, bandwidth: 0, user: "ann".into() };
    sn.handle_message(at(0), LinkKey(1), Message::NodeInfo(info));
    call(&mut sn, at(0), 70, ip(70), addr("9.9.70.1:1214"));
    outputs(&mut sn);
    sn.handle_message(at(1), LinkKey(1), Message::Query(Query::words(3, 50, "song")));
    let asked = outputs(&mut sn);
    let [SupernodeOutput::Mesh(_, MeshMessage::Query { guid, .. })] = asked[..] else {
        panic!("{asked:?}")
    };
    let hit = |host: &str| Hit {
        addr: addr(host),
        bandwidth: 0,
        user: "eve".into(),
        network: String::new(),
        file: share(1, "song.mp3").file,
    };
    for inside in
        ["192.168.0.9:1214", "127.0.0.1:1214", "0.0.0.0:1214", "224.0.0.1:5", "9.9.70.1:0"]
    {
        let hits = vec![hit("192.168.0.1:80"), hit("9.9.9.9:1214")];
        let answer = MeshMessage::Hits { guid, supernode: addr(inside), hits };
        sn.handle_mesh(at(2), LinkKey(70), answer);
        assert_eq!(outputs(&mut sn), [], "{inside}");
    }
    assert!(sn.routes.is_empty());
    // What is out there may be known there, and a host in a net of its own is pushed.
    let hits = vec![hit("192.168.0.1:80")];
    let supernode = addr("9.9.71.1:1214");
    sn.handle_mesh(at(2), LinkKey(70), MeshMessage::Hits { guid, supernode, hits: hits.clone() });
    assert_eq!(said(&mut sn, 1), [Message::Reply(Reply { supernode, id: 3, hits })]);
}
