//! Ranges and whole files from scripted hosts over real sockets.

mod whole;

use super::fetches::Fetched;
use super::hosts::{Act, Scripted};
use super::source::{Means, Source};
use super::*;
use crate::net::{Buffers, Clock, Dialer};
use gaggle_core::geometry::{Geometry, Version};
use gaggle_core::swarm::source::{
    Ask as Range, FetchKey, Part, SourceFault, SourceKey, SourceOp, Trail,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const LEN: usize = 2_000_001;
const PIECE: u64 = 64 << 10;
/// What a stranger calls a file, and what we do.
const NAME: &str = "../b.bin";
const FILE: &str = ".._b.bin";

fn content() -> Vec<u8> {
    (0..LEN).map(|at| (at * 31 + at / 4093) as u8).collect()
}

fn means() -> Means {
    let (dialer, buffers) = (Dialer::default(), Buffers::default());
    Means { dialer, buffers, clock: Clock::start(), patience: ANSWER_WAIT }
}

fn source(host: Host) -> Source {
    Source::new(host, means())
}

fn range(first: u64, len: u64, teller: Scope) -> Range {
    Range {
        fetch: FetchKey(3),
        source: SourceKey(1),
        at: first,
        part: Part { first, len, file_len: LEN as u64 },
        trail: Trail::new(teller),
    }
}

/// One range from a source: the bytes of whole blocks, and how it ended.
async fn fetch(source: &Source, ask: Range) -> (Vec<u8>, Result<(), SourceFault>) {
    let geometry = Geometry::new(Version::V1, LEN as u64, PIECE).unwrap();
    let (out, mut fetched) = mpsc::channel::<Fetched>(FETCHED_QUEUE);
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(Fetched { fetch, blocks, .. }) = fetched.recv().await {
            assert_eq!(fetch, ask.fetch);
            for (block, data) in blocks {
                let at = geometry.offset_of(block.piece) + u64::from(block.begin);
                assert_eq!(at, ask.at + bytes.len() as u64);
                bytes.extend_from_slice(&data);
            }
        }
        bytes
    };
    let get = async move { source.fetch(&ask, geometry, &out).await };
    let both = async { tokio::join!(collect, get) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("in time")
}

async fn one(act: Act, first: u64, len: u64) -> (Vec<u8>, Result<(), SourceFault>) {
    let host = Scripted::http(&content(), act).await;
    fetch(&source(host.host(Kind::Gnutella)), range(first, len, Scope::Loopback)).await
}

#[tokio::test]
async fn ranges_follow_each_other_on_one_connection_in_each_dialect_of_http() {
    let content = content();
    let (at, len) = (2 * PIECE, 3 * PIECE);
    let requests = [
        (
            Kind::Gnutella,
            "GET /get/7/a%20b%2Ebin HTTP/1.1\r\nHost: ADDR\r\nUser-Agent: gaggle/0.1.0\r\nX-Queue: 0.1\r\n\
             Range: bytes=131072-327679\r\nConnection: Keep-Alive\r\n\r\n",
        ),
        (
            Kind::FastTrack,
            "GET /.hash=0707070707070707070707070707070707070707 HTTP/1.1\r\nHost: ADDR\r\nUserAgent: gaggle\r\n\
             X-Kazaa-Network: KaZaA\r\nX-Kazaa-Username: me\r\nRange: bytes=131072-327679\r\n\
             Connection: Keep-Alive\r\n\r\n",
        ),
    ];
    for (kind, want) in requests {
        let host = Scripted::http(&content, Act::Serve).await;
        let source = source(host.host(kind));
        for first in [at, at + len, LEN as u64 - 1] {
            let len = len.min(LEN as u64 - first);
            // The last range begins where a block does.
            let first = if len == 1 { LEN as u64 / PIECE * PIECE } else { first };
            let len = len.max(LEN as u64 % PIECE).min(LEN as u64 - first);
            let (bytes, end) = fetch(&source, range(first, len, Scope::Loopback)).await;
            assert_eq!(end, Ok(()));
            assert!(bytes == content[first as usize..(first + len) as usize], "{kind:?} {first}");
        }
        assert_eq!((host.connections(), host.heads().len()), (1, 3));
        assert_eq!(host.heads()[0], want.replace("ADDR", &host.addr.to_string()));
    }
    let sha1 = Dialect::gnutella_sha1([0; 20]);
    let path = "/uri-res/N2R?urn:sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(matches!(sha1, Dialect::Http(HttpFile { path: got, .. }) if got == path));
}

/// Where we are attached; it changes while a file is fetched.
#[derive(Debug, Default)]
struct Moving(std::sync::Mutex<Option<SocketAddrV4>>);

impl Attached for Moving {
    fn supernode(&self) -> Option<SocketAddrV4> {
        *self.0.lock().unwrap()
    }
}

#[test]
fn a_node_is_told_the_supernode_that_knows_us_now() {
    let moving = Arc::new(Moving::default());
    let dialect = Dialect::fasttrack(UuHash([7; 20]), "me", Some(moving.clone()));
    let at = range(0, PIECE, Scope::Loopback).part;
    for named in [None, Some("9.9.1.1:1214"), Some("9.9.2.2:1214"), None] {
        *moving.0.lock().unwrap() = named.map(|addr| addr.parse().unwrap());
        let words = http::request(&dialect, "h", "9.9.5.5:1".parse().unwrap(), at).unwrap();
        let told = words.lines().find_map(|line| line.strip_prefix("X-Kazaa-SupernodeIP: "));
        assert_eq!(told, named);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_nobodys_fault() {
    let host = Scripted::http(&content(), Act::Hangup).await;
    let source = source(host.host(Kind::Gnutella));
    for nth in 1..4 {
        let (bytes, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
        assert_eq!((bytes.len() as u64, end, host.connections()), (PIECE, Ok(()), nth));
    }
}

#[tokio::test]
async fn on_a_connection_that_is_used_again_the_same_rules_hold() {
    let content = content();
    // The host moves while we are connected.
    let there = Scripted::http(&content, Act::Serve).await;
    let moved = Act::Later(Box::new(Act::Redirect(format!("http://{}/x", there.addr))));
    let host = Scripted::http(&content, moved).await;
    let source = source(host.host(Kind::Gnutella));
    for first in [0, PIECE] {
        let (bytes, end) = fetch(&source, range(first, PIECE, Scope::Loopback)).await;
        assert_eq!((bytes.len() as u64, end), (PIECE, Ok(())));
    }
    assert_eq!((host.connections(), host.heads().len(), there.heads().len()), (1, 2, 1));
    // But not to where it may not send us.
    let nowhere = Act::Later(Box::new(Act::Redirect("http://224.0.0.1/".to_owned())));
    let host = Scripted::http(&content, nowhere).await;
    let source = self::source(host.host(Kind::Gnutella));
    assert_eq!(fetch(&source, range(0, PIECE, Scope::Loopback)).await.1, Ok(()));
    let (_, end) = fetch(&source, range(PIECE, PIECE, Scope::Loopback)).await;
    assert_eq!(end, Err(SourceFault::Address([224, 0, 0, 1].into())));
    // The way to it is gone without a word: a new connection is tried.
    let host = Scripted::http(&content, Act::Later(Box::new(Act::Silent))).await;
    let means = Means { patience: Duration::from_millis(300), ..means() };
    let source = Source::new(host.host(Kind::Gnutella), means);
    assert_eq!(fetch(&source, range(0, PIECE, Scope::Loopback)).await.1, Ok(()));
    let (_, end) = fetch(&source, range(PIECE, PIECE, Scope::Loopback)).await;
    assert_eq!((end, host.connections()), (Err(SourceFault::Stalled), 2));
}

#[tokio::test]
async fn who_is_stopped_for_his_silence_has_broken_off_and_who_is_not_needed_has_not() {
    let geometry = Geometry::new(Version::V1, LEN as u64, PIECE).unwrap();
    for broke_off in [false, true] {
        let slow = Scripted::slow(&content(), Act::Serve, 1_000).await;
        let host = slow.host(Kind::Gnutella);
        let (worth, ask) = (Arc::clone(&host.worth), range(0, PIECE, Scope::Loopback));
        let mut fetches = Fetches::new(Dialer::default(), Buffers::default(), Clock::start());
        fetches.add(ask.source, host);
        fetches.carry_out(SourceOp::Ask(ask), geometry);
        fetches.carry_out(SourceOp::Stop { fetch: ask.fetch, broke_off }, geometry);
        assert_eq!(worth.has_broken_off(), broke_off);
    }
}

#[tokio::test]
async fn attack_36_hosts_that_send_something_else() {
    let (first, len) = (PIECE, 2 * PIECE);
    let check = |act: Act, blocks: u64, want: SourceFault| async move {
        let (bytes, end) = one(act.clone(), first, len).await;
        assert_eq!((bytes.len() as u64, end), (blocks, Err(want)), "{act:?}");
    };
    check(Act::Shift, 0, SourceFault::Range { got: Some(first + 1), want: first }).await;
    check(Act::Length(1), 0, SourceFault::TooLong(len)).await;
    check(Act::Length(-1), 0, SourceFault::Short { got: len - 1, want: len }).await;
    check(Act::Total(5), 0, SourceFault::Range { got: None, want: first }).await;
    let (got, want) = (1 << 40, LEN as u64);
    check(Act::Total(got), 0, SourceFault::Total { got, want }).await;
    check(Act::Whole, 0, SourceFault::Unranged).await;
    check(Act::Chunked, 0, SourceFault::Unranged).await;
    check(Act::EndlessHead, 0, SourceFault::Head).await;
    let (bytes, end) = one(Act::Die(20 << 10), first, len).await;
    assert!(bytes.len() as u64 <= 2 * (16 << 10), "{}", bytes.len());
    assert!(matches!(end, Err(SourceFault::Short { .. } | SourceFault::Lost)), "{end:?}");
}

#[tokio::test]
async fn attack_36_an_endless_body_is_read_to_the_end_of_the_range() {
    let host = Scripted::http(&content(), Act::Endless).await;
    let source = source(host.host(Kind::Gnutella));
    let (bytes, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
    assert_eq!(bytes.len() as u64, PIECE);
    // Whether the excess is seen depends on when it comes; it is never kept.
    assert!(matches!(end, Ok(()) | Err(SourceFault::TooLong(PIECE))), "{end:?}");
    let (bytes, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
    assert_eq!(bytes.len() as u64, PIECE, "the rest of it is not taken for an answer: {end:?}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sent = host.sent();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(host.sent(), sent, "and nobody reads it");
}

#[tokio::test]
async fn attack_45_who_says_nothing_or_one_byte_at_a_time_is_given_up() {
    for act in [Act::Silent, Act::DripHead] {
        let host = Scripted::http(&content(), act).await;
        let means = Means { patience: Duration::from_millis(300), ..means() };
        let source = Source::new(host.host(Kind::Gnutella), means);
        let (_, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
        assert_eq!(end, Err(SourceFault::Stalled));
    }
}

#[tokio::test]
async fn a_busy_host_says_when_to_ask_again_and_keeps_our_place_in_its_queue() {
    let queue = "X-Queue: position=2,length=5,limit=4,pollMin=45,pollMax=120\r\n";
    for (fields, secs) in [("Retry-After: 300\r\n", Some(300)), (queue, Some(45)), ("", None)] {
        let host = Scripted::http(&content(), Act::Busy(1, fields)).await;
        let source = source(host.host(Kind::Gnutella));
        let (_, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
        let retry_after = secs.map(Duration::from_secs);
        assert_eq!(end, Err(SourceFault::Busy { retry_after }));
        let (bytes, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
        assert_eq!((bytes.len() as u64, end), (PIECE, Ok(())));
        assert_eq!(host.connections(), 1, "the place goes with the connection");
    }
}

#[tokio::test]
async fn redirects_are_followed_to_other_hosts_and_not_for_ever() {
    let content = content();
    let host = Scripted::http(&content, Act::Serve).await;
    let there = format!("http://{}/x/y?z=1", host.addr);
    let first = Scripted::http(&content, Act::Redirect(there)).await;
    let at_first = source(first.host(Kind::Gnutella));
    for _ in 0..2 {
        let (bytes, end) = fetch(&at_first, range(0, PIECE, Scope::Loopback)).await;
        assert!(end == Ok(()) && bytes == content[..PIECE as usize]);
    }
    let asked = host.heads();
    assert!(asked[0].starts_with("GET /x/y?z=1 HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains(&format!("\r\nHost: {}\r\n", host.addr)), "{}", asked[0]);
    assert_eq!(asked.len(), 2);
    let (_, end) = one(Act::Redirect("/round".to_owned()), 0, PIECE).await;
    assert_eq!(end, Err(SourceFault::Redirects(gaggle_core::swarm::source::REDIRECTS_MAX)));
    for elsewhere in ["https://127.0.0.1/", "file:///etc/passwd", "http://", "ftp://127.0.0.1/"] {
        let (_, end) = one(Act::Redirect(elsewhere.to_owned()), 0, PIECE).await;
        assert_eq!(end, Err(SourceFault::Status(302)), "{elsewhere}");
    }
}

#[tokio::test]
async fn attack_36_nobody_leads_us_to_an_address_that_is_not_theirs_to_name() {
    // What nobody can have, whoever says it.
    for nobody in ["http://0.0.0.0:80/", "http://[::]/", "http://224.0.0.1/"] {
        let (_, end) = one(Act::Redirect(nobody.to_owned()), 0, PIECE).await;
        assert!(matches!(end, Err(SourceFault::Address(_))), "{nobody}: {end:?}");
    }
    // Somebody far away, and this machine: by an address, a name, and a redirect.
    let victim = Scripted::http(&content(), Act::Serve).await;
    let far = source(victim.host(Kind::Gnutella));
    let (_, end) = fetch(&far, range(0, PIECE, Scope::Global)).await;
    assert_eq!(end, Err(SourceFault::Address(victim.addr.ip())));
    for scope in [Scope::Global, Scope::Private] {
        let mut trail = Trail::new(scope);
        for name in [victim.addr.to_string(), format!("localhost:{}", victim.addr.port())] {
            let to = reqwest::Url::parse(&format!("http://{name}/")).unwrap();
            let end = far.follow(&to, &mut trail).await.err();
            assert!(matches!(end, Some(SourceFault::Address(_))), "{name}: {end:?}");
        }
    }
    assert_eq!(victim.connections(), 0);
}

#[tokio::test]
async fn whoever_keeps_to_his_network_is_not_led_out_of_it() {
    let host = Scripted::http(&content(), Act::Redirect("http://9.9.9.9:1/".to_owned())).await;
    let dialer = Dialer { lan: true, ..Dialer::default() };
    let source = Source::new(host.host(Kind::Gnutella), Means { dialer, ..means() });
    let (_, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
    assert_eq!(end, Err(SourceFault::Address([9, 9, 9, 9].into())));
    assert_eq!(host.heads().len(), 1);
}

#[tokio::test]
async fn a_user_of_napster_is_asked_from_a_byte_on_and_left_at_the_end_of_the_range() {
    let content = content();
    let host = Scripted::napster(&content, Act::Serve, u64::MAX).await;
    let source = source(host.host(Kind::Napster));
    for first in [0, 5 * PIECE] {
        let (bytes, end) = fetch(&source, range(first, PIECE, Scope::Loopback)).await;
        assert_eq!(end, Ok(()));
        assert!(bytes == content[first as usize..(first + PIECE) as usize]);
    }
    assert_eq!(host.heads(), [r#"GETme "c:\a b.bin" 0"#, r#"GETme "c:\a b.bin" 327680"#]);
    for (act, want) in
        [(Act::Busy(1, ""), SourceFault::Refused), (Act::Total(77), SourceFault::Refused)]
    {
        let host = Scripted::napster(&content, act, u64::MAX).await;
        let source = self::source(host.host(Kind::Napster));
        let (_, end) = fetch(&source, range(0, PIECE, Scope::Loopback)).await;
        assert_eq!(end, Err(want));
    }
}

/// A host that connects to us when it is asked to.
struct Caller {
    to: std::net::SocketAddr,
    listener: tokio::sync::Mutex<tokio::net::TcpListener>,
    content: Vec<u8>,
    napster: bool,
}

impl Push for Caller {
    fn push(&self) -> Pushed<'_> {
        Box::pin(async {
            let mut theirs = TcpStream::connect(self.to).await.unwrap();
            let (tcp, _) = self.listener.lock().await.accept().await.unwrap();
            let (content, napster) = (self.content.clone(), self.napster);
            tokio::spawn(async move {
                let mut words = [0; 300];
                let len = theirs.read(&mut words).await.unwrap();
                let words = String::from_utf8_lossy(&words[..len]).into_owned();
                if napster {
                    let offset: usize = words.parse().unwrap();
                    let _ = theirs.write_all(&content[offset..]).await;
                } else {
                    assert!(words.starts_with("GET /get/7/"), "{words}");
                    let head = format!(
                        "HTTP/1.1 206 OK\r\nContent-Range: bytes 0-{}/{LEN}\r\n\r\n",
                        PIECE - 1
                    );
                    theirs.write_all(head.as_bytes()).await.unwrap();
                    theirs.write_all(&content[..PIECE as usize]).await.unwrap();
                }
            });
            Ok(Stream::pushed(tcp))
        })
    }
}

#[tokio::test]
async fn hosts_that_cannot_be_dialled_call_us() {
    let content = content();
    for kind in [Kind::Gnutella, Kind::Napster] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = Caller {
            to: listener.local_addr().unwrap(),
            listener: tokio::sync::Mutex::new(listener),
            content: content.clone(),
            napster: kind == Kind::Napster,
        };
        let like = Scripted::http(&content, Act::Serve).await.host(kind);
        let host = Host { reach: Reach::Push(Arc::new(caller)), teller: Scope::Global, ..like };
        let (bytes, end) = fetch(&source(host), range(0, PIECE, Scope::Global)).await;
        assert_eq!(end, Ok(()), "{kind:?}");
        assert!(bytes == content[..PIECE as usize]);
    }
}
