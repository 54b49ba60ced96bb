//! What must be shown: a file is found by its words in each network and in all, and comes from everybody who has it.

use crate::scene::{Net, Place, Scene, Sharer};
use harness::gaggle::{counter_when, event};
use harness::{Deadline, Process, namespace};
use serde_json::Value;

/// Bytes of the wanted file: in the long form as many as let everybody come to his turn at a host's full speed.
fn len() -> u64 {
    if harness::full() { 48 << 20 } else { 12 << 20 }
}

/// Who gives parts of it.
const PARTS: [&str; 4] = ["bittorrent", "fasttrack", "gnutella", "napster"];

/// Who dies on the way.
const VICTIMS: [&str; 5] = ["nobody", "bittorrent", "fasttrack", "gnutella", "napster"];

/// Ten sharers in three networks, one of each with the wanted file.
struct Crowd {
    scene: Scene,
    sharers: Vec<(Net, Sharer)>,
}

impl Crowd {
    fn new(place: Place) -> Self {
        let mut scene = Scene::new(place, len());
        let mut sharers = Vec::new();
        for nth in 0..10 {
            let net = Net::ALL[nth % 3];
            let name = format!("sharer{nth}");
            sharers.push((net, scene.sharer(net, &name, nth < 3)));
        }
        Self { scene, sharers }
    }

    fn holder(&self, net: Net) -> &Sharer {
        let (_, sharer) = self.sharers.iter().find(|(of, _)| *of == net).unwrap();
        sharer
    }
}

fn given(complete: &Value, part: &str) -> u64 {
    complete["from"][part].as_u64().unwrap_or_else(|| panic!("{complete}"))
}

fn all_finds(place: Place) {
    let crowd = Crowd::new(place);
    let Crowd { scene, .. } = &crowd;
    for (nth, net) in Net::ALL.into_iter().enumerate() {
        let hit = scene.search_until("payload moon", &[net], 1);
        assert_eq!((&hit["id"], &hit["network"]), (&1.into(), &net.name().into()), "{hit}");
        assert_eq!(hit["bytes"], len());
        assert!(hit["magnet"].as_str().unwrap().contains("xt=urn:btih:"), "{hit}");
        // What one alone has is found as well, and not where he is not.
        let rare = format!("rare sharer{}", nth + 3);
        assert_eq!(scene.search_until(&rare, &[net], 1)["sources"], 1);
        let elsewhere = Net::ALL[(nth + 1) % 3];
        let (code, objects) = scene.search(&rare, &[elsewhere], &[]);
        assert_eq!(code, Some(1), "{objects:#?}");
        let searched = objects.iter().find(|object| object["type"] == "searched").unwrap();
        assert_eq!((&searched["links"], &searched["hits"]), (&1.into(), &0.into()), "{searched}");
    }
    let hit = scene.search_until("moon payload", &Net::ALL, 3);
    for net in Net::ALL {
        assert_eq!(hit["networks"][net.name()], 1, "{hit}");
    }
}

/// A download from all four kinds at once, of which `victim` does not live to see the end.
fn from_everybody(place: Place, victims: &[&str]) {
    let mut crowd = Crowd::new(place);
    crowd.scene.search_until("moon payload", &Net::ALL, 3);
    for &victim in victims {
        let (seed, addr) = crowd.scene.seed("3M");
        let name = format!("without-{victim}");
        let mut get = crowd.scene.get(&name, &["--peer", &addr, "--down", "4M"]);
        let quarter = |object: &Value| object["done"].as_u64() >= Some(len() / 4);
        let deadline = Deadline::after_secs(60);
        let half = deadline.poll(|| Ok(counter_when(&get, "done", quarter)));
        assert!(half.unwrap().is_some(), "{name}: too slow\n{}", get.tail());
        let is_over = get.said().iter().any(|said| event(said, "complete").is_some());
        assert!(!is_over, "{name} is complete before anybody dies");
        let mut seed = Some(seed);
        match victim {
            "bittorrent" => drop(seed.take()),
            "nobody" => {}
            _ => crowd.sharers.retain(|(net, sharer)| net.name() != victim || !sharer.has()),
        }
        let complete = crowd.scene.finish(&name, &mut get);
        // Whoever has died may not have ended a piece; all others have given.
        for part in PARTS.into_iter().filter(|&part| part != victim) {
            assert!(given(&complete, part) > 0, "{name}: nothing from {part}: {complete}");
        }
        if victim != "nobody" && victim != "bittorrent" {
            crowd.revive(victim);
        }
        drop::<Option<Process>>(seed);
    }
}

