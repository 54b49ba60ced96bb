//! The last search in the state folder.

use crate::disk::replace;
use gaggle_core::search::{Saved, SavedError};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Why there is no last search.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It cannot be believed.
    #[error(transparent)]
    Bad(#[from] SavedError),
    /// Nothing has been searched for.
    #[error("nothing has been searched for yet")]
    None,
    /// The disk refuses.
    #[error("the record of the last search cannot be read: {0}")]
    Unreadable(ErrorKind),
    /// The disk refuses.
    #[error("the last search is not kept: {0}")]
    Unwritable(String),
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("search.record")
}

/// The last search.
///
/// # Errors
/// There is none, or it is damaged.
pub fn load(state_dir: &Path) -> Result<Saved, RecordError> {
    let file = File::open(path(state_dir)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => RecordError::None,
        kind => RecordError::Unreadable(kind),
    })?;
    let mut raw = Vec::new();
    let read = file.take(Saved::LEN_MAX as u64 + 1).read_to_end(&mut raw);
    read.map_err(|error| RecordError::Unreadable(error.kind()))?;
    Ok(Saved::decode(&raw)?)
}

/// Replaces what is kept of the last search. Of two at a time one is kept.
///
/// # Errors
/// The disk refuses.
pub fn save(state_dir: &Path, search: &Saved) -> Result<(), RecordError> {
    let refused = |why: String| RecordError::Unwritable(why);
    std::fs::create_dir_all(state_dir).map_err(|error| refused(error.to_string()))?;
    let lock = path(state_dir).with_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(lock);
    let lock = lock.map_err(|error| refused(error.to_string()))?;
    lock.lock().map_err(|error| refused(error.to_string()))?;
    replace(&path(state_dir), &search.encode()).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::search::Network;

    #[test]
    fn the_last_search_is_kept_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(matches!(load(&state), Err(RecordError::None)));
        let servers = vec![(Network::Napster, "dir.example:8888".into())];
        let search = Saved { text: "blue".into(), servers, found: Vec::new() };
        save(&state, &Saved { text: "red".into(), ..search.clone() }).unwrap();
        save(&state, &search).unwrap();
        assert_eq!(load(&state).unwrap(), search);
        std::fs::write(path(&state), b"de").unwrap();
        assert!(matches!(load(&state), Err(RecordError::Bad(SavedError::Damaged(2)))));
        std::fs::write(dir.path().join("x"), b"").unwrap();
        assert!(matches!(save(&dir.path().join("x"), &search), Err(RecordError::Unwritable(_))));
    }
}
