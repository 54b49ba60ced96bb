use super::*;
use crate::overlay::fasttrack::{Identity, Link};
use crate::proto::fasttrack::{
    File, NodeInfo, PushOrder, PushRequest, Query, Receipt, Reply, Score, Share, Tags, UuHash,
    tag_kind,
};
use std::net::Ipv4Addr;

mod limits;
mod trust;

fn at(ms: u64) -> Instant {
    Instant::from_micros(1000 * ms)
}

fn addr(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn share(n: u8, name: &str) -> Share {
    let tags = Tags::default().with(tag_kind::FILE_NAME, name);
    Share { media: 1, file: File { hash: UuHash([n; 20]), file_id: 0, size: 1, tags } }
}

/// Where a supernode is seen.
fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(9, 9, n, 1)
}

/// Another supernode calls, and says where it listens.
fn call(of: &mut Supernode, now: Instant, link: u64, from: Ipv4Addr, listens: SocketAddrV4) {
    of.handle_mate(now, LinkKey(link), from, false);
    say_hello(of, now, link, listens);
}

fn say_hello(to: &mut Supernode, now: Instant, link: u64, addr: SocketAddrV4) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&link.to_be_bytes());
    to.handle_mesh(now, LinkKey(link), MeshMessage::Hello { addr, key, load: 0 });
}

fn supernode(n: u8, limits: Limits) -> Supernode {
    let addr = SocketAddrV4::new(ip(n), 1214);
    Supernode::new(at(0), SupernodeConfig { addr, limits }, &[], Rng::seeded(n.into()))
}

fn outputs(of: &mut Supernode) -> Vec<SupernodeOutput> {
    std::iter::from_fn(|| of.poll_output()).collect()
}

/// What a supernode says to one node.
fn said(of: &mut Supernode, to: u64) -> Vec<Message> {
    let to = LinkKey(to);
    outputs(of)
        .into_iter()
        .filter_map(|output| match output {
            SupernodeOutput::Node(link, message) if link == to => Some(message),
            _ => None,
        })
        .collect()
}

/// Node `n`, logged in; it is at 8.8.n.1.
fn log_in(to: &mut Supernode, now: Instant, n: u64) {
    let ip = Ipv4Addr::new(8, 8, n as u8, 1);
    to.handle_child(now, LinkKey(n), SocketAddrV4::new(ip, 5000));
    let info =
        NodeInfo { addr: SocketAddrV4::new(ip, 1214), bandwidth: 0x60, user: format!("u{n}") };
    to.handle_message(now, LinkKey(n), Message::NodeInfo(info));
    outputs(to);
}

fn ask(of: &mut Supernode, now: Instant, n: u64, words: &str) -> Vec<Message> {
    let query = Query::words(7, 500, words);
    of.handle_message(now, LinkKey(n), Message::Query(query));
    said(of, n)
}

/// Supernodes in a row of links, each reached over key 1000 plus the other's number.
struct Row(Vec<Supernode>);

impl Row {
    fn new(links: &[(usize, usize)], count: u8) -> Self {
        let mut row = Self((0..count).map(|n| supernode(n, Limits::default())).collect());
        for &(a, b) in links {
            row.link(at(0), a, b);
        }
        row.settle(at(0));
        row
    }

    /// The first dials the second.
    fn link(&mut self, now: Instant, a: usize, b: usize) {
        self.0[a].handle_mate(now, Self::key(b), ip(b as u8), true);
        self.0[b].handle_mate(now, Self::key(a), ip(a as u8), false);
    }

    fn key(of: usize) -> LinkKey {
        LinkKey(1000 + of as u64)
    }

