//! One folder per wire protocol: bytes to values and back, no decisions about swarms.

pub mod announce;
pub mod extension;
pub mod fasttrack;
pub mod gnutella;
pub mod http;
pub mod krpc;
pub mod lsd;
pub mod napster;
pub mod peer;
pub mod tracker_http;
pub mod tracker_udp;
