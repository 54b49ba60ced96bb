//! Files that no torrent describes.

use super::*;
use gaggle_core::bencode::{Dict, Limits, Value};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::rng::Rng;
use gaggle_core::share::Hasher;
use gaggle_core::swarm::whole::{Whole, WholeConfig};
use std::path::Path;
use tokio::sync::watch;

fn known(content: &[u8]) -> Known {
    let mut hasher = Hasher::new(content.len() as u64, None);
    hasher.update(content);
    let hashes = hasher.finish().unwrap().hashes;
    Known { sha1: Some(hashes.sha1), uu: Some(hashes.uu), md5: Some(hashes.md5) }
}

#[test]
fn the_strongest_hash_decides() {
    let all = known(&content());
    let mut hasher = Hasher::new(LEN as u64, None);
    hasher.update(&content());
    let hashes = hasher.finish().unwrap().hashes;
    let uu = |change: &dyn Fn(&mut [u8; 20])| {
        let mut uu = hashes.uu;
        change(&mut uu.0);
        Some(uu)
    };
    let (none, wrong) = (Known::default(), Some([9; 20]));
    let (unsampled, other) = ([0xff, 0x4f, 0xfb, 0xff], [0xff, 0x4f, 0xfb, 0xfe]);
    for (known, want) in [
        (all, Some(Proof::Whole)),
        (Known { sha1: wrong, ..all }, None),
        (Known { uu: uu(&|uu| uu[0] ^= 1), md5: None, ..all }, Some(Proof::Whole)),
        (Known { sha1: None, ..all }, Some(Proof::Part)),
        (Known { uu: uu(&|uu| uu[0] ^= 1), ..none }, None),
        (Known { uu: uu(&|uu| uu[16..].copy_from_slice(&unsampled)), ..none }, Some(Proof::Part)),
        (Known { uu: uu(&|uu| uu[16..].copy_from_slice(&other)), ..none }, None),
        (Known { md5: all.md5, ..none }, Some(Proof::Part)),
        (Known { md5: Some([9; 16]), ..none }, Some(Proof::None)),
        (none, Some(Proof::None)),
    ] {
        assert_eq!(known.judge(&hashes), want, "{known:?}");
    }
}

fn order(content: &[u8], dir: &Path, hosts: Vec<Host>) -> Order {
    Order {
        name: NAME.to_owned(),
        len: content.len() as u64,
        known: known(content),
        hosts,
        dir: dir.to_owned(),
        overwrite: false,
        down: None,
    }
}

