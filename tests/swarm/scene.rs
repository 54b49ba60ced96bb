//! One torrent with its content, and the processes that move it.

use gaggle_core::metainfo::Metainfo;
use harness::gaggle::{Gaggle, Part, event, seeding};
use harness::{Deadline, Process, content};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nothing that starts takes longer.
const START_S: u64 = 20;
/// What a process may hold at most while strangers do their worst.
pub(crate) const PEAK_MAX: u64 = 64 << 20;
/// Written as gaggle's flags take it: any free port.
const LISTEN: &str = "127.0.0.1:0";

/// A torrent in a folder of its own, removed at the end.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    gaggle: Gaggle,
    pub(crate) torrent: PathBuf,
    pub(crate) metainfo: Arc<Metainfo>,
    digest: String,
}

/// How a leech ended that has everything.
pub(crate) struct Finished {
    pub(crate) events: Vec<Value>,
    /// Most memory that it held, as far as it was seen.
    pub(crate) peak: u64,
}

impl Scene {
    /// Content that does not compress, and its torrent.
    pub(crate) fn new(len: u64, piece_len: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("here/file");
        content::write(&path, len, 7).unwrap();
        let torrent = dir.path().join("file.torrent");
        let gaggle = Gaggle::new(env!("CARGO_BIN_EXE_gaggle"));
        gaggle.create(&path, &torrent, &["--piece-length", piece_len]).unwrap();
        let metainfo = Arc::new(Metainfo::parse(&fs::read(&torrent).unwrap()).unwrap());
        let digest = content::digest(&path).unwrap();
        Self { dir, gaggle, torrent, metainfo, digest }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The whole content, for peers that tell half of the truth.
    pub(crate) fn content(&self) -> Vec<u8> {
        fs::read(self.path("here/file")).unwrap()
    }

    pub(crate) fn pieces(&self) -> u32 {
        self.metainfo.info.geometry.pieces()
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path(name).join("state")
    }

    /// A seed of the content and where it listens.
    pub(crate) fn seed(&self, flags: &[&str]) -> (Process, SocketAddr) {
        let mut part = self.part("seed", &self.torrent, flags);
        part.dir = self.path("here");
        let mut seed = self.gaggle.seed("seed", &part, &self.path("seed")).unwrap();
        let said = seeding(&mut seed, Deadline::after_secs(START_S)).unwrap();
        (seed, said["listen"].as_str().unwrap().parse().unwrap())
    }

    /// A download of `target` from these peers, into a folder of its own name.
    pub(crate) fn get(&self, name: &str, target: &Path, peers: &[SocketAddr]) -> Process {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let mut flags = vec!["--seed", "never"];
        flags.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        let part = self.part(name, target, &flags);
        self.gaggle.get(name, &part, &self.path(name)).unwrap()
    }

    /// A download of the torrent.
    pub(crate) fn leech(&self, name: &str, peers: &[SocketAddr]) -> Process {
        self.get(name, &self.torrent, peers)
    }

    /// Waits for a leech to end with everything, and looks at what it leaves.
    #[track_caller]
    pub(crate) fn finish(&self, name: &str, mut leech: Process, seconds: u64) -> Finished {
        let deadline = Deadline::after_secs(seconds);
        let mut peak = 0;
        let ended = deadline.poll(|| {
            peak = peak.max(leech.peak_bytes().unwrap_or(0));
            leech.try_wait()
        });
        let tail = || leech.tail();
        let status = ended.unwrap().unwrap_or_else(|| panic!("{name} does not end\n{}", tail()));
        assert!(status.success(), "{name}: {status}\n{}", tail());
        assert_eq!(self.digest_of(name), self.digest, "{name} has other bytes\n{}", tail());
        self.is_calm(name);
        let events = Deadline::after_secs(5).poll(|| {
            let events = objects(&leech);
            Ok(events.last().is_some_and(|last| last["type"] == "exit").then_some(events))
        });
        Finished { events: events.unwrap().expect("the last line is the exit"), peak }
    }

    /// The digest of what a leech has written.
    fn digest_of(&self, name: &str) -> String {
        content::digest(&self.path(name).join("out/file")).unwrap()
    }

    /// Nothing in a process's stderr speaks of a panic.
    #[track_caller]
    pub(crate) fn is_calm(&self, name: &str) {
        let path = self.path(name).join(format!("{name}.err"));
        let errors = fs::read_to_string(&path).unwrap();
        assert!(!errors.contains("panicked") && !errors.contains("RUST_BACKTRACE"), "{errors}");
    }

    fn part(&self, name: &str, target: &Path, flags: &[&str]) -> Part {
        Part {
            torrent: target.to_owned(),
            dir: self.path(name).join("out"),
            listen: LISTEN.parse().unwrap(),
            state: self.state(name),
            flags: flags.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Finished {
    /// The addresses that were banned, in order.
    pub(crate) fn banned(&self) -> Vec<SocketAddr> {
        let banned = self.events.iter().filter(|event| event["type"] == "banned");
        banned
            .map(|event| {
                assert!(event["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
                event["peer"].as_str().unwrap().parse().unwrap()
            })
            .collect()
    }
}

/// Every object that a process has printed.
fn objects(process: &Process) -> Vec<Value> {
    let said = process.said();
    said.iter().filter_map(|said| serde_json::from_str(&said.text).ok()).collect()
}

/// Waits for an object of this type.
#[track_caller]
pub(crate) fn wait_for(process: &mut Process, kind: &str) -> Value {
    process.wait_line(Deadline::after_secs(START_S), |said| event(said, kind)).unwrap()
}
