//! Peer exchange: each peer hears once a minute who joined and left us, and tells us the same.
//!
//! Decides what is told to whom and which of a stranger's addresses become candidates. Never tells an address that we
//! are not connected to, never dials (the roster does), and is silent and deaf for private torrents.
//= BEP 11

use super::connection::Connection;
use super::{Close, PeerKey, Torrent};
use crate::clock::Instant;
use crate::proto::extension::{Extension, PEX_MAX, PexFlags, PexMessage, PexPeer};
use crate::proto::peer::Message;
use crate::scope::{Scope, canonical};
use crate::swarm::roster::{Direction, Source};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// From one message to the next, in each direction of a connection.
//= BEP 11 §message content (once a minute)
const GAP: Duration = Duration::from_secs(60);
/// By so much a message may come early, for networks that were slow the time before.
const GAP_SLACK: Duration = Duration::from_secs(5);
/// The first message waits so long: a peer that connects often has others right behind it.
const FIRST: Duration = Duration::from_secs(2);
/// Where there was nothing to tell, it is looked at again after this.
const RECHECK: Duration = Duration::from_secs(5);
/// Messages within the gap that cost a peer nothing but these messages. One more closes the connection (libtorrent
/// bears 6 in a minute).
const EARLY_MAX: u8 = 6;

/// What one connection has to do with peer exchange.
#[derive(Debug)]
pub(super) struct Gossip {
    /// Whom the peer believes us to be connected to; never more than we ever were at a time, and [`PEX_MAX`].
    told: BTreeSet<SocketAddr>,
    /// Nothing is told before.
    next: Instant,
    /// When its last message that counts came.
    heard: Option<Instant>,
    /// Messages too early, since then.
    early: u8,
}

/// What to do with a message.
#[derive(Debug, Eq, PartialEq)]
enum Hearing {
    Taken,
    TooEarly,
    Flood,
}

impl Gossip {
    pub(super) fn new(now: Instant) -> Self {
        Self { told: BTreeSet::new(), next: now + FIRST, heard: None, early: 0 }
    }

    fn hear(&mut self, now: Instant) -> Hearing {
        if self.heard.is_none_or(|last| now.since(last) + GAP_SLACK >= GAP) {
            (self.heard, self.early) = (Some(now), 0);
            return Hearing::Taken;
        }
        self.early = self.early.saturating_add(1);
        if self.early > EARLY_MAX { Hearing::Flood } else { Hearing::TooEarly }
    }
}

impl Torrent {
    /// Whether peers are exchanged at all. Until the metadata of a magnet is known, nobody can tell that it is
    /// private; from then on nothing is said or heard.
    //= BEP 27
    pub(super) fn exchanges_peers(&self) -> bool {
        self.config.pex && !self.private
    }

    /// Tells whoever is due.
    pub(super) fn gossip(&mut self, now: Instant) {
        if !self.exchanges_peers() {
            return;
        }
        let due = |c: &Connection| {
            !c.closing && c.gossip.next <= now && c.theirs.ids.of(Extension::Pex).is_some()
        };
        let due: Vec<PeerKey> =
            self.peers.iter().filter(|(_, c)| due(c)).map(|(&peer, _)| peer).collect();
        if due.is_empty() {
            return;
        }
        let present = self.acquaintances();
        for peer in due {
            self.tell(now, peer, &present);
        }
    }

    /// Everybody we are connected to, by the address at which others can reach him, as far as we know it.
    fn acquaintances(&self) -> BTreeMap<SocketAddr, PexFlags> {
        let flags = |peer: PeerKey, c: &Connection| {
            let seed = c.theirs.upload_only == Some(true) || self.has_everything(peer);
            PexFlags::NONE
                .with(PexFlags::SEED, seed)
                .with(PexFlags::HOLEPUNCH, c.theirs.ids.of(Extension::Holepunch).is_some())
                .with(PexFlags::REACHABLE, c.direction == Direction::Outgoing)
        };
        self.peers
            .iter()
            .filter(|(_, c)| !c.closing)
            .filter_map(|(&peer, c)| Some((listening(c)?, flags(peer, c))))
            .collect()
    }

