//! The configuration checked: units in types, bad values unrepresentable.

use super::raw::{RawConfig, Text};
use super::{ConfigError, Layers};
use gaggle_core::units::{parse_duration, parse_size};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Everything that file and environment decide.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it talks.
    pub output: OutputSettings,
    /// Where it keeps its state, when not in the usual place.
    pub paths_state_dir: Option<PathBuf>,
    /// Defaults of `gaggle create`.
    pub create: CreateSettings,
    /// Defaults of `gaggle tracker`.
    pub tracker: TrackerSettings,
}

/// How it talks.
#[derive(Clone, Copy, Debug)]
pub struct OutputSettings {
    /// Colours.
    pub color: Color,
    /// Progress.
    pub progress: Progress,
}

/// Defaults of `gaggle create`.
#[derive(Clone, Debug)]
pub struct CreateSettings {
    /// One tier each; commas join trackers into one tier.
    pub trackers: Vec<String>,
    /// How to cut.
    pub piece_length: PieceLength,
    /// Source tag.
    pub source: Option<String>,
    /// Whether names that start with a dot are taken.
    pub include_hidden: bool,
    /// Whether the creation date is left out.
    pub no_date: bool,
}

/// Defaults of `gaggle tracker`.
#[derive(Clone, Debug)]
pub struct TrackerSettings {
    /// HTTP over TCP and BEP 15 over UDP.
    pub listen: SocketAddr,
    /// Told to peers.
    pub interval: Every,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to show progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, else a line every 5 s; JSON with --json.
    Auto,
    /// A bar, on a terminal only.
    Bar,
    /// A line every 5 s.
    Plain,
    /// A JSON object about every 300 ms.
    Json,
    /// Nothing.
    None,
}

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

impl Settings {
    pub(super) fn check(raw: RawConfig, layers: &Layers) -> Result<Self, ConfigError> {
        let at = |key| Check { key, layers };
        Ok(Self {
            output: OutputSettings {
                color: at("output.color").choice(raw.output.color)?,
                progress: at("output.progress").choice(raw.output.progress)?,
            },
            paths_state_dir: raw.paths.state_dir.map(|dir| PathBuf::from(dir.0)),
            create: CreateSettings {
                trackers: raw
                    .create
                    .trackers
                    .unwrap_or_default()
                    .into_iter()
                    .map(|t| t.0)
                    .collect(),
                piece_length: at("create.piece_length").parse(raw.create.piece_length)?,
                source: raw.create.source.map(|source| source.0),
                include_hidden: at("create.include_hidden").flag(raw.create.include_hidden)?,
                no_date: at("create.no_date").flag(raw.create.no_date)?,
            },
            tracker: TrackerSettings {
                listen: at("tracker.listen").parse(raw.tracker.listen)?,
                interval: at("tracker.interval").parse(raw.tracker.interval)?,
            },
        })
    }
}

/// Reads one value, and knows how to complain about it.
struct Check<'a> {
    key: &'static str,
    layers: &'a Layers,
}

impl Check<'_> {
    fn parse<T: FromStr<Err: ToString>>(&self, raw: Option<Text>) -> Result<T, ConfigError> {
        let Text(value) = raw.unwrap_or(Text(String::new()));
        value.parse().map_err(|why: T::Err| self.wrong(value, why.to_string()))
    }

    fn choice<T: clap::ValueEnum>(&self, raw: Option<Text>) -> Result<T, ConfigError> {
        let names: Vec<String> = T::value_variants()
            .iter()
            .filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let nth = self.one_of(raw, &names)?;
        Ok(T::value_variants()[nth].clone())
    }

    /// The words that clap takes for a switch in the environment.
    fn flag(&self, raw: Option<Text>) -> Result<bool, ConfigError> {
        let names = ["false", "true", "no", "yes", "off", "on", "0", "1"];
        Ok(self.one_of(raw, &names)? % 2 == 1)
    }

    fn one_of(&self, raw: Option<Text>, names: &[&str]) -> Result<usize, ConfigError> {
        let Text(value) = raw.unwrap_or(Text(String::new()));
        match names.iter().position(|name| *name == value) {
            Some(nth) => Ok(nth),
            None => Err(self.wrong(value, format!("one of {}", names.join(", ")))),
        }
    }

    fn wrong(&self, value: String, why: String) -> ConfigError {
        let origin = self.layers.origin(self.key).to_string();
        ConfigError::BadValue { key: self.key, value, origin, why }
    }
}
