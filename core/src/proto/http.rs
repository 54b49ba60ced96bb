//! The heads of HTTP, as far as programs that give out files need them: lines, fields and byte ranges.
//!
//! Lines may end with or without a carriage return. Reads what has come so far and says when more is needed; never reads
//! a body, and never looks beyond [`HEAD_MAX`].

use std::ops::Range;

/// Bytes of a head; a longer one is refused before it is read to its end.
pub const HEAD_MAX: usize = 8 << 10;

/// Why a head is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// No end within [`HEAD_MAX`].
    #[error("a head of more than {HEAD_MAX} bytes")]
    Length,
    /// Neither GET nor HEAD.
    #[error("neither GET nor HEAD")]
    Method,
    /// A range that is none.
    #[error("a range that is none")]
    Range,
    /// No UTF-8.
    #[error("a head that is no text")]
    Text,
    /// Not HTTP/1.0 or 1.1.
    #[error("not HTTP/1")]
    Version,
}

/// A first line and fields.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Without its end.
    pub first: &'a str,
    rest: &'a str,
}

/// The first line of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// Whether only the head of the answer is wanted.
    pub head_only: bool,
    /// As it came; some programs leave blanks in it.
    pub path: &'a str,
    /// Whether it is HTTP/1.1, where a connection goes on unless somebody says otherwise.
    pub is_1_1: bool,
}

impl<'a> Head<'a> {
    /// Takes everything up to an empty line and says how long that was; `None`: not whole yet.
    ///
    /// # Errors
    /// It is too long, or no text.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let seen = &bytes[..bytes.len().min(HEAD_MAX)];
        let mut line_begin = 0;
        let mut end = None;
        for (at, _) in seen.iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
            if matches!(&seen[line_begin..at], b"" | b"\r") && line_begin > 0 {
                end = Some(at + 1);
                break;
            }
            line_begin = at + 1;
        }
        let Some(end) = end else {
            return if bytes.len() < HEAD_MAX { Ok(None) } else { Err(HeadError::Length) };
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| HeadError::Text)?;
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        Ok(Some((Self { first: first.trim_end(), rest }, end)))
    }

    /// The values of all fields of a name, in whatever case it is written.
    pub fn fields(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.rest.lines().filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The value of the first one.
    pub fn field(&self, name: &'static str) -> Option<&'a str> {
        self.fields(name).next()
    }

    /// The items of all fields of a name that are lists.
    pub fn list(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        let items = self.fields(name).flat_map(|value| value.split(','));
        items.map(str::trim).filter(|item| !item.is_empty())
    }

    /// Whether `Connection` has this word, in any case.
    pub fn connection(&self, word: &str) -> bool {
        self.list("Connection").any(|item| item.eq_ignore_ascii_case(word))
    }

    /// What is asked for.
    ///
    /// # Errors
    /// The first line is not that of a request for a file.
    pub fn request(&self) -> Result<Request<'a>, HeadError> {
        let (method, rest) = self.first.split_once(' ').ok_or(HeadError::Method)?;
        let head_only = match method {
            "GET" => false,
            "HEAD" => true,
            _ => return Err(HeadError::Method),
        };
        let (path, version) = rest.rsplit_once(' ').ok_or(HeadError::Version)?;
        let is_1_1 = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err(HeadError::Version),
        };
        Ok(Request { head_only, path: path.trim(), is_1_1 })
    }

    /// Which bytes are wanted; the first range if there are several, as any part of what was asked for is an answer.
    ///
    /// # Errors
    /// It is no range.
    // After RFC 9110, section 14.2.
    pub fn range(&self) -> Result<Option<ByteRange>, HeadError> {
        let range = self.field("Range").map(|text| ByteRange::parse(text).ok_or(HeadError::Range));
        range.transpose()
    }
}

