//! What is said, byte by byte.

use super::*;
use std::os::unix::fs::symlink;

#[tokio::test]
async fn a_servent_gets_a_file_by_its_hash_and_then_by_its_number() {
    let song = content(700_000);
    let desk = Desk::new(&[("deep/My Song.mp3", &song)]).await;
    let host = desk.gnutella(|_| ()).await;
    let (number, item) = desk.item("My Song.mp3");
    let (urn, (torrent, _)) = (desk.sha1("My Song.mp3"), item.torrent.unwrap());
    let btih = gaggle_core::proto::gnutella::Urn::Btih(torrent);
    let mut events = host.uploads.subscribe();
    let mut asker = host.dial().await;
    let asked = format!(
        "GET /uri-res/N2R?{urn} HTTP/1.1\r\nHost: {}\r\nX-Queue: 1.1\r\nX-Downloaded: 0\r\n\
         Range: bytes=0-524287\r\n\r\n",
        host.addr
    );
    let answer = asker.ask(&asked).await;
    let want = |first: u64, last: u64| {
        format!(
            "HTTP/1.1 206 Partial Content\r\nServer: gaggle\r\nConnection: Keep-Alive\r\n\
             Content-Length: {}\r\nContent-Range: bytes {first}-{last}/700000\r\nAccept-Ranges: bytes\r\n\
             Content-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename*=UTF-8''My%20Song%2Emp3\r\n\
             X-Gnutella-Content-URN: {urn}, {btih}\r\nX-Content-BTIH: {torrent}\r\n\r\n",
            last - first + 1
        )
    };
    assert_eq!(answer.head, want(0, 524_287));
    assert!(answer.body == song[..524_288]);
    no_path(&desk, &answer);
    let told = event(&mut events).await;
    let Event::Sent { number: which, bytes, whole, to, .. } = told else { panic!("{told:?}") };
    assert_eq!((which, bytes, whole), (number, 524_288, true));
    assert_eq!(to, asker.stream.local_addr().unwrap());
    // The join is checked by 512 bytes that are asked for again, on the same connection.
    let asked = format!("GET /get/{number}/My%20Song.mp3 HTTP/1.1\r\nRange: bytes=523776-\r\n\r\n");
    let answer = asker.ask(&asked).await;
    assert_eq!(answer.head, want(523_776, 699_999));
    assert!(answer.body == song[523_776..]);
    let status = host.uploads.status();
    assert_eq!((status.uploads, status.bytes), (2, 524_288 + 700_000 - 523_776));
}

