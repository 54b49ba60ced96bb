//! The frames that were recorded with OpenNap-NG, round trips, and hostile bytes.

mod peer;

use super::*;
use crate::id::InfoHash;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn nick(name: &str) -> Nick {
    Nick::new(name.as_bytes()).unwrap()
}

fn file(path: &str, size: u32) -> File {
    let hash = FileHash::new(b"00112233445566778899aabbccddeeff");
    File { path: path.into(), hash, size, bitrate: 128, frequency: 44_100, seconds: 61 }
}

/// The frame of a number and a text: what travels is two numbers before the text.
#[track_caller]
fn frame(kind: u16, text: &str) -> Frame {
    let frame = Frame::new(kind, text.as_bytes().to_vec());
    let (len, kind) = ((text.len() as u16).to_le_bytes(), kind.to_le_bytes());
    assert_eq!(frame.encode(), [&len[..], &kind, text.as_bytes()].concat());
    frame
}

#[track_caller]
fn said_to_server(kind: u16, text: &str, means: &ToServer) {
    assert_eq!(ToServer::parse(&frame(kind, text)).as_ref(), Ok(means), "{kind} {text}");
    assert_eq!(means.frame(), frame(kind, text));
}

#[track_caller]
fn said_to_client(kind: u16, text: &str, means: &ToClient) {
    assert_eq!(ToClient::parse(&frame(kind, text)).as_ref(), Ok(means), "{kind} {text}");
    assert_eq!(means.frame(), frame(kind, text));
}

#[test]
fn a_login_byte_by_byte() {
    let login = Login {
        nick: "foo".into(),
        password: "badpass".into(),
        port: 6699,
        client: "nap v0.8".into(),
        speed: 3,
        email: None,
    };
    let bytes = b"\x21\0\x02\0foo badpass 6699 \"nap v0.8\" 3";
    let bytes = [&[(bytes.len() - 4) as u8], &bytes[1..]].concat();
    assert_eq!(ToServer::Login(login.clone()).frame().encode(), bytes);
    said_to_server(2, "foo badpass 6699 \"nap v0.8\" 3", &ToServer::Login(login.clone()));
    let login = Login { email: Some("a@b".into()), ..login };
    let read = |kind, text| ToServer::parse(&frame(kind, text));
    // Build number and compression may follow.
    let text = "foo badpass 6699 \"nap v0.8\" 3 a@b 17 6";
    assert_eq!(read(2, text), Ok(ToServer::Login(login.clone())));
    said_to_server(6, "foo badpass 6699 \"nap v0.8\" 3 a@b", &ToServer::Register(login));
    said_to_server(7, "foo", &ToServer::CheckNick("foo".into()));
    said_to_server(11, "foo bar", &ToServer::CheckPassword("foo".into(), "bar".into()));
    said_to_server(4, "2.0", &ToServer::Version("2.0".into()));
    said_to_server(920, "1", &ToServer::Hello);
    assert_eq!(read(14, "\"John\" \"Main Street\""), Ok(ToServer::Details));
    said_to_client(3, "anon@server", &ToClient::LoggedIn("anon@server".into()));
    let quoted = ToClient::parse(&frame(3, "\"anon@server\""));
    assert_eq!(quoted, Ok(ToClient::LoggedIn("anon@server".into())));
    said_to_client(0, "Invalid Password", &ToClient::LoginFailed("Invalid Password".into()));
    said_to_client(10, "Invalid nick: x", &ToClient::NickIllegal("Invalid nick: x".into()));
    for (kind, empty) in [
        (4, ToClient::Version),
        (5, ToClient::Upgrade),
        (8, ToClient::NickFree),
        (9, ToClient::NickTaken),
        (12, ToClient::PasswordOk),
        (202, ToClient::SearchEnd),
        (217, ToClient::ResumeEnd),
        (748, ToClient::Ghost),
        (10_112, ToClient::Link(Text::default())),
    ] {
        said_to_client(kind, "", &empty);
    }
    said_to_client(316, "0", &ToClient::Disconnecting);
    said_to_client(621, "VERSION x 1", &ToClient::Motd("VERSION x 1".into()));
    said_to_client(214, "3 12 0", &ToClient::Stats(3, 12, 0));
    said_to_client(821, "10.0.0.1 8888", &ToClient::Redirect("10.0.0.1".into(), 8888));
    said_to_client(822, "meta:8875", &ToClient::Cycle("meta:8875".into()));
}