/// Bytes of a file whose size the asker may not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ByteRange {
    /// From this byte on, up to this one if any.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl ByteRange {
    /// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`, and the blank of old programs in place of the equals sign.
    pub fn parse(text: &str) -> Option<Self> {
        let ranges = text.strip_prefix("bytes")?.trim_start().trim_start_matches('=');
        let (first, last) = ranges.split(',').next()?.trim().split_once('-')?;
        if first.is_empty() {
            return number(last).map(Self::Last);
        }
        let first = number(first)?;
        let last = if last.is_empty() { None } else { Some(number(last)?) };
        last.is_none_or(|last| first <= last).then_some(Self::From(first, last))
    }

    /// Those of a file of so many bytes; `None` if it has none of them.
    pub fn of(self, total: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => {
                first..last.map_or(total, |last| last.saturating_add(1).min(total))
            }
            Self::Last(len) => total.saturating_sub(len)..total,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// Digits and nothing else: a sign is not a number here.
pub fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Head<'_> {
        Head::split(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn heads_end_at_an_empty_line() {
        let text =
            "GET /a b HTTP/1.1\r\nX-Alt: 1, 2\r\nx-alt:3\nConnection: keep-Alive, x\r\n\r\nbody";
        let (head, len) = Head::split(text.as_bytes()).unwrap().unwrap();
        assert_eq!(&text[len..], "body");
        assert_eq!(head.list("X-ALT").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert!(head.connection("Keep-Alive") && !head.connection("close"));
        let want = Request { head_only: false, path: "/a b", is_1_1: true };
        assert_eq!(head.request(), Ok(want));
        for end in 0..len {
            assert!(Head::split(&text.as_bytes()[..end]).unwrap().is_none(), "{end}");
        }
        let no_text = Head::split(b"GET /\xff HTTP/1.1\n\n");
        assert_eq!(no_text.err(), Some(HeadError::Text));
        assert_eq!(Head::split(&[b'x'; HEAD_MAX]).err(), Some(HeadError::Length));
        assert!(Head::split(&[b'x'; HEAD_MAX - 1]).unwrap().is_none());
    }

    #[test]
    fn first_lines() {
        for (line, want) in [
            ("HEAD / HTTP/1.0", Ok(Request { head_only: true, path: "/", is_1_1: false })),
            ("POST / HTTP/1.1", Err(HeadError::Method)),
            ("get / HTTP/1.1", Err(HeadError::Method)),
            ("GET", Err(HeadError::Method)),
            ("GET /", Err(HeadError::Version)),
            ("GET / HTTP/2", Err(HeadError::Version)),
        ] {
            assert_eq!(head(&format!("{line}\n\n")).request(), want, "{line}");
        }
    }

    #[test]
    fn ranges() {
        for (text, want) in [
            ("bytes=5-9", Some(5..10)),
            ("bytes 5-9", Some(5..10)),
            ("bytes=0-", Some(0..100)),
            ("bytes=5-18446744073709551615", Some(5..100)),
            ("bytes=-30", Some(70..100)),
            ("bytes=-300", Some(0..100)),
            ("bytes=0-0,5-9", Some(0..1)),
            ("bytes=100-", None),
            ("bytes=-0", None),
        ] {
            assert_eq!(ByteRange::parse(text).unwrap().of(100), want, "{text}");
        }
        for bad in ["bytes=", "bytes=-", "bytes=9-5", "bytes=+5-9", "bytes=a-b", "lines=1-2", "5-9"]
        {
            assert_eq!(ByteRange::parse(bad), None, "{bad}");
            assert_eq!(head(&format!("a\nRange: {bad}\n\n")).range(), Err(HeadError::Range));
        }
        assert_eq!(ByteRange::parse("bytes=0-99999999999999999999"), None);
        assert_eq!(ByteRange::From(0, None).of(0), None);
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_file(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", total in any::<u64>()) {
            if let Some(range) = ByteRange::parse(&text).and_then(|range| range.of(total)) {
                prop_assert!(range.start < range.end && range.end <= total);
            }
        }

        #[test]
        fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(Some((head, len))) = Head::split(&raw) {
                prop_assert!(len <= raw.len());
                let _ = (head.request(), head.range());
            }
        }
    }
}
