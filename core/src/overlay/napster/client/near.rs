//! How near the users are whose files a search has found.
//!
//! A row does not say where its user takes connections. If it does, a connection to there is timed; else he is asked by
//! way of the server, which tells them apart as well, since the way to the server is the same for all.

use super::{Client, Event};
use crate::clock::Instant;
use crate::proto::napster::{Nick, ToServer};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

/// Pings without an answer at one time; others wait.
const AT_ONCE: usize = 16;
/// How long one may take to answer.
const PING_WAIT: Duration = Duration::from_secs(3);
/// How long an answer holds.
const NEAR_LIFE: Duration = Duration::from_secs(600);
/// Users whose distance is remembered; the first is forgotten.
const USERS_MAX: usize = 1024;

/// What is known of how near a user is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nearness {
    /// Nothing, and nobody asks.
    Unasked,
    /// He is being asked: an [`Event::Near`] tells, or nothing if he does not answer within some seconds.
    Asked,
    /// There and back.
    Known(Duration),
}

struct User {
    nearness: Nearness,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Near {
    users: BTreeMap<String, User>,
    /// In the order in which they came.
    order: VecDeque<String>,
    waiting: VecDeque<(Nick, Option<SocketAddrV4>)>,
    /// Who was asked, and until when he may answer.
    asked: BTreeMap<String, Instant>,
}

impl Near {
    /// Forgets who waits; what is known stays.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.asked.clear();
        self.users.retain(|_, user| matches!(user.nearness, Nearness::Known(_)));
        self.order.retain(|key| self.users.contains_key(key));
    }

    fn nearness(&self, now: Instant, nick: &Nick) -> Nearness {
        let user = self.users.get(&nick.key()).filter(|user| now < user.since + NEAR_LIFE);
        user.map_or(Nearness::Unasked, |user| user.nearness)
    }

    fn set(&mut self, now: Instant, key: &str, nearness: Nearness) {
        let user = User { nearness, since: now };
        if self.users.insert(key.to_owned(), user).is_some() {
            return;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > USERS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.users.remove(&first);
        }
    }
}

impl Client {
    /// How near a user is, as far as that is known.
    pub fn nearness(&self, now: Instant, nick: &Nick) -> Nearness {
        self.near.nearness(now, nick)
    }

    /// How long it took to connect to a user after an [`Event::Measure`], or whenever else it was measured; `None` if he
    /// does not answer.
    pub fn handle_measured(&mut self, now: Instant, nick: Nick, took: Option<Duration>) {
        let key = nick.key();
        self.near.asked.remove(&key);
        match took {
            Some(took) => {
                self.near.set(now, &key, Nearness::Known(took));
                self.events.push_back(Event::Near(nick, took));
            }
            None => self.near.set(now, &key, Nearness::Unasked),
        }
        self.ask_near(now);
    }

    /// Somebody's file was found: he is to be asked how near he is. `false` if that is known, or being found out.
    pub(super) fn meet(&mut self, now: Instant, nick: &Nick, addr: Option<SocketAddrV4>) -> bool {
        if self.near.nearness(now, nick) != Nearness::Unasked {
            return false;
        }
        self.near.set(now, &nick.key(), Nearness::Asked);
        self.near.waiting.push_back((nick.clone(), addr));
        self.ask_near(now);
        true
    }

    fn ask_near(&mut self, now: Instant) {
        while self.near.asked.len() < AT_ONCE {
            let Some((nick, addr)) = self.near.waiting.pop_front() else { return };
            self.near.asked.insert(nick.key(), now + PING_WAIT);
            self.near.set(now, &nick.key(), Nearness::Asked);
            match addr {
                Some(addr) => self.events.push_back(Event::Measure(nick, addr)),
                None => self.say(&ToServer::Ping(nick)),
            }
        }
    }

    /// 752
    pub(super) fn on_pong(&mut self, now: Instant, nick: Nick) {
        match self.near.asked.get(&nick.key()).copied() {
            Some(until) => {
                let took = now.since(until - PING_WAIT);
                self.handle_measured(now, nick, Some(took));
            }
            None => self.events.push_back(Event::Pong(nick)),
        }
    }

    pub(super) fn near_timeout(&self) -> Option<Instant> {
        self.near.asked.values().min().copied()
    }

    pub(super) fn expire_near(&mut self, now: Instant) {
        let asked = &self.near.asked;
        let late: Vec<String> =
            asked.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        for key in late {
            self.near.asked.remove(&key);
            self.near.set(now, &key, Nearness::Unasked);
        }
        self.ask_near(now);
    }
}
