use super::*;
use crate::id::{InfoHash, PeerId};
use crate::proto::announce::{Announce, Answer, Counts, Event, MAX_PEERS, RetryIn, Terms};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

prop_compose! {
    fn any_query()(
        info_hash: [u8; 20], peer_id: [u8; 20], port in 1..=u16::MAX, numbers: [u64; 3], key: u32,
        event in prop_oneof![
            Just(Event::None), Just(Event::Started), Just(Event::Completed), Just(Event::Stopped)
        ],
        want: Option<u32>, tracker_id in vec(any::<u8>(), 0..=256), compact: bool, no_peer_id: bool,
    ) -> AnnounceQuery {
        let [uploaded, downloaded, left] = numbers;
        let (info_hash, peer_id) = (InfoHash(info_hash), PeerId(peer_id));
        let announce = Announce {
            info_hash, peer_id, port, uploaded, downloaded, left, event, key, want, tracker_id,
        };
        AnnounceQuery { announce, compact, no_peer_id }
    }
}

fn any_peer() -> impl Strategy<Value = (SocketAddr, PeerId)> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ];
    (ip, 1..=u16::MAX, any::<[u8; 20]>())
        .prop_map(|(ip, port, id)| (SocketAddr::new(ip, port), PeerId(id)))
}

prop_compose! {
    fn any_terms()(
        times: [Option<u32>; 2], counts: [u32; 3], ip in option::of(any_peer()),
        warning in option::of("[ -~]{1,50}"), tracker_id in vec(any::<u8>(), 0..=256),
    ) -> Terms {
        let seconds = |time: Option<u32>| time.map(|s| Duration::from_secs(s.into()));
        let [seeds, leeches, completed] = counts;
        Terms {
            interval: seconds(times[0]), min_interval: seconds(times[1]),
            counts: Counts { seeds, leeches, completed },
            external_ip: ip.map(|(addr, _)| addr.ip()), warning, tracker_id,
        }
    }
}

fn any_layout() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::Compact), any::<bool>().prop_map(|ids| Layout::Dicts { ids })]
}

proptest! {
    #[test]
    fn queries_round_trip(query in any_query()) {
        prop_assert_eq!(AnnounceQuery::parse(&query.encode()), Ok(query));
    }

    #[test]
    fn scrapes_round_trip(hashes in vec(any::<[u8; 20]>().prop_map(InfoHash), 1..=MAX_SCRAPE)) {
        let query = ScrapeQuery { hashes };
        prop_assert_eq!(ScrapeQuery::parse(&query.encode()), Ok(query));
    }

    #[test]
    fn answers_round_trip(terms in any_terms(), peers in vec(any_peer(), 0..60), layout in any_layout()) {
        let got = parse_announce(&encode_announce(&terms, &peers, layout)).unwrap();
        let mut want: Vec<_> = peers.iter().map(|(addr, _)| *addr).collect();
        if layout == Layout::Compact {
            want.sort_by_key(SocketAddr::is_ipv6); // two strings: IPv4 first, order kept inside
        }
        prop_assert_eq!(got, Answer { peers: want, terms });
    }

    #[test]
    fn hostile_bytes_never_panic(raw in vec(any::<u8>(), 0..400), text in "[%&=a-f0-9+]{0,80}") {
        let dict = [&b"d5:peers"[..], &raw, b"e"].concat();
        let _ = (parse_announce(&raw), parse_announce(&dict), parse_scrape(&raw, &[InfoHash([0; 20])]));
        let _ = (AnnounceQuery::parse(&text), ScrapeQuery::parse(&text));
        let _ = AnnounceQuery::parse(&format!("info_hash={text}&port={text}&event={text}"));
    }
}

#[test]
fn a_query_as_other_clients_write_it() {
    let query = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
                 &peer_id=-TR3000-abcdefghijkl&port=51413&uploaded=0&downloaded=0&left=16384\
                 &numwant=80&key=2b6f4c1d&compact=1&supportcrypto=1&event=started&ip=6.6.6.6";
    let got = AnnounceQuery::parse(query).unwrap();
    let hash = InfoHash::from_hex("123456789abcdef123456789abcdef123456789a").unwrap();
    assert_eq!(got.announce.info_hash, hash);
    assert_eq!(got.announce.peer_id, PeerId(*b"-TR3000-abcdefghijkl"));
    assert_eq!((got.announce.port, got.announce.left), (51413, 16384));
    assert_eq!((got.announce.want, got.announce.key), (Some(80), 0x2b6f_4c1d));
    assert!(got.compact && !got.no_peer_id);
}

