//! Announce and scrape over HTTP: query strings and bencoded answers, for both sides.
//!
//! Never opens a connection and never decides whom to ask or what to answer. Query strings are bytes in percent
//! escapes, not text: an info hash is rarely valid UTF-8.
//= BEP 3 §trackers
//= BEP 7
//= BEP 23
//= BEP 24
//= BEP 31
//= BEP 48

mod escape;
mod query;
mod reply;
#[cfg(test)]
mod tests;

pub use query::{AnnounceQuery, MAX_SCRAPE, QueryError, ScrapeQuery, scrape_url};
pub use reply::{
    Layout, MAX_BODY, ReplyError, encode_announce, encode_failure, encode_scrape, parse_announce,
    parse_scrape,
};
