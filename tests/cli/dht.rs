//! `gaggle dht`: a node, and questions to it, all on loopback.

use crate::program::{Running, World, ended};
use gaggle_core::id::NodeId;
use gaggle_core::proto::krpc::{Ask, Body, Item, ItemValue, Kept, Message, Reply, Salt, Token};
use gaggle_core::sign::SecretKey;
use serde_json::Value;
use std::fs::Permissions;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;

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
fn an_item_that_nobody_can_change() {
    let world = World::new();
    let (_running, at) = node(&world, &[]);
    let hello = "e5f96f6f38320f0f33959cb4d3d656452117aadb"; // the vector of BEP 44
    let none = ask(&world, &["get", hello], &at);
    assert_eq!(none.code, Some(1), "{}", none.err);
    assert_eq!(none.event("dht_get")["copies"], 0);
    let put = ask(&world, &["put", "--text", "Hello World!"], &at);
    assert_eq!(put.code, Some(0), "{}", put.err);
    let stored = put.event("dht_put");
    assert_eq!((&stored["target"], &stored["stored"]), (&hello.into(), &1.into()));
    assert_eq!((&stored["key"], &stored["seq"]), (&Value::Null, &Value::Null));
    let got = ask(&world, &["get", hello], &at);
    assert_eq!(got.code, Some(0), "{}", got.err);
    let item = got.event("dht_item");
    assert_eq!(item["text"], "Hello World!");
    assert_eq!(item["bencode"], "31323a48656c6c6f20576f726c6421");

    // For people and scripts: the bytes and nothing else, from a file to a file.
    world.write("value", [0, 255, b'\n']);
    let way = ["--listen", "127.0.0.1:0", "--bootstrap", &at];
    let put = world.run(["dht", "put", "value"].iter().chain(&way));
    assert_eq!((put.code, put.out.len()), (Some(0), 41), "{}", put.err);
    let mut command = world.command(["dht", "get", put.out.trim()].iter().chain(&way));
    assert_eq!(command.output().unwrap().stdout, [0, 255, b'\n']);
    let raw = world.run(["dht", "get", hello, "--bencode"].iter().chain(&way));
    assert_eq!((raw.code, &*raw.out), (Some(0), "12:Hello World!"));
    world.write("list", "li1e3:twoe");
    let put = world.run(["dht", "put", "list", "--bencode"].iter().chain(&way));
    let list = world.run(["dht", "get", put.out.trim()].iter().chain(&way));
    assert_eq!((list.code, &*list.out), (Some(0), "li1e3:twoe"));
}

