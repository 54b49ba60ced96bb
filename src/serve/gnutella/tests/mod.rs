//! The driver on real sockets of this machine: what neighbours say byte for byte, and what it answers.

mod attacks;
mod dialogues;
mod network;
mod relaying;
mod transfers;

use super::pack::{Packer, Unpacker};
use super::*;
use bytes::BytesMut;
use gaggle_core::proto::gnutella::{Descriptor, Handshake, Kind, Vendor};
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Nothing here takes longer, whatever the machine.
const PATIENCE: Duration = Duration::from_secs(60);
const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

/// Something that must come about in time.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

/// Shared files with their folders, which go with it.
struct Shelf {
    library: share::Library,
    dir: tempfile::TempDir,
}

/// `blue moon.mp3` of 9 000 bytes and `red sun.mp3` of 5, hashed already.
async fn shelf() -> Shelf {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("files")).unwrap();
    std::fs::write(dir.path().join("files/blue moon.mp3"), blue_moon()).unwrap();
    std::fs::write(dir.path().join("files/red sun.mp3"), "hello").unwrap();
    let config =
        share::Config::new(vec![dir.path().join("files")], dir.path().join("state-of-library"));
    let library = share::Library::start(config, Clock::start()).unwrap();
    let mut views = library.watch();
    soon(views.wait_for(|view| view.looks > 0)).await.unwrap();
    Shelf { library, dir }
}

fn blue_moon() -> Vec<u8> {
    (0..9_000u32).map(|n| (n % 251) as u8).collect()
}

fn config(role: Role) -> Config {
    Config { role, ..Config::new(NOWHERE) }
}

fn start(config: Config, shelf: Option<&Shelf>) -> Gnutella {
    Gnutella::start(config, shelf.map(|shelf| shelf.library.clone()), Clock::start()).unwrap()
}

async fn until(servent: &Gnutella, what: impl Fn(&Status) -> bool) -> Status {
    soon(servent.watch_status().wait_for(what)).await.unwrap().clone()
}

fn hint(addr: SocketAddrV4) -> PeerHint {
    PeerHint { host: addr.ip().to_string(), port: addr.port() }
}

/// A neighbour played by a test.
struct Far {
    stream: TcpStream,
    /// What came and was not looked at yet.
    heard: BytesMut,
    pack: Option<Packer>,
    unpack: Option<Unpacker>,
}

impl Far {
    async fn call(servent: &Gnutella) -> Self {
        Self::of(TcpStream::connect(servent.addr()).await.unwrap())
    }

    /// A servent that dials a listener, and where that listens.
    async fn called(mut config: Config, shelf: Option<&Shelf>) -> (Gnutella, Self) {
        let listener = TcpListener::bind(NOWHERE).await.unwrap();
        let SocketAddr::V4(at) = listener.local_addr().unwrap() else { unreachable!() };
        config.connect = vec![hint(at)];
        let servent = start(config, shelf);
        let (stream, _) = soon(listener.accept()).await.unwrap();
        (servent, Self::of(stream))
    }

    fn of(stream: TcpStream) -> Self {
        Self { stream, heard: BytesMut::new(), pack: None, unpack: None }
    }

    /// A neighbour that has come and whose link is open; `more` are further lines of its first block.
    async fn join(servent: &Gnutella, ultrapeer: bool, more: &str) -> Self {
        let mut far = Self::call(servent).await;
        let ultrapeer = if ultrapeer { "True" } else { "False" };
        far.say(format!(
            "GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: {ultrapeer}\r\nX-Query-Routing: 0.1\r\nX-Degree: 32\r\n\
             X-Max-TTL: 4\r\nBye-Packet: 0.1\r\nVendor-Message: 0.2\r\n{more}\r\n"
        ))
        .await;
        far.block().await;
        far.say("GNUTELLA/0.6 200 OK\r\n\r\n").await;
        far
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        match &mut self.pack {
            None => self.stream.write_all(bytes.as_ref()).await.unwrap(),
            Some(pack) => {
                let mut out = Vec::new();
                pack.pack(bytes.as_ref(), &mut out);
                pack.flush(&mut out);
                self.stream.write_all(&out).await.unwrap();
            }
        }
    }

    async fn give(&mut self, descriptor: &Descriptor) {
        self.say(descriptor.encode()).await;
    }

    /// Waits for more; whether there was any.
    async fn hear(&mut self) -> bool {
        let mut some = vec![0; 64 << 10];
        let Ok(len @ 1..) = soon(self.stream.read(&mut some)).await else { return false };
        match &mut self.unpack {
            None => self.heard.extend_from_slice(&some[..len]),
            Some(unpack) => {
                let mut packed = &some[..len];
                while let Some(plain) = unpack.step(&mut packed).unwrap() {
                    self.heard.extend_from_slice(&plain);
                }
            }
        }
        true
    }

    /// So many bytes as they came.
    async fn raw(&mut self, len: usize) -> Vec<u8> {
        while self.heard.len() < len {
            assert!(self.hear().await, "closed after {:?}", self.heard);
        }
        self.heard.split_to(len).to_vec()
    }

    /// One block of the handshake, as text.
    async fn text(&mut self) -> String {
        loop {
            if let Some(end) = self.heard.windows(4).position(|end| end == b"\r\n\r\n") {
                return String::from_utf8(self.heard.split_to(end + 4).to_vec()).unwrap();
            }
            assert!(self.hear().await, "closed after {:?}", self.heard);
        }
    }

    async fn block(&mut self) -> Handshake {
        let text = self.text().await;
        Handshake::decode(&mut BytesMut::from(text.as_bytes())).unwrap().unwrap()
    }

    /// The next descriptor; `None` if it was closed.
    async fn next(&mut self) -> Option<Descriptor> {
        loop {
            if let Some(one) = Descriptor::decode(&mut self.heard).unwrap() {
                return Some(one);
            }
            if !self.hear().await {
                return None;
            }
        }
    }

    /// The next descriptor of a kind; others are left out.
    async fn next_of(&mut self, kind: Kind) -> Descriptor {
        loop {
            let next = self.next().await.unwrap_or_else(|| panic!("closed before {kind:?}"));
            if next.header.kind == kind {
                return next;
            }
        }
    }

    /// From now on both ways are packed.
    fn packed(mut self) -> Self {
        let mut unpack = Unpacker::new();
        let early = std::mem::take(&mut self.heard);
        let mut packed = &early[..];
        while let Some(plain) = unpack.step(&mut packed).unwrap() {
            self.heard.extend_from_slice(&plain);
        }
        Self { pack: Some(Packer::new()), unpack: Some(unpack), ..self }
    }

    /// Reads to the end, which must come.
    async fn end(&mut self) -> Vec<Descriptor> {
        let mut all = Vec::new();
        while let Some(next) = self.next().await {
            all.push(next);
        }
        all
    }
}

fn guid(n: u8) -> Guid {
    Guid([n; 16])
}

/// A question as it comes from further away, so that the same words may come again at once.
fn query(n: u8, text: &str, ttl: u8) -> Descriptor {
    let mut query = Descriptor::new(guid(n), Kind::QUERY, ttl, Query::words(text).encode());
    query.header.hops = 1;
    query
}

fn vendor(message: &Vendor) -> Descriptor {
    Descriptor::new(guid(0xee), Kind::VENDOR, 1, message.encode())
}