    /// Carries what supernodes say to each other until all is said; returns what nodes of the first are told, and
    /// how often each message between supernodes was a query.
    fn settle(&mut self, now: Instant) -> (Vec<(u64, Message)>, usize) {
        let (mut told, mut queries) = (Vec::new(), 0);
        loop {
            let mut quiet = true;
            for from in 0..self.0.len() {
                while let Some(output) = self.0[from].poll_output() {
                    quiet = false;
                    match output {
                        SupernodeOutput::Mesh(LinkKey(key), message) => {
                            queries += usize::from(matches!(message, MeshMessage::Query { .. }));
                            let to = (key - 1000) as usize;
                            self.0[to].handle_mesh(now, Self::key(from), message);
                        }
                        SupernodeOutput::Node(LinkKey(to), message) => told.push((to, message)),
                        _ => {}
                    }
                }
            }
            if quiet {
                return (told, queries);
            }
        }
    }
}

#[test]
fn a_login_is_told_all_it_waits_for() {
    let mut sn = supernode(1, Limits::default());
    sn.learn(at(0), addr("9.9.2.1:1214"));
    sn.handle_child(at(0), LinkKey(1), addr("8.8.1.1:5000"));
    let told = said(&mut sn, 1);
    let [Message::Nodes(rows), Message::ExternalIp(ip), Message::ShareNow] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        rows.iter().map(|row| row.addr).collect::<Vec<_>>(),
        [sn.addr(), addr("9.9.2.1:1214")]
    );
    assert_eq!(*ip, Ipv4Addr::new(8, 8, 1, 1));
    // Before its name nothing that it says counts.
    sn.handle_message(at(1), LinkKey(1), Message::Share(share(1, "a.mp3")));
    assert_eq!(sn.files(), 0);
}

#[test]
fn a_query_finds_what_others_share_and_ends_once() {
    let mut sn = supernode(1, Limits::default());
    (1..=3).for_each(|n| log_in(&mut sn, at(0), n));
    sn.handle_message(at(1), LinkKey(1), Message::Share(share(1, "one song.mp3")));
    sn.handle_message(at(1), LinkKey(2), Message::Share(share(2, "other song.mp3")));
    sn.handle_message(at(1), LinkKey(3), Message::Share(share(2, "other song.mp3")));
    let told = ask(&mut sn, at(2), 1, "song");
    let [Message::Reply(Reply { supernode, id: 7, hits }), Message::QueryEnd(7)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*supernode, sn.addr());
    let from: Vec<_> = hits.iter().map(|hit| (hit.addr, hit.user.as_str())).collect();
    assert_eq!(from, [(addr("8.8.2.1:1214"), "u2"), (addr("8.8.3.1:1214"), "u3")]);
    assert_eq!(ask(&mut sn, at(3), 1, "nothing"), [Message::QueryEnd(7)]);
    sn.handle_message(at(4), LinkKey(2), Message::Unshare(share(2, "").file));
    sn.handle_closed(at(4), LinkKey(3));
    assert_eq!(ask(&mut sn, at(5), 1, "song"), [Message::QueryEnd(7)]);
    assert_eq!((sn.files(), sn.children()), (1, 2));
}

