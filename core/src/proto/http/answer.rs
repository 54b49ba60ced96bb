//! What hosts of files answer. Never decides what an answer is worth.
//= RFC 9110 §14 (range requests)

use super::{Head, HeadError, head_len, number};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Seconds that a host may tell others to wait; more is read as this.
const WAIT_MAX_S: u64 = 7 * 24 * 3600;

/// The head of an answer to a request for bytes of a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// 200, 206, 404, 503 and so on.
    pub status: u16,
    /// First and last byte of what follows, counted in the file.
    pub range: Option<RangeInclusive<u64>>,
    /// Bytes of the file.
    pub total: Option<u64>,
    /// Bytes that follow.
    pub len: Option<u64>,
    /// When to ask again after a refusal, at most a week.
    pub retry_after: Option<Duration>,
    /// Whether we stand in a queue, and lose our place with the connection.
    pub queued: bool,
    /// Where the file is instead.
    pub location: Option<String>,
    /// Whether more may be asked on this connection.
    pub keeps: bool,
    /// Whether what follows is written in some other form than the bytes of the file.
    pub encoded: bool,
}

impl Answer {
    /// Reads a head and says how long it was; `None`: not whole yet. A field that makes no sense counts as absent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let Some(len) = head_len(bytes)? else { return Ok(None) };
        let text: Cow<'_, str> = String::from_utf8_lossy(&bytes[..len]);
        let head = Head::of(&text);
        let mut words = head.first.split(' ').filter(|word| !word.is_empty());
        let version = words.next().filter(|word| word.starts_with("HTTP/1."));
        let version = version.ok_or(HeadError::Status)?;
        let status = words.next().filter(|word| word.len() == 3).and_then(number);
        let status = status.and_then(|status| u16::try_from(status).ok());
        let span = head.field("Content-Range").and_then(read_span);
        let connection = head.field("Connection").unwrap_or_default();
        let is = |word: &str| connection.eq_ignore_ascii_case(word);
        let queue = head.field("X-Queue").map(queue_wait);
        let retry = head.field("Retry-After").and_then(number);
        let identity = |how: &str| how.eq_ignore_ascii_case("identity");
        let coded = head.fields("Transfer-Encoding").chain(head.fields("Content-Encoding"));
        let answer = Self {
            status: status.ok_or(HeadError::Status)?,
            range: span.as_ref().map(|(range, _)| range.clone()),
            total: span.and_then(|(_, total)| total),
            len: head.field("Content-Length").and_then(number),
            retry_after: retry.or(queue.flatten()).map(|s| Duration::from_secs(s.min(WAIT_MAX_S))),
            queued: queue.is_some(),
            location: head.field("Location").map(str::to_owned),
            keeps: if version == "HTTP/1.0" { is("keep-alive") } else { !is("close") },
            encoded: { coded }.any(|how| !identity(how)),
        };
        Ok(Some((answer, len)))
    }
}

/// `position=2,length=5,limit=4,pollMin=45,pollMax=120`: seconds after which to ask again.
// As LimeWire's queue is described, X-Queue 0.1; some write `position: 2`.
fn queue_wait(text: &str) -> Option<u64> {
    text.split([',', ';']).find_map(|item| {
        let (key, value) = item.split_once(['=', ':'])?;
        key.trim().eq_ignore_ascii_case("pollMin").then(|| number(value.trim()))?
    })
}

/// `bytes a-b/total`; `bytes=` is in use as well, and `*` where the total is not known.
pub fn read_span(text: &str) -> Option<(RangeInclusive<u64>, Option<u64>)> {
    let text = text.strip_prefix("bytes")?.trim_start_matches([' ', '=']);
    let (range, total) = text.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = number(first)?..=number(last)?;
    let total = if total.trim() == "*" { None } else { Some(number(total)?) };
    let fits = !range.is_empty() && total.is_none_or(|total| *range.end() < total);
    fits.then_some((range, total))
}

#[cfg(test)]
mod tests {
    use super::super::HEAD_MAX;
    use super::*;
    use proptest::prelude::*;

    fn answer(head: &str) -> Result<Answer, HeadError> {
        Answer::parse(head.as_bytes()).map(|read| {
            let (answer, len) = read.expect("a whole head");
            assert_eq!(len, head.len());
            answer
        })
    }

