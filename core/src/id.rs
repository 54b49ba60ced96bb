//! Names of things on the wire: info hashes of both versions, piece hashes, peer ids.

use data_encoding::HEXLOWER_PERMISSIVE;
use std::fmt;

/// The 20 bytes that name a torrent in handshakes, trackers and the DHT.
///
/// SHA-1 of the v1 info dictionary, or the first 20 bytes of the v2 info hash.
//= BEP 3 §metainfo files (info hash)
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InfoHash(pub [u8; 20]);

/// SHA-256 of a v2 info dictionary.
//= BEP 52 §infohash
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InfoHashV2(pub [u8; 32]);

/// Identifies a client for as long as it runs.
//= BEP 20
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId(pub [u8; 20]);

/// Names a node of the DHT, and every place there that something can be stored at.
//= BEP 5 §overview
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub [u8; 20]);

/// How far apart two ids are: their exclusive or as one number, the largest byte first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Distance(pub [u8; 20]);

/// Every info hash a torrent has: v1, v2, or both when it is a hybrid. Never neither.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TorrentHashes {
    /// Version 1 only.
    V1(InfoHash),
    /// Version 2 only.
    V2(InfoHashV2),
    /// One swarm that speaks both.
    Hybrid(InfoHash, InfoHashV2),
}

/// The hash a piece must have.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PieceHash {
    /// SHA-1 of the piece, version 1.
    Sha1([u8; 20]),
    /// Root of the piece's merkle tree, version 2.
    Sha256([u8; 32]),
}

impl TorrentHashes {
    /// The 20 bytes that go into a handshake or an announce: v1 if there is one.
    pub fn wire(&self) -> InfoHash {
        match self {
            Self::V1(v1) | Self::Hybrid(v1, _) => *v1,
            Self::V2(v2) => v2.truncated(),
        }
    }
}

impl InfoHashV2 {
    /// The form that 20-byte protocols carry.
    //= BEP 52 §infohash (truncated)
    pub fn truncated(&self) -> InfoHash {
        InfoHash(self.0[..20].try_into().expect("20 of 32 bytes"))
    }
}

impl InfoHash {
    /// Reads 40 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }
}

impl InfoHashV2 {
    /// Reads 64 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }
}

impl PeerId {
    /// `-GG0100-` and 12 random bytes.
    pub fn generate(rng: &mut crate::rng::Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        id[..8].copy_from_slice(b"-GG0100-");
        Self(id)
    }
}

impl NodeId {
    /// Any id.
    pub fn random(rng: &mut crate::rng::Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        Self(id)
    }

    /// Reads 40 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }

    /// How far `other` is.
    pub fn distance(&self, other: &Self) -> Distance {
        Distance(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// Leading bits that both have in common; 160 of an id with itself.
    pub fn shared_bits(&self, other: &Self) -> u32 {
        let differs = (0..20).find(|&i| self.0[i] != other.0[i]);
        differs.map_or(160, |i| 8 * i as u32 + (self.0[i] ^ other.0[i]).leading_zeros())
    }
}

impl From<InfoHash> for NodeId {
    fn from(hash: InfoHash) -> Self {
        Self(hash.0)
    }
}

/// Reads hex digits of any case.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Shows bytes as lower-case hex digits.
macro_rules! lower_hex {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}
pub(crate) use lower_hex;
lower_hex!(InfoHash, InfoHashV2, NodeId);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_in_any_case() {
        let text = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
        let hash = InfoHash::from_hex(&text.to_uppercase()).unwrap();
        assert_eq!(hash.to_string(), text);
        assert_eq!(InfoHash::from_hex("c12f"), None);
        assert_eq!(InfoHash::from_hex(&"g".repeat(40)), None);
    }

    #[test]
    fn a_v2_hash_travels_as_its_first_20_bytes() {
        let v2 = InfoHashV2(std::array::from_fn(|i| i as u8));
        assert_eq!(TorrentHashes::V2(v2).wire().0[19], 19);
    }
}
