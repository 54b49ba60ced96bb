//! What a node says to supernodes of which the test plays all.

use super::wire::Played;
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Logs the node in, and reads what it says of itself.
async fn attached(played: &Played, of: &FastTrack, user: &str) -> wire::Wire {
    let mut wire = played.log_in().await;
    wire.hear(0x02, &format!("{} d1 00 {}", six(of.addr()), hex_of(user))).await;
    let (kind, uptime) = wire.hear_any().await;
    assert_eq!((kind, uptime.len()), (0xe0, 4));
    wire
}

fn ann(connect: Vec<SocketAddrV4>) -> Config {
    Config { connect, user: Some("ann".into()), ..config(Role::Node) }
}

#[tokio::test]
async fn five_are_pinged_the_nearest_is_taken_and_the_next_one_when_it_dies() {
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(Played::new().await);
    }
    let addrs = all.iter().map(|played| played.addr).collect();
    let us = FastTrack::start(ann(addrs), None, Clock::start()).unwrap();
    // Whoever is pinged first answers first; the others a little later; the last not at all.
    let mut pinged = Vec::new();
    let mut raw = [0; 100];
    while pinged.len() < 5 {
        for (n, played) in all.iter().enumerate() {
            let wait = Duration::from_millis(20);
            let got = tokio::time::timeout(wait, played.udp.recv_from(&mut raw)).await;
            if let Ok(Ok((len, from))) = got {
                assert_eq!(
                    (&raw[..len], v4(from)),
                    (&hex("27 000000a9 80 4b615a6141 00")[..], us.addr())
                );
                pinged.push(n);
                if pinged.len() < 5 {
                    played.pong(v4(from)).await;
                }
            }
        }
    }
    let mut first = attached(&all[pinged[0]], &us, "ann").await;
    first.say(0x00, &format!("{} 00 64", six(all[pinged[0]].addr))).await;
    assert_eq!(
        until(&us, |status| status.attached.is_some()).await.attached,
        Some(all[pinged[0]].addr)
    );
    drop(first);
    let second = attached(&all[pinged[1]], &us, "ann").await;
    assert_eq!(us.status().attached, Some(all[pinged[1]].addr));
    drop(second);
    attached(&all[pinged[2]], &us, "ann").await;
}

#[tokio::test]
async fn it_shares_when_told_searches_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Blue Moon.mp3", b"moon");
    let played = Played::new().await;
    let library = library(dir.path()).await;
    let us =
        FastTrack::start(ann(vec![played.addr]), Some(library.clone()), Clock::start()).unwrap();
    // Else it would say so twice: when it learns of the file, and when it is told to.
    until(&us, |status| status.shared == 1).await;
    played.pong(played.pinged().await).await;
    let mut sn = attached(&played, &us, "ann").await;
    sn.say(0x00, &format!("{} 00 64 01020304 04be 05 20", six(played.addr))).await;
    sn.say(0x2c, "7f000001").await;
    sn.say(0x03, "").await;
    let hash = uu_hash(b"moon");
    let id = hash.file_id();
    let id = format!("{:02x}{:02x}", 0x80 | id >> 7, id & 0x7f);
    let moon = format!("{hash} {id} 04 01 02 0d {}", hex_of("Blue Moon.mp3"));
    let (kind, said) = sn.hear_any().await;
    assert_eq!((kind, said), (0x22, hex(&format!("00 01 00 00 {moon}"))));
    until(&us, |status| status.known == 2).await;

    let mut hits = us.search(Query::words(0, 1000, "payload")).await.unwrap();
    let (kind, query) = sn.hear_any().await;
    let id = data_encoding::HEXLOWER.encode(&query[4..6]);
    assert_eq!(
        (kind, query),
        (0x06, hex(&format!("0001 03e8 {id} 01 bf 01 05 00 07 7061796c6f6164")))
    );
    let torrent = "ab".repeat(20);
    let keywords = format!("0c 2d {}", hex_of(&format!("btih:{torrent}")));
    let file = |name: &str, tags: &str| {
        format!("{hash} 8c1b aadc60 02 02 {:02x} {} {tags}", name.len(), hex_of(name))
    };
    let rows = format!(
        "01020304 04be 60 {} 01 4b615a6141 00 {} 01020304 04be 60 02 {} 0a000001 0000 d1 {} 01 4b615a6141 00 {}",
        hex_of("bob"),
        file("payload.bin", &keywords),
        file("../payload two", "15 01 05"),
        hex_of("eve"),
        file("payload three", "05 01 07"),
    );
    sn.say(0x07, &format!("{} {id} 0003 {rows}", six(played.addr))).await;
    sn.say(
        0x07,
        &format!(
            "{} {id} 0001 01020304 04be 60 {} 01 41 00 {hash} 00 00 00",
            six(played.addr),
            hex_of("nobody")
        ),
    )
    .await;
    sn.say(0x08, &id).await;
    let mut found = Vec::new();
    while let Some(hit) = in_time(hits.recv()).await {
        found.push(hit);
    }
    let names: Vec<&str> = found.iter().map(|hit| hit.name.as_str()).collect();
    assert_eq!(names, ["payload.bin", "payload two", "payload three"], "and none without a name");
    let bob =
        Host { addr: "1.2.3.4:1214".parse().unwrap(), user: "bob".into(), supernode: played.addr };
    let [one, two, three] = &found[..] else { panic!("{found:?}") };
    assert_eq!((one.size, one.hash, one.file_id, one.kbps), (700_000, hash, 1563, Some(6)));
    assert_eq!((&one.host, one.host.is_firewalled(), &two.host), (&bob, false, &bob));
    assert_eq!(one.torrent.map(|torrent| torrent.to_string()), Some(torrent));
    assert_eq!((three.host.is_firewalled(), three.kbps, three.torrent), (true, None, None));

    std::fs::remove_file(dir.path().join("files/Blue Moon.mp3")).unwrap();
    library.look_again();
    sn.hear(0x05, &moon).await;
}

