//! Two peers of ours that cannot dial each other are told to do so at the same moment.
//!
//! Decides who may meet whom through us. Never introduces a peer that does not know the extension, never names an
//! address that the other has no business with, and says nothing of a private torrent's peers: its tracker does.
//! Does not yet heed the call itself, which is for uTP.
//= BEP 55

use super::connection::Connection;
use super::gossip::listening;
use super::{PeerKey, Torrent};
use crate::clock::Instant;
use crate::proto::extension::{Extension, HolepunchError, HolepunchMessage};
use crate::proto::peer::Message;
use crate::scope::Scope;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// Meetings that one peer may ask for, and as many that it is called to, in the long run: one in so long. Others are
/// passed over in silence, so that a flood brings nobody anything.
const EVERY: Duration = Duration::from_secs(2);
/// Of these, so many at once: a newcomer has a whole list of addresses that did not answer.
const BURST: u32 = 20;

/// What one connection has to do with meetings.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    asked: Pace,
    called: Pace,
}

/// When everything so far is paid for, at one in [`EVERY`].
#[derive(Debug, Default)]
struct Pace(Instant);

impl Pace {
    fn allows(&self, now: Instant) -> bool {
        self.0 <= now + EVERY * (BURST - 1)
    }

    fn count(&mut self, now: Instant) {
        self.0 = self.0.max(now) + EVERY;
    }
}

impl Torrent {
    /// Whether peers may meet through us.
    //= BEP 27
    pub(super) fn relays(&self) -> bool {
        !self.private
    }

    pub(super) fn on_holepunch(&mut self, now: Instant, peer: PeerKey, payload: &Bytes) {
        if !self.relays() {
            return;
        }
        let Some(connection) = self.peers.get_mut(&peer) else { return };
        // What cannot be read is as good as not sent, and who cannot be answered as good as not there.
        let Ok(Some(HolepunchMessage::Rendezvous(wanted))) = HolepunchMessage::parse(payload)
        else {
            return;
        };
        if connection.theirs.ids.of(Extension::Holepunch).is_none()
            || !connection.meetings.asked.allows(now)
        {
            return;
        }
        connection.meetings.asked.count(now);
        let caller = listening(connection).unwrap_or(connection.addr);
        let there = SocketAddr::new(wanted.ip().to_canonical(), wanted.port());
        match self.whom_to_call(peer, caller, there) {
            Err(error) => self.send_holepunch(now, peer, HolepunchMessage::Failed(wanted, error)),
            Ok(other) => {
                let Some(called) = self.peers.get_mut(&other) else { return };
                if called.meetings.called.allows(now) {
                    called.meetings.called.count(now);
                    self.send_holepunch(now, peer, HolepunchMessage::Connect(wanted));
                    self.send_holepunch(now, other, HolepunchMessage::Connect(caller));
                }
            }
        }
    }

    /// The peer at `there`, by the address that we reach it at or that it says it listens on.
    fn whom_to_call(
        &self,
        peer: PeerKey,
        caller: SocketAddr,
        there: SocketAddr,
    ) -> Result<PeerKey, HolepunchError> {
        if Scope::of(there.ip()).is_none() {
            return Err(HolepunchError::NoSuchPeer);
        }
        if self.roster.is_us(there) {
            return Err(HolepunchError::NoSelf);
        }
        let at = |c: &Connection| c.addr == there || listening(c) == Some(there);
        let found = self.peers.iter().find(|(_, c)| !c.closing && at(c));
        let (&other, called) = found.ok_or(HolepunchError::NotConnected)?;
        if other == peer {
            return Err(HolepunchError::NoSelf);
        }
        // Neither is told of an address that means something else where it is.
        let tells = |of: SocketAddr, to: SocketAddr| Scope::may_tell(to.ip(), of.ip());
        if !tells(there, caller) || !tells(caller, called.addr) {
            return Err(HolepunchError::NotConnected);
        }
        let knows = called.theirs.ids.of(Extension::Holepunch).is_some();
        if knows { Ok(other) } else { Err(HolepunchError::NoSupport) }
    }

    fn send_holepunch(&mut self, now: Instant, peer: PeerKey, message: HolepunchMessage) {
        let theirs = self.peers.get(&peer).map(|connection| connection.theirs.ids);
        if let Some(id) = theirs.and_then(|ids| ids.of(Extension::Holepunch)) {
            self.send(now, peer, Message::Extended { id, payload: message.encode() });
        }
    }
}
