//! Networks of nodes that find things without a server, one folder each; two of them never know each other.

pub mod fasttrack;
pub mod kademlia;
