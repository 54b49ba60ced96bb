//! Goal: what the lab says of lookups holds on real sockets.
//! Method: one world of the lab is built twice. In one it plays on virtual time; from the other the nodes are taken and
//! driven by UDP sockets and the real clock. Ids, tables, the dead, delays and lookups are the same.
//!
//! Every datagram passes one relay. It owns the addresses that nodes know each other by; each node is bound to another
//! port of its address, so that what it sends to an address reaches the relay there, and comes out at the other node as
//! if from the sender's address. `GAGGLE_SEED=17` plays another network.

use anyhow::{Context, ensure};
use gaggle::net::Clock;
use gaggle_core::id::{InfoHash, NodeId};
use gaggle_core::lab::{Overlay, Wire};
use gaggle_core::overlay::kademlia::{Config, Event, Found, Node};
use gaggle_core::rng::Rng;
use harness::{figure, full, namespace};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// One way between two median hosts. With ways half as long, the shortest time that a node gives an answer would decide
/// most of a lookup, and hide what sockets do to it.
const DELAY: Duration = Duration::from_millis(100);
/// Lookups of each node before those that count: it must know how long answers take.
const WARM_UPS: usize = 2;
/// Where nodes are really bound.
const INSIDE_PORT: u16 = 6882;
/// How far p50 and p90 of sockets may be from those of the lab: a share of the latter.
const APART_MAX: f64 = 0.2;
/// With fewer lookups a quantile says little, and nothing is asserted about it.
const LOOKUPS_ENOUGH: usize = 200;
/// Longer than a datagram of the DHT.
const DATAGRAM_MAX: usize = 2048;
/// Lookups and results that wait for each other; more hold up who makes them.
const QUEUE: usize = 64;
/// After this no question is open: nodes have seen who is dead.
const SETTLE: Duration = Duration::from_secs(6);
/// After the last lookup has begun, none takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens in both worlds.
struct Plan {
    seed: u64,
    live: usize,
    dead: usize,
    /// Who looks for what: once to warm up, and then in earnest.
    parts: [Vec<(usize, InfoHash)>; 2],
    every: Duration,
}

