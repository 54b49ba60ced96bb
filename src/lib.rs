//! Everything in gaggle that touches the world: sockets, disks, the command line.

pub mod cli;
pub mod config;
pub mod disk;
pub mod engine;
pub mod lab;
pub mod locate;
pub mod net;
pub mod serve;
pub mod share;
