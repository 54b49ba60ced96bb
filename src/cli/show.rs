//! `gaggle show`: what a torrent or a link says, and what is odd about it.

use super::env::Env;
use super::event::{Event, ListedFile};
use super::exit::{Exit, Failure};
use super::target::Target;
use crate::engine::What;
use gaggle_core::geometry::BLOCK_LEN;
use gaggle_core::id::TorrentHashes;
use gaggle_core::metainfo::{Magnet, Metainfo};
use gaggle_core::units::Size;

/// Show what a torrent or a magnet link says
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gaggle show debian.torrent
  gaggle show --files https://example.org/llama-70b.torrent
  gaggle show --magnet debian.torrent")]
pub(super) struct Show {
    /// A .torrent (path, - for stdin, or URL), a magnet link or a hash
    target: String,
    /// List the files with the indices that `get --select` takes
    #[arg(long)]
    files: bool,
    /// Print only the magnet link
    #[arg(long, conflicts_with = "files")]
    magnet: bool,
}

impl Show {
    /// Touches the network only to fetch a URL.
    pub(super) async fn run(self, env: &Env) -> anyhow::Result<Exit> {
        let target = Target::parse(&self.target)?;
        let torrent = match env.unless_stopped(async { Ok(target.read(env).await?) }).await? {
            Ok(torrent) => torrent,
            Err(exit) => return Ok(exit),
        };
        let magnet = match &torrent {
            What::Magnet(magnet) => (**magnet).clone(),
            What::Metainfo(metainfo) => metainfo.magnet(),
        };
        match torrent {
            _ if self.magnet && !env.json => env.result(&magnet)?,
            What::Magnet(_) if self.files => {
                return Err(Failure::usage("a link does not say which files there are").into());
            }
            What::Magnet(_) => show_link(env, &magnet)?,
            What::Metainfo(metainfo) => show_torrent(env, &metainfo, &magnet, self.files)?,
        }
        Ok(Exit::Done)
    }
}

fn show_link(env: &Env, magnet: &Magnet) -> anyhow::Result<()> {
    let (v1, v2) = both(&magnet.hashes);
    env.emit(&Event::Magnet {
        info_hash: magnet.info_hash().to_string(),
        info_hash_v2: v2.clone(),
        name: magnet.name.as_deref(),
        trackers: &magnet.trackers,
        web_seeds: &magnet.web_seeds,
        peers: magnet.peers.iter().map(ToString::to_string).collect(),
        magnet: magnet.to_string(),
    })?;
    let mut rows = Rows::default();
    rows.add("name", magnet.name.as_deref());
    rows.add("info hash", v1);
    rows.add("info hash v2", v2);
    rows.all("tracker", &magnet.trackers);
    rows.all("web seed", &magnet.web_seeds);
    rows.all("peer", &magnet.peers);
    env.result(rows.0.trim_end())
}

fn show_torrent(env: &Env, torrent: &Metainfo, magnet: &Magnet, files: bool) -> anyhow::Result<()> {
    let info = &torrent.info;
    let geometry = &info.geometry;
    let (v1, v2) = both(&torrent.hashes());
    let lints = lints(torrent);
    env.emit(&Event::Torrent {
        info_hash: torrent.info_hash().to_string(),
        info_hash_v2: v2.clone(),
        name: &info.name,
        bytes: geometry.total(),
        pieces: geometry.pieces(),
        piece_length: geometry.piece_len(),
        private: info.private,
        source: info.source.as_deref(),
        comment: torrent.comment.as_deref(),
        created_by: torrent.created_by.as_deref(),
        creation_date: torrent.creation_date,
        trackers: &torrent.trackers,
        web_seeds: &torrent.web_seeds,
        nodes: torrent.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect(),
        files: listed(torrent).collect(),
        magnet: magnet.to_string(),
        lints: &lints,
    })?;
    let mut rows = Rows::default();
    rows.add("name", Some(&info.name));
    rows.add("info hash", v1);
    rows.add("info hash v2", v2);
    rows.add("size", Some(format!("{} ({} bytes)", Size(geometry.total()), geometry.total())));
    rows.add("files", Some(info.files.iter().filter(|file| !file.pad).count()));
    let piece = Size(geometry.piece_len().into());
    rows.add("pieces", Some(format!("{} of {piece}", geometry.pieces())));
    rows.add("private", info.private.then_some("yes: peers come from its trackers only"));
    rows.add("source", info.source.as_deref());
    rows.add("comment", torrent.comment.as_deref());
    rows.add("created", torrent.creation_date.map(utc));
    rows.add("created by", torrent.created_by.as_deref());
    for (nth, tier) in torrent.trackers.iter().enumerate() {
        let label =
            if torrent.trackers.len() > 1 { format!("tier {}", nth + 1) } else { "tracker".into() };
        rows.all(&label, tier);
    }
    rows.all("web seed", &torrent.web_seeds);
    rows.all("DHT node", torrent.nodes.iter().map(|(host, port)| format!("{host}:{port}")));
    rows.all("odd", &lints);
    env.result(rows.0.trim_end())?;
    if files {
        env.result("")?;
        list_files(env, torrent)?;
    }
    Ok(())
}

