//! Watches one torrent of the engine until it has what it came for: says how it stands, notices when
//! nothing moves, and knows when to stop giving.
//!
//! It decides when to give up and when to end; everything between is the engine's.

use super::env::Env;
use super::event::{BySource, Event};
use super::exit::{Exit, Failure, of_engine, of_storage};
use super::get::Wishes;
use super::progress::{Meter, TICK, clock, of_total, per_second, stopwatch};
use super::waiting;
use crate::config::Finish;
use crate::engine::{Download, DownloadEvent, Snapshot};
use crate::fetch::Host;
use crate::net::Clock;
use data_encoding::HEXLOWER;
use gaggle_core::clock::Instant;
use gaggle_core::id::InfoHash;
use gaggle_core::metainfo::Info;
use gaggle_core::search::Found;
use gaggle_core::units::{BytesPerSec, Size};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Lingering ends when nobody has taken data for so long.
const LINGER_QUIET: Duration = Duration::from_secs(10);
/// Lingering ends in any case.
const LINGER_MAX: Duration = Duration::from_secs(120);
/// Waiting is explained when it has lasted so long.
const EXPLAIN_AFTER: Duration = Duration::from_secs(3);
/// A magnet that waits so long gets a hint of what could be wrong.
const HINT_AFTER: Duration = Duration::from_secs(20);

/// When to give up, and what to do after the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the whole download.
    pub timeout: Option<Duration>,
    /// Without a byte.
    pub stall: Option<Duration>,
    /// For the metadata of a magnet.
    pub metadata: Option<Duration>,
    /// After the download.
    pub finish: Finish,
}

/// Hosts of a result of a search, which have one file of the torrent.
pub(super) struct Sources {
    /// Who has it.
    pub hosts: Vec<Host>,
    /// What was found.
    pub found: Found,
}

/// How far a download has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nobody has sent the metadata.
    Metadata,
    /// Existing data is being looked at.
    Checking,
    /// Pieces arrive, or ought to.
    Fetching,
}

/// One download under watch.
pub(super) struct Watched<'e> {
    env: &'e Env,
    /// What to call it until its metadata is known.
    pub name: String,
    id: InfoHash,
    /// Peers that the user named, to explain waiting.
    pub given: Vec<SocketAddr>,
    /// Hosts beside peers, until it is known which file they have.
    pub sources: Option<Sources>,
    /// Of a result of a search: the files of the torrent that may be it, and the SHA-1 that one of them must have.
    proof: Option<(Vec<usize>, [u8; 20])>,
    patience: Patience,
    wishes: Wishes,
    meter: Meter<'e>,
    phase: Phase,
    clock: Clock,
    /// Bytes received so far, and when that last grew.
    arrived: (u64, Instant),
    /// Bytes sent so far, and when that last grew.
    given_away: (u64, Instant),
    /// Since when which reason to wait has been true.
    reason: (Option<&'static str>, Instant),
    explained: Option<&'static str>,
    hinted: bool,
    done_at: Option<Instant>,
}

impl<'e> Watched<'e> {
    pub(super) fn new(env: &'e Env, name: String, patience: Patience, wishes: Wishes) -> Self {
        let zero = Instant::ZERO;
        Self {
            env,
            name,
            id: InfoHash([0; 20]),
            given: Vec::new(),
            sources: None,
            proof: None,
            patience,
            wishes,
            meter: Meter::new(env, 0),
            phase: Phase::Metadata,
            clock: Clock::start(),
            arrived: (0, zero),
            given_away: (0, zero),
            reason: (None, zero),
            explained: None,
            hinted: false,
            done_at: None,
        }
    }

    /// The metadata is at hand from the start.
    pub(super) fn knows_metadata(&mut self) {
        self.phase = Phase::Checking;
    }

