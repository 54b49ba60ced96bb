//! What can be wrong with a configuration.

use std::path::PathBuf;

/// Why the configuration could not be used. The text names the key and where it was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value of the right shape that means nothing.
    #[error("{key} = `{value}` ({origin}): {why}")]
    BadValue {
        /// Dotted path in the file.
        key: &'static str,
        /// As it was written.
        value: String,
        /// File or variable.
        origin: String,
        /// What would have been accepted.
        why: String,
    },
    /// Not TOML, or a key that does not exist.
    #[error("cannot read {path}: {why}")]
    File {
        /// The configuration file.
        path: PathBuf,
        /// The parser's words, with the line.
        why: String,
    },
    /// No home folder and no `XDG_*` variable to replace it.
    #[error("no home folder is known; set XDG_CONFIG_HOME, XDG_STATE_HOME and XDG_CACHE_HOME")]
    NoHome,
    /// The file is there but cannot be opened.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
