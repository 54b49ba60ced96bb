//! The blocks of lines that a connection begins with.

use super::{GnutellaError, HANDSHAKE_MAX, HEADERS_MAX};
use bytes::BytesMut;
use std::fmt;

/// The first line of a block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum First {
    /// `GNUTELLA CONNECT/0.4`: no header follows.
    Connect04,
    /// `GNUTELLA OK`, the whole answer to it.
    Ok04,
    /// `GNUTELLA CONNECT/0.6`, or a later version, which can do as much.
    Connect06,
    /// `GNUTELLA/0.6`, a code and a reason.
    Status(u16, String),
}

/// One block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handshake {
    /// What it is.
    pub first: First,
    /// Names and values as they came, those of repeated names joined.
    headers: Vec<(String, String)>,
}

impl Handshake {
    /// A block without headers.
    pub fn new(first: First) -> Self {
        Self { first, headers: Vec::new() }
    }

    /// With one header more. What would end the line is left out of the value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = format!("{value}").chars().filter(|c| !c.is_control()).collect();
        self.headers.push((name.into(), value));
        self
    }

    /// The value of a header; the case of its name is all the same.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The items of a header that is a list.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
    }

    /// What `True` or `False` says.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        match value.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Takes one block off the front of a stream; `None` until all of it is there.
    ///
    /// # Errors
    /// It does not begin with `GNUTELLA`, has no end within 4 KiB, more than 64 headers, or lines that are none.
    pub fn decode(stream: &mut BytesMut) -> Result<Option<Self>, GnutellaError> {
        const BEGIN: &[u8] = b"GNUTELLA";
        let began = stream.len().min(BEGIN.len());
        if stream[..began] != BEGIN[..began] {
            return Err(GnutellaError::Handshake);
        }
        let Some(end) = end_of(&stream[..stream.len().min(HANDSHAKE_MAX)]) else {
            let (got, most) = (stream.len(), HANDSHAKE_MAX);
            return if got >= most {
                Err(GnutellaError::HandshakeLength { got, most })
            } else {
                Ok(None)
            };
        };
        let block = stream.split_to(end);
        Self::block(&String::from_utf8_lossy(&block)).map(Some).ok_or(GnutellaError::Handshake)
    }

    fn block(text: &str) -> Option<Self> {
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let mut new = Self::new(First::parse(lines.next()?)?);
        for line in lines.take_while(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) {
                let (_, value) = new.headers.last_mut()?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':')?;
            let (name, value) = (name.trim(), value.trim());
            let room = new.headers.len() < HEADERS_MAX;
            let known = new.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
            match known {
                Some((_, joined)) => {
                    joined.push_str(", ");
                    joined.push_str(value);
                }
                None if room => {
                    new.headers.push((name.into(), value.into()));
                }
                None => return None,
            }
        }
        new.headers.iter_mut().for_each(|(_, value)| *value = value.trim().into());
        Some(new)
    }

    /// The block, with its empty line.
    pub fn encode(&self) -> Vec<u8> {
        let first = match &self.first {
            First::Connect04 => return b"GNUTELLA CONNECT/0.4\n\n".to_vec(),
            First::Ok04 => return b"GNUTELLA OK\n\n".to_vec(),
            First::Connect06 => "GNUTELLA CONNECT/0.6".to_owned(),
            First::Status(code, reason) => format!("GNUTELLA/0.6 {code} {reason}"),
        };
        let mut out = first + "\r\n";
        for (name, value) in &self.headers {
            out += &format!("{name}: {value}\r\n");
        }
        (out + "\r\n").into_bytes()
    }
}

impl First {
    fn parse(line: &str) -> Option<Self> {
        match line {
            "GNUTELLA CONNECT/0.4" => return Some(Self::Connect04),
            "GNUTELLA OK" => return Some(Self::Ok04),
            _ => {}
        }
        if let Some(version) = line.strip_prefix("GNUTELLA CONNECT/") {
            let (major, minor) = version.trim().split_once('.')?;
            let version: (u16, u16) = (major.parse().ok()?, minor.parse().ok()?);
            return (version >= (0, 6)).then_some(Self::Connect06);
        }
        let (_, status) = line.strip_prefix("GNUTELLA/")?.split_once(' ')?;
        let (code, reason) = status.split_once(' ').unwrap_or((status, ""));
        let code = code.parse().ok().filter(|code| (100..=999).contains(code))?;
        Some(Self::Status(code, reason.trim().into()))
    }
}

/// Where the block ends that begins here: after its first empty line.
fn end_of(stream: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, _) in stream.iter().enumerate().filter(|&(_, &byte)| byte == b'\n') {
        if matches!(&stream[line..at], b"" | b"\r") {
            return Some(at + 1);
        }
        line = at + 1;
    }
    None
}
