//! Goal: a node answers a hundred thousand queries a second on one core.
//! Method: datagrams in, datagrams out, without sockets; twenty thousand senders, a full table, a hundred thousand stored
//! peers, the limit for each source on. A sample of the answers is checked against a plain search.

use crate::{figure, full, sized};
use gaggle_core::clock::Instant;
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::overlay::kademlia::{Config, K, Limits, Node, Snapshot, Terms, places};
use gaggle_core::proto::krpc::{Ask, Body, Contact, Message, Query, TransactionId};
use gaggle_core::rng::Rng;
use std::net::SocketAddr;
use std::time::Duration;

const SENDERS: u32 = 20_000;
const SWARMS: u32 = 1_000;

fn sender(n: u32) -> SocketAddr {
    SocketAddr::from(((0xc612_0000 + n).to_be_bytes(), 6881))
}

fn swarm(n: u32) -> InfoHash {
    InfoHash(NodeId::random(&mut Rng::seeded(n.into())).0)
}

fn send(node: &mut Node, now: Instant, from: SocketAddr, ask: Ask) -> Option<Message> {
    let query = Query { id: NodeId([3; 20]), read_only: true, ask };
    let raw = Message::query(TransactionId::from(7), query).encode();
    node.handle_datagram(now, from, &raw);
    node.poll_transmit().map(|(_, raw)| Message::parse(&raw).expect("a message"))
}

fn get_peers(info_hash: InfoHash) -> Ask {
    Ask::GetPeers { info_hash, want: None, no_seed: false, scrape: false, bootstrap: false }
}

/// Of a table that holds a thousand nodes and more.
const TABLE_WIDTH: usize = 512;

/// Somebody who shares so many bits with us.
fn neighbour(own: &NodeId, depth: usize, rng: &mut Rng) -> NodeId {
    let mut id = NodeId::random(rng);
    while id.shared_bits(own) as usize != depth {
        let at = (id.shared_bits(own) as usize).min(depth);
        id.0[at / 8] ^= 0x80 >> (at % 8);
    }
    id
}

/// A node with a full table and a hundred peers in each of a thousand swarms.
fn laden() -> (Node, Vec<Contact>) {
    let mut rng = Rng::seeded(1);
    let free =
        Limits { per_source: None, per_subnet: None, reply_budget: None, new_destinations: 50 };
    let terms = Terms { swarms_max: 2 * SWARMS as usize, ..Terms::default() };
    let config = Config {
        upkeep: false,
        limits: free,
        table_width: TABLE_WIDTH,
        terms,
        ..Config::default()
    };
    let mut node = Node::new(Instant::ZERO, config, &Snapshot::default(), rng.fork());
    let own = node.id(false);
    let depths = (0..).flat_map(|depth| std::iter::repeat_n(depth, places(TABLE_WIDTH, depth)));
    let known: Vec<Contact> = (0..1_000u32)
        .zip(depths)
        .map(|(n, depth)| Contact {
            id: neighbour(&own, depth, &mut rng),
            addr: SocketAddr::from(((0x3c00_0001 + (n << 8)).to_be_bytes(), 6881)),
        })
        .collect();
    for &contact in &known {
        node.vouch(Instant::ZERO, contact, Duration::from_millis(50));
    }
    for n in 0..SWARMS * 100 {
        let (from, info_hash) = (sender(n % SENDERS), swarm(n / 100));
        let answer = send(&mut node, Instant::ZERO, from, get_peers(info_hash));
        let Some(Message { body: Body::Reply(reply), .. }) = answer else { panic!("{answer:?}") };
        let token = reply.token.expect("there is room");
        let ask = Ask::AnnouncePeer {
            info_hash,
            port: 1,
            implied_port: false,
            seed: None,
            token,
            name: None,
        };
        send(&mut node, Instant::ZERO, from, ask);
    }
    (node, known)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures the machine itself, in real time")]
fn claim_dht_answers_cost_little() {
    let (mut node, known) = laden();
    let side = node.status(Instant::ZERO).v4.expect("active");
    assert_eq!((side.nodes.good, side.swarms, side.peers), (known.len(), 1_000, 100_000));
    let limits = Limits { per_subnet: None, reply_budget: None, ..Limits::default() };
    node.set_limits(limits);

    let rounds: u32 = sized(2, 50);
    let mut rng = Rng::seeded(2);
    let queries: Vec<Vec<u8>> = (0..SENDERS)
        .map(|n| {
            let ask = if n % 2 == 0 {
                Ask::FindNode { target: NodeId::random(&mut rng), want: None }
            } else {
                get_peers(swarm(n % SWARMS))
            };
            let query = Query { id: NodeId::random(&mut rng), read_only: false, ask };
            Message::query(TransactionId::from(n), query).encode()
        })
        .collect();
    let (mut answers, mut bytes) = (0u32, 0);
    let begun = std::time::Instant::now();
    for round in 0..rounds {
        // Five queries a second of each sender, which is just what one may ask.
        let now = Instant::from_micros(u64::from(round) * 200_000);
        for (n, raw) in (0..SENDERS).zip(&queries) {
            node.handle_datagram(now, sender(n), raw);
            while let Some((_, answer)) = node.poll_transmit() {
                answers += 1;
                bytes += answer.len();
            }
        }
    }
    let each = begun.elapsed() / (rounds * SENDERS);
    assert_eq!(answers, rounds * SENDERS);
    figure(&format!(
        "one query costs {:.2} us from datagram to datagram ({} bytes on average), {} table entries, 100 000 peers",
        each.as_secs_f64() * 1e6,
        bytes / answers as usize,
        known.len(),
    ));
    // Only where it says something: in a release build, with nothing beside it.
    if full() && !cfg!(debug_assertions) {
        assert!(each.as_micros() < 10, "{each:?}");
    }
    for _ in 0..100 {
        let target = NodeId::random(&mut rng);
        node.set_limits(Limits { per_source: None, ..limits });
        let ask = Ask::FindNode { target, want: None };
        let answer = send(&mut node, Instant::ZERO, "8.8.8.8:1".parse().unwrap(), ask);
        let Some(Message { body: Body::Reply(reply), .. }) = answer else { panic!("{answer:?}") };
        let mut sorted = known.clone();
        sorted.sort_by_key(|contact| contact.id.distance(&target));
        assert_eq!(reply.nodes.as_deref(), Some(&sorted[..K]));
    }
}
