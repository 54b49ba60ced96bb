//! Amounts as people write and read them: sizes in powers of 1024, rates, durations.

use std::fmt;
use std::time::Duration;

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct BytesPerSec(pub u64);

impl BytesPerSec {
    /// Bytes that flow in `time` at this rate, rounded down.
    pub fn times(self, time: Duration) -> u64 {
        (u128::from(self.0) * time.as_micros() / 1_000_000).try_into().unwrap_or(u64::MAX)
    }
}

impl fmt::Display for BytesPerSec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

/// A number of bytes that prints as `1.5 MiB`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        if unit == 0 { write!(f, "{} B", self.0) } else { write!(f, "{value:.1} {}", UNITS[unit]) }
    }
}

/// Why a written amount could not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// No digits where a number should be.
    #[error("`{0}` does not start with a number")]
    NoNumber(String),
    /// More than 2⁶⁴−1 bytes or seconds.
    #[error("`{0}` is too large")]
    TooLarge(String),
    /// A suffix that is neither a size nor a duration unit.
    #[error("unknown unit `{unit}` in `{text}`")]
    Unit {
        /// All that was written.
        text: String,
        /// The part after the number.
        unit: String,
    },
}

/// Reads `16KiB`, `4M`, `1g`, `512`: powers of 1024, any letter case, fractions allowed.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let shift = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(UnitError::Unit { text: text.to_owned(), unit: unit.to_owned() }),
    };
    scale(text, number, (1u64 << shift) as f64).map(|bytes| bytes as u64)
}

/// Reads `500K` or `10M/s` as bytes per second.
pub fn parse_rate(text: &str) -> Result<BytesPerSec, UnitError> {
    parse_size(text.strip_suffix("/s").unwrap_or(text)).map(BytesPerSec)
}

/// Reads `30s`, `10m`, `2h`, `1d`, `250ms`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(UnitError::Unit { text: text.to_owned(), unit: unit.to_owned() }),
    };
    let seconds = scale(text, number, seconds)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| UnitError::TooLarge(text.to_owned()))
}

fn split(text: &str) -> Result<(f64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse().map_err(|_| UnitError::NoNumber(text.to_owned()))?;
    Ok((number, text[end..].trim()))
}

fn scale(text: &str, number: f64, by: f64) -> Result<f64, UnitError> {
    let value = number * by;
    if value < u64::MAX as f64 { Ok(value) } else { Err(UnitError::TooLarge(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_in_any_case() {
        for (text, bytes) in
            [("512", 512), ("16KiB", 16 << 10), ("4M", 4 << 20), ("1g", 1 << 30), ("1.5k", 1536)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_rate("10M/s"), Ok(BytesPerSec(10 << 20)));
        assert!(matches!(parse_size("4 parsecs"), Err(UnitError::Unit { .. })));
        assert!(matches!(parse_size("k"), Err(UnitError::NoNumber(_))));
        assert!(matches!(parse_size("99999999P"), Err(UnitError::TooLarge(_))));
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        assert!(parse_duration("99999999999999999999h").is_err());
    }
}
