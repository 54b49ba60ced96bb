use super::*;
use std::collections::BTreeSet;

const HASH: InfoHash = InfoHash([7; 20]);

/// A store, a clock of numbers, and the words of clients.
struct Scene {
    store: Store,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let policy = Policy { limits, ..Policy::default() };
        Self { store: Store::new(policy, Rng::seeded(1)), now: Instant::from_micros(5_000_000) }
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    fn sweep_all(&self) {
        (0..SHARDS).for_each(|_| self.store.sweep(self.now));
    }

    fn ask(&self, addr: &str, ask: &Announce) -> Result<Told, Refusal> {
        let addr: SocketAddr = addr.parse().unwrap();
        let ask = Announce { port: addr.port(), ..ask.clone() };
        self.store.announce(self.now, addr.ip(), &ask, Families::Both)
    }

    /// Announces and returns the peers it was told, sorted.
    #[track_caller]
    fn told(&self, addr: &str, ask: &Announce) -> Vec<String> {
        let told = self.ask(addr, ask).unwrap();
        let mut peers: Vec<_> = told.peers.iter().map(|(addr, _)| addr.to_string()).collect();
        peers.sort();
        peers
    }

    /// (seeds, leeches, completed)
    fn counts(&self) -> (u32, u32, u32) {
        let Counts { seeds, leeches, completed } = self.store.scrape(self.now, HASH);
        (seeds, leeches, completed)
    }
}

fn leech() -> Announce {
    Announce {
        info_hash: HASH,
        peer_id: PeerId([1; 20]),
        port: 0,
        uploaded: 0,
        downloaded: 0,
        left: 100,
        event: Event::None,
        key: 0,
        want: None,
        tracker_id: Vec::new(),
    }
}

fn seed() -> Announce {
    Announce { left: 0, ..leech() }
}

fn saying(event: Event, who: Announce) -> Announce {
    Announce { event, ..who }
}

#[test]
fn peers_meet_and_part() {
    let scene = Scene::new();
    assert!(scene.told("10.0.0.1:1", &saying(Event::Started, leech())).is_empty());
    assert_eq!(scene.told("10.0.0.2:2", &seed()), ["10.0.0.1:1"]);
    assert_eq!(scene.told("10.0.0.1:1", &leech()), ["10.0.0.2:2"]);
    assert_eq!(scene.counts(), (1, 1, 0));
    assert!(scene.told("10.0.0.2:2", &saying(Event::Stopped, seed())).is_empty());
    assert!(scene.told("10.0.0.1:1", &leech()).is_empty());
    assert_eq!(scene.counts(), (0, 1, 0));
    assert_eq!(scene.store.stats(), Stats { torrents: 1, peers: 1 });
}

#[test]
fn seeds_are_not_told_about_seeds_and_nobody_about_itself() {
    let scene = Scene::new();
    for host in 1..=9 {
        scene.told(&format!("10.0.0.{host}:1"), &seed());
        scene.told(&format!("10.0.1.{host}:1"), &leech());
    }
    let seed_hears = scene.told("10.0.0.5:1", &seed());
    assert_eq!(seed_hears.len(), 9);
    assert!(seed_hears.iter().all(|peer| peer.starts_with("10.0.1.")));
    let leech_hears = scene.told("10.0.1.5:1", &leech());
    assert_eq!(leech_hears.len(), 17);
    assert!(!leech_hears.contains(&"10.0.1.5:1".to_owned()));
}

#[test]
fn one_address_is_one_peer_and_the_newest_id_wins() {
    let scene = Scene::new();
    scene.told("10.0.0.1:1", &leech());
    scene.told("10.0.0.1:1", &Announce { peer_id: PeerId([2; 20]), ..leech() });
    scene.told("[::ffff:10.0.0.1]:1", &Announce { peer_id: PeerId([3; 20]), ..leech() });
    assert_eq!(scene.counts(), (0, 1, 0));
    let told = scene.ask("10.0.0.9:9", &leech()).unwrap();
    assert_eq!(told.peers, [("10.0.0.1:1".parse().unwrap(), PeerId([3; 20]))]);
}

