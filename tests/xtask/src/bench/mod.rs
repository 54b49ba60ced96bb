//! `cargo xtask bench`: gaggle beside other clients, in a network of its own, on a file system in memory.

mod beside;
mod capped;
mod dht;
mod pair;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use harness::gaggle::Gaggle;
use harness::libtorrent::Libtorrent;
use harness::namespace;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// One seed to one leech: rates, CPU seconds of both ends, and the ratio to libtorrent
    Pair(pair::Pair),
    /// One seed and several leeches with capped uploads, against the fluid bound
    Capped(capped::Capped),
    /// One node of the DHT on one core: queries answered in a second
    Dht(dht::Dht),
    #[command(flatten)]
    Beside(beside::Beside),
}

/// What both measurements take.
#[derive(Args)]
pub(crate) struct Common {
    /// The gaggle to measure [default: a release build of this checkout]
    #[arg(long, value_name = "PROGRAM")]
    gaggle: Option<PathBuf>,
    /// Who takes part
    #[arg(long, value_delimiter = ',', default_value = "gaggle,libtorrent")]
    clients: Vec<Client>,
    /// Where the content lies; the default is in memory
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    work: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Client {
    Gaggle,
    Libtorrent,
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Gaggle => "gaggle",
            Self::Libtorrent => "libtorrent",
        }
    }
}

/// The programs that a measurement starts.
struct Programs {
    gaggle: Gaggle,
    libtorrent: Libtorrent,
}

/// Runs a measurement; the first time only to start itself again in a namespace.
///
/// # Errors
/// A program is missing or a transfer failed.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<bool> {
    let (program, clients) = match bench {
        Bench::Pair(pair) => (&pair.common.gaggle, &pair.common.clients[..]),
        Bench::Capped(capped) => (&capped.common.gaggle, &capped.common.clients[..]),
        Bench::Dht(dht) => (&dht.gaggle, &[Client::Gaggle][..]),
        Bench::Beside(beside) => (&beside.options().gaggle, &[Client::Gaggle][..]),
    };
    if !namespace::inside() {
        if program.is_none() && clients.contains(&Client::Gaggle) {
            build_release()?;
        }
        let mut again = namespace::command(std::env::current_exe()?);
        return Ok(again.args(std::env::args_os().skip(1)).status()?.success());
    }
    let built = crate::step::repository().join("target/release/gaggle");
    let program = program.clone().unwrap_or(built);
    let gaggle = Gaggle::new(&program);
    let programs = || -> anyhow::Result<Programs> {
        Ok(Programs { gaggle: gaggle.clone(), libtorrent: Libtorrent::find()? })
    };
    match bench {
        Bench::Pair(pair) => pair.run(&programs()?),
        Bench::Capped(capped) => capped.run(&programs()?),
        Bench::Dht(dht) => dht.run(&gaggle.with_dht()),
        Bench::Beside(beside) => beside.run(&program),
    }
}

/// Where `cargo xtask rivals` puts what no package has.
pub(crate) fn rivals_folder() -> PathBuf {
    crate::step::repository().join("target/rivals")
}

fn build_release() -> anyhow::Result<()> {
    let status = crate::step::cargo()
        .args(["build", "--release", "--package", "gaggle"])
        .current_dir(crate::step::repository())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the release build failed");
    Ok(())
}

/// A folder for the run inside `work`, removed at the end.
fn scratch(work: &Path) -> anyhow::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("gaggle-bench-")
        .tempdir_in(work)
        .with_context(|| format!("cannot use {}", work.display()))
}

/// The middle value; 0 of nothing.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
