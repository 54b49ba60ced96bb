//! What strangers may cost.

use super::*;
use gaggle_core::proto::gnutella::{Ggep, Push};

/// Whether the other end has closed, and what it had said before.
async fn closed(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A connection that is reset is closed, too.
    let _ = soon(stream.read_to_end(&mut said)).await;
    said
}

#[tokio::test]
async fn attack_45_who_says_nothing_or_something_else_or_never_ends() {
    let shelf = shelf().await;
    let mut wishes = config(Role::Ultrapeer);
    wishes.head_timeout = Duration::from_millis(300);
    let servent = start(wishes, Some(&shelf));
    let endless = format!("GNUTELLA CONNECT/0.6\r\n{}", "x-y: z\r\n".repeat(600));
    let many: String = (0..65).map(|n| format!("X-{n}: z\r\n")).collect();
    let many = format!("GNUTELLA CONNECT/0.6\r\n{many}\r\n");
    assert!(many.len() < 4096, "too many lines, and not too many bytes");
    let giv = format!("GIV 1:{}", "x".repeat(5000));
    for (n, bad) in
        ["", "GN", "GET", "GIV 1:", "\x13BitTorrent protocol", "QUEUE 1", &endless, &many, &giv]
            .into_iter()
            .enumerate()
    {
        let mut stream = TcpStream::connect(servent.addr()).await.unwrap();
        let _ = stream.write_all(bad.as_bytes()).await;
        assert_eq!(closed(stream).await, b"", "{n}");
    }
    assert_eq!((servent.status().ultrapeers, servent.status().leaves), (0, 0));
    Far::join(&servent, false, "").await;
}

#[tokio::test]
async fn attack_45_one_address_may_have_so_many_strangers() {
    let mut wishes = config(Role::Ultrapeer);
    wishes.loopback_too = true;
    let servent = start(wishes, None);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(servent.addr()).await.unwrap());
    }
    let ninth = TcpStream::connect(servent.addr()).await.unwrap();
    assert_eq!(closed(ninth).await, b"");
    // Who has said what he is takes no place of a stranger, and who has gone neither.
    held[0].write_all(b"GNUTELLA CONNECT/0.4\n\n").await.unwrap();
    until(&servent, |status| status.ultrapeers == 1).await;
    Far::join(&servent, false, "").await;
}

#[tokio::test]
async fn attack_45_a_bomb_ends_its_own_link_alone() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut other = Far::join(&servent, true, "").await;
    let mut far = Far::join(&servent, true, "Accept-Encoding: deflate\r\n").await;
    drop(far);
    far = Far::call(&servent).await;
    far.say("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\n\r\n").await;
    far.block().await;
    far.say("GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n").await;
    until(&servent, |status| status.packed == 1 && status.ultrapeers == 2).await;
    let mut bomb = Vec::new();
    let mut pack = Packer::new();
    pack.pack(&vec![0; 64 << 20], &mut bomb); // pings without end
    pack.flush(&mut bomb);
    let _ = far.stream.write_all(&bomb).await;
    closed(far.stream).await;
    until(&servent, |status| status.ultrapeers == 1).await;
    other.give(&Descriptor::new(guid(1), Kind::PING, 1, vec![])).await;
    other.next_of(Kind::PONG).await;
}

#[tokio::test]
async fn attack_45_a_flood_leaves_others_their_turn() {
    let shelf = shelf().await;
    let servent = start(config(Role::Ultrapeer), Some(&shelf));
    let flood = Far::join(&servent, true, "").await;
    let mut other = Far::join(&servent, true, "").await;
    let ping = Descriptor::new(guid(1), Kind::PING, 4, vec![]).encode();
    let pings = ping.repeat(20_000);
    let (mut from, mut to) = flood.stream.into_split();
    let reading =
        tokio::spawn(async move { tokio::io::copy(&mut from, &mut tokio::io::sink()).await });
    let flooding = tokio::spawn(async move { while to.write_all(&pings).await.is_ok() {} });
    for n in 0..20 {
        other.give(&query(n, "moon", 1)).await;
        assert_eq!(other.next_of(Kind::QUERY_HIT).await.header.guid, guid(n));
    }
    flooding.abort();
    reading.abort();
    let refused = until(&servent, |status| status.counters.refused > 1_000).await.counters.refused;
    let pongs = servent.status().counters.sent[1];
    assert!(pongs < refused / 100, "{pongs} pongs for {refused} pings and more");
}

#[tokio::test]
async fn attack_45_who_does_not_read_costs_no_more_than_his_queue() {
    let shelf = shelf().await;
    let servent = start(config(Role::Ultrapeer), Some(&shelf));
    let deaf = Far::join(&servent, true, "").await;
    let mut other = Far::join(&servent, true, "").await;
    until(&servent, |status| status.ultrapeers == 2).await;
    // What the sockets hold is some megabytes, and beyond it is the queue, which is far smaller.
    let (mut deaf_in, mut to) = deaf.stream.into_split();
    let asking = tokio::spawn(async move {
        for n in 0..200_000u32 {
            let mut one = query(7, "moon", 1);
            one.header.guid.0[..4].copy_from_slice(&n.to_le_bytes());
            if to.write_all(&one.encode()).await.is_err() {
                return;
            }
        }
    });
    // Either his queue runs over at once, or he is told to stop first, and his questions are dropped.
    until(&servent, |status| status.ultrapeers == 1 || status.counters.refused > 100).await;
    other.give(&query(1, "moon", 1)).await;
    other.next_of(Kind::QUERY_HIT).await;
    let mut some = vec![0; 1 << 20];
    assert!(soon(deaf_in.read(&mut some)).await.unwrap() > 0);
    asking.abort();
}

#[tokio::test]
async fn attack_45_wishes_to_connect_somewhere_are_few_a_second() {
    let shelf = shelf().await;
    let servent = start(config(Role::Leaf), Some(&shelf));
    let mut far = Far::join(&servent, true, "").await;
    far.give(&query(1, "moon", 1)).await;
    let hit = far.next_of(Kind::QUERY_HIT).await;
    let me = Guid(*hit.payload.last_chunk().unwrap());
    let victim = TcpListener::bind(NOWHERE).await.unwrap();
    let SocketAddr::V4(addr) = victim.local_addr().unwrap() else { unreachable!() };
    let push = Push { target: me, index: 0, addr, ggep: Ggep::new() }.encode();
    for n in 0..200 {
        far.give(&Descriptor::new(guid(n), Kind::PUSH, 1, push.clone())).await;
    }
    let mut came = Vec::new();
    while let Ok(Ok((stream, _))) =
        tokio::time::timeout(Duration::from_millis(700), victim.accept()).await
    {
        came.push(stream);
    }
    assert_eq!(came.len(), 4, "as many as there may be to one address");
}
