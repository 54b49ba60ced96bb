//! Announce and scrape over UDP: the socket and the clock for a `gaggle_core::proto::tracker_udp::Exchange`.
//!
//! In an engine all asks share its socket, so that trackers see, and routers keep open, the one port that peers know.
//! Elsewhere every ask has a socket of its own. Either way only the tracker's endpoint is heard.
//= BEP 15

use super::target::UdpTarget;
use super::{Ask, AskId, Found, LocateError, Locator, Network, run_until_unwanted};
use crate::net::{Clock, Question, Udp};
use bytes::Bytes;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::announce::Counts;
use gaggle_core::proto::tracker_udp::{Exchange, Family, Outcome, Query, Retry};
use gaggle_core::rng::Rng;
use std::io;
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
    pub(super) udp: Option<Udp>,
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
        let mut way = self.way_to(to).await?;
        let rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner).fork();
        let family = Family::of(to.ip());
        let mut exchange = Exchange::new(self.clock.now(), query, family, self.retry, rng);
        loop {
            if let Some(outcome) = exchange.poll_outcome() {
                return outcome.map_err(LocateError::Exchange);
            }
            if let Some(datagram) = exchange.poll_transmit() {
                way.send(&datagram).await.map_err(|error| broken(&error))?;
            }
            tokio::select! {
                // Time first: a flood of junk must not keep an exchange alive.
                biased;
                () = self.clock.sleep_until(exchange.poll_timeout()) => {
                    exchange.handle_timeout(self.clock.now());
                }
                received = way.receive() => {
                    let reply = received.map_err(|error| broken(&error))?;
                    exchange.handle_datagram(self.clock.now(), &reply);
                }
            }
        }
    }

    async fn way_to(&self, to: SocketAddr) -> Result<Way, LocateError> {
        if let Some(udp) = self.udp.as_ref().filter(|udp| udp.leads_to(to)) {
            return Ok(Way::Shared(udp.question(to)));
        }
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
        Ok(Way::Own(socket, vec![0; DATAGRAM_MAX]))
    }
}

/// How datagrams get to the tracker and back.
enum Way {
    /// The kernel drops what others send.
    Own(UdpSocket, Vec<u8>),
    /// The demultiplexer does.
    Shared(Question),
}

impl Way {
    async fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Own(socket, _) => socket.send(datagram).await.map(drop),
            Self::Shared(question) => question.send(datagram).await,
        }
    }

    async fn receive(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Own(socket, buf) => {
                let len = socket.recv(buf).await?;
                Ok(Bytes::copy_from_slice(&buf[..len]))
            }
            Self::Shared(question) => Ok(question.receive().await),
        }
    }
}

fn broken(error: &std::io::Error) -> LocateError {
    LocateError::Connection(error.to_string())
}
