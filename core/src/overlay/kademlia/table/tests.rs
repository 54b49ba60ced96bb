use super::*;
use crate::rng::Rng;
use proptest::prelude::*;
use std::net::SocketAddr;

const OWN: NodeId = NodeId([0; 20]);
const RTT: Duration = Duration::from_millis(100);

fn at(s: u64) -> Instant {
    Instant::from_micros(s * 1_000_000)
}

/// A node that shares `depth` bits with us, on a /24 of its own.
fn node(depth: usize, nth: u16) -> Contact {
    let mut id = NodeId(std::array::from_fn(|i| if i < 17 { 0 } else { 0xff }));
    room::copy_bit(&mut id, &OWN, depth, true);
    let tail = (u32::from(nth) << 4 | 1).to_be_bytes();
    id.0[16..].copy_from_slice(&tail);
    // The bits after the one that differs, so that nodes of one bucket are spread over its branches.
    for bit in 0..7 {
        if nth >> bit & 1 == 1 {
            room::copy_bit(&mut id, &OWN, depth + 1 + bit, true);
        }
    }
    Contact { id, addr: address(depth as u8, nth) }
}

fn address(a: u8, nth: u16) -> SocketAddr {
    let [b, c] = nth.to_be_bytes();
    SocketAddr::from(([60 + a, b, c, 1], 6881))
}

fn with_id_of(contact: Contact, addr: &str) -> Contact {
    Contact { addr: addr.parse().unwrap(), ..contact }
}

fn full_of(depth: usize, count: u16) -> Table {
    let mut table = Table::new(OWN, WIDTH);
    for nth in 0..count {
        table.answered(at(0), node(depth, nth), RTT);
    }
    table
}

#[test]
fn only_who_has_answered_gets_a_place_and_is_named() {
    let mut table = Table::new(OWN, WIDTH);
    table.heard_of(node(0, 1));
    table.queried_by(at(0), node(0, 2));
    assert!(table.is_empty() && table.closest(&OWN, 8).is_empty());
    assert_eq!(table.census(at(0)).spare, 2);
    assert!(table.answered(at(1), node(0, 1), RTT));
    assert_eq!(table.closest(&OWN, 8), [node(0, 1)]);
    assert!(table.trusts(&node(0, 1)) && !table.trusts(&node(0, 2)));
    assert!(!table.answered(at(1), Contact { id: OWN, ..node(0, 9) }, RTT), "ourselves");
}

#[test]
fn standings_follow_the_specification() {
    let mut table = full_of(0, 1);
    let census = |table: &Table, s| table.census(at(s));
    assert_eq!(census(&table, 900).good, 1);
    assert_eq!(census(&table, 902).questionable, 1);
    table.queried_by(at(902), node(0, 0));
    assert_eq!(census(&table, 902).good, 1, "a query of one who has answered before");
    table.failed(&node(0, 0));
    assert_eq!(census(&table, 903).questionable, 1);
    assert!(table.closest(&OWN, 8).is_empty(), "who did not answer last time is not named");
    table.failed(&node(0, 0));
    assert_eq!(census(&table, 904).bad, 1);
    assert!(table.answered(at(905), node(0, 0), RTT));
    assert_eq!(census(&table, 905).good, 1);
    (0..FORGET_AT).for_each(|_| table.failed(&node(0, 0)));
    assert!(table.is_empty());
}

