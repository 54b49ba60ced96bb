//! How well users serve, as the server learns it, and what follows.

use super::*;

#[test]
fn who_does_not_answer_requests_comes_later_until_he_does() {
    let mut scene = scene();
    let names = ["mute", "other"];
    let sharers = names.map(|name| scene.login(name, "10.0.0.1", 6699));
    // Of equals the newest comes first.
    sharers.iter().rev().for_each(|&id| scene.share(id, "song.mp3", 1));
    let eve = scene.login("eve", "10.0.0.2", 6699);
    let found = |scene: &mut Scene| -> Vec<String> {
        scene.read(eve);
        scene.say(eve, 200, "FILENAME CONTAINS \"song\" LOCAL");
        let rows = scene.read(eve).into_iter().filter(|(kind, _)| *kind == 201);
        rows.map(|(_, row)| row.rsplit(' ').nth(3).unwrap().to_owned()).collect()
    };
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