#[tokio::test]
async fn forms_of_requests() {
    let desk = Desk::new(&[("a b.txt", b"0123456789"), ("empty", b"")]).await;
    let host = desk.gnutella(|_| ()).await;
    let (number, _) = desk.item("a b.txt");
    let (path, urn) = (format!("/get/{number}/a%20b.txt"), desk.sha1("a b.txt"));
    let mut kept = host.dial().await;
    for (request, status, body) in [
        (format!("GET {path} HTTP/1.1\r\n\r\n"), 200, "0123456789"),
        (format!("GET /get/{number}/a b.txt/ HTTP/1.1\n\n"), 200, "0123456789"),
        (format!("HEAD {path} HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n"), 206, ""),
        (format!("GET {path} HTTP/1.1\r\nRange: bytes=5-99\r\n\r\n"), 206, "56789"),
        (format!("GET {path} HTTP/1.1\r\nRange: bytes=-3\r\n\r\n"), 206, "789"),
        (format!("GET {path} HTTP/1.1\r\nRange: bytes=0-0,5-6\r\n\r\n"), 206, "0"),
        (format!("GET {path} HTTP/1.1\r\nRange: bytes=10-\r\n\r\n"), 416, ""),
        (
            format!("GET {path} HTTP/1.1\r\nX-Gnutella-Content-URN: {urn}\r\n\r\n"),
            200,
            "0123456789",
        ),
        (
            format!(
                "GET {path} HTTP/1.1\r\nX-Gnutella-Content-URN: {}\r\n\r\n",
                desk.sha1("empty")
            ),
            404,
            "",
        ),
        (format!("GET /get/{number}/other HTTP/1.1\r\n\r\n"), 404, ""),
        ("GET /get/99/a%20b.txt HTTP/1.1\r\n\r\n".into(), 404, ""),
        (format!("GET /uri-res/N2R?{} HTTP/1.1\r\n\r\n", desk.sha1("empty")), 200, ""),
        ("GET / HTTP/1.1\r\nAccept: application/x-gnutella-packets\r\n\r\n".into(), 403, ""),
        (format!("GET {path} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 200, "0123456789"),
        (format!("GET {path} HTTP/1.0\r\n\r\n"), 200, "0123456789"),
    ] {
        let answer = kept.ask(&request).await;
        assert_eq!((answer.status(), answer.body), (status, body.as_bytes().to_vec()), "{request}");
    }
    assert!(kept.is_closed().await, "HTTP/1.0 ends with its answer");
    let range = host.ask(&format!("GET {path} HTTP/1.1\r\nRange: bytes=10-\r\n\r\n")).await;
    assert_eq!(range.field("Content-Range"), Some("bytes */10"));
    for bad in ["POST / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nRange: bytes=2-1\r\n\r\n", "x\n\n"] {
        let mut asker = host.dial().await;
        assert_eq!(asker.ask(bad).await.status(), 400, "{bad}");
        assert!(asker.is_closed().await);
    }
    // Two at once, in one packet.
    let mut two = host.dial().await;
    let one = format!("GET {path} HTTP/1.1\r\nRange: bytes=0-4\r\n\r\n");
    two.say(&format!("{one}\r\n{one}")).await;
    for _ in 0..2 {
        assert_eq!(two.answer(false).await.unwrap().body, b"01234");
    }
}

#[tokio::test]
async fn a_torrent_comes_by_its_hash() {
    let desk = Desk::new(&[("song.mp3", &content(70_000))]).await;
    let host = desk.gnutella(|_| ()).await;
    let (info, _) = desk.item("song.mp3").1.torrent.unwrap();
    let urn = gaggle_core::proto::gnutella::Urn::Btih(info);
    let answer = host.ask(&format!("GET /uri-res/N2R?{urn} HTTP/1.1\r\n\r\n")).await;
    assert_eq!(answer.field("Content-Type"), Some("application/x-bittorrent"));
    let metainfo = gaggle_core::metainfo::Metainfo::parse(&answer.body).unwrap();
    assert_eq!(metainfo.info_hash(), info);
    let other = gaggle_core::proto::gnutella::Urn::Btih(gaggle_core::id::InfoHash([7; 20]));
    let answer = host.ask(&format!("GET /uri-res/N2R?{other} HTTP/1.1\r\n\r\n")).await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn a_node_asks_as_clients_of_old_do() {
    let song = content(640_000);
    let desk = Desk::new(&[("My Song.mp3", &song)]).await;
    let host = desk.fasttrack(|_| ()).await;
    let (_, item) = desk.item("My Song.mp3");
    let (uu, (torrent, _)) = (item.hashes.unwrap().uu, item.torrent.unwrap());
    host.uploads.set_me(Me { supernode: Some("5.6.7.8:1214".parse().unwrap()), ..me() });
    // mldonkey: HTTP/1.0, bare newlines, one range of 256 KiB after the other on one connection.
    let mut mldonkey = host.dial().await;
    for (first, last) in [(0, 262_143), (262_144, 524_287), (524_288, 639_999)] {
        let answer = mldonkey
            .ask(&format!(
                "GET /.hash={uu} HTTP/1.0\nHost: 1.2.3.4:1214\nUserAgent: MLDonkey\n\
                 X-Kazaa-Network: KaZaA\nX-Kazaa-Username: bob\nRange: bytes={first}-{last}\n\n"
            ))
            .await;
        assert_eq!(
            answer.head,
            format!(
                "HTTP/1.1 206 Partial Content\r\nServer: gaggle\r\nContent-Type: application/octet-stream\r\n\
                 Content-Length: {}\r\nContent-Range: bytes {first}-{last}/640000\r\nAccept-Ranges: bytes\r\n\
                 X-Kazaa-Username: ann\r\nX-Kazaa-Network: KaZaA\r\nX-Kazaa-IP: 1.2.3.4:1214\r\n\
                 X-Kazaa-SupernodeIP: 5.6.7.8:1214\r\nX-KazaaTag: 3={}\r\nX-Content-BTIH: {torrent}\r\n\r\n",
                last - first + 1,
                uu.to_base64()
            )
        );
        assert!(answer.body == song[first..=last]);
    }
    let id = uu.file_id();
    for (path, status) in [
        (format!("/{id}/My%20Song.mp3"), 200),
        (format!("/{}/My%20Song.mp3", id ^ 1), 404),
        (format!("/{id}/My%20Son.mp3"), 404),
        (format!("/.btih={torrent}/0"), 200),
        (format!("/.btih={torrent}/1"), 404),
        (format!("/.hash={}", "ab".repeat(20)), 404),
        ("/.files".into(), 400),
    ] {
        let asked = format!("GET {path} HTTP/1.1\r\nConnection: Close\r\n\r\n");
        let mut asker = host.dial().await;
        let answer = asker.ask(&asked).await;
        assert_eq!(answer.status(), status, "{path}");
        assert!(status != 200 || answer.body == song);
        assert!(asker.is_closed().await);
        no_path(&desk, &answer);
    }
    let outside = format!("GET /.hash={uu} HTTP/1.1\r\nRange: bytes=640000-640001\r\n\r\n");
    assert_eq!(host.ask(&outside).await.status(), 400);
}

#[tokio::test]
async fn who_cannot_connect_to_us_is_connected_to() {
    let desk = Desk::new(&[("song.mp3", b"0123456789")]).await;
    let (number, item) = desk.item("song.mp3");
    let guid = "3a3f31028777103c5ecc35d7b7f1f732";
    let giv = format!("GIV {number}:{guid}/song.mp3\n\n");
    let uu = item.hashes.unwrap().uu;
    for (dialect, line, path) in [
        (Dialect::Gnutella, giv.as_str(), format!("/get/{number}/song.mp3")),
        (Dialect::FastTrack(me()), "GIVE 4711\r\n", format!("/.hash={uu}")),
    ] {
        let uploads = Uploads::new(Config::new(dialect), desk.library.clone(), Clock::start());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let downloader = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut asker = Asker { stream, read: Vec::new() };
            while asker.read.len() < line.len() {
                assert_ne!(asker.more().await, 0);
            }
            assert_eq!(asker.read, line.as_bytes());
            asker.read.clear();
            asker.ask(&format!("GET {path} HTTP/1.1\r\nRange: bytes=2-4\r\n\r\n")).await
        };
        let (given, answer) = tokio::join!(uploads.give(to, line.as_bytes()), downloader);
        assert_eq!((given, answer.body), (Ok(()), b"234".to_vec()));
        drop(listener);
        assert!(uploads.give(to, line.as_bytes()).await.is_err(), "nobody is there");
    }
}

/// Row 3: names that are paths, and files that are no longer what they were.
#[tokio::test]
async fn attack_03_no_request_leads_out_of_a_shared_folder() {
    let desk = Desk::new(&[("a", b"public"), ("sub/b", b"public")]).await;
    fs::write(desk.dir.path().join("secret"), "secret").unwrap();
    fs::create_dir(desk.dir.path().join("outside")).unwrap();
    fs::write(desk.dir.path().join("outside/b"), "secret").unwrap();
    let (gnutella, fasttrack) = (desk.gnutella(|_| ()).await, desk.fasttrack(|_| ()).await);
    let (number, _) = desk.item("a");
    let below = desk.dir.path().display().to_string();
    for path in [
        "/../secret".to_owned(),
        "/secret".into(),
        "//etc/passwd".into(),
        format!("{below}/secret"),
        format!("/get/{number}/../secret"),
        format!("/get/{number}/..%2fsecret"),
        format!("/get/{number}/%2e%2e%2fsecret"),
        format!("/get/{number}/sub/b"),
        format!("/get/{number}/a%00"),
        format!("/{number}/../../secret"),
        "/.hash=../secret".into(),
        "/.btih=../secret/0".into(),
        "/uri-res/N2R?../secret".into(),
        "/uri-res/N2R?urn:sha1:../../secret".into(),
        format!("file://{below}/secret"),
    ] {
        for host in [&gnutella, &fasttrack] {
            let answer = host.ask(&format!("GET {path} HTTP/1.1\r\n\r\n")).await;
            assert!(matches!(answer.status(), 400 | 404), "{path}: {answer:?}");
            assert!(answer.body.is_empty());
            no_path(&desk, &answer);
        }
    }
    let (b, _) = desk.item("b");
    fs::remove_file(desk.top().join("a")).unwrap();
    symlink("../secret", desk.top().join("a")).unwrap();
    fs::rename(desk.top().join("sub"), desk.dir.path().join("sub")).unwrap();
    symlink("../outside", desk.top().join("sub")).unwrap();
    for (number, name) in [(number, "a"), (b, "b")] {
        let answer = gnutella.ask(&format!("GET /get/{number}/{name} HTTP/1.1\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.body.len()), (404, 0), "{name}");
    }
    gnutella.until("no slot is kept", |status| status.serving == 0).await;
}

#[tokio::test]
async fn downloaders_learn_of_each_other() {
    let desk = Desk::new(&[("song.mp3", b"0123456789")]).await;
    let host = desk.gnutella(|_| ()).await;
    let path = format!("/uri-res/N2R?{}", desk.sha1("song.mp3"));
    let ask = |fields: &str| format!("GET {path} HTTP/1.1\r\n{fields}\r\n");
    let first = host.ask(&ask("X-Alt: 127.0.0.1:4000, 9.9.9.9, tls=ff\r\n")).await;
    assert_eq!(first.field("X-Alt"), Some("9.9.9.9:6346, 127.0.0.1:4000"));
    // One host alone does not make another forgotten.
    let second = host.ask(&ask("X-NAlt: 9.9.9.9:6346\r\n")).await;
    assert_eq!(second.field("X-Alt"), Some("9.9.9.9:6346, 127.0.0.1:4000"));
}
