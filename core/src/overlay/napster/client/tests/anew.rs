//! What outlives a link: what we share, and how near others are.

use super::*;
use crate::overlay::napster::Nearness;
use crate::share::{Catalogue, Hashes, Item, Place};
use crate::storage::Stamp;
use std::sync::Arc;

fn item(path: &str, md5: u8) -> Item {
    let path = path.split('/').map(str::to_owned).collect();
    let stamp = Stamp { len: 5, mtime_ns: 7 };
    let hashes =
        Hashes { sha1: [md5; 20], md5: [md5; 16], uu: crate::proto::fasttrack::UuHash([0; 20]) };
    Item { hashes: Some(hashes), ..Item::new(Place { folder: 0, path }, stamp) }
}

fn sorted(mut said: Vec<String>) -> Vec<String> {
    said.sort();
    said
}

#[test]
fn a_catalogue_and_what_changes_of_it_is_said() {
    let mut scene = Scene::inside(config("bob", 6699));
    let torrent = InfoHash([0xab; 20]);
    let mut items = vec![item("a/x.mp3", 1), item("b/x.mp3", 2), item("y.mp3", 3), item("z", 4)];
    items[3].torrent = Some((torrent, 0));
    items[3].hashes = None;
    let first = Arc::new(Catalogue::of(items.clone()));
    scene.client.publish(&first);
    let md5 = |n: u8| format!("{n:02x}").repeat(16);
    let hex = torrent.to_string();
    let numbered = first.iter().find(|(_, item)| item.place.path[0] == "b").unwrap().0;
    let want = [
        format!("100 \"{numbered} x.mp3\" {} 5 0 0 0", md5(2)),
        // Without the classic hash, half of the torrent's.
        format!("100 \"btih-{hex}\\z\" {} 5 0 0 0", &hex[..32]),
        format!("100 \"x.mp3\" {} 5 0 0 0", md5(1)),
        format!("100 \"y.mp3\" {} 5 0 0 0", md5(3)),
    ];
    assert_eq!(sorted(scene.says()), want);
    let path = Text::from("y.mp3");
    assert_eq!(scene.client.published(&path).unwrap().name, "y.mp3");
    items.retain(|item| item.name != "y.mp3");
    items.push(item("new.mp3", 9));
    let second = Arc::new(first.renewed(items));
    scene.client.publish(&second);
    let new = format!("100 \"new.mp3\" {} 5 0 0 0", md5(9));
    assert_eq!(sorted(scene.says()), [new, "102 y.mp3".to_owned()]);
    assert!(scene.client.published(&path).is_none());
    // Another link hears of everything, and of nothing twice.
    scene.client.handle_closed();
    scene.client.handle_connected(scene.now, [10, 0, 0, 9].into());
    assert_eq!(scene.says().len(), 1);
    scene.hears(3, "anon@x");
    assert_eq!((scene.says().len(), scene.client.shared()), (4, 4));
    // What comes and goes before it was said is not said.
    scene.client.publish(&first);
    scene.client.publish(&second);
    let said = scene.says();
    assert!(said.iter().all(|said| !said.contains("y.mp3")), "{said:?}");
}

#[test]
fn a_server_that_takes_no_more_files_is_told_of_no_more() {
    let mut scene = Scene::inside(config("bob", 6699));
    let items = (0..2000).map(|n| item(&format!("{n}.mp3"), n as u8)).collect();
    scene.client.publish(&Arc::new(Catalogue::of(items)));
    assert!(scene.client.poll_transmit().is_some());
    scene.hears(404, "You may only share 100 files");
    assert_eq!(scene.client.poll_transmit(), None);
    assert!(matches!(scene.events()[..], [Event::Warning(_)]));
}

#[test]
fn searches_end_with_the_link_and_with_none() {
    let mut client = Client::new(config("bob", 6699));
    let id = client.search(at(0), Query::for_words("a"));
    assert_eq!(client.poll_event(), None);
    client.handle_closed();
    let lost = |id| Event::SearchEnded(id, SearchEnd::LinkLost);
    assert_eq!(client.poll_event(), Some(lost(id)));
    assert_eq!(client.poll_event(), Some(Event::Closed(Refused::Silent)));
    client.handle_closed();
    assert_eq!(client.poll_event(), Some(Event::Closed(Refused::Silent)), "once more nobody");
    assert_eq!(client.poll_event(), None);
    let id = client.search(at(0), Query::for_words("a"));
    assert_eq!(client.poll_event(), Some(lost(id)));
}

