//! The generic extension block: items with a short name, and data of any length.

use super::{GGEP_INFLATED_MAX, GGEP_ITEMS_MAX, GnutellaError, inflate};
use bytes::Bytes;

const MAGIC: u8 = 0xc3;
const LAST: u8 = 0x80;
const COBS: u8 = 0x40;
const DEFLATED: u8 = 0x20;
const RESERVED: u8 = 0x10;
/// Bytes of the longest item: three groups of six bits.
const DATA_MAX: usize = (1 << 18) - 1;

/// The items of a block, in order.
// After GGEP 0.51.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ggep(Vec<(Bytes, Bytes)>);

impl Ggep {
    /// No item.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one item more; beyond 32 items it is left out.
    ///
    /// # Panics
    /// The name is not of 1 to 15 bytes, or the data of more than 64 KiB: a mistake of ours.
    #[must_use]
    pub fn with(mut self, id: &str, data: impl Into<Bytes>) -> Self {
        let data = data.into();
        assert!((1..=15).contains(&id.len()) && data.len() <= GGEP_INFLATED_MAX);
        if self.0.len() < GGEP_ITEMS_MAX {
            self.0.push((Bytes::copy_from_slice(id.as_bytes()), data));
        }
        self
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The data of the first item of this name.
    pub fn get(&self, id: &str) -> Option<&Bytes> {
        self.0.iter().find(|(name, _)| name == id.as_bytes()).map(|(_, data)| data)
    }

    /// Without the items of this name.
    pub(super) fn remove(&mut self, id: &str) {
        self.0.retain(|(name, _)| name != id.as_bytes());
    }

    /// The data of every item of this name.
    pub fn all<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0.iter().filter(move |(name, _)| name == id.as_bytes()).map(|(_, data)| data)
    }

    /// Reads a block off the front of `raw`, and says how many bytes it took. An item that does not unpack is left
    /// out.
    ///
    /// # Errors
    /// No block begins here, it does not end within `raw`, or it has more than 32 items.
    pub fn parse(raw: &[u8]) -> Result<(Self, usize), GnutellaError> {
        let malformed = GnutellaError::Malformed { what: "GGEP", got: raw.len() };
        let mut items = Vec::new();
        let mut at = 1;
        if raw.first() != Some(&MAGIC) {
            return Err(malformed);
        }
        for _ in 0..GGEP_ITEMS_MAX {
            let Some((flags, id, data)) = item(raw, &mut at) else { return Err(malformed) };
            items.extend(unpack(flags, data).map(|data| (Bytes::copy_from_slice(id), data)));
            if flags & LAST != 0 {
                return Ok((Self(items), at));
            }
        }
        Err(malformed)
    }

    /// Appends the block, and nothing if there is no item. `nul_free` encodes items that hold a NUL, for places where
    /// it ends the field.
    pub fn encode_into(&self, nul_free: bool, out: &mut Vec<u8>) {
        let Some(last) = self.0.len().checked_sub(1) else { return };
        out.push(MAGIC);
        for (nth, (id, data)) in self.0.iter().enumerate() {
            let packed = (nul_free && data.contains(&0)).then(|| stuff(data));
            let flags =
                if nth == last { LAST } else { 0 } | if packed.is_some() { COBS } else { 0 };
            out.push(flags | id.len() as u8);
            out.extend_from_slice(id);
            let data = packed.as_deref().unwrap_or(data);
            for shift in [12, 6] {
                if data.len() >> shift != 0 {
                    out.push(0x80 | (data.len() >> shift & 0x3f) as u8);
                }
            }
            out.push(0x40 | (data.len() & 0x3f) as u8);
            out.extend_from_slice(data);
        }
    }
}

/// Flags, name and data as they lie there.
fn item<'a>(raw: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8], &'a [u8])> {
    let mut take = |len: usize| {
        let part = raw.get(*at..at.checked_add(len)?)?;
        *at += len;
        Some(part)
    };
    let flags = take(1)?[0];
    let id_len = usize::from(flags & 0x0f);
    if id_len == 0 || flags & RESERVED != 0 {
        return None;
    }
    let id = take(id_len)?;
    let mut len = 0;
    for group in 0..3 {
        let byte = take(1)?[0];
        len = len << 6 | usize::from(byte & 0x3f);
        match byte & 0xc0 {
            0x40 => break,
            0x80 if group < 2 => {}
            _ => return None,
        }
    }
    debug_assert!(len <= DATA_MAX);
    Some((flags, id, take(len)?))
}

fn unpack(flags: u8, data: &[u8]) -> Option<Bytes> {
    let data = if flags & COBS == 0 { data.to_vec() } else { unstuff(data)? };
    let inflated = if flags & DEFLATED == 0 { data } else { inflate(&data, GGEP_INFLATED_MAX)? };
    (inflated.len() <= GGEP_INFLATED_MAX).then(|| inflated.into())
}

/// Blocks of a count and bytes that are not NUL; a NUL follows each but the last, and but those of 254 bytes.
fn stuff(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 254 + 1);
    let mut runs = data.split(|&byte| byte == 0).peekable();
    while let Some(mut run) = runs.next() {
        while run.len() >= 254 {
            out.push(0xff);
            out.extend_from_slice(&run[..254]);
            run = &run[254..];
            if run.is_empty() && runs.peek().is_none() {
                return out;
            }
        }
        out.push(run.len() as u8 + 1);
        out.extend_from_slice(run);
    }
    out
}

fn unstuff(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len());
    while let Some((&count, rest)) = data.split_first() {
        let run = rest.get(..usize::from(count).checked_sub(1)?)?;
        out.extend_from_slice(run);
        data = &rest[run.len()..];
        if count != 0xff && !data.is_empty() {
            out.push(0);
        }
    }
    Some(out)
}
