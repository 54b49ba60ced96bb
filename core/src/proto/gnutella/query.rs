//! The question: words, names of content, and what the asker can take.

use super::{Extensions, GnutellaError};

/// A search.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// What the asker understands and wants; 0 from one who states a minimum speed instead.
    pub flags: u16,
    /// Words, all of which must be met.
    pub text: String,
    /// URNs, any of which is enough.
    pub extensions: Extensions,
}

impl Query {
    /// The field holds flags, not a speed.
    pub const FLAGS: u16 = 1 << 15;
    /// The asker takes no connections; who takes none either stays silent.
    pub const FIREWALLED: u16 = 1 << 14;
    /// The asker tells his ultrapeer how many hits he kept.
    pub const LEAF_GUIDED: u16 = 1 << 12;
    /// GGEP `H` is understood.
    pub const GGEP_H: u16 = 1 << 11;
    /// Hits may come as datagrams.
    pub const OUT_OF_BAND: u16 = 1 << 10;

    /// A search for words by somebody who wants to be told names of content.
    pub fn words(text: &str) -> Self {
        Self { flags: Self::FLAGS, text: text.into(), extensions: Extensions::default() }
    }

    /// Hits that the asker wants at most; 0 is any number.
    pub fn hits_max(&self) -> u8 {
        self.flags as u8
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// Fewer than 3 bytes, or a text without an end.
    pub fn parse(raw: &[u8]) -> Result<Self, GnutellaError> {
        let malformed = GnutellaError::Malformed { what: "Query", got: raw.len() };
        let (flags, rest) = raw.split_first_chunk().ok_or(malformed.clone())?;
        let end = rest.iter().position(|&byte| byte == 0).ok_or(malformed)?;
        let flags = u16::from_be_bytes(*flags);
        Ok(Self {
            flags: if flags & Self::FLAGS == 0 { 0 } else { flags },
            text: String::from_utf8_lossy(&rest[..end]).into_owned(),
            extensions: Extensions::parse(&rest[end + 1..]),
        })
    }

    /// The payload. A NUL would end the text and is left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.flags.to_be_bytes().to_vec();
        out.extend(self.text.bytes().filter(|&byte| byte != 0));
        out.push(0);
        self.extensions.encode_into(false, &mut out);
        out
    }
}