#[test]
fn the_users_of_a_reply_are_measured() {
    let mut scene = Scene::inside(Config { pings: 3, ..config("bob", 6699) });
    scene.client.search(scene.now, Query::for_words("a"));
    scene.says();
    let names = ["u1", "u1", "u2", "u3", "u4"];
    names.iter().for_each(|name| scene.row(row("a.mp3", 5, name, [10, 0, 0, 1])));
    assert_eq!(scene.says(), ["751 u1", "751 u2", "751 u3"]);
    scene.events();
    let nearness = |scene: &Scene, name| scene.client.nearness(scene.now, &nick(name));
    assert_eq!(nearness(&scene, "U1"), Nearness::Asked);
    assert_eq!(nearness(&scene, "u4"), Nearness::Unasked);
    scene.now += Duration::from_millis(40);
    scene.hears(752, "u2");
    scene.hears(752, "u4");
    let near = Duration::from_millis(40);
    assert_eq!(scene.events(), [Event::Near(nick("u2"), near), Event::Pong(nick("u4"))]);
    assert_eq!(nearness(&scene, "u2"), Nearness::Known(near));
    scene.wait(3);
    assert_eq!((nearness(&scene, "u1"), scene.events()), (Nearness::Unasked, vec![]));
    // A row that says where he is needs no server.
    scene.hears(202, "");
    let query = Query { btih: Some(InfoHash([0xab; 20])), ..Query::for_words("a") };
    scene.client.search(scene.now, query);
    scene.says();
    scene.events();
    let hex = "ab".repeat(20);
    scene.hears(21_337, &format!("\"film.mkv\" 5 {hex} 3 1 eve 16777226 6699 7 9"));
    let addr = "10.0.0.1:6699".parse().unwrap();
    assert!(scene.events().contains(&Event::Measure(nick("eve"), addr)));
    assert_eq!(scene.says(), Vec::<String>::new());
    scene.client.handle_measured(scene.now, nick("eve"), None);
    assert_eq!((nearness(&scene, "eve"), scene.events()), (Nearness::Unasked, vec![]));
    // What is known is not asked again, for a while, and survives the link.
    scene.client.handle_closed();
    assert_eq!(nearness(&scene, "u2"), Nearness::Known(near));
    scene.now += Duration::from_secs(600);
    assert_eq!(nearness(&scene, "u2"), Nearness::Unasked);
}

#[test]
fn who_is_waited_for_and_does_not_come_is_given_up() {
    let mut scene = Scene::inside(config("bob", 6699));
    let (eve, path) = (|| nick("eve"), || Text::from("a.mp3"));
    let ask = |scene: &mut Scene| {
        scene.client.download(scene.now, eve(), path());
        scene.hears(204, &format!("eve 16777226 0 \"a.mp3\" {} 7", "0".repeat(32)));
        assert_eq!(scene.events(), [Event::FetchComes(eve(), path())]);
    };
    ask(&mut scene);
    scene.wait(60);
    assert_eq!(scene.events(), [Event::Failed(eve(), path(), Failure::NoAnswer)]);
    ask(&mut scene);
    scene.client.came(&eve(), &path());
    assert!(!scene.client.may_send(scene.now, &eve(), &path()));
    scene.wait(60);
    assert_eq!(scene.events(), []);
    scene.client.browse_directly(scene.now, eve());
    scene.wait(60);
    let silent = BrowseEnd::Refused("no answer".into());
    assert_eq!(scene.events(), [Event::BrowseEnded(eve(), silent)]);
    // Nobody sends us anywhere for a list that we have not asked for.
    scene.hears(641, "eve 16777226 6699");
    scene.hears(642, "eve \"no\"");
    assert_eq!(scene.events(), []);
    scene.hears(605, "eve \"User\" 1000");
    assert_eq!(scene.events(), [Event::Whowas(eve(), 1000)]);
}
