//! The nodes of a supernode: who they are, what they may, and what they are worth.

use super::{LinkKey, Supernode, SupernodeOutput};
use crate::clock::Instant;
use crate::overlay::fasttrack::reputation::{Identity, POINT_TIME};
use crate::overlay::fasttrack::role::Fitness;
use crate::proto::fasttrack::mesh::{MeshMessage, TTL_MAX};
use crate::proto::fasttrack::{
    Datagram, File, Hit, Message, NETWORK, PushOrder, PushRequest, Receipt, Score, Share,
};
use crate::scope::Scope;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Bytes of a file with all that is said of it; a longer one is not indexed, so that replies stay small.
const SHARE_LEN_MAX: usize = 2048;
/// Nodes that wait for a reputation; the one who has waited longest is told that of a stranger.
const SCORES_MAX: usize = 100;
/// How long another supernode may take to tell a reputation.
const SCORE_WAIT: Duration = Duration::from_secs(5);
/// What another supernode says of a node counts for no more: nobody can tell whether it is so, or whether there is such a
/// supernode at all. A liar goes nine minutes before a stranger where he wants a file, and becomes nothing by it.
const HEARSAY_MAX: u16 = 100;
/// How often a node may be asked to become a supernode.
const PROMOTE_EVERY: Duration = Duration::from_secs(3600);

/// A question of a node or a supernode about somebody's reputation.
#[derive(Debug)]
pub(super) struct Asking {
    since: Instant,
    pub(super) asker: LinkKey,
    /// Who was asked.
    way: LinkKey,
    question: Score,
}

/// One node.
#[derive(Debug)]
pub(super) struct Child {
    /// Where its connection comes from.
    from: SocketAddrV4,
    /// Where it can be reached, as far as that is believed.
    pub(super) addr: SocketAddrV4,
    pub(super) bandwidth: u8,
    pub(super) user: String,
    /// It has said who it is.
    named: bool,
    /// One of ours, and how long it had been up when it said so.
    ours: Option<Duration>,
    since: Instant,
    credited_at: Instant,
    promoted_at: Option<Instant>,
    /// When the queries so far will have been earned.
    earned_at: Instant,
    /// What it was worth where it came from has been heard: once, or it could give itself a name after the other.
    heard: bool,
}

impl Child {
    pub(super) fn identity(&self) -> Identity {
        Identity { user: self.user.clone(), ip: *self.from.ip() }
    }

    /// Whether others can connect to it: it names the address that it is seen at, and a port.
    fn is_reachable(&self) -> bool {
        self.addr.ip() == self.from.ip() && self.addr.port() != 0
    }

    /// A file of this node, as an answer.
    pub(super) fn hit(&self, file: &File) -> Hit {
        Hit {
            addr: self.addr,
            bandwidth: self.bandwidth,
            user: self.user.clone(),
            network: NETWORK.to_owned(),
            file: file.clone(),
        }
    }
}

impl Supernode {
    /// A node has finished its handshake. It is told all it waits for at once, or sent on if there is no room.
    pub fn handle_child(&mut self, now: Instant, link: LinkKey, from: SocketAddrV4) {
        let rows = Message::Nodes(self.rows(now));
        self.say(link, rows);
        let limits = &self.config.limits;
        let exempt = limits.exempt(*from.ip());
        let same = self.children.values().filter(|child| child.from.ip() == from.ip()).count();
        if self.children.len() >= limits.crowded {
            self.promote_one(now);
        }
        let limits = &self.config.limits;
        if !self.has_room() || (!exempt && same >= limits.each_address) {
            self.outbox.push_back(SupernodeOutput::Close(link));
            return;
        }
        let child = Child {
            from,
            addr: SocketAddrV4::new(*from.ip(), 0),
            bandwidth: 0,
            user: String::new(),
            named: false,
            ours: None,
            since: now,
            credited_at: now,
            promoted_at: None,
            earned_at: now,
            heard: false,
        };
        self.children.insert(link, child);
        // giFT shares and searches after the first, mldonkey shares after the second.
        self.say(link, Message::ExternalIp(*from.ip()));
        self.say(link, Message::ShareNow);
    }

