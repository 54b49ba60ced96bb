//! Fills a node over the wire: its table by answering it, its store by announcing.

use super::crowd::Crowd;
use super::{Known, NODE};
use anyhow::{Context, ensure};
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::overlay::kademlia::places;
use gaggle_core::proto::krpc::{Ask, Body, Contact, Message, Query, Reply, Token};
use gaggle_core::rng::Rng;
use harness::gaggle::event;
use harness::{Process, Stopwatch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

/// Networks of other nodes: the first /24 of the 512 is the node's own.
const NETWORKS: usize = 511;
/// Seconds that filling the table may take: a node asks five strangers a second.
const TABLE_S: f64 = 600.0;
/// The same of the store.
const STORE_S: f64 = 120.0;
/// Peers of one swarm. A node keeps 500, and then gives out no more tokens.
const SWARM: usize = 400;
/// Questions under way while the store is filled.
const WINDOW: usize = 256;
/// Seconds after which a question is asked again.
const AGAIN_S: f64 = 1.0;

/// The address of the nth other node: neighbours in the list are in different networks.
pub(super) fn host(nth: usize) -> Ipv4Addr {
    let nth = u32::try_from(nth).unwrap_or(u32::MAX);
    let networks = NETWORKS as u32;
    let net = 1 + nth % networks;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (net << 8) + 1 + nth / networks)
}

/// The nth address that asks.
pub(super) fn source(nth: u32) -> Ipv4Addr {
    // No address of another node: those are the first of their networks.
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 19, 0, 0)) + ((nth / 100) << 8) + 10 + nth % 100)
}

/// Ids that fill a table: as many of each number of common leading bits as its bucket has places.
pub(super) fn nodes(own: &NodeId, count: usize, rng: &mut Rng) -> Vec<(NodeId, Ipv4Addr)> {
    // Of one /24 a bucket takes one node, and there are not more of them.
    let room = |bits: usize| places(super::TABLE_WIDTH, bits).min(NETWORKS);
    let shares = (0..150usize).flat_map(|bits| std::iter::repeat_n(bits, room(bits)));
    let id = |bits: usize, rng: &mut Rng| {
        let mut id = NodeId::random(rng);
        for bit in 0..=bits {
            let (byte, mask) = (bit / 8, 0x80u8 >> (bit % 8));
            let same = own.0[byte] & mask;
            let wanted = if bit == bits { !own.0[byte] & mask } else { same };
            id.0[byte] = (id.0[byte] & !mask) | wanted;
        }
        id
    };
    shares.take(count).enumerate().map(|(nth, bits)| (id(bits, rng), host(nth))).collect()
}

