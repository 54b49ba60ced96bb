//! Why a scenario could not be read or played.

use std::path::PathBuf;

/// Why a scenario could not be read or played. A failed expectation is no error, see [`super::Verdict`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A line of the file says something that makes no sense.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The scenario.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there, naming the key.
        what: String,
    },
    /// A process could not be started, or ended before it had begun.
    #[error("{peer}: {what}")]
    Peer {
        /// Its name in the scenario.
        peer: String,
        /// What went wrong.
        what: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The scenario.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The stage could not be set: content, torrent or tracker.
    #[error("cannot set the stage: {0}")]
    Stage(String),
}
