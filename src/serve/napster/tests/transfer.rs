//! What our client says to clients of others, at its own port and at theirs.

use super::client::Server;
use super::*;
use crate::net::Limit;
use crate::serve::napster::client::{Link, Listed, Way};
use gaggle_core::overlay::napster::BrowseEnd;
use gaggle_core::proto::napster::Text;
use gaggle_core::units::BytesPerSec;

/// A client that is in and shares `song.mp3` with these bytes, and its words to the directory.
async fn sharing(bytes: &[u8], walled: bool) -> (Folder, Server, Client, Wire) {
    let folder = Folder::new(&[("song.mp3", bytes)]);
    let library = Some(folder.looked(1, false, Duration::from_secs(3600)).await);
    let server = Server::new().await;
    let new = if walled { super::walled } else { super::client };
    let client = new(server.addr(), "me", library);
    let mut wire = server.lets_in(&client, "me").await;
    assert!(wire.next().await.starts_with("100 \"song.mp3\""));
    (folder, server, client, wire)
}

/// Asks for a file at the client's port as others do, and reads what comes.
async fn get(client: &Client, words: &[&[u8]]) -> Vec<u8> {
    let mut peer = Wire::dial(client.addr().unwrap()).await;
    peer.reads(b"1").await;
    for word in words {
        peer.write(word).await;
        tokio::task::yield_now().await;
    }
    peer.rest().await
}

#[tokio::test]
async fn files_are_given_to_who_was_told_to_come() {
    let bytes = content(700_000);
    let (folder, _server, client, mut wire) = sharing(&bytes, false).await;
    let whole = [&b"700000"[..], &bytes].concat();
    // Nobody has asked for him.
    let refused = get(&client, &[b"GET", b"down \"song.mp3\" 0"]).await;
    assert_eq!(refused, b"FILE NOT SHARED");
    wire.say("607 down \"song.mp3\" 7").await;
    wire.hears(&["608 down \"song.mp3\""]).await;
    assert!(get(&client, &[b"GET", b"down \"song.mp3\" 0"]).await == whole);
    wire.hears(&["220 ", "221 "]).await;
    // In one write, from an offset, in another spelling of his name; and beyond the end.
    let rest = get(&client, &[b"GETDOWN \"song.mp3\" 699990\n"]).await;
    assert!(rest == [&b"700000"[..], &bytes[699_990..]].concat());
    wire.hears(&["220 ", "221 "]).await;
    assert_eq!(get(&client, &[b"GETdown \"song.mp3\" 700000\n"]).await, b"700000");
    wire.hears(&["220 ", "221 "]).await;
    assert_eq!(get(&client, &[b"GETdown \"song.mp3\" 700001\n"]).await, b"FILE NOT SHARED");
    wire.hears(&["220 ", "221 "]).await;
    for path in ["../song.mp3", "top/song.mp3", "song.mp3\\", "SONG.mp3", "/etc/passwd"] {
        let words = format!("GETdown \"{path}\" 0\n");
        assert_eq!(get(&client, &[words.as_bytes()]).await, b"FILE NOT SHARED", "{path}");
    }
    let stranger = get(&client, &[b"GETmallory \"song.mp3\" 0\n"]).await;
    assert_eq!(stranger, b"FILE NOT SHARED");
    // What is another file by now is not given out.
    folder.put("song.mp3", b"another");
    assert_eq!(get(&client, &[b"GETdown \"song.mp3\" 0\n"]).await, b"FILE NOT SHARED");
    wire.say("607 down \"nothing.mp3\" 7").await;
    // The folder is looked through again meanwhile, and what it has now is said.
    let mut said = vec![wire.next().await];
    while !said.last().is_some_and(|said| said.starts_with("609 ")) {
        said.push(wire.next().await);
    }
    assert_eq!(said.pop().unwrap(), "609 down \"nothing.mp3\"");
    assert!(said.contains(&"220 ".to_owned()) && said.contains(&"221 ".to_owned()), "{said:?}");
    let status = until(client.watch(), "figures", |status| status.uploads == 0).await;
    assert_eq!(status.uploaded, 700_010);
}