/// Answers the node's questions until its table has so many entries, and says how many they are.
pub(super) fn table(
    crowd: &mut Crowd,
    node: &mut Process,
    known: &Known,
    wanted: usize,
) -> anyhow::Result<u64> {
    let by_host: BTreeMap<Ipv4Addr, NodeId> =
        known.nodes.iter().map(|(id, ip)| (*ip, *id)).collect();
    let contact = |(id, ip): &(NodeId, Ipv4Addr)| Contact {
        id: *id,
        addr: SocketAddr::new((*ip).into(), super::CROWD_PORT),
    };
    // The farthest first: each answer names nodes nearer than any before, so that the node's search for its own
    // neighbours goes through all of them, and at its own pace.
    let mut unasked: Vec<Contact> = known.nodes.iter().map(contact).collect();
    unasked.sort_by_key(|contact| std::cmp::Reverse(contact.id.distance(&known.own)));
    let mut asked: BTreeSet<NodeId> = BTreeSet::new();
    let (watch, mut shown) = (Stopwatch::new(), 0);
    loop {
        let mut answers = Vec::new();
        crowd.receive(|to, raw| answers.extend(question(to, raw)))?;
        for (to, message) in answers {
            let (Some(id), Body::Query(query)) = (by_host.get(&to), &message.body) else {
                continue;
            };
            asked.insert(*id);
            unasked.retain(|contact| contact.id != *id);
            let mut reply = Reply::new(*id);
            if !matches!(query.ask, Ask::Ping) {
                reply.nodes = Some(unasked.iter().take(8).copied().collect());
            }
            crowd.send(to, NODE, &Message::reply(message.transaction, reply).encode());
        }
        let entries = status(node, "nodes");
        if entries >= wanted as u64 {
            return Ok(entries);
        }
        if entries >= shown + 100 {
            shown = entries;
            println!("  {entries} nodes in the table after {:.0} s", watch.seconds());
        }
        ensure!(
            watch.seconds() < TABLE_S,
            "only {entries} nodes in the table, {} asked",
            asked.len()
        );
        node.still_runs()?;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn question(to: Ipv4Addr, raw: &[u8]) -> Option<(Ipv4Addr, Message)> {
    Some((to, Message::parse(raw).ok()?))
}

/// The last figure of that name in the words of the node.
fn status(node: &Process, key: &str) -> u64 {
    let said = node.said();
    let last = said.iter().rev().find_map(|said| event(said, "dht_status"));
    last.and_then(|status| status[key].as_u64()).unwrap_or(0)
}

/// Announces until so many peers have been taken. Every source is in a few swarms.
pub(super) fn store(
    crowd: &mut Crowd,
    known: &mut Known,
    sources: u32,
    peers: usize,
    rng: &mut Rng,
) -> anyhow::Result<()> {
    let swarms = peers.div_ceil(SWARM);
    known.swarms =
        (0..swarms).map(|_| (InfoHash(NodeId::random(rng).0), BTreeSet::new())).collect();
    let mut todo: VecDeque<(u32, usize)> =
        (0..peers).map(|nth| ((nth as u64 % u64::from(sources)) as u32, nth / SWARM)).collect();
    let mut open: BTreeMap<u32, (u32, usize, Option<Token>, f64)> = BTreeMap::new();
    let (watch, mut next) = (Stopwatch::new(), 0u32);
    while !(todo.is_empty() && open.is_empty()) {
        while open.len() < WINDOW
            && let Some((who, swarm)) = todo.pop_front()
        {
            next += 1;
            send(crowd, known, next, who, swarm, None);
            open.insert(next, (who, swarm, None, watch.seconds()));
        }
        let mut replies = Vec::new();
        crowd.receive(|to, raw| replies.extend(question(to, raw)))?;
        for (_, message) in replies {
            let number = message.transaction.as_bytes().try_into().map(u32::from_be_bytes);
            let Some((who, swarm, token, _)) = number.ok().and_then(|n| open.remove(&n)) else {
                continue;
            };
            match (message.body, token) {
                (Body::Reply(reply), None) => {
                    let token = reply.token.context("the store has no room")?;
                    next += 1;
                    send(crowd, known, next, who, swarm, Some(token.clone()));
                    open.insert(next, (who, swarm, Some(token), watch.seconds()));
                }
                (Body::Reply(_), Some(_)) => _ = known.swarms[swarm].1.insert(source(who)),
                (Body::Error(fault), _) => anyhow::bail!("an announce is refused: {fault:?}"),
                (Body::Query(_), _) => {}
            }
        }
        let late = watch.seconds() - AGAIN_S;
        let late: Vec<u32> =
            open.iter().filter(|(_, (.., at))| *at < late).map(|(&n, _)| n).collect();
        for (who, swarm, ..) in late.into_iter().filter_map(|number| open.remove(&number)) {
            todo.push_back((who, swarm));
        }
        ensure!(watch.seconds() < STORE_S, "{} announces are not through", todo.len() + open.len());
    }
    Ok(())
}

fn send(crowd: &Crowd, known: &Known, number: u32, who: u32, swarm: usize, token: Option<Token>) {
    let info_hash = known.swarms[swarm].0;
    let ask = match token {
        None => {
            Ask::GetPeers { info_hash, want: None, no_seed: false, scrape: false, bootstrap: false }
        }
        Some(token) => Ask::AnnouncePeer {
            info_hash,
            port: 1000,
            implied_port: false,
            seed: None,
            token,
            name: None,
        },
    };
    let query = Query { id: asker(known), read_only: true, ask };
    crowd.send(source(who), NODE, &Message::query(number.into(), query).encode());
}

/// Who asks stays out of the table.
pub(super) fn asker(known: &Known) -> NodeId {
    let mut id = known.own;
    id.0[0] ^= 0xff;
    id
}

/// Waits until the node itself says how many peers it keeps.
pub(super) fn stored(node: &mut Process, wanted: usize) -> anyhow::Result<u64> {
    let watch = Stopwatch::new();
    while status(node, "peers") < wanted as u64 && watch.seconds() < 5.0 {
        node.still_runs()?;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(status(node, "peers"))
}
