//! What the directory says to clients of others.

use super::*;

#[tokio::test]
async fn the_greeting_comes_in_the_recorded_order() {
    let motd = vec!["be nice".to_owned()];
    let directory = directory(Terms { motd, ..Terms::default() });
    let mut wire = Wire::dial(directory.addr()).await;
    // Byte by byte: a read may hold half a frame.
    for byte in line("7 bob") {
        wire.write(&[byte]).await;
    }
    wire.reads(b"\x00\x00\x08\x00").await;
    // And many.
    let login = "2 bob pw 6699 \"nap v0.8\" 3";
    wire.write(&[line("920 1"), line("7 b?b"), line("4 2.0"), line(login)].concat()).await;
    let version = format!("621 VERSION {PROGRAM}");
    let greeting = [
        "10 Invalid nick",
        "4 ",
        "3 anon@gaggle",
        &version,
        "621 SERVER gaggle",
        "621 SWARM-EXT 1 btih",
        "621 be nice",
        "214 1 0 0",
        "751 gaggle",
    ];
    wire.hears(&greeting).await;
    let mut eve = Wire::dial(directory.addr()).await;
    eve.say("7 BOB").await;
    eve.hears(&["9 "]).await;
    let status = until(directory.watch(), "a user", |status| status.counters.users == 1).await;
    assert_eq!((status.connections, status.refused), (2, 0));
}

#[tokio::test]
async fn who_is_not_let_in_hears_why_and_is_closed() {
    let directory = directory(plain());
    let _bob = Wire::login(directory.addr(), "bob", 6699).await;
    for (said, answer) in [
        ("2 bob pw 6699 \"x\" 3", "0 bob is already active"),
        ("2 ev?e pw 6699 \"x\" 3", "10 Invalid nick: ev?e"),
        ("2 eve pw 6699 \"x\" 11", "0 Invalid link speed"),
        ("200 FILENAME CONTAINS \"x\"", "0 invalid command"),
        ("11 bob pw", "0 Invalid Password"),
        (
            "6 eve secret 0 \"x\" 3 a@b",
            "0 this server takes no passwords that others can read on the way",
        ),
    ] {
        let mut wire = Wire::dial(directory.addr()).await;
        // What comes behind it is thrown away, and does not cost the answer.
        wire.write(&[line(said), line("100 too late").repeat(2500)].concat()).await;
        wire.hears(&[answer]).await;
        assert_eq!(wire.ends().await, b"");
    }
    // A frame that is too long ends it without a word.
    let mut wire = Wire::login(directory.addr(), "eve", 6699).await;
    wire.write(&frame(205, "x".repeat(5000))).await;
    assert_eq!(wire.rest().await, b"");
    let mut wire = Wire::login(directory.addr(), "eve", 6699).await;
    wire.write(&frame(999, "x".repeat(2048))).await;
    wire.hears(&["404 unknown command code 999"]).await;
}

#[tokio::test]
async fn names_with_a_password_outlive_the_directory() {
    let state = tempfile::tempdir().unwrap();
    let start = |legacy| {
        let terms = Terms { legacy, ..plain() };
        let state_dir = Some(state.path().to_owned());
        let config = DirectoryConfig { listen: here(), lan: false, directory: terms, state_dir };
        Directory::start(config, Clock::start()).unwrap()
    };
    let first = start(true);
    let mut bob = Wire::dial(first.addr()).await;
    bob.say("6 bob secret 0 \"x\" 3 a@b").await;
    bob.hears(&["3 anon@gaggle"]).await;
    let mut again = Wire::dial(first.addr()).await;
    again.write(&[line("11 bob secret"), line("2 BOB secret 0 \"x\" 3")].concat()).await;
    again.hears(&["12 ", "3 anon@gaggle"]).await;
    // Who logs in with the password takes over.
    assert!(bob.ends().await.ends_with(&line("748 ")));
    first.stop().await;
    let kept = std::fs::read_to_string(state.path().join("napster.accounts")).unwrap();
    assert!(kept.lines().nth(1).unwrap().starts_with("BOB ") || kept.contains("\nbob "), "{kept}");
    assert!(!kept.contains("secret"));
    drop(first);
    let second = start(false);
    let mut thief = Wire::dial(second.addr()).await;
    thief.say("2 bob guess 0 \"x\" 3").await;
    thief.hears(&["0 Invalid Password"]).await;
    let mut eve = Wire::login(second.addr(), "eve", 0).await;
    eve.say("603 bob").await;
    let was = eve.next().await;
    assert!(was.to_ascii_lowercase().starts_with("605 bob \"user\" 1"), "{was}");
    // What our own clients send serves nowhere else, and is taken.
    let mut ours = Wire::dial(second.addr()).await;
    ours.say("6 ours 00112233445566778899aabbccddeeff 0 \"x\" 3 a@b").await;
    ours.hears(&["3 anon@gaggle"]).await;
}

