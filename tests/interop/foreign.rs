//! Foreign clients among themselves: when these fail, it is not gaggle's fault.

use crate::case::{Creator, Layout, OTHERS, Other, Tracker};
use crate::clients::Make;
use crate::scene::{Announce, Scene, play_all};

#[test]
fn foreign_clients_get_along_here() {
    let scene = |seed, leech| Scene {
        seed: Make::Other(seed),
        leech: Make::Other(leech),
        layout: Layout::Single,
        creator: Creator::Mktorrent,
        tracker: Tracker::Opentracker,
        announce: Announce::Http,
    };
    let mut scenes = Vec::new();
    for other in OTHERS {
        scenes.push((format!("libtorrent to {other:?}"), scene(Other::Libtorrent, other)));
        if other != Other::Libtorrent {
            scenes.push((format!("{other:?} to libtorrent"), scene(other, Other::Libtorrent)));
        }
    }
    play_all("foreign::foreign_clients_get_along_here", &scenes);
}
