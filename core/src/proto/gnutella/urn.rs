//! Names of content: `urn:sha1:`, `urn:btih:` and others.

use crate::id::InfoHash;
use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use std::fmt;

/// Bytes of the longest URN that is kept; a longer one counts as absent.
const URN_MAX: usize = 200;

/// One name of some content, or the wish to be told names.
// After HUGE 0.94.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Urn {
    /// SHA-1 of the whole file; a bitprint counts as the SHA-1 in it.
    Sha1([u8; 20]),
    /// The torrent that the file belongs to.
    Btih(InfoHash),
    /// `urn:` alone, or `urn:KIND:`: please tell me such names.
    Wanted(String),
    /// Of another kind, whole, in lower case up to the second colon.
    Other(String),
}

impl Urn {
    /// Reads a URN, its scheme and kind in any case.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(raw).ok()?;
        if !text.is_char_boundary(4) || !text[..4].eq_ignore_ascii_case("urn:") {
            return None;
        }
        Self::named(&text[4..])
    }

    /// Reads what follows `urn:`, which is how GGEP carries it.
    pub(super) fn named(text: &str) -> Option<Self> {
        // What would end it where it is written is no part of it.
        if text.len() > URN_MAX || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        let Some((kind, value)) = text.split_once(':') else {
            return text.is_empty().then(|| Self::Wanted(String::new()));
        };
        let kind = kind.to_ascii_lowercase();
        match (kind.as_str(), value) {
            (_, "") => Some(Self::Wanted(kind)),
            ("sha1", value) => base32(value).map(Self::Sha1),
            ("bitprint", value) => base32(value.split('.').next()?).map(Self::Sha1),
            ("btih", value) => base32(value).map(InfoHash).or_else(|| hex(value)).map(Self::Btih),
            _ => Some(Self::Other(format!("urn:{kind}:{value}"))),
        }
    }
}

fn base32(text: &str) -> Option<[u8; 20]> {
    if text.len() != 32 {
        return None;
    }
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?.try_into().ok()
}

fn hex(text: &str) -> Option<InfoHash> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok().map(InfoHash)
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha1(hash) => write!(f, "urn:sha1:{}", BASE32_NOPAD.encode(hash)),
            Self::Btih(hash) => write!(f, "urn:btih:{}", BASE32_NOPAD.encode(&hash.0)),
            Self::Wanted(kind) if kind.is_empty() => write!(f, "urn:"),
            Self::Wanted(kind) => write!(f, "urn:{kind}:"),
            Self::Other(text) => write!(f, "{text}"),
        }
    }
}
