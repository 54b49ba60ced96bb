//! Nodes on real sockets, on loopback.

use super::*;
use crate::net::os_rng;
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::announce::Event;

const PATIENCE: Duration = Duration::from_secs(20);

fn node_with(config: &DhtConfig) -> Dht {
    let bound = Udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Dht::start(bound, config, Clock::start(), os_rng().unwrap())
}

fn hint(addr: SocketAddr) -> PeerHint {
    PeerHint::parse(&addr.to_string()).unwrap()
}

/// A node that begins with these.
fn node(with: &[&Dht]) -> Dht {
    let bootstrap = with.iter().filter_map(|dht| dht.addr(false)).map(hint).collect();
    node_with(&DhtConfig::new(bootstrap))
}

fn announce(port: u16, left: u64) -> Announce {
    Announce {
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([1; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event: Event::None,
        key: 0,
        want: None,
        tracker_id: Vec::new(),
    }
}

/// Asks, and waits for the end: peers, how many keep the announce, the outcome.
async fn ask(dht: &Dht, announce: Announce) -> (Vec<SocketAddr>, u32, Result<(), LocateError>) {
    let (found, mut answers) = mpsc::channel(64);
    dht.submit(AskId(1), Ask::Peers(announce), found);
    let (mut all, mut kept) = (Vec::new(), 0);
    let end = async {
        loop {
            match answers.recv().await.expect("every ask ends in Done") {
                Found::Peers { peers, .. } => all.extend(peers),
                Found::Searched { stored, .. } => kept = stored,
                Found::Done { outcome, .. } => break outcome,
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, end).await.expect("every ask ends");
    all.sort();
    all.dedup();
    (all, kept, outcome.map(drop))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_announces_another_finds() {
    let first = node(&[]);
    let others: Vec<Dht> = (0..12).map(|_| node(&[&first])).collect();
    for other in &others {
        other.look_around().await;
    }
    // A node names only those that have answered it, and that takes a few seconds.
    let mut status = first.watch_status();
    let grown = status.wait_for(|status| status.v4.is_some_and(|side| side.nodes.good >= 8));
    tokio::time::timeout(PATIENCE, grown).await.unwrap().unwrap();
    let (none, kept, outcome) = ask(&others[0], announce(4711, 0)).await;
    assert_eq!((none, outcome), (vec![], Ok(())));
    assert!(kept >= 4, "kept by {kept}");
    let wanted = SocketAddr::from(([127, 0, 0, 1], 4711));
    for other in [&others[1], &others[11], &first] {
        let (peers, kept, outcome) = ask(other, announce(0, 1)).await;
        assert_eq!((peers, kept, outcome), (vec![wanted], 0, Ok(())), "who only looks is not kept");
    }
    let late = node(&[&others[5]]);
    let (peers, ..) = ask(&late, announce(4712, 1)).await;
    assert_eq!(peers, [wanted], "who has only just come finds it at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_puts_another_gets() {
    use gaggle_core::proto::krpc::ItemValue;
    use gaggle_core::sign::SecretKey;
    let first = node(&[]);
    let others: Vec<Dht> = (0..4).map(|_| node(&[&first])).collect();
    for other in &others {
        other.look_around().await;
    }
    let owner = SecretKey::from_seed(&[1; 32]);
    let value = |text: &str| ItemValue::of_bytes(text.as_bytes()).unwrap();
    let salt = Salt::default();
    let signed = |seq, text| Put::new(Item::sign(&owner, &Salt::default(), seq, value(text)));
    let plain = Put::new(Item { value: value("plain"), signed: None });
    let (target, mine) = (plain.target(), signed(1, "").target());
    let put = others[0].put_item(plain).await.unwrap();
    assert!(put.stored >= 1 && put.refused.is_none(), "{put:?}");
    let got = others[3].get_item(target, salt.clone()).await.unwrap();
    assert_eq!(got.item.map(|item| item.value), Some(value("plain")));
    for (seq, text) in [(1, "one"), (2, "two")] {
        let put = others[1].put_item(signed(seq, text)).await.unwrap();
        assert!(put.stored >= 1, "{put:?}");
        let got = others[2].get_item(mine, salt.clone()).await.unwrap();
        assert!(got.copies >= 1 && got.item == Some(signed(seq, text).item), "{got:?}");
    }
    let late = others[1].put_item(signed(1, "one")).await.unwrap();
    assert_eq!((late.stored, late.refused), (0, Some(ErrorCode::SEQ)));
    let alone = node(&[]);
    assert!(matches!(alone.get_item(mine, salt).await, Err(LocateError::NoNodes(_))));
}

#[tokio::test]
async fn who_knows_nobody_says_why_and_a_suggestion_is_enough() {
    let alone = node(&[]);
    let (peers, _, outcome) = ask(&alone, announce(1000, 1)).await;
    assert_eq!(peers, []);
    let Err(LocateError::NoNodes(why)) = outcome else { panic!("{outcome:?}") };
    assert!(!why.is_empty());
    let other = node(&[]);
    alone.suggest(other.addr(false).unwrap());
    let mut status = alone.watch_status();
    let known = status.wait_for(|status| status.why_nobody.is_none());
    tokio::time::timeout(PATIENCE, known).await.unwrap().unwrap();
    let (_, kept, outcome) = ask(&alone, announce(1000, 1)).await;
    assert_eq!((kept, outcome), (1, Ok(())));
    let pong = alone.ping(other.addr(false).unwrap()).await.unwrap();
    assert_ne!(pong.id, gaggle_core::id::NodeId([0; 20]));
    let gone = other.addr(false).unwrap();
    other.stop().await;
    drop(other);
    assert_eq!(alone.ping(gone).await, None);
}

#[tokio::test]
async fn a_name_is_looked_up_and_an_early_ask_waits_for_it() {
    let first = node(&[]);
    let port = first.addr(false).unwrap().port();
    let name = PeerHint { host: "localhost".to_owned(), port };
    let late = node_with(&DhtConfig::new(vec![name]));
    let (_, kept, outcome) = ask(&late, announce(1000, 1)).await;
    assert_eq!((kept, outcome), (1, Ok(())));
}

#[tokio::test]
async fn nodes_are_kept_until_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = |bootstrap| DhtConfig {
        state_dir: Some(dir.path().to_owned()),
        ..DhtConfig::new(bootstrap)
    };
    let first = node(&[]);
    let before = node_with(&config(vec![hint(first.addr(false).unwrap())]));
    before.look_around().await;
    let id = before.status().v4.unwrap().id;
    before.stop().await;
    drop(before);
    assert_eq!(saved_nodes(dir.path(), None).unwrap().nodes[0].addr, first.addr(false).unwrap());
    let again = node_with(&config(Vec::new()));
    assert_eq!(again.status().v4.unwrap().id, id);
    let (_, kept, outcome) = ask(&again, announce(1000, 1)).await;
    assert_eq!((kept, outcome), (1, Ok(())), "without any node to begin with");
}

#[tokio::test]
async fn attack_31_from_loopback_nobody_elsewhere_is_asked() {
    let elsewhere: SocketAddr = "198.18.0.1:6881".parse().unwrap();
    let alone = node_with(&DhtConfig::new(vec![hint(elsewhere)]));
    alone.suggest(elsewhere);
    let (_, _, outcome) = ask(&alone, announce(1000, 1)).await;
    assert!(matches!(outcome, Err(LocateError::NoNodes(_))));
    let counters = alone.status().counters;
    assert_eq!((counters.asked, counters.routers_asked), (0, 0));
}

#[tokio::test]
async fn a_named_node_to_begin_with_is_asked_before_anybody_asks_for_anything() {
    let first = node(&[]);
    let port = first.addr(false).unwrap().port();
    let name = PeerHint { host: "localhost".to_owned(), port };
    let alone = node_with(&DhtConfig::new(vec![name]));
    let mut status = alone.watch_status();
    let known = status.wait_for(|status| status.why_nobody.is_none());
    let in_time = tokio::time::timeout(Duration::from_secs(5), known).await;
    assert!(in_time.is_ok(), "the first datagram left too late");
}

/// A torrent may turn out to be private while it is being announced.
#[tokio::test]
async fn attack_13_an_ask_that_nobody_waits_for_announces_nothing() {
    // A node that answers whatever it is asked, with a token.
    let node = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = node.local_addr().unwrap();
    let dht = node_with(&DhtConfig::new(vec![hint(addr)]));
    let (found, answers) = mpsc::channel(64);
    dht.submit(AskId(1), Ask::Peers(announce(1000, 1)), found);
    let mut raw = [0; 2048];
    let has = |raw: &[u8], what: &[u8]| raw.windows(what.len()).any(|part| part == what);
    let mut answers = Some(answers);
    let asked = async {
        while answers.is_some() {
            let (len, from) = node.recv_from(&mut raw).await.unwrap();
            let query = &raw[..len];
            if has(query, b"get_peers") {
                answers = None; // nobody waits any more, and only then comes the token
            }
            let Some(at) = query.windows(3).position(|part| part == b"1:t") else { continue };
            let tid = usize::from(query[at + 3] - b'0');
            let mut answer = b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:nodes0:5:token4:toke".to_vec();
            answer.extend_from_slice(b"e1:t");
            answer.extend_from_slice(&query[at + 3..at + 5 + tid]);
            answer.extend_from_slice(b"1:y1:re");
            node.send_to(&answer, from).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it asks for peers");
    let announced = async {
        loop {
            let (len, _) = node.recv_from(&mut raw).await.unwrap();
            if has(&raw[..len], b"announce_peer") {
                break;
            }
        }
    };
    let announced = tokio::time::timeout(Duration::from_secs(4), announced).await;
    assert!(announced.is_err(), "it was announced all the same");
}

#[tokio::test]
async fn a_quiet_node_shows_nothing_new() {
    let alone = node(&[]);
    let _ = ask(&alone, announce(1000, 1)).await;
    let mut status = alone.watch_status();
    let mut shown = 0;
    while tokio::time::timeout(Duration::from_secs(2), status.changed()).await.is_ok() {
        shown += 1;
        assert!(shown < 20, "it goes on and on");
    }
    assert!(!*alone.watch_nodes().borrow());
    let other = node(&[]);
    alone.suggest(other.addr(false).unwrap());
    let mut nodes = alone.watch_nodes();
    tokio::time::timeout(PATIENCE, nodes.wait_for(|has| *has)).await.unwrap().unwrap();
}
