//! Between one torrent and the DHT: lets others hear of it, and the torrent of them.
//!
//! Never decides when to ask: the seeker of core does. Never speaks of a torrent that is private, nor of a magnet that
//! has turned out to be, nor asks the nodes that such a torrent names.
//= BEP 27

use super::api::{AddTorrent, DhtSeen, Snapshot, What};
use super::command::{Command, Reach};
use super::engine::Shared;
use crate::locate::{Ask, AskId, Dht, Found, Locator, is_near_host};
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::{Metainfo, PeerHint};
use gaggle_core::proto::announce::{Announce, Event};
use gaggle_core::swarm::roster::Source;
use gaggle_core::swarm::seeker::{Seeker, Step};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Answers that may wait to be read; peers of more are dropped, the next lookup brings others.
const FOUND_QUEUE: usize = 256;
/// Peers that are counted; more are found, and not counted.
const COUNTED_MAX: usize = 10_000;

/// The asks of one torrent. Dropping it ends them.
pub(super) struct Handle {
    seen: watch::Receiver<Option<DhtSeen>>,
    task: JoinHandle<()>,
}

impl Handle {
    /// What has come of it; `None` once the torrent is known to be private.
    pub(super) fn seen(&self) -> Option<DhtSeen> {
        self.seen.borrow().clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Seeking {
    shared: Arc<Shared>,
    dht: Dht,
    info_hash: InfoHash,
    torrent: Reach,
    snapshots: watch::Receiver<Snapshot>,
    seen: watch::Sender<Option<DhtSeen>>,
    known: BTreeSet<SocketAddr>,
    /// Of the ask under way: nodes asked, and those that keep our announce.
    brought: (u32, u32),
}

/// Begins as soon as the torrent runs. `None` if the DHT is off, or the torrent private.
pub(super) fn start(
    shared: &Arc<Shared>,
    add: &AddTorrent,
    info_hash: InfoHash,
    torrent: Reach,
    snapshots: &watch::Receiver<Snapshot>,
) -> Option<Handle> {
    let dht = shared.dht.clone()?;
    if let What::Metainfo(metainfo) = &add.what {
        if metainfo.info.private {
            return None;
        }
        let mut nodes = nodes(metainfo);
        if shared.config.lan {
            nodes.retain(|node| is_near_host(&node.host));
        }
        dht.suggest_all(&nodes);
    }
    let (show, seen) = watch::channel(Some(DhtSeen::default()));
    let seeking = Seeking {
        shared: Arc::clone(shared),
        dht,
        info_hash,
        torrent,
        snapshots: snapshots.clone(),
        seen: show,
        known: BTreeSet::new(),
        brought: (0, 0),
    };
    Some(Handle { seen, task: tokio::spawn(seeking.run()) })
}

fn nodes(metainfo: &Metainfo) -> Vec<PeerHint> {
    let hint = |(host, port): &(String, u16)| PeerHint { host: host.clone(), port: *port };
    metainfo.nodes.iter().map(hint).collect()
}

impl Seeking {
    async fn run(mut self) {
        if self.snapshots.wait_for(|snapshot| snapshot.running).await.is_err() {
            return;
        }
        let clock = self.shared.clock;
        let mut seeker = Seeker::new(clock.now(), is_alone(&self.snapshots.borrow()));
        let mut nodes = self.dht.watch_nodes();
        let mut answers: Option<mpsc::Receiver<Found>> = None;
        loop {
            if is_private(&self.snapshots.borrow()) {
                self.seen.send_replace(None);
                return; // which drops the receiver, and so ends the ask
            }
            if let Some(step) = seeker.poll(clock.now()) {
                let (found, receiver) = mpsc::channel(FOUND_QUEUE);
                self.brought = (0, 0);
                self.dht.submit(AskId(0), Ask::Peers(self.ask(step)), found);
                answers = Some(receiver);
            }
            tokio::select! {
                found = next(&mut answers) => {
                    if self.on_found(found) {
                        answers = None;
                        let (asked, stored) = self.brought;
                        seeker.ended(clock.now(), asked, stored);
                    }
                }
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let alone = is_alone(&self.snapshots.borrow_and_update());
                    seeker.set_alone(clock.now(), alone);
                }
                Ok(()) = nodes.changed() => {
                    if *nodes.borrow_and_update() {
                        seeker.nodes_known(clock.now());
                    }
                }
                () = clock.sleep_until(seeker.poll_timeout()) => {}
            }
        }
    }

    /// Of all this the DHT hears the torrent, the port, and whether we have everything.
    fn ask(&self, step: Step) -> Announce {
        let status = self.snapshots.borrow().status;
        let whole = status.pieces.1 > 0 && status.missing == 0;
        Announce {
            info_hash: self.info_hash,
            peer_id: self.shared.our_id,
            port: if step == Step::Announce { self.shared.port() } else { 0 },
            uploaded: 0,
            downloaded: 0,
            left: u64::from(!whole),
            event: Event::None,
            key: self.shared.key,
            want: None,
            tracker_id: Vec::new(),
        }
    }

    /// Whether that was the end.
    fn on_found(&mut self, found: Option<Found>) -> bool {
        match found {
            Some(Found::Peers { peers, .. }) => {
                let room = COUNTED_MAX.saturating_sub(self.known.len());
                self.known.extend(peers.iter().copied().take(room));
                let count = self.known.len();
                self.show(|seen| seen.peers = count);
                self.torrent.tell(Command::AddPeers(Source::Dht, peers));
                return false;
            }
            Some(Found::Searched { asked, answered, stored, .. }) => {
                self.brought = (answered, stored);
                self.show(|seen| {
                    (seen.asked, seen.answered) = (asked, answered);
                    seen.stored = stored.max(seen.stored);
                });
                return false;
            }
            Some(Found::Done { outcome, .. }) => {
                let trouble = outcome.err().map(|error| error.to_string());
                self.show(|seen| {
                    seen.trouble = trouble;
                    seen.lookups += 1;
                });
            }
            None => {}
        }
        true
    }

    fn show(&self, change: impl FnOnce(&mut DhtSeen)) {
        self.seen.send_modify(|seen| change(seen.get_or_insert_default()));
    }
}

fn is_private(snapshot: &Snapshot) -> bool {
    snapshot.metainfo.as_ref().is_some_and(|metainfo| metainfo.info.private)
}

/// Data is wanted, and nobody is connected.
fn is_alone(snapshot: &Snapshot) -> bool {
    let status = &snapshot.status;
    let wants = status.pieces.1 == 0 || status.done < status.total;
    wants && status.peers == 0
}

/// The next word of the ask under way; never, if there is none.
async fn next(answers: &mut Option<mpsc::Receiver<Found>>) -> Option<Found> {
    match answers {
        Some(answers) => answers.recv().await,
        None => std::future::pending().await,
    }
}
