use super::*;
use crate::proto::krpc::{Ask, Body, ErrorCode, Query, Reply, Token, TransactionId, Want};

const SWARM: InfoHash = InfoHash([9; 20]);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn id(n: u8) -> NodeId {
    NodeId([n; 20])
}

fn node(config: Config) -> Node {
    let snapshot = Snapshot { id_v4: Some(id(1)), id_v6: Some(id(2)), nodes: Vec::new() };
    Node::new(at(0), config, &snapshot, Rng::seeded(1))
}

/// Answers without being asked, keeps quiet otherwise.
fn idle() -> Config {
    Config { upkeep: false, ..Config::default() }
}

fn both() -> Config {
    Config { families: Families { v4: true, v6: true }, ..idle() }
}

fn ask_from(node: &mut Node, now: Instant, from: &str, ask: Ask) -> Option<Body> {
    let query = Query { id: id(7), read_only: false, ask };
    let raw = Message::query(TransactionId::from(5), query).encode();
    node.handle_datagram(now, addr(from), &raw);
    let (to, raw) = node.poll_transmit()?;
    assert_eq!(to, addr(from));
    let message = Message::parse(&raw).unwrap();
    assert_eq!(message.transaction, TransactionId::from(5));
    Some(message.body)
}

fn reply_from(node: &mut Node, now: Instant, from: &str, ask: Ask) -> Reply {
    match ask_from(node, now, from, ask) {
        Some(Body::Reply(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn get_peers() -> Ask {
    Ask::GetPeers { info_hash: SWARM, want: None, no_seed: false, scrape: false, bootstrap: false }
}

fn announce(token: Token, port: u16, implied_port: bool) -> Ask {
    Ask::AnnouncePeer { info_hash: SWARM, port, implied_port, seed: Some(true), token, name: None }
}

/// Answers the question that the node has just asked.
fn answer_next(
    node: &mut Node,
    now: Instant,
    fill: impl FnOnce(&mut Reply),
) -> (SocketAddr, Query) {
    let (to, message) = node.poll_message().expect("a question");
    let Body::Query(query) = message.body else { panic!("{:?}", message.body) };
    let mut reply = Reply::new(id(7));
    fill(&mut reply);
    node.handle_message(now, to, Message::reply(message.transaction, reply), 100);
    (to, query)
}

#[test]
fn queries_are_answered_with_what_they_ask_for() {
    let mut node = node(both());
    let pong = reply_from(&mut node, at(0), "8.8.8.8:1", Ask::Ping);
    assert_eq!((pong.id, pong.observed, pong.nodes), (id(1), Some(addr("8.8.8.8:1")), None));
    let pong = reply_from(&mut node, at(0), "[2001:db8::1]:1", Ask::Ping);
    assert_eq!(pong.id, id(2), "each network has an id of its own");
    node.vouch(at(0), Contact { id: id(3), addr: addr("9.9.9.9:9") }, Duration::ZERO);
    node.vouch(at(0), Contact { id: id(4), addr: addr("[2001:db8:9::1]:9") }, Duration::ZERO);
    let find = |want| Ask::FindNode { target: id(3), want };
    let reply = reply_from(&mut node, at(0), "8.8.8.8:1", find(None));
    assert_eq!((reply.nodes.map(|n| n.len()), reply.nodes6), (Some(1), None));
    let want = Some(Want { v4: true, v6: true });
    let reply = reply_from(&mut node, at(0), "[2001:db8::1]:1", find(want));
    assert_eq!((reply.nodes.map(|n| n.len()), reply.nodes6.map(|n| n.len())), (Some(1), Some(1)));
    let samples = Ask::SampleInfohashes { target: id(3), want: None };
    let reply = reply_from(&mut node, at(0), "8.8.8.8:1", samples);
    assert_eq!(reply.samples.map(|samples| samples.hashes), Some(vec![]));
}

#[test]
fn an_announce_is_stored_only_with_the_token_and_then_found() {
    let mut node = node(both());
    let reply = reply_from(&mut node, at(0), "8.8.8.8:1", get_peers());
    let token = reply.token.expect("there is room");
    let refused = ask_from(&mut node, at(0), "8.8.4.4:1", announce(token.clone(), 5, false));
    assert!(matches!(refused, Some(Body::Error(fault)) if fault.code == ErrorCode::PROTOCOL));
    reply_from(&mut node, at(0), "8.8.8.8:77", announce(token.clone(), 5, true));
    let reply = reply_from(&mut node, at(0), "8.8.4.4:1", get_peers());
    assert_eq!(reply.values, Some(vec![addr("8.8.8.8:77")]), "the port it came from");
    reply_from(&mut node, at(0), "8.8.8.8:77", announce(token, 5, false));
    let reply = reply_from(&mut node, at(0), "8.8.4.4:1", get_peers());
    assert_eq!(reply.values, Some(vec![addr("8.8.8.8:5")]));
    let v6 = reply_from(&mut node, at(0), "[2001:db8::1]:1", get_peers());
    assert_eq!(v6.values, None, "peers are of the family of the transport");
    let scrape = Ask::GetPeers {
        info_hash: SWARM,
        want: None,
        no_seed: false,
        scrape: true,
        bootstrap: false,
    };
    let reply = reply_from(&mut node, at(0), "8.8.4.4:1", scrape);
    assert!((reply.seeds.unwrap().estimate() - 1.0).abs() < 0.1);
    assert_eq!(reply.leeches.unwrap().estimate() as u32, 0);
}

#[test]
fn a_read_only_node_says_so_and_answers_nothing() {
    let mut node = node(Config { read_only: true, ..idle() });
    assert_eq!(ask_from(&mut node, at(0), "8.8.8.8:1", Ask::Ping), None);
    node.ping(at(0), addr("8.8.8.8:1"));
    let (_, query) = answer_next(&mut node, at(1), |_| {});
    assert!(query.read_only);
}

#[test]
fn a_read_only_sender_is_served_and_not_remembered() {
    let mut node = node(idle());
    for (read_only, spare) in [(true, 0), (false, 1)] {
        let query = Query { id: id(7), read_only, ask: Ask::Ping };
        let raw = Message::query(TransactionId::from(5), query).encode();
        node.handle_datagram(at(0), addr("8.8.8.8:1"), &raw);
        assert!(node.poll_message().is_some());
        assert_eq!(node.status(at(0)).v4.unwrap().nodes.spare, spare);
    }
}

#[test]
fn a_lookup_reports_peers_and_announces_to_those_who_gave_a_token() {
    let mut node = node(idle());
    node.vouch(at(0), Contact { id: id(7), addr: addr("8.8.8.8:8") }, Duration::ZERO);
    let lookup = node.announce(at(0), SWARM, None, true)[0];
    answer_next(&mut node, at(50), |reply| {
        reply.token = Token::new(b"token");
        reply.values = Some(vec![addr("7.7.7.7:7"), addr("127.0.0.1:7"), addr("10.0.0.1:7")]);
    });
    let (_, query) = answer_next(&mut node, at(100), |_| {});
    let Ask::AnnouncePeer { implied_port, seed, token, .. } = query.ask else { panic!() };
    assert_eq!((implied_port, seed, token.as_bytes()), (true, Some(true), &b"token"[..]));
    let events: Vec<Event> = std::iter::from_fn(|| node.poll_event()).collect();
    let [
        Event::Peers { peers, .. },
        Event::Done { found, .. },
        Event::Announced { lookup: id, stored: 1 },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*id, &peers[..]), (lookup, &[addr("7.7.7.7:7")][..]));
    assert_eq!((found.asked, found.answered, found.peers), (1, 1, 1));
}

#[test]
fn a_silent_node_stalls_is_given_up_and_a_late_answer_still_counts() {
    let mut node = node(idle());
    let silent = Contact { id: id(7), addr: addr("8.8.8.8:8") };
    node.vouch(at(0), silent, Duration::ZERO);
    node.lookup_peers(at(0), SWARM);
    let (to, message) = node.poll_message().unwrap();
    assert_eq!(node.poll_timeout(), Some(at(500)), "nothing is known of round trips yet");
    node.handle_timeout(at(500));
    assert_eq!(node.poll_timeout(), Some(at(1000)));
    node.handle_timeout(at(1000));
    assert_eq!(node.poll_timeout(), Some(at(5000)));
    let mut late = Reply::new(id(7));
    late.values = Some(vec![addr("7.7.7.7:7")]);
    node.handle_message(at(3000), to, Message::reply(message.transaction, late.clone()), 100);
    assert!(matches!(node.poll_event(), Some(Event::Peers { .. })));
    assert!(matches!(node.poll_event(), Some(Event::Done { .. })));
    node.handle_message(at(3100), to, Message::reply(message.transaction, late), 100);
    assert_eq!(
        (node.poll_event(), node.status(at(3100)).counters.stray),
        (None, 1),
        "a second time"
    );
    node.lookup_peers(at(4000), SWARM);
    for ms in [4500, 5000, 9000] {
        node.handle_timeout(at(ms));
    }
    assert!(matches!(node.poll_event(), Some(Event::Done { found, .. }) if found.answered == 0));
    assert_eq!(node.status(at(9000)).v4.unwrap().nodes.questionable, 1);
}

#[test]
fn nobody_is_blamed_while_our_own_line_is_dead() {
    let mut node = node(idle());
    node.vouch(at(0), Contact { id: id(7), addr: addr("8.8.8.8:8") }, Duration::ZERO);
    for round in 0..5 {
        node.lookup_peers(at(round * 10_000), SWARM);
        node.handle_timeout(at(round * 10_000 + 500));
        node.handle_timeout(at(round * 10_000 + 1_000));
        node.handle_timeout(at(round * 10_000 + 8_000));
    }
    assert_eq!(node.status(at(60_000)).v4.unwrap().nodes.good, 1);
}

#[test]
fn a_node_finds_its_neighbours_from_one_bootstrap_node_and_explains_when_it_does_not() {
    let mut alone = node(Config::default());
    alone.handle_timeout(at(0));
    assert_eq!(alone.status(at(0)).why_nobody, Some(Why::NobodyToAsk));

    let router = addr("8.8.8.8:8");
    let config = Config { bootstrap: vec![router], ..Config::default() };
    let mut joins = node(config.clone());
    joins.handle_timeout(at(0));
    assert_eq!(joins.status(at(0)).why_nobody, Some(Why::Starting));
    let (to, query) = answer_next(&mut joins, at(50), |reply| {
        reply.nodes = Some(vec![Contact { id: id(8), addr: addr("8.8.4.4:4") }]);
    });
    assert_eq!((to, query.ask), (router, Ask::FindNode { target: id(1), want: None }));
    let (to, _) = answer_next(&mut joins, at(100), |reply| reply.id = id(8));
    assert_eq!(to, addr("8.8.4.4:4"));
    let status = joins.status(at(100));
    assert_eq!((status.v4.unwrap().nodes.good, status.why_nobody), (2, None));
    assert_eq!(joins.snapshot().nodes.len(), 2);

    let mut silence = node(config.clone());
    let mut now = at(0);
    while now < at(60_000) {
        silence.handle_timeout(now);
        while silence.poll_message().is_some() {}
        now = silence.poll_timeout().unwrap().max(now);
    }
    assert!(matches!(silence.status(now).why_nobody, Some(Why::Silence { asked: 2..=4 })));
    let mut muted =
        node(Config { limits: Limits { new_destinations: 0, ..Limits::default() }, ..config });
    muted.handle_timeout(at(0));
    assert_eq!(
        (muted.poll_message(), muted.status(at(0)).why_nobody),
        (None, Some(Why::Throttled))
    );
}

#[test]
fn a_table_of_which_nobody_answers_leads_back_to_the_bootstrap_nodes() {
    let router = addr("8.8.8.8:8");
    let mut node = node(Config { bootstrap: vec![router], ..Config::default() });
    for n in 0..20u8 {
        let contact = Contact { id: id(100 + n), addr: SocketAddr::from(([60, n, 1, 1], 1)) };
        node.vouch(at(0), contact, Duration::ZERO);
    }
    let (mut now, mut asked) = (at(0), None);
    while asked.is_none() && now < at(60_000) {
        node.handle_timeout(now);
        let mut sent = std::iter::from_fn(|| node.poll_message());
        asked = sent.any(|(to, _)| to == router).then_some(now);
        now = node.poll_timeout().unwrap().max(now);
    }
    assert!(asked.is_some_and(|at_| at_ < at(30_000)), "{asked:?}");
}

#[test]
fn saved_nodes_are_enough_to_come_back() {
    let saved = Contact { id: id(7), addr: addr("8.8.8.8:8") };
    let snapshot = Snapshot { id_v4: Some(id(1)), id_v6: None, nodes: vec![saved] };
    let mut node = Node::new(at(0), Config::default(), &snapshot, Rng::seeded(1));
    node.handle_timeout(at(0));
    let (to, _) = answer_next(&mut node, at(10), |_| {});
    assert_eq!(to, saved.addr);
    assert_eq!(node.snapshot(), snapshot);
}

#[test]
fn the_id_follows_the_address_that_others_agree_on() {
    let mut node = node(idle());
    let seen = addr("198.18.5.5:6881");
    for n in 0..30u8 {
        let from = SocketAddr::from(([60, n, 1, 1], 1));
        node.ping(at(0), from);
        answer_next(&mut node, at(1), |reply| {
            reply.id = id(100 + n);
            reply.observed = Some(seen);
        });
    }
    let told = std::iter::from_fn(|| node.poll_event()).any(|e| e == Event::External(seen.ip()));
    assert!(told && crate::overlay::kademlia::id_fits(&node.id(false), seen.ip()));
    assert_eq!(node.status(at(2)).v4.unwrap().nodes.good, 30, "nobody is forgotten over it");
}

#[test]
fn lookups_keep_to_the_pace_and_go_on_later() {
    let limits = Limits { new_destinations: 10, ..Limits::default() };
    let mut node = node(Config { limits, ..idle() });
    for n in 0..30u8 {
        let contact = Contact { id: id(100 + n), addr: SocketAddr::from(([60, n, 1, 1], 1)) };
        node.vouch(at(0), contact, Duration::ZERO);
    }
    for n in 0..10 {
        node.lookup_peers(at(0), InfoHash([n; 20]));
    }
    let mut sent = Vec::new();
    let mut now = at(0);
    while now < at(4_500) {
        while node.poll_message().is_some() {
            sent.push(now);
        }
        now = node.poll_timeout().unwrap().max(now + Duration::from_micros(1));
        node.handle_timeout(now);
    }
    assert!(sent.windows(11).all(|w| w[10].since(w[0]) >= Duration::from_secs(1)), "{sent:?}");
    assert!(sent.len() >= 40, "{}", sent.len());
}

#[test]
fn two_nodes_are_a_network_that_finds_peers() {
    let mut node = node(idle());
    let token = reply_from(&mut node, at(0), "8.8.8.8:1", get_peers()).token.unwrap();
    reply_from(&mut node, at(0), "8.8.8.8:1", announce(token, 5, false));
    let lookup = node.lookup_peers(at(1), SWARM)[0];
    let peers = vec![addr("8.8.8.8:5")];
    assert_eq!(node.poll_event(), Some(Event::Peers { lookup, from: None, peers }));
}

#[test]
fn a_suggested_node_is_asked_at_once_and_leads_to_others() {
    let mut node = node(Config::default());
    node.handle_timeout(at(0));
    node.suggest(at(1), addr("8.8.8.8:8"));
    node.suggest(at(1), addr("8.8.8.8:8"));
    assert_eq!(node.poll_timeout(), Some(at(1)));
    node.handle_timeout(at(1));
    answer_next(&mut node, at(50), |reply| {
        reply.nodes = Some(vec![Contact { id: id(9), addr: addr("8.8.4.4:4") }]);
    });
    assert_eq!(node.poll_timeout(), Some(at(50)), "now there is somebody to ask for neighbours");
    node.handle_timeout(at(50));
    let to: Vec<_> = std::iter::from_fn(|| node.poll_message()).map(|(to, _)| to).collect();
    assert!(to.contains(&addr("8.8.8.8:8")), "{to:?}");
}

#[test]
fn nodes_of_the_other_family_are_learnt_from_one_bootstrap_node() {
    let config = Config { bootstrap: vec![addr("8.8.8.8:8")], upkeep: true, ..both() };
    let mut node = node(config);
    node.handle_timeout(at(0));
    let (_, query) = answer_next(&mut node, at(50), |reply| {
        reply.nodes6 = Some(vec![Contact { id: id(9), addr: addr("[2001:db8::9]:9") }]);
    });
    let want = Some(Want { v4: true, v6: true });
    assert_eq!(query.ask, Ask::FindNode { target: id(1), want });
    let mut asked = Vec::new();
    while asked.len() < 3 {
        let now = node.poll_timeout().expect("upkeep goes on");
        assert!(now < at(20_000), "{asked:?}");
        node.handle_timeout(now);
        asked.extend(std::iter::from_fn(|| node.poll_message()).map(|(to, _)| to));
    }
    assert!(asked.contains(&addr("[2001:db8::9]:9")), "{asked:?}");
}

#[test]
fn nobody_is_aimed_at_a_host_of_ipv4_through_the_table_of_ipv6() {
    let mut node = node(both());
    node.ping(at(0), addr("[2001:db8::1]:1"));
    answer_next(&mut node, at(1), |reply| {
        let aimed = ["[::ffff:9.9.9.9]:53", "[::9.9.9.9]:53"].map(addr);
        reply.nodes6 = Some(aimed.map(|addr| Contact { id: id(9), addr }).to_vec());
    });
    let census = node.status(at(1)).v6.unwrap().nodes;
    assert_eq!((census.good, census.spare), (1, 0));
}

#[test]
fn a_lookup_ends_in_time_whatever_it_is_told() {
    let mut node = node(idle());
    node.vouch(at(0), Contact { id: id(100), addr: addr("60.0.0.1:1") }, Duration::ZERO);
    let lookup = node.lookup_peers(at(0), SWARM)[0];
    let mut asked = 0;
    let mut now = at(0);
    let done = loop {
        // Everybody is real, takes 4.9 s, and names one who is nearer.
        now += Duration::from_millis(4_900);
        let Some((to, message)) = node.poll_message() else { panic!("nobody asked at {now:?}") };
        asked += 1;
        let mut near = SWARM.0;
        near[0] ^= 0x40 - asked;
        let mut reply = Reply::new(if asked == 1 { id(100) } else { NodeId([9; 20]) });
        if asked > 1 {
            reply.id.0[0] ^= 0x41 - asked;
        }
        let next = SocketAddr::from(([60, asked, 1, 1], 1));
        reply.nodes = Some(vec![Contact { id: NodeId(near), addr: next }]);
        node.handle_message(now, to, Message::reply(message.transaction, reply), 100);
        node.handle_timeout(now);
        if let Some(done) = std::iter::from_fn(|| node.poll_event())
            .find(|e| matches!(e, Event::Done { lookup: id, .. } if *id == lookup))
        {
            break done;
        }
    };
    let Event::Done { found, .. } = done else { panic!("{done:?}") };
    assert!(found.took <= Duration::from_secs(64) && found.answered >= 10, "{found:?}");
}

#[test]
fn a_lookup_that_cannot_send_ends_in_time() {
    let limits = Limits { new_destinations: 0, ..Limits::default() };
    let mut node = node(Config { limits, ..idle() });
    node.vouch(at(0), Contact { id: id(100), addr: addr("60.0.0.1:1") }, Duration::ZERO);
    let lookup = node.lookup_peers(at(0), SWARM)[0];
    assert_eq!((node.poll_event(), node.poll_timeout()), (None, Some(at(60_000))));
    node.handle_timeout(at(60_000));
    assert!(matches!(node.poll_event(), Some(Event::Done { lookup: id, .. }) if id == lookup));
    assert_eq!(node.poll_timeout(), None);
}

#[test]
fn a_cancelled_announce_sends_nothing_more() {
    let mut node = node(idle());
    for n in 0..9u8 {
        let contact = Contact { id: id(100 + n), addr: SocketAddr::from(([60, n, 1, 1], 1)) };
        node.vouch(at(0), contact, Duration::ZERO);
    }
    let own = std::iter::repeat_n((), 3).map(|()| node.announce(at(0), SWARM, None, true)[0]);
    let [early, late, kept] = own.collect::<Vec<_>>()[..] else { panic!("three lookups") };
    // One whose questions are still in the outbox, and one whose questions are out.
    node.cancel(at(0), early);
    let mut out: VecDeque<_> = std::iter::from_fn(|| node.poll_message()).collect();
    assert_eq!(out.len(), 10, "five each of the two others");
    node.cancel(at(1), late);
    let (mut events, mut announced) = (Vec::new(), 0);
    while let Some((to, message)) = out.pop_front() {
        let Body::Query(query) = message.body else { panic!("{:?}", message.body) };
        announced += usize::from(matches!(query.ask, Ask::AnnouncePeer { .. }));
        let SocketAddr::V4(from) = to else { panic!("{to}") };
        let mut reply = Reply::new(id(100 + from.ip().octets()[1]));
        reply.token = Token::new(b"token");
        reply.values = Some(vec![addr("8.8.8.8:8")]);
        node.handle_message(at(50), to, Message::reply(message.transaction, reply), 100);
        out.extend(std::iter::from_fn(|| node.poll_message()));
        events.extend(std::iter::from_fn(|| node.poll_event()));
    }
    assert_eq!(announced, 8, "only those of the one that was kept");
    assert!(events.contains(&Event::Announced { lookup: kept, stored: 8 }));
    let of = |event: &Event| match event {
        Event::Announced { lookup, .. }
        | Event::Done { lookup, .. }
        | Event::Peers { lookup, .. } => Some(*lookup),
        _ => None,
    };
    assert!(events.iter().all(|event| of(event) == Some(kept)), "{events:?}");
    assert_eq!(node.poll_timeout(), None, "nothing is left");
}

#[test]
fn only_what_a_host_can_have_is_suggested_and_few_of_one_address() {
    let impossible =
        ["0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[ff02::1]:1", "[::]:1", "[::9.9.9.9]:1"];
    let possible = ["127.0.0.1:1", "10.0.0.1:1", "8.8.8.8:1", "[::1]:1", "[fd00::1]:1"];
    let mut node = node(both());
    for text in impossible.into_iter().chain(possible) {
        node.suggest(at(0), addr(text));
    }
    node.suggest(at(0), addr("[::ffff:8.8.4.4]:1"));
    let queued = |node: &Node| node.suggested.iter().map(|(_, addr)| *addr).collect::<Vec<_>>();
    let want: Vec<_> = possible.into_iter().chain(["8.8.4.4:1"]).map(addr).collect();
    assert_eq!(queued(&node), want);
    (1..100).for_each(|port| node.suggest(at(0), SocketAddr::from(([8, 8, 8, 8], port))));
    assert_eq!(queued(&node).len(), want.len() + 1);
    // While they are asked, there is no more room than before.
    while !node.suggested.is_empty() {
        node.ask_suggested(at(0));
    }
    (1..100).for_each(|port| node.suggest(at(0), SocketAddr::from(([8, 8, 8, 8], port))));
    assert_eq!(queued(&node), []);

    let texts =
        impossible.into_iter().chain(["[::ffff:8.8.4.4]:1", "8.8.8.8:1", "8.8.8.8:2", "8.8.8.8:3"]);
    let nodes = texts.map(|text| Contact { id: id(7), addr: addr(text) }).collect();
    let snapshot = Snapshot { nodes, ..Snapshot::default() };
    let node = Node::new(at(0), both(), &snapshot, Rng::seeded(1));
    assert_eq!(queued(&node), ["8.8.8.8:1", "8.8.8.8:2"].map(addr));
}

#[test]
fn a_snapshot_has_nodes_of_both_families() {
    #[track_caller]
    fn check(v4: u16, v6: u16, want: (usize, usize)) {
        let mut node = node(both());
        let mut rng = Rng::seeded(1);
        for n in 0..v4 + v6 {
            let [high, low] = n.to_be_bytes();
            let addr = match n < v4 {
                true => SocketAddr::from(([60, high, low, 1], 1)),
                false => SocketAddr::from(([0x2001, 0xdb8, n, 0, 0, 0, 0, 1], 1)),
            };
            node.vouch(at(0), Contact { id: NodeId::random(&mut rng), addr }, Duration::ZERO);
        }
        let nodes = node.snapshot().nodes;
        let of = |v6| nodes.iter().filter(|node| node.addr.is_ipv6() == v6).count();
        assert_eq!((of(false), of(true)), want);
    }
    check(50, 30, (50, 30));
    let mut full = node(both());
    let mut rng = Rng::seeded(1);
    for n in 0..5000u16 {
        let [high, low] = n.to_be_bytes();
        let v4 = SocketAddr::from(([60, high, low, 1], 1));
        let v6 = SocketAddr::from(([0x2001, 0xdb8, n, 0, 0, 0, 0, 1], 1));
        full.vouch(at(0), Contact { id: NodeId::random(&mut rng), addr: v4 }, Duration::ZERO);
        full.vouch(at(0), Contact { id: NodeId::random(&mut rng), addr: v6 }, Duration::ZERO);
    }
    let nodes = full.snapshot().nodes;
    let six = nodes.iter().filter(|node| node.addr.is_ipv6()).count();
    assert_eq!((nodes.len(), six), (400, 200));
    check(5000, 150, (250, 150));
    check(150, 5000, (150, 250));
}

#[test]
fn only_the_search_for_neighbours_asks_bootstrap_nodes_and_the_others_wait_for_it() {
    let bootstrap: Vec<_> = (1..=20).map(|n| SocketAddr::from(([8, 8, n, 8], 8))).collect();
    for upkeep in [true, false] {
        let config = Config { bootstrap: bootstrap.clone(), upkeep, ..Config::default() };
        let mut node = node(config);
        for n in 0..10 {
            node.lookup_peers(at(0), InfoHash([n; 20]));
        }
        node.handle_timeout(at(0));
        let mut out: Vec<_> = std::iter::from_fn(|| node.poll_message()).collect();
        assert_eq!((out.len(), node.counters.routers_asked), (4, 4), "upkeep {upkeep}");
        let (to, message) = out.pop().unwrap();
        let mut reply = Reply::new(id(99));
        reply.nodes = Some(vec![Contact { id: id(98), addr: addr("60.0.0.1:1") }]);
        node.handle_message(at(50), to, Message::reply(message.transaction, reply), 100);
        let mut done = 0;
        let mut now = at(50);
        while now < at(30_000) && done < 10 {
            for (to, message) in std::iter::from_fn(|| node.poll_message()).collect::<Vec<_>>() {
                let who = if to == addr("60.0.0.1:1") { id(98) } else { id(99) };
                assert!(!bootstrap.contains(&to) || who == id(99));
                let reply = Message::reply(message.transaction, Reply::new(who));
                node.handle_message(now, to, reply, 100);
            }
            let over =
                |event: &Event| matches!(event, Event::Done { found, .. } if found.answered == 2);
            done += std::iter::from_fn(|| node.poll_event()).filter(over).count();
            now = node.poll_timeout().unwrap_or(now + Duration::from_secs(1)).max(now);
            node.handle_timeout(now);
        }
        assert_eq!(node.counters.routers_asked, 4);
        assert!(done >= 10 && now < at(4_000), "{done} by {now:?}: the silent ones hold nobody up");
    }
}

#[test]
fn who_waits_in_vain_is_told_so() {
    let config = Config { bootstrap: vec![addr("8.8.8.8:8")], ..Config::default() };
    let mut node = node(config);
    let lookup = node.lookup_peers(at(0), SWARM)[0];
    let mut now = at(0);
    let done = loop {
        while node.poll_message().is_some() {}
        let over = std::iter::from_fn(|| node.poll_event())
            .find(|e| matches!(e, Event::Done { lookup: id, .. } if *id == lookup));
        if over.is_some() || now > at(60_000) {
            break over;
        }
        now = node.poll_timeout().unwrap().max(now);
        node.handle_timeout(now);
    };
    assert!(matches!(done, Some(Event::Done { found, .. }) if found.answered == 0), "{now:?}");
    assert!(now <= at(10_000), "{now:?}");
}

#[test]
fn an_error_of_our_own_machine_counts_against_nobody() {
    let mut node = node(idle());
    let contact = Contact { id: id(100), addr: addr("60.0.0.1:1") };
    node.vouch(at(0), contact, Duration::ZERO);
    node.ping(at(0), addr("60.0.1.2:1"));
    answer_next(&mut node, at(1), |reply| reply.id = id(101));
    for n in 0..10 {
        let lookup = node.lookup_peers(at(n), InfoHash([9; 20]))[0];
        while let Some((to, _)) = node.poll_message() {
            node.handle_unreachable(at(n), to);
        }
        let done = std::iter::from_fn(|| node.poll_event())
            .any(|e| matches!(e, Event::Done { lookup: id, .. } if id == lookup));
        assert!(done, "nothing to wait for");
    }
    assert_eq!(node.status(at(20)).v4.unwrap().nodes.good, 2);
}

#[test]
fn who_has_just_answered_is_no_new_destination() {
    let limits = Limits { new_destinations: 5, ..Limits::default() };
    let mut node = node(Config { limits, ..idle() });
    for n in 0..5u8 {
        let contact = Contact { id: id(100 + n), addr: SocketAddr::from(([60, n, 1, 1], 1)) };
        node.vouch(at(0), contact, Duration::ZERO);
    }
    let asked = |node: &mut Node, now| {
        let lookups = [1, 2].map(|n| node.lookup_peers(now, InfoHash([n; 20]))[0]);
        let out: Vec<_> = std::iter::from_fn(|| node.poll_message()).collect();
        (lookups, out)
    };
    let (lookups, out) = asked(&mut node, at(0));
    assert_eq!(out.len(), 5, "nobody has answered yet");
    for (to, message) in out {
        let SocketAddr::V4(v4) = to else { panic!("{to}") };
        let reply = Reply::new(id(100 + v4.ip().octets()[1]));
        node.handle_message(at(50), to, Message::reply(message.transaction, reply), 100);
    }
    lookups.into_iter().for_each(|lookup| node.cancel(at(50), lookup));
    while node.poll_message().is_some() {}
    let (lookups, out) = asked(&mut node, at(60));
    assert_eq!(out.len(), 10, "the way to them is open");
    lookups.into_iter().for_each(|lookup| node.cancel(at(60), lookup));
    assert_eq!(asked(&mut node, at(200_000)).1.len(), 5, "it is not for ever");
}

#[test]
fn lookups_leave_something_to_upkeep() {
    let limits = Limits { new_destinations: 10, ..Limits::default() };
    let mut node = node(Config { limits, ..Config::default() });
    for n in 0..30u8 {
        let contact = Contact { id: id(100 + n), addr: SocketAddr::from(([60, n, 1, 1], 1)) };
        node.vouch(at(0), contact, Duration::ZERO);
    }
    for n in 0..50 {
        node.lookup_peers(at(0), InfoHash([n; 20]));
    }
    node.suggest(at(1), addr("8.8.8.8:8"));
    let mut sent = Vec::new();
    let mut now = at(1);
    while now < at(900) {
        node.handle_timeout(now);
        sent.extend(std::iter::from_fn(|| node.poll_message()).map(|(to, _)| to));
        now = node.poll_timeout().unwrap().max(now + Duration::from_millis(1));
    }
    assert!(sent.contains(&addr("8.8.8.8:8")) && sent.len() <= 10, "{sent:?}");
}

#[test]
fn the_weight_of_a_node_counts_what_waits() {
    let mut node = node(idle());
    let mut weight = node.state_bytes();
    let mut heavier = |node: &Node, by: usize| {
        let grown = node.state_bytes() - std::mem::replace(&mut weight, node.state_bytes());
        assert!(grown >= by, "{grown} of {by}");
    };
    for n in 0..SUGGESTED_MAX {
        let [high, low] = (n as u16).to_be_bytes();
        node.suggest(at(0), SocketAddr::from(([60, high, low, 1], 1)));
    }
    heavier(&node, SUGGESTED_MAX * size_of::<SocketAddr>());
    let contact = Contact { id: id(100), addr: addr("60.0.0.1:1") };
    node.vouch(at(0), contact, Duration::ZERO);
    for n in 0..20 {
        node.lookup_peers(at(0), InfoHash([n; 20]));
    }
    heavier(&node, 20 * (size_of::<Lookup>() + size_of::<(SocketAddr, Message)>()));
}

proptest::proptest! {
    /// Whatever comes, from wherever: no panic, no answer to somebody else, no more than one answer to a datagram.
    #[test]
    fn hostile_datagrams_never_panic(
        steps in proptest::collection::vec(
            (proptest::prelude::any::<[u8; 4]>(), 0u8..12, proptest::prelude::any::<u32>(), 0u32..100_000), 0..60,
        ),
    ) {
        let mut node = node(Config::default());
        let mut now = at(0);
        let mut open = Vec::new();
        for (ip, what, noise, ms) in steps {
            now += Duration::from_millis(ms.into());
            let from = SocketAddr::from((ip, noise as u16));
            let mut reply = Reply::new(id(noise as u8));
            reply.nodes = Some(vec![Contact { id: id(ip[0]), addr: SocketAddr::from(([60, ip[1], 1, 1], 1)) }]);
            reply.observed = Some(from);
            reply.values = Some(vec![from]);
            reply.token = Token::new(&ip);
            let query = |ask| Message::query(TransactionId::from(noise), Query { id: id(ip[2]), read_only: false, ask });
            let raw = match what {
                0 => query(Ask::Ping).encode(),
                1 => query(get_peers()).encode(),
                2 => query(announce(Token::new(&ip).unwrap(), 1, false)).encode(),
                3 => query(Ask::SampleInfohashes { target: id(9), want: None }).encode(),
                4 => Message::reply(TransactionId::from(noise), reply).encode(),
                5 => vec![b'd'; noise as usize % 3000],
                6 => { node.suggest(now, from); continue }
                7 => { node.announce(now, SWARM, None, true); continue }
                8 => { node.handle_unreachable(now, from); continue }
                9 => { node.handle_timeout(now); while let Some(sent) = node.poll_message() { open.push(sent) } continue }
                _ => {
                    let Some((to, message)) = open.pop() else { continue };
                    node.handle_message(now, to, Message::reply(message.transaction, reply), 300);
                    continue;
                }
            };
            while let Some(sent) = node.poll_message() { open.push(sent) }
            node.handle_datagram(now, from, &raw);
            let answers: Vec<_> = std::iter::from_fn(|| node.poll_transmit()).collect();
            proptest::prop_assert!(answers.len() <= 1 && answers.iter().all(|(to, _)| *to == from));
            proptest::prop_assert!(answers.iter().all(|(_, answer)| answer.len() <= 8 * raw.len()));
            while node.poll_event().is_some() {}
        }
        proptest::prop_assert!(node.state_bytes() < 30 << 10);
    }
}