    /// Watches until the end, then stops the torrent: saved and signed off whatever the outcome.
    /// Gives the wishes back, with what they have begun.
    pub(super) async fn run(mut self, mut download: Download) -> (Result<Exit, Failure>, Wishes) {
        self.id = download.info_hash();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let end = loop {
            if let Err(failure) = self.add_sources(&download).await {
                break Err(failure);
            }
            let step = tokio::select! {
                biased;
                exit = self.env.signals.first() => break Ok(self.stopped_by(exit, &download.snapshot())),
                event = download.event() => match event {
                    Some(DownloadEvent::Complete { path }) => match self.prove(&download, &path).await {
                        Ok(None) => self.on_event(DownloadEvent::Complete { path }, &download),
                        ended => ended,
                    },
                    Some(event) => self.on_event(event, &download),
                    None => Err(Failure::new(Exit::Other, format!("{} ended by itself", self.name))),
                },
                _ = ticks.tick() => self.on_tick(&download.snapshot()),
            };
            match step {
                Ok(None) => {}
                Ok(Some(exit)) => break Ok(exit),
                Err(failure) => break Err(failure),
            }
        };
        self.meter.finish();
        download.stop().await;
        (end, self.wishes)
    }

    /// Names the hosts to the torrent, as soon as it is known which of its files they have. Fails if none can be the one
    /// that was searched for.
    async fn add_sources(&mut self, download: &Download) -> Result<(), Failure> {
        if self.sources.is_none() {
            return Ok(());
        }
        let Some(metainfo) = download.snapshot().metainfo else { return Ok(()) };
        let Some(Sources { hosts, found }) = self.sources.take() else { return Ok(()) };
        let files = files_like(&metainfo.info, &found);
        let (proofs, sha1) = (found.proofs(), found.sha1_in_torrent());
        if files.is_empty() && (sha1.is_some() || proofs.file.is_some()) {
            let size = found.size.map_or_else(String::new, |size| format!(" of {size} bytes"));
            return Err(self.another(&format!("its torrent has no such file{size}")));
        }
        if let Some(sha1) = sha1 {
            self.proof = Some((files.clone(), sha1));
        }
        let [file] = files[..] else {
            let name = &self.name;
            self.env.note(format_args!("{name}: which file its hosts have is not known"));
            return Ok(());
        };
        for host in hosts {
            if let Err(error) = download.add_source(host, file).await {
                tracing::info!(%error, "a host is not asked");
            }
        }
        Ok(())
    }

    /// Whether a torrent that came with a SHA-1 from a search has that very file. A torrent proves only itself: whoever
    /// found it could have tied it to any file.
    async fn prove(&self, download: &Download, path: &Path) -> Result<Option<Exit>, Failure> {
        let Some((files, want)) = &self.proof else { return Ok(None) };
        let snapshot = download.snapshot();
        let Some(metainfo) = &snapshot.metainfo else { return Ok(None) };
        let mut others = Vec::new();
        for entry in files.iter().filter_map(|&file| metainfo.info.files.get(file)) {
            let path = entry.path.iter().skip(1).fold(path.to_owned(), |at, name| at.join(name));
            let (len, hashed) = (entry.len, path.clone());
            let hashing = tokio::task::spawn_blocking(move || crate::fetch::hash(&hashed, len));
            let hashes = tokio::select! {
                hashed = hashing => hashed.map_err(|e| Failure::new(Exit::Other, e.to_string()))?,
                exit = self.env.signals.first() => return Ok(Some(self.stopped_by(exit, &snapshot))),
            };
            // What was not selected is not there.
            let Some(hashes) = hashes.map_err(|e| of_storage(&e))? else { return Ok(None) };
            if hashes.sha1 == *want {
                return Ok(None);
            }
            others.push(format!(
                "{} has the SHA-1 {}",
                path.display(),
                HEXLOWER.encode(&hashes.sha1)
            ));
        }
        let (others, want) = (others.join(", "), HEXLOWER.encode(want));
        Err(self.another(&format!("{others}, and its hosts said {want}")))
    }

