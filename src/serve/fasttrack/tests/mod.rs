//! Dialogues over real sockets on loopback, byte by byte as the network's clients have them.

mod abuse;
mod network;
mod node;
mod office;
mod supernode;
mod wire;

use super::*;
use crate::share::Config as ShareConfig;
use gaggle_core::proto::fasttrack::UuHasher;
use std::path::Path;
use tokio::net::UdpSocket;

/// Nothing here takes longer, whatever the machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn anywhere() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)
}

fn config(role: Role) -> Config {
    Config { role, ..Config::new(anywhere()) }
}

fn supernode() -> FastTrack {
    FastTrack::start(config(Role::Supernode), None, Clock::start()).unwrap()
}

fn node(connect: &[SocketAddrV4]) -> FastTrack {
    let config = Config { connect: connect.to_vec(), ..config(Role::Node) };
    FastTrack::start(config, None, Clock::start()).unwrap()
}

/// A library of one folder, once all of it is hashed.
async fn library(dir: &Path) -> share::Library {
    let config = ShareConfig::new(vec![dir.join("files")], dir.join("state"));
    let library = share::Library::start(config, Clock::start()).unwrap();
    let mut view = library.watch();
    in_time(view.wait_for(|view| view.looks > 0)).await.unwrap();
    library
}

fn write(dir: &Path, name: &str, content: &[u8]) {
    std::fs::create_dir_all(dir.join("files")).unwrap();
    std::fs::write(dir.join("files").join(name), content).unwrap();
}

fn uu_hash(content: &[u8]) -> gaggle_core::proto::fasttrack::UuHash {
    let mut hasher = UuHasher::new(content.len() as u64);
    hasher.update(content);
    hasher.finish().unwrap()
}

#[track_caller]
fn in_time<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let from = std::panic::Location::caller();
    async move {
        let done = tokio::time::timeout(PATIENCE, what).await;
        done.unwrap_or_else(|_| panic!("waited in vain at {from}"))
    }
}

/// Waits until it stands like this.
#[track_caller]
fn until(of: &FastTrack, is: impl Fn(&Status) -> bool) -> impl Future<Output = Status> {
    let from = std::panic::Location::caller();
    let mut status = of.watch_status();
    async move {
        let reached = tokio::time::timeout(PATIENCE, status.wait_for(is)).await;
        let reached = reached.map(|reached| reached.unwrap().clone());
        reached.unwrap_or_else(|_| panic!("waited in vain at {from}: {:?}", status.borrow()))
    }
}

/// All that a search finds.
async fn found(of: &FastTrack, query: Query) -> Vec<Hit> {
    let mut hits = of.search(query).await.unwrap();
    let mut found = Vec::new();
    while let Some(hit) = in_time(hits.recv()).await {
        found.push(hit);
    }
    found
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
}

/// An address as six bytes in hex.
fn six(addr: SocketAddrV4) -> String {
    let ip: String = addr.ip().octets().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{ip}{:04x}", addr.port())
}

fn hex_of(text: &str) -> String {
    data_encoding::HEXLOWER.encode(text.as_bytes())
}

async fn udp() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind(anywhere()).await.unwrap();
    let addr = v4(socket.local_addr().unwrap());
    (socket, addr)
}

fn v4(addr: std::net::SocketAddr) -> SocketAddrV4 {
    match addr {
        std::net::SocketAddr::V4(addr) => addr,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let supernode =
        |listen: &str| Config { listen: listen.parse().unwrap(), ..config(Role::Supernode) };
    let failed = |config| FastTrack::start(config, None, Clock::start()).unwrap_err();
    assert_eq!(failed(supernode("0.0.0.0:0")), Error::NoAddress);
    let walled = Config { firewalled: true, ..supernode("127.0.0.1:0") };
    assert_eq!(failed(walled), Error::Unreachable);
    let first = FastTrack::start(supernode("127.0.0.1:0"), None, Clock::start()).unwrap();
    let second = failed(supernode(&first.addr().to_string()));
    assert_eq!(second, Error::Listen(first.addr(), std::io::ErrorKind::AddrInUse));
    first.stop().await;
    let ended = first.search(Query::words(0, 1, "x")).await;
    assert_eq!(ended.unwrap_err(), Error::Stopped);
}
