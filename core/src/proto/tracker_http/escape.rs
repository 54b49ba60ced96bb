//! Percent escapes of raw bytes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn push(out: &mut String, raw: &[u8]) {
    out.extend(percent_encode(raw, ESCAPED));
}

/// The bytes behind `text`; `None` when an escape is broken. A plus stays a plus: clients that mean a blank
/// write `%20`.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (&[high, low], after) = rest.split_first_chunk::<2>()?;
            let digit = |c: u8| char::from(c).to_digit(16);
            out.push((digit(high)? * 16 + digit(low)?) as u8);
            rest = after;
        } else {
            out.push(byte);
        }
    }
    Some(out)
}