    /// A node says something. What it says before its name, or without being welcome, is ignored.
    pub fn handle_message(&mut self, now: Instant, link: LinkKey, message: Message) {
        let Some(child) = self.children.get_mut(&link) else { return };
        match message {
            Message::NodeInfo(info) => {
                child.addr = believable(child.from, info.addr);
                child.bandwidth = info.bandwidth;
                child.user = info.user;
                child.named = true;
            }
            _ if !child.named => {}
            Message::Ours { uptime_s } => {
                child.ours = Some(Duration::from_secs(uptime_s.into()));
                let who = child.identity();
                let (user, ip) = (who.user.clone(), who.ip);
                let supernode = self.config.addr;
                self.tell_score(now, link, Score { user, ip, supernode, score: None });
            }
            Message::Share(share) => self.on_share(link, share),
            Message::Unshare(file) => self.index.remove(link, file.hash),
            Message::Query(query) => {
                if self.may_ask(now, link) {
                    self.search_for_child(now, link, query);
                } else {
                    self.say(link, Message::QueryEnd(query.id));
                }
            }
            Message::PushRequest(mut request) => {
                // He may have anybody connect to himself, and to nobody else.
                request.to = SocketAddrV4::new(*child.from.ip(), request.to.port());
                self.push(None, TTL_MAX, request);
            }
            Message::Receipt(receipt) => {
                let by = child.identity();
                self.on_receipt(now, None, TTL_MAX, &by, receipt);
            }
            // Nobody but himself: a datagram to a third party is a blow.
            Message::PingMe(addr) if addr.ip() == child.from.ip() && addr.port() != 0 => {
                self.outbox.push_back(SupernodeOutput::Datagram(addr, Datagram::Knock));
            }
            Message::Score(question) if question.score.is_none() => {
                self.on_score_question(now, link, TTL_MAX, question);
            }
            _ => {}
        }
    }

    fn on_share(&mut self, link: LinkKey, share: Share) {
        let limits = &self.config.limits;
        let room = self.index.len() < limits.files && self.index.count_of(link) < limits.shares;
        if room && is_short(&share.file) {
            self.index.add(link, share);
        }
    }

    fn may_ask(&mut self, now: Instant, link: LinkKey) -> bool {
        let limits = &self.config.limits;
        let Some(child) = self.children.get_mut(&link) else { return false };
        if limits.exempt(*child.from.ip()) {
            return true;
        }
        let after = child.earned_at.max(now) + limits.query_every;
        let may = after.since(now) <= limits.query_every * limits.query_burst;
        if may {
            child.earned_at = after;
        }
        may
    }

    /// Has a node connect to somebody: one of ours at once, another by its supernode. `via` is where the request came
    /// from, which is no way on.
    pub(super) fn push(&mut self, via: Option<LinkKey>, ttl: u8, request: PushRequest) {
        let PushRequest { id, to, .. } = request;
        if to.port() == 0 || Scope::of(IpAddr::V4(*to.ip())).is_none() {
            return;
        }
        if request.supernode == self.config.addr {
            let wanted = |child: &Child| child.addr == request.source && child.user == request.user;
            let found = self.children.iter().find(|(_, child)| wanted(child));
            let found = found.map(|(link, child)| (*link, *child.from.ip()));
            // Nobody out there may have a node connect to what only its own net can reach.
            if let Some((link, _)) =
                found.filter(|(_, ip)| via.is_none() || is_open_to(*to.ip(), *ip))
            {
                self.say(link, Message::PushOrder(PushOrder { id, to }));
            }
        } else if let Some(way) = self.way_on(request.supernode, via, ttl) {
            self.tell(way, MeshMessage::Push { ttl, request });
        }
    }

    /// Credits a node of ours, or passes the word on to the supernode that keeps the account.
    pub(super) fn on_receipt(
        &mut self,
        now: Instant,
        via: Option<LinkKey>,
        ttl: u8,
        by: &Identity,
        receipt: Receipt,
    ) {
        if receipt.supernode == self.config.addr {
            let wanted = |child: &&Child| child.addr == receipt.host && child.user == receipt.user;
            if let Some(host) = self.children.values().find(wanted).map(Child::identity) {
                // Another supernode may invent whoever says so: all of its word is that of one.
                let mate = via.and_then(|link| self.mates.get(&link));
                let voice = mate.map_or(by.ip, |mate| mate.from);
                self.ledger.receipt(now, by, voice, &host, &receipt);
            }
        } else if let Some(way) = self.way_on(receipt.supernode, via, ttl) {
            let by = (by.user.clone(), by.ip);
            self.tell(way, MeshMessage::Receipt { ttl, by, receipt });
        }
    }

    /// A node, or a supernode on behalf of one of its own, wants to know how much somebody is worth.
    pub(super) fn on_score_question(
        &mut self,
        now: Instant,
        link: LinkKey,
        ttl: u8,
        question: Score,
    ) {
        let Some(way) = self.way_on(question.supernode, Some(link), ttl) else {
            return self.tell_score(now, link, question);
        };
        if self.scores.len() >= SCORES_MAX
            && let Some(Asking { asker, question, .. }) = self.scores.pop_front()
        {
            self.tell_score(now, asker, question);
        }
        self.scores.push_back(Asking { since: now, asker: link, way, question: question.clone() });
        self.tell(way, MeshMessage::Score { ttl, score: question });
    }

