//! What a node can say about itself, and why it knows nobody when it does.

use super::{Event, Node};
use crate::clock::Instant;
use crate::id::NodeId;
use crate::overlay::kademlia::lookup::LookupId;
use crate::overlay::kademlia::table::Census;
use crate::proto::krpc::Message;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Questions sent.
    pub asked: u64,
    /// Of them, answered.
    pub answered: u64,
    /// Of them, answered with an error.
    pub errors: u64,
    /// Of them, without an answer.
    pub unanswered: u64,
    /// Questions sent to configured bootstrap nodes.
    pub routers_asked: u64,
    /// Searches for our own neighbours.
    pub bootstraps: u64,
    /// Answers under another id than expected.
    pub renamed: u64,
    /// Queries that passed the limits.
    pub queries: u64,
    /// Queries and malformed datagrams that did not.
    pub limited: u64,
    /// Answers sent.
    pub answers: u64,
    /// Answers not sent because the budget was used up.
    pub over_budget: u64,
    /// Announces and items stored.
    pub stored: u64,
    /// Announces and items with a wrong or old token.
    pub bad_tokens: u64,
    /// Datagrams that are no message.
    pub malformed: u64,
    /// Answers that nobody asked for, or from elsewhere; datagrams of an inactive family.
    pub stray: u64,
}

/// Why there are no nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// Nobody is known to begin with: no saved nodes, no bootstrap nodes, no peers that named one.
    NobodyToAsk,
    /// Questions were answered, but only with errors.
    OnlyErrors {
        /// How many.
        errors: u64,
    },
    /// Nodes answered, but with other ids than they should have, so none was kept.
    OnlyImpostors {
        /// How many.
        renamed: u64,
    },
    /// Questions are on their way, and none has failed yet.
    Starting,
    /// Nothing that was asked has answered: no network, a firewall, or dead bootstrap nodes.
    Silence {
        /// How many were asked.
        asked: u64,
    },
    /// Our own pace lets nothing out: it is set to zero.
    Throttled,
}

/// One of the two networks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SideStatus {
    /// Our id there.
    pub id: NodeId,
    /// Nodes by standing.
    pub nodes: Census,
    /// Swarms stored for others.
    pub swarms: usize,
    /// Peers stored for others.
    pub peers: usize,
    /// Items stored for others.
    pub items: usize,
}

/// A node at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// `None` when it takes no part.
    pub v4: Option<SideStatus>,
    /// Likewise.
    pub v6: Option<SideStatus>,
    /// Our addresses, IPv4 and IPv6, by what others say.
    pub external: [Option<IpAddr>; 2],
    /// Set when there is no node in any table.
    pub why_nobody: Option<Why>,
    /// Lookups under way.
    pub lookups: usize,
    /// When a question counts as stalled, at present.
    pub soft_timeout: Duration,
    /// Since the start.
    pub counters: Counters,
}

impl Node {
    /// How it stands.
    pub fn status(&self, now: Instant) -> Status {
        let side = |at: usize| {
            let side = &self.sides[at];
            let (swarms, peers) = side.peers.len();
            side.active.then(|| SideStatus {
                id: side.table.own(),
                nodes: side.table.census(now),
                swarms,
                peers,
                items: side.items.len(),
            })
        };
        let nobody = self.sides.iter().all(|side| side.table.is_empty());
        Status {
            v4: side(0),
            v6: side(1),
            external: [false, true].map(|v6| self.external.address(v6)),
            why_nobody: nobody.then(|| self.why_nobody()),
            lookups: self.lookups.len(),
            soft_timeout: self.trips.soft_timeout(),
            counters: self.counters,
        }
    }

    fn why_nobody(&self) -> Why {
        let counters = &self.counters;
        if self.config.limits.new_destinations == 0 {
            Why::Throttled
        } else if counters.errors > 0 {
            Why::OnlyErrors { errors: counters.errors }
        } else if counters.renamed > 0 {
            Why::OnlyImpostors { renamed: counters.renamed }
        } else if counters.unanswered > 0 {
            Why::Silence { asked: counters.asked }
        } else if counters.asked == 0
            && self.suggested.is_empty()
            && (counters.bootstraps > 0 || self.is_alone())
        {
            Why::NobodyToAsk
        } else {
            Why::Starting
        }
    }

    /// Bytes that the node holds for the network: tables, senders, questions, lookups, what waits to be asked or sent.
    /// The stored peers and items are counted apart.
    pub fn state_bytes(&self) -> usize {
        let tables: usize = self.sides.iter().map(|side| side.table.heap_bytes()).sum();
        // A tree has about as much again for what holds it together.
        let open = self.open.len() * (size_of::<super::Open>() + 32);
        let lookups: usize = self.lookups.values().map(|lookup| lookup.heap_bytes() + 32).sum();
        let suggested = self.suggested.capacity() * size_of::<(Option<NodeId>, SocketAddr)>();
        let outbox = self.outbox.capacity() * size_of::<(SocketAddr, Message)>();
        let events = self.events.capacity() * size_of::<Event>();
        let storing = self.storing.len() * 2 * size_of::<(LookupId, super::Storing)>();
        let senders = self.sources.heap_bytes() + self.recent.heap_bytes();
        let waiting = suggested + outbox + events + storing;
        size_of::<Self>() + tables + senders + open + lookups + waiting
    }
}
