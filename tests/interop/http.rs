//! Just enough HTTP to ask trackers and the control interfaces of foreign clients.

use anyhow::{Context, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a single answer may take.
const ANSWER: Duration = Duration::from_secs(20);
/// Bytes that an answer may have.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    head: String,
}

impl Answer {
    /// The value of a header, its name in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One request on a connection of its own; `extra` are whole header lines.
pub(crate) fn ask(
    at: SocketAddr,
    method: &str,
    target: &str,
    extra: &[String],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&at, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n");
    head += &format!("Content-Length: {}\r\n", body.len());
    extra.iter().for_each(|line| head += &format!("{line}\r\n"));
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)?;
    read(stream)
}

fn read(stream: TcpStream) -> anyhow::Result<Answer> {
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head_len) = head_len {
            let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let mut answer =
                Answer { status: status.context("no HTTP status")?, body: Vec::new(), head };
            let len = answer.header("content-length").and_then(|len| len.parse::<usize>().ok());
            let body = &bytes[head_len + 4..];
            if len.is_some_and(|len| body.len() >= len) {
                answer.body = body.to_vec();
                return Ok(answer);
            }
        }
        match stream.read(&mut buffer)? {
            0 => break,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    // Without a length, the end of the connection is the end of the body.
    let Some(head_len) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("the connection closed in the middle of an answer");
    };
    let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.context("no HTTP status")?,
        body: bytes[head_len + 4..].to_vec(),
        head,
    })
}
