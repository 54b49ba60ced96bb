//! What strangers may not cost, and may not make the server do.

use super::*;

#[test]
fn attack_45_connections_of_one_address_and_of_all() {
    let limits = Limits { connections: 15, ..Limits::default() };
    let mut scene = Scene::new(Config { limits, ..Config::default() });
    let first = scene.connect("10.0.0.1").unwrap();
    assert!((1..10).all(|_| scene.connect("10.0.0.1").is_ok()));
    assert_eq!(scene.connect("10.0.0.1"), Err(Unwelcome::Clones(10)));
    assert_eq!(scene.connect("::ffff:10.0.0.1"), Err(Unwelcome::Clones(10)));
    assert_eq!(scene.connect("2001:db8::1"), Err(Unwelcome::Family));
    scene.server.handle_closed(scene.now, first);
    assert!(scene.connect("10.0.0.1").is_ok());
    assert!((0..5).all(|n| scene.connect(&format!("10.0.1.{n}")).is_ok()));
    assert_eq!(scene.connect("10.0.2.1"), Err(Unwelcome::Full(15)));
    // Networks of one's own live on one machine.
    let mut scene = super::scene();
    assert!((0..50).all(|_| scene.connect("127.0.0.1").is_ok()));
    let limits = Limits { loopback_too: true, ..Limits::default() };
    let mut scene = Scene::new(Config { limits, ..Config::default() });
    assert!((0..10).all(|_| scene.connect("127.0.0.1").is_ok()));
    assert_eq!(scene.connect("127.0.0.1"), Err(Unwelcome::Clones(10)));
}

#[test]
fn attack_45_floods_of_searches_commands_and_greetings() {
    let mut scene = super::scene();
    let eve = scene.login("eve", "10.0.0.1", 6699);
    let refused = |scene: &mut Scene, text: &str, count: usize| {
        for _ in 0..count {
            scene.say(eve, 200, text);
            scene.now += Duration::from_millis(100);
        }
        scene
            .read(eve)
            .iter()
            .filter(|(kind, text)| *kind == 404 && text.contains("thrashing"))
            .count()
    };
    assert_eq!(refused(&mut scene, "FILENAME CONTAINS \"x\"", 30), 20);
    assert_eq!(refused(&mut scene, "FILENAME CONTAINS \"x\" SIZE \"EQUAL TO\" 5", 60), 0);
    assert!(refused(&mut scene, "FILENAME CONTAINS \"x\" LOCAL", 60) > 40);
    scene.wait(60);
    assert_eq!(refused(&mut scene, "FILENAME CONTAINS \"x\"", 1), 0);
    let hashes = (0..100).map(|_| {
        scene.say(eve, 215, format!("{} 5", hash(5)));
        scene.read(eve).len()
    });
    // Each ends in any case.
    assert!(hashes.last() == Some(2));
    for n in 0..1000 {
        assert!(n < 250 || !scene.server.connections.is_empty() || scene.closed(eve));
        scene.say(eve, 214, "");
    }
    assert!(scene.closed(eve));
    let knocking = scene.connect("10.0.0.2").unwrap();
    (0..11).for_each(|_| scene.say(knocking, 7, "bob"));
    assert!(scene.closed(knocking));
}

#[test]
fn attack_45_shares_without_end_and_with_strange_names() {
    let limits = Limits { files_per_user: 3, ..Limits::default() };
    let mut scene = Scene::new(Config { limits, ..Config::default() });
    let eve = scene.login("eve", "10.0.0.1", 6699);
    let share = |scene: &mut Scene, path: &str| {
        scene.say(eve, 100, format!("\"{path}\" {} 1 1 1 1", hash(1)));
        scene.read(eve).pop().map(|(_, text)| text)
    };
    for bad in ["", "a\nb", "a\0b", "\x1b[2J", &"x".repeat(256)] {
        assert_eq!(share(&mut scene, bad).as_deref(), Some("invalid file name"), "{bad:?}");
    }
    // Only who fetches it makes a file of a name: see `Hit::file_name`.
    assert_eq!(share(&mut scene, "..\\..\\etc\\passwd"), None);
    assert_eq!(share(&mut scene, &"x".repeat(255)), None);
    assert_eq!(share(&mut scene, &"x".repeat(255)).as_deref(), Some("duplicate file"));
    assert_eq!(share(&mut scene, "c"), None);
    assert_eq!(share(&mut scene, "d").as_deref(), Some("You may only share 3 files"));
    assert_eq!(scene.server.counters().files, 3);
}