#[tokio::test]
async fn files_are_given_as_fast_as_the_limit_lets() {
    let bytes = content(300_000);
    let folder = Folder::new(&[("song.mp3", &bytes)]);
    let library = Some(folder.looked(1, false, Duration::from_secs(3600)).await);
    let server = Server::new().await;
    let config = ClientConfig {
        limit: Some(Limit::new(BytesPerSec(400_000), Clock::start())),
        ..ClientConfig::new(vec![server.addr().to_string()], nick("me"), Some(here()))
    };
    let client = Client::start(config, library, Clock::start()).unwrap();
    let mut wire = server.lets_in(&client, "me").await;
    assert!(wire.next().await.starts_with("100 \"song.mp3\""));
    wire.say("607 down \"song.mp3\" 7").await;
    wire.hears(&["608 down \"song.mp3\""]).await;
    let began = tokio::time::Instant::now();
    let got = get(&client, &[b"GET", b"down \"song.mp3\" 0"]).await;
    assert!(got == [&b"300000"[..], &bytes].concat());
    // A tenth of a second is saved up.
    assert!(began.elapsed() > Duration::from_millis(600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_queue_has_places() {
    let (_folder, _server, _client, mut wire) = sharing(b"abc", false).await;
    for n in 1..=5 {
        wire.say(&format!("607 u{n} \"song.mp3\" 7")).await;
        wire.hears(&[&format!("608 u{n} \"song.mp3\"")]).await;
    }
    wire.say("607 u6 \"song.mp3\" 7").await;
    wire.hears(&["619 u6 \"song.mp3\" 5"]).await;
}

#[tokio::test]
async fn who_cannot_be_reached_connects_to_give() {
    let bytes = content(70_000);
    let (_folder, _server, _client, mut wire) = sharing(&bytes, true).await;
    let down = TcpListener::bind(here()).await.unwrap();
    let port = down.local_addr().unwrap().port();
    let push = format!("501 down {HERE} {port} \"song.mp3\" {NO_HASH} 7");
    // Not to somebody of whom we know nothing: a server must not aim us at anybody.
    wire.say(&push).await;
    wire.say("607 down \"song.mp3\" 7").await;
    wire.hears(&["608 down \"song.mp3\""]).await;
    wire.say(&push).await;
    let mut peer = Wire::accept(&down).await;
    peer.write(b"1").await;
    peer.reads(b"SENDme \"song.mp3\" 70000").await;
    peer.write(b"69000").await;
    assert!(peer.rest().await == bytes[69_000..]);
    wire.hears(&["220 ", "221 "]).await;
    let nobody_else = timeout(Duration::from_millis(50), down.accept()).await;
    assert!(nobody_else.is_err(), "it came twice");
}

#[tokio::test]
async fn who_cannot_be_reached_comes_with_what_we_asked_for() {
    let server = Server::new().await;
    let client = super::client(server.addr(), "me", None);
    let mut wire = server.lets_in(&client, "me").await;
    until(client.watch(), "the login", |status| matches!(status.link, Link::In(_))).await;
    let at = client.addr().unwrap();
    let push = |words: &'static [u8]| async move {
        let mut peer = Wire::dial(at).await;
        peer.reads(b"1").await;
        peer.write(b"SEND").await;
        peer.write(words).await;
        peer
    };
    assert_eq!(push(b"up \"d\\a b.mp3\" 9\n").await.rest().await, b"FILE NOT SHARED");
    let open = client.open(nick("up"), Text::from("d\\a b.mp3"));
    let host = async {
        wire.hears(&["203 up \"d\\a b.mp3\""]).await;
        wire.say(&format!("204 up {HERE} 0 \"d\\a b.mp3\" {NO_HASH} 7")).await;
        wire.hears(&["500 up \"d\\a b.mp3\""]).await;
        // Another one, or with another file, is not let in instead.
        assert_eq!(push(b"mallory \"d\\a b.mp3\" 9\n").await.rest().await, b"FILE NOT SHARED");
        assert_eq!(push(b"up \"d\\c.mp3\" 9\n").await.rest().await, b"FILE NOT SHARED");
        let mut peer = push(b"up \"d\\a b.mp3\" 9").await;
        wire.hears(&["218 "]).await;
        peer.reads(b"4").await;
        peer.write(b"56789").await;
        peer
    };
    let fetch = async {
        let mut opened = open.await.unwrap();
        assert_eq!((opened.way, &opened.me), (Way::Pushed { size: 9 }, &nick("me")));
        opened.stream.write_all(b"4").await.unwrap();
        let mut got = [0; 5];
        opened.stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"56789");
    };
    let (peer, ()) = tokio::join!(host, fetch);
    drop(peer);
    wire.hears(&["219 "]).await;
    // It was brought; nobody may bring it again.
    assert_eq!(push(b"up \"d\\a b.mp3\" 9\n").await.rest().await, b"FILE NOT SHARED");
}

#[tokio::test]
async fn two_who_wait_for_one_that_must_come_are_served_one_after_the_other() {
    let server = Server::new().await;
    let client = super::client(server.addr(), "me", None);
    let mut wire = server.lets_in(&client, "me").await;
    until(client.watch(), "the login", |status| matches!(status.link, Link::In(_))).await;
    let at = client.addr().unwrap();
    let host = async {
        let mut peers = Vec::new();
        wire.hears(&["203 up \"a.mp3\""]).await;
        for last in [false, true] {
            wire.say(&format!("204 up {HERE} 0 \"a.mp3\" {NO_HASH} 7")).await;
            wire.hears(&["500 up \"a.mp3\""]).await;
            let mut peer = Wire::dial(at).await;
            peer.reads(b"1").await;
            peer.write(b"SENDup \"a.mp3\" 9\n").await;
            peers.push(peer);
            if !last {
                wire.hears(&["203 up \"a.mp3\""]).await;
            }
            wire.hears(&["218 "]).await;
        }
        peers
    };
    let (one, two, _peers) = tokio::join!(
        client.open(nick("up"), "a.mp3".into()),
        client.open(nick("up"), "a.mp3".into()),
        host
    );
    assert!(one.is_ok() && two.is_ok());
}

#[tokio::test]
async fn lists_are_given_and_taken_both_ways() {
    let (_folder, _server, client, mut wire) = sharing(b"abc", false).await;
    let list = b"me\n\"song.mp3\" 900150983cd24fb0d6963f7d28e17f72 3 0 0 0\n\n";
    wire.say("640 eve").await;
    wire.hears(&["641 eve"]).await;
    assert_eq!(get(&client, &[b"GETLIST"]).await, list);
    // To who cannot be reached we go.
    let eve = TcpListener::bind(here()).await.unwrap();
    let port = eve.local_addr().unwrap().port();
    wire.say(&format!("640 eve {HERE} {port}")).await;
    wire.hears(&["641 eve"]).await;
    let mut peer = Wire::accept(&eve).await;
    peer.write(b"1").await;
    assert_eq!(peer.rest().await, [&b"SENDLIST "[..], list].concat());
    // And the other way round.
    let theirs = b"\"x.mp3\" 00 5 128 44100 61\nnonsense\n\"y.mp3\" 00 6 128 44100 61\n\n";
    let mut listed = client.browse(nick("eve"), true).await;
    wire.hears(&["640 eve"]).await;
    wire.say(&format!("641 eve {HERE} {port}")).await;
    let mut peer = Wire::accept(&eve).await;
    peer.write(b"1").await;
    peer.reads(b"GETLIST").await;
    peer.write(&[&b"eve\n"[..], theirs].concat()).await;
    let sizes = |listed: Option<Listed>| match listed {
        Some(Listed::File(file)) => file.size,
        other => panic!("{other:?}"),
    };
    assert_eq!([sizes(listed.recv().await), sizes(listed.recv().await)], [5, 6]);
    assert_eq!(listed.recv().await, Some(Listed::Ended(BrowseEnd::Done)));
    let mut listed = client.browse(nick("eve"), true).await;
    wire.hears(&["640 eve"]).await;
    wire.say(&format!("641 eve {HERE} 0")).await;
    wire.say("751 x").await;
    wire.hears(&["752 x"]).await;
    let mut peer = Wire::dial(client.addr().unwrap()).await;
    peer.reads(b"1").await;
    peer.write(&[&b"SENDLIST eve\n"[..], theirs].concat()).await;
    assert_eq!([sizes(listed.recv().await), sizes(listed.recv().await)], [5, 6]);
    assert_eq!(listed.recv().await, Some(Listed::Ended(BrowseEnd::Done)));
    // Who was not asked for his list is not listened to.
    let mut peer = Wire::dial(client.addr().unwrap()).await;
    peer.reads(b"1").await;
    peer.write(&[&b"SENDLIST eve\n"[..], theirs].concat()).await;
    assert_eq!(peer.rest().await, b"");
}
