//! Who waits for what is found.

use super::{Error, HITS_MAX};
use gaggle_core::clock::Instant;
use gaggle_core::overlay::gnutella::{Found, HITS_PER_QUERY, QUERY_RELAYED_MAX, Servent};
use gaggle_core::proto::gnutella::{Guid, Query};
use gaggle_core::words::words;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// Searches at once; more are refused.
const SEARCHES_MAX: usize = 64;
/// How long one lasts at most: ultrapeers ask for three minutes, and the last answers take a while.
const LIFE: Duration = Duration::from_secs(200);
/// How long answers may still come when nobody more is asked.
const LATE: Duration = Duration::from_secs(10);

/// Servents that one search has answers of; those of further ones, whose names may be made up, are spam.
const SERVENTS_MAX: usize = 4096;

/// All searches of ours.
#[derive(Debug, Default)]
pub(super) struct Searches(Vec<Search>);

#[derive(Debug)]
struct Search {
    query: Query,
    /// Once it has gone out.
    guid: Option<Guid>,
    out: mpsc::Sender<Found>,
    until: Instant,
    /// Files of each servent; further ones than a query is answered with are spam.
    files: BTreeMap<Guid, usize>,
}

impl Searches {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins one; it goes out as soon as there is a neighbour.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        query: Query,
        servent: &mut Servent,
    ) -> Result<mpsc::Receiver<Found>, Error> {
        let worded = words(&query.text).iter().any(|word| word.chars().count() > 1);
        if !worded && query.extensions.urns.is_empty() {
            return Err(Error::Dull);
        }
        let (got, most) = (query.encode().len(), QUERY_RELAYED_MAX);
        if got > most {
            return Err(Error::TooLong { got, most });
        }
        self.expire(now, servent);
        if self.0.len() >= SEARCHES_MAX {
            return Err(Error::TooManySearches);
        }
        let (out, found) = mpsc::channel(HITS_MAX);
        let until = now + LIFE;
        self.0.push(Search { query, guid: None, out, until, files: BTreeMap::new() });
        self.go_out(now, servent);
        Ok(found)
    }

    /// Sends out those that have waited for a neighbour, if there is one.
    pub(super) fn go_out(&mut self, now: Instant, servent: &mut Servent) {
        if servent.links().any(|(_, link)| link.side().is_some()) {
            for search in self.0.iter_mut().filter(|search| search.guid.is_none()) {
                search.guid = servent.search(now, search.query.clone());
            }
        }
    }

    /// Passes on what was found.
    pub(super) fn on_found(
        &mut self,
        now: Instant,
        guid: Guid,
        found: Vec<Found>,
        servent: &mut Servent,
    ) {
        let Some(search) = self.0.iter_mut().find(|search| search.guid == Some(guid)) else {
            return;
        };
        let mut junk = 0;
        for one in found {
            if search.files.len() >= SERVENTS_MAX && !search.files.contains_key(&one.servent) {
                junk += 1;
                continue;
            }
            let files = search.files.entry(one.servent).or_default();
            *files += 1;
            if *files > HITS_PER_QUERY || search.out.try_send(one).is_err() {
                junk += 1;
            }
        }
        servent.discount(guid, junk);
        if search.out.is_closed() {
            self.expire(now, servent);
        }
    }

    /// Nobody more is asked.
    pub(super) fn on_searched(&mut self, now: Instant, guid: Guid) {
        if let Some(search) = self.0.iter_mut().find(|search| search.guid == Some(guid)) {
            search.until = search.until.min(now + LATE);
        }
    }

    /// Ends those that are over, or that nobody wants to hear of any more.
    pub(super) fn expire(&mut self, now: Instant, servent: &mut Servent) {
        let over = |search: &mut Search| now >= search.until || search.out.is_closed();
        for search in self.0.extract_if(.., over) {
            search.guid.into_iter().for_each(|guid| servent.stop(now, guid));
        }
    }
}
