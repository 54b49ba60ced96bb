//! The gaggle program.

fn main() {}
