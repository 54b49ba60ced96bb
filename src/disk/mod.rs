//! The pool that hashes, writes and reads pieces.
