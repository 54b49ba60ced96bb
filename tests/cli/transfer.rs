//! get, seed and share with one another, over real sockets on loopback.

use crate::create::noise;
use crate::program::{Ended, PATIENCE, Running, World, ended};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub(crate) const LOOPBACK: [&str; 2] = ["--listen", "127.0.0.1:0"];
pub(crate) const LEN: usize = 3_000_000;

/// A world with `file` and `tree`, and a torrent of each.
pub(crate) fn world() -> World {
    let world = World::new();
    world.write("here/file", noise(LEN, 1));
    world.write("here/tree/a.bin", noise(300_000, 2));
    world.write("here/tree/b.txt", noise(100_000, 3));
    world.write("here/tree/c/d.txt", noise(50_000, 4));
    for name in ["file", "tree"] {
        let (path, torrent) = (format!("here/{name}"), format!("{name}.torrent"));
        let made = world.run(["create", &path, "-o", &torrent, "--piece-length", "32K", "-q"]);
        assert_eq!(made.code, Some(0), "{}", made.err);
    }
    world
}

/// A seed of one of the torrents, and where it listens.
pub(crate) fn seed(world: &World, torrent: &str, more: &[&str]) -> (Running, String) {
    let args = ["seed", torrent, "--data", "here", "--json", "-q", "--state-dir", "seed-state"];
    let mut running = world.start(args.iter().chain(&LOOPBACK).chain(more));
    let seeding = next(&mut running, "seeding");
    (running, seeding["listen"].as_str().unwrap().to_owned())
}

/// Reads on until an event of this type.
pub(crate) fn next(running: &mut Running, kind: &str) -> Value {
    loop {
        let line = running.line().unwrap_or_else(|| panic!("ended without {kind}"));
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["type"] == kind {
            return event;
        }
    }
}

fn same(world: &World, name: &str, copy: &str) {
    let read = |path: &str| std::fs::read(world.path(path)).unwrap();
    assert!(read(&format!("here/{name}")) == read(copy), "{copy} differs");
}

fn keys(event: &Value) -> BTreeSet<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn get_prints_the_path_alone_and_seed_the_magnet() {
    let world = world();
    let args = ["seed", "file.torrent", "--data", "here", "--state-dir", "seed-state"];
    let mut seed = world.start(args.iter().chain(&LOOPBACK));
    let magnet = seed.line().unwrap();
    assert!(magnet.starts_with("magnet:?xt=urn:btih:") && magnet.contains("&x.pe=127.0.0.1:"));
    let args = ["get", &magnet, "-o", "out"];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((got.code, got.out.as_str()), (Some(0), "out/file\n"), "{}", got.err);
    assert!(got.err.contains("verified 92/92"), "{}", got.err);
    same(&world, "file", "out/file");
    // Again, without the verb: what is there is kept. The metadata is known by now.
    seed.signal("TERM");
    assert_eq!(seed.wait(), (Some(0), String::new()), "a seed that is stopped ends well");
    let again = world.run([magnet.as_str(), "-o", "out", "--json", "-q"].iter().chain(&LOOPBACK));
    assert_eq!(again.code, Some(0), "{}", again.err);
    let checked = again.event("checked");
    assert_eq!((&checked["hashed_pieces"], &checked["done"]), (&0.into(), &LEN.into()));
    assert_eq!(again.event("complete")["downloaded"], 0);
}

