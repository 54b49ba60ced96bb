//! Whole dialogues with the server, word by word as they were recorded with OpenNap-NG, and what strangers may not do.

mod attacks;
mod health;
mod lists;

use super::*;
use std::time::Duration;

fn at(s: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(s)
}

/// A server, and what each of its clients has read.
struct Scene {
    now: Instant,
    server: Directory,
    decoders: BTreeMap<UserId, FrameDecoder>,
    heard: BTreeMap<UserId, VecDeque<(u16, String)>>,
    events: Vec<Event>,
    /// Bytes that a client does not take.
    deaf: BTreeSet<UserId>,
}

impl Scene {
    fn new(config: Config) -> Self {
        Self {
            now: at(0),
            server: Directory::new(at(0), config, [], Rng::seeded(1)),
            decoders: BTreeMap::new(),
            heard: BTreeMap::new(),
            events: Vec::new(),
            deaf: BTreeSet::new(),
        }
    }

    fn connect(&mut self, from: &str) -> Result<UserId, Unwelcome> {
        let id = self.server.handle_connect(self.now, from.parse().unwrap())?;
        self.decoders.insert(id, FrameDecoder::new(usize::MAX));
        Ok(id)
    }

    /// Sends a frame, and lets everybody read what comes of it.
    fn say(&mut self, id: UserId, kind: u16, text: impl AsRef<[u8]>) {
        let frame = Frame::new(kind, text.as_ref().to_vec());
        self.server.handle_bytes(self.now, id, &frame.encode());
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((id, bytes)) = self.server.poll_transmit() {
            let decoder = self.decoders.get_mut(&id).unwrap();
            decoder.push(&bytes);
            while let Ok(Some(frame)) = decoder.next_frame() {
                let text = String::from_utf8_lossy(&frame.data).into_owned();
                self.heard.entry(id).or_default().push_back((frame.kind, text));
            }
            if !self.deaf.contains(&id) {
                self.server.handle_sent(self.now, id, bytes.len());
            }
        }
        while let Some(event) = self.server.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets time pass, from deadline to deadline.
    fn wait(&mut self, s: u64) {
        let end = self.now + Duration::from_secs(s);
        while let Some(next) = self.server.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn read(&mut self, id: UserId) -> Vec<(u16, String)> {
        self.heard.remove(&id).unwrap_or_default().into()
    }

    /// What somebody has heard since the last time, as lines.
    #[track_caller]
    fn hears(&mut self, id: UserId, want: &[&str]) {
        let heard = self.read(id);
        let lines: Vec<String> =
            heard.iter().map(|(kind, text)| format!("{kind} {text}")).collect();
        assert_eq!(lines, want);
    }

    fn closed(&mut self, id: UserId) -> bool {
        self.events.contains(&Event::Close(id))
    }

    /// Somebody who is in, and has read the greeting.
    fn login(&mut self, nick: &str, from: &str, port: u16) -> UserId {
        let id = self.connect(from).unwrap();
        self.say(id, 2, format!("{nick} pw {port} \"test 1\" 7"));
        let greeting = self.read(id);
        assert_eq!(greeting[0], (3, "anon@gaggle".into()), "{greeting:?}");
        self.say(id, 752, "gaggle");
        id
    }

    fn share(&mut self, id: UserId, path: &str, size: u32) {
        self.say(id, 100, format!("\"{path}\" {} {size} 128 44100 61", hash(size)));
        assert_eq!(self.read(id), []);
    }
}

fn scene() -> Scene {
    Scene::new(Config { swarm_extension: false, ..Config::default() })
}

fn hash(tag: u32) -> String {
    format!("{tag:032x}")
}

/// 10.0.0.x as messages have it.
fn ip(last: u32) -> u32 {
    10 | last << 24
}

#[test]
fn the_greeting_comes_in_the_recorded_order() {
    let motd = (0..30).map(|n| format!("line {n}")).collect();
    let mut scene = Scene::new(Config { motd, ..Config::default() });
    let bob = scene.connect("10.0.0.1").unwrap();
    scene.say(bob, 920, "1");
    scene.say(bob, 7, "bob");
    scene.say(bob, 7, "b ob%");
    scene.say(bob, 7, "bob%");
    scene.say(bob, 4, "2.0");
    scene.say(bob, 14, "\"John\"");
    scene.hears(bob, &["8 ", "8 ", "10 Invalid nick", "4 "]);
    scene.say(bob, 2, "bob pw 6699 \"nap v0.8 and a name that is too long for it\" 3");
    let heard = scene.read(bob);
    let kinds: Vec<u16> = heard.iter().map(|(kind, _)| *kind).collect();
    let want = [&[3][..], &[621; MOTD_MAX], &[214, 751]].concat();
    assert_eq!(kinds, want);
    assert!(heard[1].1.starts_with("VERSION gaggle "));
    assert_eq!(heard[2].1, "SERVER gaggle");
    assert_eq!(heard[3].1, "SWARM-EXT 1 btih");
    assert_eq!(heard[4].1, "line 0");
    assert_eq!(heard[21], (214, "1 0 0".into()));
    assert_eq!(heard[22], (751, "gaggle".into()));
    assert_eq!(scene.events, [Event::Probe(bob, "10.0.0.1:6699".parse().unwrap())]);
    let eve = scene.connect("10.0.0.2").unwrap();
    scene.say(eve, 7, "BOB");
    scene.hears(eve, &["9 "]);
    scene.say(bob, 603, "BoB");
    scene.hears(
        bob,
        &["604 bob \"User\" 0 \"\" \"Active\" 0 0 0 3 \"nap v0.8 and a name that is too \""],
    );
}

#[test]
fn who_is_not_let_in() {
    let mut scene = scene();
    let bob = scene.login("bob", "10.0.0.1", 6699);
    for (kind, text, answer) in [
        (2, "bob pw 6699 \"x\" 3", "0 bob is already active"),
        (2, "ev?e pw 6699 \"x\" 3", "10 Invalid nick: ev?e"),
        (2, "gaggle pw 6699 \"x\" 3", "10 Invalid nick: gaggle"),
        (2, "OperServ pw 6699 \"x\" 3", "10 Invalid nick: OperServ"),
        (2, "a-name-of-twenty-byt pw 6699 \"x\" 3", "10 Invalid nick: a-name-of-twenty-byt"),
        (2, "eve pw 6699 \"x\" 11", "0 Invalid link speed"),
        (2, "eve pw", "0 invalid command"),
        (2, "eve pw 70000 \"x\" 3", "0 invalid command"),
        (200, "FILENAME CONTAINS \"x\"", "0 invalid command"),
        (11, "bob pw", "0 Invalid Password"),
        (9999, "", "0 invalid command"),
    ] {
        let eve = scene.connect("10.0.0.2").unwrap();
        scene.say(eve, kind, text);
        scene.hears(eve, &[answer]);
        assert!(scene.closed(eve), "{text}");
        scene.say(eve, 2, "eve pw 6699 \"x\" 3");
        scene.hears(eve, &[]);
    }
    let eve = scene.connect("10.0.0.2").unwrap();
    scene.wait(59);
    assert!(!scene.closed(eve));
    scene.wait(1);
    assert!(scene.closed(eve));
    assert_eq!(scene.server.connections.len(), 1);
    scene.server.handle_closed(scene.now, bob);
    assert_eq!((scene.server.counters().users, scene.server.deadlines.len()), (0, 0));
}

#[test]
fn a_registered_name_needs_its_password_and_takes_over() {
    let mut scene = Scene::new(Config { legacy: true, ..Config::default() });
    let bob = scene.connect("10.0.0.1").unwrap();
    scene.say(bob, 6, "bob secret 0 \"x\" 3 a@b");
    assert_eq!(scene.read(bob)[0].0, 3);
    let Some(Event::Account(nick, account)) = scene.events.pop() else { panic!() };
    assert_eq!(nick.as_str(), "bob");
    let thief = scene.connect("10.0.0.2").unwrap();
    scene.say(thief, 2, "BOB guess 0 \"x\" 3");
    scene.hears(thief, &["0 Invalid Password"]);
    let thief = scene.connect("10.0.0.2").unwrap();
    scene.say(thief, 6, "bob secret 0 \"x\" 3 a@b");
    scene.hears(thief, &["0 Invalid Password"]);
    let again = scene.connect("10.0.0.3").unwrap();
    scene.say(again, 11, "bob secret");
    scene.say(again, 2, "bob secret 0 \"x\" 3");
    assert_eq!(scene.read(again)[..2], [(12, String::new()), (3, "anon@gaggle".into())]);
    scene.hears(bob, &["748 "]);
    assert!(scene.closed(bob));
    scene.say(again, 701, "other");
    // The next start knows the name; when he was here is told.
    scene.now = at(100);
    scene.server.handle_closed(scene.now, again);
    scene.settle();
    let Some(Event::Account(_, latest)) = scene.events.pop() else { panic!() };
    assert!(latest.hash != account.hash && latest.last_seen_s == 100);
    let config = Config { origin_unix_s: 1_000, ..Config::default() };
    let known = [(nick, latest)];
    scene.server = Directory::new(at(0), config, known, Rng::seeded(2));
    let eve = scene.login("eve", "10.0.0.4", 0);
    scene.say(eve, 603, "BOB");
    scene.hears(eve, &["605 bob \"User\" 100"]);
    scene.say(eve, 603, "nobody");
    scene.hears(eve, &["404 nobody is not online"]);
    scene.say(eve, 701, "mine");
    scene.hears(eve, &["404 that name is not registered"]);
}

#[test]
fn shares_and_searches_as_recorded() {
    let mut scene = scene();
    let bob = scene.login("bob", "10.0.0.1", 6699);
    let eve = scene.login("eve", "10.0.0.2", 6699);
    scene.say(bob, 100, format!("\"d\\Artist\\Some Song.mp3\" {} 5000 0 0 61", hash(7)));
    scene.say(bob, 10_300, format!("\"d\\Film\\some film.avi\" 6000 {} video", hash(8)));
    let two = format!(
        "\"d\\Live\" \"some a.mp3\" {0} 1 128 44100 61 \"some b.mp3\" {0} 2 128 44100 61",
        hash(9)
    );
    scene.say(bob, 870, two);
    scene.hears(bob, &[]);
    let row = |path: &str, hash_of: u32, rest: &str| {
        format!("201 \"{path}\" {} {rest} bob {} 7 214", hash(hash_of), ip(1))
    };
    let song = row("d\\Artist\\Some Song.mp3", 7, "5000 8 16000 61");
    let film = row("d\\Film\\some film.avi", 8, "6000 0 0 0");
    let (a, b) = (
        row("d\\Live\\some a.mp3", 9, "1 128 44100 61"),
        row("d\\Live\\some b.mp3", 9, "2 128 44100 61"),
    );
    let find = |scene: &mut Scene, clauses: &str, want: &[&String]| {
        scene.say(eve, 200, clauses);
        let mut want: Vec<&str> = want.iter().map(|row| row.as_str()).collect();
        want.push("202 ");
        scene.hears(eve, &want);
    };
    // Without a type mp3 is meant; the newest comes first.
    find(&mut scene, "FILENAME CONTAINS \"SOME\" MAX_RESULTS 10", &[&b, &a, &song]);
    find(&mut scene, "FILENAME CONTAINS \"some\" TYPE ANY", &[&b, &a, &film, &song]);
    find(&mut scene, "FILENAME CONTAINS \"some\" TYPE video", &[&film]);
    find(&mut scene, "FILENAME CONTAINS \"some artist\"", &[&song]);
    find(&mut scene, "FILENAME CONTAINS \"some -artist\" MAX_RESULTS 1", &[&b]);
    find(&mut scene, "FILENAME CONTAINS \"some\" FILENAME EXCLUDES \"live\"", &[&song]);
    find(&mut scene, "FILENAME CONTAINS \"mp3\"", &[]);
    find(&mut scene, "FILENAME CONTAINS \"d\"", &[]);
    find(&mut scene, "FILENAME CONTAINS \"some\" SIZE \"EQUAL TO\" 2", &[&b]);
    find(&mut scene, "FILENAME CONTAINS \"some\" LINESPEED \"AT LEAST\" 8 LOCAL", &[]);
    find(&mut scene, "FILENAME CONTAINS \"some\" BITRATE \"AT BEST\" \"64\" LOCAL", &[&song]);
    scene.wait(60);
    scene.read(eve);
    let errors = [
        ("WMA-FILE", "404 invalid search request"),
        ("FILENAME CONTAINS \"---\"", "404 search failed: request contained no valid words"),
    ];
    for (clauses, error) in errors {
        scene.say(eve, 200, clauses);
        scene.hears(eve, &[error, "202 "]);
    }
    // Nobody is told of his own files.
    scene.say(bob, 200, "FILENAME CONTAINS \"some\"");
    assert_eq!(scene.read(bob).pop(), Some((202, String::new())));
    scene.say(eve, 215, format!("{} 6000", hash(8)));
    let resume = format!("216 bob {} 6699 \"d\\Film\\some film.avi\" {} 6000 7", ip(1), hash(8));
    scene.hears(eve, &[&resume, "217 "]);
    scene.say(eve, 215, format!("{} 6001", hash(8)));
    scene.hears(eve, &["217 "]);
    scene.say(bob, 102, "d\\Live\\some a.mp3");
    scene.say(bob, 102, "d\\Live\\some a.mp3");
    scene.hears(bob, &["404 Not sharing that file"]);
    scene.say(bob, 110, "");
    scene.hears(bob, &["110 3"]);
    assert_eq!(scene.server.counters().files, 0);
}

#[test]
fn lists_and_what_else_is_known_of_a_user() {
    let mut scene = scene();
    let bob = scene.login("bob", "10.0.0.1", 6699);
    let eve = scene.login("eve", "10.0.0.2", 0);
    scene.share(bob, "b.mp3", 2);
    scene.share(bob, "a.mp3", 1);
    let row = |path: &str, n| format!("212 bob \"{path}\" {} {n} 128 44100 61", hash(n));
    let end = format!("213 bob {}", ip(1));
    scene.say(eve, 211, "bob");
    scene.hears(eve, &[&row("a.mp3", 1), &row("b.mp3", 2), &end]);
    scene.say(eve, 211, "BOB 1");
    scene.hears(eve, &[&row("a.mp3", 1).replace("bob", "BOB"), &end.replace("bob", "BOB")]);
    scene.say(eve, 211, "ghost");
    scene.hears(eve, &["210 ghost", "213 ghost"]);
    scene.say(eve, 600, "bob");
    scene.say(eve, 214, "");
    scene.say(eve, 750, "");
    scene.say(eve, 10_112, "");
    scene.say(eve, 751, "bob");
    scene.say(bob, 752, "eve");
    scene.say(eve, 751, "ghost");
    scene.say(eve, 205, "bob good morning");
    scene.say(eve, 999, "x");
    scene.say(eve, 801, "");
    scene.hears(
        eve,
        &[
            "601 bob 7",
            "214 2 2 0",
            "750 gaggle ",
            "10112 ",
            "752 bob",
            "404 ping failed, ghost is not online",
            "404 unknown command code 999",
            "404 unknown command code 801",
        ],
    );
    scene.hears(bob, &["751 eve", "205 eve good morning"]);
    scene.say(bob, 220, "");
    scene.say(bob, 218, "");
    scene.say(bob, 218, "");
    scene.say(bob, 219, "");
    scene.say(bob, 700, "9");
    scene.say(bob, 700, "11");
    scene.say(eve, 603, "bob");
    scene.hears(eve, &["604 bob \"User\" 0 \"\" \"Active\" 2 1 1 9 \"test 1\""]);
    scene.hears(bob, &["404 Invalid link speed"]);
    // Directly: who cannot be reached is told where to connect.
    scene.say(eve, 640, "bob");
    scene.hears(bob, &["640 eve"]);
    scene.say(bob, 641, "eve");
    scene.hears(eve, &[&format!("641 bob {} 6699", ip(1))]);
    scene.say(bob, 641, "eve");
    scene.hears(eve, &[]);
    scene.say(bob, 640, "eve");
    scene.hears(eve, &[&format!("640 bob {} 6699", ip(1))]);
    scene.say(eve, 641, "bob");
    scene.hears(bob, &[&format!("641 eve {} 0", ip(2))]);
    scene.say(eve, 640, "ghost");
    scene.hears(eve, &["642 ghost \"not here\""]);
    scene.say(bob, 703, "0");
    scene.say(bob, 640, "eve");
    scene.hears(bob, &["642 eve \"neither of you can be reached\""]);
}

#[test]
fn downloads_as_recorded() {
    let mut scene = scene();
    let up = scene.login("up", "10.0.0.1", 6699);
    let down = scene.login("down", "10.0.0.2", 6698);
    scene.share(up, "d\\a b.mp3", 5);
    let ask = |scene: &mut Scene| {
        scene.say(down, 203, "up \"d\\a b.mp3\"");
        scene.hears(up, &["607 down \"d\\a b.mp3\" 7"]);
    };
    ask(&mut scene);
    scene.hears(down, &[]);
    scene.say(up, 608, "down \"d\\a b.mp3\"");
    scene.hears(down, &[&format!("204 up {} 6699 \"d\\a b.mp3\" {} 7", ip(1), hash(5))]);
    // Once.
    scene.say(up, 608, "down \"d\\a b.mp3\"");
    scene.hears(up, &["404 down has not asked for that file"]);
    ask(&mut scene);
    scene.say(up, 619, "down \"d\\a b.mp3\" 2");
    scene.hears(down, &["620 up \"d\\a b.mp3\" 5 2"]);
    ask(&mut scene);
    scene.say(up, 609, "down \"d\\a b.mp3\"");
    scene.say(up, 608, "down \"d\\a b.mp3\"");
    scene.hears(down, &[]);
    scene.read(up);
    ask(&mut scene);
    scene.wait(60);
    scene.read(down);
    scene.read(up);
    scene.say(up, 608, "down \"d\\a b.mp3\"");
    scene.hears(down, &[]);
    scene.hears(up, &["404 down has not asked for that file"]);
    assert_eq!(scene.server.user(down).unwrap().waiting, 0);
    scene.say(up, 608, "down \"d\\c.mp3\"");
    scene.hears(up, &["404 Not sharing that file"]);
    for (kind, text) in
        [(203, "ghost \"x\""), (203, "up \"x\""), (203, "down \"x\""), (500, "ghost \"x\"")]
    {
        scene.say(down, kind, text);
        scene.hears(down, &[&format!("206 {text}")]);
    }
    scene.say(down, 500, "up \"d\\a b.mp3\"");
    scene.hears(down, &["404 up is not firewalled"]);
    scene.say(down, 626, "up");
    scene.hears(up, &["626 down"]);
    scene.say(down, 626, "ghost");
    scene.hears(down, &["210 ghost"]);
}

#[test]
fn who_is_firewalled_connects_himself() {
    let mut scene = scene();
    let up = scene.login("up", "10.0.0.1", 0);
    let down = scene.login("down", "10.0.0.2", 6698);
    let walled = scene.login("walled", "10.0.0.3", 0);
    scene.share(up, "d\\a b.mp3", 5);
    scene.say(down, 203, "up \"d\\a b.mp3\"");
    scene.hears(down, &[&format!("204 up {} 0 \"d\\a b.mp3\" {} 7", ip(1), hash(0))]);
    scene.say(down, 500, "up \"d\\a b.mp3\"");
    scene.hears(up, &["607 down \"d\\a b.mp3\" 7"]);
    scene.say(up, 608, "down \"d\\a b.mp3\"");
    scene.hears(up, &[&format!("501 down {} 6698 \"d\\a b.mp3\" {} 7", ip(2), hash(5))]);
    scene.hears(down, &[]);
    for kind in [203, 500] {
        scene.say(walled, kind, "up \"d\\a b.mp3\"");
        scene.hears(walled, &[&format!("204 up {} 0 \"d\\a b.mp3\" firewallerror 7", ip(1))]);
    }
    scene.hears(up, &[]);
    // Two who cannot meet do not see each other's files.
    scene.say(walled, 200, "FILENAME CONTAINS \"a b\"");
    scene.hears(walled, &["202 "]);
    scene.say(down, 200, "FILENAME CONTAINS \"a b\"");
    assert_eq!(scene.read(down).len(), 2);
}

#[test]
fn torrents_files_are_found_by_their_hash() {
    let mut scene = Scene::new(Config::default());
    let bob = scene.login("bob", "10.0.0.1", 6699);
    let old = scene.login("old", "10.0.0.2", 6699);
    let eve = scene.login("eve", "10.0.0.3", 6699);
    let hex = "ab".repeat(20);
    scene.say(bob, 21_335, format!("\"btih-{hex}\\big film.mkv\" 5000000000 {hex} {}", hash(0)));
    scene.share(old, &format!("btih-{hex}\\other film.mkv"), 7);
    scene.share(old, "no\\film.mkv", 8);
    scene.say(eve, 21_336, format!("TYPE ANY BTIH \"{hex}\""));
    let row = |path: &str, size: u64, nick, last| {
        format!(
            "21337 \"btih-{hex}\\{path} film.mkv\" {size} {hex} 2 0 {nick} {} 6699 7 214",
            ip(last)
        )
    };
    let (big, other) = (row("big", 5_000_000_000, "bob", 1), row("other", 7, "old", 2));
    scene.hears(eve, &[&other, &big, "202 "]);
    scene.say(eve, 21_336, "FILENAME CONTAINS \"film\" TYPE ANY");
    scene.hears(eve, &[&other, &big, "202 "]);
    // Everybody else finds the same by words; a size that has no place there is the largest.
    scene.say(eve, 200, format!("FILENAME CONTAINS \"{hex} big\" TYPE ANY"));
    let row = format!(
        "201 \"btih-{hex}\\big film.mkv\" {} 4294967295 0 0 0 bob {} 7 214",
        hash(0),
        ip(1)
    );
    scene.hears(eve, &[&row, "202 "]);
    let mut plain = self::scene();
    let bob = plain.login("bob", "10.0.0.1", 6699);
    plain.say(bob, 21_336, "FILENAME CONTAINS \"film\"");
    plain.hears(bob, &["404 Unknown command code 21336"]);
}

#[test]
fn good_sources_come_first_and_bad_ones_go() {
    let mut scene = scene();
    let far = scene.login("far", "20.0.0.1", 6699);
    scene.share(far, "song.mp3", 1);
    let near = scene.login("near", "10.0.0.1", 6699);
    scene.share(near, "song.mp3", 1);
    let found = |scene: &mut Scene, who| -> Vec<String> {
        scene.read(who);
        scene.say(who, 200, "FILENAME CONTAINS \"song\" SIZE \"EQUAL TO\" 1");
        let rows = scene.read(who);
        rows.iter()
            .filter(|row| row.0 == 201)
            .map(|row| row.1.rsplit(' ').nth(3).unwrap().into())
            .collect()
    };
    let users: Vec<UserId> =
        (2..5).map(|n| scene.login(&format!("u{n}"), &format!("10.0.0.{n}"), 6699)).collect();
    assert_eq!(found(&mut scene, users[0]), ["near", "far"]);
    scene.say(near, 619, "u2 \"song.mp3\" 3");
    assert_eq!(found(&mut scene, users[0]), ["near", "far"], "nobody had asked");
    scene.say(users[0], 203, "near \"song.mp3\"");
    scene.say(near, 619, "u2 \"song.mp3\" 3");
    assert_eq!(found(&mut scene, users[0]), ["far", "near"]);
    scene.wait(61);
    // Who was never sent there cannot complain.
    (0..3).for_each(|n| scene.say(users[n], 626, "near"));
    assert_eq!(found(&mut scene, users[0]), ["near", "far"]);
    for &user in &users {
        assert_eq!(found(&mut scene, users[0]).len(), 2);
        scene.say(user, 203, "near \"song.mp3\"");
        let nick = scene.server.user(user).unwrap().nick.to_string();
        scene.say(near, 608, format!("{nick} \"song.mp3\""));
        scene.say(user, 626, "near");
    }
    assert_eq!(found(&mut scene, users[0]), ["far"]);
    // A transfer that went well, he says: his port is tried again.
    scene.events.clear();
    scene.say(near, 220, "");
    scene.say(near, 221, "");
    assert_eq!(scene.events, [Event::Probe(near, "10.0.0.1:6699".parse().unwrap())]);
    scene.server.handle_probed(scene.now, near, true);
    assert_eq!(found(&mut scene, users[0]), ["near", "far"]);
    scene.server.handle_probed(scene.now, near, false);
    assert_eq!(found(&mut scene, users[0]), ["far", "near"]);
}

#[test]
fn who_is_silent_is_asked_hidden_and_sent_away() {
    let mut scene = scene();
    let bob = scene.login("bob", "10.0.0.1", 6699);
    scene.share(bob, "song.mp3", 1);
    let eve = scene.login("eve", "10.0.0.2", 6699);
    let found = |scene: &mut Scene| {
        scene.read(eve);
        scene.say(eve, 200, "FILENAME CONTAINS \"song\" LOCAL");
        scene.read(eve).len() - 1
    };
    scene.wait(599);
    let asked = |scene: &mut Scene| scene.read(bob).iter().filter(|(kind, _)| *kind == 751).count();
    assert_eq!((asked(&mut scene), found(&mut scene)), (0, 1));
    scene.wait(2);
    assert_eq!((asked(&mut scene), found(&mut scene)), (1, 1));
    scene.wait(90);
    assert_eq!((asked(&mut scene), found(&mut scene)), (1, 0));
    scene.say(bob, 752, "gaggle");
    assert_eq!(found(&mut scene), 1);
    scene.wait(605);
    assert_eq!((asked(&mut scene), found(&mut scene)), (1, 1));
    scene.wait(180);
    assert!(scene.closed(bob) && !scene.closed(eve));
    assert_eq!((scene.read(bob).pop(), found(&mut scene)), (Some((316, "0".into())), 0));
    scene.wait(61);
    assert!(scene.read(eve).contains(&(214, "1 0 0".into())));
}
