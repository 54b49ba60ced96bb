//! Searches: one after another, because an answer does not say what it answers.

use super::{Client, Event, Refused, State};
use crate::clock::Instant;
use crate::id::InfoHash;
use crate::metainfo::names;
use crate::proto::napster::{
    FileHash, Nick, Property, Query, Row, SwarmRow, Text, ToServer, btih_of, words,
};
use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Servers give each other three minutes; one that does not answer within this has lost us.
pub(super) const SEARCH_WAIT: Duration = Duration::from_secs(200);
/// Searches that wait for their turn; further ones are refused.
pub(super) const SEARCHES_MAX: usize = 16;
/// Rows of one answer that are believed to be one; further ones are ignored.
pub const HITS_MAX: u32 = 1000;

/// Names a search.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SearchId(pub u64);

/// How a search ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SearchEnd {
    /// These were all rows.
    Done,
    /// The server did not answer, or the link is over.
    LinkLost,
    /// The server does not want it, or it was one too many.
    Refused(Text),
}

/// A file that somebody shares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// Its path, as its owner must hear it.
    pub path: Text,
    /// Bytes. `None` if they are 4 GiB or more and nobody said how many.
    pub size: Option<u64>,
    /// A hint.
    pub hash: FileHash,
    /// Its torrent, if the row names one.
    pub btih: Option<InfoHash>,
    /// Who has it.
    pub nick: Nick,
    /// Where he is.
    pub ip: Ipv4Addr,
    /// Where he takes connections, if the row says so; 0 if he cannot.
    pub port: Option<u16>,
    /// Of his link.
    pub speed: u8,
    /// How good a source he is to the server; larger is better.
    pub weight: i32,
    /// How many have the whole torrent, as the server knows.
    pub seeds: u32,
}

impl Hit {
    /// The name under which it can be kept: never more than one element of a path, however it is written.
    pub fn file_name(&self) -> String {
        let name = self.path.decode();
        let last = name.rsplit(['\\', '/']).next().unwrap_or_default();
        Cow::into_owned(names::safe(last.as_bytes()))
    }
}

pub(super) struct Waiting {
    pub(super) id: SearchId,
    query: Query,
}

pub(super) struct Asked {
    pub(super) id: SearchId,
    query: Query,
    since: Instant,
    rows: u32,
    /// Users of its rows that are asked how near they are.
    pinged: u32,
    /// What the server has said against it.
    against: Option<Text>,
    /// Whether only words and a number of rows were sent, because the server did not understand more.
    simplest: bool,
}

impl Client {
    /// Searches as soon as the others before it are answered. Answers are [`Event::Hit`]s and one
    /// [`Event::SearchEnded`].
    pub fn search(&mut self, now: Instant, query: Query) -> SearchId {
        let id = SearchId(self.searches);
        self.searches += 1;
        if self.state == State::Closed {
            self.events.push_back(Event::SearchEnded(id, SearchEnd::LinkLost));
            return id;
        }
        if self.waiting.len() >= SEARCHES_MAX {
            let end = SearchEnd::Refused("too many searches wait".into());
            self.events.push_back(Event::SearchEnded(id, end));
            return id;
        }
        self.waiting.push_back(Waiting { id, query });
        self.next_search(now);
        id
    }

    /// Nothing more of it will be heard.
    pub fn forget_search(&mut self, id: SearchId) {
        self.waiting.retain(|waiting| waiting.id != id);
        if let Some(asked) = self.asked.as_mut().filter(|asked| asked.id == id) {
            // Its end must still be waited for, or its rows would be taken for those of the next.
            asked.rows = HITS_MAX;
        }
    }

    pub(super) fn next_search(&mut self, now: Instant) {
        let per_min = self.config.searches_per_min;
        if self.asked.is_some() || !self.is_in() || self.waiting.is_empty() {
            return;
        }
        if !self.pace.take(now, Some(per_min), per_min) {
            return;
        }
        let Some(Waiting { id, query }) = self.waiting.pop_front() else { return };
        self.ask(now, id, query, false);
    }

    fn ask(&mut self, now: Instant, id: SearchId, query: Query, simplest: bool) {
        let word = match (&query, simplest) {
            (query, true) => ToServer::Search(query.simplest()),
            (Query { btih: Some(_), .. }, _) if self.swarm_extension => {
                ToServer::SearchSwarm(query.clone())
            }
            // Elsewhere the folder of a torrent's file carries its hash, and folders are words.
            (Query { btih: Some(hash), .. }, _) => {
                let mut query = Query { btih: None, ..query.clone() };
                query.contains.push(Text::new(hash.to_string()));
                ToServer::Search(query)
            }
            (query, _) => ToServer::Search(query.clone()),
        };
        self.say(&word);
        let (rows, pinged, against) = (0, 0, None);
        self.asked = Some(Asked { id, query, since: now, rows, pinged, against, simplest });
    }

