//! `cargo xtask check`: what every change must pass, in 12 minutes on two cores.

use crate::provide;
use crate::step::{Step, summary};
use std::time::{Duration, Instant};

/// What the check may take once tools and dependencies are there.
pub(crate) const BUDGET: Duration = Duration::from_secs(12 * 60);

/// The check as a whole.
pub(crate) struct Checked {
    pub(crate) ok: bool,
    pub(crate) took: Duration,
}

/// Runs all steps, also after one failed: one run names everything that is wrong.
///
/// # Errors
/// A tool that is needed could not be installed.
pub(crate) fn run() -> anyhow::Result<Checked> {
    provide::packages()?;
    let tools = provide::tools(&["cargo-nextest", "cargo-deny"])?;
    let started = Instant::now();
    let outcomes: Vec<_> = steps(&tools).into_iter().map(Step::run).collect();
    let ok = summary(&outcomes);
    let took = started.elapsed();
    if took > BUDGET {
        println!("slower than its budget of {} s", BUDGET.as_secs());
    }
    println!("check: {}", if ok { "PASS" } else { "FAIL" });
    Ok(Checked { ok, took })
}

/// Cheap judgements first.
fn steps(tools: &provide::Tools) -> Vec<Step> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    // Of the workspace, as the tests are: what is built for fewer packages has fewer features, and is built again.
    let tidy = ["test", "--workspace", "--quiet", "--test", "tidy", "--", "--nocapture"];
    let tests = if tools.has("cargo-nextest") {
        // tidy has a step of its own, for what it prints.
        Step::cargo("tests", &["nextest", "run", "--workspace", "-E", "not binary(=tidy)"])
    } else {
        Step::cargo("tests", &["test", "--workspace", "--all-targets"])
    };
    vec![
        Step::cargo("format", &["fmt", "--all", "--", "--check"]),
        Step::cargo("licences, bans, sources", &["deny", "check", "licenses", "bans", "sources"]),
        Step::cargo("lints", &clippy),
        Step::cargo("tidy", &tidy),
        tests,
        Step::cargo("tests in docs", &["test", "--workspace", "--doc", "--quiet"]),
        Step::cargo("docs", &["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    ]
}
