//! Networks to find things in, with or without a server, one folder each; two of them never know each other.

pub mod fasttrack;
pub mod gnutella;
pub mod kademlia;
pub mod napster;
