//! How far hosts are.

use crate::net::{Clock, Dialer};
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long it takes until each has accepted a connection; who does not within `patience` is left out.
pub(super) async fn ping_all(
    addrs: Vec<SocketAddrV4>,
    dialer: &Dialer,
    patience: Duration,
) -> Vec<(SocketAddrV4, Duration)> {
    let clock = Clock::start();
    let mut pings = JoinSet::new();
    for addr in addrs {
        let dialer = dialer.clone();
        pings.spawn(async move {
            let asked = clock.now();
            let connected = timeout(patience, dialer.connect(addr.into())).await;
            connected
                .is_ok_and(|connected| connected.is_ok())
                .then(|| (addr, clock.now().since(asked)))
        });
    }
    let mut measured = Vec::new();
    while let Some(ping) = pings.join_next().await {
        measured.extend(ping.ok().flatten());
    }
    measured
}
