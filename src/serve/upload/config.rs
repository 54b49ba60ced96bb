//! How one host gives out files.

use crate::net::Limit;
use gaggle_core::overlay::fasttrack::SlotLimits;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

/// How one host gives out files.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose requests it reads.
    pub dialect: Dialect,
    /// Transfers at once, and who may wait for one.
    pub slots: SlotLimits,
    /// Connections at once, of all hosts; further ones are told that we are full, and closed.
    pub connections: usize,
    /// Connections at once of one host; those on this machine count if [`SlotLimits::loopback_too`] says so.
    pub connections_each: usize,
    /// Of what all transfers send together, and whoever else holds it.
    pub limit: Option<Limit>,
    /// The address to connect from when somebody has us connect.
    pub bind: Option<IpAddr>,
    /// What others are given before they are given up.
    pub patience: Patience,
}

/// Which requests are read, and how they are answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// FastTrack's, where a host says who it is.
    FastTrack(Me),
    /// Gnutella's.
    Gnutella,
}

/// What a host of FastTrack says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Me {
    /// Where it listens.
    pub addr: SocketAddrV4,
    /// Its user.
    pub user: String,
    /// Its supernode.
    pub supernode: Option<SocketAddrV4>,
}

/// Bytes per second below which somebody loses his slot.
const RATE_MIN: u64 = 1024;

/// How long others may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// For a head, from its first byte on, and for the first byte of the first one.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Between two requests, until a slot is another's: downloaders ask for one range after the other.
    pub slot: Duration,
    /// For nothing at all of what is sent to them; then a transfer is over. So is one that takes longer than this and
    /// a second for each KiB.
    pub stall: Duration,
    /// FastTrack: how long one who must wait is not answered, so that he has the next slot; then he is told to come
    /// again. Shorter than what programs wait for an answer.
    pub hold: Duration,
    /// Gnutella: when one who waits in line may ask again, and until when he must, in whole seconds. A slot that becomes
    /// free is kept for the first in line until he asks.
    pub poll: (Duration, Duration),
}

impl Patience {
    /// The longest that so many bytes may take.
    pub(super) fn most(&self, bytes: u64) -> Duration {
        self.stall.saturating_add(Duration::from_secs(bytes / RATE_MIN))
    }
}

impl Default for Patience {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            head: s(15),
            idle: s(60),
            slot: s(5),
            stall: s(30),
            hold: s(20),
            poll: (s(15), s(60)),
        }
    }
}

impl Config {
    /// Four transfers at once, a hundred who wait, no limit of what they send.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            slots: SlotLimits::default(),
            connections: 128,
            connections_each: 8,
            limit: None,
            bind: None,
            patience: Patience::default(),
        }
    }
}