async fn run(order: Order) -> Result<Got, GetError> {
    let (progress, _) = watch::channel(Progress::default());
    let get = get(order, Dialer::default(), Clock::start(), progress);
    tokio::time::timeout(Duration::from_secs(60), get).await.expect("in time")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_from_three_networks_at_once_and_survives_the_death_of_any() {
    let content = content();
    let kinds = [Kind::Gnutella, Kind::FastTrack, Kind::Napster];
    for victim in 0..=kinds.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut hosts = Vec::new();
        for (nth, kind) in kinds.into_iter().enumerate() {
            let act = if nth == victim { Act::Die(200_000) } else { Act::Serve };
            hosts.push(match kind {
                Kind::Napster => Scripted::napster(&content, act, 2_000_000).await,
                _ => Scripted::slow(&content, act, 2_000_000).await,
            });
        }
        let named: Vec<Host> =
            hosts.iter().zip(kinds).map(|(host, kind)| host.host(kind)).collect();
        let got = run(order(&content, dir.path(), named.clone())).await.unwrap();
        assert!(std::fs::read(&got.path).unwrap() == content, "without {victim}");
        let good: Vec<u64> = named.iter().map(|host| host.worth.good()).collect();
        assert!(good.iter().all(|&bytes| bytes > 0), "{good:?} without {victim}");
        assert!(good.iter().sum::<u64>() <= LEN as u64, "{good:?}");
        for (nth, host) in named.iter().enumerate() {
            // One of Napster goes on beyond a range, and may die there.
            let sure = nth != victim || host.kind != Kind::Napster;
            let broke_off = host.worth.has_broken_off();
            assert!(!sure || broke_off == (nth == victim), "{nth} without {victim}");
        }
        assert_eq!((got.proof, &got.liars[..]), (Proof::Whole, &[][..]));
        assert!(got.from.len() == 3 && got.from.values().all(|&bytes| bytes > 0), "{:?}", got.from);
        assert_eq!(names(dir.path()), [FILE]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_traced_to_who_sent_them_and_come_from_others() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let liar = Scripted::slow(&content, Act::Lie, 2_000_000).await;
    let good = Scripted::slow(&content, Act::Serve, 2_000_000).await;
    let hosts = vec![liar.host(Kind::Gnutella), good.host(Kind::FastTrack)];
    let got = run(order(&content, dir.path(), hosts)).await.unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content);
    assert!(got.liars.is_empty() || got.liars == [liar.addr.to_string()], "{:?}", got.liars);
    assert!(got.from[&Kind::Gnutella] > 0);

    let dir = tempfile::tempdir().unwrap();
    let lone = liar.host(Kind::Gnutella);
    let error = run(order(&content, dir.path(), vec![lone.clone()])).await.unwrap_err();
    assert_eq!((lone.worth.has_lied(), lone.worth.good()), (true, 0));
    let text = error.to_string();
    assert!(text.contains(&liar.addr.to_string()) && text.contains("hash"), "{text}");
    assert_eq!(names(dir.path()), [""; 0], "and nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_vouches_for_comes_from_one_host_and_that_is_said() {
    let content = content();
    let hosts = [
        Scripted::slow(&content, Act::Die(300_000), 4_000_000).await,
        Scripted::slow(&content, Act::Serve, 4_000_000).await,
    ];
    for (known, proof) in [
        (Known::default(), Proof::None),
        (Known { md5: Some([0; 16]), ..Known::default() }, Proof::None),
        (Known { md5: known(&content).md5, ..Known::default() }, Proof::Part),
        (Known { uu: known(&content).uu, ..Known::default() }, Proof::Part),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let named: Vec<Host> = hosts.iter().map(|host| host.host(Kind::Gnutella)).collect();
        let order = Order { known, ..order(&content, dir.path(), named.clone()) };
        let got = run(order).await.unwrap();
        assert_eq!(got.proof, proof);
        let credited = named.iter().any(|host| host.worth.good() > 0);
        assert_eq!(credited, proof != Proof::None, "what nobody can check earns nothing");
        assert!(std::fs::read(&got.path).unwrap() == content);
    }
    let dir = tempfile::tempdir().unwrap();
    let other =
        Known { uu: Some(gaggle_core::proto::fasttrack::UuHash([1; 20])), ..Known::default() };
    let named = vec![hosts[1].host(Kind::Gnutella)];
    let failed = run(Order { known: other, ..order(&content, dir.path(), named) }).await;
    assert!(matches!(failed, Err(GetError::NobodyLeft(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_there_is_taken_or_left_alone() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let host = Scripted::http(&content, Act::Serve).await;
    let ask = || order(&content, dir.path(), vec![host.host(Kind::Gnutella)]);
    let path = dir.path().join(FILE);
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(run(ask()).await, Err(GetError::Storage(error)) if error.protects_data()));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let got = run(Order { overwrite: true, ..ask() }).await.unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content && got.path == path);
    let asked = host.heads().len();
    let got = run(ask()).await.unwrap();
    assert_eq!((got.proof, host.heads().len(), got.from.len()), (Proof::Whole, asked, 0));
    assert_eq!(names(dir.path()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_checked_leaves_nothing_when_it_is_dropped() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let host = Scripted::slow(&content, Act::Serve, 1_000_000).await;
    let order = order(&content, dir.path(), vec![host.host(Kind::Gnutella)]);
    begin_and_drop(Order { known: Known::default(), ..order }, 100_000, 0).await;
}

/// Gets so much of a file and drops the download; then there are so many files.
async fn begin_and_drop(order: Order, most: u64, files: usize) {
    let dir = order.dir.clone();
    let (progress, mut seen) = watch::channel(Progress::default());
    let get = tokio::spawn(get(order, Dialer::default(), Clock::start(), progress));
    seen.wait_for(|progress| progress.done > most).await.unwrap();
    assert_eq!(names(&dir).len(), 1, "under another name");
    assert!(!dir.join(FILE).exists());
    get.abort();
    let _ = get.await;
    // A write that was under way ends first.
    for _ in 0..250 {
        let left = names(&dir);
        if left.len() == files && left.iter().all(|name| !name.ends_with(".tmp")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?} is left", names(&dir));
}

/// The file that is not whole, with its record.
fn part_of(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let find = |end: &str| {
        let name = names(dir).into_iter().find(|name| name.ends_with(end));
        dir.join(name.unwrap_or_else(|| panic!("{:?}", names(dir))))
    };
    (find(".part"), find(".have"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_come_is_kept_and_the_next_download_goes_on_from_there() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let slow = Scripted::slow(&content, Act::Serve, 2_000_000).await;
    let fast = Scripted::http(&content, Act::Serve).await;
    let ask = |host: &Scripted| order(&content, dir.path(), vec![host.host(Kind::Gnutella)]);
    begin_and_drop(ask(&slow), LEN as u64 / 2, 2).await;
    let got = run(ask(&fast)).await.unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content);
    assert_eq!((got.proof, names(dir.path())), (Proof::Whole, vec![FILE.to_owned()]));
    assert!(fast.sent() < LEN as u64 * 6 / 10, "{} bytes of {LEN} again", fast.sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_wrong_is_taken_for_right_whatever_is_left_of_a_download() {
    let content = content();
    let fast = Scripted::http(&content, Act::Serve).await;
    for damage in ["bytes", "record", "no record", "content"] {
        let dir = tempfile::tempdir().unwrap();
        let slow = Scripted::slow(&content, Act::Serve, 2_000_000).await;
        let ask = |host: &Scripted| order(&content, dir.path(), vec![host.host(Kind::Gnutella)]);
        begin_and_drop(ask(&slow), LEN as u64 / 2, 2).await;
        let (part, record) = part_of(dir.path());
        match damage {
            "bytes" => std::fs::write(&part, vec![0xee; LEN]).unwrap(),
            "no record" => std::fs::remove_file(&record).unwrap(),
            // Says that all of it is there, of this content and of another one.
            _ => {
                let parts = Whole::new(
                    Clock::start().now(),
                    WholeConfig { len: LEN as u64, checked: true, down: None },
                    Rng::seeded(1),
                );
                let all = Bitfield::full(parts.unwrap().geometry().pieces()).to_wire();
                let raw = std::fs::read(&record).unwrap();
                let value = Value::parse(&raw, Limits::TORRENT).unwrap();
                let ours = value.at("content").unwrap().as_bytes().unwrap();
                let content = if damage == "content" { &[7; 20] } else { ours };
                let said = Dict::new().bytes("content", content).bytes("have", all);
                std::fs::write(&record, said.into_bytes()).unwrap();
            }
        }
        let before = fast.sent();
        let got = run(ask(&fast)).await.unwrap();
        assert!(std::fs::read(&got.path).unwrap() == content, "{damage}");
        assert!(got.liars.is_empty() && fast.sent() - before >= LEN as u64 / 2, "{damage}");
        assert_eq!(names(dir.path()), [FILE], "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_longest_name_can_be_resumed() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let slow = Scripted::slow(&content, Act::Serve, 2_000_000).await;
    let name = format!("a{}", "é".repeat(119));
    let order = order(&content, dir.path(), vec![slow.host(Kind::Gnutella)]);
    begin_and_drop(Order { name, ..order }, LEN as u64 / 2, 2).await;
    let (part, record) = part_of(dir.path());
    assert!(part.exists() && record.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_under_the_name_of_an_unfinished_file_and_is_not_ours_stays_as_it_is() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let content = content();
    let fast = Scripted::http(&content, Act::Serve).await;
    for trap in ["hard link", "link", "pipe", "record"] {
        let (dir, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let slow = Scripted::slow(&content, Act::Serve, 2_000_000).await;
        let ask = |host: &Scripted| order(&content, dir.path(), vec![host.host(Kind::Gnutella)]);
        begin_and_drop(ask(&slow), LEN as u64 / 2, 2).await;
        let (part, record) = part_of(dir.path());
        let victim = theirs.path().join("victim");
        std::fs::write(&victim, "theirs").unwrap();
        let place = if trap == "record" { record } else { part };
        std::fs::remove_file(&place).unwrap();
        match trap {
            "hard link" => std::fs::hard_link(&victim, &place).unwrap(),
            "link" => std::os::unix::fs::symlink(&victim, &place).unwrap(),
            _ => mknodat(CWD, &place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        }
        let got = run(ask(&fast)).await.unwrap();
        assert!(std::fs::read(&got.path).unwrap() == content, "{trap}");
        assert_eq!(std::fs::read(&victim).unwrap(), b"theirs", "{trap}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_downloads_of_one_file_do_not_write_into_each_other() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let slow = Scripted::slow(&content, Act::Serve, 500_000).await;
    let fast = Scripted::http(&content, Act::Serve).await;
    let ask = |host: &Scripted| order(&content, dir.path(), vec![host.host(Kind::Gnutella)]);
    let (progress, mut seen) = watch::channel(Progress::default());
    let first = tokio::spawn(get(ask(&slow), Dialer::default(), Clock::start(), progress));
    seen.wait_for(|progress| progress.done > 100_000).await.unwrap();
    let got = run(ask(&fast)).await.unwrap();
    assert!(std::fs::read(&got.path).unwrap() == content);
    assert!(names(dir.path()).iter().any(|name| name.ends_with(".part")), "that of the first");
    first.abort();
    let _ = first.await;
}

#[tokio::test]
async fn hosts_that_may_not_be_asked_and_sizes_that_cannot_be() {
    let content = content();
    let dir = tempfile::tempdir().unwrap();
    let host = Scripted::http(&content, Act::Serve).await;
    let far = Host { teller: Scope::Global, ..host.host(Kind::Gnutella) };
    let error = run(order(&content, dir.path(), vec![far])).await.unwrap_err();
    assert!(error.to_string().contains("no address to hear of"), "{error}");
    assert_eq!(host.connections(), 0);
    let huge = Order { len: u64::MAX, ..order(&content, dir.path(), vec![]) };
    assert!(run(huge).await.is_err());
    let empty = order(&[], dir.path(), vec![]);
    let got = run(empty).await.unwrap();
    assert_eq!((std::fs::read(&got.path).unwrap().len(), got.proof), (0, Proof::Whole));
    assert_eq!(names(dir.path()).len(), 1);
}
