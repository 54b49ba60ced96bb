use super::*;
use gaggle_core::proto::announce::Answer;
use gaggle_core::proto::tracker_http::{
    AnnounceQuery, ReplyError, ScrapeQuery, parse_announce, parse_scrape,
};

/// Sends bytes over a connection of its own and returns all that comes back until it is closed.
async fn raw(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut reply = Vec::new();
    let exchange = async {
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut reply).await;
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("the connection ends");
    reply
}

/// Head and body of `GET path`.
async fn get(to: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    split(&raw(to, request.as_bytes()).await)
}

fn split(reply: &[u8]) -> (String, Vec<u8>) {
    let end = reply.windows(4).position(|at| at == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8(reply[..end].to_vec()).unwrap(), reply[end..].to_vec())
}

async fn announce(to: SocketAddr, ask: Announce) -> Result<Answer, ReplyError> {
    announce_as(to, AnnounceQuery { announce: ask, compact: true, no_peer_id: true }).await
}

async fn announce_as(to: SocketAddr, query: AnnounceQuery) -> Result<Answer, ReplyError> {
    let (head, body) = get(to, &format!("/announce?{}", query.encode())).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    parse_announce(&body)
}

#[tokio::test]
async fn peers_meet_over_both_families() {
    for listen in [V4, V6] {
        let tracker = start(listen);
        let to = tracker.local_addr();
        let first = announce(to, leech(4001)).await.unwrap();
        assert_eq!(first.peers, []);
        assert_eq!(first.terms.external_ip, Some(listen.ip()));
        let interval = first.terms.interval.unwrap().as_secs();
        assert!((100..=110).contains(&interval));
        assert_eq!(first.terms.min_interval, Some(Duration::from_secs(7)));
        let seed = announce(to, Announce { left: 0, ..leech(4002) }).await.unwrap();
        assert_eq!(seed.peers, [SocketAddr::new(listen.ip(), 4001)]);
        assert_eq!((seed.terms.counts.seeds, seed.terms.counts.leeches), (1, 1));
        let again = announce(to, leech(4001)).await.unwrap();
        assert_eq!(again.peers, [SocketAddr::new(listen.ip(), 4002)]);
        announce(to, Announce { event: Event::Stopped, left: 0, ..leech(4002) }).await.unwrap();
        assert_eq!(announce(to, leech(4001)).await.unwrap().peers, []);
        tracker.stop().await;
    }
}

#[tokio::test]
async fn peers_as_dictionaries_for_who_wants_them() {
    let tracker = start(V4);
    let to = tracker.local_addr();
    announce(to, leech(4001)).await.unwrap();
    for no_peer_id in [false, true] {
        let query = AnnounceQuery { announce: leech(4002), compact: false, no_peer_id };
        let (_, body) = get(to, &format!("/announce?{}", query.encode())).await;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains("5:peersld2:ip9:127.0.0.1"), "{text}");
        assert_eq!(text.contains("7:peer id20:pppppppppppppppppppp"), !no_peer_id, "{text}");
        assert_eq!(parse_announce(&body).unwrap().peers, ["127.0.0.1:4001".parse().unwrap()]);
    }
}

#[tokio::test]
async fn scrapes_count() {
    let tracker = start(V4);
    let to = tracker.local_addr();
    announce(to, leech(4001)).await.unwrap();
    announce(to, Announce { left: 0, event: Event::Completed, ..leech(4001) }).await.unwrap();
    announce(to, leech(4002)).await.unwrap();
    let hashes = vec![InfoHash([9; 20]), InfoHash([7; 20])];
    let query = ScrapeQuery { hashes: hashes.clone() }.encode();
    let (_, body) = get(to, &format!("/scrape?{query}")).await;
    let counts = parse_scrape(&body, &hashes).unwrap();
    assert_eq!(counts[0], Some(gaggle_core::proto::announce::Counts::default()));
    let known = counts[1].unwrap();
    assert_eq!((known.seeds, known.leeches, known.completed), (1, 1, 1));
    let (_, body) = get(to, "/stats").await;
    assert_eq!(body, b"torrents 1\npeers 2\n");
}

