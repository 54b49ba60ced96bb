//! Gnutella: a servent as a machine without sockets, leaf or ultrapeer, and the parts that decide for it.
//!
//! [`Servent`] is the root. It negotiates its links (`negotiate`), remembers where answers go back (`routes`), knows
//! what its neighbours can be asked (`table`), answers Ping from a cache (`pongs`) and what was asked before from
//! another (`cache`), and searches with as few links as give enough (`search`). It never relays a descriptor back to
//! where it came from, never relays one twice, never lets a link queue more than its share (`queue`), and never
//! believes a stranger about a private address.
//!
//! The stream of a link may be compressed: the machine negotiates it and says so in [`Event::Joined`]; whoever drives
//! it packs and unpacks.
// After Gnutella 0.6 draft.

mod alternates;
mod cache;
mod found;
mod library;
mod link;
mod negotiate;
mod pongs;
mod queue;
mod routes;
mod search;
mod servent;
mod table;

pub use alternates::Alternates;
pub use found::{Found, addresses};
pub use library::Library;
pub use link::{Link, LinkId, Side};
pub use servent::{Config, Counters, Event, NoPush, Role, Servent, Transmit, Why};
pub use table::Table;

use std::time::Duration;

/// Links that a descriptor may cross in a network of ultrapeers.
pub const TTL_MAX: u8 = 4;
/// Links that one of others may claim to cross in all; beyond it its TTL is cut.
pub const LIFE_MAX: u8 = 7;
/// Beyond this it is dropped and counted.
pub const LIFE_HARD_MAX: u8 = 15;
/// Ultrapeers that a leaf keeps.
pub const LEAF_LINKS: usize = 3;
/// Links to ultrapeers that an ultrapeer keeps; further ones are refused.
pub const ULTRAPEER_LINKS: usize = 32;
/// Leaves that an ultrapeer takes; further ones are refused.
pub const LEAVES: usize = 60;
/// Links to one /24 of the public network; further ones are refused.
pub const LINKS_PER_SUBNET: usize = 2;
/// How long a handshake may take; then the link is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence after which a link is asked whether it is alive.
pub const IDLE: Duration = Duration::from_secs(60);
/// Silence after that question that ends a link.
pub const DEAD: Duration = Duration::from_secs(30);
/// How long what is left for a link that ends may take to be sent.
pub const LINGER: Duration = Duration::from_secs(10);
/// How long a link may stay under flow control; then it is closed.
pub const CONGESTED: Duration = Duration::from_secs(180);
/// A Ping sooner after the last on that link is not answered.
pub const PING_GAP: Duration = Duration::from_secs(1);
/// Pongs in answer to one Ping.
pub const PONGS_MAX: usize = 10;
/// Bytes of a Query that is relayed; a larger one is dropped.
pub const QUERY_RELAYED_MAX: usize = 256;
/// Bytes of a QueryHit that is relayed; a larger one is dropped.
pub const HIT_RELAYED_MAX: usize = 16 << 10;
/// The same words from a neighbour sooner than this are dropped.
pub const REPEAT_GAP: Duration = Duration::from_secs(5);
/// Queries of a leaf that may come at once; then one each second is taken and the others dropped.
pub const LEAF_QUERY_BURST: u32 = 10;
/// Queries of a leaf above its rate that end the link.
pub const LEAF_QUERIES_OVER_MAX: u32 = 100;
/// Files in one QueryHit; more go into further ones. With the longest names it has 4 KiB.
pub const HITS_PER_DESCRIPTOR: usize = 9;
/// Files that one query is answered with.
pub const HITS_PER_QUERY: usize = 50;
/// How soon after the last time somebody is connected to again who asks whether others can connect to him; until then he
/// is not heard, whatever port he names.
pub const BACK_GAP: Duration = Duration::from_secs(60);
/// Addresses that are connected to at such wishes within that time; further ones are not heard.
pub const BACKS_MAX: usize = 16;
/// Neighbours that are asked to connect to us.
pub const BACKS_ASKED: usize = 3;
/// How long they are given, before others are asked.
pub const BACK_WAIT: Duration = Duration::from_secs(600);
/// Addresses in an `X-Try-Ultrapeers`.
pub const TRY_MAX: usize = 10;
/// Addresses of servents that are remembered; beyond it the oldest is forgotten.
pub const HOSTS_MAX: usize = 200;