#[test]
fn shares() {
    let hash = "00112233445566778899aabbccddeeff";
    let song = file("d\\Artist\\song.mp3", 4_000_000);
    let text = format!("\"d\\Artist\\song.mp3\" {hash} 4000000 128 44100 61");
    said_to_server(100, &text, &ToServer::Share(song));
    let text =
        format!("\"d\\Artist\" \"a.mp3\" {hash} 1 128 44100 61 \"b.mp3\" {hash} 2 128 44100 61");
    let many = ToServer::ShareMany("d\\Artist".into(), vec![file("a.mp3", 1), file("b.mp3", 2)]);
    said_to_server(870, &text, &many);
    let text = format!("\"d\\film.avi\" 4294967295 {hash} video");
    let hash = FileHash::new(hash.as_bytes());
    let typed = ToServer::ShareTyped("d\\film.avi".into(), u32::MAX, hash, Media::Video);
    said_to_server(10_300, &text, &typed);
    said_to_server(102, "d\\a song.mp3", &ToServer::Unshare("d\\a song.mp3".into()));
    let quoted = ToServer::parse(&frame(102, "\"d\\a song.mp3\""));
    assert_eq!(quoted, Ok(ToServer::Unshare("d\\a song.mp3".into())));
    said_to_server(110, "", &ToServer::UnshareAll);
    said_to_client(110, "12", &ToClient::Unshared(12));
    for text in
        ["", "\"a\"", "\"a\" x 1 1 1", "\"a\" x -1 1 1 1", "\"a\" x 4294967296 1 1 1", "\"a"]
    {
        let error = ToServer::parse(&frame(100, text));
        assert!(matches!(error, Err(NapsterError::Field { kind: 100, .. })), "{text}: {error:?}");
    }
    let error = ToServer::parse(&frame(10_300, "\"a\" 1 0 song"));
    assert_eq!(error, Err(NapsterError::Field { kind: 10_300, field: "type" }));
}

#[test]
fn rates_are_rounded_up_as_measured() {
    for (rate, kept) in [(0, 8), (8, 8), (9, 16), (128, 128), (129, 144), (512, 512), (9_999, 512)]
    {
        assert_eq!(round_up(rate, &BITRATES), kept);
    }
    for (rate, kept) in [(0, 16_000), (22_050, 24_000), (44_100, 44_100), (96_000, 48_000)] {
        assert_eq!(round_up(rate, &FREQUENCIES), kept);
    }
}

#[test]
fn what_stands_for_a_hash() {
    let hex = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
    let cut = FileHash::new(format!("btih:{}", hex.to_uppercase()).as_bytes());
    assert_eq!(cut.as_bytes(), format!("btih:{}", &hex[..27]).as_bytes());
    assert_eq!(cut.md5(), None);
    let hash = InfoHash::from_hex(hex).unwrap();
    assert_eq!(FileHash::of_torrent(hash).md5().unwrap(), hash.0[..16]);
    assert_eq!(FileHash::new(b"WMA-FILE").as_bytes(), b"wma-file");
    assert_eq!((FileHash::new(b""), FileHash::NONE.md5()), (FileHash::NONE, None));
    let with_size = FileHash::new(b"00112233445566778899AABBCCDDEEFF-300000");
    assert_eq!(with_size, FileHash::new(b"00112233445566778899aabbccddeeff"));
}

