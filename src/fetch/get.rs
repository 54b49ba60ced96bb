//! The download of a file that no torrent describes, from all hosts that a search has found.
//!
//! Whom to ask for what, and what follows from a wrong hash, is decided in [`gaggle_core::swarm::whole`]. Never leaves a
//! file under its name that is not whole, or not what its hash says.

use super::file::{self, RECORD_EVERY, Unfinished};
use super::{Fetched, Fetches, Host, Kind, Reach};
use crate::disk::StorageError;
use crate::net::{Buffers, Clock, Dialer, os_rng};
use gaggle_core::clock::Instant;
use gaggle_core::geometry::GeometryError;
use gaggle_core::proto::fasttrack::UuHash;
use gaggle_core::share::Hashes;
use gaggle_core::storage::Verdict;
use gaggle_core::swarm::source::{SourceFault, SourceKey};
use gaggle_core::swarm::torrent::Fate;
use gaggle_core::swarm::whole::{Whole, WholeConfig, WholeEvent};
use gaggle_core::units::BytesPerSec;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(200);
/// What mldonkey 3.2.1 writes where the samples of a UUHash belong, whatever the file.
const UU_UNSAMPLED: [u8; 4] = [0xff, 0x4f, 0xfb, 0xff];

/// What is known of a file's content before it is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// SHA-1 of all of it.
    pub sha1: Option<[u8; 20]>,
    /// FastTrack's hash, of its beginning and of samples.
    pub uu: Option<UuHash>,
    /// What may be the MD5 of its first [`gaggle_core::proto::napster::CLASSIC_HASH_BYTES`]: some clients hash other
    /// bytes, so another one proves nothing.
    pub md5: Option<[u8; 16]>,
}

/// How much of a file is proven to be what it was said to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// Nothing.
    None,
    /// Its beginning, and perhaps samples of the rest.
    Part,
    /// All of it.
    Whole,
}

/// What to get, from whom, and where to put it.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the file is to be called; made safe.
    pub name: String,
    /// Its bytes.
    pub len: u64,
    /// What its content is compared with: the strongest counts.
    pub known: Known,
    /// Hosts that have it. If nothing is known that can be checked, all of it comes from one of them.
    pub hosts: Vec<Host>,
    /// Where it goes.
    pub dir: PathBuf,
    /// Whether a file of that name may be replaced.
    pub overwrite: bool,
    /// Most bytes per second to fetch.
    pub down: Option<BytesPerSec>,
}

/// How a download stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Bytes that are there. Falls when they are found to be wrong.
    pub done: u64,
    /// Bytes received, by kind of source.
    pub from: BTreeMap<Kind, u64>,
    /// Bytes received per second now.
    pub down: BytesPerSec,
    /// Hosts that are asked now.
    pub asked: usize,
    /// Whether the file is being hashed.
    pub checking: bool,
}

/// A file that is there.
#[derive(Clone, Debug)]
pub struct Got {
    /// Where.
    pub path: PathBuf,
    /// What it is worth. The caller says so.
    pub proof: Proof,
    /// What names its content.
    pub hashes: Hashes,
    /// Bytes received, by kind of source; nothing if it was there already.
    pub from: BTreeMap<Kind, u64>,
    /// Hosts that sent something else.
    pub liars: Vec<String>,
}

/// Why there is no file.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// Nobody is left to ask. Says of each host why it is not.
    #[error("no host is left to ask{}", listed(.0))]
    NobodyLeft(Vec<(String, String)>),
    /// It is too large.
    #[error("no file can have that size: {0}")]
    Size(#[from] GeometryError),
    /// The disk, or a file in the way.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The system refused.
    #[error("the system refused: {0}")]
    System(String),
}

fn listed(hosts: &[(String, String)]) -> String {
    let each = hosts.iter().map(|(host, why)| format!("\n  {host}  {why}"));
    each.collect()
}

impl Known {
    /// Whether a wrong content can be told.
    pub const fn is_proof(&self) -> bool {
        self.sha1.is_some() || self.uu.is_some()
    }

    /// What a content with these hashes is worth; `None` if it is not the right one.
    pub fn judge(&self, hashes: &Hashes) -> Option<Proof> {
        if let Some(sha1) = self.sha1 {
            return (sha1 == hashes.sha1).then_some(Proof::Whole);
        }
        if let Some(uu) = self.uu {
            let unsampled = uu.0[16..] == UU_UNSAMPLED && uu.may_be(&hashes.uu);
            return (uu == hashes.uu || unsampled).then_some(Proof::Part);
        }
        let may_be = self.md5.is_some_and(|md5| md5 == hashes.md5);
        Some(if may_be { Proof::Part } else { Proof::None })
    }
}

