//! The extension protocol as this torrent uses it: who we are, and metadata both ways.

use super::connection::REQUESTS_MAX;
use super::metadata::{Arrived, Fetch};
use super::{Event, PeerKey, Torrent};
use crate::clock::Instant;
use crate::external::Sighting;
use crate::proto::extension::{Extension, ExtensionHandshake, HANDSHAKE_ID, Ids, MetadataMessage};
use crate::proto::peer::Message;
use crate::swarm::roster::Direction;
use bytes::Bytes;
use std::num::NonZeroU16;

impl Torrent {
    pub(super) fn send_extension_handshake(&mut self, now: Instant, peer: PeerKey) {
        let ids = self.our_extensions(peer);
        let Some(connection) = self.peers.get(&peer) else { return };
        if !connection.session.agreed().extension() {
            return;
        }
        let info = self.content.as_ref().map(|content| &content.info);
        let handshake = ExtensionHandshake {
            ids,
            client: Some(self.config.client.clone()),
            reqq: NonZeroU16::new(REQUESTS_MAX as u16),
            port: self.config.listen_port.and_then(NonZeroU16::new),
            metadata_size: info.and_then(|info| u32::try_from(info.len()).ok()),
            upload_only: Some(self.is_done()),
            your_ip: Some(connection.addr.ip()),
            ipv4: None,
            ipv6: None,
        };
        let payload = handshake.encode();
        self.send(now, peer, Message::Extended { id: HANDSHAKE_ID, payload });
    }

    /// The ids for our extension handshake to this peer. What it has been offered and is off now is taken back.
    fn our_extensions(&mut self, peer: PeerKey) -> Ids {
        let (exchanges, relays) = (self.exchanges_peers(), self.relays());
        let off = |extension| match extension {
            Extension::Pex => !exchanges,
            Extension::Holepunch => !relays,
            _ => false,
        };
        let ids = Ids::ours(off);
        let Some(connection) = self.peers.get_mut(&peer) else { return ids };
        connection.offered = ids.taking_back(connection.offered);
        connection.offered
    }

    pub(super) fn on_extended(&mut self, now: Instant, peer: PeerKey, id: u8, payload: &Bytes) {
        match Extension::from_our_id(id) {
            _ if id == HANDSHAKE_ID => self.on_extension_handshake(now, peer, payload),
            Some(Extension::Metadata) => self.on_metadata(now, peer, payload),
            Some(Extension::Pex) => self.on_pex(now, peer, payload),
            Some(Extension::Holepunch) => self.on_holepunch(now, peer, payload),
            _ => {} // an extension we did not offer: ignored, as BEP 10 asks
        }
    }

    fn on_extension_handshake(&mut self, now: Instant, peer: PeerKey, payload: &Bytes) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        // Its fields are hints; one that cannot be read costs the peer nothing.
        let Ok(theirs) = ExtensionHandshake::parse(payload) else { return };
        connection.theirs.update(theirs);
        let theirs = &connection.theirs;
        if let Some(reqq) = theirs.reqq {
            connection.pipeline.set_reqq(reqq.get());
        }
        if let Some(us) = theirs.your_ip {
            let sighting = Sighting { by: connection.addr.ip(), us };
            self.roster.seen_at(now, sighting, self.config.listen_port.unwrap_or_default());
            // Whoever calls us chose to; only those that we called count for more than the order of peers.
            let called = connection.direction == Direction::Outgoing;
            if connection.sighting.replace(sighting) != Some(sighting) && called {
                self.events.push_back(Event::Seen(sighting));
            }
        }
        let serves = theirs.ids.of(Extension::Metadata).is_some();
        connection.exchange.size = theirs.metadata_size.filter(|_| serves);
        if let (Direction::Incoming, Some(port)) = (connection.direction, theirs.port) {
            self.roster.listens_on(now, connection.addr, port.get());
        }
        self.ask_metadata(now, peer);
        self.close_if_useless(peer);
    }

    /// Asks for what is missing of the info dictionary.
    pub(super) fn ask_metadata(&mut self, now: Instant, peer: PeerKey) {
        if self.content.is_some() {
            return;
        }
        let Some(connection) = self.peers.get(&peer) else { return };
        for piece in self.fetch.requests(now, peer, &connection.exchange) {
            self.send_metadata(now, peer, &MetadataMessage::Request { piece });
        }
    }

    fn on_metadata(&mut self, now: Instant, peer: PeerKey, payload: &Bytes) {
        let Ok(Some(message)) = MetadataMessage::parse(payload) else { return };
        match message {
            MetadataMessage::Request { piece } => self.serve_metadata(now, peer, piece),
            MetadataMessage::Data { piece, total_size, data } => {
                if self.content.is_none() {
                    let arrived = self.fetch.data(now, peer, piece, total_size, &data);
                    self.on_metadata_block(now, peer, arrived);
                }
            }
            MetadataMessage::Reject { .. } => {
                if let Some(connection) = self.peers.get_mut(&peer) {
                    self.fetch.rejected(now, peer, &mut connection.exchange);
                }
                self.ask_everyone_for_metadata(now);
            }
        }
    }

    fn on_metadata_block(&mut self, now: Instant, peer: PeerKey, arrived: Arrived) {
        match arrived {
            Arrived::Nothing => self.ask_metadata(now, peer),
            Arrived::Complete(info) => self.events.push_back(Event::Metadata(info)),
            Arrived::Forged(liar) => {
                if let Some(addr) = self.peers.get(&liar).map(|connection| connection.addr) {
                    self.expel(addr, "sent metadata that fails its hash");
                }
                self.ask_everyone_for_metadata(now);
            }
            Arrived::Doubtful(suspects) => {
                for suspect in suspects {
                    if let Some(connection) = self.peers.get_mut(&suspect) {
                        Fetch::doubt(&mut connection.exchange);
                    }
                }
                self.ask_everyone_for_metadata(now);
            }
        }
    }

    /// Gives up on peers that owe metadata for too long, and asks others.
    pub(super) fn expire_metadata(&mut self, now: Instant) {
        if self.content.is_some() {
            return;
        }
        for peer in self.fetch.overdue(now) {
            if let Some(connection) = self.peers.get_mut(&peer) {
                self.fetch.rejected(now, peer, &mut connection.exchange);
            }
        }
        self.ask_everyone_for_metadata(now);
    }

    fn ask_everyone_for_metadata(&mut self, now: Instant) {
        let mut everyone: Vec<PeerKey> = self.peers.keys().copied().collect();
        self.rng.shuffle(&mut everyone);
        for peer in everyone {
            self.ask_metadata(now, peer);
        }
    }

    fn serve_metadata(&mut self, now: Instant, peer: PeerKey, piece: u32) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let info = self.content.as_ref().map(|content| &content.info);
        let info = info.filter(|info| connection.exchange.may_serve(info.len() as u32));
        let answer = match info {
            Some(info) => MetadataMessage::answer(info, piece),
            None => MetadataMessage::Reject { piece },
        };
        self.send_metadata(now, peer, &answer);
    }

    fn send_metadata(&mut self, now: Instant, peer: PeerKey, message: &MetadataMessage) {
        let theirs = self.peers.get(&peer).map(|connection| connection.theirs.ids);
        if let Some(id) = theirs.and_then(|ids| ids.of(Extension::Metadata)) {
            self.send(now, peer, Message::Extended { id, payload: message.encode() });
        }
    }
}
