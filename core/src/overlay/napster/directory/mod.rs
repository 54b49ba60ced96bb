//! The server: who is here, what they share, and where to go for it.
//!
//! Call one `handle_*`, then drain [`Directory::poll_transmit`] and [`Directory::poll_event`] in that order, and call
//! [`Directory::handle_timeout`] at [`Directory::poll_timeout`]. Tell it with [`Directory::handle_sent`] what was
//! written: who does not read is disconnected before his backlog grows large.
//!
//! It keeps nothing but the directory: no file passes it, no word of a search is remembered, and addresses of users
//! reach only who asks for one of their files. It believes nobody about somebody else's port before he was sent there.

mod config;
mod index;
mod lists;
mod login;
mod serve;
mod signal;
#[cfg(test)]
mod tests;
mod user;

use config::MOTD_MAX;
pub use config::{Config, Limits};
pub use login::Account;

use super::bucket::Bucket;
use crate::clock::Instant;
use crate::proto::napster::{
    FRAME_MAX, Frame, FrameDecoder, NapsterError, Nick, Text, ToClient, ToServer,
};
use crate::rng::Rng;
use config::{BUSY_BYTES, GREETING_MAX, STATS_EVERY};
use index::Index;
use lists::Watchers;
use signal::Requests;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use user::{MISSED_MAX, PONG_WAIT, User};

/// One connection, and who has logged in on it. Never used again for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserId(pub u64);

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unwelcome {
    /// There are as many as there may be.
    #[error("this server is full ({0} connections)")]
    Full(usize),
    /// The protocol has no words for IPv6.
    #[error("only addresses of IPv4 can be told to others")]
    Family,
    /// There are as many of this address as there may be.
    #[error("{0} connections of this address are the most")]
    Clones(usize),
}

impl Unwelcome {
    /// What he is told before his connection is closed.
    pub fn word(&self) -> ToClient {
        ToClient::LoginFailed(match self {
            Self::Full(most) => Text::new(format!("This server is full ({most} connections)")),
            Self::Family => "this server knows addresses of IPv4 only".into(),
            Self::Clones(_) => "Exceeded maximum connections".into(),
        })
    }
}

/// What the owner of a directory must do or keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A password was set, or somebody who has one has left: to be kept for the next start.
    Account(Nick, Account),
    /// Close this connection. What was to be sent on it has been given out.
    Close(UserId),
    /// Find out whether this port answers, and say so with [`Directory::handle_probed`]. It is the user's own address.
    Probe(UserId, SocketAddrV4),
}

/// How much there is, and how much was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Users who are here.
    pub users: usize,
    /// Files they share.
    pub files: usize,
    /// Of all files together.
    pub bytes: u64,
    /// Searches that were answered.
    pub searches: u64,
    /// Searches that were refused for their number.
    pub refused: u64,
}

struct Connection {
    ip: Ipv4Addr,
    decoder: FrameDecoder,
    /// Bytes to give out.
    out: Vec<u8>,
    /// Bytes given out, but not written yet.
    unsent: usize,
    /// Whether it stands in `ready`.
    queued: bool,
    /// Whether it does not read, and goes when the present call ends.
    stuck: bool,
    heard: Instant,
    /// Its place in `deadlines`.
    wake: Instant,
    commands: Bucket,
    /// Commands before the login.
    greetings: u32,
    user: Option<Box<User>>,
}

impl Connection {
    fn is_busy(&self) -> bool {
        self.out.len() + self.unsent >= BUSY_BYTES
    }
}

/// The server of one Napster network.
pub struct Directory {
    config: Config,
    rng: Rng,
    connections: BTreeMap<UserId, Connection>,
    per_address: BTreeMap<Ipv4Addr, usize>,
    next: u64,
    nicks: BTreeMap<String, UserId>,
    watchers: Watchers,
    accounts: BTreeMap<String, (Nick, Account)>,
    index: Index,
    requests: Requests,
    deadlines: BTreeSet<(Instant, UserId)>,
    stats_at: Instant,
    ready: VecDeque<UserId>,
    last_words: VecDeque<(UserId, Vec<u8>)>,
    stuck: Vec<UserId>,
    events: VecDeque<Event>,
    searches: u64,
    refused: u64,
}

impl Directory {
    /// A directory without users, with the passwords of those who have one.
    pub fn new(
        now: Instant,
        config: Config,
        accounts: impl IntoIterator<Item = (Nick, Account)>,
        rng: Rng,
    ) -> Self {
        let accounts = accounts.into_iter().map(|(nick, account)| (nick.key(), (nick, account)));
        Self {
            config,
            rng,
            connections: BTreeMap::new(),
            per_address: BTreeMap::new(),
            next: 0,
            nicks: BTreeMap::new(),
            watchers: Watchers::new(),
            accounts: accounts.collect(),
            index: Index::default(),
            requests: Requests::default(),
            deadlines: BTreeSet::new(),
            stats_at: now + STATS_EVERY,
            ready: VecDeque::new(),
            last_words: VecDeque::new(),
            stuck: Vec::new(),
            events: VecDeque::new(),
            searches: 0,
            refused: 0,
        }
    }

