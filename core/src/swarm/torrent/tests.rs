//! A few machines in one room: messages arrive at once and in order, the disk answers at once.
//! Timing, links and crowds are the lab's business; here are the rules of one torrent.

use super::download::PATIENCE;
use super::*;
use crate::blame::Blame;
use crate::geometry::{BLOCK_LEN, Block, Version};
use crate::hash;
use crate::id::{InfoHash, PeerId};
use crate::proto::peer::Request;
use crate::storage::Verdict;
use crate::swarm::choker::{ChokerConfig, Slots};
use crate::swarm::picker::PickerPolicy;
use crate::swarm::roster::{Direction, RosterConfig};
use std::collections::BTreeSet;

mod dht;
mod gossip;
mod hosts;
mod magnet;
mod relay;
mod sources;

const PIECES: u32 = 12;

fn geometry() -> Geometry {
    Geometry::new(Version::V1, u64::from(PIECES * 2 * BLOCK_LEN - 5), u64::from(2 * BLOCK_LEN))
        .unwrap()
}

fn info() -> Bytes {
    Bytes::from(vec![b'i'; 40_000])
}

fn hashes() -> TorrentHashes {
    TorrentHashes::V1(InfoHash(hash::sha1([&info()[..]])))
}

fn addr(host: usize) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, host as u8 + 1], 6881))
}

fn machine(host: usize) -> Torrent {
    let config = TorrentConfig {
        client: "test".to_owned(),
        our_id: PeerId([host as u8 + 1; 20]),
        listen_port: Some(6881),
        pex: true,
        dht_port: None,
        down: None,
        up: None,
        choker: ChokerConfig::default(),
        picker: PickerPolicy::default(),
        roster: RosterConfig::default(),
    };
    Torrent::new(Instant::ZERO, config, hashes(), Rng::seeded(host as u64))
}

/// Hosts, who is connected to whom, and what their disks hold.
struct Room {
    now: Instant,
    hosts: Vec<Torrent>,
    links: BTreeMap<(usize, PeerKey), (usize, PeerKey)>,
    events: Vec<(usize, Event)>,
    closed: Vec<(usize, Close)>,
    sent: Vec<(usize, Message)>,
    /// Hosts whose blocks are garbage, and pieces somebody's garbage is in.
    poisoners: BTreeSet<usize>,
    spoiled: BTreeSet<(usize, PieceIndex)>,
    /// Hosts that swallow requests.
    silent: BTreeSet<usize>,
    full_disk: BTreeSet<usize>,
}

impl Room {
    fn new(hosts: usize, seeds: usize) -> Self {
        let mut room = Self {
            now: Instant::ZERO,
            hosts: (0..hosts).map(machine).collect(),
            links: BTreeMap::new(),
            events: Vec::new(),
            closed: Vec::new(),
            sent: Vec::new(),
            poisoners: BTreeSet::new(),
            spoiled: BTreeSet::new(),
            silent: BTreeSet::new(),
            full_disk: BTreeSet::new(),
        };
        for host in 0..hosts {
            let have = if host < seeds { Bitfield::full(PIECES) } else { Bitfield::empty(PIECES) };
            room.load(host, have);
        }
        room
    }

    fn load(&mut self, host: usize, have: Bitfield) {
        let normal = |_| Priority::Normal;
        self.hosts[host].set_content(self.now, info(), geometry(), have, normal);
    }

    fn connect(&mut self, a: usize, b: usize) -> (PeerKey, PeerKey) {
        let hello = |host: usize, direction| Hello {
            addr: addr(host),
            direction,
            peer_id: PeerId([host as u8 + 1; 20]),
            reserved: Torrent::reserved(),
        };
        let on_a =
            self.hosts[a].handle_connected(self.now, &hello(b, Direction::Outgoing)).unwrap();
        let on_b =
            self.hosts[b].handle_connected(self.now, &hello(a, Direction::Incoming)).unwrap();
        self.links.insert((a, on_a), (b, on_b));
        self.links.insert((b, on_b), (a, on_a));
        self.settle();
        (on_a, on_b)
    }