#[tokio::test]
async fn small_talk() {
    let played = Played::new().await;
    let us = FastTrack::start(ann(vec![played.addr]), None, Clock::start()).unwrap();
    played.pong(played.pinged().await).await;
    let mut sn = attached(&played, &us, "ann").await;
    sn.say(0x26, "00000022").await;
    sn.hear(0x26, "00000022").await;
    sn.say(0x1e, "01020304").await;
    sn.hear(0x1e, "01020304").await;
    sn.say(0x1d, &hex_of("fileshare")).await;
    sn.hear(0x1d, &hex_of("KaZaA")).await;
    let stats = "0001e240 00000007 0003 001f".to_owned() + &" 00000007 0003 001f".repeat(6);
    sn.say(0x09, &stats).await;
    for ignored in [0x01, 0x0a, 0x0b, 0x1f, 0x20, 0x21, 0x23, 0x24, 0x2b] {
        sn.say(ignored, "00000001").await;
    }
    sn.ping().await;
    sn.say(0x15, &six(played.addr)).await;
    let mut raw = [0; 10];
    let (len, from) = in_time(played.udp.recv_from(&mut raw)).await.unwrap();
    assert_eq!((&raw[..len], v4(from)), (&b"\xc0"[..], us.addr()));
    // It is nobody's supernode.
    let mut stranger = TcpStream::connect(us.addr()).await.unwrap();
    stranger.write_all(&hex("fa00b62b facb1238 3209d232")).await.unwrap();
    let _ = in_time(stranger.read(&mut raw)).await; // end or reset
    until(&us, |status| status.refused == 1 && status.connections == 1).await;
}

/// Somebody cannot connect to us: we do, say so, and wait for what he wants.
#[tokio::test]
async fn an_order_to_connect_is_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "moon.mp3", b"moon");
    let played = Played::new().await;
    let library = library(dir.path()).await;
    let us = FastTrack::start(ann(vec![played.addr]), Some(library), Clock::start()).unwrap();
    played.pong(played.pinged().await).await;
    let mut sn = attached(&played, &us, "ann").await;
    let (asker, at) = {
        let asker = tokio::net::TcpListener::bind(anywhere()).await.unwrap();
        let at = v4(asker.local_addr().unwrap());
        (asker, at)
    };
    sn.say(0x0d, &format!("000004d2 {}", six(at))).await;
    let (mut stream, _) = in_time(asker.accept()).await.unwrap();
    let mut line = [0; 11];
    in_time(stream.read_exact(&mut line)).await.unwrap();
    assert_eq!(&line, b"GIVE 1234\r\n");
    let ask = format!(
        "GET /.hash={} HTTP/1.1\r\nRange: bytes=1-2\r\nConnection: Close\r\n\r\n",
        uu_hash(b"moon")
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\noo"), "{answer}");
}