#[test]
fn a_path_carries_an_info_hash() {
    let hash = InfoHash([0xab; 20]);
    let hex = "ab".repeat(20);
    let path = btih_path(hash, "Big Film.mkv");
    assert_eq!(path, Text::new(format!("btih-{hex}\\Big Film.mkv")));
    assert_eq!(btih_of(&path), Some(hash));
    let others =
        [format!("c:\\x/btih-{hex}/y"), format!("btih-{}\\btih-{hex}\\y", "cd".repeat(20))];
    for path in others {
        assert_eq!(btih_of(&Text::new(&path)), Some(hash), "{path}");
    }
    let none = [
        format!("btih-{hex}"),
        format!("xbtih-{hex}\\y"),
        format!("btih-{}\\y", hex.to_uppercase()),
        format!("btih-{hex}0\\y"),
    ];
    for path in none {
        assert_eq!(btih_of(&Text::new(&path)), None, "{path}");
    }
    let long = btih_path(hash, &("\u{e4}/".repeat(300) + ".mkv"));
    let text = String::from_utf8(long.as_bytes().to_vec()).unwrap();
    assert!(
        text.len() <= PATH_MAX && text.len() > PATH_MAX - 3 && text.ends_with("_.mkv"),
        "{text}"
    );
    assert_eq!(btih_of(&long), Some(hash));
}

fn words_of(text: &str) -> Vec<Text> {
    words(text.as_bytes()).map(Text::new).collect()
}

#[test]
fn words_are_runs_of_letters() {
    let texts = |list: &[&str]| list.iter().map(|word| Text::from(*word)).collect::<Vec<_>>();
    assert_eq!(
        words_of("Don't stop-ME_now 2.MP3"),
        texts(&["don't", "stop", "me", "now", "2", "mp3"])
    );
    assert_eq!(words_of("Žluťoučký KŮŇ"), texts(&["žluťoučký", "kůň"]));
    let latin: Vec<_> = words(b"Caf\xc9 B").collect();
    assert_eq!(latin, [b"caf\xc9".to_vec(), b"b".to_vec()]);
}

#[test]
fn searches() {
    let read = |text: &str| ToServer::parse(&frame(200, text));
    let whole = Query {
        contains: words_of("foo bar"),
        excludes: words_of("live"),
        max_results: 50,
        media: WantedMedia::Any,
        bounds: vec![
            Bound { property: Property::LineSpeed, compare: Compare::AtLeast, value: 7 },
            Bound { property: Property::Bitrate, compare: Compare::AtMost, value: 192 },
            Bound { property: Property::Frequency, compare: Compare::Equal, value: 44_100 },
            Bound { property: Property::Size, compare: Compare::Equal, value: 1_000 },
            Bound { property: Property::Duration, compare: Compare::AtLeast, value: 60 },
        ],
        local: true,
        btih: None,
    };
    let text = "FILENAME CONTAINS \"foo bar\" FILENAME EXCLUDES \"live\" MAX_RESULTS 50 TYPE ANY \
                LINESPEED \"AT LEAST\" 7 BITRATE \"AT BEST\" 192 FREQ \"EQUAL TO\" 44100 \
                SIZE \"EQUAL TO\" 1000 DURATION \"AT LEAST\" 60 LOCAL";
    said_to_server(200, text, &ToServer::Search(whole.clone()));
    said_to_server(21_336, text, &ToServer::SearchSwarm(whole.clone()));
    // In any order and case, numbers in quotes, words spread over clauses, `-` for words that must not be there.
    let other = "max_results 50 LOCAL_ONLY linespeed \"at least\" \"7\" FILENAME CONTAINS \"Foo -LIVE\" \
                 type any BITRATE \"AT BEST\" \"192\" FREQ \"EQUAL TO\" \"44100\" SIZE \"EQUAL TO\" \"1000\" \
                 DURATION \"AT LEAST\" \"60\" FILENAME CONTAINS \"bar foo\"";
    assert_eq!(read(other), Ok(ToServer::Search(whole.clone())));
    assert!(whole.finds_sources() && !whole.simplest().finds_sources());
    said_to_server(
        200,
        "FILENAME CONTAINS \"foo bar\" MAX_RESULTS 50",
        &ToServer::Search(whole.simplest()),
    );
    assert_eq!(Query::for_words("A-b -c").excludes, words_of("c"));
    let hash = "ab".repeat(20);
    let text = format!("TYPE video BTIH \"{hash}\"");
    let media = WantedMedia::Only(Media::Video);
    let btih = Query { media, btih: Some(InfoHash([0xab; 20])), ..Query::default() };
    said_to_server(21_336, &text, &ToServer::SearchSwarm(btih));
    for wrong in [
        "WMA-FILE",
        "FILENAME",
        "FILENAME CONTAINS",
        "FILENAME IS \"x\"",
        "TYPE song",
        "SIZE \"ABOUT\" 5",
        "SIZE \"EQUAL TO\"",
        "SIZE \"EQUAL TO\" many",
        "MAX_RESULTS -1",
        "BTIH \"abc\"",
    ] {
        assert_eq!(read(wrong), Err(NapsterError::Clause), "{wrong}");
    }
    let many: Vec<String> = (0..100).map(|n| format!("w{n}")).collect();
    let many = read(&format!("FILENAME CONTAINS \"{}\"", many.join(" ")));
    let Ok(ToServer::Search(many)) = many else { panic!("{many:?}") };
    assert_eq!(many.contains.len(), QUERY_WORDS_MAX);
}

