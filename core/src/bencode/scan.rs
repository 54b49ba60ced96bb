//! The flat scan that every stranger's bencode passes first. It judges form, never meaning.

use super::BencodeError;

/// How much bencode to accept. Beyond any bound the input is refused as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Lists and dictionaries inside one another; a lone list has depth 1.
    pub depth: usize,
    /// Values of every kind, dictionary keys included.
    pub tokens: usize,
    /// Bytes of the whole value.
    pub bytes: usize,
}

impl Limits {
    /// A .torrent file: libtorrent's depth and tokens, qBittorrent's size (100 000 files with long
    /// names take about 15 MB, so the 10 MB of libtorrent's loader refuse honest torrents).
    pub const TORRENT: Self = Self { depth: 100, tokens: 3_000_000, bytes: 100 << 20 };
    /// An info dictionary that came from a peer: libtorrent's 31 457 280 bytes and 2.5 M tokens.
    pub const METADATA: Self = Self { depth: 100, tokens: 2_500_000, bytes: 30 << 20 };
    /// A message: a tracker's answer or an extension message. Bodies are capped earlier and lower.
    pub const MESSAGE: Self = Self { depth: 10, tokens: 50_000, bytes: 2 << 20 };
    /// A datagram: libtorrent's bounds for the DHT.
    pub const DATAGRAM: Self = Self { depth: 10, tokens: 500, bytes: 64 << 10 };
}

/// Whether `bytes` is exactly one well-formed value within the limits.
///
/// Memory: 24 bytes for each key of the dictionaries open at one time, which a key's own bytes and
/// `limits.tokens` bound.
pub fn check(bytes: &[u8], limits: Limits) -> Result<(), BencodeError> {
    if bytes.len() > limits.bytes {
        return Err(BencodeError::TooLong { max: limits.bytes });
    }
    match Scanner::new(bytes, limits).first_value()? {
        end if end == bytes.len() => Ok(()),
        at => Err(BencodeError::Trailing { at }),
    }
}

/// Splits the one value at the front from whatever follows it.
///
/// The limits count the value only. This is the form of metadata messages: a dictionary, then raw bytes.
//= BEP 9 §data
pub fn split_first(bytes: &[u8], limits: Limits) -> Result<(&[u8], &[u8]), BencodeError> {
    let within = &bytes[..bytes.len().min(limits.bytes)];
    match Scanner::new(within, limits).first_value() {
        Ok(end) => Ok(bytes.split_at(end)),
        Err(BencodeError::Truncated { .. }) if within.len() < bytes.len() => {
            Err(BencodeError::TooLong { max: limits.bytes })
        }
        Err(error) => Err(error),
    }
}

/// End of the value that begins at `at`, in bytes that [`check`] accepted.
///
/// On unchecked bytes the answer is `None` or any offset within them, never a panic.
pub(super) fn end_of_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = 0usize;
    loop {
        match bytes.get(at)? {
            b'i' => at += 1 + bytes[at..].iter().position(|&b| b == b'e')?,
            b'l' | b'd' => {
                open += 1;
                at += 1;
                continue; // a container is not whole yet, even when it is the outermost
            }
            b'e' => {
                open = open.checked_sub(1)?;
                at += 1;
            }
            _ => at = string_at(bytes, at)?.1,
        }
        if open == 0 {
            return Some(at);
        }
    }
}

/// The string that begins at `at`, and where it ends, in checked bytes.
pub(super) fn string_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (start, len) = read_length(bytes, at).ok()?;
    let end = start.checked_add(len)?;
    Some((bytes.get(start..end)?, end))
}

/// The number between `i` and `e` at `at`.
pub(super) fn read_int(bytes: &[u8], at: usize) -> Result<(i64, usize), BencodeError> {
    // 20 characters hold every 64-bit integer; a longer run is refused without reading all of it.
    const LONGEST: usize = 20;
    let digits = &bytes[at + 1..];
    let Some(len) = digits.iter().take(LONGEST + 1).position(|&b| b == b'e') else {
        let run = digits.iter().take(LONGEST + 1);
        return Err(if !run.clone().skip(1).all(u8::is_ascii_digit) {
            BencodeError::Integer { at }
        } else if run.len() <= LONGEST {
            BencodeError::Truncated { at: bytes.len() }
        } else {
            BencodeError::IntegerRange { at }
        });
    };
    let text = &digits[..len];
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match magnitude {
        [] => false,
        [b'0'] => text.len() == 1, // not `-0`
        [b'0', ..] => false,
        all => all.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return Err(BencodeError::Integer { at });
    }
    let text = std::str::from_utf8(text).map_err(|_| BencodeError::Integer { at })?;
    let value = text.parse().map_err(|_| BencodeError::IntegerRange { at })?;
    Ok((value, at + 1 + len + 1))
}

