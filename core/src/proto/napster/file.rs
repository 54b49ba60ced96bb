//! A shared file as messages describe it, and how a path carries the info hash of its torrent.

use super::fields::{Fields, Line};
use super::{NapsterError, PATH_MAX, Text};
use crate::id::InfoHash;
use std::fmt;

/// Bit rates that a directory keeps, in kbit/s; others are rounded up to one of them.
pub const BITRATES: [u32; 19] =
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 512];
/// Sample rates that a directory keeps, in Hz, in the order in which it looks through them.
pub const FREQUENCIES: [u32; 6] = [16_000, 24_000, 22_050, 32_000, 44_100, 48_000];

/// What stands where a hash is expected: at most 32 bytes in lower case, all `0` for none.
///
/// Clients send the MD5 of the first [`super::CLASSIC_HASH_BYTES`] bytes, or something of their own: a hint, never an
/// identity.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileHash {
    len: u8,
    /// Zero beyond `len`, so that equal hashes compare equal.
    bytes: [u8; 32],
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Media {
    /// What messages 100 and 870 share, whatever it is in truth.
    Mp3,
    /// Other sound.
    Audio,
    /// Films.
    Video,
    /// Programs and archives.
    Application,
    /// Pictures.
    Image,
    /// Documents.
    Text,
}

/// A file that somebody shares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// As its owner wrote it; `\` or `/` between folders.
    pub path: Text,
    /// A hint.
    pub hash: FileHash,
    /// Bytes; `u32::MAX` for anything larger, which cannot be fetched in this way.
    pub size: u32,
    /// In kbit/s. Servers round it: never to be trusted.
    pub bitrate: u32,
    /// In Hz, rounded as well.
    pub frequency: u32,
    /// How long it plays.
    pub seconds: u32,
}

impl FileHash {
    /// What is written for none.
    pub const NONE: Self = Self { len: 32, bytes: [b'0'; 32] };

    /// Keeps the first 32 bytes in lower case; blanks and quotes cannot be part of it.
    pub fn new(raw: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let kept = raw.iter().take_while(|byte| !b" \t\r\n\"".contains(byte)).take(32);
        let mut len = 0;
        for byte in kept {
            bytes[usize::from(len)] = byte.to_ascii_lowercase();
            len += 1;
        }
        if len == 0 { Self::NONE } else { Self { len, bytes } }
    }

    /// The hash field of a torrent's file: half of the info hash and some, which lets others look it up.
    pub fn of_torrent(hash: InfoHash) -> Self {
        Self::new(hash.to_string().as_bytes())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The MD5 that it may be: 32 hex digits, whatever follows.
    pub fn md5(&self) -> Option<[u8; 16]> {
        let decoded = data_encoding::HEXLOWER.decode(self.as_bytes()).ok()?;
        decoded.try_into().ok().filter(|_| *self != Self::NONE)
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl Media {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Mp3, "mp3"),
        (Self::Audio, "audio"),
        (Self::Video, "video"),
        (Self::Application, "application"),
        (Self::Image, "image"),
        (Self::Text, "text"),
    ];

    /// As messages name it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// By its name, in any case.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let named = Self::NAMES.iter().find(|(_, name)| raw.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(media, _)| *media)
    }
}

impl File {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, NapsterError> {
        Ok(Self {
            path: fields.text("path")?,
            hash: FileHash::new(fields.raw("hash")?),
            size: fields.number("size")?,
            bitrate: fields.number("bitrate")?,
            frequency: fields.number("frequency")?,
            seconds: fields.number("seconds")?,
        })
    }

    pub(super) fn write(&self, line: Line) -> Line {
        line.quoted(&self.path)
            .bytes(self.hash.as_bytes())
            .word(self.size)
            .word(self.bitrate)
            .word(self.frequency)
            .word(self.seconds)
    }
}

/// The first of the `steps` that is not below `value`, or the last.
pub fn round_up(value: u32, steps: &[u32]) -> u32 {
    let step = steps.iter().find(|step| **step >= value).or(steps.last());
    step.copied().unwrap_or(value)
}

const BTIH: &[u8] = b"btih-";

/// The path of a torrent's file: its info hash is the folder, so that every directory indexes it, and others see the
/// name alone. The name is cut to fit [`PATH_MAX`], its extension kept if that is short.
pub fn btih_path(hash: InfoHash, name: &str) -> Text {
    below(&format!("btih-{hash}\\"), name)
}

/// The path of a file that is shared without any folder, cut as in [`btih_path`].
pub fn name_path(name: &str) -> Text {
    below("", name)
}

fn below(folder: &str, name: &str) -> Text {
    let room = PATH_MAX - folder.len();
    let name: String = name.chars().map(|c| if c == '\\' || c == '/' { '_' } else { c }).collect();
    if name.len() <= room {
        return Text::new(folder.to_owned() + &name);
    }
    let dot = name.rfind('.').filter(|dot| name.len() - dot <= 16).unwrap_or(name.len());
    let mut cut = room - (name.len() - dot);
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    Text::new(folder.to_owned() + &name[..cut] + &name[dot..])
}

/// The info hash that a path carries in one of its folders.
pub fn btih_of(path: &Text) -> Option<InfoHash> {
    let mut parts: Vec<&[u8]> = path.as_bytes().split(|byte| b"\\/".contains(byte)).collect();
    parts.pop();
    let hex = parts.iter().rev().find_map(|part| {
        let hex = part.strip_prefix(BTIH)?;
        (hex.len() == 40 && !hex.iter().any(u8::is_ascii_uppercase)).then_some(hex)
    })?;
    InfoHash::from_hex(std::str::from_utf8(hex).ok()?)
}