#[test]
fn rows_and_addresses() {
    // 127.0.0.1 as OpenNap writes it.
    assert_eq!(ip_to_number(Ipv4Addr::LOCALHOST), 16_777_343);
    assert_eq!(ip_from_number(16_777_343), Ipv4Addr::LOCALHOST);
    let hash = "00112233445566778899aabbccddeeff";
    let text = format!("\"d\\a b.mp3\" {hash} 5 128 44100 61 bob 16777343 7");
    let row = |weight| {
        let (file, nick) = (file("d\\a b.mp3", 5), nick("bob"));
        Row { file, nick, ip: Ipv4Addr::LOCALHOST, speed: 7, weight }
    };
    said_to_client(201, &text, &ToClient::Row(row(0)));
    said_to_client(201, &format!("{text} -12"), &ToClient::Row(row(-12)));
    said_to_server(215, &format!("{hash} 5"), &ToServer::Resume(file("", 0).hash, 5));
    let resume = ToClient::ResumeRow {
        nick: nick("bob"),
        ip: Ipv4Addr::LOCALHOST,
        port: 6699,
        path: "d\\a b.mp3".into(),
        hash: file("", 0).hash,
        size: 5,
        speed: 7,
    };
    said_to_client(216, &format!("bob 16777343 6699 \"d\\a b.mp3\" {hash} 5 7"), &resume);
    let hex = "ab".repeat(20);
    let share = ToServer::ShareSwarm("a".into(), 1 << 40, InfoHash([0xab; 20]), FileHash::NONE);
    said_to_server(21_335, &format!("\"a\" 1099511627776 {hex} {:032}", 0), &share);
    let swarm = ToClient::SwarmRow(SwarmRow {
        path: "a".into(),
        size: 1 << 40,
        btih: InfoHash([0xab; 20]),
        seeds: 3,
        leeches: 0,
        nick: nick("bob"),
        ip: Ipv4Addr::LOCALHOST,
        port: 6699,
        speed: 7,
        weight: -5,
    });
    said_to_client(
        21_337,
        &format!("\"a\" 1099511627776 {hex} 3 0 bob 16777343 6699 7 -5"),
        &swarm,
    );
}