    /// How much there is, and how much was done.
    pub fn counters(&self) -> Counters {
        Counters {
            users: self.nicks.len(),
            files: self.index.len(),
            bytes: self.index.bytes(),
            searches: self.searches,
            refused: self.refused,
        }
    }

    /// Somebody has connected.
    ///
    /// # Errors
    /// Why he must be sent away; nothing is remembered of him then.
    pub fn handle_connect(&mut self, now: Instant, from: IpAddr) -> Result<UserId, Unwelcome> {
        let IpAddr::V4(ip) = from.to_canonical() else { return Err(Unwelcome::Family) };
        let limits = &self.config.limits;
        if self.connections.len() >= limits.connections {
            return Err(Unwelcome::Full(limits.connections));
        }
        let counted = limits.loopback_too || !ip.is_loopback();
        let clones = self.per_address.get(&ip).copied().unwrap_or(0);
        if let Some(most) = limits.per_address.filter(|most| counted && clones >= *most) {
            return Err(Unwelcome::Clones(most));
        }
        let id = UserId(self.next);
        self.next += 1;
        *self.per_address.entry(ip).or_default() += 1;
        let deadline = now + limits.login;
        let connection = Connection {
            ip,
            decoder: FrameDecoder::new(FRAME_MAX),
            out: Vec::new(),
            unsent: 0,
            queued: false,
            stuck: false,
            heard: now,
            wake: Instant::FAR_FUTURE,
            commands: Bucket::default(),
            greetings: 0,
            user: None,
        };
        self.connections.insert(id, connection);
        self.wake(id, deadline);
        Ok(id)
    }

    /// Bytes have come on a connection. While it [`Self::is_busy`], no more should be read.
    pub fn handle_bytes(&mut self, now: Instant, id: UserId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.decoder.push(bytes);
        self.read_on(now, id);
        self.reap(now);
    }

    /// Whether commands of a connection wait until it has taken the answers to those before.
    pub fn is_busy(&self, id: UserId) -> bool {
        self.connections.get(&id).is_some_and(Connection::is_busy)
    }

    fn read_on(&mut self, now: Instant, id: UserId) {
        // It may be gone after any of its frames.
        while let Some(connection) = self.connections.get_mut(&id) {
            if connection.is_busy() {
                break;
            }
            match connection.decoder.next_frame() {
                Ok(Some(frame)) => self.on_frame(now, id, &frame),
                Ok(None) => break,
                // Who sends so much does not read either.
                Err(_) => self.drop_connection(now, id),
            }
        }
    }

    /// A connection has ended by itself.
    pub fn handle_closed(&mut self, now: Instant, id: UserId) {
        self.forget(now, id);
        self.reap(now);
    }