#[tokio::test]
async fn shares_and_searches_as_recorded() {
    let directory = directory(Terms { limits: Limits::off(), ..plain() });
    let (_open, port) = port().await;
    let mut bob = Wire::login(directory.addr(), "bob", port).await;
    let mut eve = Wire::login(directory.addr(), "eve", 6699).await;
    let (seven, eight) = (format!("{:032x}", 7), format!("{:032x}", 8));
    let hex = "ab".repeat(20);
    bob.say(&format!("100 \"d\\Artist\\Some Song.mp3\" {seven} 5000 0 0 61")).await;
    bob.say(&format!("10300 \"d\\Film\\some film.avi\" 6000 {eight} video")).await;
    bob.say(&format!(
        "870 \"d\\Live\" \"some a.mp3\" {seven} 1 128 44100 61 \"some b.mp3\" {seven} 2 128 44100 61"
    ))
    .await;
    bob.say(&format!("100 \"btih-{hex}\\some disk.iso\" {seven} 9 0 0 0")).await;
    bob.say("750 ").await;
    bob.hears(&["750 gaggle "]).await;
    let row = |path: &str, hash: &str, rest: &str| {
        format!("201 \"{path}\" {hash} {rest} bob {HERE} 7 174")
    };
    let song = row("d\\Artist\\Some Song.mp3", &seven, "5000 8 16000 61");
    let film = row("d\\Film\\some film.avi", &eight, "6000 0 0 0");
    let a = row("d\\Live\\some a.mp3", &seven, "1 128 44100 61");
    let b = row("d\\Live\\some b.mp3", &seven, "2 128 44100 61");
    let disk = row(&format!("btih-{hex}\\some disk.iso"), &seven, "9 8 16000 0");
    let by_hash = format!("200 FILENAME CONTAINS \"{hex}\" TYPE ANY");
    for (search, rows) in [
        // Without a type mp3 is meant; the newest comes first.
        ("200 FILENAME CONTAINS \"SOME -disk\" MAX_RESULTS 10", vec![&b, &a, &song]),
        ("200 FILENAME CONTAINS \"some\" TYPE ANY", vec![&disk, &b, &a, &film, &song]),
        ("200 MAX_RESULTS 1 FILENAME CONTAINS \"some artist\"", vec![&song]),
        ("200 FILENAME CONTAINS \"some\" FILENAME EXCLUDES \"live disk\"", vec![&song]),
        ("200 FILENAME CONTAINS \"some\" SIZE \"EQUAL TO\" 2", vec![&b]),
        ("200 FILENAME CONTAINS \"some\" SIZE \"AT LEAST\" \"5001\" TYPE video", vec![&film]),
        ("200 FILENAME CONTAINS \"some\" LINESPEED \"AT LEAST\" 8 LOCAL", vec![]),
        (
            "200 FILENAME CONTAINS \"some\" BITRATE \"AT BEST\" 64 DURATION \"EQUAL TO\" 61",
            vec![&song],
        ),
        (&by_hash, vec![&disk]),
        ("200 FILENAME CONTAINS \"btih film\" TYPE ANY", vec![]),
    ] {
        eve.say(search).await;
        let mut want: Vec<&str> = rows.iter().map(|row| row.as_str()).collect();
        want.push("202 ");
        eve.hears(&want).await;
    }
    eve.say("200 WMA-FILE").await;
    eve.hears(&["404 invalid search request", "202 "]).await;
    eve.say("200 FILENAME CONTAINS \"--\"").await;
    eve.hears(&["404 search failed: request contained no valid words", "202 "]).await;
    bob.say("200 FILENAME CONTAINS \"some\" TYPE ANY").await;
    bob.hears(&["202 "]).await;
    eve.say(&format!("215 {eight} 6000")).await;
    let same = format!("216 bob {HERE} {port} \"d\\Film\\some film.avi\" {eight} 6000 7");
    eve.hears(&[&same, "217 "]).await;
    bob.say("102 d\\Live\\some a.mp3").await;
    bob.say("102 d\\Live\\some a.mp3").await;
    bob.hears(&["404 Not sharing that file"]).await;
    bob.say("110 ").await;
    bob.hears(&["110 4"]).await;
}

