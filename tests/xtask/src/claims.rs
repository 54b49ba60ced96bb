//! `cargo xtask check --full`: what the program promises, each promise with a verdict and a figure.
//!
//! A claim is kept by tests whose name begins with `claim_TOPIC_`, wherever they live: they do a short form of their
//! work in every check, the long form under `GAGGLE_FULL=1`, and print `FIGURE TOPIC text`. Other claims are kept by
//! a command.

use crate::step::{Outcome, Step, repository};
use crate::{bench, check, provide};
use std::process::Command;
use std::time::Duration;

/// Seconds that each fuzz target runs.
const FUZZ_S: u32 = 60;
/// The targets that must exist; others run too.
const FUZZ_TARGETS: [&str; 12] = [
    "bencode",
    "extension",
    "fasttrack",
    "gnutella",
    "krpc",
    "lsd",
    "magnet",
    "metadata",
    "metainfo",
    "napster",
    "peer_wire",
    "share_record",
];

/// One promise.
struct Claim {
    number: u8,
    says: &'static str,
    kept_by: KeptBy,
}

enum KeptBy {
    /// `cargo xtask check` within its budget, and the demo within its own.
    CheckAndDemo,
    /// Tests named `claim_TOPIC_*`.
    Tests(&'static str),
    /// `cargo xtask bench NAME`, which fails below its bar.
    Bench(&'static str),
    /// The same beside rivals, which are installed first.
    Beside(&'static str),
    /// The codecs' property tests, then every fuzz target.
    Codecs,
}

const CLAIMS: &[Claim] = &[
    Claim { number: 1, says: "fresh checkout: demo and check", kept_by: KeptBy::CheckAndDemo },
    Claim { number: 2, says: "five other clients, both ways", kept_by: KeptBy::Tests("interop") },
    Claim { number: 3, says: "create agrees with three others", kept_by: KeptBy::Tests("create") },
    Claim { number: 4, says: "capped swarm near its bound", kept_by: KeptBy::Bench("capped") },
    Claim { number: 5, says: "policies beat their absence", kept_by: KeptBy::Tests("policies") },
    Claim { number: 6, says: "64 simulated swarms, crashes", kept_by: KeptBy::Tests("crashes") },
    Claim { number: 7, says: "kill -9 and power cuts", kept_by: KeptBy::Tests("kill") },
    Claim { number: 8, says: "a poisoner is banned", kept_by: KeptBy::Tests("poison") },
    Claim { number: 9, says: "codecs hold, fuzzed 60 s each", kept_by: KeptBy::Codecs },
    Claim { number: 10, says: "one pair beside libtorrent", kept_by: KeptBy::Bench("pair") },
    Claim { number: 11, says: "DHT: lookups, churn, upkeep", kept_by: KeptBy::Tests("dht") },
    Claim { number: 12, says: "DHT: with three other clients", kept_by: KeptBy::Tests("dhtnet") },
    Claim {
        number: 13,
        says: "DHT: sockets agree with the lab",
        kept_by: KeptBy::Tests("dhtreal"),
    },
    Claim { number: 14, says: "DHT: one node on one core", kept_by: KeptBy::Bench("dht") },
    Claim { number: 15, says: "PEX, LSD: two other clients", kept_by: KeptBy::Tests("meeting") },
    Claim { number: 16, says: "1 GiB beside the rivals", kept_by: KeptBy::Beside("transfer") },
    Claim { number: 17, says: "each end by itself", kept_by: KeptBy::Beside("ends") },
    Claim { number: 18, says: "four leeches", kept_by: KeptBy::Beside("leeches") },
    Claim { number: 19, says: "5 000 small files", kept_by: KeptBy::Beside("files") },
    Claim { number: 20, says: "fifty leeches", kept_by: KeptBy::Beside("crowd") },
    Claim { number: 21, says: "in one swarm with libtorrent", kept_by: KeptBy::Beside("mixed") },
    Claim { number: 22, says: "re-check and create", kept_by: KeptBy::Beside("hashing") },
    Claim { number: 23, says: "long and lossy links", kept_by: KeptBy::Beside("links") },
    Claim { number: 24, says: "a start costs nothing", kept_by: KeptBy::Beside("latency") },
    Claim { number: 25, says: "memory, 1 000 idle torrents", kept_by: KeptBy::Beside("memory") },
    Claim {
        number: 26,
        says: "Napster: a pair a search, speed",
        kept_by: KeptBy::Tests("search_napster"),
    },
    Claim {
        number: 27,
        says: "Gnutella: beside a flood",
        kept_by: KeptBy::Tests("search_gnutella"),
    },
    Claim {
        number: 28,
        says: "FastTrack: half the supernodes",
        kept_by: KeptBy::Tests("search_fasttrack"),
    },
    Claim {
        number: 29,
        says: "three networks, one file of four",
        kept_by: KeptBy::Tests("findall"),
    },
];

/// Runs the check and every claim, or only the claims that were `asked` for, and prints the verdicts.
///
/// # Errors
/// A tool that is needed could not be installed.
pub(crate) fn run(asked: &[u8]) -> anyhow::Result<bool> {
    provide::packages()?;
    provide::tools(&["cargo-nextest", "cargo-deny", "cargo-fuzz"])?;
    let mut verdicts = Vec::new();
    for claim in CLAIMS.iter().filter(|claim| asked.is_empty() || asked.contains(&claim.number)) {
        let (ok, figure) = judge(&claim.kept_by)?;
        verdicts.push((claim, ok, figure));
    }
    println!();
    for (claim, ok, figure) in &verdicts {
        let verdict = if *ok { "PASS" } else { "FAIL" };
        println!("{verdict}  {:>2}  {:<34} {figure}", claim.number, claim.says);
    }
    Ok(verdicts.iter().all(|(_, ok, _)| *ok))
}

fn judge(kept_by: &KeptBy) -> anyhow::Result<(bool, String)> {
    let steps = match kept_by {
        KeptBy::CheckAndDemo => return check_and_demo(),
        KeptBy::Tests(topic) => vec![tests(topic).with_figures()],
        KeptBy::Bench(name) => vec![measured(name).with_figures()],
        KeptBy::Beside(name) => {
            provide::rivals(&bench::rivals_folder())?;
            vec![measured(name).with_figures()]
        }
        KeptBy::Codecs => codecs(),
    };
    let outcomes: Vec<Outcome> = steps.into_iter().map(Step::run).collect();
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.ok)
        .map(|one| format!("failed: {}", one.name))
        .collect();
    let figures = outcomes.iter().flat_map(|outcome| &outcome.figures);
    let text: Vec<&str> = figures.chain(&failed).map(String::as_str).collect();
    let took: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    Ok((failed.is_empty(), format!("{} [{:.0} s]", text.join("; "), took.as_secs_f64())))
}

fn check_and_demo() -> anyhow::Result<(bool, String)> {
    let checked = check::run()?;
    let built = Step::cargo("release build", &["build", "--release"]).run();
    let demo = Step::cargo("demo", &["run", "--release", "--", "demo"]).run();
    let ok = checked.ok && checked.took <= check::BUDGET && built.ok && demo.ok;
    let (check, demo) = (checked.took.as_secs_f64(), demo.took.as_secs_f64());
    Ok((ok, format!("check {check:.0} s, demo {demo:.1} s")))
}

/// All tests of a topic in their long form. Release: they move gigabytes; the check ran them with assertions.
fn tests(topic: &str) -> Step {
    let filter = format!("test(/(^|::)claim_{topic}_/)");
    let run = ["nextest", "run", "--workspace", "--release", "--profile", "full", "-E", &filter];
    Step::cargo(&format!("tests claim_{topic}_*"), &run).env("GAGGLE_FULL", "1")
}

fn measured(name: &str) -> Step {
    Step::cargo(&format!("bench {name}"), &["xtask", "bench", name])
}

fn codecs() -> Vec<Step> {
    let folder = repository().join("tests/fuzz/fuzz_targets");
    let mut targets: Vec<String> = FUZZ_TARGETS.iter().map(ToString::to_string).collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        targets.extend(stem.filter(|stem| !targets.contains(stem)));
    }
    let codecs = "package(gaggle-core) & test(/(bencode|metainfo|magnet|proto|compact)/)";
    let mut steps =
        vec![Step::cargo("codec tests", &["nextest", "run", "--workspace", "-E", codecs])];
    steps.extend(targets.iter().map(|target| fuzz(target)));
    steps
}

/// One target from its committed corpus. What the fuzzer finds new goes below `target/`, not into the corpus.
fn fuzz(target: &str) -> Step {
    let script = format!(
        "set -e; new=target/fuzz-corpus/{target}; kept=fixtures/corpus/{target}; mkdir -p $new; \
         [ -d $kept ] || kept=; \
         cargo fuzz run --fuzz-dir tests/fuzz {target} $new $kept -- -max_total_time={FUZZ_S} -timeout=10 -rss_limit_mb=2048; \
         echo \"FIGURE codecs {target} {FUZZ_S} s clean\""
    );
    // A nightly option on the stable compiler: the sanitizer is all that cargo-fuzz needs of it.
    Step::new(&format!("fuzz {target}"), Command::new("bash"), &["-c", &script])
        .env("RUSTC_BOOTSTRAP", "1")
        .with_figures()
}
