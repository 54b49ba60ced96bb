//! How far hosts are.

use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How long it takes until each has accepted a connection; who does not within `patience` is left out.
pub(super) async fn ping_all(
    addrs: Vec<SocketAddrV4>,
    patience: Duration,
) -> Vec<(SocketAddrV4, Duration)> {
    let mut pings = JoinSet::new();
    for addr in addrs {
        pings.spawn(async move {
            let asked = Instant::now();
            let connected = timeout(patience, TcpStream::connect(addr)).await;
            connected.is_ok_and(|connected| connected.is_ok()).then(|| (addr, asked.elapsed()))
        });
    }
    let mut measured = Vec::new();
    while let Some(ping) = pings.join_next().await {
        measured.extend(ping.ok().flatten());
    }
    measured
}