#[tokio::test]
async fn lists_questions_and_words_as_recorded() {
    let directory = directory(plain());
    let mut bob = Wire::login(directory.addr(), "bob", 6699).await;
    let mut eve = Wire::login(directory.addr(), "eve", 0).await;
    bob.say(&format!("100 \"b.mp3\" {NO_HASH} 2 128 44100 61")).await;
    bob.say(&format!("100 \"a.mp3\" {NO_HASH} 1 128 44100 61")).await;
    bob.say(&format!("100 \"a.mp3\" {NO_HASH} 1 128 44100 61")).await;
    let twice = bob.next().await;
    assert!(twice.starts_with("404 "), "{twice}");
    eve.say("211 bob").await;
    let rows = [1, 2].map(|n| {
        let name = ["a", "b"][n - 1];
        format!("212 bob \"{name}.mp3\" {NO_HASH} {n} 128 44100 61")
    });
    eve.hears(&[&rows[0], &rows[1], &format!("213 bob {HERE}")]).await;
    for (said, answers) in [
        ("211 ghost", &["210 ghost", "213 ghost"][..]),
        ("214 ", &["214 2 2 0"]),
        ("600 bob", &["601 bob 7"]),
        ("750 ", &["750 gaggle "]),
        ("10112 ", &["10112 "]),
        ("751 ghost", &["404 ping failed, ghost is not online"]),
        ("801 ", &["404 unknown command code 801"]),
        ("603 ghost", &["404 ghost is not online"]),
    ] {
        eve.say(said).await;
        eve.hears(answers).await;
    }
    eve.say("751 bob").await;
    bob.hears(&["751 eve"]).await;
    bob.say("752 eve").await;
    eve.hears(&["752 bob"]).await;
    eve.say("205 bob good morning").await;
    bob.hears(&["205 eve good morning"]).await;
    for counted in ["220 ", "218 ", "218 ", "219 ", "700 9"] {
        bob.say(counted).await;
    }
    bob.say("750 ").await;
    bob.hears(&["750 gaggle "]).await;
    eve.say("603 bob").await;
    let is = eve.next().await;
    let (head, rest) = is.split_once(" \"User\" ").unwrap();
    let (online, rest) = rest.split_once(' ').unwrap();
    assert_eq!((head, rest), ("604 bob", "\"\" \"Active\" 2 1 1 9 \"test 1\""));
    assert!(online.parse::<u32>().unwrap() < 60);
    // Directly: who cannot be reached is told where to connect.
    eve.say("640 bob").await;
    bob.hears(&["640 eve"]).await;
    bob.say("641 eve").await;
    eve.hears(&[&format!("641 bob {HERE} 6699")]).await;
    bob.say("640 eve").await;
    eve.hears(&[&format!("640 bob {HERE} 6699")]).await;
    eve.say("641 bob").await;
    bob.hears(&[&format!("641 eve {HERE} 0")]).await;
    eve.say("640 ghost").await;
    eve.hears(&["642 ghost \"not here\""]).await;
}

#[tokio::test]
async fn downloads_as_recorded() {
    let directory = directory(plain());
    let mut up = Wire::login(directory.addr(), "up", 6699).await;
    let mut down = Wire::login(directory.addr(), "down", 6698).await;
    up.say(&format!("100 \"d\\a b.mp3\" {NO_HASH} 5 128 44100 61")).await;
    up.say("750 ").await;
    up.hears(&["750 gaggle "]).await;
    down.say("203 up \"d\\a b.mp3\"").await;
    up.hears(&["607 down \"d\\a b.mp3\" 7"]).await;
    up.say("608 down \"d\\a b.mp3\"").await;
    down.hears(&[&format!("204 up {HERE} 6699 \"d\\a b.mp3\" {NO_HASH} 7")]).await;
    down.say("203 up \"d\\a b.mp3\"").await;
    up.hears(&["607 down \"d\\a b.mp3\" 7"]).await;
    up.say("619 down \"d\\a b.mp3\" 2").await;
    down.hears(&["620 up \"d\\a b.mp3\" 5 2"]).await;
    for said in ["203 ghost \"x\"", "203 up \"x\"", "500 ghost \"x\""] {
        down.say(said).await;
        down.hears(&[&format!("206 {}", &said[4..])]).await;
    }
    down.say("500 up \"d\\a b.mp3\"").await;
    down.hears(&["404 up is not firewalled"]).await;
    up.say("608 down \"d\\c.mp3\"").await;
    up.hears(&["404 Not sharing that file"]).await;
    down.say("626 up").await;
    up.hears(&["626 down"]).await;
}