    /// So many of the bytes that were given out are written.
    pub fn handle_sent(&mut self, now: Instant, id: UserId, bytes: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unsent = connection.unsent.saturating_sub(bytes);
            self.go_on_browsing(id);
            self.read_on(now, id);
        }
        self.reap(now);
    }

    /// Whether a user's port answers.
    pub fn handle_probed(&mut self, now: Instant, id: UserId, answers: bool) {
        let Some(user) = self.user_mut(id) else { return };
        // No user has an empty name.
        if answers { user.health.worked() } else { user.health.failed(now, String::new()) }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        let stats = (!self.nicks.is_empty()).then_some(self.stats_at);
        first.into_iter().chain(stats).min()
    }

    /// Disconnects who does not answer, asks who is silent, tells everybody how many there are.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            self.on_deadline(now, id);
        }
        self.expire_requests(now);
        if self.stats_at <= now {
            self.stats_at = now + STATS_EVERY;
            let stats = self.stats();
            let users: Vec<UserId> = self.nicks.values().copied().collect();
            users.into_iter().for_each(|id| self.send(id, &stats));
        }
        self.reap(now);
    }

    /// The next bytes for somebody.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<(UserId, Vec<u8>)> {
        if let Some(words) = self.last_words.pop_front() {
            return Some(words);
        }
        loop {
            let id = self.ready.pop_front()?;
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.queued = false;
            connection.unsent += connection.out.len();
            return Some((id, std::mem::take(&mut connection.out)));
        }
    }

    /// The next thing to do or to keep.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn on_deadline(&mut self, now: Instant, id: UserId) {
        let (idle, Some(connection)) = (self.config.limits.idle, self.connections.get_mut(&id))
        else {
            return;
        };
        let heard = connection.heard;
        let Some(user) = &mut connection.user else {
            return self.close(now, id, Some(ToClient::LoginFailed("no login".into())));
        };
        let health = &mut user.health;
        let next = match health.asked.filter(|asked| heard <= *asked) {
            Some(asked) if now < asked + PONG_WAIT => asked + PONG_WAIT,
            Some(_) if health.missed + 1 >= MISSED_MAX => {
                return self.close(now, id, Some(ToClient::Disconnecting));
            }
            Some(_) => {
                health.missed += 1;
                return self.ask(now, id);
            }
            None if now < heard + idle => heard + idle,
            None => return self.ask(now, id),
        };
        self.wake(id, next);
    }

    fn wake(&mut self, id: UserId, at: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.deadlines.remove(&(connection.wake, id));
        connection.wake = at;
        self.deadlines.insert((at, id));
    }

    /// Asks a user whether he is there.
    fn ask(&mut self, now: Instant, id: UserId) {
        let Some(user) = self.user_mut(id) else { return };
        user.health.asked = Some(now);
        self.wake(id, now + PONG_WAIT);
        if let Some(me) = Nick::new(self.config.name.as_bytes()) {
            self.send(id, &ToClient::Ping(me));
        }
    }

    fn on_frame(&mut self, now: Instant, id: UserId, frame: &Frame) {
        let said = ToServer::parse(frame);
        let limits = self.config.limits;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.heard = now;
        let Some(user) = &mut connection.user else {
            connection.greetings += 1;
            if connection.greetings > GREETING_MAX {
                return self.close(now, id, Some(ToClient::LoginFailed("no login".into())));
            }
            return self.on_greeting(now, id, said);
        };
        user.health.heard();
        let share = matches!(frame.kind, 100 | 102 | 207 | 208 | 870 | 10_300 | 21_335);
        let per_min = limits.commands_per_s.map(|per_s| per_s.saturating_mul(60));
        let burst = limits.commands_per_s.unwrap_or(0).saturating_mul(10);
        if !share && !connection.commands.take(now, per_min, burst) {
            return self.close(now, id, Some(ToClient::Error("too many commands".into())));
        }
        match said {
            Ok(said) => self.on_command(now, id, said),
            Err(error) => {
                let ends = matches!(error, NapsterError::Clause);
                self.error(id, &error.to_string());
                if ends {
                    self.send(id, &ToClient::SearchEnd);
                }
            }
        }
    }

    fn stats(&self) -> ToClient {
        let files = self.index.len() as u64;
        ToClient::Stats(self.nicks.len() as u64, files, self.index.bytes() >> 30)
    }

    fn user(&self, id: UserId) -> Option<&User> {
        self.connections.get(&id)?.user.as_deref()
    }

    fn user_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.connections.get_mut(&id)?.user.as_deref_mut()
    }

    fn find(&self, nick: &Nick) -> Option<(UserId, &User)> {
        let id = *self.nicks.get(&nick.key())?;
        Some((id, self.user(id)?))
    }

    fn error(&mut self, id: UserId, text: &str) {
        self.send(id, &ToClient::Error(text.into()));
    }

    fn send(&mut self, id: UserId, message: &ToClient) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.stuck {
            return;
        }
        message.frame().encode_into(&mut connection.out);
        if connection.out.len() + connection.unsent > self.config.limits.unsent_bytes {
            connection.stuck = true;
            self.stuck.push(id);
        }
        if !connection.queued {
            connection.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Says a last word, and closes.
    fn close(&mut self, now: Instant, id: UserId, word: Option<ToClient>) {
        if let Some(word) = word {
            self.send(id, &word);
        }
        let words =
            self.connections.get_mut(&id).map(|connection| std::mem::take(&mut connection.out));
        self.last_words.extend(words.filter(|words| !words.is_empty()).map(|words| (id, words)));
        self.drop_connection(now, id);
    }

    /// Lets go of those who do not read.
    fn reap(&mut self, now: Instant) {
        while let Some(id) = self.stuck.pop() {
            self.drop_connection(now, id);
        }
    }

    fn drop_connection(&mut self, now: Instant, id: UserId) {
        if self.connections.contains_key(&id) {
            self.forget(now, id);
            self.events.push_back(Event::Close(id));
        }
    }

    fn forget(&mut self, now: Instant, id: UserId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.deadlines.remove(&(connection.wake, id));
        if let Some(count) = self.per_address.get_mut(&connection.ip) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&connection.ip);
            }
        }
        if let Some(user) = connection.user {
            self.nicks.remove(&user.nick.key());
            self.index.remove_all(id);
            self.seen(now, &user.nick);
            self.tell_of_leaving(id, &user);
        }
    }
}
