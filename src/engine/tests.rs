//! Whole engines on loopback: real sockets, real files.

use super::*;
use crate::disk::Preallocate;
use crate::fetch::Kind;
use crate::fetch::hosts::{Act, Scripted};
use crate::locate::DhtConfig;
use gaggle_core::hash;
use gaggle_core::metainfo::{Build, Content, Magnet, Metainfo, PeerHint};
use gaggle_core::storage::Verify;
use gaggle_core::swarm::choker::Slots;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PIECE: usize = 64 << 10;

async fn engine(state: &Path) -> Engine {
    Engine::start(config(state)).await.unwrap()
}

fn config(state: &Path) -> EngineConfig {
    EngineConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        state_dir: state.to_owned(),
        down: None,
        up: None,
        max_peers: 50,
        slots: Slots::Auto,
        congestion: None,
        pex: true,
        lan: false,
        dht: None,
        lsd: false,
        port_map: false,
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 4093) as u8).collect()
}

fn torrent_of(data: &[u8]) -> Metainfo {
    let pieces = data.chunks(PIECE).flat_map(|piece| hash::sha1([piece]));
    let build = Build {
        name: b"f.bin".to_vec(),
        piece_len: PIECE as u32,
        content: Content::File(data.len() as u64),
        pieces: pieces.collect(),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private: false,
        source: None,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    Metainfo::parse(&build.to_bytes().unwrap()).unwrap()
}

fn add(what: What, dir: &Path, peers: Vec<SocketAddr>) -> AddTorrent {
    AddTorrent {
        what,
        out_dir: dir.to_owned(),
        select: Selection::All,
        peers,
        link_peers: Vec::new(),
        trackers: Vec::new(),
        verify: Verify::Auto,
        preallocate: Preallocate::Full,
        overwrite: false,
        seed_only: false,
    }
}

async fn complete(download: &mut Download) {
    let wait = async {
        while let Some(event) = download.event().await {
            match event {
                DownloadEvent::Complete { .. } => return,
                DownloadEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
        panic!("ended without completing");
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("complete in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_a_leech_and_a_magnet_exchange_a_file() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = |name: &str| scratch.path().join(name);
    let data = content(5 << 20);
    let metainfo = torrent_of(&data);
    std::fs::create_dir(dir("seed")).unwrap();
    std::fs::write(dir("seed").join("f.bin"), &data).unwrap();

    let seed = engine(&dir("state1")).await;
    let what = What::Metainfo(Arc::new(metainfo.clone()));
    let mut seeding = seed
        .add(AddTorrent { seed_only: true, ..add(what.clone(), &dir("seed"), vec![]) })
        .await
        .unwrap();
    complete(&mut seeding).await;

    let leech = engine(&dir("state2")).await;
    let mut get = leech.add(add(what, &dir("leech"), vec![seed.listen_addr()])).await.unwrap();
    complete(&mut get).await;
    assert_eq!(std::fs::read(dir("leech").join("f.bin")).unwrap(), data);

    let magnet = Magnet::of(metainfo.hashes());
    let third = engine(&dir("state3")).await;
    let what = What::Magnet(Box::new(magnet));
    let mut get = third.add(add(what, &dir("magnet"), vec![seed.listen_addr()])).await.unwrap();
    complete(&mut get).await;
    assert_eq!(std::fs::read(dir("magnet").join("f.bin")).unwrap(), data);
    get.stop().await;
    seeding.stop().await;
}

/// A share that counts copies hears of them by the last haves, and leeches leave as soon as they have all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_once_complete_has_told_that_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let data = content(3 * PIECE);
    let metainfo = torrent_of(&data);
    let dir = |name: String| scratch.path().join(name);
    std::fs::create_dir(dir("seed".into())).unwrap();
    std::fs::write(dir("seed".into()).join("f.bin"), &data).unwrap();
    let seed = engine(&dir("state".into())).await;
    let what = What::Metainfo(Arc::new(metainfo));
    let giving = AddTorrent { seed_only: true, ..add(what.clone(), &dir("seed".into()), vec![]) };
    let mut seeding = seed.add(giving).await.unwrap();
    complete(&mut seeding).await;
    for nth in 1..=20 {
        let leech = engine(&dir(format!("state{nth}"))).await;
        let to = dir(format!("leech{nth}"));
        let mut get = leech.add(add(what.clone(), &to, vec![seed.listen_addr()])).await.unwrap();
        complete(&mut get).await;
        get.stop().await;
        let counted = async {
            while seeding.snapshot().status.completed_peers < nth {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(5), counted).await;
        assert!(told.is_ok(), "leech {nth} left without a word");
    }
    seeding.stop().await;
}

/// An engine with a node of the DHT that begins with these.
async fn engine_with_dht(state: &Path, begin: &[SocketAddr]) -> Engine {
    let hints = begin.iter().filter_map(|addr| PeerHint::parse(&addr.to_string()));
    let dht = Some(DhtConfig::new(hints.collect()));
    Engine::start(EngineConfig { pex: false, dht, ..config(state) }).await.unwrap()
}

fn node_of(engine: &Engine) -> SocketAddr {
    engine.dht().unwrap().addr(false).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magnet_alone_is_enough_with_the_dht() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = |name: &str| scratch.path().join(name);
    let data = content(1 << 20);
    let metainfo = torrent_of(&data);
    std::fs::create_dir(dir("seed")).unwrap();
    std::fs::write(dir("seed").join("f.bin"), &data).unwrap();
    let router = engine_with_dht(&dir("state0"), &[]).await;
    let seed = engine_with_dht(&dir("state1"), &[node_of(&router)]).await;
    let what = What::Metainfo(Arc::new(metainfo.clone()));
    let mut seeding =
        seed.add(AddTorrent { seed_only: true, ..add(what, &dir("seed"), vec![]) }).await.unwrap();
    complete(&mut seeding).await;

    let leech = engine_with_dht(&dir("state2"), &[node_of(&router)]).await;
    let what = What::Magnet(Box::new(Magnet::of(metainfo.hashes())));
    let mut get = leech.add(add(what, &dir("leech"), vec![])).await.unwrap();
    complete(&mut get).await;
    assert_eq!(std::fs::read(dir("leech").join("f.bin")).unwrap(), data);
    let seen = get.snapshot().dht.unwrap();
    // One of them has found the other: by what it was told, or by what it has stored.
    assert!((seen.peers >= 1 || seen.stored >= 1) && seen.trouble.is_none(), "{seen:?}");

    // The two have told each other of their nodes: the next start needs nobody else.
    get.stop().await;
    leech.stop().await;
    drop(leech);
    let saved = crate::locate::saved_nodes(&dir("state2"), None).unwrap();
    assert!(saved.nodes.iter().any(|node| node.addr == node_of(&router)));
    seeding.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_13_the_dht_never_hears_of_a_private_torrent() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = |name: &str| scratch.path().join(name);
    let data = content(100_000);
    let pieces = data.chunks(PIECE).flat_map(|piece| hash::sha1([piece]));
    let router = engine_with_dht(&dir("state0"), &[]).await;
    let named = node_of(&router);
    let build = |private| Build {
        name: b"f.bin".to_vec(),
        piece_len: PIECE as u32,
        content: Content::File(data.len() as u64),
        pieces: pieces.clone().collect(),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: vec![(named.ip().to_string(), named.port())],
        private,
        source: None,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    std::fs::create_dir(dir("seed")).unwrap();
    std::fs::write(dir("seed").join("f.bin"), &data).unwrap();
    let asked = |engine: &Engine| engine.dht().unwrap().status().counters.asked;
    // The torrent itself names the node, and is not listened to.
    let seed = engine_with_dht(&dir("state1"), &[]).await;
    let start = async |private| {
        let metainfo = Metainfo::parse(&build(private).to_bytes().unwrap()).unwrap();
        let what = What::Metainfo(Arc::new(metainfo));
        let add = AddTorrent { seed_only: true, ..add(what, &dir("seed"), vec![]) };
        let mut seeding = seed.add(add).await.unwrap();
        complete(&mut seeding).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        seeding
    };
    let private = start(true).await;
    assert_eq!(private.snapshot().dht, None);
    assert_eq!(asked(&seed), 0);
    private.stop().await;
    let open = start(false).await;
    assert!(open.snapshot().dht.is_some());
    assert!(asked(&seed) > 0, "the same without the word does ask");
    open.stop().await;
}

#[tokio::test]
async fn on_loopback_nobody_speaks_to_the_neighbours() {
    let scratch = tempfile::tempdir().unwrap();
    let wants = EngineConfig { lsd: true, ..config(scratch.path()) };
    let engine = Engine::start(wants).await.unwrap();
    let magnet = Magnet::of(torrent_of(&content(100)).hashes());
    let what = What::Magnet(Box::new(magnet));
    let download = engine.add(add(what, scratch.path(), vec![])).await.unwrap();
    assert_eq!(download.snapshot().neighbours, None, "none of them could call back");
    download.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torrent_in_which_nothing_happens_wakes_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let dht = Some(DhtConfig::new(Vec::new()));
    let engine = Engine::start(EngineConfig { dht, ..config(&scratch.path().join("state")) });
    let engine = engine.await.unwrap();
    let what = What::Metainfo(Arc::new(torrent_of(&content(1 << 20))));
    let lonely = engine.add(add(what, scratch.path(), vec![])).await.unwrap();
    let mut snapshots = lonely.snapshots.clone();
    let running = snapshots.wait_for(|snapshot| snapshot.running);
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    let mut changes = 0;
    while tokio::time::timeout(Duration::from_secs(2), snapshots.changed()).await.is_ok() {
        changes += 1;
        assert!(changes < 20, "it goes on and on");
    }
    // But it is not asleep.
    lonely.add_peers(vec![SocketAddr::from(([127, 0, 0, 1], 1))]).await;
    let seen = snapshots.wait_for(|snapshot| snapshot.status.candidates == 1);
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap().unwrap();
    lonely.stop().await;
}

/// Nothing leaves the machine either way: who listens on loopback dials from there.
#[tokio::test]
async fn who_keeps_to_this_network_takes_nobody_elsewhere_from_links_and_trackers() {
    let scratch = tempfile::tempdir().unwrap();
    let tracker = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", tracker.local_addr().unwrap());
    tokio::spawn(async move {
        let told = b"d5:peers12:\xc6\x12\0\x02\0\x01\x7f\0\0\x02\0\x01e"; // 198.18.0.2:1 and 127.0.0.2:1
        let reply = [b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n", &told[..]].concat();
        while let Ok((mut asker, _)) = tracker.accept().await {
            let _ = asker.read(&mut [0; 4096]).await;
            let _ = asker.write_all(&reply).await;
        }
    });
    for (lan, want) in [(false, 5), (true, 2)] {
        let state = scratch.path().join(format!("state-{lan}"));
        let engine = Engine::start(EngineConfig { lan, ..config(&state) }).await.unwrap();
        let magnet = Magnet::of(torrent_of(&content(1)).hashes());
        let named = "198.18.0.9:1".parse().unwrap();
        let mut add = add(What::Magnet(Box::new(magnet)), scratch.path(), vec![named]);
        let hints = ["198.18.0.1:1", "198.18.0.3:1"];
        add.link_peers = hints.iter().filter_map(|hint| PeerHint::parse(hint)).collect();
        add.trackers = vec![url.clone()];
        let download = engine.add(add).await.unwrap();
        let known = async {
            while download.snapshot().status.candidates < want {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), known).await;
        assert_eq!(download.snapshot().status.candidates, want, "lan: {lan}");
        download.stop().await;
    }
}

/// A seed that gives this many bytes per second.
async fn slow_seed(
    data: &[u8],
    metainfo: &Metainfo,
    scratch: &Path,
    up: u64,
) -> (Engine, Download) {
    let dir = scratch.join("seed");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("f.bin"), data).unwrap();
    let up = Some(gaggle_core::units::BytesPerSec(up));
    let seed =
        Engine::start(EngineConfig { up, ..config(&scratch.join("seeding")) }).await.unwrap();
    let what = What::Metainfo(Arc::new(metainfo.clone()));
    let adding = AddTorrent { seed_only: true, ..add(what, &dir, vec![]) };
    let mut seeding = seed.add(adding).await.unwrap();
    complete(&mut seeding).await;
    (seed, seeding)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_and_hosts_of_three_networks_give_one_file_and_the_death_of_any_is_survived() {
    let data = content(6 << 20);
    let metainfo = torrent_of(&data);
    for victim in 0..5 {
        let scratch = tempfile::tempdir().unwrap();
        let (seed, seeding) = slow_seed(&data, &metainfo, scratch.path(), 2_000_000).await;
        let kinds = [Kind::Gnutella, Kind::FastTrack, Kind::Napster];
        let leech = engine(&scratch.path().join("state2")).await;
        let what = What::Metainfo(Arc::new(metainfo.clone()));
        let out = scratch.path().join("out");
        let mut get = leech.add(add(what, &out, vec![seed.listen_addr()])).await.unwrap();
        let (mut hosts, mut worth) = (Vec::new(), Vec::new());
        for (nth, kind) in kinds.into_iter().enumerate() {
            let act = if nth == victim { Act::Die(400_000) } else { Act::Serve };
            let host = match kind {
                Kind::Napster => Scripted::napster(&data, act, 1_500_000).await,
                _ => Scripted::slow(&data, act, 1_500_000).await,
            };
            let named = host.host(kind);
            worth.push(Arc::clone(&named.worth));
            get.add_source(named, 0).await.unwrap();
            hosts.push(host);
        }
        if victim == 3 {
            get.changes().wait_for(|now| now.status.done > 1 << 20).await.unwrap();
            seeding.stop().await;
            complete(&mut get).await;
        } else {
            complete(&mut get).await;
            seeding.stop().await;
        }
        assert!(std::fs::read(out.join("f.bin")).unwrap() == data, "without {victim}");
        let snapshot = get.snapshot();
        assert!(kinds.iter().all(|kind| snapshot.from[kind] > 0), "{:?}", snapshot.from);
        assert!(snapshot.from_peers() > 0);
        let all = snapshot.from_peers() + snapshot.from.values().sum::<u64>();
        assert_eq!(all, snapshot.status.downloaded);
        get.stop().await;
        for (nth, worth) in worth.iter().enumerate() {
            assert!(worth.good() > 0 && !worth.has_lied(), "{nth} without {victim}: {worth:?}");
            // One of Napster goes on beyond a range, and may die there.
            let sure = nth != victim || kinds[nth] != Kind::Napster;
            assert!(!sure || worth.has_broken_off() == (nth == victim), "{nth} without {victim}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_serves_wrong_bytes_is_banned_and_the_rest_goes_on() {
    let data = content(2 << 20);
    let metainfo = torrent_of(&data);
    let scratch = tempfile::tempdir().unwrap();
    let leech = engine(&scratch.path().join("state")).await;
    let out = scratch.path().join("out");
    // Named before the metadata is known: by a link.
    let what = What::Magnet(Box::new(Magnet::of(metainfo.hashes())));
    let mut get = leech.add(add(what, &out, vec![])).await.unwrap();
    let liar = Scripted::http(&data, Act::Lie).await;
    let good = Scripted::slow(&data, Act::Serve, 2_000_000).await;
    let named = liar.host(Kind::FastTrack);
    let worth = Arc::clone(&named.worth);
    get.add_source(named, 0).await.unwrap();
    get.add_source(good.host(Kind::Gnutella), 0).await.unwrap();
    assert_eq!((liar.connections(), good.connections()), (0, 0));
    let (seed, seeding) = slow_seed(&data, &metainfo, scratch.path(), 50_000).await;
    get.add_peers(vec![seed.listen_addr()]).await;
    let mut banned = None;
    let wait = async {
        loop {
            match get.event().await.expect("it goes on") {
                DownloadEvent::Banned { peer, .. } => banned = Some(peer),
                DownloadEvent::Complete { .. } => return,
                DownloadEvent::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("complete in time");
    // While it seeds, no host has to keep a connection for it.
    tokio::time::timeout(Duration::from_secs(10), good.is_left()).await.expect("nothing is idle");
    assert_eq!(banned, Some(liar.addr));
    assert!(std::fs::read(out.join("f.bin")).unwrap() == data);
    assert!(matches!(
        get.add_source(liar.host(Kind::Gnutella), 0).await,
        Err(EngineError::Source(gaggle_core::swarm::source::SourceRefusal::Banned))
    ));
    assert!(matches!(
        get.add_source(good.host(Kind::Gnutella), 1).await,
        Err(EngineError::NoFile(1))
    ));
    get.stop().await;
    assert_eq!((worth.has_lied(), worth.good()), (true, 0));
    seeding.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_not_asked_about_a_private_torrent() {
    let data = content(200_000);
    let build = Build {
        name: b"f.bin".to_vec(),
        piece_len: PIECE as u32,
        content: Content::File(data.len() as u64),
        pieces: data.chunks(PIECE).flat_map(|piece| hash::sha1([piece])).collect(),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private: true,
        source: None,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    let metainfo = Metainfo::parse(&build.to_bytes().unwrap()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let leech = engine(&scratch.path().join("state")).await;
    let what = What::Metainfo(Arc::new(metainfo));
    let mut get = leech.add(add(what, &scratch.path().join("out"), vec![])).await.unwrap();
    while !matches!(get.event().await, Some(DownloadEvent::Checked { .. })) {}
    let host = Scripted::http(&data, Act::Serve).await;
    assert!(matches!(
        get.add_source(host.host(Kind::Gnutella), 0).await,
        Err(EngineError::Source(gaggle_core::swarm::source::SourceRefusal::Private))
    ));
    assert_eq!(host.connections(), 0);
    get.stop().await;
}