/// Gets a file. When it fails or is dropped, what has come of a file that can be checked is kept beside where it goes, and
/// the next call goes on from there; of any other file nothing is left behind.
///
/// # Errors
/// [`GetError`]; there is no file then.
pub async fn get(
    order: Order,
    dialer: Dialer,
    clock: Clock,
    progress: watch::Sender<Progress>,
) -> Result<Got, GetError> {
    let mut rng = os_rng().map_err(|error| GetError::System(error.to_string()))?;
    let target = file::target(&order.dir, &order.name);
    let known = order.known;
    // What is there already is not fetched again.
    if known.is_proof() {
        let (path, len) = (target.clone(), order.len);
        if let Some(hashes) = blocking(move || file::hash(&path, len)).await?
            && let Some(proof) = known.judge(&hashes)
        {
            let (from, liars) = (BTreeMap::new(), Vec::new());
            return Ok(Got { path: target, proof, hashes, from, liars });
        }
    }
    let (len, overwrite, mut file_rng) = (order.len, order.overwrite, rng.fork());
    let open = move || Unfinished::open(target, len, &known, overwrite, &mut file_rng);
    if len == 0 {
        let file = Arc::new(blocking(open).await?);
        let hashes = {
            let file = Arc::clone(&file);
            blocking(move || file.hash()).await?
        };
        let checked = hashes.and_then(|hashes| Some((hashes, known.judge(&hashes)?)));
        let checked = checked.ok_or(GetError::NobodyLeft(Vec::new()))?;
        return place(file, checked, BTreeMap::new(), Vec::new()).await;
    }
    let config = WholeConfig { len, checked: known.is_proof(), down: order.down };
    let mut whole = Whole::new(clock.now(), config, rng)?;
    let file = Arc::new(blocking(open).await?);
    let (resumed, parts) = (Arc::clone(&file), whole.geometry().pieces());
    if let Some(have) = blocking(move || Ok(resumed.found(parts))).await? {
        whole.resume(&have);
    }
    let mut job = Job {
        whole,
        fetches: Fetches::new(dialer, Buffers::default(), clock),
        names: BTreeMap::new(),
        over: Vec::new(),
        file,
        recorded_at: clock.now(),
        recording: None,
        known,
        clock,
        progress,
        told: None,
        checked: None,
    };
    for host in order.hosts {
        job.add(host);
    }
    job.run().await
}

struct Job {
    whole: Whole,
    fetches: Fetches,
    names: BTreeMap<SourceKey, String>,
    /// Who is not asked any more, and why.
    over: Vec<(String, String)>,
    file: Arc<Unfinished>,
    /// When it was last written down what is there.
    recorded_at: Instant,
    recording: Option<tokio::task::JoinHandle<()>>,
    known: Known,
    clock: Clock,
    progress: watch::Sender<Progress>,
    told: Option<Instant>,
    /// What the file is worth, if it was found good.
    checked: Option<(Hashes, Proof)>,
}

impl Job {
    fn add(&mut self, host: Host) {
        let name = match &host.reach {
            Reach::Dial(addr) => addr.to_string(),
            Reach::Push(_) => format!("a host of {} behind a firewall", host.kind.name()),
        };
        let spec = Fetches::spec(&host, 0..0);
        match self.whole.add_source(self.clock.now(), &spec) {
            Ok(key) => {
                self.names.insert(key, name);
                self.fetches.add(key, host);
            }
            Err(refusal) => self.over.push((name, refusal.to_string())),
        }
    }

    async fn run(mut self) -> Result<Got, GetError> {
        if self.names.is_empty() {
            return Err(GetError::NobodyLeft(self.over));
        }
        let mut liars = Vec::new();
        loop {
            let geometry = *self.whole.geometry();
            while let Some(op) = self.whole.poll_source() {
                self.fetches.carry_out(op, geometry);
            }
            match self.whole.poll_event() {
                Some(WholeEvent::Check) => self.check().await?,
                Some(WholeEvent::Done) => {
                    self.tell(false);
                    let from = self.fetches.got().clone();
                    let checked = self.checked.ok_or(GetError::NobodyLeft(self.over))?;
                    if checked.1 != Proof::None {
                        let given = self.whole.given();
                        given.iter().for_each(|(&host, &bytes)| self.fetches.credit(host, bytes));
                    }
                    return place(self.file, checked, from, liars).await;
                }
                Some(WholeEvent::Failed) => return Err(GetError::NobodyLeft(self.over)),
                Some(WholeEvent::SourceGone { source, fault }) => {
                    self.fetches.remove(source, &fault);
                    let name = self.names.get(&source).cloned().unwrap_or_default();
                    if fault == SourceFault::BadPiece {
                        liars.push(name.clone());
                    }
                    self.over.push((name, fault.to_string()));
                }
                Some(_) => {}
                None => self.wait().await?,
            }
        }
    }

