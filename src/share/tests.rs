//! Real folders, looked through by a real thread.

use super::*;
use gaggle_core::hash::sha1;
use gaggle_core::metainfo::{Build, BuildFile, Content};
use gaggle_core::share::{Place, Record};
use gaggle_core::words::words;
use std::fs::{self, FileTimes};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

/// A folder that is shared, and one for the state, in a folder of their own.
struct Desk {
    dir: tempfile::TempDir,
    config: Config,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let config = Config {
            rescan: Duration::from_millis(50),
            threads: Some(2),
            ..Config::new(vec![top], dir.path().join("state"))
        };
        Self { dir, config }
    }

    fn top(&self) -> &Path {
        &self.config.folders[0]
    }

    /// A file that nobody has touched for a long time.
    fn put(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        age(&path, 1_000_000_000);
        path
    }

    fn start(&self) -> Running {
        let library = Library::start(self.config.clone(), Clock::start()).unwrap();
        Running { view: library.watch(), library }
    }

    fn record(&self) -> PathBuf {
        self.config.state_dir.join("share.record")
    }
}

/// Sets when a file was changed last, in seconds since 1970.
fn age(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

struct Running {
    library: Library,
    view: watch::Receiver<View>,
}

impl Running {
    async fn until(&mut self, what: &str, seen: impl FnMut(&View) -> bool) -> View {
        let found = tokio::time::timeout(Duration::from_secs(60), self.view.wait_for(seen)).await;
        found.unwrap_or_else(|_| panic!("waited for {what}")).unwrap().clone()
    }

    /// What a look says that begins after this.
    async fn looked(&mut self) -> View {
        let before = self.view.borrow().looks;
        // The one that is under way may have passed by already.
        let least = if before == 0 { 1 } else { before + 2 };
        self.until("a look", |view| view.looks >= least).await
    }
}

fn names(view: &View) -> Vec<String> {
    let mut names: Vec<String> = view.catalogue.iter().map(|(_, item)| item.name.clone()).collect();
    names.sort();
    names
}

fn item(view: &View, name: &str) -> (u32, Arc<Item>) {
    let mut named = view.catalogue.iter().filter(|(_, item)| item.name == name);
    let (number, item) = named.next().unwrap_or_else(|| panic!("{name} is not shared"));
    (number, Arc::clone(item))
}

#[tokio::test]
async fn everything_in_a_folder_is_found_and_hashed() {
    let desk = Desk::new();
    let content = vec![7; 700_000];
    desk.put("song.mp3", &content);
    desk.put("sub/deep/Café.txt", "hello");
    desk.put("empty", "");
    let mut running = desk.start();
    let view = running.looked().await;
    assert_eq!(names(&view), ["Café.txt", "empty", "song.mp3"]);
    assert_eq!((view.left_out, view.to_hash), (LeftOut::default(), 0));
    let (number, song) = item(&view, "song.mp3");
    let hashes = song.hashes.unwrap();
    assert_eq!((hashes.sha1, song.torrent), (sha1([&content[..]]), None));
    assert_eq!(view.catalogue.with_sha1(&hashes.sha1), Some(number));
    let cafe = view.catalogue.find(&words("cafe"), 9);
    assert_eq!(cafe, [item(&view, "Café.txt").0]);
    let mut opened = running.library.open(&song).unwrap();
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut opened, &mut got).unwrap();
    assert!(got == content);
}

