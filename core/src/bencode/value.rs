//! Walking checked bencode in place. Nothing is copied or decoded before it is asked for.

use super::scan::{end_of_value, read_int, string_at};
use super::{BencodeError, Limits, check, split_first};
use std::fmt;
use std::ops::Range;

/// One value inside bytes that [`check`] has accepted.
///
/// Reading the wrong kind answers `None`. Finding an entry or the next item walks over what lies
/// between, so the cost is linear in the bytes of the container.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    doc: &'a [u8],
    start: usize,
    end: usize,
}

/// What a value is, for messages that name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `i42e`
    Int,
    /// `4:spam`
    Bytes,
    /// `l..e`
    List,
    /// `d..e`
    Dict,
}

impl<'a> Value<'a> {
    /// Checks `bytes` and stands on their one value.
    pub fn parse(bytes: &'a [u8], limits: Limits) -> Result<Self, BencodeError> {
        check(bytes, limits)?;
        Ok(Self { doc: bytes, start: 0, end: bytes.len() })
    }

    /// Like [`split_first`]: the value at the front, and the bytes behind it.
    pub fn parse_first(bytes: &'a [u8], limits: Limits) -> Result<(Self, &'a [u8]), BencodeError> {
        let (value, rest) = split_first(bytes, limits)?;
        Ok((Self { doc: value, start: 0, end: value.len() }, rest))
    }

    /// The bytes of this value as they came.
    pub fn raw(&self) -> &'a [u8] {
        &self.doc[self.start..self.end]
    }

    /// Where those bytes lie in the input of [`Self::parse`].
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.doc[self.start] {
            b'i' => Kind::Int,
            b'l' => Kind::List,
            b'd' => Kind::Dict,
            _ => Kind::Bytes,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if self.kind() != Kind::Int {
            return None;
        }
        read_int(self.doc, self.start).ok().map(|(value, _)| value)
    }

    /// The integer, if it is one and not negative.
    pub fn as_uint(&self) -> Option<u64> {
        self.as_int()?.try_into().ok()
    }

    /// The string's bytes, if it is one.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if self.kind() != Kind::Bytes {
            return None;
        }
        string_at(self.doc, self.start).map(|(bytes, _)| bytes)
    }

    /// The string, if it is one and UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<Items<'a>> {
        (self.kind() == Kind::List).then_some(Items { doc: self.doc, at: self.start + 1 })
    }

    /// The entries in the order they came, if it is a dictionary. No key occurs twice.
    pub fn as_dict(&self) -> Option<Entries<'a>> {
        (self.kind() == Kind::Dict).then_some(Entries(Items { doc: self.doc, at: self.start + 1 }))
    }

    /// Whether every dictionary in it has its keys in order, as [`super::Dict`] writes them.
    pub fn is_sorted(&self) -> bool {
        let mut left = vec![*self];
        while let Some(value) = left.pop() {
            let entries = || value.as_dict().into_iter().flatten();
            if !entries().map(|(key, _)| key).is_sorted() {
                return false;
            }
            left.extend(entries().map(|(_, value)| value));
            left.extend(value.as_list().into_iter().flatten());
        }
        true
    }

    /// The value of `key`; `None` if there is none, or this is no dictionary.
    pub fn dict_get(&self, key: &[u8]) -> Option<Self> {
        self.as_dict()?.find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// [`Self::dict_get`] for a key that is text.
    pub fn at(&self, key: &str) -> Option<Self> {
        self.dict_get(key.as_bytes())
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raw().escape_ascii())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "an integer",
            Self::Bytes => "a string",
            Self::List => "a list",
            Self::Dict => "a dictionary",
        })
    }
}

/// The items of a list, in order.
#[derive(Clone)]
pub struct Items<'a> {
    doc: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if *self.doc.get(self.at)? == b'e' {
            return None;
        }
        let start = self.at;
        self.at = end_of_value(self.doc, start)?;
        Some(Value { doc: self.doc, start, end: self.at })
    }
}

/// The entries of a dictionary, in the order they came.
#[derive(Clone)]
pub struct Entries<'a>(Items<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}

/// Where the value lies that a path of dictionary keys leads to, after checking the whole input.
///
/// `Ok(None)` if a key is missing or leads to no dictionary. The info hash of a torrent is taken over
/// the bytes at `span_of(file, Limits::TORRENT, &[b"info"])`.
pub fn span_of(
    bytes: &[u8],
    limits: Limits,
    path: &[&[u8]],
) -> Result<Option<Range<usize>>, BencodeError> {
    let root = Value::parse(bytes, limits)?;
    let found = path.iter().try_fold(root, |value, key| value.dict_get(key));
    Ok(found.map(|value| value.span()))
}
