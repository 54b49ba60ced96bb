//! Source files as tidy sees them: text, text without comments and strings, and what a file imports.

use std::fs;
use std::path::{Path, PathBuf};

/// The top folder of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One `use` or path expression: where it starts and where it leads.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Import {
    /// Line in the file, from 1.
    pub(crate) line: usize,
    /// Crate (`core`, `gaggle`, `tracker`) and path inside it.
    pub(crate) path: Vec<String>,
}

/// A Rust file.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    /// As it is on disk.
    pub(crate) text: String,
    /// The text with comments and the insides of strings blanked; lines keep their numbers.
    pub(crate) code: String,
    /// Crate and module path, as in [`Import::path`].
    pub(crate) module: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let (code, module) = (blank(&text), module_of(&path));
        Self { path, text, code, module }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or("");
        ["tests.rs", "attacks.rs", "model.rs", "power_cut.rs"].contains(&name)
            || name.ends_with("_tests.rs")
            || self.path.contains("/tests/")
    }

    /// Lines before the inline tests module.
    pub(crate) fn code_lines(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        tests_start(&lines).unwrap_or(lines.len())
    }

    /// Numbered lines of code before the inline tests, comments and strings blanked.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.code_lines();
        self.code.lines().take(end).enumerate().map(|(number, line)| (number + 1, line))
    }

    /// Every path of this workspace that the file names, groups unfolded.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (at, prefix) in roots(&self.code) {
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[at + prefix.len()..];
            let (base, rest) = match prefix {
                "crate::" => (vec![self.module[0].clone()], rest),
                "gaggle_core::" => (vec!["core".to_owned()], rest),
                "gaggle_tracker::" => (vec!["tracker".to_owned()], rest),
                "gaggle::" => (vec!["gaggle".to_owned()], rest),
                _ => climb(&self.module, rest),
            };
            let mut paths = Vec::new();
            unfold(rest, &base, &mut paths);
            imports.extend(paths.into_iter().map(|path| Import { line, path }));
        }
        imports
    }
}

/// Line index of `#[cfg(test)]` in front of a module with a body.
fn tests_start(lines: &[&str]) -> Option<usize> {
    (0..lines.len()).find(|&at| {
        let next = lines[at + 1..].iter().find(|line| !line.trim_start().starts_with("#["));
        lines[at] == "#[cfg(test)]"
            && next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    })
}

/// `core/src/swarm/picker/mod.rs` is `[core, swarm, picker]`.
fn module_of(path: &str) -> Vec<String> {
    let (package, inside) = match path.split_once("src/") {
        Some(("", inside)) => ("gaggle", inside),
        Some((package, inside)) => (package.trim_end_matches('/'), inside),
        None => ("", path),
    };
    let inside = inside.trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let mut module = vec![package.to_owned()];
    if inside != "lib" && inside != "main" {
        module.extend(inside.split('/').map(str::to_owned));
    }
    module
}

/// Starts of paths that lead into this workspace.
fn roots(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for prefix in ["crate::", "gaggle_core::", "gaggle_tracker::", "gaggle::", "super::"] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                found.push((at, prefix));
            }
        }
    }
    found
}

/// Where `super::` leads, further `super::` included. Inside an inline module it is taken one step too far up,
/// which names modules that are in no row and so accuses nobody.
fn climb<'a>(module: &[String], mut rest: &'a str) -> (Vec<String>, &'a str) {
    let mut base = module.to_vec();
    base.pop();
    while let Some(further) = rest.strip_prefix("super::") {
        base.pop();
        rest = further;
    }
    (base, rest)
}

/// Unfolds `a::{b, c::d}` after `base`.
fn unfold(rest: &str, base: &[String], out: &mut Vec<Vec<String>>) {
    let mut path = base.to_vec();
    let mut rest = rest.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            members(group).iter().for_each(|member| unfold(member, &path, out));
            return;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        match rest[end..].strip_prefix("::") {
            Some(further) if end > 0 => rest = further.trim_start(),
            _ => break,
        }
    }
    out.push(path);
}

/// The comma-separated members of a group whose opening brace is already read.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|member| !member.trim().is_empty());
    found
}

/// The same text with comments and the insides of string literals as spaces. Not a full lexer: enough for code
/// that rustfmt has seen.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if raw_string(rest)
            .is_some_and(|_| !text[..at].ends_with(|c: char| c.is_alphanumeric()))
        {
            raw_string(rest).unwrap_or(1)
        } else if rest.starts_with('"') {
            string(rest)
        } else if let Some(len) = character(rest) {
            len
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        out.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        at += len;
    }
    out
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len()))
}

/// Length of a character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body[2..].find('\'').map(|at| 3 + at + 1);
    }
    let c = body.chars().next()?;
    body[c.len_utf8()..].starts_with('\'').then(|| 2 + c.len_utf8())
}

/// All Rust files below the given folders, fuzz targets' build output and the like left out, in path order.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<Source> {
    let mut files: Vec<Source> = folders
        .iter()
        .flat_map(|folder| walk(&repository().join(folder)))
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .filter_map(|path| Some(Source::new(relative(&path), fs::read_to_string(&path).ok()?)))
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// All text files of the repository that people write, with their paths.
pub(crate) fn text_files() -> Vec<(String, String)> {
    walk(repository())
        .into_iter()
        .map(|path| (relative(&path), path))
        .filter(|(name, _)| !name.starts_with("fixtures/") || name.ends_with(".toml"))
        .filter_map(|(name, path)| Some((name, fs::read_to_string(path).ok()?)))
        .collect()
}

fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(repository()).expect("found below the repository");
    inside.to_string_lossy().into_owned()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let skip = ["target", ".git", "artifacts", "corpus"].iter().any(|skip| name == *skip);
            if path.is_dir() && !path.is_symlink() && !skip {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path.into(), text.into());
        source.imports().iter().map(|import| import.path.join("::")).collect()
    }

    #[test]
    fn groups_and_supers_are_unfolded() {
        let text =
            "use crate::{id::{InfoHash, PeerId}, swarm};\nuse super::super::clock::Instant;\n";
        assert_eq!(
            imports("core/src/proto/peer/mod.rs", text),
            ["core::id::InfoHash", "core::id::PeerId", "core::swarm", "core::clock::Instant"]
        );
        assert_eq!(
            imports("src/engine/mod.rs", "let x = gaggle_core::lab::World::new();"),
            ["core::lab::World::new"]
        );
    }

    #[test]
    fn comments_and_strings_are_blank() {
        let text = "// crate::lab\nlet a = \"crate::lab \\\" x\"; /* crate::lab */ let c = '\"'; let l: &'a str = r#\"crate::lab\"#;";
        assert!(imports("src/net/mod.rs", text).is_empty());
        assert!(blank(text).contains("let l: &'a str"));
    }

    #[test]
    fn code_ends_where_inline_tests_begin() {
        let declared = Source::new("a.rs".into(), "#[cfg(test)]\nmod tests;\nfn a() {}\n".into());
        assert_eq!(declared.code_lines(), 3);
        let inline = Source::new("a.rs".into(), "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n".into());
        assert_eq!(inline.code_lines(), 1);
    }
}
