//! Shows how far work has come: a bar on a terminal, a line every 5 s elsewhere, JSON for scripts.
//!
//! It decides only when to say something and in which words. It never decides that work is done, and
//! it never writes to stdout except the lines of `--json`.

use super::env::Env;
use super::event::Event;
use crate::config::Progress;
use crate::engine::Snapshot;
use crate::net::Clock;
use gaggle_core::clock::Instant;
use gaggle_core::id::InfoHash;
use gaggle_core::swarm::torrent::Status;
use gaggle_core::units::{BytesPerSec, Size};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often JSON speaks and bars move.
pub(super) const TICK: Duration = Duration::from_millis(300);
/// How often a plain line appears.
const PLAIN: Duration = Duration::from_secs(5);

/// Longest name beside a bar, in characters.
const NAME_MAX: usize = 28;

/// Shows one piece of work.
pub(super) struct Meter<'e> {
    env: &'e Env,
    bar: Option<ProgressBar>,
    clock: Clock,
    /// When the last plain line was said.
    spoke: Instant,
    plain_every: Duration,
}

impl<'e> Meter<'e> {
    /// For work over `total` bytes; 0 when that is not known yet.
    pub(super) fn new(env: &'e Env, total: u64) -> Self {
        let bar = (env.progress == Progress::Bar).then(|| {
            let bar = env.bars.add(ProgressBar::new(total.max(1))); // of nothing it would look full
            let style = ProgressStyle::with_template("{prefix}  [{wide_bar}]  {msg}");
            bar.set_style(style.expect("the template is a constant").progress_chars("=> "));
            bar
        });
        Self { env, bar, clock: Clock::start(), spoke: Instant::ZERO, plain_every: PLAIN }
    }

    /// Says plain lines more often, where everything is over in seconds.
    pub(super) fn plain_every(mut self, time: Duration) -> Self {
        self.plain_every = time;
        self
    }

    /// Since the work began.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now().since(Instant::ZERO)
    }

    /// Shows hashing. Call it about every [`TICK`].
    pub(super) fn hashing(&mut self, name: &str, done: u64, total: u64) {
        let rate = per_second(done, self.elapsed());
        let left = eta(total.saturating_sub(done), rate);
        let rate_text = BytesPerSec(rate);
        let text = || format!("{}  {rate_text}{}", of_total(done, total), eta_text(left));
        self.say(name, (done, total), text, &Event::Hashing { name, done, total, rate });
    }

    /// Shows how much of what is there has been looked at; nothing before that has begun.
    pub(super) fn checking(&mut self, name: &str, snapshot: &Snapshot) {
        if let (Some((hashed, of)), Some(metainfo)) = (snapshot.checking, &snapshot.metainfo) {
            let total = metainfo.info.geometry.total();
            let done = u128::from(total) * u128::from(hashed) / u128::from(of.max(1));
            self.hashing(name, u64::try_from(done).unwrap_or(total), total);
        }
    }

    /// Shows a download. `why` says why nothing arrives.
    pub(super) fn download(
        &mut self,
        name: &str,
        id: InfoHash,
        status: &Status,
        why: Option<&str>,
    ) {
        let text = || {
            if status.total == 0 {
                return format!("waits for its metadata  {}", peers(status));
            }
            let (done, down, up) = (of_total(status.done, status.total), status.down, status.up);
            let why = why.map_or_else(|| eta_text(eta_of(status)), |why| format!("  {why}"));
            format!("{done}  down {down}  up {up}  {}{why}", peers(status))
        };
        self.say(name, (status.done, status.total), text, &progress(id, status));
    }

    /// Shows a file that comes from `asked` hosts alone.
    pub(super) fn fetching(
        &mut self,
        name: &str,
        (done, total): (u64, u64),
        down: BytesPerSec,
        asked: usize,
    ) {
        let left = eta(total.saturating_sub(done), down.0);
        let s = if asked == 1 { "" } else { "s" };
        let text = || {
            let (part, eta) = (of_total(done, total), eta_text(left));
            format!("{part}  down {down}  {asked} host{s}{eta}")
        };
        let percent = percent(done, total);
        let event =
            Event::Fetching { name, done, total, percent, down: down.0, hosts: asked, eta: left };
        self.say(name, (done, total), text, &event);
    }

    /// Shows what a seed gives. `copy` is the size of the whole content.
    pub(super) fn upload(&mut self, name: &str, id: InfoHash, status: &Status, more: &str) {
        let text = || {
            let copies = status.uploaded as f64 / (status.total.max(1)) as f64;
            let (up, peers, whole) = (status.up, status.peers, status.completed_peers);
            let s = if peers == 1 { "" } else { "s" };
            format!("up {up} · {peers} peer{s}, {whole} complete · sent {copies:.1} copies{more}")
        };
        self.say(name, (status.done, status.total), text, &progress(id, status));
    }

    /// Takes the bar away; the caller says how it ended.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(
        &mut self,
        name: &str,
        (done, total): (u64, u64),
        text: impl FnOnce() -> String,
        event: &Event<'_>,
    ) {
        let env = self.env;
        if env.json && env.progress != Progress::None {
            _ = env.emit(event); // a reader that left early is no reason to stop
        }
        match env.progress {
            Progress::Json if !env.json => {
                env.stderr(serde_json::to_string(event).unwrap_or_default());
            }
            Progress::Plain if self.clock.now().since(self.spoke) >= self.plain_every => {
                self.spoke = self.clock.now();
                env.stderr(format_args!("{name}  {}", text()));
            }
            Progress::Bar => {
                if let Some(bar) = &self.bar {
                    // The words first: each call may draw, and a bar without words says nothing.
                    bar.set_prefix(short(name));
                    bar.set_message(text());
                    bar.set_length(total.max(1));
                    bar.set_position(done);
                }
            }
            _ => {}
        }
    }
}

