//! Goal: what one servent in a hundred has is found within seconds, for a small part of what a flood costs; and nothing
//! crosses a link twice.
//! Method: the textbook's network, everybody with seven links and queries that go ten links far, beside networks whose
//! links follow a power law: a flat one, and one of leaves and ultrapeers. Seven of ten share nothing. Servents at
//! random look for words that one in a hundred has, that three have, and that nobody has because they are misspelled.

mod network;
mod tap;
mod world;

use crate::{figure, ms, percent, quantile, secs, seeds, sized};
use gaggle_core::overlay::gnutella::Config;
use gaggle_core::proto::gnutella::{Kind, Query};
use network::{Network, POPULAR, RARE, Shape, one_but};
use std::collections::BTreeSet;
use std::time::Duration;
use tap::Search;

/// What somebody waits for a first hit.
const PATIENCE: Duration = secs(5);
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Words {
    Popular,
    Rare,
    Misspelled,
}

/// What some searches cost and found; numbers are those of one search on the average.
struct Tally {
    asked: usize,
    in_time: usize,
    found: usize,
    messages: f64,
    duplicates: f64,
    /// Percent of the servents that the query came to.
    reach: f64,
    /// Seconds to the first hit.
    took: Vec<f64>,
}

/// Many search, each for one word, and want at most so many hits.
fn searches(network: &mut Network, words: Words, count: usize, wanted: u16) -> Tally {
    let nobody = BTreeSet::new();
    for nth in 0..count {
        let (text, holders) = match words {
            Words::Popular => ("famous", &network.popular[nth % POPULAR]),
            Words::Rare => ("obscure", &network.rare[nth % RARE]),
            Words::Misspelled => ("famuos", &nobody),
        };
        let number = nth % if words == Words::Rare { RARE } else { POPULAR };
        let asker = one_but(&mut network.world.rng, network.servents, holders);
        let mut query = Query::words(&format!("{text} song{number}"));
        query.flags |= wanted;
        network.world.search(asker, query);
        // Nobody asks the same twice within five seconds: that would be dropped.
        network.world.run(ms(300));
    }
    // By its rules a search that asks one after another ends after 180 s.
    network.world.run(if network.dynamic { secs(200) } else { secs(20) });
    let all: Vec<Search> = std::mem::take(&mut network.world.tap.searches).into_values().collect();
    network.world.tap.clear();
    assert_eq!(network.world.tap.twice, 0, "a descriptor crossed a link twice");
    assert_eq!(network.world.closed.first(), None, "a link ended");
    let mean = |of: fn(&Search) -> u64| all.iter().map(of).sum::<u64>() as f64 / count as f64;
    let took = |one: &Search| Some(one.first?.since(one.began));
    Tally {
        asked: count,
        in_time: all.iter().filter_map(took).filter(|took| *took <= PATIENCE).count(),
        found: all.iter().filter_map(took).count(),
        messages: mean(|one| one.queries + one.answers + one.others),
        duplicates: mean(|one| one.duplicates),
        reach: 100.0 * mean(|one| one.reached.len() as u64) / network.servents as f64,
        took: all.iter().filter_map(took).map(|took| took.as_secs_f64()).collect(),
    }
}

impl Tally {
    fn show(&mut self, network: &Network, seed: u64, name: &str, words: Words) {
        let (in_time, found) = (percent(self.in_time, self.asked), percent(self.found, self.asked));
        let hits = if self.found == 0 {
            "nothing found".into()
        } else {
            let p50 = quantile(&mut self.took, 0.5);
            format!("found in {in_time:.0} % within 5 s and {found:.0} % in all, p50 {p50:.1} s")
        };
        figure(
            "gnutella",
            &format!(
                "{} servents, seed {seed}, {name} ({:.1} links), {words:?}: {hits}; {:.0} messages, {:.0} duplicates \
                 dropped, reach {:.1} %",
                network.servents, network.degree, self.messages, self.duplicates, self.reach
            ),
        );
    }
}

/// The rules of 0.4: everything goes to everybody.
fn flooding(config: &mut Config) {
    (config.dynamic, config.query_caching, config.ttl_max) = (false, false, 10);
    quiet(config);
}

/// Who is there is asked seldom: it is not what is measured.
fn quiet(config: &mut Config) {
    config.refresh = secs(36_000);
}

fn uncached(config: &mut Config) {
    config.query_caching = false;
    quiet(config);
}