    /// The torrent of a result of a search is that of something else.
    fn another(&self, why: &str) -> Failure {
        let what = format!("{} is not what was searched for: {why}", self.name);
        Failure::new(Exit::Mismatch, what)
            .hint("--no-torrent, with another -o or --overwrite, takes it from its hosts alone")
    }

    fn on_event(
        &mut self,
        event: DownloadEvent,
        download: &Download,
    ) -> Result<Option<Exit>, Failure> {
        let info_hash = self.id.to_string();
        match event {
            DownloadEvent::Banned { peer, reason } => {
                self.env.note(format_args!("{}: banned {peer}: {reason}", self.name));
                let event = Event::Banned { info_hash, peer: peer.to_string(), reason: &reason };
                emit(self.env, &event)?;
            }
            DownloadEvent::Checked { hashed_pieces, trusted_pieces, done } => {
                emit(self.env, &Event::Checked { info_hash, hashed_pieces, trusted_pieces, done })?;
                self.phase = Phase::Fetching;
                self.arrived.1 = self.clock.now(); // patience begins when fetching begins
            }
            DownloadEvent::Complete { path } => {
                let snapshot = download.snapshot();
                self.on_complete(&snapshot, &path)?;
                return self.on_tick(&snapshot);
            }
            DownloadEvent::Failed(error) => {
                let failure = of_engine(&error);
                return Err(Failure {
                    what: format!("{}: {}", self.name, failure.what),
                    ..failure
                });
            }
            DownloadEvent::MetadataKnown(metainfo) => {
                self.phase = Phase::Checking;
                self.name.clone_from(&metainfo.info.name);
                let bytes = metainfo.info.geometry.total();
                emit(self.env, &Event::Metadata { info_hash, name: &self.name, bytes })?;
                return self.wishes.metadata_known(self.env, &metainfo);
            }
            _ => {}
        }
        Ok(None)
    }

    fn on_complete(&mut self, snapshot: &Snapshot, path: &Path) -> Result<(), Failure> {
        let Some(metainfo) = snapshot.metainfo.clone() else { return Ok(()) };
        let status = &snapshot.status;
        let took = self.meter.elapsed();
        self.meter.download(&self.name, self.id, status, None); // the last line says 100 %
        self.env.note(format_args!("{}  {}", self.name, summary(snapshot, took)));
        emit(
            self.env,
            &Event::Complete {
                info_hash: Some(self.id.to_string()),
                name: &self.name,
                bytes: status.total,
                seconds: took.as_secs_f64(),
                path: &path.display().to_string(),
                downloaded: status.downloaded,
                uploaded: status.uploaded,
                wasted: status.wasted,
                from: by_source(snapshot),
            },
        )?;
        let now = self.clock.now();
        self.done_at = Some(now);
        self.given_away = (status.uploaded, now);
        self.wishes.complete(self.env, &metainfo, path)
    }

    fn on_tick(&mut self, snapshot: &Snapshot) -> Result<Option<Exit>, Failure> {
        let (now, status) = (self.clock.now(), &snapshot.status);
        if status.downloaded > self.arrived.0 {
            self.arrived = (status.downloaded, now);
        }
        if status.uploaded > self.given_away.0 {
            self.given_away = (status.uploaded, now);
        }
        if let Some(done_at) = self.done_at {
            self.meter.download(&self.name, self.id, status, Some("done, still sending"));
            return Ok(self.is_given_enough(snapshot, now, done_at).then_some(Exit::Done));
        }
        if self.phase == Phase::Checking {
            self.meter.checking(&self.name, snapshot);
            let late = self.too_late(snapshot, now);
            return late.map_or(Ok(None), Err);
        }
        let why = waiting::why(snapshot);
        if why != self.reason.0 {
            self.reason = (why, now);
        }
        let lasting = why.filter(|_| now.since(self.reason.1) >= EXPLAIN_AFTER);
        self.explain(snapshot, lasting, now);
        self.meter.download(&self.name, self.id, status, lasting);
        self.give_up(snapshot, now).map_or(Ok(None), Err)
    }

