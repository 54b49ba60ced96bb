//! Servents of ours among themselves.

use super::super::saved::{Memory, Saved};
use super::*;

fn told(role: Role, whom: &Gnutella) -> Config {
    Config { connect: vec![hint(whom.addr())], ..config(role) }
}

#[tokio::test]
async fn three_servents_find_a_file() {
    let shelf = shelf().await;
    for deflate in [true, false] {
        let ultrapeer = start(Config { deflate, ..config(Role::Ultrapeer) }, None);
        let sharer = start(Config { deflate, ..told(Role::Leaf, &ultrapeer) }, Some(&shelf));
        let asker = start(Config { deflate, ..told(Role::Auto, &ultrapeer) }, None);
        let packed = if deflate { 2 } else { 0 };
        until(&ultrapeer, |status| (status.leaves, status.packed) == (2, packed)).await;
        let mut found = asker.search(Query::words("MOON blue")).await.unwrap();
        let one = soon(found.recv()).await.unwrap();
        assert_eq!((one.name.as_str(), one.size), ("blue moon.mp3", 9_000));
        assert_eq!(one.sha1, Some(gaggle_core::hash::sha1([&blue_moon()[..]])));
        assert_eq!(one.addr, Some(sharer.addr()));
        assert!(soon(asker.search(Query::words("blue mars"))).await.unwrap().try_recv().is_err());
        for servent in [sharer, asker, ultrapeer] {
            servent.stop().await;
        }
    }
}

#[tokio::test]
async fn what_is_shared_later_is_found_later() {
    let shelf = shelf().await;
    let ultrapeer = start(config(Role::Ultrapeer), None);
    let _sharer = start(told(Role::Leaf, &ultrapeer), Some(&shelf));
    let asker = start(told(Role::Leaf, &ultrapeer), None);
    until(&ultrapeer, |status| status.leaves == 2).await;
    until(&asker, |status| status.ultrapeers == 1).await;
    std::fs::write(shelf.dir.path().join("files/green star.ogg"), "green").unwrap();
    shelf.library.look_again();
    // Its words are known some seconds later; who asks too early asks again.
    let found = async {
        for again in 0.. {
            let text = format!("green star{}", " ".repeat(again)); // else it is the same question
            let mut found = asker.search(Query::words(&text)).await.unwrap();
            let wait = tokio::time::timeout(Duration::from_millis(500), found.recv());
            if let Ok(Some(one)) = wait.await {
                return one;
            }
        }
        unreachable!()
    };
    assert_eq!(soon(found).await.name, "green star.ogg");
}

#[tokio::test]
async fn neighbours_are_remembered_between_runs() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = Some(dir.path().to_owned());
    let ultrapeer = start(config(Role::Ultrapeer), None);
    let first =
        start(Config { state_dir: state_dir.clone(), ..told(Role::Leaf, &ultrapeer) }, None);
    until(&first, |status| status.ultrapeers == 1).await;
    first.stop().await;
    let (saved, Memory { guid, hosts }) = Saved::open(dir.path());
    drop(saved);
    assert_eq!(hosts, [ultrapeer.addr()]);
    until(&ultrapeer, |status| status.leaves == 0).await;
    let again = start(Config { state_dir, ..config(Role::Leaf) }, None);
    until(&again, |status| status.ultrapeers == 1).await;
    again.stop().await;
    assert_eq!(Saved::open(dir.path()).1.guid, guid, "and it is the same servent");
}

#[tokio::test]
async fn a_host_cache_is_asked_if_it_was_named() {
    let ultrapeer = start(config(Role::Ultrapeer), None);
    let page = TcpListener::bind(NOWHERE).await.unwrap();
    let cache = format!("http://{}/", page.local_addr().unwrap()).parse().unwrap();
    let body = format!("H|{}|5\n", ultrapeer.addr());
    tokio::spawn(async move {
        let (mut stream, _) = page.accept().await.unwrap();
        let mut head = [0; 2048];
        let _ = stream.read(&mut head).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(head.as_bytes()).await;
    });
    let servent = start(Config { caches: vec![cache], ..config(Role::Leaf) }, None);
    until(&servent, |status| status.ultrapeers == 1).await;
}

#[tokio::test]
async fn who_is_told_to_connect_tries_again_until_somebody_is_there() {
    let listener = TcpListener::bind(NOWHERE).await.unwrap();
    let SocketAddr::V4(at) = listener.local_addr().unwrap() else { unreachable!() };
    drop(listener);
    let servent = start(Config { connect: vec![hint(at)], ..config(Role::Leaf) }, None);
    tokio::time::sleep(Duration::from_millis(200)).await; // the first time is in vain
    let ultrapeer = start(Config { listen: at, ..config(Role::Ultrapeer) }, None);
    until(&servent, |status| status.ultrapeers == 1).await;
    until(&ultrapeer, |status| status.leaves == 1).await;
}
