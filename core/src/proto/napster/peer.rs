//! Between two clients: who wants what, the size that runs straight into the data, lists of files, and the one line
//! of a redirector. Nothing here is framed, and most of it has no end but silence.

use super::fields::{Fields, Line, number};
use super::{File, NapsterError, Nick, Text};
use std::net::SocketAddrV4;

/// Bytes of the longest request. Who sends more has not understood.
pub const REQUEST_MAX: usize = 512;

/// What the one who connected wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PeerRequest {
    /// A file of ours, from a byte on.
    Get {
        /// Who wants it.
        nick: Nick,
        /// Which.
        path: Text,
        /// First byte.
        offset: u64,
    },
    /// The list of our files.
    GetList,
    /// To give us a file that we asked for.
    Send {
        /// Who gives.
        nick: Nick,
        /// Which.
        path: Text,
        /// All of its bytes.
        size: u64,
    },
    /// To give us the list of his files.
    SendList {
        /// Who gives.
        nick: Nick,
    },
}

/// What the bytes so far are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// The beginning of one.
    More,
    /// One, unless more comes: a number may have further digits.
    Maybe(PeerRequest),
    /// One, and how many bytes it takes.
    Whole(PeerRequest, usize),
}

impl PeerRequest {
    /// Reads what was received since we said `1`.
    ///
    /// # Errors
    /// [`NapsterError::Request`] if it can become none.
    pub fn parse(bytes: &[u8]) -> Result<Request, NapsterError> {
        let head = bytes.len().min(4);
        if !b"GET".starts_with(&bytes[..head.min(3)]) && !b"SEND".starts_with(&bytes[..head]) {
            return Err(NapsterError::Request);
        }
        let read = match bytes {
            b"GETLIST" => Request::Maybe(Self::GetList),
            [b'G', b'E', b'T', line @ ..] => Self::parse_get(line),
            [b'S', b'E', b'N', b'D', line @ ..] => Self::parse_send(bytes, line),
            _ => Request::More,
        };
        match read {
            Request::More if bytes.len() >= REQUEST_MAX => Err(NapsterError::Request),
            read => Ok(read),
        }
    }

    fn parse_get(line: &[u8]) -> Request {
        // Some end their words with a line feed.
        if line.strip_prefix(b"LIST").is_some_and(|end| matches!(end, b"\r\n" | b"\n")) {
            return Request::Maybe(Self::GetList);
        }
        match named_file(line) {
            Some((nick, path, offset, ends)) => seal(Self::Get { nick, path, offset }, ends, 3),
            None => Request::More,
        }
    }

    fn parse_send(bytes: &[u8], line: &[u8]) -> Request {
        if let Some((nick, path, size, ends)) = named_file(line) {
            return seal(Self::Send { nick, path, size }, ends, 4);
        }
        let Some(list) = line.strip_prefix(b"LIST ") else { return Request::More };
        let Some(end) = list.iter().position(|&byte| byte == b'\n') else { return Request::More };
        match Nick::new(list[..end].trim_ascii()) {
            Some(nick) => {
                Request::Whole(Self::SendList { nick }, bytes.len() - list.len() + end + 1)
            }
            None => Request::More,
        }
    }

    /// The words to write once the other side has said `1`: each is a write of its own.
    pub fn encode(&self) -> [Vec<u8>; 2] {
        let line = |nick: &Nick, path: &Text, number: &u64| {
            Line::default().word(nick).quoted(path).word(number).0
        };
        match self {
            Self::Get { nick, path, offset } => [b"GET".to_vec(), line(nick, path, offset)],
            Self::GetList => [b"GETLIST".to_vec(), Vec::new()],
            Self::Send { nick, path, size } => [b"SEND".to_vec(), line(nick, path, size)],
            Self::SendList { nick } => [format!("SENDLIST {nick}\n").into_bytes(), Vec::new()],
        }
    }
}

fn seal(request: PeerRequest, ends: Option<usize>, before: usize) -> Request {
    match ends {
        Some(at) => Request::Whole(request, before + at),
        None => Request::Maybe(request),
    }
}

/// `<nick> "<path>" <number>`, and where it ends if something follows that cannot belong to the number.
fn named_file(line: &[u8]) -> Option<(Nick, Text, u64, Option<usize>)> {
    let open = line.iter().position(|&byte| byte == b'"')?;
    let nick = Nick::new(line[..open].trim_ascii())?;
    let close = open + 1 + line[open + 1..].iter().position(|&byte| byte == b'"')?;
    let start = close + 1 + line[close + 1..].iter().position(u8::is_ascii_digit)?;
    if !line[close + 1..start].iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let digits = line[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = number(&line[start..start + digits])?;
    let ends = (start + digits < line.len()).then(|| {
        let tail = &line[start + digits..];
        start + digits + tail.iter().take_while(|byte| b"\r\n".contains(byte)).count()
    });
    Some((nick, Text::new(&line[open + 1..close]), value, ends))
}

/// What an uploader's answer begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SizeAnswer {
    /// The size, in so many bytes; data follows.
    Data(usize),
    /// Too little to tell.
    More,
    /// Digits of another size, or no digits: an error in words.
    Refused,
}

/// Finds where data begins behind the size, which has no end of its own: data may begin with a digit. The size is known
/// from the search; some send what is left of it beyond `offset` instead. `ended` says that nothing more will come.
pub fn read_size(bytes: &[u8], size: u64, offset: u64, ended: bool) -> SizeAnswer {
    let whole = size.to_string();
    let left = size.saturating_sub(offset).to_string();
    if bytes.starts_with(whole.as_bytes()) {
        return SizeAnswer::Data(whole.len());
    }
    if whole.as_bytes().starts_with(bytes) && !ended {
        return SizeAnswer::More;
    }
    if bytes.starts_with(left.as_bytes()) {
        return SizeAnswer::Data(left.len());
    }
    if left.as_bytes().starts_with(bytes) && !ended {
        SizeAnswer::More
    } else {
        SizeAnswer::Refused
    }
}

/// The answer to [`PeerRequest::GetList`]: who we are, our files, an empty line.
pub fn list_lines<'a>(nick: &Nick, files: impl Iterator<Item = &'a File>) -> Vec<u8> {
    let mut out = format!("{nick}\n").into_bytes();
    for file in files {
        out.extend_from_slice(&file.write(Line::default()).0);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

/// One line of such a list.
///
/// # Errors
/// What is wrong with it, as with message 100.
pub fn parse_list_line(line: &[u8]) -> Result<File, NapsterError> {
    File::read(&mut Fields::new(100, line))
}

/// The address that a redirector names: all that was read until it closed, at most 64 bytes.
pub fn read_server(bytes: &[u8]) -> Option<SocketAddrV4> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(64))?).ok()?;
    text.lines().next()?.trim().parse().ok().filter(|addr: &SocketAddrV4| addr.port() != 0)
}

/// What a redirector writes before it closes.
pub fn write_server(addr: SocketAddrV4) -> Vec<u8> {
    format!("{addr}\n").into_bytes()
}
