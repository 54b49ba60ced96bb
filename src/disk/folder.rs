//! A folder whose files are shown to others: listed, looked at and read, never written.
//!
//! No symbolic link below the folder is followed, not even one that stays inside, so that no name and no change at any
//! moment leads out of it.

use super::descriptors::Descriptors;
use super::fault::{StorageError, at};
use super::tree::{Links, Open, Tree, stamp};
use gaggle_core::storage::{Stamp, layout};
use rustix::fs::{FileType, Stat};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct Folder {
    tree: Tree,
}

/// What stands somewhere in a folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Folder,
    File(Stamp),
    Link,
    /// A socket, pipe or device.
    Special,
}

impl Kind {
    fn of(stat: &Stat) -> Self {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Folder,
            FileType::RegularFile => Self::File(stamp(stat)),
            FileType::Symlink => Self::Link,
            _ => Self::Special,
        }
    }
}

impl Folder {
    /// The folder itself may be reached through links. If another one stands in its place later, everything fails.
    pub(crate) fn open(root: &Path, descriptors: &Arc<Descriptors>) -> Result<Self, StorageError> {
        Ok(Self { tree: Tree::open(root, Links::Refuse, descriptors)? })
    }

    /// The path as a person would type it.
    pub(crate) fn full(&self, path: &[String]) -> PathBuf {
        self.tree.full(path)
    }

    /// Names all that is in a folder below, or by the empty path in this one; in no order.
    pub(crate) fn list(
        &self,
        path: &[String],
        mut visit: impl FnMut(&[u8], Kind),
    ) -> Result<(), StorageError> {
        if !path.is_empty() {
            self.check(path)?;
        }
        self.tree.list(path, |name, stat| visit(name, Kind::of(stat)))
    }

    /// Size and time of a file; `None` if nothing is there.
    pub(crate) fn look(&self, path: &[String]) -> Result<Option<Stamp>, StorageError> {
        self.check(path)?;
        Ok(self.tree.look(path)?.map(|seen| seen.stamp))
    }

    /// Opens a file, with what it is at this moment; `None` if nothing is there.
    pub(crate) fn read(&self, path: &[String]) -> Result<Option<(File, Stamp)>, StorageError> {
        self.check(path)?;
        let Some(file) = self.tree.file(path, Open::Read)? else { return Ok(None) };
        let stamp = Self::stamp(&file).map_err(at(&self.full(path)))?;
        Ok(Some((file, stamp)))
    }

    /// What an open file is now.
    pub(crate) fn stamp(file: &File) -> std::io::Result<Stamp> {
        Ok(stamp(&rustix::fs::fstat(file)?))
    }

    /// A component that is no name would lead elsewhere.
    fn check(&self, path: &[String]) -> Result<(), StorageError> {
        if layout::is_safe(path) {
            return Ok(());
        }
        Err(StorageError::NotAFile { path: self.full(path) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn attack_03_no_name_leads_out_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(top.join("sub/song"), "abc").unwrap();
        symlink("../secret", top.join("file")).unwrap();
        symlink("..", top.join("up")).unwrap();
        symlink("sub", top.join("inside")).unwrap();
        let folder = Folder::open(&top, &Descriptors::new()).unwrap();
        let (_, stamp) = folder.read(&path("sub/song")).unwrap().unwrap();
        assert_eq!((stamp.len, folder.look(&path("sub/song")).unwrap()), (3, Some(stamp)));
        assert!(folder.read(&path("sub/none")).unwrap().is_none());
        let bad = [
            path("../secret"),
            path("sub/../../secret"),
            path("/etc/passwd"),
            path("."),
            path(".."),
            vec!["../secret".into()],
            vec!["a\0b".into()],
            vec![String::new()],
            Vec::new(),
            path("file"),
            path("up/secret"),
            path("inside/song"),
            path("sub"),
            path("sub/song/x"),
        ];
        for path in &bad {
            assert!(folder.read(path).is_err() && folder.look(path).is_err(), "{path:?}");
        }
        for path in [path("up"), path("inside"), path("../top"), path("..")] {
            let listed = folder.list(&path, |name, _| panic!("{}", name.escape_ascii()));
            assert!(listed.is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_list_says_what_is_there_and_follows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("a"), "xy").unwrap();
        symlink("a", dir.path().join("link")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let folder = Folder::open(dir.path(), &Descriptors::new()).unwrap();
        let mut seen = Vec::new();
        folder
            .list(&[], |name, kind| {
                let kind = match kind {
                    Kind::File(stamp) => format!("{} bytes", stamp.len),
                    other => format!("{other:?}"),
                };
                seen.push(format!("{}: {kind}", name.escape_ascii()));
            })
            .unwrap();
        seen.sort();
        assert_eq!(seen, ["a: 2 bytes", "link: Link", "socket: Special", "sub: Folder"]);
        drop(socket);
        folder.list(&path("sub"), |_, _| panic!("it is empty")).unwrap();
        folder.list(&path("gone"), |_, _| panic!("it is not there")).unwrap();
    }
}
