//! The 68 bytes that open a connection, read as they arrive.
//!
//! Decides byte by byte whether this can still become a BitTorrent handshake. Never waits and never answers.
//= BEP 3 §peer protocol (handshake)

use super::error::HandshakeError;
use crate::id::{InfoHash, PeerId};

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const INFO_HASH_AT: usize = 28;
const PEER_ID_AT: usize = 48;

/// The reserved bytes: which extensions a side has.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// No extension.
    pub const NONE: Self = Self([0; 8]);

    /// Adds the extension protocol.
    //= BEP 10 §(bit 20 from the right)
    #[must_use]
    pub const fn with_extension(mut self) -> Self {
        self.0[5] |= 0x10;
        self
    }

    /// Adds the fast extension.
    //= BEP 6 §overview
    #[must_use]
    pub const fn with_fast(mut self) -> Self {
        self.0[7] |= 0x04;
        self
    }

    /// Adds the DHT, which makes the other side send PORT.
    //= BEP 5 §bittorrent protocol extension
    #[must_use]
    pub const fn with_dht(mut self) -> Self {
        self.0[7] |= 0x01;
        self
    }

    /// Whether this side has the extension protocol.
    pub const fn extension(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// Whether this side has the fast extension.
    pub const fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// Whether this side has a DHT node.
    pub const fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }

    /// What both sides have; only that may be used.
    #[must_use]
    pub fn agreed(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reserved({:016x})", u64::from_be_bytes(self.0))
    }
}

/// What a side says about itself before anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Handshake {
    /// The torrent the connection is about.
    pub info_hash: InfoHash,
    /// Who is speaking.
    pub peer_id: PeerId,
    /// Which extensions it has.
    pub reserved: Reserved,
}

impl Handshake {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut raw = [0; HANDSHAKE_LEN];
        raw[..20].copy_from_slice(PROTOCOL);
        raw[20..INFO_HASH_AT].copy_from_slice(&self.reserved.0);
        raw[INFO_HASH_AT..PEER_ID_AT].copy_from_slice(&self.info_hash.0);
        raw[PEER_ID_AT..].copy_from_slice(&self.peer_id.0);
        raw
    }
}

/// Collects a handshake from reads of any size, down to one byte, and refuses at the first wrong byte.
#[derive(Clone, Debug)]
pub struct HandshakeReader {
    raw: [u8; HANDSHAKE_LEN],
    len: usize,
}

impl Default for HandshakeReader {
    fn default() -> Self {
        Self { raw: [0; HANDSHAKE_LEN], len: 0 }
    }
}

impl HandshakeReader {
    /// Takes what it needs from the front of `input` and says how many bytes that was; the rest is the
    /// beginning of the message stream. After an error the connection can only be closed.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, HandshakeError> {
        let taken = input.len().min(HANDSHAKE_LEN - self.len);
        for &byte in &input[..taken] {
            match PROTOCOL.get(self.len) {
                Some(&want) if byte != want => return Err(Self::refusal(self.len, byte)),
                _ => {}
            }
            self.raw[self.len] = byte;
            self.len += 1;
        }
        Ok(taken)
    }

    /// The torrent, as soon as its 20 bytes are there: enough to answer an incoming connection.
    pub fn info_hash(&self) -> Option<InfoHash> {
        (self.len >= PEER_ID_AT).then(|| InfoHash(self.field(INFO_HASH_AT)))
    }

    /// The whole handshake, once it is there.
    pub fn complete(&self) -> Option<Handshake> {
        (self.len == HANDSHAKE_LEN).then(|| Handshake {
            info_hash: InfoHash(self.field(INFO_HASH_AT)),
            peer_id: PeerId(self.field(PEER_ID_AT)),
            reserved: Reserved(self.field(20)),
        })
    }

    /// Bytes still missing; 0 when complete.
    pub const fn wants(&self) -> usize {
        HANDSHAKE_LEN - self.len
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.raw[at + i])
    }

    fn refusal(at: usize, got: u8) -> HandshakeError {
        if at == 0 { HandshakeError::FirstByte(got) } else { HandshakeError::Protocol { at, got } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blame::Blame;
    use proptest::prelude::*;

    fn sample() -> Handshake {
        Handshake {
            info_hash: InfoHash(std::array::from_fn(|i| i as u8)),
            peer_id: PeerId(*b"-GG0100-abcdefghijkl"),
            reserved: Reserved::NONE.with_extension().with_fast(),
        }
    }

    #[test]
    fn golden_bytes() {
        let raw = sample().encode();
        assert_eq!(&raw[..20], b"\x13BitTorrent protocol");
        assert_eq!(raw[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert_eq!(raw[28..31], [0, 1, 2]);
        assert_eq!(&raw[48..], b"-GG0100-abcdefghijkl");
    }

    #[test]
    fn one_byte_at_a_time_and_the_hash_is_known_at_48() {
        let raw = sample().encode();
        let mut reader = HandshakeReader::default();
        for (at, byte) in raw.iter().enumerate() {
            assert_eq!(reader.wants(), 68 - at);
            assert_eq!(reader.info_hash().is_some(), at >= 48, "after {at} bytes");
            assert_eq!(reader.complete(), None);
            assert_eq!(reader.feed(&[*byte]), Ok(1));
        }
        assert_eq!(reader.complete(), Some(sample()));
        assert_eq!(reader.feed(b"more"), Ok(0));
    }

    #[test]
    fn refuses_at_the_first_wrong_byte_without_blame() {
        let mut reader = HandshakeReader::default();
        let error = reader.feed(b"\x16\x03\x01").unwrap_err();
        assert_eq!(error, HandshakeError::FirstByte(0x16));
        assert_eq!(error.blame(), Blame::Network);
        let mut reader = HandshakeReader::default();
        assert_eq!(reader.feed(b"\x13BitT"), Ok(5));
        let error = reader.feed(b"x").unwrap_err();
        assert_eq!(error, HandshakeError::Protocol { at: 5, got: b'x' });
        assert_eq!(error.blame(), Blame::Network);
    }

    #[test]
    fn only_what_both_have_is_agreed() {
        let ours = Reserved::NONE.with_extension().with_fast();
        let agreed = ours.agreed(Reserved::NONE.with_fast().with_dht());
        assert_eq!(agreed, Reserved::NONE.with_fast());
        assert!(agreed.fast() && !agreed.extension() && !agreed.dht());
    }

    proptest! {
        #[test]
        fn where_reads_split_is_invisible(
            hash: [u8; 20], id: [u8; 20], reserved: [u8; 8],
            tail in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(1usize..80, 1..20),
        ) {
            let sent = Handshake { info_hash: InfoHash(hash), peer_id: PeerId(id), reserved: Reserved(reserved) };
            let stream = [&sent.encode()[..], &tail].concat();
            let mut reader = HandshakeReader::default();
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while reader.wants() > 0 {
                let end = stream.len().min(at + cuts.next().unwrap());
                at += reader.feed(&stream[at..end]).unwrap();
            }
            prop_assert_eq!(reader.complete(), Some(sent));
            prop_assert_eq!(&stream[at..], &tail[..]);
        }

        #[test]
        fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = HandshakeReader::default().feed(&raw);
        }
    }
}
