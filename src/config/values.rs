//! The kinds of values that settings and flags share, as people write them.

use crate::disk::Preallocate;
use gaggle_core::metainfo::PeerHint;
use gaggle_core::storage::Verify;
use gaggle_core::swarm::choker::Slots;
use gaggle_core::units::{BytesPerSec, parse_duration, parse_rate, parse_size};
use std::str::FromStr;
use std::time::Duration;

/// How long a torrent's pieces are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PieceLength {
    /// By the size of the content.
    Auto,
    /// A power of two, at least 16 KiB.
    Bytes(u32),
}

/// A duration that reads as `30s`, `10m`, `2h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Every(pub Duration);

/// Longest piece that `create` makes: 128 MiB; libtorrent refuses to load longer ones.
const PIECE_LENGTH_MAX: u64 = 128 << 20;

impl FromStr for PieceLength {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let bytes = parse_size(text).map_err(|e| e.to_string())?;
        let fits = bytes.is_power_of_two() && (16 << 10..=PIECE_LENGTH_MAX).contains(&bytes);
        match u32::try_from(bytes) {
            Ok(bytes) if fits => Ok(Self::Bytes(bytes)),
            _ => Err("a piece is a power of two from 16KiB to 128MiB".to_owned()),
        }
    }
}

impl FromStr for Every {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self).map_err(|e| e.to_string())
    }
}

/// A rate that reads as `500K`, `10M`. Never zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate(pub BytesPerSec);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match parse_rate(text).map_err(|e| e.to_string())? {
            BytesPerSec(0) => Err("a limit of 0 would let nothing through".to_owned()),
            rate => Ok(Self(rate)),
        }
    }
}

/// Nodes to begin with: `HOST:PORT` each, or the one word `none`.
pub fn parse_nodes(texts: &[String]) -> Result<Vec<PeerHint>, String> {
    if let [only] = texts
        && only == "none"
    {
        return Ok(Vec::new());
    }
    let node = |text: &String| PeerHint::parse(text).ok_or(format!("`{text}` is not HOST:PORT"));
    texts.iter().map(node).collect()
}

/// What happens after a download.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// End at once.
    Never,
    /// End when nobody takes data any more.
    Linger,
    /// End when so many times its size has been sent.
    Ratio(f64),
    /// End after so long.
    Time(Duration),
    /// Never end.
    Forever,
}

impl FromStr for Finish {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "never" => Ok(Self::Never),
            None if text == "linger" => Ok(Self::Linger),
            None if text == "forever" => Ok(Self::Forever),
            Some(("ratio", ratio)) => Ok(Self::Ratio(parse_ratio(ratio)?)),
            Some(("time", time)) => parse_duration(time).map(Self::Time).map_err(|e| e.to_string()),
            _ => Err("one of never, linger, ratio=R, time=D, forever".to_owned()),
        }
    }
}

/// A share ratio: how many times its size is sent.
pub fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err(format!("`{text}` is not a ratio such as 1.5")),
    }
}

/// How many peers are sent to at a time: `auto` or a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uploads(pub Slots);

impl FromStr for Uploads {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self(Slots::Auto)),
            (_, Ok(slots)) => Ok(Self(Slots::Fixed(slots))),
            _ => Err(format!("`{text}` is neither auto nor a number")),
        }
    }
}

/// What to hash of data that is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trust(pub Verify);

impl FromStr for Trust {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(Verify::Auto)),
            "always" => Ok(Self(Verify::Always)),
            "trust" => Ok(Self(Verify::Trust)),
            _ => Err("one of auto, always, trust".to_owned()),
        }
    }
}

/// How room is made for files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preallocation(pub Preallocate);

impl FromStr for Preallocation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(Preallocate::None)),
            "sparse" => Ok(Self(Preallocate::Sparse)),
            "full" => Ok(Self(Preallocate::Full)),
            _ => Err("one of none, sparse, full".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_after_a_download() {
        for (text, want) in [
            ("never", Some(Finish::Never)),
            ("ratio=1.5", Some(Finish::Ratio(1.5))),
            ("time=10m", Some(Finish::Time(Duration::from_secs(600)))),
            ("ratio=-1", None),
            ("ratio=inf", None),
            ("time=", None),
            ("1", None),
        ] {
            assert_eq!(text.parse::<Finish>().ok(), want, "{text}");
        }
    }

    #[test]
    fn nodes_are_hosts_with_ports_or_none() {
        let nodes = |texts: &[&str]| {
            parse_nodes(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(nodes(&["none"]), Ok(Vec::new()));
        assert_eq!(nodes(&["a.example:6881", "[::1]:5"]).map(|nodes| nodes.len()), Ok(2));
        for wrong in ["a.example", "none:0", "1.2.3.4:0"] {
            assert!(nodes(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_let_something_through() {
        assert_eq!("10M".parse::<Rate>(), Ok(Rate(BytesPerSec(10 << 20))));
        assert!("0".parse::<Rate>().is_err());
        assert_eq!("4".parse::<Uploads>(), Ok(Uploads(Slots::Fixed(4))));
        assert!("many".parse::<Uploads>().is_err());
    }
}
