//! `gaggle verify`: which files and pieces of a torrent are wrong on disk. Reads only.

use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure, of_storage};
use super::progress::{per_second, stopwatch};
use super::target::{Target, whole};
use super::watched::{Watch, watched};
use crate::disk::hashing::{FileReport, Report, verify};
use gaggle_core::bitfield::Bitfield;
use gaggle_core::metainfo::Metainfo;
use gaggle_core::storage::Layout;
use gaggle_core::units::BytesPerSec;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Compare files with a torrent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle verify llama-70b.torrent
  gaggle verify llama-70b.torrent /data --json
  gaggle verify --fast disk.torrent /data/disk.iso

Exits with 0 if every file is as it must be, with 5 if not.")]
pub(super) struct Verify {
    /// The .torrent (path, - for stdin, or URL)
    torrent: String,
    /// The folder that holds the content, or the content itself
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Compare sizes only; hash nothing
    #[arg(long, env = "GAGGLE_FAST")]
    fast: bool,
}

impl Verify {
    /// Touches the network only to fetch a URL.
    pub(super) async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        let target = Target::parse(&self.torrent)?;
        let torrent = match env.unless_stopped(async { Ok(target.read(env).await?) }).await? {
            Ok(torrent) => Arc::new(whole(torrent)?),
            Err(exit) => return Ok(exit),
        };
        let dir = folder_of(&torrent, &self.dir)?;
        let layout = Layout::of(&torrent.info)
            .map_err(|e| Failure::usage(format!("cannot use {}: {e}", self.torrent)))?;
        let fast = self.fast;
        let work = {
            let torrent = torrent.clone();
            move |watch: &Watch| {
                let hash: crate::disk::PieceHashOf =
                    Arc::new(move |piece| torrent.info.pieces.of(piece));
                verify(&layout, &hash, &dir, fast, &|progress| watch.step(progress))
            }
        };
        match watched(env, torrent.info.geometry.total(), work).await? {
            Ok((report, took)) => {
                say(env, &torrent, &report.map_err(|e| of_storage(&e))?, took, fast)
            }
            Err(exit) => Ok(exit),
        }
    }
}

fn say(
    env: &Env,
    torrent: &Metainfo,
    report: &Report,
    took: Duration,
    fast: bool,
) -> anyhow::Result<Exit> {
    let mut wrong = 0;
    for (at, (entry, file)) in torrent.info.files.iter().zip(&report.files).enumerate() {
        if entry.pad {
            continue;
        }
        let status = status(file);
        let path = entry.path.join("/");
        if status != "ok" {
            wrong += 1;
            env.result(format_args!("{status:<8} {path}{}", detail(file)))?;
        }
        let (bytes, found, bad_pieces) = (file.len, file.found, file.bad_pieces);
        env.emit(&Event::File { index: at + 1, path, status, bytes, found, bad_pieces })?;
    }
    let bad = ranges(&report.good);
    if !bad.is_empty() {
        env.result(format_args!("pieces   {}", listed(&bad)))?;
    }
    let (pieces, good) = (report.good.len(), report.good.count());
    let name = &torrent.info.name;
    let ok = wrong == 0 && bad.is_empty();
    env.emit(&Event::Verified {
        info_hash: torrent.info_hash().to_string(),
        name,
        ok,
        pieces,
        good_pieces: (!fast).then_some(good),
        bad_ranges: &bad,
        seconds: took.as_secs_f64(),
    })?;
    let rate = BytesPerSec(per_second(torrent.info.geometry.total(), took));
    let how = match fast {
        true => "sizes compared, nothing hashed".to_owned(),
        false => format!("{good} of {pieces} pieces right, {} ({rate})", stopwatch(took)),
    };
    if ok {
        env.result(format_args!("ok       {name}: {how}"))?;
        return Ok(Exit::Done);
    }
    env.result(format_args!("wrong    {name}: {wrong} of {} files, {how}", report.files.len()))?;
    Ok(Exit::Mismatch)
}

/// The folder in which the torrent's name lies, also when the content itself was pointed at.
fn folder_of(torrent: &Metainfo, asked: &Path) -> Result<PathBuf, Failure> {
    let meta = std::fs::metadata(asked)
        .map_err(|e| Failure::io(format_args!("cannot read {}", asked.display()), &e))?;
    let whole = std::path::absolute(asked)
        .map_err(|e| Failure::io(format_args!("cannot read {}", asked.display()), &e))?;
    let itself = whole.file_name().is_some_and(|name| name == torrent.info.name.as_str())
        && meta.is_file() == torrent.info.single
        && !whole.join(&torrent.info.name).exists();
    match whole.parent() {
        Some(parent) if itself => Ok(parent.to_owned()),
        _ if meta.is_file() => Err(Failure::usage(format!(
            "{} is a file, but the torrent's content is called {}",
            asked.display(),
            torrent.info.name
        ))
        .hint("give the folder that holds it")),
        _ => Ok(whole),
    }
}

fn status(file: &FileReport) -> &'static str {
    match file.found {
        None => "missing",
        Some(found) if found < file.len => "short",
        Some(_) if file.bad_pieces > 0 => "bad",
        Some(found) if found > file.len => "long",
        Some(_) => "ok",
    }
}

fn detail(file: &FileReport) -> String {
    let mut detail = String::new();
    if let Some(found) = file.found.filter(|&found| found != file.len) {
        detail.push_str(&format!("  {found} bytes instead of {}", file.len));
    }
    if file.bad_pieces > 0 && file.found.is_some() {
        let s = if file.bad_pieces == 1 { "" } else { "s" };
        detail.push_str(&format!("  {} piece{s} wrong", file.bad_pieces));
    }
    detail
}

/// First and last index of every run of pieces that are not there.
fn ranges(good: &Bitfield) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for piece in good.zeros() {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == piece.0 => *last = piece.0,
            _ => ranges.push((piece.0, piece.0)),
        }
    }
    ranges
}

/// The first runs, so that the line stays readable.
fn listed(ranges: &[(u32, u32)]) -> String {
    const SHOWN_MAX: usize = 20;
    let one = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let mut shown: Vec<String> = ranges.iter().take(SHOWN_MAX).map(one).collect();
    if ranges.len() > SHOWN_MAX {
        shown.push(format!("and {} more runs (--json lists them)", ranges.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::geometry::PieceIndex;

    #[test]
    fn runs_of_bad_pieces() {
        let mut good = Bitfield::full(10);
        for piece in [0, 3, 4, 5, 9] {
            good.remove(PieceIndex(piece));
        }
        assert_eq!(ranges(&good), [(0, 0), (3, 5), (9, 9)]);
        assert_eq!(listed(&ranges(&good)), "0, 3-5, 9");
        let many: Vec<_> = (0..30).map(|i| (i * 2, i * 2)).collect();
        assert!(listed(&many).ends_with("38, and 10 more runs (--json lists them)"));
    }

    #[test]
    fn what_is_wrong_with_a_file() {
        let file = |found, bad_pieces| FileReport { found, len: 10, bad_pieces };
        for (found, bad, want) in [
            (Some(10), 0, "ok"),
            (Some(10), 1, "bad"),
            (Some(9), 1, "short"),
            (Some(11), 0, "long"),
            (None, 1, "missing"),
        ] {
            assert_eq!(status(&file(found, bad)), want);
        }
    }
}
