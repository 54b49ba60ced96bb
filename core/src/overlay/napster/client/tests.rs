//! The client against words of a server, one by one, and against our own server.

mod anew;
mod bounds;

use super::give::PARTS_MAX;
use super::search::{HITS_MAX, SEARCH_WAIT, SEARCHES_MAX};
use super::take::DOWNLOADS_MAX;
use super::*;
use crate::id::InfoHash;
use crate::overlay::napster::{Directory, DirectoryConfig, UserId};
use crate::proto::napster::{FileHash, Frame, Query, Row, btih_path};
use crate::rng::Rng;

fn at(s: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(s)
}

fn nick(name: &str) -> Nick {
    Nick::new(name.as_bytes()).unwrap()
}

fn config(name: &str, port: u16) -> Config {
    Config {
        server: "server:8888".into(),
        nick: nick(name),
        password: Password::None,
        register: false,
        port,
        speed: 7,
        places: 2,
        browsable: true,
        searches_per_min: 10,
        pings: 0,
    }
}

fn file(path: &str, size: u32) -> File {
    let hash = FileHash::new(b"00112233445566778899aabbccddeeff");
    File { path: path.into(), hash, size, bitrate: 128, frequency: 44_100, seconds: 61 }
}

fn shareable(path: &str, size: u32) -> Shareable {
    Shareable { file: file(path, size), size: size.into(), btih: None }
}

/// A client, and a server that says what the test wants.
struct Scene {
    now: Instant,
    client: Client,
    decoder: FrameDecoder,
}

impl Scene {
    fn new(config: Config, server: &str) -> Self {
        let mut client = Client::new(config);
        client.handle_connected(at(0), server.parse().unwrap());
        Self { now: at(0), client, decoder: FrameDecoder::new(FRAME_IN_MAX) }
    }

    fn inside(config: Config) -> Self {
        let mut scene = Self::new(config, "10.0.0.9");
        scene.says();
        scene.hears(3, "anon@x");
        assert_eq!(scene.events(), [Event::LoggedIn]);
        scene
    }

    fn hears(&mut self, kind: u16, text: &str) {
        let frame = Frame::new(kind, text.as_bytes().to_vec());
        self.client.handle_bytes(self.now, &frame.encode());
    }

    fn says(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(bytes) = self.client.poll_transmit() {
            self.decoder.push(&bytes);
            while let Some(frame) = self.decoder.next_frame().unwrap() {
                said.push(format!("{} {}", frame.kind, String::from_utf8_lossy(&frame.data)));
            }
        }
        said
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn wait(&mut self, s: u64) {
        let end = self.now + Duration::from_secs(s);
        while let Some(next) = self.client.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
        }
        self.now = end;
    }
}

const PROGRAM: &str = concat!("gaggle ", env!("CARGO_PKG_VERSION"));

#[test]
fn no_password_travels_as_it_is_unless_told_so() {
    let login = |password, register| {
        let mut scene =
            Scene::new(Config { password, register, ..config("bob", 6699) }, "10.0.0.9");
        scene.says().remove(0)
    };
    assert_eq!(login(Password::None, false), format!("2 bob - 6699 \"{PROGRAM}\" 7"));
    let clear = Password::Legacy("secret".into());
    assert_eq!(login(clear, true), format!("6 bob secret 6699 \"{PROGRAM}\" 7 anon@localhost"));
    let hashed = login(Password::Secret("secret".into()), false);
    let hash = hashed.split(' ').nth(2).unwrap();
    assert!(hash.len() == 32 && !hashed.contains("secret"));
    assert_eq!(login(Password::Secret("secret".into()), false), hashed);
    assert_ne!(login(Password::Secret("other".into()), false), hashed);
}

