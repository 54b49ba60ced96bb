//! Who may come in, and under which name.

use super::user::User;
use super::{Directory, Event, UserId};
use crate::clock::Instant;
use crate::hash::sha256;
use crate::proto::napster::{
    CLIENT_INFO_MAX, Login, NICK_MAX, NapsterError, Nick, SPEED_MAX, SWARM_EXTENSION, Text,
    ToClient, ToServer,
};
use std::net::SocketAddrV4;

/// Names that users would take for the server.
const RESERVED: [&str; 4] = ["operserv", "chanserv", "nickserv", "operator"];

/// What is kept of a name that has a password. The password itself is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    /// Random, so that equal passwords do not look alike.
    pub salt: [u8; 8],
    /// SHA-256 of the salt and the password.
    pub hash: [u8; 32],
    /// When its user was last here, in seconds since 1970.
    pub last_seen_s: u64,
}

impl Account {
    fn is(&self, password: &Text) -> bool {
        sha256([&self.salt[..], password.as_bytes()]) == self.hash
    }
}

/// Whether it looks like what our clients send instead of a password.
fn is_hashed(password: &Text) -> bool {
    let raw = password.as_bytes();
    raw.len() == 32 && raw.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Directory {
    pub(super) fn on_greeting(
        &mut self,
        now: Instant,
        id: UserId,
        said: Result<ToServer, NapsterError>,
    ) {
        match said {
            Ok(ToServer::CheckNick(nick)) => {
                let answer = match self.admissible(&nick) {
                    None => ToClient::NickIllegal("Invalid nick".into()),
                    Some(nick) if self.is_taken(&nick) => ToClient::NickTaken,
                    Some(_) => ToClient::NickFree,
                };
                self.send(id, &answer);
            }
            Ok(ToServer::CheckPassword(nick, password)) => {
                if self.account(&nick).is_some_and(|account| account.is(&password)) {
                    self.send(id, &ToClient::PasswordOk);
                } else {
                    self.refuse(now, id, "Invalid Password");
                }
            }
            // Some clients wait for the answer for ever.
            Ok(ToServer::Version(_)) => self.send(id, &ToClient::Version),
            Ok(ToServer::Hello | ToServer::Details) => {}
            Ok(ToServer::Login(login)) => self.log_in(now, id, &login, false),
            Ok(ToServer::Register(login)) => self.log_in(now, id, &login, true),
            Ok(_) | Err(_) => self.refuse(now, id, "invalid command"),
        }
    }

    fn refuse(&mut self, now: Instant, id: UserId, why: &str) {
        self.close(now, id, Some(ToClient::LoginFailed(why.into())));
    }

    /// The name, if users may have it.
    fn admissible(&self, nick: &Text) -> Option<Nick> {
        let nick = Nick::new(nick.as_bytes())?;
        let key = nick.key();
        let reserved =
            RESERVED.contains(&key.as_str()) || key == self.config.name.to_ascii_lowercase();
        (key.len() <= NICK_MAX && !reserved).then_some(nick)
    }

    fn is_taken(&self, nick: &Nick) -> bool {
        let key = nick.key();
        self.nicks.contains_key(&key) || self.accounts.contains_key(&key)
    }

    fn account(&self, nick: &Text) -> Option<&Account> {
        let nick = Nick::new(nick.as_bytes())?;
        self.accounts.get(&nick.key()).map(|(_, account)| account)
    }

    fn log_in(&mut self, now: Instant, id: UserId, login: &Login, register: bool) {
        let Some(nick) = self.admissible(&login.nick) else {
            let why = format!("Invalid nick: {}", login.nick);
            return self.close(now, id, Some(ToClient::NickIllegal(Text::new(why))));
        };
        let Ok(speed @ 0..=SPEED_MAX) = u8::try_from(login.speed) else {
            return self.refuse(now, id, "Invalid link speed");
        };
        let account = self.account(&login.nick);
        if account.is_some_and(|account| register || !account.is(&login.password)) {
            return self.refuse(now, id, "Invalid Password");
        }
        let owner = account.is_some();
        if let Some(&ghost) = self.nicks.get(&nick.key()) {
            if !owner {
                return self.refuse(now, id, &format!("{nick} is already active"));
            }
            self.close(now, ghost, Some(ToClient::Ghost));
        }
        if register && let Err(why) = self.set_password(now, &nick, &login.password) {
            return self.refuse(now, id, why);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let client = login.client.as_bytes();
        let client = Text::new(&client[..client.len().min(CLIENT_INFO_MAX)]);
        let user = User::new(nick.clone(), (connection.ip, login.port), client, speed, now);
        connection.user = Some(Box::new(user));
        self.nicks.insert(nick.key(), id);
        self.greet(id);
        self.tell_of_arrival(id);
        self.probe(id);
        // The first question tells how far he is.
        self.ask(now, id);
    }

    fn greet(&mut self, id: UserId) {
        let name = &self.config.name;
        let mut lines = vec![
            concat!("VERSION gaggle ", env!("CARGO_PKG_VERSION")).to_owned(),
            format!("SERVER {name}"),
        ];
        if self.config.swarm_extension {
            lines.push(SWARM_EXTENSION.to_owned());
        }
        lines.extend(self.config.motd.iter().cloned());
        lines.truncate(super::MOTD_MAX);
        let welcome = ToClient::LoggedIn(Text::new(format!("anon@{name}")));
        self.send(id, &welcome);
        for line in lines {
            self.send(id, &ToClient::Motd(Text::new(line)));
        }
        let stats = self.stats();
        self.send(id, &stats);
    }

    /// Has the user's port tried, if he has one.
    pub(super) fn probe(&mut self, id: UserId) {
        let Some(user) = self.user(id).filter(|user| !user.firewalled()) else { return };
        let addr = SocketAddrV4::new(user.ip, user.port);
        self.events.push_back(Event::Probe(id, addr));
    }

    /// What the user is told if it cannot be.
    pub(super) fn set_password(
        &mut self,
        now: Instant,
        nick: &Nick,
        password: &Text,
    ) -> Result<(), &'static str> {
        if !self.config.legacy && !is_hashed(password) {
            return Err("this server takes no passwords that others can read on the way");
        }
        let full = self.accounts.len() >= self.config.limits.accounts;
        if full && !self.accounts.contains_key(&nick.key()) {
            return Err("no more names can be registered");
        }
        let mut salt = [0; 8];
        self.rng.fill(&mut salt);
        let hash = sha256([&salt[..], password.as_bytes()]);
        let account = Account { salt, hash, last_seen_s: self.unix_s(now) };
        self.accounts.insert(nick.key(), (nick.clone(), account));
        self.events.push_back(Event::Account(nick.clone(), account));
        Ok(())
    }

    /// Somebody leaves.
    pub(super) fn seen(&mut self, now: Instant, nick: &Nick) {
        let last_seen_s = self.unix_s(now);
        if let Some((nick, account)) = self.accounts.get_mut(&nick.key()) {
            account.last_seen_s = last_seen_s;
            self.events.push_back(Event::Account(nick.clone(), *account));
        }
    }

    fn unix_s(&self, now: Instant) -> u64 {
        self.config.origin_unix_s + now.as_micros() / 1_000_000
    }
}
