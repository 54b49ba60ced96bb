//! Files, asked for and pushed.

use super::*;
use gaggle_core::overlay::gnutella::NoPush;
use gaggle_core::proto::gnutella::{Ggep, Hit, Push, QueryHit, Trailer};

/// Asks for a file on a connection, and gives the body.
async fn fetch(mut stream: TcpStream, index: u32) -> Vec<u8> {
    let ask = format!("GET /get/{index}/blue%20moon.mp3 HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    answer.split_off(end + 4)
}

#[tokio::test]
async fn a_found_file_is_fetched_from_who_has_it() {
    let shelf = shelf().await;
    let ultrapeer = start(config(Role::Ultrapeer), None);
    for firewalled in [false, true] {
        let connect = vec![hint(ultrapeer.addr())];
        let wishes = Config { firewalled, connect: connect.clone(), ..config(Role::Leaf) };
        let sharer = start(wishes, Some(&shelf));
        let asker = start(Config { connect, ..config(Role::Leaf) }, None);
        until(&ultrapeer, |status| status.leaves == 2).await;
        let mut found = asker.search(Query::words("moon")).await.unwrap();
        let one = soon(found.recv()).await.unwrap();
        let stream = match one.addr {
            Some(addr) => TcpStream::connect(addr).await.unwrap(),
            None => soon(asker.push(one.servent, one.index)).await.unwrap(),
        };
        assert_eq!(one.addr.is_none(), firewalled);
        assert_eq!(fetch(stream, one.index).await, blue_moon());
        until(&sharer, |status| status.uploads.bytes == 9_000).await;
        sharer.stop().await;
        asker.stop().await;
        until(&ultrapeer, |status| status.leaves == 0).await;
    }
}

#[tokio::test]
async fn a_push_of_others_makes_us_connect_and_give() {
    let shelf = shelf().await;
    let servent = start(config(Role::Leaf), Some(&shelf));
    let mut far = Far::join(&servent, true, "").await;
    far.give(&query(1, "moon", 1)).await;
    let hit = QueryHit::parse(&far.next_of(Kind::QUERY_HIT).await.payload).unwrap();
    let asker = TcpListener::bind(NOWHERE).await.unwrap();
    let SocketAddr::V4(addr) = asker.local_addr().unwrap() else { unreachable!() };
    let index = hit.hits[0].index;
    let push = Push { target: hit.servent, index, addr, ggep: Ggep::new() };
    far.give(&Descriptor::new(guid(2), Kind::PUSH, 1, push.encode())).await;
    let (mut stream, _) = soon(asker.accept()).await.unwrap();
    let want = format!("GIV {index}:{}/file\n\n", hit.servent);
    let mut line = vec![0; want.len()];
    soon(stream.read_exact(&mut line)).await.unwrap();
    assert_eq!(line, want.as_bytes());
    assert_eq!(fetch(stream, index).await, blue_moon());
    // A Push for somebody else is none of ours.
    let push = Push { target: guid(0x55), ..push };
    far.give(&Descriptor::new(guid(3), Kind::PUSH, 1, push.encode())).await;
    let nobody = tokio::time::timeout(Duration::from_millis(200), asker.accept()).await;
    assert!(nobody.is_err());
}

/// A neighbour that answers a search of ours for a servent that must be pushed.
async fn answered(servent: &Gnutella, far: &mut Far) {
    let mut found = servent.search(Query::words("violet")).await.unwrap();
    let asked = far.next_of(Kind::QUERY).await;
    let hit = Hit { index: 9, size: 7, name: "violet".into(), extensions: <_>::default() };
    let trailer = Trailer { push: Some(true), ..Trailer::default() };
    let answer = QueryHit {
        addr: "10.1.2.3:7777".parse().unwrap(),
        speed: 1,
        hits: vec![hit],
        trailer: Some(trailer),
        servent: guid(0x77),
    };
    far.give(&Descriptor::new(asked.header.guid, Kind::QUERY_HIT, 3, answer.encode())).await;
    assert_eq!(soon(found.recv()).await.unwrap().servent, guid(0x77));
}

#[tokio::test]
async fn a_push_of_ours_brings_a_connection() {
    let servent = start(config(Role::Leaf), None);
    let mut far = Far::join(&servent, true, "").await;
    until(&servent, |status| status.ultrapeers == 1).await;
    let nobody = servent.push(guid(0x77), 9).await;
    assert_eq!(nobody.err(), Some(PushError::NoPush(NoPush::NoWay)));
    answered(&servent, &mut far).await;
    let pushing = tokio::spawn({
        let servent = servent.clone();
        async move { servent.push(guid(0x77), 9).await }
    });
    let push = far.next_of(Kind::PUSH).await;
    // Who shall connect, the file, and where to: address in network order, the port not.
    let mut want = vec![0x77; 16];
    want.extend([9, 0, 0, 0, 127, 0, 0, 1]);
    want.extend(servent.addr().port().to_le_bytes());
    assert_eq!(push.payload[..], want);
    assert_eq!(push.header.ttl, 7);
    // Another that connects is not the one.
    let mut wrong = TcpStream::connect(servent.addr()).await.unwrap();
    wrong.write_all(format!("GIV 9:{}/file\n\n", guid(0x78)).as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(wrong.read_to_end(&mut rest)).await;
    // Of the line, its id alone matters.
    let mut right = TcpStream::connect(servent.addr()).await.unwrap();
    right.write_all(format!("GIV 1:{}/file\n\n", guid(0x77)).as_bytes()).await.unwrap();
    let mut stream = soon(pushing).await.unwrap().unwrap();
    stream.write_all(b"GET /get/9/violet HTTP/1.1\r\n\r\n").await.unwrap();
    let mut asked = [0; 4];
    soon(right.read_exact(&mut asked)).await.unwrap();
    assert_eq!(&asked, b"GET ");
}

#[tokio::test]
async fn when_both_ends_are_firewalled_it_is_said() {
    let servent = start(Config { firewalled: true, ..config(Role::Leaf) }, None);
    let mut far = Far::join(&servent, true, "").await;
    until(&servent, |status| status.ultrapeers == 1).await;
    answered(&servent, &mut far).await;
    let why = servent.push(guid(0x77), 9).await.err().unwrap();
    assert_eq!(why, PushError::NoPush(NoPush::BothFirewalled));
    assert_eq!(why.to_string(), "both ends are firewalled: neither can connect to the other");
}

#[tokio::test]
async fn who_asks_whether_others_can_connect_is_connected_to() {
    let servent = start(config(Role::Ultrapeer), None);
    let mut far = Far::join(&servent, false, "").await;
    let asker = TcpListener::bind(NOWHERE).await.unwrap();
    let port = asker.local_addr().unwrap().port();
    far.give(&vendor(&Vendor::ConnectBack(port))).await;
    let (mut stream, _) = soon(asker.accept()).await.unwrap();
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    assert_eq!(said, b"\n\n");
    // Another port of his, so soon after: it is heard, and nothing follows.
    let other = TcpListener::bind(NOWHERE).await.unwrap();
    let port = other.local_addr().unwrap().port();
    far.give(&vendor(&Vendor::ConnectBack(port))).await;
    until(&servent, |status| status.counters.refused == 1).await;
    let nobody = tokio::time::timeout(Duration::from_millis(200), other.accept()).await;
    assert!(nobody.is_err());
}

/// One who listens at a private address and has a neighbour in the public network: as behind a router that sends others to
/// him.
#[test]
fn who_can_be_connected_to_although_it_does_not_look_so_finds_out() {
    let name = "serve::gnutella::tests::transfers::who_can_be_connected_to_although_it_does_not_look_so_finds_out";
    harness::namespace::test(name, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(behind_a_router());
    });
}

/// Whether its answers say that it must be asked to connect.
async fn says_push(far: &mut Far, n: u8) -> Option<bool> {
    far.give(&query(n, "moon", 1)).await;
    let hit = QueryHit::parse(&far.next_of(Kind::QUERY_HIT).await.payload).unwrap();
    hit.trailer.unwrap().push
}

async fn behind_a_router() {
    let there = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 0);
    let behind = SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 1), 0);
    let mut ip = std::process::Command::new("ip");
    assert!(ip.args(["addr", "add", "10.9.9.1/32", "dev", "lo"]).status().unwrap().success());
    let leaf = Config { listen: behind, ..config(Role::Leaf) };
    let shelf = shelf().await;
    let listener = TcpListener::bind(there).await.unwrap();
    let SocketAddr::V4(at) = listener.local_addr().unwrap() else { unreachable!() };
    let servent = start(Config { connect: vec![hint(at)], ..leaf.clone() }, Some(&shelf));
    let mut far = Far::of(soon(listener.accept()).await.unwrap().0);
    far.block().await;
    far.say("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nVendor-Message: 0.2\r\n\r\n").await;
    far.block().await;
    until(&servent, |status| status.firewalled).await;
    assert_eq!(says_push(&mut far, 1).await, Some(true));
    // Words are no proof; a connection is.
    far.give(&vendor(&Vendor::Supported(vec![(*b"BEAR", 7, 1)]))).await;
    let port = loop {
        let told = far.next_of(Kind::VENDOR).await;
        if let Ok(Vendor::ConnectBack(port)) = Vendor::parse(&told.payload) {
            break port;
        }
    };
    assert_eq!(port, servent.addr().port());
    let mut near = TcpStream::connect(servent.addr()).await.unwrap();
    near.write_all(b"\n\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(near.read_to_end(&mut rest)).await;
    assert_eq!(says_push(&mut far, 2).await, Some(true), "who is near shows nothing");
    let back = tokio::net::TcpSocket::new_v4().unwrap();
    back.bind(there.into()).unwrap();
    let mut back = back.connect(servent.addr().into()).await.unwrap();
    back.write_all(b"\n\n").await.unwrap();
    until(&servent, |status| !status.firewalled).await;
    assert_eq!(says_push(&mut far, 3).await, Some(false));
    // Servents of ours do it among themselves; who is told by his owner has no doubt.
    let ultrapeer = start(Config { listen: there, ..config(Role::Ultrapeer) }, None);
    let connect = vec![hint(ultrapeer.addr())];
    let asker = start(Config { connect: connect.clone(), ..leaf.clone() }, None);
    let told = start(Config { connect, reachable: true, ..leaf }, None);
    let never = async { until(&told, |status| status.firewalled).await };
    let found = async {
        until(&asker, |status| status.firewalled).await;
        until(&asker, |status| !status.firewalled).await;
        until(&told, |status| status.ultrapeers == 1).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await; // a tick of the machine, and a half
    };
    tokio::select! { () = found => {} _ = never => panic!("it counts as firewalled") }
}

#[tokio::test]
async fn who_shares_nothing_answers_no_request() {
    let servent = start(config(Role::Leaf), None);
    let mut stream = TcpStream::connect(servent.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
}
