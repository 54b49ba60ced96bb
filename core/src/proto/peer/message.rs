//! Every message of the peer wire and its bytes.
//!
//! Blocks are not in [`Message`]: their payload is never copied, so they are written as [`piece_header`]
//! followed by the bytes, and read as [`super::Frame::Block`].
//= BEP 3 §peer messages
//= BEP 6

use super::id;
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes in front of a block's payload: length, id, index, begin.
pub const PIECE_HEADER_LEN: usize = 13;

/// Part of a piece as the wire names it: unchecked numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Request {
    /// Piece.
    pub index: u32,
    /// First byte within the piece.
    pub begin: u32,
    /// Bytes.
    pub len: u32,
}

/// A message other than a block, as the wire has it: numbers are not checked against a torrent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// The sender may serve this piece even while it chokes.
    //= BEP 6 §allowed fast
    AllowedFast(u32),
    /// The pieces the sender has, high bit first.
    Bitfield(Bytes),
    /// A request is withdrawn.
    Cancel(Request),
    /// Requests will not be served from now on.
    Choke,
    /// A message of an extension; id 0 is the extension handshake.
    //= BEP 10
    Extended {
        /// Extension message id, as the receiver assigned it.
        id: u8,
        /// What the extension makes of it.
        payload: Bytes,
    },
    /// The sender now has this piece.
    Have(u32),
    /// The sender has every piece.
    //= BEP 6 §have all
    HaveAll,
    /// The sender has no piece.
    //= BEP 6 §have none
    HaveNone,
    /// The sender wants something the receiver has.
    Interested,
    /// Nothing, to keep the connection open.
    KeepAlive,
    /// The sender wants nothing the receiver has.
    NotInterested,
    /// UDP port of the sender's DHT node.
    //= BEP 5 §bittorrent protocol extension
    Port(u16),
    /// A request will not be answered.
    //= BEP 6 §reject request
    Reject(Request),
    /// A block is asked for.
    Request(Request),
    /// The sender would be glad if this piece were asked for.
    //= BEP 6 §suggest piece
    Suggest(u32),
    /// Requests will be served from now on.
    Unchoke,
    /// A message of this id, which nobody here knows; its body is skipped. Encodes without a body.
    Unknown(u8),
}

impl Message {
    /// Bytes on the wire, length prefix included.
    pub fn encoded_len(&self) -> usize {
        4 + match self {
            Self::KeepAlive => 0,
            Self::Choke | Self::Unchoke | Self::Interested | Self::NotInterested => 1,
            Self::HaveAll | Self::HaveNone | Self::Unknown(_) => 1,
            Self::Port(_) => 3,
            Self::AllowedFast(_) | Self::Have(_) | Self::Suggest(_) => 5,
            Self::Cancel(_) | Self::Reject(_) | Self::Request(_) => 13,
            Self::Bitfield(bits) => 1 + bits.len(),
            Self::Extended { payload, .. } => 2 + payload.len(),
        }
    }

    /// Appends the message to `out`.
    pub fn encode_into(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        out.put_u32((self.encoded_len() - 4) as u32);
        match self {
            Self::AllowedFast(piece) => number(out, id::ALLOWED_FAST, *piece),
            Self::Bitfield(bits) => {
                out.put_u8(id::BITFIELD);
                out.put_slice(bits);
            }
            Self::Cancel(request) => range(out, id::CANCEL, *request),
            Self::Choke => out.put_u8(id::CHOKE),
            Self::Extended { id: extension, payload } => {
                out.put_u8(id::EXTENDED);
                out.put_u8(*extension);
                out.put_slice(payload);
            }
            Self::Have(piece) => number(out, id::HAVE, *piece),
            Self::HaveAll => out.put_u8(id::HAVE_ALL),
            Self::HaveNone => out.put_u8(id::HAVE_NONE),
            Self::Interested => out.put_u8(id::INTERESTED),
            Self::KeepAlive => {}
            Self::NotInterested => out.put_u8(id::NOT_INTERESTED),
            Self::Port(port) => {
                out.put_u8(id::PORT);
                out.put_u16(*port);
            }
            Self::Reject(request) => range(out, id::REJECT, *request),
            Self::Request(request) => range(out, id::REQUEST, *request),
            Self::Suggest(piece) => number(out, id::SUGGEST, *piece),
            Self::Unchoke => out.put_u8(id::UNCHOKE),
            Self::Unknown(unknown) => out.put_u8(*unknown),
        }
    }

    /// The bytes of one message.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out.freeze()
    }
}

/// What goes in front of a block's payload of `len` bytes, at most [`super::REQUEST_LEN_MAX`].
pub fn piece_header(index: u32, begin: u32, len: u32) -> [u8; PIECE_HEADER_LEN] {
    let mut raw = [0; PIECE_HEADER_LEN];
    raw[..4].copy_from_slice(&(9 + len).to_be_bytes());
    raw[4] = id::PIECE;
    raw[5..9].copy_from_slice(&index.to_be_bytes());
    raw[9..].copy_from_slice(&begin.to_be_bytes());
    raw
}

fn number(out: &mut BytesMut, id: u8, value: u32) {
    out.put_u8(id);
    out.put_u32(value);
}

fn range(out: &mut BytesMut, id: u8, request: Request) {
    out.put_u8(id);
    out.put_u32(request.index);
    out.put_u32(request.begin);
    out.put_u32(request.len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        #[track_caller]
        fn check(message: &Message, want: &[u8]) {
            assert_eq!(message.to_bytes(), want, "{message:?}");
            assert_eq!(message.encoded_len(), want.len(), "{message:?}");
        }
        let request = Request { index: 1, begin: 0x4000, len: 0x4000 };
        check(&Message::KeepAlive, &[0, 0, 0, 0]);
        check(&Message::Choke, &[0, 0, 0, 1, 0]);
        check(&Message::Unchoke, &[0, 0, 0, 1, 1]);
        check(&Message::Interested, &[0, 0, 0, 1, 2]);
        check(&Message::NotInterested, &[0, 0, 0, 1, 3]);
        check(&Message::Have(0x0102), &[0, 0, 0, 5, 4, 0, 0, 1, 2]);
        check(&Message::Bitfield(Bytes::from_static(&[0x80])), &[0, 0, 0, 2, 5, 0x80]);
        check(
            &Message::Request(request),
            &[0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        );
        check(
            &Message::Cancel(request),
            &[0, 0, 0, 13, 8, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        );
        check(&Message::Port(6881), &[0, 0, 0, 3, 9, 0x1a, 0xe1]);
        check(&Message::Suggest(7), &[0, 0, 0, 5, 13, 0, 0, 0, 7]);
        check(&Message::HaveAll, &[0, 0, 0, 1, 14]);
        check(&Message::HaveNone, &[0, 0, 0, 1, 15]);
        check(
            &Message::Reject(request),
            &[0, 0, 0, 13, 16, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        );
        check(&Message::AllowedFast(7), &[0, 0, 0, 5, 17, 0, 0, 0, 7]);
        let payload = Bytes::from_static(b"de");
        check(&Message::Extended { id: 0, payload }, &[0, 0, 0, 4, 20, 0, b'd', b'e']);
        assert_eq!(piece_header(1, 0x4000, 16384), [0, 0, 0x40, 9, 7, 0, 0, 0, 1, 0, 0, 0x40, 0]);
    }
}
