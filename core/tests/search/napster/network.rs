//! Goal: whatever somebody shares is found, each search costs one message and its answer, and that does not grow with
//! the number of users.
//! Method: most users share nothing and a third cannot be reached; some leave; then searches for words that one in a
//! hundred shares, that one user shares, and that nobody shares, one after another, from users chosen at random.

use super::world::{World, file};
use crate::{figure, ms, percent, quantile, secs, seeds, sized};
use gaggle_core::overlay::napster::{ClientEvent, DirectoryConfig, Limits, SearchEnd, Shareable};
use gaggle_core::proto::napster::Query;

struct Tally {
    found: usize,
    asked: usize,
    sent: u64,
    received: u64,
    bytes: u64,
    took: Vec<f64>,
}

/// Lets users search for these words, and counts what it costs.
fn search(world: &mut World, searchers: &[usize], words: impl Fn(usize, usize) -> String) -> Tally {
    let mut tally = Tally { found: 0, asked: 0, sent: 0, received: 0, bytes: 0, took: Vec::new() };
    for (nth, &host) in searchers.iter().enumerate() {
        // Nothing else is on the way to this user: once a minute everybody is told how many there are.
        while world.now.as_micros() % 60_000_000 > 50_000_000 {
            world.run(secs(1));
        }
        world.hosts[host].events.clear();
        let before =
            (world.hosts[host].sent, world.hosts[host].received, world.hosts[host].received_bytes);
        let began = world.now;
        world.act(host, |client, now| client.search(now, Query::for_words(&words(nth, host))));
        world.run(secs(5));
        let this = &world.hosts[host];
        tally.asked += 1;
        tally.sent += this.sent - before.0;
        tally.received += this.received - before.1;
        tally.bytes += this.received_bytes - before.2;
        let hit = this.events.iter().find(|(_, event)| matches!(event, ClientEvent::Hit(..)));
        tally.found += usize::from(hit.is_some());
        tally.took.extend(hit.map(|(at, _)| at.since(began).as_secs_f64()));
        let ended = |(_, event): &(_, ClientEvent)| {
            matches!(event, ClientEvent::SearchEnded(_, SearchEnd::Done))
        };
        assert!(this.events.iter().any(ended), "a search of {host} has no end");
    }
    tally
}

fn populated(seed: u64, users: usize, files: usize) -> World {
    let limits = Limits { connections: users, ..Limits::default() };
    let mut world = World::new(seed, DirectoryConfig { limits, ..DirectoryConfig::default() });
    for user in 0..users {
        let port = if world.rng.below(3) == 0 { 0 } else { 6699 };
        let host = world.join(port);
        if world.rng.below(10) < 7 {
            world.run(ms(2));
            continue;
        }
        for nth in 0..files {
            let path =
                format!("music\\band{}\\track {nth} of user{user}.mp3", world.rng.below(500));
            let size = 4_000_000;
            let shared = Shareable { file: file(&path), size, btih: None };
            world.act(host, |client, _| client.share(shared));
        }
        world.run(ms(20));
    }
    // What one in a hundred has, freeloader or not: 20 things.
    for thing in 0..20 {
        for _ in 0..(users / 100).max(1) {
            let host = world.rng.index(users);
            let shared = Shareable {
                file: file(&format!("hits\\famous hit{thing}.mp3")),
                size: 4_000_000,
                btih: None,
            };
            world.act(host, |client, _| client.share(shared));
        }
    }
    world.run(secs(10));
    world
}

#[test]
fn claim_search_napster_every_search_is_one_pair_of_messages() {
    let (users, files, searches) = sized((400, 5, 40), (10_000, 20, 400));
    for seed in seeds() {
        let mut world = populated(seed, users, files);
        assert_eq!(world.server.counters().users, users);
        let shared = world.server.counters().files;
        for _ in 0..users / 20 {
            let host = world.rng.index(users);
            world.leave(host);
        }
        let here: Vec<usize> =
            (0..users).filter(|&host| world.hosts[host].client.is_in()).collect();
        assert_eq!(world.server.counters().users, here.len());
        // Two who cannot be reached do not see each other's files: who searches for one user's can be.
        let reachable: Vec<usize> =
            here.iter().copied().filter(|&host| world.hosts[host].reachable).collect();
        let mut draw = |from: &[usize]| -> Vec<usize> {
            (0..searches).map(|_| from[world.rng.index(from.len())]).collect()
        };
        let searchers = [draw(&here), draw(&reachable), draw(&here)];
        let mut gives = |host: &usize| {
            String::from_utf8_lossy(&world.hosts[*host].client.list()).contains("track")
        };
        let givers: Vec<usize> = here.iter().copied().filter(&mut gives).collect();
        let mut popular =
            search(&mut world, &searchers[0], |nth, _| format!("famous hit{}", nth % 20));
        let rare = search(&mut world, &searchers[1], |nth, who| {
            let mut others = givers.iter().cycle().skip(7 * nth).filter(|giver| **giver != who);
            format!("track user{}", others.next().unwrap())
        });
        let wrong = search(&mut world, &searchers[2], |nth, _| format!("famuos hit{}", nth % 20));
        let share = |tally: &Tally| percent(tally.found, tally.asked);
        figure(
            "napster",
            &format!(
                "{users} users, {shared} files, seed {seed}: popular words found in {:.1} %, rare in {:.1} %, misspelled in \
             {:.1} %; {:.2} messages up and {:.2} down a search, {:.1} kB an answer to popular words; first hit p50 {:.0} \
             ms, p99 {:.0} ms",
                share(&popular),
                share(&rare),
                share(&wrong),
                popular.sent as f64 / popular.asked as f64,
                popular.received as f64 / popular.asked as f64,
                popular.bytes as f64 / popular.asked as f64 / 1000.0,
                1000.0 * quantile(&mut popular.took, 0.5),
                1000.0 * quantile(&mut popular.took, 0.99),
            ),
        );
        assert!(share(&popular) >= 90.0, "seed {seed}: popular {}", share(&popular));
        assert_eq!(rare.found, rare.asked, "seed {seed}: rare");
        assert_eq!(wrong.found, 0);
        for tally in [popular, rare, wrong] {
            let (asked, sent, received) = (tally.asked as u64, tally.sent, tally.received);
            assert_eq!((sent, received), (asked, asked), "seed {seed}: more than a pair");
        }
    }
}
