//! Turns a tracker's URL into something to ask.

use super::http_client::HttpClients;
use super::target::Target;
use super::tracker_http::TrackerHttp;
use super::tracker_udp::TrackerUdp;
use super::{LocateError, Locator};
use crate::net::{Clock, Udp};
use gaggle_core::external::Sighting;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::announce::Counts;
use gaggle_core::proto::{tracker_http, tracker_udp};
use gaggle_core::rng::Rng;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tracker_udp::Retry;

/// How trackers are talked to.
#[derive(Clone, Debug)]
pub struct TrackersConfig {
    /// URLs that the user typed, as opposed to those that stand in torrents and magnets: they may lead to any path on
    /// private addresses.
    pub trusted: BTreeSet<String>,
    /// The address that trackers are asked from, and so see; `None` leaves it to the system. It goes unused where it
    /// cannot lead: to the other family, or from loopback to elsewhere.
    pub from: Option<IpAddr>,
    /// Whether redirects out of this network are refused.
    pub lan: bool,
    /// The longest HTTP exchange, redirects included.
    pub http_timeout: Duration,
    /// When a UDP request is sent again.
    pub udp_retry: Retry,
}

impl Default for TrackersConfig {
    /// 30 s for HTTP as in libtorrent, 15 s and 30 s for UDP.
    fn default() -> Self {
        Self {
            trusted: BTreeSet::new(),
            from: None,
            lan: false,
            http_timeout: Duration::from_secs(30),
            udp_retry: Retry::default(),
        }
    }
}

/// All trackers of the program. Cheap to clone; clones share connections and dice.
#[derive(Clone)]
pub struct Trackers {
    config: Arc<TrackersConfig>,
    clients: Arc<HttpClients>,
    clock: Clock,
    udp: Option<Udp>,
    sightings: Option<mpsc::Sender<Sighting>>,
    rng: Arc<Mutex<Rng>>,
}

enum Tracker {
    Http(TrackerHttp),
    Udp(TrackerUdp),
}

impl Trackers {
    /// Opens nothing yet.
    pub fn new(config: TrackersConfig, clock: Clock, rng: Rng) -> Self {
        let clients = Arc::new(HttpClients::new(config.from));
        let config = Arc::new(config);
        Self { config, clients, clock, udp: None, sightings: None, rng: Arc::new(Mutex::new(rng)) }
    }

    /// The same connections for another torrent, whose user trusts other URLs.
    #[must_use]
    pub fn trusting(&self, trusted: BTreeSet<String>) -> Self {
        let config = Arc::new(TrackersConfig { trusted, ..TrackersConfig::clone(&self.config) });
        Self { config, ..self.clone() }
    }

    /// UDP trackers are asked over these sockets, where they lead.
    #[must_use]
    pub fn over(mut self, udp: Option<Udp>) -> Self {
        self.udp = udp;
        self
    }

    /// What trackers say about our address goes there; what finds no room is lost.
    #[must_use]
    pub fn telling(mut self, sightings: mpsc::Sender<Sighting>) -> Self {
        self.sightings = Some(sightings);
        self
    }

    /// The tracker behind a URL: `http://`, `https://` or `udp://`.
    pub fn locator(&self, url: &str) -> Result<Box<dyn Locator>, LocateError> {
        Ok(match self.tracker(url)? {
            Tracker::Http(tracker) => Box::new(tracker),
            Tracker::Udp(tracker) => Box::new(tracker),
        })
    }

    /// Counts of swarms, in the order of `hashes`; `None` where an HTTP tracker knows nothing (over UDP that is zeros).
    //= BEP 48
    //= BEP 15 §scrape
    pub async fn scrape(
        &self,
        url: &str,
        hashes: &[InfoHash],
    ) -> Result<Vec<Option<Counts>>, LocateError> {
        let tracker = self.tracker(url)?;
        let mut counts = Vec::with_capacity(hashes.len());
        for some in hashes.chunks(tracker_http::MAX_SCRAPE.min(tracker_udp::MAX_SCRAPE)) {
            match &tracker {
                Tracker::Http(tracker) => counts.extend(tracker.scrape(some).await?),
                Tracker::Udp(tracker) => {
                    counts.extend(tracker.scrape(some).await?.into_iter().map(Some));
                }
            }
        }
        Ok(counts)
    }

    fn tracker(&self, url: &str) -> Result<Tracker, LocateError> {
        Ok(match Target::parse(url, self.config.trusted.contains(url))? {
            Target::Http(target) => Tracker::Http(TrackerHttp {
                clients: self.clients.clone(),
                sightings: self.sightings.clone(),
                target,
                lan: self.config.lan,
                timeout: self.config.http_timeout,
            }),
            Target::Udp(target) => Tracker::Udp(TrackerUdp {
                clock: self.clock,
                from: self.config.from,
                udp: self.udp.clone(),
                retry: self.config.udp_retry,
                rng: self.rng.clone(),
                target,
            }),
        })
    }
}
