//! Row 45 of the attacks and the limits of the sheets: slow, many, endless.

use super::*;
use crate::net::Limit;
use gaggle_core::units::BytesPerSec;

fn soon(config: &mut Config) {
    config.patience.head = Duration::from_millis(200);
    config.patience.idle = Duration::from_millis(200);
    config.patience.stall = Duration::from_millis(200);
}

#[tokio::test]
async fn attack_45_heads_that_never_end() {
    let desk = Desk::new(&[("a", b"0123456789")]).await;
    for host in [desk.gnutella(soon).await, desk.fasttrack(soon).await] {
        // Nothing at all, half a head, and a byte now and then: all are over in time.
        let mut silent = host.dial().await;
        let mut half = host.dial().await;
        half.say("GET / HTTP/1.1\r\nHost: ").await;
        let mut dripping = host.dial().await;
        let drip = async {
            for _ in 0..1000 {
                if dripping.stream.write_all(b"GET /").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("it went on");
        };
        let (silent, half, ()) = tokio::join!(silent.is_closed(), half.is_closed(), drip);
        assert!(silent && half);
        host.until("their end", |status| status.connections == 0).await;
        let mut long = host.dial().await;
        let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9 << 10));
        assert_eq!(long.ask(&head).await.status(), 400);
        assert!(long.is_closed().await);
    }
}

#[tokio::test]
async fn attack_45_too_many_connections() {
    let desk = Desk::new(&[("a", b"0123456789")]).await;
    let host = desk
        .gnutella(|config| {
            config.connections = 3;
            config.connections_each = 1;
        })
        .await;
    let mut open = Vec::new();
    for n in 0..3 {
        open.push(host.dial().await);
        host.until("a connection", |status| status.connections == n + 1).await;
    }
    let mut one_more = host.dial().await;
    let told = one_more.answer(false).await.unwrap();
    assert_eq!((told.status(), told.field("Connection")), (503, Some("close")));
    assert!(one_more.is_closed().await);
    open.pop();
    host.until("room", |status| status.connections == 2).await;
    let ask = format!("GET /uri-res/N2R?{} HTTP/1.1\r\n\r\n", desk.sha1("a"));
    assert_eq!(host.ask(&ask).await.status(), 200);

    let strict = desk
        .gnutella(|config| {
            config.connections_each = 2;
            config.slots.loopback_too = true;
            config.slots.each = 1;
            config.patience.slot = LATE;
        })
        .await;
    let (mut first, mut second) = (strict.dial().await, strict.dial().await);
    assert_eq!(first.ask(&ask).await.status(), 200);
    assert_eq!(second.ask(&ask).await.status(), 503, "one slot for each address");
    assert_eq!(strict.dial().await.answer(false).await.unwrap().status(), 503);
    // Who only looks has no slot any more, and neither has who reads a torrent.
    assert_eq!(first.ask(&ask.replacen("GET", "HEAD", 1)).await.status(), 200);
    assert_eq!(second.ask(&ask).await.status(), 200);
    assert_eq!(first.ask(&ask).await.status(), 503);
    let torrent = gaggle_core::proto::gnutella::Urn::Btih(desk.item("a").1.torrent.unwrap().0);
    let torrent = format!("GET /uri-res/N2R?{torrent} HTTP/1.1\r\n\r\n");
    assert_eq!(second.ask(&torrent).await.status(), 200);
    assert_eq!(first.ask(&ask).await.status(), 200);
}

#[tokio::test]
async fn attack_45_requests_without_end() {
    let desk = Desk::new(&[("a", b"0123456789")]).await;
    let host = desk.gnutella(|_| ()).await;
    let mut asker = host.dial().await;
    let mut refused = 0;
    asker.say(&"GET /get/9/none HTTP/1.1\r\n\r\n".repeat(60)).await;
    while let Some(answer) = asker.answer(false).await {
        assert_eq!(answer.status(), 404);
        refused += 1;
    }
    assert_eq!((refused, host.uploads.status().refused), (50, 50));
}

#[tokio::test]
async fn attack_45_who_reads_nothing_loses_his_slot() {
    let desk = Desk::new(&[("big", &content(32 << 20))]).await;
    let host = desk.gnutella(soon).await;
    let mut events = host.uploads.subscribe();
    let mut asker = host.dial().await;
    asker.say(&format!("GET /uri-res/N2R?{} HTTP/1.1\r\n\r\n", desk.sha1("big"))).await;
    let ended = event(&mut events).await;
    let Event::Sent { bytes, whole: false, .. } = ended else { panic!("{ended:?}") };
    assert!((1..32 << 20).contains(&bytes), "{bytes}");
    host.until("his end", |status| status.connections == 0 && status.serving == 0).await;
    assert_eq!((host.uploads.status().uploads, host.uploads.status().bytes), (0, bytes));
}

#[tokio::test]
async fn a_file_that_shrinks_ends_the_transfer() {
    let desk = Desk::new(&[("big", &content(32 << 20))]).await;
    let host = desk.gnutella(|_| ()).await;
    let mut asker = host.dial().await;
    asker.say(&format!("GET /uri-res/N2R?{} HTTP/1.1\r\n\r\n", desk.sha1("big"))).await;
    host.until("a transfer", |status| status.bytes > 0).await;
    fs::write(desk.top().join("big"), "short").unwrap();
    let mut got = 0;
    loop {
        match asker.more().await {
            0 => break,
            len => got += len,
        }
        asker.read.clear();
    }
    assert!(got < 32 << 20, "nothing is made up");
    host.until("its end", |status| status.connections == 0).await;
}

#[tokio::test]
async fn a_limit_of_the_rate_holds_for_all_together() {
    let len = 150_000;
    let desk = Desk::new(&[("a", &content(len))]).await;
    let host = desk
        .gnutella(|config| config.limit = Some(Limit::new(BytesPerSec(400_000), Clock::start())))
        .await;
    let ask = format!("GET /uri-res/N2R?{} HTTP/1.1\r\n\r\n", desk.sha1("a"));
    let began = tokio::time::Instant::now();
    let (one, two) = tokio::join!(host.ask(&ask), host.ask(&ask));
    let took = began.elapsed();
    assert!(one.body == content(len) && two.body == one.body);
    // 300 000 bytes, of which a tenth of a second is saved up.
    assert!(took > Duration::from_millis(600), "{took:?}");
}
