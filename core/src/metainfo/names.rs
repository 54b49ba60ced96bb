//! Names of files and folders, made safe. The same bytes give the same name on every system.
//!
//! A safe name is one path element that is visible as it is: it cannot climb (`..`), start over (`/`,
//! `C:`), end early (NUL), name a device (`AUX`), hide its extension (bidi controls) or exceed what file
//! systems take. It never looks at a disk, and never makes two different paths one: see `Tree`.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Longest name in bytes; the rest is cut off, the extension kept. File systems take 255, which leaves
/// room for a collision's number and a `.part`.
pub const NAME_LEN_MAX: usize = 240;
/// Most numbers tried, in one torrent, to tell apart entries of the same path. Beyond it the torrent is
/// refused. libtorrent's limit.
pub const COLLISIONS_MAX: u32 = 500;
/// Longest suffix that counts as an extension.
const EXTENSION_LEN_MAX: usize = 16;

/// The safe form of a path element: itself whenever that is safe.
///
/// Separators, control characters and invalid UTF-8 become `_`; invisible and direction-changing
/// characters vanish, as do dots and spaces at the end; a device name gets a `_` in front; what is
/// empty then is `_`. Applying it twice changes nothing more.
pub fn safe(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) if is_safe(text) => Cow::Borrowed(text),
        _ => Cow::Owned(rewrite(raw)),
    }
}

/// Whether [`safe`] leaves a name as it is.
pub fn is_safe(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LEN_MAX
        && !name.ends_with(['.', ' '])
        && !has_drive(name)
        && !is_device(name)
        && name.chars().all(|c| !is_invisible(c) && !is_forbidden(c))
}

fn rewrite(raw: &[u8]) -> String {
    let mut name = String::with_capacity(raw.len().min(2 * NAME_LEN_MAX));
    for chunk in raw.utf8_chunks() {
        let visible = chunk.valid().chars().filter(|&c| !is_invisible(c));
        name.extend(visible.map(|c| if is_forbidden(c) { '_' } else { c }));
        if !chunk.invalid().is_empty() {
            name.push('_');
        }
    }
    trim_end(&mut name);
    if has_drive(&name) {
        name.replace_range(1..2, "_");
    }
    if name.is_empty() || is_device(&name) {
        name.insert(0, '_');
    }
    shorten(&mut name);
    // Cutting can uncover a space at the end, and before it a device: `AUX` and 300 spaces and more.
    trim_end(&mut name);
    if is_device(&name) {
        name.insert(0, '_');
    }
    name
}

fn trim_end(name: &mut String) {
    name.truncate(name.trim_end_matches(['.', ' ']).len());
}

fn shorten(name: &mut String) {
    if name.len() <= NAME_LEN_MAX {
        return;
    }
    let (stem, extension) = match split_extension(name) {
        (_, long) if long.len() > EXTENSION_LEN_MAX => (name.as_str(), ""),
        short => short,
    };
    let mut cut = stem.len().min(NAME_LEN_MAX - extension.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    *name = format!("{}{extension}", &name[..cut]);
}

/// `a.b.txt` as `a.b` and `.txt`; a dot at the front begins no extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

fn is_forbidden(c: char) -> bool {
    c == '/' || c == '\\' || c.is_control()
}

/// Characters that show nothing, or turn the direction of what follows: `gpj.exe` can look like
/// `exe.jpg`.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn has_drive(name: &str) -> bool {
    matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// Names that Windows takes for devices, whatever their extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
        .iter()
        .any(|d| stem.eq_ignore_ascii_case(d))
    {
        return true;
    }
    let Some((port, number)) = stem.split_at_checked(3) else { return false };
    let mut rest = number.chars();
    let one = matches!(rest.next(), Some('0'..='9' | '¹' | '²' | '³')) && rest.next().is_none();
    one && (port.eq_ignore_ascii_case("COM") || port.eq_ignore_ascii_case("LPT"))
}

/// The paths of one torrent while they are handed out: no two files share one, no file is a folder.
///
/// Letter case counts: where a disk ignores it, whoever creates the file finds out.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// What stands at a name inside a folder. The memory is linear in the names, unlike joined paths.
    slots: BTreeMap<(u32, String), Slot>,
    folders: u32,
    attempts: u32,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    File,
    Folder(u32),
}

