//! Whole swarms on virtual time, in one thread: the production [`crate::swarm::torrent::Torrent`] machines on
//! simulated links, disks and a tracker.
//!
//! Decides when a message arrives and what goes wrong: delay, loss, crashes, poisoned blocks, full disks. Never
//! decides what a peer does: every actor, honest or not, is a production machine, and mischief is what the world
//! does to its disk or its words. Never drops or reorders the messages of a stream, never reads a clock or the
//! environment, and holds no payload: of a block it knows only whether its bytes are the right ones.
//!
//! [`Overlay`] is the same for DHT nodes by the ten thousand: datagrams instead of streams, and no swarm.
//!
//! One seed is one trace: [`World::trace_hash`] covers everything that was delivered.

mod disk;
mod drive;
mod events;
mod host;
mod oracles;
mod overlay;
mod role;
mod rounds;
mod stream;
mod trace;
mod tracker;
mod tyrant;
mod world;

#[cfg(test)]
mod tests;

pub use host::HostId;
pub use oracles::{Oracle, oracle};
pub use overlay::{Overlay, Wire};
pub use role::{Mischief, Poison, Role, Setup, TorrentSpec};
pub use rounds::Rounds;
pub use stream::Link;
pub use world::{End, Plan, World};
