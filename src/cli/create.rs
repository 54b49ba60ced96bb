//! `gaggle create`: a torrent of a file or folder, hashed on all cores.
//!
//! The same content gives the same info hash, whatever the machine, the locale or the order in which
//! the system lists folders. Nothing is written but the .torrent, and that as a whole or not at all.

use super::content::{Filter, Found, find};
use super::env::Env;
use super::event::Event;
use super::exit::{Exit, Failure};
use super::progress::{per_second, stopwatch};
use super::watched::{Watch, watched};
use crate::config::PieceLength;
use crate::disk::hashing::{HashingError, Source, hash_content};
use gaggle_core::metainfo::{Build, Content, Metainfo, piece_length_auto};
use gaggle_core::units::{BytesPerSec, Size};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Make a torrent of a file or a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle create ./llama-70b -t http://10.1.0.5:6969/announce
  gaggle create disk.iso -o disk.torrent --piece-length 4M --web-seed https://example.org/disk.iso
  gaggle create ./build --exclude '*.o' --exclude 'target/' --no-date -n

Files are sorted by the bytes of their paths. Links are followed; hidden files are left out.")]
pub(super) struct Create {
    /// The file or folder
    path: PathBuf,
    /// Where to write it [default: NAME.torrent here]
    #[arg(short, long, value_name = "FILE", env = "GAGGLE_CREATE_OUTPUT")]
    output: Option<PathBuf>,
    /// Replace FILE also when it is no torrent
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    making: Making,
    /// Hash, print and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// What goes into the torrent. `share` takes most of it, too.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Making {
    /// Announce URL; repeat for further tiers, commas join URLs into one tier
    #[arg(short, long, value_name = "URL", env = "GAGGLE_CREATE_TRACKER", value_delimiter = ' ')]
    pub tracker: Vec<String>,
    /// HTTP source of the content (repeat)
    #[arg(long, value_name = "URL", env = "GAGGLE_CREATE_WEB_SEED", value_delimiter = ' ')]
    pub web_seed: Vec<String>,
    /// DHT node to begin with (repeat)
    #[arg(long, value_name = "HOST:PORT", env = "GAGGLE_DHT_NODE", value_delimiter = ' ')]
    pub dht_node: Vec<String>,
    /// Bytes of a piece: auto, or a power of two from 16KiB
    #[arg(long, value_name = "SIZE", env = "GAGGLE_PIECE_LENGTH")]
    pub piece_length: Option<PieceLength>,
    /// Let peers come from its trackers only
    #[arg(long, env = "GAGGLE_PRIVATE")]
    pub private: bool,
    /// Source tag; it changes the info hash
    #[arg(long, value_name = "TAG", env = "GAGGLE_SOURCE")]
    pub source: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT", env = "GAGGLE_COMMENT")]
    pub comment: Option<String>,
    /// Make a version 1 torrent; there is no other kind yet
    #[arg(long, env = "GAGGLE_V1")]
    pub v1: bool,
    /// Leave out files and folders that match (repeat)
    #[arg(long, value_name = "GLOB", env = "GAGGLE_EXCLUDE")]
    pub exclude: Vec<String>,
    /// Take files whose name starts with a dot, too
    #[arg(long, env = "GAGGLE_INCLUDE_HIDDEN")]
    pub include_hidden: bool,
    /// Leave out the creation date
    #[arg(long, env = "GAGGLE_NO_DATE")]
    pub no_date: bool,
}

/// A torrent that has been made.
pub(super) struct Made {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// The same, read back.
    pub metainfo: Metainfo,
    /// The folder in which the content lies.
    pub parent: PathBuf,
    /// How many names come out changed, because others could not have them.
    pub renamed: usize,
    /// How long hashing took.
    pub took: Duration,
}

