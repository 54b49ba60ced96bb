//! Nodes and supernodes of ours, end to end.

use super::*;
use gaggle_core::proto::fasttrack::{Answered, Ask, Target, UuHash};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Asks for a range of a file on a connection, and reads it.
async fn ask(mut stream: TcpStream, hash: UuHash, range: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let target = Target::Hash(hash);
    let (user, range_asked) = ("test".to_owned(), Some(range.clone()));
    let ask = Ask {
        head_only: false,
        target,
        range: range_asked,
        user,
        supernode: None,
        keep_alive: false,
    };
    stream.write_all(ask.encode("127.0.0.1:1".parse().unwrap()).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    let (head, len) = Answered::parse(&answer).unwrap().unwrap();
    assert_eq!((head.status, head.range, head.hash), (206, Some(range), Some(hash)));
    answer.split_off(len)
}

async fn fetch(hit: &Hit) -> Vec<u8> {
    let stream = TcpStream::connect(hit.host.addr).await.unwrap();
    ask(stream, hit.hash, 0..=hit.size - 1).await
}

struct Sharer {
    of: FastTrack,
    content: Vec<u8>,
    _dir: tempfile::TempDir,
}

impl Sharer {
    async fn new(n: u8, connect: Vec<SocketAddrV4>, firewalled: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..50_000u32).map(|i| (i as u8).wrapping_mul(n + 3)).collect();
        write(dir.path(), &format!("Song number{n}.mp3"), &content);
        let library = library(dir.path()).await;
        let user = Some(format!("user{n}"));
        let config = Config { connect, user, firewalled, ..config(Role::Node) };
        let of = FastTrack::start(config, Some(library), Clock::start()).unwrap();
        until(&of, |status| status.attached.is_some() && status.shared == 1).await;
        Self { of, content, _dir: dir }
    }
}

/// Everybody finds what all others have, and gets one of it.
async fn all_find_all(sharers: &[Sharer], supernodes: &[&FastTrack]) {
    // All have moved, and said what they share.
    for _ in 0..600 {
        let files: usize = supernodes.iter().map(|sn| sn.status().files).sum();
        if files == sharers.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (n, sharer) in sharers.iter().enumerate() {
        let mut hits = found(&sharer.of, Query::words(0, 100, "SONG mp3")).await;
        hits.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<String> = hits.iter().map(|hit| hit.name.clone()).collect();
        let others = (0..sharers.len()).filter(|other| *other != n);
        let want: Vec<String> = others.map(|other| format!("Song number{other}.mp3")).collect();
        assert_eq!(names, want, "found by {n}");
        let hit = &hits[n % hits.len()];
        let of = sharers.iter().find(|other| hit.hash == uu_hash(&other.content)).unwrap();
        assert_eq!(fetch(hit).await, of.content);
        let by_hash = found(&sharer.of, Query::hash(0, 10, hit.hash)).await;
        assert_eq!(by_hash.len(), 1);
        assert_eq!((&by_hash[0].host, by_hash[0].size), (&hit.host, 50_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_find_and_give_also_after_a_supernode_has_died() {
    let one = supernode();
    let linked = Config { connect: vec![one.addr()], ..config(Role::Supernode) };
    let other = FastTrack::start(linked, None, Clock::start()).unwrap();
    until(&one, |status| status.supernodes == 1).await;
    until(&other, |status| status.supernodes == 1).await;
    let mut sharers = Vec::new();
    for n in 0..5 {
        // Some begin at one, some at the other; all hear of both.
        let connect = if n % 2 == 0 { one.addr() } else { other.addr() };
        sharers.push(Sharer::new(n, vec![connect], false).await);
    }
    until(&one, |status| status.nodes == 4).await;
    until(&other, |status| status.nodes == 3).await;
    all_find_all(&sharers, &[&one, &other]).await;
    one.stop().await;
    drop(one);
    for sharer in &sharers {
        until(&sharer.of, |status| status.attached == Some(other.addr())).await;
    }
    all_find_all(&sharers, &[&other]).await;
    assert_eq!(other.status().nodes, 6);
    for sharer in &sharers {
        // In every round one has fetched from each.
        until(&sharer.of, |status| status.uploads.bytes == 100_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_a_firewall_gives_what_it_is_pushed_for() {
    let one = supernode();
    let linked = Config { connect: vec![one.addr()], ..config(Role::Supernode) };
    let other = FastTrack::start(linked, None, Clock::start()).unwrap();
    until(&one, |status| status.supernodes == 1).await;
    let walled = Sharer::new(1, vec![one.addr()], true).await;
    until(&one, |status| status.files == 1).await;
    // Through its supernode and another one.
    for supernode in [&one, &other] {
        let asker = node(&[supernode.addr()]);
        until(&asker, |status| status.attached == Some(supernode.addr())).await;
        let hits = found(&asker, Query::words(0, 10, "number1")).await;
        let [hit] = &hits[..] else { panic!("{hits:?}") };
        assert_eq!((hit.host.is_firewalled(), hit.host.supernode), (true, one.addr()));
        let stream = in_time(asker.push(&hit.host)).await.unwrap();
        assert_eq!(ask(stream, hit.hash, 10..=19_999).await, walled.content[10..20_000]);
    }
}

/// What a download was worth counts at the supernode of who gave it, and he is told when he comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_make_a_reputation() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = Some(dir.path().to_owned());
    let kept = Config { state_dir, ..config(Role::Supernode) };
    let sn = FastTrack::start(kept.clone(), None, Clock::start()).unwrap();
    let sharer = Sharer::new(1, vec![sn.addr()], false).await;
    until(&sn, |status| status.files == 1).await;
    let asker = node(&[sn.addr()]);
    until(&asker, |status| status.attached.is_some()).await;
    let hits = found(&asker, Query::words(0, 10, "number1")).await;
    let Host { addr: host, user, supernode } = hits[0].host.clone();
    asker.confirm(Receipt { host, supernode, user, good_bytes: 80 << 20, bad: 0, failed: 0 }).await;
    // What was said before has been heard once a search is answered.
    assert_eq!(found(&asker, Query::words(0, 10, "number1")).await.len(), 1);
    sn.stop().await;
    let again = Config { listen: sn.addr(), ..kept };
    drop(sn);
    let again = loop {
        // Its sockets are closed soon.
        match FastTrack::start(again.clone(), None, Clock::start()) {
            Err(Error::Listen(..)) => tokio::time::sleep(Duration::from_millis(10)).await,
            started => break started.unwrap(),
        }
    };
    let status = until(&sharer.of, |status| status.score != 10).await;
    assert_eq!((status.score, status.attached), (20, Some(again.addr())));
}
