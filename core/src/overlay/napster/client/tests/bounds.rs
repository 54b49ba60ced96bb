//! What one user may have of us at a time.

use super::super::give::DEALS_EACH;
use super::*;

#[test]
fn nobody_takes_all_places_or_keeps_one_without_coming() {
    let mut scene = Scene::inside(Config { places: 5, ..config("bob", 0) });
    for path in ["a.mp3", "b.mp3", "c.mp3"] {
        scene.client.share(shareable(path, 5));
    }
    scene.says();
    let path = Text::from("a.mp3");
    let asks = |scene: &mut Scene, path: &str| {
        scene.hears(607, &format!("u1 \"{path}\" 7"));
        scene.says().remove(0)
    };
    let full = format!("619 u1 \"c.mp3\" {DEALS_EACH}");
    assert_eq!(asks(&mut scene, "a.mp3"), "608 u1 \"a.mp3\"");
    assert_eq!(asks(&mut scene, "b.mp3"), "608 u1 \"b.mp3\"");
    assert_eq!(asks(&mut scene, "c.mp3"), full);
    // In another spelling he is the same; others have their places.
    scene.hears(607, "U1 \"c.mp3\" 7");
    scene.hears(607, "u2 \"c.mp3\" 7");
    let said = [format!("619 U1 \"c.mp3\" {DEALS_EACH}"), "608 u2 \"c.mp3\"".to_owned()];
    assert_eq!(scene.says(), said);
    // He asks again, but has not come: it ends when it would have ended.
    scene.wait(50);
    assert_eq!(asks(&mut scene, "a.mp3"), "608 u1 \"a.mp3\"");
    scene.wait(10);
    assert!(scene.client.may_get(scene.now, &nick("u1"), &path).is_none());
    // Who comes may be told again, and has another minute.
    assert_eq!(asks(&mut scene, "a.mp3"), "608 u1 \"a.mp3\"");
    scene.client.upload_began(&nick("u1"), &path);
    scene.wait(50);
    scene.says();
    assert_eq!(asks(&mut scene, "a.mp3"), "608 u1 \"a.mp3\"");
    scene.client.upload_ended(scene.now, &nick("u1"), &path);
    scene.wait(59);
    assert!(scene.client.may_get(scene.now, &nick("u1"), &path).is_some());
    // And when he has had it, he makes room for the next file.
    scene.client.upload_began(&nick("u1"), &path);
    scene.client.upload_ended(scene.now, &nick("u1"), &path);
    scene.says();
    assert_eq!(asks(&mut scene, "b.mp3"), "608 u1 \"b.mp3\"");
    assert_eq!(asks(&mut scene, "c.mp3"), full);
    scene.wait(10);
    assert_eq!(asks(&mut scene, "c.mp3"), "608 u1 \"c.mp3\"");
}

#[test]
fn a_list_has_no_more_rows_than_are_read() {
    let mut scene = Scene::inside(config("bob", 6699));
    for n in 0..BROWSE_MAX + 5 {
        scene.client.share(shareable(&format!("{n}.mp3"), 5));
    }
    let lines = scene.client.list().iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines as u32, BROWSE_MAX + 2, "with the name and the end");
    // The same bytes for everybody, until there is something else to say.
    let first = scene.client.list();
    assert!((0..1000).all(|_| scene.client.list().as_ptr() == first.as_ptr()));
    scene.client.share(shareable("0.mp3", 5)); // which is there already
    assert_eq!(scene.client.list().as_ptr(), first.as_ptr());
    scene.client.unshare(&"0.mp3".into());
    let less = scene.client.list();
    assert_ne!(less, first);
    scene.client.share(shareable("0.mp3", 5));
    assert_eq!(scene.client.list(), first);
}
