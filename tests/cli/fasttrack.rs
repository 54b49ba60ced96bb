//! `gaggle net fasttrack`, on loopback.

use crate::program::{Running, World, ended};
use serde_json::Value;

fn start(world: &World, flags: &[&str]) -> (Running, String) {
    let args = ["net", "fasttrack", "--listen", "127.0.0.1:0", "--json", "-q"];
    let mut running = world.start(args.iter().chain(flags));
    let line = next(&mut running);
    assert_eq!((&line["type"], &line["network"]), (&"listening".into(), &"fasttrack".into()));
    (running, line["addr"].as_str().unwrap().to_owned())
}

fn next(running: &mut Running) -> Value {
    serde_json::from_str(&running.line().expect("it runs")).unwrap()
}

/// Waits until it stands like this.
fn until(running: &mut Running, is: impl Fn(&Value) -> bool) -> Value {
    loop {
        let line = next(running);
        assert_eq!(line["type"], "fasttrack_status");
        if is(&line) {
            return line;
        }
    }
}

#[test]
fn a_supernode_and_a_node_that_shares() {
    let world = World::new();
    world.write("music/Blue Moon.mp3", "moon");
    let (mut sn, at) = start(&world, &["--role", "supernode", "--state-dir", "state-of-sn"]);
    let first = until(&mut sn, |line| line["nodes"] == 1);
    assert_eq!((&first["role"], &first["supernode"]), (&"supernode".into(), &at.clone().into()));
    let (mut node, _) = start(&world, &["--connect", &at, "--share", "music", "--user", "ann"]);
    let attached = until(&mut node, |line| line["supernode"] == *at && line["shared"] == 1);
    assert_eq!((&attached["role"], &attached["score"]), (&"node".into(), &10.into()));
    until(&mut sn, |line| line["nodes"] == 2 && line["files"] == 1);
    node.signal("INT");
    let (code, rest) = node.wait();
    assert_eq!(code, Some(0), "{rest}");
    until(&mut sn, |line| line["nodes"] == 1 && line["files"] == 0);
    sn.signal("TERM");
    assert_eq!(sn.wait().0, Some(0));
    let state = world.path("state/gaggle");
    assert_eq!(
        std::fs::read_to_string(state.join("fasttrack.own")).unwrap(),
        "user ann\nscore 10\n"
    );
    let nodes = std::fs::read_to_string(state.join("fasttrack.nodes")).unwrap();
    assert!(nodes.starts_with("127.0.0.1 "), "{nodes}");
}

#[test]
fn what_cannot_be_says_why() {
    let world = World::new();
    let (_sn, at) = start(&world, &["--role", "supernode"]);
    for (flags, code, what) in [
        (&["--listen", &at][..], 6, "cannot listen on"),
        (&["--role", "supernode", "--firewalled"], 2, "others can connect to"),
        (&["--connect", "nobody"], 2, "--connect nobody"),
        (&["--connect", "[::1]:5"], 2, "IPv4"),
        (&["--listen", "[::1]:5"], 2, "--listen"),
        (&["--share", "nowhere"], 2, "cannot read nowhere"),
    ] {
        let ended = world.run(["net", "fasttrack", "--state-dir", "other"].iter().chain(flags));
        assert_eq!(ended.code, Some(code), "{flags:?}: {}", ended.err);
        assert!(ended.err.contains(what), "{flags:?}: {}", ended.err);
    }
}

#[test]
fn who_keeps_to_this_network_has_no_supernode_in_another() {
    let world = World::new();
    let far = ["net", "fasttrack", "--listen", "127.0.0.1:0", "--connect", "9.9.9.9:1214"];
    let refused = ended(world.command(far).env("GAGGLE_LAN", "1"));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains("9.9.9.9:1214 is in another network"), "{}", refused.err);
}

#[test]
fn who_gives_a_file_is_worth_more_at_his_supernode() {
    let world = World::new();
    world.write("music/Blue Moon.mp3", vec![7; 9 << 20]);
    let (mut sn, at) = start(&world, &["--role", "supernode", "--state-dir", "sn"]);
    let flags = ["--connect", &at, "--share", "music", "--user", "ann", "--state-dir", "ann"];
    let (_ann, _) = start(&world, &flags);
    until(&mut sn, |line| line["files"] == 1);
    let server = format!("fasttrack={at}");
    let found = world.run(["search", "blue moon", "--server", &server, "--limit", "1"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    // No peer has its torrent: it comes from ann alone.
    let got = world.run(["get", "1", "-o", "out", "--metadata-timeout", "1s", "--seed", "never"]);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert!(world.path("out/Blue Moon.mp3").exists());
    sn.signal("TERM");
    assert_eq!(sn.wait().0, Some(0));
    let scores = std::fs::read_to_string(world.path("sn/fasttrack.scores")).unwrap();
    assert!(scores.contains("127.0.0.1 11 ann\n"), "{scores}");
}
