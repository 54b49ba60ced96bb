use super::*;
use crate::clock::Instant;
use crate::id::{InfoHash, PeerId};
use crate::proto::announce::{Announce, Answer, Counts, Event, MAX_PEERS};
use crate::rng::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::None),
        Just(Event::Started),
        Just(Event::Completed),
        Just(Event::Stopped)
    ]
}

prop_compose! {
    fn any_announce()(
        info_hash: [u8; 20], peer_id: [u8; 20], port: u16, numbers: [u64; 3], event in any_event(), key: u32,
        want in proptest::option::of(0..=i32::MAX as u32),
    ) -> Announce {
        let [uploaded, downloaded, left] = numbers;
        let (info_hash, peer_id) = (InfoHash(info_hash), PeerId(peer_id));
        Announce { info_hash, peer_id, port, uploaded, downloaded, left, event, key, want, tracker_id: vec![] }
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let hashes = vec(any::<[u8; 20]>().prop_map(InfoHash), 1..=MAX_SCRAPE);
    let url_data = vec(any::<u8>(), 0..=MAX_URL_DATA);
    prop_oneof![
        any::<u32>().prop_map(|transaction| Request::Connect { transaction }),
        (any::<u64>(), any::<u32>(), any_announce(), url_data).prop_map(
            |(connection, transaction, announce, url_data)| Request::Announce {
                connection,
                transaction,
                announce,
                url_data
            }
        ),
        (any::<u64>(), any::<u32>(), hashes).prop_map(|(connection, transaction, hashes)| {
            Request::Scrape { connection, transaction, hashes }
        }),
    ]
}

fn any_peer(family: Family) -> BoxedStrategy<SocketAddr> {
    match family {
        Family::V4 => {
            (any::<[u8; 4]>(), 1..=u16::MAX).prop_map(|(ip, port)| (ip, port).into()).boxed()
        }
        Family::V6 => {
            (any::<[u8; 16]>(), 1..=u16::MAX).prop_map(|(ip, port)| (ip, port).into()).boxed()
        }
    }
}

fn any_reply(family: Family) -> impl Strategy<Value = Reply> {
    let peers = vec(any_peer(family), 0..=family.peers_max());
    let count = any::<[u32; 3]>().prop_map(|[seeds, leeches, completed]| Counts {
        seeds,
        leeches,
        completed,
    });
    prop_oneof![
        (any::<u32>(), any::<u64>())
            .prop_map(|(transaction, connection)| Reply::Connect { transaction, connection }),
        (any::<[u32; 4]>(), peers).prop_map(
            |([transaction, interval_s, leeches, seeds], peers)| {
                Reply::Announce { transaction, interval_s, leeches, seeds, peers }
            }
        ),
        (any::<u32>(), vec(count, 0..=MAX_SCRAPE))
            .prop_map(|(transaction, counts)| Reply::Scrape { transaction, counts }),
        (any::<u32>(), "[ -~]{0,300}")
            .prop_map(|(transaction, reason)| Reply::Error { transaction, reason }),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(request in any_request()) {
        prop_assert_eq!(Request::parse(&request.encode()), Ok(request));
    }

    #[test]
    fn replies_round_trip_in_both_families(v4 in any_reply(Family::V4), v6 in any_reply(Family::V6)) {
        for (family, reply) in [(Family::V4, v4), (Family::V6, v6)] {
            let raw = reply.encode();
            prop_assert!(raw.len() <= MAX_DATAGRAM);
            prop_assert_eq!(Reply::parse(&raw, family), Ok(reply));
        }
    }

    #[test]
    fn hostile_bytes_never_panic(raw in vec(any::<u8>(), 0..300), action in 0u32..5) {
        let mut aimed = raw.clone();
        if aimed.len() >= 12 {
            aimed[8..12].copy_from_slice(&action.to_be_bytes());
        }
        let _ = (Request::parse(&raw), Request::parse(&aimed));
        if aimed.len() >= 4 {
            aimed[..4].copy_from_slice(&action.to_be_bytes());
        }
        for family in [Family::V4, Family::V6] {
            let _ = (Reply::parse(&raw, family), Reply::parse(&aimed, family));
        }
    }

    #[test]
    fn a_shortened_announce_is_refused(announce in any_announce(), cut in 0..ANNOUNCE_LEN) {
        let raw = Request::Announce { connection: 1, transaction: 2, announce, url_data: vec![] }.encode();
        prop_assert_eq!(raw.len(), ANNOUNCE_LEN);
        prop_assert!(Request::parse(&raw[..cut]).is_err());
    }
}

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 9,
        event: Event::Started,
        key: 7,
        want: None,
        tracker_id: vec![],
    }
}