/// Only the files, as `get --list` prints them; with `--json` all there is.
pub(super) fn files(env: &Env, torrent: &Metainfo) -> anyhow::Result<()> {
    if env.json {
        return show_torrent(env, torrent, &torrent.magnet(), true);
    }
    list_files(env, torrent)
}

fn list_files(env: &Env, torrent: &Metainfo) -> anyhow::Result<()> {
    listed(torrent).try_for_each(|file| {
        let size = Size(file.bytes).to_string();
        env.result(format_args!("{:>6} {size:>11}  {}", file.index, file.path))
    })
}

/// The files with their indices from 1, padding left out: it cannot be selected.
pub(super) fn listed(torrent: &Metainfo) -> impl Iterator<Item = ListedFile> + '_ {
    let files = torrent.info.files.iter().enumerate().filter(|(_, file)| !file.pad);
    files.map(|(at, file)| ListedFile { index: at + 1, path: file.path.join("/"), bytes: file.len })
}

/// What is legal and yet likely to cause trouble.
fn lints(torrent: &Metainfo) -> Vec<String> {
    let info = &torrent.info;
    let piece_len = info.geometry.piece_len();
    let pieces = info.geometry.pieces();
    let mut odd = Vec::new();
    if !piece_len.is_power_of_two() {
        odd.push(format!("the piece length {piece_len} is no power of two"));
    }
    if piece_len < BLOCK_LEN {
        odd.push(format!("the piece length {piece_len} is below 16 KiB"));
    }
    if piece_len > PIECE_LEN_USUAL_MAX {
        odd.push(format!(
            "pieces of {} are long: little is shared before one is whole",
            Size(piece_len.into())
        ));
    }
    if pieces > PIECES_USUAL_MAX {
        odd.push(format!("{pieces} pieces are many: the .torrent is large"));
    }
    if info.private && torrent.trackers.is_empty() {
        odd.push("private and without a tracker: nobody can find a peer".to_owned());
    }
    if info.private && !torrent.nodes.is_empty() {
        odd.push("private, and yet it lists DHT nodes".to_owned());
    }
    for url in
        torrent.trackers.iter().flatten().filter(|url| !scheme_is(url, &["http", "https", "udp"]))
    {
        odd.push(format!("tracker {} is neither http nor udp", printable(url)));
    }
    for url in torrent.web_seeds.iter().filter(|url| !scheme_is(url, &["http", "https"])) {
        odd.push(format!("web seed {} is not http", printable(url)));
    }
    if torrent.creation_date.is_some_and(|date| date < FIRST_TORRENT) {
        odd.push("its creation date lies before BitTorrent".to_owned());
    }
    if !info.symlinks.is_empty() {
        odd.push(format!("{} symbolic links in it are not made", info.symlinks.len()));
    }
    if matches!(torrent.hashes(), TorrentHashes::Hybrid(..)) {
        odd.push("hybrid: only its version 1 hashes are used".to_owned());
    }
    odd
}

fn scheme_is(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://")
        .is_some_and(|(scheme, _)| schemes.iter().any(|s| scheme.eq_ignore_ascii_case(s)))
}

fn both(hashes: &TorrentHashes) -> (Option<String>, Option<String>) {
    match hashes {
        TorrentHashes::V1(v1) => (Some(v1.to_string()), None),
        TorrentHashes::V2(v2) => (None, Some(v2.to_string())),
        TorrentHashes::Hybrid(v1, v2) => (Some(v1.to_string()), Some(v2.to_string())),
    }
}

/// Labelled lines. Text of strangers cannot move the cursor.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn add(&mut self, label: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            let value = printable(&value.to_string());
            self.0.push_str(&format!("{label:<13} {value}\n"));
        }
    }

    fn all<T: ToString>(&mut self, label: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.add(label, Some(value));
        }
    }
}

/// The text without control characters and without those that turn the line's direction.
pub(super) fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// `2026-11-21 09:43:12 UTC` of seconds since 1970.
fn utc(seconds: i64) -> String {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's `civil_from_days`: years begin in March, so that leap days come last.
    let shifted = i128::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Above this few torrents are made, and some clients refuse them.
const PIECE_LEN_USUAL_MAX: u32 = 32 << 20;
/// 600 kB of hashes.
const PIECES_USUAL_MAX: u32 = 30_000;
/// 2 July 2001: the first release of BitTorrent.
const FIRST_TORRENT: i64 = 994_032_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(utc(1_795_254_192), "2026-11-21 09:43:12 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59 UTC");
        assert!(utc(i64::MIN).starts_with('-') && utc(i64::MAX).ends_with("UTC"));
    }

    #[test]
    fn text_of_strangers_stays_on_its_line() {
        assert_eq!(printable("a\x1b[2J\n\u{202e}b"), "a\u{fffd}[2J\u{fffd}\u{fffd}b");
    }
}
