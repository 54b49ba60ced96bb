//! Announce and scrape over HTTP.
//!
//! Decides redirects, time and size; what the bytes mean is `gaggle_core::proto::tracker_http`.
//= BEP 3 §trackers
//= BEP 48

use super::http_client::{HttpClients, innermost, is_proxied};
use super::target::{HttpTarget, is_private};
use super::{Ask, AskId, Found, LocateError, Locator, Network, run_until_unwanted};
use gaggle_core::external::Sighting;
use gaggle_core::id::InfoHash;
use gaggle_core::proto::announce::{Announce, Answer, Counts};
use gaggle_core::proto::tracker_http::{
    AnnounceQuery, MAX_BODY, ReplyError, ScrapeQuery, parse_announce, parse_scrape, scrape_url,
};
use reqwest::header::LOCATION;
use reqwest::{Response, Url};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Hops to follow; one more is a failure.
const REDIRECTS_MAX: usize = 5;

/// One tracker over HTTP.
#[derive(Clone)]
pub(super) struct TrackerHttp {
    pub(super) clients: Arc<HttpClients>,
    pub(super) target: HttpTarget,
    /// As in `TrackersConfig`.
    pub(super) lan: bool,
    /// Takes what it says about our address.
    pub(super) sightings: Option<mpsc::Sender<Sighting>>,
    /// From the first byte sent to the last received, redirects included.
    pub(super) timeout: Duration,
}

/// The end of a chain of redirects.
struct Fetched {
    /// Who said it; unknown behind a proxy.
    by: Option<IpAddr>,
    status: u16,
    body: Vec<u8>,
}

impl Locator for TrackerHttp {
    fn network(&self) -> Network {
        Network::Tracker
    }

    fn submit(&self, id: AskId, ask: Ask, found: mpsc::Sender<Found>) {
        let (tracker, Ask::Peers(announce)) = (self.clone(), ask);
        run_until_unwanted(id, found, async move {
            tracker.announce(announce).await.map(|answer| (answer.peers, answer.terms))
        });
    }
}

impl TrackerHttp {
    async fn announce(&self, announce: Announce) -> Result<Answer, LocateError> {
        let query = AnnounceQuery { announce, compact: true, no_peer_id: true }.encode();
        let fetched = self.fetch(&self.target, &query).await?;
        let answer = read(&fetched, parse_announce)?;
        if let (Some(sightings), Some(by), Some(us)) =
            (&self.sightings, fetched.by, answer.terms.external_ip)
        {
            let _ = sightings.try_send(Sighting { by, us });
        }
        Ok(answer)
    }

    /// Counts of at most 74 swarms; `None` for those the tracker does not know.
    pub(super) async fn scrape(
        &self,
        hashes: &[InfoHash],
    ) -> Result<Vec<Option<Counts>>, LocateError> {
        let url = scrape_url(self.target.url.as_str()).ok_or(LocateError::Unscrapable)?;
        let url = Url::parse(&url).map_err(|_| LocateError::Unscrapable)?;
        // Where announcing was allowed, so is counting: the path differs in its custom word only.
        let target = HttpTarget { url, reach: self.target.reach };
        let query = ScrapeQuery { hashes: hashes.to_vec() }.encode();
        read(&self.fetch(&target, &query).await?, |body| parse_scrape(body, hashes))
    }

    async fn fetch(&self, target: &HttpTarget, query: &str) -> Result<Fetched, LocateError> {
        let all = self.follow(target, query);
        tokio::time::timeout(self.timeout, all)
            .await
            .unwrap_or(Err(LocateError::TimedOut(self.timeout)))
    }

    async fn follow(&self, target: &HttpTarget, query: &str) -> Result<Fetched, LocateError> {
        let mut target = HttpTarget { url: target.with_query(query), reach: target.reach };
        for _ in 0..=REDIRECTS_MAX {
            let client = self.clients.of(&target.url, target.reach)?;
            let response = client.get(target.url.clone()).send().await;
            let response = response.map_err(|error| broken(&error))?;
            // Behind a proxy we see the proxy's address, which says nothing about the server's.
            let by = response.remote_addr().map(|addr| addr.ip());
            let by = by.filter(|_| !is_proxied(target.reach));
            let Some(location) = redirect(&response) else { return fetch_body(response, by).await };
            let from_private = by.is_some_and(is_private);
            let from = &target.url;
            target = HttpTarget::redirected(from, &location?, from_private, self.lan, query)?;
        }
        Err(LocateError::Redirect("too often"))
    }
}

/// Where the response sends us, if it does.
fn redirect(response: &Response) -> Option<Result<String, LocateError>> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let text = location.to_str().map(ToOwned::to_owned);
    Some(text.map_err(|_| LocateError::Redirect("to no URL")))
}

/// Reads a body up to [`MAX_BODY`], counted after decompression and while it arrives: what a bomb would unfold to
/// is never in memory.
async fn fetch_body(mut response: Response, by: Option<IpAddr>) -> Result<Fetched, LocateError> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(LocateError::Body);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { by, status, body })
}

/// Makes sense of a body. Some trackers send their refusals with a status of 400: those are worth more than the number.
fn read<T>(
    fetched: &Fetched,
    parse: impl Fn(&[u8]) -> Result<T, ReplyError>,
) -> Result<T, LocateError> {
    match (fetched.status, parse(&fetched.body)) {
        (200, outcome) => outcome.map_err(LocateError::Reply),
        (410, _) => Err(LocateError::HttpStatus(410)),
        (_, Err(refused @ ReplyError::Refused { .. })) => Err(refused.into()),
        (status, _) => Err(LocateError::HttpStatus(status)),
    }
}

fn broken(error: &reqwest::Error) -> LocateError {
    if error.is_timeout() && error.is_connect() {
        return LocateError::Connection("timed out while connecting".to_owned());
    }
    LocateError::Connection(innermost(error))
}
