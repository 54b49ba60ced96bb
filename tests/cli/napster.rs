//! `gaggle net napster`: a directory, clients of it, and what goes wrong, all on loopback.

use crate::program::{Running, World, ended};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

fn start(world: &World, flags: &[&str]) -> (Running, Value) {
    let args = ["net", "napster", "--json", "-q"];
    let mut node = world.start(args.iter().chain(flags));
    let line: Value = serde_json::from_str(&node.line().unwrap()).unwrap();
    assert_eq!((&line["type"], &line["network"]), (&"listening".into(), &"napster".into()));
    (node, line["addr"].clone())
}

/// The first line of this type of which this is true.
fn until(node: &mut Running, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
    loop {
        let line: Value = serde_json::from_str(&node.line().expect("it has ended")).unwrap();
        if line["type"] == kind && is(&line) {
            return line;
        }
    }
}

#[test]
fn a_directory_and_clients_that_share_and_ask() {
    let world = World::new();
    let local = ["--listen", "127.0.0.1:0"];
    let (mut directory, at) =
        start(&world, &[&local[..], &["--state-dir", "one", "--name", "our-house"]].concat());
    let at = at.as_str().unwrap();
    for n in 0..30 {
        world.write(&format!("music/song {n}.mp3"), n.to_string());
    }
    world.write("bobs-password", "secret\n");
    let password = ["--register", "--password-file", "bobs-password"];
    let flags = [&["--connect", at, "--share", "music", "--nick", "bob"], &password[..], &local];
    let (mut bob, data_port) =
        start(&world, &[&flags.concat()[..], &["--state-dir", "two"]].concat());
    assert!(data_port.as_str().unwrap().starts_with("127.0.0.1:"));
    let status = until(&mut directory, "napster_directory", |line| line["files"] == 30);
    assert_eq!((&status["users"], &status["connections"]), (&1.into(), &1.into()));
    let status = until(&mut bob, "napster_client", |line| line["shared"] == 30);
    assert_eq!((&status["state"], &status["server"]), (&"in".into(), &at.into()));
    // Who is firewalled says so, and is in as well.
    let (mut walled, none) = start(&world, &["--connect", at, "--firewalled"]);
    assert_eq!(none, Value::Null);
    until(&mut walled, "napster_client", |line| line["state"] == "in");
    let list = world.run(["net", "napster", "--connect", at, "--browse", "bob", "--json"]);
    assert_eq!(list.code, Some(0), "{}", list.err);
    let files = list.json().iter().filter(|line| line["type"] == "napster_file").count();
    assert_eq!(files, 30);
    let is = world.run(["net", "napster", "--connect", at, "--whois", "BOB", "--json"]);
    let is = is.event("napster_user");
    assert_eq!((&is["nick"], &is["shared"]), (&"bob".into(), &30.into()));
    let nobody = world.run(["net", "napster", "--connect", at, "--browse", "ghost"]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.err);
    assert!(nobody.err.contains("ghost is not here"), "{}", nobody.err);
    // The name is bob's.
    let thief = world.run(["net", "napster", "--connect", at, "--nick", "bob", "--json", "-q"]);
    assert_eq!(thief.code, Some(8), "{}", thief.err);
    assert!(thief.err.contains("Invalid Password"), "{}", thief.err);
    // A client of another make, word by word.
    let mut other = TcpStream::connect(at).unwrap();
    other.write_all(b"\x15\0\x02\0eve pw 0 \"nap v0.8\" 3").unwrap();
    let mut greeting = [0; 18];
    other.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"\x0e\0\x03\0anon@our-house");
    for node in [bob, walled, directory] {
        node.signal("INT");
        let (code, _) = node.wait();
        assert_eq!(code, Some(0), "a node that is stopped has done its work");
    }
    let kept = std::fs::read_to_string(world.path("one/napster.accounts")).unwrap();
    assert!(kept.contains("\nbob ") && !kept.contains("secret"), "{kept}");
}

#[test]
fn who_keeps_to_this_network_connects_to_no_address_outside_of_it() {
    let world = World::new();
    let (_directory, at) = start(&world, &["--listen", "127.0.0.1:0"]);
    let at = at.as_str().unwrap();
    // Leads to this machine, and is no address of anybody.
    let odd = at.replace("127.0.0.1", "0.0.0.0");
    for (to, lan, code, words) in [
        (at, "1", 1, "bob is not here"),
        (&odd, "0", 1, "bob is not here"),
        (&odd, "1", 6, "does not answer"),
    ] {
        let asked = ["net", "napster", "--connect", to, "--whois", "bob"];
        let asked = ended(world.command(asked).env("GAGGLE_LAN", lan));
        assert_eq!(asked.code, Some(code), "{to} {lan}: {}", asked.err);
        assert!(asked.err.contains(words), "{to} {lan}: {}", asked.err);
    }
}

#[test]
fn what_cannot_be_is_said() {
    let world = World::new();
    let (_directory, at) = start(&world, &["--listen", "127.0.0.1:0"]);
    let at = at.as_str().unwrap();
    world.write("empty", "\n");
    for (flags, code, words) in [
        (&["--share", "x"][..], 2, "--connect"),
        (&["--connect", at, "--share", "nothing"], 2, "no such folder"),
        (&["--connect", at, "--nick", "b?b"], 2, "no directory admits"),
        (&["--connect", at, "--nick", "gaggle", "--json"], 2, "Invalid nick"),
        (&["--connect", at, "--password-file", "empty"], 2, "no password"),
        (&["--connect", at, "--name", "x"], 2, "--name"),
        (&["--listen", at], 6, "in use"),
        (&["--connect", "127.0.0.1:1", "--whois", "bob"], 6, "does not answer"),
        (&["--per-address", "0"], 2, "nothing through"),
    ] {
        let ended = world.run(["net", "napster"].iter().chain(flags));
        assert_eq!(ended.code, Some(code), "{flags:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{flags:?}: {}", ended.err);
    }
}
