//! Who has a slot, and who waits.

use super::*;

fn one_slot(config: &mut Config) {
    config.slots = SlotLimits { slots: 1, ..config.slots };
}

/// Somebody who has the slot, and reads nothing of a file that no buffer holds.
async fn taker(host: &Host, path: &str) -> Asker {
    let mut asker = host.dial().await;
    asker.say(&format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    host.until("a transfer", |status| status.serving == 1).await;
    asker
}

#[tokio::test]
async fn who_says_that_he_waits_has_a_place_in_line() {
    let desk = Desk::new(&[("big", &content(32 << 20)), ("small", b"0123456789")]).await;
    let host = desk
        .gnutella(|config| {
            one_slot(config);
            config.patience.poll = (Duration::ZERO, LATE);
        })
        .await;
    let big = format!("/uri-res/N2R?{}", desk.sha1("big"));
    let small = format!("GET /uri-res/N2R?{} HTTP/1.1\r\nX-Queue: 0.1\r\n\r\n", desk.sha1("small"));
    let taking = taker(&host, &big).await;
    let (mut first, mut second) = (host.dial().await, host.dial().await);
    assert_eq!(
        first.ask(&small).await.head,
        "HTTP/1.1 503 Service Unavailable\r\nServer: gaggle\r\nConnection: Keep-Alive\r\n\
         Content-Length: 0\r\nX-Queue: position=1,length=1,limit=1,pollMin=0,pollMax=30\r\n\
         Retry-After: 0\r\n\r\n"
    );
    let queue = |answer: &Answer| answer.field("X-Queue").map(|queue| queue[..10].to_owned());
    assert_eq!(queue(&second.ask(&small).await).as_deref(), Some("position=2"));
    assert_eq!(queue(&first.ask(&small).await).as_deref(), Some("position=1"));
    // Who does not wait in line is told to come again, and gets nothing before those who do.
    let plain = small.replace("X-Queue: 0.1\r\n", "");
    let busy = host.ask(&plain).await;
    assert_eq!((busy.status(), busy.field("Retry-After"), queue(&busy)), (503, Some("60"), None));
    drop(taking);
    host.until("the slot of the first in line", |status| status.waiting == 2).await;
    assert_eq!(queue(&second.ask(&small).await).as_deref(), Some("position=1"), "it is not his");
    assert_eq!(first.ask(&small).await.body, b"0123456789");
    drop(first);
    host.until("the slot of the second", |status| status.waiting == 1).await;
    assert_eq!(second.ask(&small).await.body, b"0123456789");
}

#[tokio::test]
async fn who_asks_before_he_may_or_after_he_must_loses_his_place() {
    let desk = Desk::new(&[("big", &content(32 << 20)), ("small", b"0123456789")]).await;
    let path = |name: &str| format!("/uri-res/N2R?{}", desk.sha1(name));
    let small = format!("GET {} HTTP/1.1\r\nX-Queue: 0.1\r\n\r\n", path("small"));
    let hour = Duration::from_secs(3600);
    for (poll, early) in [((hour, hour), true), ((Duration::ZERO, Duration::ZERO), false)] {
        let host = desk
            .gnutella(|config| {
                one_slot(config);
                config.patience.poll = poll;
            })
            .await;
        let _taking = taker(&host, &path("big")).await;
        let mut asker = host.dial().await;
        assert_eq!(asker.ask(&small).await.status(), 503);
        if early {
            assert_eq!(host.uploads.status().waiting, 1);
            asker.say(&small).await;
        }
        assert!(asker.is_closed().await);
        host.until("his place", |status| status.waiting == 0).await;
    }
}

#[tokio::test]
async fn reputation_decides_who_is_next() {
    let desk = Desk::new(&[("big", &content(32 << 20)), ("small", b"0123456789")]).await;
    let host = desk
        .fasttrack(|config| {
            one_slot(config);
            config.patience.hold = LATE;
        })
        .await;
    let path = |name: &str| format!("/.hash={}", desk.item(name).1.hashes.unwrap().uu);
    let mut events = host.uploads.subscribe();
    let taking = taker(&host, &path("big")).await;
    let mut waiting = Vec::new();
    for (n, user) in ["poor", "rich", "unknown", "gone"].into_iter().enumerate() {
        let mut asker = host.dial().await;
        // Whose supernode is near and he is not cannot be asked about: here all are near.
        let supernode = if user == "unknown" { "" } else { "X-Kazaa-SupernodeIP: 127.0.0.1:7\r\n" };
        asker
            .say(&format!(
                "GET {} HTTP/1.1\r\nX-Kazaa-Username: {user}\r\n{supernode}\r\n",
                path("small")
            ))
            .await;
        host.until("a place", |status| status.waiting == n + 1).await;
        waiting.push(asker);
    }
    for (user, score) in [("poor", 0), ("rich", 700), ("gone", 1000)] {
        let asked = event(&mut events).await;
        let Event::Asked { who, supernode } = asked else { panic!("{asked:?}") };
        assert_eq!((who.user.as_str(), supernode), (user, "127.0.0.1:7".parse().unwrap()));
        host.uploads.set_score(&who, score);
    }
    waiting.pop();
    host.until("his place", |status| status.waiting == 3).await;
    drop(taking);
    let ended = event(&mut events).await;
    assert!(matches!(&ended, Event::Sent { whole: false, .. }), "{ended:?}");
    for (nth, user) in [(1, "rich"), (1, "unknown"), (0, "poor")] {
        let mut asker = waiting.remove(nth);
        assert_eq!(asker.answer(false).await.unwrap().body, b"0123456789", "{user}");
        let sent = event(&mut events).await;
        assert!(
            matches!(&sent, Event::Sent { user: to, whole: true, .. } if to == user),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn who_has_waited_for_long_is_told_to_come_again() {
    let desk = Desk::new(&[("big", &content(32 << 20)), ("small", b"0123456789")]).await;
    let host = desk
        .fasttrack(|config| {
            one_slot(config);
            config.patience.hold = Duration::from_millis(20);
        })
        .await;
    let path = |name: &str| format!("/.hash={}", desk.item(name).1.hashes.unwrap().uu);
    let taking = taker(&host, &path("big")).await;
    let mut asker = host.dial().await;
    let small = format!("GET {} HTTP/1.1\r\n\r\n", path("small"));
    let busy = "HTTP/1.1 503 Service Unavailable\r\nServer: gaggle\r\nRetry-After: 300\r\n\
                Content-Length: 0\r\n\r\n";
    assert_eq!(asker.ask(&small).await.head, busy);
    assert_eq!(host.uploads.status().waiting, 1, "he has waited, and that counts");
    drop(taking);
    host.until("the end of the other", |status| status.serving == 0).await;
    assert_eq!(asker.ask(&small).await.body, b"0123456789");
    assert_eq!(host.uploads.status().waiting, 0);
}

#[tokio::test]
async fn a_slot_stays_for_the_next_range_and_not_for_ever() {
    let desk = Desk::new(&[("small", b"0123456789")]).await;
    let kept = |slot| {
        desk.gnutella(move |config| {
            one_slot(config);
            config.patience.slot = slot;
        })
    };
    let host = kept(LATE).await;
    let small = format!("GET /uri-res/N2R?{} HTTP/1.1\r\n\r\n", desk.sha1("small"));
    let mut first = host.dial().await;
    assert_eq!(first.ask(&small).await.status(), 200);
    assert_eq!(host.ask(&small).await.status(), 503);
    assert_eq!(first.ask(&small).await.status(), 200);
    let host = kept(Duration::ZERO).await;
    let mut first = host.dial().await;
    assert_eq!(first.ask(&small).await.status(), 200);
    host.until("the slot", |status| status.serving == 0).await;
    assert_eq!(host.ask(&small).await.status(), 200);
    assert_eq!(first.ask(&small).await.status(), 200, "the connection is still there");
}
