//! `--publish` of `share` and `seed`, as far as it comes without any network.

use crate::program::{World, ended};
use crate::transfer::{LOOPBACK, next};

#[track_caller]
fn refused(world: &World, args: &[&str], code: i32, said: &str) {
    let ended = world.run(args.iter().chain(&LOOPBACK).chain(&["--json"]));
    assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
    assert!(ended.err.contains(said), "{args:?}: {}", ended.err);
    // Nothing was begun.
    for kind in ["shared", "seeding", "listening"] {
        assert!(!ended.out.contains(&format!("\"type\":\"{kind}\"")), "{args:?}: {}", ended.out);
    }
}

#[test]
fn whoever_can_join_nowhere_is_told_so_before_anything_begins() {
    let world = World::new();
    world.write("here/file", "content");
    let share = ["share", "here/file", "--publish"];
    #[track_caller]
    fn check(world: &World, begin: &[&str], more: &[&str], said: &str) {
        refused(world, &[begin, more].concat(), 2, said);
    }
    check(&world, &share, &["napster"], "no way into napster is known");
    check(&world, &share, &["napster"], "--server napster=HOST:PORT");
    let one = ["napster,gnutella", "--server", "napster=127.0.0.1:1"];
    check(&world, &share, &one, "no way into gnutella is known");
    check(&world, &share, &["kazaa"], "napster, gnutella, fasttrack");
    check(&world, &share, &["gnutella", "--server", "nowhere"], "HOST:PORT");
    let far = ["gnutella", "--lan", "--server", "9.9.9.9:6346"];
    check(&world, &share, &far, "in another network");
    check(&world, &["share", "here/file"], &["--server", "napster=127.0.0.1:1"], "--publish");
    // FastTrack knows IPv4 alone, and its names are looked up once.
    let v6 = ["fasttrack", "--server", "fasttrack=[::1]:1214"];
    refused(&world, &[&share[..], &v6].concat(), 6, "[::1]:1214 has no address of IPv4");
    let made = world.run(["create", "here/file", "-o", "file.torrent"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let seed = ["seed", "file.torrent", "--data", "here", "--publish", "fasttrack"];
    check(&world, &seed, &[], "no way into fasttrack is known");
}

#[test]
fn a_server_for_other_times_stops_nobody_who_publishes_nothing() {
    let world = World::new();
    world.write("here/file", "content");
    let share = ["share", "here/file", "--ttl", "0s", "-q"];
    let mut command = world.command(share.iter().chain(&LOOPBACK));
    let shared = ended(command.env("GAGGLE_PUBLISH_SERVER", "napster=127.0.0.1:1"));
    assert_eq!(shared.code, Some(0), "{shared:?}");
}

#[test]
fn attack_13_what_turns_out_to_be_private_is_not_published() {
    let world = World::new();
    world.write("here/file", "content");
    let share = ["share", "here/file", "--private", "--json", "-q", "--state-dir", "s"];
    let mut share = world.start(share.iter().chain(&LOOPBACK));
    let shared = next(&mut share, "shared");
    let magnet = shared["magnet"].as_str().unwrap();
    // Only the metadata, which its peer gives, says so.
    let seed = ["seed", magnet, "--data", "here", "--json", "--publish", "napster"];
    let server = ["--server", "napster=127.0.0.1:1"];
    let ended = world.run(seed.iter().chain(&server).chain(&LOOPBACK));
    assert_eq!(ended.code, Some(8), "{ended:?}");
    assert!(ended.err.contains("file: peers of a private torrent"), "{}", ended.err);
    for kind in ["listening", "published"] {
        assert!(!ended.out.contains(&format!("\"type\":\"{kind}\"")), "{}", ended.out);
    }
}

#[test]
fn attack_13_nothing_private_is_published() {
    let world = World::new();
    world.write("here/file", "content");
    let publish = ["--publish", "napster", "--server", "napster=127.0.0.1:1"];
    let share = [&["share", "here/file", "--private"][..], &publish].concat();
    refused(&world, &share, 8, "private");
    let made = world.run(["create", "here/file", "-o", "file.torrent", "--private"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let seed = [&["seed", "file.torrent", "--data", "here"][..], &publish].concat();
    refused(&world, &seed, 8, "file: peers of a private torrent come from its trackers only");
}
