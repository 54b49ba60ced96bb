//! A real tracker on loopback, spoken to over raw sockets.

mod http;
mod sockets;
mod udp;

use crate::clock::Clock;
use crate::connection_id::ConnectionIds;
use crate::server::Service;
use crate::store::{self, Limits, Policy, Store};
use crate::{BindError, Running, Tracker, TrackerConfig};
use gaggle_core::id::{InfoHash, PeerId};
use gaggle_core::proto::announce::{Announce, Event};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for anything that works, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

fn config(listen: SocketAddr) -> TrackerConfig {
    let policy = Policy {
        interval: Duration::from_secs(100),
        min_interval: Duration::from_secs(7),
        limits: Limits::default(),
    };
    TrackerConfig { policy, seed: Some(1), ..TrackerConfig::new(listen) }
}

fn start(listen: SocketAddr) -> Running {
    Tracker::bind(&config(listen)).expect("loopback has free ports")
}

/// A leech that knocks on port `port`.
fn leech(port: u16) -> Announce {
    Announce {
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([b'p'; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left: 5,
        event: Event::None,
        key: 0,
        want: None,
        tracker_id: Vec::new(),
    }
}
