//! Goal: what is announced is found while nodes come and go, at a known price.
//! Method: nodes leave without a word at random times, as many an hour as the percentage says, and a newcomer that knows
//! three others replaces each; announcers stay and announce every 15 minutes.

use crate::{figure, secs, seeds, sized};
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::lab::{Overlay, Wire};
use gaggle_core::overlay::kademlia::{Config, Event, LookupPolicy, Node, Terms};
use std::time::Duration;

/// A network in which somebody leaves and somebody comes now and then.
struct Crowd {
    world: Overlay,
    config: Config,
    /// Who never leaves.
    staying: usize,
    /// Between two departures.
    every: Duration,
}

impl Crowd {
    fn new(seed: u64, size: usize, staying: usize, percent_an_hour: u32, config: Config) -> Self {
        let mut world = Overlay::new(seed, Wire { loss: 0.01, ..Wire::default() });
        for _ in 0..size {
            world.spawn(config.clone());
        }
        world.acquaint();
        let leave_an_hour = size as f64 * f64::from(percent_an_hour) / 100.0;
        let every = Duration::from_secs_f64(3600.0 / leave_an_hour);
        Self { world, config, staying, every }
    }

    /// Runs until one has left and one has come.
    fn step(&mut self) {
        self.world.run(self.every);
        let up = self.world.up();
        let leaving = up[self.staying + self.world.rng().index(up.len() - self.staying)];
        self.world.kill(leaving);
        let mut bootstrap = Vec::new();
        for _ in 0..3 {
            let host = up[self.world.rng().index(up.len())];
            bootstrap.push(self.world.contact(host).addr);
        }
        self.world.spawn(Config { bootstrap, ..self.config.clone() });
    }

    fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.step();
        }
    }
}

fn swarm(n: usize) -> InfoHash {
    InfoHash(NodeId::random(&mut gaggle_core::rng::Rng::seeded(77_000 + n as u64)).0)
}

/// Share of lookups by random nodes that find a peer.
fn share_found(crowd: &mut Crowd, swarms: usize, lookups: usize) -> f64 {
    let mut found = 0;
    for nth in 0..lookups {
        let up = crowd.world.up();
        let host = up[crowd.world.rng().index(up.len())];
        crowd.world.take_events();
        let asked = crowd.world.act(host, |node, now| node.lookup_peers(now, swarm(nth % swarms)));
        crowd.world.run(secs(6));
        let ids = asked.unwrap_or_default();
        let peers =
            |event: &Event| matches!(event, Event::Peers { lookup, .. } if ids.contains(lookup));
        found += usize::from(
            crowd.world.take_events().iter().any(|(_, who, e)| *who == host && peers(e)),
        );
    }
    found as f64 / lookups as f64
}

#[test]
fn claim_dht_announced_peers_are_found_under_churn() {
    let size = sized(200, 1_000);
    let swarms = sized(10, 40);
    for percent in sized(vec![63], vec![25, 63, 100]) {
        for seed in seeds() {
            let mut crowd = Crowd::new(seed, size, swarms, percent, Config::default());
            let hours = sized(1, 3);
            let (mut found, mut rounds) = (0.0, 0);
            for quarter in 0..4 * hours {
                for n in 0..swarms {
                    crowd.world.act(n, |node, now| node.announce(now, swarm(n), None, true));
                    crowd.run(secs(900) / swarms as u32);
                }
                if quarter > 0 {
                    found += share_found(&mut crowd, swarms, sized(30, 100));
                    rounds += 1;
                }
            }
            let share = found / f64::from(rounds);
            let price = maintenance(seed, size, percent);
            let weights = crowd.world.up().into_iter().filter_map(|host| crowd.world.node(host));
            let weight = weights.map(Node::state_bytes).max().unwrap_or(0);
            figure(&format!(
                "churn of {percent} % an hour, {size} nodes, seed {seed}: announced peers found in {:.2} % of lookups; \
                 upkeep {price:.0} kB sent per node and hour, heaviest node {:.1} KiB",
                100.0 * share,
                weight as f64 / 1024.0,
            ));
            assert!(weight < 30 << 10, "seed {seed}: a node of {weight} bytes");
            assert!(percent > 63 || share >= 0.99, "seed {seed}: {share}");
        }
    }
}

/// Kilobytes that a node sends in an hour when nobody looks anything up.
fn maintenance(seed: u64, size: usize, percent: u32) -> f64 {
    let mut crowd = Crowd::new(seed, size, 0, percent, Config::default());
    crowd.run(secs(sized(600, 3600)));
    let total =
        |crowd: &Crowd| (0..crowd.world.hosts()).map(|host| crowd.world.sent(host).0).sum::<u64>();
    let before = total(&crowd);
    let hour = sized(900, 3600);
    crowd.run(secs(hour));
    (total(&crowd) - before) as f64 / size as f64 / hour as f64 * 3.6
}

#[test]
fn claim_dht_an_announce_survives() {
    let size = sized(200, 1_000);
    let swarms = sized(12, 100);
    for (k, seed) in
        [1, 2, 4, 8, 16].into_iter().flat_map(|k| seeds().into_iter().map(move |s| (k, s)))
    {
        let policy = LookupPolicy { announce_to: k, ..LookupPolicy::default() };
        // Longer than the test, so that only the leaving of nodes is seen.
        let terms = Terms { life: secs(7200), ..Terms::default() };
        let config = Config { policy, terms, ..Config::default() };
        let mut crowd = Crowd::new(seed, size, swarms, 63, config);
        crowd.run(secs(60));
        for n in 0..swarms {
            crowd.world.act(n, |node, now| node.announce(now, swarm(n), None, true));
            crowd.world.run(secs(1));
        }
        let mut shares = Vec::new();
        for minutes in [15, 15, 30] {
            crowd.run(secs(60 * minutes));
            shares.push(100.0 * share_found(&mut crowd, swarms, swarms));
        }
        figure(&format!(
            "announced once to {k} nodes, churn 63 % an hour, {size} nodes, seed {seed}: found after 15, 30, 60 min in \
             {:.0}, {:.0}, {:.0} %",
            shares[0], shares[1], shares[2]
        ));
        assert!(k < 8 || shares[1] >= 90.0, "k {k}: {shares:?}");
    }
}