#[test]
fn users() {
    let hash = "00112233445566778899aabbccddeeff";
    let bob = || nick("bob");
    said_to_server(211, "bob", &ToServer::Browse(bob(), 0));
    said_to_server(211, "bob 50", &ToServer::Browse(bob(), 50));
    let row = ToClient::BrowseRow(bob(), file("d\\a.mp3", 5));
    said_to_client(212, &format!("bob \"d\\a.mp3\" {hash} 5 128 44100 61"), &row);
    said_to_client(213, "bob", &ToClient::BrowseEnd(bob(), None));
    said_to_client(213, "bob 16777343", &ToClient::BrowseEnd(bob(), Some(Ipv4Addr::LOCALHOST)));
    said_to_client(210, "bob", &ToClient::Offline(bob()));
    said_to_server(640, "bob", &ToServer::AskBrowse(bob()));
    said_to_server(641, "bob", &ToServer::AcceptBrowse(bob()));
    said_to_client(640, "bob", &ToClient::BrowseAsked(bob(), None));
    let addr = Some((Ipv4Addr::LOCALHOST, 6699));
    said_to_client(640, "bob 16777343 6699", &ToClient::BrowseAsked(bob(), addr));
    let accepted = ToClient::BrowseAccepted(bob(), Ipv4Addr::LOCALHOST, 6699);
    said_to_client(641, "bob 16777343 6699", &accepted);
    said_to_client(642, "bob \"not now\"", &ToClient::BrowseRefused(bob(), "not now".into()));
    said_to_server(214, "", &ToServer::Stats);
    said_to_server(600, "bob", &ToServer::SpeedOf(bob()));
    said_to_client(601, "bob 7", &ToClient::SpeedIs(bob(), 7));
    said_to_server(603, "bob", &ToServer::Whois(bob()));
    let is = Whois {
        nick: bob(),
        level: "User".into(),
        online_s: 61,
        channels: "".into(),
        status: "Active".into(),
        shared: 5,
        downloads: 1,
        uploads: 2,
        speed: 7,
        client: "nap v0.8".into(),
    };
    let text = "bob \"User\" 61 \"\" \"Active\" 5 1 2 7 \"nap v0.8\"";
    said_to_client(604, text, &ToClient::Whois(is.clone()));
    let more = ToClient::parse(&frame(604, &format!("{text} 1 2 16777343 5 6699 a@b")));
    assert_eq!(more, Ok(ToClient::Whois(is)));
    said_to_client(
        605,
        "bob \"User\" 978307200",
        &ToClient::Whowas(bob(), "User".into(), 978_307_200),
    );
    said_to_server(750, "", &ToServer::PingServer);
    said_to_client(750, "server ", &ToClient::ServerPong("server".into()));
    said_to_server(751, "bob", &ToServer::Ping(bob()));
    said_to_server(752, "bob", &ToServer::Pong(bob()));
    said_to_client(751, "bob", &ToClient::Ping(bob()));
    said_to_client(752, "bob", &ToClient::Pong(bob()));
    said_to_server(205, "bob how are you", &ToServer::Message(bob(), "how are you".into()));
    said_to_client(205, "bob how are you", &ToClient::Message(bob(), "how are you".into()));
    said_to_server(10_112, "", &ToServer::Links);
    said_to_client(10_112, "a 8888 b 8888 1", &ToClient::Link("a 8888 b 8888 1".into()));
    said_to_server(700, "7", &ToServer::Speed(7));
    said_to_server(701, "secret", &ToServer::Password("secret".into()));
    said_to_server(702, "a@b", &ToServer::Email("a@b".into()));
    said_to_server(703, "6699", &ToServer::DataPort(6699));
    assert_eq!(ToServer::parse(&frame(999, "")), Err(NapsterError::Kind(999)));
    assert_eq!(ToClient::parse(&frame(999, "")), Err(NapsterError::Kind(999)));
}

#[test]
fn users_who_are_watched_or_ignored() {
    let bob = || nick("bob");
    said_to_server(207, "bob", &ToServer::Watch(bob()));
    assert_eq!(ToServer::parse(&frame(208, "bob")), Ok(ToServer::Watch(bob())));
    said_to_server(303, "bob", &ToServer::Unwatch(bob()));
    said_to_client(209, "bob 7", &ToClient::Arrived(bob(), 7));
    said_to_client(301, "bob", &ToClient::Watched(bob()));
    said_to_client(302, "bob", &ToClient::NotWatched(bob()));
    said_to_server(320, "", &ToServer::Ignored);
    said_to_server(322, "bob", &ToServer::Ignore(bob()));
    said_to_server(323, "bob", &ToServer::Unignore(bob()));
    said_to_server(326, "", &ToServer::UnignoreAll);
    said_to_client(320, "3", &ToClient::IgnoredEnd(3));
    said_to_client(321, "bob", &ToClient::IgnoredRow(bob()));
    said_to_client(322, "bob", &ToClient::Ignored(bob()));
    said_to_client(323, "bob", &ToClient::Unignored(bob()));
    said_to_client(324, "bob", &ToClient::NotIgnored(bob()));
    said_to_client(325, "bob", &ToClient::AlreadyIgnored(bob()));
    said_to_client(326, "3", &ToClient::UnignoredAll(3));
}

