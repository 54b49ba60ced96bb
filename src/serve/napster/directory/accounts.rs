//! Names that have a password, kept between runs: salted hashes, and when their users were last here.

use super::super::Error;
use crate::disk::replace;
use data_encoding::HEXLOWER;
use gaggle_core::overlay::napster::Account;
use gaggle_core::proto::napster::Nick;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// The first line of the file.
const HEAD: &str = "gaggle: names of a Napster directory, 1";
/// A longer file is none of ours: ten thousand names need a quarter of it.
const LEN_MAX: u64 = 8 << 20;

/// The accounts of one directory, and the right to write them.
pub(super) struct Accounts {
    path: PathBuf,
    all: BTreeMap<String, (Nick, Account)>,
    /// Held as long as we run. Without it another directory has the file, and this one keeps nothing.
    lock: Option<File>,
}

impl Accounts {
    pub(super) fn open(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join("napster.accounts");
        let failed =
            |error: std::io::Error| Error::Accounts(path.display().to_string(), error.kind());
        std::fs::create_dir_all(state_dir).map_err(failed)?;
        let lock = path.with_extension("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(lock);
        let lock = lock.map_err(failed)?;
        let lock = lock.try_lock().is_ok().then_some(lock);
        if lock.is_none() {
            let path = path.display();
            tracing::warn!(%path, "another directory keeps its names there: this one keeps none");
        }
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(LEN_MAX).read_to_string(&mut text));
        match read {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let all = parse(&text);
        Ok(Self { path, all, lock })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Nick, Account)> {
        self.all.values().cloned()
    }

    pub(super) fn set(&mut self, nick: Nick, account: Account) {
        self.all.insert(nick.key(), (nick, account));
    }

    /// What writes them down, on a thread that may block.
    pub(super) fn saver(&self) -> Option<impl FnOnce() + Send + use<>> {
        self.lock.as_ref()?;
        let (path, text) = (self.path.clone(), encode(self.all.values()));
        Some(move || {
            if let Err(error) = replace(&path, text.as_bytes()) {
                tracing::warn!(%error, "names and passwords are not kept");
            }
        })
    }
}

fn encode<'a>(all: impl Iterator<Item = &'a (Nick, Account)>) -> String {
    let mut text = format!("{HEAD}\n");
    for (nick, Account { salt, hash, last_seen_s }) in all {
        let (salt, hash) = (HEXLOWER.encode(salt), HEXLOWER.encode(hash));
        text.push_str(&format!("{nick} {salt} {hash} {last_seen_s}\n"));
    }
    text
}

fn parse(text: &str) -> BTreeMap<String, (Nick, Account)> {
    let mut lines = text.lines();
    if lines.next().is_some_and(|head| head != HEAD) {
        tracing::warn!("the file of names is of another kind, and not read");
        return BTreeMap::new();
    }
    let read = lines.filter_map(|line| {
        let account = parse_line(line);
        if account.is_none() {
            tracing::warn!("a line in the file of names cannot be read");
        }
        account
    });
    read.map(|(nick, account)| (nick.key(), (nick, account))).collect()
}

fn parse_line(line: &str) -> Option<(Nick, Account)> {
    let mut fields = line.split(' ');
    let nick = Nick::new(fields.next()?.as_bytes())?;
    let salt = HEXLOWER.decode(fields.next()?.as_bytes()).ok()?.try_into().ok()?;
    let hash = HEXLOWER.decode(fields.next()?.as_bytes()).ok()?.try_into().ok()?;
    let last_seen_s = fields.next()?.parse().ok()?;
    Some((nick, Account { salt, hash, last_seen_s }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_and_what_is_strange_is_not() {
        let account = |n| Account { salt: [n; 8], hash: [n; 32], last_seen_s: n.into() };
        let all = [("Bob", 1), ("eve", 255)]
            .map(|(name, n)| (Nick::new(name.as_bytes()).unwrap(), account(n)));
        let text = encode(all.iter());
        let read: Vec<_> = parse(&text).into_values().collect();
        assert_eq!(read, all);
        for bad in ["b?b 00 00 1", "bob", "bob 0101 01 x", ""] {
            let read: Vec<_> = parse(&format!("{text}{bad}\n")).into_values().collect();
            assert_eq!(read, all, "{bad}");
        }
        assert!(parse("something else\nbob").is_empty() && parse("").is_empty());
    }

    #[test]
    fn a_second_directory_does_not_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Accounts::open(dir.path()).unwrap();
        let nick = Nick::new(b"bob").unwrap();
        first.set(nick, Account { salt: [1; 8], hash: [2; 32], last_seen_s: 3 });
        first.saver().unwrap()();
        let second = Accounts::open(dir.path()).unwrap();
        assert_eq!((second.iter().count(), second.saver().is_none()), (1, true));
    }
}
