//! What is spoken on a connection: a session under its cipher, or the plain framing between supernodes.

use bytes::BytesMut;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::fasttrack::{Link, LinkError};
use gaggle_core::proto::fasttrack::mesh::{MAGIC, MeshMessage};
use gaggle_core::proto::fasttrack::{Message, Packet, WireError};
use std::time::Duration;

/// A supernode tells others every ten seconds how it is doing; who is silent for longer than this is gone.
const MATE_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Something to say, encoded.
#[derive(Debug)]
pub(super) enum Words {
    /// To a node or its supernode.
    Packet(Packet),
    /// To another supernode.
    Mesh(Vec<u8>),
}

impl Words {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.payload.len(),
            Self::Mesh(bytes) => bytes.len(),
        }
    }
}

/// Something that was said.
#[derive(Debug)]
pub(super) enum Heard {
    /// By a supernode.
    Mesh(MeshMessage),
    /// By a node, or to one.
    Session(Message),
}

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum SpeechError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// One end of a connection, without its socket.
#[derive(Debug)]
pub(super) enum Speech {
    Mesh(Box<Mesh>),
    Session(Box<Link>),
}

#[derive(Debug)]
pub(super) struct Mesh {
    /// What has not come whole yet, at most one message beside one read.
    input: BytesMut,
    output: Vec<u8>,
    /// Bytes of [`MAGIC`] that are still to come.
    magic_left: usize,
    heard_at: Instant,
}

impl Speech {
    pub(super) fn session(link: Link) -> Self {
        Self::Session(Box::new(link))
    }

    pub(super) fn mesh(now: Instant) -> Self {
        let (input, output) = (BytesMut::new(), MAGIC.to_vec());
        Self::Mesh(Box::new(Mesh { input, output, magic_left: MAGIC.len(), heard_at: now }))
    }

    /// Whether messages may come.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Mesh(mesh) => mesh.magic_left == 0,
            Self::Session(link) => link.is_open(),
        }
    }

    pub(super) fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SpeechError> {
        match self {
            Self::Mesh(mesh) => mesh.handle_bytes(now, bytes),
            Self::Session(link) => Ok(link.handle_bytes(now, bytes)?),
        }
    }

    pub(super) fn poll(&mut self) -> Result<Option<Heard>, SpeechError> {
        Ok(match self {
            Self::Mesh(mesh) if mesh.magic_left > 0 => None,
            Self::Mesh(mesh) => MeshMessage::decode(&mut mesh.input)?.map(Heard::Mesh),
            Self::Session(link) => link.poll_message()?.map(Heard::Session),
        })
    }

    /// Says something; what belongs on another kind of connection is not said.
    pub(super) fn say(&mut self, words: Words) {
        match (self, words) {
            (Self::Mesh(mesh), Words::Mesh(bytes)) => mesh.output.extend(bytes),
            (Self::Session(link), Words::Packet(packet)) => link.send_packet(packet),
            (Self::Mesh(_), Words::Packet(_)) | (Self::Session(_), Words::Mesh(_)) => {}
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Mesh(mesh) => {
                Some(std::mem::take(&mut mesh.output)).filter(|out| !out.is_empty())
            }
            Self::Session(link) => link.poll_transmit(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        match self {
            Self::Mesh(mesh) => mesh.heard_at + MATE_SILENCE_MAX,
            Self::Session(link) => link.poll_timeout(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), SpeechError> {
        match self {
            Self::Mesh(mesh) if now >= mesh.heard_at + MATE_SILENCE_MAX => {
                Err(SpeechError::Silent(now.since(mesh.heard_at)))
            }
            Self::Mesh(_) => Ok(()),
            Self::Session(link) => Ok(link.handle_timeout(now)?),
        }
    }
}

impl Mesh {
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SpeechError> {
        self.heard_at = now;
        let (magic, rest) = bytes.split_at(bytes.len().min(self.magic_left));
        let expected = &MAGIC[MAGIC.len() - self.magic_left..];
        if !expected.starts_with(magic) {
            return Err(WireError::Network.into());
        }
        self.magic_left -= magic.len();
        self.input.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::proto::fasttrack::mesh::Guid;

    fn secs(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    #[test]
    fn supernodes_say_who_they_are_first_however_the_bytes_are_cut() {
        let (mut one, mut other) = (Speech::mesh(secs(0)), Speech::mesh(secs(0)));
        let end = MeshMessage::End(Guid([7; 16]));
        one.say(Words::Mesh(end.encode()));
        let sent = one.poll_transmit().unwrap();
        assert_eq!(sent[..9], *b"GGSN\0\0\0\x11\x04");
        for byte in sent {
            assert!(matches!(other.poll(), Ok(None)));
            other.handle_bytes(secs(1), &[byte]).unwrap();
        }
        assert!(other.is_open());
        assert!(matches!(other.poll(), Ok(Some(Heard::Mesh(said))) if said == end));
        assert_eq!(other.poll_timeout(), secs(61));
        assert!(other.handle_timeout(secs(60)).is_ok());
        assert!(matches!(other.handle_timeout(secs(61)), Err(SpeechError::Silent(_))));
        assert!(Speech::mesh(secs(0)).handle_bytes(secs(0), b"GGXN").is_err());
        other.handle_bytes(secs(1), &[0xff; 4]).unwrap();
        assert!(other.poll().is_err(), "longer than any message");
    }
}
