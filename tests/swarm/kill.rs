//! `kill -9` at any moment: nothing that was reported is lost, and little is hashed again.

use crate::scene::{Scene, wait_for};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::rng::Rng;
use gaggle_core::storage::{Record, resume};
use harness::{Deadline, Process, Said, figure, full};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Randomness of the moments. Printed with a failure by the assertion that fails.
const SEED: u64 = 0x6b69_6c6c;
const PATIENCE_S: u64 = 90;
/// Exit code of a download that was told to stop.
const STOPPED: i32 = 143;

/// How much is moved how fast, and how often it is interrupted.
struct Plan {
    len: u64,
    /// What the seed sends at most, so that the kills come before the end.
    up: &'static str,
    kills: u32,
    /// One kill in so many comes after a sync that time alone has started.
    late_every: u32,
}

const SHORT: Plan = Plan { len: 96 << 20, up: "10M", kills: 5, late_every: 5 };
const LONG: Plan = Plan { len: 1 << 30, up: "28M", kills: 20, late_every: 7 };

/// What the state folder says right after a kill.
struct Left {
    /// Pieces that a record names.
    durable: Bitfield,
    /// Pieces touched since: all that the next start may hash.
    since: u32,
}

#[test]
fn claim_kill_restarts_lose_nothing_and_hash_little() {
    let plan = if full() { LONG } else { SHORT };
    let scene = Scene::new(plan.len, "256K");
    let (_seed, seed) = scene.seed(&["--up", plan.up]);
    let mut rng = Rng::seeded(SEED);
    let (mut floor, mut worst, mut all) = (0, 0, 0);
    let mut left = self::left(&scene);
    for kill in 0..plan.kills {
        let mut leech = scene.leech("leech", &[seed]);
        let late = kill % plan.late_every == plan.late_every / 2;
        if kill % 4 != 3 {
            // Else it may also die while it still looks at what is there.
            let hashed = restarted(&mut leech, floor, &left);
            (worst, all) = (worst.max(hashed), all + hashed);
        }
        let millis = if late { 5_500 + rng.below(500) } else { 20 + rng.below(900) };
        std::thread::sleep(Duration::from_millis(millis));
        let said = leech.kill().expect("the kills come before the end");
        floor = floor.max(last_done(&said));
        left = self::left(&scene);
        let named = u64::from(left.durable.count()) * (256 << 10);
        assert!(!late || named > 0, "kill {kill}: no record after {millis} ms");
    }
    let mut leech = scene.leech("leech", &[seed]);
    let hashed = restarted(&mut leech, floor, &left);
    (worst, all) = (worst.max(hashed), all + hashed);
    assert!(floor > plan.len / 8, "killed before anything had come: {floor}");
    undisturbed(&scene, leech, seed);
    let (kills, pieces) = (plan.kills, scene.pieces());
    let text = format!("-9 {kills} times: 0 bytes lost, at most {worst} of {pieces} pieces hashed");
    figure("kill", &format!("{text} at a start, {all} in all"));
}

/// Looks at how a killed download starts again; how many pieces it hashed.
#[track_caller]
fn restarted(leech: &mut Process, floor: u64, left: &Left) -> u32 {
    let (hashed, trusted, done) = checked(leech);
    assert!(done >= floor, "{done} bytes after a restart, {floor} were reported");
    assert!(hashed <= left.since, "hashed {hashed}, {} pieces since the record", left.since);
    assert!(trusted >= left.durable.count(), "{trusted} of {} trusted", left.durable.count());
    hashed
}

/// Told to stop, started again, and once more after the end: nearly nothing is hashed.
fn undisturbed(scene: &Scene, mut leech: Process, seed: SocketAddr) {
    let few = scene.pieces() / 100;
    std::thread::sleep(Duration::from_millis(300));
    leech.terminate().unwrap();
    let status = leech.wait(Deadline::after_secs(5)).unwrap();
    assert_eq!(status.code(), Some(STOPPED), "{}", leech.tail());
    let floor = last_done(&leech.said());
    for _ in 0..2 {
        let leech = scene.leech("leech", &[seed]);
        let finished = scene.finish("leech", leech, PATIENCE_S);
        let found = finished.events.iter().find(|event| event["type"] == "checked").unwrap();
        assert!(number(found, "hashed_pieces") <= few.into(), "{found}");
        assert!(number(found, "done") >= floor, "{found}, {floor} were reported");
    }
}

/// Pieces hashed, pieces trusted and bytes there, as a start says it.
fn checked(leech: &mut Process) -> (u32, u32, u64) {
    let found = wait_for(leech, "checked");
    let pieces = |key| u32::try_from(number(&found, key)).unwrap();
    (pieces("hashed_pieces"), pieces("trusted_pieces"), number(&found, "done"))
}

/// Verified bytes on the last progress line.
fn last_done(said: &[Said]) -> u64 {
    let mut objects = said.iter().rev().filter_map(|said| serde_json::from_str(&said.text).ok());
    let last = objects.find(|object: &Value| object["type"] == "progress");
    last.map_or(0, |object| number(&object, "done"))
}

fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("no {key} in {object}"))
}

/// Reads the record and the list of what came since.
fn left(scene: &Scene) -> Left {
    let folder = scene.state("leech").join("resume");
    let (info_hash, geometry) = (scene.metainfo.info_hash(), scene.metainfo.info.geometry);
    let mut durable = Bitfield::empty(geometry.pieces());
    if let Some(path) = file(&folder, "record") {
        let record = Record::decode(&fs::read(path).unwrap());
        durable = record.expect("a record is replaced whole").durable;
    }
    let mut listed = Bitfield::empty(geometry.pieces());
    if let Some(path) = file(&folder, "unsynced") {
        listed = resume::read_list(info_hash, &geometry, &fs::read(path).unwrap());
    }
    listed.remove_all(&durable);
    Left { durable, since: listed.count() }
}

fn file(folder: &Path, kind: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.map_while(Result::ok).map(|entry| entry.path());
    entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == kind))
}
