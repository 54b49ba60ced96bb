use crate::create::noise;
use crate::program::World;
use std::fs;

fn world() -> World {
    let world = World::new();
    world.write("top/a", noise(200_000, 1));
    world.write("top/b", noise(100_000, 2));
    world.write("top/empty", "");
    let made = world.run(["create", "top", "--piece-length", "16K"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    world
}

#[test]
fn good_data_is_exit_0_wherever_it_is_pointed_at() {
    let world = world();
    for args in [
        &["top.torrent"][..],
        &["top.torrent", "."],
        &["top.torrent", "top"],
        &["top.torrent", "top/"],
    ] {
        let verified = world.run(["verify"].iter().chain(args));
        assert_eq!(verified.code, Some(0), "{args:?} {}{}", verified.out, verified.err);
        assert!(verified.out.starts_with("ok "), "{}", verified.out);
    }
    world.write("file", noise(70_000, 3));
    assert_eq!(world.run(["create", "file"]).code, Some(0));
    assert_eq!(world.run(["verify", "file.torrent", "file"]).code, Some(0));
    assert_eq!(world.run(["verify", "file.torrent", "top/a"]).code, Some(2), "another file");
    assert_eq!(world.run(["verify", "file.torrent", "nowhere"]).code, Some(2));
    let events = world.run(["verify", "top.torrent", "--json"]);
    let verified = events.event("verified");
    assert_eq!(verified["ok"], true);
    assert_eq!((&verified["pieces"], &verified["good_pieces"]), (&19.into(), &19.into()));
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_touched() {
    let world = world();
    let mut a = fs::read(world.path("top/a")).unwrap();
    a[40_000] ^= 1;
    fs::write(world.path("top/a"), &a).unwrap();
    let b = fs::read(world.path("top/b")).unwrap();
    fs::write(world.path("top/b"), [b.as_slice(), b"more"].concat()).unwrap();
    fs::remove_file(world.path("top/empty")).unwrap();
    let verified = world.run(["verify", "top.torrent"]);
    assert_eq!(verified.code, Some(5));
    let has = |words: &str| assert!(verified.out.contains(words), "{}", verified.out);
    has("bad      top/a  1 piece wrong");
    has("long     top/b  100004 bytes instead of 100000");
    has("missing  top/empty");
    has("pieces   2\n");
    let events = world.run(["verify", "top.torrent", "--json"]);
    let last = events.event("verified");
    assert_eq!(last["ok"], false);
    assert_eq!(last["bad_ranges"].to_string(), "[[2,2]]");
    let files: Vec<_> = events.json().into_iter().filter(|event| event["type"] == "file").collect();
    assert_eq!(
        files.iter().map(|f| f["status"].as_str().unwrap()).collect::<Vec<_>>(),
        ["bad", "long", "missing"]
    );
    assert_eq!(fs::read(world.path("top/a")).unwrap(), a);
    fs::write(world.path("top/b"), &b[..50_000]).unwrap();
    assert!(world.run(["verify", "top.torrent"]).out.contains("short    top/b"));
}

#[test]
fn fast_compares_sizes_only() {
    let world = world();
    let mut a = fs::read(world.path("top/a")).unwrap();
    a[0] ^= 1;
    fs::write(world.path("top/a"), &a).unwrap();
    let fast = world.run(["verify", "top.torrent", "--fast"]);
    assert_eq!(fast.code, Some(0));
    assert!(fast.out.contains("nothing hashed"), "{}", fast.out);
    let json = world.run(["verify", "top.torrent", "--fast", "--json"]).event("verified");
    assert!(json["good_pieces"].is_null(), "nobody looked: {json}");
    fs::write(world.path("top/a"), &a[1..]).unwrap();
    assert_eq!(world.run(["verify", "top.torrent", "--fast"]).code, Some(5));
}

#[test]
fn a_link_is_not_enough() {
    let world = world();
    let link = world.run(["show", "top.torrent", "--magnet"]).out;
    let verified = world.run(["verify", link.trim()]);
    assert_eq!(verified.code, Some(2));
    assert!(verified.err.contains("only a link"), "{}", verified.err);
}
