//! Row 45 of the attack table, as far as it is about sockets: much, slow, and nothing that was asked for.

use super::wire::Wire;
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long it takes until a connection that sends this, and then nothing, is closed.
async fn closed_after(of: &FastTrack, sent: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(of.addr()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let began = tokio::time::Instant::now();
    let mut raw = Vec::new();
    let _ = stream.read_to_end(&mut raw).await;
    began.elapsed()
}

#[tokio::test]
async fn attack_45_who_is_slow_is_left() {
    let sn = supernode();
    let sent = [&b""[..], b"GE", b"GIVE 123", &[0xfa; 4], &[0xfa; 12]];
    let all = sent.map(|sent| {
        let sn = sn.clone();
        tokio::spawn(async move { (sent, in_time(closed_after(&sn, sent)).await) })
    });
    for one in all {
        let (sent, took) = one.await.unwrap();
        assert!(took >= Duration::from_secs(9), "{sent:02x?}: {took:?}");
    }
    until(&sn, |status| status.connections == 0).await;
}

#[tokio::test]
async fn attack_45_what_is_too_long_or_nothing_known_ends_the_connection() {
    let sn = supernode();
    let mut too_long = Wire::client(sn.addr()).await;
    too_long.say_bytes(&hex("4b 02 00 40 01")).await; // 16 385 bytes of a kind that may have 16 384
    too_long.wait_closed().await;
    let mut unknown = Wire::client(sn.addr()).await;
    unknown.say_bytes(b"\x00").await;
    unknown.wait_closed().await;
    let mut nameless = Wire::client(sn.addr()).await;
    for _ in 0..9 {
        nameless.say_bytes(&[0x52; 8 << 10]).await;
    }
    nameless.wait_closed().await; // more than 64 KiB before a login
    for sent in [&[b'G'; 60][..], b"GGSN\xff\xff\xff\xff\x01", &[0xfa; 60]] {
        closed_after(&sn, sent).await;
    }
    until(&sn, |status| status.connections == 0 && status.nodes == 1).await;
}

/// Much is asked for, and nothing of it read.
#[tokio::test]
async fn attack_45_who_does_not_read_is_left() {
    let sn = supernode();
    let mut sharer = Wire::client(sn.addr()).await;
    let info = |user: &str| format!("7f000001 04be 60 00 {}", hex_of(user));
    sharer.say(0x02, &info("bob")).await;
    let comment = "61".repeat(1000);
    for n in 0..200 {
        let name = hex_of(&format!("song {n:03}"));
        let file = format!("{n:040x} 00 05 02 02 08 {name} 1a 87 68 {comment}");
        sharer.say(0x22, &format!("00 01 00 00 {file}")).await;
    }
    until(&sn, |status| status.files == 200).await;
    let mut deaf = Wire::client(sn.addr()).await;
    deaf.say(0x02, &info("eve")).await;
    let before = sn.status().refused;
    for id in 0..400 {
        let query = format!("0001 00c8 {id:04x} 01 3f 01 05 00 04 736f6e67");
        deaf.say(0x06, &query).await;
        if sn.status().refused > before {
            break;
        }
        tokio::task::yield_now().await;
    }
    until(&sn, |status| status.refused == before + 1 && status.nodes == 2).await;
}

#[tokio::test]
async fn attack_45_connections_and_queries_of_one_address_have_a_bound() {
    let limits =
        Limits { loopback_too: true, each_address: 3, query_burst: 2, ..Limits::default() };
    let sn = Config { limits, ..config(Role::Supernode) };
    let sn = FastTrack::start(sn, None, Clock::start()).unwrap();
    // In their handshake.
    let mut strangers = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(sn.addr()).await.unwrap();
        stream.write_all(&[0xfa; 4]).await.unwrap();
        strangers.push(stream);
    }
    let status = until(&sn, |status| status.refused == 4).await;
    assert_eq!(status.connections, 8);
    strangers.clear();
    until(&sn, |status| status.connections == 0).await;
    // Logged in: our own node is one of them.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Wire::client(sn.addr()).await;
        for kind in [0x00, 0x2c, 0x03] {
            assert_eq!(client.hear_any().await.0, kind);
        }
        clients.push(client);
    }
    let mut late = Wire::client(sn.addr()).await;
    assert_eq!(late.hear_any().await.0, 0x00);
    late.wait_closed().await;
    let (sharer, asker) = clients.split_at_mut(1);
    let (sharer, asker) = (&mut sharer[0], &mut asker[0]);
    for (client, user) in [(&mut *sharer, "bob"), (&mut *asker, "eve")] {
        client.say(0x02, &format!("7f000001 04be 60 00 {}", hex_of(user))).await;
    }
    sharer.say(0x22, &format!("00 01 00 00 {:040x} 00 05 01 02 04 736f6e67", 1)).await;
    until(&sn, |status| status.files == 1).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        asker.say(0x06, "0001 00c8 0000 01 3f 01 05 00 04 736f6e67").await;
    }
    for _ in 0..5 {
        kinds.push(asker.hear_any().await.0);
    }
    assert_eq!(kinds, [0x07, 0x08, 0x07, 0x08, 0x08], "the third in a row finds nothing");
}

#[tokio::test]
async fn attack_45_datagrams_without_end() {
    let sn = supernode();
    let (socket, _) = udp().await;
    for n in 0..20_000u32 {
        let _ = socket.try_send_to(&n.to_le_bytes(), sn.addr().into());
        let _ = socket.try_send_to(&[0x27; 2000], sn.addr().into());
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut client = Wire::client(sn.addr()).await;
    assert_eq!(client.hear_any().await.0, 0x00);
    let mut raw = [0; 100];
    let answered = async {
        loop {
            socket.send_to(&hex("27 000000a9 80 4b615a6141 00"), sn.addr()).await.unwrap();
            let wait = Duration::from_millis(100); // the kernel's queue may have been full
            if tokio::time::timeout(wait, socket.recv_from(&mut raw)).await.is_ok() {
                break;
            }
        }
    };
    in_time(answered).await;
}

/// A node is told to search without end by nobody but its owner, and he has a bound.
#[tokio::test]
async fn searches_have_a_bound_and_those_that_nobody_waits_for_make_room() {
    let us = node(&[]);
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(us.search(Query::words(0, 1, "x")).await.unwrap());
    }
    assert_eq!(us.search(Query::words(0, 1, "x")).await.unwrap_err(), Error::TooManySearches);
    open.pop();
    assert!(us.search(Query::words(0, 1, "x")).await.is_ok());
}
