//! Hostile peers around a magnet that needs its metadata; the laws are in `metadata.rs`.
#![no_main]

#[path = "../metadata.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    laws::metadata(data);
});