#[test]
fn options_after_the_announce() {
    #[track_caller]
    fn check(options: &[u8], want: Result<&[u8], RequestError>) {
        let mut raw = Request::Announce {
            connection: 1,
            transaction: 2,
            announce: announce(),
            url_data: vec![],
        }
        .encode();
        raw.extend_from_slice(options);
        let got = Request::parse(&raw).map(|request| match request {
            Request::Announce { url_data, .. } => url_data,
            other => panic!("{other:?}"),
        });
        assert_eq!(got, want.map(<[u8]>::to_vec), "{options:?}");
    }
    check(&[], Ok(b""));
    check(&[0, 0], Ok(b"")); // what aria2 sends
    check(b"\x02\x05/dir?\x02\x05a=b&c", Ok(b"/dir?a=b&c"));
    check(b"\x01\x01\x02\x01/\x00\x02\xff", Ok(b"/"));
    check(b"\x09\x03abc\x02\x01/", Ok(b"/")); // an option of the future
    check(b"\x02", Err(RequestError::Options));
    check(b"\x02\x05/di", Err(RequestError::Options));
    check(&[&[2, 255][..], &[b'x'; 255]].concat().repeat(5), Err(RequestError::Options));
}

#[test]
fn malformed_requests_say_what_is_wrong() {
    let scrape = |n: usize| {
        let mut raw = [0; 16];
        raw[11] = 2;
        [&raw[..], &vec![0; n]].concat()
    };
    #[track_caller]
    fn check(raw: &[u8], want: RequestError) {
        assert_eq!(Request::parse(raw), Err(want));
    }
    check(&[0; 15], RequestError::Short(15));
    check(&[0; 16], RequestError::Protocol);
    check(&scrape(0), RequestError::ScrapeCount(0));
    check(&scrape(21), RequestError::Length { action: 2, got: 37 });
    check(&scrape(20 * 75), RequestError::ScrapeCount(75));
    let mut odd = scrape(0);
    odd[11] = 77;
    check(&odd, RequestError::Action(77));
    let mut event =
        Request::Announce { connection: 1, transaction: 2, announce: announce(), url_data: vec![] }
            .encode();
    event[83] = 9;
    check(&event, RequestError::Event(9));
}

/// The driver's side of an exchange, without a socket.
struct Driver {
    exchange: Exchange,
    now: Instant,
}

impl Driver {
    fn new(query: Query, retry: Retry) -> Self {
        let now = Instant::ZERO;
        let exchange = Exchange::new(now, query, Family::V4, retry, Rng::seeded(1));
        Self { exchange, now }
    }

    fn announce(retry: Retry) -> Self {
        Self::new(Query::Announce { announce: announce(), url_data: vec![] }, retry)
    }

    #[track_caller]
    fn sent(&mut self) -> Request {
        Request::parse(&self.exchange.poll_transmit().expect("a datagram")).unwrap()
    }

    /// Connects and returns the transaction of the question.
    #[track_caller]
    fn connect(&mut self, connection: u64) -> u32 {
        let Request::Connect { transaction } = self.sent() else { panic!("no connect") };
        self.hear(&Reply::Connect { transaction, connection });
        match self.sent() {
            Request::Announce { connection: used, transaction, .. }
            | Request::Scrape { connection: used, transaction, .. } => {
                assert_eq!(used, connection);
                transaction
            }
            other => panic!("{other:?}"),
        }
    }

    fn hear(&mut self, reply: &Reply) {
        self.exchange.handle_datagram(self.now, &reply.encode());
    }

    /// Waits for the next timeout and returns the seconds it took.
    fn wait(&mut self) -> f64 {
        let at = self.exchange.poll_timeout().expect("a deadline");
        let waited = at.since(self.now).as_secs_f64();
        self.now = at;
        self.exchange.handle_timeout(at);
        waited
    }
}

#[test]
fn an_exchange_connects_then_asks() {
    let mut driver = Driver::announce(Retry::default());
    let transaction = driver.connect(42);
    let peers = vec!["1.2.3.4:5".parse().unwrap()];
    driver.hear(&Reply::Announce { transaction, interval_s: 60, leeches: 1, seeds: 2, peers });
    let Some(Ok(Outcome::Announced(Answer { peers, terms }))) = driver.exchange.poll_outcome()
    else {
        panic!("no answer")
    };
    assert_eq!(peers.len(), 1);
    assert_eq!(terms.interval, Some(Duration::from_secs(60)));
    assert_eq!((terms.counts.leeches, terms.counts.seeds), (1, 2));
    assert_eq!(driver.exchange.poll_timeout(), None);
    assert_eq!(driver.exchange.poll_transmit(), None);
}

