//! How well users serve, as the server learns it, and what follows.

use super::*;

/// Whose songs are named to `asker`, in that order.
fn found(scene: &mut Scene, asker: UserId) -> Vec<String> {
    scene.read(asker);
    scene.say(asker, 200, "FILENAME CONTAINS \"song\" LOCAL");
    let rows = scene.read(asker).into_iter().filter(|(kind, _)| *kind == 201);
    rows.map(|(_, row)| row.rsplit(' ').nth(3).unwrap().to_owned()).collect()
}

#[test]
fn who_does_not_answer_requests_comes_later_until_he_does() {
    let mut scene = scene();
    let names = ["mute", "other"];
    let sharers = names.map(|name| scene.login(name, "10.0.0.1", 6699));
    // Of equals the newest comes first.
    sharers.iter().rev().for_each(|&id| scene.share(id, "song.mp3", 1));
    let eve = scene.login("eve", "10.0.0.2", 6699);
    let found = |scene: &mut Scene| found(scene, eve);
    assert_eq!(found(&mut scene), ["mute", "other"]);
    scene.say(eve, 203, "mute \"song.mp3\"");
    scene.wait(59);
    assert_eq!(found(&mut scene), ["mute", "other"]);
    scene.wait(1);
    assert_eq!(found(&mut scene), ["other", "mute"]);
    // A refusal is an answer, too.
    scene.say(eve, 203, "mute \"song.mp3\"");
    scene.say(sharers[0], 609, "eve \"song.mp3\"");
    assert_eq!(found(&mut scene), ["mute", "other"]);
    // It counts for ten minutes, and hides nobody.
    let minute = |scene: &mut Scene| {
        scene.wait(60);
        sharers.iter().for_each(|&id| scene.say(id, 750, ""));
    };
    for _ in 0..5 {
        scene.say(eve, 203, "mute \"song.mp3\"");
        minute(&mut scene);
        assert_eq!(found(&mut scene), ["other", "mute"]);
    }
    (0..9).for_each(|_| minute(&mut scene));
    assert_eq!(found(&mut scene), ["other", "mute"]);
    minute(&mut scene);
    assert_eq!(found(&mut scene), ["mute", "other"]);
}

#[test]
fn attack_45_nobody_is_mute_for_who_asks_and_leaves() {
    let mut scene = scene();
    let sharers = ["bob", "honest"].map(|name| scene.login(name, "10.0.0.1", 6699));
    sharers.iter().rev().for_each(|&id| scene.share(id, "song.mp3", 1));
    let leaves = scene.login("leaves", "10.0.0.2", 6699);
    scene.say(leaves, 203, "bob \"song.mp3\"");
    scene.server.handle_closed(scene.now, leaves);
    scene.say(sharers[0], 608, "leaves \"song.mp3\"");
    // Who comes again in the same name is another one.
    scene.login("leaves", "10.0.0.2", 6699);
    scene.wait(60);
    let eve = scene.login("eve", "10.0.0.2", 6699);
    assert_eq!(found(&mut scene, eve), ["bob", "honest"]);
}