    /// Connects a host to a peer that only does what the test does.
    fn attach(&mut self, host: usize) -> PeerKey {
        self.attach_as(host, 100)
    }

    /// The same, if there are several.
    fn attach_as(&mut self, host: usize, name: u8) -> PeerKey {
        let hello = Hello {
            addr: addr(name.into()),
            direction: Direction::Incoming,
            peer_id: PeerId([name; 20]),
            reserved: Torrent::reserved(),
        };
        let peer = self.hosts[host].handle_connected(self.now, &hello).unwrap();
        self.settle();
        peer
    }

    /// What a scripted peer says, and what it or others are told at once.
    fn hear(&mut self, host: usize, peer: PeerKey, messages: &[Message]) -> Vec<Message> {
        self.sent.clear();
        for message in messages {
            self.hosts[host].handle_message(self.now, peer, message.clone());
        }
        self.settle();
        self.sent.iter().map(|(_, message)| message.clone()).collect()
    }

    /// Delivers everything until nobody has anything to say.
    fn settle(&mut self) {
        while (0..self.hosts.len()).any(|host| self.step(host)) {}
    }

    fn step(&mut self, host: usize) -> bool {
        let mut busy = false;
        while let Some(transmit) = self.hosts[host].poll_transmit() {
            busy = true;
            match transmit {
                Transmit::Send { peer, message } => self.deliver(host, peer, message),
                Transmit::Close { peer, reason } => {
                    self.closed.push((host, reason));
                    self.hosts[host].handle_disconnected(self.now, peer, None);
                    if let Some((other, key)) = self.links.remove(&(host, peer)) {
                        self.links.remove(&(other, key));
                        self.hosts[other].handle_disconnected(self.now, key, None);
                    }
                }
            }
        }
        while let Some(op) = self.hosts[host].poll_disk() {
            busy = true;
            self.disk(host, op);
        }
        while let Some(event) = self.hosts[host].poll_event() {
            busy = true;
            if let Event::Metadata(raw) = &event {
                assert_eq!(*raw, info());
                self.load(host, Bitfield::empty(PIECES));
            }
            self.events.push((host, event));
        }
        busy
    }

    fn deliver(&mut self, from: usize, peer: PeerKey, message: Message) {
        self.sent.push((from, message.clone()));
        let Some(&(to, key)) = self.links.get(&(from, peer)) else { return };
        if self.silent.contains(&to) && matches!(message, Message::Request(_)) {
            return;
        }
        self.hosts[to].handle_message(self.now, key, message);
    }

    fn disk(&mut self, host: usize, op: DiskOp) {
        match op {
            DiskOp::Read { peer, blocks } => {
                let from = (host, PeerKey(peer));
                for block in blocks {
                    self.hosts[host].handle_sent(self.now, PeerKey(peer), block.len.into());
                    let Some(&(to, key)) = self.links.get(&from) else { continue };
                    let Block { piece, begin, len } = block;
                    let fate = self.hosts[to].handle_block(self.now, key, piece.0, begin, len);
                    if self.poisoners.contains(&host) && fate == Fate::Keep(block) {
                        self.spoiled.insert((to, block.piece));
                    }
                }
            }
            DiskOp::Store { piece } => {
                let bad = self.spoiled.remove(&(host, piece));
                let verdict = if bad { Verdict::Bad } else { Verdict::Good };
                let done = if self.full_disk.contains(&host) {
                    DiskDone::StoreFailed { piece, fault: DiskFault::NoSpace("disk".to_owned()) }
                } else {
                    DiskDone::Stored { piece, verdict }
                };
                self.hosts[host].handle_disk(self.now, done);
            }
        }
    }

    /// Lets time pass in small steps.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(500);
            for host in &mut self.hosts {
                host.handle_timeout(self.now);
            }
            self.settle();
        }
    }

    fn done(&self, host: usize) -> bool {
        self.hosts[host].is_done()
    }

    fn saw(&self, host: usize, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(at, event)| *at == host && wanted(event))
    }
}