#[test]
fn the_schedule_doubles_from_15_s_and_ends_after_the_ninth() {
    let mut driver = Driver::announce(Retry { first: Duration::from_secs(15), sends: 9 });
    let Request::Connect { transaction: first } = driver.sent() else { panic!() };
    for n in 0..8 {
        assert_eq!(driver.wait(), 15.0 * f64::from(1 << n));
        assert_eq!(driver.sent(), Request::Connect { transaction: first });
    }
    assert_eq!(driver.wait(), 3840.0);
    assert_eq!(driver.exchange.poll_outcome(), Some(Err(ExchangeError::TimedOut { tries: 9 })));
}

#[test]
fn a_connection_id_is_used_for_a_minute_only() {
    let mut driver = Driver::announce(Retry { first: Duration::from_secs(15), sends: 9 });
    let question = driver.connect(42);
    let granted = driver.now;
    driver.wait();
    let Request::Announce { transaction, connection: 42, .. } = driver.sent() else { panic!() };
    assert_eq!(transaction, question, "a late answer to the first datagram still counts");
    driver.wait();
    let Request::Announce { .. } = driver.sent() else { panic!() };
    driver.wait();
    assert!(driver.now.since(granted) >= CONNECTION_LIFE);
    driver.connect(43);
}

#[test]
fn attack_37_udp_replies_that_do_not_belong_are_ignored() {
    let mut driver = Driver::announce(Retry::default());
    let deadline = driver.exchange.poll_timeout();
    let Request::Connect { transaction } = driver.sent() else { panic!() };
    let wrong = transaction ^ 1;
    driver.hear(&Reply::Connect { transaction: wrong, connection: 666 });
    driver.hear(&Reply::Error { transaction: wrong, reason: "forged".into() });
    driver.exchange.handle_datagram(driver.now, &[0; 7]);
    driver
        .exchange
        .handle_datagram(driver.now, &[&[0; 4], &transaction.to_be_bytes()[..]].concat());
    // An answer before there was a question.
    let peers = vec!["6.6.6.6:666".parse().unwrap()];
    let early = Reply::Announce { transaction, interval_s: 1, leeches: 0, seeds: 0, peers };
    driver.hear(&early);
    assert_eq!(driver.exchange.poll_transmit(), None);
    assert_eq!(driver.exchange.poll_outcome(), None);
    assert_eq!(driver.exchange.poll_timeout(), deadline, "noise does not buy time");

    driver.hear(&Reply::Connect { transaction, connection: 42 });
    let Request::Announce { transaction: question, .. } = driver.sent() else { panic!() };
    assert_ne!(question, transaction);
    driver.hear(&Reply::Connect { transaction, connection: 666 }); // replayed
    driver.hear(&early); // replayed
    driver.hear(&Reply::Scrape { transaction: question, counts: vec![] }); // not what was asked
    let mut short = Reply::Announce {
        transaction: question,
        interval_s: 1,
        leeches: 0,
        seeds: 0,
        peers: vec![],
    }
    .encode();
    short.truncate(19);
    driver.exchange.handle_datagram(driver.now, &short);
    assert_eq!(driver.exchange.poll_outcome(), None);

    let reason = "torrent not registered\u{1b}[2J".to_owned();
    driver.hear(&Reply::Error { transaction: question, reason });
    let shown = "torrent not registered\u{fffd}[2J".to_owned();
    assert_eq!(driver.exchange.poll_outcome(), Some(Err(ExchangeError::Refused(shown))));
}

#[test]
fn a_scrape_needs_one_count_for_each_hash() {
    let ask = || {
        let query = Query::Scrape(vec![InfoHash([1; 20]), InfoHash([2; 20])]);
        let mut driver = Driver::new(query, Retry::default());
        let transaction = driver.connect(1);
        (driver, transaction)
    };
    let (mut driver, transaction) = ask();
    let counts = vec![Counts { seeds: 1, leeches: 2, completed: 3 }, Counts::default()];
    driver.hear(&Reply::Scrape { transaction, counts: counts.clone() });
    assert_eq!(driver.exchange.poll_outcome(), Some(Ok(Outcome::Scraped(counts))));
    let (mut driver, transaction) = ask();
    driver.hear(&Reply::Scrape { transaction, counts: vec![Counts::default()] });
    assert_eq!(
        driver.exchange.poll_outcome(),
        Some(Err(ExchangeError::CountMismatch { asked: 2, got: 1 }))
    );
}

#[test]
fn attack_34_a_huge_udp_reply_is_cut() {
    let mut raw = [&1u32.to_be_bytes()[..], &[0; 16]].concat();
    raw.extend([1, 2, 3, 4, 0, 5].repeat(10_000));
    let Ok(Reply::Announce { peers, .. }) = Reply::parse(&raw, Family::V4) else { panic!() };
    assert_eq!(peers.len(), MAX_PEERS);
    raw.push(0); // compact length 6n+1
    assert!(matches!(Reply::parse(&raw, Family::V4), Err(ReplyError::Length { .. })));
}
