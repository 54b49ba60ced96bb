use super::*;
use gaggle_core::proto::tracker_udp::Request;
use tokio::net::UdpSocket;

#[tokio::test]
async fn http_and_udp_share_a_port_number() {
    let tracker = start(V4);
    let to = tracker.local_addr();
    assert_ne!(to.port(), 0);
    TcpStream::connect(to).await.unwrap();
    let socket = UdpSocket::bind(V4).await.unwrap();
    socket.send_to(&Request::Connect { transaction: 1 }.encode(), to).await.unwrap();
    let mut buf = [0; 64];
    let (len, from) =
        tokio::time::timeout(PATIENCE, socket.recv_from(&mut buf)).await.unwrap().unwrap();
    assert_eq!((len, from), (16, to));
}

#[tokio::test]
async fn a_wildcard_serves_both_families() {
    let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let tracker = start(everywhere);
    let port = tracker.local_addr().port();
    for ip in [V4.ip(), V6.ip()] {
        let mut stream = TcpStream::connect((ip, port)).await.unwrap();
        let request = format!(
            "GET /announce?info_hash={0}&peer_id={0}&port=5&left=1 HTTP/1.1\r\nConnection: close\r\n\r\n",
            "a".repeat(20)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        let reply = String::from_utf8_lossy(&reply).into_owned();
        // The address as the asker knows it: 4 bytes for IPv4, not 16 mapped ones.
        let bytes = if ip.is_ipv4() { "11:external ip4:" } else { "11:external ip16:" };
        assert!(reply.contains(bytes), "{reply}");
    }
    assert_eq!(tracker.stats().peers, 2);
}

#[tokio::test]
async fn a_taken_port_is_named_and_a_stopped_one_is_free() {
    let first = start(V4);
    let to = first.local_addr();
    match Tracker::bind(&config(to)) {
        Err(BindError::AddrInUse(addr)) => assert_eq!(addr, to),
        other => panic!("{:?}", other.map(|running| running.local_addr())),
    }
    first.stop().await;
    let second = start(to);
    assert_eq!(second.local_addr(), to);
    drop(second);
    let nothing = TrackerConfig { http: false, udp: false, ..config(V4) };
    assert!(matches!(Tracker::bind(&nothing), Err(BindError::Nothing)));
}

#[tokio::test]
async fn one_protocol_alone() {
    let only = TrackerConfig { http: false, ..config(V4) };
    let tracker = Tracker::bind(&only).unwrap();
    assert!(TcpStream::connect(tracker.local_addr()).await.is_err());
    let only = TrackerConfig { udp: false, ..config(V4) };
    let tracker = Tracker::bind(&only).unwrap();
    TcpStream::connect(tracker.local_addr()).await.unwrap();
}

/// 127.0.0.0/8 is all ours: a machine with many addresses, without asking anybody for one.
#[tokio::test]
async fn a_wildcard_answers_from_the_address_that_was_asked() {
    for listen in [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()] {
        let tracker = start(SocketAddr::new(listen, 0));
        let to = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), tracker.local_addr().port());
        // Left to itself the kernel would answer this one from 127.0.0.1.
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&Request::Connect { transaction: 1 }.encode(), to).await.unwrap();
        let mut buf = [0; 64];
        let (_, from) =
            tokio::time::timeout(PATIENCE, socket.recv_from(&mut buf)).await.unwrap().unwrap();
        assert_eq!(from, to);
    }
}