/// The two clients of old, byte by byte through the cipher, in the order that each was seen to keep.
#[test]
fn dialogues_with_clients_of_old() {
    for shares_when in [Message::ExternalIp([8, 8, 1, 1].into()), Message::ShareNow] {
        let mut rng = Rng::seeded(3);
        let mut sn = supernode(1, Limits::default());
        let (mut node, mut link) = (Link::node(at(0), &mut rng), Link::supernode(at(0), &mut rng));
        let mut welcomed = false;
        let mut heard = Vec::new();
        for round in 0..12 {
            if let Some(bytes) = node.poll_transmit() {
                link.handle_bytes(at(round), &bytes).unwrap();
            }
            if link.is_open() && !welcomed {
                welcomed = true;
                sn.handle_child(at(round), LinkKey(1), addr("8.8.1.1:5000"));
            }
            while let Some(message) = link.poll_message().unwrap() {
                sn.handle_message(at(round), LinkKey(1), message);
            }
            said(&mut sn, 1).iter().for_each(|message| link.send(message));
            if let Some(bytes) = link.poll_transmit() {
                node.handle_bytes(at(round), &bytes).unwrap();
            }
            while let Some(message) = node.poll_message().unwrap() {
                if message == shares_when {
                    let (addr, user) = (addr("8.8.1.1:1214"), "old".to_owned());
                    node.send(&Message::NodeInfo(NodeInfo { addr, bandwidth: 0x68, user }));
                    node.send(&Message::Share(share(1, "payload one.bin")));
                    node.send(&Message::Share(share(2, "payload two.bin")));
                }
                heard.push(message);
            }
            if round == 8 {
                assert_eq!((sn.files(), sn.children()), (2, 1));
                node.send(&Message::Query(Query::words(4, 32, "payload")));
                log_in(&mut sn, at(8), 2);
                sn.handle_message(at(8), LinkKey(2), Message::Share(share(3, "Payload.bin")));
            }
        }
        let [Message::Nodes(_), Message::ExternalIp(_), Message::ShareNow, found, end] = &heard[..]
        else {
            panic!("{heard:?}")
        };
        assert!(matches!(found, Message::Reply(reply) if reply.hits.len() == 1 && reply.id == 4));
        assert_eq!(*end, Message::QueryEnd(4));
    }
}

#[test]
fn supernodes_are_asked_in_turn_until_enough_is_found() {
    // A star: the first has five others.
    let mut row = Row::new(&[(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)], 6);
    assert_eq!(row.0[0].mates(), 5);
    log_in(&mut row.0[0], at(1), 1);
    for n in 1..6 {
        for child in 1..=60 {
            log_in(&mut row.0[n], at(1), child);
            let song = share(child as u8, &format!("song {child}.mp3"));
            row.0[n].handle_message(at(1), LinkKey(child), Message::Share(song));
        }
    }
    let query = Message::Query(Query::words(7, 500, "song"));
    row.0[0].handle_message(at(2), LinkKey(1), query);
    let (told, queries) = row.settle(at(2));
    let hits = |message: &Message| match message {
        Message::Reply(reply) => reply.hits.len(),
        _ => 0,
    };
    assert_eq!(told.iter().map(|(_, message)| hits(message)).sum::<usize>(), 110);
    assert_eq!(queries, 2, "a hundred are enough, and come by twenty-five");
    let ends = told.iter().filter(|(_, message)| *message == Message::QueryEnd(7)).count();
    assert_eq!((ends, told.last().map(|(_, message)| message)), (1, Some(&Message::QueryEnd(7))));
    // What nobody has is looked for everywhere.
    row.0[0].handle_message(at(3), LinkKey(1), Message::Query(Query::words(8, 500, "rare")));
    let (told, queries) = row.settle(at(3));
    assert_eq!((told, queries), (vec![(1, Message::QueryEnd(8))], 5));
}

#[test]
fn a_query_goes_two_steps_and_once_over_each_supernode() {
    // 0 - 1 - 2 - 3, and a short cut from 0 to 2.
    let mut row = Row::new(&[(0, 1), (1, 2), (2, 3)], 4);
    log_in(&mut row.0[0], at(1), 1);
    for n in 1..4 {
        log_in(&mut row.0[n], at(1), 9);
        let song = share(n as u8, &format!("song {n}.mp3"));
        row.0[n].handle_message(at(1), LinkKey(9), Message::Share(song));
    }
    let found = |row: &mut Row, id| {
        let query = Query::words(id, 500, "song");
        row.0[0].handle_message(at(2), LinkKey(1), Message::Query(query));
        let (told, queries) = row.settle(at(2));
        let from = told.into_iter().filter_map(|(_, message)| match message {
            Message::Reply(reply) => Some(reply.supernode.ip().octets()[2]),
            _ => None,
        });
        (from.collect::<Vec<_>>(), queries)
    };
    assert_eq!(found(&mut row, 1), (vec![1, 2], 2));
    row.link(at(2), 0, 2);
    row.settle(at(2));
    let (mut from, queries) = found(&mut row, 2);
    from.sort_unstable();
    // Two ways lead to the second now, and it answers once.
    assert_eq!((from, queries), (vec![1, 2], 3));
}