    pub(super) fn search_timeout(&self) -> Option<Instant> {
        if let Some(asked) = &self.asked {
            return Some(asked.since + SEARCH_WAIT);
        }
        let per_min = self.config.searches_per_min;
        let ready = self.pace.ready_at(Instant::ZERO, per_min, per_min);
        (!self.waiting.is_empty()).then_some(ready)
    }

    pub(super) fn expire_searches(&mut self, now: Instant) {
        if self.asked.as_ref().is_some_and(|asked| now >= asked.since + SEARCH_WAIT) {
            self.close(Refused::Silent);
        }
    }

    pub(super) fn on_row(&mut self, now: Instant, row: Row) {
        let fits = |asked: &Asked| !asked.simplest || fits(&asked.query, &row);
        let Some(id) = self.counted(fits, row.ip) else { return };
        let Row { file, nick, ip, speed, weight } = row;
        let hit = Hit {
            btih: btih_of(&file.path),
            path: file.path,
            size: (file.size != u32::MAX).then_some(file.size.into()),
            hash: file.hash,
            nick,
            ip,
            port: None,
            speed,
            weight,
            seeds: 0,
        };
        self.found(now, id, hit);
    }

    pub(super) fn on_swarm_row(&mut self, now: Instant, row: SwarmRow) {
        let wanted = |asked: &Asked| asked.query.btih.is_none_or(|hash| hash == row.btih);
        let Some(id) = self.counted(wanted, row.ip) else { return };
        let hit = Hit {
            path: row.path,
            size: Some(row.size),
            hash: FileHash::NONE,
            btih: Some(row.btih),
            nick: row.nick,
            ip: row.ip,
            port: Some(row.port),
            speed: row.speed,
            weight: row.weight,
            seeds: row.seeds,
        };
        self.found(now, id, hit);
    }

    fn found(&mut self, now: Instant, id: SearchId, hit: Hit) {
        let port = hit.port.filter(|port| *port != 0);
        let addr = port.map(|port| SocketAddrV4::new(hit.ip, port));
        let most = self.config.pings;
        if self.asked.as_ref().is_some_and(|asked| asked.pinged < most)
            && self.meet(now, &hit.nick, addr)
            && let Some(asked) = &mut self.asked
        {
            asked.pinged += 1;
        }
        self.events.push_back(Event::Hit(id, Box::new(hit)));
    }

    /// Counts a row, and says which search it answers. Nobody counts who is where the server cannot know anybody.
    fn counted(&mut self, fits: impl Fn(&Asked) -> bool, ip: Ipv4Addr) -> Option<SearchId> {
        self.believable(ip, 1)?;
        let asked = self.asked.as_mut()?;
        let counts = asked.rows < HITS_MAX && fits(asked);
        asked.rows += u32::from(counts);
        counts.then_some(asked.id)
    }

    pub(super) fn on_error(&mut self, text: Text) {
        let said = text.decode().to_ascii_lowercase();
        match &mut self.asked {
            Some(asked) if said.contains("search") => {
                asked.against = Some(text);
                // Of all refusals only this one is not followed by the end of rows.
                if said.contains("pending") {
                    self.end_search();
                }
            }
            _ => {
                if said.contains("may only share") {
                    self.gives.say_no_more();
                }
                self.events.push_back(Event::Warning(text));
            }
        }
    }

    pub(super) fn on_search_end(&mut self, now: Instant) {
        let Some(asked) = &self.asked else { return };
        let invalid = asked.against.as_ref().is_some_and(|text| {
            text.decode().to_ascii_lowercase().contains("invalid search request")
        });
        if invalid && !asked.simplest && !asked.query.contains.is_empty() {
            if let Some(Asked { id, query, .. }) = self.asked.take() {
                self.ask(now, id, query, true);
            }
            return;
        }
        self.end_search();
        self.next_search(now);
    }

    fn end_search(&mut self) {
        let Some(asked) = self.asked.take() else { return };
        let end = asked.against.map_or(SearchEnd::Done, SearchEnd::Refused);
        self.events.push_back(Event::SearchEnded(asked.id, end));
    }
}

/// Whether a row is what was wanted, where the server was not told.
fn fits(query: &Query, row: &Row) -> bool {
    let mut bounds = query.bounds.iter();
    let within = bounds.all(|bound| {
        bound.holds(match bound.property {
            Property::LineSpeed => row.speed.into(),
            Property::Bitrate => row.file.bitrate,
            Property::Frequency => row.file.frequency,
            Property::Size => row.file.size,
            Property::Duration => row.file.seconds,
        })
    });
    within
        && words(row.file.path.as_bytes())
            .all(|word| query.excludes.iter().all(|not| not.as_bytes() != word))
}