#[test]
fn wide_buckets_far_away_and_a_replacement_when_one_turns_bad() {
    let mut table = full_of(0, 200);
    assert_eq!(table.len(), 128, "all on one side: no split");
    for depth in 1..12 {
        for nth in 0..40 {
            table.answered(at(0), node(depth, nth), RTT);
        }
    }
    let sizes: Vec<usize> = table.buckets.iter().map(|bucket| bucket.live.len()).collect();
    assert_eq!(sizes[..4], [128, 40, 32, 16], "{sizes:?}");
    assert!(sizes[4..11].iter().all(|&len| len == 8), "{sizes:?}");
    let spare = table.buckets[4].spare[0].contact();
    assert!(!table.closest(&spare.id, 200).contains(&spare));
    let victim = table.buckets[4].live[0].contact();
    table.failed(&victim);
    assert!(table.buckets[4].all().any(|entry| entry.contact() == victim), "asked once more");
    table.failed(&victim);
    assert!(!table.buckets[4].all().any(|entry| entry.contact() == victim));
    assert_eq!(table.buckets[4].live.len(), 8, "one who waited has its place");
}

#[test]
fn a_wider_table_holds_a_thousand_and_a_narrow_one_no_more_than_its_places() {
    let fill = |width: usize| {
        let mut table = Table::new(OWN, width);
        for depth in 0..40 {
            for nth in 0..600 {
                table.answered(at(0), node(depth, nth), RTT);
            }
        }
        table
    };
    for (width, want) in [(WIDTH, 464), (512, 1216), (0, 256)] {
        let (table, sum) = (fill(width), (0..BUCKETS_MAX).map(|depth| places(width, depth)).sum());
        assert_eq!((table.len(), want), (want, sum), "width {width}");
    }
    assert_eq!(fill(1 << 40).buckets[0].live.len(), 600, "no more than there are");
    assert_eq!((places(usize::MAX, 64), places(512, 1000)), (K, K));
}

#[test]
fn one_entry_for_an_address_and_one_of_a_subnet_in_a_bucket() {
    let mut table = Table::new(OWN, WIDTH);
    assert!(table.answered(at(0), with_id_of(node(0, 1), "8.8.8.1:1"), RTT));
    assert!(!table.answered(at(0), with_id_of(node(0, 2), "8.8.8.1:2"), RTT), "the same address");
    assert!(!table.answered(at(0), with_id_of(node(0, 3), "8.8.8.2:1"), RTT), "the same /24");
    assert!(table.answered(at(0), with_id_of(node(0, 4), "8.8.9.1:1"), RTT));
    assert!(
        !table.answered(at(0), with_id_of(node(0, 4), "9.9.9.9:1"), RTT),
        "a name that is taken"
    );
    assert_eq!(table.buckets.len(), 1);
    assert!(table.answered(at(0), with_id_of(node(1, 1), "8.8.8.3:1"), RTT), "of another bucket");
    assert!(!table.answered(at(0), with_id_of(node(1, 2), "8.8.8.4:1"), RTT), "of the same");
    for (nth, addr) in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "127.0.0.1:1", "127.0.0.1:2"]
        .into_iter()
        .enumerate()
    {
        assert!(table.answered(at(0), with_id_of(node(0, 10 + nth as u16), addr), RTT), "{addr}");
    }
}

#[test]
fn one_network_does_not_become_all_our_neighbours() {
    let mut table = Table::new(OWN, WIDTH);
    for near in 0..8 {
        let honest = with_id_of(node(12, near), &format!("9.9.{near}.1:1"));
        table.answered(at(0), honest, RTT);
    }
    for depth in 12..31 {
        let theirs = with_id_of(node(depth, 1), &format!("8.8.8.{depth}:1"));
        table.answered(at(0), theirs, RTT);
    }
    let near = table.closest(&OWN, 8);
    let theirs = near.iter().filter(|contact| contact.addr.to_string().starts_with("8.8.8."));
    assert!(theirs.count() <= NEAR_PER_NETWORK, "{near:?}");
}

#[test]
fn who_changes_his_name_is_forgotten_and_his_neighbours_are_asked_first() {
    let mut table = full_of(0, 20);
    let liar = Contact { id: node(0, 50).id, ..node(0, 3) };
    assert!(!table.answered(at(10), liar, RTT));
    assert_eq!(table.len(), 19);
    assert!(table.closest(&OWN, 100).iter().all(|contact| contact.addr != liar.addr));
    let mut rng = Rng::seeded(1);
    for _ in 0..19 {
        assert!(find(table.probe(at(11), &mut rng)).is_some_and(|who| who.addr != liar.addr));
    }
    assert_eq!(table.probe(at(11), &mut rng), None);
}