#[test]
fn attack_45_who_does_not_read_is_sent_away() {
    let mut scene = super::scene();
    let bob = scene.login("bob", "10.0.0.1", 6699);
    let path = "x".repeat(200);
    (0..2000).for_each(|n| scene.share(bob, &format!("{path}{n:04}.mp3"), n));
    // A long list goes as fast as it is read, and no faster.
    let eve = scene.login("eve", "10.0.0.2", 6699);
    scene.say(eve, 211, "bob");
    assert_eq!(scene.read(eve).len(), 2001);
    let deaf = scene.login("deaf", "10.0.0.3", 6699);
    scene.deaf.insert(deaf);
    scene.say(deaf, 211, "bob");
    let rows = scene.read(deaf).len();
    assert!((100..200).contains(&rows), "{rows}");
    scene.say(deaf, 211, "bob");
    scene.hears(deaf, &["404 one list of files after another", "213 bob"]);
    assert!(!scene.closed(deaf));
    (0..5000).for_each(|_| scene.say(eve, 205, "deaf hello hello hello"));
    (0..400).for_each(|n| {
        scene.now += Duration::from_secs(60);
        scene.say(bob, 205, format!("deaf {n} {}", "x".repeat(1000)));
    });
    assert!(scene.closed(deaf));
    assert!(!scene.server.nicks.contains_key("deaf"));
}

#[test]
fn attack_45_who_asks_much_waits_for_himself() {
    let limits = Limits { searches_per_min: None, ..Limits::default() };
    let mut scene = Scene::new(Config { limits, ..Config::default() });
    let bob = scene.login("bob", "10.0.0.1", 6699);
    let path = "x ".repeat(120);
    (0..100).for_each(|n| scene.share(bob, &format!("{path}{n:04}.mp3"), n));
    let eve = scene.login("eve", "10.0.0.2", 6699);
    scene.deaf.insert(eve);
    let search = Frame::new(200, b"FILENAME CONTAINS \"x\"".to_vec()).encode();
    scene.server.handle_bytes(scene.now, eve, &search.repeat(20));
    scene.settle();
    // Two answers are on their way; he has asked for eighteen more, and is still there.
    assert!(scene.server.is_busy(eve) && !scene.closed(eve));
    assert_eq!(scene.read(eve).len(), 202);
    scene.deaf.remove(&eve);
    let mut rows = 0;
    while scene.server.is_busy(eve) {
        let unsent = scene.server.connections[&eve].unsent;
        scene.server.handle_sent(scene.now, eve, unsent);
        let before = scene.server.connections[&eve].out.len();
        assert!(before < scene.server.config.limits.unsent_bytes);
        scene.deaf.insert(eve);
        scene.settle();
        scene.deaf.remove(&eve);
        rows += scene.read(eve).len();
    }
    assert_eq!(rows, 18 * 101);
}

#[test]
fn passwords_that_others_can_read_are_not_taken() {
    let mut scene = super::scene();
    let why = "0 this server takes no passwords that others can read on the way";
    for (password, answer) in [
        ("secret", why),
        ("00112233445566778899AABBCCDDEEFF", why),
        ("00112233445566778899aabbccddeef", why),
        ("00112233445566778899aabbccddeeff", "3 anon@gaggle"),
    ] {
        let eve = scene.connect("10.0.0.2").unwrap();
        scene.say(eve, 6, format!("eve {password} 0 \"x\" 3 a@b"));
        let (kind, text) = scene.read(eve).remove(0);
        assert_eq!(format!("{kind} {text}"), answer, "{password}");
        if kind == 3 {
            scene.say(eve, 701, "secret");
            let heard = scene.read(eve);
            assert_eq!(heard.last().unwrap().1, why[2..]);
        }
    }
}