impl Crowd {
    /// Somebody else has the file now.
    fn revive(&mut self, victim: &str) {
        let net = Net::ALL.into_iter().find(|net| net.name() == victim).unwrap();
        let name = format!("heir{}", self.sharers.len());
        let heir = self.scene.sharer(net, &name, true);
        self.sharers.insert(0, (net, heir));
        self.scene.search_until("moon payload", &Net::ALL, 3);
    }
}

#[test]
fn claim_findall_a_file_is_found_by_its_words_in_each_network_and_in_all() {
    all_finds(Place::Loopback);
}

#[test]
fn claim_findall_a_result_comes_from_everybody_and_survives_the_death_of_any() {
    // Each of them in the long form; one of them in every check.
    let victims: &[&str] = if harness::full() { &VICTIMS } else { &["gnutella"] };
    from_everybody(Place::Loopback, victims);
}

#[test]
fn claim_findall_a_host_that_serves_wrong_bytes_is_banned() {
    a_liar_is_banned(Place::Loopback);
}

fn a_liar_is_banned(place: Place) {
    let mut crowd = Crowd::new(place);
    crowd.scene.search_until("moon payload", &Net::ALL, 3);
    crowd.holder(Net::Gnutella).spoil();
    let (_seed, addr) = crowd.scene.seed("3M");
    let mut get = crowd.scene.get("lied-to", &["--peer", &addr, "--down", "4M"]);
    let complete = crowd.scene.finish("lied-to", &mut get);
    assert!(given(&complete, "napster") > 0, "{complete}");
    let banned: Vec<Value> = get.said().iter().filter_map(|said| event(said, "banned")).collect();
    let [banned] = &banned[..] else { panic!("{banned:?}") };
    assert_eq!(banned["peer"], crowd.holder(Net::Gnutella).addr, "{banned}");
}

/// The wanted file from hosts of each network, without any torrent: most of them name its SHA-1, as no other network can.
fn from_hosts_alone(name: &str, more: &[&str]) {
    let mut scene = Scene::new(Place::Loopback, len());
    let nets = Net::ALL.into_iter().chain([Net::Gnutella; 2]).enumerate();
    let sharers: Vec<_> = nets
        .map(|(n, net)| scene.sharer_with(net, &format!("of-{}-{n}", net.name()), true, more))
        .collect();
    scene.search_until("moon payload", &Net::ALL, sharers.len() as u64);
    let mut get = scene.get(name, &["--no-torrent", "--down", "4M"]);
    let complete = scene.finish(name, &mut get);
    assert!(complete["info_hash"].is_null(), "{complete}");
    for net in Net::ALL {
        assert!(given(&complete, net.name()) > 0, "nothing from {}: {complete}", net.name());
    }
    assert!(get.tail().contains("verified by its SHA-1"), "{}", get.tail());
    drop(sharers);
}

#[test]
fn a_result_comes_from_its_hosts_alone_and_is_checked() {
    from_hosts_alone("alone", &[]);
}

#[test]
fn hosts_that_nobody_can_connect_to_connect_to_us() {
    from_hosts_alone("pushed", &["--firewalled"]);
}

#[test]
fn claim_findall_networks_of_hosts_that_are_far_apart() {
    let name = "finds::claim_findall_networks_of_hosts_that_are_far_apart";
    if !harness::full() {
        return;
    }
    namespace::test(name, || {
        namespace::take_whole_range().unwrap();
        all_finds(Place::Apart);
        from_everybody(Place::Apart, &VICTIMS);
        a_liar_is_banned(Place::Apart);
    });
    harness::figure(
        "findall",
        "found in each of three networks and all; one file from four kinds of sources, whoever of them dies",
    );
}
