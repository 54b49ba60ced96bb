//! Hashes, writes and reads pieces on a small pool of blocking threads, and carries out what
//! [`gaggle_core::storage`] plans: start-up checks, syncs, resume records.
//!
//! Never decides what to download or whom to serve, and never writes outside the output and state folders.
//! Locks here are held by blocking threads for bookkeeping only, never while file content moves and never by a task.

mod check;
mod claim;
mod descriptors;
mod fault;
mod files;
mod folder;
pub mod hashing;
mod locks;
mod pool;
mod recycled;
mod room;
mod state;
mod storage;
#[cfg(test)]
mod tests;
mod tree;

pub use check::{Checked, Progress};
pub(crate) use descriptors::Descriptors;
pub use fault::StorageError;
pub(crate) use fault::at;
pub(crate) use folder::{Folder, Kind};
pub use pool::{Clock, Pool};
pub use room::Preallocate;
pub(crate) use state::replace;
pub use storage::{
    Access, Busy, DiskEvent, PieceHashOf, READS_MAX, STORE_BYTES_MAX, Sink, Storage, StorageSpec,
};