#[test]
fn json_of_a_download_has_the_promised_keys() {
    let world = world();
    let (_seed, addr) = seed(&world, "file.torrent", &["--up", "3M"]);
    let args = ["get", "file.torrent", "-o", "out", "--json", "--peer", &addr];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(got.code, Some(0), "{}", got.err);
    let promised = "type info_hash done total percent down up downloaded uploaded wasted peers seeds eta copies";
    assert_eq!(keys(&got.event("progress")), promised.split(' ').collect());
    let promised = "type info_hash name bytes seconds path downloaded uploaded wasted";
    let complete = got.event("complete");
    assert_eq!(keys(&complete), promised.split(' ').collect());
    let promised = "type info_hash hashed_pieces trusted_pieces done";
    assert_eq!(keys(&got.event("checked")), promised.split(' ').collect());
    assert_eq!((&complete["name"], &complete["bytes"]), (&"file".into(), &LEN.into()));
    assert!(Path::new(complete["path"].as_str().unwrap()).is_absolute());
    let events = got.json();
    assert_eq!(events.last().unwrap().to_string(), r#"{"code":0,"type":"exit"}"#);
    let done: Vec<u64> = events
        .iter()
        .filter(|event| event["type"] == "progress")
        .map(|event| event["done"].as_u64().unwrap())
        .collect();
    assert!(done.is_sorted() && done.last() == Some(&(LEN as u64)), "{done:?}");
}

#[test]
fn a_share_is_one_line_to_paste_and_ends_when_enough_have_it() {
    let world = world();
    let args = ["share", "here/tree", "--until-copies", "1", "--json", "-q", "--state-dir", "s"];
    let mut share = world.start(args.iter().chain(&LOOPBACK));
    let shared = next(&mut share, "shared");
    let magnet = shared["magnet"].as_str().unwrap();
    assert!(
        magnet.contains("&tr=http%3A%2F%2F127.0.0.1%3A") && magnet.contains("&x.pe=127.0.0.1:")
    );
    assert!(Path::new(shared["torrent"].as_str().unwrap()).is_file());
    // Only through the tracker: the peer is taken out of the link.
    let through_tracker = magnet.split("&x.pe=").next().unwrap();
    let args = ["get", through_tracker, "-o", "out", "-q"];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((got.code, got.out.as_str()), (Some(0), "out/tree\n"), "{}", got.err);
    for file in ["tree/a.bin", "tree/b.txt", "tree/c/d.txt"] {
        same(&world, file, &format!("out/{file}"));
    }
    assert_eq!(share.wait().0, Some(0));
}

#[test]
fn only_selected_files_are_made() {
    let world = world();
    let (_seed, addr) = seed(&world, "tree.torrent", &[]);
    let listed = world.run(["get", "--list", "tree.torrent", "-o", "out"].iter().chain(&LOOPBACK));
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    assert!(listed.out.lines().count() == 3 && listed.out.contains("tree/c/d.txt"));
    assert!(!world.path("out").exists(), "a listing makes nothing");
    let magnet = world.run(["show", "--magnet", "tree.torrent"]).out.trim().to_owned();
    let args = ["get", "-l", &magnet, "--peer", &addr, "-o", "out"];
    let from_peer = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((from_peer.code, from_peer.out), (Some(0), listed.out), "{}", from_peer.err);
    let args = ["get", "tree.torrent", "-o", "out", "-s", "*.txt", "--peer", &addr, "-q"];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(got.code, Some(0), "{}", got.err);
    same(&world, "tree/b.txt", "out/tree/b.txt");
    same(&world, "tree/c/d.txt", "out/tree/c/d.txt");
    assert!(!world.path("out/tree/a.bin").exists());
    let args = ["get", "tree.torrent", "-o", "out", "-s", "9", "--peer", &addr];
    let nothing = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(nothing.code, Some(2), "{}", nothing.err);
    assert!(nothing.err.contains("--list"), "{}", nothing.err);
    assert_eq!(world.run(["get", "tree.torrent", "-s", "0"]).code, Some(2));
}

#[test]
fn waiting_ends_with_the_code_that_says_why() {
    let world = world();
    let magnet = "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a&tr=http%3A%2F%2F127.0.0.1%3A1%2Fannounce";
    let args = ["get", magnet, "--metadata-timeout", "1s", "--peer", "127.0.0.1:1"];
    let alone = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((alone.code, alone.out.as_str()), (Some(3), ""), "{}", alone.err);
    for words in [
        "no metadata after 1s for c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
        "tracker http://127.0.0.1:1/announce",
        "connection refused",
        "peer 127.0.0.1:1",
        "hint:",
    ] {
        assert!(alone.err.contains(words), "{words}: {}", alone.err);
    }
    for limit in ["--stall-timeout", "--timeout"] {
        let args = ["get", "file.torrent", "-o", "out", limit, "1s", "--json"];
        let stalled = world.run(args.iter().chain(&LOOPBACK));
        assert_eq!(stalled.code, Some(4), "{limit} {}", stalled.err);
        assert_eq!(stalled.event("error")["code"], 4);
    }
}

#[test]
fn it_says_why_it_waits() {
    let world = world();
    let args = ["get", "file.torrent", "-o", "out", "--json", "--timeout", "5s"];
    let waited = world.run(args.iter().chain(&LOOPBACK));
    let waiting = waited.event("waiting");
    assert_eq!(waiting["reason"], "nobody is connected");
    assert_eq!(waiting["sources"][0], "no tracker and no peer is known");
    assert!(waited.err.contains("file waits: nobody is connected"), "{}", waited.err);
}

#[test]
fn data_of_others_is_left_alone() {
    let world = world();
    let (_seed, addr) = seed(&world, "file.torrent", &[]);
    world.write("out/file", "somebody's diary");
    let args = ["get", "file.torrent", "-o", "out", "-q", "--peer", &addr];
    let refused = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((refused.code, refused.out.as_str()), (Some(5), ""), "{}", refused.err);
    assert_eq!(std::fs::read(world.path("out/file")).unwrap(), b"somebody's diary");
    let forced = world.run(args.iter().chain(&LOOPBACK).chain(&["--overwrite"]));
    assert_eq!(forced.code, Some(0), "{}", forced.err);
    same(&world, "file", "out/file");
    // A copy that is wrong in one piece is taken over and mended, but not through a hard link.
    let mut wrong = noise(LEN, 1);
    wrong[0] ^= 1;
    world.write("linked/file", &wrong);
    std::fs::hard_link(world.path("linked/file"), world.path("other-name")).unwrap();
    let args = ["get", "file.torrent", "-o", "linked", "-q", "--peer", &addr];
    let linked = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(linked.code, Some(5), "{}", linked.err);
    assert!(std::fs::read(world.path("other-name")).unwrap() == wrong);
    std::fs::remove_file(world.path("other-name")).unwrap();
    let mended = world.run(args.iter().chain(&LOOPBACK).chain(&["--json"]));
    assert_eq!(mended.code, Some(0), "{}", mended.err);
    assert_eq!(mended.event("complete")["downloaded"], 32 << 10);
}

#[test]
fn a_seed_needs_its_data() {
    let world = world();
    let mut wrong = noise(LEN, 1);
    wrong[LEN / 2] ^= 1;
    world.write("elsewhere/file", wrong);
    for data in ["elsewhere", "nowhere"] {
        let args = ["seed", "file.torrent", "--data", data];
        let refused = world.run(args.iter().chain(&LOOPBACK));
        assert!(matches!(refused.code, Some(2 | 5)), "{data}: {refused:?}");
        assert_eq!(refused.out, "", "no link to what is not there");
    }
    let timed = world.run(
        ["seed", "file.torrent", "--data", "here", "--time", "1s", "-q"].iter().chain(&LOOPBACK),
    );
    assert_eq!(timed.code, Some(0), "{}", timed.err);
    // With a record there is nothing to hash, and the answer comes before the first snapshot.
    for _ in 0..10 {
        let (_running, listen) = seed(&world, "file.torrent", &[]);
        assert!(listen.starts_with("127.0.0.1:"));
    }
}

#[test]
fn several_downloads_go_side_by_side_and_one_failure_is_exit_7() {
    let world = world();
    let (_one, first) = seed(&world, "file.torrent", &[]);
    let args = [
        "get",
        "file.torrent",
        "tree.torrent",
        "-o",
        "out",
        "--peer",
        &first,
        "--stall-timeout",
        "2s",
        "--json",
    ];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(got.code, Some(7), "{}", got.err);
    assert_eq!(got.event("complete")["name"], "file");
    assert_eq!(got.event("error")["code"], 4);
    same(&world, "file", "out/file");
    let twice =
        world.run(["get", "file.torrent", "file.torrent", "-o", "out"].iter().chain(&LOOPBACK));
    assert_eq!(twice.code, Some(7), "{}", twice.err);
}

#[test]
fn the_command_after_a_download_is_told_what_came() {
    let world = world();
    let (_seed, addr) = seed(&world, "file.torrent", &[]);
    let script = "#!/bin/sh\nenv | grep -E '^(GAGGLE|TR)_' > told\necho noise\n";
    let hook = world.write("hook.sh", script);
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let args = [
        "get",
        "file.torrent",
        "-o",
        "out",
        "--json",
        "-q",
        "--peer",
        &addr,
        "--save-torrent",
        "copy.torrent",
    ];
    let args: Vec<&str> = args.iter().chain(&LOOPBACK).copied().collect();
    let got = world.run(args.iter().chain(&["--on-complete", "./hook.sh"]));
    assert_eq!(got.code, Some(0), "{}", got.err);
    assert_eq!(got.json().last().unwrap()["type"], "exit", "the command's words are not on stdout");
    let told = std::fs::read_to_string(world.path("told")).unwrap();
    let path = world.path("out/file").canonicalize().unwrap();
    for line in [
        format!("GAGGLE_PATH={}", path.display()),
        "GAGGLE_NAME=file".into(),
        format!("GAGGLE_SIZE={LEN}"),
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    assert_eq!(
        std::fs::read(world.path("copy.torrent")).unwrap(),
        std::fs::read(world.path("file.torrent")).unwrap()
    );
    let failing = world.run(args.iter().chain(&["--on-complete", "false"]));
    assert_eq!(failing.code, Some(1), "{}", failing.err);
    let missing = world.run(args.iter().chain(&["--on-complete", "./nothing"]));
    assert_eq!(missing.code, Some(2), "{}", missing.err);
}

/// A tracker that knows nobody; sends the query of each announce.
fn tracker() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let (tell, told) = mpsc::sync_channel(100);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            let body = "d8:intervali60e5:peers0:e";
            _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            if tell.send(request.lines().next().unwrap_or_default().to_owned()).is_err() {
                return;
            }
        }
    });
    (url, told)
}

