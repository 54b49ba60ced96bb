//! What strangers may not cost: the limits that live in the drivers, and those of the machines as seen on the wire.

use super::client::Server;
use super::*;
use crate::serve::napster::client::Link;
use gaggle_core::overlay::napster::Refused;

#[tokio::test]
async fn who_does_not_log_in_is_sent_away_however_slowly_he_speaks() {
    let limits = Limits { login: Duration::from_millis(300), ..Limits::default() };
    let directory = directory(Terms { limits, ..plain() });
    let mut silent = Wire::dial(directory.addr()).await;
    let mut slow = Wire::dial(directory.addr()).await;
    let drip = async {
        for byte in line("2 slow pw 6699 \"x\" 3").iter().cycle() {
            if slow.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, drip).await.expect("it may go on for ever");
    silent.hears(&["0 no login"]).await;
    assert_eq!(silent.ends().await, b"");
    until(directory.watch(), "nobody", |status| status.connections == 0 && status.refused == 0)
        .await;
}

#[tokio::test]
async fn connections_are_counted() {
    let limits = Limits { loopback_too: true, per_address: Some(3), ..Limits::default() };
    let directory = directory(Terms { limits, ..plain() });
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(Wire::login(directory.addr(), &format!("u{n}"), 0).await);
    }
    let mut more = Wire::dial(directory.addr()).await;
    more.say("2 u3 pw 0 \"x\" 3").await;
    more.hears(&["0 Exceeded maximum connections"]).await;
    assert_eq!(more.ends().await, b"");
    drop(held.pop());
    until(directory.watch(), "room", |status| status.connections == 2 && status.refused == 1).await;
    Wire::login(directory.addr(), "u3", 0).await;
    let limits = Limits { connections: 2, ..Limits::default() };
    let small = super::directory(Terms { limits, ..plain() });
    let _held = [Wire::dial(small.addr()).await, Wire::dial(small.addr()).await];
    let mut more = Wire::dial(small.addr()).await;
    more.hears(&["0 This server is full (2 connections)"]).await;
    assert_eq!(more.ends().await, b"");
}

#[tokio::test]
async fn floods_are_refused_and_end() {
    let directory = directory(plain());
    let mut eve = Wire::login(directory.addr(), "eve", 6699).await;
    let search = line("200 FILENAME CONTAINS \"x\"");
    eve.write(&search.repeat(11)).await;
    eve.hears(&["202 "; 10]).await;
    let why = "404 search failed: Your client is thrashing, too many searches a minute";
    eve.hears(&[why, "202 "]).await;
    eve.write(&line("750 ").repeat(400)).await;
    let rest = eve.rest().await;
    assert!(rest.ends_with(&line("404 too many commands")), "{}", rest.escape_ascii());
    until(directory.watch(), "nobody", |status| status.connections == 0).await;
}

/// Bytes of one direction of a connection that the system may hold at most, at both ends together.
fn held_by_the_system() -> usize {
    let largest = |name: &str| {
        let sizes = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        sizes.split_whitespace().last().unwrap().parse::<usize>().unwrap()
    };
    largest("tcp_rmem") + largest("tcp_wmem")
}