impl Tree {
    /// Takes a path for a file. Where it is taken already, or runs through a file, the element in
    /// question gets a number: `a.txt` becomes `a.1.txt`. `None` after [`COLLISIONS_MAX`] attempts.
    pub(super) fn place(&mut self, mut path: Vec<String>) -> Option<Vec<String>> {
        let last = path.len().checked_sub(1)?;
        let mut folder = 0;
        for (depth, name) in path.iter_mut().enumerate() {
            let wanted = name.clone();
            let mut number = 0;
            loop {
                match self.slots.get(&(folder, name.clone())) {
                    None if depth == last => {
                        self.slots.insert((folder, name.clone()), Slot::File);
                        break;
                    }
                    None => {
                        self.folders += 1;
                        self.slots.insert((folder, name.clone()), Slot::Folder(self.folders));
                        folder = self.folders;
                        break;
                    }
                    Some(Slot::Folder(inner)) if depth < last => {
                        folder = *inner;
                        break;
                    }
                    Some(_) => {
                        self.attempts += 1;
                        if self.attempts > COLLISIONS_MAX {
                            return None;
                        }
                        number += 1;
                        let (stem, extension) = split_extension(&wanted);
                        *name = format!("{stem}.{number}{extension}");
                    }
                }
            }
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_every_kind() {
        #[track_caller]
        fn check(raw: impl AsRef<[u8]>, want: &str) {
            assert_eq!(safe(raw.as_ref()), want);
        }
        for fine in
            ["a", ".hidden", "a b.txt", "naïve 文件.mkv", "ab:c", "...a", "console", "com10"]
        {
            check(fine, fine);
        }
        check("", "_");
        check(".", "_");
        check("..", "_");
        check(". . ...", "_");
        check("foobar ", "foobar");
        check("name...", "name");
        check("/etc/passwd", "_etc_passwd");
        check("..\\..\\boot.ini", ".._.._boot.ini");
        check("C:", "C_");
        check("c:evil.txt", "c_evil.txt");
        check("a\0b\n\x7f\u{85}", "a_b___");
        check(b"caf\xe9.txt", "caf_.txt");
        check(b"\xff\xfe", "__");
        check("photo\u{202e}gpj.exe", "photogpj.exe");
        check("a\u{200b}\u{feff}\u{2066}b", "ab");
        check("\u{202e}", "_");
        check("..\u{200b}", "_");
        for device in ["CON", "aux.c", "Nul.tar.gz", "com1", "LPT³.x", "prn ", "AUX .txt", "CONIN$"]
        {
            check(device, &format!("_{}", device.trim_end()));
        }
        check("x".repeat(300), &"x".repeat(240));
        check(format!("{}.torrent", "x".repeat(300)), &format!("{}.torrent", "x".repeat(232)));
        check(
            format!("{}.{}", "x".repeat(100), "y".repeat(200)),
            &format!("{}.{}", "x".repeat(100), "y".repeat(139)),
        );
        check("é".repeat(150), &"é".repeat(120));
        check(format!("AUX{}b", " ".repeat(300)), "_AUX");
    }

    #[test]
    fn taken_paths_get_numbers() {
        let mut tree = Tree::default();
        let mut place = |path: &str| {
            tree.place(path.split('/').map(str::to_owned).collect()).unwrap().join("/")
        };
        assert_eq!(place("t/a.txt"), "t/a.txt");
        assert_eq!(place("t/a.txt"), "t/a.1.txt");
        assert_eq!(place("t/a.txt"), "t/a.2.txt");
        assert_eq!(place("t/A.txt"), "t/A.txt");
        // A file used as a folder: the folder gives way, and stays one folder.
        assert_eq!(place("t/a.txt/x"), "t/a.3.txt/x");
        assert_eq!(place("t/a.txt/y"), "t/a.3.txt/y");
        assert_eq!(place("t/d/x"), "t/d/x");
        assert_eq!(place("t/d"), "t/d.1");
        assert_eq!(place("t/.h"), "t/.h");
        assert_eq!(place("t/.h"), "t/.h.1");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_safe_and_stays(raw in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"./\\ :CONauxLPT1\0".to_vec())], 0..300)) {
            let name = safe(&raw).into_owned();
            prop_assert!(is_safe(&name), "{name:?}");
            prop_assert_eq!(safe(name.as_bytes()), name.as_str());
        }

        #[test]
        fn letters_of_all_scripts_pass(text in "\\PC{0,300}") {
            let name = safe(text.as_bytes()).into_owned();
            prop_assert!(is_safe(&name), "{name:?}");
        }

        #[test]
        fn placed_paths_never_clash(paths in prop::collection::vec(
            prop::collection::vec("[ab]", 1..4), 0..25)) {
            let mut tree = Tree::default();
            let placed: Vec<_> = paths.into_iter().filter_map(|p| tree.place(p)).collect();
            for (i, a) in placed.iter().enumerate() {
                for b in &placed[i + 1..] {
                    prop_assert!(!a.starts_with(b) && !b.starts_with(a), "{a:?} {b:?}");
                }
            }
        }
    }
}