#[test]
fn an_item_whose_owner_can_change_it() {
    let world = World::new();
    let (_running, at) = node(&world, &[]);
    let put = |args: &[&str]| {
        let owned = [&["put", "--key", "owner.key", "--salt", "s"], args].concat();
        ask(&world, &owned, &at)
    };
    let missing = put(&["--text", "one"]);
    assert_eq!(missing.code, Some(2), "{}", missing.err);
    assert!(missing.err.contains("--new-key"), "{}", missing.err);
    let first = put(&["--text", "one", "--new-key"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    let key = first.event("dht_put")["key"].as_str().unwrap().to_owned();
    assert_eq!((key.len(), &first.event("dht_put")["seq"]), (64, &1.into()));
    let file = world.path("owner.key");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read(&file).unwrap();

    let seq = |ended: &crate::program::Ended| {
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.event("dht_put")["seq"].as_i64().unwrap()
    };
    assert_eq!(seq(&put(&["--text", "one", "--new-key"])), 1, "the same value is renewed");
    assert_eq!(seq(&put(&["--text", "two"])), 2);
    assert_eq!(seq(&put(&["--text", "seven", "--seq", "7", "--cas", "2"])), 7);
    let old = put(&["--text", "old", "--seq", "6"]);
    assert_eq!((old.code, &old.event("dht_put")["refused"]), (Some(1), &302.into()));
    assert!(old.err.contains("newer"), "{}", old.err);
    let other = put(&["--text", "other", "--cas", "2"]);
    assert_eq!((other.code, &other.event("dht_put")["refused"]), (Some(1), &301.into()));
    assert_eq!(std::fs::read(&file).unwrap(), secret, "a key is never overwritten");

    let got = ask(&world, &["get", &key, "--salt", "s"], &at);
    let item = got.event("dht_item");
    assert_eq!((&item["text"], &item["seq"]), (&"seven".into(), &7.into()));
    assert_eq!((&item["key"], got.code), (&key.into(), Some(0)));
    let elsewhere = ask(&world, &["get", item["key"].as_str().unwrap()], &at);
    assert_eq!(elsewhere.code, Some(1), "without the salt it is another place");
}

/// Another has put a newer one between our look and our put: only a condition keeps it.
#[test]
fn what_replaces_an_item_names_the_one_that_was_found() {
    let world = World::new();
    world.write("owner.key", "07".repeat(32));
    std::fs::set_permissions(world.path("owner.key"), Permissions::from_mode(0o600)).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap().to_string();
    let (sender, conditions) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        let value = ItemValue::of_bytes(b"four").unwrap();
        let item = Item::sign(&SecretKey::from_seed(&[7; 32]), &Salt::default(), 4, value);
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let message = Message::parse(&buffer[..len]).unwrap();
            let Body::Query(query) = message.body else { continue };
            let mut reply = Reply::new(NodeId([1; 20]));
            match query.ask {
                Ask::Get { .. } => {
                    reply.token = Token::new(b"token");
                    reply.kept = Some(Kept::Item(Box::new(item.clone())));
                }
                Ask::Put { put, .. } => sender.send((put.item.seq(), put.cas)).unwrap(),
                _ => {}
            }
            let reply = Message::reply(message.transaction, reply);
            socket.send_to(&reply.encode(), from).unwrap();
        }
    });
    let put = |args: &[&str]| {
        let ended = ask(&world, &[&["put", "--key", "owner.key"], args].concat(), &at);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        conditions.try_recv().unwrap()
    };
    assert_eq!(put(&["--text", "five"]), (Some(5), Some(4)));
    assert_eq!(put(&["--text", "four"]), (Some(4), Some(4)));
    assert_eq!(put(&["--text", "five", "--cas", "3"]), (Some(5), Some(3)));
    assert_eq!(put(&["--text", "nine", "--seq", "9"]), (Some(9), None));
}

#[test]
fn what_cannot_be_an_item_is_refused_before_anybody_is_asked() {
    let world = World::new();
    world.write("long", [b'x'; 997]);
    let mode = |name: &str, mode| {
        std::fs::set_permissions(world.path(name), Permissions::from_mode(mode)).unwrap();
    };
    let seed = "ab".repeat(32);
    let keys = [
        ("endless.key", "a".repeat(5000)),
        ("padded.key", format!("{seed}{}", " ".repeat(200))),
        ("unknown.key", format!("{seed}{seed}")),
        ("open.key", seed),
    ];
    for (name, key) in keys {
        world.write(name, key);
        mode(name, 0o600);
    }
    mode("open.key", 0o640);
    let refused = |args: &[&str], says: &str| {
        let ended = ask(&world, args, "127.0.0.1:9");
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(says), "{args:?}: {}", ended.err);
    };
    refused(&["put", "long"], "996");
    refused(&["put", "missing"], "no such file");
    refused(&["put", "--text", "d1:bi1e1:ai1ee", "--bencode"], "in order");
    refused(&["put", "--text", "not bencode", "--bencode"], "unexpected byte");
    refused(&["put"], "<FILE>");
    refused(&["put", "--text", "a", "--seq", "1"], "--key");
    refused(&["put", "--text", "a", "--key", "k", "--seq", "-1"], "-1");
    refused(&["put", "--text", "a", "--key", "endless.key"], "no key");
    refused(&["put", "--text", "a", "--key", "padded.key"], "no key");
    refused(&["put", "--text", "a", "--key", "unknown.key"], "expanded key");
    refused(&["put", "--text", "a", "--key", "open.key"], "chmod 600");
    refused(&["put", "--text", "a", "--key", "."], "regular file");
    refused(&["put", "--text", "a", "--key", "k", "--salt", &"s".repeat(65)], "64");
    refused(&["get", "c12fe1c0"], "40 hex");
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

