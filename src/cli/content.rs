//! Which files a path stands for when it becomes a torrent, and in which order.
//!
//! Hidden files and everything that is no file are left out and counted. Links are followed, but never
//! in circles. It reads folders, never the content of files.

use super::exit::Failure;
use gaggle_core::metainfo::{BuildFile, Content, sort_files};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The content of a torrent to be.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Name of the file or the top folder, as it is on disk.
    pub name: Vec<u8>,
    /// The folder in which `name` lies.
    pub parent: PathBuf,
    /// The file, or the files in the order of the torrent.
    pub content: Content,
    /// What was left out.
    pub left_out: LeftOut,
}

/// Counts of what was left out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct LeftOut {
    /// Files and folders whose name starts with a dot.
    pub hidden: usize,
    /// By `--exclude`.
    pub excluded: usize,
    /// Sockets, pipes and devices.
    pub special: usize,
}

/// What to leave out.
pub(super) struct Filter {
    globs: GlobSet,
    hidden: bool,
    never: Option<PathBuf>,
}

impl Filter {
    /// A glob without `/` is matched against every name, one with `/` against the path below the
    /// folder. `never` is a file that is left out although it lies inside, such as the torrent itself.
    pub(super) fn new(
        globs: &[String],
        hidden: bool,
        never: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut set = GlobSetBuilder::new();
        for text in globs {
            let anywhere = if text.contains('/') { text.clone() } else { format!("**/{text}") };
            let glob = GlobBuilder::new(anywhere.trim_start_matches("./").trim_end_matches('/'))
                .literal_separator(true)
                .build()
                .map_err(|e| {
                    Failure::usage(format!("cannot read --exclude {text}: {}", e.kind()))
                })?;
            set.add(glob);
        }
        let globs = set
            .build()
            .map_err(|e| Failure::usage(format!("cannot use --exclude: {}", e.kind())))?;
        Ok(Self { globs, hidden, never: never.and_then(|path| std::path::absolute(path).ok()) })
    }
}

/// Finds what `path` stands for.
pub(super) fn find(path: &Path, filter: &Filter) -> Result<Found, Failure> {
    let whole = std::fs::canonicalize(path).map_err(|e| unreadable(path, &e))?;
    // The name is the one that was asked for, not the one a link leads to.
    let asked = std::path::absolute(path).map_err(|e| unreadable(path, &e))?;
    let base = asked.file_name().filter(|_| !ends_in_dots(path)).or(whole.file_name());
    let name = base.ok_or_else(|| Failure::usage("the root folder has no name of its own"))?;
    let parent = if ends_in_dots(path) { whole.parent() } else { asked.parent() };
    let mut found = Found {
        name: name.as_bytes().to_vec(),
        parent: parent.unwrap_or(Path::new("/")).to_owned(),
        content: Content::File(0),
        left_out: LeftOut::default(),
    };
    let meta = std::fs::metadata(&whole).map_err(|e| unreadable(path, &e))?;
    if meta.is_file() {
        found.content = Content::File(meta.len());
    } else if meta.is_dir() {
        let top = found.parent.join(OsStr::from_bytes(&found.name));
        let mut walk = Walk {
            top: &top,
            filter,
            files: Vec::new(),
            left_out: LeftOut::default(),
            above: Vec::new(),
        };
        walk.folder(&top, &meta, &mut Vec::new())?;
        sort_files(&mut walk.files);
        found.left_out = walk.left_out;
        found.content = Content::Folder(walk.files);
    } else {
        return Err(Failure::usage(format!("{} is neither a file nor a folder", path.display())));
    }
    Ok(found)
}

/// `.`, `x/..` and the like say where, not what it is called.
fn ends_in_dots(path: &Path) -> bool {
    let last = path.as_os_str().as_bytes().rsplit(|&b| b == b'/').find(|part| !part.is_empty());
    matches!(last, Some(b"." | b".."))
}

