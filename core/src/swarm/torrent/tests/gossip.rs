//! Peer exchange as a peer sees it, and private torrents, which have none.

use super::*;
use crate::proto::extension::{
    Extension, ExtensionHandshake, Ids, PEX_MAX, PexFlags, PexMessage, PexPeer,
};
use crate::proto::peer::Reserved;
use crate::scope::Scope;
use proptest::prelude::{any, prop, prop_assert, proptest};
use std::net::IpAddr;
use std::num::NonZeroU16;

/// The id under which the peers of these tests hear of others.
const THEIR_PEX: u8 = 7;

fn public(n: usize) -> SocketAddr {
    SocketAddr::from(([9, 9, (n >> 8) as u8, n as u8], 6881))
}

/// A machine with some peers that only do what the test does.
struct Host {
    now: Instant,
    torrent: Torrent,
    said: Vec<(PeerKey, Message)>,
    closed: Vec<(PeerKey, Close)>,
}

impl Host {
    fn new(pex: bool) -> Self {
        let mut torrent = machine(0);
        torrent.config.pex = pex;
        Self { now: Instant::ZERO, torrent, said: Vec::new(), closed: Vec::new() }
    }

    fn with_content(pex: bool, raw: &'static [u8]) -> Self {
        let mut host = Self::new(pex);
        host.set_content(raw);
        host
    }

    fn set_content(&mut self, raw: &'static [u8]) {
        let (raw, have) = (Bytes::from_static(raw), Bitfield::empty(PIECES));
        self.torrent.set_content(self.now, raw, geometry(), have, |_| Priority::Normal);
        self.settle();
    }

    fn connect(&mut self, addr: SocketAddr, direction: Direction) -> PeerKey {
        let mut peer_id = [b'p'; 20];
        peer_id[..16].copy_from_slice(&match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        peer_id[16..18].copy_from_slice(&addr.port().to_be_bytes());
        let (peer_id, reserved) = (PeerId(peer_id), Torrent::reserved());
        let hello = Hello { addr, direction, peer_id, reserved };
        let peer = self.torrent.handle_connected(self.now, &hello).unwrap();
        let theirs = ExtensionHandshake {
            ids: Ids::default().with(Extension::Pex, THEIR_PEX),
            port: NonZeroU16::new(6881),
            ..ExtensionHandshake::default()
        };
        self.hear(peer, 0, theirs.encode());
        peer
    }

    fn hear(&mut self, peer: PeerKey, id: u8, payload: Bytes) {
        self.torrent.handle_message(self.now, peer, Message::Extended { id, payload });
        self.settle();
    }

    fn hear_of(&mut self, peer: PeerKey, addrs: &[&str]) {
        let added = addrs
            .iter()
            .map(|addr| PexPeer { addr: addr.parse().unwrap(), flags: PexFlags::NONE })
            .collect();
        let message = PexMessage { added, dropped: Vec::new() };
        self.hear(peer, Extension::Pex.our_id(), message.encode());
    }

    fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now += Duration::from_secs(1);
            self.torrent.handle_timeout(self.now);
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(transmit) = self.torrent.poll_transmit() {
            match transmit {
                Transmit::Send { peer, message } => self.said.push((peer, message)),
                Transmit::Close { peer, reason } => {
                    self.closed.push((peer, reason));
                    self.torrent.handle_disconnected(self.now, peer, None);
                }
            }
        }
    }

    /// What this peer has been told of others since the last time.
    fn told(&mut self, to: PeerKey) -> Vec<PexMessage> {
        let said = std::mem::take(&mut self.said);
        said.into_iter()
            .filter_map(|(peer, message)| match message {
                Message::Extended { id: THEIR_PEX, payload } if peer == to => {
                    Some(PexMessage::parse(&payload).unwrap())
                }
                _ => None,
            })
            .collect()
    }

    fn dials(&mut self) -> Vec<SocketAddr> {
        std::iter::from_fn(|| self.torrent.poll_dial(self.now)).collect()
    }

    /// What the last extension handshake to this peer offered.
    fn offered(&self, to: PeerKey) -> ExtensionHandshake {
        let said = self.said.iter().rev().find_map(|(peer, message)| match message {
            Message::Extended { id: 0, payload } if *peer == to => Some(payload),
            _ => None,
        });
        ExtensionHandshake::parse(said.expect("it introduced itself")).unwrap()
    }
}

const OPEN: &[u8] = b"d6:lengthi5ee";
const PRIVATE: &[u8] = b"d6:lengthi5e7:privatei1ee";

#[test]
fn two_peers_of_one_learn_of_each_other() {
    let mut room = Room::new(3, 0);
    room.connect(1, 0);
    room.connect(2, 0);
    room.pass(Duration::from_secs(8));
    for (host, other) in [(1, 2), (2, 1)] {
        let dials: Vec<_> = std::iter::from_fn(|| room.hosts[host].poll_dial(room.now)).collect();
        assert_eq!(dials, [addr(other)]);
    }
}

