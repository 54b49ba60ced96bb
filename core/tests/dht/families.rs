//! Goal: peers are found over IPv6 as over IPv4, and a network of hosts of either family and of both holds together.
//! Method: one settled network of IPv6 alone; one that grows from two hosts, where a third has IPv4, a third IPv6 and a
//! third both, and newcomers know one host of a family of theirs, so that nodes of the other come by `want` alone.

use crate::{figure, outcome, secs, seeds, sized};
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::lab::{Overlay, Wire};
use gaggle_core::overlay::kademlia::{Config, Event, Families};
use gaggle_core::rng::Rng;
use std::net::SocketAddr;

const V4: Families = Families { v4: true, v6: false };
const V6: Families = Families { v4: false, v6: true };
const BOTH: Families = Families { v4: true, v6: true };

fn swarm(n: usize) -> InfoHash {
    InfoHash(NodeId::random(&mut Rng::seeded(66_000 + n as u64)).0)
}

#[test]
fn claim_dht_lookups_over_ipv6() {
    let (live, lookups) = sized((300, 40), (1_000, 500));
    for seed in seeds() {
        let mut world = Overlay::new(seed, Wire::default());
        for _ in 0..live {
            world.spawn(Config { families: V6, upkeep: false, ..Config::default() });
        }
        world.acquaint();
        let announcers: Vec<usize> = (0..10).map(|_| world.rng().index(live)).collect();
        for (n, &host) in announcers.iter().enumerate() {
            world.act(host, |node, now| node.announce(now, swarm(n), Some(1000), true));
        }
        world.run(secs(10));
        let (mut asked, mut found, mut right) = (0.0, 0, 0);
        for nth in 0..lookups {
            let (host, n) = (world.rng().index(live), nth % announcers.len());
            let started = world.now();
            let id = world.act(host, |node, now| node.lookup_peers(now, swarm(n))).unwrap()[0];
            let outcome = outcome(&mut world, host, id, started).expect("every lookup ends");
            asked += f64::from(outcome.found.asked);
            found += usize::from(outcome.first_peer.is_some());
            let own = world.contact(host).id;
            let truth = world.closest(&swarm(n).into(), true).filter(|&id| id != own);
            let nearest = outcome.found.closest.first().map(|contact| contact.id);
            right += usize::from(truth.is_none() || nearest == truth);
        }
        let (mean, found) = (asked / lookups as f64, found as f64 / lookups as f64);
        let right = right as f64 / lookups as f64;
        figure(&format!(
            "static network of {live} nodes of IPv6, seed {seed}: {mean:.1} queries a lookup, closest node found in \
             {:.2} %, announced peers in {:.2} %",
            100.0 * right,
            100.0 * found
        ));
        assert!(mean <= 27.0 && right >= 0.999 && found >= 0.999, "seed {seed}");
    }
}

/// Peers that one host finds of a swarm.
fn found_by(world: &mut Overlay, host: usize, swarm: InfoHash) -> Vec<SocketAddr> {
    world.take_events();
    let lookups = world.act(host, |node, now| node.lookup_peers(now, swarm)).unwrap();
    world.run(secs(6));
    let events = world.take_events().into_iter();
    let mut peers: Vec<SocketAddr> = events
        .filter_map(|(_, who, event)| match event {
            Event::Peers { lookup, peers, .. } if who == host && lookups.contains(&lookup) => {
                Some(peers)
            }
            _ => None,
        })
        .flatten()
        .collect();
    peers.sort();
    peers.dedup();
    peers
}

#[test]
fn claim_dht_both_families_in_one_network() {
    let live = sized(150, 1_000);
    for seed in seeds() {
        let mut world = Overlay::new(seed, Wire::default());
        // The first has both: everybody begins at one of its addresses.
        for nth in 0..live {
            let families = [BOTH, V4, V6][nth % 3];
            let known = (nth > 0).then(|| match families {
                // Whoever has both is told of one address only, in turn.
                BOTH => world.contact_in(0, nth % 2 == 0).addr,
                families => world.contact_in(0, families.v6).addr,
            });
            let bootstrap = known.into_iter().collect();
            world.spawn(Config { families, bootstrap, ..Config::default() });
            world.run(secs(1));
        }
        world.run(secs(600));
        let (mut both, mut joined) = (0, 0);
        for host in (0..live).step_by(3) {
            let status = world.node(host).unwrap().status(world.now());
            both += 1;
            let sides = [status.v4, status.v6].into_iter().flatten();
            joined += usize::from(sides.filter(|side| side.nodes.good >= 8).count() == 2);
        }
        assert_eq!(joined, both, "seed {seed}: who has both is in both networks");
        // One of each kind announces, and everybody finds whom he can reach.
        let (mut found, mut wanted) = (0, 0);
        for n in 0..sized(4, 20) {
            let announcers = [3 * n, 3 * n + 1, 3 * n + 2];
            for host in announcers {
                world.act(host, |node, now| node.announce(now, swarm(n), Some(1000), false));
            }
            world.run(secs(10));
            for kind in 0..3 {
                let host = live / 2 / 3 * 3 + 3 * n + kind;
                let families = [BOTH, V4, V6][kind];
                let peers = found_by(&mut world, host, swarm(n));
                for (announcer, theirs) in announcers.into_iter().zip([BOTH, V4, V6]) {
                    for v6 in [false, true] {
                        let is_in = |families: Families| if v6 { families.v6 } else { families.v4 };
                        if is_in(families) && is_in(theirs) {
                            let mut addr = world.contact_in(announcer, v6).addr;
                            addr.set_port(1000);
                            wanted += 1;
                            found += usize::from(peers.contains(&addr));
                        }
                    }
                }
            }
        }
        figure(&format!(
            "{live} nodes, a third each of IPv4, of IPv6 and of both, grown from one host, seed {seed}: {found} of \
             {wanted} announced addresses found"
        ));
        assert!(found as f64 >= 0.99 * f64::from(wanted), "seed {seed}: {found} of {wanted}");
    }
}
