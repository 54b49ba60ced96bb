//! The two ends of a session, written by hand from what is known of the protocol; of ours only the key stream is used,
//! which published vectors hold.

use super::{hex, in_time, v4};
use gaggle_core::proto::fasttrack::{KeyStream, mask_of};
use std::net::SocketAddrV4;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The seed of a supernode for which all bytes of a handshake are published.
pub(super) const SEED: u32 = 0x5357_4152;

/// The order of a header's bytes.
struct Order(u32);

impl Order {
    fn header(&mut self, kind: u16, len: usize) -> [u8; 5] {
        let ([th, tl], [lh, ll]) = (kind.to_be_bytes(), (len as u16).to_be_bytes());
        let header = match self.0 % 3 {
            0 => [0x4b, tl, th, lh, ll],
            1 => [0x4b, th, lh, tl, ll],
            _ => [0x4b, th, ll, lh, tl],
        };
        self.0 ^= !(u32::from(kind) + len as u32);
        header
    }

    fn read(&mut self, h: [u8; 5]) -> (u16, usize) {
        let [k, a, b, c, d] = h;
        assert_eq!(k, 0x4b, "{h:02x?}");
        let (th, tl, lh, ll) = match self.0 % 3 {
            0 => (b, a, c, d),
            1 => (a, c, b, d),
            _ => (a, d, c, b),
        };
        let (kind, len) = (u16::from_be_bytes([th, tl]), u16::from_be_bytes([lh, ll]));
        assert_eq!(self.header(kind, len.into()), h);
        (kind, len.into())
    }
}

/// One end of a session.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    theirs: KeyStream,
    ours: KeyStream,
    heard: Order,
    said: Order,
}

impl Wire {
    fn new(stream: TcpStream, theirs: u32, ours: u32) -> Self {
        let (theirs, ours) = (KeyStream::new(theirs), KeyStream::new(ours));
        Self { stream, theirs, ours, heard: Order(0x51), said: Order(0x51) }
    }

    /// Logs in as giFT and mldonkey do, byte by byte. A supernode chooses one of many seeds: it is tried until it takes the
    /// one that the bytes are published for.
    pub(super) async fn client(to: SocketAddrV4) -> Self {
        for _ in 0..2000 {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(&hex("fa00b62b facb1238 3209d232")).await.unwrap();
            let mut answer = [0; 14];
            if in_time(stream.read_exact(&mut answer)).await.is_err() {
                continue; // it has not noticed yet that those before are gone
            }
            if answer[..4] != SEED.to_be_bytes() {
                continue;
            }
            assert_eq!(answer[..], hex("53574152 a8117711 b370bad202b6"));
            stream.write_all(&hex("1fa875a5eed1")).await.unwrap();
            let mut wire = Self::new(stream, SEED, SEED ^ 0xfacb_1238);
            wire.theirs.apply(&mut [0; 6]);
            wire.ours.apply(&mut [0; 6]);
            return wire;
        }
        panic!("a supernode chooses its seed by chance");
    }

    /// Lets a node log in, byte by byte.
    pub(super) async fn supernode(mut stream: TcpStream) -> Self {
        let mut hello = [0; 12];
        in_time(stream.read_exact(&mut hello)).await.unwrap();
        let number = |at: usize| u32::from_be_bytes(hello[at..at + 4].try_into().unwrap());
        let seed = number(4);
        assert_eq!(number(8) ^ mask_of(seed).unwrap(), 1, "the type that it wants");
        stream.write_all(&hex("53574152 a8117711 b370bad202b6")).await.unwrap();
        let mut wire = Self::new(stream, seed ^ SEED, SEED);
        wire.ours.apply(&mut [0; 6]);
        assert_eq!(wire.read(6).await, b"KaZaA\0");
        wire
    }

    pub(super) async fn say_bytes(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.ours.apply(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    pub(super) async fn say(&mut self, kind: u16, payload: &str) {
        let payload = hex(payload);
        let mut frame = self.said.header(kind, payload.len()).to_vec();
        frame.extend(payload);
        self.say_bytes(&frame).await;
    }

    pub(super) async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        in_time(self.stream.read_exact(&mut bytes)).await.unwrap();
        self.theirs.apply(&mut bytes);
        bytes
    }

    pub(super) async fn hear_any(&mut self) -> (u16, Vec<u8>) {
        let header = self.read(5).await.try_into().unwrap();
        let (kind, len) = self.heard.read(header);
        (kind, self.read(len).await)
    }

    #[track_caller]
    pub(super) fn hear(&mut self, kind: u16, payload: &str) -> impl Future<Output = ()> {
        let (from, want) = (std::panic::Location::caller(), (kind, hex(payload)));
        async move {
            let got = self.hear_any().await;
            assert_eq!(got, want, "at {from}");
        }
    }

    /// Both have heard all that was said before.
    pub(super) async fn ping(&mut self) {
        self.say_bytes(b"\x50").await;
        assert_eq!(self.read(1).await, b"\x52");
    }

    pub(super) async fn wait_closed(mut self) {
        let mut rest = Vec::new();
        let _ = in_time(self.stream.read_to_end(&mut rest)).await; // or reset
    }
}

/// A supernode that the test plays: its two sockets on one port.
pub(super) struct Played {
    pub(super) tcp: TcpListener,
    pub(super) udp: UdpSocket,
    pub(super) addr: SocketAddrV4,
}

impl Played {
    pub(super) async fn new() -> Self {
        loop {
            let tcp = TcpListener::bind(super::anywhere()).await.unwrap();
            let addr = v4(tcp.local_addr().unwrap());
            if let Ok(udp) = UdpSocket::bind(addr).await {
                return Self { tcp, udp, addr };
            }
        }
    }

    /// Waits for a ping and says from whom it came.
    pub(super) async fn pinged(&self) -> SocketAddrV4 {
        let mut raw = [0; 100];
        let (len, from) = in_time(self.udp.recv_from(&mut raw)).await.unwrap();
        assert_eq!(raw[..len], hex("27 000000a9 80 4b615a6141 00"));
        v4(from)
    }

    pub(super) async fn pong(&self, to: SocketAddrV4) {
        let pong = hex("28 000000a9 00 01 00 05 20 00 4b615a6141 00");
        self.udp.send_to(&pong, to).await.unwrap();
    }

    pub(super) async fn log_in(&self) -> Wire {
        let (stream, _) = in_time(self.tcp.accept()).await.unwrap();
        Wire::supernode(stream).await
    }
}
