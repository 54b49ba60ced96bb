//! A session without its socket: handshake, cipher and packets, for either side.
//!
//! Bytes go in, frames come out, and the other way round. Decides nothing but whether the bytes are legal; when a
//! silent session ends is for its owner.

use super::handshake::{Answer, HELLO_LEN, Hello, NETWORK, NETWORK_MAX, is_network};
use super::packet::{Decoder, Encoder, Frame};
use super::{From, KeyStream, WireError};
use bytes::{Buf, BytesMut};

/// What the other side has yet to say before packets.
#[derive(Clone, Debug)]
enum Phase {
    /// A node waits for the answer.
    Answer(Hello),
    /// A supernode waits for the first words; its answer is ready.
    Hello(Answer),
    /// Both wait for the network's name.
    Name,
    /// Packets may come.
    Open,
}

/// One end of a session.
#[derive(Clone, Debug)]
pub struct Session {
    them: From,
    phase: Phase,
    /// Key streams of what comes and of what goes.
    keys: Option<(KeyStream, KeyStream)>,
    /// Deciphered, except in the first two phases.
    input: BytesMut,
    output: Vec<u8>,
    decoder: Decoder,
    encoder: Encoder,
    /// Packets for which there is no key yet.
    early: Vec<Frame>,
}

impl Session {
    /// The side of a node, which speaks first.
    pub fn node(hello: Hello) -> Self {
        let mut new = Self::new(From::Supernode, Phase::Answer(hello));
        new.output = hello.encode();
        new
    }

    /// The side of a supernode.
    pub fn supernode(answer: Answer) -> Self {
        Self::new(From::Node, Phase::Hello(answer))
    }

    fn new(them: From, phase: Phase) -> Self {
        Self {
            them,
            phase,
            keys: None,
            input: BytesMut::new(),
            output: Vec::new(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            early: Vec::new(),
        }
    }

    /// Who is at the other end.
    pub const fn them(&self) -> From {
        self.them
    }

    /// Whether both sides have named their network.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Takes what came. After an error the session is of no use.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let before = self.input.len();
        self.input.extend_from_slice(bytes);
        if let Some((theirs, _)) = &mut self.keys {
            theirs.apply(&mut self.input[before..]);
        }
        self.begin()?;
        self.read_name()
    }

    /// The next frame that came.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, WireError> {
        match self.phase {
            Phase::Open => self.decoder.next(&mut self.input),
            _ => Ok(None),
        }
    }

    /// Says something; before there is a key it waits.
    pub fn send(&mut self, frame: Frame) {
        let Some((_, ours)) = &mut self.keys else { return self.early.push(frame) };
        let begin = self.output.len();
        self.encoder.push(&frame, &mut self.output);
        ours.apply(&mut self.output[begin..]);
    }

    /// All that is to be written to the socket.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.output)).filter(|bytes| !bytes.is_empty())
    }

    /// The first exchange, in clear.
    fn begin(&mut self) -> Result<(), WireError> {
        let (hello, answer, used) = match &self.phase {
            Phase::Answer(hello) => {
                let Some(raw) = self.input.first_chunk() else { return Ok(()) };
                let answer = Answer::parse(raw)?;
                answer.check()?;
                (*hello, answer, raw.len())
            }
            Phase::Hello(answer) => {
                let Some(raw) = self.input.first_chunk::<HELLO_LEN>() else { return Ok(()) };
                self.output.extend_from_slice(&answer.encode());
                (Hello::parse(raw)?, *answer, raw.len())
            }
            Phase::Name | Phase::Open => return Ok(()),
        };
        let node = KeyStream::new(hello.seed ^ answer.seed);
        let supernode = KeyStream::new(answer.seed);
        let (mut theirs, mut ours) = match self.them {
            From::Node => (node, supernode),
            From::Supernode => (supernode, node),
        };
        self.input.advance(used);
        theirs.apply(&mut self.input);
        let begin = self.output.len();
        self.output.extend_from_slice(NETWORK.as_bytes());
        self.output.push(0);
        ours.apply(&mut self.output[begin..]);
        self.keys = Some((theirs, ours));
        self.phase = Phase::Name;
        std::mem::take(&mut self.early).into_iter().for_each(|frame| self.send(frame));
        Ok(())
    }

    fn read_name(&mut self) -> Result<(), WireError> {
        if !matches!(self.phase, Phase::Name) {
            return Ok(());
        }
        let head = &self.input[..self.input.len().min(NETWORK_MAX)];
        match head.iter().position(|&byte| byte == 0) {
            Some(end) if is_network(&head[..end]) => {
                self.input.advance(end + 1);
                self.phase = Phase::Open;
                Ok(())
            }
            None if head.len() < NETWORK_MAX => Ok(()),
            _ => Err(WireError::Network),
        }
    }
}
