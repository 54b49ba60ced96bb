//! Looks up the names of nodes to begin with, while the node runs already.

use super::task::Command;
use gaggle_core::metainfo::PeerHint;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Names that are looked up of one list; the rest is left out.
const NAMES_MAX: usize = 32;
/// Addresses of one name that are asked.
const ADDRESSES_MAX: usize = 4;
/// Names that are looked up at a time, of all lists: each holds one of the threads that disks and saving need too.
static AT_ONCE: Semaphore = Semaphore::const_new(8);
/// A name that has no address by then has none for now.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// It is looked up again after this, then after twice as long, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Splits a list into addresses and names.
pub(super) fn sort(hints: &[PeerHint]) -> (Vec<SocketAddr>, Vec<PeerHint>) {
    let addrs = hints.iter().filter_map(PeerHint::addr).collect();
    let names = hints.iter().filter(|hint| hint.addr().is_none());
    (addrs, names.take(NAMES_MAX).cloned().collect())
}

/// Looks a bootstrap node up until it has an address.
pub(super) async fn look_up(name: PeerHint, commands: mpsc::WeakSender<Command>) {
    let mut wait = RETRY_FIRST;
    loop {
        let found = resolve(&name).await;
        let Some(commands) = commands.upgrade() else { return };
        let done = !found.is_empty();
        let command = Command::Bootstrap(found);
        if commands.send(command).await.is_err() || done {
            return;
        }
        drop(commands);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Looks a suggested node up, once.
pub(super) async fn look_up_once(name: PeerHint, commands: mpsc::WeakSender<Command>) {
    for addr in resolve(&name).await {
        if let Some(commands) = commands.upgrade() {
            let _ = commands.try_send(Command::Suggest(addr));
        }
    }
}

async fn resolve(name: &PeerHint) -> Vec<SocketAddr> {
    let Ok(_turn) = AT_ONCE.acquire().await else { return Vec::new() };
    let found = tokio::net::lookup_host((name.host.as_str(), name.port));
    match tokio::time::timeout(LOOKUP_TIMEOUT, found).await {
        Ok(Ok(found)) => found.take(ADDRESSES_MAX).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%name, %error, "a node's name is unknown");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(%name, "a node's name is not found in time");
            Vec::new()
        }
    }
}