#[test]
fn a_peer_hears_what_changed_and_not_more_than_once_a_minute() {
    let mut host = Host::with_content(true, OPEN);
    let listener = host.connect(public(0), Direction::Incoming);
    let first = host.connect(public(1), Direction::Outgoing);
    assert!(host.told(listener).is_empty(), "others may be right behind");
    host.pass(10);
    let reachable = PexFlags::REACHABLE;
    let one = PexPeer { addr: public(1), flags: reachable };
    assert_eq!(host.told(listener), [PexMessage { added: vec![one], dropped: vec![] }]);
    // A caller is told by the port that it named, not by the one it called from.
    let caller = SocketAddr::new(public(2).ip(), 40_000);
    host.connect(caller, Direction::Incoming);
    host.torrent.handle_disconnected(host.now, first, None);
    host.pass(40);
    assert!(host.told(listener).is_empty(), "not yet a minute");
    host.pass(25);
    let two = PexPeer { addr: public(2), flags: PexFlags::NONE };
    let message = PexMessage { added: vec![two], dropped: vec![public(1)] };
    assert_eq!(host.told(listener), [message]);
    host.pass(300);
    assert!(host.told(listener).is_empty(), "nothing changed");
}

#[test]
fn fifty_at_a_time_until_all_are_told() {
    let mut host = Host::with_content(true, OPEN);
    let listener = host.connect(public(0), Direction::Incoming);
    let others: Vec<PeerKey> =
        (1..=70).map(|n| host.connect(public(n), Direction::Outgoing)).collect();
    host.pass(130);
    let told = host.told(listener);
    let sizes: Vec<usize> = told.iter().map(|message| message.added.len()).collect();
    assert_eq!(sizes, [PEX_MAX, 20]);
    let names: BTreeSet<SocketAddr> =
        told.iter().flat_map(|message| &message.added).map(|peer| peer.addr).collect();
    assert_eq!(names, (1..=70).map(public).collect(), "and never itself");
    for peer in others {
        host.torrent.handle_disconnected(host.now, peer, None);
    }
    host.pass(130);
    let told = host.told(listener);
    let sizes: Vec<usize> = told.iter().map(|message| message.dropped.len()).collect();
    assert_eq!(sizes, [PEX_MAX, 20]);
}

#[test]
fn near_addresses_are_told_to_near_peers_only() {
    let mut host = Host::with_content(true, OPEN);
    let at = |text: &str| text.parse().unwrap();
    let far = host.connect(public(0), Direction::Incoming);
    let private = host.connect(at("10.0.0.1:6881"), Direction::Outgoing);
    let local = host.connect(at("127.0.0.1:6881"), Direction::Outgoing);
    host.pass(10);
    let said = host.said.clone();
    let mut told = |to| {
        host.said.clone_from(&said);
        let told = host.told(to);
        let names = told.iter().flat_map(|message| &message.added).map(|peer| peer.addr);
        names.collect::<BTreeSet<SocketAddr>>()
    };
    assert_eq!(told(far), BTreeSet::new());
    assert_eq!(told(private), BTreeSet::from([public(0)]));
    assert_eq!(told(local), BTreeSet::from([public(0), at("10.0.0.1:6881")]));
}

