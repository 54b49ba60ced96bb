//! Meetings that peers ask for, as each of them hears of it.

use super::*;
use crate::proto::extension::{
    Extension, ExtensionHandshake, HolepunchError, HolepunchMessage, Ids,
};
use crate::proto::peer::Reserved;
use std::num::NonZeroU16;

/// The id under which the peers of these tests hear of meetings.
const THEIRS: u8 = 9;

/// A relay with some peers that only do what the test does.
struct Relay {
    now: Instant,
    torrent: Torrent,
    met: u8,
}

impl Relay {
    fn with_content(raw: &'static [u8]) -> Self {
        let mut torrent = machine(0);
        let (raw, have) = (Bytes::from_static(raw), Bitfield::empty(PIECES));
        torrent.set_content(Instant::ZERO, raw, geometry(), have, |_| Priority::Normal);
        Self { now: Instant::ZERO, torrent, met: 0 }
    }

    fn open() -> Self {
        Self::with_content(b"d6:lengthi5ee")
    }

    fn connect(&mut self, addr: &str, direction: Direction, ids: Ids, port: u16) -> PeerKey {
        self.met += 1;
        let (peer_id, reserved) = (PeerId([self.met + 100; 20]), Reserved::NONE.with_extension());
        let hello = Hello { addr: addr.parse().unwrap(), direction, peer_id, reserved };
        let peer = self.torrent.handle_connected(self.now, &hello).unwrap();
        let theirs = ExtensionHandshake {
            ids,
            port: NonZeroU16::new(port),
            your_ip: Some("198.18.0.99".parse().unwrap()),
            ..ExtensionHandshake::default()
        };
        let payload = theirs.encode();
        self.torrent.handle_message(self.now, peer, Message::Extended { id: 0, payload });
        self.said();
        peer
    }

    /// One that called us from any port of its own, and listens on 6881.
    fn caller(&mut self, addr: &str) -> PeerKey {
        self.connect(addr, Direction::Incoming, able(), 6881)
    }

    fn ask(
        &mut self,
        peer: PeerKey,
        message: HolepunchMessage,
    ) -> Vec<(PeerKey, HolepunchMessage)> {
        let (id, payload) = (Extension::Holepunch.our_id(), message.encode());
        self.torrent.handle_message(self.now, peer, Message::Extended { id, payload });
        self.said()
    }

    fn meet(&mut self, peer: PeerKey, there: &str) -> Vec<(PeerKey, HolepunchMessage)> {
        self.ask(peer, HolepunchMessage::Rendezvous(there.parse().unwrap()))
    }

    /// What it has said of meetings since the last time, and to whom.
    fn said(&mut self) -> Vec<(PeerKey, HolepunchMessage)> {
        let mut said = Vec::new();
        while let Some(transmit) = self.torrent.poll_transmit() {
            if let Transmit::Send { peer, message: Message::Extended { id: THEIRS, payload } } =
                transmit
            {
                said.push((peer, HolepunchMessage::parse(&payload).unwrap().unwrap()));
            }
        }
        said
    }

    #[track_caller]
    fn refuses(&mut self, peer: PeerKey, there: &str, error: HolepunchError) {
        let failed = HolepunchMessage::Failed(there.parse().unwrap(), error);
        assert_eq!(self.meet(peer, there), [(peer, failed)], "{there}");
    }
}

fn able() -> Ids {
    Ids::default().with(Extension::Holepunch, THEIRS)
}

fn connect(addr: &str) -> HolepunchMessage {
    HolepunchMessage::Connect(addr.parse().unwrap())
}

#[test]
fn both_are_told_of_the_other_at_the_address_where_it_listens() {
    let mut relay = Relay::open();
    let a = relay.caller("9.9.9.1:50001");
    let b = relay.caller("9.9.8.1:50002");
    let dialled = relay.connect("9.9.7.1:7000", Direction::Outgoing, able(), 0);
    let both = [(a, connect("9.9.8.1:6881")), (b, connect("9.9.9.1:6881"))];
    assert_eq!(relay.meet(a, "9.9.8.1:6881"), both);
    // Whoever has the address of the connection itself finds the same peer, and hears what he asked for.
    let both = [(a, connect("9.9.8.1:50002")), (b, connect("9.9.9.1:6881"))];
    assert_eq!(relay.meet(a, "9.9.8.1:50002"), both);
    let both = [(dialled, connect("9.9.9.1:6881")), (a, connect("9.9.7.1:7000"))];
    assert_eq!(relay.meet(dialled, "9.9.9.1:6881"), both);
}

