//! How a link begins: who is let in, what is said, and what both are then.

use super::super::negotiate::{Peer, Self_, refuse, tries};
use super::super::{LINKS_PER_SUBNET, TRY_MAX};
use super::{Config, Event, Link, LinkId, Role, Servent, Side, State, Why};
use crate::clock::Instant;
use crate::external::Sighting;
use crate::proto::gnutella::{Descriptor, First, GnutellaError, Guid, Handshake, Kind, Vendor};
use crate::scope::Scope;
use bytes::BytesMut;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

/// What came of some bytes.
pub(super) enum Heard {
    /// There may be more to read.
    More,
    /// More has to come.
    Wait,
}

impl Servent {
    /// We have connected to somebody, and say the first block.
    pub fn connect(&mut self, now: Instant, addr: SocketAddr) -> LinkId {
        if let SocketAddr::V4(v4) = addr {
            self.dialling.remove(&v4);
        }
        let id = self.add_link(Link::new(now, addr, true));
        let block = self.about().connect(addr);
        self.say(id, &block);
        id
    }

    /// Nobody takes connections at an address that we were to dial.
    pub fn handle_unreachable(&mut self, addr: SocketAddrV4) {
        self.dialling.remove(&addr);
        self.hosts.retain(|known| *known != addr);
    }

    /// Somebody has connected to us.
    pub fn accept(&mut self, now: Instant, addr: SocketAddr) -> LinkId {
        self.add_link(Link::new(now, addr, false))
    }