#[tokio::test]
async fn who_asks_much_waits_for_himself_alone() {
    let directory = directory(Terms { limits: Limits::off(), ..plain() });
    let mut bob = Wire::login(directory.addr(), "bob", 6699).await;
    let path = "some word ".repeat(20);
    let shares = (0..200).map(|n| line(&format!("100 \"{path}{n}.mp3\" {NO_HASH} {n} 0 0 0")));
    bob.write(&shares.collect::<Vec<_>>().concat()).await;
    bob.say("750 ").await;
    bob.hears(&["750 gaggle "]).await;
    // Five megabytes of answers to one write; those who read get them all, in order.
    let mut eve = Wire::login(directory.addr(), "eve", 6699).await;
    let search = line("200 FILENAME CONTAINS \"some\"");
    eve.write(&[search.repeat(200), line("750 ")].concat()).await;
    let deaf = Wire::login(directory.addr(), "deaf", 6699).await;
    // Who does not read is not read on: what he says further waits in the system, which takes only so much.
    let (_unread, mut said) = deaf.stream.into_split();
    let more = search.repeat((held_by_the_system() + (1 << 20)) / search.len());
    let saying = tokio::spawn(async move { said.write_all(&more).await });
    for _ in 0..200 {
        for _ in 0..100 {
            assert!(eve.next().await.starts_with("201 "));
        }
        assert_eq!(eve.next().await, "202 ");
    }
    assert_eq!(eve.next().await, "750 gaggle ");
    // And he is left when others have more for him than he may let wait.
    until(directory.watch(), "three", |status| status.counters.users == 3).await;
    let word = line(&format!("205 deaf {}", "x".repeat(1000)));
    let left = async {
        while directory.status().counters.users > 2 {
            eve.write(&word.repeat(100)).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, left).await.expect("it may let wait what it wants");
    let said = timeout(PATIENCE, saying).await.expect("it is not closed").unwrap();
    assert!(said.is_err(), "all that it said was read");
}

/// A client that gives others half a second for their words, once it has greeted them.
async fn strict() -> (Server, Client, Wire) {
    let server = Server::new().await;
    let config = ClientConfig {
        words: Duration::from_secs(1),
        per_address: 3,
        loopback_too: true,
        ..ClientConfig::new(vec![server.addr().to_string()], nick("me"), Some(here()))
    };
    let client = Client::start(config, None, Clock::start()).unwrap();
    let wire = server.lets_in(&client, "me").await;
    (server, client, wire)
}

#[tokio::test]
async fn who_says_nothing_sensible_at_our_port_is_closed() {
    let (_server, client, _wire) = strict().await;
    let at = client.addr().unwrap();
    let mut silent = Wire::dial(at).await;
    silent.reads(b"1").await;
    assert_eq!(silent.rest().await, b"");
    // One byte now and then.
    let mut slow = Wire::dial(at).await;
    let drip = async {
        for byte in b"GET".iter().chain(&[b'x'; 400]) {
            if slow.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(15), drip).await.expect("it may go on for twenty seconds");
    for words in [&b"HELLO"[..], b"\x13BitTorrent protocol", &[&b"GET"[..], &[b'x'; 600]].concat()]
    {
        let mut peer = Wire::dial(at).await;
        peer.write(words).await;
        let rest = peer.rest().await;
        assert!(rest.is_empty() || rest == b"1", "{}", rest.escape_ascii());
    }
    // Three of one address.
    let _held = [Wire::dial(at).await, Wire::dial(at).await, Wire::dial(at).await];
    assert_eq!(Wire::dial(at).await.rest().await, b"", "it is not greeted");
}

#[tokio::test]
async fn a_directory_that_takes_no_answers_or_says_too_much_is_left() {
    let (server, client, mut wire) = strict().await;
    until(client.watch(), "the login", |status| matches!(status.link, Link::In(_))).await;
    wire.write(&frame(404, "x".repeat(8193))).await;
    let waits = |status: &super::super::client::Status| matches!(status.link, Link::Waiting(_));
    let left = until(client.watch(), "the end", waits).await;
    assert!(matches!(left.link, Link::Waiting(Refused::Protocol(_))), "{left:?}");
    let mut wire = server.lets_in(&client, "me").await;
    // It answers each of them, and nobody reads.
    let ping = line(&format!("751 {}", "x".repeat(60))).repeat(1000);
    let flood = async {
        for _ in 0..1000 {
            if wire.stream.write_all(&ping).await.is_err() {
                return;
            }
        }
        panic!("64 MB were taken");
    };
    timeout(PATIENCE, flood).await.expect("it is not left");
}

#[tokio::test]
async fn lists_are_given_to_few_at_a_time_and_one_to_each_network() {
    // With limits for this machine, one that is held is one too many; without them, four are.
    for (loopback_too, held_max) in [(true, 1), (false, 4)] {
        let server = Server::new().await;
        let servers = vec![server.addr().to_string()];
        let config =
            ClientConfig { loopback_too, ..ClientConfig::new(servers, nick("me"), Some(here())) };
        let client = Client::start(config, None, Clock::start()).unwrap();
        let mut wire = server.lets_in(&client, "me").await;
        let eve = TcpListener::bind(here()).await.unwrap();
        let port = eve.local_addr().unwrap().port();
        let mut held = Vec::new();
        for _ in 0..held_max {
            wire.say(&format!("640 eve {HERE} {port}")).await;
            wire.hears(&["641 eve"]).await;
            // He does not speak, so his list is not given yet.
            held.push(Wire::accept(&eve).await);
        }
        let at = client.addr().unwrap();
        let get = || async move {
            let mut peer = Wire::dial(at).await;
            peer.reads(b"1").await;
            peer.write(b"GETLIST").await;
            peer.rest().await
        };
        assert_eq!(get().await, b"");
        wire.say(&format!("640 eve {HERE} {port}")).await;
        wire.hears(&["641 eve"]).await;
        let nobody = timeout(Duration::from_millis(50), eve.accept()).await;
        assert!(nobody.is_err(), "one more is given");
        for mut peer in held {
            peer.write(b"1").await;
            assert_eq!(peer.rest().await, b"SENDLIST me\n\n");
        }
        let given = async {
            while get().await != b"me\n\n" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, given).await.expect("there is no room again");
    }
}
