use super::*;
use crate::proto::fasttrack::{File, NETWORK, NodeRow, Reply, Tags, tag_kind};

fn at(ms: u64) -> Instant {
    Instant::from_micros(1000 * ms)
}

fn sn(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new([9, 9, n, 1].into(), 1214)
}

fn share(n: u8) -> Share {
    let tags = Tags::default().with(tag_kind::FILE_NAME, format!("{n}.mp3"));
    Share { media: 1, file: File { hash: UuHash([n; 20]), file_id: 0, size: 1, tags } }
}

fn hit(n: u8) -> Hit {
    let (addr, user) = ("192.168.0.9:1214".parse().unwrap(), "bob".to_owned());
    Hit { addr, bandwidth: 0, user, network: NETWORK.to_owned(), file: share(n).file }
}

fn node_of(supernodes: u8) -> Node {
    let config =
        NodeConfig { user: "ann".into(), addr: "8.8.1.1:1214".parse().unwrap(), bandwidth: 0x60 };
    let mut cache = Cache::new(1_000_000);
    (1..=supernodes).for_each(|n| cache.add(sn(n)));
    Node::new(at(0), config, cache, Rng::seeded(5))
}

fn outputs(node: &mut Node) -> Vec<NodeOutput> {
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn events(node: &mut Node) -> Vec<Event> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

/// Whom a node has just pinged.
fn pinged(node: &mut Node) -> Vec<SocketAddrV4> {
    let ping = Datagram::Ping { network: NETWORK.to_owned() };
    let to = |output| match output {
        NodeOutput::Datagram(to, datagram) if datagram == ping => to,
        other => panic!("{other:?}"),
    };
    outputs(node).into_iter().map(to).collect()
}

fn pong() -> Datagram {
    Datagram::Pong { children: 3, load: 3, network: "kazaa".into() }
}

/// A node that is attached to the first supernode.
fn attached() -> Node {
    let mut node = node_of(1);
    node.handle_timeout(at(0));
    node.handle_datagram(at(50), sn(1), &pong());
    node.handle_open(at(100));
    outputs(&mut node);
    events(&mut node);
    node
}

#[test]
fn five_are_pinged_and_the_nearest_with_room_is_taken() {
    let mut node = node_of(9);
    node.handle_timeout(at(0));
    let asked = pinged(&mut node);
    assert_eq!(asked.len(), 5);
    node.handle_datagram(at(30), sn(99), &pong());
    node.handle_datagram(at(40), asked[3], &Datagram::Full);
    node.handle_datagram(at(80), asked[0], &pong());
    node.handle_datagram(at(120), asked[4], &pong());
    let other = Datagram::Pong { children: 0, load: 0, network: "elsewhere".into() };
    node.handle_datagram(at(121), asked[1], &other);
    node.handle_datagram(at(200), asked[2], &pong());
    assert_eq!(outputs(&mut node), [], "one has not answered");
    assert_eq!(node.poll_timeout(), at(1500));
    node.handle_timeout(at(1500));
    assert_eq!(outputs(&mut node), [NodeOutput::Connect(asked[0])]);
    assert_eq!(node.backups, [asked[4], asked[2]]);

    // It dies: the next is taken at once, and after that the third.
    node.handle_open(at(1600));
    assert_eq!(node.supernode(), Some(asked[0]));
    outputs(&mut node);
    node.handle_closed(at(9000));
    assert_eq!(outputs(&mut node), [NodeOutput::Connect(asked[4])]);
    node.handle_closed(at(9001));
    assert_eq!(outputs(&mut node), [NodeOutput::Connect(asked[2])]);
    assert_eq!(node.poll_timeout(), at(9001 + 25_000));
    node.handle_timeout(at(9001 + 25_000));
    assert_eq!(outputs(&mut node), [NodeOutput::Close]);
    // Now it looks again, first at those that it has not tried.
    node.handle_timeout(at(9001 + 25_000));
    let again = pinged(&mut node);
    let new = again.iter().filter(|addr| !asked.contains(addr)).count();
    assert_eq!((again.len(), new), (5, 4));
    assert_eq!(events(&mut node), [Event::Attached(asked[0]), Event::Detached(asked[0])]);
}

#[test]
fn without_an_answer_it_tries_again_more_and_more_seldom() {
    let mut node = node_of(3);
    let mut looks = Vec::new();
    for _ in 0..5 {
        let now = node.poll_timeout();
        node.handle_timeout(now);
        looks.push(now.as_micros() / 1_000_000);
        assert_eq!(pinged(&mut node).len(), 3);
        let now = node.poll_timeout();
        node.handle_timeout(now);
    }
    assert_eq!(looks, [0, 3, 9, 18, 36]);
    let mut alone = node_of(0);
    alone.handle_timeout(at(0));
    assert!(alone.poll_timeout() >= at(2000) && outputs(&mut alone).is_empty());
}

#[test]
fn a_login_says_who_we_are_and_shares_when_told() {
    let mut node = node_of(1);
    assert!(node.share(share(1)) && node.share(share(2)));
    node.unshare(UuHash([2; 20]));
    let search = node.search(at(0), Query::words(0, 20, "x")).unwrap();
    node.handle_timeout(at(0));
    node.handle_datagram(at(50), sn(1), &pong());
    outputs(&mut node);
    node.handle_open(at(100));
    let addr = "8.8.1.1:1214".parse().unwrap();
    let info = NodeInfo { addr, bandwidth: 0x60, user: "ann".into() };
    let asked = Query { id: search, ..Query::words(0, 20, "x") };
    let say = |messages: Vec<Message>| -> Vec<NodeOutput> {
        messages.into_iter().map(NodeOutput::Say).collect()
    };
    let first =
        vec![Message::NodeInfo(info), Message::Ours { uptime_s: 0 }, Message::Query(asked.clone())];
    assert_eq!(outputs(&mut node), say(first.clone()));
    node.handle_message(at(110), Message::ExternalIp([8, 8, 1, 1].into()));
    node.handle_message(at(110), Message::ShareNow);
    assert_eq!(outputs(&mut node), say(vec![Message::Share(share(1))]));
    node.share(share(3));
    node.unshare(UuHash([1; 20]));
    let later = vec![Message::Share(share(3)), Message::Unshare(share(1).file)];
    assert_eq!(outputs(&mut node), say(later));

    // After a move all that still waits is asked again.
    node.handle_closed(at(200));
    node.handle_timeout(at(200));
    node.handle_datagram(at(250), sn(1), &pong());
    outputs(&mut node);
    node.handle_open(at(300));
    assert_eq!(outputs(&mut node), say(first));
}

#[test]
fn results_come_until_the_search_ends() {
    let mut node = attached();
    let search = node.search(at(0), Query::words(0, 20, "x")).unwrap();
    let mut nameless = hit(2);
    nameless.file.tags = Tags::default();
    let reply = |id, hits| Message::Reply(Reply { supernode: sn(7), id, hits });
    node.handle_message(at(1), reply(search, vec![nameless.clone(), hit(1)]));
    node.handle_message(at(1), reply(search, vec![nameless]));
    node.handle_message(at(1), reply(search.wrapping_add(1), vec![hit(1)]));
    node.handle_message(at(2), Message::QueryEnd(search));
    node.handle_message(at(3), reply(search, vec![hit(3)]));
    node.handle_message(at(4), Message::QueryEnd(search));
    let found = Event::Found { search, supernode: sn(7), hits: vec![hit(1)] };
    assert_eq!(events(&mut node), [found, Event::SearchEnded(search)]);

    let mute = node.search(at(1000), Query::words(0, 20, "x")).unwrap();
    assert_eq!(node.poll_timeout(), at(31_000));
    node.handle_timeout(at(31_000));
    assert_eq!(events(&mut node), [Event::SearchEnded(mute)]);
    for _ in 0..SEARCHES_MAX {
        node.search(at(40_000), Query::words(0, 20, "x")).unwrap();
    }
    assert!(node.search(at(40_000), Query::words(0, 20, "x")).is_err());
}

#[test]
fn a_host_that_was_pushed_gives_once_and_within_a_minute() {
    let mut node = attached();
    let push = node.push(at(0), &hit(1), sn(7));
    let request = PushRequest {
        id: push,
        to: "8.8.1.1:1214".parse().unwrap(),
        source: hit(1).addr,
        supernode: sn(7),
        user: "bob".into(),
    };
    assert_eq!(outputs(&mut node), [NodeOutput::Say(Message::PushRequest(request))]);
    assert_eq!(node.handle_give(at(1), push.wrapping_add(1)), None);
    assert_eq!(node.handle_give(at(60_000), push), Some(hit(1)));
    assert_eq!(node.handle_give(at(60_000), push), None);
    let late = node.push(at(0), &hit(1), sn(7));
    assert_eq!(node.handle_give(at(60_001), late), None);
    let pushes: Vec<u32> = (0..300).map(|_| node.push(at(0), &hit(1), sn(7))).collect();
    assert_eq!(pushes.iter().collect::<std::collections::BTreeSet<_>>().len(), 300);
    assert_eq!(node.pushes.len(), PUSHES_MAX);
}

#[test]
fn it_moves_to_one_that_is_much_nearer() {
    for (trip, moves) in [(20, true), (40, false)] {
        let mut node = attached();
        node.handle_message(
            at(200),
            Message::Nodes(vec![NodeRow { addr: sn(2), seen_min: 0, load: 9 }]),
        );
        assert_eq!(node.poll_timeout(), at(100 + 600_000));
        let now = node.poll_timeout();
        node.handle_timeout(now);
        assert_eq!(pinged(&mut node), [sn(2)]);
        node.handle_datagram(now + Duration::from_millis(trip), sn(2), &pong());
        let connects = outputs(&mut node) == [NodeOutput::Connect(sn(2))];
        assert_eq!(connects, moves);
        assert_eq!(node.backups, if moves { [sn(1)] } else { [sn(2)] });
    }
}

#[test]
fn a_new_supernode_is_told_which_one_knows_what_it_is_worth() {
    let mut node = node_of(2);
    node.handle_timeout(at(0));
    node.handle_datagram(at(50), sn(1), &pong());
    node.handle_datagram(at(60), sn(2), &pong());
    let ip: Ipv4Addr = [8, 8, 1, 1].into();
    let mut taken = |now| {
        node.handle_open(now);
        (0..2).for_each(|_| node.handle_message(now, Message::ExternalIp(ip)));
        let asked = outputs(&mut node).into_iter().filter_map(|output| match output {
            NodeOutput::Say(Message::Score(score)) => Some(score),
            _ => None,
        });
        let asked: Vec<Score> = asked.collect();
        node.handle_closed(now);
        (node.backups.len(), asked)
    };
    assert_eq!(taken(at(100)), (0, vec![]), "it comes from nowhere");
    // The one that has died, and not one that has no room.
    let question = Score { user: "ann".into(), ip, supernode: sn(1), score: None };
    assert_eq!(taken(at(200)), (0, vec![question]));
}

/// Row 45: a supernode that aims us at others.
#[test]
fn attack_45_orders_to_connect() {
    let mut node = attached();
    let order = |to: &str| Message::PushOrder(PushOrder { id: 1, to: to.parse().unwrap() });
    for inside in
        ["127.0.0.1:80", "192.168.0.1:80", "10.0.0.1:80", "0.0.0.0:80", "224.0.0.1:80", "8.8.8.8:0"]
    {
        node.handle_message(at(1), order(inside));
    }
    assert_eq!(events(&mut node), []);
    (0..100).for_each(|_| node.handle_message(at(2), order("8.8.8.8:80")));
    assert_eq!(events(&mut node).len(), ORDERS_MAX);
    node.handle_message(at(60_002), order("8.8.8.8:80"));
    assert_eq!(events(&mut node).len(), 1);
    node.handle_message(at(3), Message::PingMe("8.8.8.8:53".parse().unwrap()));
    assert_eq!(outputs(&mut node), []);
    node.handle_message(at(3), Message::PingMe(sn(1)));
    assert_eq!(outputs(&mut node), [NodeOutput::Datagram(sn(1), Datagram::Knock)]);
    // Nor does it believe in supernodes that nobody can have told it of.
    let inside = ["127.0.0.1:1", "192.168.0.1:1", "0.0.0.0:1", "7.7.7.7:1"];
    let rows = inside.map(|addr| NodeRow { addr: addr.parse().unwrap(), seen_min: 0, load: 0 });
    node.handle_message(at(4), Message::Nodes(rows.to_vec()));
    assert_eq!(node.cache().len(), 2);
}

#[test]
fn who_is_a_supernode_stays_with_himself() {
    let (mut node, own) = (attached(), sn(77));
    node.stay_with(at(1000), Some(own));
    assert_eq!(outputs(&mut node), [NodeOutput::Close]);
    assert_eq!(events(&mut node), [Event::Detached(sn(1))]);
    node.handle_timeout(node.poll_timeout());
    assert_eq!(outputs(&mut node), [NodeOutput::Connect(own)], "without a ping");
    node.handle_open(at(1000));
    assert_eq!(node.supernode(), Some(own));
    outputs(&mut node);
    node.handle_timeout(at(700_000));
    assert_eq!(outputs(&mut node), [], "nobody is nearer");
    node.stay_with(at(700_000), None);
    assert_eq!(outputs(&mut node), [NodeOutput::Close]);
    node.handle_timeout(at(700_000));
    assert_eq!(pinged(&mut node), [sn(1)]);
}
