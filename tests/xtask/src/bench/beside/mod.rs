//! gaggle beside its rivals: `tests/bench/bench.py` measures, the bars in `table` judge.
//!
//! All measurements of a bench run once a round, forwards and backwards in turn. A ratio is the median of ours over
//! the median of theirs in the same rounds. `cargo xtask rivals` installs the rivals.

mod records;
mod table;

use super::scratch;
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use harness::{figure, namespace};
use records::Records;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use table::{Bar, Bench};

#[derive(Subcommand)]
pub(crate) enum Beside {
    /// 1 GiB from one seed to one leech: rates, CPU seconds, piece lengths, memory and disk
    Transfer(Options),
    /// Our seed to a peer that throws away, and our leech from one that serves from memory
    Ends(Options),
    /// One seed to four leeches, until the last is done
    Leeches(Options),
    /// 5 000 small files
    Files(Options),
    /// One seed to fifty leeches: the last of them, copies sent, memory
    Crowd(Options),
    /// Leeches of gaggle and of libtorrent in one swarm with capped uploads
    Mixed(Options),
    /// Re-check and create of 4 GiB
    Hashing(Options),
    /// Long links with and without loss, beside iperf3 with the same congestion control
    Links(Options),
    /// The start: one small file, and a peer that chokes for ten seconds
    Latency(Options),
    /// Peak memory of a transfer, and a thousand idle torrents
    Memory(Options),
}

/// What all of them take.
#[derive(Args)]
pub(crate) struct Options {
    /// The gaggle to measure [default: a release build of this checkout]
    #[arg(long, value_name = "PROGRAM")]
    pub(super) gaggle: Option<PathBuf>,
    /// Measured runs of each
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Only measurements whose name contains this; bars without their measurements are left out (repeat)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where the rivals are [default: target/rivals, see `cargo xtask rivals`]
    #[arg(long, value_name = "DIR")]
    rivals: Option<PathBuf>,
    /// Where the content lies; the default is in memory
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    work: PathBuf,
    /// Where the content of disk measurements lies [default: target]
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// Run all clients with this niceness: ahead of everything else where others use the machine, too
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    nice: Option<i8>,
}

impl Beside {
    pub(super) fn options(&self) -> &Options {
        match self {
            Self::Transfer(options)
            | Self::Ends(options)
            | Self::Leeches(options)
            | Self::Files(options)
            | Self::Crowd(options)
            | Self::Mixed(options)
            | Self::Hashing(options)
            | Self::Links(options)
            | Self::Latency(options)
            | Self::Memory(options) => options,
        }
    }

    fn bench(&self) -> Bench {
        match self {
            Self::Transfer(_) => table::transfer(),
            Self::Ends(_) => table::ends(),
            Self::Leeches(_) => table::leeches(),
            Self::Files(_) => table::files(),
            Self::Crowd(_) => table::crowd(),
            Self::Mixed(_) => table::mixed(),
            Self::Hashing(_) => table::hashing(),
            Self::Links(_) => table::links(),
            Self::Latency(_) => table::latency(),
            Self::Memory(_) => table::memory(),
        }
    }

    /// Inside the namespace.
    pub(super) fn run(&self, gaggle: &Path) -> anyhow::Result<bool> {
        let options = self.options();
        let bench = self.bench().only(&options.only);
        ensure!(!bench.measurements.is_empty(), "nothing to measure");
        namespace::take_whole_range()?;
        let records = options.measure(gaggle, &bench)?;
        records.print();
        let verdicts: Vec<(&Bar, Option<f64>)> =
            bench.bars.iter().map(|bar| (bar, records.value(bar))).collect();
        let mut met = !records.ours_failed();
        let mut said = Vec::new();
        for (bar, value) in &verdicts {
            let ok = value.is_some_and(|value| bar.limit.holds(value));
            met &= ok;
            let text = value.map_or_else(|| "not measured".to_owned(), |value| bar.says(value));
            println!("{}  {:<44} {text}", if ok { "PASS" } else { "FAIL" }, bar.name());
            said.push(format!("{} {text}", bar.name()));
        }
        said.push(format!("n = {}, foreign up to {:.2}", options.runs, records.foreign()));
        figure(bench.name, &said.join("; "));
        Ok(met)
    }
}

impl Options {
    fn measure(&self, gaggle: &Path, bench: &Bench) -> anyhow::Result<Records> {
        let work = scratch(&self.work)?;
        let target = crate::step::repository().join("target");
        let disk = scratch(self.disk.as_ref().unwrap_or(&target))?;
        let mut command = match self.nice {
            Some(nice) => {
                let mut command = Command::new("nice");
                command.args(["-n", &nice.to_string(), "python3"]);
                command
            }
            None => Command::new("python3"),
        };
        command.arg(crate::step::repository().join("tests/bench/bench.py"));
        command.arg("--gaggle").arg(gaggle).arg("--runs").arg(self.runs.to_string());
        let rivals = self.rivals.clone().unwrap_or_else(super::rivals_folder);
        if !rivals.is_dir() {
            println!("no rivals in {}; type: cargo xtask rivals", rivals.display());
        }
        command.arg("--rivals").arg(rivals);
        command.arg("--work").arg(work.path()).arg("--disk").arg(disk.path());
        command.args(bench.measurements.iter().map(|(name, does)| format!("{name}: {does}")));
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run python3")?;
        let records = Records::read(bench, child.stdout.take().context("stdout was asked for")?);
        ensure!(child.wait()?.success(), "tests/bench/bench.py failed");
        records
    }
}
