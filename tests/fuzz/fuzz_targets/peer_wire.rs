//! Arbitrary bytes as everything that a peer ever says; the laws are in `peer_wire.rs`.
#![no_main]

#[path = "../peer_wire.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    laws::peer_wire(data);
});
