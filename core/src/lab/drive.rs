//! What each event does to the machines, and what they want done in turn.

use super::disk::Stored;
use super::events::Happening;
use super::host::{Host, HostId, PORT};
use super::role::{Mischief, Poison};
use super::stream::{Conn, Cut, End, Item, Way};
use super::trace::{Fact, fact_of};
use super::tracker::{ENOUGH_PEERS, INTERVAL, INTERVAL_HUNGRY};
use super::world::{World, set_content};
use crate::blame::Blame;
use crate::geometry::Block;
use crate::proto::peer::Message;
use crate::storage::{DiskDone, DiskFault, DiskOp, Verdict};
use crate::swarm::PeerKey;
use crate::swarm::roster::{Direction, Source};
use crate::swarm::torrent::{Event, Fate, Hello, Torrent, Transmit};
use std::net::SocketAddr;
use std::time::Duration;

/// How far ahead a line is filled at a time, so that a burst of small messages is one step.
const BURST: Duration = Duration::from_millis(1);
/// Bytes of headers that each segment costs on the line.
const OVERHEAD: u64 = 40;
/// A dial that nobody answers is given up after this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// First of the ports that outgoing connections come from.
const EPHEMERAL: u16 = 49_152;

impl World {
    /// Does one thing. Returns the host whose machine has heard of it.
    pub(super) fn happen(&mut self, what: Happening) -> Option<HostId> {
        match what {
            Happening::Announce { host, life } => self.announce(self.living(host, life)?),
            Happening::Arrive { way, items, bytes } => self.arrive(way, items, bytes),
            Happening::Break { way } => self.snap(way),
            Happening::Deliver { way, items } => self.deliver(way, items),
            Happening::DialFailed { conn } => self.dial_failed(conn),
            Happening::Disk { host, life } => self.disk_finished(self.living(host, life)?),
            Happening::Pace { way } => self.paced(way),
            Happening::Pay { host, life, peer } => self.pay(self.living(host, life)?, peer),
            Happening::Plan { .. } => None,
            Happening::ShakeIn { conn } => self.shake_in(conn),
            Happening::ShakeOut { conn } => self.shake_out(conn),
            Happening::Uplink { host, life } => self.uplink(self.living(host, life)?),
            Happening::Wake { host, life } => self.wake(self.living(host, life)?),
        }
    }

    fn living(&self, id: HostId, life: u32) -> Option<HostId> {
        let host = self.host(id);
        (host.life == life && host.is_up()).then_some(id)
    }

    /// Carries out everything that the machine wants done.
    pub(super) fn drain(&mut self, id: HostId) {
        let now = self.now;
        loop {
            let Some(machine) = &mut self.hosts[id.idx()].machine else { return };
            if let Some(transmit) = machine.poll_transmit() {
                self.transmit(id, transmit);
            } else if let Some(op) = machine.poll_disk() {
                let host = &mut self.hosts[id.idx()];
                let at = host.disk.submit(now, op, &host.torrent.geometry);
                self.agenda.add(at, Happening::Disk { host: id, life: host.life });
            } else if let Some(event) = machine.poll_event() {
                self.note(id, event);
            } else if let Some(addr) = machine.poll_dial(now) {
                self.dial(id, addr);
            } else {
                break;
            }
        }
        let host = &mut self.hosts[id.idx()];
        let Some(at) = host.machine.as_ref().and_then(Torrent::poll_timeout) else { return };
        if at < host.wake_at {
            host.wake_at = at.max(now);
            self.agenda.add(host.wake_at, Happening::Wake { host: id, life: host.life });
        }
    }

    fn wake(&mut self, id: HostId) -> Option<HostId> {
        let now = self.now;
        let host = &mut self.hosts[id.idx()];
        if host.wake_at > now {
            return None; // it has been woken since, and asked for a later hour
        }
        host.wake_at = crate::clock::Instant::FAR_FUTURE;
        let machine = host.machine.as_mut()?;
        let due = machine.round_due();
        machine.handle_timeout(now);
        if machine.round_due() > due {
            self.rounds.note(now, id, machine);
            self.review_pay(id);
        }
        self.drain(id);
        Some(id)
    }

    fn note(&mut self, id: HostId, event: Event) {
        let now = self.now;
        let host = &mut self.hosts[id.idx()];
        match &event {
            Event::Seen(_) | Event::Verified(_) => return,
            Event::Done => {
                host.done_at.get_or_insert(now);
                self.trace.note(now, id, Fact::Done);
            }
            Event::Banned { peer, .. } => {
                self.trace.note(now, id, Fact::Banned { whom: HostId::of(*peer) });
            }
            Event::Metadata(_) => {
                let have = host.disk.good().clone();
                if let Some(machine) = &mut host.machine {
                    set_content(machine, now, &host.torrent, have);
                }
            }
            // Here nobody has a node, and nobody serves by ranges.
            Event::DhtNode(_) | Event::Fault(_) | Event::SourceGone { .. } => {}
        }
        self.hosts[id.idx()].log.push((now, event));
    }