    /// A supernode tells how much somebody is worth, if it was asked; whoever wanted to know is told. A node that asks for
    /// itself has moved here from there.
    pub(super) fn on_score_answer(&mut self, now: Instant, link: LinkKey, answer: Score) {
        let question = Score { score: None, ..answer };
        let asked = |asking: &Asking| asking.way == link && asking.question == question;
        if let Some(at) = self.scores.iter().position(asked)
            && let Some(Asking { asker, question, .. }) = self.scores.remove(at)
        {
            let score = answer.score.map(|score| score.min(HEARSAY_MAX));
            let who = Identity { user: question.user.clone(), ip: question.ip };
            let moved = |child: &&mut Child| child.named && !child.heard && child.identity() == who;
            if let Some(child) = self.children.get_mut(&asker).filter(moved) {
                child.heard = true;
                self.ledger.hear(now, &who, score.unwrap_or_default());
                let supernode = self.config.addr;
                return self.tell_score(now, asker, Score { supernode, ..question });
            }
            self.answer_score(asker, Score { score, ..question });
        }
    }

    /// What this supernode itself knows of somebody.
    fn tell_score(&mut self, now: Instant, link: LinkKey, question: Score) {
        let who = Identity { user: question.user.clone(), ip: question.ip };
        let score = Some(self.ledger.worth(now, &who));
        self.answer_score(link, Score { score, ..question });
    }

    fn answer_score(&mut self, link: LinkKey, score: Score) {
        if self.mates.contains_key(&link) {
            self.tell(link, MeshMessage::Score { ttl: TTL_MAX, score });
        } else {
            self.say(link, Message::Score(score));
        }
    }

    pub(super) fn look_after_children(&mut self, now: Instant) {
        for child in self.children.values_mut().filter(|child| child.named) {
            if now.since(child.credited_at) >= POINT_TIME {
                child.credited_at = now;
                self.ledger.stayed(now, &child.identity());
            }
        }
        let late = |asking: &Asking| now.since(asking.since) >= SCORE_WAIT;
        while self.scores.front().is_some_and(late)
            && let Some(Asking { asker, question, .. }) = self.scores.pop_front()
        {
            self.tell_score(now, asker, question);
        }
    }

    /// There are too many nodes: the best of them is asked to become a supernode.
    fn promote_one(&mut self, now: Instant) {
        let mut best: Option<(u16, LinkKey)> = None;
        for (link, child) in &self.children {
            let Some(uptime) = child.ours else { continue };
            let score = self.ledger.score(now, &child.identity());
            let uptime = uptime + now.since(child.since);
            let fitness = Fitness { score, reachable: child.is_reachable(), uptime };
            let asked = child.promoted_at.is_some_and(|at| now.since(at) < PROMOTE_EVERY);
            if fitness.is_enough() && !asked {
                best = best.max(Some((score, *link)));
            }
        }
        let Some((_, link)) = best else { return };
        if let Some(child) = self.children.get_mut(&link) {
            child.promoted_at = Some(now);
        }
        self.say(link, Message::Promote);
    }
}

/// Whether a file is short enough to be indexed and passed on.
pub(super) fn is_short(file: &File) -> bool {
    file.tags.iter().map(|tag| tag.value.len() + 8).sum::<usize>() <= SHARE_LEN_MAX
}

/// The address that others are told. Who is seen somewhere else than he says sits behind a router if what he says is
/// good for a nearer net only, and is to be pushed; otherwise he is where he is seen.
fn believable(seen: SocketAddrV4, said: SocketAddrV4) -> SocketAddrV4 {
    let scope = |addr: SocketAddrV4| Scope::of(IpAddr::V4(*addr.ip()));
    match scope(said) {
        Some(near) if Some(near) < scope(seen) => said,
        // Who names an address that nobody can have does not know his own yet.
        _ => SocketAddrV4::new(*seen.ip(), said.port()),
    }
}

/// Whether an address means the same at somebody who is seen at `at` as it does elsewhere.
pub(super) fn is_open_to(addr: Ipv4Addr, at: Ipv4Addr) -> bool {
    Scope::may_tell(IpAddr::V4(at), IpAddr::V4(addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_nodes_claim() {
        for (seen, said, want) in [
            ("9.9.9.9:5000", "9.9.9.9:1214", "9.9.9.9:1214"),
            ("9.9.9.9:5000", "192.168.0.4:1214", "192.168.0.4:1214"),
            ("9.9.9.9:5000", "8.8.8.8:1214", "9.9.9.9:1214"),
            ("9.9.9.9:5000", "0.0.0.0:1214", "9.9.9.9:1214"),
            ("9.9.9.9:5000", "0.0.0.0:0", "9.9.9.9:0"),
            ("10.0.0.1:5000", "127.0.0.1:1214", "127.0.0.1:1214"),
            ("127.0.0.1:5000", "127.0.0.1:1214", "127.0.0.1:1214"),
            ("10.0.0.1:5000", "8.8.8.8:25", "10.0.0.1:25"),
        ] {
            let addr = |text: &str| text.parse().unwrap();
            assert_eq!(believable(addr(seen), addr(said)), addr(want), "{seen} says {said}");
        }
    }
}
