//! What users share, search for and want to know.

use super::config::BROWSE_LOW_BYTES;
use super::index::Shared;
use super::user::Browse;
use super::{Directory, UserId};
use crate::clock::Instant;
use crate::proto::napster::{
    File, Media, Nick, PATH_MAX, Property, Query, Row, SPEED_MAX, SwarmRow, Text, ToClient,
    ToServer, Whois,
};
use std::cmp::Reverse;

/// Files that are looked at for every row that is sent: the best of them are.
const CHOICE: usize = 4;

impl Directory {
    pub(super) fn on_command(&mut self, now: Instant, id: UserId, said: ToServer) {
        match said {
            ToServer::Share(file) => self.share(id, [Shared::mp3(id, file)]),
            ToServer::ShareMany(folder, files) => {
                let joined = |file: File| {
                    let path = [folder.as_bytes(), b"\\", file.path.as_bytes()].concat();
                    Shared::mp3(id, File { path: Text::new(path), ..file })
                };
                self.share(id, files.into_iter().map(joined));
            }
            ToServer::ShareTyped(path, size, hash, media) => {
                self.share(id, [Shared::other(id, path, size.into(), hash, media)]);
            }
            ToServer::ShareSwarm(path, size, btih, hash) if self.config.swarm_extension => {
                let shared = Shared::other(id, path, size, hash, Media::Application);
                self.share(id, [Shared { btih: Some(btih), ..shared }]);
            }
            ToServer::Unshare(path) => {
                if !self.index.remove(id, &path) {
                    self.error(id, "Not sharing that file");
                }
            }
            ToServer::UnshareAll => {
                let count = self.index.remove_all(id) as u32;
                self.send(id, &ToClient::Unshared(count));
            }
            ToServer::Search(query) => self.search(now, id, &query, false),
            ToServer::SearchSwarm(query) if self.config.swarm_extension => {
                self.search(now, id, &query, true);
            }
            ToServer::Resume(hash, size) => {
                if self.may_search(now, id, true) {
                    let most = self.config.limits.rows;
                    let found = self.index.same(hash, size, most, |s| self.may_name(now, id, s));
                    let rows: Vec<ToClient> =
                        found.into_iter().filter_map(|shared| self.resume_row(shared)).collect();
                    rows.iter().for_each(|row| self.send(id, row));
                }
                self.send(id, &ToClient::ResumeEnd);
            }
            ToServer::Download(nick, path) => self.on_download(now, id, &nick, path, false),
            ToServer::AskPush(nick, path) => self.on_download(now, id, &nick, path, true),
            ToServer::Accept(nick, path) => self.on_accept(now, id, &nick, path),
            ToServer::Reject(nick, path) => self.on_reject(now, id, &nick, path, None),
            ToServer::QueueFull(nick, path, limit) => {
                self.on_reject(now, id, &nick, path, Some(limit));
            }
            ToServer::Unreachable(nick) => self.on_unreachable(now, id, &nick),
            ToServer::Transfer { upload, begins } => self.on_transfer(now, id, upload, begins),
            ToServer::AskBrowse(nick) => self.on_ask_browse(now, id, &nick),
            ToServer::AcceptBrowse(nick) => self.on_accept_browse(now, id, &nick),
            ToServer::Browse(nick, rows) => self.browse(id, nick, rows),
            about => self.on_question(now, id, about),
        }
    }