#[test]
fn a_query_ends_although_a_supernode_is_mute_or_dies() {
    let mut sn = supernode(1, Limits::default());
    log_in(&mut sn, at(0), 1);
    for n in [2, 3] {
        call(&mut sn, at(0), n, ip(n as u8), SocketAddrV4::new(ip(n as u8), 1214));
    }
    outputs(&mut sn);
    sn.tick_at = at(1_000_000);
    sn.handle_message(at(1), LinkKey(1), Message::Query(Query::words(7, 500, "x")));
    let queries = |outputs: Vec<SupernodeOutput>| {
        let is =
            |o: &SupernodeOutput| matches!(o, SupernodeOutput::Mesh(_, MeshMessage::Query { .. }));
        outputs.iter().filter(|output| is(output)).count()
    };
    assert_eq!(queries(outputs(&mut sn)), 1);
    assert_eq!(sn.poll_timeout(), at(1001));
    sn.handle_timeout(at(1001));
    assert_eq!(queries(outputs(&mut sn)), 1);
    assert_eq!(sn.poll_timeout(), at(5001));
    sn.handle_timeout(at(5001));
    assert_eq!(said(&mut sn, 1), [Message::QueryEnd(7)]);

    sn.handle_message(at(6000), LinkKey(1), Message::Query(Query::words(8, 500, "x")));
    outputs(&mut sn);
    sn.handle_closed(at(6001), LinkKey(2));
    sn.handle_closed(at(6002), LinkKey(3));
    assert_eq!(said(&mut sn, 1), [Message::QueryEnd(8)]);
    assert!(sn.searches.is_empty());
}

#[test]
fn pushes_scores_and_receipts_find_their_supernode() {
    let mut row = Row::new(&[(0, 1), (1, 2)], 3);
    log_in(&mut row.0[0], at(1), 1);
    // Behind a router, at the supernode that is two steps away.
    row.0[2].handle_child(at(1), LinkKey(5), addr("8.8.5.1:5000"));
    let info = NodeInfo { addr: addr("192.168.0.5:1214"), bandwidth: 0, user: "bob".into() };
    row.0[2].handle_message(at(1), LinkKey(5), Message::NodeInfo(info));
    row.0[2].handle_message(at(1), LinkKey(5), Message::Share(share(5, "song.mp3")));
    row.settle(at(1));
    row.0[0].handle_message(at(2), LinkKey(1), Message::Query(Query::words(7, 9, "song")));
    let (told, _) = row.settle(at(2));
    let [(1, Message::Reply(reply)), (1, Message::QueryEnd(7))] = &told[..] else {
        panic!("{told:?}")
    };
    let (supernode, hit) = (reply.supernode, &reply.hits[0]);
    assert_eq!((supernode, hit.addr), (row.0[2].addr(), addr("192.168.0.5:1214")));

    // The address that the asker names is his own, whatever he says.
    let (source, user) = (hit.addr, hit.user.clone());
    let to = addr("7.7.7.7:1214");
    let request = PushRequest { id: 77, to, source, supernode, user: user.clone() };
    row.0[0].handle_message(at(3), LinkKey(1), Message::PushRequest(request));
    let order = PushOrder { id: 77, to: addr("8.8.1.1:1214") };
    assert_eq!(row.settle(at(3)).0, [(5, Message::PushOrder(order))]);

    let receipt = Receipt {
        host: source,
        supernode,
        user: user.clone(),
        good_bytes: 80 << 20,
        bad: 0,
        failed: 0,
    };
    row.0[0].handle_message(at(4), LinkKey(1), Message::Receipt(receipt));
    row.settle(at(4));
    let ip = Ipv4Addr::new(8, 8, 5, 1);
    let bob = Identity { user: user.clone(), ip };
    assert_eq!(row.0[2].ledger().score(at(4), &bob), 20);
    // Somebody is asked for a file by bob and wants to know what he is worth.
    let question = Score { user, ip, supernode, score: None };
    row.0[0].handle_message(at(5), LinkKey(1), Message::Score(question.clone()));
    let answer = Message::Score(Score { score: Some(20), ..question.clone() });
    assert_eq!(row.settle(at(5)).0, [(1, answer)]);
    // A supernode that is gone does not answer, and then bob is a stranger.
    row.0[1].handle_closed(at(6), Row::key(2));
    row.0[0].handle_message(at(6), LinkKey(1), Message::Score(question));
    row.0[0].outbox.clear();
    row.0[0].handle_timeout(at(20_000));
    let told = said(&mut row.0[0], 1);
    assert!(matches!(&told[..], [Message::Score(Score { score: Some(10), .. })]), "{told:?}");
}

