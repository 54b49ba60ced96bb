//! Napster on the wire: the directory that knows who shares what, and a client that shares, searches and fetches.
//!
//! One task owns each machine of `gaggle_core::overlay::napster`; tasks of connections move bytes. Decides how much waits
//! for whom, how long words may take and how many may connect. Never lets a path of a stranger near a disk: what is given
//! out is found in the catalogue by the exact text under which it was shared.

pub mod client;
pub mod directory;
mod error;
#[cfg(test)]
mod tests;

pub use client::{Client, Found, Opened};
pub use directory::Directory;
pub use error::Error;
