//! Connections coming and going, and what their messages mean.

use super::connection::{Connection, SUGGESTED_MAX};
use super::{Departed, Event, PeerKey, Torrent, Transmit};
use crate::bitfield::Bitfield;
use crate::blame::Blame;
use crate::clock::Instant;
use crate::geometry::PieceIndex;
use crate::id::PeerId;
use crate::proto::peer::{
    ALLOWED_FAST_PIECES, Choke, Input, Interest, Message, PeerError, Reserved, Session,
    allowed_fast,
};
use crate::swarm::choker::Slots;
use crate::swarm::roster::{Direction, Outcome, Refusal};
use std::net::SocketAddr;
use std::time::Duration;

/// Silence after which a keep-alive is due; peers drop a connection after two minutes of it.
//= BEP 3 §peer messages (keepalives)
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// A connection whose handshakes have been exchanged.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The other end of the socket.
    pub addr: SocketAddr,
    /// Who dialled.
    pub direction: Direction,
    /// What they answer to.
    pub peer_id: PeerId,
    /// What they can do.
    pub reserved: Reserved,
}

/// Why we close a connection.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Close {
    /// It sent bad data, or too much of another kind.
    #[error("banned")]
    Banned,
    /// Neither side has anything that the other wants.
    #[error("both complete")]
    BothComplete,
    /// It tells us of others more often than anybody may.
    #[error("peer exchange flood")]
    GossipFlood,
    /// Nothing moves on it, and others wait for its place.
    #[error("idle")]
    Idle,
    /// It broke the protocol.
    #[error(transparent)]
    Misbehaved(#[from] PeerError),
    /// We cannot give what we said we have.
    #[error("our own fault")]
    Local,
    /// The torrent has turned out to be private, and no tracker told us of this peer.
    #[error("a private torrent, and not of its tracker")]
    Private,
    /// Another connection to the same peer has taken its place.
    #[error("replaced by another connection")]
    Replaced,
    /// It keeps asking although it is choked.
    #[error("request flood")]
    RequestFlood,
    /// It keeps sending what nobody asked for.
    #[error("unasked data")]
    UnaskedData,
}

impl Close {
    /// What the roster makes of it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::BothComplete | Self::Idle | Self::Local | Self::Private | Self::Replaced => {
                Blame::Local
            }
            Self::Misbehaved(error) => error.blame(),
            Self::Banned | Self::GossipFlood | Self::RequestFlood | Self::UnaskedData => {
                Blame::Remote
            }
        }
    }

    /// Whether nothing more is owed to the peer, not even what was queued for it.
    pub fn is_hostile(&self) -> bool {
        self.blame() == Blame::Remote
    }
}

impl Torrent {
    /// The capabilities to put into our handshakes.
    pub const fn reserved() -> Reserved {
        OURS
    }

    /// The same of who runs a node of the DHT; peers then tell of theirs.
    //= BEP 5 §bittorrent protocol extension
    pub const fn reserved_with_dht() -> Reserved {
        OURS.with_dht()
    }

    /// A peer has shaken hands. On refusal the driver closes the socket.
    pub fn handle_connected(&mut self, now: Instant, hello: &Hello) -> Result<PeerKey, Refusal> {
        let Hello { addr, direction, peer_id, reserved } = *hello;
        self.now = now;
        let admission = match self.roster.connected(now, addr, direction, peer_id) {
            Err(full @ Refusal::Full(_)) => {
                self.make_room(now); // for the next one
                return Err(full);
            }
            admission => admission?,
        };
        if let Some(old) = admission.replaces {
            let old = self.peers.iter().find(|(_, c)| c.addr == old).map(|(&peer, _)| peer);
            if let Some(old) = old {
                self.close(old, Close::Replaced);
            }
        }
        let peer = PeerKey(self.next_key);
        self.next_key += 1;
        let geometry = self.content.as_ref().map(|content| content.geometry);
        let session = Session::new(OURS, reserved, geometry);
        self.peers.insert(peer, Connection::new(now, addr, direction, peer_id, session));
        self.introduce(now, peer);
        self.tell_dht_port(now, peer, reserved);
        Ok(peer)
    }