impl Plan {
    fn new() -> Self {
        let (live, dead, lookups, every_ms) =
            if full() { (180, 120, 400, 180) } else { (36, 24, 60, 60) };
        let asked = std::env::var("GAGGLE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = asked.unwrap_or(1);
        let mut rng = Rng::seeded(seed);
        let warm: Vec<usize> = (0..WARM_UPS * live).map(|nth| nth % live).collect();
        let earnest = (0..lookups).map(|_| rng.index(live)).collect();
        let parts = [warm, earnest].map(|hosts: Vec<usize>| {
            hosts.into_iter().map(|host| (host, InfoHash(NodeId::random(&mut rng).0))).collect()
        });
        Self { seed, live, dead, parts, every: Duration::from_millis(every_ms) }
    }

    /// The same each time that it is asked for.
    fn world(&self) -> Overlay {
        // Without jitter a pair of hosts has one delay, which is the same for both worlds.
        let wire = Wire { delay: DELAY, jitter: 0.0, ..Wire::default() };
        let first = Ipv4Addr::new(198, 18, 0, 0);
        let mut world = Overlay::new(self.seed, wire).with_addresses_from(first);
        // Whoever looks around meanwhile changes how many of his entries are dead.
        let config = Config { upkeep: false, ..Config::default() };
        for _ in 0..self.live {
            world.spawn(config.clone());
        }
        for _ in 0..self.dead {
            world.spawn_dead();
        }
        world.acquaint();
        world
    }

    fn simulate(&self) -> Vec<Found> {
        let mut world = self.world();
        let mut ended = Vec::new();
        for part in &self.parts {
            for &(host, swarm) in part {
                world.act(host, |node, now| node.lookup_peers(now, swarm));
                world.run(self.every);
            }
            world.run(PATIENCE);
            ended = world.take_events();
        }
        ended.into_iter().filter_map(|(_, _, event)| found(event)).collect()
    }

    /// The same on sockets, and how late the relay was on average.
    async fn act_out(&self) -> anyhow::Result<(Vec<Found>, Duration)> {
        let mut world = self.world();
        let nodes: Vec<_> = (0..self.live).filter_map(|host| world.take(host)).collect();
        let clock = Clock::start();
        let relay = Relay::start(world, clock, self.live).await?;
        let (results, mut found) = mpsc::channel(QUEUE);
        let mut hosts = Vec::new();
        for (host, node) in nodes.into_iter().enumerate() {
            let socket = UdpSocket::bind(inside(relay.world.contact(host).addr)).await?;
            let (orders, taken) = mpsc::channel(QUEUE);
            tokio::spawn(drive(node, socket, clock, taken, results.clone()));
            hosts.push(orders);
        }
        let mut ended = Vec::new();
        for part in &self.parts {
            if !ended.is_empty() {
                tokio::time::sleep(SETTLE).await;
                ended.clear();
            }
            let mut ticks = tokio::time::interval(self.every);
            for &(host, swarm) in part {
                ticks.tick().await;
                hosts[host].send(swarm).await?;
                ended.extend(std::iter::from_fn(|| found.try_recv().ok()));
            }
            while ended.len() < part.len() {
                let next = tokio::time::timeout(PATIENCE, found.recv()).await;
                ended.push(next.context("a lookup does not end")?.context("nodes run on")?);
            }
        }
        let (carried, late) = relay.account();
        let answered: u64 = ended.iter().map(|found| u64::from(found.answered)).sum();
        ensure!(carried >= 2 * answered, "{answered} answers, but the relay saw {carried}");
        Ok((ended, late))
    }
}

fn found(event: Event) -> Option<Found> {
    let Event::Done { found, .. } = event else { return None };
    Some(found)
}

/// Moves datagrams between a node and its socket.
async fn drive(
    mut node: Box<Node>,
    socket: UdpSocket,
    clock: Clock,
    mut orders: mpsc::Receiver<InfoHash>,
    results: mpsc::Sender<Found>,
) -> anyhow::Result<()> {
    let mut buffer = [0; DATAGRAM_MAX];
    loop {
        while let Some((to, raw)) = node.poll_transmit() {
            socket.send_to(&raw, to).await?;
        }
        while let Some(event) = node.poll_event() {
            if let Some(found) = found(event) {
                results.send(found).await?;
            }
        }
        tokio::select! {
            biased;
            () = clock.sleep_until(node.poll_timeout()) => node.handle_timeout(clock.now()),
            order = orders.recv() => match order {
                Some(swarm) => _ = node.lookup_peers(clock.now(), swarm),
                None => return Ok(()),
            },
            read = socket.recv_from(&mut buffer) => {
                let (len, from) = read?;
                node.handle_datagram(clock.now(), from, &buffer[..len]);
            }
        }
    }
}

fn inside(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), INSIDE_PORT)
}

/// What lies between the nodes. It answers for nobody: what is meant for the dead, it drops.
struct Relay {
    /// Knows the delays; its nodes are elsewhere.
    world: Overlay,
    clock: Clock,
    /// Of all hosts, the dead among them, by their number.
    sockets: Vec<UdpSocket>,
    hosts: BTreeMap<IpAddr, usize>,
    carried: AtomicU64,
    late_us: AtomicU64,
    live: usize,
}

impl Relay {
    /// `world` has its live hosts first, and their nodes were taken.
    async fn start(world: Overlay, clock: Clock, live: usize) -> anyhow::Result<Arc<Self>> {
        let (mut sockets, mut hosts) = (Vec::new(), BTreeMap::new());
        for host in 0..world.hosts() {
            let addr = world.contact(host).addr;
            sockets.push(UdpSocket::bind(addr).await.with_context(|| format!("bind {addr}"))?);
            hosts.insert(addr.ip(), host);
        }
        let (carried, late_us) = (AtomicU64::new(0), AtomicU64::new(0));
        let relay = Arc::new(Self { world, clock, sockets, hosts, carried, late_us, live });
        for host in 0..relay.sockets.len() {
            tokio::spawn(Arc::clone(&relay).receive(host));
        }
        Ok(relay)
    }

