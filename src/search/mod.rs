//! One search in several networks at once: takes part in each for as long as it lasts, asks all of them, and
//! gathers what they answer.
//!
//! Decides when a search is over. What is one result and which is the best is decided in [`gaggle_core::search`], whom to
//! ask within a network by its machine. Shares nothing, never takes part in a network that nobody has named a way into,
//! and keeps of a search only what its results need to be fetched.

mod gather;
mod gnutella;
mod networks;
mod ping;
mod record;

pub use gather::{Limits, Over, Report, gather};
pub use networks::{Answers, Config, Heard, Networks, StartError, Ways, is_known, listen_for};
pub use record::{RecordError, load, save};
