//! Sockets: listening, dialling, moving bytes of one connection, datagrams.
//!
//! Decides how long the network may take and how much of it is held in memory. Never decides whom to talk
//! to or what to say: that comes from `gaggle_core::swarm` and goes back there as values.

mod clock;
mod closed;
mod congestion;
mod connection;
mod datagram;
mod dice;
mod door;
mod handshake;
mod limit;
mod listener;
mod read_buffer;
mod writer;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use closed::{Closed, ConnectError, Phase};
pub use congestion::Congestion;
pub use connection::{FROM_PEER_QUEUE, FromPeer, Item, Pump, PumpConfig, TO_PEER_QUEUE, ToPeer};
pub use datagram::{Datagram, DhtDatagrams, Question, Udp};
pub use dice::{os_entropy, os_rng};
pub use door::{Door, PEER_BEGINS};
pub use handshake::{Connected, Dialer, HANDSHAKE_TIMEOUT, answer};
pub use limit::Limit;
pub use listener::{HANDSHAKES_MAX, HANDSHAKES_PER_HOST, Listener};
pub use read_buffer::{Buffers, ReadBuffer};
