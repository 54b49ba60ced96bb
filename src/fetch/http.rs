//! What is said in HTTP on a line: a request, and the head of the answer to it.

use super::line::Line;
use super::source::REFUSAL_MAX;
use super::{Dialect, HttpFile};
use bytes::Buf;
use gaggle_core::proto::fasttrack::Ask;
use gaggle_core::proto::http::Answer;
use gaggle_core::swarm::source::{Head, Part, SourceFault};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::time::timeout;

/// Who asks.
const USER_AGENT: &str = concat!("gaggle/", env!("CARGO_PKG_VERSION"));
/// Answers that only announce another, of one request; one more is an error.
const INTERIM_MAX: usize = 4;

/// The head of a request; `None` for a dialect that is not HTTP. `host` is the name or address that was connected to.
pub(super) fn request(
    dialect: &Dialect,
    host: &str,
    addr: SocketAddr,
    part: Part,
) -> Option<String> {
    let range = part.first..=part.first + (part.len - 1);
    match dialect {
        Dialect::FastTrack(ask, attached) => {
            let host = match addr {
                SocketAddr::V4(addr) => addr,
                SocketAddr::V6(addr) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, addr.port()),
            };
            let supernode = attached.as_ref().and_then(|attached| attached.supernode());
            Some(Ask { range: Some(range), supernode, ..ask.clone() }.encode(host))
        }
        Dialect::Http(file) => Some(general(file, host, &range)),
        Dialect::Napster { .. } => None,
    }
}

fn general(
    HttpFile { path, fields }: &HttpFile,
    host: &str,
    range: &RangeInclusive<u64>,
) -> String {
    let mut out = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\n");
    for (name, value) in fields {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    let (first, last) = (range.start(), range.end());
    let _ = write!(out, "Range: bytes={first}-{last}\r\nConnection: Keep-Alive\r\n\r\n");
    out
}

/// Asks, and reads the head of the answer, all of it in time.
pub(super) async fn ask(
    line: &mut Line,
    request: &str,
    within: Duration,
) -> Result<Answer, SourceFault> {
    let answered = async {
        line.say(request.as_bytes(), within).await?;
        for _ in 0..=INTERIM_MAX {
            let answer = read_head(line).await?;
            if !(100..200).contains(&answer.status) {
                return Ok(answer);
            }
        }
        Err(SourceFault::Head)
    };
    timeout(within, answered).await.unwrap_or(Err(SourceFault::Stalled))
}

async fn read_head(line: &mut Line) -> Result<Answer, SourceFault> {
    loop {
        match Answer::parse(line.heard()) {
            Ok(Some((answer, len))) => {
                line.heard().advance(len);
                return Ok(answer);
            }
            Ok(None) if line.hear().await? => {}
            Ok(None) => return Err(SourceFault::Lost),
            Err(_) => return Err(SourceFault::Head),
        }
    }
}

/// What an answer is worth: how many bytes of the part follow.
pub(super) fn judge(part: &Part, answer: &Answer) -> Result<u64, SourceFault> {
    if matches!(answer.status, 200 | 206) && answer.encoded {
        return Err(SourceFault::Unranged);
    }
    part.accept(&Head {
        status: answer.status,
        range: answer.range.clone(),
        total: answer.total,
        len: answer.len,
        retry_after: answer.retry_after,
    })
}

/// Reads past the words of a refusal, so that the next answer on this line begins with its head. Says whether that can be.
pub(super) async fn pass_over(line: &mut Line, answer: &Answer, within: Duration) -> bool {
    let Some(len) = answer.len.filter(|&len| answer.keeps && !answer.encoded && len <= REFUSAL_MAX)
    else {
        return false;
    };
    let len = len as usize;
    let read = async {
        while line.heard().len() < len {
            if !line.hear().await.unwrap_or(false) {
                return false;
            }
        }
        line.heard().advance(len);
        true
    };
    timeout(within, read).await.unwrap_or(false)
}
