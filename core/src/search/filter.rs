//! What is wanted, beside the words.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// What kind of file one is, as far as its name tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Texts, tables, books.
    Document,
    /// Pictures.
    Image,
    /// Programs and archives.
    Software,
    /// Films.
    Video,
}

/// What a hit must be to be shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Bytes at least. Who does not know how many passes neither this nor the next.
    pub size_min: Option<u64>,
    /// Bytes at most.
    pub size_max: Option<u64>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Words that its name must not have, folded.
    pub without: Vec<String>,
}

impl Kind {
    /// All of them, with their names and the extensions by which they are known.
    const ALL: [(Self, &'static str, &'static [&'static str]); 5] = [
        (
            Self::Audio,
            "audio",
            &[
                "aac", "aiff", "ape", "flac", "m4a", "mid", "mp2", "mp3", "ogg", "opus", "wav",
                "wma",
            ],
        ),
        (
            Self::Document,
            "document",
            &[
                "csv", "djvu", "doc", "docx", "epub", "htm", "html", "json", "md", "mobi", "odp",
                "ods", "odt", "pdf", "ppt", "pptx", "ps", "rtf", "tex", "txt", "xls", "xlsx",
                "xml",
            ],
        ),
        (
            Self::Image,
            "image",
            &["avif", "bmp", "gif", "heic", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp"],
        ),
        (
            Self::Software,
            "software",
            &[
                "7z", "apk", "appimage", "bat", "bin", "bz2", "cab", "com", "deb", "dmg", "exe",
                "gz", "img", "iso", "jar", "msi", "rar", "rpm", "scr", "tar", "tgz", "vbs", "xz",
                "zip", "zst",
            ],
        ),
        (
            Self::Video,
            "video",
            &["avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "ts", "webm", "wmv"],
        ),
    ];

    /// By the extension of a name.
    pub fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        let has = |all: &[&str]| all.iter().any(|one| one.eq_ignore_ascii_case(extension));
        Self::ALL.iter().find(|(.., all)| has(all)).map(|(kind, ..)| *kind)
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(_, name, _)| *name == text);
        named
            .map(|(kind, ..)| *kind)
            .ok_or_else(|| "one of audio, video, image, document, software".to_owned())
    }
}

impl Filter {
    /// Sizes that pass; `None` if every one does, known or not.
    pub fn sizes(&self) -> Option<RangeInclusive<u64>> {
        let any = self.size_min.is_none() && self.size_max.is_none();
        (!any).then(|| self.size_min.unwrap_or(0)..=self.size_max.unwrap_or(u64::MAX))
    }

    /// Whether a file of this name and size is wanted.
    pub fn passes(&self, name: &str, size: Option<u64>) -> bool {
        let sized = self.sizes().is_none_or(|sizes| size.is_some_and(|size| sizes.contains(&size)));
        let kind = self.kind.is_none_or(|kind| Kind::of(name) == Some(kind));
        let has = |word: &String| crate::words::words(name).contains(word);
        sized && kind && !self.without.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_extension() {
        for (name, want) in [
            ("a.MP3", Some(Kind::Audio)),
            ("a.mp3.exe", Some(Kind::Software)),
            ("mp3", None),
            ("a.", None),
            ("a.xyz", None),
            ("b.mkv", Some(Kind::Video)),
        ] {
            assert_eq!(Kind::of(name), want, "{name}");
        }
        for (kind, name, extensions) in Kind::ALL {
            assert_eq!(name.parse(), Ok(kind));
            assert!(extensions.is_sorted());
        }
        assert!("mp3".parse::<Kind>().is_err());
    }

    #[test]
    fn what_passes() {
        #[track_caller]
        fn check(filter: &Filter, name: &str, size: Option<u64>, want: bool) {
            assert_eq!(filter.passes(name, size), want, "{name} of {size:?}");
        }
        let none = Filter::default();
        check(&none, "a", None, true);
        let sized = Filter { size_min: Some(5), size_max: Some(9), ..Filter::default() };
        for (size, want) in [(Some(4), false), (Some(5), true), (Some(9), true), (Some(10), false)]
        {
            check(&sized, "a", size, want);
        }
        check(&sized, "a", None, false);
        let audio = Filter { kind: Some(Kind::Audio), ..Filter::default() };
        check(&audio, "moon.mp3", None, true);
        check(&audio, "moon.mp3.exe", None, false);
        let without = Filter { without: vec!["live".into()], ..Filter::default() };
        check(&without, "Moon (LIVE).mp3", None, false);
        check(&without, "Moon olive.mp3", None, true);
    }
}
