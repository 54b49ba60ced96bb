//! What is kept between runs: `fasttrack.nodes`, the supernodes that are known; `fasttrack.own`, our name and what we
//! are worth; `fasttrack.scores`, what others are worth, which a supernode keeps for them.
//!
//! Each is replaced as a whole. Never shared by two processes at a time: the second reads and leaves it alone.

use crate::disk::{StorageError, replace};
use gaggle_core::overlay::fasttrack::{Cache, Identity, SCORE_MAX, SCORE_START};
use gaggle_core::proto::fasttrack::clean_name;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NODES: &str = "fasttrack.nodes";
const OWN: &str = "fasttrack.own";
const SCORES: &str = "fasttrack.scores";
/// A longer file is none of ours.
const LEN_MAX: u64 = 4 << 20;

/// The folder, while it is ours to write to.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    dir: PathBuf,
    _lock: Arc<File>,
}

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) cache: Cache,
    pub(super) own: Own,
    pub(super) scores: Vec<(Identity, u16)>,
}

/// What is known of ourselves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Own {
    /// Empty if we have none yet.
    pub(super) user: String,
    pub(super) score: u16,
}

impl Default for Own {
    fn default() -> Self {
        Self { user: String::new(), score: SCORE_START }
    }
}

impl Saved {
    /// Reads what is there; `epoch` as for [`Cache::new`]. The first is `None` if another process writes there.
    pub(super) fn open(dir: &Path, epoch: u64) -> (Option<Self>, Kept) {
        let cache = Cache::parse(epoch, &read(&dir.join(NODES)));
        let scores = read(&dir.join(SCORES)).lines().filter_map(parse_score).collect();
        let kept = Kept { cache, own: Own::parse(&read(&dir.join(OWN))), scores };
        let lock = || {
            std::fs::create_dir_all(dir)?;
            let lock = dir.join("fasttrack.lock");
            let lock = File::options().create(true).truncate(false).write(true).open(lock)?;
            lock.try_lock()?;
            Ok::<_, std::io::Error>(lock)
        };
        match lock() {
            Ok(lock) => (Some(Self { dir: dir.to_owned(), _lock: Arc::new(lock) }), kept),
            Err(error) => {
                tracing::warn!(%error, "nothing is kept in {}", dir.display());
                // Two of one name would be one in the eyes of others.
                (None, Kept { own: Own::default(), ..kept })
            }
        }
    }

    /// Replaces the files; without supernodes the old ones are better. Blocks while the disk works.
    pub(super) fn write(&self, kept: &Kept) -> Result<(), StorageError> {
        if !kept.cache.is_empty() {
            replace(&self.dir.join(NODES), kept.cache.to_text().as_bytes())?;
        }
        if !kept.scores.is_empty() {
            let mut text = String::new();
            for (Identity { user, ip }, score) in &kept.scores {
                let _ = writeln!(text, "{ip} {score} {user}");
            }
            replace(&self.dir.join(SCORES), text.as_bytes())?;
        }
        let Own { user, score } = &kept.own;
        replace(&self.dir.join(OWN), format!("user {user}\nscore {score}\n").as_bytes())
    }
}

impl Own {
    fn parse(text: &str) -> Self {
        let mut own = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("user", user)) => own.user = clean_name(user.as_bytes()),
                Some(("score", score)) => {
                    own.score = score.parse().unwrap_or(SCORE_START).min(SCORE_MAX);
                }
                _ => {}
            }
        }
        own
    }
}

fn parse_score(line: &str) -> Option<(Identity, u16)> {
    let mut words = line.splitn(3, ' ');
    let (ip, score) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((Identity { user: clean_name(words.next()?.as_bytes()), ip }, score))
}

/// A file as text; nothing of one that is not there, or is not ours.
fn read(path: &Path) -> String {
    let mut raw = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LEN_MAX + 1).read_to_end(&mut raw));
    match read {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot read {}; it is made anew", path.display());
            String::new()
        }
        _ if raw.len() as u64 > LEN_MAX => String::new(),
        _ => String::from_utf8_lossy(&raw).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        let mut cache = Cache::new(0);
        cache.add("9.9.9.9:1214".parse().unwrap());
        let who = Identity { user: "bob of old".into(), ip: [8, 8, 8, 8].into() };
        Kept { cache, own: Own { user: "ann".into(), score: 217 }, scores: vec![(who, 30)] }
    }

    #[test]
    fn what_is_written_is_read_again_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (saved, before) = Saved::open(&state, 0);
        assert_eq!(before, Kept::default());
        let saved = saved.unwrap();
        saved.write(&kept()).unwrap();
        assert_eq!(
            std::fs::read_to_string(state.join(NODES)).unwrap(),
            "9.9.9.9 1214 1 0 0\n",
            "as giFT writes it"
        );
        let (second, seen) = Saved::open(&state, 0);
        assert!(second.is_none(), "the first still runs");
        assert_eq!(seen, Kept { own: Own::default(), ..kept() });
        saved.write(&Kept { cache: Cache::new(0), ..kept() }).unwrap();
        drop(saved);
        let (saved, seen) = Saved::open(&state, 0);
        assert!(saved.is_some());
        assert_eq!(seen, kept(), "nobody answered: the old ones are kept");
    }

    #[test]
    fn rubbish_is_no_reason_to_fail() {
        let dir = tempfile::tempdir().unwrap();
        for name in [NODES, OWN, SCORES] {
            std::fs::write(dir.path().join(name), b"\xff\n\n1\n user\nscore 70000\nuser \n9 9")
                .unwrap();
        }
        assert_eq!(Saved::open(dir.path(), 0).1, Kept::default());
        std::fs::write(dir.path().join(OWN), "score 5000\nuser a\tb\n").unwrap();
        let own = Saved::open(dir.path(), 0).1.own;
        assert_eq!(own, Own { user: "ab".into(), score: SCORE_MAX });
    }
}
