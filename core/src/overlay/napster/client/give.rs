//! What we share, and who may fetch it now.

use super::{BROWSE_MAX, Client, Deals, Event, deal};
use crate::clock::Instant;
use crate::id::InfoHash;
use crate::proto::napster::{
    FRAME_OUT_MAX, File, FileHash, Nick, PATH_MAX, Text, ToServer, btih_path, list_lines, name_path,
};
use crate::share::{Catalogue, Item};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// How long somebody who was told to come may come.
pub(super) const DEAL_LIFE: Duration = Duration::from_secs(60);
/// How long somebody may come back for another part of a file, when he has no connection any more.
pub(super) const RETURN_LIFE: Duration = Duration::from_secs(10);
/// Connections on which one user may fetch parts of one file.
pub(super) const PARTS_MAX: u32 = 8;
/// Files that one user may be told to come for at a time: nobody has all our places for himself.
pub(super) const DEALS_EACH: u32 = 2;
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

/// A file of ours, and whether the server has heard of it.
struct Given {
    shareable: Shareable,
    said: bool,
}

#[derive(Default)]
pub(super) struct Gives {
    files: BTreeMap<Text, Given>,
    /// What is to be said. Some of it may have been said since, or be shared no longer.
    to_say: VecDeque<Text>,
    /// What was published last, and the paths and numbers of its files.
    catalogue: Arc<Catalogue>,
    paths: BTreeMap<u32, Text>,
    numbers: BTreeMap<Text, u32>,
    /// The list of all files as it is given out, once somebody has asked for it and until one of them changes.
    list: Option<Bytes>,
    /// Whom we told to come for what.
    deals: Deals<Fetch>,
}

/// What has come of a deal.
#[derive(Default)]
struct Fetch {
    /// Connections on which he fetches it.
    parts: u32,
    /// How often he was told to come, and has not come yet.
    owed: u32,
}

impl Shareable {
    /// A file of a torrent: `name` is all that others see of its place.
    pub fn of_torrent(btih: InfoHash, name: &str, size: u64, hash: FileHash) -> Self {
        Self::at(btih_path(btih, name), size, hash, Some(btih))
    }

    fn at(path: Text, size: u64, hash: FileHash, btih: Option<InfoHash>) -> Self {
        let wire = u32::try_from(size).unwrap_or(u32::MAX);
        let file = File { path, hash, size: wire, bitrate: 0, frequency: 0, seconds: 0 };
        Self { file, size, btih }
    }

    /// A file of a catalogue, under this name.
    fn of_item(item: &Item, name: &str) -> Self {
        let md5 = item.hashes.map(|hashes| HEXLOWER.encode(&hashes.md5));
        let btih = item.torrent.map(|(btih, _)| btih);
        // Without the classic hash, that of the torrent is the better hint.
        let hash = match (md5, btih) {
            (Some(md5), _) => FileHash::new(md5.as_bytes()),
            (None, Some(btih)) => FileHash::of_torrent(btih),
            (None, None) => FileHash::NONE,
        };
        let path = btih.map_or_else(|| name_path(name), |btih| btih_path(btih, name));
        Self::at(path, item.size(), hash, btih)
    }
}

impl Gives {
    /// The server knows nothing of us: everything is to be said again.
    pub(super) fn begin_anew(&mut self) {
        self.to_say = self.files.keys().cloned().collect();
        self.files.values_mut().for_each(|given| given.said = false);
    }

    /// The server takes no more files.
    pub(super) fn say_no_more(&mut self) {
        self.to_say.clear();
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
        self.gives.files.insert(path, Given { shareable, said: false });
        self.gives.list = None;
        true
    }

    /// No longer shares a file.
    pub fn unshare(&mut self, path: &Text) {
        let Some(given) = self.gives.files.remove(path) else { return };
        self.gives.list = None;
        if given.said {
            self.say_inside(&ToServer::Unshare(path.clone()));
        }
    }

