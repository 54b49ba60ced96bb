//! Announce and scrape over HTTP: query strings and bencoded answers.
