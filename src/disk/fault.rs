//! Turns what the system says into who must act. Decides nothing else.

use gaggle_core::storage::DiskFault;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a torrent's storage cannot be opened or used. Every variant names the path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The progress callback asked to stop.
    #[error("the check was interrupted")]
    Cancelled,
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// A file with content that is not of this torrent; nothing was written to it.
    #[error("{} holds something else; move it away, or overwrite it with --overwrite", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Writing would change the content behind other names; nothing was written.
    #[error("{} has {links} hard links and would have to be changed; copy it first", .path.display())]
    HardLinked {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// Another process has this torrent open with the same output and state folders.
    #[error("another gaggle is using this torrent and folder (lock {})", .path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A folder, device or the like stands where a file must be, or a file where a folder must be.
    #[error("{} is in the way: it is not what the torrent has there", .path.display())]
    NotAFile {
        /// What is in the way.
        path: PathBuf,
    },
    /// A symbolic link inside the output folder: following it could lead out.
    #[error("{} is a symbolic link; nothing is written through links", .path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
}

impl StorageError {
    /// Whether the reason is data of somebody's that is kept from harm, rather than a failing system.
    pub const fn protects_data(&self) -> bool {
        matches!(
            self,
            Self::Foreign { .. }
                | Self::HardLinked { .. }
                | Self::NotAFile { .. }
                | Self::Symlink { .. }
        )
    }

    /// The same, as what a running torrent hears.
    pub(super) fn into_fault(self) -> DiskFault {
        match self {
            Self::Disk(fault) => fault,
            guarded if guarded.protects_data() => DiskFault::Denied(guarded.to_string()),
            other => DiskFault::Io(other.to_string()),
        }
    }
}

/// Sorts a system error by who can do something about it.
pub(super) fn fault(path: &Path, error: &io::Error) -> DiskFault {
    let text = format!("{}: {error}", path.display());
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => DiskFault::NoSpace(text),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => DiskFault::Denied(text),
        _ => DiskFault::Io(text),
    }
}

/// [`fault`] for `map_err`.
pub(crate) fn at<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> StorageError {
    move |error| StorageError::Disk(fault(path, &error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_who_must_act() {
        let of = |errno: Errno| fault(Path::new("/x"), &errno.into());
        assert!(matches!(of(Errno::NOSPC), DiskFault::NoSpace(text) if text.starts_with("/x: ")));
        assert!(matches!(of(Errno::DQUOT), DiskFault::NoSpace(_)));
        assert!(matches!(of(Errno::ROFS), DiskFault::Denied(_)));
        assert!(matches!(of(Errno::ACCESS), DiskFault::Denied(_)));
        assert!(matches!(of(Errno::IO), DiskFault::Io(_)));
    }
}
