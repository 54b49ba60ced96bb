//! Worlds of links and machines in virtual time.
