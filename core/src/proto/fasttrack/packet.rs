//! Packets within the deciphered stream: keep-alives of one byte, and payloads whose header is shuffled by a state that
//! runs along with each direction.

use super::WireError;
use bytes::{Buf, Bytes, BytesMut};

const PING: u8 = 0x50;
const PONG: u8 = 0x52;
const PACKET: u8 = 0x4b;
/// First byte and shuffled header.
const HEADER: usize = 5;
/// Payload bytes of most packets; longer closes the connection.
const PAYLOAD_MAX: usize = 16 << 10;

/// Bytes that a packet of this kind may carry: a list of supernodes holds 200, a reply as much as a length can say.
pub const fn payload_max(kind: u16) -> usize {
    match kind {
        0x00 => 8 * super::NODES_MAX,
        0x07 => 0xffff,
        _ => PAYLOAD_MAX,
    }
}

/// A payload with its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// What the payload is.
    pub kind: u16,
    /// At most [`payload_max`] bytes.
    pub payload: Bytes,
}

/// One thing in the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// Anything else.
    Packet(Packet),
    /// "Are you there?"
    Ping,
    /// "I am."
    Pong,
}

/// The running state of one direction.
#[derive(Clone, Copy, Debug)]
struct Order(u32);

impl Order {
    const FIRST: Self = Self(0x51);

    fn shuffle(self, kind: u16, len: u16) -> [u8; 4] {
        let ([type_hi, type_lo], [len_hi, len_lo]) = (kind.to_be_bytes(), len.to_be_bytes());
        match self.0 % 3 {
            0 => [type_lo, type_hi, len_hi, len_lo],
            1 => [type_hi, len_hi, type_lo, len_lo],
            _ => [type_hi, len_lo, len_hi, type_lo],
        }
    }

    fn restore(self, [a, b, c, d]: [u8; 4]) -> (u16, u16) {
        let (kind, len) = match self.0 % 3 {
            0 => ([b, a], [c, d]),
            1 => ([a, c], [b, d]),
            _ => ([a, d], [c, b]),
        };
        (u16::from_be_bytes(kind), u16::from_be_bytes(len))
    }

    fn advance(&mut self, kind: u16, len: u16) {
        self.0 ^= !(u32::from(kind) + u32::from(len));
    }
}

/// Cuts the deciphered bytes of one direction into frames.
#[derive(Clone, Debug)]
pub struct Decoder(Order);

impl Default for Decoder {
    fn default() -> Self {
        Self(Order::FIRST)
    }
}

impl Decoder {
    /// Takes one frame off `buf`; `None`: incomplete, `buf` untouched.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let Some(&selector) = buf.first() else { return Ok(None) };
        let single = match selector {
            PING => Frame::Ping,
            PONG => Frame::Pong,
            PACKET => return self.packet(buf).map(|packet| packet.map(Frame::Packet)),
            other => return Err(WireError::Selector(other)),
        };
        buf.advance(1);
        Ok(Some(single))
    }

    fn packet(&mut self, buf: &mut BytesMut) -> Result<Option<Packet>, WireError> {
        let Some(&[_, a, b, c, d]) = buf.first_chunk::<HEADER>() else { return Ok(None) };
        let (kind, announced) = self.0.restore([a, b, c, d]);
        let (len, max) = (usize::from(announced), payload_max(kind));
        if len > max {
            return Err(WireError::Length { kind, len, max });
        }
        if buf.len() < HEADER + len {
            return Ok(None);
        }
        self.0.advance(kind, announced);
        buf.advance(HEADER);
        Ok(Some(Packet { kind, payload: buf.split_to(len).freeze() }))
    }
}

/// Writes the frames of one direction, not yet enciphered.
#[derive(Clone, Debug)]
pub struct Encoder(Order);

impl Default for Encoder {
    fn default() -> Self {
        Self(Order::FIRST)
    }
}

impl Encoder {
    /// Appends a frame. A payload that is longer than its kind may be is cut off: none of ours is.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        let packet = match frame {
            Frame::Ping => return out.push(PING),
            Frame::Pong => return out.push(PONG),
            Frame::Packet(packet) => packet,
        };
        let len = packet.payload.len().min(payload_max(packet.kind));
        debug_assert_eq!(len, packet.payload.len(), "packet {:#06x}", packet.kind);
        out.push(PACKET);
        out.extend_from_slice(&self.0.shuffle(packet.kind, len as u16));
        out.extend_from_slice(&packet.payload[..len]);
        self.0.advance(packet.kind, len as u16);
    }

    /// The state, for the published vectors.
    #[cfg(test)]
    pub(super) fn state(&self) -> u32 {
        self.0.0
    }
}
