//! The heads of a transfer: what a downloader asks for in HTTP, what the host answers, and the line by which a host
//! behind a firewall says why it connects.
//!
//! Lines may end with or without a carriage return. Never reads a body, and never takes a range of an answer for the
//! one that was asked for: [`Answered::covers`] says whether it is.

use super::{UuHash, WireError, clean_name};
use crate::id::InfoHash;
use crate::proto::http::{ByteRange, Head, HeadError, number};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::ops::RangeInclusive;

/// Digits and end of line after `GIVE`.
const GIVE_MAX: usize = 24;
/// What a host that is full tells others to wait, in seconds.
const RETRY_S: u32 = 300;

/// What a connection begins with, by its first four bytes: all kinds come to the same port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// A transfer that we are asked for.
    Http,
    /// Another supernode of ours.
    Mesh,
    /// A host that we asked to connect.
    Push,
    /// A node that wants us as its supernode.
    Session,
}

impl Opening {
    /// Of the first four bytes.
    pub const fn of(first: [u8; 4]) -> Self {
        match &first {
            b"GET " | b"HEAD" => Self::Http,
            b"GIVE" => Self::Push,
            &super::mesh::MAGIC => Self::Mesh,
            _ => Self::Session,
        }
    }
}

/// The line of a host that connects because somebody pushed it.
pub fn give(push: u32) -> String {
    format!("GIVE {push}\r\n")
}

/// Reads that line and says how long it was; `None`: not whole yet.
pub fn parse_give(bytes: &[u8]) -> Result<Option<(u32, usize)>, WireError> {
    let Some(end) = bytes.iter().take(GIVE_MAX).position(|&byte| byte == b'\n') else {
        return if bytes.len() < GIVE_MAX { Ok(None) } else { Err(WireError::Head("GIVE")) };
    };
    let line = std::str::from_utf8(&bytes[..end]).unwrap_or_default().trim_end();
    let id = line.strip_prefix("GIVE ").and_then(|id| id.parse().ok());
    id.map(|id| Some((id, end + 1))).ok_or(WireError::Head("GIVE"))
}

/// Which file is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// By its hash.
    Hash(UuHash),
    /// By its number and its exact name, the form of old.
    Name {
        /// As in the share.
        file_id: u32,
        /// As it came: it is looked up among what is shared, and opens nothing.
        name: String,
    },
    /// A file of a torrent, by its number: between programs of ours.
    Torrent(InfoHash, u32),
}

/// A request for a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// Only the head of the answer is wanted.
    pub head_only: bool,
    /// Which file.
    pub target: Target,
    /// First and last byte; none is the whole file.
    pub range: Option<RangeInclusive<u64>>,
    /// Who asks.
    pub user: String,
    /// The supernode that knows who asks.
    pub supernode: Option<SocketAddrV4>,
    /// Whether more may be asked on the same connection.
    pub keep_alive: bool,
}

impl Ask {
    /// Reads a head and says how long it was; `None`: not whole yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let Some((head, len)) = Head::split(bytes)? else { return Ok(None) };
        let request = head.request()?;
        Ok(Some((
            Self {
                head_only: request.head_only,
                target: read_target(request.path).ok_or(WireError::Head("path"))?,
                range: read_range(&head)?,
                user: {
                    let user = head.field("X-Kazaa-Username").unwrap_or_default();
                    clean_name(user.as_bytes()).trim().to_owned()
                },
                supernode: head.field("X-Kazaa-SupernodeIP").and_then(|addr| addr.parse().ok()),
                // mldonkey goes on with HTTP/1.0 as well, so only a word against it counts.
                keep_alive: !head.connection("close"),
            },
            len,
        )))
    }

    /// The head, for a host.
    pub fn encode(&self, host: SocketAddrV4) -> String {
        let method = if self.head_only { "HEAD" } else { "GET" };
        let path = match &self.target {
            Target::Hash(hash) => format!("/.hash={hash}"),
            Target::Name { file_id, name } => {
                format!("/{file_id}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
            }
            Target::Torrent(torrent, file) => format!("/.btih={torrent}/{file}"),
        };
        let mut out = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUserAgent: gaggle\r\n\
             X-Kazaa-Network: KaZaA\r\nX-Kazaa-Username: {}\r\n",
            clean_name(self.user.as_bytes())
        );
        if let Some(supernode) = self.supernode {
            let _ = write!(out, "X-Kazaa-SupernodeIP: {supernode}\r\n");
        }
        if let Some(range) = &self.range {
            let _ = write!(out, "Range: bytes={}-{}\r\n", range.start(), range.end());
        }
        let connection = if self.keep_alive { "Keep-Alive" } else { "Close" };
        let _ = write!(out, "Connection: {connection}\r\n\r\n");
        out
    }
}

/// How a host answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// The request cannot be read, or its range lies outside the file.
    Bad,
    /// Full: ask again later.
    Busy,
    /// There is no such file.
    NotFound,
    /// Bytes follow.
    Partial,
}

/// What a host says of itself and of a file in the head of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload {
    /// Where the host listens.
    pub addr: SocketAddrV4,
    /// Its user.
    pub user: String,
    /// Its supernode.
    pub supernode: Option<SocketAddrV4>,
    /// The file.
    pub hash: UuHash,
    /// The torrent that the file belongs to.
    pub torrent: Option<InfoHash>,
    /// Bytes of the file.
    pub total: u64,
}