#[test]
fn ctrl_c_says_stopped_to_the_tracker_and_saves() {
    let world = world();
    let (_seed, addr) = seed(&world, "file.torrent", &["--up", "1M"]);
    let (url, told) = tracker();
    let args = ["get", "file.torrent", "-o", "out", "--json", "--peer", &addr, "--tracker", &url];
    let args: Vec<&str> = args.iter().chain(&LOOPBACK).copied().collect();
    let mut get = world.start(&args);
    let done = loop {
        let progress = next(&mut get, "progress");
        let done = progress["done"].as_u64().unwrap();
        if done > 0 {
            assert!(done < LEN as u64, "too quick to be interrupted");
            break done;
        }
    };
    let started = told.recv_timeout(PATIENCE).unwrap();
    assert!(started.contains("event=started"), "{started}");
    get.signal("INT");
    let (code, rest) = get.wait();
    assert_eq!(code, Some(130));
    assert!(rest.ends_with("{\"type\":\"exit\",\"code\":130}\n"), "{rest}");
    let stopped = told.recv_timeout(Duration::from_secs(2)).expect("a farewell");
    assert!(stopped.contains("event=stopped"), "{stopped}");
    // What was reported is there after the restart, without hashing all of it again.
    let mut again = world.start(&args);
    let checked = next(&mut again, "checked");
    assert!(checked["done"].as_u64().unwrap() >= done, "{checked} after {done}");
    assert_eq!(checked["hashed_pieces"], 0, "it was saved in good order");
    assert!(next(&mut again, "complete")["downloaded"].as_u64().unwrap() < LEN as u64);
    assert_eq!(again.wait().0, Some(0));
    same(&world, "file", "out/file");
}

