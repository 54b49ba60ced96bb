//! The key stream of cipher type 1: a number of 255 bytes cubed modulo a fixed one, then a generator of 63 bytes.
//!
//! It keeps nobody out: both seeds pass in clear. It is here because legacy clients speak nothing else.

/// Bytes of the state.
const PAD: usize = 63;
/// Words of the modulus, the least first.
const WORDS: usize = 32;

/// What the cube is taken modulo, the most significant word first.
const MODULUS: [u64; WORDS] = [
    0xd453_ec0a_34eb_20ca,
    0x0a53_2f6a_ae08_473d,
    0xc6f2_dc0e_96e6_2735,
    0xdd33_1dd5_522f_69d1,
    0x0d7a_0050_1928_8512,
    0x71a1_57ac_de7a_a2fe,
    0xdbd2_6bb0_4d23_ffc1,
    0xb6a3_1787_315d_5780,
    0x51be_98b0_da2d_7944,
    0xed64_060a_96e5_37a7,
    0xa403_7cdb_de3c_6725,
    0xe9db_6341_8443_fd05,
    0x0829_ee6d_18e4_dd48,
    0xd61a_7055_8606_342a,
    0xc374_1ca7_1e49_70e5,
    0x10a9_31f8_b42d_2df0,
    0x5250_e6fe_0a77_03d8,
    0x8781_ab21_0032_a3df,
    0xe957_a9b5_d238_b5b8,
    0x363d_c15e_2c00_54b3,
    0x390a_5a36_b15e_2216,
    0x69f2_9f9a_f97b_b445,
    0x695b_3ca2_72f5_54fc,
    0xe475_aa9e_6e37_192e,
    0x91fd_3a9e_bc8c_0457,
    0xe7ee_26ad_19d2_974d,
    0xc11f_00e3_8d5b_5eb2,
    0xe84b_25f8_1b32_a36f,
    0xba15_19a1_5efa_55ff,
    0xe569_c5fc_96d7_f927,
    0xbf77_b6d6_193b_bd8f,
    0x31c4_a05e_eb96_841d,
];

/// The bytes that one direction of a session is enciphered with; they go on for the whole connection.
#[derive(Clone, Debug)]
pub struct KeyStream {
    pad: [u8; PAD],
    pos: usize,
}

impl KeyStream {
    /// The stream of a seed. Takes 15 microseconds or so.
    pub fn new(seed: u32) -> Self {
        let mut s = seed;
        let mut step = || {
            s = s.wrapping_mul(0x10dcd).wrapping_add(0x4271);
            s
        };
        let mut number: [u8; 8 * WORDS] =
            std::array::from_fn(|i| if i < 255 { ((step() >> 17) % 0xe0) as u8 } else { 0 });
        number[255] = 1;
        let pos = ((step() >> 16) as usize * PAD) >> 16;
        let cube = cubed(&number);
        let mut pad: [u8; PAD] = std::array::from_fn(|i| (cube[i / 8] >> (8 * (i % 8))) as u8);
        if pad.iter().all(|byte| byte % 2 == 0) {
            pad[0] |= 0x71;
        }
        let mut stream = Self { pad, pos };
        stream.rekey(pos);
        stream
    }

    /// Enciphers or deciphers the next bytes in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte ^= self.next_byte());
    }

    /// Where the generator stands, for the published vectors.
    #[cfg(test)]
    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    fn next_byte(&mut self) -> u8 {
        let before = self.pad[(self.pos + PAD - 1) % PAD];
        let byte = self.pad[self.pos].wrapping_add(before);
        self.pad[self.pos] = byte;
        if self.pos == 7 && byte & 0x70 == 0 {
            self.rekey(usize::from(byte) + usize::from(self.pad[2]));
        }
        self.pos = (self.pos + 1) % PAD;
        byte
    }

    fn rekey(&mut self, by: usize) {
        let first = (by * by + 2) % 59;
        self.pad[first..first + 5].sort_unstable_by_key(|byte| byte ^ 0x20);
        for i in (5..PAD).step_by(3) {
            self.pad[i] = (!self.pad[i]).wrapping_add(i as u8) | 1;
        }
    }
}

/// Numbers below the modulus, the least word first.
type Number = [u64; WORDS];

fn cubed(bytes: &[u8; 8 * WORDS]) -> Number {
    let words = bytes.as_chunks::<8>().0;
    let number: Number = std::array::from_fn(|i| u64::from_le_bytes(words[i]));
    times(&times(&number, &number), &number)
}

/// The product, word by word of `b` from the highest down. Both are below the modulus.
fn times(a: &Number, b: &Number) -> Number {
    let mut product = [0; WORDS];
    for word in b.iter().rev() {
        let mut shifted = [0; WORDS + 1];
        shifted[1..].copy_from_slice(&product);
        let mut sum: [u64; WORDS + 1] = [0; WORDS + 1];
        let mut carry = 0;
        for ((out, a), more) in sum.iter_mut().zip(a).zip(reduced(shifted)) {
            let wide = u128::from(*a) * u128::from(*word) + u128::from(more) + carry;
            (*out, carry) = (wide as u64, wide >> 64);
        }
        sum[WORDS] = carry as u64;
        product = reduced(sum);
    }
    product
}

/// A number with one word more, modulo the modulus.
fn reduced(mut wide: [u64; WORDS + 1]) -> Number {
    // Never more than what must be taken, because the divisor is rounded up.
    let divisor = u128::from(MODULUS[0]) + 1;
    loop {
        let top = u128::from(wide[WORDS]) << 64 | u128::from(wide[WORDS - 1]);
        let small = wide[WORDS] == 0 && wide[..WORDS].iter().rev().lt(MODULUS.iter());
        if small {
            return std::array::from_fn(|i| wide[i]);
        }
        let times = (top / divisor).max(1);
        let mut borrow = 0;
        for (word, less) in wide.iter_mut().zip(MODULUS.iter().rev().chain(&[0])) {
            let less = u128::from(*less) * times + borrow;
            let (rest, under) = word.overflowing_sub(less as u64);
            (*word, borrow) = (rest, (less >> 64) + u128::from(under));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    #[test]
    fn the_modulus_is_the_published_one() {
        let text: String = MODULUS.iter().map(|word| format!("{word:016x}")).collect();
        let hash = data_encoding::HEXLOWER.encode(&sha256([text.as_bytes()]));
        assert_eq!(hash, "3f8a1af0975a7fbf714524cb5b93172d06eed7e7c6868375de10033f20731ac6");
    }
}
