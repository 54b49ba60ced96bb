//! What a person may point at: a .torrent by path, stdin or URL, a magnet link, a bare hash, the number of a result of
//! the last search.
//!
//! Files and answers are read up to a bound and no further. A word that is both a file and a hash is
//! the file.

use super::env::Env;
use super::exit::{Exit, Failure};
use crate::engine::What;
use crate::search::{self, RecordError};
use gaggle_core::bencode::Limits;
use gaggle_core::metainfo::{Magnet, Metainfo};
use gaggle_core::search::{Found, Saved};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Largest .torrent that is read; a longer one is refused before the rest is fetched.
const TORRENT_LEN_MAX: u64 = Limits::TORRENT.bytes as u64;
/// Digits of the number of a result; a longer number is a name.
const HIT_DIGITS_MAX: usize = 4;
/// How long a web server may take to accept a connection, and to send the next bytes.
const FETCH_PATIENCE: Duration = Duration::from_secs(30);
/// Most redirections that are followed.
const REDIRECTS_MAX: usize = 5;

/// Something that names a torrent, not yet read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// A .torrent file.
    File(PathBuf),
    /// A result of the last search, by its number.
    Hit(usize),
    /// A link or a bare hash.
    Magnet(Box<Magnet>),
    /// A .torrent on standard input.
    Stdin,
    /// A .torrent on a web server.
    Url(String),
}

impl Target {
    /// Tells what a word is, without looking any further than whether a file of that name exists.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let has_scheme = |scheme: &str| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if has_scheme("magnet:") {
            let magnet = Magnet::parse(text)
                .map_err(|e| Failure::usage(format!("cannot read {text}: {e}")))?;
            return Ok(Self::Magnet(Box::new(magnet)));
        }
        if has_scheme("http://") || has_scheme("https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        if text.is_empty() {
            return Err(Failure::usage("the target is empty"));
        }
        let path = Path::new(text);
        if !path.exists()
            && text.len() <= HIT_DIGITS_MAX
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse()
        {
            return Ok(Self::Hit(number));
        }
        if !path.exists()
            && let Some(magnet) = Magnet::from_hash(text)
        {
            return Ok(Self::Magnet(Box::new(magnet)));
        }
        if !path.exists()
            && let Some((scheme, _)) = text.split_once("://")
        {
            return Err(Failure::usage(format!(
                "cannot fetch {text}: {scheme}:// is not understood"
            ))
            .hint("give a path, an http:// or https:// URL, a magnet link or a hash"));
        }
        Ok(Self::File(path.to_owned()))
    }

    /// Reads the torrent.
    pub(super) async fn read(self, env: &Env) -> Result<What, Failure> {
        let (name, bytes) = match self {
            Self::Hit(number) => {
                let (_, found) = hit(env, number)?;
                let magnet = found.magnet().ok_or_else(|| {
                    let what = format!("result {number}, {}, belongs to no torrent", found.name);
                    Failure::usage(what).hint("`gaggle get` fetches it all the same")
                })?;
                return Ok(What::Magnet(Box::new(magnet)));
            }
            Self::Magnet(magnet) => return Ok(What::Magnet(magnet)),
            Self::File(path) => (path.display().to_string(), read_file(&path)?),
            Self::Stdin => ("standard input".to_owned(), read_all(std::io::stdin(), "stdin")?),
            Self::Url(url) => {
                let bytes = fetch(&url).await?;
                (url, bytes)
            }
        };
        let metainfo = Metainfo::parse(&bytes)
            .map_err(|e| Failure::usage(format!("cannot read {name}: {e}")))?;
        Ok(What::Metainfo(Arc::new(metainfo)))
    }
}

/// The result of this number of the last search, and that search.
pub(super) fn hit(env: &Env, number: usize) -> Result<(Saved, Found), Failure> {
    let hint = "`gaggle search WORDS` searches, and numbers what it finds";
    let search = search::load(&env.dirs.state).map_err(|error| {
        let exit = if matches!(error, RecordError::None) { Exit::Usage } else { Exit::Other };
        Failure::new(exit, format!("there is no result {number}: {error}")).hint(hint)
    })?;
    let Some(found) = search.number(number).cloned() else {
        let (results, text) = (search.found.len(), &search.text);
        let what = format!("the last search, {text}, has no result {number} but {results} in all");
        return Err(Failure::usage(what).hint(hint));
    };
    Ok((search, found))
}