#[test]
fn a_leech_gets_everything_and_both_ends_part() {
    let mut room = Room::new(2, 1);
    room.connect(1, 0);
    room.pass(Duration::from_secs(3));
    assert!(room.done(1));
    let status = room.hosts[1].status(room.now);
    assert_eq!((status.done, status.total), (geometry().total(), geometry().total()));
    assert_eq!((status.wasted, status.peers), (0, 0));
    assert!(room.closed.iter().any(|(_, reason)| *reason == Close::BothComplete));
}

#[test]
fn a_magnet_becomes_a_download() {
    let mut room = Room::new(2, 1);
    room.hosts[1] = machine(1);
    room.connect(1, 0);
    room.pass(Duration::from_secs(3));
    assert!(room.saw(1, |event| matches!(event, Event::Metadata(_))));
    assert!(room.done(1));
}

#[test]
fn a_lone_poisoner_is_banned_and_the_download_goes_on() {
    let mut room = Room::new(3, 2);
    room.poisoners.insert(0);
    room.connect(2, 0);
    room.pass(Duration::from_secs(2));
    assert!(room.saw(2, |event| matches!(event, Event::Banned { peer, .. } if *peer == addr(0))));
    assert!(room.closed.contains(&(2, Close::Banned)));
    assert!(!room.done(2));
    room.connect(2, 1);
    room.pass(Duration::from_secs(30));
    assert!(room.done(2));
    assert_eq!(room.events.iter().filter(|(_, e)| matches!(e, Event::Banned { .. })).count(), 1);
}

#[test]
fn a_full_disk_stops_the_asking_but_not_the_seeding() {
    let mut room = Room::new(3, 1);
    room.full_disk.insert(1);
    room.connect(1, 0);
    room.pass(Duration::from_secs(5));
    let faults = room.events.iter().filter(|(at, e)| *at == 1 && matches!(e, Event::Fault(_)));
    assert_eq!(faults.count(), 1);
    assert_eq!(room.hosts[1].status(room.now).waiting, Waiting::Disk);
    room.sent.clear();
    room.pass(Duration::from_secs(30));
    assert!(!room.sent.iter().any(|(from, m)| *from == 1 && matches!(m, Message::Request(_))));
}

#[test]
fn attack_18_requests_beyond_the_bound_are_rejected_and_a_flood_ends_the_connection() {
    let mut room = Room::new(1, 1);
    let on_seed = room.attach(0);
    let request = |n: u32| Message::Request(Request { index: n % PIECES, begin: 0, len: 16 });
    // It never says that it is interested, so it stays choked.
    room.now += Duration::from_secs(3);
    for n in 0..5000 {
        room.hosts[0].handle_message(room.now, on_seed, request(n));
    }
    let queued = room.hosts[0].peers.get(&on_seed).map_or(0, |c| c.queue.len());
    assert!(queued <= connection::REQUESTS_MAX, "{queued}");
    room.settle();
    let rejected = room.sent.iter().filter(|(_, m)| matches!(m, Message::Reject(_))).count();
    assert_eq!(rejected, 300, "each is answered until it is a flood");
    assert!(room.closed.contains(&(0, Close::RequestFlood)));
}

#[test]
fn attack_18_a_flood_in_the_grace_after_a_choke_ends_the_connection_too() {
    let mut room = Room::new(1, 1);
    let on_seed = room.attach(0);
    let request = |n: u32| Message::Request(Request { index: n % PIECES, begin: 0, len: 16 });
    let allowed = connection::REQUESTS_MAX as u32;
    for n in 0..allowed {
        room.hosts[0].handle_message(room.now, on_seed, request(n));
    }
    room.settle();
    assert!(room.closed.is_empty(), "so many may have crossed our choke: {:?}", room.closed);
    for n in 0..allowed {
        room.hosts[0].handle_message(room.now, on_seed, request(n));
    }
    room.settle();
    assert!(room.closed.contains(&(0, Close::RequestFlood)));
}

