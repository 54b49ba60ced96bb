//! The gaggle program.

fn main() {
    std::process::exit(gaggle::cli::main());
}
