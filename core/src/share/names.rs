//! What of a folder is shared, by its name alone, and what others see of that name.

use crate::metainfo::names::safe;

/// What the names of files end in that a program has not finished yet, in lower case.
const UNFINISHED: &[&str] = &[
    ".!bt",
    ".!qb",
    ".!ut",
    ".aria2",
    ".bc!",
    ".crdownload",
    ".download",
    ".filepart",
    ".opdownload",
    ".part",
    ".partial",
    ".swp",
    ".tmp",
];

/// Why something in a folder is not shared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeftOutFor {
    /// Its name starts with a dot.
    Hidden,
    /// Its name ends in what programs add until they are done, or we know that it is not complete.
    Unfinished,
    /// A symbolic link, wherever it leads.
    Link,
    /// A socket, pipe or device.
    Special,
    /// Its name is no UTF-8.
    Unnamed,
    /// It cannot be read, or changes while it is.
    Unreadable,
    /// It is deeper than [`super::DEPTH_MAX`] or beyond [`super::FILES_MAX`].
    TooMany,
}

/// How many files and folders are not shared, and why.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LeftOut {
    /// [`LeftOutFor::Hidden`]
    pub hidden: usize,
    /// [`LeftOutFor::Unfinished`]
    pub unfinished: usize,
    /// [`LeftOutFor::Link`]
    pub links: usize,
    /// [`LeftOutFor::Special`]
    pub special: usize,
    /// [`LeftOutFor::Unnamed`]
    pub unnamed: usize,
    /// [`LeftOutFor::Unreadable`]
    pub unreadable: usize,
    /// [`LeftOutFor::TooMany`]
    pub too_many: usize,
}

impl LeftOut {
    /// Counts one more.
    pub fn count(&mut self, why: LeftOutFor) {
        *match why {
            LeftOutFor::Hidden => &mut self.hidden,
            LeftOutFor::Unfinished => &mut self.unfinished,
            LeftOutFor::Link => &mut self.links,
            LeftOutFor::Special => &mut self.special,
            LeftOutFor::Unnamed => &mut self.unnamed,
            LeftOutFor::Unreadable => &mut self.unreadable,
            LeftOutFor::TooMany => &mut self.too_many,
        } += 1;
    }
}

/// The name of a file or a folder in a shared one, if nothing in it says that it is not to be shared.
pub fn judge(raw: &[u8]) -> Result<&str, LeftOutFor> {
    if raw.starts_with(b".") {
        return Err(LeftOutFor::Hidden);
    }
    let name = std::str::from_utf8(raw).map_err(|_| LeftOutFor::Unnamed)?;
    let small = name.to_ascii_lowercase();
    let unfinished = name.ends_with('~') || UNFINISHED.iter().any(|end| small.ends_with(end));
    if unfinished { Err(LeftOutFor::Unfinished) } else { Ok(name) }
}

/// What others see of a file: its name alone, without what terminals or disks could stumble over.
pub fn shown(path: &[String]) -> String {
    safe(path.last().map_or("", String::as_str).as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_not_shared() {
        for (raw, want) in [
            (&b"song.mp3"[..], Ok("song.mp3")),
            (b"a.part.rar", Ok("a.part.rar")),
            (b"partial", Ok("partial")),
            (b".profile", Err(LeftOutFor::Hidden)),
            (b"..", Err(LeftOutFor::Hidden)),
            (b"film.mkv.PART", Err(LeftOutFor::Unfinished)),
            (b"film.mkv.!qB", Err(LeftOutFor::Unfinished)),
            (b"letter.txt~", Err(LeftOutFor::Unfinished)),
            (b"caf\xe9.txt", Err(LeftOutFor::Unnamed)),
        ] {
            assert_eq!(judge(raw), want, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn what_others_see_is_a_name() {
        let shown = |names: &[&str]| {
            super::shown(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(shown(&["private", "song.mp3"]), "song.mp3");
        assert_eq!(shown(&["a\u{1b}[2J\n\0b"]), "a_[2J__b");
        assert_eq!(shown(&["c:\\x"]), "c__x");
        assert_eq!(shown(&["photo\u{202e}gpj.exe"]), "photogpj.exe");
    }
}