    fn tell(&mut self, now: Instant, peer: PeerKey, present: &BTreeMap<SocketAddr, PexFlags>) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let Some(id) = connection.theirs.ids.of(Extension::Pex) else { return };
        let (there, itself) = (connection.addr, listening(connection));
        let told = &mut connection.gossip.told;
        let is_for_it = |addr: &SocketAddr| {
            let told = Scope::may_tell(there.ip(), addr.ip()) && !is_of_one_wire(addr);
            *addr != there && Some(*addr) != itself && told
        };
        let mut added: Vec<PexPeer> = present
            .iter()
            .filter(|(addr, _)| is_for_it(addr) && !told.contains(addr))
            .map(|(&addr, &flags)| PexPeer { addr, flags })
            .collect();
        if added.len() > PEX_MAX {
            self.rng.shuffle(&mut added); // else the low addresses would be dialled by everybody
            added.truncate(PEX_MAX);
        }
        let gone = told.iter().filter(|addr| !present.contains_key(addr));
        let dropped: Vec<SocketAddr> = gone.take(PEX_MAX).copied().collect();
        if added.is_empty() && dropped.is_empty() {
            connection.gossip.next = now + RECHECK;
            return;
        }
        told.extend(added.iter().map(|peer| peer.addr));
        told.retain(|addr| !dropped.contains(addr));
        connection.gossip.next = now + GAP;
        let payload = PexMessage { added, dropped }.encode();
        self.send(now, peer, Message::Extended { id, payload });
    }

    pub(super) fn on_pex(&mut self, now: Instant, peer: PeerKey, payload: &Bytes) {
        if !self.exchanges_peers() {
            return;
        }
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        match connection.gossip.hear(now) {
            Hearing::Taken => {}
            Hearing::TooEarly => return,
            Hearing::Flood => return self.close(peer, Close::GossipFlood),
        }
        // Hints, all of it: what cannot be read costs the peer nothing.
        let Ok(message) = PexMessage::parse(payload) else { return };
        let from = connection.addr.ip();
        let port = self.config.listen_port.unwrap_or_default();
        let us = connection.theirs.your_ip.map(|ip| SocketAddr::new(ip, port));
        let done = self.is_done();
        for PexPeer { addr, flags } in message.added {
            let addr = canonical(addr);
            let of_no_use = done && flags.has(PexFlags::SEED);
            let credible = Scope::may_tell(from, addr.ip()) && !is_of_one_wire(&addr);
            if credible && Some(addr) != us && !of_no_use {
                self.roster.add(now, Source::Pex, addr);
            }
        }
    }
}

/// Where others can reach a peer: where we did, or where it says that it listens.
pub(super) fn listening(connection: &Connection) -> Option<SocketAddr> {
    match connection.direction {
        Direction::Outgoing => Some(connection.addr),
        Direction::Incoming => {
            let port = connection.theirs.port?;
            let mut addr = connection.addr;
            addr.set_port(port.get());
            Some(addr)
        }
    }
}

/// Whether an address says nothing without the wire that it holds on, which a message does not carry.
fn is_of_one_wire(addr: &SocketAddr) -> bool {
    addr.is_ipv6() && Scope::of(addr.ip()) == Some(Scope::Link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_25_one_message_a_minute_counts_and_a_flood_is_told_from_haste() {
        let at = |s: u64| Instant::ZERO + Duration::from_secs(s);
        let mut gossip = Gossip::new(at(0));
        assert_eq!(gossip.hear(at(1)), Hearing::Taken);
        assert_eq!(gossip.hear(at(2)), Hearing::TooEarly);
        assert_eq!(gossip.hear(at(57)), Hearing::Taken, "a little early is the network's doing");
        for second in 58..64 {
            assert_eq!(gossip.hear(at(second)), Hearing::TooEarly);
        }
        assert_eq!(gossip.hear(at(64)), Hearing::Flood);
        let mut patient = Gossip::new(at(0));
        assert!((0..100).all(|minute| patient.hear(at(minute * 60)) == Hearing::Taken));
    }
}