/// A name that leaves room for numbers on its line.
fn short(name: &str) -> String {
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_MAX - 1).chain(['…']).collect()
}

fn progress(info_hash: InfoHash, status: &Status) -> Event<'static> {
    Event::Progress {
        info_hash: info_hash.to_string(),
        done: status.done,
        total: status.total,
        percent: if status.total == 0 { 0.0 } else { percent(status.done, status.total) },
        down: status.down.0,
        up: status.up.0,
        downloaded: status.downloaded,
        uploaded: status.uploaded,
        wasted: status.wasted,
        peers: status.peers,
        seeds: status.seeds,
        eta: eta_of(status),
        copies: (status.copies * 1000.0).round() / 1000.0,
    }
}

/// `37 peers (1 seed)`.
fn peers(status: &Status) -> String {
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let (peers, seeds) = (status.peers, status.seeds);
    format!("{peers} peer{} ({seeds} seed{})", s(peers), s(seeds))
}

fn eta_of(status: &Status) -> Option<u64> {
    match status.total.saturating_sub(status.done) {
        0 if status.total > 0 => Some(0),
        left => eta(left, status.down.0),
    }
}

/// `62 %  81.5/131.4 GiB`.
pub(super) fn of_total(done: u64, total: u64) -> String {
    let whole = Size(total).to_string();
    let (_, unit) = whole.split_once(' ').unwrap_or(("", "B"));
    let part = Size(done).to_string();
    let part = part.strip_suffix(unit).map_or(part.as_str(), str::trim_end);
    format!("{:.0} %  {part}/{whole}", percent(done, total).floor())
}

/// 100 only when nothing is missing; an empty total counts as done.
pub(super) fn percent(done: u64, total: u64) -> f64 {
    if done >= total {
        return 100.0;
    }
    (done as f64 * 10_000.0 / total as f64).floor().min(9_999.0) / 100.0
}

/// Bytes per second over a stretch of time; 0 over none.
pub(super) fn per_second(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    (u128::from(bytes) * 1_000_000 / micros).try_into().unwrap_or(u64::MAX)
}

/// Seconds until `left` bytes have come; `None` when nothing moves.
pub(super) fn eta(left: u64, rate: u64) -> Option<u64> {
    (rate > 0).then(|| left.div_ceil(rate))
}

/// `124 ms` and `2.8s` while that says more than [`clock`].
pub(super) fn stopwatch(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..10 => format!("{:.1}s", time.as_secs_f64()),
        seconds => clock(seconds),
    }
}

/// `55s`, `2m10s`, `1h05m`, `3d04h`.
pub(super) fn clock(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn eta_text(left: Option<u64>) -> String {
    left.map_or_else(String::new, |left| format!("  ETA {}", clock(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_people_read_them() {
        assert_eq!(of_total(81 << 30, 131 << 30), "61 %  81.0/131.0 GiB");
        assert_eq!(of_total(512, 2 << 20), "0 %  512 B/2.0 MiB");
        assert_eq!(of_total(0, 0), "100 %  0/0 B");
        assert_eq!(percent(99_999_999, 100_000_000), 99.99);
        for (seconds, text) in [(55, "55s"), (130, "2m10s"), (3900, "1h05m"), (273_600, "3d04h")] {
            assert_eq!(clock(seconds), text);
        }
        for (millis, text) in [(7, "7 ms"), (2766, "2.8s"), (65_000, "1m05s")] {
            assert_eq!(stopwatch(Duration::from_millis(millis)), text);
        }
        assert_eq!(eta(10, 0), None);
        assert_eq!(eta(10, 3), Some(4));
    }
}
