//! Why something waits, in words: what each tracker and each peer has said so far.

use super::exit::as_words;
use crate::engine::{DhtSeen, Snapshot};
use gaggle_core::swarm::announce::LastAnswer;
use gaggle_core::swarm::torrent::Waiting;
use std::net::SocketAddr;

/// The reason in a few words; `None` while data arrives.
pub(super) fn why(snapshot: &Snapshot) -> Option<&'static str> {
    match snapshot.status.waiting {
        Waiting::No => None,
        Waiting::NoPeers => Some("nobody is connected"),
        Waiting::NoMetadata => Some("no peer has sent the metadata"),
        Waiting::NobodyHas => Some("no peer has what is missing"),
        Waiting::Choked => Some("peers have it, but choke us"),
        Waiting::Disk => Some("the disk is behind"),
        Waiting::Slow => Some("asked, not yet answered"),
    }
}

/// One line for each source, aligned. `given` are the peers that the user named.
pub(super) fn sources(snapshot: &Snapshot, given: &[SocketAddr]) -> Vec<String> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for tracker in &snapshot.trackers {
        let said = match &tracker.last {
            LastAnswer::NotYet if tracker.asking => "no answer yet".to_owned(),
            LastAnswer::NotYet => "not asked yet".to_owned(),
            LastAnswer::Answered { peers, warning, .. } => {
                let s = if *peers == 1 { "" } else { "s" };
                let warning =
                    warning.as_ref().map_or_else(String::new, |text| format!(", says: {text}"));
                format!("answered: {peers} peer{s}{warning}")
            }
            LastAnswer::Failed { reason, times: 1, .. } => as_words(reason),
            LastAnswer::Failed { reason, times, .. } => {
                format!("{} ({times} tries)", as_words(reason))
            }
        };
        rows.push((format!("tracker {}", tracker.url), said));
    }
    if let Some(heard) = snapshot.neighbours {
        let s = if heard == 1 { "" } else { "s" };
        let said = match heard {
            0 => "no answer".to_owned(),
            heard => format!("answered: {heard} peer{s}"),
        };
        rows.push(("LAN".to_owned(), said));
    }
    for peer in &snapshot.peers {
        let said = match (snapshot.metainfo.is_some(), peer.unchokes_us) {
            (false, _) => "connected, sent no metadata".to_owned(),
            (true, true) => format!("connected, has {:.0} %", peer.progress * 100.0),
            (true, false) => format!("connected, has {:.0} %, chokes us", peer.progress * 100.0),
        };
        rows.push((format!("peer {}", peer.addr), said));
    }
    let connected = |addr: &&SocketAddr| snapshot.peers.iter().any(|peer| peer.addr == **addr);
    for addr in given.iter().filter(|addr| !connected(addr)) {
        let why = snapshot.refused.get(addr).map(|error| format!(": {error}")).unwrap_or_default();
        rows.push((format!("peer {addr}"), format!("no connection{why}")));
    }
    let mut lines = Vec::new();
    if rows.is_empty() {
        lines.push("no tracker and no peer is known".to_owned());
    }
    if let Some(dht) = &snapshot.dht {
        rows.push(("DHT".to_owned(), of_dht(dht)));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).min(WIDTH_MAX);
    let line = |(name, said): (String, String)| {
        format!("{name:<width$}  {}", super::show::printable(&said))
    };
    let shown = rows.len().min(ROWS_MAX);
    let more = rows.len() - shown;
    lines.extend(rows.into_iter().take(ROWS_MAX).map(line));
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// What the DHT has said, or why it said nothing.
fn of_dht(dht: &DhtSeen) -> String {
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let (asked, peers) = (dht.asked as usize, dht.peers);
    match &dht.trouble {
        Some(trouble) => format!("0 nodes: {trouble}"),
        None if dht.lookups == 0 => format!("asking, {peers} peer{} so far", s(peers)),
        None => format!("{asked} node{} asked, {peers} peer{}", s(asked), s(peers)),
    }
}

/// Longer names push their line to the right and no other.
const WIDTH_MAX: usize = 60;
/// More sources are only counted.
const ROWS_MAX: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ConnectError;
    use gaggle_core::proto::announce::Counts;
    use gaggle_core::swarm::announce::TrackerStatus;

    #[test]
    fn every_source_says_what_it_said() {
        let tracker =
            |url: &str, last| TrackerStatus { url: url.to_owned(), tier: 0, last, asking: true };
        let failed =
            |times| LastAnswer::Failed { reason: "timed out".into(), times, for_good: false };
        let snapshot = Snapshot {
            trackers: vec![
                tracker("udp://a:1", failed(2)),
                tracker(
                    "http://long.example/announce",
                    LastAnswer::Answered { peers: 0, counts: Counts::default(), warning: None },
                ),
                tracker("http://c/a", LastAnswer::NotYet),
            ],
            refused: [("10.0.0.2:5".parse().unwrap(), ConnectError::Closed)].into(),
            ..Snapshot::default()
        };
        let given = ["10.0.0.1:5", "10.0.0.2:5"].map(|addr| addr.parse().unwrap());
        let lines = sources(&snapshot, &given);
        assert_eq!(lines[0], "tracker udp://a:1                     timed out (2 tries)");
        assert_eq!(lines[1], "tracker http://long.example/announce  answered: 0 peers");
        assert!(lines[2].ends_with("no answer yet"));
        assert!(lines[3].starts_with("peer 10.0.0.1:5") && lines[3].ends_with("no connection"));
        assert!(lines[4].ends_with("no connection: closed during the handshake"), "{}", lines[4]);
        let alone = Snapshot { neighbours: Some(0), ..Snapshot::default() };
        assert_eq!(sources(&alone, &[]), ["LAN  no answer"]);
        let found = Snapshot { neighbours: Some(2), ..Snapshot::default() };
        assert_eq!(sources(&found, &[]), ["LAN  answered: 2 peers"]);
        assert_eq!(sources(&Snapshot::default(), &[]), ["no tracker and no peer is known"]);
        let dht = |asked, peers, trouble: Option<&str>| {
            let trouble = trouble.map(str::to_owned);
            let seen = DhtSeen { asked, peers, trouble, lookups: 1, ..DhtSeen::default() };
            sources(&Snapshot { dht: Some(seen), ..Snapshot::default() }, &[]).pop().unwrap()
        };
        assert_eq!(dht(148, 0, None), "DHT  148 nodes asked, 0 peers");
        assert_eq!(dht(1, 1, None), "DHT  1 node asked, 1 peer");
        assert_eq!(dht(0, 0, Some("nobody is known")), "DHT  0 nodes: nobody is known");
    }
}
