use super::*;
use gaggle_core::swarm::announce::{LastAnswer, Pace};
use tokio::net::UdpSocket;

fn announce(tiers: &[&[String]], port: u16) -> Announcing {
    announce_from(tiers, port, Progress { left: 5, needs_peers: true, ..Progress::default() })
}

fn announce_from(tiers: &[&[String]], port: u16, progress: Progress) -> Announcing {
    let pace = Pace { interval_min: Duration::from_millis(100), ..Pace::default() };
    let setup = AnnouncingSetup {
        info_hash: HASH,
        peer_id: PeerId([b'a'; 20]),
        port,
        key: 1,
        tiers: tiers.iter().map(|tier| tier.to_vec()).collect(),
        pace,
    };
    let clock = Clock::start();
    let udp_retry = Retry { first: Duration::from_millis(200), sends: 2 };
    let config = TrackersConfig { udp_retry, ..TrackersConfig::default() };
    let trackers = Trackers::new(config, clock, Rng::seeded(1));
    Announcing::new(setup, trackers, clock, Rng::seeded(2), progress)
}

/// The next peers that it hears of.
async fn hears(announcing: &mut Announcing) -> Vec<SocketAddr> {
    let heard = async {
        loop {
            let peers = announcing.step().await;
            if !peers.is_empty() {
                return peers;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("peers")
}

/// Goes on until the status of some tracker is as wanted.
async fn until(announcing: &mut Announcing, wanted: impl Fn(&LastAnswer) -> bool) {
    let seen = async {
        while !announcing.status().iter().any(|one| wanted(&one.last)) {
            announcing.step().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the status comes");
}

/// Goes on until the tracker has these counts.
async fn until_counted(announcing: &mut Announcing, url: &str, wanted: (u32, u32, u32)) {
    let counted = async {
        while counts(url).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let goes_on = async {
        loop {
            announcing.step().await;
        }
    };
    tokio::select! {
        counted = tokio::time::timeout(PATIENCE, counted) => counted.expect("it is announced"),
        () = goes_on => {}
    }
}

/// (seeds, leeches, completed) as the tracker has them.
async fn counts(url: &str) -> (u32, u32, u32) {
    let counts = trackers().scrape(url, &[HASH]).await.unwrap()[0].unwrap();
    (counts.seeds, counts.leeches, counts.completed)
}

#[tokio::test]
async fn two_torrents_find_each_other_complete_and_leave() {
    for scheme in ["http", "udp"] {
        let running = tracker("127.0.0.1:0");
        let at = running.local_addr();
        let url = format!("{scheme}://{at}/announce");
        let mut first = announce(&[std::slice::from_ref(&url)], 4001);
        until(&mut first, |last| matches!(last, LastAnswer::Answered { .. })).await;
        let mut second = announce(&[std::slice::from_ref(&url)], 4002);
        assert_eq!(hears(&mut second).await, ["127.0.0.1:4001".parse().unwrap()]);
        // In need of peers the first asks again as soon as it may, and hears of the newcomer.
        assert_eq!(hears(&mut first).await, ["127.0.0.1:4002".parse().unwrap()]);
        assert_eq!(counts(&url).await, (0, 2, 0));

        let complete = Progress { complete: true, downloaded: 5, ..Progress::default() };
        second.set_progress(complete);
        until_counted(&mut second, &url, (1, 1, 1)).await;
        second.stop().await;
        assert_eq!(counts(&url).await, (0, 1, 1));
        first.stop().await;
        assert_eq!(counts(&url).await, (0, 0, 1));
    }
}

#[tokio::test]
async fn a_seed_from_the_start_completes_nothing() {
    let running = tracker("127.0.0.1:0");
    let url = format!("http://{}/announce", running.local_addr());
    let whole = Progress { complete: true, ..Progress::default() };
    let mut seed = announce_from(&[std::slice::from_ref(&url)], 4001, whole);
    until(&mut seed, |last| matches!(last, LastAnswer::Answered { .. })).await;
    seed.set_progress(Progress { uploaded: 1, ..whole });
    let more = async {
        loop {
            seed.step().await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(Duration::from_millis(300), more).await;
    assert_eq!(counts(&url).await, (1, 0, 0));
}

#[tokio::test]
async fn dead_trackers_give_way_and_say_why() {
    let running = tracker("127.0.0.1:0");
    let good = format!("http://{}/announce", running.local_addr());
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("udp://{}", mute.local_addr().unwrap());
    let strange = "wss://tracker.example/".to_owned();
    let spy = "http://127.0.0.1:1/admin?x".to_owned();
    let mut announcing = announce(&[&[strange], &[spy], &[dead], &[good]], 4001);
    until(&mut announcing, |last| matches!(last, LastAnswer::Answered { peers: 0, .. })).await;
    let reasons: Vec<_> = announcing
        .status()
        .into_iter()
        .map(|status| match status.last {
            LastAnswer::Failed { reason, for_good, .. } => (reason, for_good),
            LastAnswer::Answered { .. } => ("answered".into(), false),
            LastAnswer::NotYet => ("not yet".into(), false),
        })
        .collect();
    let private = "127.0.0.1: on private addresses only /announce without a query is asked";
    assert_eq!(
        reasons,
        [
            ("wss:// is not supported".into(), true),
            (private.into(), true),
            ("timed out (2 tries)".into(), false),
            ("answered".into(), false),
        ]
    );
}

#[tokio::test]
async fn a_farewell_to_a_mute_tracker_takes_a_second() {
    let running = tracker("127.0.0.1:0");
    let good = format!("udp://{}", running.local_addr());
    let mut announcing = announce(&[std::slice::from_ref(&good)], 4001);
    until(&mut announcing, |last| matches!(last, LastAnswer::Answered { .. })).await;
    let at = running.local_addr();
    running.stop().await;
    let _mute = UdpSocket::bind(at).await.unwrap(); // so that nobody answers, not even the kernel
    let begun = Clock::start();
    announcing.stop().await;
    let took = begun.now().as_secs_f64();
    assert!(took <= 5.0, "took {took} s");
    // A torrent without trackers leaves at once.
    let begun = Clock::start();
    announce(&[], 4001).stop().await;
    assert!(begun.now().as_secs_f64() < 0.9);
}
