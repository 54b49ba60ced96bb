use super::*;
use gaggle_core::external::Sighting;
use gaggle_core::proto::announce::{Counts, RetryIn};
use gaggle_core::proto::tracker_http::ReplyError;
use gaggle_core::proto::tracker_udp::ExchangeError;
use tokio::net::UdpSocket;

#[tokio::test]
async fn peers_meet_over_http_and_udp_in_both_families() {
    let trackers = trackers();
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let running = tracker(listen);
        let at = running.local_addr();
        let peer = |port| SocketAddr::new(at.ip(), port);
        for (n, scheme) in ["http", "udp"].into_iter().enumerate() {
            let url = format!("{scheme}://{at}/announce");
            let base = 4000 + 10 * n as u16;
            let info_hash = InfoHash([base as u8; 20]);
            let leech = |port| Announce { info_hash, ..leech(port) };
            let (peers, _) = ask(&trackers, &url, leech(base)).await.unwrap();
            assert_eq!(peers, []);
            let seed = Announce { left: 0, ..leech(base + 1) };
            let (peers, terms) = ask(&trackers, &url, seed).await.unwrap();
            assert_eq!(peers, [peer(base)]);
            assert_eq!((terms.counts.seeds, terms.counts.leeches), (1, 1));
            let wanted = terms.interval.unwrap();
            assert_eq!(wanted, Duration::from_secs(1));
            let counts = trackers.scrape(&url, &[InfoHash([99; 20]), info_hash]).await.unwrap();
            let known = Some(Counts { seeds: 1, leeches: 1, completed: 0 });
            assert_eq!(counts, [Some(Counts::default()), known], "{url}");
            let farewell = Announce { event: Event::Stopped, ..leech(base) };
            ask(&trackers, &url, farewell).await.unwrap();
            let (peers, _) = ask(&trackers, &url, leech(base + 2)).await.unwrap();
            assert_eq!(peers, [peer(base + 1)], "{url}");
        }
    }
}

#[tokio::test]
async fn what_a_tracker_says_of_our_address_is_passed_on_with_its_own() {
    let running = tracker("127.0.0.1:0");
    let url = format!("http://{}/announce", running.local_addr());
    let (say, mut sightings) = mpsc::channel(1);
    let trackers = trackers().telling(say);
    ask(&trackers, &url, leech(4000)).await.unwrap();
    let by = running.local_addr().ip();
    assert_eq!(sightings.try_recv(), Ok(Sighting { by, us: by }));
}

#[tokio::test]
async fn udp_trackers_see_the_one_socket_of_an_engine() {
    let running = tracker("127.0.0.1:0");
    let url = format!("udp://{}/announce", running.local_addr());
    let (udp, _dht) = crate::net::Udp::bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let trackers = trackers().over(Some(udp));
    let some = (0..20).map(|n| ask(&trackers, &url, leech(4000 + n)));
    let some = futures_util::future::join_all(some).await;
    assert!(some.iter().all(Result::is_ok), "{some:?}");
    let (peers, _) = ask(&trackers, &url, leech(1)).await.unwrap();
    assert!(!peers.is_empty());
    assert!(peers.iter().all(|peer| peer.ip().to_string() == "127.0.0.9"), "{peers:?}");
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp_retry = Retry { first: Duration::from_millis(50), sends: 2 };
    let config = TrackersConfig { udp_retry, ..TrackersConfig::default() };
    let (udp, _dht) = crate::net::Udp::bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let trackers = trackers_with(config).over(Some(udp));
    let url = format!("udp://{}", silent.local_addr().unwrap());
    let error = ask(&trackers, &url, leech(1)).await.unwrap_err();
    assert_eq!(error, LocateError::Exchange(ExchangeError::TimedOut { tries: 2 }));
}

#[tokio::test]
async fn trackers_see_the_address_that_we_listen_on() {
    let running = tracker("127.0.0.1:0");
    let at = running.local_addr();
    let from: std::net::IpAddr = "127.0.0.9".parse().unwrap();
    let trackers = trackers_with(TrackersConfig { from: Some(from), ..TrackersConfig::default() });
    for (n, scheme) in ["http", "udp"].into_iter().enumerate() {
        let url = format!("{scheme}://{at}/announce");
        let info_hash = InfoHash([n as u8; 20]);
        let leech = |port| Announce { info_hash, ..leech(port) };
        ask(&trackers, &url, leech(4000)).await.unwrap();
        let (peers, _) = ask(&trackers, &url, leech(4001)).await.unwrap();
        assert_eq!(peers, [SocketAddr::new(from, 4000)], "{url}");
    }
}

#[tokio::test]
async fn refusals_arrive_in_the_trackers_words() {
    let mut config = TrackerConfig::new("127.0.0.1:0".parse().unwrap());
    config.policy.limits.torrents = 0;
    let running = Tracker::bind(&config).unwrap();
    let at = running.local_addr();
    let error = ask(&trackers(), &format!("http://{at}/announce"), leech(1)).await.unwrap_err();
    let soon = Some(RetryIn::After(Duration::from_secs(1800)));
    assert_eq!(error.retry_in(), soon);
    let reason = "tracker is full".to_owned();
    assert_eq!(error, ReplyError::Refused { reason: reason.clone(), retry_in: soon }.into());
    let error = ask(&trackers(), &format!("udp://{at}"), leech(1)).await.unwrap_err();
    assert_eq!(error, ExchangeError::Refused(reason).into());
}

#[tokio::test]
async fn a_scrape_of_many_goes_in_several_requests() {
    let running = tracker("127.0.0.1:0");
    let at = running.local_addr();
    let hashes: Vec<_> = (0..200).map(|n| InfoHash([n; 20])).collect();
    for url in [format!("http://{at}/announce"), format!("udp://{at}")] {
        assert_eq!(trackers().scrape(&url, &hashes).await.unwrap().len(), 200);
    }
    let error = trackers().scrape(&format!("http://{at}/x"), &hashes).await.unwrap_err();
    assert!(matches!(error, LocateError::PrivateTarget(_)), "{error}");
    let odd = "http://tracker.example/x";
    assert_eq!(trackers().scrape(odd, &hashes).await, Err(LocateError::Unscrapable));
}
