//! Serving the search networks: one folder per network that drives its machines, and the host that gives out files.
//!
//! Decides nothing about a network: its machine in `core::overlay` does. A driver owns one listener, on which the first
//! bytes tell what a connection is for; who asks for a file is handed to [`upload`].

pub mod fasttrack;
pub mod gnutella;
pub mod napster;
pub mod upload;