#[test]
fn attack_38_bad_queries_get_a_reason() {
    const HASH: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa";
    const ID: &str = "peer_id=bbbbbbbbbbbbbbbbbbbb";
    #[track_caller]
    fn check(query: &str, want: QueryError) {
        assert_eq!(AnnounceQuery::parse(query), Err(want), "{query:.100}");
    }
    let with = |rest: &str| format!("{HASH}&{ID}&{rest}");
    check("", QueryError::Missing("info_hash"));
    check("&&&===", QueryError::Missing("info_hash"));
    check("info_hash=abc", QueryError::InfoHashLength(3));
    check(&format!("info_hash={}", "%00".repeat(21)), QueryError::InfoHashLength(21));
    check("info_hash=%4", QueryError::Escape);
    check("info_hash=%zz", QueryError::Escape);
    check(&format!("{HASH}&{HASH}"), QueryError::InfoHashTwice);
    check(HASH, QueryError::Missing("peer_id"));
    check(&format!("{HASH}&peer_id=short"), QueryError::PeerIdLength(5));
    check(&with("left=0"), QueryError::Missing("port"));
    check(&with("port=0&left=0"), QueryError::Port);
    check(&with("port=65536&left=0"), QueryError::Port);
    check(&with("port=-1&left=0"), QueryError::Number("port"));
    check(&with("port=http&left=0"), QueryError::Number("port"));
    check(&with("port=1"), QueryError::Missing("left"));
    check(&with("port=1&left=-1"), QueryError::Number("left"));
    check(&with("port=1&left=18446744073709551616"), QueryError::Number("left"));
    check(&with("port=1&left=%2B5"), QueryError::Number("left"));
    check(&with("port=1&left=0&uploaded=x"), QueryError::Number("uploaded"));
    check(&with("port=1&left=0&event=exploded"), QueryError::Event);
    check(&"a".repeat(9000), QueryError::Long(9000));
    check(&with(&"%00".repeat(9000)), QueryError::Long(27_060));
    let parse = |rest: &str| AnnounceQuery::parse(&with(&format!("port=1&left=0&{rest}"))).unwrap();
    assert_eq!(parse("numwant=-1").announce.want, None);
    assert_eq!(parse("numwant=1000000000").announce.want, Some(1_000_000_000));
    assert_eq!(parse("numwant=99999999999").announce.want, Some(u32::MAX));
    assert_eq!(parse("event=").announce.event, Event::None);
    assert_eq!(parse("event=paused").announce.event, Event::None);
    assert_eq!(parse("key=!&ip=6.6.6.6&ipv6=::1&compact=2").announce.key, 0);
    assert!(!parse("compact=0").compact);
    let long = AnnounceQuery::parse(&format!("info_hash={}&{ID}&port=1&left=0", "c".repeat(32)));
    assert_eq!(long.unwrap().announce.info_hash, InfoHash([b'c'; 20]));
}

#[test]
fn attack_38_a_scrape_of_everything_is_refused() {
    #[track_caller]
    fn check(query: &str, want: QueryError) {
        assert_eq!(ScrapeQuery::parse(query), Err(want));
    }
    check("", QueryError::FullScrape);
    check("info_hash=", QueryError::InfoHashLength(0));
    check(&"info_hash=aaaaaaaaaaaaaaaaaaaa&".repeat(75), QueryError::ScrapeCount(75));
    check(&"info_hash=aaaaaaaaaaaaaaaaaaaa&".repeat(10_000), QueryError::Long(310_000));
}

#[test]
fn scrape_urls() {
    #[track_caller]
    fn check(announce: &str, want: Option<&str>) {
        assert_eq!(scrape_url(announce).as_deref(), want, "{announce}");
    }
    // The table of BEP 48.
    check("http://example.com/announce", Some("http://example.com/scrape"));
    check("http://example.com/x/announce", Some("http://example.com/x/scrape"));
    check("http://example.com/announce.php", Some("http://example.com/scrape.php"));
    check("http://example.com/a", None);
    check("http://example.com/announce?x2%0644", Some("http://example.com/scrape?x2%0644"));
    check("http://example.com/announce?x=2/4", Some("http://example.com/scrape?x=2/4"));
    check("http://example.com/x%064announce", None);
}

