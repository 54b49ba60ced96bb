//! One command that must succeed, and the table of how a run of them went.

use anyhow::Context;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command with a name for the table.
pub(crate) struct Step {
    pub(crate) name: String,
    command: Command,
    reads_figures: bool,
}

/// How a step went.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) ok: bool,
    pub(crate) took: Duration,
    /// The texts of the `FIGURE name text` lines that it printed.
    pub(crate) figures: Vec<String>,
}

impl Step {
    /// Runs at the top of the repository.
    pub(crate) fn new(name: &str, mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments).current_dir(repository());
        Self { name: name.to_owned(), command, reads_figures: false }
    }

    pub(crate) fn cargo(name: &str, arguments: &[&str]) -> Self {
        Self::new(name, cargo(), arguments)
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Looks for `FIGURE` lines in what the step prints, and fails it when there is none.
    pub(crate) fn with_figures(mut self) -> Self {
        self.reads_figures = true;
        self
    }

    /// Runs it, its output passed on as it comes.
    pub(crate) fn run(mut self) -> Outcome {
        println!("\n== {}", self.name);
        let started = Instant::now();
        let (ok, figures) = match self.execute() {
            Ok((ok, figures)) => (ok && (!self.reads_figures || !figures.is_empty()), figures),
            Err(error) => {
                println!("{error:#}");
                (false, Vec::new())
            }
        };
        Outcome { name: self.name, ok, took: started.elapsed(), figures }
    }

    fn execute(&mut self) -> anyhow::Result<(bool, Vec<String>)> {
        let program = self.command.get_program().to_owned();
        let cannot = || format!("cannot run {}", program.display());
        self.command.stdin(Stdio::null());
        if !self.reads_figures {
            return Ok((self.command.status().with_context(cannot)?.success(), Vec::new()));
        }
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(cannot)?;
        let stderr = child.stderr.take().context("stderr was asked for")?;
        let errors = std::thread::spawn(move || pass_on(stderr, &mut std::io::stderr()));
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let mut figures = pass_on(stdout, &mut std::io::stdout());
        // A reader thread that panicked has no figures; the step's own status still counts.
        figures.extend(errors.join().unwrap_or_default());
        Ok((child.wait()?.success(), figures))
    }
}

/// Copies lines to our own output and keeps the figures among them.
fn pass_on(from: impl Read, to: &mut impl Write) -> Vec<String> {
    let mut figures: Vec<String> = Vec::new();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let text = String::from_utf8_lossy(&line);
        // Our own output may be closed; the step goes on.
        writeln!(to, "{text}").ok();
        if let Some(figure) = text.trim_start().strip_prefix("FIGURE ") {
            let figure = figure.trim().to_owned();
            if !figures.contains(&figure) {
                figures.push(figure);
            }
        }
    }
    figures
}

/// The table of a run: every step with its time, and whether all went well.
pub(crate) fn summary(outcomes: &[Outcome]) -> bool {
    println!("\n{:<28} {:>8}", "step", "seconds");
    for outcome in outcomes {
        let verdict = if outcome.ok { "ok" } else { "FAILED" };
        println!("{:<28} {:>8.1}  {verdict}", outcome.name, outcome.took.as_secs_f64());
    }
    let total: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    println!("{:<28} {:>8.1}", "total", total.as_secs_f64());
    outcomes.iter().all(|outcome| outcome.ok)
}

/// The cargo that runs us, without what it told us of our own package: for some build scripts (ring's) that is a change,
/// and all that stands on them would be built again.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        cargo.env_remove(name);
    }
    cargo
}

/// The top folder of the repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
