//! Scenario files that make sense, those that do not, and one that is played on virtual time.

use super::scenario::Wanted;
use super::*;
use std::path::Path;
use std::time::Duration;

const GOOD: &str = r#"
mode = "sim"
seed = 3

[content]
size = "1MiB"
piece_length = "32KiB"

[[peers]]
name = "seed"
role = "seed"

[[peers]]
name = "crowd"
role = "leech"
count = 4
up = "1M"

[[steps]]
at = "1s"
kill = "crowd[0..2]"

[[expect]]
complete = "crowd[2..4]"
within = "60s"
"#;

fn parse(text: &str) -> Result<Scenario, LabError> {
    Scenario::parse(Path::new("it.toml"), text)
}

#[test]
fn a_good_file_is_understood() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.mode, scenario.seed), ("it", Mode::Sim, 3));
    assert_eq!((scenario.peer_count(), scenario.expectation_count()), (5, 1));
    assert_eq!(scenario.peers[3].name, "crowd[2]");
    assert_eq!(scenario.steps[0].peers, [1, 2]);
    let expect = &scenario.expects[0];
    assert_eq!((expect.line, &expect.peers[..]), (24, &[3, 4][..]));
    assert_eq!(expect.what, Wanted::Complete { within: Duration::from_secs(60) });
    assert_eq!(expect.text, r#"complete = "crowd[2..4]", within = "60s""#);
}

#[test]
fn what_makes_no_sense_is_named_with_its_line() {
    #[track_caller]
    fn check(from: &str, to: &str, want: &str) {
        assert!(GOOD.contains(from), "{from}");
        let error = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    check("seed = 3", "sead = 3", "it.toml:3: unknown field `sead`");
    check("count = 4", "cuont = 4", "it.toml:16: unknown field `cuont`");
    check("mode = \"sim\"", "mode = \"simm\"", "it.toml:2: unknown variant `simm`");
    check("\"1MiB\"", "\"1 parsec\"", "it.toml:6: ");
    check("\"1MiB\"", "\"0\"", "it.toml:6: size");
    check("\"32KiB\"", "\"33KiB\"", "it.toml:7: piece_length");
    check("\"60s\"", "\"soon\"", "it.toml:25: within: ");
    check(
        "crowd[2..4]",
        "mob",
        "it.toml:24: nobody is called `mob`; there are seed, crowd and all",
    );
    check("crowd[2..4]", "crowd[2..5]", "it.toml:24: `crowd[2..5]` is empty or goes beyond the 4");
    check("crowd[2..4]", "crowd[4]", "it.toml:24: ");
    check("crowd[2..4]", "crowd[a]", "it.toml:24: `a` is no number");
    check("crowd[2..4]", "crowd[1", "it.toml:24: ");
    check("kill =", "within =", "unknown field `within`");
    check("kill = \"crowd[0..2]\"", "", "it.toml:19: a step has exactly one");
    check(
        "within = \"60s\"",
        "at_least = \"1M\"",
        "it.toml:25: at_least and at_most go with uploads",
    );
    check("complete =", "uploads =", "it.toml:25: within goes with complete and banned");
    check("within = \"60s\"", "banned = \"seed\"", "exactly one of complete");
    check("count = 4", "count = 0", "it.toml:16: count");
    check("name = \"crowd\"", "name = \"seed\"", "it.toml:14: name: there are two");
    check("name = \"crowd\"", "name = \"a b\"", "it.toml:14: name");
    check("\"sim\"", "\"real\"\nlink = { loss = 0.1 }", "it.toml:3: link");
    check("[content]", "[link]\nloss = 2.0\n[content]", "it.toml:6: loss");
    check("role = \"seed\"", "role = \"staller\"\ndown = \"x\"", "it.toml:12: ");
}

#[test]
fn some_roles_are_played_in_simulations_only() {
    let real = GOOD.replace("\"sim\"", "\"real\"").replace("\"leech\"", "\"spammer\"");
    let error = parse(&real).unwrap_err().to_string();
    assert!(error.contains("Spammer is played in mode = \"sim\" only"), "{error}");
}

#[test]
fn a_simulation_is_judged_and_repeats_itself() {
    let scenario = parse(GOOD).unwrap();
    let report = play_sim(&scenario).unwrap();
    assert!(report.ok, "{:?}", report.verdicts);
    assert_eq!(report.trace_hash, play_sim(&scenario).unwrap().trace_hash);
    assert!(report.seconds < 60.0 && report.peers[4].complete.is_some());
    let other = Scenario { seed: 4, ..scenario };
    assert_ne!(report.trace_hash, play_sim(&other).unwrap().trace_hash);
}

#[test]
fn a_failed_expectation_says_who_and_how() {
    let hopeless = GOOD.replace("role = \"seed\"", "role = \"liar\"");
    let report = play_sim(&parse(&hopeless).unwrap()).unwrap();
    assert!(!report.ok);
    let verdict = &report.verdicts[0];
    assert_eq!((verdict.ok, verdict.line), (false, 24));
    assert_eq!(verdict.why, "crowd[2] is not complete; crowd[3] is not complete");
    assert!((60.0..62.0).contains(&report.seconds), "no longer than needed: {}", report.seconds);
}

#[test]
fn bans_and_figures_are_judged() {
    let text = GOOD.replace("[[steps]]\nat = \"1s\"\nkill = \"crowd[0..2]\"\n", "").replace(
        "[[expect]]",
        r#"
[[peers]]
name = "bad"
role = "poisoner"

[[expect]]
banned = "bad"
within = "60s"

[[expect]]
uploads = "seed"
at_least = "1MiB"

[[expect]]
uploads = "crowd"
at_most = "1"

[[expect]]
incomplete = "crowd[0]"

[[expect]]"#,
    );
    let report = play_sim(&parse(&text).unwrap()).unwrap();
    let ok: Vec<bool> = report.verdicts.iter().map(|verdict| verdict.ok).collect();
    assert_eq!(ok, [true, true, false, false, true], "{:?}", report.verdicts);
    assert!(report.verdicts[3].why.starts_with("crowd[0] is complete after"));
}