#[test]
fn completed_counts_a_known_leech_once() {
    let scene = Scene::new();
    let done = saying(Event::Completed, seed());
    scene.told("10.0.0.1:1", &done); // never seen before: a liar or a restarted tracker
    assert_eq!(scene.counts(), (1, 0, 0));
    scene.told("10.0.0.2:1", &leech());
    scene.told("10.0.0.2:1", &done);
    scene.told("10.0.0.2:1", &done);
    assert_eq!(scene.counts(), (2, 0, 1));
    scene.told("10.0.0.2:1", &leech());
    scene.told("10.0.0.2:1", &done);
    assert_eq!(scene.counts(), (2, 0, 1), "the same client, again");
    scene.told("10.0.0.3:1", &leech());
    scene.told("10.0.0.3:1", &seed()); // turned seed without saying so
    assert_eq!(scene.counts(), (3, 0, 1));
}

#[test]
fn the_silent_are_forgotten() {
    let mut scene = Scene::new();
    scene.told("10.0.0.1:1", &leech());
    scene.told("10.0.0.2:1", &saying(Event::Completed, seed()));
    let life = scene.store.life().as_secs();
    scene.wait(life);
    assert_eq!(scene.counts(), (1, 1, 0), "exactly at the limit");
    scene.told("10.0.0.2:1", &seed());
    scene.wait(1);
    assert_eq!(scene.counts(), (1, 0, 0));
    assert!(scene.told("10.0.0.2:1", &seed()).is_empty());
    scene.wait(life + 1);
    scene.sweep_all();
    assert_eq!(scene.store.stats(), Stats::default());
}

#[test]
fn a_big_swarm_hands_out_no_expired_peer_even_before_the_sweep() {
    let mut scene = Scene::new();
    for host in 0..100 {
        scene.told(&format!("10.0.0.{host}:1"), &leech());
    }
    scene.wait(scene.store.life().as_secs() + 1);
    for host in 0..100 {
        scene.told(&format!("10.0.1.{host}:1"), &leech());
    }
    for _ in 0..20 {
        assert!(scene.told("10.0.1.1:1", &leech()).iter().all(|peer| peer.starts_with("10.0.1.")));
    }
    scene.sweep_all();
    assert_eq!(scene.counts(), (0, 100, 0));
    assert_eq!(scene.store.stats().peers, 100);
}

#[test]
fn both_families_live_in_one_torrent() {
    let scene = Scene::new();
    scene.told("10.0.0.1:1", &leech());
    scene.told("[2001:db8::1]:1", &seed());
    assert_eq!(scene.counts(), (1, 1, 0));
    assert_eq!(scene.told("[2001:db8::2]:1", &leech()), ["10.0.0.1:1", "[2001:db8::1]:1"]);
    let ask = Announce { port: 1, ..leech() };
    let own = scene.store.announce(scene.now, "10.0.0.2".parse().unwrap(), &ask, Families::Own);
    let own: Vec<_> = own.unwrap().peers.into_iter().map(|(addr, _)| addr).collect();
    assert_eq!(own, ["10.0.0.1:1".parse().unwrap()]);
}

#[test]
fn loopback_peers_are_for_loopback_askers() {
    let scene = Scene::new();
    scene.told("127.0.0.1:1", &seed());
    scene.told("[::1]:2", &seed());
    assert!(scene.told("10.0.0.1:1", &leech()).is_empty());
    assert_eq!(scene.told("127.0.0.1:9", &leech()), ["10.0.0.1:1", "127.0.0.1:1", "[::1]:2"]);
}

