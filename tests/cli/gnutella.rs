//! `gaggle net gnutella`: servents on loopback.

use crate::program::{Running, World};
use serde_json::Value;
use std::net::TcpListener;

/// A servent, and where it listens.
fn servent(world: &World, state: &str, flags: &[&str]) -> (Running, String) {
    let args = ["net", "gnutella", "--listen", "127.0.0.1:0", "--json", "-q", "--state-dir", state];
    let mut servent = world.start(args.iter().chain(flags));
    let line: Value = serde_json::from_str(&servent.line().unwrap()).unwrap();
    assert_eq!((&line["type"], &line["network"]), (&"listening".into(), &"gnutella".into()));
    let addr = line["addr"].as_str().unwrap().to_owned();
    (servent, addr)
}

/// How it stands, as soon as it stands so.
fn until(servent: &mut Running, what: impl Fn(&Value) -> bool) -> Value {
    loop {
        let line: Value = serde_json::from_str(&servent.line().expect("it runs")).unwrap();
        if line["type"] == "gnutella_status" && what(&line) {
            return line;
        }
    }
}

#[test]
fn a_leaf_that_shares_and_its_ultrapeer() {
    let world = World::new();
    world.write("shared/blue moon.mp3", vec![7; 20_000]);
    let (mut ultrapeer, addr) = servent(&world, "state-u", &["--role", "ultra"]);
    let flags = ["--connect", &addr, "--share", "shared"];
    let (mut leaf, _) = servent(&world, "state-l", &flags);
    let one = |status: &Value| status["leaves"] == 1;
    assert_eq!(until(&mut ultrapeer, one)["role"], "ultrapeer");
    let shares = |status: &Value| status["files"] == 1 && status["ultrapeers"] == 1;
    let status = until(&mut leaf, shares);
    assert_eq!((&status["role"], &status["firewalled"]), (&"leaf".into(), &false.into()));
    for (servent, signal) in [(leaf, "INT"), (ultrapeer, "TERM")] {
        servent.signal(signal);
        assert_eq!(servent.wait().0, Some(0), "a servent that is stopped has done its work");
    }
    // The leaf knows its ultrapeer's address the next time, whoever is there.
    let ear = TcpListener::bind(&addr).unwrap();
    let (_again, _) = servent(&world, "state-l", &[]);
    ear.accept().unwrap();
}

#[test]
fn what_cannot_be_is_said() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let busy = world.run(["net", "gnutella", "--listen", &addr]);
    assert_eq!(busy.code, Some(6), "{}", busy.err);
    assert!(busy.err.contains(&format!("cannot listen on {addr}")), "{}", busy.err);
    assert!(busy.err.contains("--listen IP:0"), "{}", busy.err);
    for (args, code, words) in [
        (&["--connect", "nobody"][..], 2, "--connect nobody is not HOST:PORT"),
        (&["--share", "nowhere"], 2, "nowhere"),
        (&["--host-cache", "gopher://x"], 2, "udp://HOST:PORT"),
        (&["--role", "queen"], 2, "ultra"),
        (&["--listen", "[::1]:0"], 2, "--listen"),
    ] {
        let listen = ["--listen", "127.0.0.1:0"];
        let first = if args[0] == "--listen" { &[][..] } else { &listen[..] };
        let ended = world.run(["net", "gnutella"].iter().chain(first).chain(args));
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{args:?}: {}", ended.err);
    }
}