#[test]
fn attack_18_allowed_fast_is_three_times_the_piece_and_no_more_on_a_new_connection() {
    let mut room = Room::new(1, 1);
    let on_seed = room.attach(0);
    let told = room.hear(0, on_seed, &[Message::HaveNone]);
    let allowed: Vec<u32> = told
        .iter()
        .filter_map(|m| if let Message::AllowedFast(piece) = m { Some(*piece) } else { None })
        .collect();
    assert!(!allowed.is_empty());
    let block = |begin| Request { index: allowed[0], begin, len: BLOCK_LEN };
    let (mut rejects, mut served) = (0, 0);
    for _ in 0..10 {
        let before = room.hosts[0].status(room.now).uploaded;
        let told = room.hear(0, on_seed, &[Message::Request(block(0))]);
        rejects += told.iter().filter(|m| matches!(m, Message::Reject(_))).count();
        served += room.hosts[0].status(room.now).uploaded - before;
    }
    // Three times a piece of two blocks.
    assert_eq!((served, rejects), (6 * u64::from(BLOCK_LEN), 4));
    // Coming back does not refill it for ever: a host has so much in all.
    for _ in 0..1000 {
        room.hosts[0].handle_disconnected(room.now, on_seed, None);
        let again = room.attach(0);
        room.hear(0, again, &[Message::HaveNone]);
        room.hosts[0].handle_disconnected(room.now, again, None);
    }
    let again = room.attach(0);
    let told = room.hear(0, again, &[Message::HaveNone]);
    assert!(!told.iter().any(|m| matches!(m, Message::AllowedFast(_))), "{told:?}");
}

#[test]
fn attack_19_blocks_nobody_asked_for_are_waste_and_end_the_connection() {
    let mut room = Room::new(2, 1);
    let on_leech = room.attach(1);
    room.hear(1, on_leech, &[Message::HaveAll]);
    for n in 0..256 {
        let fate = room.hosts[1].handle_block(room.now, on_leech, n % PIECES, 0, BLOCK_LEN);
        assert_eq!(fate, Fate::Drop);
    }
    room.settle();
    assert!(room.closed.is_empty(), "some may have crossed a cancel");
    assert_eq!(room.hosts[1].status(room.now).wasted, 256 * u64::from(BLOCK_LEN));
    let fate = room.hosts[1].handle_block(room.now, on_leech, 0, 0, BLOCK_LEN);
    room.settle();
    assert_eq!(fate, Fate::Drop);
    assert!(room.closed.contains(&(1, Close::UnaskedData)), "{:?}", room.closed);
}

#[test]
fn attack_22_suggestions_and_allowed_fast_are_capped() {
    let pieces = 1000;
    let mut room = Room::new(1, 0);
    let geometry =
        Geometry::new(Version::V1, pieces * u64::from(BLOCK_LEN), BLOCK_LEN.into()).unwrap();
    let none = Bitfield::empty(geometry.pieces());
    room.hosts[0] = machine(0);
    room.hosts[0].set_content(room.now, info(), geometry, none, |_| Priority::Normal);
    let on_leech = room.attach(0);
    room.hear(0, on_leech, &[Message::HaveAll]);
    for piece in 0..pieces as u32 {
        room.hear(0, on_leech, &[Message::Suggest(piece), Message::AllowedFast(piece)]);
    }
    let connection = &room.hosts[0].peers[&on_leech];
    assert!(connection.suggested.len() <= connection::SUGGESTED_MAX);
    assert!(connection.allowed.len() <= connection::ALLOWED_MAX);
    assert_eq!((connection::SUGGESTED_MAX, connection::ALLOWED_MAX), (16, 32));
}