    /// The connection has ended. `fault` says whose doing it was, if it was not a plain close.
    pub fn handle_disconnected(&mut self, now: Instant, peer: PeerKey, fault: Option<Blame>) {
        if self.peers.contains_key(&peer) {
            self.now = now;
            self.forget(now, peer, fault);
            self.slots_due = true;
            self.fill_everyone(now);
        }
    }

    /// A message other than a block has arrived.
    pub fn handle_message(&mut self, now: Instant, peer: PeerKey, message: Message) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        if connection.closing {
            return;
        }
        self.now = now;
        let wanted = connection.session.they_want();
        match connection.session.on_message(message) {
            Ok(Input::Interest(interest)) if interest == wanted => {} // nothing new
            Ok(input) => self.on_input(now, peer, input),
            Err(error) => self.close(peer, Close::Misbehaved(error)),
        }
    }

    fn on_input(&mut self, now: Instant, peer: PeerKey, input: Input) {
        match input {
            Input::Nothing => {}
            Input::Port(port) => self.on_dht_port(peer, port),
            Input::Choke(Choke::Choked) => self.on_choked(now, peer),
            Input::Choke(Choke::Unchoked) => {
                if let Some(connection) = self.peers.get_mut(&peer) {
                    connection.pipeline.unchoked(now);
                    connection.last_block = now; // being choked was no snub
                }
                self.fill_requests(now, peer);
            }
            Input::Interest(_) => self.slots_due = true,
            Input::Have(piece) => self.on_have(now, peer, piece),
            Input::Pieces(pieces) => self.on_pieces(now, peer, pieces),
            Input::MorePieces(pieces) => self.on_more_pieces(now, peer, &pieces),
            Input::Request(block) => self.on_request(now, peer, block),
            Input::Cancel(block) => self.on_cancel(now, peer, block),
            Input::Reject(block) => self.on_reject(now, peer, block),
            Input::Suggest(piece) => self.on_suggest(peer, piece),
            Input::AllowedFast(piece) => self.on_allowed(now, peer, piece),
            Input::Extended { id, payload } => self.on_extended(now, peer, id, &payload),
        }
    }

    /// First messages of a connection: extensions, what we have, what may be fetched at once.
    fn introduce(&mut self, now: Instant, peer: PeerKey) {
        let Some(connection) = self.peers.get(&peer) else { return };
        let have = self.content.as_ref().map(|content| content.picker.have());
        if let Some(first) = connection.session.opening(have) {
            self.send(now, peer, first);
        }
        self.send_extension_handshake(now, peer);
        if self.content.is_some() {
            self.join(now, peer, None);
        }
    }

    /// Tells a peer with a node of ours.
    fn tell_dht_port(&mut self, now: Instant, peer: PeerKey, theirs: Reserved) {
        if let Some(port) = self.config.dht_port.filter(|_| theirs.dht() && !self.private) {
            self.send(now, peer, Message::Port(port));
        }
    }

    /// A node where the peer is; whether it is there, the DHT finds out.
    fn on_dht_port(&mut self, peer: PeerKey, port: u16) {
        let private = self.private;
        let Some(connection) = self.peers.get_mut(&peer).filter(|_| !private) else { return };
        connection.ports_told += 1;
        if self.config.dht_port.is_some() && connection.ports_told <= PORTS_MAX {
            self.events.push_back(Event::DhtNode(SocketAddr::new(connection.addr.ip(), port)));
        }
    }

    /// The metadata has come while this peer was connected.
    pub(super) fn content_arrived(&mut self, now: Instant, peer: PeerKey) {
        let Some(content) = &self.content else { return };
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let have: Vec<PieceIndex> = content.picker.have().ones().collect();
        match connection.session.metadata_known(content.geometry) {
            Ok(pieces) => {
                self.join(now, peer, Some(pieces));
                for piece in have {
                    self.send(now, peer, Message::Have(piece.0));
                }
                self.send_extension_handshake(now, peer);
            }
            Err(error) => self.close(peer, Close::Misbehaved(error)),
        }
    }

    /// Makes the peer known to the picker.
    fn join(&mut self, now: Instant, peer: PeerKey, pieces: Option<Bitfield>) {
        let Some(content) = &mut self.content else { return };
        let told = pieces.is_some();
        let pieces = pieces.unwrap_or_else(|| Bitfield::empty(content.geometry.pieces()));
        content.picker.peer_joined(peer, pieces);
        if let Some(connection) = self.peers.get(&peer) {
            content.picker.set_parole(peer, self.roster.is_on_parole(connection.addr));
        }
        if told {
            self.pieces_known(now, peer);
        }
    }

    fn on_pieces(&mut self, now: Instant, peer: PeerKey, pieces: Bitfield) {
        let Some(content) = &mut self.content else { return };
        content.picker.peer_joined(peer, pieces);
        self.pieces_known(now, peer);
    }

    /// As so many haves: each piece counts once, however often it is named.
    fn on_more_pieces(&mut self, now: Instant, peer: PeerKey, pieces: &Bitfield) {
        let picker = self.content.as_ref().map(|content| &content.picker);
        let Some(known) = picker.and_then(|picker| picker.pieces_of(peer)) else { return };
        let mut news = pieces.clone();
        news.remove_all(known);
        for piece in news.ones() {
            self.on_have(now, peer, piece);
        }
    }

    fn pieces_known(&mut self, now: Instant, peer: PeerKey) {
        self.note_completion(peer);
        if self.close_if_useless(peer) {
            return;
        }
        self.offer_fast(now, peer);
        self.update_interest(now, peer);
    }

    fn on_have(&mut self, now: Instant, peer: PeerKey, piece: PieceIndex) {
        let Some(content) = &mut self.content else { return };
        if content.picker.peer_has(peer, piece) {
            self.spread.has(now, peer, piece);
            if self.tour.finished(peer, piece) {
                self.propose(now, peer);
            }
            self.note_completion(peer);
            if !self.close_if_useless(peer) {
                self.update_interest(now, peer);
                self.fill_requests(now, peer);
            }
        }
    }

    fn on_suggest(&mut self, peer: PeerKey, piece: PieceIndex) {
        let Some(content) = &self.content else { return };
        if let Some(connection) = self.peers.get_mut(&peer) {
            let have = content.picker.have();
            connection.suggested.retain(|&other| other != piece && !have.has(other));
            if connection.suggested.len() < SUGGESTED_MAX && !have.has(piece) {
                connection.suggested.push_back(piece);
            }
        }
    }

    /// A newcomer with next to nothing gets a few pieces while choked, so that it has something to trade.
    fn offer_fast(&mut self, now: Instant, peer: PeerKey) {
        let Some(content) = &self.content else { return };
        let Some(connection) = self.peers.get(&peer) else { return };
        if self.config.choker.slots == Slots::Fixed(0) {
            return; // whoever gives no slot gives nothing at all
        }
        let few = content
            .picker
            .pieces_of(peer)
            .is_some_and(|pieces| pieces.count() < ALLOWED_FAST_PIECES);
        if connection.session.agreed().fast() && few && connection.fast_left.is_empty() {
            let pieces = content.geometry.pieces();
            let set =
                allowed_fast(connection.addr.ip(), self.hashes.wire(), pieces, ALLOWED_FAST_PIECES);
            self.grant_fast(now, peer, set);
        }
    }

    /// Tells the peer whether it has anything we want, if that has changed.
    pub(super) fn update_interest(&mut self, now: Instant, peer: PeerKey) {
        let Some(content) = &self.content else { return };
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        let wants = content.picker.is_interesting(peer);
        let interest = if wants { Interest::Interested } else { Interest::NotInterested };
        if let Some(message) = connection.session.set_interest(interest) {
            self.send(now, peer, message);
            self.fill_requests(now, peer);
        }
    }

    /// We have all we want: say so, and part from those who want nothing either.
    pub(super) fn became_done(&mut self, now: Instant) {
        let everyone: Vec<PeerKey> = self.peers.keys().copied().collect();
        for peer in everyone {
            if !self.close_if_useless(peer) {
                self.send_extension_handshake(now, peer);
            }
        }
        self.slots_due = true;
    }

    pub(super) fn keep_alive(&mut self, now: Instant, peer: PeerKey) {
        if self.peers.get(&peer).is_some_and(|c| now.since(c.last_sent) >= KEEP_ALIVE) {
            self.send(now, peer, Message::KeepAlive);
        }
    }

    pub(super) fn has_everything(&self, peer: PeerKey) -> bool {
        self.content
            .as_ref()
            .and_then(|content| content.picker.pieces_of(peer))
            .is_some_and(Bitfield::is_full)
    }

    fn note_completion(&mut self, peer: PeerKey) {
        if self.has_everything(peer)
            && let Some(connection) = self.peers.get(&peer)
            && self.completed_peers.len() < COMPLETED_MAX
        {
            self.completed_peers.insert(connection.id);
        }
    }

    /// Two ends that both have all they want waste a connection.
    //= BEP 21
    pub(super) fn close_if_useless(&mut self, peer: PeerKey) -> bool {
        let useless = self.is_useless(peer);
        if useless {
            self.close(peer, Close::BothComplete);
        }
        useless
    }

    fn is_useless(&self, peer: PeerKey) -> bool {
        let upload_only = self.peers.get(&peer).is_some_and(|c| c.theirs.upload_only == Some(true));
        self.is_done() && (upload_only || self.has_everything(peer))
    }

    /// The torrent is private: whoever we dialled without having heard of him from a tracker is let go.
    //= BEP 27
    pub(super) fn keep_to_trackers(&mut self) {
        self.roster.keep_to_trackers();
        let stranger =
            |c: &Connection| c.direction == Direction::Outgoing && !self.roster.knows(c.addr);
        let strangers: Vec<PeerKey> =
            self.peers.iter().filter(|(_, c)| stranger(c)).map(|(&peer, _)| peer).collect();
        for peer in strangers {
            self.close(peer, Close::Private);
        }
    }

    /// Lets one connection go on which nothing moves, if there is one.
    fn make_room(&mut self, now: Instant) {
        let idle = |c: &Connection| {
            c.session.they_want() == Interest::NotInterested
                && c.session.we_want() == Interest::NotInterested
                && now.since(c.joined) > IDLE_AFTER
        };
        let least = |c: &Connection| (self.roster.priority(c.addr), c.joined);
        let idle = self.peers.iter().filter(|(_, c)| idle(c)).min_by_key(|(_, c)| least(c));
        if let Some((&peer, _)) = idle {
            self.close(peer, Close::Idle);
        }
    }

    /// Never again: closes every connection to that address and says why.
    pub(super) fn expel(&mut self, addr: SocketAddr, reason: &str) {
        self.roster.ban(addr);
        let there: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, c)| self.roster.is_banned(c.addr))
            .map(|(&peer, _)| peer)
            .collect();
        for peer in there {
            self.close(peer, Close::Banned);
        }
        self.events.push_back(Event::Banned { peer: addr, reason: reason.to_owned() });
    }

    /// Asks the driver to close; the driver confirms with [`Self::handle_disconnected`].
    pub(super) fn close(&mut self, peer: PeerKey, reason: Close) {
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        if !connection.closing {
            connection.closing = true;
            self.transmit.push_back(Transmit::Close { peer, reason });
        }
    }

    fn forget(&mut self, now: Instant, peer: PeerKey, fault: Option<Blame>) {
        let sated = self.is_useless(peer);
        let Some(connection) = self.peers.remove(&peer) else { return };
        if let Some(content) = &mut self.content {
            content.picker.peer_left(peer);
        }
        self.fetch.left(peer);
        self.tour.left(peer);
        self.spread.left(peer);
        self.choker.peer_left(peer);
        let useful = connection.down.total() > 0 || connection.up.total() > 0;
        self.roster.disconnected(now, connection.addr, Outcome { useful, fault, sated });
        if self.departed.len() == super::DEPARTED_MAX {
            self.departed.pop_front();
        }
        let Connection { id, addr, .. } = connection;
        self.departed.push_back(Departed { peer, id, addr });
    }
}

/// Nodes of the DHT that one peer may name; it has one, and may move it once.
const PORTS_MAX: u32 = 2;
/// A connection on which neither side wants anything may be given up after this, if somebody waits for its place.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// What we can do: the fast extension and the extension protocol.
const OURS: Reserved = Reserved::NONE.with_extension().with_fast();
/// Peers remembered as complete, for the count only; beyond it the count stands still.
const COMPLETED_MAX: usize = 10_000;
