//! Cuts the byte stream of a peer into messages and blocks.
//!
//! Decides whether a length is legal for its message id and for what is known of the torrent, as soon as
//! those five bytes are there, so that nothing is ever buffered for an illegal message. Never checks what the
//! numbers inside mean; that is [`super::Session`].

use super::error::WireError;
use super::id;
use super::message::{Message, Request};
use crate::geometry::{BLOCK_LEN, PIECES_MAX};
use bytes::{Buf, Bytes, BytesMut};

/// Longest payload of an extended message; longer closes the connection. Twice rtorrent's limit of 32 KiB,
/// with which it has always found peers; a metadata piece is 16 KiB and 100 PEX entries are 2 KiB.
pub const EXTENDED_MAX: u32 = 64 * 1024;
/// Longest body of a message with an unknown id, which is skipped while it arrives and never held; longer
/// closes the connection. The limit of libtorrent and rtorrent for any message.
pub const UNKNOWN_MAX: u32 = 1024 * 1024;
/// Most bytes that [`Decoder::wants`] names while an unknown body is skipped: it needs no room of its own.
const SKIP_STEP: usize = 16 * 1024;

/// What lengths are legal on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Pieces of the torrent. `None` while the metadata is unknown: a bitfield then has at most
    /// `PIECES_MAX / 8` bytes.
    pub pieces: Option<u32>,
    /// Longest block; 1 byte is the shortest. Nobody sends more than was asked for.
    pub block_len_max: u32,
    /// Longest payload of an extended message.
    pub extended_max: u32,
    /// Longest body of a message with an unknown id.
    pub unknown_max: u32,
}

impl Bounds {
    /// The usual bounds for a torrent of that many pieces, or for one whose metadata is unknown.
    pub const fn new(pieces: Option<u32>) -> Self {
        Self {
            pieces,
            block_len_max: BLOCK_LEN,
            extended_max: EXTENDED_MAX,
            unknown_max: UNKNOWN_MAX,
        }
    }

    /// Most bytes that a reader ever has to hold for one message, length prefix included.
    pub fn buffered_max(&self) -> usize {
        let bitfield = self.pieces.unwrap_or(PIECES_MAX).div_ceil(8) + 1;
        let longest = bitfield.max(self.block_len_max.saturating_add(9));
        4 + longest.max(self.extended_max.saturating_add(2)).max(13) as usize
    }

    /// Legal lengths of a message, its id included.
    fn of(&self, id: u8) -> (u32, u32) {
        match id {
            id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => (1, 1),
            id::HAVE_ALL | id::HAVE_NONE => (1, 1),
            id::PORT => (3, 3),
            id::HAVE | id::SUGGEST | id::ALLOWED_FAST => (5, 5),
            id::REQUEST | id::CANCEL | id::REJECT => (13, 13),
            id::BITFIELD => match self.pieces {
                Some(pieces) => (1 + pieces.div_ceil(8), 1 + pieces.div_ceil(8)),
                None => (2, 1 + PIECES_MAX / 8),
            },
            id::PIECE => (10, self.block_len_max.saturating_add(9)),
            id::EXTENDED => (2, self.extended_max.saturating_add(2)),
            _ => (1, self.unknown_max.saturating_add(1)),
        }
    }

    fn any_max(&self) -> u32 {
        (self.buffered_max() as u32).max(self.unknown_max.saturating_add(1))
    }
}

/// One thing that a peer said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// Payload. The bytes are a slice of the read buffer, which stays alive as long as they do.
    Block {
        /// Piece as sent, unchecked.
        index: u32,
        /// First byte within the piece as sent, unchecked.
        begin: u32,
        /// At least 1 and at most `block_len_max` bytes.
        data: Bytes,
    },
    /// Anything else. Bodies are copies, so that a bitfield does not keep a whole read buffer.
    Message(Message),
}

/// Cuts a stream. After an error the connection can only be closed: the decoder repeats the error.
#[derive(Clone, Debug)]
pub struct Decoder {
    bounds: Bounds,
    skip: usize,
    wants: usize,
}

impl Decoder {
    /// A decoder at the first byte after the handshake.
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, skip: 0, wants: 4 }
    }

    /// Applies to every message whose length has not been read yet: the metadata became known.
    pub const fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Takes the next message off the front of `input`; `None` when more bytes are needed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let skipped = self.skip.min(input.len());
        input.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            self.wants = self.skip.min(SKIP_STEP);
            return Ok(None);
        }
        let Some((prefix, rest)) = input.split_first_chunk::<4>() else {
            self.wants = 4 - input.len();
            return Ok(None);
        };
        let len = u32::from_be_bytes(*prefix);
        if len == 0 {
            input.advance(4);
            return Ok(Some(Frame::Message(Message::KeepAlive)));
        }
        if len > self.bounds.any_max() {
            return Err(WireError::TooLong { len, max: self.bounds.any_max() });
        }
        let Some(&id) = rest.first() else {
            self.wants = 1;
            return Ok(None);
        };
        let (min, max) = self.bounds.of(id);
        if len < min || len > max {
            return Err(WireError::Length { id, len, min, max });
        }
        if !is_known(id) {
            input.advance(5);
            self.skip = len as usize - 1;
            return Ok(Some(Frame::Message(Message::Unknown(id))));
        }
        let whole = 4 + len as usize;
        if input.len() < whole {
            self.wants = whole - input.len();
            return Ok(None);
        }
        let mut body = input.split_to(whole);
        body.advance(5);
        Ok(Some(parse(id, body)))
    }

    /// After [`Self::next`] gave `None`: how many more bytes the message at the front needs at least. At most
    /// [`Bounds::buffered_max`] together with what is there already.
    pub const fn wants(&self) -> usize {
        self.wants
    }

    /// After [`Self::next`] gave `None`: whether a message was begun and is not complete, which must not
    /// last long. `left` is what is left of the input.
    pub fn mid_message(&self, left: &[u8]) -> bool {
        self.skip > 0 || !left.is_empty()
    }
}

fn is_known(id: u8) -> bool {
    matches!(id, id::CHOKE..=id::PORT | id::SUGGEST..=id::ALLOWED_FAST | id::EXTENDED)
}

/// Reads a body whose length was checked: every `get` has its bytes.
fn parse(id: u8, mut body: BytesMut) -> Frame {
    Frame::Message(match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(body.get_u32()),
        id::BITFIELD => Message::Bitfield(Bytes::copy_from_slice(&body)),
        id::REQUEST => Message::Request(range(&mut body)),
        id::PIECE => {
            let (index, begin) = (body.get_u32(), body.get_u32());
            return Frame::Block { index, begin, data: body.freeze() };
        }
        id::CANCEL => Message::Cancel(range(&mut body)),
        id::PORT => Message::Port(body.get_u16()),
        id::SUGGEST => Message::Suggest(body.get_u32()),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(range(&mut body)),
        id::ALLOWED_FAST => Message::AllowedFast(body.get_u32()),
        id::EXTENDED => {
            let id = body.get_u8();
            Message::Extended { id, payload: Bytes::copy_from_slice(&body) }
        }
        unknown => Message::Unknown(unknown),
    })
}

fn range(body: &mut BytesMut) -> Request {
    Request { index: body.get_u32(), begin: body.get_u32(), len: body.get_u32() }
}