#[test]
fn a_seed_proposes_to_others_what_a_hoarder_keeps() {
    let mut room = Room::new(1, 1);
    let request = |piece: u32, begin| {
        let block = geometry().block(PieceIndex(piece), u32::from(begin > 0));
        Message::Request(Request { index: piece, begin, len: block.len })
    };
    let suggested = |told: &[Message]| -> Vec<u32> {
        let piece = |m: &Message| if let Message::Suggest(piece) = m { Some(*piece) } else { None };
        told.iter().filter_map(piece).collect()
    };
    let peers: Vec<PeerKey> = (100..103).map(|name| room.attach_as(0, name)).collect();
    let mut theirs = Vec::new();
    for &peer in &peers {
        let told = room.hear(0, peer, &[Message::HaveNone, Message::Interested]);
        theirs.push(suggested(&told));
    }
    assert!(theirs.iter().all(|pieces| pieces.len() == 4), "{theirs:?}");
    for (&peer, pieces) in peers.iter().zip(&theirs) {
        for &piece in pieces {
            room.hear(0, peer, &[request(piece, 0), request(piece, BLOCK_LEN)]);
            room.hear(0, peer, &[Message::Have(piece)]);
        }
    }
    // The first and the last exchange theirs; the second keeps its own.
    let [first, hoarder, last] = peers[..] else { panic!("three") };
    room.now += Duration::from_secs(2);
    for (peer, other) in [(first, 2), (last, 0)] {
        for &piece in &theirs[other] {
            room.hear(0, peer, &[Message::Have(piece)]);
        }
    }
    room.sent.clear();
    room.pass(Duration::from_secs(60));
    let flags: Vec<bool> =
        room.hosts[0].peers(room.now).iter().map(|peer| peer.free_rider).collect();
    assert_eq!(flags, [false, true, false], "{hoarder:?}");
    let told: Vec<Message> = room.sent.iter().map(|(_, message)| message.clone()).collect();
    let mut again = suggested(&told);
    again.sort_unstable();
    theirs[1].sort_unstable();
    assert_eq!(again, theirs[1], "once more, to others");
}

#[test]
fn a_silent_peer_is_snubbed_and_its_blocks_go_elsewhere() {
    let mut room = Room::new(3, 2);
    room.silent.insert(0);
    let (on_leech, _) = room.connect(2, 0);
    room.pass(Duration::from_secs(5));
    assert!(!room.hosts[2].peers[&on_leech].asked.is_empty());
    room.pass(Duration::from_secs(60));
    assert!(room.hosts[2].peers[&on_leech].snubbed);
    room.connect(2, 1);
    room.pass(Duration::from_secs(5));
    assert!(room.done(2));
}

#[test]
fn a_peer_that_fills_the_memory_and_falls_silent_holds_nobody_up() {
    let large = Geometry::new(Version::V1, 256 << 20, 256 << 10).unwrap();
    let mut room = Room::new(1, 0);
    room.hosts[0] = machine(0);
    let empty = Bitfield::empty(large.pieces());
    room.hosts[0].set_content(room.now, info(), large, empty, |_| Priority::Normal);
    let [dead, live] = [100, 101].map(|name| room.attach_as(0, name));
    let requests = |messages: Vec<Message>| -> Vec<Request> {
        let request = |message| match message {
            Message::Request(request) => Some(request),
            _ => None,
        };
        messages.into_iter().filter_map(request).collect()
    };
    let reqq = Message::Extended { id: 0, payload: b"d4:reqqi2000ee"[..].into() };
    let mut owed = requests(room.hear(0, dead, &[reqq, Message::HaveAll, Message::Unchoke]));
    // It is fast until it is asked for all that may be in memory.
    let most = (6 << 20) / BLOCK_LEN as usize;
    for _ in 0..200 {
        room.now += Duration::from_millis(10);
        room.hosts[0].handle_timeout(room.now);
        room.sent.clear();
        for Request { index, begin, len } in owed.drain(..owed.len().min(48)) {
            let fate = room.hosts[0].handle_block(room.now, dead, index, begin, len);
            assert!(matches!(fate, Fate::Keep(_)));
        }
        owed.extend(requests(room.hear(0, dead, &[])));
    }
    assert!(owed.len() >= most * 3 / 4, "{} are owed", owed.len());
    // The other one answers at once, as long as it is asked.
    let mut wanted = requests(room.hear(0, live, &[Message::HaveAll, Message::Unchoke]));
    let mut served = Vec::new();
    for _ in 0..2 {
        let until = room.now + PATIENCE - TICK;
        let mut count = 0;
        while room.now < until || (!wanted.is_empty() && count < most) {
            room.sent.clear();
            count += wanted.len();
            for Request { index, begin, len } in wanted.drain(..) {
                let _ = room.hosts[0].handle_block(room.now, live, index, begin, len);
            }
            room.pass(TICK);
            let sent = std::mem::take(&mut room.sent);
            wanted = requests(sent.into_iter().map(|(_, message)| message).collect());
        }
        served.push(count);
    }
    assert!(served[0] < most / 4 && served[1] >= most, "served {served:?}");
    // What it owed comes after all, all of it: it is not closed for that.
    for Request { index, begin, len } in owed {
        let _ = room.hosts[0].handle_block(room.now, dead, index, begin, len);
    }
    room.settle();
    assert_eq!(room.closed, []);
}

