use crate::program::World;
use gaggle_core::metainfo::Metainfo;
use std::path::Path;

/// Bytes that look random and are the same everywhere.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    gaggle_core::rng::Rng::seeded(seed).fill(&mut bytes);
    bytes
}

fn read(path: &Path) -> Metainfo {
    Metainfo::parse(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn prints_path_and_magnet_and_writes_what_it_says() {
    let world = World::new();
    world.write("top/sub/b", noise(40_000, 1));
    world.write("top/a", noise(70_000, 2));
    let made = world.run([
        "create",
        "top",
        "-t",
        "http://a.example/announce,udp://b.example:1",
        "-t",
        "https://c.example/announce",
        "--web-seed",
        "http://w.example/",
        "--dht-node",
        "d.example:6881",
        "--private",
        "--source",
        "S",
        "--comment",
        "C",
        "--v1",
        "--piece-length",
        "32K",
    ]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let lines: Vec<&str> = made.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", made.out);
    assert_eq!(lines[0], "top.torrent");
    let torrent = read(&world.path("top.torrent"));
    assert_eq!(lines[1], torrent.magnet().to_string());
    assert_eq!(torrent.trackers.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(torrent.web_seeds, ["http://w.example/"]);
    assert_eq!(torrent.nodes, [("d.example".to_owned(), 6881)]);
    assert!(torrent.info.private && torrent.creation_date.is_some());
    assert_eq!(
        (torrent.info.source.as_deref(), torrent.comment.as_deref()),
        (Some("S"), Some("C"))
    );
    assert_eq!(torrent.info.geometry.piece_len(), 32 << 10);
    assert_eq!(torrent.info.files[0].path, ["top", "a"]);
}

#[test]
fn the_same_content_gives_the_same_torrent() {
    let (one, two) = (World::new(), World::new());
    let names = ["z", "a b", "B/x", "B/y", "b", "ä"];
    for (nth, name) in names.iter().enumerate() {
        one.write(&format!("top/{name}"), noise(50_000 + nth, nth as u64));
    }
    for (nth, name) in names.iter().enumerate().rev() {
        two.write(&format!("top/{name}"), noise(50_000 + nth, nth as u64));
    }
    for world in [&one, &two] {
        let made = world.run(["create", "top", "--no-date", "-o", "x.torrent"]);
        assert_eq!(made.code, Some(0), "{}", made.err);
    }
    let bytes = |world: &World| std::fs::read(world.path("x.torrent")).unwrap();
    assert_eq!(bytes(&one), bytes(&two));
    // Again over itself, from another folder, through `.`: the same info hash.
    let again = one.run(["create", "./top/../top/", "--json", "-n"]);
    let first = read(&one.path("x.torrent")).info_hash().to_string();
    assert_eq!(again.event("created")["info_hash"], first);
}

#[test]
fn json_keys_of_created() {
    let world = World::new();
    world.write("file", noise(100_000, 3));
    let made = world.run(["create", "file", "--json", "--piece-length", "16KiB"]);
    let created = made.event("created");
    for (key, want) in [("pieces", 7), ("bytes", 100_000), ("files", 1), ("piece_length", 16_384)] {
        assert_eq!(created[key], want, "{key}");
    }
    assert_eq!(created["torrent"], "file.torrent");
    assert!(created["magnet"].as_str().unwrap().contains(created["info_hash"].as_str().unwrap()));
    assert_eq!(made.json().len(), 2, "{}", made.out);
}

#[test]
fn shapes_that_others_stumble_over() {
    let world = World::new();
    world.write("exact", noise(4 * 16_384, 4));
    world.write("tree/empty", "");
    world.write("tree/one", "1");
    for nth in 0..2_000 {
        world.write(&format!("many/{:02}/{nth}", nth % 50), nth.to_string());
    }
    let pieces = |path: &str| {
        let made = world.run(["create", path, "--json", "--piece-length", "16K", "-n"]);
        made.event("created")["pieces"].as_u64()
    };
    assert_eq!(pieces("exact"), Some(4));
    assert_eq!(pieces("tree"), Some(1));
    assert_eq!(pieces("many"), Some(1));
    let nothing = world.run(["create", "tree/empty"]);
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("holds no bytes"), "{}", nothing.err);
}

#[test]
fn a_dry_run_writes_nothing_and_a_foreign_file_is_kept() {
    let world = World::new();
    world.write("file", "content");
    assert_eq!(world.run(["create", "file", "-n"]).code, Some(0));
    assert!(!world.path("file.torrent").exists());
    world.write("precious", "not a torrent");
    let refused = world.run(["create", "file", "-o", "precious"]);
    assert_eq!(refused.code, Some(8));
    assert!(refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(std::fs::read(world.path("precious")).unwrap(), b"not a torrent");
    assert_eq!(world.run(["create", "file", "-o", "precious", "-f"]).code, Some(0));
    assert_eq!(
        world.run(["create", "file", "-o", "precious"]).code,
        Some(0),
        "a torrent may be replaced"
    );
    let image = std::fs::File::create(world.path("image")).unwrap();
    image.set_len(1 << 40).unwrap(); // more than any memory
    assert_eq!(world.run(["create", "file", "-o", "image"]).code, Some(8));
    std::fs::create_dir(world.path("folder")).unwrap();
    let refused = world.run(["create", "file", "-o", "folder"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("it is a folder"), "{}", refused.err);
}

#[test]
fn hidden_and_excluded_files_are_left_out_and_so_is_the_torrent_itself() {
    let world = World::new();
    for name in ["a", ".hidden", "skip.o", "deep/skip.o", "deep/b"] {
        world.write(&format!("top/{name}"), name);
    }
    let made = world.run(["create", "top", "-o", "top/top.torrent", "--exclude", "*.o"]);
    assert!(made.err.contains("hidden"), "{}", made.err);
    let made = world.run(["create", "top", "-o", "top/top.torrent", "--exclude", "*.o", "-q"]);
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""));
    let torrent = read(&world.path("top/top.torrent"));
    let names: Vec<String> = torrent.info.files.iter().map(|file| file.path.join("/")).collect();
    assert_eq!(names, ["top/a", "top/deep/b"]);
}

#[test]
fn bad_wishes_are_usage_errors() {
    let world = World::new();
    world.write("file", "content");
    for args in [
        &["--piece-length", "17K"][..],
        &["--piece-length", "1K"],
        &["-t", "gopher://x"],
        &["--dht-node", "nowhere"],
        &["--exclude", "[z"],
        &["-o", "no/such/folder/x.torrent"],
    ] {
        let ended = world.run(["create", "file"].iter().chain(args));
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?}");
    }
}

#[test]
fn a_folder_without_permission_is_exit_8() {
    let world = World::new();
    world.write("file", "content");
    let ended = world.run_beside_a_closed_folder(&["create", "file", "-o", "closed/x.torrent"]);
    assert_eq!(ended.code, Some(8), "{}", ended.err);
}