    /// Says why nothing arrives, once for each reason.
    fn explain(&mut self, snapshot: &Snapshot, lasting: Option<&'static str>, now: Instant) {
        let Some(reason) = lasting else {
            self.explained = None;
            return;
        };
        if self.explained != Some(reason) {
            self.explained = Some(reason);
            let sources = waiting::sources(snapshot, &self.given);
            let info_hash = self.id.to_string();
            let event = Event::Waiting { info_hash, reason, sources: &sources };
            _ = self.env.emit(&event); // a reader that left early is no reason to stop
            self.env.note(format_args!("{} waits: {reason}", self.name));
            sources.iter().for_each(|line| self.env.note(format_args!("  {line}")));
        }
        if self.phase == Phase::Metadata && !self.hinted && now.since(Instant::ZERO) >= HINT_AFTER {
            self.hinted = true;
            let hint = "is anybody seeding? add --peer HOST:PORT, or stop with Ctrl-C";
            self.env.note(format_args!("  {} {hint}", self.env.style.hint("hint:")));
        }
    }

    fn give_up(&self, snapshot: &Snapshot, now: Instant) -> Option<Failure> {
        if self.phase == Phase::Metadata
            && let Some(limit) = over(self.patience.metadata, now, Instant::ZERO)
        {
            let what = format!("no metadata after {limit} for {}", self.id);
            let hint = "is anybody seeding? add --peer HOST:PORT or raise --metadata-timeout";
            return Some(self.gave_up(Exit::NotFound, what, hint, snapshot));
        }
        if let Some(failure) = self.too_late(snapshot, now) {
            return Some(failure);
        }
        let stall = self.patience.stall.filter(|_| self.phase == Phase::Fetching);
        let limit = over(stall, now, self.arrived.1)?;
        let why = waiting::why(snapshot).unwrap_or("nothing moves");
        let what = format!("{}: nothing arrived for {limit}: {why}", self.name);
        let hint = "the same command resumes it; raise --stall-timeout to wait longer";
        Some(self.gave_up(Exit::Stalled, what, hint, snapshot))
    }

    /// The limit for the whole download.
    fn too_late(&self, snapshot: &Snapshot, now: Instant) -> Option<Failure> {
        let limit = over(self.patience.timeout, now, Instant::ZERO)?;
        let what = format!("{} is not done after {limit}", self.name);
        let hint = "the same command resumes it; raise --timeout to wait longer";
        Some(self.gave_up(Exit::Stalled, what, hint, snapshot))
    }

    fn gave_up(
        &self,
        exit: Exit,
        what: String,
        hint: &'static str,
        snapshot: &Snapshot,
    ) -> Failure {
        let details = waiting::sources(snapshot, &self.given);
        Failure { details, ..Failure::new(exit, what).hint(hint) }
    }

    /// Whether a finished download has served the others enough.
    fn is_given_enough(&self, snapshot: &Snapshot, now: Instant, done_at: Instant) -> bool {
        let status = &snapshot.status;
        let since_done = now.since(done_at);
        match self.patience.finish {
            Finish::Never => true,
            Finish::Forever => false,
            Finish::Time(time) => since_done >= time,
            Finish::Ratio(ratio) => status.uploaded as f64 >= ratio * status.total as f64,
            Finish::Linger => {
                let nobody = status.peers <= status.seeds;
                nobody || now.since(self.given_away.1) >= LINGER_QUIET || since_done >= LINGER_MAX
            }
        }
    }

    fn stopped_by(&self, signal: Exit, snapshot: &Snapshot) -> Exit {
        if self.done_at.is_some() {
            return Exit::Done;
        }
        let status = &snapshot.status;
        let at = match self.phase {
            Phase::Metadata => "before its metadata came".to_owned(),
            Phase::Checking => "while checking what is there".to_owned(),
            Phase::Fetching => format!("at {}", of_total(status.done, status.total)),
        };
        self.env.note(format_args!("{} stopped {at}; the same command resumes it", self.name));
        signal
    }
}

