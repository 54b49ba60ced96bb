//! The same against opentracker, alone with it in a network namespace of this test's own.

use super::*;
use std::process::{Child, Command, Stdio};

/// Set in the copy of this test that runs inside the namespace.
const INSIDE: &str = "GAGGLE_TEST_IN_NAMESPACE";
/// Makes a missing client a failure.
const REQUIRED: &str = "GAGGLE_REQUIRE_CLIENTS";
const NAME: &str = "locate::tests::foreign::opentracker_answers_over_http_and_udp";
const ADDR: &str = "198.18.0.1";

/// Ends a process that the test started.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn opentracker_answers_over_http_and_udp() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    if let Some(reason) = missing() {
        assert!(std::env::var_os(REQUIRED).is_none_or(|set| set != "1"), "{reason}");
        eprintln!("SKIPPED {NAME}: {reason}");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .arg("-n")
        .arg(this)
        .args([NAME, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "inside the namespace: {status}");
}

fn missing() -> Option<String> {
    if !std::path::Path::new("/usr/bin/opentracker").exists() {
        return Some("opentracker is not installed".to_owned());
    }
    let namespace = Command::new("unshare").args(["-n", "true"]).stderr(Stdio::null()).status();
    match namespace {
        Ok(status) if status.success() => None,
        _ => Some("no right to make a network namespace (run as root)".to_owned()),
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

async fn inside() {
    run("ip link set lo up");
    for host in 1..=3 {
        run(&format!("ip addr add 198.18.0.{host}/32 dev lo"));
    }
    let dir = tempfile::Builder::new().permissions(readable()).tempdir().unwrap();
    std::fs::write(dir.path().join("wl.txt"), format!("{HASH}\n")).unwrap();
    let _server = Ended(
        Command::new("opentracker")
            .args(["-i", ADDR, "-p", "6969", "-P", "6969", "-w", "wl.txt", "-d"])
            .arg(dir.path())
            .current_dir(dir.path())
            .spawn()
            .unwrap(),
    );
    let trackers = trackers();
    let (http, udp) =
        (format!("http://{ADDR}:6969/announce"), format!("udp://{ADDR}:6969/announce"));
    let started = |port| Announce { event: Event::Started, ..leech(port) };
    let up = async {
        while ask(&trackers, &http, started(4001)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.expect("opentracker comes up");

    // It tells everybody about everybody, also about themselves.
    let peer = |port: u16| SocketAddr::new(ADDR.parse().unwrap(), port);
    let (mut peers, terms) = ask(&trackers, &udp, started(4002)).await.unwrap();
    peers.sort();
    assert_eq!(peers, [peer(4001), peer(4002)]);
    assert_eq!((terms.counts.seeds, terms.counts.leeches), (0, 2));
    assert!(terms.interval.unwrap() >= Duration::from_secs(600));
    let done = Announce { event: Event::Completed, left: 0, ..leech(4001) };
    let (peers, terms) = ask(&trackers, &http, done).await.unwrap();
    assert!(peers.contains(&peer(4002)));
    assert_eq!((terms.counts.seeds, terms.counts.leeches), (1, 1));
    assert!(terms.min_interval.is_some());

    for url in [&http, &udp] {
        let counts = trackers.scrape(url, &[HASH]).await.unwrap()[0].unwrap();
        assert_eq!((counts.seeds, counts.leeches, counts.completed), (1, 1, 1), "{url}");
    }
    let stranger = Announce { info_hash: InfoHash([8; 20]), ..leech(4001) };
    let error = ask(&trackers, &http, stranger).await.unwrap_err();
    assert!(error.to_string().starts_with("refused: "), "{error}");

    let farewell = Announce { event: Event::Stopped, left: 0, ..leech(4001) };
    ask(&trackers, &udp, farewell).await.unwrap();
    let (peers, _) = ask(&trackers, &http, leech(4002)).await.unwrap();
    assert!(!peers.contains(&peer(4001)));
}

/// It drops its rights and must still be able to read its directory.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o755)
}