    fn add_link(&mut self, link: Link) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(id, link);
        id
    }

    fn about(&self) -> Self_<'_> {
        let links = self.relaying().count();
        Self_ {
            role: self.role,
            listen: self.addr(),
            user_agent: &self.config.user_agent,
            deflate: self.config.deflate,
            guid: self.guid,
            ttl_max: self.config.ttl_max,
            degree: self.config.links_max,
            needs_ultrapeers: links < self.config.links,
            may_become_leaf: !self.config.fixed && self.leaves().next().is_none(),
        }
    }

    fn say(&mut self, id: LinkId, block: &Handshake) {
        if let Some(link) = self.links.get_mut(&id) {
            link.queue.push_raw(block.encode());
            self.ready.insert(id);
        }
    }

    /// Reads one block of the handshake.
    pub(super) fn greet(
        &mut self,
        now: Instant,
        id: LinkId,
        input: &mut BytesMut,
    ) -> Result<Heard, GnutellaError> {
        let Some(block) = Handshake::decode(input)? else { return Ok(Heard::Wait) };
        let Some(link) = self.links.get_mut(&id) else { return Ok(Heard::Wait) };
        let from = link.addr;
        if matches!(link.state, State::Called) {
            // Who comes by himself names nobody: he could do so again and again without ever being let in.
            tries(&block).into_iter().for_each(|addr| self.hear_of(from.ip(), addr));
        }
        if let Some(us) = block.get("Remote-IP").and_then(|text| text.trim().parse().ok()) {
            self.hear(now, Sighting { by: from.ip(), us });
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(Heard::Wait) };
        match (&mut link.state, &block.first) {
            (State::Answering, First::Connect04) => Ok(self.answer_04(now, id)),
            (State::Answering, First::Connect06) => {
                self.answer(now, id, &block);
                Ok(Heard::More)
            }
            (State::Called, First::Status(200, _)) => Ok(self.confirm(now, id, &block)),
            (State::Answered(peer), First::Status(200, _)) => {
                let mut peer = *peer.clone();
                let last = Peer::read(&block);
                if last.side == Side::Leaf {
                    peer.side = Side::Leaf; // it obeys and becomes ours
                }
                peer.packed_in = last.packed_in;
                Ok(self.join(now, id, peer))
            }
            (State::Called | State::Answered(_), First::Status(code, reason)) => {
                let why = Why::Refused(*code, reason.clone());
                self.close(id, why);
                Ok(Heard::Wait)
            }
            _ => Err(GnutellaError::Handshake),
        }
    }

    fn answer_04(&mut self, now: Instant, id: LinkId) -> Heard {
        // Who cannot say what he is would be no leaf, and a leaf has no use for such neighbours.
        if self.role == Role::Leaf || self.room(id, Side::Plain).is_err() {
            self.close(id, Why::Refused(503, "0.4".into()));
            return Heard::Wait;
        }
        self.say(id, &Handshake::new(First::Ok04));
        self.join(now, id, Peer::plain())
    }

    fn answer(&mut self, now: Instant, id: LinkId, block: &Handshake) {
        let Some(from) = self.links.get(&id).map(Link::addr) else { return };
        let mut peer = Peer::read(block);
        if let Err((code, reason)) = self.room(id, peer.side) {
            let tries: Vec<SocketAddrV4> = self.hosts().take(TRY_MAX).collect();
            self.say(id, &refuse(code, reason, &tries));
            self.leave(now, id, Why::Refused(code, reason.into()));
            return;
        }
        let about = self.about();
        let reply = about.accept(from, &peer);
        peer.packed_out = about.packs(&peer);
        self.say(id, &reply);
        if let Some(link) = self.links.get_mut(&id) {
            link.state = State::Answered(Box::new(peer));
        }
    }

    fn confirm(&mut self, now: Instant, id: LinkId, answer: &Handshake) -> Heard {
        let mut peer = Peer::read(answer);
        if let Err((code, reason)) = self.room(id, peer.side) {
            self.say(id, &refuse(code, reason, &[]));
            self.leave(now, id, Why::Refused(code, reason.into()));
            return Heard::Wait;
        }
        let about = self.about();
        let (block, down) = about.confirm(answer, &peer);
        peer.packed_out = about.packs(&peer);
        self.say(id, &block);
        if down {
            self.become_leaf(now, id);
        }
        self.join(now, id, peer)
    }

    /// Only the link to our new ultrapeer stays.
    fn become_leaf(&mut self, now: Instant, but: LinkId) {
        self.role = Role::Leaf;
        self.config.links = super::LEAF_LINKS;
        self.config.links_max = super::LEAF_LINKS;
        let others: Vec<LinkId> =
            self.relaying().map(|(id, _)| id).filter(|&id| id != but).collect();
        for id in others {
            self.bye(now, id, 203, "Becoming a leaf node", Why::Ours(203));
        }
    }

    /// Relays from now on and takes leaves. Its ultrapeers know it as a leaf: it leaves them, to come again as what it is.
    pub fn become_ultrapeer(&mut self, now: Instant) {
        if self.role == Role::Ultrapeer {
            return;
        }
        self.role = Role::Ultrapeer;
        let Config { links, links_max, leaves_max, .. } =
            Config::of(Role::Ultrapeer, self.config.listen);
        (self.config.links, self.config.links_max) = (links, links_max);
        self.config.leaves_max = leaves_max;
        let all: Vec<(LinkId, SocketAddr)> =
            self.links.iter().map(|(&id, link)| (id, link.addr)).collect();
        for (id, addr) in all {
            if let SocketAddr::V4(addr) = addr {
                self.add_host(addr); // we had called it
            }
            self.bye(now, id, 203, "Becoming an ultrapeer", Why::Ours(203));
        }
    }

    /// Whether there is room for one more neighbour of this kind.
    fn room(&self, id: LinkId, side: Side) -> Result<(), (u16, &'static str)> {
        let mine = self.links.get(&id).map(|link| link.addr.ip());
        let crowd = mine.and_then(subnet).map_or(0, |net| {
            let same = |link: &&Link| link.open().is_some() && subnet(link.addr.ip()) == Some(net);
            self.links.values().filter(same).count()
        });
        let full = match (self.role, side) {
            (Role::Leaf, Side::Leaf | Side::Plain) => return Err((503, "I am a leaf")),
            (_, Side::Leaf) => self.count(Side::Leaf) >= self.config.leaves_max,
            _ => self.relaying().count() >= self.config.links_max,
        };
        if crowd >= LINKS_PER_SUBNET {
            return Err((503, "Too many of your network"));
        }
        if full { Err((503, "Full")) } else { Ok(()) }
    }

    fn join(&mut self, now: Instant, id: LinkId, peer: Peer) -> Heard {
        let Some(link) = self.links.get_mut(&id) else { return Heard::Wait };
        let (side, packed_in, packed_out) = (peer.side, peer.packed_in, peer.packed_out);
        if packed_in && !self.config.deflate {
            self.close(id, Why::Refused(400, "packed without being asked to".into()));
            return Heard::Wait;
        }
        let (vendor, from, listen) = (peer.vendor, link.addr, peer.listen);
        link.join(now, peer);
        if side == Side::Ultrapeer {
            listen.into_iter().for_each(|addr| self.hear_of(from.ip(), addr));
        }
        self.events.push_back(Event::Joined { link: id, side, packed_in, packed_out });
        if vendor {
            // Only an ultrapeer connects to who wants to know whether others can.
            let relays = self.role == Role::Ultrapeer;
            let bear: &[u16] = if relays { &[4, 7, 11, 12] } else { &[4, 11, 12] };
            let bear = bear.iter().map(|&selector| (*b"BEAR", selector, 1));
            let known = bear.chain([(*b"LIME", 21, 2)]).collect();
            self.tell(now, id, None, &Vendor::Supported(known));
            self.ask_for_pushes(now, id);
        }
        self.tell_table(now, id);
        self.ask_too(now, id);
        // What is left in the buffer is packed, and the driver's to unpack.
        if packed_in { Heard::Wait } else { Heard::More }
    }

    /// A message to the neighbour alone.
    pub(super) fn tell(&mut self, now: Instant, id: LinkId, guid: Option<Guid>, message: &Vendor) {
        let guid = guid.unwrap_or_else(|| Guid::random(&mut self.rng));
        self.send(now, id, &Descriptor::new(guid, Kind::VENDOR, 1, message.encode()));
    }
}

/// The /24 of an address that everybody can reach; hosts of one machine or home are expected to be many.
fn subnet(ip: IpAddr) -> Option<u32> {
    match ip.to_canonical() {
        IpAddr::V4(v4) if Scope::of(ip) == Some(Scope::Global) => Some(u32::from(v4) >> 8),
        _ => None,
    }
}
