//! FastTrack: nodes that share and search, and supernodes that know what their nodes have.
//!
//! A [`Node`] pings five supernodes, attaches to the nearest, and moves when that one dies. A [`Supernode`] answers from
//! its [`Index`] and asks other supernodes, one after another, until enough is found. What a node gave to others is kept
//! as reputation in a [`Ledger`]: it makes supernodes, and the order in which [`Slots`] serve.
//!
//! The machines see messages, not bytes: a [`Link`] stands between them and a socket. None of them opens a connection,
//! believes an address that the speaker cannot know, or lets one neighbour take what is meant for all.

mod index;
mod link;
mod node;
mod reputation;
mod role;
mod slots;
mod supernode;

pub use index::Index;
pub use link::{Link, LinkError};
pub use node::{Cache, Event, Node, NodeConfig, NodeOutput, TooManySearches};
pub use reputation::{Identity, Ledger, SCORE_MAX, SCORE_START};
pub use role::{Fitness, Tenure};
pub use slots::{SlotLimits, Slots, Turn};
pub use supernode::{Limits, LinkKey, Supernode, SupernodeConfig, SupernodeOutput};