#[test]
fn a_login_that_fails_and_servers_that_want_more_than_they_may() {
    let closed = |kind, text: &str| {
        let mut scene = Scene::new(config("bob", 6699), "10.0.0.9");
        scene.hears(5, "");
        scene.hears(821, "10.0.0.8 8888");
        scene.hears(822, "meta");
        assert_eq!(scene.events(), []);
        scene.hears(kind, text);
        let events = scene.events();
        assert!(!scene.client.is_in() && scene.client.poll_timeout().is_none());
        match events.as_slice() {
            [Event::Closed(why)] => why.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(closed(0, "Invalid Password"), Refused::Login("Invalid Password".into()));
    assert_eq!(closed(10, "Invalid nick"), Refused::Nick("Invalid nick".into()));
    let mut silent = Scene::new(config("bob", 6699), "10.0.0.9");
    silent.wait(60);
    assert_eq!(silent.events(), [Event::Closed(Refused::Silent)]);
    let mut scene = Scene::inside(config("bob", 6699));
    scene.hears(821, "10.0.0.8 8888");
    scene.hears(5, "");
    scene.hears(9999, "what");
    scene.hears(201, "nonsense");
    assert_eq!((scene.events(), scene.says()), (vec![], vec![]));
    scene.hears(748, "");
    assert_eq!(scene.events(), [Event::Closed(Refused::Ghost)]);
    let mut scene = Scene::inside(config("bob", 6699));
    scene.client.handle_bytes(at(0), &[255, 255, 0, 0]);
    assert!(matches!(scene.events()[..], [Event::Closed(Refused::Protocol(_))]));
}

#[test]
fn a_silent_server_is_asked_and_given_up() {
    let mut scene = Scene::inside(config("bob", 6699));
    scene.hears(751, "server");
    assert_eq!(scene.says(), ["752 server"]);
    scene.wait(299);
    assert_eq!(scene.says(), Vec::<String>::new());
    scene.wait(1);
    assert_eq!(scene.says(), ["750 "]);
    scene.hears(750, "server ");
    scene.wait(330);
    assert_eq!(scene.events(), [Event::Closed(Refused::Silent)]);
}

fn row(path: &str, size: u32, name: &str, ip: [u8; 4]) -> Row {
    Row { file: file(path, size), nick: nick(name), ip: ip.into(), speed: 7, weight: 3 }
}

impl Scene {
    fn row(&mut self, row: Row) {
        let frame = ToClient::Row(row).frame();
        self.client.handle_bytes(self.now, &frame.encode());
    }
}

#[test]
fn one_search_after_another_with_an_old_server() {
    let mut scene = Scene::inside(config("bob", 6699));
    let mut query = Query::for_words("some song -live");
    query.max_results = 20;
    let first = scene.client.search(scene.now, query);
    let second = scene.client.search(scene.now, Query::for_words("other"));
    let said =
        "200 FILENAME CONTAINS \"some song\" FILENAME EXCLUDES \"live\" MAX_RESULTS 20 TYPE ANY";
    assert_eq!(scene.says(), [said]);
    scene.hears(404, "invalid search request");
    scene.hears(202, "");
    assert_eq!(scene.says(), ["200 FILENAME CONTAINS \"some song\" MAX_RESULTS 20"]);
    scene.row(row("x\\some song.mp3", 5, "eve", [10, 0, 0, 1]));
    scene.row(row("x\\some song LIVE.mp3", 5, "eve", [10, 0, 0, 1]));
    scene.hears(202, "");
    let events = scene.events();
    let [Event::Hit(id, hit), Event::SearchEnded(ended, SearchEnd::Done)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*id, *ended, hit.size, hit.weight), (first, first, Some(5), 3));
    assert_eq!(scene.says(), ["200 FILENAME CONTAINS \"other\" TYPE ANY"]);
    scene.hears(404, "search failed: request contained no valid words");
    scene.hears(202, "");
    let why = "search failed: request contained no valid words".into();
    assert_eq!(scene.events(), [Event::SearchEnded(second, SearchEnd::Refused(why))]);
    // Of all refusals only this one is all that comes.
    let third = scene.client.search(scene.now, Query::for_words("third"));
    scene.hears(404, "search failed: too many pending searches");
    assert!(
        matches!(scene.events()[..], [Event::SearchEnded(id, SearchEnd::Refused(_))] if id == third)
    );
    // Ten a minute; the others wait.
    scene.says();
    let mut sent = 0;
    for _ in 0..SEARCHES_MAX {
        scene.client.search(scene.now, Query::for_words("more"));
        sent += scene.says().len();
        scene.hears(202, "");
    }
    assert_eq!(sent, 7);
    scene.wait(6);
    assert_eq!(scene.says().len(), 1);
    scene.events();
    scene.wait(SEARCH_WAIT.as_secs());
    let events = scene.events();
    assert_eq!(events.last(), Some(&Event::Closed(Refused::Silent)));
    assert_eq!(events.len(), 10, "{events:?}");
}

#[test]
fn attack_45_fake_rows_and_names_that_leave_the_folder() {
    let mut scene = Scene::inside(config("bob", 6699));
    // Nobody has searched.
    scene.row(row("a.mp3", 5, "eve", [10, 0, 0, 1]));
    let id = scene.client.search(scene.now, Query::for_words("a"));
    // This server, which is in a private net, cannot know what is on our machine, and no host has such an address.
    for ip in [[127, 0, 0, 1], [169, 254, 1, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]]
    {
        scene.row(row("a.mp3", 5, "eve", ip));
    }
    assert_eq!(scene.events(), []);
    for (path, name) in [
        ("..\\..\\etc\\passwd", "passwd"),
        ("C:\\a/../b.mp3", "b.mp3"),
        ("x\\..", "_"),
        ("x\\", "_"),
        ("x\\AUX.mp3", "_AUX.mp3"),
        ("a\u{202e}3pm.exe", "a3pm.exe"),
        ("x\\c:d.mp3", "c_d.mp3"),
    ] {
        scene.row(row(path, u32::MAX, "eve", [10, 0, 0, 1]));
        let events = scene.events();
        let [Event::Hit(hit_id, hit)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((hit.file_name().as_str(), hit.size, *hit_id), (name, None, id), "{path}");
    }
    (0..2 * HITS_MAX).for_each(|_| scene.row(row("a.mp3", 5, "eve", [10, 0, 0, 1])));
    assert_eq!(scene.events().len() as u32, HITS_MAX - 7);
    scene.hears(202, "");
    scene.hears(202, "");
    assert_eq!(scene.events(), [Event::SearchEnded(id, SearchEnd::Done)]);
    // A search that nobody waits for any more still has its end.
    let id = scene.client.search(scene.now, Query::for_words("b"));
    scene.client.forget_search(id);
    scene.row(row("b.mp3", 5, "eve", [10, 0, 0, 1]));
    scene.hears(202, "");
    assert_eq!(scene.events(), [Event::SearchEnded(id, SearchEnd::Done)]);
}

#[test]
fn torrents_by_the_extension_and_without_it() {
    let hash = InfoHash([0xab; 20]);
    let hex = "ab".repeat(20);
    let torrents = || Shareable::of_torrent(hash, "film.mkv", 5_000_000_000, file("", 0).hash);
    let query = || Query { btih: Some(hash), ..Query::for_words("") };
    let mut plain = Scene::inside(config("bob", 6699));
    assert!(plain.client.share(torrents()) && !plain.client.share(torrents()));
    let digest = "00112233445566778899aabbccddeeff";
    let want = format!("100 \"btih-{hex}\\film.mkv\" {digest} 4294967295 0 0 0");
    assert_eq!(plain.says(), [want]);
    plain.client.search(plain.now, query());
    assert_eq!(plain.says(), [format!("200 FILENAME CONTAINS \"{hex}\" TYPE ANY")]);
    let path = String::from_utf8(btih_path(hash, "film.mkv").as_bytes().to_vec()).unwrap();
    plain.row(row(&path, u32::MAX, "eve", [10, 0, 0, 1]));
    let events = plain.events();
    assert!(
        matches!(&events[..], [Event::Hit(_, hit)] if hit.btih == Some(hash) && hit.size.is_none())
    );
    let mut ours = Scene::inside(config("bob", 6699));
    ours.hears(621, SWARM_EXTENSION);
    ours.client.share(torrents());
    let want = format!("21335 \"btih-{hex}\\film.mkv\" 5000000000 {hex} {digest}");
    assert_eq!(ours.says(), [want]);
    ours.client.unshare(&btih_path(hash, "film.mkv"));
    ours.client.search(ours.now, query());
    let want = [format!("102 btih-{hex}\\film.mkv"), format!("21336 TYPE ANY BTIH \"{hex}\"")];
    assert_eq!(ours.says(), want);
    ours.events();
    let row = |hash: &str| format!("\"film.mkv\" 5000000000 {hash} 3 1 eve 16777226 6699 7 9");
    ours.hears(21_337, &row(&"cd".repeat(20)));
    ours.hears(21_337, &row(&hex));
    let events = ours.events();
    let [Event::Hit(_, hit)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((hit.size, hit.port, hit.seeds), (Some(5_000_000_000), Some(6699), 3));
}

#[test]
fn downloads_and_their_failures() {
    let mut scene = Scene::inside(config("bob", 6699));
    let (eve, path) = (|| nick("eve"), || Text::from("d\\a b.mp3"));
    let ask = |scene: &mut Scene| {
        scene.client.download(scene.now, eve(), path());
        assert_eq!(scene.says(), ["203 eve \"d\\a b.mp3\""]);
    };
    let zeros = "0".repeat(32);
    // What was not asked for is not fetched.
    scene.hears(204, &format!("eve 16777226 6699 \"d\\a b.mp3\" {zeros} 7"));
    scene.hears(206, "eve \"d\\a b.mp3\"");
    assert_eq!(scene.events(), []);
    ask(&mut scene);
    scene.hears(204, &format!("EVE 16777226 6699 \"d\\a b.mp3\" {zeros} 7"));
    let addr = "10.0.0.1:6699".parse().unwrap();
    assert_eq!(scene.events(), [Event::FetchFrom { nick: nick("EVE"), addr, path: path() }]);
    let fails = |scene: &mut Scene, kind, text: &str, why| {
        ask(scene);
        scene.hears(kind, text);
        assert_eq!(scene.events(), [Event::Failed(eve(), path(), why)]);
    };
    fails(&mut scene, 206, "eve \"d\\a b.mp3\"", Failure::Unavailable);
    fails(&mut scene, 620, "eve \"d\\a b.mp3\" 5 2", Failure::QueueFull(2));
    let text = format!("eve 16777343 6699 \"d\\a b.mp3\" {zeros} 7");
    fails(&mut scene, 204, &text, Failure::Address);
    fails(
        &mut scene,
        204,
        "eve 16777226 0 \"d\\a b.mp3\" firewallerror 7",
        Failure::BothFirewalled,
    );
    ask(&mut scene);
    scene.wait(30);
    assert_eq!(scene.events(), [Event::Failed(eve(), path(), Failure::NoAnswer)]);
    // He cannot be reached: he comes.
    ask(&mut scene);
    assert!(!scene.client.may_send(scene.now, &eve(), &path()));
    scene.hears(204, &format!("eve 16777226 0 \"d\\a b.mp3\" {zeros} 7"));
    assert_eq!(scene.says(), ["500 eve \"d\\a b.mp3\""]);
    assert_eq!(scene.events(), [Event::FetchComes(eve(), path())]);
    assert!(scene.client.may_send(scene.now, &eve(), &path()));
    assert!(!scene.client.may_send(scene.now, &nick("mallory"), &path()));
    assert!(!scene.client.may_send(scene.now, &eve(), &"d\\other".into()));
    scene.wait(60);
    assert!(!scene.client.may_send(scene.now, &eve(), &path()));
    assert_eq!(scene.events(), [Event::Failed(eve(), path(), Failure::NoAnswer)]);
    let paths = (0..=DOWNLOADS_MAX).map(|n| Text::new(format!("{n}")));
    paths.for_each(|path| scene.client.download(scene.now, eve(), path));
    assert!(matches!(scene.events()[..], [Event::Failed(_, _, Failure::TooMany(DOWNLOADS_MAX))]));
    scene.client.unreachable(eve());
    scene.client.downloading(true);
    scene.client.downloading(false);
    assert_eq!(scene.says()[DOWNLOADS_MAX..], ["626 eve", "218 ", "219 "]);
    let mut walled = Scene::inside(config("bob", 0));
    fails(
        &mut walled,
        204,
        &format!("eve 16777226 0 \"d\\a b.mp3\" {zeros} 7"),
        Failure::BothFirewalled,
    );
}

#[test]
fn uploads_have_places_and_nobody_comes_unasked() {
    let mut scene = Scene::inside(config("bob", 0));
    scene.client.share(shareable("a.mp3", 5));
    scene.client.share(shareable("b.mp3", 6));
    scene.says();
    let (path, other) = (Text::from("a.mp3"), Text::from("b.mp3"));
    assert!(scene.client.may_get(scene.now, &nick("u1"), &path).is_none());
    for (user, answer) in
        [("u1", "608 u1 \"a.mp3\""), ("u2", "608 u2 \"a.mp3\""), ("u3", "619 u3 \"a.mp3\" 2")]
    {
        scene.hears(607, &format!("{user} \"a.mp3\" 7"));
        assert_eq!(scene.says(), [answer]);
    }
    scene.hears(607, "u4 \"..\\etc\\passwd\"");
    assert_eq!(scene.says(), ["609 u4 \"..\\etc\\passwd\""]);
    assert_eq!(scene.client.may_get(scene.now, &nick("U1"), &path).unwrap().size, 5);
    assert!(scene.client.may_get(scene.now, &nick("u3"), &path).is_none());
    assert!(scene.client.may_get(scene.now, &nick("u1"), &other).is_none());
    // We connect to whom we said so, and where the server may send us.
    let zeros = "0".repeat(32);
    scene.hears(501, &format!("u1 16777226 6699 \"a.mp3\" {zeros} 7"));
    let addr = "10.0.0.1:6699".parse().unwrap();
    assert_eq!(scene.events(), [Event::GiveTo { nick: nick("u1"), addr, path: path.clone() }]);
    scene.hears(501, &format!("u3 16777226 6699 \"a.mp3\" {zeros} 7"));
    scene.hears(501, &format!("u1 16777343 6699 \"a.mp3\" {zeros} 7"));
    assert_eq!(scene.events(), []);
    scene.client.upload_began(&nick("u1"), &path);
    scene.wait(61);
    scene.hears(607, "u4 \"b.mp3\"");
    scene.hears(607, "u5 \"b.mp3\"");
    assert_eq!(scene.says(), ["220 ", "608 u4 \"b.mp3\"", "619 u5 \"b.mp3\" 2"]);
    // Who is fetching may fetch another part, on so many connections, and takes one place all the same.
    let may = |scene: &Scene, s| {
        let now = scene.now + Duration::from_secs(s);
        scene.client.may_get(now, &nick("u1"), &path).is_some()
    };
    for _ in 1..PARTS_MAX {
        assert!(may(&scene, 0));
        scene.client.upload_began(&nick("u1"), &path);
    }
    assert!(!may(&scene, 0));
    (0..PARTS_MAX).for_each(|_| scene.client.upload_ended(scene.now, &nick("u1"), &path));
    assert!(may(&scene, 9) && !may(&scene, 10));
    assert_eq!(scene.says().len() as u32, 2 * PARTS_MAX - 1);
    scene.wait(10);
    scene.hears(607, "u5 \"b.mp3\"");
    assert_eq!(scene.says(), ["608 u5 \"b.mp3\""]);
}

#[test]
fn lists_of_files() {
    let mut scene = Scene::inside(config("bob", 6699));
    scene.client.share(shareable("a.mp3", 5));
    scene.says();
    scene.hears(640, "eve");
    scene.hears(640, "walled 16777226 6699");
    assert_eq!(scene.says(), ["641 eve", "641 walled"]);
    let addr: SocketAddrV4 = "10.0.0.1:6699".parse().unwrap();
    assert_eq!(scene.events(), [Event::ListTo(nick("walled"), addr)]);
    let list = String::from_utf8(scene.client.list().to_vec()).unwrap();
    assert_eq!(list, "bob\n\"a.mp3\" 00112233445566778899aabbccddeeff 5 128 44100 61\n\n");
    let line = "eve \"x.mp3\" 00112233445566778899aabbccddeeff 5 128 44100 61";
    scene.hears(212, line);
    assert_eq!(scene.events(), []);
    scene.client.browse(nick("eve"));
    scene.hears(212, line);
    scene.hears(213, "eve 16777226");
    let want = [
        Event::BrowseRow(nick("eve"), file("x.mp3", 5)),
        Event::BrowseEnded(nick("eve"), BrowseEnd::Done),
    ];
    assert_eq!(scene.events(), want);
    scene.client.browse(nick("ghost"));
    scene.hears(210, "ghost");
    scene.hears(213, "ghost");
    assert_eq!(scene.events(), [Event::BrowseEnded(nick("ghost"), BrowseEnd::Offline)]);
    scene.client.browse_directly(scene.now, nick("eve"));
    assert!(scene.client.may_send_list(scene.now, &nick("eve")));
    assert!(!scene.client.may_send_list(at(60), &nick("eve")));
    scene.hears(641, "eve 16777226 6699");
    scene.hears(642, "eve \"no\"");
    let refused = BrowseEnd::Refused("no".into());
    assert_eq!(
        scene.events(),
        [Event::BrowseAt(nick("eve"), addr), Event::BrowseEnded(nick("eve"), refused)]
    );
    let mut closed = Scene::inside(Config { browsable: false, ..config("bob", 6699) });
    closed.client.share(shareable("a.mp3", 5));
    closed.says();
    closed.hears(640, "eve");
    assert_eq!((closed.says(), closed.client.list()), (vec![], "bob\n\n".into()));
}

/// Clients of ours at a server of ours.
struct Net {
    now: Instant,
    server: Directory,
    clients: BTreeMap<UserId, Client>,
}

impl Net {
    fn join(&mut self, config: Config, last: u8) -> UserId {
        let id = self.server.handle_connect(self.now, [10, 0, 0, last].into()).unwrap();
        let mut client = Client::new(config);
        client.handle_connected(self.now, [10, 0, 0, 99].into());
        self.clients.insert(id, client);
        self.settle();
        id
    }

    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for (&id, client) in &mut self.clients {
                while let Some(bytes) = client.poll_transmit() {
                    moved = true;
                    self.server.handle_bytes(self.now, id, &bytes);
                }
            }
            while let Some((id, bytes)) = self.server.poll_transmit() {
                moved = true;
                self.clients.get_mut(&id).unwrap().handle_bytes(self.now, &bytes);
                self.server.handle_sent(self.now, id, bytes.len());
            }
            if !moved {
                return;
            }
        }
    }

    fn events(&mut self, id: UserId) -> Vec<Event> {
        let client = self.clients.get_mut(&id).unwrap();
        let events = std::iter::from_fn(|| client.poll_event());
        events.filter(|event| !matches!(event, Event::Motd(_) | Event::Stats(..))).collect()
    }
}

#[test]
fn our_client_and_our_server_find_fetch_and_push() {
    let server = Directory::new(at(0), DirectoryConfig::default(), [], Rng::seeded(1));
    let mut net = Net { now: at(0), server, clients: BTreeMap::new() };
    let up = net.join(config("up", 6699), 1);
    let walled = net.join(config("walled", 0), 2);
    let down = net.join(config("down", 6698), 3);
    for (id, count) in [(up, 300), (walled, 1)] {
        let client = net.clients.get_mut(&id).unwrap();
        assert!((0..count).all(|n| client.share(shareable(&format!("x\\some song {n}.mp3"), n))));
    }
    net.settle();
    assert_eq!(net.server.counters().files, 301);
    [up, walled, down].into_iter().for_each(|id| assert_eq!(net.events(id), [Event::LoggedIn]));
    let query = Query::for_words("some song 0");
    net.clients.get_mut(&down).unwrap().search(net.now, query);
    net.settle();
    let events = net.events(down);
    let hits: Vec<&Hit> = events
        .iter()
        .filter_map(|event| if let Event::Hit(_, hit) = event { Some(&**hit) } else { None })
        .collect();
    assert_eq!(hits.len(), 2);
    assert!(matches!(events.last(), Some(Event::SearchEnded(_, SearchEnd::Done))));
    for hit in hits {
        net.clients.get_mut(&down).unwrap().download(net.now, hit.nick.clone(), hit.path.clone());
        net.settle();
        let told = net.events(down);
        if hit.nick.as_str() == "up" {
            let addr = "10.0.0.1:6699".parse().unwrap();
            let (him, path) = (hit.nick.clone(), hit.path.clone());
            assert_eq!(told, [Event::FetchFrom { nick: him, addr, path }]);
            assert!(net.clients[&up].may_get(net.now, &nick("down"), &hit.path).is_some());
        } else {
            assert_eq!(told, [Event::FetchComes(hit.nick.clone(), hit.path.clone())]);
            let addr = "10.0.0.3:6698".parse().unwrap();
            let (me, path) = (nick("down"), hit.path.clone());
            assert_eq!(net.events(walled), [Event::GiveTo { nick: me, addr, path }]);
            assert!(net.clients[&down].may_send(net.now, &hit.nick, &hit.path));
        }
    }
    net.clients.get_mut(&down).unwrap().browse(nick("up"));
    net.clients.get_mut(&down).unwrap().whois(nick("up"));
    net.settle();
    let events = net.events(down);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::BrowseRow(..))).count(), 300);
    assert!(events.iter().any(|event| matches!(event, Event::Whois(is) if is.shared == 300)));
}
