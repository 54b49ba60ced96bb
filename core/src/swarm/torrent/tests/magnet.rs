//! Metadata over whole machines: from several peers, around those that refuse or lie.

use super::*;
use crate::proto::extension::{
    Extension, ExtensionHandshake, Ids, METADATA_PIECE_LEN, MetadataMessage, metadata_range,
};

/// The id under which the peers of these tests speak of metadata.
const THEIR_ID: u8 = 3;

/// A magnet, and peers that claim to have its metadata and answer as the test does.
struct Magnet {
    now: Instant,
    torrent: Torrent,
}

impl Magnet {
    fn new() -> Self {
        Self { now: Instant::ZERO, torrent: machine(0) }
    }

    fn join(&mut self, n: usize, size: usize) -> PeerKey {
        let hello = Hello {
            addr: addr(n),
            direction: Direction::Incoming,
            peer_id: PeerId([n as u8 + 1; 20]),
            reserved: Torrent::reserved(),
        };
        let peer = self.torrent.handle_connected(self.now, &hello).unwrap();
        let handshake = ExtensionHandshake {
            ids: Ids::default().with(Extension::Metadata, THEIR_ID),
            metadata_size: Some(size as u32),
            ..ExtensionHandshake::default()
        };
        let message = Message::Extended { id: 0, payload: handshake.encode() };
        self.torrent.handle_message(self.now, peer, message);
        peer
    }

    /// What each peer has been asked for.
    fn asked(&mut self) -> Vec<(PeerKey, u32)> {
        let mut asked = Vec::new();
        while let Some(transmit) = self.torrent.poll_transmit() {
            if let Transmit::Send { peer, message: Message::Extended { id: THEIR_ID, payload } } =
                transmit
                && let Ok(Some(MetadataMessage::Request { piece })) =
                    MetadataMessage::parse(&payload)
            {
                asked.push((peer, piece));
            }
        }
        asked
    }

    fn answer(&mut self, peer: PeerKey, message: &MetadataMessage) {
        let (id, payload) = (Extension::Metadata.our_id(), message.encode());
        self.torrent.handle_message(self.now, peer, Message::Extended { id, payload });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.torrent.handle_timeout(self.now);
    }

    fn metadata(&mut self) -> Option<Bytes> {
        std::iter::from_fn(|| self.torrent.poll_event()).find_map(|event| match event {
            Event::Metadata(info) => Some(info),
            _ => None,
        })
    }
}

fn piece(of: &Bytes, piece: u32) -> MetadataMessage {
    let total_size = of.len() as u32;
    let data = of.slice(metadata_range(total_size, piece).unwrap());
    MetadataMessage::Data { piece, total_size, data }
}

#[test]
fn several_peers_give_parts_and_one_that_leaves_is_replaced() {
    let mut magnet = Magnet::new();
    let first = magnet.join(1, info().len());
    let asked = magnet.asked();
    assert_eq!(asked.len(), info().len().div_ceil(METADATA_PIECE_LEN as usize));
    let second = magnet.join(2, info().len());
    assert!(magnet.asked().is_empty(), "everything is asked for");
    magnet.answer(first, &piece(&info(), 0));
    magnet.torrent.handle_disconnected(magnet.now, first, None);
    magnet.pass(Duration::from_secs(1));
    let rest = magnet.asked();
    assert_eq!(rest, [(second, 1), (second, 2)]);
    for (peer, at) in rest {
        magnet.answer(peer, &piece(&info(), at));
    }
    assert_eq!(magnet.metadata(), Some(info()));
}

#[test]
fn attack_24_who_rejects_for_ever_is_asked_seldom_and_holds_nobody_up() {
    let mut magnet = Magnet::new();
    let refuser = magnet.join(1, info().len());
    let mut asked = 0;
    for _ in 0..600 {
        for (peer, piece) in magnet.asked() {
            assert_eq!(peer, refuser);
            asked += 1;
            magnet.answer(peer, &MetadataMessage::Reject { piece });
        }
        magnet.pass(Duration::from_millis(500));
    }
    // Five minutes: three pieces every 20 s at most, each reject answered by nothing.
    assert!((3..=3 * 16).contains(&asked), "{asked}");
    let giver = magnet.join(2, info().len());
    for _ in 0..4 {
        for (peer, at) in magnet.asked() {
            match peer == giver {
                true => magnet.answer(peer, &piece(&info(), at)),
                false => magnet.answer(peer, &MetadataMessage::Reject { piece: at }),
            }
        }
        magnet.pass(Duration::from_millis(500));
    }
    assert_eq!(magnet.metadata(), Some(info()));
}

#[test]
fn attack_24_the_right_size_with_a_wrong_hash_bans_and_is_asked_of_others() {
    let mut magnet = Magnet::new();
    let liar = magnet.join(1, info().len());
    let forged = Bytes::from(vec![b'x'; info().len()]);
    for (peer, at) in magnet.asked() {
        magnet.answer(peer, &piece(&forged, at));
    }
    let event = magnet.torrent.poll_event();
    assert!(matches!(event, Some(Event::Banned { peer, .. }) if peer == addr(1)), "{event:?}");
    while let Some(transmit) = magnet.torrent.poll_transmit() {
        if let Transmit::Close { peer, reason } = transmit {
            assert_eq!((peer, reason), (liar, Close::Banned));
            magnet.torrent.handle_disconnected(magnet.now, peer, Some(Blame::Remote));
        }
    }
    magnet.join(2, info().len());
    for (peer, at) in magnet.asked() {
        magnet.answer(peer, &piece(&info(), at));
    }
    assert_eq!(magnet.metadata(), Some(info()));
}
