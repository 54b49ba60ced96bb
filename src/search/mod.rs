//! One search in several networks at once: takes part in each for as long as it lasts, asks all of them, gathers what
//! they answer, and finds the hosts of a result again.
//!
//! Whoever gives files takes part in the same way, for as long as he gives them.
//!
//! Decides when a search is over. What is one result and which is the best is decided in [`gaggle_core::search`], whom to
//! ask within a network by its machine. Shares nothing but what its caller hands it, never takes part in a network that
//! nobody has named a way into, and keeps of a search only what its results need to be fetched.

mod fasttrack;
mod gather;
mod gnutella;
mod napster;
mod networks;
mod ping;
mod record;

pub use gather::{Limits, Over, Report, gather};
pub use networks::{
    Answers, Config, Heard, Networks, Shares, Standing, StartError, Ways, is_known, is_near,
    keep_near, listen_for, look_up, ways_to,
};
pub use record::{RecordError, load, save};

use gaggle_core::scope::Scope;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

/// How often a network that we are still on our way into is asked again for a connection.
const AGAIN: Duration = Duration::from_millis(500);

/// How near to us one must be to know of this address.
fn scope_of(addr: SocketAddrV4) -> Scope {
    Scope::of(IpAddr::V4(*addr.ip())).unwrap_or(Scope::Global)
}