#[test]
fn sigterm_is_told_from_ctrl_c_and_names_how_to_go_on() {
    let world = world();
    let args = ["get", "file.torrent", "-o", "out", "--json", "-q"];
    let mut get = world.start(args.iter().chain(&LOOPBACK));
    next(&mut get, "progress");
    get.signal("TERM");
    let (code, rest) = get.wait();
    assert_eq!(code, Some(143));
    assert!(rest.ends_with("{\"type\":\"exit\",\"code\":143}\n"), "{rest}");
    let magnet = "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
    let mut get = world.start(["get", magnet, "--json"].iter().chain(&LOOPBACK));
    next(&mut get, "progress");
    get.signal("INT");
    assert_eq!(get.wait().0, Some(130));
}

#[test]
fn addresses_that_cannot_be_had() {
    let world = world();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = busy.local_addr().unwrap().to_string();
    for args in [
        vec!["get", "file.torrent", "--listen", &addr],
        vec!["seed", "file.torrent", "--data", "here", "--listen", &addr],
        vec!["share", "here/file", "--listen", &addr],
    ] {
        let refused = world.run(&args);
        assert_eq!((refused.code, refused.out.as_str()), (Some(6), ""), "{args:?}");
        assert!(refused.err.contains(&addr) && refused.err.contains("hint:"), "{}", refused.err);
    }
    assert_eq!(world.run(["get", "file.torrent", "--peer", "nowhere"]).code, Some(2));
    assert_eq!(world.run(["get", "file.torrent", "--down", "0"]).code, Some(2));
}

