mod bounds;
mod items;

use super::*;
use crate::overlay::kademlia::id_fits;
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
        Event::Stored { lookup: id, stored: 1, refused: None },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*id, &peers[..]), (lookup, &[addr("7.7.7.7:7")][..]));
    assert_eq!((found.asked, found.answered, found.peers), (1, 1, 1));
}

#[test]
fn a_scrape_counts_what_nodes_say_and_what_is_stored_here() {
    let filter = |hosts: &[&str]| {
        let mut filter = Filter::new();
        hosts.iter().for_each(|host| filter.insert(host.parse().unwrap()));
        filter
    };
    let mut node = node(idle());
    let token = reply_from(&mut node, at(0), "8.8.8.8:1", get_peers()).token.unwrap();
    reply_from(&mut node, at(0), "8.8.8.8:1", announce(token, 5, false));
    node.vouch(at(0), Contact { id: id(7), addr: addr("9.9.9.9:9") }, Duration::ZERO);
    let lookups = node.scrape(at(0), SWARM);
    let (seeds, leeches) = (filter(&["8.8.4.4"]), filter(&["1.1.1.1", "2.2.2.2"]));
    let (_, query) = answer_next(&mut node, at(10), |reply| {
        (reply.seeds, reply.leeches) = (Some(seeds.clone()), Some(leeches.clone()));
    });
    assert!(matches!(query.ask, Ask::GetPeers { scrape: true, .. }), "{query:?}");
    let events: Vec<Event> = std::iter::from_fn(|| node.poll_event()).collect();
    let ours =
        Event::Scraped { lookup: lookups[0], seeds: filter(&["8.8.8.8"]), leeches: filter(&[]) };
    assert_eq!(events[..2], [ours, Event::Scraped { lookup: lookups[0], seeds, leeches }]);
    assert!(matches!(events[2..], [Event::Done { .. }]), "{events:?}");
    // Nobody has asked for these.
    node.lookup_peers(at(20), SWARM);
    answer_next(&mut node, at(30), |reply| {
        (reply.seeds, reply.leeches) = (Some(filter(&[])), Some(filter(&[])));
    });
    let mut events = std::iter::from_fn(|| node.poll_event());
    assert!(events.all(|event| !matches!(event, Event::Scraped { .. })));
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
    assert!(told && id_fits(&node.id(false), seen.ip()));
    assert_eq!(node.status(at(2)).v4.unwrap().nodes.good, 30, "nobody is forgotten over it");
}

#[test]
fn a_socket_of_a_global_address_has_an_id_that_fits_it_from_the_start() {
    let [v4, v6] = ["198.18.5.5:1", "[2001:db8::5]:1"].map(|text| addr(text).ip());
    let bound = [Some(v4), Some(v6)];
    let node = |config: Config, saved| {
        let snapshot = Snapshot { id_v4: saved, ..Snapshot::default() };
        Node::new(at(0), config, &snapshot, Rng::seeded(1))
    };
    let fitting = node(Config { bound, ..both() }, None);
    assert!(id_fits(&fitting.id(false), v4) && id_fits(&fitting.id(true), v6));
    let saved = node(Config { bound, ..both() }, Some(id(1)));
    assert_eq!(saved.id(false), id(1), "others may have said that it is seen elsewhere");
    let free = node(Config { bound, bind_id: false, ..both() }, None);
    let any = ["0.0.0.0:1", "[::]:1"].map(|text| Some(addr(text).ip()));
    for node in [free, node(Config { bound: any, ..both() }, None)] {
        assert!(!id_fits(&node.id(false), v4) && !id_fits(&node.id(true), v6));
    }
}

#[test]
fn trackers_peers_and_the_router_have_a_voice_about_our_address() {
    let mut node = node(idle());
    let ip = |text: &str| -> std::net::IpAddr { text.parse().unwrap() };
    let us = ip("198.18.5.5");
    node.handle_sighting(at(0), Sighting { by: ip("192.168.1.1"), us });
    assert_eq!(node.status(at(0)).external, [Some(us), None]);
    for n in 0..30 {
        node.handle_sighting(at(0), Sighting { by: ip("10.0.0.1"), us: ip("10.0.0.2") });
        node.handle_sighting(at(1), Sighting { by: [60, n, 1, 1].into(), us });
    }
    let told = std::iter::from_fn(|| node.poll_event()).any(|e| e == Event::External(us));
    assert!(told && id_fits(&node.id(false), us));
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
