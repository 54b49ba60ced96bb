//! Text of strangers, and the names of users.

use super::NICK_IN_MAX;
use std::fmt;
use std::sync::Arc;

/// Bytes of a field as they were sent; copies share them. Never holds a `"`: the protocol cannot carry one.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text(Arc<[u8]>);

/// The name of a user as it may stand in a message: at most [`NICK_IN_MAX`] printable bytes of ASCII.
///
/// Two of them that differ in case only name the same user: compare [`Nick::key`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Nick(String);

impl Text {
    /// A `"` becomes `'`.
    pub fn new(raw: impl AsRef<[u8]>) -> Self {
        Self(raw.as_ref().iter().map(|&byte| if byte == b'"' { b'\'' } else { byte }).collect())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As characters: UTF-8 where it is that, else Latin-1.
    pub fn decode(&self) -> String {
        match std::str::from_utf8(&self.0) {
            Ok(text) => text.to_owned(),
            Err(_) => self.0.iter().copied().map(char::from).collect(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Text {
    /// Fit for a terminal: control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decode().chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }
        })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Nick {
    /// `None` if no server would admit it.
    pub fn new(raw: &[u8]) -> Option<Self> {
        let forbidden =
            |byte: &u8| !(0x21..=0x7e).contains(byte) || br#"%$*?.!",\;"#.contains(byte);
        let first = *raw.first()?;
        if raw.len() > NICK_IN_MAX || b"#&:-".contains(&first) || raw.iter().any(forbidden) {
            return None;
        }
        Some(Self(std::str::from_utf8(raw).ok()?.to_owned()))
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for all spellings of one name.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
