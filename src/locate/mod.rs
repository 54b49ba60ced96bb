//! Ways to find peers.
//!
//! Each network is a [`Locator`]: it is asked, answers stream back, dropping the receiver cancels. Decides how
//! long a network may take and how much of its answer is read; never whom to connect to, nor (that is
//! [`gaggle_core::swarm::announce`]) which tracker to ask when.

mod announcing;
mod dht;
mod error;
mod http_client;
mod lsd;
mod portmap;
mod target;
#[cfg(test)]
mod tests;
mod tracker_http;
mod tracker_udp;
mod trackers;

pub use announcing::{Announcing, AnnouncingSetup, FAREWELL, Progress};
pub use dht::{Dht, DhtConfig, ItemOutcome, Pong, Scrape, explain, saved_nodes};
pub use error::LocateError;
pub use lsd::Lsd;
pub use portmap::{Language, Mapped, PortMap, Ports};
pub use target::{is_near, is_near_host};
pub use trackers::{Trackers, TrackersConfig};

use gaggle_core::proto::announce::{Announce, Terms};
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// Tells the answers to several asks apart, where they share a channel. The asker chooses it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AskId(pub u64);

/// Kinds of network that know about peers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Network {
    /// The distributed hash table of BitTorrent.
    Dht,
    /// The neighbours on the wire.
    Lsd,
    /// A BitTorrent tracker, over HTTP or UDP.
    Tracker,
}

/// What to find.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// Peers of the swarm in the announce, which also tells the network about us.
    Peers(Announce),
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Some peers; there may be more of these before the end.
    Peers {
        /// From the ask.
        id: AskId,
        /// Never with port 0.
        peers: Vec<SocketAddr>,
    },
    /// How far a network without a server was searched; before its end.
    Searched {
        /// From the ask.
        id: AskId,
        /// Nodes that were asked.
        asked: u32,
        /// Of them, nodes that answered in time.
        answered: u32,
        /// Nodes that keep our announce.
        stored: u32,
    },
    /// The end, exactly once for each ask unless it was cancelled.
    Done {
        /// From the ask.
        id: AskId,
        /// What else the network said, or why there was nothing.
        outcome: Result<Terms, LocateError>,
    },
}

/// Finds peers on one network, or at one tracker.
///
/// Object safe, no `async fn`: work starts on `submit` in the current tokio runtime, answers stream into `found`, and
/// dropping the receiver cancels. Every ask ends in exactly one [`Found::Done`].
pub trait Locator: Send + Sync {
    /// Where it looks.
    fn network(&self) -> Network;
    /// Begins to look.
    fn submit(&self, id: AskId, ask: Ask, found: mpsc::Sender<Found>);
}

/// Runs `work` until it ends or nobody waits for it any more, then says how it ended.
fn run_until_unwanted(
    id: AskId,
    found: mpsc::Sender<Found>,
    work: impl Future<Output = Result<(Vec<SocketAddr>, Terms), LocateError>> + Send + 'static,
) {
    tokio::spawn(async move {
        let outcome = tokio::select! {
            () = found.closed() => return,
            outcome = work => outcome,
        };
        let outcome = match outcome {
            Ok((peers, terms)) => {
                if !peers.is_empty() && found.send(Found::Peers { id, peers }).await.is_err() {
                    return;
                }
                Ok(terms)
            }
            Err(error) => Err(error),
        };
        // An error means that the asker has just left.
        let _ = found.send(Found::Done { id, outcome }).await;
    });
}