/// The program in a namespace without a way out, so that even a mistake would reach nobody; `None` where this user
/// can make none. `script` runs it as `"$0" "$@"`.
fn alone(world: &World, script: &str, args: &[&str]) -> Option<crate::program::Ended> {
    let exe = env!("CARGO_BIN_EXE_gaggle");
    let script = format!("ip link set lo up || exit 99; {script}");
    let like = world.command([""; 0]);
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", &script, exe]).args(args).stdin(Stdio::null());
    command.current_dir(like.get_current_dir().unwrap());
    for (name, value) in like.get_envs() {
        match value.filter(|_| name != "GAGGLE_DHT_BOOTSTRAP") {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ended = ended(&mut command);
    if ended.code == Some(99) || ended.err.starts_with("unshare") {
        eprintln!("SKIPPED: this user cannot make a network namespace");
        return None;
    }
    Some(ended)
}

/// A neighbour may know the whole world, and name it.
#[test]
fn who_keeps_to_this_network_asks_no_public_node_that_a_neighbour_names() {
    let world = World::new();
    let script = r#"
        ip addr add 10.9.9.1/32 dev lo && ip addr add 198.18.0.1/32 dev lo || exit 99
        "$0" dht node -q --listen 198.18.0.1:7001 --bootstrap none --state-dir far & far=$!
        # Who finds nobody to begin with tries again much later.
        for _ in $(seq 50); do "$0" dht ping -q 198.18.0.1:7001 --listen 198.18.0.1:0 > ping && break; done
        "$0" dht node -q --listen 0.0.0.0:7002 --bootstrap 198.18.0.1:7001 --state-dir near & near=$!
        for _ in $(seq 50); do
            "$0" dht status --listen 10.9.9.1:0 --bootstrap 10.9.9.1:7002 | grep -q 'nodes  2' && break
            sleep 0.1
        done
        "$0" "$@" > free
        GAGGLE_LAN=1 "$0" "$@" > kept
        code=$?
        kill $far $near; wait
        cat free kept
        exit $code"#;
    let announce = ["dht", "announce", HASH, "4711", "--json", "--listen", "0.0.0.0:0"];
    let args = [&announce[..], &["--bootstrap", "10.9.9.1:7002"]].concat();
    let Some(ended) = alone(&world, script, &args) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines = ended.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let stored = lines.filter(|line| line["type"] == "dht_announced");
    let stored: Vec<Value> = stored.map(|line| line["stored"].clone()).collect();
    assert_eq!(stored, [2, 1], "{}", ended.out);
}

#[test]
fn from_loopback_the_public_nodes_are_not_asked() {
    let world = World::new();
    let args = ["dht", "status", "--json", "--listen", "127.0.0.1:0"];
    let Some(status) = alone(&world, r#"exec "$0" "$@""#, &args) else { return };
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
    for args in
        [&["get", &link, "--dht-bootstrap", "198.18.0.1:1"][..], &["dht", "ping", "198.18.0.1:1"]]
    {
        let refused = ended(
            world.command(args.iter().chain(&["--listen", "127.0.0.1:0"])).env("GAGGLE_LAN", "1"),
        );
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(refused.err.contains("198.18.0.1:1 is in another network"), "{}", refused.err);
    }
    let way = ["--no-lsd", "--listen", "127.0.0.1:0", "--metadata-timeout", "1s"];
    let given = ["--lan", "--tracker", "http://127.0.0.1:2/announce"];
    let ended = world.run(["get", &link].iter().chain(&way).chain(&given));
    assert_eq!(ended.code, Some(3), "{}", ended.err);
    assert!(!ended.err.contains("tracker.invalid"), "{}", ended.err);
    for asked in ["http://127.0.0.1:1/announce", "http://127.0.0.1:2/announce"] {
        assert!(ended.err.contains(asked), "{}", ended.err);
    }
}
