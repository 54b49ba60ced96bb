//! Driving real processes in a network of their own, for the tests and measurements of whole programs.
//!
//! Nothing here judges: it starts, watches, measures and ends. Every process started is killed when its handle is
//! dropped, also by a panic; every wait has a deadline; no packet can leave the namespace.

#![expect(
    clippy::disallowed_methods,
    reason = "waits for real processes, so it reads the real clock"
)]

pub mod content;
mod deadline;
pub mod gaggle;
pub mod libtorrent;
pub mod namespace;
mod process;

pub use deadline::{Deadline, Stopwatch};
pub use process::{Process, Said};

/// Whether a missing foreign client is a failure here (`GAGGLE_REQUIRE_CLIENTS=1`) and not a reason to skip.
pub fn clients_required() -> bool {
    std::env::var("GAGGLE_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// Whether the long form of a test was asked for (`GAGGLE_FULL=1`).
pub fn full() -> bool {
    std::env::var("GAGGLE_FULL").is_ok_and(|value| value == "1")
}

/// Prints the figure that `cargo xtask check --full` puts beside its verdict on `name`.
pub fn figure(name: &str, text: &str) {
    println!("FIGURE {name} {text}");
}

/// Whether a program can be found in `PATH`.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
