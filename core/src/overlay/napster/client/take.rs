//! What we want of other users: files, and their lists of files.

use super::give::DEAL_LIFE;
use super::{BROWSE_MAX, Client, Deals, Event, deal};
use crate::clock::Instant;
use crate::proto::napster::{Nick, Text, ToClient, ToServer};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a user may take to answer that we may have a file; then he does not want to.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Downloads that wait for an answer; further ones fail at once.
pub(super) const DOWNLOADS_MAX: usize = 64;

/// Why a download does not come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Neither side can be reached by the other.
    #[error("both ends are firewalled")]
    BothFirewalled,
    /// The server names an address that it cannot know.
    #[error("the address is not one that this server can know")]
    Address,
    /// His queue is full: he gives so many files at once.
    #[error("queue is full ({0} places)")]
    QueueFull(u32),
    /// He does not answer, or refuses: servers do not tell which.
    #[error("no answer")]
    NoAnswer,
    /// As many wait as may.
    #[error("{0} downloads wait for an answer already")]
    TooMany(usize),
    /// He is not here, or does not share it.
    #[error("not here, or not shared")]
    Unavailable,
}

/// How a list of somebody's files ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BrowseEnd {
    /// It is whole.
    Done,
    /// He is not here.
    Offline,
    /// He does not want to, or cannot.
    Refused(Text),
}

#[derive(Default)]
pub(super) struct Takes {
    /// What we asked for and have no answer to.
    asked: Deals<()>,
    /// What we wait for at our own port.
    coming: Deals<()>,
    /// Whose lists are coming, and how many rows came.
    browses: BTreeMap<String, u32>,
    /// Whom we asked for his list directly.
    lists: BTreeMap<String, Instant>,
}

impl Takes {
    pub(super) fn timeout(&self) -> Option<Instant> {
        let files = self.asked.values().chain(self.coming.values()).map(|(until, ())| *until);
        files.chain(self.lists.values().copied()).min()
    }
}

impl Client {
    /// Asks somebody for a file: an event tells where to fetch it, that it comes, or why not.
    pub fn download(&mut self, now: Instant, nick: Nick, path: Text) {
        self.expire_takes(now);
        if !self.is_in() {
            return self.events.push_back(Event::Failed(nick, path, Failure::NoAnswer));
        }
        if self.takes.asked.len() + self.takes.coming.len() >= DOWNLOADS_MAX {
            let why = Failure::TooMany(DOWNLOADS_MAX);
            return self.events.push_back(Event::Failed(nick, path, why));
        }
        self.takes.asked.insert(deal(&nick, &path), (now + ANSWER_WAIT, ()));
        self.say(&ToServer::Download(nick, path));
    }

    /// Asks for the list of somebody's files, by way of the server.
    pub fn browse(&mut self, nick: Nick) {
        if self.is_in() {
            self.takes.browses.insert(nick.key(), 0);
            self.say(&ToServer::Browse(nick, 0));
        }
    }

    /// Asks whether we may read somebody's list from him.
    pub fn browse_directly(&mut self, now: Instant, nick: Nick) {
        self.expire_takes(now);
        if self.is_in() && self.takes.lists.len() < DOWNLOADS_MAX {
            self.takes.lists.insert(nick.key(), now + DEAL_LIFE);
            self.say(&ToServer::AskBrowse(nick));
        }
    }

    /// Whether this user may give us the list of his files now.
    pub fn may_send_list(&self, now: Instant, nick: &Nick) -> bool {
        self.takes.lists.get(&nick.key()).is_some_and(|until| now < *until)
    }

    /// Tells the server that somebody's port does not answer.
    pub fn unreachable(&mut self, nick: Nick) {
        self.say_inside(&ToServer::Unreachable(nick));
    }

    /// A download has begun, or ended. The server counts them.
    pub fn downloading(&mut self, begins: bool) {
        self.say_inside(&ToServer::Transfer { upload: false, begins });
    }

    /// Whether this user may give us this file now: we asked him to.
    pub fn may_send(&self, now: Instant, nick: &Nick, path: &Text) -> bool {
        self.takes.coming.get(&deal(nick, path)).is_some_and(|(until, ())| now < *until)
    }

