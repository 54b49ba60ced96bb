use crate::program::{World, ended};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

const HASH: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";

fn torrent(world: &World) -> Vec<u8> {
    world.write("top/a", "a".repeat(20_000));
    world.write("top/b", "b");
    let made = world.run(["create", "top", "-t", "http://t.example/announce", "--no-date"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    std::fs::read(world.path("top.torrent")).unwrap()
}

/// Answers one request with these bytes.
fn serve(reply: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.torrent", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        _ = stream.read(&mut [0; 4096]);
        _ = stream.write_all(&reply); // the program may have hung up: that is what is tested
    });
    url
}

#[test]
fn json_of_a_torrent() {
    let world = World::new();
    torrent(&world);
    let shown = world.run(["show", "top.torrent", "--json"]);
    let event = shown.event("torrent");
    assert_eq!(event["name"], "top");
    assert_eq!(event["bytes"], 20_001);
    assert_eq!(event["pieces"], 2);
    assert_eq!(event["private"], false);
    assert_eq!(event["trackers"][0][0], "http://t.example/announce");
    assert_eq!(event["files"][1]["path"], "top/b");
    assert_eq!(event["files"][1]["index"], 2);
    assert_eq!(event["info_hash"].as_str().unwrap().len(), 40);
    assert!(event["lints"].as_array().unwrap().is_empty());
}

#[test]
fn the_same_torrent_from_file_stdin_and_web() {
    let world = World::new();
    let bytes = torrent(&world);
    let file = world.run(["show", "top.torrent", "--files"]);
    assert_eq!((file.code, file.err.as_str()), (Some(0), ""));
    assert!(file.out.contains("top/b"));
    let mut command = world.command(["show", "-", "--files"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), file.out);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
    let url = serve([head.as_bytes(), &bytes].concat());
    assert_eq!(world.run(["show", &url, "--files"]).out, file.out);
    let magnet = world.run(["show", "top.torrent", "--magnet"]);
    assert!(magnet.out.starts_with("magnet:?xt=urn:btih:") && magnet.out.lines().count() == 1);
}

#[test]
fn links_and_hashes() {
    let world = World::new();
    let upper = HASH.to_uppercase();
    let base32 = "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK";
    let link = format!("magnet:?xt=urn:btih:{upper}&dn=a+b&tr=udp%3A%2F%2Ft%3A1&x.pe=10.0.0.1:5");
    for target in [HASH, &upper, base32, &link] {
        let shown = world.run(["show", target, "--json"]);
        assert_eq!(shown.event("magnet")["info_hash"], HASH, "{target}");
    }
    let event = world.run(["show", &link, "--json"]).event("magnet");
    assert_eq!((&event["name"], &event["peers"][0]), (&"a b".into(), &"10.0.0.1:5".into()));
    let v2 = world.run(["show", &"ab".repeat(32)]);
    assert!(v2.out.contains("info hash v2"), "{}", v2.out);
    assert_eq!(world.run(["show", HASH, "--files"]).code, Some(2));
}

#[test]
fn bad_input_is_exit_2_and_quick() {
    let world = World::new();
    let bytes = torrent(&world);
    world.write("truncated", &bytes[..bytes.len() / 2]);
    world.write("nested", [vec![b'l'; 1_000_000], vec![b'e'; 1_000_000]].concat());
    world.write("empty", "");
    let huge = std::fs::File::create(world.path("huge")).unwrap();
    huge.set_len(3 << 30).unwrap();
    world.write(
        "lying",
        b"d4:infod6:lengthi9e4:name1:x12:piece lengthi4e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
    );
    for target in [
        "truncated",
        "nested",
        "empty",
        "huge",
        "lying",
        "magnet:?dn=x",
        "magnet:?xt=urn:btih:c12f",
    ] {
        let shown = world.run(["show", target]);
        assert_eq!((shown.code, shown.out.as_str()), (Some(2), ""), "{target}: {}", shown.err);
        assert!(shown.err.starts_with("error: cannot read "), "{}", shown.err);
    }
}

#[test]
fn bad_servers() {
    let world = World::new();
    let show = |reply: &[u8]| world.run(["show", &serve(reply.to_vec())]);
    let html = show(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
    assert_eq!(html.code, Some(2), "{}", html.err);
    let gone = show(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(gone.code, Some(3), "{}", gone.err);
    let broken = show(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(broken.code, Some(6), "{}", broken.err);
    let refused = world.run(["show", "http://127.0.0.1:1/x.torrent"]);
    assert_eq!(refused.code, Some(6));
    assert!(refused.err.contains("connection refused"), "{}", refused.err);
    // An endless body is left after the bound, not read for ever.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        _ = stream.read(&mut [0; 4096]);
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'l'; 1 << 16]).is_ok() {}
    });
    let endless = world.run(["show", &url]);
    assert_eq!(endless.code, Some(2), "{}", endless.err);
    assert!(endless.err.contains("larger than"), "{}", endless.err);
}

#[test]
fn odd_torrents_are_shown_with_what_is_odd() {
    let world = World::new();
    let info =
        "d6:lengthi5e4:name3:abc12:piece lengthi1000e6:pieces20:aaaaaaaaaaaaaaaaaaaa7:privatei1ee";
    world.write("odd", format!("d7:comment5:a\x1b[2Jb4:info{info}e").replace("5:a", "6:a"));
    let shown = world.run(["show", "odd"]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    for words in ["no power of two", "below 16 KiB", "without a tracker"] {
        assert!(shown.out.contains(words), "{}", shown.out);
    }
    assert!(!shown.out.contains('\x1b'), "text of strangers cannot move the cursor");
    let events = world.run(["show", "odd", "--json"]);
    assert_eq!(events.event("torrent")["lints"].as_array().unwrap().len(), 3);
    assert_eq!(ended(&mut world.command(["show", "odd", "-q"])).out, shown.out);
}