    fn announce(&mut self, id: HostId) -> Option<HostId> {
        let now = self.now;
        let torrent = self.host(id).torrent.hash;
        let others = self.tracker.announce(now, torrent, id, &mut self.rng);
        self.trace.note(now, id, Fact::Announced { peers: others.len() });
        let addrs: Vec<SocketAddr> = others.into_iter().map(HostId::addr).collect();
        let host = &mut self.hosts[id.idx()];
        let machine = host.machine.as_mut()?;
        machine.handle_candidates(now, Source::Tracker, &addrs);
        let content = machine.is_done() || machine.peer_count() >= ENOUGH_PEERS;
        let again = now + if content { INTERVAL } else { INTERVAL_HUNGRY };
        self.agenda.add(again, Happening::Announce { host: id, life: host.life });
        self.drain(id);
        Some(id)
    }

    // ── connections ──

    fn dial(&mut self, id: HostId, addr: SocketAddr) {
        let conn = self.conns.len() as u32;
        let whom = HostId::of(addr);
        let target = self.hosts.get(whom.idx()).filter(|_| addr.port() == PORT);
        let wait = match target {
            Some(host) if host.is_up() => self.link.delay * 3,
            Some(host) if host.crashed => DIAL_TIMEOUT,
            _ => self.link.delay * 2,
        };
        let whom = if target.is_some_and(Host::is_up) { whom } else { HostId::NOBODY };
        let mut from = id.addr();
        from.set_port(EPHEMERAL + (conn % 16_000) as u16);
        let life = self.host(id).life;
        self.conns.push(Conn {
            ends: [End::new(id, life), End::new(whom, 0)],
            to: addr,
            from,
            answer: None,
        });
        let what = if whom == HostId::NOBODY {
            Happening::DialFailed { conn }
        } else {
            Happening::ShakeIn { conn }
        };
        self.agenda.add(self.now + wait, what);
    }

    fn dial_failed(&mut self, conn: u32) -> Option<HostId> {
        let now = self.now;
        let dialled = &self.conns[conn as usize];
        let (addr, dialler, life) = (dialled.to, dialled.ends[0].host, dialled.ends[0].life);
        let id = self.living(dialler, life)?;
        self.trace.note(now, id, Fact::DialFailed);
        self.host_mut(id).machine.as_mut()?.handle_dial_failed(now, addr);
        self.drain(id);
        Some(id)
    }

    fn shake_in(&mut self, conn: u32) -> Option<HostId> {
        let (dialler, target) = {
            let ends = &self.conns[conn as usize].ends;
            (self.living(ends[0].host, ends[0].life)?, ends[1].host)
        };
        let peer_id = self.host(dialler).id;
        let (answer, life) = (self.host(target).id, self.host(target).life);
        let way = Way { conn, side: 1 };
        self.end_mut(way).life = life;
        let addr = self.conns[conn as usize].from;
        let hello =
            Hello { addr, direction: Direction::Incoming, peer_id, reserved: Torrent::reserved() };
        if self.introduce(target, way, &hello) {
            self.conns[conn as usize].answer = Some(answer);
            self.agenda.add(self.now + self.link.delay, Happening::ShakeOut { conn });
            self.greet(target, way);
        } else {
            self.agenda.add(self.now + self.link.delay, Happening::DialFailed { conn });
        }
        Some(target)
    }

    fn shake_out(&mut self, conn: u32) -> Option<HostId> {
        let (dialler, life) = {
            let end = &self.conns[conn as usize].ends[0];
            (end.host, end.life)
        };
        let way = Way { conn, side: 0 };
        let gone = Happening::Break { way: way.back() };
        let Some(id) = self.living(dialler, life) else {
            self.agenda.add(self.now + self.link.delay, gone);
            return None;
        };
        let Conn { to, answer, .. } = self.conns[conn as usize];
        let hello = Hello {
            addr: to,
            direction: Direction::Outgoing,
            peer_id: answer?,
            reserved: Torrent::reserved(),
        };
        if self.introduce(id, way, &hello) {
            self.greet(id, way);
        } else {
            self.agenda.add(self.now + self.link.delay, gone);
        }
        Some(id)
    }

    /// Tells a machine of a new connection; false if it refuses.
    fn introduce(&mut self, id: HostId, way: Way, hello: &Hello) -> bool {
        let now = self.now;
        let other = HostId::of(hello.addr);
        let host = &mut self.hosts[id.idx()];
        let Some(machine) = &mut host.machine else { return false };
        let answer = machine.handle_connected(now, hello);
        if let Ok(key) = answer {
            host.conns.insert(key.0, way);
            self.end_mut(way).key = Some(key);
            self.trace.note(now, id, Fact::Connected { with: other });
        }
        self.drain(id);
        answer.is_ok()
    }

