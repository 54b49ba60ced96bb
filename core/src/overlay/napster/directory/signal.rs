//! Downloads and direct lists: one user asks, the other agrees, and only then is one told where the other is.

use super::config::{ANSWER_WAIT, COUNTED_PER_MIN, WAITING_MAX};
use super::{Directory, UserId};
use crate::clock::Instant;
use crate::proto::napster::{FileHash, Nick, Text, ToClient};
use std::collections::{BTreeMap, VecDeque};

/// What was asked for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Wanted {
    /// The list of files.
    Browse,
    /// A file.
    Download(Text),
    /// A file of somebody who must connect himself.
    Push(Text),
}

/// Who is asked, who asks, for what.
type Request = (UserId, UserId, Wanted);

/// Requests that wait for an answer.
#[derive(Default)]
pub(super) struct Requests {
    open: BTreeMap<Request, Instant>,
    /// In the order in which they end; those that were answered are still there.
    ends: VecDeque<(Instant, Request)>,
}

impl Requests {
    fn add(&mut self, now: Instant, request: Request) -> bool {
        let end = now + ANSWER_WAIT;
        self.ends.push_back((end, request.clone()));
        self.open.insert(request, end).is_none()
    }

    fn take(&mut self, now: Instant, request: &Request) -> bool {
        self.open.remove(request).is_some_and(|end| now < end)
    }

    /// One that has ended, and was not answered or asked again.
    fn expired(&mut self, now: Instant) -> Option<Request> {
        loop {
            self.ends.front().filter(|(end, _)| *end <= now)?;
            let (end, request) = self.ends.pop_front()?;
            if self.open.get(&request) == Some(&end) {
                self.open.remove(&request);
                return Some(request);
            }
        }
    }
}

impl Directory {
    pub(super) fn expire_requests(&mut self, now: Instant) {
        while let Some((asked, asker, wanted)) = self.requests.expired(now) {
            self.answered(asker);
            // An answer to somebody who has left is not seen here: that he did not get it is nobody's fault.
            if wanted != Wanted::Browse
                && self.user(asker).is_some()
                && let Some(user) = self.user_mut(asked)
            {
                user.health.let_wait(now);
            }
        }
    }

    /// One request of this user has come to its end.
    fn answered(&mut self, asker: UserId) {
        if let Some(user) = self.user_mut(asker) {
            user.waiting = user.waiting.saturating_sub(1);
        }
    }

    /// Remembers a request; `false` if its user has too many.
    fn wait_for(&mut self, now: Instant, asked: UserId, asker: UserId, wanted: Wanted) -> bool {
        self.expire_requests(now);
        if self.user(asker).is_none_or(|user| user.waiting >= WAITING_MAX) {
            self.error(asker, &format!("{WAITING_MAX} requests wait for an answer already"));
            return false;
        }
        if self.requests.add(now, (asked, asker, wanted))
            && let Some(user) = self.user_mut(asker)
        {
            user.waiting += 1;
        }
        true
    }

    /// Whether `asker` has asked for that a short while ago; then it is answered.
    fn was_asked(&mut self, now: Instant, asked: UserId, asker: UserId, wanted: Wanted) -> bool {
        let was = self.requests.take(now, &(asked, asker, wanted));
        if was {
            self.answered(asker);
            if let Some(user) = self.user_mut(asked) {
                user.health.answered();
            }
        }
        was
    }

    /// 203 and 500.
    pub(super) fn on_download(
        &mut self,
        now: Instant,
        id: UserId,
        nick: &Nick,
        path: Text,
        push: bool,
    ) {
        let Some((sharer, user)) = self.find(nick).filter(|(sharer, _)| *sharer != id) else {
            return self.send(id, &ToClient::Unavailable(nick.clone(), path));
        };
        let (ip, speed, firewalled) = (user.ip, user.speed, user.firewalled());
        let (Some(me), true) = (self.user(id), self.index.get(sharer, &path).is_some()) else {
            return self.send(id, &ToClient::Unavailable(nick.clone(), path));
        };
        let (asker, my_speed, both) = (me.nick.clone(), me.speed, me.firewalled() && firewalled);
        if firewalled && (both || !push) {
            // Ask for a push, or nothing will come of it.
            let hash = if both { FileHash::new(b"firewallerror") } else { FileHash::NONE };
            let nick = nick.clone();
            return self
                .send(id, &ToClient::DownloadReady { nick, ip, port: 0, path, hash, speed });
        }
        if push && !firewalled {
            return self.error(id, &format!("{nick} is not firewalled"));
        }
        let wanted = if push { Wanted::Push } else { Wanted::Download };
        if self.wait_for(now, sharer, id, wanted(path.clone())) {
            self.send(sharer, &ToClient::UploadAsked(asker, path, Some(my_speed)));
        }
    }