#[test]
fn a_node_that_moves_is_worth_what_its_old_supernode_says() {
    let mut row = Row::new(&[(0, 1)], 2);
    let (user, ip) = ("u1".to_owned(), Ipv4Addr::new(8, 8, 1, 1));
    let who = Identity { user: user.clone(), ip };
    row.0[1].ledger().vouch(at(1), &who, 60);
    log_in(&mut row.0[0], at(1), 1);
    let question = Score { user, ip, supernode: row.0[1].addr(), score: None };
    row.0[0].handle_message(at(2), LinkKey(1), Message::Score(question.clone()));
    let told = Score { supernode: row.0[0].addr(), score: Some(60), ..question.clone() };
    assert_eq!(row.settle(at(2)).0, [(1, Message::Score(told.clone()))]);
    // It is told so from now on, and so are others; no supernode is made of it.
    row.0[0].handle_message(at(3), LinkKey(1), Message::Ours { uptime_s: 1 });
    assert_eq!(said(&mut row.0[0], 1), [Message::Score(told.clone())]);
    log_in(&mut row.0[0], at(4), 2);
    row.0[0].handle_message(
        at(4),
        LinkKey(2),
        Message::Score(Score { score: None, ..told.clone() }),
    );
    assert_eq!(said(&mut row.0[0], 2), [Message::Score(told)]);
    assert_eq!(row.0[0].ledger().score(at(4), &who), 10);
    // Another's reputation is nobody's own, and one without a link to ask begins as a stranger.
    row.0[1].ledger().vouch(at(5), &Identity { user: "u2".into(), ..who.clone() }, 90);
    let other = Score { user: "u2".into(), ..question.clone() };
    row.0[0].handle_message(at(5), LinkKey(1), Message::Score(other));
    row.settle(at(5));
    assert_eq!(row.0[0].ledger().worth(at(5), &Identity { user: "u2".into(), ip }), 10);
    let mut alone = supernode(7, Limits::default());
    log_in(&mut alone, at(6), 1);
    alone.handle_message(at(6), LinkKey(1), Message::Score(question.clone()));
    let stranger = Score { score: Some(10), ..question };
    assert_eq!(said(&mut alone, 1), [Message::Score(stranger)]);
}