#[tokio::test]
async fn what_is_not_meant_for_others_is_left_out() {
    let desk = Desk::new();
    for path in ["song.mp3", ".secret", ".git/config", "film.mkv.part", "half.iso"] {
        desk.put(path, path);
    }
    fs::write(desk.dir.path().join("outside"), "outside").unwrap();
    fs::create_dir(desk.dir.path().join("elsewhere")).unwrap();
    fs::write(desk.dir.path().join("elsewhere/x"), "x").unwrap();
    symlink("../outside", desk.top().join("file-link")).unwrap();
    symlink("../elsewhere", desk.top().join("folder-link")).unwrap();
    symlink(".", desk.top().join("loop")).unwrap();
    symlink("song.mp3", desk.top().join("inside-link")).unwrap();
    fs::write(desk.top().join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let socket = std::os::unix::net::UnixListener::bind(desk.top().join("socket")).unwrap();
    let running = desk.start();
    running.library.set_unfinished([desk.top().join("half.iso")]);
    let mut running = running;
    running.looked().await;
    let view = running.looked().await;
    assert_eq!(names(&view), ["song.mp3"]);
    let want = LeftOut {
        hidden: 2,
        unfinished: 2,
        links: 4,
        special: 1,
        unnamed: 1,
        ..LeftOut::default()
    };
    assert_eq!(view.left_out, want);
    running.library.set_unfinished([]);
    running.until("the finished file", |view| names(view).contains(&"half.iso".to_owned())).await;
    drop(socket);
}

#[tokio::test]
async fn our_own_records_are_not_shared() {
    let mut desk = Desk::new();
    desk.config.state_dir = desk.top().join("state");
    desk.config.torrents = true;
    desk.put("song.mp3", "x");
    // By another way to the same folder.
    let link = desk.dir.path().join("link");
    symlink(desk.top(), &link).unwrap();
    desk.config.folders = vec![link];
    let mut running = desk.start();
    running.looked().await;
    let view = running.looked().await;
    assert!(desk.config.state_dir.join("share.record").exists());
    assert_eq!((names(&view), view.left_out.hidden), (vec!["song.mp3".to_owned()], 1));
}

#[tokio::test]
async fn hashes_are_kept_between_runs_and_damage_costs_hashing_again() {
    let desk = Desk::new();
    let path = desk.put("song.mp3", "one content");
    let kept = item(&desk.start().looked().await, "song.mp3").1.hashes.unwrap();
    // Same size, same time: nobody can know, and nothing is read.
    fs::write(&path, "two content").unwrap();
    age(&path, 1_000_000_000);
    let other = sha1([&b"two content"[..]]);
    let again = item(&desk.start().looked().await, "song.mp3").1.hashes.unwrap();
    assert_eq!(again, kept);
    let good = fs::read(desk.record()).unwrap();
    assert_eq!(Record::decode(&good).unwrap().len(), 1);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [&good[..good.len() - 1], &flipped, b"", b"d6:formati9ee"] {
        fs::write(desk.record(), bad).unwrap();
        let again = item(&desk.start().looked().await, "song.mp3").1.hashes.unwrap();
        assert_eq!(again.sha1, other);
        assert_eq!(Record::decode(&fs::read(desk.record()).unwrap()).unwrap().len(), 1);
    }
    // Another time: it is another file.
    fs::write(&path, "six content").unwrap();
    age(&path, 1_000_000_001);
    let again = item(&desk.start().looked().await, "song.mp3").1.hashes.unwrap();
    assert_eq!(again.sha1, sha1([&b"six content"[..]]));
}

#[tokio::test]
async fn a_file_that_was_just_written_is_shared_and_not_yet_believed() {
    let desk = Desk::new();
    let path = desk.put("song.mp3", "one content");
    age(&path, Clock::start().unix().as_secs() + 3600);
    let kept = || {
        let raw = fs::read(desk.record()).unwrap_or_default();
        Record::decode(&raw).map_or(0, |record| record.len())
    };
    let clock = Clock::start();
    let mut running = desk.start();
    let view = running.until("a look", |view| view.looks == 1).await;
    item(&view, "song.mp3");
    // A time in the future never becomes old, but a file that has been there for a while is not hashed for ever.
    let view = running.until("a look at what is known", |_| kept() == 1).await;
    item(&view, "song.mp3");
    let took = clock.now().since(Instant::ZERO);
    assert!(took > Duration::from_millis(2500), "it could change again, and nobody would see it");
}

#[tokio::test]
async fn an_unfinished_file_is_known_before_it_is_there_and_by_any_way() {
    let desk = Desk::new();
    let link = desk.dir.path().join("link");
    symlink(desk.top(), &link).unwrap();
    let mut running = desk.start();
    running.library.set_unfinished([link.join("half.iso")]);
    running.looked().await;
    desk.put("half.iso", "half");
    desk.put("whole.iso", "whole");
    let view = running.until("the other file", |view| !view.catalogue.is_empty()).await;
    assert_eq!((names(&view), view.left_out.unfinished), (vec!["whole.iso".to_owned()], 1));
}

#[tokio::test]
async fn a_torrent_of_what_is_no_longer_shared_is_not_given_out() {
    let mut desk = Desk::new();
    desk.config.torrents = true;
    let path = desk.put("song.mp3", "song");
    let mut running = desk.start();
    let view = running.looked().await;
    let (info, _) = item(&view, "song.mp3").1.torrent.unwrap();
    assert!(running.library.torrent(info).is_some());
    fs::remove_file(path).unwrap();
    running.until("its end", |view| view.catalogue.is_empty()).await;
    assert_eq!(running.library.torrent(info), None);
}

#[tokio::test]
async fn a_change_is_seen_and_who_stays_keeps_his_number() {
    let desk = Desk::new();
    desk.put("stays", "stays");
    desk.put("changes", "old");
    let goes = desk.put("goes", "goes");
    let mut running = desk.start();
    let before = running.looked().await;
    desk.put("comes", "comes");
    fs::remove_file(goes).unwrap();
    let path = desk.put("changes", "new");
    age(&path, 1_000_000_005);
    let after = running
        .until("the change", |view| {
            names(view) == ["changes", "comes", "stays"]
                && item(view, "changes").1.hashes.is_some_and(|h| h.sha1 == sha1([&b"new"[..]]))
        })
        .await;
    assert_eq!(item(&after, "stays").0, item(&before, "stays").0);
    assert_ne!(item(&after, "changes").0, item(&before, "changes").0);
    assert_eq!(after.catalogue.beyond(&before.catalogue).count(), 2);
    assert_eq!(before.catalogue.beyond(&after.catalogue).count(), 2);
    running.looked().await;
    let saved = || fs::read(desk.record()).unwrap();
    assert_eq!(Record::decode(&saved()).unwrap().len(), 3, "what is gone is forgotten");
    let written = fs::metadata(desk.record()).unwrap().modified().unwrap();
    running.looked().await;
    let still = fs::metadata(desk.record()).unwrap().modified().unwrap();
    assert_eq!(still, written, "nothing new is nothing to write");
    // A folder that is gone for a while costs nothing when it is back.
    let away = desk.dir.path().join("away");
    fs::rename(desk.top(), &away).unwrap();
    let view = running.until("nothing", |view| view.catalogue.is_empty()).await;
    assert_eq!(view.left_out.unreadable, 1);
    fs::rename(&away, desk.top()).unwrap();
    running.until("all of it", |view| view.catalogue.len() == 3).await;
}

#[tokio::test]
async fn attack_03_what_was_replaced_is_not_given_out() {
    let mut desk = Desk::new();
    desk.config.rescan = Duration::from_secs(3600);
    fs::create_dir(desk.dir.path().join("outside")).unwrap();
    for name in ["a", "b"] {
        fs::write(desk.dir.path().join("outside").join(name), "secret").unwrap();
        age(&desk.dir.path().join("outside").join(name), 1_000_000_000);
    }
    desk.put("a", "public");
    desk.put("sub/b", "public!");
    desk.put("changed", "public");
    desk.put("gone", "to go");
    let mut running = desk.start();
    let view = running.until("a look", |view| view.looks == 1).await;
    let open = |name: &str| running.library.open(&item(&view, name).1).map(|_| ());
    for name in ["a", "b", "changed", "gone"] {
        assert_eq!(open(name), Ok(()), "{name}");
    }
    fs::remove_file(desk.top().join("a")).unwrap();
    symlink("../outside/a", desk.top().join("a")).unwrap();
    fs::rename(desk.top().join("sub"), desk.dir.path().join("sub")).unwrap();
    symlink("../outside", desk.top().join("sub")).unwrap();
    desk.put("changed", "public!");
    fs::remove_file(desk.top().join("gone")).unwrap();
    assert_eq!(open("a"), Err(Refused::Unreadable));
    assert_eq!(open("b"), Err(Refused::Unreadable));
    assert_eq!(open("changed"), Err(Refused::Changed));
    assert_eq!(open("gone"), Err(Refused::Gone));
    // A place that nobody has looked at, as if somebody had made it up.
    let (_, real) = item(&view, "changed");
    for path in [vec!["..", "outside", "a"], vec!["../outside/a"], vec!["/etc/passwd"], vec![]] {
        let path = path.into_iter().map(str::to_owned).collect();
        let forged = Item { place: Place { folder: 0, path }, ..Item::clone(&real) };
        assert_eq!(running.library.open(&forged).map(|_| ()), Err(Refused::Unreadable));
    }
    let forged =
        Item { place: Place { folder: 9, path: vec!["changed".into()] }, ..Item::clone(&real) };
    assert_eq!(running.library.open(&forged).map(|_| ()), Err(Refused::Gone));
    let text = Refused::Unreadable.to_string() + &Refused::Gone.to_string();
    assert!(!text.contains('/'), "no path is told");
    // All of it made us look again, a while later and once.
    let view = running.until("another look", |view| view.looks == 2).await;
    assert_eq!(names(&view), ["changed"]);
    // The folder itself replaced by another.
    fs::rename(desk.top(), desk.dir.path().join("old")).unwrap();
    symlink("outside", desk.top()).unwrap();
    let stale = running.library.open(&item(&view, "changed").1).map(|_| ());
    // It is still the old folder that is open, or nothing at all: never the new one.
    assert!(stale.is_ok() || stale == Err(Refused::Unreadable));
}

fn torrent_of(name: &str, files: &[(&str, &str)], private: bool) -> Metainfo {
    let content: String = files.iter().map(|(_, content)| *content).collect();
    let file = |(path, content): &(&str, &str)| BuildFile {
        path: vec![path.as_bytes().to_vec()],
        len: content.len() as u64,
        pad: false,
    };
    let build = Build {
        name: name.into(),
        piece_len: 1 << 14,
        content: Content::Folder(files.iter().map(file).collect()),
        pieces: sha1([content.as_bytes()]).to_vec(),
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private,
        source: None,
        comment: None,
        created_by: None,
        creation_date: None,
    };
    Metainfo::parse(&build.to_bytes().unwrap()).unwrap()
}

#[tokio::test]
async fn the_files_of_a_torrent_are_shared_under_its_name() {
    let desk = Desk::new();
    let metainfo = torrent_of(
        "album",
        &[
            ("one", "first"),
            ("two", "second"),
            ("three", "third"),
            (".env", "key"),
            ("film.part", "film"),
        ],
        false,
    );
    desk.put("album/one", "first");
    desk.put("album/two", "not complete");
    desk.put("album/three", "third");
    desk.put("album/.env", "key");
    desk.put("album/film.part", "film");
    desk.put("album/cover", "beside it");
    let mut running = desk.start();
    let info = metainfo.info_hash();
    running.library.add_torrent(info, &metainfo.info, desk.top());
    let hidden = torrent_of("secret", &[("album", "x")], true);
    running.library.add_torrent(hidden.info_hash(), &hidden.info, desk.top());
    let hashed = |view: &View| {
        let files: Vec<_> = view.catalogue.of_torrent(info).collect();
        files.len() == 3 && view.to_hash == 0 && view.looks > 0
    };
    let view = running.until("the torrent", hashed).await;
    let (number, one) = item(&view, "one");
    assert_eq!(one.torrent, Some((info, 0)));
    assert_eq!(one.hashes.unwrap().sha1, sha1([&b"first"[..]]));
    assert!(view.catalogue.of_torrent(info).any(|pair| pair == (0, number)));
    assert_eq!(item(&view, "three").1.torrent, Some((info, 2)));
    assert_eq!(item(&view, "film.part").1.torrent, Some((info, 4)), "it is as long as it shall be");
    // The folder holds the rest, and nothing twice.
    assert_eq!(names(&view), ["cover", "film.part", "one", "three", "two"]);
    // By both ways: what is hidden is nobody's business.
    assert_eq!(view.left_out.hidden, 2);
    assert_eq!(item(&view, "two").1.torrent, None);
    assert_eq!(view.catalogue.find(&words(&format!("btih {info}")), 9).len(), 3);
    assert_eq!(view.catalogue.of_torrent(hidden.info_hash()).count(), 0);
    assert!(running.library.open(&one).is_ok());
    running.library.remove_torrent(info);
    let gone = |view: &View| view.catalogue.of_torrent(info).count() == 0;
    let view = running.until("its end", gone).await;
    assert_eq!(names(&view), ["cover", "one", "three", "two"], "the folder is shared still");
}

#[tokio::test]
async fn torrents_that_are_known_at_the_start_are_in_the_first_look() {
    let mut desk = Desk::new();
    desk.put("album/one", "first");
    (desk.config.folders, desk.config.rescan) = (Vec::new(), Duration::from_secs(3_600));
    let top = desk.dir.path().join("top");
    let metainfo = torrent_of("album", &[("one", "first")], false);
    let given = [(metainfo.info_hash(), &metainfo.info, top.as_path())];
    let library = Library::start_with(desk.config.clone(), Clock::start(), given).unwrap();
    let mut running = Running { view: library.watch(), library };
    let view = running.until("a look", |view| view.looks == 1).await;
    assert_eq!(names(&view), ["one"]);
}

#[tokio::test]
async fn each_file_can_be_a_torrent_of_its_own() {
    let mut desk = Desk::new();
    desk.put("song.mp3", vec![5; 40_000]);
    desk.put("empty", "");
    desk.put("not\u{202e}safe", "x");
    let plain = desk.start().looked().await;
    assert_eq!(item(&plain, "song.mp3").1.torrent, None);
    desk.config.torrents = true; // what was hashed without is hashed again
    let mut running = desk.start();
    let view = running.looked().await;
    let (info, nth) = item(&view, "song.mp3").1.torrent.unwrap();
    let bytes = running.library.torrent(info).unwrap();
    let metainfo = Metainfo::parse(&bytes).unwrap();
    assert_eq!((nth, metainfo.info.files.len()), (0, 1));
    assert_eq!(metainfo.info.files[0].path, ["song.mp3"]);
    assert_eq!((metainfo.info.geometry.piece_len(), metainfo.info.geometry.pieces()), (16_384, 3));
    assert!(item(&view, "empty").1.torrent.is_none());
    assert!(item(&view, "notsafe").1.torrent.is_none());
    drop(running);
    let mut running = desk.start();
    let view = running.looked().await;
    assert_eq!(item(&view, "song.mp3").1.torrent, Some((info, 0)), "kept between runs");
    let path = desk.config.state_dir.join(format!("torrents/{info}.torrent"));
    fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(running.library.torrent(info), None);
}

#[tokio::test]
async fn two_processes_do_not_lose_what_the_other_knows() {
    let (mut one, two) = (Desk::new(), Desk::new());
    one.put("a", "a");
    two.put("b", "b");
    one.config.state_dir.clone_from(&two.config.state_dir);
    let (mut first, mut second) = (one.start(), two.start());
    let record = two.record();
    let both = |_: &View| {
        let raw = fs::read(&record).unwrap_or_default();
        Record::decode(&raw).is_ok_and(|record| record.len() == 2)
    };
    first.looked().await;
    second.looked().await;
    second.until("both in the record", both).await;
    drop((first, second));
    one.start().looked().await;
    assert!(both(&View::default()));
}

/// Ten folders of a thousand files are there at once when they were hashed before.
#[tokio::test]
async fn ten_thousand_files_come_from_the_record_at_once() {
    let mut desk = Desk::new();
    desk.config.folders = (0..10).map(|n| desk.dir.path().join(format!("folder{n}"))).collect();
    for (folder, path) in desk.config.folders.iter().enumerate() {
        fs::create_dir(path).unwrap();
        for n in 0..1000 {
            let path = path.join(format!("Artist {folder} - Some Song {n:04}.mp3"));
            fs::write(&path, format!("{folder} {n}")).unwrap();
            age(&path, 1_000_000_000);
        }
    }
    assert_eq!(desk.start().looked().await.catalogue.len(), 10_000);
    desk.config.rescan = Duration::from_secs(3600);
    let clock = Clock::start();
    let mut running = desk.start();
    let view = running.until("all files", |view| view.looks == 1).await;
    let took = clock.now().since(Instant::ZERO);
    assert_eq!(view.catalogue.len(), 10_000);
    assert_eq!(view.catalogue.find(&words("artist 7 song 0042"), 9).len(), 1);
    println!("loaded 10 000 files in {took:?}");
    // A release build takes a tenth of this; the machine may have other things to do.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_query_over_a_hundred_thousand_files_is_short() {
    let adjectives = ["red", "blue", "old", "new", "long", "short", "loud", "slow", "dark", "warm"];
    let files = (0..100_000u64).map(|n| {
        let at = |step: u64| adjectives[(n / step % 10) as usize];
        let name = format!("{} {} {} song {n}.mp3", at(1), at(10), at(100));
        let stamp = gaggle_core::storage::Stamp { len: n, mtime_ns: 0 };
        Item::new(Place { folder: 0, path: vec![name] }, stamp)
    });
    let clock = Clock::start();
    let catalogue = Catalogue::of(files.collect());
    let built = clock.now();
    for (text, most, want) in [
        ("song 77777", 100, 1),
        ("red blue old", 100, 100),   // a tenth of all has one of them
        ("song mp3", 100, 100),       // everything
        ("red red", 100_000, 20_000), // cut off
        ("red nowhere", 100, 0),
    ] {
        let words = words(text);
        let began = clock.now();
        let rounds = 20;
        for _ in 0..rounds {
            assert_eq!(catalogue.find(&words, most).len(), want, "{text}");
        }
        let each = clock.now().since(began) / rounds;
        println!("{text}: {each:?}; the catalogue took {:?}", built.since(Instant::ZERO));
        assert!(each < Duration::from_millis(20), "{text}: {each:?}");
    }
}
