//! `search`, and results as targets, without any network.

use crate::create::noise;
use crate::program::{Ended, Running, World};
use crate::transfer::{self, LEN, LOOPBACK};
use gaggle_core::hash::sha1;
use gaggle_core::metainfo::Metainfo;
use gaggle_core::proto::gnutella::Guid;
use gaggle_core::search::{Found, Hashes, Hit, Reach, Saved};
use serde_json::Value;

const WORDS: [&str; 2] = ["search", "blue"];

#[test]
fn what_cannot_be_asked_is_wrong_usage_with_a_way_out() {
    let world = World::new();
    #[track_caller]
    fn check(world: &World, args: &[&str], said: &str) {
        let ended = world.run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    }
    check(&world, &["search"], "WORDS");
    check(&world, &["search", "-q", "a"], "no word of two letters");
    check(&world, &WORDS, "--server gnutella=HOST:PORT");
    check(&world, &["search", "blue", "--network", "napster"], "search.napster");
    check(&world, &["search", "blue", "--network", "kazaa"], "napster, gnutella, fasttrack");
    check(&world, &["search", "blue", "--server", "kazaa=127.0.0.1:1"], "one of napster");
    check(&world, &["search", "blue", "--server", "napster=nowhere"], "HOST:PORT");
    check(
        &world,
        &["search", "blue", "--server", "127.0.0.1:4711"],
        "--server gnutella=127.0.0.1:4711",
    );
    let far = ["search", "blue", "--lan", "--server", "gnutella=9.9.9.9:6346"];
    check(&world, &far, "in another network");
    check(&world, &["search", "blue", "--type", "mp3"], "one of audio");
    check(&world, &["search", "blue", "--min-size", "much"], "much");
    check(&world, &["search", "blue", "--limit", "0"], "limit");
}

