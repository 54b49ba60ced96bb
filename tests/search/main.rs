//! Three networks of real processes, and one program that searches them all and downloads from all at once.
//!
//! Every process has its own state folder and dies with its handle. On loopback in a check; with `GAGGLE_FULL=1` also in
//! a network namespace, where each host has a /24 of its own.

mod finds;
mod publishes;
mod scene;
