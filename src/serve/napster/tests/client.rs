//! What our client says to a directory of others, here played by the test.

use super::*;
use crate::serve::napster::client::{Found, Link, Listed, OpenError, Way};
use gaggle_core::overlay::napster::{BrowseEnd, Failure, Password, Refused, SearchEnd};
use gaggle_core::proto::napster::{Query, Text};

/// A directory that says what the test wants.
pub(super) struct Server {
    pub(super) listener: TcpListener,
}

impl Server {
    pub(super) async fn new() -> Self {
        Self { listener: TcpListener::bind(here()).await.unwrap() }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Lets a client in that says these first words.
    pub(super) async fn admits(&self, login: &str) -> Wire {
        let mut wire = Wire::accept(&self.listener).await;
        wire.hears(&[login]).await;
        wire.say("3 anon@x").await;
        wire
    }

    /// Lets our client in.
    pub(super) async fn lets_in(&self, client: &Client, name: &str) -> Wire {
        let port = client.addr().map_or(0, |addr| addr.port());
        self.admits(&format!("2 {name} - {port} \"{PROGRAM}\" 0")).await
    }
}

/// A client that is in, and shares nothing.
async fn inside() -> (Server, Client, Wire) {
    let server = Server::new().await;
    let client = client(server.addr(), "me", None);
    let wire = server.lets_in(&client, "me").await;
    until(client.watch(), "the login", |status| matches!(status.link, Link::In(_))).await;
    (server, client, wire)
}

/// One directory of those that a redirector may name must not be able to log in as us at the others.
#[tokio::test]
async fn behind_a_redirector_the_directory_counts() {
    // Its port is what tells it.
    let redirector = TcpListener::bind("127.8.8.75:8875").await.unwrap();
    let start = |server: String| {
        let password = Password::Secret("secret".into());
        let config = ClientConfig { password, ..ClientConfig::new(vec![server], nick("me"), None) };
        Client::start(config, None, Clock::start()).unwrap()
    };
    let mut said = Vec::new();
    for _ in 0..2 {
        let server = Server::new().await;
        let named = server.addr().to_string();
        let led = start(redirector.local_addr().unwrap().to_string());
        Wire::accept(&redirector).await.write(format!("{named}\n").as_bytes()).await;
        let mut wire = Wire::accept(&server.listener).await;
        let behind = wire.next().await;
        until(led.watch(), "the server", |status| status.server == named).await;
        led.stop().await;
        let direct = start(named);
        assert_eq!(behind, Wire::accept(&server.listener).await.next().await);
        direct.stop().await;
        said.push(behind);
    }
    assert_ne!(said[0], said[1]);
}

#[tokio::test]
async fn it_logs_in_shares_what_there_is_and_what_changes() {
    let folder =
        Folder::new(&[("song.mp3", b"abc"), ("sub/song.mp3", b"other"), ("big \"x\".ogg", b"")]);
    let library = folder.library(3, false).await;
    let server = Server::new().await;
    let client = client(server.addr(), "me", Some(library));
    let mut wire = server.lets_in(&client, "me").await;
    wire.say("621 VERSION opennap-ng 0.50").await;
    wire.say("621 SERVER x").await;
    wire.say("214 12 345 6").await;
    let mut shares = vec![wire.next().await, wire.next().await, wire.next().await];
    shares.sort();
    // The second of one name has its number before it; quotes cannot be carried.
    let numbered = shares
        .iter()
        .position(|share| !share.starts_with("100 \"song") && !share.starts_with("100 \"big"));
    let numbered = shares.remove(numbered.expect("two paths are equal"));
    let (abc, other) = ("900150983cd24fb0d6963f7d28e17f72", "795f3202b17cb6bc3d4b771d8c6c9eaf");
    let empty = "d41d8cd98f00b204e9800998ecf8427e";
    assert_eq!(shares[0], format!("100 \"big 'x'.ogg\" {empty} 0 0 0 0"));
    let both = [
        [format!("100 \"song.mp3\" {abc} 3 0 0 0"), format!(" song.mp3\" {other} 5 0 0 0")],
        [format!("100 \"song.mp3\" {other} 5 0 0 0"), format!(" song.mp3\" {abc} 3 0 0 0")],
    ];
    assert!(
        both.iter().any(|[one, two]| *one == shares[1] && numbered.ends_with(two.as_str())),
        "{shares:?} {numbered}"
    );
    let status = until(client.watch(), "figures", |status| status.users > 0).await;
    assert_eq!((status.shared, status.users, status.files, status.gigabytes), (3, 12, 345, 6));
    folder.put("new one.mp3", b"abc");
    let came = wire.next().await;
    assert_eq!(came, format!("100 \"new one.mp3\" {abc} 3 0 0 0"));
    std::fs::remove_file(folder.top().join("new one.mp3")).unwrap();
    wire.hears(&["102 new one.mp3"]).await;
    wire.say("751 server").await;
    wire.hears(&["752 server"]).await;
    // What it must never obey, and what it does not know.
    wire.write(
        &[
            line("5 upgrade"),
            line("821 9.9.9.9 8888"),
            line("822 9.9.9.9:8875"),
            line("613 7"),
            line("4242 x"),
        ]
        .concat(),
    )
    .await;
    wire.say("751 server").await;
    wire.hears(&["752 server"]).await;
    // Another link hears everything again.
    drop(wire);
    let mut wire = server.lets_in(&client, "me").await;
    let mut again = vec![wire.next().await, wire.next().await, wire.next().await];
    again.sort();
    assert!(again.iter().all(|share| share.starts_with("100 ")), "{again:?}");
}

#[tokio::test]
async fn torrents_files_carry_their_info_hash() {
    let folder = Folder::new(&[("disk.iso", &content(100_000))]);
    let library = folder.library(1, true).await;
    let item = library.catalogue().iter().next().unwrap().1.clone();
    let hex = item.torrent.unwrap().0.to_string();
    let md5 = data_encoding::HEXLOWER.encode(&item.hashes.unwrap().md5);
    let server = Server::new().await;
    let client = client(server.addr(), "me", Some(library));
    let mut wire = server.lets_in(&client, "me").await;
    wire.hears(&[&format!("100 \"btih-{hex}\\disk.iso\" {md5} 100000 0 0 0")]).await;
    drop(wire);
    // A directory that speaks the extension is told the hash as such.
    let port = client.addr().unwrap().port();
    let mut wire = Wire::accept(&server.listener).await;
    wire.hears(&[&format!("2 me - {port} \"{PROGRAM}\" 0")]).await;
    wire.write(&[line("3 \"anon@x\""), line("621 SWARM-EXT 1 btih")].concat()).await;
    wire.hears(&[&format!("21335 \"btih-{hex}\\disk.iso\" 100000 {hex} {md5}")]).await;
    let query = Query { btih: item.torrent.map(|(hash, _)| hash), ..Query::for_words("") };
    let mut found = client.search(query).await;
    wire.hears(&[&format!("21336 TYPE ANY BTIH \"{hex}\"")]).await;
    wire.say(&format!("21337 \"x\\disk.iso\" 5000000000 {hex} 3 1 eve {HERE} 0 7 9")).await;
    wire.say("202 ").await;
    let Some(Found::Hit(hit, None)) = found.recv().await else { panic!("no hit") };
    assert_eq!(
        (hit.btih, hit.size, hit.port),
        (Some(item.torrent.unwrap().0), Some(5_000_000_000), Some(0))
    );
}

#[tokio::test]
async fn a_search_finds_and_measures_how_near_users_are() {
    let (_server, client, mut wire) = inside().await;
    let mut query = Query::for_words("some song -live");
    query.max_results = 20;
    let mut found = client.search(query).await;
    let asked =
        "FILENAME CONTAINS \"some song\" FILENAME EXCLUDES \"live\" MAX_RESULTS 20 TYPE ANY";
    wire.hears(&[&format!("200 {asked}")]).await;
    let row = |n: u32, nick: &str| {
        format!("201 \"d\\some song {n}.mp3\" {NO_HASH} {n} 128 44100 61 {nick} {HERE} 7 {n}")
    };
    // One read with rows and the end.
    let rows = [line(&row(1, "near")), line(&row(2, "near")), line(&row(3, "gone")), line("202 ")];
    wire.write(&rows.concat()).await;
    wire.hears(&["751 near", "751 gone"]).await;
    for n in 1..=3 {
        let Some(Found::Hit(hit, near)) = found.recv().await else { panic!("no hit {n}") };
        assert_eq!((hit.size, hit.weight, near), (Some(n), n as i32, None));
        assert_eq!(hit.file_name(), format!("some song {n}.mp3"));
    }
    wire.say("752 near").await;
    let Some(Found::Near(who, took)) = found.recv().await else { panic!("no distance") };
    assert!(who == nick("near") && took < PATIENCE);
    // Who does not answer holds the end up for a second.
    assert_eq!(found.recv().await, Some(Found::Ended(SearchEnd::Done)));
    assert_eq!(found.recv().await, None);
    // What is known is said at once, and nobody is asked again.
    let mut found = client.search(Query::for_words("song")).await;
    wire.hears(&["200 FILENAME CONTAINS \"song\" TYPE ANY"]).await;
    wire.write(&[line(&row(4, "near")), line("202 ")].concat()).await;
    assert!(matches!(found.recv().await, Some(Found::Hit(_, Some(known))) if known == took));
    assert_eq!(found.recv().await, Some(Found::Ended(SearchEnd::Done)));
}

#[tokio::test]
async fn searches_wait_for_each_other_and_suit_old_servers() {
    let (server, client, mut wire) = inside().await;
    let mut first = client.search(Query::for_words("one -two")).await;
    let mut second = client.search(Query::for_words("other")).await;
    wire.hears(&["200 FILENAME CONTAINS \"one\" FILENAME EXCLUDES \"two\" TYPE ANY"]).await;
    wire.write(&[line("404 invalid search request"), line("202 ")].concat()).await;
    wire.hears(&["200 FILENAME CONTAINS \"one\""]).await;
    wire.say("202 ").await;
    assert_eq!(first.recv().await, Some(Found::Ended(SearchEnd::Done)));
    wire.hears(&["200 FILENAME CONTAINS \"other\" TYPE ANY"]).await;
    let why = "search failed: request contained no valid words";
    wire.write(&[line(&format!("404 {why}")), line("202 ")].concat()).await;
    let refused = SearchEnd::Refused(why.into());
    assert_eq!(second.recv().await, Some(Found::Ended(refused)));
    // A link that is lost ends them all, and so does none.
    let mut third = client.search(Query::for_words("third")).await;
    wire.hears(&["200 FILENAME CONTAINS \"third\" TYPE ANY"]).await;
    drop((server, wire));
    assert_eq!(third.recv().await, Some(Found::Ended(SearchEnd::LinkLost)));
    let mut fourth = client.search(Query::for_words("fourth")).await;
    assert_eq!(fourth.recv().await, Some(Found::Ended(SearchEnd::LinkLost)));
}

#[tokio::test]
async fn lists_by_way_of_the_directory_and_who_somebody_is() {
    let (_server, client, mut wire) = inside().await;
    let row = format!("212 bob \"x.mp3\" {NO_HASH} 5 128 44100 61");
    wire.write(&[line(&row), line("751 x")].concat()).await; // nobody has asked
    wire.hears(&["752 x"]).await;
    let mut listed = client.browse(nick("bob"), false).await;
    wire.hears(&["211 bob"]).await;
    wire.write(&[line(&row), line(&format!("213 bob {HERE}"))].concat()).await;
    assert!(matches!(listed.recv().await, Some(Listed::File(file)) if file.size == 5));
    assert_eq!(listed.recv().await, Some(Listed::Ended(BrowseEnd::Done)));
    let mut listed = client.browse(nick("ghost"), false).await;
    wire.hears(&["211 ghost"]).await;
    wire.write(&[line("210 ghost"), line("213 ghost")].concat()).await;
    assert_eq!(listed.recv().await, Some(Listed::Ended(BrowseEnd::Offline)));
    let mut listed = client.browse(nick("bob"), true).await;
    wire.hears(&["640 bob"]).await;
    wire.say("642 bob \"no\"").await;
    let refused = BrowseEnd::Refused("no".into());
    assert_eq!(listed.recv().await, Some(Listed::Ended(refused)));
    let server = async {
        wire.hears(&["603 bob"]).await;
        wire.say("604 bob \"User\" 61 \"\" \"Active\" 5 1 2 7 \"nap v0.8\"").await;
        wire.hears(&["603 ghost"]).await;
        wire.say("605 ghost \"User\" 1000000000").await;
    };
    let asker = async {
        let is = client.whois(nick("bob")).await.unwrap();
        assert_eq!((is.online_s, is.shared, is.downloads, is.uploads, is.speed), (61, 5, 1, 2, 7));
        assert_eq!(client.whois(nick("ghost")).await, None);
    };
    tokio::join!(server, asker);
}

#[tokio::test]
async fn a_download_that_does_not_come_says_why() {
    let (_server, client, mut wire) = inside().await;
    let path = || Text::from("d\\a b.mp3");
    for (answer, why) in [
        ("206 eve \"d\\a b.mp3\"", Failure::Unavailable),
        ("620 eve \"d\\a b.mp3\" 5 2", Failure::QueueFull(2)),
        ("204 eve 16777343 0 \"d\\a b.mp3\" firewallerror 7", Failure::BothFirewalled),
    ] {
        let (opened, ()) = tokio::join!(client.open(nick("eve"), path()), async {
            wire.hears(&["203 eve \"d\\a b.mp3\""]).await;
            wire.say(answer).await;
        });
        assert_eq!(opened.unwrap_err(), OpenError::Failed(why));
    }
    // His port does not answer: the directory hears of it.
    let closed = TcpListener::bind(here()).await.unwrap().local_addr().unwrap();
    let (opened, ()) = tokio::join!(client.open(nick("eve"), path()), async {
        wire.hears(&["203 eve \"d\\a b.mp3\""]).await;
        wire.say(&format!("204 eve {HERE} {} \"d\\a b.mp3\" {NO_HASH} 7", closed.port())).await;
        wire.hears(&["626 eve"]).await;
    });
    assert!(matches!(opened, Err(OpenError::Unreachable(addr)) if addr.port() == closed.port()));
    let (opened, ()) = tokio::join!(client.open(nick("eve"), path()), async {
        wire.hears(&["203 eve \"d\\a b.mp3\""]).await;
        drop(wire);
    });
    assert_eq!(opened.unwrap_err(), OpenError::Offline);
    assert_eq!(client.open(nick("eve"), path()).await.unwrap_err(), OpenError::Offline);
}

#[tokio::test]
async fn a_download_is_counted_until_it_is_dropped_and_two_parts_are_asked_for_once() {
    let (_server, client, mut wire) = inside().await;
    let host = TcpListener::bind(here()).await.unwrap();
    let port = host.local_addr().unwrap().port();
    let path = Text::from("d\\a b.mp3");
    let (one, two, ()) = tokio::join!(
        client.open(nick("eve"), path.clone()),
        client.open(nick("eve"), path.clone()),
        async {
            wire.hears(&["203 eve \"d\\a b.mp3\""]).await;
            // Both are waited for when the answer comes.
            wire.say("751 x").await;
            wire.hears(&["752 x"]).await;
            wire.say(&format!("204 eve {HERE} {port} \"d\\a b.mp3\" {NO_HASH} 7")).await;
            wire.hears(&["218 ", "218 "]).await;
        }
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(matches!(one.way, Way::Dialled(addr) if addr.port() == port));
    assert_eq!((&one.me, two.way), (&nick("me"), one.way));
    drop(one);
    wire.hears(&["219 "]).await;
    drop(two);
    wire.hears(&["219 "]).await;
}

#[tokio::test]
async fn it_comes_back_later_each_time_and_knows_when_not_to() {
    let server = Server::new().await;
    let client = client(server.addr(), "me", None);
    let begun = tokio::time::Instant::now();
    drop(server.lets_in(&client, "me").await);
    let waits = |status: &super::super::client::Status| {
        matches!(status.link, Link::Waiting(Refused::Silent))
    };
    until(client.watch(), "the pause", waits).await;
    drop(server.lets_in(&client, "me").await);
    let mut wire = server.lets_in(&client, "me").await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "one second, then two: {took:?}");
    wire.say("748 ").await;
    let ended = until(client.watch(), "the end", |status| matches!(status.link, Link::Ended(_)));
    assert_eq!(ended.await.link, Link::Ended(Refused::Ghost));
    for refusal in ["0 Invalid Password", "10 Invalid nick"] {
        let client = self::client(server.addr(), "me", None);
        let mut wire = Wire::accept(&server.listener).await;
        wire.say(refusal).await;
        until(client.watch(), "the end", |status| matches!(status.link, Link::Ended(_))).await;
    }
    // Another server is tried at once.
    let closed = TcpListener::bind(here()).await.unwrap().local_addr().unwrap();
    let servers = vec![closed.to_string(), server.addr().to_string()];
    let config = ClientConfig::new(servers, nick("me"), None);
    let client = Client::start(config, None, Clock::start()).unwrap();
    let begun = tokio::time::Instant::now();
    server.lets_in(&client, "me").await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    client.stop().await;
    assert!(client.open(nick("eve"), "x".into()).await.is_err_and(|e| e == OpenError::Stopped));
    assert_eq!(client.search(Query::for_words("x")).await.recv().await, None);
}

#[tokio::test]
async fn a_directory_that_is_gone_for_long_is_tried_again() {
    let (listener, port) = port().await;
    let client = client(([127, 0, 0, 1], port).into(), "me", None);
    drop(Wire::accept(&listener).await);
    // From now on nobody listens there, and one attempt after the other is refused.
    drop(listener);
    for attempt in ["the first", "another", "and another"] {
        until(client.watch(), attempt, |status| matches!(status.link, Link::Waiting(_))).await;
        until(client.watch(), "the next", |status| status.link == Link::Connecting).await;
    }
}
