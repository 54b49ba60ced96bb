//! What strangers, our own machine and many lookups at once must not do to a node.

use super::*;

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
    assert!(events.contains(&Event::Stored { lookup: kept, stored: 8, refused: None }));
    let of = |event: &Event| match event {
        Event::Done { lookup, .. } | Event::Peers { lookup, .. } | Event::Stored { lookup, .. } => {
            Some(*lookup)
        }
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
fn who_waits_for_somebody_to_ask_begins_with_the_first_who_answers() {
    let mut node = node(Config { bootstrap: vec![addr("8.8.8.8:8")], ..Config::default() });
    node.lookup_peers(at(0), SWARM);
    node.handle_timeout(at(0));
    let (router, message) = node.poll_message().unwrap();
    let mut reply = Reply::new(id(99));
    // Of the one it names nobody will ever hear again.
    reply.nodes = Some(vec![Contact { id: id(98), addr: addr("60.0.0.1:1") }]);
    node.handle_message(at(20), router, Message::reply(message.transaction, reply), 100);
    let is_ours = |(to, message): &(SocketAddr, Message)| {
        let asks =
            |ask: &Ask| matches!(ask, Ask::GetPeers { info_hash, .. } if *info_hash == SWARM);
        *to == router && matches!(&message.body, Body::Query(query) if asks(&query.ask))
    };
    assert!(std::iter::from_fn(|| node.poll_message()).any(|sent| is_ours(&sent)));
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
