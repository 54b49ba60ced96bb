//! Bencode behind limits: spans of raw bytes, and serde only after a check.
