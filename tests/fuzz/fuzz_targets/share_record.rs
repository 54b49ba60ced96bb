//! Hostile input for `gaggle_core::share::Record`; the laws are in `laws.rs`.
#![no_main]

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses one law of the file")]
mod laws;

libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::share_record(data));
