//! Names that the server keeps for a user.

use super::super::lists::NAMES_MAX;
use super::*;

#[test]
fn who_is_watched_is_told_of() {
    let mut scene = scene();
    let eve = scene.login("eve", "10.0.0.1", 0);
    scene.say(eve, 208, "Bob");
    scene.hears(eve, &["301 Bob"]);
    let bob = scene.login("bob", "10.0.0.2", 0);
    scene.hears(eve, &["209 bob 7"]);
    scene.say(eve, 207, "BOB");
    scene.hears(eve, &["301 BOB", "209 bob 7"]);
    scene.server.handle_closed(scene.now, bob);
    scene.settle();
    scene.hears(eve, &["210 bob"]);
    // Until he is not.
    scene.say(eve, 303, "boB");
    scene.say(eve, 303, "nobody");
    let bob = scene.login("bob", "10.0.0.2", 0);
    scene.hears(eve, &[]);
    // Nobody has a list without end, and nothing is left of who has gone.
    for n in 0..NAMES_MAX {
        scene.say(eve, 207, format!("u{n}"));
        scene.hears(eve, &[&format!("301 u{n}")]);
    }
    scene.say(eve, 207, "bob");
    scene.say(eve, 207, "u0");
    scene.hears(eve, &["302 bob", "301 u0"]);
    scene.server.handle_closed(scene.now, eve);
    assert!(scene.server.watchers.is_empty());
    scene.server.handle_closed(scene.now, bob);
}

#[test]
fn words_of_who_is_ignored_are_not_heard() {
    let mut scene = scene();
    let (eve, bob) = (scene.login("eve", "10.0.0.1", 0), scene.login("bob", "10.0.0.2", 0));
    for (kind, text, answers) in [
        (320, "", &["320 0"][..]),
        (322, "Bob", &["322 Bob"]),
        (322, "BOB", &["325 BOB"]),
        (322, "ann", &["322 ann"]),
        (320, "", &["321 ann", "321 Bob", "320 2"]),
    ] {
        scene.say(eve, kind, text);
        scene.hears(eve, answers);
    }
    scene.say(bob, 205, "eve hello");
    scene.hears(eve, &[]);
    scene.hears(bob, &[]);
    scene.say(eve, 323, "bob");
    scene.say(eve, 323, "bob");
    scene.hears(eve, &["323 bob", "324 bob"]);
    scene.say(bob, 205, "eve hello");
    scene.hears(eve, &["205 bob hello"]);
    scene.say(eve, 326, "");
    scene.say(eve, 320, "");
    scene.hears(eve, &["326 1", "320 0"]);
    for n in 0..NAMES_MAX {
        scene.say(eve, 322, format!("u{n}"));
        scene.now += Duration::from_secs(1);
    }
    scene.read(eve);
    scene.say(eve, 322, "one");
    scene.hears(eve, &["404 You may only ignore 100 users"]);
}
