//! Drives the machines of core over sockets and disks: the library behind every verb that moves data.
//!
//! Decides nothing about pieces or peers; never prints, never reads the command line.

mod announce;
mod api;
mod assembly;
mod command;
mod content;
mod dht;
#[expect(clippy::module_inception, reason = "the engine itself, beside what it is made of")]
mod engine;
mod external;
mod hints;
mod link;
mod nearby;
mod sources;
mod storing;
mod task;
#[cfg(test)]
mod tests;

pub use api::{
    AddTorrent, DhtSeen, DownloadEvent, EngineConfig, EngineError, Selection, Snapshot, What,
};
pub use engine::{Download, Engine};
