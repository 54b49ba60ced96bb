//! Frames: a length, a number that says what it is, and data.

use super::NapsterError;

/// Bytes before the data: two numbers of 16 bits, the lower byte first.
const HEADER_LEN: usize = 4;

/// One message as it travels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// What it is.
    pub kind: u16,
    /// Its text; at most 65 535 bytes, which is what a header can say.
    pub data: Vec<u8>,
}

impl Frame {
    /// Data that no header could announce is cut off.
    pub fn new(kind: u16, mut data: Vec<u8>) -> Self {
        data.truncate(u16::MAX.into());
        Self { kind, data }
    }

    /// Appends its bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.data.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.data);
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.data.len());
        self.encode_into(&mut out);
        out
    }
}

/// Cuts a stream into frames. Drained after each [`Self::push`], it holds less than one frame.
#[derive(Debug)]
pub struct FrameDecoder {
    max: usize,
    buffer: Vec<u8>,
    /// Bytes at its start that were given out.
    taken: usize,
}

impl FrameDecoder {
    /// For frames with up to `max` bytes of data.
    pub fn new(max: usize) -> Self {
        Self { max, buffer: Vec::new(), taken: 0 }
    }

    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` until more was read.
    ///
    /// # Errors
    /// [`NapsterError::Length`] as soon as the header is there. The stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, NapsterError> {
        let rest = &self.buffer[self.taken..];
        let Some((&[low, high, kind_low, kind_high], body)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let got = usize::from(u16::from_le_bytes([low, high]));
        if got > self.max {
            return Err(NapsterError::Length { got, max: self.max });
        }
        let Some(data) = body.get(..got) else { return Ok(None) };
        let frame = Frame { kind: u16::from_le_bytes([kind_low, kind_high]), data: data.to_vec() };
        self.taken += HEADER_LEN + got;
        Ok(Some(frame))
    }
}