#[test]
fn a_number_is_a_result_of_the_last_search() {
    let world = World::new();
    for verb in ["get", "show"] {
        let ended = world.run([verb, "3"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(
            ended.err.contains("there is no result 3: nothing has been searched for yet"),
            "{ended:?}"
        );
    }
    world.write("state/gaggle/search.record", b"d6:formati1ee");
    let ended = world.run(["get", "3"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("damaged"), "{ended:?}");
    world.write("state/gaggle/search.record", b"d6:formati9ee");
    assert!(world.run(["get", "3"]).err.contains("not of this version"));
    // A file of that name is that file.
    world.write("3", b"d");
    assert!(world.run(["get", "3"]).err.contains("cannot read 3"));
}

#[test]
fn servers_come_from_the_configuration() {
    let world = World::new();
    let config = "[search]\ngnutella = [\"127.0.0.1:1\"]\nlimit = 5\nwait = \"1s\"\n";
    world.write("config/gaggle/config.toml", config);
    let shown = world.run(["config", "show"]).out;
    assert!(shown.contains("limit = 5") && shown.contains("wait = \"1s\""), "{shown}");
    // Nobody is there.
    let ended = world.run(["search", "blue", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let searched = ended.event("searched");
    assert_eq!((&searched["network"], &searched["links"]), (&"gnutella".into(), &0.into()));
    assert_eq!(searched["servers"], serde_json::json!(["127.0.0.1:1"]));
    assert!(ended.json().iter().all(|event| event["type"] != "hit"));
    world.write("config/gaggle/config.toml", "[search]\ngnutella = [\"nowhere\"]\n");
    let ended = world.run(["config", "show"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("search.gnutella"), "{}", ended.err);
}

/// A servent, and where it listens.
fn servent(world: &World, name: &str, flags: &[&str]) -> (Running, String) {
    let args = ["net", "gnutella", "--json", "-q", "--listen", "127.0.0.1:0", "--state-dir", name];
    let mut servent = world.start(args.iter().chain(flags));
    let line = servent.line().unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["type"], "listening", "{line}");
    (servent, said["addr"].as_str().unwrap().to_owned())
}

#[test]
fn a_shared_file_is_found_by_its_words_and_kept_by_its_number() {
    let world = World::new();
    for name in ["ann", "bob"] {
        world.write(&format!("{name}/Blue Moon (live).ogg"), "la la la".repeat(5_000));
        world.write(&format!("{name}/Blue {name}.txt"), name);
        world.write(&format!("{name}/red.txt"), name);
    }
    let (_ultra, addr) = servent(&world, "ultra", &["--role", "ultra"]);
    let sharers = ["ann", "bob"].map(|name| {
        let flags = ["--role", "leaf", "--connect", &addr, "--share", name];
        servent(&world, &format!("{name}-state"), &flags)
    });
    let server = format!("gnutella={addr}");
    // With enough it ends a second later, without anything after all of its time.
    let search = |words: &str, more: &[&str]| {
        let args = ["search", words, "--server", &server, "--json", "-q"];
        world.run(args.iter().chain(more))
    };
    // Both have it, once their folders have been looked through.
    let mut tries = 0..30;
    let hit = loop {
        let ended = search("moon live", &["--limit", "1", "--wait", "5s"]);
        let hits: Vec<Value> =
            ended.json().into_iter().filter(|event| event["type"] == "hit").collect();
        match &hits[..] {
            [hit] if hit["sources"] == 2 => break hit.clone(),
            _ => assert!(tries.next().is_some(), "{ended:?}"),
        }
    };
    assert_eq!((&hit["id"], &hit["bytes"]), (&1.into(), &40_000.into()));
    assert_eq!(
        (&hit["name"], &hit["network"]),
        (&"Blue Moon (live).ogg".into(), &"gnutella".into())
    );
    assert!(
        hit["sha1"].is_string() && hit["ping_ms"].is_number() && hit["junk"].is_null(),
        "{hit}"
    );
    let magnet = hit["magnet"].as_str().unwrap();
    assert!(magnet.contains(hit["info_hash"].as_str().unwrap()), "{magnet}");
    let shown = world.run(["show", "1", "--magnet"]);
    assert_eq!((shown.code, shown.out.trim()), (Some(0), magnet), "{shown:?}");
    // Filters, and words that must not be there.
    let names = |ended: &Ended| {
        let hits = ended.json().into_iter().filter(|event| event["type"] == "hit");
        let mut names: Vec<String> =
            hits.map(|hit| hit["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let small = search("blue -live", &["--max-size", "1K", "--limit", "2"]);
    assert_eq!(names(&small), ["Blue ann.txt", "Blue bob.txt"], "{small:?}");
    assert_eq!(small.event("searched")["filtered"], 2, "{small:?}");
    assert_eq!(
        names(&search("blue", &["--type", "audio", "--limit", "1"])),
        ["Blue Moon (live).ogg"]
    );
    assert_eq!(search("yellow", &["--wait", "2s"]).code, Some(1));
    // The last search is the one that counts.
    assert_eq!(world.run(["show", "1"]).code, Some(2));
    let people = world.run(["search", "blue", "moon", "--server", &server, "--limit", "1"]);
    assert!(people.out.contains("gnutella 2") && people.out.contains("Blue Moon"), "{people:?}");
    drop(sharers);
}

/// Writes down that the last search has found this at a servent.
fn found(world: &World, addr: &str, name: &str, size: usize, hashes: Hashes) {
    let reach = Reach::Gnutella {
        addr: Some(addr.parse().unwrap()),
        servent: Guid([1; 16]),
        index: 1,
        name: name.to_owned(),
    };
    let (name, size) = (name.to_owned(), Some(size as u64));
    let hit = Hit {
        name: name.clone(),
        size,
        hashes,
        reach,
        peer: None,
        speed: None,
        busy: false,
        seen_s: 7,
        ping: None,
    };
    let found = Found { name, size, hashes, sources: vec![hit], voices: 1, spam: None };
    let saved = Saved { text: "blue".into(), servers: Vec::new(), found: vec![found] };
    world.write("state/gaggle/search.record", saved.encode());
}

#[test]
fn a_torrent_that_is_another_file_is_told_and_its_hosts_are_left() {
    let world = transfer::world();
    let (_seed, peer) = transfer::seed(&world, "file.torrent", &[]);
    let right = noise(LEN, 9);
    world.write("ann/Blue.bin", &right);
    let (mut ann, addr) = servent(&world, "ann-state", &["--role", "ultra", "--share", "ann"]);
    while serde_json::from_str::<Value>(&ann.line().unwrap()).unwrap()["files"] != 1 {}
    // Somebody ties the SHA-1 of her file to another torrent.
    let torrent = std::fs::read(world.path("file.torrent")).unwrap();
    let torrent = Some(Metainfo::parse(&torrent).unwrap().info_hash());
    let hashes = Hashes { torrent, sha1: Some(sha1([&right[..]])), ..Hashes::default() };
    // To one that cannot have it, which needs no download to be seen.
    found(&world, &addr, "Blue.bin", LEN + 1, hashes);
    let got = world.run(["get", "1", "-o", "none", "--peer", &peer].iter().chain(&LOOPBACK));
    assert_eq!(got.code, Some(5), "{got:?}");
    assert!(got.err.contains(&format!("no such file of {} bytes", LEN + 1)), "{got:?}");
    found(&world, &addr, "Blue.bin", LEN, hashes);
    let get = |more: &[&str]| {
        let args = ["get", "1", "-o", "out", "--json", "-q"];
        world.run(args.iter().chain(&LOOPBACK).chain(more))
    };
    let got = get(&["--peer", &peer, "--seed", "never", "--on-complete", "false"]);
    assert_eq!(got.code, Some(5), "{got:?}");
    let error = got.event("error");
    let said = error["message"].as_str().unwrap_or_default().to_owned() + &got.err;
    assert!(said.contains("not what was searched for") && said.contains("SHA-1"), "{got:?}");
    assert!(got.json().iter().all(|event| event["type"] != "complete"), "{got:?}");
    assert!(std::fs::read(world.path("out/file")).unwrap() == noise(LEN, 1), "what came stays");

    let hook = world.write("hook.sh", "#!/bin/sh\nenv | grep '^GAGGLE_' > told\n");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let got = get(&["--no-torrent", "--on-complete", "./hook.sh"]);
    assert_eq!(got.code, Some(0), "{got:?}");
    let complete = got.event("complete");
    assert!(complete["info_hash"].is_null() && complete["from"]["gnutella"] == LEN, "{complete}");
    assert!(std::fs::read(world.path("out/Blue.bin")).unwrap() == right);
    let told = std::fs::read_to_string(world.path("told")).unwrap();
    let path = world.path("out/Blue.bin").canonicalize().unwrap();
    for line in [
        "GAGGLE_EVENT=complete".to_owned(),
        "GAGGLE_NAME=Blue.bin".into(),
        format!("GAGGLE_PATH={}", path.display()),
        format!("GAGGLE_SIZE={LEN}"),
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    assert!(!told.contains("GAGGLE_HASH"), "{told}");
    let wrong = world.run(["get", "file.torrent", "--no-torrent"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
