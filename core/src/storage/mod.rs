//! Where pieces lie in files, and which of them are known to be safe.

mod op;

pub use op::{DiskDone, DiskFault, DiskOp, Verdict};
