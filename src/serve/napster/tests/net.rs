//! Clients of ours at a directory of ours.

use super::*;
use crate::serve::napster::client::{Found, Link, Listed, OpenError, Opened, Way};
use gaggle_core::overlay::napster::{BrowseEnd, Errand, Failure, Hit, Outbound, SearchEnd, Step};
use gaggle_core::proto::napster::Query;

async fn is_in(client: &Client) {
    until(client.watch(), "the login", |status| matches!(status.link, Link::In(_))).await;
}

async fn has_files(directory: &Directory, files: usize) {
    until(directory.watch(), "the files", |status| status.counters.files == files).await;
}

async fn hits(client: &Client, query: Query) -> Vec<Hit> {
    let mut found = client.search(query).await;
    let mut hits = Vec::new();
    loop {
        match timeout(PATIENCE, found.recv()).await.expect("the search does not end") {
            Some(Found::Hit(hit, _)) => hits.push(*hit),
            Some(Found::Near(..)) => {}
            Some(Found::Ended(end)) => {
                assert_eq!(end, SearchEnd::Done);
                return hits;
            }
            None => panic!("a search ends with a word"),
        }
    }
}

/// Fetches a file from a byte on, as a caller of the handle does.
async fn fetch(client: &Client, hit: &Hit, offset: u64) -> Result<Vec<u8>, OpenError> {
    let Opened { mut stream, way, me, .. } =
        client.open(hit.nick.clone(), hit.path.clone()).await?;
    let size = hit.size.unwrap();
    let mut got = Vec::new();
    match way {
        Way::Pushed { size: said } => {
            assert_eq!(said, size);
            stream.write_all(offset.to_string().as_bytes()).await.unwrap();
        }
        Way::Dialled(_) => {
            let clock = Clock::start();
            let errand = Errand::Get { me, path: hit.path.clone(), size, offset };
            let mut talk = Outbound::new(clock.now(), errand);
            let mut buffer = vec![0; 1000];
            got = loop {
                while let Some(words) = talk.poll_transmit() {
                    stream.write_all(&words).await.unwrap();
                }
                match talk.poll_step() {
                    Some(Step::Data(first)) => break first,
                    Some(other) => panic!("{other:?}"),
                    None => {}
                }
                tokio::select! {
                    read = stream.read(&mut buffer) => match read.unwrap() {
                        0 => talk.handle_closed(),
                        read => talk.handle_bytes(clock.now(), &buffer[..read]),
                    },
                    () = clock.sleep_until(talk.poll_timeout()) => talk.handle_timeout(clock.now()),
                }
            };
        }
    }
    timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("it is not given").unwrap();
    Ok(got)
}