#[test]
fn downloads() {
    let hash = "00112233445566778899aabbccddeeff";
    let (bob, path) = (|| nick("bob"), || Text::from("d\\a b.mp3"));
    said_to_server(203, "bob \"d\\a b.mp3\"", &ToServer::Download(bob(), path()));
    said_to_client(607, "bob \"d\\a b.mp3\"", &ToClient::UploadAsked(bob(), path(), None));
    said_to_client(607, "bob \"d\\a b.mp3\" 7", &ToClient::UploadAsked(bob(), path(), Some(7)));
    said_to_server(608, "bob \"d\\a b.mp3\"", &ToServer::Accept(bob(), path()));
    said_to_server(609, "bob \"d\\a b.mp3\"", &ToServer::Reject(bob(), path()));
    said_to_server(619, "bob \"d\\a b.mp3\" 2", &ToServer::QueueFull(bob(), path(), 2));
    let (size, limit) = (5, 2);
    let full = ToClient::QueueFull { nick: bob(), path: path(), size, limit };
    said_to_client(620, "bob \"d\\a b.mp3\" 5 2", &full);
    said_to_client(206, "bob \"d\\a b.mp3\"", &ToClient::Unavailable(bob(), path()));
    said_to_server(500, "bob \"d\\a b.mp3\"", &ToServer::AskPush(bob(), path()));
    let (ip, port, speed) = (Ipv4Addr::LOCALHOST, 6699, 7);
    let hash_of = || file("", 0).hash;
    let ready =
        ToClient::DownloadReady { nick: bob(), ip, port, path: path(), hash: hash_of(), speed };
    said_to_client(204, &format!("bob 16777343 6699 \"d\\a b.mp3\" {hash} 7"), &ready);
    let hash_none = FileHash::NONE;
    let push =
        ToClient::DownloadReady { nick: bob(), ip, port: 0, path: path(), hash: hash_none, speed };
    said_to_client(204, &format!("bob 16777343 0 \"d\\a b.mp3\" {:032} 7", 0), &push);
    let to = ToClient::PushTo { nick: bob(), ip, port, path: path(), hash: hash_of(), speed };
    said_to_client(501, &format!("bob 16777343 6699 \"d\\a b.mp3\" {hash} 7"), &to);
    said_to_server(626, "bob", &ToServer::Unreachable(bob()));
    said_to_client(626, "bob", &ToClient::Unreachable(bob()));
    let counters = [(218, false, true), (219, false, false), (220, true, true), (221, true, false)];
    for (kind, upload, begins) in counters {
        said_to_server(kind, "", &ToServer::Transfer { upload, begins });
    }
    let why = Text::from("Not sharing that file");
    said_to_client(404, "Not sharing that file", &ToClient::Error(why));
}

