//! `gaggle dht`: a node, and questions to it, all on loopback.

use crate::program::{Running, World, ended};
use serde_json::Value;
use std::process::{Command, Stdio};

const HASH: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
const OTHER: &str = "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd";

/// A node, and where it listens.
fn node(world: &World, flags: &[&str]) -> (Running, String) {
    let args = ["dht", "node", "--listen", "127.0.0.1:0", "--json", "-q"];
    let mut node = world.start(args.iter().chain(flags));
    let line: Value = serde_json::from_str(&node.line().unwrap()).unwrap();
    assert_eq!(line["type"], "dht_node");
    assert_eq!(line["id_v4"].as_str().unwrap().len(), 40);
    assert_eq!(line["id_v6"], Value::Null);
    let listen = line["listen"][0].as_str().unwrap().to_owned();
    (node, listen)
}

fn ask(world: &World, verb: &[&str], bootstrap: &str) -> crate::program::Ended {
    let way = ["--listen", "127.0.0.1:0", "--bootstrap", bootstrap, "--json"];
    world.run(["dht"].iter().chain(verb).chain(&way))
}

#[test]
fn what_is_announced_is_found_and_what_is_not_is_exit_1() {
    let world = World::new();
    let (running, at) = node(&world, &["--state-dir", "state-of-node"]);
    let announced = ask(&world, &["announce", HASH, "4711"], &at);
    assert_eq!(announced.code, Some(0), "{}", announced.err);
    assert_eq!(announced.event("dht_announced")["stored"], 1);
    let peers = ask(&world, &["peers", HASH], &at);
    assert_eq!(peers.code, Some(0), "{}", peers.err);
    assert_eq!(peers.event("dht_peer")["peer"], "127.0.0.1:4711");
    let lookup = peers.event("dht_lookup");
    assert_eq!((&lookup["asked"], &lookup["peers"]), (&1.into(), &1.into()));
    assert_eq!((&lookup["seeds"], &lookup["leeches"]), (&0.into(), &1.into()));
    let none = ask(&world, &["peers", OTHER], &at);
    assert_eq!(none.code, Some(1), "{}", none.err);
    assert_eq!(none.event("dht_lookup")["seeds"], Value::Null, "nobody has counted it");
    assert_eq!(none.event("exit")["code"], 1);
    let pong = ask(&world, &["ping", &at], "none");
    assert_eq!(pong.code, Some(0), "{}", pong.err);
    assert_eq!(pong.event("dht_pong")["addr"], *at);
    let status = ask(&world, &["status"], &at);
    assert_eq!(status.code, Some(0), "{}", status.err);
    let status = status.event("dht_status");
    assert_eq!((&status["saved"], &status["nodes"]), (&0.into(), &1.into()));
    running.signal("INT");
    let (code, _) = running.wait();
    assert_eq!(code, Some(0), "a node that is stopped has done its work");
    let gone = ask(&world, &["ping", &at], "none");
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("does not answer"), "{}", gone.err);
}

#[test]
fn two_nodes_are_a_dht_whose_nodes_are_kept_apart_from_those_of_others() {
    let world = World::new();
    let (_first, first) = node(&world, &["--state-dir", "first"]);
    let (mut second, _) = node(&world, &["--state-dir", "second", "--bootstrap", &first]);
    loop {
        let line: Value = serde_json::from_str(&second.line().unwrap()).unwrap();
        if line["nodes"].as_u64() > Some(0) {
            assert_eq!(line["why"], Value::Null);
            break;
        }
        assert!(line["why"].is_string(), "{line}");
    }
    second.signal("TERM");
    assert_eq!(second.wait().0, Some(0));
    let status = ask(&world, &["status", "--state-dir", "second"], &first);
    assert_eq!(status.code, Some(0), "{}", status.err);
    assert_eq!(status.event("dht_status")["saved"], 1);
    let elsewhere = ask(&world, &["status", "--state-dir", "second"], "none");
    assert_eq!(elsewhere.code, Some(1), "{}", elsewhere.err);
    let elsewhere = elsewhere.event("dht_status");
    assert_eq!((&elsewhere["saved"], &elsewhere["asked"]), (&0.into(), &0.into()));
}

#[test]
fn who_finds_no_node_says_why() {
    let world = World::new();
    let alone = ask(&world, &["peers", HASH], "none");
    assert_eq!(alone.code, Some(1));
    assert!(alone.err.contains("no node is known"), "{}", alone.err);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let silence = ask(&world, &["status"], &at);
    assert_eq!(silence.code, Some(1));
    let why = silence.event("dht_status")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("answered"), "{why}");
    let wrong = ask(&world, &["peers", HASH], "nowhere");
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    let taken = silent.local_addr().unwrap().to_string();
    let taken = world.run(["dht", "node", "--listen", &taken, "--bootstrap", "none"]);
    assert_eq!(taken.code, Some(6), "{}", taken.err);
}

#[test]
fn attack_13_a_private_torrent_is_not_asked_for() {
    let world = World::new();
    world.write("data/file", [7; 40_000]);
    let create = world.run(["create", "data/file", "-o", "p.torrent", "--private"]);
    assert_eq!(create.code, Some(0), "{}", create.err);
    for verb in [&["peers", "p.torrent"][..], &["announce", "p.torrent", "1000"]] {
        let refused = ask(&world, verb, "127.0.0.1:9");
        assert_eq!(refused.code, Some(8), "{}", refused.err);
    }
}

/// In a namespace without a way out, so that even a mistake would reach nobody.
#[test]
fn from_loopback_the_public_nodes_are_not_asked() {
    let world = World::new();
    let exe = env!("CARGO_BIN_EXE_gaggle");
    let script = format!("ip link set lo up || exit 99; exec '{exe}' \"$@\"");
    let like = world.command([""; 0]);
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", &script, "sh", "dht", "status", "--json"]);
    command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    command.current_dir(like.get_current_dir().unwrap());
    for (name, value) in like.get_envs() {
        match value.filter(|_| name != "GAGGLE_DHT_BOOTSTRAP") {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let status = ended(&mut command);
    if status.code == Some(99) || status.err.starts_with("unshare") {
        eprintln!("SKIPPED: this user cannot make a network namespace");
        return;
    }
    assert_eq!(status.code, Some(1), "{}", status.err);
    let status = status.event("dht_status");
    assert_eq!(status["asked"], 0);
    assert!(status["why"].as_str().unwrap().starts_with("no node is known"), "{status}");
}

#[test]
fn who_keeps_to_this_network_asks_no_tracker_by_a_name_that_a_link_brings() {
    let world = World::new();
    let link = format!(
        "magnet:?xt=urn:btih:{HASH}&tr=http://tracker.invalid/announce&tr=http://127.0.0.1:1/announce"
    );
    let way = ["--no-lsd", "--listen", "127.0.0.1:0", "--metadata-timeout", "1s"];
    let given = ["--lan", "--tracker", "http://127.0.0.1:2/announce"];
    let ended = world.run(["get", &link].iter().chain(&way).chain(&given));
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(!ended.err.contains("tracker.invalid"), "{}", ended.err);
    for asked in ["http://127.0.0.1:1/announce", "http://127.0.0.1:2/announce"] {
        assert!(ended.err.contains(asked), "{}", ended.err);
    }
}
