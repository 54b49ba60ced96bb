//! One transfer from beginning to end: torrent, tracker, seed, leech, proof.

use crate::case::{Creator, Layout, Tracker};
use crate::clients::{Make, Part, Role, Ways};
use crate::creators::Order;
use crate::torrent::info_hash;
use anyhow::{Context, ensure};
use harness::{Deadline, Stopwatch, clients_required, content, installed, namespace};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seconds from the start of a leech to its last piece. Transmission unchokes every 10 s and needs a few rounds.
const COMPLETE_S: u64 = 90;
/// Small pieces, so that a few megabytes are many of them.
const PIECE_LEN: u64 = 64 << 10;
/// Every client listens here, each on its own address.
const PEER_PORT: u16 = 6881;
/// Where trackers listen.
pub(crate) const TRACKER_PORT: u16 = 6969;
/// Transfers that run at once in one test; they mostly wait for each other's timers.
const AT_ONCE: usize = 4;

/// Who does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) seed: Make,
    pub(crate) leech: Make,
    pub(crate) layout: Layout,
    pub(crate) creator: Creator,
    pub(crate) tracker: Tracker,
    pub(crate) announce: Announce,
}

/// How the peers reach their tracker, and so each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Announce {
    Http,
    Udp,
    HttpOverIpv6,
}

impl Announce {
    fn host(self, number: u8) -> IpAddr {
        match self {
            Self::Http | Self::Udp => namespace::host(number),
            Self::HttpOverIpv6 => namespace::host_v6(number),
        }
    }

    fn url(self, tracker: SocketAddr) -> String {
        match self {
            Self::Http | Self::HttpOverIpv6 => format!("http://{tracker}/announce"),
            Self::Udp => format!("udp://{tracker}/announce"),
        }
    }
}

impl Scene {
    /// The first program that is not installed here.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let programs = [
            self.seed.program(),
            self.leech.program(),
            self.creator.program(),
            self.tracker.program(),
        ];
        programs.into_iter().find(|program| !program.starts_with('/') && !installed(program))
    }

    /// Plays it in this namespace.
    pub(crate) fn play(&self) -> anyhow::Result<()> {
        let scratch = tempfile::Builder::new().prefix("gaggle-interop-").tempdir()?;
        let work = scratch.path();
        let original = lay_out(self.layout, &work.join("original"))?;
        let tracker_at = SocketAddr::new(self.announce.host(1), TRACKER_PORT);
        let torrent = work.join("content.torrent");
        self.creator
            .create(&Order {
                content: &original,
                torrent: &torrent,
                piece_len: PIECE_LEN,
                tracker: &self.announce.url(tracker_at),
                private: false,
            })
            .context("create")?;
        let hash = info_hash(&fs::read(&torrent)?).context("the creator made no torrent")?;
        let mut tracker = self.tracker.start(tracker_at, &hash, work).context("tracker")?;

        let part = |role, host, dir: &str, name: &str| Part {
            role,
            torrent: torrent.clone(),
            dir: work.join(dir),
            listen: SocketAddr::new(self.announce.host(host), PEER_PORT),
            work: work.join(name),
            ways: Ways::default(),
        };
        let mut seed = self.seed.start(&part(Role::Seed, 2, "original", "seed")).context("seed")?;
        Deadline::after_secs(COMPLETE_S)
            .poll(|| Ok(seed.has_all()?.then_some(())))
            .context("seed")?
            .with_context(|| format!("the seed never has all\n{}", seed.process().tail()))?;
        tracker.wait_seed(&hash).with_context(|| seed.process().tail())?;

        let mut leech =
            self.leech.start(&part(Role::Leech, 3, "copy", "leech")).context("leech")?;
        let complete = Deadline::after_secs(COMPLETE_S)
            .poll(|| Ok(leech.has_all()?.then_some(())))
            .with_context(|| format!("leech; the seed said\n{}", seed.process().tail()))?;
        complete.with_context(|| {
            let (seed, leech) = (seed.process().tail(), leech.process().tail());
            format!("not complete after {COMPLETE_S} s\n{leech}\nseed:\n{seed}")
        })?;
        let name = original.file_name().context("content has a name")?;
        same_content(&original, &work.join("copy").join(name))
    }
}

/// Puts the content of a layout below `folder` and returns the file or folder to make a torrent of.
fn lay_out(layout: Layout, folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let root = match layout {
        Layout::Single => {
            let file = folder.join("solo.bin");
            content::write(&file, (4 << 20) + 12_345, 1)?;
            file
        }
        Layout::Multi => {
            let root = folder.join("many");
            // Sizes around the piece length, a piece that covers several files, and folders in folders.
            let files = [
                ("a/large.bin", 3 << 20),
                ("a/b/exact.bin", PIECE_LEN),
                ("a/b/one.bin", 1),
                ("a/b/two.bin", 2),
                ("c/odd.bin", 777_777),
                ("readme.txt", 1_000),
                ("z.bin", PIECE_LEN + 1),
            ];
            for ((name, len), seed) in files.into_iter().zip(1..) {
                content::write(&root.join(name), len, seed)?;
            }
            root
        }
    };
    Ok(root)
}

fn same_content(original: &Path, copy: &Path) -> anyhow::Result<()> {
    let want = content::digests(original)?;
    let got = content::digests(copy).with_context(|| copy.display().to_string())?;
    for (name, digest) in &want {
        ensure!(got.get(name) == Some(digest), "{name:?} differs in the copy");
    }
    Ok(())
}

/// Set for a scene that is played in its namespace: its name.
const SCENE: &str = "GAGGLE_INTEROP_SCENE";

/// Plays named scenes, each in a namespace of its own, several at once; `test` is the running test's full name.
///
/// Returns how many were played; the others lack a client.
pub(crate) fn play_all(test: &str, scenes: &[(String, Scene)]) -> usize {
    if let Ok(wanted) = std::env::var(SCENE) {
        let (_, scene) =
            scenes.iter().find(|(name, _)| *name == wanted).expect("a scene of this test");
        scene.play().unwrap_or_else(|error| panic!("{wanted}: {error:?}"));
        return 1;
    }
    let (next, played) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(scenes.len()) {
            scope.spawn(|| {
                while let Some((name, scene)) = scenes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match play_apart(test, name, scene) {
                        Ok(true) => drop(played.fetch_add(1, Ordering::Relaxed)),
                        Ok(false) => {}
                        Err(error) => failures.lock().expect("no panic above").push(error),
                    }
                }
            });
        }
    });
    let failures: Vec<_> = failures.into_inner().expect("no panic above");
    let texts: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
    assert!(
        texts.is_empty(),
        "{} of {} failed:\n{}",
        texts.len(),
        scenes.len(),
        texts.join("\n\n")
    );
    played.into_inner()
}

/// Whether the scene was played; `Ok(false)`: a client is missing, and nobody insists.
fn play_apart(test: &str, name: &str, scene: &Scene) -> anyhow::Result<bool> {
    if let Some(program) = scene.missing() {
        ensure!(!clients_required(), "{name}: {program} is not installed");
        eprintln!("SKIPPED {name}: {program} is not installed");
        return Ok(false);
    }
    let watch = Stopwatch::new();
    let Output { status, stdout, stderr } =
        namespace::this_test_again(test)?.env(SCENE, name).output().context("unshare")?;
    ensure!(
        status.success(),
        "{name}\n{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    println!("{:>5.1} s  {name}", watch.seconds());
    Ok(true)
}
