//! Napster: one directory that knows who shares what, and the clients that ask it. Bytes of files never pass it.
//!
//! [`Directory`] is the server, [`Client`] one client's link to a server, and [`Inbound`] and [`Outbound`] what two
//! clients say to each other before the bytes of a file flow. None of them opens a socket; each is driven by one owner,
//! who carries bytes and the time. The bytes of files, and which hosts to fetch from at once, are none of their business.

mod bucket;
mod client;
mod directory;
mod transfer;

pub use client::{
    BROWSE_MAX, BrowseEnd, Client, Config as ClientConfig, Event as ClientEvent, Failure, HITS_MAX,
    Hit, Nearness, Password, Refused, SearchEnd, SearchId, Shareable,
};
pub use directory::{
    Account, Config as DirectoryConfig, Counters, Directory, Event as DirectoryEvent, Limits,
    Unwelcome, UserId,
};
pub use transfer::{Errand, Inbound, Outbound, Step, TransferError};
