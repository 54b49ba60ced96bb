//! The tracker bundled with gaggle.

pub mod store;
