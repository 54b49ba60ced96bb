//! Ways to find peers.