struct Walk<'a> {
    top: &'a Path,
    filter: &'a Filter,
    files: Vec<BuildFile>,
    left_out: LeftOut,
    /// Device and inode of every folder on the way down.
    above: Vec<(u64, u64)>,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        path: &Path,
        meta: &Metadata,
        below: &mut Vec<Vec<u8>>,
    ) -> Result<(), Failure> {
        let this = (meta.dev(), meta.ino());
        if self.above.contains(&this) {
            return Err(Failure::usage(format!(
                "{} leads back to a folder it lies in",
                path.display()
            ))
            .hint("leave the link out with --exclude"));
        }
        self.above.push(this);
        for entry in std::fs::read_dir(path).map_err(|e| unreadable(path, &e))? {
            let entry = entry.map_err(|e| unreadable(path, &e))?;
            let path = entry.path();
            if self.leaves_out(&path, &entry.file_name()) {
                continue;
            }
            let meta = std::fs::metadata(&path).map_err(|e| unreadable(&path, &e))?;
            below.push(entry.file_name().into_vec());
            if meta.is_dir() {
                self.folder(&path, &meta, below)?;
            } else if meta.is_file() {
                self.files.push(BuildFile { path: below.clone(), len: meta.len(), pad: false });
            } else {
                self.left_out.special += 1;
            }
            below.pop();
        }
        self.above.pop();
        Ok(())
    }

    fn leaves_out(&mut self, path: &Path, name: &OsStr) -> bool {
        if self.filter.never.as_deref() == Some(path) {
            return true;
        }
        if !self.filter.hidden && name.as_bytes().starts_with(b".") {
            self.left_out.hidden += 1;
            return true;
        }
        let below = path.strip_prefix(self.top).unwrap_or(path);
        let excluded = self.filter.globs.is_match(below);
        self.left_out.excluded += usize::from(excluded);
        excluded
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::io(format_args!("cannot read {}", path.display()), error);
    if path.is_symlink() && error.kind() == std::io::ErrorKind::NotFound {
        return failure.hint("the link leads nowhere; leave it out with --exclude");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(found: &Found) -> Vec<String> {
        let Content::Folder(files) = &found.content else { return vec!["(one file)".into()] };
        files.iter().map(|f| String::from_utf8_lossy(&f.path.join(&b'/')).into_owned()).collect()
    }

    fn filter(globs: &[&str], hidden: bool) -> Filter {
        let globs: Vec<_> = globs.iter().map(|g| (*g).to_owned()).collect();
        Filter::new(&globs, hidden, None).unwrap()
    }

    #[test]
    fn the_order_is_that_of_the_bytes_of_whole_paths() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        for path in
            ["a/b", "a.txt", "B", "a-b", "sub/.hidden", ".git/x", "skip.tmp", "sub/skip.tmp"]
        {
            fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            fs::write(top.join(path), path).unwrap();
        }
        let found = find(&top, &filter(&["*.tmp"], false)).unwrap();
        assert_eq!(names(&found), ["B", "a-b", "a.txt", "a/b"]);
        assert_eq!(found.left_out, LeftOut { hidden: 2, excluded: 2, special: 0 });
        let found = find(&top, &filter(&["sub/*.tmp", ".git"], true)).unwrap();
        assert_eq!(names(&found), ["B", "a-b", "a.txt", "a/b", "skip.tmp", "sub/.hidden"]);
        let found = find(&top.join("B"), &filter(&[], false)).unwrap();
        assert_eq!((found.name.as_slice(), found.content), (&b"B"[..], Content::File(1)));
        let found = find(&top.join("sub/.."), &filter(&[], false)).unwrap();
        assert_eq!(found.name, b"top");
    }

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        std::os::unix::fs::symlink("../outside", top.join("file")).unwrap();
        assert_eq!(names(&find(&top, &filter(&[], false)).unwrap()), ["file"]);
        std::os::unix::fs::symlink("..", top.join("loop")).unwrap();
        let failure = find(&top, &filter(&[], false)).unwrap_err();
        assert!(failure.what.contains("loop"), "{failure}");
        fs::remove_file(top.join("loop")).unwrap();
        std::os::unix::fs::symlink("gone", top.join("dead")).unwrap();
        let failure = find(&top, &filter(&[], false)).unwrap_err();
        assert!(failure.hint.is_some_and(|hint| hint.contains("--exclude")));
    }
}