#[test]
fn what_cannot_be_arranged_is_said_with_the_code_of_the_bep() {
    let mut relay = Relay::open();
    let a = relay.caller("9.9.9.1:50001");
    let deaf = relay.connect("9.9.8.1:7000", Direction::Outgoing, Ids::default(), 0);
    let near = relay.caller("192.168.1.5:50001");
    relay.refuses(a, "9.9.6.1:6881", HolepunchError::NotConnected);
    relay.refuses(a, "224.0.0.1:6881", HolepunchError::NoSuchPeer);
    relay.refuses(a, "9.9.8.1:7000", HolepunchError::NoSupport);
    relay.refuses(a, "9.9.9.1:6881", HolepunchError::NoSelf);
    relay.refuses(a, "198.18.0.99:6881", HolepunchError::NoSelf); // where others see the relay
    // An address in somebody's private net is somebody else's in another, or nobody's.
    relay.refuses(a, "192.168.1.5:6881", HolepunchError::NotConnected);
    relay.refuses(near, "9.9.9.1:6881", HolepunchError::NotConnected);
    // Who does not say that it knows the extension is not answered, as the BEP demands.
    assert_eq!(relay.meet(deaf, "9.9.9.1:6881"), []);
}

#[test]
fn only_a_rendezvous_moves_the_relay() {
    let mut relay = Relay::open();
    let a = relay.caller("9.9.9.1:50001");
    relay.caller("9.9.8.1:50002");
    let there = "9.9.8.1:6881".parse().unwrap();
    assert_eq!(relay.ask(a, HolepunchMessage::Connect(there)), []);
    assert_eq!(relay.ask(a, HolepunchMessage::Failed(there, HolepunchError::NoSelf)), []);
    for raw in [&b""[..], b"\x00", b"\x00\x07abcdef", &[0; 300]] {
        let (id, payload) = (Extension::Holepunch.our_id(), Bytes::from_static(b""));
        let payload = if raw.is_empty() { payload } else { Bytes::copy_from_slice(raw) };
        relay.torrent.handle_message(relay.now, a, Message::Extended { id, payload });
        assert_eq!(relay.said(), [], "{raw:?}");
    }
}

#[test]
fn a_flood_calls_nobody_more_often_than_one_peer_may_be_called() {
    let mut relay = Relay::open();
    let asking: Vec<PeerKey> =
        (1..=20).map(|n| relay.caller(&format!("9.9.{n}.1:50001"))).collect();
    let victim = relay.caller("9.8.8.1:50002");
    let calls = |relay: &mut Relay, rounds: usize| {
        let said = (0..rounds).flat_map(|_| {
            asking.iter().flat_map(|&a| relay.meet(a, "9.8.8.1:6881")).collect::<Vec<_>>()
        });
        said.filter(|(to, _)| *to == victim).count()
    };
    assert_eq!(calls(&mut relay, 100), 20);
    relay.now += Duration::from_secs(20);
    assert_eq!(calls(&mut relay, 100), 10, "one in two seconds");
}

#[test]
fn a_flood_of_one_is_answered_no_more_than_twenty_times() {
    let mut relay = Relay::open();
    let a = relay.caller("9.9.9.1:50001");
    let answers: usize = (0..1000).map(|_| relay.meet(a, "9.9.6.1:6881").len()).sum();
    assert_eq!(answers, 20);
}

#[test]
fn attack_13_nobody_meets_through_a_private_torrent() {
    let mut relay = Relay::with_content(b"d6:lengthi5e7:privatei1ee");
    let a = relay.caller("9.9.9.1:50001");
    relay.caller("9.9.8.1:50002");
    assert_eq!(relay.meet(a, "9.9.8.1:6881"), []);
    assert_eq!(relay.torrent.peers[&a].offered.of(Extension::Holepunch), None);
    let mut open = Relay::open();
    let a = open.caller("9.9.9.1:50001");
    assert!(open.torrent.peers[&a].offered.of(Extension::Holepunch).is_some());
}
