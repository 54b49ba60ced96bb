//! Bencode behind limits: which bytes are one well-formed value, and where in them things lie.
//!
//! Everything a stranger sent passes one flat scan ([`check`]) before anything else looks at it: depth,
//! values and bytes are counted, integers and lengths are strict, a key may occur once, and nothing may
//! follow the value. After that a [`Value`] walks the raw bytes without copying, and serde may run.
//!
//! It never re-encodes what it read: hashes are taken over the spans of the original bytes.
//! It never recurses, so no input can exhaust the stack. Dictionaries whose keys are out of order are
//! read (old torrents have them), but [`Dict`] writes sorted ones only.
//!
//! ```
//! use gaggle_core::bencode::{Dict, Limits, Value};
//! let reply = Dict::new().int("interval", 1800).bytes("peers", [1, 2, 3, 4, 0, 80]).into_bytes();
//! let value = Value::parse(&reply, Limits::MESSAGE)?;
//! assert_eq!(value.at("interval").and_then(|v| v.as_int()), Some(1800));
//! # Ok::<(), gaggle_core::bencode::BencodeError>(())
//! ```
//= BEP 3 §bencoding

mod encode;
mod error;
mod scan;
mod value;

#[cfg(test)]
mod tests;

pub use encode::{Dict, List};
pub use error::BencodeError;
pub use scan::{Limits, check, split_first};
pub use value::{Entries, Items, Kind, Value, span_of};

/// Reads a `T` with serde, after [`check`] has accepted the whole input.
///
/// serde_bencode refuses a struct whose dictionary holds a key that is not UTF-8, even an unknown one.
/// Where strangers choose the keys (torrents, peers), walk a [`Value`] instead.
pub fn from_bytes<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    limits: Limits,
) -> Result<T, BencodeError> {
    check(bytes, limits)?;
    serde_bencode::from_bytes(bytes).map_err(|e| BencodeError::Shape(e.to_string()))
}

/// Writes a `T` with serde: dictionary keys come out sorted.
///
/// Fails only on types that bencode cannot express, such as floats.
pub fn to_bytes<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, BencodeError> {
    serde_bencode::to_bytes(value).map_err(|e| BencodeError::Shape(e.to_string()))
}
