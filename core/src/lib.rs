//! Everything in gaggle that decides, and nothing that touches the world.
//!
//! No socket, file, clock, OS randomness, runtime or thread lives below this line: `now` is an argument,
//! randomness is a seeded [`rng::Rng`], and work for the outside leaves as values.

pub mod bencode;
pub mod bitfield;
pub mod blame;
pub mod clock;
pub mod compact;
pub mod external;
pub mod geometry;
pub mod hash;
pub mod id;
pub mod lab;
pub mod metainfo;
pub mod overlay;
pub mod proto;
pub mod rng;
pub mod scope;
pub mod search;
pub mod share;
pub mod sign;
pub mod storage;
pub mod swarm;
pub mod units;
pub mod words;
