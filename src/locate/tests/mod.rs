//! Trackers of our own, of another make, and of bad will, over real sockets.

mod announcing;
mod foreign;
mod hostile;
mod own_tracker;

use super::*;
use crate::net::Clock;
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::announce::{Event, Terms};
use gaggle_core::proto::tracker_udp::Retry;
use gaggle_core::rng::Rng;
use gaggle_tracker::store::Policy;
use gaggle_tracker::{Running, Tracker, TrackerConfig};
use std::time::Duration;

/// Long enough for anything that works, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

const HASH: InfoHash = InfoHash([7; 20]);

fn tracker(listen: &str) -> Running {
    let policy = Policy {
        interval: Duration::from_secs(1),
        min_interval: Duration::from_secs(1),
        ..Policy::default()
    };
    let listen = listen.parse().unwrap();
    let config = TrackerConfig { policy, seed: Some(1), ..TrackerConfig::new(listen) };
    Tracker::bind(&config).expect("loopback has free ports")
}

fn trackers() -> Trackers {
    trackers_with(TrackersConfig::default())
}

fn trackers_with(config: TrackersConfig) -> Trackers {
    Trackers::new(config, Clock::start(), Rng::seeded(1))
}

/// A leech that knocks on port `port`.
fn leech(port: u16) -> Announce {
    Announce {
        info_hash: HASH,
        peer_id: PeerId([b'p'; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left: 5,
        event: Event::None,
        key: 1,
        want: None,
        tracker_id: Vec::new(),
    }
}

/// Asks one tracker and waits for the end.
async fn ask(
    trackers: &Trackers,
    url: &str,
    announce: Announce,
) -> Result<(Vec<SocketAddr>, Terms), LocateError> {
    let (found, mut receiver) = mpsc::channel(4);
    let id = AskId(3);
    trackers.locator(url)?.submit(id, Ask::Peers(announce), found);
    let mut all = Vec::new();
    let end = async {
        loop {
            match receiver.recv().await.expect("every ask ends in Done") {
                Found::Peers { id: same, peers } => {
                    assert_eq!(same, id);
                    all.extend(peers);
                }
                Found::Searched { .. } => unreachable!("a tracker has nothing to search"),
                Found::Done { id: same, outcome } => {
                    assert_eq!(same, id);
                    break outcome;
                }
            }
        }
    };
    let terms = tokio::time::timeout(PATIENCE, end).await.expect("every ask ends")?;
    assert!(receiver.recv().await.is_none(), "nothing follows Done");
    Ok((all, terms))
}