#[test]
fn attack_38_numbers_of_peers_are_capped() {
    let scene = Scene::new();
    for host in 0..250 {
        scene.told(&format!("10.0.0.{host}:1"), &leech());
        scene.told(&format!("10.0.1.{host}:1"), &seed());
    }
    let asked = |want| scene.told("10.0.0.1:1", &Announce { want, ..leech() });
    assert_eq!(asked(None).len(), 50);
    assert_eq!(asked(Some(0)).len(), 0);
    assert_eq!(asked(Some(1)).len(), 1);
    assert_eq!(asked(Some(1_000_000_000)).len(), 200);
    let unique: BTreeSet<_> = asked(Some(200)).into_iter().collect();
    assert_eq!(unique.len(), 200, "nobody twice");
    assert!(matches!(scene.ask("10.0.0.1:0", &leech()), Err(Refusal::Port)));
}

#[test]
fn every_peer_is_as_likely_as_any_other() {
    const PEERS: usize = 300;
    const ROUNDS: usize = 2000;
    let scene = Scene::new();
    for n in 0..PEERS {
        scene.told(&format!("10.0.{}.{}:1", n / 250, n % 250), &leech());
    }
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..ROUNDS {
        for peer in scene.told("10.0.0.7:1", &leech()) {
            *seen.entry(peer).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), PEERS - 1);
    // 2000 draws of 50 from 299: a mean of 334 and a deviation of 17 for each.
    let (least, most) = (seen.values().min().unwrap(), seen.values().max().unwrap());
    assert!((240..=430).contains(least) && (240..=430).contains(most), "{least}..{most}");
}