fn find(probe: Option<Probe>) -> Option<Contact> {
    match probe? {
        Probe::Find(who, _) | Probe::Ping(who) => Some(who),
    }
}

#[test]
fn a_query_under_another_name_has_the_old_one_asked_soon_and_takes_no_place() {
    let mut table = full_of(0, 20);
    let mut rng = Rng::seeded(1);
    let renamed = Contact { id: node(3, 50).id, ..node(0, 3) };
    table.asked(at(5), &node(0, 3));
    assert!(!table.queried_by(at(10), renamed));
    assert_eq!((table.len(), table.census(at(10)).spare), (20, 0), "it may be forged");
    assert_eq!(table.census(at(10)).good, 20);
    assert!(table.closest(&OWN, 100).contains(&node(0, 3)));
    assert!(!table.hungry(at(124)), "it was asked not long ago");
    assert_eq!(table.probe(at(124), &mut rng), None);
    assert!(table.hungry(at(125)));
    assert_eq!(find(table.probe(at(125), &mut rng)), Some(node(0, 3)));
    assert!(!table.hungry(at(126)) && table.probe(at(126), &mut rng).is_none());

    assert!(!table.answered(at(126), renamed, RTT), "not with the first answer");
    assert!(!table.closest(&OWN, 100).iter().any(|known| known.addr == renamed.addr));
    table.queried_by(at(127), renamed);
    assert_eq!(find(table.probe(at(127), &mut rng)), Some(renamed));
    assert!(table.answered(at(128), renamed, RTT) && table.closest(&OWN, 1) == [renamed]);
}

#[test]
fn a_crowd_of_strangers_costs_a_thousand_looks_a_second() {
    let mut table = full_of(0, 20);
    let renamed = Contact { id: node(3, 50).id, ..node(0, 3) };
    for nth in 0..LOOKS_A_SECOND {
        table.queried_by(at(10), with_id_of(node(1, nth), "60.0.0.1:7"));
    }
    table.queried_by(at(10), renamed);
    assert!(!table.hungry(at(10)), "there was better to do");
    table.queried_by(at(11), renamed);
    assert!(table.hungry(at(11)));
    table.asked(at(12), &with_id_of(node(0, 3), "9.9.9.9:9"));
    assert!(table.hungry(at(12)), "somebody else was asked");
}

#[test]
fn forged_names_make_us_forget_nobody_and_ask_nobody_often() {
    let mut table = full_of(0, 100);
    let mut rng = Rng::seeded(1);
    let mut asked = std::collections::BTreeMap::<SocketAddr, u32>::new();
    for s in 1..=1200 {
        for nth in 0..100 {
            let forged = Contact { id: NodeId::random(&mut rng), ..node(0, nth) };
            table.queried_by(at(s), forged);
        }
        for _ in 0..5 {
            let Some(who) = find(table.probe(at(s), &mut rng)) else { break };
            *asked.entry(who.addr).or_default() += 1;
            table.answered(at(s), who, RTT);
        }
    }
    assert_eq!(table.len(), 100);
    assert!(
        asked.len() == 100 && asked.values().all(|times| (8..=10).contains(times)),
        "{asked:?}"
    );
}

