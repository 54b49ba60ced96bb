//! What we share, and who may fetch it now.

use super::{Client, Deals, Event, deal};
use crate::clock::Instant;
use crate::id::InfoHash;
use crate::proto::napster::{
    FRAME_OUT_MAX, File, FileHash, Nick, PATH_MAX, Text, ToServer, btih_path, list_lines,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// How long somebody who was told to come may come.
pub(super) const DEAL_LIFE: Duration = Duration::from_secs(60);
/// Bytes of shares that are said at once.
const SHARE_BYTES: usize = 16 << 10;

/// A file to share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shareable {
    /// As others see it. A torrent's file gets a path of its own, from its name.
    pub file: File,
    /// Its true size.
    pub size: u64,
    /// Its torrent.
    pub btih: Option<InfoHash>,
}

#[derive(Default)]
pub(super) struct Gives {
    files: BTreeMap<Text, Shareable>,
    to_say: VecDeque<Text>,
    /// Whom we told to come for what, and whether he is there.
    deals: Deals<bool>,
    running: u32,
}

impl Shareable {
    /// A file of a torrent: `name` is all that others see of its place.
    pub fn of_torrent(btih: InfoHash, name: &str, size: u64, hash: FileHash) -> Self {
        let (path, wire) = (btih_path(btih, name), u32::try_from(size).unwrap_or(u32::MAX));
        let file = File { path, hash, size: wire, bitrate: 0, frequency: 0, seconds: 0 };
        Self { file, size, btih: Some(btih) }
    }
}

impl Client {
    /// Shares a file, now and whenever we log in; `false` if its path is too long, or there already.
    pub fn share(&mut self, shareable: Shareable) -> bool {
        let path = shareable.file.path.clone();
        let len = path.as_bytes().len();
        if len == 0 || len > PATH_MAX || self.gives.files.contains_key(&path) {
            return false;
        }
        self.gives.to_say.push_back(path.clone());
        self.gives.files.insert(path, shareable);
        true
    }

    /// No longer shares a file.
    pub fn unshare(&mut self, path: &Text) {
        let unsaid = self.gives.to_say.iter().position(|other| other == path);
        if let Some(at) = unsaid {
            self.gives.to_say.remove(at);
        } else if self.gives.files.contains_key(path) {
            self.say_inside(&ToServer::Unshare(path.clone()));
        }
        self.gives.files.remove(path);
    }

    /// The bytes of our list of files, for who asks us directly; empty if nobody may see it.
    pub fn list(&self) -> Vec<u8> {
        let browsable = self.config.browsable;
        let files = self.gives.files.values().filter(|_| browsable).map(|shared| &shared.file);
        list_lines(&self.config.nick, files)
    }

    /// Says some of the shares that the server has not heard of. The others wait until these were taken.
    pub(super) fn share_some(&mut self) {
        while self.is_in() && self.out.len() < SHARE_BYTES {
            let Some(path) = self.gives.to_say.pop_front() else { return };
            let Some(Shareable { file, size, btih }) = self.gives.files.get(&path) else {
                continue;
            };
            let word = match btih.filter(|_| self.swarm_extension) {
                Some(btih) => ToServer::ShareSwarm(path, *size, btih, file.hash),
                None => ToServer::Share(file.clone()),
            };
            debug_assert!(word.frame().data.len() <= FRAME_OUT_MAX);
            self.say(&word);
        }
    }

    /// 607
    pub(super) fn on_upload_asked(&mut self, now: Instant, nick: Nick, path: Text) {
        if !self.gives.files.contains_key(&path) {
            return self.say(&ToServer::Reject(nick, path));
        }
        self.gives.deals.retain(|_, (until, _)| now < *until);
        let expected = self.gives.deals.values().filter(|(_, there)| !there).count() as u32;
        let known = self.gives.deals.contains_key(&deal(&nick, &path));
        if !known && self.gives.running + expected >= self.config.places {
            return self.say(&ToServer::QueueFull(nick, path, self.config.places));
        }
        let there = self.gives.deals.get(&deal(&nick, &path)).is_some_and(|(_, there)| *there);
        self.gives.deals.insert(deal(&nick, &path), (now + DEAL_LIFE, there));
        self.say(&ToServer::Accept(nick, path));
    }

    /// 501
    pub(super) fn on_push_to(
        &mut self,
        now: Instant,
        nick: Nick,
        addr: Option<SocketAddrV4>,
        path: Text,
    ) {
        // Only to whom we agreed to give it: a server must not aim us at anybody.
        if let Some(addr) = addr.filter(|_| self.may_get(now, &nick, &path).is_some()) {
            self.events.push_back(Event::GiveTo { nick, addr, path });
        }
    }

    /// Whether this user may fetch this file now: we told him to come, less than a minute ago.
    pub fn may_get(&self, now: Instant, nick: &Nick, path: &Text) -> Option<&Shareable> {
        let (until, _) = self.gives.deals.get(&deal(nick, path))?;
        self.gives.files.get(path).filter(|_| now < *until)
    }

    /// An upload has begun. The server counts them.
    pub fn upload_began(&mut self, nick: &Nick, path: &Text) {
        if let Some((_, there)) = self.gives.deals.get_mut(&deal(nick, path)) {
            *there = true;
        }
        self.gives.running += 1;
        self.say_inside(&ToServer::Transfer { upload: true, begins: true });
    }

    /// An upload has ended, whether well or not.
    pub fn upload_ended(&mut self) {
        self.gives.running = self.gives.running.saturating_sub(1);
        self.say_inside(&ToServer::Transfer { upload: true, begins: false });
    }

    /// 640
    pub(super) fn on_browse_asked(&mut self, nick: Nick, addr: Option<(Ipv4Addr, u16)>) {
        if !self.config.browsable {
            return;
        }
        match addr {
            None => self.say(&ToServer::AcceptBrowse(nick)),
            Some((ip, port)) => {
                self.say(&ToServer::AcceptBrowse(nick.clone()));
                let addr = self.believable(ip, port);
                self.events.extend(addr.map(|addr| Event::ListTo(nick, addr)));
            }
        }
    }
}
