//! The tracker bundled with gaggle: HTTP and UDP on one port, in memory.
//!
//! [`Tracker::bind`] opens the sockets and serves until the [`Running`] is stopped or dropped. What is answered is
//! decided by [`store`]; this crate never talks to peers, and writes nothing to disk.

mod bind;
mod clock;
mod connection_id;
mod dice;
mod http;
mod server;
pub mod store;
#[cfg(test)]
mod tests;
mod udp;

pub use server::{BindError, Running, Tracker, TrackerConfig};
