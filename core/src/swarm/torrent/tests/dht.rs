//! PORT messages: whom we tell of our node of the DHT, and whose we hear of.

use super::*;
use crate::proto::peer::Reserved;

fn connect(torrent: &mut Torrent, n: u8, reserved: Reserved) -> PeerKey {
    let addr = SocketAddr::from(([198, 18, 0, n], 6881));
    let peer_id = PeerId([100 + n; 20]);
    let hello = Hello { addr, direction: Direction::Incoming, peer_id, reserved };
    torrent.handle_connected(Instant::ZERO, &hello).unwrap()
}

fn ports_told(torrent: &mut Torrent) -> Vec<(PeerKey, u16)> {
    let mut told = Vec::new();
    while let Some(transmit) = torrent.poll_transmit() {
        if let Transmit::Send { peer, message: Message::Port(port) } = transmit {
            told.push((peer, port));
        }
    }
    told
}

fn nodes_heard(torrent: &mut Torrent) -> Vec<SocketAddr> {
    let events = std::iter::from_fn(|| torrent.poll_event());
    events
        .filter_map(|event| if let Event::DhtNode(addr) = event { Some(addr) } else { None })
        .collect()
}

#[test]
fn peers_with_a_node_are_told_of_ours_and_tell_of_theirs() {
    let mut torrent = machine(0);
    torrent.config.dht_port = Some(4000);
    let with = connect(&mut torrent, 1, Torrent::reserved_with_dht());
    let without = connect(&mut torrent, 2, Torrent::reserved());
    assert_eq!(ports_told(&mut torrent), [(with, 4000)]);
    torrent.handle_message(Instant::ZERO, with, Message::Port(5000));
    torrent.handle_message(Instant::ZERO, without, Message::Port(5001)); // older than the bit
    torrent.handle_message(Instant::ZERO, without, Message::Port(0));
    let want = ["198.18.0.1:5000", "198.18.0.2:5001"].map(|addr| addr.parse().unwrap());
    assert_eq!(nodes_heard(&mut torrent), want);
    torrent.config.dht_port = None;
    torrent.handle_message(Instant::ZERO, with, Message::Port(5002));
    assert_eq!(nodes_heard(&mut torrent), []);
}

#[test]
fn attack_13_of_a_private_torrent_no_node_is_told_and_none_heard() {
    let mut torrent = machine(0);
    torrent.config.dht_port = Some(4000);
    let raw = Bytes::from_static(b"d6:lengthi5e7:privatei1ee");
    let have = Bitfield::empty(PIECES);
    torrent.set_content(Instant::ZERO, raw, geometry(), have, |_| Priority::Normal);
    let peer = connect(&mut torrent, 1, Torrent::reserved_with_dht());
    assert_eq!(ports_told(&mut torrent), []);
    torrent.handle_message(Instant::ZERO, peer, Message::Port(5000));
    assert_eq!(nodes_heard(&mut torrent), []);
}
