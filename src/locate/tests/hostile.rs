use super::*;
use gaggle_core::proto::announce::{MAX_PEERS, RetryIn};
use gaggle_core::proto::tracker_http::ReplyError;
use gaggle_core::proto::tracker_udp::{ExchangeError, Reply, Request};
use std::io::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// A server that reads a request head and then does as it likes. Ends with the test's runtime.
async fn server<F, W>(behave: F) -> SocketAddr
where
    F: Fn(TcpStream, String) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            tokio::spawn(behave(stream, String::from_utf8_lossy(&head).into_owned()));
        }
    });
    at
}

/// A server that says the same to everybody.
async fn says(reply: Vec<u8>) -> SocketAddr {
    let reply = std::sync::Arc::new(reply);
    server(move |mut stream, _| {
        let reply = reply.clone();
        async move {
            let _ = stream.write_all(&reply).await;
        }
    })
    .await
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn error_from(at: SocketAddr) -> LocateError {
    let config =
        TrackersConfig { http_timeout: Duration::from_secs(2), ..TrackersConfig::default() };
    let url = format!("http://{at}/announce");
    ask(&trackers_with(config), &url, leech(1)).await.expect_err("nothing good can come of this")
}

fn packed_peers(n: usize) -> Vec<u8> {
    let packed = [1u8, 2, 3, 4, 0, 80].repeat(n);
    [format!("d5:peers{}:", packed.len()).as_bytes(), &packed, b"e"].concat()
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn attack_34_a_web_page_is_shown_as_what_it_is() {
    let at = says(ok("Content-Type: text/html\r\n", b"<html>\x1b[2JPlease log in")).await;
    let error = error_from(at).await;
    let starts = "<html>\u{fffd}[2JPlease log in".to_owned();
    assert_eq!(error, ReplyError::NotBencode { starts }.into());
}

#[tokio::test]
async fn attack_34_nothing_at_all() {
    assert_eq!(error_from(says(ok("", b"")).await).await, ReplyError::Empty.into());
    assert!(matches!(error_from(says(Vec::new()).await).await, LocateError::Connection(_)));
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = error_from(nobody).await;
    assert!(matches!(&error, LocateError::Connection(text) if text.contains("refused")), "{error}");
}

#[tokio::test]
async fn attack_34_a_gzip_bomb_is_not_unfolded() {
    let bomb = gzipped(&vec![b'0'; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let at = says(ok("Content-Encoding: gzip\r\n", &bomb)).await;
    assert_eq!(error_from(at).await, LocateError::Body);
    // Honest compression is welcome.
    let at = says(ok("Content-Encoding: gzip\r\n", &gzipped(&packed_peers(100)))).await;
    let (peers, _) = ask(&trackers(), &format!("http://{at}/announce"), leech(1)).await.unwrap();
    assert_eq!(peers.len(), 100);
}

#[tokio::test]
async fn attack_34_a_million_peers() {
    let at = says(ok("", &packed_peers(1_000_000))).await;
    assert_eq!(error_from(at).await, LocateError::Body);
    let at = says(ok("", &packed_peers(300_000))).await;
    let (peers, _) = ask(&trackers(), &format!("http://{at}/announce"), leech(1)).await.unwrap();
    assert_eq!(peers.len(), MAX_PEERS);
}

#[tokio::test]
async fn attack_34_bytes_without_end() {
    let endless = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    })
    .await;
    assert_eq!(error_from(endless).await, LocateError::Body);
    let endless_head = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-Padding: xxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").await.is_ok() {}
    })
    .await;
    assert!(matches!(error_from(endless_head).await, LocateError::Connection(_)));
}