#[tokio::test]
async fn who_is_firewalled_connects_himself() {
    let directory = directory(plain());
    let mut up = Wire::login(directory.addr(), "up", 0).await;
    let mut down = Wire::login(directory.addr(), "down", 6698).await;
    let mut walled = Wire::login(directory.addr(), "walled", 0).await;
    up.say(&format!("100 \"d\\a b.mp3\" {NO_HASH} 5 128 44100 61")).await;
    up.say("750 ").await;
    up.hears(&["750 gaggle "]).await;
    down.say("203 up \"d\\a b.mp3\"").await;
    down.hears(&[&format!("204 up {HERE} 0 \"d\\a b.mp3\" {NO_HASH} 7")]).await;
    down.say("500 up \"d\\a b.mp3\"").await;
    up.hears(&["607 down \"d\\a b.mp3\" 7"]).await;
    up.say("608 down \"d\\a b.mp3\"").await;
    up.hears(&[&format!("501 down {HERE} 6698 \"d\\a b.mp3\" {NO_HASH} 7")]).await;
    for said in ["203 up \"d\\a b.mp3\"", "500 up \"d\\a b.mp3\""] {
        walled.say(said).await;
        walled.hears(&[&format!("204 up {HERE} 0 \"d\\a b.mp3\" firewallerror 7")]).await;
    }
    // Two who cannot meet do not see each other's files.
    walled.say("200 FILENAME CONTAINS \"a b\"").await;
    walled.hears(&["202 "]).await;
    down.say("200 FILENAME CONTAINS \"a b\"").await;
    let row = down.next().await;
    assert!(row.starts_with("201 \"d\\a b.mp3\""), "{row}");
}

#[tokio::test]
async fn torrents_files_are_found_by_the_extension() {
    let directory = directory(Terms::default());
    let (_open, port) = port().await;
    let mut bob = Wire::login(directory.addr(), "bob", port).await;
    let mut eve = Wire::login(directory.addr(), "eve", 6699).await;
    let hex = "ab".repeat(20);
    bob.say(&format!("21335 \"btih-{hex}\\big film.mkv\" 5000000000 {hex} {NO_HASH}")).await;
    bob.say("750 ").await;
    bob.hears(&["750 gaggle "]).await;
    eve.say(&format!("21336 TYPE ANY BTIH \"{hex}\"")).await;
    let row =
        format!("21337 \"btih-{hex}\\big film.mkv\" 5000000000 {hex} 1 0 bob {HERE} {port} 7 174");
    eve.hears(&[&row, "202 "]).await;
    eve.say("200 FILENAME CONTAINS \"big film\" TYPE ANY").await;
    let row =
        format!("201 \"btih-{hex}\\big film.mkv\" {NO_HASH} 4294967295 0 0 0 bob {HERE} 7 174");
    eve.hears(&[&row, "202 "]).await;
}

#[tokio::test]
async fn a_users_port_is_tried_and_who_cannot_be_reached_comes_last() {
    let directory = directory(plain());
    let port = TcpListener::bind(here()).await.unwrap();
    let good = port.local_addr().unwrap().port();
    let closed = TcpListener::bind(here()).await.unwrap().local_addr().unwrap().port();
    let mut up = Wire::login(directory.addr(), "up", good).await;
    let mut probed = Wire::accept(&port).await;
    assert_eq!(probed.rest().await, b"", "nothing is said");
    let mut down = Wire::login(directory.addr(), "down", closed).await;
    for user in [&mut up, &mut down] {
        user.say(&format!("100 \"song.mp3\" {NO_HASH} 5 128 44100 61")).await;
    }
    let mut eve = Wire::login(directory.addr(), "eve", 0).await;
    // His port does not answer, which is found out beside all this.
    let want = format!("201 \"song.mp3\" {NO_HASH} 5 128 44100 61 down {HERE} 7 94");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        eve.say("200 FILENAME CONTAINS \"song\" SIZE \"EQUAL TO\" 5").await;
        let mut rows = Vec::new();
        while rows.last().is_none_or(|row| row != "202 ") {
            rows.push(eve.next().await);
        }
        if rows.len() == 3 && rows[1] == want {
            assert!(rows[0].ends_with(&format!(" up {HERE} 7 174")), "{}", rows[0]);
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(1100)).await; // sixty such searches a minute
    }
}