    /// He has come with it: nobody else may.
    pub fn came(&mut self, nick: &Nick, path: &Text) {
        self.takes.coming.remove(&deal(nick, path));
    }

    /// He has come with the list of his files, or we have gone to him for it: it is asked for no longer.
    pub fn came_with_list(&mut self, nick: &Nick) {
        self.takes.lists.remove(&nick.key());
    }

    /// Says why something does not come that was asked for, and says nothing of what was not.
    fn fail(&mut self, nick: Nick, path: Text, why: Failure) {
        let deal = deal(&nick, &path);
        let asked = self.takes.asked.remove(&deal).is_some();
        let coming = self.takes.coming.remove(&deal).is_some();
        if asked || coming {
            self.events.push_back(Event::Failed(nick, path, why));
        }
    }

    pub(super) fn expire_takes(&mut self, now: Instant) {
        let late = self.takes.lists.iter().filter(|(_, until)| **until <= now);
        let late: Vec<_> = late.filter_map(|(key, _)| Nick::new(key.as_bytes())).collect();
        for nick in late {
            self.takes.lists.remove(&nick.key());
            let end = BrowseEnd::Refused("no answer".into());
            self.events.push_back(Event::BrowseEnded(nick, end));
        }
        let open = self.takes.asked.iter().chain(&self.takes.coming);
        let ended = open.filter(|(_, (until, ()))| *until <= now);
        let ended: Vec<_> = ended.map(|(deal, _)| deal.clone()).collect();
        for (nick, path) in ended {
            // It was made of one.
            if let Some(nick) = Nick::new(nick.as_bytes()) {
                self.fail(nick, path, Failure::NoAnswer);
            }
        }
    }

    pub(super) fn on_taken(&mut self, now: Instant, said: ToClient) {
        match said {
            ToClient::DownloadReady { nick, ip, port, path, hash, .. } => {
                if !self.takes.asked.contains_key(&deal(&nick, &path)) {
                    return;
                }
                if port != 0 {
                    let Some(addr) = self.believable(ip, port) else {
                        return self.fail(nick, path, Failure::Address);
                    };
                    self.takes.asked.remove(&deal(&nick, &path));
                    self.events.push_back(Event::FetchFrom { nick, addr, path });
                } else if self.config.port == 0 || hash.as_bytes() == b"firewallerror" {
                    self.fail(nick, path, Failure::BothFirewalled);
                } else {
                    // He cannot be reached: he must come to us.
                    self.takes.asked.remove(&deal(&nick, &path));
                    self.takes.coming.insert(deal(&nick, &path), (now + DEAL_LIFE, ()));
                    self.say(&ToServer::AskPush(nick.clone(), path.clone()));
                    self.events.push_back(Event::FetchComes(nick, path));
                }
            }
            ToClient::Unavailable(nick, path) => self.fail(nick, path, Failure::Unavailable),
            ToClient::QueueFull { nick, path, limit, .. } => {
                self.fail(nick, path, Failure::QueueFull(limit));
            }
            ToClient::BrowseRow(nick, file) => {
                let rows = self.takes.browses.get_mut(&nick.key());
                if let Some(rows) = rows.filter(|rows| **rows < BROWSE_MAX) {
                    *rows += 1;
                    self.events.push_back(Event::BrowseRow(nick, file));
                }
            }
            ToClient::BrowseEnd(nick, _) => self.end_browse(nick, BrowseEnd::Done),
            ToClient::Offline(nick) => self.end_browse(nick, BrowseEnd::Offline),
            ToClient::BrowseRefused(nick, why)
                if self.takes.lists.remove(&nick.key()).is_some() =>
            {
                self.events.push_back(Event::BrowseEnded(nick, BrowseEnd::Refused(why)));
            }
            // Who cannot be reached comes himself.
            ToClient::BrowseAccepted(nick, ip, port) if self.may_send_list(now, &nick) => {
                let addr = self.believable(ip, port);
                self.events.extend(addr.map(|addr| Event::BrowseAt(nick, addr)));
            }
            _ => {}
        }
    }

    fn end_browse(&mut self, nick: Nick, end: BrowseEnd) {
        if self.takes.browses.remove(&nick.key()).is_some() {
            self.events.push_back(Event::BrowseEnded(nick, end));
        }
    }
}
