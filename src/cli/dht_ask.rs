//! Questions to the DHT: `gaggle dht peers`, `announce` and `ping`.

use super::dht::Way;
use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use super::target::Target;
use crate::engine::What;
use crate::locate::{Ask, AskId, Dht, Found, LocateError, Locator};
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::proto::announce::{self, Announce};
use gaggle_core::scope::Scope;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use tokio::sync::mpsc;

/// Answers that may wait to be printed; more are dropped.
const FOUND_QUEUE: usize = 1024;

/// What an ask has brought.
struct Brought {
    peers: BTreeSet<SocketAddr>,
    asked: u32,
    answered: u32,
    stored: u32,
    seconds: f64,
    outcome: Result<(), LocateError>,
}

/// Prints peers as they are found.
pub(super) async fn peers(env: &Env, hash: &str, way: &Way) -> anyhow::Result<Exit> {
    let info_hash = read(env, hash).await?;
    let node = way.node(env)?;
    // Who is asked for counts names nobody, so that both have to be asked for.
    let (brought, scrape) = tokio::join!(ask(env, &node, info_hash, 0), node.scrape(info_hash));
    let brought = brought?;
    let Brought { peers, asked, answered, seconds, outcome, .. } = brought;
    let count = peers.len();
    let hash = info_hash.to_string();
    let (seeds, leeches) = scrape.map(|counts| (counts.seeds, counts.leeches)).unzip();
    env.emit(&Event::DhtLookup {
        info_hash: hash,
        asked,
        answered,
        peers: count,
        seeds,
        leeches,
        seconds,
    })?;
    if let Err(error) = outcome {
        return Err(nobody(&error).into());
    }
    let s = if count == 1 { "" } else { "s" };
    let counted = scrape.map_or_else(String::new, |counts| {
        format!(", about {} seeding and {} not", counts.seeds, counts.leeches)
    });
    env.note(format_args!("{asked} nodes asked, {count} peer{s}{counted}, {seconds:.1} s"));
    Ok(if count > 0 { Exit::Done } else { Exit::Other })
}

/// Announces once.
pub(super) async fn announce(
    env: &Env,
    hash: &str,
    port: NonZeroU16,
    way: &Way,
) -> anyhow::Result<Exit> {
    let info_hash = read(env, hash).await?;
    let Brought { stored, asked, outcome, seconds, .. } =
        ask(env, &way.node(env)?, info_hash, port.get()).await?;
    let hash = info_hash.to_string();
    env.emit(&Event::DhtAnnounced { info_hash: hash, port: port.get(), asked, stored, seconds })?;
    if let Err(error) = outcome {
        return Err(nobody(&error).into());
    }
    let s = if stored == 1 { "" } else { "s" };
    env.result(format_args!("stored by {stored} node{s}; it lasts for about half an hour"))?;
    Ok(if stored > 0 { Exit::Done } else { Exit::Other })
}

/// Asks a node by its address or its name.
pub(super) async fn ping(env: &Env, addr: &str, way: &Way) -> anyhow::Result<Exit> {
    let hint =
        PeerHint::parse(addr).ok_or_else(|| Failure::usage(format!("{addr} is not HOST:PORT")))?;
    let found = match hint.addr() {
        Some(known) => vec![known],
        None => tokio::net::lookup_host((hint.host.as_str(), hint.port))
            .await
            .map_err(|e| {
                let what = format!("cannot find {addr}: {}", super::exit::plain(&e));
                Failure::new(Exit::Network, what)
            })?
            .collect(),
    };
    if env.settings.network.lan && !found.iter().any(|at| Scope::is_near(at.ip())) {
        let what = format!("{addr} is in another network, and network.lan keeps to this one");
        return Err(Failure::usage(what).into());
    }
    let node = way.node(env)?;
    for at in &found {
        if let Some(pong) = node.ping(*at).await {
            let (id, ms) = (pong.id.to_string(), pong.rtt.as_secs_f64() * 1000.0);
            env.emit(&Event::DhtPong { addr: at.to_string(), id: &id, ms })?;
            env.result(format_args!("{at} answers in {ms:.1} ms, id {id}"))?;
            return Ok(Exit::Done);
        }
    }
    let what = format!("{addr} does not answer");
    Err(Failure::new(Exit::Other, what).hint("a node listens on UDP; is the port right?").into())
}

async fn read(env: &Env, hash: &str) -> anyhow::Result<InfoHash> {
    Ok(match Target::parse(hash)?.read(env).await? {
        What::Magnet(magnet) => magnet.info_hash(),
        What::Metainfo(metainfo) if metainfo.info.private => {
            let what = format!("{hash} is private: only its tracker may hear of it");
            return Err(Failure::new(Exit::Denied, what).into());
        }
        What::Metainfo(metainfo) => metainfo.info_hash(),
    })
}

pub(super) fn nobody(error: &LocateError) -> Failure {
    Failure::new(Exit::Other, format!("no node of the DHT: {error}"))
        .hint("--bootstrap HOST:PORT names one")
}

async fn ask(env: &Env, node: &Dht, info_hash: InfoHash, port: u16) -> anyhow::Result<Brought> {
    let announce = Announce {
        info_hash,
        peer_id: PeerId([0; 20]), // goes to trackers only
        port,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: announce::Event::None,
        key: 0,
        want: None,
        tracker_id: Vec::new(),
    };
    let clock = crate::net::Clock::start();
    let (found, mut answers) = mpsc::channel(FOUND_QUEUE);
    node.submit(AskId(0), Ask::Peers(announce), found);
    let mut brought = Brought {
        peers: BTreeSet::new(),
        asked: 0,
        answered: 0,
        stored: 0,
        seconds: 0.0,
        outcome: Ok(()),
    };
    while let Some(answer) = answers.recv().await {
        match answer {
            Found::Peers { peers, .. } => {
                for peer in peers {
                    if brought.peers.insert(peer) && port == 0 {
                        env.emit(&Event::DhtPeer {
                            info_hash: info_hash.to_string(),
                            peer: peer.to_string(),
                        })?;
                        env.result(peer)?;
                    }
                }
            }
            Found::Searched { asked, answered, stored, .. } => {
                (brought.asked, brought.answered, brought.stored) = (asked, answered, stored);
            }
            Found::Done { outcome, .. } => brought.outcome = outcome.map(drop),
        }
    }
    brought.seconds = clock.now().as_secs_f64();
    Ok(brought)
}