#[test]
fn a_withdrawn_request_is_answered_with_a_reject() {
    let mut room = Room::new(1, 1);
    let on_seed = room.attach(0);
    room.hosts[0].set_limits(room.now, None, Some(BytesPerSec(1)));
    room.hosts[0].handle_message(room.now, on_seed, Message::Interested);
    room.settle();
    let seed = &mut room.hosts[0];
    let block = Request { index: 3, begin: 0, len: BLOCK_LEN };
    seed.handle_message(room.now, on_seed, Message::Request(block));
    seed.handle_message(room.now, on_seed, Message::Request(Request { index: 4, ..block }));
    while seed.poll_transmit().is_some() {}
    seed.handle_message(room.now, on_seed, Message::Cancel(Request { index: 4, ..block }));
    let answer = seed.poll_transmit();
    let reject = Message::Reject(Request { index: 4, ..block });
    assert_eq!(answer, Some(Transmit::Send { peer: on_seed, message: reject }));
}

#[test]
fn upload_limits_hold_over_a_minute() {
    let mut room = Room::new(2, 1);
    let limit = BytesPerSec(u64::from(BLOCK_LEN) / 4);
    room.hosts[0].set_limits(room.now, None, Some(limit));
    room.connect(1, 0);
    room.pass(Duration::from_secs(60));
    let sent = room.hosts[0].status(room.now).uploaded;
    let fair = limit.0 * 60;
    assert!(sent <= fair + 2 * u64::from(BLOCK_LEN), "{sent} of {fair}");
    assert!(sent + 3 * u64::from(BLOCK_LEN) >= fair, "{sent} of {fair}");
}

#[test]
fn download_limits_hold_over_a_minute() {
    let mut room = Room::new(2, 1);
    let limit = BytesPerSec(u64::from(BLOCK_LEN) / 4);
    room.hosts[1].set_limits(room.now, Some(limit), None);
    room.connect(1, 0);
    room.pass(Duration::from_secs(60));
    let got = room.hosts[1].status(room.now).downloaded;
    let fair = limit.0 * 60;
    assert!(got <= fair + 2 * u64::from(BLOCK_LEN), "{got} of {fair}");
    assert!(got + 3 * u64::from(BLOCK_LEN) >= fair, "{got} of {fair}");
}

#[test]
fn garbage_in_the_extension_handshake_costs_nothing() {
    let mut room = Room::new(2, 1);
    let (on_leech, _) = room.connect(1, 0);
    for payload in [&b"garbage"[..], b"", b"de", b"d13:metadata_sizei-5ee"] {
        let message = Message::Extended { id: 0, payload: payload.into() };
        room.hosts[1].handle_message(room.now, on_leech, message);
    }
    room.pass(Duration::from_secs(3));
    assert!(room.done(1));
}

#[test]
fn whoever_gives_no_slots_gives_a_newcomer_nothing_either() {
    let mut room = Room::new(2, 1);
    room.hosts[0].config.choker.slots = Slots::Fixed(0);
    room.connect(1, 0);
    room.pass(Duration::from_secs(5));
    assert!(!room.sent.iter().any(|(_, message)| matches!(message, Message::AllowedFast(_))));
}
