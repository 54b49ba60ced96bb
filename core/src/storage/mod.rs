//! Where pieces lie in files, and which of them are known to be safe. Plans only; nothing here opens a file.

pub mod journal;
pub mod layout;
mod op;
#[cfg(test)]
mod power_cut;
pub mod resume;
mod start;
#[cfg(test)]
mod tests;

pub use journal::{Batch, Journal};
pub use layout::{Extent, FileSpec, Layout, LayoutError, Move, Place};
pub use op::{DiskDone, DiskFault, DiskOp, Verdict};
pub use resume::{FileRecord, Record, RecordError, Stamp};
pub use start::{Found, StartPlan, Verify, WRITE_LAG_MAX, plan};
