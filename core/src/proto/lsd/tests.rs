//! Round trips, datagrams of others, and the attacks on local discovery.

use super::*;
use proptest::prelude::*;

fn hash(tag: u8) -> InfoHash {
    InfoHash([tag; 20])
}

fn any_announcement() -> impl Strategy<Value = Announcement> {
    let hashes = prop::collection::btree_set(any::<[u8; 20]>(), 1..=HASHES_MAX);
    let cookie = prop::option::of("[!-~]{1,64}");
    (1..=u16::MAX, hashes, cookie).prop_map(|(port, hashes, cookie)| Announcement {
        port: NonZeroU16::new(port).unwrap(),
        hashes: hashes.into_iter().map(InfoHash).collect(),
        cookie,
    })
}

proptest! {
    #[test]
    fn announcements_round_trip_and_fit(sent in any_announcement(), v6: bool) {
        let datagram = sent.encode(if v6 { GROUP_V6 } else { GROUP_V4 });
        prop_assert!(datagram.len() <= MESSAGE_MAX);
        prop_assert_eq!(Announcement::parse(&datagram), Ok(sent));
    }

    #[test]
    fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Announcement::parse(&raw);
        let _ = Announcement::parse(&[METHOD.as_bytes(), b"\r\n", &raw].concat());
    }
}

#[test]
fn the_datagram_of_the_bep() {
    let port = NonZeroU16::new(6881).unwrap();
    let announcement = Announcement { port, hashes: vec![hash(0xab)], cookie: Some("c".into()) };
    let text = |group: &str| {
        let hash = "ab".repeat(20);
        format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: 6881\r\nInfohash: {hash}\r\n\
             cookie: c\r\n\r\n\r\n"
        )
    };
    let v4 = announcement.encode(GROUP_V4);
    assert_eq!(String::from_utf8(v4).unwrap(), text("239.192.152.143:6771"));
    let v6 = announcement.encode(GROUP_V6);
    assert_eq!(String::from_utf8(v6).unwrap(), text("[ff15::efc0:988f]:6771"));
}

#[test]
fn others_write_it_otherwise() {
    let (a, b) = ("aA".repeat(20), "0b".repeat(20));
    // transmission: upper case, one hash, no cookie; libtorrent: lower case and a cookie.
    for text in [
        format!("BT-SEARCH * HTTP/1.1\r\nHost: x\r\nPort: 5\r\nInfohash: {a}\r\n\r\n\r\n"),
        format!("BT-SEARCH * HTTP/1.1\nPORT:5\nINFOHASH:{a}\nnonsense\ninfohash: {a}\n"),
        format!("bt-search * http/1.1\r\nInfohash: zz\r\nInfohash: {a}\r\nPort: 0\r\nPort: 5"),
    ] {
        let read = Announcement::parse(text.as_bytes()).unwrap();
        assert_eq!((read.port.get(), read.hashes), (5, vec![hash(0xaa)]), "{text}");
    }
    let two =
        format!("{METHOD}\r\nPort: 5\r\ninfohash: {a}\r\ninfohash: {b}\r\ncookie: me\r\n\r\n");
    let read = Announcement::parse(two.as_bytes()).unwrap();
    assert_eq!((read.hashes, read.cookie.as_deref()), (vec![hash(0xaa), hash(0x0b)], Some("me")));
}

#[test]
fn attack_41_datagrams_that_say_nothing_or_too_much() {
    #[track_caller]
    fn check(text: &str, want: LsdError) {
        assert_eq!(Announcement::parse(text.as_bytes()), Err(want), "{text}");
    }
    let hash = "ab".repeat(20);
    let with = |lines: &str| format!("{METHOD}\r\n{lines}\r\n\r\n");
    check("", LsdError::Method);
    check("GET / HTTP/1.1\r\n\r\n", LsdError::Method);
    check(&with(""), LsdError::Port);
    for port in ["0", "-1", "65536", "http", ""] {
        check(&with(&format!("Infohash: {hash}\r\nPort: {port}")), LsdError::Port);
    }
    for wrong in ["", "ab", &"g".repeat(40), &"ab".repeat(32)] {
        check(&with(&format!("Port: 5\r\nInfohash: {wrong}")), LsdError::NoHash);
    }
    // Behind the first empty line nothing counts.
    check(&with(&format!("Port: 5\r\n\r\nInfohash: {hash}")), LsdError::NoHash);
    let long = with(&format!("Port: 5\r\nInfohash: {hash}\r\nx: {}", "y".repeat(MESSAGE_MAX)));
    check(&long, LsdError::Length(long.len()));
    let many: String = (0..30).map(|n| format!("Infohash: {n:040x}\n")).collect();
    let many = Announcement::parse(format!("{METHOD}\nPort: 5\n{many}\n").as_bytes());
    assert!(matches!(many, Err(LsdError::Length(_))));
    let many: String = (0..24).map(|n| format!("infohash:{n:040x}\n")).collect();
    let many = Announcement::parse(format!("{METHOD}\nPort:5\n{many}\n").as_bytes()).unwrap();
    assert_eq!(many.hashes.len(), HASHES_MAX);
    let cookie = "c".repeat(COOKIE_MAX + 1);
    let long = with(&format!("Port: 5\r\nInfohash: {hash}\r\ncookie: {cookie}"));
    assert_eq!(Announcement::parse(long.as_bytes()).unwrap().cookie, None);
}