#[test]
fn claim_search_gnutella_asks_few_where_a_flood_asks_all() {
    let (servents, count) = sized((300, 20), (2_000, 50));
    // Half of what there is of a popular one.
    let wanted = (servents / 200) as u16;
    let networks = [
        ("flood, seven links each", Shape::Even(7), flooding as fn(&mut Config)),
        ("flood, power law", Shape::Flat, flooding),
        ("flood, leaves and ultrapeers", Shape::Tiers, flooding),
        ("dynamic, power law", Shape::Flat, uncached),
        ("dynamic, leaves and ultrapeers", Shape::Tiers, uncached),
        ("dynamic and cached, leaves and ultrapeers", Shape::Tiers, quiet),
    ];
    for seed in seeds() {
        // What the cheapest flood costs.
        let mut flooded = f64::INFINITY;
        for (name, shape, rules) in networks {
            let mut network = Network::new(seed, servents, shape, secs(30), rules);
            let mut tally = searches(&mut network, Words::Popular, count, wanted);
            tally.show(&network, seed, name, Words::Popular);
            if network.dynamic {
                let fewer = tally.messages * 3.0 <= flooded;
                assert!(fewer, "seed {seed}, {name}: {} of {flooded}", tally.messages);
            } else {
                flooded = flooded.min(tally.messages);
            }
            match shape {
                Shape::Even(_) => assert!(tally.reach > 95.0, "seed {seed}: {}", tally.reach),
                Shape::Tiers => assert!(tally.in_time * 10 >= count * 9, "seed {seed}, {name}"),
                Shape::Flat => {}
            }
            searches(&mut network, Words::Rare, count, wanted).show(
                &network,
                seed,
                name,
                Words::Rare,
            );
            let mut tally = searches(&mut network, Words::Misspelled, count, wanted);
            tally.show(&network, seed, name, Words::Misspelled);
            assert_eq!(tally.found, 0, "seed {seed}, {name}");
        }
    }
}

/// Percent of messages and of bytes that ask and tell who is there, and all messages of a servent in a second.
fn pings(seed: u64, servents: usize, window: Duration, caching: bool) -> (f64, f64, f64) {
    let (grown, refresh) = if caching { (secs(30), secs(3)) } else { (secs(420), secs(420)) };
    let mut network = Network::new(seed, servents, Shape::Flat, grown, |config| {
        flooding(config);
        config.pong_caching = caching;
        // Every link is asked by itself: with seven of them somebody floods a Ping each minute.
        config.refresh = refresh;
    });
    // And everybody searches once a minute.
    let gap = secs(60) / servents as u32;
    let search_for = |network: &mut Network, time: Duration| {
        let end = network.world.now + time;
        while network.world.now < end {
            let asker = network.world.rng.index(servents);
            let word = network.world.rng.index(POPULAR);
            network.world.search(asker, Query::words(&format!("famous song{word}")));
            network.world.run(gap);
        }
    };
    search_for(&mut network, secs(1));
    network.world.tap.clear();
    search_for(&mut network, window);
    assert_eq!(network.world.tap.twice, 0, "a descriptor crossed a link twice");
    let load = |kinds: &[Kind]| -> [f64; 2] {
        let all = kinds.iter().filter_map(|kind| network.world.tap.loads.get(kind));
        all.fold([0.0; 2], |[messages, bytes], load| {
            [messages + load.messages as f64, bytes + load.bytes as f64]
        })
    };
    let (who, what) = (load(&[Kind::PING, Kind::PONG]), load(&[Kind::QUERY, Kind::QUERY_HIT]));
    let share = |at: usize| 100.0 * who[at] / (who[at] + what[at]);
    (share(0), share(1), (who[0] + what[0]) / window.as_secs_f64() / servents as f64)
}

#[test]
fn claim_search_gnutella_pings_are_half_of_all_until_they_are_cached() {
    let (servents, window) = sized((300, secs(2)), (2_000, secs(2)));
    for seed in seeds() {
        let relayed = pings(seed, servents, window, false);
        let cached = pings(seed, servents, window, true);
        let text = |(messages, bytes, rate): (f64, f64, f64)| {
            format!(
                "{messages:.0} % of messages and {bytes:.0} % of bytes, of {rate:.0} messages a second and servent"
            )
        };
        figure(
            "gnutella",
            &format!(
                "{servents} servents, seed {seed}: Ping and Pong are {}; with a cache {}",
                text(relayed),
                text(cached)
            ),
        );
        assert!(relayed.0 >= 50.0, "seed {seed}: {} %", relayed.0);
        // What a cache costs does not grow with the network, so that a small one gains less.
        assert!(cached.0 <= relayed.0 * sized(0.9, 0.5), "seed {seed}: {} %", cached.0);
    }
}
