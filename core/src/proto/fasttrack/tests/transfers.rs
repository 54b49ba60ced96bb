//! Heads of transfers, as other programs write them and as they may not be.

use super::*;

fn asked(head: &str) -> Result<Ask, WireError> {
    Ask::parse(head.as_bytes()).map(|read| {
        let (ask, len) = read.expect("a whole head");
        assert_eq!(len, head.len());
        ask
    })
}

#[test]
fn requests_of_clients() {
    let mldonkey = asked(
        "GET /.hash=422922672fb7e75cfdcf2d8921a696a2aac24c41 HTTP/1.0\nHost: 1.2.3.4:1214\n\
         UserAgent: MLDonkey\nX-Kazaa-Network: KaZaA\nX-Kazaa-Username: ann\nRange: bytes=262144-524287\n\n",
    )
    .unwrap();
    let hash = UuHash::from_hex("422922672fb7e75cfdcf2d8921a696a2aac24c41").unwrap();
    assert_eq!(mldonkey.target, Target::Hash(hash));
    assert_eq!(mldonkey.range, Some(262_144..=524_287));
    assert!(mldonkey.keep_alive && !mldonkey.head_only);
    assert_eq!(mldonkey.user, "ann");

    let old = asked("HEAD /4711/my%20song.mp3 HTTP/1.1\r\nConnection: Close\r\n\r\n").unwrap();
    assert_eq!(old.target, Target::Name { file_id: 4711, name: "my song.mp3".into() });
    assert!(old.head_only && !old.keep_alive && old.range.is_none());

    for ask in [mldonkey, old] {
        let ask = Ask { supernode: Some(addr("5.6.7.8:1214")), ..ask };
        assert_eq!(asked(&ask.encode(addr("1.2.3.4:1214"))), Ok(ask));
    }
    let torrent = "/.btih=abababababababababababababababababababab/3";
    let torrent = asked(&format!("GET {torrent} HTTP/1.1\r\n\r\n")).unwrap();
    let resumed = asked("GET /1/a b HTTP/1.1\r\nRange: bytes=5-\r\n\r\n").unwrap();
    assert_eq!(resumed.range, Some(5..=u64::MAX));
    assert_eq!(resumed.target, Target::Name { file_id: 1, name: "a b".into() });
    assert_eq!(torrent.target, Target::Torrent(crate::id::InfoHash([0xab; 20]), 3));
    assert_eq!(asked(&torrent.encode(addr("1.2.3.4:1214"))), Ok(torrent));
}

#[test]
fn requests_that_are_refused() {
    for (head, what) in [
        ("POST / HTTP/1.1\r\n\r\n", "method"),
        ("GET /.files HTTP/1.1\r\n\r\n", "path"),
        ("GET /.hash=1234 HTTP/1.1\r\n\r\n", "path"),
        ("GET /x/y HTTP/1.1\r\n\r\n", "path"),
        ("GET /1/%ff HTTP/1.1\r\n\r\n", "path"),
        ("GET /1/a HTTP/2\r\n\r\n", "version"),
        ("GET /1/a HTTP/1.1\r\nRange: bytes=-5\r\n\r\n", "Range"),
        ("GET /1/a HTTP/1.1\r\nRange: bytes=5-4\r\n\r\n", "Range"),
        ("GET /1/a HTTP/1.1\r\nRange: bytes=+5-9\r\n\r\n", "Range"),
        ("GET /1/a HTTP/1.1\r\nRange: bytes=0-99999999999999999999\r\n\r\n", "Range"),
    ] {
        assert_eq!(asked(head), Err(WireError::Head(what)), "{head}");
    }
    assert_eq!(Ask::parse(b"GET /1/a HTTP/1.1\r\nHost: a\r\n"), Ok(None));
    assert_eq!(Ask::parse(&[b'x'; 8192]), Err(WireError::Head("length")));
    let refusal = Status::Busy.refusal();
    let (busy, len) = Answered::parse(refusal.as_bytes()).unwrap().unwrap();
    assert_eq!((busy.status, busy.retry_s, len), (503, Some(300), refusal.len()));
    for (status, code) in [(Status::Bad, 400), (Status::NotFound, 404)] {
        assert_eq!(Answered::parse(status.refusal().as_bytes()).unwrap().unwrap().0.status, code);
    }
}

