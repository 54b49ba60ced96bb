//! Whether others can connect to us, and the same for those who ask.

use super::super::{BACK_GAP, BACK_WAIT, BACKS_ASKED, BACKS_MAX, Side};
use super::{Event, Link, LinkId, Role, Servent};
use crate::clock::Instant;
use crate::proto::gnutella::Vendor;
use crate::scope::Scope;
use std::net::{IpAddr, SocketAddrV4};

impl Servent {
    /// Whether nobody can connect to us.
    pub fn is_firewalled(&self) -> bool {
        self.config.firewalled
    }

    /// It has turned out whether others can connect to us.
    pub fn set_firewalled(&mut self, now: Instant, firewalled: bool) {
        if !std::mem::replace(&mut self.config.firewalled, firewalled) && firewalled {
            let all: Vec<LinkId> = self.links.keys().copied().collect();
            all.into_iter().for_each(|id| self.ask_for_pushes(now, id));
        }
    }

    /// A leaf that cannot be connected to asks an ultrapeer to relay Push to it.
    pub(super) fn ask_for_pushes(&mut self, now: Instant, id: LinkId) {
        let Some(open) = self.links.get(&id).and_then(Link::open) else { return };
        let relays = open.peer.side == Side::Ultrapeer && open.peer.vendor;
        if relays && self.role == Role::Leaf && self.config.firewalled {
            let me = self.guid;
            self.tell(now, id, Some(me), &Vendor::ProxyPlease);
        }
    }

    /// It seems that nobody can connect to us, but perhaps nobody has tried: asks some neighbours out there to do so, others
    /// after a while. Nothing that they say counts: whoever drives this sees who comes.
    pub fn ask_back(&mut self, now: Instant) {
        let recent = |at: Option<Instant>| at.is_some_and(|at| now.since(at) < BACK_WAIT);
        let asked = self.relaying().filter(|(_, open)| recent(open.back_asked)).count();
        let far = |id: &LinkId| {
            let ip = self.links.get(id).map(|link| link.addr.ip());
            ip.and_then(Scope::of) == Some(Scope::Global)
        };
        let willing = self.relaying().filter(|(id, open)| open.connects_back && far(id));
        let mut willing: Vec<_> = willing.map(|(id, open)| (open.back_asked, id)).collect();
        willing.retain(|(at, _)| !recent(*at));
        willing.sort(); // those never asked first
        let port = self.config.listen.port();
        for (_, id) in willing.into_iter().take(BACKS_ASKED.saturating_sub(asked)) {
            if let Some(open) = self.links.get_mut(&id).and_then(Link::open_mut) {
                open.back_asked = Some(now);
            }
            self.tell(now, id, None, &Vendor::ConnectBack(port));
        }
    }

    /// A neighbour asks us to connect to it. Only to where it is itself, and seldom, whatever ports it names: we look for
    /// open ports for nobody.
    pub(super) fn on_connect_back(&mut self, now: Instant, id: LinkId, port: u16) {
        let Some(IpAddr::V4(ip)) = self.links.get(&id).map(|link| link.addr.ip()) else { return };
        self.backs.retain(|_, at| now.since(*at) < BACK_GAP);
        if port == 0 || self.backs.len() >= BACKS_MAX || self.backs.contains_key(&ip) {
            self.counters.refused += 1;
            return;
        }
        self.backs.insert(ip, now);
        self.events.push_back(Event::ConnectBack(SocketAddrV4::new(ip, port)));
    }
}