#[test]
fn a_folder_without_permission_is_exit_8() {
    let world = world();
    let args = [&["get", "file.torrent", "-o", "closed"][..], &LOOPBACK].concat();
    let ended = world.run_beside_a_closed_folder(&args);
    assert_eq!(ended.code, Some(8), "{}", ended.err);
    assert!(ended.err.contains("closed"), "{}", ended.err);
}

/// A port that nobody has now. Another program could take it, but has no reason to.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Runs it with a file system of 2 MiB at `out`; `None` if this user cannot have one.
fn on_small_disk(world: &World, before: &str, args: &[&str]) -> Option<Ended> {
    Command::new("unshare").arg("--version").output().ok()?;
    std::fs::create_dir_all(world.path("out")).unwrap();
    let exe = env!("CARGO_BIN_EXE_gaggle");
    let mount = "mount -t tmpfs -o size=2m none out || exit 99";
    let script = format!("{mount}; {before} exec '{exe}' \"$@\"");
    // Taken for its folders and variables; the program itself is started inside of the namespace.
    let like = world.command([""; 0]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]).args(args).stdin(Stdio::null());
    command.current_dir(like.get_current_dir().unwrap());
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ended = ended(&mut command);
    (ended.code != Some(99) && !ended.err.starts_with("unshare")).then_some(ended)
}

#[test]
fn a_full_disk_is_exit_9_and_what_was_verified_stays() {
    let world = world();
    let (_seed, addr) = seed(&world, "file.torrent", &[]);
    let get = ["get", "file.torrent", "-o", "out", "--json", "-q", "--peer", &addr];
    let get: Vec<&str> = get.iter().chain(&LOOPBACK).copied().collect();
    let Some(at_once) = on_small_disk(&world, "", &get) else {
        assert!(!harness::clients_required(), "cannot mount a small file system");
        return eprintln!("SKIPPED: this user cannot mount a small file system");
    };
    assert_eq!(at_once.code, Some(9), "{}", at_once.err);
    let growing: Vec<&str> = get.iter().chain(&["--preallocate", "none"]).copied().collect();
    // The second run, on the same file system, finds what the first one had verified.
    let exe = env!("CARGO_BIN_EXE_gaggle");
    let first = format!("'{exe}' \"$@\" > first; echo $? > code;");
    let again = on_small_disk(&world, &first, &growing).unwrap();
    assert_eq!(std::fs::read_to_string(world.path("code")).unwrap(), "9\n");
    let checked = again.event("checked")["done"].as_u64().unwrap();
    assert!(checked > 1 << 20, "{checked} of 2 MiB were kept");
    assert_eq!(again.code, Some(9), "{}", again.err);
    assert!(again.event("error")["message"].as_str().unwrap().contains("no space"));
}