    /// What concerns users, and not files.
    fn on_question(&mut self, now: Instant, id: UserId, said: ToServer) {
        let Some(me) = self.user(id).map(|user| user.nick.clone()) else { return };
        let name = Text::new(&self.config.name);
        match said {
            ToServer::Stats => {
                let stats = self.stats();
                self.send(id, &stats);
            }
            ToServer::PingServer => self.send(id, &ToClient::ServerPong(name)),
            // There are no linked servers.
            ToServer::Links => self.send(id, &ToClient::Link(Text::default())),
            ToServer::Version(_) => self.send(id, &ToClient::Version),
            ToServer::Hello | ToServer::Details | ToServer::Email(_) => {}
            ToServer::Pong(nick) if nick.as_str() == self.config.name => {
                if let Some(user) = self.user_mut(id) {
                    user.health.pong(now);
                }
            }
            ToServer::Ping(nick) => match self.find(&nick) {
                Some((to, _)) => self.send(to, &ToClient::Ping(me)),
                None => self.error(id, &format!("ping failed, {nick} is not online")),
            },
            ToServer::Pong(nick) => {
                if let Some((to, _)) = self.find(&nick) {
                    self.send(to, &ToClient::Pong(me));
                }
            }
            ToServer::Message(nick, text) => match self.find(&nick) {
                Some((_, user)) if user.lists.ignores(&me) => {} // which is nobody's business
                Some((to, _)) => self.send(to, &ToClient::Message(me, text)),
                None => self.error(id, &format!("{nick} is not online")),
            },
            ToServer::Watch(nick) => self.watch(id, nick),
            ToServer::Unwatch(nick) => self.unwatch(id, &nick),
            ToServer::Ignore(_)
            | ToServer::Ignored
            | ToServer::Unignore(_)
            | ToServer::UnignoreAll => self.on_ignoring(id, said),
            ToServer::SpeedOf(nick) => match self.find(&nick).map(|(_, user)| user.speed) {
                Some(speed) => self.send(id, &ToClient::SpeedIs(nick, speed)),
                None => self.error(id, &format!("{nick} is not online")),
            },
            ToServer::Whois(nick) => self.whois(now, id, &nick),
            ToServer::Speed(speed) => match u8::try_from(speed) {
                Ok(speed @ 0..=SPEED_MAX) => {
                    if let Some(user) = self.user_mut(id) {
                        user.speed = speed;
                    }
                }
                _ => self.error(id, "Invalid link speed"),
            },
            ToServer::Password(password) => {
                // Only a name that has a password gets another one: others must be registered.
                if !self.accounts.contains_key(&me.key()) {
                    self.error(id, "that name is not registered");
                } else if let Err(why) = self.set_password(now, &me, &password) {
                    self.error(id, why);
                }
            }
            ToServer::DataPort(port) => {
                if let Some(user) = self.user_mut(id) {
                    user.port = port;
                }
                self.probe(id);
            }
            other => self.error(id, &format!("Unknown command code {}", other.frame().kind)),
        }
    }

    fn share(&mut self, id: UserId, files: impl IntoIterator<Item = Shared>) {
        let most = self.config.limits.files_per_user;
        for file in files {
            let path = file.path.as_bytes();
            let sound =
                (1..=PATH_MAX).contains(&path.len()) && !path.iter().any(u8::is_ascii_control);
            if !sound {
                return self.error(id, "invalid file name");
            }
            if self.index.count(id) >= most {
                return self.error(id, &format!("You may only share {most} files"));
            }
            if !self.index.add(file) {
                self.error(id, "duplicate file");
            }
        }
    }

    /// Counts a search; says so if it is one too many.
    fn may_search(&mut self, now: Instant, id: UserId, known: bool) -> bool {
        let limits = self.config.limits;
        let Some(me) = self.user_mut(id) else { return false };
        let (bucket, per_min) = if known {
            (&mut me.source_searches, limits.source_searches_per_min)
        } else {
            (&mut me.searches, limits.searches_per_min)
        };
        let granted = bucket.take(now, per_min, per_min.unwrap_or(0));
        if granted {
            self.searches += 1;
        } else {
            self.refused += 1;
            self.error(id, "search failed: Your client is thrashing, too many searches a minute");
        }
        granted
    }

    /// Whether somebody may be told that another one shares this.
    fn may_name(&self, now: Instant, to: UserId, shared: &Shared) -> bool {
        let (Some(me), Some(user)) = (self.user(to), self.user(shared.user)) else { return false };
        let reachable = !(user.firewalled() && me.firewalled());
        shared.user != to && reachable && !user.health.is_trimmed(now)
    }

    fn search(&mut self, now: Instant, id: UserId, query: &Query, swarm: bool) {
        if !self.may_search(now, id, query.finds_sources() || query.local) {
            return self.send(id, &ToClient::SearchEnd);
        }
        match self.rows(now, id, query, swarm) {
            Some(rows) => rows.iter().for_each(|row| self.send(id, row)),
            None => self.error(id, "search failed: request contained no valid words"),
        }
        self.send(id, &ToClient::SearchEnd);
    }