#[tokio::test]
async fn attack_34_a_drip_is_cut_off() {
    let limit = LocateError::TimedOut(Duration::from_secs(2));
    let drip = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(error_from(drip).await, limit);
    let mute = server(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(error_from(mute).await, limit);
}

#[tokio::test]
async fn attack_34_chunks_that_lie() {
    let lies: [&[u8]; 3] = [b"ffffffffffffffff1\r\nx", b"zz\r\nx\r\n", b"-5\r\nx\r\n"];
    for lie in lies {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let error = error_from(says([&head[..], lie].concat()).await).await;
        assert!(matches!(error, LocateError::Connection(_)), "{error}");
    }
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nd5:peers0:e".to_vec();
    assert!(matches!(error_from(says(short).await).await, LocateError::Connection(_)));
}

#[tokio::test]
async fn attack_34_statuses() {
    let status = async |line: &str, body: &str| {
        let reply = format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        error_from(says(reply.into_bytes()).await).await
    };
    assert_eq!(status("503 Busy", "<html>").await, LocateError::HttpStatus(503));
    let gone = status("410 Gone", "").await;
    assert_eq!((gone.retry_in(), gone), (Some(RetryIn::Never), LocateError::HttpStatus(410)));
    let reason = "unregistered".to_owned();
    let refused = status("400 Bad", "d14:failure reason12:unregisterede").await;
    assert_eq!(refused, ReplyError::Refused { reason, retry_in: None }.into());
}

#[tokio::test]
async fn attack_35_redirects_are_followed_with_care() {
    let redirect = |to: String| {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    // Round and round.
    let circle = server(|mut stream, head| async move {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let reply = format!("HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(reply.as_bytes()).await;
    })
    .await;
    assert_eq!(error_from(circle).await, LocateError::Redirect("too often"));
    // To another service of this machine, and to files.
    let victim = says(ok("", &packed_peers(1))).await;
    let at = says(redirect(format!("http://{victim}/admin/reboot"))).await;
    assert!(matches!(error_from(at).await, LocateError::PrivateTarget(_)));
    let at = says(redirect("file:///etc/passwd".into())).await;
    assert_eq!(error_from(at).await, LocateError::Redirect("to another scheme"));
    // To another tracker, as a moved one does.
    let at = says(redirect(format!("http://{victim}/announce"))).await;
    let (peers, _) = ask(&trackers(), &format!("http://{at}/announce"), leech(1)).await.unwrap();
    assert_eq!(peers.len(), 1);
    // Out of this network, which is refused before anybody is asked for the name.
    let at = says(redirect("http://tracker.invalid/announce".into())).await;
    let lan = trackers_with(TrackersConfig { lan: true, ..TrackersConfig::default() });
    let refused = ask(&lan, &format!("http://{at}/announce"), leech(1)).await;
    assert_eq!(refused, Err(LocateError::Redirect("out of this network")));
}

#[tokio::test]
async fn attack_35_a_redirect_takes_no_password_along() {
    let heads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = heads.clone();
    let second = server(move |mut stream, head| {
        seen.lock().unwrap().push(head);
        async move {
            let _ = stream.write_all(&ok("", &packed_peers(1))).await;
        }
    })
    .await;
    let reply = format!(
        "HTTP/1.1 307 T\r\nLocation: http://other:secret@{second}/announce\r\nContent-Length: 0\r\n\r\n"
    );
    let first = says(reply.into_bytes()).await;
    let url = format!("http://user:secret@{first}/announce");
    ask(&trackers(), &url, leech(1)).await.unwrap();
    let heads = heads.lock().unwrap().join("").to_lowercase();
    assert!(heads.starts_with("get /announce") && !heads.contains("authorization"), "{heads}");
}

#[tokio::test]
async fn https_to_something_else_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(&ok("", &packed_peers(1))).await;
        std::future::pending::<()>().await;
    });
    let error = ask(&trackers(), &format!("https://{at}/announce"), leech(1)).await.unwrap_err();
    assert!(matches!(error, LocateError::Connection(_)), "{error}");
}

#[tokio::test]
async fn dropping_the_receiver_cancels() {
    let closed = std::sync::Arc::new(tokio::sync::Notify::new());
    let notify = closed.clone();
    let mute = server(move |mut stream, _| {
        let notify = notify.clone();
        async move {
            let _ = stream.read(&mut [0]).await; // ends when the client hangs up
            notify.notify_one();
        }
    })
    .await;
    let (found, receiver) = mpsc::channel(1);
    let locator = trackers().locator(&format!("http://{mute}/announce")).unwrap();
    assert_eq!(locator.network(), Network::Tracker);
    locator.submit(AskId(1), Ask::Peers(leech(1)), found);
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(receiver);
    tokio::time::timeout(PATIENCE, closed.notified()).await.expect("the connection is closed");
}