#[test]
fn lingering_serves_whoever_is_not_done_yet() {
    let world = world();
    let (seed, addr) = seed(&world, "file.torrent", &[]);
    let there = free_port();
    let base = ["get", "file.torrent", "--json", "-q", "--peer", &addr];
    let more = ["-o", "slow", "--down", "600K", "--state-dir", "slow-state", "--listen", &there];
    let mut slow = world.start(base.iter().chain(&more));
    next(&mut slow, "checked");
    let more = ["-o", "fast", "--peer", &there, "--state-dir", "fast-state"];
    let mut fast = world.start(base.iter().chain(&more).chain(&LOOPBACK));
    next(&mut fast, "complete");
    drop(seed); // from here on the slow one has nobody but the one that lingers
    assert_eq!(next(&mut slow, "complete")["bytes"], LEN);
    let (code, rest) = fast.wait();
    assert_eq!(code, Some(0));
    let last = rest.lines().rev().find(|line| line.contains("\"progress\"")).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert!(last["uploaded"].as_u64().unwrap() > 0, "{last}");
    same(&world, "file", "slow/file");
}

#[test]
fn off_switches_and_congestion_control_are_accepted() {
    let world = world();
    let off = ["--no-dht", "--no-pex", "--no-lsd", "--no-utp", "--no-upnp"];
    let args = ["seed", "file.torrent", "--data", "here", "--time", "0s", "-q"];
    let ended = world.run(args.iter().chain(&LOOPBACK).chain(&off));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(world.run(["get", "file.torrent", "--dht"]).code, Some(2));
    let congested = |name| world.run(args.iter().chain(&LOOPBACK).chain(&["--congestion", name]));
    assert_eq!(congested("reno").code, Some(0));
    let refused = congested("nonsense");
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("nonsense") && refused.err.contains("it has "), "{}", refused.err);
}

#[test]
fn the_demo_verifies_and_says_who_sent_how_much_to_whom() {
    let world = World::new();
    world.write("content", noise(6 << 20, 9));
    let demo = world.run(["demo", "content", "--json", "-q"]);
    assert_eq!(demo.code, Some(0), "{}", demo.err);
    let sent: Vec<Value> =
        demo.json().into_iter().filter(|event| event["type"] == "sent").collect();
    assert_eq!(sent.len(), 4);
    let received = |to: &str| {
        sent.iter().filter(|e| e["to"] == to).map(|e| e["bytes"].as_u64().unwrap()).sum::<u64>()
    };
    for downloader in ["downloader 1", "downloader 2"] {
        assert!(received(downloader) >= 6 << 20, "{sent:?}");
    }
    assert!(sent.iter().all(|event| event["bytes"].as_u64().unwrap() > 0), "{sent:?}");
    let people = world.run(["demo", "content"]);
    assert!(
        people.out.contains("two verified copies") && people.err.contains("down"),
        "{people:?}"
    );
}

