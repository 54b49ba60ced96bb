//! gaggle among clients of other makes, with real sockets and real files.
//!
//! Each case runs in a network namespace of its own, with an address for each program. It is made of a torrent by
//! some creator, a tracker, one seed and one leech; at the end the copy has the same SHA-256. Missing clients are
//! skipped loudly, and a failure under `GAGGLE_REQUIRE_CLIENTS=1`.
//!
//! `dhtreal` has no other client: nodes of the DHT among their own, to see whether the lab tells the truth about them.
//!
//! The check plays a subset in which every pair of choices occurs; `GAGGLE_FULL=1` plays the whole product.

mod case;
mod clients;
mod create;
mod creators;
mod dhtnet;
mod dhtreal;
mod foreign;
mod house;
mod http;
mod matrix;
mod meeting;
mod punch;
mod router;
mod scene;
mod torrent;
mod trackers;
