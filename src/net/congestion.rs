//! The congestion control of connections, by the name that the kernel has for it.
//!
//! On a long path that loses packets it decides what a connection gets: there BBR is tens of times faster than the
//! default of most systems, CUBIC, which takes every loss for a queue that has run over.

use rustix::fd::AsFd;
use socket2::SockRef;
use std::io;
use std::sync::Arc;

/// What this kernel has loaded, for everybody.
const LOADED: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// A way to decide how much may be under way.
#[derive(Clone, Debug)]
pub struct Congestion(Arc<str>);

impl Congestion {
    /// By name, such as `bbr`; whether there is such a thing shows when it is set.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// For this socket and, if it listens, for those that it accepts.
    pub(super) fn set(&self, socket: &impl AsFd) -> io::Result<()> {
        SockRef::from(socket).set_tcp_congestion(self.0.as_bytes())
    }

    /// What may be named, as the kernel lists it.
    pub fn loaded() -> String {
        std::fs::read_to_string(LOADED).unwrap_or_default().trim().to_owned()
    }
}
