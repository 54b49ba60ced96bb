//! What is said about a file: its name, artist, length and so on, each with a number for what it is.

use super::reader::{Reader, push_counted, push_packed};
use super::{TAG_LEN_MAX, TAGS_MAX, WireError};
use crate::id::InfoHash;
use crate::metainfo::names;
use std::borrow::Cow;

/// Numbers of tags.
pub mod kind {
    /// A number.
    pub const YEAR: u32 = 0x01;
    /// Text; a hit without one is of no use.
    pub const FILE_NAME: u32 = 0x02;
    /// The 20 bytes of a UUHash; only in queries.
    pub const HASH: u32 = 0x03;
    /// Text.
    pub const TITLE: u32 = 0x04;
    /// A number of seconds.
    pub const LENGTH: u32 = 0x05;
    /// Text.
    pub const ARTIST: u32 = 0x06;
    /// Text.
    pub const ALBUM: u32 = 0x08;
    /// Words; `btih:` and 40 hex digits among them name a torrent.
    pub const KEYWORDS: u32 = 0x0c;
    /// Kilobits per second.
    pub const QUALITY: u32 = 0x15;
    /// A number of bytes; only in queries.
    pub const SIZE: u32 = 0x21;
    /// The 20 raw bytes of an info hash; only between programs of ours.
    pub const INFO_HASH: u32 = 0x3b;

    /// Texts that a search for words looks into.
    pub const SEARCHED: [u32; 5] = [FILE_NAME, TITLE, ARTIST, ALBUM, KEYWORDS];
}

/// What a keyword that names a torrent begins with.
const TORRENT: &str = "btih:";

/// One property of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tag {
    /// See [`kind`]. Those above 0x40 make legacy clients suspicious.
    pub kind: u32,
    /// Text, or a packed number.
    pub value: Vec<u8>,
}

/// All properties of a file, at most [`TAGS_MAX`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// With one more property. One too many, or one that is too long, is left out.
    #[must_use]
    pub fn with(mut self, kind: u32, value: impl Into<Vec<u8>>) -> Self {
        let value = value.into();
        if self.0.len() < TAGS_MAX && value.len() <= TAG_LEN_MAX {
            self.0.push(Tag { kind, value });
        }
        self
    }

    /// With a number.
    #[must_use]
    pub fn with_number(self, kind: u32, number: u64) -> Self {
        let mut value = Vec::new();
        push_packed(&mut value, number);
        self.with(kind, value)
    }

    /// With the torrent that the file belongs to, in the form that every legacy client carries on and that can be
    /// searched for. Beside other keywords, if there are any.
    #[must_use]
    pub fn with_torrent(mut self, torrent: InfoHash) -> Self {
        let mut words = format!("{TORRENT}{torrent}");
        if let Some(at) = self.0.iter().position(|tag| tag.kind == kind::KEYWORDS) {
            let old = self.0.remove(at).value;
            words = format!("{} {words}", String::from_utf8_lossy(&old));
        }
        self.with(kind::KEYWORDS, words)
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }

    /// The first value of a kind.
    pub fn of(&self, kind: u32) -> Option<&[u8]> {
        self.0.iter().find(|tag| tag.kind == kind).map(|tag| &tag.value[..])
    }

    /// The first value of a kind, if it is a number and nothing else.
    pub fn number(&self, kind: u32) -> Option<u64> {
        number(self.of(kind)?)
    }

    /// The name of the file as it may be stored: whatever stands before a slash of either kind is gone, and what is
    /// left is safe as a name.
    pub fn file_name(&self) -> Option<Cow<'_, str>> {
        let raw = self.of(kind::FILE_NAME)?;
        let name = raw.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or(raw);
        Some(names::safe(name))
    }

    /// The torrent that the file belongs to: 20 raw bytes, or a keyword.
    pub fn torrent(&self) -> Option<InfoHash> {
        if let Some(raw) = self.of(kind::INFO_HASH).and_then(|raw| raw.try_into().ok()) {
            return Some(InfoHash(raw));
        }
        let words = String::from_utf8_lossy(self.of(kind::KEYWORDS)?);
        words.split_whitespace().find_map(|word| InfoHash::from_hex(word.strip_prefix(TORRENT)?))
    }

    /// Reads a number of tags. Those that are too many or too long are skipped.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut tags = Vec::new();
        for _ in 0..reader.packed("number of tags")? {
            let kind = reader.packed("tag")?;
            let value = reader.counted("tag")?;
            let kind = u32::try_from(kind).map_err(|_| WireError::Value("tag"))?;
            if tags.len() < TAGS_MAX && value.len() <= TAG_LEN_MAX {
                tags.push(Tag { kind, value: value.to_vec() });
            }
        }
        Ok(Self(tags))
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        push_packed(out, self.0.len() as u64);
        for tag in &self.0 {
            push_packed(out, tag.kind.into());
            push_counted(out, &tag.value);
        }
    }
}

/// A packed number that fills a value.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let mut reader = Reader(value);
    reader.packed("number").ok().filter(|_| reader.is_empty())
}