/// Reads `<digits>:`: where the string begins and how long it claims to be.
fn read_length(bytes: &[u8], at: usize) -> Result<(usize, usize), BencodeError> {
    // No input is longer than 2⁶³ bytes; ten digits are far beyond every limit in use.
    const LONGEST: usize = 10;
    let mut len = 0usize;
    for (nth, &byte) in bytes[at..].iter().enumerate() {
        match byte {
            b':' if nth > 0 => return Ok((at + nth + 1, len)),
            b'0'..=b'9' if nth < LONGEST && !(nth == 1 && len == 0) => {
                len = len * 10 + usize::from(byte - b'0');
            }
            _ => return Err(BencodeError::Length { at }),
        }
    }
    Err(BencodeError::Truncated { at: bytes.len() })
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
    tokens: usize,
    /// Containers around the current byte, at most `limits.depth`.
    open: Vec<Open>,
    /// Keys of every open dictionary, innermost last, each with its offset.
    keys: Vec<(&'a [u8], usize)>,
}

/// A container whose `e` has not come yet.
enum Open {
    List,
    Dict {
        /// Index of this dictionary's first entry in `Scanner::keys`.
        first_key: usize,
        /// Every key so far was greater than the one before, so there can be no duplicate.
        sorted: bool,
    },
}

impl<'a> Scanner<'a> {
    fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self { bytes, at: 0, limits, tokens: 0, open: Vec::new(), keys: Vec::new() }
    }

    /// Scans one value from the front and returns where it ends.
    fn first_value(mut self) -> Result<usize, BencodeError> {
        loop {
            let in_dict = match self.open.last() {
                None => false,
                Some(Open::List) => {
                    if self.peek()? == b'e' {
                        self.close()?;
                        if self.open.is_empty() {
                            return Ok(self.at);
                        }
                        continue;
                    }
                    false
                }
                Some(Open::Dict { .. }) => true,
            };
            if in_dict && !self.key_or_end()? {
                if self.open.is_empty() {
                    return Ok(self.at);
                }
                continue;
            }
            self.value(in_dict)?;
            if self.open.is_empty() {
                return Ok(self.at);
            }
        }
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(BencodeError::Truncated { at: self.bytes.len() })
    }

    /// Takes a scalar, or opens a container.
    fn value(&mut self, after_key: bool) -> Result<(), BencodeError> {
        let at = self.at;
        match self.peek()? {
            b'e' if after_key => return Err(BencodeError::MissingValue { at }),
            b'i' => {
                self.count()?;
                self.at = read_int(self.bytes, at)?.1;
            }
            b'0'..=b'9' => {
                self.string()?;
            }
            b'l' => self.enter(Open::List)?,
            b'd' => self.enter(Open::Dict { first_key: self.keys.len(), sorted: true })?,
            byte => return Err(BencodeError::Unexpected { at, byte }),
        }
        Ok(())
    }

    /// Takes the next key of the innermost dictionary, or closes it and answers `false`.
    fn key_or_end(&mut self) -> Result<bool, BencodeError> {
        let at = self.at;
        match self.peek()? {
            b'e' => {
                self.close()?;
                return Ok(false);
            }
            b'0'..=b'9' => {}
            _ => return Err(BencodeError::KeyKind { at }),
        }
        let key = self.string()?;
        let before = self.keys.len();
        if let Some(Open::Dict { first_key, sorted }) = self.open.last_mut()
            && before > *first_key
        {
            match self.keys[before - 1].0.cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(BencodeError::DuplicateKey { at }),
                std::cmp::Ordering::Greater => *sorted = false,
            }
        }
        self.keys.push((key, at));
        Ok(true)
    }

    fn string(&mut self) -> Result<&'a [u8], BencodeError> {
        self.count()?;
        let (start, len) = read_length(self.bytes, self.at)?;
        let end = start.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(BencodeError::Truncated { at: self.bytes.len() })?;
        self.at = end;
        Ok(&self.bytes[start..end])
    }

    fn enter(&mut self, container: Open) -> Result<(), BencodeError> {
        self.count()?;
        if self.open.len() >= self.limits.depth {
            return Err(BencodeError::Depth { at: self.at, max: self.limits.depth });
        }
        self.open.push(container);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), BencodeError> {
        self.at += 1;
        if let Some(Open::Dict { first_key, sorted }) = self.open.pop() {
            let keys = &mut self.keys[first_key..];
            if !sorted {
                keys.sort_unstable();
                let twice = keys.windows(2).find(|pair| pair[0].0 == pair[1].0);
                if let Some(pair) = twice {
                    return Err(BencodeError::DuplicateKey { at: pair[1].1 });
                }
            }
            self.keys.truncate(first_key);
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), BencodeError> {
        self.tokens += 1;
        if self.tokens > self.limits.tokens {
            return Err(BencodeError::TooManyTokens { at: self.at, max: self.limits.tokens });
        }
        Ok(())
    }
}