impl Upload {
    /// The head before bytes of the file; the range must lie within it.
    pub fn partial(&self, range: &RangeInclusive<u64>) -> String {
        let (first, last, total) = (range.start(), range.end(), self.total);
        let len = last.saturating_sub(*first).saturating_add(1);
        self.head(
            "206 Partial Content",
            len,
            &format!("Content-Range: bytes {first}-{last}/{total}\r\n"),
        )
    }

    /// The head before all of it, for who asked for no range.
    pub fn whole(&self) -> String {
        self.head("200 OK", self.total, "")
    }

    fn head(&self, status: &str, len: u64, range: &str) -> String {
        let mut out = format!(
            "HTTP/1.1 {status}\r\nServer: gaggle\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {len}\r\n{range}Accept-Ranges: bytes\r\n\
             X-Kazaa-Username: {}\r\nX-Kazaa-Network: KaZaA\r\nX-Kazaa-IP: {}\r\n",
            clean_name(self.user.as_bytes()),
            self.addr
        );
        if let Some(supernode) = self.supernode {
            let _ = write!(out, "X-Kazaa-SupernodeIP: {supernode}\r\n");
        }
        // Tag 3 is the hash; the hash itself begins with a second `=`.
        let _ = write!(out, "X-KazaaTag: 3={}\r\n", self.hash.to_base64());
        if let Some(torrent) = self.torrent {
            let _ = write!(out, "X-Content-BTIH: {torrent}\r\n");
        }
        out.push_str("\r\n");
        out
    }
}

impl Status {
    /// A head that no bytes follow.
    pub fn refusal(self) -> String {
        let (line, retry) = match self {
            Self::Bad | Self::Partial => ("400 Bad Request", None),
            Self::NotFound => ("404 Not Found", None),
            Self::Busy => ("503 Service Unavailable", Some(RETRY_S)),
        };
        let retry = retry.map(|s| format!("Retry-After: {s}\r\n")).unwrap_or_default();
        format!("HTTP/1.1 {line}\r\nServer: gaggle\r\n{retry}Content-Length: 0\r\n\r\n")
    }
}

/// The head of a host's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered {
    /// 206, 404, 503 and so on.
    pub status: u16,
    /// First and last byte of what follows.
    pub range: Option<RangeInclusive<u64>>,
    /// Bytes of the file.
    pub total: Option<u64>,
    /// Bytes that follow.
    pub len: Option<u64>,
    /// Seconds to wait after a refusal.
    pub retry_s: Option<u32>,
    /// The file, as the host says.
    pub hash: Option<UuHash>,
    /// The torrent that it belongs to, as the host says.
    pub torrent: Option<InfoHash>,
}

impl Answered {
    /// Reads a head and says how long it was; `None`: not whole yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        let Some((head, len)) = Head::split(bytes)? else { return Ok(None) };
        let mut words = head.first.split(' ');
        if !words.next().is_some_and(|word| word.starts_with("HTTP/1.")) {
            return Err(WireError::Head("version"));
        }
        let status = words.next().and_then(|code| code.parse().ok());
        let span = head.field("Content-Range").and_then(read_span);
        let tags = head.fields("X-KazaaTag");
        Ok(Some((
            Self {
                status: status.ok_or(WireError::Head("status"))?,
                range: span.as_ref().map(|(range, _)| range.clone()),
                total: span.map(|(_, total)| total),
                len: head.field("Content-Length").and_then(|text| text.parse().ok()),
                retry_s: head.field("Retry-After").and_then(|text| text.parse().ok()),
                hash: tags.filter_map(|tag| UuHash::from_base64(tag.strip_prefix("3=")?)).next(),
                torrent: head.field("X-Content-BTIH").and_then(InfoHash::from_hex),
            },
            len,
        )))
    }

    /// Whether exactly what was asked for follows: the same bytes, as many, of a file of this size.
    pub fn covers(&self, asked: &RangeInclusive<u64>, total: u64) -> bool {
        let len = asked.end().checked_sub(*asked.start()).and_then(|less| less.checked_add(1));
        self.status == 206
            && self.range.as_ref() == Some(asked)
            && self.total == Some(total)
            && self.len == len
    }
}

fn read_target(path: &str) -> Option<Target> {
    if let Some(hash) = path.strip_prefix("/.hash=") {
        return UuHash::from_hex(hash).map(Target::Hash);
    }
    if let Some(torrent) = path.strip_prefix("/.btih=") {
        let (torrent, file) = torrent.split_once('/')?;
        return Some(Target::Torrent(InfoHash::from_hex(torrent)?, file.parse().ok()?));
    }
    let (file_id, name) = path.strip_prefix('/')?.split_once('/')?;
    let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    Some(Target::Name { file_id: file_id.parse().ok()?, name })
}

/// An open end is the last byte that any file can have. The end of a file alone, whose size the asker would not know, no
/// program of this network asks for.
fn read_range(head: &Head<'_>) -> Result<Option<RangeInclusive<u64>>, HeadError> {
    match head.range()? {
        Some(ByteRange::From(first, last)) => Ok(Some(first..=last.unwrap_or(u64::MAX))),
        Some(ByteRange::Last(_)) => Err(HeadError::Range),
        None => Ok(None),
    }
}

/// `bytes a-b/total`.
fn read_span(text: &str) -> Option<(RangeInclusive<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (range, total) = (number(first)?..=number(last)?, number(total)?);
    (!range.is_empty() && *range.end() < total).then_some((range, total))
}
