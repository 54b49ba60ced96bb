//! What the fuzz target and the replay of its corpus both run: a whole connection's incoming bytes.
//!
//! Byte 0 says what is known (bit 0: metadata, bit 1: fast extension); byte 1 how many bytes each read brings
//! (0: all of them). The rest is the stream, from the handshake on; one that is none begins at the messages.

use bytes::{Bytes, BytesMut};
use gaggle_core::geometry::{Geometry, PieceIndex, Version};
use gaggle_core::proto::extension::{
    Extension, ExtensionHandshake, HANDSHAKE_ID, METADATA_LEN_MAX, MetadataMessage,
};
use gaggle_core::proto::peer::{
    Bounds, Decoder, Frame, HandshakeReader, Input, Message, Reserved, Session,
};

/// Runs one input; panics if something holds too much, names what does not exist, or reads differently when
/// written again. Returns how many frames were read, and whether all that came was legal.
pub(crate) fn peer_wire(data: &[u8]) -> (usize, bool) {
    let [flags, cut, stream @ ..] = data else { return (0, true) };
    let geometry = Geometry::new(Version::V1, 19 * 65536 + 1000, 65536).expect("a torrent");
    let known = (flags & 1 != 0).then_some(geometry);
    let ours = Reserved::NONE.with_extension();
    let ours = if flags & 2 != 0 { ours.with_fast() } else { ours };

    let mut handshake = HandshakeReader::default();
    let taken = handshake.feed(stream).unwrap_or(0);
    let theirs = handshake.complete().map_or(ours, |theirs| theirs.reserved);
    let mut rest = &stream[if handshake.complete().is_some() { taken } else { 0 }..];

    let bounds = Bounds::new(known.map(|geometry| geometry.pieces()));
    let (mut decoder, mut input) = (Decoder::new(bounds), BytesMut::new());
    let mut session = Session::new(ours, theirs, known);
    let mut peer = ExtensionHandshake::default();
    let mut frames = 0;
    loop {
        loop {
            let Ok(frame) = decoder.next(&mut input) else { return (frames, false) };
            let Some(frame) = frame else { break };
            frames += 1;
            let legal = match frame {
                Frame::Block { index, begin, data } => {
                    session.on_block(index, begin, data.len() as u32).is_ok()
                }
                Frame::Message(message) => {
                    reads_the_same(&message);
                    session
                        .on_message(message)
                        .is_ok_and(|input| use_input(input, geometry, &mut peer))
                }
            };
            if !legal {
                return (frames, false);
            }
        }
        assert!(input.len() + decoder.wants() <= bounds.buffered_max());
        if rest.is_empty() {
            return (frames, session.metadata_known(geometry).is_ok());
        }
        let read = if *cut == 0 { usize::MAX } else { usize::from(*cut) };
        let (now, later) = rest.split_at(read.min(decoder.wants()).min(rest.len()));
        input.extend_from_slice(now);
        rest = later;
    }
}

fn reads_the_same(message: &Message) {
    if !matches!(message, Message::Unknown(_)) {
        let mut again = BytesMut::from(&message.to_bytes()[..]);
        let read = Decoder::new(Bounds::new(None)).next(&mut again);
        if matches!(message, Message::Bitfield(bits) if bits.is_empty()) {
            return; // the bitfield of a torrent without pieces, of which there are none
        }
        assert_eq!(read, Ok(Some(Frame::Message(message.clone()))));
    }
}

fn use_input(input: Input, geometry: Geometry, peer: &mut ExtensionHandshake) -> bool {
    match input {
        Input::Request(block) | Input::Cancel(block) | Input::Reject(block) => {
            assert!(geometry.contains(block));
        }
        Input::Have(PieceIndex(i))
        | Input::Suggest(PieceIndex(i))
        | Input::AllowedFast(PieceIndex(i)) => {
            assert!(i < geometry.pieces());
        }
        Input::Pieces(has) => assert_eq!(has.len(), geometry.pieces()),
        Input::Extended { id: HANDSHAKE_ID, payload } => {
            let Ok(said) = ExtensionHandshake::parse(&payload) else { return false };
            assert_eq!(ExtensionHandshake::parse(&said.encode()), Ok(said.clone()));
            assert!(said.metadata_size.is_none_or(|size| size <= METADATA_LEN_MAX));
            peer.update(said);
        }
        Input::Extended { id, payload }
            if Extension::from_our_id(id) == Some(Extension::Metadata) =>
        {
            return metadata(&payload);
        }
        _ => {}
    }
    true
}

fn metadata(payload: &Bytes) -> bool {
    let Ok(said) = MetadataMessage::parse(payload) else { return false };
    if let Some(said) = said {
        assert_eq!(MetadataMessage::parse(&said.encode()), Ok(Some(said)));
    }
    true
}
