//! What a table remembers of one node, in 56 bytes.

use crate::clock::Instant;
use crate::id::NodeId;
use crate::proto::krpc::Contact;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A node is good for this long after the last sign of life.
//= BEP 5 §routing table
const GOOD_FOR_S: u32 = 15 * 60;
/// Whoever may have another name is asked no sooner than this after the question before. A table of ordinary width is
/// asked through in that time, so that forged senders keep nobody else from being asked.
const DOUBT_AGE_S: u32 = 2 * 60;
/// Failures in a row that make a node bad: it is asked once more before it is given up.
//= BEP 5 §routing table
pub(super) const BAD_AT: u8 = 2;

/// How far a node can be relied on.
//= BEP 5 §routing table
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Has answered us, and has shown a sign of life in the last 15 minutes.
    Good,
    /// Silent for longer, or once without an answer.
    Questionable,
    /// Repeatedly without an answer.
    Bad,
}

/// Whole seconds, counted from 1: 0 is "never".
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Secs(pub(super) u32);

impl Secs {
    pub(super) const NEVER: Self = Self(0);

    pub(super) fn of(now: Instant) -> Self {
        Self((now.as_micros() / 1_000_000) as u32 + 1)
    }

    /// Seconds since then; since never, more than any.
    pub(super) const fn since(self, earlier: Self) -> u32 {
        if earlier.0 == 0 { u32::MAX } else { self.0.saturating_sub(earlier.0) }
    }
}

/// An address in few bytes that are quickly compared: 16 for either family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Endpoint {
    ip: [u8; 16],
    port: u16,
    v6: bool,
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self { ip, port: addr.port(), v6: addr.is_ipv6() }
    }
}

/// A node of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: NodeId,
    pub(super) at: Endpoint,
    rtt_ms: u16,
    /// Questions in a row that it has not answered.
    pub(super) fails: u8,
    /// Has ever answered a question of ours, with this id.
    pub(super) confirmed: bool,
    /// The id fits the address.
    pub(super) fits: bool,
    /// Somebody has asked from its address under another id since it was asked itself.
    pub(super) doubted: bool,
    /// Last sign of life: an answer, or a query once it had answered.
    pub(super) heard: Secs,
    /// Last question of ours.
    pub(super) asked: Secs,
}

impl Entry {
    /// Somebody we were told of.
    pub(super) fn hearsay(contact: Contact) -> Self {
        Self {
            id: contact.id,
            at: Endpoint::from(contact.addr),
            rtt_ms: u16::MAX,
            fails: 0,
            confirmed: false,
            fits: super::super::id_fits(&contact.id, contact.addr.ip()),
            doubted: false,
            heard: Secs::NEVER,
            asked: Secs::NEVER,
        }
    }

    pub(super) fn ip(&self) -> IpAddr {
        let [.., a, b, c, d] = self.at.ip;
        if self.at.v6 {
            Ipv6Addr::from(self.at.ip).into()
        } else {
            Ipv4Addr::new(a, b, c, d).into()
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), self.at.port)
    }

    pub(super) fn contact(&self) -> Contact {
        Contact { id: self.id, addr: self.addr() }
    }

    pub(super) fn same_ip(&self, other: &Self) -> bool {
        self.at.v6 == other.at.v6 && self.at.ip == other.at.ip
    }

    /// Notes an answer.
    pub(super) fn answered(&mut self, now: Secs, rtt: Duration) {
        let rtt = u16::try_from(rtt.as_millis()).unwrap_or(u16::MAX - 1).min(u16::MAX - 1);
        // A third of the news, so that one slow answer does not cost a place.
        self.rtt_ms = match self.rtt_ms {
            u16::MAX => rtt,
            old => ((2 * u32::from(old) + u32::from(rtt)) / 3) as u16,
        };
        self.fails = 0;
        self.confirmed = true;
        self.heard = now;
    }

    /// Whether it is to be asked soon if it still has this name.
    pub(super) const fn in_doubt(&self, now: Secs) -> bool {
        self.doubted && self.fails == 0 && now.since(self.asked) >= DOUBT_AGE_S
    }

    /// Notes that a question is on its way.
    pub(super) const fn ask(&mut self, now: Secs) {
        self.asked = now;
        self.doubted = false;
    }

    /// Whether others may be told of it.
    pub(super) const fn presentable(&self) -> bool {
        self.confirmed && self.fails == 0
    }

    pub(super) fn standing(&self, now: Secs) -> Standing {
        if self.fails >= BAD_AT {
            Standing::Bad
        } else if self.presentable() && now.since(self.heard) <= GOOD_FOR_S {
            Standing::Good
        } else {
            Standing::Questionable
        }
    }

    /// Worth the place of `old`: its id fits and the other's does not, or it answers in less than 40 % of the time.
    /// Otherwise the old one stays: who has been there for long will be there for longer.
    pub(super) fn beats(&self, old: &Self) -> bool {
        let faster = 5 * u32::from(self.rtt_ms) < 2 * u32::from(old.rtt_ms);
        (self.fits && !old.fits) || (self.fits == old.fits && faster)
    }

    /// Orders by how little would be lost.
    pub(super) fn worth(&self) -> (std::cmp::Reverse<u8>, bool, std::cmp::Reverse<u16>) {
        (std::cmp::Reverse(self.fails), self.fits, std::cmp::Reverse(self.rtt_ms))
    }
}
