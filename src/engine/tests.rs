//! Whole engines on loopback: real sockets, real files.

use super::*;
use crate::disk::Preallocate;
use gaggle_core::hash;
use gaggle_core::metainfo::{Build, Content, Magnet, Metainfo};
use gaggle_core::storage::Verify;
use gaggle_core::swarm::choker::Slots;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

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
        pex: true,
        lsd: false,
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
    let what = What::Metainfo(Box::new(metainfo.clone()));
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
