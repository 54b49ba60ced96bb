//! The first bytes of a session: two seeds and a cipher type, then the network's name from either side.
//!
//! The type is masked by a function of the seed that takes thousands of lines and hides nothing. It is constant for a
//! constant seed, so a session takes one of the [`SEEDS`] whose masks are known. The one who answers decides the type;
//! what the client wants is ignored.

use super::WireError;
use super::reader::Reader;

/// Bytes of a client's first words.
pub const HELLO_LEN: usize = 12;
/// The cipher type of our sessions.
pub const PLAIN_TYPE: u32 = 0x01;
/// The name we give to our network.
pub const NETWORK: &str = "KaZaA";
/// Networks that speak the same protocol.
const NETWORKS: [&str; 3] = [NETWORK, "fileshare", "Grokster"];
/// Bytes of the longest name with its end mark: who has not said one by then uses another cipher or protocol.
pub(super) const NETWORK_MAX: usize = 32;

/// Seeds with the masks of their types.
pub const SEEDS: [(u32, u32); 22] = [
    (0xfacb_1238, 0x3209_d21b), // that of giFT and mldonkey
    (0x5357_4152, 0xa811_7710),
    (0x1234_5678, 0x0a56_0342),
    (0xdead_beef, 0x4c00_0410),
    (0x0000_0000, 0x48a0_0a33),
    (0x0000_0001, 0x0a24_408d),
    (0x5357_0000, 0x000a_0002),
    (0x5357_0101, 0x8330_1108),
    (0x5357_0202, 0x5008_0510),
    (0x5357_0303, 0x0881_0390),
    (0x5357_0404, 0x1008_c118),
    (0x5357_0505, 0x068f_9612),
    (0x5357_0606, 0x029a_8adc),
    (0x5357_0707, 0x0000_4002),
    (0x5357_0808, 0x1496_268d),
    (0x5357_0909, 0xfb11_3a40),
    (0x5357_0a0a, 0x6278_6dde),
    (0x5357_0b0b, 0x0008_3002),
    (0x5357_0c0c, 0x0040_0400),
    (0x5357_0d0d, 0x0700_8040),
    (0x5357_0e0e, 0x1000_1004),
    (0x5357_0f0f, 0x2af9_29e2),
];

/// The mask of a seed, if it is one of ours.
pub fn mask_of(seed: u32) -> Option<u32> {
    SEEDS.iter().find(|(known, _)| *known == seed).map(|(_, mask)| *mask)
}

/// Whether this is the name of a network of ours; letter case does not matter.
pub fn is_network(name: &[u8]) -> bool {
    NETWORKS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// A client's first words. Nothing in them is checked: no client of old says anything else than its constants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Any number.
    pub random: u32,
    /// Half of the key of what the client says.
    pub seed: u32,
    /// The type it wants, under the mask of its seed.
    pub masked_type: u32,
}

impl Hello {
    /// The first words of a client of ours: its seed is one of [`SEEDS`], by number, and it wants [`PLAIN_TYPE`].
    pub fn ours(random: u32, nth_seed: usize) -> Self {
        let (seed, mask) = SEEDS[nth_seed % SEEDS.len()];
        Self { random, seed, masked_type: PLAIN_TYPE ^ mask }
    }

    /// Reads [`HELLO_LEN`] bytes.
    pub fn parse(raw: &[u8; HELLO_LEN]) -> Result<Self, WireError> {
        let mut reader = Reader(raw);
        Ok(Self {
            random: reader.u32("hello")?,
            seed: reader.u32("hello")?,
            masked_type: reader.u32("hello")?,
        })
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.random, self.seed, self.masked_type].map(u32::to_be_bytes).concat()
    }
}

/// The supernode's answer: from here on all is enciphered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The key of what the supernode says, and the other half of that of what the client says.
    pub seed: u32,
    /// The type, under the mask of the seed.
    pub masked_type: u32,
}

impl Answer {
    /// The answer of a supernode of ours: [`PLAIN_TYPE`], and one of [`SEEDS`], by number.
    pub fn ours(nth_seed: usize) -> Self {
        let (seed, mask) = SEEDS[nth_seed % SEEDS.len()];
        Self { seed, masked_type: PLAIN_TYPE ^ mask }
    }

    /// Reads eight bytes.
    pub fn parse(raw: &[u8; 8]) -> Result<Self, WireError> {
        let mut reader = Reader(raw);
        Ok(Self { seed: reader.u32("answer")?, masked_type: reader.u32("answer")? })
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.seed, self.masked_type].map(u32::to_be_bytes).concat()
    }

    /// Refuses a type that is known and not ours. Of an unknown seed the type is unknown, and the network's name
    /// will tell. Type 0 is the same as 1.
    pub fn check(&self) -> Result<(), WireError> {
        match mask_of(self.seed).map(|mask| mask ^ self.masked_type) {
            None | Some(0 | PLAIN_TYPE) => Ok(()),
            Some(other) => Err(WireError::Cipher(other)),
        }
    }
}
