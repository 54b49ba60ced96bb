//! What the owner of a handle waits for: searches, files, lists, and who somebody is.

use super::{Found, Listed, OpenError, Opened};
use gaggle_core::clock::Instant;
use gaggle_core::overlay::napster::{
    BrowseEnd, Client as Machine, ClientEvent as Event, Failure, Nearness, SearchEnd, SearchId,
};
use gaggle_core::proto::napster::{Nick, Text, Whois};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a search that has ended waits for the last pings.
const NEAR_WAIT: Duration = Duration::from_secs(1);
/// How many may wait for one file of one user; one more is refused.
const WAITERS_MAX: usize = 16;

type Answer = oneshot::Sender<Result<Opened, OpenError>>;

struct Search {
    found: mpsc::Sender<Found>,
    /// Whose distance is being measured.
    near: BTreeSet<String>,
    end: Option<(SearchEnd, Instant)>,
}

/// A list of somebody's files.
struct List {
    listed: mpsc::Sender<Listed>,
    directly: bool,
}

#[derive(Default)]
pub(super) struct Wanted {
    searches: BTreeMap<SearchId, Search>,
    files: BTreeMap<(String, Text), Vec<Answer>>,
    lists: BTreeMap<String, List>,
    whois: BTreeMap<String, Vec<oneshot::Sender<Whois>>>,
}

impl Wanted {
    pub(super) fn search(&mut self, id: SearchId, found: mpsc::Sender<Found>) {
        self.searches.insert(id, Search { found, near: BTreeSet::new(), end: None });
    }

    pub(super) fn open(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        nick: Nick,
        path: Text,
        answer: Answer,
    ) {
        if !machine.is_in() {
            _ = answer.send(Err(OpenError::Offline)); // or nobody waits
            return;
        }
        let waiting = self.files.entry((nick.key(), path.clone())).or_default();
        waiting.retain(|answer| !answer.is_closed());
        if waiting.len() >= WAITERS_MAX {
            _ = answer.send(Err(Failure::TooMany(WAITERS_MAX).into()));
            return;
        }
        waiting.push(answer);
        if waiting.len() == 1 {
            machine.download(now, nick, path);
        }
    }

    pub(super) fn browse(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        nick: Nick,
        listed: mpsc::Sender<Listed>,
        directly: bool,
    ) {
        let refuse = if !machine.is_in() {
            Some("not connected to a directory")
        } else if self.lists.get(&nick.key()).is_some_and(|list| !list.listed.is_closed()) {
            Some("this list is on its way already")
        } else {
            None
        };
        if let Some(why) = refuse {
            _ = listed.try_send(Listed::Ended(BrowseEnd::Refused(why.into()))); // there is room
            return;
        }
        self.lists.insert(nick.key(), List { listed, directly });
        if directly { machine.browse_directly(now, nick) } else { machine.browse(nick) }
    }

    pub(super) fn whois(&mut self, nick: &Nick, answer: oneshot::Sender<Whois>) {
        let waiting = self.whois.entry(nick.key()).or_default();
        waiting.retain(|answer| !answer.is_closed());
        waiting.push(answer);
    }

    /// Everybody who waits for a file: there is a way to it.
    pub(super) fn all_waiting(&mut self, nick: &Nick, path: &Text) -> Vec<Answer> {
        let waiting = self.files.remove(&(nick.key(), path.clone())).unwrap_or_default();
        waiting.into_iter().filter(|answer| !answer.is_closed()).collect()
    }

    /// Somebody has come with a file: who of those that wait for it gets it. For the others he must come again.
    pub(super) fn came(
        &mut self,
        now: Instant,
        machine: &mut Machine,
        nick: &Nick,
        path: &Text,
    ) -> Option<Answer> {
        let mut waiting = self.all_waiting(nick, path);
        let first = (!waiting.is_empty()).then(|| waiting.remove(0))?;
        machine.came(nick, path);
        if !waiting.is_empty() {
            self.files.insert((nick.key(), path.clone()), waiting);
            machine.download(now, nick.clone(), path.clone());
        }
        Some(first)
    }

