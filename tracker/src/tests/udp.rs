use super::*;
use gaggle_core::clock::Instant;
use gaggle_core::proto::tracker_udp::{Family, MAX_DATAGRAM, PROTOCOL_ID, Reply, Request};
use gaggle_core::rng::Rng;
use proptest::prelude::*;
use tokio::net::UdpSocket;

/// A client's socket, connected to the tracker.
struct Client {
    socket: UdpSocket,
    family: Family,
}

impl Client {
    async fn new(to: SocketAddr) -> Self {
        let from: SocketAddr = if to.is_ipv4() { V4 } else { V6 };
        let socket = UdpSocket::bind(from).await.unwrap();
        socket.connect(to).await.unwrap();
        Self { socket, family: Family::of(to.ip()) }
    }

    async fn raw(&self, request: &[u8]) -> Vec<u8> {
        self.socket.send(request).await.unwrap();
        let mut buf = vec![0; 65536];
        let len =
            tokio::time::timeout(PATIENCE, self.socket.recv(&mut buf)).await.unwrap().unwrap();
        buf.truncate(len);
        buf
    }

    async fn ask(&self, request: &Request) -> Reply {
        Reply::parse(&self.raw(&request.encode()).await, self.family).unwrap()
    }

    async fn connect(&self) -> u64 {
        match self.ask(&Request::Connect { transaction: 5 }).await {
            Reply::Connect { transaction: 5, connection } => connection,
            other => panic!("{other:?}"),
        }
    }

    async fn announce(&self, connection: u64, announce: Announce) -> Reply {
        let url_data = b"/announce?key=1".to_vec();
        self.ask(&Request::Announce { connection, transaction: 6, announce, url_data }).await
    }
}

#[tokio::test]
async fn peers_meet_over_both_families() {
    for listen in [V4, V6] {
        let tracker = start(listen);
        let client = Client::new(tracker.local_addr()).await;
        let connection = client.connect().await;
        client.announce(connection, leech(4001)).await;
        let reply = client.announce(connection, Announce { left: 0, ..leech(4002) }).await;
        let Reply::Announce { transaction: 6, interval_s, leeches: 1, seeds: 1, peers } = reply
        else {
            panic!("{reply:?}")
        };
        assert!((100..=110).contains(&interval_s));
        assert_eq!(peers, [SocketAddr::new(listen.ip(), 4001)]);
        let hashes = vec![InfoHash([9; 20]), InfoHash([7; 20]), InfoHash([7; 20])];
        let reply = client.ask(&Request::Scrape { connection, transaction: 8, hashes }).await;
        let Reply::Scrape { transaction: 8, counts } = reply else { panic!("{reply:?}") };
        let seen: Vec<_> = counts.iter().map(|entry| (entry.seeds, entry.leeches)).collect();
        assert_eq!(seen, [(0, 0), (1, 1), (1, 1)], "one entry for each, in order");
    }
}

#[tokio::test]
async fn an_answer_stays_below_the_path_mtu() {
    let tracker = start(V6);
    let client = Client::new(tracker.local_addr()).await;
    let connection = client.connect().await;
    for port in 1..=250 {
        client.announce(connection, leech(port)).await;
    }
    let announce = Announce { want: Some(1000), ..leech(1) };
    let request = Request::Announce { connection, transaction: 6, announce, url_data: vec![] };
    let raw = client.raw(&request.encode()).await;
    assert!(raw.len() <= MAX_DATAGRAM, "{}", raw.len());
    let Reply::Announce { peers, .. } = Reply::parse(&raw, Family::V6).unwrap() else { panic!() };
    assert_eq!(peers.len(), 67);
}

#[tokio::test]
async fn an_old_or_invented_connection_id_is_answered_with_its_transaction() {
    let tracker = start(V4);
    let client = Client::new(tracker.local_addr()).await;
    let reply = client.announce(123, leech(4001)).await;
    let reason = "connection id expired".to_owned();
    assert_eq!(reply, Reply::Error { transaction: 6, reason });
    assert_eq!(tracker.stats().peers, 0);
    let connection = client.connect().await;
    let mut unknown = Request::Connect { transaction: 9 }.encode();
    unknown[..8].copy_from_slice(&connection.to_be_bytes());
    unknown[11] = 77;
    let reply = Reply::parse(&client.raw(&unknown).await, Family::V4).unwrap();
    assert_eq!(reply, Reply::Error { transaction: 9, reason: "action 77 is unknown".into() });
    let reply = client.announce(connection, leech(0)).await;
    let reason = "port must be 1 to 65535".to_owned();
    assert_eq!(reply, Reply::Error { transaction: 6, reason });
}

/// A tracker's head without sockets.
fn service() -> (Service, ConnectionIds) {
    let store = Store::new(Policy::default(), Rng::seeded(1));
    (Service { clock: Clock::start(), store }, ConnectionIds::new([1; 32]))
}

#[tokio::test]
async fn attack_40_unproven_askers_get_no_more_bytes_than_they_sent() {
    let (service, ids) = service();
    let from: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    // A crowd, so that an answer would be long.
    for host in 0..100u8 {
        let ip = std::net::IpAddr::from([10, 0, 1, host]);
        let families = store::Families::Own;
        service.store.announce(Instant::ZERO, ip, &leech(1), families).unwrap();
    }
    let answer = |raw: &[u8]| crate::udp::answer(&service, &ids, Instant::ZERO, from, raw);
    let announce = leech(1);
    let hashes = vec![InfoHash([7; 20])];
    let requests = [
        Request::Connect { transaction: 1 },
        Request::Announce { connection: 1, transaction: 1, announce, url_data: vec![] },
        Request::Scrape { connection: PROTOCOL_ID, transaction: 1, hashes },
    ];
    for request in requests {
        let raw = request.encode();
        let reply = answer(&raw).expect("a client whose id is too old must learn it");
        assert!(reply.len() <= raw.len(), "{request:?}");
        for cut in 0..raw.len() {
            let reply = answer(&raw[..cut]).unwrap_or_default();
            assert!(reply.len() <= cut, "{request:?} cut to {cut}");
        }
    }
    for noise in [&b""[..], &[0; 15], &[0; 16], &[0xff; 100], b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae"]
    {
        assert_eq!(answer(noise), None, "noise does not learn that we exist");
    }
}

proptest! {
    #[test]
    fn attack_40_hostile_datagrams_are_never_amplified(
        mut raw in proptest::collection::vec(any::<u8>(), 0..400), action in 0u32..5,
    ) {
        if raw.len() >= 12 {
            raw[8..12].copy_from_slice(&action.to_be_bytes());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let (service, ids) = service();
        let from = "[2001:db8::1]:4000".parse().unwrap();
        let reply = crate::udp::answer(&service, &ids, Instant::ZERO, from, &raw);
        prop_assert!(reply.unwrap_or_default().len() <= raw.len());
    }
}