#[test]
fn attack_25_addresses_are_validated_and_counted() {
    let mut host = Host::with_content(true, OPEN);
    let stranger = host.connect(public(0), Direction::Incoming);
    let shake = ExtensionHandshake {
        your_ip: Some("8.8.8.8".parse().unwrap()),
        ..ExtensionHandshake::default()
    };
    host.hear(stranger, 0, shake.encode());
    host.dials();
    let ours = "8.8.8.8:6881"; // as this peer sees us
    host.hear_of(
        stranger,
        &[
            "1.1.1.1:0",
            "0.0.0.0:6881",
            "224.0.0.1:6881",
            "255.255.255.255:6881",
            "127.0.0.1:80",
            "10.0.0.1:6881",
            "192.168.1.1:80",
            "169.254.169.254:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[fe80::1]:6881",
            "[fd00::1]:6881",
            "[ff02::1]:6881",
            ours,
            "7.7.7.7:6881",
            "[2001:db8::7]:6881",
        ],
    );
    let dials: BTreeSet<SocketAddr> = host.dials().into_iter().collect();
    let good = ["7.7.7.7:6881", "[2001:db8::7]:6881"].map(|addr| addr.parse().unwrap());
    assert_eq!(dials, BTreeSet::from(good));
    // A neighbour may tell of neighbours; of this machine only this machine may.
    let neighbour = host.connect("10.0.0.2:6881".parse().unwrap(), Direction::Outgoing);
    host.hear_of(neighbour, &["10.0.0.3:6881", "127.0.0.1:80"]);
    assert_eq!(host.dials(), ["10.0.0.3:6881".parse().unwrap()]);
    // The list of one message is cut; the next one of the same minute is not looked at.
    let many: Vec<String> = (0..400).map(|n| format!("6.6.{}.{}:1", n / 200, n % 200)).collect();
    let other = host.connect(public(1), Direction::Incoming);
    let before = host.torrent.roster.candidates();
    for many in many.chunks(80) {
        host.hear_of(other, &many.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(host.torrent.roster.candidates() - before, PEX_MAX);
}

#[test]
fn attack_25_a_flood_closes_the_connection_and_the_third_one_bans() {
    let mut host = Host::with_content(true, OPEN);
    for round in 1..=3 {
        let peer = host.connect(public(0), Direction::Outgoing);
        for _ in 0..7 {
            host.hear_of(peer, &["7.7.7.7:1"]);
            assert_eq!(host.closed.len(), round - 1, "in round {round}");
        }
        host.torrent.handle_message(
            host.now,
            peer,
            Message::Extended { id: Extension::Pex.our_id(), payload: Bytes::from_static(b"de") },
        );
        let Some(Transmit::Close { reason, .. }) = host.torrent.poll_transmit() else {
            panic!("the flood goes on")
        };
        host.torrent.handle_disconnected(host.now, peer, Some(reason.blame()));
        host.closed.push((peer, reason));
    }
    assert!(host.closed.iter().all(|(_, reason)| *reason == Close::GossipFlood));
    assert!(host.torrent.roster.is_banned(public(0)));
}

#[test]
fn attack_13_a_private_torrent_neither_tells_nor_hears() {
    for (pex, raw) in [(true, PRIVATE), (false, OPEN)] {
        let mut host = Host::with_content(pex, raw);
        let peer = host.connect(public(0), Direction::Incoming);
        host.connect(public(1), Direction::Incoming);
        assert_eq!(host.offered(peer).ids.of(Extension::Pex), None);
        host.dials();
        host.hear_of(peer, &["7.7.7.7:6881"]);
        host.pass(100);
        assert!(host.told(peer).is_empty());
        assert_eq!(host.dials(), []);
        for _ in 0..100 {
            host.hear_of(peer, &["7.7.7.7:6881"]); // nobody listens, so nobody is annoyed
        }
        assert!(host.closed.is_empty(), "{:?}", host.closed);
    }
}

#[test]
fn attack_13_peers_of_a_private_torrent_come_from_its_tracker() {
    let mut host = Host::with_content(true, PRIVATE);
    let sources = [
        Source::Pex,
        Source::Dht,
        Source::Incoming,
        Source::Lsd,
        Source::Tracker,
        Source::Resume,
        Source::Magnet,
        Source::Explicit,
    ];
    for (n, source) in sources.into_iter().enumerate() {
        host.torrent.handle_candidates(host.now, source, &[public(n)]);
    }
    // What a person typed is not announced anywhere, and stands.
    assert_eq!(host.dials(), [public(7), public(4)]);
    let caller = SocketAddr::new(public(100).ip(), 40_000);
    host.connect(caller, Direction::Incoming);
    assert_eq!(host.dials(), [], "a caller is served and not called back");
    assert!(host.closed.is_empty());
}

#[test]
fn attack_13_a_magnet_that_turns_out_private_parts_from_strangers() {
    let mut host = Host::new(true);
    let magnet = public(1);
    let tracked = public(2);
    host.torrent.handle_candidates(host.now, Source::Magnet, &[magnet, tracked, public(3)]);
    host.torrent.handle_candidates(host.now, Source::Tracker, &[tracked]);
    assert_eq!(host.dials().len(), 3);
    let stranger = host.connect(magnet, Direction::Outgoing);
    let member = host.connect(tracked, Direction::Outgoing);
    let caller = host.connect(public(4), Direction::Incoming);
    assert_eq!(host.offered(member).ids.of(Extension::Pex), Some(Extension::Pex.our_id()));
    host.said.clear();
    host.set_content(PRIVATE);
    assert_eq!(host.closed, [(stranger, Close::Private)]);
    for peer in [member, caller] {
        // An id of 0 takes back what was offered.
        let payload = host.said.iter().find_map(|(to, message)| match message {
            Message::Extended { id: 0, payload } if *to == peer => Some(payload),
            _ => None,
        });
        let text = payload.expect("a second handshake").escape_ascii().to_string();
        assert!(text.contains("6:ut_pexi0e"), "{text}");
    }
    // The third dial was under way.
    let late = Hello {
        addr: public(3),
        direction: Direction::Outgoing,
        peer_id: PeerId([3; 20]),
        reserved: Reserved::NONE,
    };
    assert!(host.torrent.handle_connected(host.now, &late).is_err());
    host.pass(200);
    assert_eq!(host.dials(), [], "and nobody of them is dialled again");
}

proptest! {
    #[test]
    fn attack_25_no_bytes_bring_more_than_fifty_or_anything_near(
        lists in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..1000)), 1..4),
    ) {
        let mut host = Host::with_content(true, OPEN);
        let stranger = host.connect(public(0), Direction::Incoming);
        host.dials();
        let before = host.torrent.roster.candidates();
        for (v6, list) in lists {
            let key = if v6 { "added6" } else { "added" };
            let payload = crate::bencode::Dict::new().bytes(key, list).into_bytes();
            host.hear(stranger, Extension::Pex.our_id(), payload.into());
        }
        prop_assert!(host.torrent.roster.candidates() - before <= PEX_MAX);
        let far = |addr: &SocketAddr| Scope::of(addr.ip()) == Some(Scope::Global);
        prop_assert!(host.dials().iter().all(far));
    }
}
