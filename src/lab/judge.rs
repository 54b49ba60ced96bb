//! Whether what was expected has come, from what was seen of each peer. The same for both modes.

use super::scenario::{Expect, Mode, Scenario, Wanted};
use gaggle_core::units::Size;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was seen of one peer so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// When it had everything; the first time, if it was killed afterwards.
    pub(super) complete: Option<Duration>,
    /// When somebody honest banned it first.
    pub(super) banned: Option<Duration>,
    /// Payload sent in all its lives.
    pub(super) uploaded: u64,
    /// Payload received.
    pub(super) downloaded: u64,
    /// Of that, bytes of no use.
    pub(super) wasted: u64,
    /// What it has said of peers that it banned: address and reason.
    pub(super) bans: BTreeMap<String, String>,
}

/// One expectation, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Where it stands in the scenario.
    pub line: usize,
    /// As it stands there.
    pub expectation: String,
    /// Whether it has come true.
    pub ok: bool,
    /// The figures, or who failed and how.
    pub why: String,
}

/// What became of one peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerReport {
    /// In the scenario.
    pub name: String,
    /// What it played.
    pub role: String,
    /// Seconds after the beginning.
    pub complete: Option<f64>,
    /// Seconds after the beginning.
    pub banned: Option<f64>,
    /// Payload.
    pub uploaded: u64,
    /// Payload.
    pub downloaded: u64,
    /// Of `downloaded`, bytes of no use.
    pub wasted: u64,
    /// Whom it banned, and why.
    pub bans: BTreeMap<String, String>,
}

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of the scenario.
    pub name: String,
    /// How it was played.
    pub mode: &'static str,
    /// With which it can be played again.
    pub seed: u64,
    /// Whether every expectation has come true.
    pub ok: bool,
    /// How long it took, in its own time.
    pub seconds: f64,
    /// Of a simulation: equal for equal runs.
    pub trace_hash: Option<String>,
    /// Every expectation.
    pub verdicts: Vec<Verdict>,
    /// Every peer.
    pub peers: Vec<PeerReport>,
}

impl Report {
    pub(super) fn of(
        scenario: &Scenario,
        seen: Vec<Seen>,
        now: Duration,
        trace_hash: Option<u64>,
    ) -> Self {
        let verdicts: Vec<Verdict> =
            scenario.expects.iter().map(|expect| verdict(scenario, expect, &seen)).collect();
        let secs = |at: Option<Duration>| at.map(|at| at.as_secs_f64());
        let peers = scenario.peers.iter().zip(seen).map(|(peer, seen)| PeerReport {
            name: peer.name.clone(),
            role: format!("{:?}", peer.role),
            complete: secs(seen.complete),
            banned: secs(seen.banned),
            uploaded: seen.uploaded,
            downloaded: seen.downloaded,
            wasted: seen.wasted,
            bans: seen.bans,
        });
        Self {
            name: scenario.name.clone(),
            mode: if scenario.mode == Mode::Real { "real" } else { "sim" },
            seed: scenario.seed,
            ok: verdicts.iter().all(|verdict| verdict.ok),
            seconds: now.as_secs_f64(),
            trace_hash: trace_hash.map(|hash| format!("{hash:016x}")),
            verdicts,
            peers: peers.collect(),
        }
    }
}

/// Whether nothing that may still happen changes a verdict, except about figures at the end.
pub(super) fn is_decided(scenario: &Scenario, seen: &[Seen], now: Duration) -> bool {
    now >= scenario.time_limit
        || scenario.expects.iter().all(|expect| {
            let come = |at: Option<Duration>| at.is_some();
            let all = |of: fn(&Seen) -> Option<Duration>| {
                expect.peers.iter().all(|&peer| come(of(&seen[peer])))
            };
            match expect.what {
                Wanted::Complete { within } => now > within || all(|seen| seen.complete),
                Wanted::Banned { within } => now > within || all(|seen| seen.banned),
                Wanted::Incomplete | Wanted::Uploads { .. } => true,
            }
        })
}

fn verdict(scenario: &Scenario, expect: &Expect, seen: &[Seen]) -> Verdict {
    let failures: Vec<String> = expect
        .peers
        .iter()
        .filter_map(|&peer| {
            let what = failure(expect.what, &seen[peer])?;
            Some(format!("{} {what}", scenario.peers[peer].name))
        })
        .collect();
    let ok = failures.is_empty();
    let why = if ok {
        figures(expect, seen)
    } else {
        let more = failures.len().saturating_sub(NAMED_MAX);
        let mut why = failures[..failures.len().min(NAMED_MAX)].join("; ");
        if more > 0 {
            why.push_str(&format!("; and {more} more"));
        }
        why
    };
    Verdict { line: expect.line, expectation: expect.text.clone(), ok, why }
}

/// How a peer fails an expectation, if it does.
fn failure(wanted: Wanted, seen: &Seen) -> Option<String> {
    let late = |at: Option<Duration>, within: Duration, never: &str, done: &str| match at {
        Some(at) if at <= within => None,
        Some(at) => Some(format!("{done} only after {:.1} s", at.as_secs_f64())),
        None => Some(never.to_owned()),
    };
    match wanted {
        Wanted::Complete { within } => {
            late(seen.complete, within, "is not complete", "is complete")
        }
        Wanted::Banned { within } => late(seen.banned, within, "is not banned", "was banned"),
        Wanted::Incomplete => {
            seen.complete.map(|at| format!("is complete after {:.1} s", at.as_secs_f64()))
        }
        Wanted::Uploads { at_least, at_most } => {
            let within = (at_least..=at_most).contains(&seen.uploaded);
            (!within).then(|| format!("has sent {}", Size(seen.uploaded)))
        }
    }
}

/// The figures of an expectation that has come true.
fn figures(expect: &Expect, seen: &[Seen]) -> String {
    let of = || expect.peers.iter().map(|&peer| &seen[peer]);
    let last = |at: fn(&Seen) -> Option<Duration>| {
        of().filter_map(at).max().map_or(0.0, |at| at.as_secs_f64())
    };
    match expect.what {
        Wanted::Complete { .. } => format!("the last after {:.1} s", last(|seen| seen.complete)),
        Wanted::Banned { .. } => format!("the last after {:.1} s", last(|seen| seen.banned)),
        Wanted::Incomplete => "none is".to_owned(),
        Wanted::Uploads { .. } => {
            let (least, most) = of().fold((u64::MAX, 0), |(least, most), seen| {
                (least.min(seen.uploaded), most.max(seen.uploaded))
            });
            format!("from {} to {}", Size(least), Size(most))
        }
    }
}

/// Peers that a failed expectation names.
const NAMED_MAX: usize = 5;