    /// 608
    pub(super) fn on_accept(&mut self, now: Instant, id: UserId, nick: &Nick, path: Text) {
        let (Some(shared), Some(me)) = (self.index.get(id, &path), self.user(id)) else {
            return self.error(id, "Not sharing that file");
        };
        let (hash, my_nick, my_ip, my_port, my_speed) =
            (shared.hash, me.nick.clone(), me.ip, me.port, me.speed);
        let Some((asker, user)) = self.find(nick) else {
            return self.send(id, &ToClient::Offline(nick.clone()));
        };
        let (nick, ip, port, speed) = (user.nick.clone(), user.ip, user.port, user.speed);
        if self.was_asked(now, id, asker, Wanted::Download(path.clone())) {
            if let Some(me) = self.user_mut(id) {
                me.health.sent(now, asker);
            }
            let (nick, ip, port, speed) = (my_nick, my_ip, my_port, my_speed);
            self.send(asker, &ToClient::DownloadReady { nick, ip, port, path, hash, speed });
        } else if self.was_asked(now, id, asker, Wanted::Push(path.clone())) {
            self.send(id, &ToClient::PushTo { nick, ip, port, path, hash, speed });
        } else {
            self.error(id, &format!("{nick} has not asked for that file"));
        }
    }

    /// 609, and 619 with the places that there are.
    pub(super) fn on_reject(
        &mut self,
        now: Instant,
        id: UserId,
        nick: &Nick,
        path: Text,
        limit: Option<u32>,
    ) {
        let Some((asker, _)) = self.find(nick) else { return };
        let asked = self.was_asked(now, id, asker, Wanted::Download(path.clone()))
            || self.was_asked(now, id, asker, Wanted::Push(path.clone()));
        let Some(limit) = limit.filter(|_| asked) else { return };
        let Some(size) = self.index.get(id, &path).map(super::index::Shared::wire_size) else {
            return;
        };
        let Some(me) = self.user_mut(id) else { return };
        me.health.busy(now, limit);
        let nick = me.nick.clone();
        self.send(asker, &ToClient::QueueFull { nick, path, size, limit });
    }

    /// 626
    pub(super) fn on_unreachable(&mut self, now: Instant, id: UserId, nick: &Nick) {
        let Some(me) = self.user(id).map(|user| user.nick.clone()) else { return };
        let Some((target, _)) = self.find(nick) else {
            return self.send(id, &ToClient::Offline(nick.clone()));
        };
        if let Some(user) = self.user_mut(target) {
            user.health.report(now, id, me.key());
        }
        self.send(target, &ToClient::Unreachable(me));
    }

    /// 218 to 221
    pub(super) fn on_transfer(&mut self, now: Instant, id: UserId, upload: bool, begins: bool) {
        let Some(user) = self.user_mut(id) else { return };
        if !user.counters.take(now, Some(2 * COUNTED_PER_MIN), 2 * COUNTED_PER_MIN) {
            return;
        }
        let count = if upload { &mut user.uploads } else { &mut user.downloads };
        *count = if begins { count.saturating_add(1) } else { count.saturating_sub(1) };
        // He says that he has served somebody: whoever was hidden may show that his port answers.
        if upload && !begins && user.health.is_trimmed(now) {
            self.probe(id);
        }
    }

    /// 640
    pub(super) fn on_ask_browse(&mut self, now: Instant, id: UserId, nick: &Nick) {
        let Some(me) = self.user(id) else { return };
        let (my_nick, my_addr) = (me.nick.clone(), (me.ip, me.port));
        let Some((target, user)) = self.find(nick).filter(|(target, _)| *target != id) else {
            return self.send(id, &ToClient::BrowseRefused(nick.clone(), "not here".into()));
        };
        let firewalled = user.firewalled();
        if firewalled && my_addr.1 == 0 {
            let why = "neither of you can be reached".into();
            return self.send(id, &ToClient::BrowseRefused(nick.clone(), why));
        }
        if self.wait_for(now, target, id, Wanted::Browse) {
            let addr = firewalled.then_some(my_addr);
            self.send(target, &ToClient::BrowseAsked(my_nick, addr));
        }
    }

    /// 641
    pub(super) fn on_accept_browse(&mut self, now: Instant, id: UserId, nick: &Nick) {
        let Some(me) = self.user(id) else { return };
        let accepted = ToClient::BrowseAccepted(me.nick.clone(), me.ip, me.port);
        let Some((asker, _)) = self.find(nick) else {
            return self.send(id, &ToClient::Offline(nick.clone()));
        };
        if self.was_asked(now, id, asker, Wanted::Browse) {
            self.send(asker, &accepted);
        }
    }
}