#[test]
fn names_that_users_may_have() {
    for good in ["a", "Bob_1", "x[y]", "a#b", "a:b", "a-b", "(_)"] {
        assert!(Nick::new(good.as_bytes()).is_some(), "{good}");
    }
    let long = "x".repeat(NICK_IN_MAX + 1);
    for bad in [
        "",
        "a b",
        "a%",
        "a$",
        "a*",
        "a?",
        "a.b",
        "a!",
        "a\"",
        "a,",
        "a\\",
        "a;",
        "#a",
        "&a",
        ":a",
        "-a",
        "\u{e4}",
        "a\n",
        long.as_str(),
    ] {
        assert_eq!(Nick::new(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(nick("BoB").key(), nick("bOb").key());
}

#[test]
fn frames_come_in_pieces_and_in_heaps() {
    let sent = [frame(200, "FILENAME"), frame(202, ""), frame(404, &"x".repeat(FRAME_MAX))];
    let mut bytes = Vec::new();
    sent.iter().for_each(|frame| frame.encode_into(&mut bytes));
    for step in [1, 2, 3, 7, 100, bytes.len()] {
        let mut decoder = FrameDecoder::new(FRAME_MAX);
        let mut got = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                got.push(frame);
            }
        }
        assert_eq!(got, sent);
    }
}

#[test]
fn attack_45_a_frame_that_is_too_long_is_refused_at_its_header() {
    let mut decoder = FrameDecoder::new(FRAME_MAX);
    decoder.push(&[1, 8, 200, 0]);
    assert_eq!(decoder.next_frame(), Err(NapsterError::Length { got: 2049, max: FRAME_MAX }));
}

fn any_text() -> impl Strategy<Value = Text> {
    prop::collection::vec(any::<u8>(), 0..60).prop_map(Text::new)
}

fn any_file() -> impl Strategy<Value = File> {
    let hash = prop::collection::vec(any::<u8>(), 0..40);
    (any_text(), hash, any::<[u32; 4]>()).prop_map(
        |(path, hash, [size, bitrate, frequency, seconds])| File {
            path,
            hash: FileHash::new(&hash),
            size,
            bitrate,
            frequency,
            seconds,
        },
    )
}

proptest! {
    #[test]
    fn files_and_queries_round_trip(
        files in prop::collection::vec(any_file(), 1..8),
        folder in any_text(),
        words in prop::collection::vec("\\PC{1,8}", 0..10),
        not in any_text(),
        bounds in prop::collection::vec((0..5usize, 0..3usize, any::<u32>()), 0..5),
        max_results: u32,
        local: bool,
    ) {
        let many = ToServer::ShareMany(folder, files);
        prop_assert_eq!(ToServer::parse(&many.frame()), Ok(many));
        let mut query = Query::for_words(&words.join(" "));
        let excluded = Query::for_words(&format!("-{}", not.decode()));
        if query.excludes.is_empty() {
            let room = QUERY_WORDS_MAX - query.contains.len();
            query.excludes.extend(excluded.excludes.into_iter().take(room));
        }
        (query.max_results, query.local) = (max_results, local);
        let properties =
            [Property::LineSpeed, Property::Bitrate, Property::Frequency, Property::Size, Property::Duration];
        let compares = [Compare::Equal, Compare::AtLeast, Compare::AtMost];
        query.bounds = bounds
            .into_iter()
            .map(|(p, c, value)| Bound { property: properties[p], compare: compares[c], value })
            .collect();
        let search = ToServer::Search(query);
        prop_assert_eq!(ToServer::parse(&search.frame()), Ok(search));
    }

    /// Whatever is read is the same when it is written and read again.
    #[test]
    fn hostile_bytes(kind in prop::sample::select(KINDS), data in hostile_data()) {
        let frame = Frame::new(kind, data.clone());
        if let Ok(said) = ToServer::parse(&frame) {
            prop_assert_eq!(ToServer::parse(&said.frame()), Ok(said));
        }
        if let Ok(said) = ToClient::parse(&frame) {
            prop_assert_eq!(ToClient::parse(&said.frame()), Ok(said));
        }
        for start in [&b""[..], b"GET", b"SEND"] {
            let bytes = [start, &data].concat();
            match PeerRequest::parse(&bytes) {
                Ok(Request::Whole(request, len)) => {
                    prop_assert!(len <= bytes.len());
                    prop_assert!(!matches!(PeerRequest::parse(&request.encode().concat()), Ok(Request::More)));
                }
                Ok(Request::More) => prop_assert!(bytes.len() < REQUEST_MAX),
                _ => {}
            }
        }
        let mut decoder = FrameDecoder::new(FRAME_MAX);
        decoder.push(&data);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }
}

/// Bytes, or fields that look right.
fn hostile_data() -> impl Strategy<Value = Vec<u8>> {
    let field =
        prop_oneof!["[0-9]{1,12}", "\"[ -~]{0,9}\"?", "[a-z]{1,9}", "FILENAME CONTAINS", "-1"];
    let fields = prop::collection::vec(field, 0..12);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        fields.prop_map(|fields| fields.join(" ").into_bytes()),
    ]
}

/// Every number that means something in one direction.
const KINDS: &[u16] = &[
    0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 100, 102, 110, 200, 201, 202, 203, 204, 205, 206,
    207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220, 221, 301, 302, 303, 316,
    320, 321, 322, 323, 324, 325, 326, 404, 500, 501, 600, 601, 603, 604, 605, 607, 608, 609, 619,
    620, 621, 626, 640, 641, 642, 700, 701, 702, 703, 748, 750, 751, 752, 821, 822, 870, 920,
    10_112, 10_300, 21_335, 21_336, 21_337,
];
