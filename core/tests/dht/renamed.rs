//! Goal: who takes another id is soon known by it, and nobody goes on naming the old one.
//! Method: a network so small that only time decides where its nodes are seen: all begin with any id, and take one that
//! fits after five minutes. Before, meanwhile and afterwards we look whom they would name, and what it has cost.

use crate::{figure, secs, seeds};
use gaggle_core::id::NodeId;
use gaggle_core::lab::{Overlay, Wire};
use gaggle_core::overlay::kademlia::{Config, Node};
use gaggle_core::proto::krpc::Contact;

const NODES: usize = 20;

/// Shares of all pairs of nodes in which one would name the other by the id that it has, and by one that it has no longer.
fn known(world: &Overlay) -> (f64, f64) {
    let nodes: Vec<&Node> = (0..NODES).filter_map(|host| world.node(host)).collect();
    let now: Vec<Contact> = (0..NODES)
        .map(|host| Contact { id: nodes[host].id(false), ..world.contact(host) })
        .collect();
    let named = nodes.iter().flat_map(|node| node.snapshot().nodes);
    let (right, wrong): (Vec<_>, Vec<_>) = named.partition(|contact| now.contains(contact));
    let pairs = (NODES * (NODES - 1)) as f64;
    (right.len() as f64 / pairs, wrong.len() as f64 / pairs)
}

#[test]
fn claim_dht_a_small_network_that_takes_other_ids_soon_knows_itself_again() {
    for seed in seeds() {
        let mut world = Overlay::new(seed, Wire::default());
        for host in 0..NODES {
            let any = NodeId::random(world.rng());
            let bootstrap = if host > 0 { vec![world.contact(0).addr] } else { Vec::new() };
            world.spawn_as([any; 2], Config { bootstrap, ..Config::default() });
        }
        let sent = |world: &Overlay| (0..NODES).map(|host| world.sent(host).1).sum::<u64>();
        let mut before = 0;
        for minute in 1..=10 {
            world.run(secs(60));
            let (right, wrong) = known(&world);
            let each = (sent(&world) - before) as f64 / NODES as f64;
            before = sent(&world);
            figure(&format!(
                "{NODES} nodes, seed {seed}, minute {minute}: {:.0} % known, {:.1} % by an old id, {each:.0} datagrams each",
                100.0 * right,
                100.0 * wrong,
            ));
            assert!(each < 200.0, "seed {seed}, minute {minute}: {each} datagrams");
            assert!(
                minute < 8 || wrong < 0.03,
                "seed {seed}, minute {minute}: {wrong} by an old id"
            );
            assert!(minute < 8 || right > 0.9, "seed {seed}, minute {minute}: {right} known");
        }
        let ids =
            (0..NODES).filter_map(|host| Some((world.node(host)?.id(false), world.contact(host))));
        assert!(
            ids.into_iter().all(|(id, first)| id != first.id),
            "somebody has kept the first id"
        );
    }
}