#[tokio::test]
async fn files_go_from_client_to_client_directly_and_through_walls() {
    let directory = directory(Terms::default());
    let bytes = content(1_000_000);
    let folders =
        [Folder::new(&[("some song.mp3", &bytes)]), Folder::new(&[("some film.avi", &bytes)])];
    let up = client(directory.addr(), "up", Some(folders[0].library(1, true).await));
    let behind = walled(directory.addr(), "behind", Some(folders[1].library(1, false).await));
    let down = client(directory.addr(), "down", None);
    let down_behind = walled(directory.addr(), "downbehind", None);
    for client in [&up, &behind, &down, &down_behind] {
        is_in(client).await;
    }
    has_files(&directory, 2).await;
    let found = hits(&down, Query::for_words("SOME")).await;
    assert_eq!(found.len(), 2);
    for hit in &found {
        assert_eq!(hit.size, Some(1_000_000));
        let got = fetch(&down, hit, 0).await.unwrap();
        assert!(got == bytes, "{} of {}", got.len(), hit.nick);
        // Parts, several at once.
        let (one, two) = tokio::join!(fetch(&down, hit, 999_990), fetch(&down, hit, 500_000));
        assert!(one.unwrap() == bytes[999_990..] && two.unwrap() == bytes[500_000..]);
    }
    // The one that is a torrent is found by its hash, with where to join it.
    let song = found.iter().find(|hit| hit.nick == nick("up")).unwrap();
    let by_hash = hits(&down, Query { btih: song.btih, ..Query::for_words("") }).await;
    assert_eq!(by_hash.len(), 1);
    assert_eq!((by_hash[0].port, by_hash[0].btih), (up.addr().map(|addr| addr.port()), song.btih));
    // Who cannot be reached himself fetches from who can, and sees nothing of the other.
    let found = hits(&down_behind, Query::for_words("some")).await;
    assert_eq!(found.len(), 1);
    assert!(fetch(&down_behind, &found[0], 0).await.unwrap() == bytes);
    let unseen = down_behind.open(nick("behind"), "some film.avi".into()).await;
    assert_eq!(unseen.unwrap_err(), OpenError::Failed(Failure::BothFirewalled));
    // Lists, both ways, and who somebody is.
    for directly in [false, true] {
        for (name, file) in [("up", "some song.mp3"), ("behind", "some film.avi")] {
            let mut listed = down.browse(nick(name), directly).await;
            let one = timeout(PATIENCE, listed.recv()).await.expect("no list");
            assert!(
                matches!(&one, Some(Listed::File(one)) if one.path.decode().ends_with(file)),
                "{one:?}"
            );
            assert_eq!(listed.recv().await, Some(Listed::Ended(BrowseEnd::Done)), "{name}");
        }
    }
    let is = down.whois(nick("UP")).await.unwrap();
    assert_eq!((is.nick, is.shared), (nick("up"), 1));
    assert_eq!(down.whois(nick("up")).await.map(|is| is.client.decode()), Some(PROGRAM.to_owned()));
    let status = until(up.watch(), "the end of uploads", |status| status.uploads == 0).await;
    assert_eq!(status.uploaded, 1_000_000 + 500_010 + 1_000_000);
}

#[tokio::test]
async fn a_catalogue_of_thousands_holds_nobody_up() {
    let directory = directory(Terms::default());
    let folder = Folder::new(&[]);
    for n in 0..2000 {
        folder.put(&format!("{}/word{} number{n}.txt", n % 7, n % 10), n.to_string().as_bytes());
    }
    let library = folder.library(2000, false).await;
    let up = client(directory.addr(), "up", Some(library));
    let down = client(directory.addr(), "down", None);
    is_in(&down).await;
    // While they are said, others are served.
    let begun = tokio::time::Instant::now();
    let mut answered = 0;
    while directory.status().counters.files < 2000 {
        down.whois(nick("up")).await;
        answered += 1;
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(60)).await; // twenty commands a second
    }
    assert!(answered > 0);
    assert_eq!(up.status().shared, 2000);
    let found = hits(&down, Query::for_words("number1234")).await;
    assert_eq!(found.len(), 1);
    assert!(fetch(&down, &found[0], 0).await.unwrap() == b"1234");
    assert_eq!(hits(&down, Query::for_words("word3")).await.len(), 100, "as many as it gives");
    // Most of them go.
    for n in 0..2000 {
        if n % 10 != 3 {
            std::fs::remove_file(folder.top().join(format!(
                "{}/word{} number{n}.txt",
                n % 7,
                n % 10
            )))
            .unwrap();
        }
    }
    has_files(&directory, 200).await;
    up.stop().await;
    has_files(&directory, 0).await;
}

/// A directory tells others the address that it sees.
#[tokio::test]
async fn a_client_connects_from_where_it_listens() {
    let directory = directory(Terms::default());
    let folder = Folder::new(&[("some song.mp3", b"la la")]);
    let listen = SocketAddr::from(([127, 0, 0, 2], 0));
    let config = ClientConfig::new(vec![directory.addr().to_string()], nick("up"), Some(listen));
    let up = Client::start(config, Some(folder.library(1, false).await), Clock::start()).unwrap();
    let down = client(directory.addr(), "down", None);
    is_in(&up).await;
    is_in(&down).await;
    has_files(&directory, 1).await;
    let found = hits(&down, Query::for_words("song")).await;
    assert_eq!(found[0].ip, listen.ip());
    assert_eq!(fetch(&down, &found[0], 0).await.unwrap(), b"la la");
}