#[test]
fn attack_45_a_long_frame_ends_the_connection_without_a_word() {
    let mut scene = super::scene();
    let eve = scene.login("eve", "10.0.0.1", 6699);
    scene.say(eve, 205, "x".repeat(5000));
    scene.hears(eve, &[]);
    assert!(scene.closed(eve));
    let eve = scene.login("eve", "10.0.0.1", 6699);
    scene.say(eve, 999, "x".repeat(FRAME_MAX));
    assert!(!scene.closed(eve));
}

#[test]
fn attack_45_requests_that_nobody_answers() {
    let mut scene = super::scene();
    let bob = scene.login("bob", "10.0.0.1", 6699);
    (0..100).for_each(|n| scene.share(bob, &format!("{n}.mp3"), n));
    let eve = scene.login("eve", "10.0.0.2", 6699);
    for n in 0..100 {
        scene.say(eve, 203, format!("bob \"{n}.mp3\""));
    }
    let asked = scene.read(bob).iter().filter(|(kind, _)| *kind == 607).count();
    assert_eq!((asked, scene.read(eve).len()), (64, 36));
    // The same again counts once, and time makes room.
    scene.say(eve, 203, "bob \"0.mp3\"");
    scene.wait(60);
    assert_eq!(scene.server.user(eve).unwrap().waiting, 0);
    scene.read(bob);
    scene.read(eve);
    scene.say(eve, 203, "bob \"70.mp3\"");
    scene.hears(bob, &["607 eve \"70.mp3\" 7"]);
    // An answer to what was never asked tells nothing.
    scene.say(bob, 608, "eve \"1.mp3\"");
    scene.say(bob, 619, "eve \"1.mp3\" 5");
    scene.hears(eve, &[]);
}

#[test]
fn attack_45_no_bytes_are_too_strange() {
    let mut rng = Rng::seeded(9);
    let limits = Limits { commands_per_s: None, ..Limits::default() };
    let mut scene = Scene::new(Config { limits, ..Config::default() });
    let kinds = [
        100u16, 102, 110, 200, 203, 211, 214, 215, 500, 608, 609, 619, 626, 640, 641, 700, 703,
        752, 870,
    ];
    let kinds = [&kinds[..], &[10_300, 21_335, 21_336, 2, 7, 751, 603]].concat();
    let words = [
        "bob",
        "eve",
        "\"a b\"",
        "\"a",
        "7",
        "0",
        "4294967296",
        "-1",
        "FILENAME CONTAINS \"a\"",
        "\u{e4}",
    ];
    for round in 0..300 {
        let (bob, eve) = (scene.login("bob", "10.0.0.1", 0), scene.login("eve", "10.0.0.2", 1));
        for _ in 0..40 {
            let len = rng.index(9);
            let text: Vec<&str> = (0..len).map(|_| *rng.pick(&words).unwrap()).collect();
            let kind = *rng.pick(&kinds).unwrap();
            scene.say(if rng.below(2) == 0 { bob } else { eve }, kind, text.join(" "));
        }
        let mut noise = vec![0; 100];
        rng.fill(&mut noise);
        scene.server.handle_bytes(scene.now, bob, &noise);
        scene.wait(round % 100);
        [bob, eve].into_iter().for_each(|id| scene.server.handle_closed(scene.now, id));
        scene.settle();
        assert_eq!(scene.server.counters().users + scene.server.counters().files, 0);
        scene.wait(61);
        assert_eq!(scene.server.poll_timeout(), None);
    }
    assert!(scene.server.connections.is_empty() && scene.server.per_address.is_empty());
}