#[test]
fn attack_13_a_private_share_is_fetched_through_its_tracker_only() {
    let world = world();
    let args = ["share", "here/tree", "--private", "--json", "-q", "--state-dir", "s"];
    let mut share = world.start(args.iter().chain(&LOOPBACK));
    let shared = next(&mut share, "shared");
    let magnet = shared["magnet"].as_str().unwrap();
    // The link's own peer gives the metadata, which says that it is none of the tracker's.
    let (before, rest) = magnet.split_once("&tr=").unwrap();
    let untracked = format!("{before}&{}", rest.split_once('&').unwrap().1);
    assert!(untracked.contains("&x.pe="), "{untracked}");
    let args = ["get", &untracked, "-o", "alone", "--timeout", "4s", "--json", "-q"];
    let alone = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(alone.code, Some(4), "{}", alone.err);
    assert_eq!(alone.event("metadata")["name"], "tree");
    let args = ["get", magnet, "-o", "out", "-q", "--state-dir", "t"];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(got.code, Some(0), "{}", got.err);
    same(&world, "tree/a.bin", "out/tree/a.bin");
}

#[test]
fn a_link_says_which_files_and_its_metadata_is_kept() {
    let world = world();
    let (seed, addr) = seed(&world, "tree.torrent", &[]);
    let magnet = world.run(["show", "--magnet", "tree.torrent"]).out.trim().to_owned();
    let port = addr.rsplit(':').next().unwrap();
    // The peer by its name, which is looked up while the magnet waits.
    let some = format!("{magnet}&so=1-2&x.pe=localhost:{port}");
    let args = ["get", &some, "-o", "out", "-q", "--save-torrent", "saved.torrent"];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((got.code, got.out.as_str()), (Some(0), "out/tree\n"), "{}", got.err);
    same(&world, "tree/b.txt", "out/tree/b.txt");
    assert!(!world.path("out/tree/a.bin").exists(), "file 0 is not of the selection");
    let read = |path| std::fs::read(world.path(path)).unwrap();
    let hash = |path| world.run(["show", path, "--json"]).event("torrent")["info_hash"].clone();
    assert_eq!(hash("saved.torrent"), hash("tree.torrent"));
    let kept = format!("cache/gaggle/metadata/{}.torrent", hash("tree.torrent").as_str().unwrap());
    assert_eq!(read(&kept), read("saved.torrent"));
    // --select has the last word.
    let args = ["get", &some, "-o", "first", "-q", "-s", "1", "--state-dir", "t"];
    assert_eq!(world.run(args.iter().chain(&LOOPBACK)).code, Some(0));
    assert!(world.path("first/tree/a.bin").exists() && !world.path("first/tree/b.txt").exists());
    // With nobody there any more the link is enough to seed, and to look.
    drop(seed);
    let args = ["seed", &magnet, "--data", "here", "--time", "0s", "-q", "--state-dir", "u"];
    let seeded = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!(seeded.code, Some(0), "{}", seeded.err);
    let listed = world.run(["get", "-l", &some]);
    assert!(listed.code == Some(0) && listed.out.contains("tree/c/d.txt"), "{listed:?}");
    // A cache that holds something else is no help and no harm.
    std::fs::copy(world.path("file.torrent"), world.path(&kept)).unwrap();
    let args = ["get", &magnet, "--metadata-timeout", "1s", "-q"];
    assert_eq!(world.run(args.iter().chain(&LOOPBACK)).code, Some(3));
}

#[test]
fn attack_14_a_link_with_thousands_of_everything_is_still_a_link() {
    let world = world();
    let (_seed, addr) = seed(&world, "tree.torrent", &[]);
    let magnet = world.run(["show", "--magnet", "tree.torrent"]).out.trim().to_owned();
    let mut link = format!("{magnet}&x.pe={addr}&so=0-4294967295,1,x,7-3,99999999999999999999");
    for n in 0..1500 {
        let port = 1 + n % 9;
        link +=
            &format!("&x.pe=127.0.{}.{}:{port}&tr=http://127.0.0.1:{port}/a{n}", n / 250, n % 250);
        link += &format!("&xt=urn:btih:{n}");
    }
    let args = ["get", &link, "-o", "out", "-q", "--timeout", "30s"];
    let got = world.run(args.iter().chain(&LOOPBACK));
    assert_eq!((got.code, got.out.as_str()), (Some(0), "out/tree\n"), "{}", got.err);
    same(&world, "tree/a.bin", "out/tree/a.bin");
}
