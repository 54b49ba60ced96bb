//! How many requests to keep outstanding toward one peer.