    /// Until something happens.
    async fn wait(&mut self) -> Result<(), GetError> {
        if self.told.is_none_or(|at| self.clock.now().since(at) >= PROGRESS) {
            self.tell(false);
        }
        tokio::select! {
            biased; // what came while the disk was slow is no silence
            fetched = self.fetches.next() => self.on_fetched(fetched).await,
            () = self.clock.sleep_until(self.whole.poll_timeout()) => {
                self.whole.handle_timeout(self.clock.now());
                Ok(())
            }
        }
    }

    async fn on_fetched(&mut self, fetched: Fetched) -> Result<(), GetError> {
        let Fetched { fetch, kind, blocks, end } = fetched;
        let before = (self.whole.downloaded(), self.whole.have().count());
        let now = self.clock.now();
        let geometry = *self.whole.geometry();
        let mut parts = Vec::with_capacity(blocks.len());
        for (block, bytes) in blocks {
            if let Fate::Keep(block) = self.whole.handle_source_block(now, fetch, block) {
                parts.push((geometry.offset_of(block.piece) + u64::from(block.begin), bytes));
            }
        }
        self.fetches.count(kind, self.whole.downloaded() - before.0);
        if let Some(end) = end {
            self.whole.handle_fetch_end(now, fetch, end);
        }
        if parts.is_empty() {
            return Ok(());
        }
        let have = (self.whole.have().count() != before.1).then(|| self.whole.have().clone());
        let file = Arc::clone(&self.file);
        blocking(move || {
            file.write(&parts)?;
            if have.is_some() {
                file.keep(have);
            }
            Ok(())
        })
        .await?;
        self.record(now);
        Ok(())
    }

    /// Has it written down, now and then, what is there. Nothing waits for that, for the disk may take long; and without
    /// it only less can be resumed.
    fn record(&mut self, now: Instant) {
        let running = self.recording.as_ref().is_some_and(|task| !task.is_finished());
        if running || now.since(self.recorded_at) < RECORD_EVERY {
            return;
        }
        self.recorded_at = now;
        let file = Arc::clone(&self.file);
        self.recording = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = file.record() {
                tracing::warn!(%error, "what is there of a file is not written down");
            }
        }));
    }

    async fn check(&mut self) -> Result<(), GetError> {
        self.tell(true);
        if let Some(recording) = self.recording.take() {
            let _ = recording.await;
        }
        let file = Arc::clone(&self.file);
        let hashes = blocking(move || file.hash()).await?;
        self.checked = hashes.and_then(|hashes| Some((hashes, self.known.judge(&hashes)?)));
        let verdict = if self.checked.is_some() { Verdict::Good } else { Verdict::Bad };
        self.whole.handle_checked(self.clock.now(), verdict);
        // If it was wrong, and nobody is left who could give another, nothing of it is worth keeping.
        let have = self.whole.have();
        let worth = verdict == Verdict::Good || have.count() < have.len();
        self.file.keep(worth.then(|| have.clone()));
        Ok(())
    }

    fn tell(&mut self, checking: bool) {
        let now = self.clock.now();
        let status = self.whole.status(now);
        self.told = Some(now);
        self.progress.send_replace(Progress {
            done: status.done,
            from: self.fetches.got().clone(),
            down: status.down,
            asked: status.sources.iter().filter(|source| source.fetches > 0).count(),
            checking,
        });
    }
}

/// Puts a file that was found good in its place.
async fn place(
    file: Arc<Unfinished>,
    (hashes, proof): (Hashes, Proof),
    from: BTreeMap<Kind, u64>,
    liars: Vec<String>,
) -> Result<Got, GetError> {
    let path = blocking(move || file.place()).await?;
    Ok(Got { path, proof, hashes, from, liars })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, GetError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| GetError::System(error.to_string()))??)
}
