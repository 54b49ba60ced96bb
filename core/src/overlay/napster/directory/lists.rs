//! Whom a user wants to hear of, and whose words he does not want to hear.

use super::user::User;
use super::{Directory, UserId};
use crate::proto::napster::{Nick, ToClient, ToServer};
use std::collections::{BTreeMap, BTreeSet};

/// Names on each of a user's two lists; further ones are refused.
pub(super) const NAMES_MAX: usize = 100;

/// What one user has listed, by the names in lower case.
#[derive(Debug, Default)]
pub(super) struct Lists {
    watched: BTreeSet<String>,
    ignored: BTreeMap<String, Nick>,
}

impl Lists {
    /// Whether words of this user are not to be heard.
    pub(super) fn ignores(&self, nick: &Nick) -> bool {
        self.ignored.contains_key(&nick.key())
    }
}

/// Who wants to hear of whom.
pub(super) type Watchers = BTreeMap<String, BTreeSet<UserId>>;

impl Directory {
    /// 207 and 208
    pub(super) fn watch(&mut self, id: UserId, nick: Nick) {
        let Some(me) = self.user_mut(id) else { return };
        let (key, watched) = (nick.key(), &mut me.lists.watched);
        if watched.len() >= NAMES_MAX && !watched.contains(&key) {
            return self.send(id, &ToClient::NotWatched(nick));
        }
        watched.insert(key.clone());
        self.watchers.entry(key).or_default().insert(id);
        let here = self.find(&nick).map(|(_, user)| arrived(user));
        self.send(id, &ToClient::Watched(nick));
        here.into_iter().for_each(|word| self.send(id, &word));
    }

    /// 303
    pub(super) fn unwatch(&mut self, id: UserId, nick: &Nick) {
        let key = nick.key();
        if self.user_mut(id).is_some_and(|me| me.lists.watched.remove(&key)) {
            self.watches_no_more(id, &key);
        }
    }

    fn watches_no_more(&mut self, id: UserId, key: &str) {
        if let Some(watchers) = self.watchers.get_mut(key) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.watchers.remove(key);
            }
        }
    }

    /// Tells those who want to hear of him that somebody has come.
    pub(super) fn tell_of_arrival(&mut self, id: UserId) {
        let Some(user) = self.user(id) else { return };
        let (key, word) = (user.nick.key(), arrived(user));
        self.tell_watchers(&key, &word);
    }

    /// Tells those who want to hear of him that somebody has gone, and forgets of whom he wanted to hear.
    pub(super) fn tell_of_leaving(&mut self, id: UserId, user: &User) {
        user.lists.watched.iter().for_each(|key| self.watches_no_more(id, key));
        self.tell_watchers(&user.nick.key(), &ToClient::Offline(user.nick.clone()));
    }

    fn tell_watchers(&mut self, key: &str, word: &ToClient) {
        let watchers: Vec<UserId> = self.watchers.get(key).into_iter().flatten().copied().collect();
        watchers.into_iter().for_each(|id| self.send(id, word));
    }

    /// 320 to 326
    pub(super) fn on_ignoring(&mut self, id: UserId, said: ToServer) {
        let Some(me) = self.user_mut(id) else { return };
        let ignored = &mut me.lists.ignored;
        let answer = match said {
            ToServer::Ignore(nick) if ignored.contains_key(&nick.key()) => {
                ToClient::AlreadyIgnored(nick)
            }
            ToServer::Ignore(_) if ignored.len() >= NAMES_MAX => {
                return self.error(id, &format!("You may only ignore {NAMES_MAX} users"));
            }
            ToServer::Ignore(nick) => {
                ignored.insert(nick.key(), nick.clone());
                ToClient::Ignored(nick)
            }
            ToServer::Unignore(nick) => match ignored.remove(&nick.key()) {
                Some(_) => ToClient::Unignored(nick),
                None => ToClient::NotIgnored(nick),
            },
            ToServer::UnignoreAll => ToClient::UnignoredAll(std::mem::take(ignored).len() as u32),
            _ => {
                let all: Vec<Nick> = ignored.values().cloned().collect();
                let count = all.len() as u32;
                all.into_iter().for_each(|nick| self.send(id, &ToClient::IgnoredRow(nick)));
                ToClient::IgnoredEnd(count)
            }
        };
        self.send(id, &answer);
    }
}

fn arrived(user: &User) -> ToClient {
    ToClient::Arrived(user.nick.clone(), user.speed)
}