#[test]
fn attack_34_bad_answers_are_errors_or_clamped() {
    let reason = |body: &[u8]| parse_announce(body).unwrap_err().to_string();
    assert_eq!(reason(b""), "empty answer");
    assert_eq!(reason(b"\r\n"), "empty answer");
    assert_eq!(
        reason(b"<html><body>Log in to the hotel network\x1b[2J</body>"),
        "not a tracker's answer: `<html><body>Log in to the hotel network\u{fffd}[2J</body>`"
    );
    assert!(reason(b"<html>".repeat(100_000).as_slice()).len() < 100);
    assert!(reason(b"d8:intervali1800e").starts_with("broken answer: "));
    assert!(reason(b"d8:intervali1800ee trailing").starts_with("broken answer: "));
    assert!(reason(&[b"d1:x".repeat(5000), b"e".repeat(5000)].concat()).starts_with("broken"));
    assert_eq!(
        reason(b"d14:failure reason10:go\x1b[1maway8:retry in5:nevere"),
        "refused: go\u{fffd}[1maway"
    );
}

#[test]
fn attack_34_strange_fields_count_as_absent() {
    let parse = |body: &[u8]| parse_announce(body).unwrap();
    assert_eq!(parse(b"de"), Answer::default());
    assert_eq!(
        parse(b"d8:intervali-1e5:peers7:\x01\x02\x03\x04\x00\x05\x06e").terms.interval,
        None
    );
    assert_eq!(
        parse(b"d8:intervali2147483648ee\r\n").terms.interval,
        Some(Duration::from_secs(1 << 31))
    );
    assert_eq!(parse(b"d8:interval3:soo5:peersi7ee"), Answer::default());
    let seven = parse(b"d5:peers7:\x01\x02\x03\x04\x00\x05\x06e");
    assert_eq!(seven.peers, ["1.2.3.4:5".parse().unwrap()]);
    assert_eq!(parse(b"d5:peers6:\x01\x02\x03\x04\x00\x00e").peers, []);
    let dicts = b"d5:peersl\
        d2:ip7:1.2.3.44:porti5ee\
        d2:ip11:example.com4:porti5ee\
        d2:ip7:1.2.3.44:porti0ee\
        d2:ip7:1.2.3.44:porti-5ee\
        d4:porti5ee\
        i5e\
        d2:ip3:::14:porti65535ee\
        ee";
    let want: [SocketAddr; 2] = ["1.2.3.4:5".parse().unwrap(), "[::1]:65535".parse().unwrap()];
    assert_eq!(parse(dicts).peers, want);
    assert_eq!(parse(b"d11:external ip5:12345e").terms.external_ip, None);
}

#[test]
fn attack_34_a_million_peers_are_cut() {
    let packed = [1u8, 2, 3, 4, 0, 5].repeat(300_000);
    let body = [format!("d5:peers{}:", packed.len()).as_bytes(), &packed, b"e"].concat();
    assert_eq!(parse_announce(&body).unwrap().peers.len(), MAX_PEERS);
    let packed = [1u8, 2, 3, 4, 0, 5].repeat(1_000_000);
    let body = [format!("d5:peers{}:", packed.len()).as_bytes(), &packed, b"e"].concat();
    assert!(matches!(parse_announce(&body), Err(ReplyError::Bencode(_))));
}

#[test]
fn refusals_say_when_to_come_back() {
    let refused = |retry_in| ReplyError::Refused { reason: "full".into(), retry_in };
    let minutes = |n: u64| Some(RetryIn::After(Duration::from_secs(n * 60)));
    for retry_in in [None, Some(RetryIn::Never), minutes(5)] {
        assert_eq!(parse_announce(&encode_failure("full", retry_in)), Err(refused(retry_in)));
    }
    assert_eq!(
        parse_scrape(b"d14:failure reason4:full8:retry in1:7e", &[]),
        Err(refused(minutes(7)))
    );
    let soon = Some(RetryIn::After(Duration::from_secs(10)));
    assert_eq!(parse_announce(&encode_failure("full", soon)), Err(refused(minutes(1))));
}

#[test]
fn scrape_answers_come_in_the_order_asked() {
    let (a, b, c) = (InfoHash([9; 20]), InfoHash([1; 20]), InfoHash([5; 20]));
    let counts = |n| Counts { seeds: n, leeches: n + 1, completed: n + 2 };
    let body = encode_scrape(&[(a, counts(10)), (b, counts(20)), (a, counts(10))]);
    let got = parse_scrape(&body, &[a, c, b, a]).unwrap();
    assert_eq!(got, [Some(counts(10)), None, Some(counts(20)), Some(counts(10))]);
    assert_eq!(parse_scrape(b"de", &[a]).unwrap(), [None]);
}