    /// Takes in what is meant for one host.
    async fn receive(self: Arc<Self>, to: usize) {
        let mut buffer = [0; DATAGRAM_MAX];
        while let Ok((len, from)) = self.sockets[to].recv_from(&mut buffer).await {
            let from = self.hosts.get(&from.ip()).copied().filter(|_| from.port() == INSIDE_PORT);
            if let Some(from) = from.filter(|_| to < self.live) {
                tokio::spawn(Arc::clone(&self).carry(from, to, buffer[..len].to_vec()));
            }
        }
    }

    async fn carry(self: Arc<Self>, from: usize, to: usize, raw: Vec<u8>) {
        let due = self.clock.now() + self.world.delay(from, to);
        self.clock.sleep_until(Some(due)).await;
        let late = self.clock.now().since(due);
        self.late_us.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
        self.carried.fetch_add(1, Ordering::Relaxed);
        let to = inside(self.world.contact(to).addr);
        // A datagram that does not arrive is lost, as everywhere.
        self.sockets[from].send_to(&raw, to).await.ok();
    }

    /// How many datagrams it has passed on, and how late each was on average.
    fn account(&self) -> (u64, Duration) {
        let carried = self.carried.load(Ordering::Relaxed);
        let late_us = self.late_us.load(Ordering::Relaxed) / carried.max(1);
        (carried, Duration::from_micros(late_us))
    }
}

/// p50 and p90 of how long lookups took in seconds, and questions of one on average.
fn summary(all: &[Found]) -> (f64, f64, f64) {
    let mut took: Vec<f64> = all.iter().map(|found| found.took.as_secs_f64()).collect();
    took.sort_by(f64::total_cmp);
    let asked: f64 = all.iter().map(|found| f64::from(found.asked)).sum();
    (took[took.len() / 2], took[took.len() * 9 / 10], asked / all.len() as f64)
}

fn compare() -> anyhow::Result<()> {
    // Everything between the two addresses is on this machine.
    let range = ["route", "add", "local", "198.18.0.0/15", "dev", "lo"];
    ensure!(Command::new("ip").args(range).status()?.success(), "no addresses");
    let plan = Plan::new();
    let simulated = plan.simulate();
    ensure!(simulated.len() == plan.parts[1].len(), "{} simulated ended", simulated.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (real, late) = runtime.block_on(plan.act_out())?;
    let (lab, sockets) = (summary(&simulated), summary(&real));
    let apart = [sockets.0 / lab.0 - 1.0, sockets.1 / lab.1 - 1.0];
    let text = format!(
        "{} nodes, {} of them dead, seed {}, {} lookups: p50 {:.3} s on sockets, {:.3} s in the lab ({:+.1} %); p90 {:.3} s, \
         {:.3} s ({:+.1} %); {:.1} and {:.1} questions; the relay {:.1} ms late on average",
        plan.live + plan.dead,
        plan.dead,
        plan.seed,
        real.len(),
        sockets.0,
        lab.0,
        100.0 * apart[0],
        sockets.1,
        lab.1,
        100.0 * apart[1],
        sockets.2,
        lab.2,
        1000.0 * late.as_secs_f64(),
    );
    figure("dhtreal", &text);
    if real.len() < LOOKUPS_ENOUGH {
        println!("too few lookups to compare; GAGGLE_FULL=1 does");
        return Ok(());
    }
    ensure!(apart.iter().all(|apart| apart.abs() <= APART_MAX), "they differ: {text}");
    Ok(())
}

#[test]
fn claim_dhtreal_simulation_agrees_with_sockets() {
    namespace::test("dhtreal::claim_dhtreal_simulation_agrees_with_sockets", || {
        compare().unwrap_or_else(|error| panic!("{error:?}"));
    });
}