/// Which files of a torrent may be the one that was found: the one that most hosts have named, or all of its size.
fn files_like(info: &Info, found: &Found) -> Vec<usize> {
    let fits = |len: u64| found.size.is_none_or(|size| size == len);
    let all = (0..).zip(&info.files).filter(|(_, file)| !file.pad && fits(file.len));
    let named = found.proofs().file.map(|file| file as usize);
    all.map(|(nth, _)| nth).filter(|nth| named.is_none_or(|named| named == *nth)).collect()
}

/// The limit in words, if it has run out.
fn over(limit: Option<Duration>, now: Instant, since: Instant) -> Option<String> {
    let limit = limit.filter(|&limit| now.since(since) >= limit)?;
    Some(clock(limit.as_secs_f64().ceil() as u64))
}

/// `131.4 GiB in 2m31s (891 MiB/s), verified 8212/8212, ratio 0.57, wasted 0.01 %`.
fn summary(snapshot: &Snapshot, took: Duration) -> String {
    let status = &snapshot.status;
    let (good, pieces) = status.pieces;
    if status.downloaded == 0 {
        return format!("{} was there already, verified {good}/{pieces}", Size(status.total));
    }
    let rate = BytesPerSec(per_second(status.downloaded, took));
    let of = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let time = stopwatch(took);
    format!(
        "{} in {time} ({rate}), verified {good}/{pieces}, ratio {:.2}, wasted {:.2} %",
        Size(status.total),
        of(status.uploaded, status.total),
        of(status.wasted, status.downloaded) * 100.0,
    ) + &by_source(snapshot).map(|given| format!(", {given}")).unwrap_or_default()
}

/// Who gave what, if hosts of a search were asked.
fn by_source(snapshot: &Snapshot) -> Option<BySource> {
    let hosts = &snapshot.from;
    (!hosts.is_empty()).then(|| BySource::of(snapshot.from_peers(), hosts))
}

fn emit(env: &Env, event: &Event<'_>) -> Result<(), Failure> {
    env.emit(event).map_err(|error| Failure::of(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::metainfo::Metainfo;
    use gaggle_core::proto::gnutella::Guid;
    use gaggle_core::search::{Hashes, Hit, Reach};

    #[test]
    fn any_file_of_the_size_may_be_what_was_found_unless_one_is_named() {
        let files = "d6:lengthi5e4:pathl1:aeed6:lengthi7e4:pathl1:beed6:lengthi5e4:pathl1:cee";
        let pieces = "6:pieces20:aaaaaaaaaaaaaaaaaaaa";
        let raw = format!("d4:infod5:filesl{files}e4:name1:x12:piece lengthi16384e{pieces}ee");
        let info = Metainfo::parse(raw.as_bytes()).unwrap().info;
        let like = |size, file| {
            let hashes = Hashes { file, ..Hashes::default() };
            let reach = Reach::Gnutella {
                addr: "9.9.1.1:6346".parse().ok(),
                servent: Guid([1; 16]),
                index: 1,
                name: "a".to_owned(),
            };
            let hit = Hit {
                name: "a".to_owned(),
                size,
                hashes,
                reach,
                peer: None,
                speed: None,
                busy: false,
                seen_s: 0,
                ping: None,
            };
            let (name, sources) = (hit.name.clone(), vec![hit]);
            let found = Found { name, size, hashes, sources, voices: 1, spam: None };
            files_like(&info, &found)
        };
        assert_eq!(like(Some(5), None), [0, 2]);
        assert_eq!(like(Some(5), Some(2)), [2]);
        assert_eq!(like(Some(7), None), [1]);
        assert_eq!(like(None, None), [0, 1, 2]);
        for (size, file) in [(Some(6), None), (Some(5), Some(1)), (None, Some(3))] {
            assert!(like(size, file).is_empty(), "{size:?} {file:?}");
        }
    }
}