/// We cannot connect to somebody: he is asked to, and what he says first is the number that he was given.
#[tokio::test]
async fn a_host_is_pushed() {
    let played = Played::new().await;
    let us = FastTrack::start(ann(vec![played.addr]), None, Clock::start()).unwrap();
    let host = Host {
        addr: "10.0.0.1:0".parse().unwrap(),
        user: "bob".into(),
        supernode: "5.6.7.8:1214".parse().unwrap(),
    };
    assert_eq!(us.push(&host).await.unwrap_err(), PushError::Alone);
    played.pong(played.pinged().await).await;
    let mut sn = attached(&played, &us, "ann").await;
    let pushing = tokio::spawn({
        let (us, host) = (us.clone(), host.clone());
        async move { us.push(&host).await }
    });
    let (kind, request) = sn.hear_any().await;
    let id = u32::from_be_bytes(request[..4].try_into().unwrap());
    let want = format!("{id:08x} {} 0a000001 0000 05060708 04be {}", six(us.addr()), hex_of("bob"));
    assert_eq!((kind, request), (0x0d, hex(&want)));
    // Who guesses a number, or talks on, is not him.
    for wrong in [
        format!("GIVE {}\r\n", id.wrapping_add(1)),
        "GIVE x\r\n".to_owned(),
        format!("GIVE {id}\r\nGET"),
        "G".repeat(30),
    ] {
        let mut stranger = TcpStream::connect(us.addr()).await.unwrap();
        stranger.write_all(wrong.as_bytes()).await.unwrap();
        let mut raw = [0; 10];
        let ended = in_time(stranger.read(&mut raw)).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "{wrong}");
    }
    let mut bob = TcpStream::connect(us.addr()).await.unwrap();
    for part in format!("GIVE {id}\r\n").as_bytes().chunks(3) {
        bob.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut stream = in_time(pushing).await.unwrap().unwrap();
    stream.write_all(b"GET /").await.unwrap();
    let mut got = [0; 5];
    in_time(bob.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"GET /");
    let walled = Config { firewalled: true, ..ann(vec![]) };
    let walled = FastTrack::start(walled, None, Clock::start()).unwrap();
    assert_eq!(walled.push(&host).await.unwrap_err(), PushError::BothFirewalled);
}

/// Who asks for a file is served in the order of what his supernode says that he is worth.
#[tokio::test]
async fn reputation_decides_who_is_served_next() {
    let dir = tempfile::tempdir().unwrap();
    let content = vec![7; 24 << 20];
    write(dir.path(), "big.bin", &content);
    let played = Played::new().await;
    let library = library(dir.path()).await;
    let slots = SlotLimits { slots: 1, ..SlotLimits::default() };
    let config = Config { slots, ..ann(vec![played.addr]) };
    let us = FastTrack::start(config, Some(library), Clock::start()).unwrap();
    until(&us, |status| status.shared == 1).await;
    played.pong(played.pinged().await).await;
    let mut sn = attached(&played, &us, "ann").await;
    let hash = uu_hash(&content);
    let mut asked = Vec::new();
    for user in ["first", "low", "high"] {
        let mut stream = TcpStream::connect(us.addr()).await.unwrap();
        let ask = format!(
            "GET /.hash={hash} HTTP/1.1\r\nX-Kazaa-Username: {user}\r\nX-Kazaa-SupernodeIP: {}\r\n\r\n",
            played.addr
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        sn.hear(0xe2, &format!("7f000001 {} ffff {}", six(played.addr), hex_of(user))).await;
        asked.push(stream);
    }
    for (user, score) in [("low", "000a"), ("high", "0384")] {
        sn.say(0xe2, &format!("7f000001 {} {score} {}", six(played.addr), hex_of(user))).await;
    }
    sn.say(0x15, &six(played.addr)).await; // answered by who has heard the others before
    in_time(played.udp.recv(&mut [0; 10])).await.unwrap();
    let [first, low, mut high] = <[TcpStream; 3]>::try_from(asked).unwrap();
    drop(first); // it has not taken all of it
    let mut head = [0; 11];
    in_time(high.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 20");
    let waits = low.try_read(&mut head).unwrap_err();
    assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock);
}