    /// The best rows for a search, the best first.
    fn rows(&self, now: Instant, id: UserId, query: &Query, swarm: bool) -> Option<Vec<ToClient>> {
        let me = self.user(id)?;
        let most = match query.max_results as usize {
            0 => self.config.limits.rows,
            wanted => wanted.min(self.config.limits.rows),
        };
        let may = |shared: &Shared| {
            let fast = |speed: u8| {
                let mut bounds = query.bounds.iter();
                bounds.all(|b| b.property != Property::LineSpeed || b.holds(speed.into()))
            };
            self.may_name(now, id, shared)
                && self.user(shared.user).is_some_and(|user| fast(user.speed))
                && (!swarm || shared.btih.is_some())
        };
        let found = self.index.search(query, CHOICE * most, may)?;
        let scored = found.into_iter().filter_map(|shared| {
            let user = self.user(shared.user)?;
            Some((user.score(now, me.ip), user, shared))
        });
        let mut scored: Vec<_> = scored.collect();
        // Of equals, the newest first.
        scored.sort_by_key(|(score, ..)| Reverse(*score));
        scored.truncate(most);
        let row = |(weight, user, shared): (i32, &super::User, &Shared)| {
            let (nick, ip, speed) = (user.nick.clone(), user.ip, user.speed);
            match shared.btih.filter(|_| swarm) {
                None => ToClient::Row(Row { file: shared.file(), nick, ip, speed, weight }),
                Some(btih) => ToClient::SwarmRow(SwarmRow {
                    path: shared.path.clone(),
                    size: shared.size,
                    btih,
                    seeds: self.index.with_torrent(btih),
                    // Nobody shares here what he does not have.
                    leeches: 0,
                    nick,
                    ip,
                    port: user.port,
                    speed,
                    weight,
                }),
            }
        };
        Some(scored.into_iter().map(row).collect())
    }

    fn resume_row(&self, shared: &Shared) -> Option<ToClient> {
        let user = self.user(shared.user)?;
        Some(ToClient::ResumeRow {
            nick: user.nick.clone(),
            ip: user.ip,
            port: user.port,
            path: shared.path.clone(),
            hash: shared.hash,
            size: shared.wire_size(),
            speed: user.speed,
        })
    }

    fn browse(&mut self, id: UserId, nick: Nick, rows: u32) {
        let Some((of, _)) = self.find(&nick) else {
            self.send(id, &ToClient::Offline(nick.clone()));
            return self.send(id, &ToClient::BrowseEnd(nick, None));
        };
        let Some(me) = self.user_mut(id) else { return };
        if me.browse.is_some() {
            self.error(id, "one list of files after another");
            return self.send(id, &ToClient::BrowseEnd(nick, None));
        }
        let left = if rows == 0 { u32::MAX } else { rows };
        me.browse = Some(Browse { of, nick, after: None, left });
        self.go_on_browsing(id);
    }

    /// Sends more of a list as long as its reader keeps up.
    pub(super) fn go_on_browsing(&mut self, id: UserId) {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if connection.out.len() + connection.unsent >= BROWSE_LOW_BYTES {
                return;
            }
            let Some(browse) = connection.user.as_mut().and_then(|user| user.browse.as_mut())
            else {
                return;
            };
            let file = self.index.of_user(browse.of, browse.after.as_ref()).next();
            match file.filter(|_| browse.left > 0) {
                Some(shared) => {
                    browse.left -= 1;
                    browse.after = Some(shared.path.clone());
                    let row = ToClient::BrowseRow(browse.nick.clone(), shared.file());
                    self.send(id, &row);
                }
                None => {
                    let (of, nick) = (browse.of, browse.nick.clone());
                    let ip = self.user(of).map(|user| user.ip);
                    if let Some(me) = self.user_mut(id) {
                        me.browse = None;
                    }
                    return self.send(id, &ToClient::BrowseEnd(nick, ip));
                }
            }
        }
    }

    fn whois(&mut self, now: Instant, id: UserId, nick: &Nick) {
        let answer = match self.find(nick) {
            Some((whom, user)) => ToClient::Whois(Whois {
                nick: user.nick.clone(),
                level: "User".into(),
                online_s: now.since(user.since).as_secs(),
                channels: Text::default(),
                status: "Active".into(),
                shared: self.index.count(whom) as u32,
                downloads: user.downloads,
                uploads: user.uploads,
                speed: user.speed,
                client: user.client.clone(),
            }),
            None => match self.accounts.get(&nick.key()) {
                Some((nick, account)) => {
                    ToClient::Whowas(nick.clone(), "User".into(), account.last_seen_s)
                }
                None => return self.error(id, &format!("{nick} is not online")),
            },
        };
        self.send(id, &answer);
    }
}