/// Trackers over UDP that do not wait for a quarter of a minute.
fn hasty() -> Trackers {
    let udp_retry = Retry { first: Duration::from_millis(200), sends: 3 };
    trackers_with(TrackersConfig { udp_retry, ..TrackersConfig::default() })
}

/// A UDP tracker that answers the nth datagram as it likes.
async fn udp_server<F>(mut behave: F) -> (SocketAddr, JoinHandle<()>)
where
    F: FnMut(usize, Request) -> Vec<Vec<u8>> + Send + 'static,
{
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buf = [0; 2048];
        for n in 0.. {
            let (len, from) = socket.recv_from(&mut buf).await.unwrap();
            let request = Request::parse(&buf[..len]).expect("our client sends requests");
            for reply in behave(n, request) {
                socket.send_to(&reply, from).await.unwrap();
            }
        }
    });
    (at, task)
}

#[tokio::test]
async fn silence_over_udp_ends_after_the_schedule() {
    let (at, _server) = udp_server(|_, _| Vec::new()).await;
    let begun = Clock::start();
    let error = ask(&hasty(), &format!("udp://{at}"), leech(1)).await.unwrap_err();
    assert_eq!(error, ExchangeError::TimedOut { tries: 3 }.into());
    let took = begun.now().as_secs_f64();
    assert!((1.4..10.0).contains(&took), "0.2 + 0.4 + 0.8 s, took {took}");
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = ask(&hasty(), &format!("udp://{nobody}"), leech(1)).await.unwrap_err();
    assert!(matches!(error, LocateError::Connection(_)), "{error}");
}

#[tokio::test]
async fn lost_datagrams_are_sent_again() {
    let (at, _server) = udp_server(|n, request| match request {
        _ if n % 2 == 0 => Vec::new(),
        Request::Connect { transaction } => {
            vec![Reply::Connect { transaction, connection: 5 }.encode()]
        }
        Request::Announce { transaction, connection: 5, announce, url_data } => {
            assert_eq!((announce.port, url_data.as_slice()), (1, &b"/announce?key=1"[..]));
            let peers = vec!["1.2.3.4:5".parse().unwrap()];
            let (interval_s, leeches, seeds) = (60, 1, 2);
            vec![Reply::Announce { transaction, interval_s, leeches, seeds, peers }.encode()]
        }
        other => panic!("{other:?}"),
    })
    .await;
    let url = format!("udp://{at}/announce?key=1");
    let (peers, terms) = ask(&hasty(), &url, leech(1)).await.unwrap();
    assert_eq!(peers, ["1.2.3.4:5".parse().unwrap()]);
    assert_eq!(terms.interval, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn attack_37_forged_udp_replies_are_ignored() {
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut buf = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut buf).await.unwrap();
            let (_, transaction) = Request::head(&buf[..len]).unwrap();
            let poison = Reply::Error { transaction, reason: "forged".into() }.encode();
            // The right transaction from the wrong endpoint; the wrong transaction from the right one; scraps.
            forger.send_to(&poison, from).await.unwrap();
            let wrong = Reply::Error { transaction: !transaction, reason: "wrong".into() };
            socket.send_to(&wrong.encode(), from).await.unwrap();
            socket.send_to(&poison[..7], from).await.unwrap();
            socket.send_to(&[], from).await.unwrap();
            let reply = match Request::parse(&buf[..len]).unwrap() {
                Request::Connect { transaction } => Reply::Connect { transaction, connection: 5 },
                _ => Reply::Announce {
                    transaction,
                    interval_s: 60,
                    leeches: 0,
                    seeds: 0,
                    peers: vec!["1.2.3.4:5".parse().unwrap()],
                },
            };
            socket.send_to(&reply.encode(), from).await.unwrap();
        }
    });
    let (peers, _) = ask(&hasty(), &format!("udp://{at}"), leech(1)).await.unwrap();
    assert_eq!(peers, ["1.2.3.4:5".parse().unwrap()]);
    assert!(!server.is_finished());
}

#[tokio::test]
async fn attack_37_a_flood_of_junk_does_not_keep_an_exchange_alive() {
    let (at, _server) = udp_server(|_, _| vec![vec![0xff; 1000]; 200]).await;
    let error = ask(&hasty(), &format!("udp://{at}"), leech(1)).await.unwrap_err();
    assert_eq!(error, ExchangeError::TimedOut { tries: 3 }.into());
}
