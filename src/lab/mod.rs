//! Scripted swarms: a file says who takes part, what goes wrong and what must come of it.
//!
//! Decides whether a scenario makes sense, plays it with true processes on loopback or with virtual ones, and judges
//! its expectations. Never talks to anything beyond this machine, and never reaches into a peer: processes are driven
//! by the command line, like any user's.

mod error;
mod judge;
mod process;
mod puppet;
mod real;
mod scenario;
mod select;
mod sim;
#[cfg(test)]
mod tests;
mod timeline;

pub use error::LabError;
pub use judge::{PeerReport, Report, Verdict};
pub use puppet::{Part, Puppet};
pub use real::{Happened, Stage};
pub use scenario::{Mode, RoleName, Scenario};
pub use sim::play as play_sim;
