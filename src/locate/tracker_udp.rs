//! Announce and scrape over UDP: the socket and the clock for a `gaggle_core::proto::tracker_udp::Exchange`.
//!
//! Every ask has a socket of its own, connected to the tracker: the kernel drops datagrams from anywhere else, and a
//! forger has to guess the port besides the transaction.
//= BEP 15

use super::target::UdpTarget;
use super::{Ask, AskId, Found, LocateError, Locator, Network, run_until_unwanted};
use crate::net::Clock;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::announce::Counts;
use gaggle_core::proto::tracker_udp::{Exchange, Family, Outcome, Query, Retry};
use gaggle_core::rng::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// The name of the tracker must have an address by then.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried, each only if nothing can be sent to those before it.
const ADDRESSES_MAX: usize = 4;
/// No datagram is longer.
const DATAGRAM_MAX: usize = 65_535;

/// One tracker over UDP.
#[derive(Clone)]
pub(super) struct TrackerUdp {
    pub(super) clock: Clock,
    /// As in `TrackersConfig`.
    pub(super) from: Option<IpAddr>,
    pub(super) retry: Retry,
    /// Forked for each exchange.
    pub(super) rng: Arc<Mutex<Rng>>,
    pub(super) target: UdpTarget,
}

impl Locator for TrackerUdp {
    fn network(&self) -> Network {
        Network::Tracker
    }

    fn submit(&self, id: AskId, ask: Ask, found: mpsc::Sender<Found>) {
        let (tracker, Ask::Peers(announce)) = (self.clone(), ask);
        run_until_unwanted(id, found, async move {
            let url_data = tracker.target.url_data.clone();
            match tracker.exchange(Query::Announce { announce, url_data }).await? {
                Outcome::Announced(answer) => Ok((answer.peers, answer.terms)),
                Outcome::Scraped(_) => unreachable!("an exchange answers what was asked"),
            }
        });
    }
}

impl TrackerUdp {
    /// Counts of at most 74 swarms.
    pub(super) async fn scrape(&self, hashes: &[InfoHash]) -> Result<Vec<Counts>, LocateError> {
        match self.exchange(Query::Scrape(hashes.to_vec())).await? {
            Outcome::Scraped(counts) => Ok(counts),
            Outcome::Announced(_) => unreachable!("an exchange answers what was asked"),
        }
    }

    async fn exchange(&self, query: Query) -> Result<Outcome, LocateError> {
        let (host, port) = (self.target.host.as_str(), self.target.port);
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port)));
        let found = found.await.map_err(|_| LocateError::TimedOut(LOOKUP_TIMEOUT))?;
        let found = found.map_err(|error| LocateError::Host(error.to_string()))?;
        let mut outcome = Err(LocateError::Host(format!("{host} has no address")));
        for addr in found.take(ADDRESSES_MAX) {
            outcome = self.exchange_with(addr, query.clone()).await;
            // No route, or nobody at that port: another address may be better.
            if !matches!(outcome, Err(LocateError::Socket(_) | LocateError::Connection(_))) {
                break;
            }
        }
        outcome
    }

    async fn exchange_with(&self, to: SocketAddr, query: Query) -> Result<Outcome, LocateError> {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let leads = |from: &IpAddr| {
            from.is_ipv4() == to.is_ipv4() && (to.ip().is_loopback() || !from.is_loopback())
        };
        let from = SocketAddr::new(self.from.filter(leads).unwrap_or(any), 0);
        let socket = UdpSocket::bind(from).await.map_err(|e| LocateError::Socket(e.kind()))?;
        socket.connect(to).await.map_err(|error| broken(&error))?;
        let rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner).fork();
        let family = Family::of(to.ip());
        let mut exchange = Exchange::new(self.clock.now(), query, family, self.retry, rng);
        let mut buf = vec![0; DATAGRAM_MAX];
        loop {
            if let Some(outcome) = exchange.poll_outcome() {
                return outcome.map_err(LocateError::Exchange);
            }
            if let Some(datagram) = exchange.poll_transmit() {
                socket.send(&datagram).await.map_err(|error| broken(&error))?;
            }
            tokio::select! {
                // Time first: a flood of junk must not keep an exchange alive.
                biased;
                () = self.clock.sleep_until(exchange.poll_timeout()) => {
                    exchange.handle_timeout(self.clock.now());
                }
                received = socket.recv(&mut buf) => {
                    let len = received.map_err(|error| broken(&error))?;
                    exchange.handle_datagram(self.clock.now(), &buf[..len]);
                }
            }
        }
    }
}

fn broken(error: &std::io::Error) -> LocateError {
    LocateError::Connection(error.to_string())
}