impl Create {
    /// Touches no network.
    pub(super) async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        let output = match &self.output {
            Some(path) => path.clone(),
            None => default_output(&self.path)?,
        };
        if !self.dry_run {
            refuse_to_replace(&output, self.force)?;
        }
        let made = match self.making.make(env, &self.path, Some(&output)).await? {
            Ok(made) => made,
            Err(exit) => return Ok(exit),
        };
        if !self.dry_run {
            write_whole(&output, &made.bytes)?;
        }
        let info = &made.metainfo.info;
        let magnet = made.metainfo.magnet().to_string();
        let torrent = output.display().to_string();
        let files = info.files.iter().filter(|file| !file.pad).count();
        env.emit(&Event::Created {
            info_hash: made.metainfo.info_hash().to_string(),
            magnet: magnet.clone(),
            torrent: (!self.dry_run).then_some(&torrent),
            pieces: info.geometry.pieces(),
            bytes: info.geometry.total(),
            piece_length: info.geometry.piece_len(),
            files,
            seconds: made.took.as_secs_f64(),
        })?;
        env.note(summary(&made));
        if !self.dry_run {
            env.result(&torrent)?;
        }
        env.result(&magnet)?;
        Ok(Exit::Done)
    }
}

/// `llama-70b  131.4 GiB  30 files  8212 pieces of 16.0 MiB  hashed in 22s (6.0 GiB/s)`.
pub(super) fn summary(made: &Made) -> String {
    let info = &made.metainfo.info;
    let bytes = info.geometry.total();
    let files = info.files.iter().filter(|file| !file.pad).count();
    let s = if files == 1 { "" } else { "s" };
    let (pieces, piece) = (info.geometry.pieces(), Size(info.geometry.piece_len().into()));
    let plural = if pieces == 1 { "" } else { "s" };
    let rate = BytesPerSec(per_second(bytes, made.took));
    let took = stopwatch(made.took);
    let size = Size(bytes);
    format!(
        "{}  {size}  {files} file{s}  {pieces} piece{plural} of {piece}  hashed in {took} ({rate})",
        info.name
    )
}

impl Making {
    /// Finds the files, hashes them and builds the torrent. `never` is a file that is no content.
    pub(super) async fn make(
        &self,
        env: &Env,
        path: &Path,
        never: Option<&Path>,
    ) -> anyhow::Result<Result<Made, Exit>> {
        let settings = &env.settings.create;
        let hidden = self.include_hidden || settings.include_hidden;
        let nodes = self.dht_node.iter().map(|node| dht_node(node)).collect::<Result<_, _>>()?;
        let tiers = if self.tracker.is_empty() { &settings.trackers } else { &self.tracker };
        let trackers = tiers.iter().map(|tier| tracker_tier(tier)).collect::<Result<_, _>>()?;
        let found = find(path, &Filter::new(&self.exclude, hidden, never)?)?;
        report_left_out(env, &found);
        let total = found.content.total().map_err(|e| unfit(path, &e))?;
        if total == 0 {
            return Err(Failure::usage(format!("{} holds no bytes", path.display())).into());
        }
        let piece_len = match self.piece_length.unwrap_or(settings.piece_length) {
            PieceLength::Auto => piece_length_auto(total),
            PieceLength::Bytes(bytes) => bytes,
        };
        let sources = sources(&found);
        let hash = move |watch: &Watch| {
            hash_content(&sources, piece_len, None, &|progress| watch.step(progress))
        };
        let (pieces, took) = match watched(env, total, hash).await? {
            Ok((pieces, took)) => (pieces.map_err(unhashed)?, took),
            Err(exit) => return Ok(Err(exit)),
        };
        let build = Build {
            name: found.name.clone(),
            piece_len,
            content: found.content,
            pieces: pieces.concat(),
            trackers,
            web_seeds: self.web_seed.clone(),
            nodes,
            private: self.private,
            source: self.source.clone().or_else(|| settings.source.clone()),
            comment: self.comment.clone(),
            created_by: Some(concat!("gaggle ", env!("CARGO_PKG_VERSION")).to_owned()),
            creation_date: (!self.no_date && !settings.no_date).then(now),
        };
        let bytes = build.to_bytes().map_err(|e| unfit(path, &e))?;
        let metainfo = Metainfo::parse(&bytes).map_err(|e| unfit(path, &e))?;
        let renamed = report_renamed(env, &build, &metainfo);
        Ok(Ok(Made { bytes, metainfo, parent: found.parent, renamed, took }))
    }
}

fn sources(found: &Found) -> Vec<Source> {
    let top = found.parent.join(OsStr::from_bytes(&found.name));
    match &found.content {
        Content::File(len) => vec![Source { path: Some(top), len: *len }],
        Content::Folder(files) => files
            .iter()
            .map(|file| {
                let mut path = top.clone();
                path.extend(file.path.iter().map(|part| OsStr::from_bytes(part)));
                Source { path: Some(path), len: file.len }
            })
            .collect(),
    }
}

