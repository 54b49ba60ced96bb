//! The mainline DHT: a node as a machine without sockets, and the parts that decide for it.
//!
//! [`Node`] is the root. It owns one `table`, one store of `peers` and one of `items` for each address family, runs
//! `lookup`s, and asks `limits` before it sends or answers anything. It never opens a socket, never trusts an
//! address that a stranger of a wider class named ([`address`]), and never stores anything for a sender that has
//! not proved with a token that it can read at its address (`tokens`).
//!
//! Messages go in and out typed or as datagrams; which of the two makes no difference to what is decided.
//= BEP 5

pub mod address;
mod id;
mod items;
mod limits;
mod lookup;
mod node;
mod owners;
mod peers;
mod recent;
mod rtt;
mod shelf;
mod table;
mod tokens;

pub use id::{id_fits, id_for};
pub use items::{Items, Refused};
pub use limits::{Limits, Pacer, Sources};
pub use lookup::{LookupId, LookupPolicy, Soft};
pub use node::{
    Config, Counters, Event, Families, Found, Node, PingId, SideStatus, Snapshot, Status, Why,
};
pub use peers::{Peers, Terms};
pub use table::{Census, Probe, Standing, Table, WIDTH, WIDTH_MAX, places};
pub use tokens::Tokens;

/// Results of a lookup, and nodes that store an announce or an item.
//= BEP 5 §routing table (K = 8)
pub const K: usize = 8;