/// The whole torrent, where a link does not do.
pub(super) fn whole(torrent: What) -> Result<Metainfo, Failure> {
    match torrent {
        What::Metainfo(metainfo) => Ok(Arc::unwrap_or_clone(metainfo)),
        What::Magnet(magnet) => Err(Failure::usage(format!(
            "{} is only a link: this needs the .torrent file",
            magnet.info_hash()
        ))
        .hint("give the path or the URL of a .torrent")),
    }
}

/// Reads a file, but not one that is too long for a torrent.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let what = || format!("cannot read {}", path.display());
    if path.is_dir() {
        return Err(Failure::usage(format!("{}: it is a folder, not a .torrent", what()))
            .hint("`gaggle create` makes a torrent of a folder"));
    }
    let file = std::fs::File::open(path).map_err(|e| Failure::io(what(), &e))?;
    read_all(file, &path.display().to_string())
}

fn read_all(from: impl std::io::Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(TORRENT_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::io(format_args!("cannot read {name}"), &e))?;
    if bytes.len() as u64 > TORRENT_LEN_MAX {
        return Err(too_large(name));
    }
    Ok(bytes)
}

fn too_large(name: &str) -> Failure {
    let max = TORRENT_LEN_MAX >> 20;
    Failure::usage(format!("cannot read {name}: larger than {max} MiB, no torrent is"))
}

async fn fetch(url: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |e: reqwest::Error| network(url, &e);
    let client = reqwest::Client::builder()
        .user_agent(concat!("gaggle/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(FETCH_PATIENCE)
        .read_timeout(FETCH_PATIENCE)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .build()
        .map_err(wrong)?;
    let mut reply = client.get(url).send().await.map_err(wrong)?;
    let status = reply.status();
    if !status.is_success() {
        let gone = matches!(status.as_u16(), 404 | 410);
        let exit = if gone { Exit::NotFound } else { Exit::Network };
        return Err(Failure::new(
            exit,
            format!("cannot fetch {url}: the server answered {status}"),
        ));
    }
    // The length that the server states is a hint; what counts is what comes, unpacked.
    let mut bytes = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(wrong)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > TORRENT_LEN_MAX {
            return Err(too_large(url));
        }
    }
    Ok(bytes)
}

/// The innermost cause says it best: "connection refused" rather than "error sending request".
fn network(url: &str, error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let exit = if error.is_builder() { Exit::Usage } else { Exit::Network };
    let text = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    let what = format!("cannot fetch {url}: {}", super::exit::as_words(&text));
    Failure::new(exit, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_word_stands_for() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let got = match Target::parse(text) {
                Ok(Target::File(_)) => "file",
                Ok(Target::Hit(_)) => "hit",
                Ok(Target::Magnet(_)) => "magnet",
                Ok(Target::Stdin) => "stdin",
                Ok(Target::Url(_)) => "url",
                Err(failure) if failure.exit == Exit::Usage => "usage",
                Err(_) => "other",
            };
            assert_eq!(got, want, "{text}");
        }
        let hash = "C12FE1C06BBA254A9DC9F519B335AA7C1367A88A";
        check("-", "stdin");
        check("a.torrent", "file");
        check("HTTP://x/y.torrent", "url");
        check(&format!("MAGNET:?xt=urn:btih:{hash}"), "magnet");
        check("magnet:?dn=nothing", "usage");
        check(hash, "magnet");
        check(&hash.to_lowercase(), "magnet");
        check("YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK", "magnet");
        check(&"ab".repeat(32), "magnet");
        check(&"g".repeat(40), "file");
        check("3", "hit");
        check("12345", "file");
        check("3.torrent", "file");
        check("", "usage");
        check("ftp://x/y.torrent", "usage");
    }
}