#[test]
fn who_stays_and_gives_becomes_a_supernode_when_there_are_too_many() {
    let limits = Limits { crowded: 3, children: 3, ..Limits::default() };
    let mut sn = supernode(1, limits);
    (1..=3).for_each(|n| log_in(&mut sn, at(0), n));
    let ping = Datagram::Ping { network: "KaZaA".into() };
    sn.handle_datagram(addr("8.8.9.1:1"), &ping);
    assert_eq!(outputs(&mut sn), [SupernodeOutput::Datagram(addr("8.8.9.1:1"), Datagram::Full)]);
    for n in [2, 3] {
        sn.handle_message(at(0), LinkKey(n), Message::Ours { uptime_s: 3600 });
    }
    let own = said(&mut sn, 2);
    assert!(matches!(&own[..], [Message::Score(Score { score: Some(10), .. })]), "{own:?}");
    for friend in 0..10 {
        let by = Identity { user: "f".into(), ip: [7, 7, friend, 1].into() };
        let of = Identity { user: "u3".into(), ip: [8, 8, 3, 1].into() };
        let host = addr("8.8.3.1:1214");
        let receipt = Receipt {
            host,
            supernode: sn.addr(),
            user: "u3".into(),
            good_bytes: 1 << 40,
            bad: 0,
            failed: 0,
        };
        sn.ledger().receipt(at(0), &by, by.ip, &of, &receipt);
    }
    sn.handle_child(at(1), LinkKey(4), addr("8.8.4.1:5000"));
    let all = outputs(&mut sn);
    assert!(matches!(&all[0], SupernodeOutput::Node(LinkKey(4), Message::Nodes(_))));
    assert_eq!(
        all[1..],
        [SupernodeOutput::Node(LinkKey(3), Message::Promote), SupernodeOutput::Close(LinkKey(4)),]
    );
    assert_eq!(sn.children(), 3);
    // Ten minutes connected are a point.
    sn.handle_timeout(at(600_000));
    let one = Identity { user: "u1".into(), ip: [8, 8, 1, 1].into() };
    assert_eq!(sn.ledger().score(at(600_000), &one), 11);
}

#[test]
fn links_to_others_are_kept_between_eight_and_sixteen() {
    let mut sn = supernode(1, Limits::default());
    (2..=40).for_each(|n| sn.learn(at(0), SocketAddrV4::new([9, 9, n, 1].into(), 1214)));
    sn.handle_timeout(at(0));
    let dials = outputs(&mut sn);
    assert_eq!(dials.len(), 8);
    assert!(dials.iter().all(|output| matches!(output, SupernodeOutput::Dial(_))));
    for n in 0..20 {
        call(&mut sn, at(1), n, ip(n as u8 + 2), SocketAddrV4::new(ip(n as u8 + 2), 1214));
    }
    assert_eq!(sn.mates(), 12, "the other places are for whom it has dialled");
    for n in 20..30 {
        sn.handle_mate(at(1), LinkKey(n), ip(n as u8 + 2), true);
        say_hello(&mut sn, at(1), n, SocketAddrV4::new(ip(n as u8 + 2), 1214));
    }
    assert_eq!(sn.mates(), 16);
    let closed = outputs(&mut sn).into_iter().filter(|o| matches!(o, SupernodeOutput::Close(_)));
    assert_eq!(closed.count(), 8 + 6);
    // The same supernode twice, ourselves, and one that never says who it is.
    (0..30).for_each(|n| sn.handle_closed(at(2), LinkKey(n)));
    let hello = |key| MeshMessage::Hello { addr: addr("9.9.30.1:1"), key, load: 0 };
    for (link, key) in [(50, [1; 32]), (51, [2; 32]), (52, sn.key)] {
        sn.handle_mate(at(2), LinkKey(link), ip(30), false);
        sn.handle_mesh(at(2), LinkKey(link), hello(key));
    }
    sn.handle_mate(at(2), LinkKey(53), ip(31), false);
    assert_eq!(sn.mates(), 1);
    sn.handle_timeout(at(12_000));
    assert!(outputs(&mut sn).contains(&SupernodeOutput::Close(LinkKey(53))));
}

