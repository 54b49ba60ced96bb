//! What one process seeds is found by its words in every network, and comes with its torrent.

use crate::scene::{Net, Place, Scene};
use harness::gaggle::event;
use harness::{Deadline, Process};
use serde_json::Value;
use std::fs;

/// Bytes of the wanted file.
const LEN: u64 = 2 << 20;
/// Nothing takes longer, whatever the machine.
const PATIENCE_S: u64 = 60;

/// Waits until it is said that it stands like this in a network.
#[track_caller]
fn published(process: &mut Process, net: Net, is: impl Fn(&Value) -> bool) {
    let deadline = Deadline::after_secs(PATIENCE_S);
    let said = process.wait_line(deadline, |said| {
        event(said, "published").filter(|said| said["network"] == net.name() && is(said))
    });
    said.unwrap();
}

#[test]
fn what_is_shared_is_found_by_words_and_comes_from_its_swarm() {
    let mut scene = Scene::new(Place::Loopback, LEN);
    let album = scene.path("album");
    fs::create_dir(&album).unwrap();
    for name in ["red sun track.ogg", "red sun cover.png", ".red sun hidden", "red sun draft.wav"] {
        fs::write(album.join(name), name.repeat(5_000)).unwrap();
    }
    fs::write(scene.path("original/red sun beside it.ogg"), "nobody's business").unwrap();
    let paths = [scene.original(), album.clone()];
    let (mut publisher, shared) = scene.publisher(&paths, &["--exclude", "*draft*"]);
    for net in Net::ALL {
        // The wanted one and two of the album: neither what was left out nor what lies beside.
        published(&mut publisher, net, |said| said["links"] == 1 && said["files"] == 3);
    }
    for net in Net::ALL {
        // One network alone leads to the swarm.
        let hit = scene.search_until("moon payload", &[net], 1);
        assert_eq!((&hit["info_hash"], &hit["bytes"]), (&shared[0]["info_hash"], &LEN.into()));
        let mut get = scene.get(net.name(), &[]);
        let complete = scene.finish(net.name(), &mut get);
        assert_eq!(complete["info_hash"], shared[0]["info_hash"], "{complete}");
    }
    let hit = scene.search_until("track sun", &Net::ALL, 3);
    assert_eq!(hit["info_hash"], shared[1]["info_hash"], "{hit}");
    for net in Net::ALL {
        assert_eq!(hit["networks"][net.name()], 1, "{hit}");
    }
    let mut get = scene.get("track", &[]);
    let track = "red sun track.ogg";
    scene.finish_as("track", &mut get, &format!("album/{track}"), &album.join(track));
    assert!(!scene.path("track/out/album/red sun cover.png").exists(), "one file was wanted");

    // A network that is lost ends nothing.
    scene.close(Net::Napster);
    published(&mut publisher, Net::Napster, |said| said["links"] == 0);
    publisher.terminate().unwrap();
    let ended = publisher.wait(Deadline::after_secs(PATIENCE_S)).unwrap();
    assert!(ended.success(), "{ended}\n{}", publisher.tail());
}