#[test]
fn probes_go_to_the_silent_and_not_too_often() {
    let mut table = full_of(0, 3);
    let mut rng = Rng::seeded(1);
    assert_eq!(table.probe(at(10), &mut rng), None, "all heard just now");
    table.heard_of(node(0, 9));
    assert!(table.hungry(at(10)));
    let Some(Probe::Find(who, target)) = table.probe(at(10), &mut rng) else {
        panic!("room is free")
    };
    assert_eq!(who, node(0, 9));
    assert_eq!(target.shared_bits(&OWN).min(1), target.shared_bits(&OWN), "any id: one bucket");
    assert!(!table.hungry(at(11)) && table.probe(at(11), &mut rng).is_none());
    table.failed(&node(0, 9));
    assert_eq!(table.census(at(12)).spare, 0);
    table.failed(&node(0, 1));
    let asked: Vec<_> = (1000..1003).filter_map(|s| table.probe(at(s), &mut rng)).collect();
    assert!(matches!(asked[0], Probe::Find(who, _) if who == node(0, 1)), "who failed comes first");
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_fitting_id_or_a_much_shorter_way_wins_a_place() {
    let mut table = full_of(0, 200);
    let newcomer = node(0, 300);
    assert!(!table.answered(at(0), newcomer, RTT), "no better than those who are there");
    let newcomer = node(0, 301);
    assert!(table.answered(at(0), newcomer, RTT / 10));
    let mut rng = Rng::seeded(1);
    let addr: SocketAddr = "99.99.99.99:1".parse().unwrap();
    let id = loop {
        let id = crate::overlay::kademlia::id_for(addr.ip(), &mut rng);
        if id.shared_bits(&OWN) == 0 {
            break id;
        }
    };
    assert!(table.answered(at(0), Contact { id, addr }, RTT * 3));
    assert_eq!(table.len(), 128);
}

#[test]
fn a_new_id_keeps_the_nodes() {
    let mut table = full_of(0, 100);
    table.heard_of(node(0, 500));
    table.rehome(NodeId([0x80; 20]));
    assert_eq!((table.len(), table.census(at(0)).spare), (100, 1));
    assert_eq!(table.worth_keeping(50).len(), 50);
}

proptest! {
    /// Whatever comes: no bucket overflows, everybody is where he belongs, nobody is there twice, and the closest are
    /// what a plain sort gives.
    #[test]
    fn a_table_stays_sound(
        steps in proptest::collection::vec((0usize..20, 0u16..300, 0u8..5), 0..400), target: [u8; 20],
    ) {
        let mut table = Table::new(OWN, WIDTH);
        for (step, (depth, nth, what)) in steps.into_iter().enumerate() {
            let contact = node(depth, nth);
            let now = at(step as u64 * 10);
            match what {
                0 => table.heard_of(contact),
                1 => table.failed(&contact),
                2 => { table.queried_by(now, contact); }
                _ => { table.answered(now, contact, RTT); }
            }
        }
        let mut all = Vec::new();
        for (at, bucket) in table.buckets.iter().enumerate() {
            prop_assert!(bucket.live.len() <= places(WIDTH, at) && bucket.spare.len() <= 8);
            for entry in bucket.all() {
                prop_assert_eq!(table.index(&entry.id), at);
                all.push(entry.addr());
            }
            prop_assert!(bucket.live.iter().all(|entry| entry.confirmed));
        }
        all.sort();
        prop_assert!(all.windows(2).all(|pair| pair[0] != pair[1]));

        let target = NodeId(target);
        let mut sorted: Vec<_> =
            table.live().filter(|entry| entry.presentable()).map(Entry::contact).collect();
        sorted.sort_by_key(|contact| contact.id.distance(&target));
        sorted.truncate(8);
        prop_assert_eq!(table.closest(&target, 8), sorted);
    }
}

#[test]
fn an_address_keeps_its_family() {
    for text in ["8.8.8.8:1", "[::ffff:8.8.8.8]:1", "[2001:db8::1]:1"] {
        let contact = Contact { id: NodeId([3; 20]), addr: text.parse().unwrap() };
        assert_eq!(Entry::hearsay(contact).contact(), contact);
    }
    assert!(size_of::<Entry>() <= 56);
}