    fn snap(&mut self, way: Way) -> Option<HostId> {
        let other = self.conns[way.conn as usize].ends[usize::from(1 - way.side)].host;
        let fault = self.host(other).crashed.then_some(Blame::Network);
        let id = self.disconnect(way, fault)?;
        self.trace.note(self.now, id, Fact::Broke { from: other });
        self.drain(id);
        Some(id)
    }

    // ── bytes ──

    fn transmit(&mut self, id: HostId, transmit: Transmit) {
        match transmit {
            Transmit::Send { peer, message } => {
                let Some(way) = self.way(id, peer) else { return };
                let boasts = self.host(id).setup.mischief == Mischief::Boast;
                if boasts && matches!(message, Message::Reject(_)) {
                    return;
                }
                self.enqueue(way, Item::Message(message));
            }
            Transmit::Close { peer, .. } => {
                let Some(way) = self.way(id, peer) else { return };
                self.end_mut(way).drop_blocks();
                self.enqueue(way, Item::Fin);
                self.disconnect(way, None);
            }
        }
    }

    pub(super) fn way(&self, id: HostId, peer: PeerKey) -> Option<Way> {
        self.host(id).conns.get(&peer.0).copied()
    }

    pub(super) fn enqueue(&mut self, way: Way, item: Item) {
        let now = self.now;
        let end = self.end_mut(way);
        end.push(item);
        if end.scheduled {
            return;
        }
        end.scheduled = true;
        let (id, next_at) = (end.host, end.next_at);
        if next_at > now + BURST {
            self.agenda.add(next_at, Happening::Pace { way });
        } else {
            self.line_up(id, way);
        }
    }

    fn paced(&mut self, way: Way) -> Option<HostId> {
        let end = self.end_mut(way);
        let (id, life) = (end.host, end.life);
        self.living(id, life)?;
        self.line_up(id, way);
        None
    }

    fn line_up(&mut self, id: HostId, way: Way) {
        let host = &mut self.hosts[id.idx()];
        host.ready.push_back(way);
        if !host.uplink_due {
            host.uplink_due = true;
            let at = host.up_free.max(self.now);
            self.agenda.add(at, Happening::Uplink { host: id, life: host.life });
        }
    }

    /// The line is free: one segment of each waiting connection in turn.
    fn uplink(&mut self, id: HostId) -> Option<HostId> {
        let now = self.now;
        let mut sent: Vec<(PeerKey, u64)> = Vec::new();
        let host = &mut self.hosts[id.idx()];
        host.uplink_due = false;
        while host.up_free <= now + BURST {
            let Some(way) = host.ready.pop_front() else { break };
            let end = &mut self.conns[way.conn as usize].ends[usize::from(way.side)];
            let cut = end.cut();
            if cut.items == 0 {
                end.scheduled = false;
                continue;
            }
            let busy = (u64::from(cut.bytes) + OVERHEAD) * 1_000_000 / host.up_rate;
            host.up_free = host.up_free.max(now) + Duration::from_micros(busy.max(1));
            let arrival = end.fly(host.up_free, cut, &self.link, &mut self.rng);
            let Cut { items, bytes, payload } = cut;
            self.agenda.add(arrival, Happening::Arrive { way, items, bytes });
            if let (true, Some(key)) = (payload > 0, end.key) {
                sent.push((key, payload));
            }
            if !end.has_output() {
                end.scheduled = false;
            } else if end.next_at <= host.up_free + BURST {
                host.ready.push_back(way);
            } else {
                self.agenda.add(end.next_at, Happening::Pace { way });
            }
        }
        if !host.ready.is_empty() {
            host.uplink_due = true;
            self.agenda.add(host.up_free, Happening::Uplink { host: id, life: host.life });
        }
        if sent.is_empty() {
            return None;
        }
        for (key, payload) in sent {
            let host = &mut self.hosts[id.idx()];
            host.sent += payload;
            host.machine.as_mut()?.handle_sent(now, key, payload);
            self.drain(id);
        }
        Some(id)
    }

    fn arrive(&mut self, way: Way, items: u16, bytes: u32) -> Option<HostId> {
        let now = self.now;
        let receiver = self.end_mut(way.back()).host;
        let host = &mut self.hosts[receiver.idx()];
        let free = host.down_free.max(now);
        let busy = (u64::from(bytes) + OVERHEAD) * 1_000_000 / host.down_rate;
        host.down_free = free + Duration::from_micros(busy.max(1));
        if free > now {
            self.agenda.add(free, Happening::Deliver { way, items });
            return None;
        }
        self.deliver(way, items)
    }

