//! Chores of the workspace: `check` judges a change, `bench` measures the program beside others.

#![expect(clippy::disallowed_methods, reason = "measures real time")]

mod bench;
mod check;
mod claims;
mod provide;
mod step;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the gaggle workspace")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that a change must pass: format, lints, tests, docs, licences
    Check {
        /// Then the long things, with a verdict and a figure for every claim
        #[arg(long)]
        full: bool,
        /// Only the claims with these numbers; leaves out the rest of the check
        #[arg(long, value_name = "NUMBER", value_delimiter = ',', requires = "full")]
        claim: Vec<u8>,
    },
    /// Install the programs that `bench` measures gaggle beside, into target/rivals
    Rivals,
    /// Measure gaggle beside other clients, in a network namespace
    Bench {
        #[command(subcommand)]
        bench: bench::Bench,
    },
}

fn main() -> ExitCode {
    let ok = match Arguments::parse().chore {
        Chore::Check { full: false, .. } => check::run().map(|outcome| outcome.ok),
        Chore::Check { full: true, claim } => claims::run(&claim),
        Chore::Rivals => provide::rivals(&bench::rivals_folder()).map(|()| true),
        Chore::Bench { bench } => bench::run(&bench),
    };
    match ok {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
