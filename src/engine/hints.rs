//! Looks up the hosts that a link names, while the torrent runs already, and tells it.
//!
//! Decides how many names are looked up and how often: a link comes from anywhere. Never holds a torrent up.

use super::command::{Command, Reach};
use gaggle_core::metainfo::PeerHint;
use gaggle_core::swarm::roster::Source;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

/// Names of one link that are looked up; the rest is left out.
const NAMES_MAX: usize = 16;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// A name that has no address by then has none for now.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// It is looked up again after this, then after twice as long, up to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(15);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Splits what a link names into addresses and names.
pub(super) fn sort(hints: &[PeerHint]) -> (Vec<SocketAddr>, Vec<PeerHint>) {
    let addrs = hints.iter().filter_map(PeerHint::addr).collect();
    let names = hints.iter().filter(|hint| hint.addr().is_none());
    (addrs, names.take(NAMES_MAX).cloned().collect())
}

/// Looks them up side by side, until each has an address. Dropping the set ends it.
pub(super) fn look_up(names: Vec<PeerHint>, torrent: &Reach) -> JoinSet<()> {
    let mut lookups = JoinSet::new();
    for name in names {
        lookups.spawn(one(name, torrent.clone()));
    }
    lookups
}

async fn one(hint: PeerHint, torrent: Reach) {
    let mut wait = RETRY_FIRST;
    loop {
        let found = tokio::net::lookup_host((hint.host.as_str(), hint.port));
        match tokio::time::timeout(LOOKUP_TIMEOUT, found).await {
            Ok(Ok(found)) => {
                let peers = found.take(ADDRESSES_MAX).collect();
                return torrent.insist(Command::AddPeers(Source::Magnet, peers)).await;
            }
            Ok(Err(error)) => tracing::debug!(%hint, %error, "the link's peer is unknown"),
            Err(_) => tracing::debug!(%hint, "the link's peer is not found in time"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn hint(text: &str) -> PeerHint {
        PeerHint::parse(text).unwrap()
    }

    #[test]
    fn attack_14_of_thousands_of_names_a_few_are_looked_up() {
        let mut hints: Vec<PeerHint> =
            (0..1000).map(|n| hint(&format!("{n}.victim.example:80"))).collect();
        hints.push(hint("10.0.0.1:5"));
        let (addrs, names) = sort(&hints);
        assert_eq!((addrs, names.len()), (vec!["10.0.0.1:5".parse().unwrap()], NAMES_MAX));
    }

    #[tokio::test]
    async fn a_name_becomes_a_peer_of_the_link() {
        let (_owner, torrent, mut commands) = command::queue();
        let _lookups = look_up(vec![hint("localhost:4711")], &torrent);
        let said = tokio::time::timeout(LOOKUP_TIMEOUT, commands.recv()).await.unwrap().unwrap();
        let Command::AddPeers(Source::Magnet, peers) = *said else { panic!("no peers") };
        assert!(peers.iter().all(|peer| peer.ip().is_loopback() && peer.port() == 4711));
    }
}