fn now() -> i64 {
    i64::try_from(crate::net::Clock::start().unix().as_secs()).unwrap_or(i64::MAX)
}

fn report_left_out(env: &Env, found: &Found) {
    let left = &found.left_out;
    for (count, what, how) in [
        (left.hidden, "hidden", " (--include-hidden takes them)"),
        (left.special, "neither files nor folders", ""),
    ] {
        if count > 0 {
            env.note(format_args!("left out: {count} entries that are {what}{how}"));
        }
    }
}

/// Names that other systems cannot have come out changed, and then `seed` would not find the files.
fn report_renamed(env: &Env, build: &Build, metainfo: &Metainfo) -> usize {
    let asked: Vec<Vec<u8>> = match &build.content {
        Content::File(_) => vec![build.name.clone()],
        Content::Folder(files) => files
            .iter()
            .map(|file| [std::slice::from_ref(&build.name), &file.path].concat().join(&b'/'))
            .collect(),
    };
    let got = metainfo.info.files.iter().map(|file| file.path.join("/"));
    let changed: Vec<_> = asked.iter().zip(got).filter(|(a, b)| *a != b.as_bytes()).collect();
    if let Some((asked, got)) = changed.first() {
        let asked = super::show::printable(&String::from_utf8_lossy(asked));
        env.stderr(format_args!(
            "warning: {} names are not safe everywhere and will be changed by those who download, as {asked} to {got}",
            changed.len()
        ));
    }
    changed.len()
}

fn tracker_tier(text: &str) -> Result<Vec<String>, Failure> {
    let urls: Vec<String> =
        text.split(',').filter(|url| !url.is_empty()).map(str::to_owned).collect();
    for url in &urls {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https" | "udp")) {
            return Err(Failure::usage(format!(
                "{url} is no tracker: it begins with neither http:// nor https:// nor udp://"
            )));
        }
    }
    Ok(urls)
}

fn dht_node(text: &str) -> Result<(String, u16), Failure> {
    let peer = gaggle_core::metainfo::PeerHint::parse(text);
    peer.map(|peer| (peer.host, peer.port))
        .ok_or_else(|| Failure::usage(format!("--dht-node {text} is not HOST:PORT")))
}

fn unfit(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::usage(format!("no torrent can be made of {}: {error}", path.display()))
}

fn unhashed(error: HashingError) -> Failure {
    match error {
        HashingError::Disk(fault) => super::exit::of_disk(&fault),
        HashingError::Changed { .. } => Failure::new(Exit::Mismatch, error.to_string())
            .hint("wait until nobody writes to it, then try again"),
        other => Failure::usage(other.to_string()),
    }
}

fn default_output(path: &Path) -> Result<PathBuf, Failure> {
    let whole = std::fs::canonicalize(path)
        .map_err(|e| Failure::io(format_args!("cannot read {}", path.display()), &e))?;
    let name = path.file_name().or(whole.file_name());
    let mut file = name.unwrap_or(OsStr::new("root")).to_owned();
    file.push(".torrent");
    Ok(PathBuf::from(file))
}

/// An older torrent may be replaced, anything else is somebody's file.
fn refuse_to_replace(output: &Path, force: bool) -> Result<(), Failure> {
    let folder = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let (output, folder) = (output.display(), folder.display());
        return Err(Failure::usage(format!("cannot write {output}: there is no folder {folder}")));
    }
    if output.is_dir() {
        return Err(Failure::usage(format!("cannot write {}: it is a folder", output.display())));
    }
    // What is too long for a torrent is somebody's disk image; it must not be read into memory.
    match super::target::read_file(output) {
        _ if force => Ok(()),
        Ok(bytes) if bytes.is_empty() || Metainfo::parse(&bytes).is_ok() => Ok(()),
        Err(_) if !output.exists() => Ok(()),
        _ => Err(Failure::new(
            Exit::Denied,
            format!("{} exists and is no torrent", output.display()),
        )
        .hint("choose another name with -o, or replace it with --force")),
    }
}

/// Writes beside the target and renames: a reader sees the old file or the new one.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::io(format_args!("cannot write {}", path.display()), &e);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        _ = std::fs::remove_file(&beside);
    }
    written.map_err(failed)
}