    /// Shares what is in a catalogue, and no longer what was in the one before and is not in this. Of two files with one
    /// name, the later one has its number before the name: a path names one file.
    pub fn publish(&mut self, catalogue: &Arc<Catalogue>) {
        let before = std::mem::replace(&mut self.gives.catalogue, Arc::clone(catalogue));
        for (number, _) in before.beyond(catalogue) {
            if let Some(path) = self.gives.paths.remove(&number) {
                self.gives.numbers.remove(&path);
                self.unshare(&path);
            }
        }
        for (number, item) in catalogue.beyond(&before) {
            for name in [&item.name, &format!("{number} {}", item.name)] {
                let shareable = Shareable::of_item(item, name);
                let path = shareable.file.path.clone();
                if self.share(shareable) {
                    self.gives.paths.insert(number, path.clone());
                    self.gives.numbers.insert(path, number);
                    break;
                }
            }
        }
    }

    /// The file of the catalogue that is shared under this path.
    pub fn published(&self, path: &Text) -> Option<&Arc<Item>> {
        self.gives.catalogue.get(*self.gives.numbers.get(path)?)
    }

    /// Files that we share.
    pub fn shared(&self) -> usize {
        self.gives.files.len()
    }

    /// The bytes of our list of files, for who asks us directly; empty if nobody may see it. It has no more rows than we
    /// would read ourselves: anybody may ask for it, and it is all in memory. However often somebody asks, it is made once
    /// for each change.
    pub fn list(&mut self) -> Bytes {
        let Gives { files, list, .. } = &mut self.gives;
        let lines = list.get_or_insert_with(|| {
            let rows = if self.config.browsable { BROWSE_MAX as usize } else { 0 };
            let files = files.values().take(rows).map(|given| &given.shareable.file);
            list_lines(&self.config.nick, files).into()
        });
        lines.clone()
    }

    /// Says some of the shares that the server has not heard of. The others wait until these were taken.
    pub(super) fn share_some(&mut self) {
        while self.is_in() && self.out.len() < SHARE_BYTES {
            let Some(path) = self.gives.to_say.pop_front() else { return };
            let Some(given) = self.gives.files.get_mut(&path).filter(|given| !given.said) else {
                continue;
            };
            given.said = true;
            let Shareable { file, size, btih } = &given.shareable;
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
        let deals = &mut self.gives.deals;
        deals.retain(|_, (until, fetch)| now < *until || fetch.parts > 0);
        let key = deal(&nick, &path);
        if !deals.contains_key(&key) {
            let his = deals.keys().filter(|(name, _)| *name == key.0).count() as u32;
            let limit = if his >= DEALS_EACH { DEALS_EACH } else { self.config.places };
            if his >= DEALS_EACH || deals.len() as u32 >= self.config.places {
                return self.say(&ToServer::QueueFull(nick, path, limit));
            }
        }
        let (until, fetch) = deals.entry(key).or_insert((now + DEAL_LIFE, Fetch::default()));
        // Who asks again and again, and never comes, does not keep a place by that.
        if fetch.parts > 0 || fetch.owed == 0 {
            *until = now + DEAL_LIFE;
        }
        fetch.owed = fetch.owed.saturating_add(1);
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

    /// Whether this user may fetch this file, or a part of it, on one more connection now: we told him to come, less than a
    /// minute ago, and he has not come yet, or he has been fetching it until now.
    pub fn may_get(&self, now: Instant, nick: &Nick, path: &Text) -> Option<&Shareable> {
        let (until, fetch) = self.gives.deals.get(&deal(nick, path))?;
        let may = (now < *until || fetch.parts > 0) && fetch.parts < PARTS_MAX;
        self.gives.files.get(path).filter(|_| may).map(|given| &given.shareable)
    }

    /// An upload has begun. The server counts them.
    pub fn upload_began(&mut self, nick: &Nick, path: &Text) {
        if let Some((_, fetch)) = self.gives.deals.get_mut(&deal(nick, path)) {
            fetch.parts += 1;
            fetch.owed = fetch.owed.saturating_sub(1);
        }
        self.say_inside(&ToServer::Transfer { upload: true, begins: true });
    }

    /// An upload has ended, whether well or not.
    pub fn upload_ended(&mut self, now: Instant, nick: &Nick, path: &Text) {
        if let Some((until, fetch)) = self.gives.deals.get_mut(&deal(nick, path)) {
            fetch.parts = fetch.parts.saturating_sub(1);
            // Who has fetched all that he was told to come for makes room for his next file.
            let over = fetch.parts == 0 && fetch.owed == 0;
            let back = now + RETURN_LIFE;
            *until = if over { back } else { back.max(*until) };
        }
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
