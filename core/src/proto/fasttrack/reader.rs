//! Fields one after another: big-endian numbers, numbers of seven-bit groups, texts with an end mark.

use super::WireError;
use std::net::SocketAddrV4;

/// Bytes of the longest packed number: 64 bits in groups of seven.
const PACKED_MAX: usize = 10;

/// What is left to read; every error names the field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(WireError::Short(what))?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Short(what))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// A number in base 128, the largest group first, all bytes but the last with the highest bit.
    pub(super) fn packed(&mut self, what: &'static str) -> Result<u64, WireError> {
        let mut value = 0u64;
        for _ in 0..PACKED_MAX {
            let byte = self.u8(what)?;
            if value >> 57 != 0 {
                break;
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Value(what))
    }

    /// As many bytes as the packed number before them says.
    pub(super) fn counted(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let len = self.packed(what)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX), what)
    }

    /// Bytes up to an end mark, which is skipped.
    pub(super) fn until(&mut self, end: u8, what: &'static str) -> Result<&'a [u8], WireError> {
        let at = self.0.iter().position(|&byte| byte == end).ok_or(WireError::Short(what))?;
        let text = &self.0[..at];
        self.0 = &self.0[at + 1..];
        Ok(text)
    }

    /// Four bytes of an address and two of a port.
    pub(super) fn addr(&mut self, what: &'static str) -> Result<SocketAddrV4, WireError> {
        let ip: [u8; 4] = self.array(what)?;
        Ok(SocketAddrV4::new(ip.into(), self.u16(what)?))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a number as [`Reader::packed`] reads it, in as few bytes as it needs.
pub(super) fn push_packed(out: &mut Vec<u8>, value: u64) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        out.push((value >> (7 * group)) as u8 & 0x7f | more);
    }
}

/// Appends bytes with their length before them.
pub(super) fn push_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    push_packed(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an address and a port.
pub(super) fn push_addr(out: &mut Vec<u8>, addr: SocketAddrV4) {
    crate::compact::push(out, addr.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packed_numbers_of_the_wire() {
        for (value, bytes) in [
            (0, vec![0]),
            (127, vec![0x7f]),
            (128, vec![0x81, 0x00]),
            (3927, vec![0x9e, 0x57]),
            (u64::MAX, [&[0x81][..], &[0xff; 8], &[0x7f]].concat()),
        ] {
            let mut out = Vec::new();
            push_packed(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(Reader(&out).packed("n"), Ok(value));
        }
        assert_eq!(Reader(&[0x82, 0x80]).packed("n"), Err(WireError::Short("n")));
        let over = [&[0x83][..], &[0xff; 8], &[0x7f]].concat();
        assert_eq!(Reader(&over).packed("n"), Err(WireError::Value("n")));
        assert_eq!(Reader(&[0xff; 11]).packed("n"), Err(WireError::Value("n")));
        assert_eq!(Reader(&[0x80; 11]).packed("n"), Err(WireError::Value("n")));
        assert_eq!(
            Reader(&[0x90, 0x80, 0x80, 0x80, 0x00, 1]).counted("n").map(<[u8]>::len),
            Err(WireError::Short("n"))
        );
    }

    proptest! {
        #[test]
        fn packed_numbers_round_trip(value: u64) {
            let mut out = Vec::new();
            push_packed(&mut out, value);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.packed("n"), Ok(value));
            prop_assert!(reader.is_empty());
        }
    }
}
