//! `gaggle lab`: scenarios with real processes, in the words and codes that scripts see.

use crate::program::{Ended, World};
use serde_json::Value;
use std::path::PathBuf;

fn scenario(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios").join(name)
}

fn play(world: &World, name: &str) -> Ended {
    let file = scenario(name).display().to_string();
    world.run(["--json", "lab", "run", &file, "--report", "report"])
}

fn happened(ended: &Ended, what: &str) -> Vec<Value> {
    let events = ended.json().into_iter();
    events.filter(|event| event["type"] == "lab_peer" && event["what"] == what).collect()
}

#[test]
fn claim_poison_a_real_leech_finishes_and_says_whom_it_banned() {
    let world = World::new();
    let ended = play(&world, "poisoner.toml");
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let banned = &happened(&ended, "banned")[0];
    assert_eq!((&banned["peer"], &banned["about"]), (&"leech".into(), &"poisoner".into()));
    assert_eq!(happened(&ended, "complete")[0]["peer"], "leech");
    let report = std::fs::read_to_string(world.path("report/report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ok"], true);
    let leech = &report["peers"][2];
    let wasted = leech["wasted"].as_u64().unwrap();
    assert!(wasted > 0, "the poisoner was asked: {leech}");
    assert!(world.path("report/leech.log").is_file());
    println!(
        "FIGURE poison three processes: the leech is complete after {:.1} s, bans the poisoner ({}), {} KiB wasted",
        leech["complete"].as_f64().unwrap(),
        leech["bans"],
        wasted >> 10
    );
}

#[test]
fn killed_leeches_come_back_and_free_riders_give_nothing() {
    let world = World::new();
    let ended = play(&world, "crash.toml");
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(happened(&ended, "killed").len(), 2);
    assert_eq!(happened(&ended, "started").len(), 6 + 2);
    assert_eq!(ended.event("lab")["ok"], true);
}

#[test]
fn a_simulation_ends_with_its_trace() {
    let world = World::new();
    let trace = |ended: &Ended| ended.json().last().unwrap()["trace_hash"].clone();
    let once = play(&world, "flash-crowd.toml");
    assert_eq!(once.code, Some(0), "{once:#?}");
    assert!(trace(&once).is_string());
    assert_eq!(trace(&once), trace(&play(&world, "flash-crowd.toml")));
    let file = scenario("flash-crowd.toml").display().to_string();
    let other = world.run(["--json", "lab", "run", &file, "--seed", "8"]);
    assert_ne!(trace(&once), trace(&other));
}

#[test]
fn a_failed_expectation_is_named_with_its_line() {
    let world = World::new();
    let text = std::fs::read_to_string(scenario("flash-crowd.toml")).unwrap();
    let impatient = text.replace("within = \"10m\"", "within = \"3s\"");
    world.write("it.toml", &impatient);
    let line = impatient.lines().position(|line| line.starts_with("complete")).unwrap() + 1;
    let ended = world.run(["lab", "run", "it.toml"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let failed = ended.out.lines().find(|line| line.starts_with("FAIL")).unwrap();
    let want = format!("FAIL  it.toml:{line}  complete = \"crowd[10..30]\", within = \"3s\": ");
    assert!(failed.starts_with(&want), "{failed}");
}

#[test]
fn a_scenario_that_makes_no_sense_is_refused_before_anything_starts() {
    let world = World::new();
    world.write("it.toml", "mode = \"real\"\npeers = []\nexpect = []\ncontents = 3\n");
    for verb in ["check", "run"] {
        let ended = world.run(["lab", verb, "it.toml"]);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert!(ended.err.contains("it.toml:4: unknown field `contents`"), "{ended:#?}");
    }
    assert_eq!(world.run(["lab", "check", "nowhere.toml"]).code, Some(2));
    let good = scenario("crash.toml").display().to_string();
    let ended = world.run(["lab", "check", &good]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.out.contains("6 peers, 3 expectations"), "{}", ended.out);
}