#[test]
fn answers() {
    let hash = UuHash::from_hex("422922672fb7e75cfdcf2d8921a696a2aac24c41").unwrap();
    let torrent = Some(crate::id::InfoHash([0xab; 20]));
    let upload = Upload {
        addr: addr("1.2.3.4:1214"),
        user: "ann".into(),
        supernode: Some(addr("5.6.7.8:1214")),
        hash,
        torrent,
        total: 640_000,
    };
    let whole = upload.whole();
    assert!(whole.starts_with("HTTP/1.1 200 OK\r\n") && !whole.contains("Content-Range"));
    let (answer, len) = Answered::parse(whole.as_bytes()).unwrap().unwrap();
    assert_eq!((answer.len, answer.range, len), (Some(640_000), None, whole.len()));
    let head = upload.partial(&(0..=262_143));
    assert!(head.contains("X-KazaaTag: 3==QikiZy"), "{head}");
    assert!(head.contains("Content-Range: bytes 0-262143/640000\r\n"));
    let (answer, len) = Answered::parse(format!("{head}body").as_bytes()).unwrap().unwrap();
    assert_eq!(len, head.len());
    assert_eq!((answer.hash, answer.torrent), (Some(hash), torrent));
    assert!(answer.covers(&(0..=262_143), 640_000));

    // KaZaA ended lines of a refusal without a carriage return.
    let kazaa = b"HTTP/1.0 503 Service Unavailable\nRetry-After: 300\n\n";
    assert_eq!(Answered::parse(kazaa).unwrap().unwrap().0.retry_s, Some(300));
}

/// Row 45: other bytes than those that were asked for, a size that is not that of the hit, a body without end.
#[test]
fn attack_45_answers_that_do_not_fit() {
    let answer = |fields: &str| {
        let head = format!("HTTP/1.1 206 Partial Content\r\n{fields}\r\n\r\n");
        Answered::parse(head.as_bytes()).unwrap().unwrap().0
    };
    let asked = 100..=199;
    let good = "Content-Length: 100\r\nContent-Range: bytes 100-199/1000";
    assert!(answer(good).covers(&asked, 1000));
    assert!(!answer(good).covers(&asked, 1001));
    assert!(!answer(good).covers(&(0..=99), 1000));
    for bad in [
        "Content-Range: bytes 100-199/1000",
        "Content-Length: 101\r\nContent-Range: bytes 100-199/1000",
        "Content-Length: 18446744073709551615\r\nContent-Range: bytes 100-199/1000",
        "Content-Length: 100\r\nContent-Range: bytes 0-99/1000",
        "Content-Length: 100\r\nContent-Range: bytes 100-199/150",
        "Content-Length: 100",
    ] {
        assert!(!answer(bad).covers(&asked, 1000), "{bad}");
    }
    assert!(!answer(good).covers(&(0..=u64::MAX), 1000));
}

#[test]
fn what_a_connection_begins_with() {
    for (first, want) in [
        (b"GET ", Opening::Http),
        (b"HEAD", Opening::Http),
        (b"GIVE", Opening::Push),
        (&mesh::MAGIC, Opening::Mesh),
        (&[0xfa, 0x00, 0xb6, 0x2b], Opening::Session),
    ] {
        assert_eq!(Opening::of(*first), want);
    }
    assert_eq!(give(4711), "GIVE 4711\r\n");
    assert_eq!(parse_give(b"GIVE 4711\r\nGET"), Ok(Some((4711, 11))));
    assert_eq!(parse_give(b"GIVE 4711\n"), Ok(Some((4711, 10))));
    assert_eq!(parse_give(b"GIVE 47"), Ok(None));
    assert!(parse_give(b"GIVE -1\r\n").is_err() && parse_give(&[b'G'; 30]).is_err());
}
