//! Lays environment over file over defaults, and remembers which one won.

use super::keys::{KEYS, Key};
use super::raw::RawConfig;
use super::settings::Settings;
use super::{ConfigError, Dirs};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use toml::{Table, Value};

/// File and environment, read but not yet checked.
#[derive(Debug, Default)]
pub struct Layers {
    file: Table,
    path: PathBuf,
    env: Vec<(&'static str, String)>,
}

/// Which layer a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// A variable.
    Env(&'static str),
}

/// A key with the value that counts.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The key.
    pub key: &'static Key,
    /// As it was written; `None` when nothing is set.
    pub value: Option<Value>,
    /// Who set it.
    pub origin: Origin,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => f.write_str(name),
        }
    }
}

impl Layers {
    /// Reads this user's file, if there is one, and the process's environment.
    pub fn of_user(dirs: &Dirs) -> Result<Self, ConfigError> {
        let path = dirs.config_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Open { path, source }),
        };
        Self::new(path, &text, |name| std::env::var(name).ok())
    }

    /// From the text of a file and something that answers for variables. An empty variable counts
    /// as not set.
    pub fn new(
        path: PathBuf,
        text: &str,
        var: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let wrong =
            |e: toml::de::Error| ConfigError::File { path: path.clone(), why: e.to_string() };
        // The raw structs know the keys; the table keeps what was written for `show`.
        toml::from_str::<RawConfig>(text).map_err(wrong)?;
        let file = text.parse::<Table>().map_err(wrong)?;
        let env = KEYS
            .iter()
            .filter_map(|key| Some((key.env, var(key.env)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Ok(Self { file, path, env })
    }

    /// The value of a key that counts, and where it came from.
    pub fn show(&self, key: &'static Key) -> Shown {
        if let Some((name, value)) = self.env.iter().find(|(name, _)| *name == key.env) {
            return Shown { key, value: Some(written(key, value)), origin: Origin::Env(name) };
        }
        let (section, name) = key.path.split_once('.').unwrap_or((key.path, ""));
        if let Some(value) = self.file.get(section).and_then(|section| section.get(name)) {
            let origin = Origin::File(self.path.clone());
            return Shown { key, value: Some(value.clone()), origin };
        }
        let default = (!key.default.is_empty()).then(|| written(key, key.default));
        Shown { key, value: default, origin: Origin::Default }
    }

    /// Where the value of this dotted path came from.
    pub fn origin(&self, path: &str) -> Origin {
        KEYS.iter().find(|key| key.path == path).map_or(Origin::Default, |k| self.show(k).origin)
    }

    /// Every value checked.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut merged = Table::new();
        for shown in KEYS.iter().map(|key| self.show(key)) {
            let (section, name) = shown.key.path.split_once('.').unwrap_or((shown.key.path, ""));
            let section =
                merged.entry(section).or_insert_with(|| Value::Table(Table::new())).as_table_mut();
            if let (Some(section), Some(value)) = (section, shown.value) {
                section.insert(name.to_owned(), value);
            }
        }
        let raw = RawConfig::deserialize(merged)
            .map_err(|e| ConfigError::File { path: self.path.clone(), why: e.to_string() })?;
        Settings::check(raw, self)
    }
}

fn written(key: &Key, value: &str) -> Value {
    if key.list {
        Value::Array(value.split_whitespace().map(Value::from).collect())
    } else if let Ok(yes) = value.parse::<bool>() {
        Value::from(yes)
    } else if let Ok(number) = value.parse::<i64>() {
        Value::from(number)
    } else {
        Value::from(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Color, PieceLength};
    use std::time::Duration;

    fn layers(text: &str, env: &[(&str, &str)]) -> Result<Layers, ConfigError> {
        Layers::new(PathBuf::from("/c.toml"), text, |name| {
            env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn the_defaults_pass_their_own_checks() {
        let settings = layers("", &[]).unwrap().settings().unwrap();
        assert_eq!(settings.tracker.listen, "[::]:6969".parse().unwrap());
        assert_eq!(settings.create.piece_length, PieceLength::Auto);
        assert_eq!(settings.paths_state_dir, None);
    }

    #[test]
    fn environment_wins_over_file_over_default() {
        let text = "[tracker]\ninterval = 60\n[output]\ncolor = \"never\"";
        let layers = layers(text, &[("GAGGLE_TRACKER_INTERVAL", "2m")]).unwrap();
        let settings = layers.settings().unwrap();
        assert_eq!(settings.tracker.interval.0, Duration::from_secs(120));
        assert_eq!(settings.output.color, Color::Never);
        assert_eq!(layers.origin("tracker.interval"), Origin::Env("GAGGLE_TRACKER_INTERVAL"));
        assert_eq!(layers.origin("output.color"), Origin::File("/c.toml".into()));
        assert_eq!(layers.origin("tracker.listen"), Origin::Default);
    }

    #[test]
    fn unknown_keys_and_bad_values_name_themselves() {
        for text in ["colour = 1", "[output]\ncolours = 1", "[output", "[output]\ncolor = [1]"] {
            let error = layers(text, &[]).unwrap_err().to_string();
            assert!(error.contains("/c.toml"), "{error}");
        }
        let error = layers("", &[("GAGGLE_PIECE_LENGTH", "17K")]).unwrap().settings().unwrap_err();
        let error = error.to_string();
        assert!(error.contains("create.piece_length") && error.contains("GAGGLE_PIECE_LENGTH"));
    }

    #[test]
    fn every_key_reaches_a_raw_field_and_keeps_its_section() {
        for key in KEYS {
            let value = if key.list { "[\"x\"]" } else { "\"x\"" };
            let (section, name) = key.path.split_once('.').unwrap();
            let text = format!("[{section}]\n{name} = {value}");
            assert!(layers(&text, &[]).is_ok(), "{text}");
        }
        let sections: Vec<_> = KEYS.iter().map(|key| key.path.split('.').next()).collect();
        let mut once = sections.clone();
        once.dedup();
        let distinct: std::collections::BTreeSet<_> = sections.iter().collect();
        assert_eq!(once.len(), distinct.len(), "keys of one section stand together");
    }
}