    #[test]
    fn answers_of_hosts() {
        let gtk = answer(
            "HTTP/1.1 206 Partial Content\r\nServer: gtk-gnutella/1.2.3\r\nContent-Range: bytes 0-1048575/5000000\r\n\
             Content-Length: 1048576\r\nContent-type: application/binary\r\n\
             Content-Disposition: inline; filename*=utf-8'en'x\r\n\r\n",
        );
        let want = Answer {
            status: 206,
            range: Some(0..=1_048_575),
            total: Some(5_000_000),
            len: Some(1_048_576),
            keeps: true,
            ..Answer::default()
        };
        assert_eq!(gtk, Ok(want.clone()));
        let old = answer(
            "HTTP/1.0 206 OK\ncontent-range: bytes=5-9/*\ncontent-length: 5\nconnection: Keep-Alive\n\n",
        );
        let other = Answer { range: Some(5..=9), total: None, len: Some(5), ..want.clone() };
        assert_eq!(old, Ok(other));
        let busy =
            answer("HTTP/1.1 503 Busy\r\nRetry-After: 300\r\nConnection: close\r\n\r\n").unwrap();
        let retry_after = Some(Duration::from_secs(300));
        assert_eq!(busy, Answer { status: 503, retry_after, ..Answer::default() });
        let queued = answer(
            "HTTP/1.1 503 Queued\r\nX-Queue: position=2, length=5, limit=4, pollMin=45, pollMax=120\r\n\r\n",
        )
        .unwrap();
        let retry_after = Some(Duration::from_secs(45));
        let keeps = true;
        assert_eq!(
            queued,
            Answer { status: 503, retry_after, queued: true, keeps, ..Answer::default() }
        );
        let moved = answer("HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/x\r\n\r\n").unwrap();
        assert_eq!((moved.status, moved.location.as_deref()), (302, Some("http://10.0.0.1/x")));
        let chunked = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert!(chunked.encoded && chunked.len.is_none());
        assert!(!answer("HTTP/1.0 200 OK\r\n\r\n").unwrap().keeps);
    }

    #[test]
    fn heads_that_are_none() {
        let status = Err(HeadError::Status);
        for head in [
            "SPAM\n\n",
            "HTTP/2 200\n\n",
            "HTTP/1.1\n\n",
            "HTTP/1.1 +20 OK\n\n",
            "HTTP/1.1 99999\n\n",
        ] {
            assert_eq!(answer(head), status, "{head}");
        }
        assert_eq!(Answer::parse(b"HTTP/1.1 200 OK\r\nContent-"), Ok(None));
        assert_eq!(Answer::parse(&[b'\n'; 1]), Ok(None));
        assert_eq!(Answer::parse(&[b'x'; HEAD_MAX - 1]), Ok(None));
        assert_eq!(Answer::parse(&[b'x'; HEAD_MAX]), Err(HeadError::Length));
        let wrong = ["bytes 5-4/9", "bytes 5-9/9", "bytes -5-9/20", "bytes 5-/20", "items 5-9/20"];
        for span in wrong {
            assert_eq!(read_span(span), None, "{span}");
        }
        let huge = answer("HTTP/1.1 503 Busy\nRetry-After: 18446744073709551615\n\n").unwrap();
        assert_eq!(huge.retry_after, Some(Duration::from_secs(WAIT_MAX_S)));
        let date = answer("HTTP/1.1 503 Busy\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\n\n");
        assert_eq!(date.unwrap().retry_after, None);
    }

    proptest! {
        #[test]
        fn hostile_heads_never_panic_and_a_head_is_the_same_however_it_comes(
            raw in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..300),
            cut in 0usize..300,
        ) {
            let mut bytes = b"HTTP/1.1 206 OK\r\nContent-Range: bytes 1-".to_vec();
            bytes.extend(raw);
            let whole = Answer::parse(&bytes);
            if let Ok(Some((answer, len))) = &whole {
                prop_assert!(*len <= bytes.len());
                prop_assert_eq!(answer.status, 206);
                // With less than the head nothing is decided; with more, nothing changes.
                let seen = cut.min(*len - 1);
                prop_assert_eq!(Answer::parse(&bytes[..seen]), Ok(None));
            }
        }
    }
}