    fn deliver(&mut self, way: Way, items: u16) -> Option<HostId> {
        let (from, to) = (self.end_mut(way).host, self.end_mut(way.back()).host);
        for _ in 0..items {
            let item = self.end_mut(way).landed()?;
            // Asked anew for each item: the one before may have made the machine close.
            let Some(key) = self.end_mut(way.back()).key else { continue };
            self.trace.note(self.now, to, fact_of(from, &item));
            self.hand_over(way, key, from, to, item)?;
            self.drain(to);
        }
        Some(to)
    }

    fn hand_over(
        &mut self,
        way: Way,
        key: PeerKey,
        from: HostId,
        to: HostId,
        item: Item,
    ) -> Option<()> {
        let now = self.now;
        let host = &mut self.hosts[to.idx()];
        let machine = host.machine.as_mut()?;
        match item {
            Item::Fin => {
                self.disconnect(way.back(), None);
            }
            Item::Message(message) => {
                if message == Message::Unchoke {
                    host.unchoked_by.entry(from).or_insert(now);
                }
                machine.handle_message(now, key, message);
            }
            Item::Block { block, bad } => {
                let Block { piece, begin, len } = block;
                *host.received.entry(from).or_default() += u64::from(len);
                if let Fate::Keep(block) = machine.handle_block(now, key, piece.0, begin, len) {
                    host.disk.hold(block, bad);
                }
            }
        }
        Some(())
    }

    // ── disks and mischief ──

    fn disk_finished(&mut self, id: HostId) -> Option<HostId> {
        let now = self.now;
        let host = &mut self.hosts[id.idx()];
        match host.disk.finished()? {
            DiskOp::Read { peer, blocks } => {
                let way = self.way(id, PeerKey(peer))?;
                if self.host(id).setup.mischief == Mischief::Stint {
                    self.owe(id, PeerKey(peer), blocks);
                    return None;
                }
                for block in blocks {
                    if let Some(bad) = self.serve(id, PeerKey(peer)) {
                        self.enqueue(way, Item::Block { block, bad });
                    }
                }
                None
            }
            DiskOp::Store { piece } => {
                let stored = host.disk.store(now, piece, &host.torrent.geometry);
                let done = match stored {
                    Stored::Bad => DiskDone::Stored { piece, verdict: Verdict::Bad },
                    Stored::Good => DiskDone::Stored { piece, verdict: Verdict::Good },
                    Stored::Full => {
                        let fault = DiskFault::NoSpace("simulated".to_owned());
                        DiskDone::StoreFailed { piece, fault }
                    }
                    Stored::NotWhole => {
                        let why = format!("host {} stores piece {} in part", id.0, piece.0);
                        self.broken.get_or_insert(("only whole pieces are stored", why));
                        return None;
                    }
                };
                let fact = match stored {
                    Stored::Full => Fact::StoreFailed { piece: piece.0 },
                    _ => Fact::Stored { piece: piece.0, good: stored == Stored::Good },
                };
                self.trace.note(now, id, fact);
                host.machine.as_mut()?.handle_disk(now, done);
                self.drain(id);
                Some(id)
            }
        }
    }

    /// Whether the block that was read goes out, and whether it goes out wrong.
    fn serve(&mut self, id: HostId, peer: PeerKey) -> Option<bool> {
        let now = self.now;
        let host = &mut self.hosts[id.idx()];
        host.served += 1;
        match host.setup.mischief {
            Mischief::None | Mischief::Boast | Mischief::Stint => Some(false),
            Mischief::Mute | Mischief::Spam(_) => None,
            Mischief::Poison(Poison::Always) => Some(true),
            Mischief::Poison(Poison::Alternating) => Some(host.served % 2 == 1),
            Mischief::Poison(Poison::OneIn(n)) => Some(host.rng.below(u64::from(n)) == 0),
            Mischief::StallAt(part) => {
                let peers = host.machine.as_mut()?.peers(now);
                let far = peers.iter().any(|status| status.peer == peer && status.progress >= part);
                (!far).then_some(false)
            }
        }
    }

    /// What a mischievous actor says beside what its machine says, once a connection stands.
    fn greet(&mut self, id: HostId, way: Way) {
        let pieces = self.host(id).torrent.geometry.pieces();
        match self.host(id).setup.mischief {
            Mischief::Boast => {
                for piece in 0..pieces {
                    self.enqueue(way, Item::Message(Message::Have(piece)));
                }
            }
            Mischief::Spam(count) => {
                for nth in 0..count {
                    self.enqueue(way, Item::Message(Message::Suggest(nth % pieces)));
                    self.enqueue(way, Item::Message(Message::AllowedFast(nth % pieces)));
                }
            }
            Mischief::Mute
            | Mischief::None
            | Mischief::Poison(_)
            | Mischief::StallAt(_)
            | Mischief::Stint => {}
        }
    }
}
