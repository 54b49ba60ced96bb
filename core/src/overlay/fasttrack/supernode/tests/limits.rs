//! What one node and one query may cost, in the numbers that the network is known for.

use super::*;

fn shares(sn: &mut Supernode, now: Instant, node: u64, count: u32) {
    for n in 0..count {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&node.to_be_bytes());
        hash[8..12].copy_from_slice(&n.to_be_bytes());
        let mut share = share(1, "song.mp3");
        share.file.hash = UuHash(hash);
        sn.handle_message(now, LinkKey(node), Message::Share(share));
    }
}

#[test]
fn a_hundred_nodes_of_a_thousand_files() {
    let limits = Limits::default();
    assert_eq!((limits.crowded, limits.shares, limits.files), (100, 1000, 100 * 1000));
    let mut sn = supernode(1, limits);
    log_in(&mut sn, at(0), 1);
    shares(&mut sn, at(0), 1, 1001);
    assert_eq!(sn.files(), 1000);
    // Of all nodes together there is a bound as well, and what leaves makes room.
    let mut sn = supernode(1, Limits { files: 5, ..limits });
    (1..=3).for_each(|n| log_in(&mut sn, at(0), n));
    shares(&mut sn, at(0), 1, 4);
    shares(&mut sn, at(0), 2, 4);
    assert_eq!(sn.files(), 5);
    sn.handle_closed(at(1), LinkKey(1));
    shares(&mut sn, at(1), 3, 4);
    assert_eq!(sn.files(), 5);
}

/// Nobody is asked to become a supernode while there are a hundred nodes or fewer.
#[test]
fn with_one_more_the_best_is_asked_to_become_a_supernode() {
    let mut sn = supernode(1, Limits::default());
    log_in(&mut sn, at(0), 1);
    let best = Identity { user: "u1".into(), ip: Ipv4Addr::new(8, 8, 1, 1) };
    sn.ledger().vouch(at(0), &best, 200);
    sn.handle_message(at(0), LinkKey(1), Message::Ours { uptime_s: 3600 });
    let promoted = |sn: &mut Supernode| said(sn, 1).contains(&Message::Promote);
    for n in 2..=100 {
        sn.handle_child(at(1), LinkKey(n), SocketAddrV4::new([8, 8, n as u8, 1].into(), 5));
        assert!(!promoted(&mut sn), "{n}");
    }
    sn.handle_child(at(1), LinkKey(101), addr("8.8.101.1:5"));
    assert!(promoted(&mut sn));
    sn.handle_child(at(2), LinkKey(102), addr("8.8.102.1:5"));
    assert!(!promoted(&mut sn), "once an hour");
    sn.handle_child(at(3_600_001), LinkKey(103), addr("8.8.103.1:5"));
    assert!(promoted(&mut sn));
    assert_eq!(sn.children(), 103, "and there is room for them until it has");
}

#[test]
fn a_node_gets_two_hundred_results() {
    let mut sn = supernode(1, Limits::default());
    (1..=2).for_each(|n| log_in(&mut sn, at(0), n));
    shares(&mut sn, at(0), 2, 250);
    for (wanted, got) in [(1000, 200), (30, 30), (0, 0)] {
        sn.handle_message(at(1), LinkKey(1), Message::Query(Query::words(7, wanted, "song")));
        let told = said(&mut sn, 1);
        let hits = told.iter().map(|message| match message {
            Message::Reply(reply) => reply.hits.len(),
            _ => 0,
        });
        assert_eq!(hits.sum::<usize>(), got);
        assert_eq!(told.last(), Some(&Message::QueryEnd(7)));
    }
}

#[test]
fn eight_others_are_asked_for_a_query_and_none_after_five_seconds() {
    let mut sn = supernode(1, Limits::default());
    log_in(&mut sn, at(0), 1);
    (2..=13).for_each(|n| call(&mut sn, at(0), n.into(), ip(n), SocketAddrV4::new(ip(n), 1214)));
    assert_eq!(sn.mates(), 12);
    outputs(&mut sn);
    sn.tick_at = Instant::FAR_FUTURE;
    let asked = |sn: &mut Supernode| {
        let query = |output: SupernodeOutput| match output {
            SupernodeOutput::Mesh(link, MeshMessage::Query { guid, .. }) => Some((link, guid)),
            _ => None,
        };
        outputs(sn).into_iter().filter_map(query).collect::<Vec<_>>()
    };
    // All answer at once, and have nothing.
    sn.handle_message(at(1), LinkKey(1), Message::Query(Query::words(7, 50, "x")));
    let mut count = 0;
    while let [(link, guid)] = asked(&mut sn)[..] {
        count += 1;
        sn.handle_mesh(at(2), link, MeshMessage::End(guid));
    }
    assert_eq!((count, sn.searches.len()), (8, 0));
    // None answers: the next has his turn after a second.
    sn.handle_message(at(3000), LinkKey(1), Message::Query(Query::words(8, 50, "x")));
    let mut late = asked(&mut sn).len();
    while sn.poll_timeout() < Instant::FAR_FUTURE {
        let now = sn.poll_timeout();
        assert!(now <= at(8000));
        sn.handle_timeout(now);
        late += asked(&mut sn).len();
    }
    assert_eq!(late, 5);
}

#[test]
fn a_query_is_known_again_for_ten_minutes() {
    let mut sn = supernode(1, Limits::default());
    log_in(&mut sn, at(0), 1);
    sn.handle_message(at(0), LinkKey(1), Message::Share(share(1, "song.mp3")));
    call(&mut sn, at(0), 2, ip(2), SocketAddrV4::new(ip(2), 1214));
    outputs(&mut sn);
    let mut answers = |now| {
        let (guid, terms) = (Guid([5; 16]), Query::words(0, 9, "song").terms);
        let realm = crate::proto::fasttrack::Realm::ALL;
        let query = MeshMessage::Query { guid, ttl: 1, want: 9, realm, terms };
        sn.handle_mesh(now, LinkKey(2), query);
        outputs(&mut sn).len() // hits and their end, or the end alone
    };
    assert_eq!([0, 1, 600_000, 600_001].map(|ms| answers(at(ms))), [2, 1, 1, 2]);
}
