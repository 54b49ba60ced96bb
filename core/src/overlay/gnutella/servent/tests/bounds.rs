//! Dialogues at the bounds of what a neighbour may have or cost.

use super::*;
use crate::id::InfoHash;

fn find(link: LinkId, sent: &[(LinkId, Descriptor)]) -> Vec<Vendor> {
    let to = sent.iter().filter(|(to, one)| *to == link && one.header.kind == Kind::VENDOR);
    to.map(|(_, one)| Vendor::parse(&one.payload).unwrap()).collect()
}

#[test]
fn a_neighbour_is_told_to_hold_back_and_to_go_on_and_is_left_in_the_end() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    let mut asked = 0;
    let mut flood = |desk: &mut Desk| {
        asked += 1;
        desk.give(a, &query(asked, &format!("some words {asked}"), 3));
        for n in 0..230u8 {
            desk.give(b, &hit(asked, n, 3));
        }
    };
    flood(&mut desk);
    desk.pass(1);
    assert_eq!(find(a, &desk.sent()), [Vendor::HopsFlow(0)]);
    desk.pass(1);
    assert_eq!(find(a, &desk.sent()), [Vendor::HopsFlow(u8::MAX)], "it has read");
    // From here on it does not read, and talks all the same.
    flood(&mut desk);
    desk.pass(1);
    for _ in 0..6 {
        assert!(desk.servent.link(a).unwrap().side().is_some());
        for link in [a, b] {
            desk.give(link, &Descriptor::new(Guid([1; 16]), Kind::PONG, 1, vec![0; 14]));
        }
        desk.pass(30);
    }
    assert_eq!(desk.closed(), Why::Ours(502));
}

#[test]
fn who_does_not_know_the_last_word_does_not_hear_it() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let link = desk.accept();
    desk.say(link, b"GNUTELLA CONNECT/0.4\n\n");
    desk.heard(link);
    desk.servent.shut_down(desk.now);
    assert_eq!((desk.sent(), desk.closed()), (vec![], Why::Ours(200)));
}

#[test]
fn answers_that_are_too_long_are_not_relayed() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, b) = (desk.join(true), desk.join(true));
    desk.give(a, &query(1, "blue moon", 3));
    desk.sent();
    for (name, relayed) in [(3_900, 1), (4_090, 0)] {
        let mut answer = QueryHit::parse(&hit(1, name as u8, 3).payload).unwrap();
        answer.hits.truncate(4);
        answer.hits.iter_mut().for_each(|hit| hit.name = "x".repeat(name));
        let answer = Descriptor::new(Guid([1; 16]), Kind::QUERY_HIT, 3, answer.encode());
        assert_eq!(answer.payload.len() <= 16 << 10, relayed == 1);
        desk.give(b, &answer);
        assert_eq!(desk.sent_of(Kind::QUERY_HIT).len(), relayed);
    }
}

/// The longest names there are, and all that can be said of a file.
#[test]
fn our_answers_are_no_longer_than_4_kib_and_no_more_than_are_wanted() {
    let name = |n: u32| format!("{n:02} blue {}", "x".repeat(255 - 8));
    let mut files = Catalogue::default();
    let items = (0..60).map(|n| {
        let torrent = Some((InfoHash([n as u8; 20]), n));
        crate::share::Item { torrent, ..file(&name(n), 5 << 32, Some(n as u8)) }
    });
    files = files.renewed(items.collect());
    let mut desk = Desk::of(Role::Leaf);
    desk.servent.share(Library::new(Arc::new(files)));
    let link = desk.join(true);
    for (n, max, want) in [(1, 0, 50), (2, 3, 3), (3, 200, 50)] {
        let ask = Query { flags: Query::FLAGS | max, ..Query::words("blue") };
        desk.give(
            link,
            &travelled(Descriptor::new(Guid([n; 16]), Kind::QUERY, 1, ask.encode()), 1),
        );
        let sent = desk.sent_of(Kind::QUERY_HIT);
        assert!(sent.iter().all(|(_, one)| one.payload.len() <= 4 << 10));
        let hits = sent.iter().map(|(_, one)| QueryHit::parse(&one.payload).unwrap().hits.len());
        assert_eq!(hits.sum::<usize>(), want);
    }
}

#[test]
fn a_table_that_is_half_told_keeps_nothing_back() {
    let mut desk = Desk::of(Role::Ultrapeer);
    let (a, leaf) = (desk.join(true), desk.join(false));
    let told = table_of(&["violet"]);
    desk.give(leaf, &told[0]);
    desk.give(a, &query(1, "green star", 2));
    assert_eq!(desk.sent_of(Kind::QUERY).len(), 1);
    told[1..].iter().for_each(|one| desk.give(leaf, one));
    desk.give(a, &query(2, "green sun", 2));
    assert_eq!(desk.sent_of(Kind::QUERY), []);
}

#[test]
fn so_many_others_are_named_and_remembered() {
    let mut desk = Desk::of(Role::Leaf);
    for n in 0..=250 {
        desk.servent.add_host(SocketAddrV4::new([198, 18, n, 9].into(), 6346));
    }
    assert_eq!(desk.servent.hosts().count(), 200);
    let link = desk.accept();
    desk.say(link, b"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\n\r\n");
    let refusal = desk.block(link);
    assert_eq!(refusal.list("X-Try-Ultrapeers").count(), 10);
}

#[test]
fn who_cannot_be_connected_to_is_named_to_neighbours_alone() {
    let config = Config { firewalled: true, ..Config::of(Role::Leaf, v4("198.18.0.1:6346")) };
    let mut desk = Desk::new(config, &[]);
    let link = desk.join(true);
    for (n, ttl, pongs) in [(1, 4, 0), (2, 1, 1)] {
        desk.now += Duration::from_secs(1);
        desk.give(link, &Descriptor::new(Guid([n; 16]), Kind::PING, ttl, Bytes::new()));
        assert_eq!(desk.sent_of(Kind::PONG).len(), pongs);
    }
}
