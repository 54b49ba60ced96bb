//! Where things live: the XDG base folders, with a `gaggle` in each.

use super::ConfigError;
use etcetera::base_strategy::{BaseStrategy, Xdg};
use std::path::PathBuf;

/// The three folders of this user. None of them need exist.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dirs {
    /// Holds `config.toml`.
    pub config: PathBuf,
    /// Holds resume records and parts files; `--state-dir` says otherwise.
    pub state: PathBuf,
    /// Holds metadata that magnets brought; may be deleted at any time.
    pub cache: PathBuf,
}

impl Dirs {
    /// Reads `XDG_CONFIG_HOME`, `XDG_STATE_HOME`, `XDG_CACHE_HOME`, else the usual places under the
    /// home folder.
    pub fn of_user() -> Result<Self, ConfigError> {
        let xdg = Xdg::new().map_err(|_| ConfigError::NoHome)?;
        let state = xdg.state_dir().ok_or(ConfigError::NoHome)?;
        Ok(Self {
            config: xdg.config_dir().join("gaggle"),
            state: state.join("gaggle"),
            cache: xdg.cache_dir().join("gaggle"),
        })
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }
}
