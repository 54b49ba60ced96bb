//! The configuration exactly as the user wrote it.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;

/// One value as text: `10M`, `200` and `true` may be written with or without quotes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text(pub String);

/// The whole file. Every section and key may be absent; an unknown one is an error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// How it talks.
    pub output: RawOutput,
    /// Where it keeps things.
    pub paths: RawPaths,
    /// How peers are met.
    pub network: RawNetwork,
    /// Defaults of `gaggle get`.
    pub get: RawGet,
    /// Defaults of `gaggle search`.
    pub search: RawSearch,
    /// Defaults of `gaggle create`.
    pub create: RawCreate,
    /// Defaults of `gaggle tracker`.
    pub tracker: RawTracker,
}

/// `[output]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawOutput {
    pub color: Option<Text>,
    pub progress: Option<Text>,
}

/// `[paths]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawPaths {
    pub state_dir: Option<Text>,
}

/// `[network]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawNetwork {
    pub listen: Option<Text>,
    pub trackers: Option<Vec<Text>>,
    pub max_peers: Option<Text>,
    pub max_uploads: Option<Text>,
    pub down: Option<Text>,
    pub up: Option<Text>,
    pub congestion: Option<Text>,
    pub no_pex: Option<Text>,
    pub no_lsd: Option<Text>,
    pub no_dht: Option<Text>,
    pub no_upnp: Option<Text>,
    pub dht_bootstrap: Option<Vec<Text>>,
    pub lan: Option<Text>,
}

/// `[get]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawGet {
    pub output: Option<Text>,
    pub jobs: Option<Text>,
    pub seed: Option<Text>,
    pub timeout: Option<Text>,
    pub stall_timeout: Option<Text>,
    pub metadata_timeout: Option<Text>,
    pub verify: Option<Text>,
    pub preallocate: Option<Text>,
    pub on_complete: Option<Text>,
}

/// `[search]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawSearch {
    pub napster: Option<Vec<Text>>,
    pub gnutella: Option<Vec<Text>>,
    pub fasttrack: Option<Vec<Text>>,
    pub limit: Option<Text>,
    pub wait: Option<Text>,
}

/// `[create]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawCreate {
    pub trackers: Option<Vec<Text>>,
    pub piece_length: Option<Text>,
    pub source: Option<Text>,
    pub include_hidden: Option<Text>,
    pub no_date: Option<Text>,
}

/// `[tracker]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is explained in `KEYS`")]
pub struct RawTracker {
    pub listen: Option<Text>,
    pub interval: Option<Text>,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, or true or false")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