    /// A list comes from its owner himself.
    pub(super) fn list_comes(&mut self, nick: &Nick) -> Option<mpsc::Sender<Listed>> {
        let list = self.lists.remove(&nick.key()).filter(|list| list.directly)?;
        Some(list.listed)
    }

    /// There is no directory any more that could answer. Searches have been ended by the machine.
    pub(super) fn lost(&mut self) {
        for answer in std::mem::take(&mut self.files).into_values().flatten() {
            _ = answer.send(Err(OpenError::Offline));
        }
        for list in std::mem::take(&mut self.lists).into_values() {
            let end = BrowseEnd::Refused("the directory is gone".into());
            _ = list.listed.try_send(Listed::Ended(end));
        }
        self.whois.clear();
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.searches.values().filter_map(|search| Some(search.end.as_ref()?.1)).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.searches.retain(|_, search| !search.is_over(now));
    }

    /// Of what is said against us, only this concerns somebody who waits.
    pub(super) fn on_warning(&mut self, text: &Text) {
        let said = text.decode().to_ascii_lowercase();
        let absent = said.strip_suffix(" is not online").and_then(|said| said.rsplit(' ').next());
        if let Some(name) = absent {
            self.whois.remove(name);
        }
    }

    pub(super) fn on_event(&mut self, now: Instant, machine: &mut Machine, event: Event) {
        match event {
            Event::Hit(id, hit) => {
                let Some(search) = self.searches.get_mut(&id) else { return };
                let near = match machine.nearness(now, &hit.nick) {
                    Nearness::Known(took) => Some(took),
                    Nearness::Asked => {
                        search.near.insert(hit.nick.key());
                        None
                    }
                    Nearness::Unasked => None,
                };
                if search.say(Found::Hit(hit, near)).is_err() {
                    machine.forget_search(id);
                    self.searches.remove(&id);
                }
            }
            Event::Near(nick, took) => {
                for search in self.searches.values_mut() {
                    if search.near.remove(&nick.key()) {
                        _ = search.say(Found::Near(nick.clone(), took)); // its end is looked for below
                    }
                }
                self.handle_timeout(now);
            }
            Event::SearchEnded(id, end) => {
                let Some(search) = self.searches.get_mut(&id) else { return };
                search.end = Some((end, now + NEAR_WAIT));
                self.handle_timeout(now);
            }
            Event::Failed(nick, path, why) => {
                for answer in self.all_waiting(&nick, &path) {
                    _ = answer.send(Err(why.into()));
                }
            }
            Event::BrowseRow(nick, file) => {
                let list = self.lists.get(&nick.key()).filter(|list| !list.directly);
                // There is room for as many as the machine lets through.
                _ = list.map(|list| list.listed.try_send(Listed::File(file)));
            }
            Event::BrowseEnded(nick, end) => {
                if let Some(list) = self.lists.remove(&nick.key()) {
                    _ = list.listed.try_send(Listed::Ended(end));
                }
            }
            Event::Whois(is) => {
                for answer in self.whois.remove(&is.nick.key()).unwrap_or_default() {
                    _ = answer.send(is.clone());
                }
            }
            // He is not here: who has asked hears that nobody answers.
            Event::Whowas(nick, _) => _ = self.whois.remove(&nick.key()),
            _ => {}
        }
    }
}

impl Search {
    /// Nobody reads it any more if it fails: there is room for all that the machine lets through.
    fn say(&self, found: Found) -> Result<(), ()> {
        self.found.try_send(found).map_err(|_| ())
    }

    /// Whether nothing more comes. Then it has said so.
    fn is_over(&mut self, now: Instant) -> bool {
        match self.end.take() {
            Some((end, until)) if !self.near.is_empty() && now < until => {
                self.end = Some((end, until));
                false
            }
            Some((end, _)) => {
                _ = self.say(Found::Ended(end));
                true
            }
            None => false,
        }
    }
}
