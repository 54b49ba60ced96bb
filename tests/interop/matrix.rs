//! gaggle with each of the others: both ways, both layouts, four creators, two trackers.

use crate::case::{Case, Creator, Gaggle, Layout, Other, Tracker, covering, product};
use crate::clients::Make;
use crate::scene::{Announce, Scene, play_all};
use harness::{clients_required, figure, full, namespace};

fn scene_of(case: Case) -> Scene {
    let other = Make::Other(case.other);
    let (seed, leech) = match case.gaggle {
        Gaggle::Seeds => (Make::Gaggle, other),
        Gaggle::Leeches => (other, Make::Gaggle),
    };
    let Case { layout, creator, tracker, .. } = case;
    Scene { seed, leech, layout, creator, tracker, announce: Announce::Http }
}

/// All cases with one client, in the subset or in the whole product.
fn play_with(other: Other, test: &str) {
    let cases = if full() { product() } else { covering() };
    let scenes: Vec<(String, Scene)> = cases
        .into_iter()
        .filter(|case| case.other == other)
        .map(|case| (case.to_string(), scene_of(case)))
        .collect();
    let played = play_all(test, &scenes);
    figure("interop", &format!("{other:?} {played} of {} cases", scenes.len()));
}

#[test]
fn claim_interop_transmission() {
    play_with(Other::Transmission, "matrix::claim_interop_transmission");
}

#[test]
fn claim_interop_aria2() {
    play_with(Other::Aria2, "matrix::claim_interop_aria2");
}

#[test]
fn claim_interop_rtorrent() {
    play_with(Other::Rtorrent, "matrix::claim_interop_rtorrent");
}

#[test]
fn claim_interop_qbittorrent() {
    play_with(Other::Qbittorrent, "matrix::claim_interop_qbittorrent");
}

#[test]
fn claim_interop_libtorrent() {
    play_with(Other::Libtorrent, "matrix::claim_interop_libtorrent");
}

/// Both ways with libtorrent through `announce` and a tracker.
fn both_ways(announce: Announce, tracker: Tracker) -> Vec<(String, Scene)> {
    let other = Make::Other(Other::Libtorrent);
    [(Make::Gaggle, other), (other, Make::Gaggle)]
        .into_iter()
        .map(|(seed, leech)| {
            let (layout, creator) = (Layout::Multi, Creator::Libtorrent);
            let scene = Scene { seed, leech, layout, creator, tracker, announce };
            (format!("{announce:?} {tracker:?} {seed:?} to {leech:?}"), scene)
        })
        .collect()
}

#[test]
fn claim_interop_over_ipv6() {
    let name = "matrix::claim_interop_over_ipv6";
    // Whether addresses can be had is known inside only.
    if namespace::inside() && !namespace::has_ipv6() {
        assert!(!clients_required(), "this machine has no IPv6");
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let scenes = both_ways(Announce::HttpOverIpv6, Tracker::Gaggle);
    let played = play_all(name, &scenes);
    figure("interop", &format!("IPv6 {played} of {} cases", scenes.len()));
}

#[test]
fn claim_interop_over_udp_trackers() {
    let mut scenes = both_ways(Announce::Udp, Tracker::Gaggle);
    scenes.extend(both_ways(Announce::Udp, Tracker::Opentracker));
    let played = play_all("matrix::claim_interop_over_udp_trackers", &scenes);
    figure("interop", &format!("UDP trackers {played} of {} cases", scenes.len()));
}
