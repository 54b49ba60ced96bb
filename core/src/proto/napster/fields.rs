//! The fields of a frame: words between blanks, quotes around what holds blanks.

use super::{NapsterError, Nick, Text};
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An address as it stands in a message: the first octet is the lowest byte.
pub fn ip_to_number(ip: Ipv4Addr) -> u32 {
    u32::from_le_bytes(ip.octets())
}

/// The address that a number stands for.
pub fn ip_from_number(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(number.to_le_bytes())
}

/// Reads fields one after another. What follows the last one that is asked for is ignored.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    kind: u16,
    rest: &'a [u8],
}

const BLANKS: &[u8] = b" \t\r\n";

impl<'a> Fields<'a> {
    pub(super) fn new(kind: u16, data: &'a [u8]) -> Self {
        Self { kind, rest: data }
    }

    /// The next field without its quotes; a quote that is never closed ends with the data.
    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|byte| !BLANKS.contains(byte))?;
        let from = &self.rest[start..];
        let (field, rest) = if let Some(inner) = from.strip_prefix(b"\"") {
            let end = inner.iter().position(|&byte| byte == b'"').unwrap_or(inner.len());
            (&inner[..end], inner.get(end + 1..).unwrap_or_default())
        } else {
            let end = from.iter().position(|byte| BLANKS.contains(byte)).unwrap_or(from.len());
            from.split_at(end)
        };
        self.rest = rest;
        Some(field)
    }

    /// Whether nothing but blanks is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.iter().all(|byte| BLANKS.contains(byte))
    }

    /// Everything that is left, without the blanks around it.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest.trim_ascii()
    }

    pub(super) fn wrong<T>(&self, field: &'static str) -> Result<T, NapsterError> {
        Err(NapsterError::Field { kind: self.kind, field })
    }

    pub(super) fn raw(&mut self, field: &'static str) -> Result<&'a [u8], NapsterError> {
        self.next().map_or_else(|| self.wrong(field), Ok)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<Text, NapsterError> {
        self.raw(field).map(Text::new)
    }

    pub(super) fn nick(&mut self, field: &'static str) -> Result<Nick, NapsterError> {
        let raw = self.raw(field)?;
        Nick::new(raw).map_or_else(|| self.wrong(field), Ok)
    }

    /// A decimal number that fits its type.
    pub(super) fn number<T: FromStr>(&mut self, field: &'static str) -> Result<T, NapsterError> {
        let raw = self.raw(field)?;
        number(raw).map_or_else(|| self.wrong(field), Ok)
    }

    pub(super) fn ip(&mut self, field: &'static str) -> Result<Ipv4Addr, NapsterError> {
        self.number(field).map(ip_from_number)
    }
}

/// Digits, with a `-` before them where the type has negative numbers. No `+`, which `FromStr` would take.
pub(super) fn number<T: FromStr>(raw: &[u8]) -> Option<T> {
    if raw.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// Writes fields one after another, a blank between two.
#[derive(Default)]
pub(super) struct Line(pub(super) Vec<u8>);

impl Line {
    fn blank(&mut self) -> &mut Vec<u8> {
        if !self.0.is_empty() {
            self.0.push(b' ');
        }
        &mut self.0
    }

    pub(super) fn word(mut self, word: impl Display) -> Self {
        self.blank().extend_from_slice(word.to_string().as_bytes());
        self
    }

    pub(super) fn bytes(mut self, raw: &[u8]) -> Self {
        self.blank().extend_from_slice(raw);
        self
    }

    pub(super) fn quoted(mut self, text: &Text) -> Self {
        let out = self.blank();
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        self
    }

    /// In quotes only if it could not be read without them.
    pub(super) fn field(self, text: &Text) -> Self {
        let raw = text.as_bytes();
        let bare = !raw.is_empty() && !raw.iter().any(|byte| BLANKS.contains(byte));
        if bare { self.bytes(raw) } else { self.quoted(text) }
    }

    pub(super) fn ip(self, ip: Ipv4Addr) -> Self {
        self.word(ip_to_number(ip))
    }
}