#[tokio::test]
async fn attack_38_bad_announces_get_a_bencoded_reason() {
    let tracker = start(V4);
    let to = tracker.local_addr();
    let hash = "info_hash=%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13%14";
    let good = format!("{hash}&peer_id=-XX0000-abcdefghijkl");
    let table = [
        (String::new(), "info_hash is missing"),
        ("info_hash=short".into(), "info_hash has 5 bytes, not 20"),
        (format!("{hash}&{hash}"), "more than one info_hash"),
        ("info_hash=%".into(), "broken percent escape"),
        (hash.into(), "peer_id is missing"),
        (format!("{hash}&peer_id=x"), "peer_id has 1 bytes, not 20"),
        (format!("{good}&left=1"), "port is missing"),
        (format!("{good}&left=1&port=0"), "port must be 1 to 65535"),
        (format!("{good}&left=1&port=70000"), "port must be 1 to 65535"),
        (format!("{good}&port=1"), "left is missing"),
        (format!("{good}&port=1&left=-1"), "left is not a number in range"),
        (format!("{good}&port=1&left=1&event=boo"), "unknown event"),
    ];
    for (query, want) in table {
        let (head, body) = get(to, &format!("/announce?{query}")).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{query}: {head}");
        let wanted = format!("d14:failure reason{}:{want}e", want.len());
        assert_eq!(String::from_utf8_lossy(&body), wanted, "{query}");
    }
    for (query, want) in [
        (String::new(), "full scrape is not offered: name an info_hash"),
        (format!("{hash}&").repeat(75), "75 hashes in one scrape, at most 74 are answered"),
        ("info_hash=x&".repeat(1000), "query of 12000 bytes is too long"),
    ] {
        let (_, body) = get(to, &format!("/scrape?{query}")).await;
        let reason = parse_scrape(&body, &[]).unwrap_err().to_string();
        assert_eq!(reason, format!("refused: {want}"));
    }
    // Claims about the own address, and a number of peers beyond reason, are ignored.
    announce(to, leech(1)).await.unwrap();
    let spoof = format!(
        "info_hash={}&peer_id=-XX0000-abcdefghijkl&port=2&left=1&numwant=-1&ip=6.6.6.6&ipv4=6.6.6.6",
        "%07".repeat(20)
    );
    get(to, &format!("/announce?{spoof}")).await;
    let peers =
        announce(to, Announce { want: Some(1_000_000_000), ..leech(1) }).await.unwrap().peers;
    assert_eq!(peers, ["127.0.0.1:2".parse().unwrap()]);
}

#[tokio::test]
async fn attack_38_what_is_no_tracker_request_is_answered_in_http() {
    let tracker = start(V4);
    let to = tracker.local_addr();
    let status = async |request: &[u8]| {
        let reply = raw(to, request).await;
        String::from_utf8_lossy(reply.get(9..12).unwrap_or_default()).into_owned()
    };
    let end = " HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(status(format!("GET /../../etc/passwd{end}").as_bytes()).await, "404");
    assert_eq!(status(format!("GET /{end}").as_bytes()).await, "404");
    assert_eq!(status(format!("POST /announce{end}").as_bytes()).await, "405");
    assert_eq!(status(b"\x13BitTorrent protocol\r\n\r\n").await, "400");
    assert_eq!(status(b"GET /announce FTP/9\r\n\r\n").await, "400");
    let bomb = format!("GET /announce HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(status(bomb.as_bytes()).await, "431");
    let many = format!("GET /announce HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    assert_eq!(status(many.as_bytes()).await, "431");
    let uri = format!("GET /announce?{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    assert!(["414", "431"].contains(&status(uri.as_bytes()).await.as_str()));
}

#[tokio::test]
async fn requests_may_come_in_pieces_and_follow_each_other() {
    let tracker = start(V4);
    let mut stream = TcpStream::connect(tracker.local_addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let query = AnnounceQuery { announce: leech(4001), compact: true, no_peer_id: true }.encode();
    let request = format!("GET /announce?{query} HTTP/1.1\r\nHost: t\r\n\r\n");
    for piece in request.as_bytes().chunks(7) {
        stream.write_all(piece).await.unwrap();
    }
    let mut first = vec![0; 4096];
    let n = tokio::time::timeout(PATIENCE, stream.read(&mut first)).await.unwrap().unwrap();
    assert!(first[..n].starts_with(b"HTTP/1.1 200 OK"));
    // Two at once, on the connection that was kept.
    let last = request.replace("Host: t", "Host: t\r\nConnection: close");
    stream.write_all(format!("{request}{last}").as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 2);
}

#[tokio::test]
async fn attack_39_slow_heads_end_and_connections_are_bounded() {
    let tracker = Tracker::bind(&TrackerConfig { connections_max: 4, ..config(V4) }).unwrap();
    let to = tracker.local_addr();
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /announce?x").await.unwrap();
        slow.push(stream);
    }
    // All slots are taken by dawdlers; an honest request waits for their deadline, then is served.
    let begun = tokio::time::Instant::now();
    let answer = announce(to, leech(4001)).await.unwrap();
    assert_eq!(answer.terms.counts.leeches, 1);
    assert!(begun.elapsed() >= Duration::from_secs(5), "there were only four slots");
    for mut stream in slow {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the dawdler is still served");
    }
}

#[tokio::test]
async fn attack_39_refusals_name_the_reason_and_the_time() {
    let mut config = config(V4);
    config.policy.limits.peers_per_source = 2;
    let tracker = Tracker::bind(&config).unwrap();
    let to = tracker.local_addr();
    for hash in [1, 2] {
        announce(to, Announce { info_hash: InfoHash([hash; 20]), ..leech(1) }).await.unwrap();
    }
    let query = AnnounceQuery { announce: leech(1), compact: true, no_peer_id: true }.encode();
    let (_, body) = get(to, &format!("/announce?{query}")).await;
    let want = "d14:failure reason35:too many torrents from your address8:retry ini30ee";
    assert_eq!(String::from_utf8_lossy(&body), want);
    assert_eq!(tracker.stats().torrents, 2);
}