#[test]
fn intervals_are_spread() {
    let scene = Scene::new();
    let policy = Policy::default();
    let drawn: BTreeSet<_> = (0..200)
        .map(|_| scene.ask("10.0.0.1:1", &leech()).unwrap().terms.interval.unwrap())
        .collect();
    assert!(drawn.len() > 20);
    assert!(*drawn.first().unwrap() >= policy.interval);
    assert!(*drawn.last().unwrap() <= policy.interval + policy.interval / 10);
    let terms = scene.ask("[::ffff:10.0.0.1]:1", &leech()).unwrap().terms;
    assert_eq!(terms.external_ip, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(terms.min_interval, Some(policy.min_interval));
}

#[test]
fn attack_38_one_address_cannot_crowd_out_a_swarm() {
    let scene = Scene::new();
    scene.told("10.0.0.1:1", &leech());
    let cap = Limits::default().peers_per_source_in_torrent;
    for port in 1..=cap {
        scene.told(&format!("10.6.6.6:{port}"), &leech());
    }
    let more = scene.ask("10.6.6.6:60000", &leech());
    assert_eq!(more, Err(Refusal::SourceInTorrent));
    assert_eq!(scene.counts(), (0, cap as u32 + 1, 0));
    // Those already known may go on, and so may others, also from a /64 of their own.
    scene.told("10.6.6.6:1", &leech());
    scene.told("10.6.6.7:1", &leech());
    for port in 1..=cap {
        scene.told(&format!("[2001:db8::{port:x}]:{port}"), &leech());
    }
    assert_eq!(scene.ask("[2001:db8::ffff:1]:1", &leech()), Err(Refusal::SourceInTorrent));
    scene.told("[2001:db8:0:1::1]:1", &leech());
}

#[test]
fn attack_39_a_million_unknown_hashes_do_not_fill_the_memory() {
    let limits =
        Limits { torrents: 20_000, peers: 30_000, peers_per_source: 1_000, ..Limits::default() };
    let mut scene = Scene::with(limits);
    let hash = |n: u32| InfoHash(gaggle_core::hash::sha1([&n.to_be_bytes()[..]]));
    let from_one = |scene: &Scene, n| {
        scene.ask("10.6.6.6:1", &Announce { info_hash: hash(n), ..leech() }).map(|_| ())
    };
    let refused = (0..1_000_000).filter(|&n| from_one(&scene, n) == Err(Refusal::Source)).count();
    assert_eq!(refused, 999_000);
    assert_eq!(scene.store.stats(), Stats { torrents: 1_000, peers: 1_000 });
    // The same from a thousand addresses.
    for n in 0..100_000u32 {
        let addr = format!("10.7.{}.{}:1", n % 1000 / 250, n % 250);
        let told = scene.ask(&addr, &Announce { info_hash: hash(n + 2_000_000), ..leech() });
        assert!(matches!(told, Ok(_) | Err(Refusal::Full)));
    }
    assert_eq!(scene.store.stats(), Stats { torrents: 20_000, peers: 20_000 });
    // Swarms that exist go on working, and time heals.
    assert_eq!(from_one(&scene, 0), Ok(()));
    scene.wait(scene.store.life().as_secs() + 1);
    scene.sweep_all();
    assert_eq!(scene.store.stats(), Stats::default());
    assert!(scene.store.ledger().is_empty());
    scene.told("10.0.0.1:1", &leech());
}

#[test]
fn a_full_swarm_lets_the_silent_go_first() {
    let limits = Limits { peers_per_torrent: 100, ..Limits::default() };
    let mut scene = Scene::with(limits);
    for host in 0..50 {
        scene.told(&format!("10.0.0.{host}:1"), &seed());
    }
    scene.wait(100);
    for host in 0..50 {
        scene.told(&format!("10.0.1.{host}:1"), &leech());
    }
    scene.wait(100);
    for host in 0..40 {
        scene.told(&format!("10.0.2.{host}:1"), &leech());
    }
    assert_eq!(scene.store.stats(), Stats { torrents: 1, peers: 100 });
    let (seeds, leeches, _) = scene.counts();
    assert_eq!(seeds + leeches, 100);
    assert!(seeds <= 15, "{seeds} of the 50 silent ones are still there");
    let hears = scene.told("10.0.2.0:1", &Announce { want: Some(200), ..leech() });
    let young = hears.iter().filter(|peer| peer.starts_with("10.0.2.")).count();
    assert!(young >= 35, "only {young} of 39 newcomers survived each other");
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let play = || {
        let scene = Scene::new();
        let peers = (0..200).map(|n| scene.told(&format!("10.0.0.{n}:1"), &leech()));
        peers.collect::<Vec<_>>()
    };
    assert_eq!(play(), play());
}

mod model {
    //! The store against the plainest possible one.

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn counts_are_those_of_a_plain_map(
            words in proptest::collection::vec((0u8..40, any::<bool>(), 0u8..8, 0u64..400), 1..400),
        ) {
            let mut scene = Scene::new();
            let mut plain = BTreeMap::<u8, (bool, Instant)>::new();
            for (host, is_seed, event, wait) in words {
                scene.wait(wait);
                let event = if event == 0 { Event::Stopped } else { Event::None };
                let who = saying(event, if is_seed { seed() } else { leech() });
                // Even hosts have IPv4, odd ones IPv6.
                let addr = if host % 2 == 0 {
                    format!("10.0.0.{host}:1")
                } else {
                    format!("[2001:db8::{host:x}]:1")
                };
                scene.told(&addr, &who);
                if event == Event::Stopped {
                    plain.remove(&host);
                } else {
                    plain.insert(host, (is_seed, scene.now));
                }
                scene.sweep_all();
                let life = scene.store.life();
                plain.retain(|_, (_, heard)| scene.now.since(*heard) <= life);
                let seeds = plain.values().filter(|(is_seed, _)| *is_seed).count() as u32;
                let leeches = plain.len() as u32 - seeds;
                let (got_seeds, got_leeches, _) = scene.counts();
                prop_assert_eq!((got_seeds, got_leeches), (seeds, leeches));
                prop_assert_eq!(scene.store.stats().peers, plain.len());
            }
        }
    }
}

#[test]
fn attack_39_swarms_that_are_opened_and_left_do_not_fill_the_table() {
    let scene = Scene::with(Limits { torrents: 8, ..Limits::default() });
    let of = |hash: u8, event| Announce { info_hash: InfoHash([hash; 20]), event, ..leech() };
    for hash in 0..50 {
        for event in [Event::Started, Event::Completed, Event::Stopped] {
            scene.ask("10.0.0.1:1000", &of(hash, event)).unwrap();
        }
    }
    assert!(scene.store.stats().torrents <= 5);
    assert!(scene.ask("10.0.0.2:1000", &of(99, Event::Started)).is_ok());
}
