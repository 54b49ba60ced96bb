//! Goal: what was put is got, the newest of it, also after half of those that store it have gone.
//! Method: networks of production nodes that know each other; an owner puts, others get.

use crate::{secs, seeds, settled, sized};
use gaggle_core::clock::Instant;
use gaggle_core::id::NodeId;
use gaggle_core::lab::Overlay;
use gaggle_core::overlay::kademlia::{Config, Event, K, Node};
use gaggle_core::proto::krpc::{ErrorCode, Item, ItemValue, Put, Salt};
use gaggle_core::sign::SecretKey;

fn world(seed: u64) -> Overlay {
    settled(seed, sized(200, 2_000), 0, &Config { upkeep: false, ..Config::default() })
}

fn salt() -> Salt {
    Salt::new(b"latest").unwrap()
}

fn signed(seq: i64, text: &str) -> Put {
    let value = ItemValue::of_bytes(text.as_bytes()).unwrap();
    let owner = SecretKey::from_seed(&[9; 32]);
    Put { item: Item::sign(&owner, &salt(), seq, value), salt: salt(), cas: None }
}

/// What a host reports of what it was told to do.
fn report(
    world: &mut Overlay,
    host: usize,
    command: impl FnOnce(&mut Node, Instant) -> Vec<gaggle_core::overlay::kademlia::LookupId>,
) -> Vec<Event> {
    world.take_events();
    world.act(host, command).expect("it runs");
    world.run(secs(20));
    let of_host = |(_, who, event)| (who == host).then_some(event);
    world.take_events().into_iter().filter_map(of_host).collect()
}

fn put(world: &mut Overlay, host: usize, put: Put) -> (u32, Option<ErrorCode>) {
    let events = report(world, host, |node, now| node.put_item(now, put));
    let stored = events.iter().find_map(|event| match event {
        Event::Stored { stored, refused, .. } => Some((*stored, *refused)),
        _ => None,
    });
    stored.expect("every put ends")
}

/// The last item that was reported, how many nodes had it, and how many were asked.
fn get(world: &mut Overlay, host: usize, target: NodeId) -> (Option<Item>, u32, u32) {
    let events = report(world, host, |node, now| node.get_item(now, target, &salt()));
    let done = events.iter().find_map(|event| match event {
        Event::Done { found, .. } => Some((found.copies, found.asked)),
        _ => None,
    });
    let (copies, asked) = done.expect("every lookup ends");
    let item = events.into_iter().rev().find_map(|event| match event {
        Event::Item { item, .. } => Some(*item),
        _ => None,
    });
    (item, copies, asked)
}

/// Those that have stored something.
fn keepers(world: &Overlay) -> Vec<usize> {
    let has = |&host: &usize| {
        let status = world.node(host).expect("it runs").status(world.now());
        status.v4.is_some_and(|side| side.items > 0)
    };
    world.up().into_iter().filter(has).collect()
}

#[test]
fn what_was_put_is_got_after_half_of_its_keepers_have_gone() {
    for seed in seeds() {
        let mut world = world(seed);
        let value = ItemValue::of_bytes(b"Hello World!").unwrap();
        let hello = Put::new(Item { value, signed: None });
        let (target, item) = (hello.target(), hello.item.clone());
        assert_eq!(put(&mut world, 3, hello), (K as u32, None), "seed {seed}");
        let keepers = keepers(&world);
        assert_eq!(keepers.len(), K);
        let asks = |world: &Overlay, from: usize| {
            let free = |host: &usize| !keepers.contains(host) && *host != 3;
            world.up().into_iter().skip(from).find(free).unwrap()
        };
        let (other, late) = (asks(&world, 50), asks(&world, 100));
        let (got, copies, asked) = get(&mut world, other, target);
        assert_eq!((got.as_ref(), copies), (Some(&item), 1), "the first copy is enough");
        assert!(asked < 20, "{asked} questions");
        keepers.iter().take(K / 2).for_each(|&host| world.kill(host));
        assert_eq!(get(&mut world, late, target).0, Some(item.clone()), "seed {seed}");
        assert_eq!(get(&mut world, keepers[K - 1], target).0, Some(item), "it is here already");
        // After two hours it is gone, unless somebody has put it again.
        world.run(secs(2 * 3600));
        assert_eq!(get(&mut world, late, target).0, None);
    }
}

#[test]
fn the_newest_wins_and_what_is_older_is_refused() {
    for seed in seeds() {
        let mut world = world(seed);
        let target = signed(1, "").target();
        assert_eq!(put(&mut world, 3, signed(1, "one")), (8, None), "seed {seed}");
        assert_eq!(put(&mut world, 4, signed(3, "three")), (8, None));
        assert_eq!(put(&mut world, 5, signed(2, "two")), (0, Some(ErrorCode::SEQ)));
        assert_eq!(put(&mut world, 5, signed(3, "other")), (0, Some(ErrorCode::SEQ)));
        assert_eq!(put(&mut world, 5, signed(3, "three")), (8, None), "it is renewed");
        let only_after = |seq, put: Put| Put { cas: Some(seq), ..put };
        assert_eq!(put(&mut world, 6, only_after(2, signed(4, "four"))), (0, Some(ErrorCode::CAS)));
        assert_eq!(put(&mut world, 6, only_after(3, signed(4, "four"))), (8, None));
        let (got, copies, _) = get(&mut world, 60, target);
        assert_eq!((got, copies), (Some(signed(4, "four").item), 8));
        // Newcomers nearer to the target have nothing, and the condition is not for them.
        keepers(&world).into_iter().take(4).for_each(|host| world.kill(host));
        let (stored, refused) = put(&mut world, 7, only_after(4, signed(5, "five")));
        assert!(stored > 4 && refused.is_none(), "seed {seed}: {stored} {refused:?}");
        // Some still have the older one; a reader is told of the newest.
        assert_eq!(get(&mut world, 61, target).0, Some(signed(5, "five").item));
        // Where the salt is another one, nothing of it counts.
        let elsewhere = report(&mut world, 62, |node, now| {
            node.get_item(now, target, &Salt::new(b"oldest").unwrap())
        });
        assert!(!elsewhere.iter().any(|event| matches!(event, Event::Item { .. })));
    }
}
