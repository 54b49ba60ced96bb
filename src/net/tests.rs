//! Real sockets on loopback: handshakes in pieces, pumps at full speed, and peers that drag their feet.

use super::*;
use bytes::Bytes;
use gaggle_core::blame::Blame;
use gaggle_core::geometry::{BLOCK_LEN, Block, PieceIndex};
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::peer::{
    Handshake, HandshakeError, Message, PeerError, Reserved, WireError, piece_header,
};
use gaggle_core::swarm::PeerKey;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SERVED: InfoHash = InfoHash([7; 20]);
const PATIENCE: Duration = Duration::from_secs(20);

fn hello(name: u8) -> Handshake {
    let reserved = Reserved::NONE.with_extension().with_fast();
    Handshake { info_hash: SERVED, peer_id: PeerId([name; 20]), reserved }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn door(within: Duration, out: mpsc::Sender<Connected>) -> Door {
    Door::new(within, |hash| (hash == SERVED).then(|| hello(1)), out)
}

/// A listener that serves [`SERVED`] as peer 1, and what comes in there.
fn serve(at: SocketAddr, within: Duration) -> (SocketAddr, mpsc::Receiver<Connected>) {
    let listener = Listener::bind(at).unwrap();
    let addr = listener.addr();
    let (out, incoming) = mpsc::channel(4);
    tokio::spawn(listener.run(door(within, out)));
    (addr, incoming)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took longer than any machine needs")
}

// ── handshakes ──

#[tokio::test]
async fn who_comes_by_another_port_gets_the_congestion_control_that_was_chosen() {
    let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (out, mut incoming) = mpsc::channel(1);
    let door = door(PATIENCE, out).with_congestion(Some(Congestion::named("reno")));
    let admitted = async {
        let (stream, from) = listener.accept().await.unwrap();
        door.admit(stream, from, &[]).await;
    };
    let dialer = Dialer::default();
    let (dialled, ()) = soon(async { tokio::join!(dialer.dial(addr, hello(2)), admitted) }).await;
    dialled.unwrap();
    let connected = soon(incoming.recv()).await.unwrap();
    let chosen = socket2::SockRef::from(&connected.stream).tcp_congestion().unwrap();
    assert!(chosen.starts_with(b"reno"), "{}", chosen.escape_ascii());
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    let out = soon(Dialer::default().dial(addr, hello(2))).await.unwrap();
    let inn = soon(incoming.recv()).await.unwrap();
    assert_eq!((out.ours, out.theirs, out.addr), (hello(2), hello(1), addr));
    assert_eq!((inn.ours, inn.theirs), (hello(1), hello(2)));
    assert_eq!(inn.addr, out.stream.local_addr().unwrap());
}

#[tokio::test]
async fn a_wildcard_listener_names_ipv4_hosts_by_their_ipv4_address() {
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let (addr, mut incoming) = serve(wildcard.parse().unwrap(), PATIENCE);
        let v4 = SocketAddr::new("127.0.0.1".parse().unwrap(), addr.port());
        let dialer = Dialer { bind: Some("127.0.0.1".parse().unwrap()), ..Dialer::default() };
        let _out = soon(dialer.dial(v4, hello(2))).await.unwrap();
        assert!(soon(incoming.recv()).await.unwrap().addr.is_ipv4());
        if addr.is_ipv6() {
            let v6 = SocketAddr::new("::1".parse().unwrap(), addr.port());
            let _out = soon(dialer.dial(v6, hello(2))).await.unwrap();
            assert!(soon(incoming.recv()).await.unwrap().addr.is_ipv6());
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_said_so() {
    let first = Listener::bind(loopback()).unwrap();
    let second = Listener::bind(first.addr()).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_handshake_may_arrive_byte_by_byte_and_is_answered_at_the_info_hash() {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    let mut raw = TcpStream::connect(addr).await.unwrap();
    raw.set_nodelay(true).unwrap();
    let sent = [&hello(2).encode()[..], b"behind"].concat();
    for byte in &sent[..48] {
        raw.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 68];
    soon(raw.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, hello(1).encode());
    raw.write_all(&sent[48..]).await.unwrap();
    let connected = soon(incoming.recv()).await.unwrap();
    assert_eq!(connected.theirs, hello(2));
    let mut leftover = connected.leftover;
    let mut stream = connected.stream;
    while leftover.len() < 6 {
        soon(stream.read_buf(&mut leftover)).await.unwrap();
    }
    assert_eq!(leftover, b"behind"[..]);
}

#[tokio::test]
async fn a_peer_that_came_to_another_port_is_let_in_with_what_was_read_of_it() {
    let port = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let (out, mut incoming) = mpsc::channel(1);
    let door = door(PATIENCE, out);
    let sent = [&hello(2).encode()[..], b"behind"].concat();
    for read in [1, PEER_BEGINS.len(), 48, 68, sent.len()] {
        let mut raw = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
        raw.write_all(&sent).await.unwrap();
        let (mut stream, from) = soon(port.accept()).await.unwrap();
        let mut head = vec![0; read];
        soon(stream.read_exact(&mut head)).await.unwrap();
        soon(door.admit(stream, from, &head)).await;
        let mut answer = [0; 68];
        soon(raw.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, hello(1).encode());
        let mut connected = incoming.try_recv().unwrap();
        assert_eq!((connected.theirs, connected.addr), (hello(2), from));
        while connected.leftover.len() < 6 {
            soon(connected.stream.read_buf(&mut connected.leftover)).await.unwrap();
        }
        assert_eq!(connected.leftover, b"behind"[..], "{read} bytes read before");
    }
}

#[tokio::test]
async fn a_wrong_first_byte_closes_without_an_answer_and_without_blame() {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    for garbage in [&b"\x16"[..], b"GET / HTTP/1.1\r\n\r\n", &[0x13, b'b'], &[0; 200]] {
        let mut raw = TcpStream::connect(addr).await.unwrap();
        raw.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(raw.read_to_end(&mut answer)).await; // an end or a reset
        assert!(answer.is_empty(), "{answer:?}");
    }
    let unknown = Handshake { info_hash: InfoHash([8; 20]), ..hello(2) };
    let error = soon(Dialer::default().dial(addr, unknown)).await.unwrap_err();
    assert_eq!(error.blame(), Blame::Network);
    assert!(incoming.try_recv().is_err());
    assert_eq!(ConnectError::from(HandshakeError::FirstByte(0x16)).blame(), Blame::Network);
}

#[tokio::test]
async fn dialling_finds_the_wrong_torrent_the_silent_and_the_absent() {
    let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let other = Handshake { info_hash: InfoHash([9; 20]), ..hello(3) };
    let hosts = tokio::spawn(async move {
        let (mut lying, _) = listener.accept().await.unwrap();
        lying.write_all(&other.encode()[..48]).await.unwrap();
        let (silent, _) = listener.accept().await.unwrap();
        (lying, silent)
    });
    let dialer = Dialer { handshake_timeout: Duration::from_millis(300), ..Dialer::default() };
    let error = soon(dialer.dial(addr, hello(2))).await.unwrap_err();
    let wrong = HandshakeError::WrongTorrent { ours: SERVED, theirs: other.info_hash };
    assert_eq!(error, ConnectError::Handshake(wrong));
    let error = soon(dialer.dial(addr, hello(2))).await.unwrap_err();
    let after = dialer.handshake_timeout;
    assert_eq!(error, ConnectError::Timeout { phase: Phase::Handshake, after });
    let _open_until_here = hosts.await.unwrap();
    let error = soon(dialer.dial(addr, hello(2))).await.unwrap_err();
    let kind = std::io::ErrorKind::ConnectionRefused;
    assert_eq!(error, ConnectError::Io { phase: Phase::Connect, kind });
    assert_eq!(error.blame(), Blame::Network);
}

/// From 127.0.0.`host`.
async fn connect_from(host: u8, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn one_host_cannot_keep_the_others_out() {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_PER_HOST {
        silent.push(connect_from(2, addr).await);
    }
    let mut refused = connect_from(2, addr).await;
    let mut answer = Vec::new();
    assert_eq!(soon(refused.read_to_end(&mut answer)).await.unwrap_or(0), 0, "closed at once");
    let dialer = Dialer::default();
    let (out, inn) =
        soon(async { tokio::join!(dialer.dial(addr, hello(2)), incoming.recv()) }).await;
    assert!(out.is_ok() && inn.is_some(), "another host is welcome");
    drop(silent.pop());
    // Its place is free again once the listener has noticed.
    let again = async {
        loop {
            let mut raw = connect_from(2, addr).await;
            raw.write_all(&hello(4).encode()).await.unwrap();
            if raw.read_exact(&mut [0; 68]).await.is_ok() {
                break;
            }
        }
    };
    soon(again).await;
}

#[tokio::test]
async fn whoever_keeps_to_his_network_dials_nobody_elsewhere() {
    let lan = Dialer { lan: true, ..Dialer::default() };
    let refused = lan.connect("9.9.9.9:1".parse().unwrap()).await.map(|_| ());
    let kind = std::io::ErrorKind::NetworkUnreachable;
    assert_eq!(refused, Err(ConnectError::Io { phase: Phase::Connect, kind }));
    let (addr, _incoming) = serve(loopback(), PATIENCE);
    assert!(lan.connect(addr).await.is_ok());
    for (near, want) in [("10.1.2.3", true), ("fe80::1", true), ("2001:4860::1", false)] {
        assert_eq!(lan.may_dial(near.parse().unwrap()), want, "{near}");
    }
}

#[tokio::test]
async fn no_more_strangers_than_the_bound_are_in_a_handshake() {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    let mut silent = Vec::new();
    for nth in 0..HANDSHAKES_MAX {
        silent.push(connect_from(2 + (nth / HANDSHAKES_PER_HOST) as u8, addr).await);
    }
    let hasty = Dialer { handshake_timeout: Duration::from_millis(300), ..Dialer::default() };
    let error = soon(hasty.dial(addr, hello(2))).await.unwrap_err();
    let after = hasty.handshake_timeout;
    assert_eq!(error, ConnectError::Timeout { phase: Phase::Handshake, after });
    drop(silent);
    let patient = Dialer::default();
    let (out, inn) =
        soon(async { tokio::join!(patient.dial(addr, hello(3)), incoming.recv()) }).await;
    assert!(out.is_ok() && inn.is_some());
}

#[tokio::test]
async fn a_silent_stranger_is_closed_in_time() {
    let (addr, _incoming) = serve(loopback(), Duration::from_millis(200));
    let mut raw = TcpStream::connect(addr).await.unwrap();
    raw.write_all(&hello(2).encode()[..30]).await.unwrap();
    let mut answer = Vec::new();
    soon(raw.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
}

// ── pumps ──

/// One running pump, from the torrent's side.
struct Side {
    to: mpsc::Sender<ToPeer>,
    from: mpsc::Receiver<FromPeer>,
    task: JoinHandle<()>,
}

fn pump(connected: Connected, config: PumpConfig) -> Side {
    let (to, queue) = mpsc::channel(TO_PEER_QUEUE);
    let (out, from) = mpsc::channel(4);
    let (clock, buffers) = (Clock::start(), Buffers::default());
    let pump = Pump { peer: PeerKey(5), pieces: None, queue, out, buffers, clock, config };
    Side { to, from, task: tokio::spawn(pump.run(connected)) }
}

async fn connected_pair() -> (Connected, Connected) {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    let out = soon(Dialer::default().dial(addr, hello(2))).await.unwrap();
    (out, soon(incoming.recv()).await.unwrap())
}

/// A pump, and the bare socket at its other end.
async fn pump_and_socket(config: PumpConfig) -> (Side, TcpStream) {
    let (out, inn) = connected_pair().await;
    (pump(inn, config), out.stream)
}

impl Side {
    async fn say(&self, message: ToPeer) {
        soon(self.to.send(message)).await.unwrap();
    }

    /// The next items; an end if the pump is gone.
    async fn hear(&mut self) -> Vec<Item> {
        let from = soon(self.from.recv()).await.expect("the pump has ended");
        assert_eq!(from.peer, PeerKey(5));
        assert!(!from.items.is_empty());
        from.items
    }

    /// Everything until the end, and the end.
    async fn until_closed(mut self) -> (Vec<Item>, Closed) {
        let mut items = Vec::new();
        loop {
            items.extend(self.hear().await);
            if let Some(Item::Closed(why)) = items.last().cloned() {
                items.pop();
                assert!(soon(self.from.recv()).await.is_none(), "an end is the last item");
                soon(self.task).await.unwrap();
                return (items, why);
            }
        }
    }
}

fn messages(of: &[Message]) -> Vec<Item> {
    of.iter().cloned().map(Item::Message).collect()
}

/// 16 adjacent blocks of piece `index`, whose bytes say where they are from.
fn batch(index: u32) -> ToPeer {
    let blocks = (0..16u8).map(|nth| {
        let begin = u32::from(nth) * BLOCK_LEN;
        let block = Block { piece: PieceIndex(index), begin, len: BLOCK_LEN };
        (block, Bytes::from(vec![nth ^ index as u8; BLOCK_LEN as usize]))
    });
    ToPeer::Blocks(blocks.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pumps_move_64_mib_in_order_and_report_it() {
    const BATCHES: u32 = 256;
    let (out, inn) = connected_pair().await;
    let (mut seed, mut leech) =
        (pump(out, PumpConfig::default()), pump(inn, PumpConfig::default()));
    let clock = Clock::start();
    let to = seed.to.clone();
    let feeder = tokio::spawn(async move {
        for index in 0..BATCHES {
            to.send(batch(index)).await.unwrap();
            to.send(ToPeer::Messages(vec![Message::Have(index)])).await.unwrap();
        }
    });
    let mut next = (0, 0);
    let (mut reported, mut reads) = (0, 0);
    let whole = u64::from(BATCHES * 16 * BLOCK_LEN);
    while next.0 < BATCHES || reported < whole {
        tokio::select! {
            items = seed.hear() => for item in items {
                let Item::Sent { bytes } = item else { panic!("{item:?}") };
                reported += bytes;
            },
            items = leech.hear() => {
                reads += 1;
                for item in items {
                    match item {
                        Item::Block { block, data } => {
                            assert_eq!((block.piece.0, block.begin / BLOCK_LEN), next);
                            let want = next.1 as u8 ^ next.0 as u8;
                            assert_eq!((data.len(), data[0], data[16383]), (16384, want, want));
                            next.1 += 1;
                        }
                        Item::Message(Message::Have(index)) => {
                            assert_eq!((index, 16), next);
                            next = (index + 1, 0);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }
    let took = clock.now().as_secs_f64();
    println!("{:.0} MB/s, {} KiB a read", whole as f64 / 1e6 / took, whole / 1024 / reads);
    assert_eq!(reported, whole);
    feeder.await.unwrap();
    seed.say(ToPeer::Close).await;
    assert_eq!(seed.until_closed().await, (vec![], Closed::ByUs));
    assert_eq!(leech.until_closed().await, (vec![], Closed::ByPeer));
}

#[tokio::test]
async fn what_was_queued_before_a_close_is_still_sent() {
    let (out, inn) = connected_pair().await;
    let (a, b) = (pump(out, PumpConfig::default()), pump(inn, PumpConfig::default()));
    a.say(ToPeer::Messages(vec![Message::HaveNone])).await;
    a.say(batch(0)).await;
    a.say(ToPeer::Messages(vec![Message::Choke])).await;
    drop(a.to); // the torrent is gone, which is a close
    let (items, why) = b.until_closed().await;
    assert_eq!(items[0], Item::Message(Message::HaveNone));
    assert_eq!(items.len(), 1 + 16 + 1);
    assert_eq!(items[17], Item::Message(Message::Choke));
    assert_eq!((why.clone(), why.blame()), (Closed::ByPeer, Blame::Network));
}

#[tokio::test]
async fn leftover_of_the_handshake_is_decoded_first() {
    let (addr, mut incoming) = serve(loopback(), PATIENCE);
    let mut raw = TcpStream::connect(addr).await.unwrap();
    let unchoke = Message::Unchoke.to_bytes();
    raw.write_all(&[&hello(2).encode()[..], &unchoke].concat()).await.unwrap();
    let mut side = pump(soon(incoming.recv()).await.unwrap(), PumpConfig::default());
    assert_eq!(side.hear().await, messages(&[Message::Unchoke]));
    raw.write_all(&unchoke).await.unwrap();
    assert_eq!(side.hear().await, messages(&[Message::Unchoke]));
}

#[tokio::test]
async fn a_bitfield_is_held_to_the_metadata_once_that_is_known() {
    let (side, mut raw) = pump_and_socket(PumpConfig::default()).await;
    side.say(ToPeer::MetadataKnown { pieces: 20 }).await;
    side.say(ToPeer::Messages(vec![Message::KeepAlive])).await;
    let mut seen = [0; 4];
    soon(raw.read_exact(&mut seen)).await.unwrap(); // it has taken effect
    let bits = Bytes::from_static(&[0xff; 4]);
    raw.write_all(&Message::Bitfield(bits).to_bytes()).await.unwrap();
    let (_, why) = side.until_closed().await;
    let length = WireError::Length { id: 5, len: 5, min: 4, max: 4 };
    assert_eq!(why, Closed::Peer(length.into()));
}

#[tokio::test]
async fn what_came_before_a_violation_is_still_delivered() {
    let (side, mut raw) = pump_and_socket(PumpConfig::default()).await;
    let sent = [&Message::Have(3).to_bytes()[..], &[0, 0, 0, 9, 1]].concat();
    raw.write_all(&sent).await.unwrap();
    let (items, why) = side.until_closed().await;
    assert_eq!(items, messages(&[Message::Have(3)]));
    assert_eq!(why.blame(), Blame::Remote);
}

// ── attacks ──

#[tokio::test]
async fn attack_15_announced_length_is_refused_although_more_is_offered() {
    for announced in [&[0xff, 0xff, 0xff, 0xff][..], &[0x40, 0, 0, 0], &[0, 0, 0x40, 10, 7]] {
        let (side, mut raw) = pump_and_socket(PumpConfig::default()).await;
        raw.write_all(announced).await.unwrap();
        let flood = tokio::spawn(async move {
            let mut taken = 0;
            while let Ok(n) = raw.write(&[0; 65536]).await {
                taken += n;
            }
            taken
        });
        let (items, why) = side.until_closed().await;
        assert!(items.is_empty());
        let Closed::Peer(PeerError::Wire(_)) = why else { panic!("{why:?}") };
        assert_eq!(why.blame(), Blame::Remote);
        soon(flood).await.unwrap(); // its socket is dead
    }
}

#[tokio::test]
async fn attack_15_a_drip_is_closed_by_the_messages_own_deadline() {
    let config =
        PumpConfig { message_timeout: Duration::from_millis(400), ..PumpConfig::default() };
    let (side, mut raw) = pump_and_socket(config).await;
    let drip = tokio::spawn(async move {
        let header = piece_header(0, 0, BLOCK_LEN);
        for byte in header.iter().chain(std::iter::repeat(&0)) {
            if raw.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (items, why) = side.until_closed().await;
    assert!(items.is_empty());
    let Closed::Peer(PeerError::Stalled { after, missing }) = why else { panic!("{why:?}") };
    assert!(after >= config.message_timeout && after < PATIENCE, "{after:?}");
    assert!(missing > 15_000, "{missing}");
    soon(drip).await.unwrap();
}

#[tokio::test]
async fn a_steady_peer_with_small_messages_outlives_the_message_deadline() {
    let config =
        PumpConfig { message_timeout: Duration::from_millis(200), ..PumpConfig::default() };
    let (mut side, mut raw) = pump_and_socket(config).await;
    // Every write ends one message and begins the next: something is always incomplete.
    let have = Message::Have(1).to_bytes();
    raw.write_all(&have[..4]).await.unwrap();
    for _ in 0..20 {
        raw.write_all(&[&have[4..], &have[..4]].concat()).await.unwrap();
        assert_eq!(side.hear().await, messages(&[Message::Have(1)]));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn silence_is_closed_without_blame() {
    let config = PumpConfig { idle_timeout: Duration::from_millis(300), ..PumpConfig::default() };
    let (side, raw) = pump_and_socket(config).await;
    let (_, why) = side.until_closed().await;
    assert_eq!(why, Closed::Peer(PeerError::Idle(config.idle_timeout)));
    assert_eq!(why.blame(), Blame::Network);
    drop(raw);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_closed_and_holds_a_bounded_queue() {
    let config = PumpConfig { idle_timeout: Duration::from_millis(300), ..PumpConfig::default() };
    let (side, mut raw) = pump_and_socket(config).await;
    let to = side.to.clone();
    let feeder = tokio::spawn(async move { while to.send(batch(0)).await.is_ok() {} });
    // It keeps talking, so it is not idle; it just never reads.
    let talker = tokio::spawn(async move {
        let keep_alive = Message::KeepAlive.to_bytes();
        while raw.write_all(&keep_alive).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (_, why) = side.until_closed().await;
    assert_eq!((why.clone(), why.blame()), (Closed::Unread(config.idle_timeout), Blame::Network));
    soon(feeder).await.unwrap();
    soon(talker).await.unwrap();
}

#[tokio::test]
async fn a_busy_torrent_makes_the_peer_wait_and_does_not_blame_it() {
    let config = PumpConfig {
        idle_timeout: Duration::from_millis(200),
        message_timeout: Duration::from_millis(200),
        ..PumpConfig::default()
    };
    let (mut side, mut raw) = pump_and_socket(config).await;
    let have = Message::Have(1).to_bytes();
    let flood = tokio::spawn(async move {
        let (have, mut sent) = (have.repeat(5000), 0);
        // Until the kernel takes no more for far longer than the deadlines: the pump has stopped reading.
        while let Ok(Ok(n)) = timeout(Duration::from_millis(700), raw.write(&have)).await {
            sent += n;
        }
        (raw, sent)
    });
    let (mut raw, sent) = soon(flood).await.unwrap();
    let rest = have_tail((9 - sent % 9) % 9);
    let rest = tokio::spawn(async move { raw.write_all(&rest).await.map(|()| raw) });
    let mut heard = 0;
    while heard < sent.div_ceil(9) {
        for item in side.hear().await {
            assert_eq!(item, Item::Message(Message::Have(1)));
            heard += 1;
        }
    }
    soon(rest).await.unwrap().unwrap();
}

fn have_tail(len: usize) -> Vec<u8> {
    let have = Message::Have(1).to_bytes();
    have[9 - len..].to_vec()
}
