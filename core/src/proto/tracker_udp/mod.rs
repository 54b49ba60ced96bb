//! Announce and scrape over UDP.