/// Row 45: floods of queries, of shares, of logins and of answers.
#[test]
fn attack_45_floods() {
    let mut sn = supernode(1, Limits { shares: 3, ..Limits::default() });
    log_in(&mut sn, at(0), 1);
    log_in(&mut sn, at(0), 2);
    for n in 0..10 {
        sn.handle_message(at(0), LinkKey(2), Message::Share(share(n, "song.mp3")));
    }
    let mut long = share(1, "song.mp3");
    long.file.tags = long.file.tags.with(0x1a, [b'x'; 1000]).with(0x1a, [b'x'; 1024]);
    sn.handle_message(at(0), LinkKey(1), Message::Share(long));
    assert_eq!(sn.files(), 3);
    // Ten queries at once and one in two seconds; each is ended, the others with nothing.
    let answered = |told: &[Message]| told.len() == 2;
    let burst = (0..50).filter(|_| answered(&ask(&mut sn, at(1), 1, "song"))).count();
    assert_eq!(burst, 10);
    assert_eq!(ask(&mut sn, at(1000), 1, "song"), [Message::QueryEnd(7)]);
    let slow = (1..=10).filter(|n| answered(&ask(&mut sn, at(1 + 2000 * n), 1, "song"))).count();
    assert_eq!(slow, 10);
    // On this machine scripts may ask as they like.
    sn.handle_child(at(0), LinkKey(9), addr("127.0.0.1:5000"));
    let info = NodeInfo { addr: addr("127.0.0.1:1214"), bandwidth: 0, user: "script".into() };
    sn.handle_message(at(0), LinkKey(9), Message::NodeInfo(info));
    outputs(&mut sn);
    assert!((0..50).all(|_| answered(&ask(&mut sn, at(0), 9, "song"))));
    // Many nodes of one address.
    let many = (20..60).filter(|&n| {
        sn.handle_child(at(0), LinkKey(n), addr("8.8.8.8:5000"));
        !outputs(&mut sn).contains(&SupernodeOutput::Close(LinkKey(n)))
    });
    assert_eq!(many.count(), 8);
    // Answers that nobody asked for.
    call(&mut sn, at(0), 70, ip(70), addr("9.9.70.1:1"));
    outputs(&mut sn);
    let (guid, supernode) = (Guid([1; 16]), addr("9.9.70.1:1"));
    sn.handle_mesh(at(0), LinkKey(70), MeshMessage::Hits { guid, supernode, hits: Vec::new() });
    sn.handle_mesh(at(0), LinkKey(70), MeshMessage::End(guid));
    assert_eq!(outputs(&mut sn), []);
    // A supernode that answers more than was wanted.
    sn.handle_message(at(0), LinkKey(9), Message::Query(Query::words(3, 5, "spam")));
    let all = outputs(&mut sn);
    let [SupernodeOutput::Mesh(_, MeshMessage::Query { guid, want: 5, .. })] = all[..] else {
        panic!("{all:?}")
    };
    let hit = crate::proto::fasttrack::Hit {
        addr: addr("8.8.8.8:1"),
        bandwidth: 0,
        user: "spam".into(),
        network: String::new(),
        file: share(1, "spam.mp3").file,
    };
    let hits = vec![hit; 900];
    sn.handle_mesh(at(0), LinkKey(70), MeshMessage::Hits { guid, supernode, hits });
    let told = said(&mut sn, 9);
    let [Message::Reply(reply), Message::QueryEnd(3)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(reply.hits.len(), 5);
}

#[test]
fn a_node_that_asks_is_sent_a_datagram_and_nobody_else_is() {
    let mut sn = supernode(1, Limits::default());
    log_in(&mut sn, at(0), 1);
    for (asked, sent) in [("8.8.1.1:4000", true), ("8.8.2.1:4000", false), ("8.8.1.1:0", false)] {
        sn.handle_message(at(0), LinkKey(1), Message::PingMe(addr(asked)));
        let knock = SupernodeOutput::Datagram(addr(asked), Datagram::Knock);
        assert_eq!(outputs(&mut sn), if sent { vec![knock] } else { vec![] }, "{asked}");
    }
}
