//! What a servent remembers until its next start: `gnutella.hosts` in the state folder, with its own id and servents that
//! it knows.
//!
//! A hint and no more. Replaced whole, and never shared by two servents at a time: the second has an id of its own and
//! leaves the file alone.

use crate::disk::{StorageError, replace};
use gaggle_core::bencode::{Dict, Limits, Value};
use gaggle_core::compact;
use gaggle_core::proto::gnutella::Guid;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// A longer file is none of ours.
const LEN_MAX: u64 = 64 << 10;
/// Servents that are remembered.
pub(super) const HOSTS_MAX: usize = 200;

/// What is remembered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Memory {
    pub(super) guid: Option<Guid>,
    /// The best first.
    pub(super) hosts: Vec<SocketAddrV4>,
}

/// The file, while it is ours to write.
#[derive(Debug)]
pub(super) struct Saved {
    path: PathBuf,
    _lock: File,
}

impl Saved {
    /// Reads what is there. The first is `None` if another servent has it.
    pub(super) fn open(dir: &Path) -> (Option<Self>, Memory) {
        let path = dir.join("gnutella.hosts");
        let memory = read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "cannot read {}; it is made anew", path.display());
            }
            Memory::default()
        });
        match lock(dir, &path) {
            Ok(lock) => (Some(Self { path, _lock: lock }), memory),
            Err(_) => (None, Memory { guid: None, ..memory }),
        }
    }

    /// Replaces the file. Without servents the old ones are better.
    pub(super) fn write(&self, memory: &Memory) -> Result<(), StorageError> {
        let old = if memory.hosts.is_empty() { read(&self.path).ok() } else { None };
        let hosts = old.map_or_else(|| memory.hosts.clone(), |old| old.hosts);
        let bytes = encode(&Memory { hosts, ..memory.clone() });
        replace(&self.path, &bytes)
    }
}

fn lock(dir: &Path, path: &Path) -> io::Result<File> {
    std::fs::create_dir_all(dir)?;
    let lock = path.with_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(lock)?;
    lock.try_lock()?;
    Ok(lock)
}

fn read(path: &Path) -> io::Result<Memory> {
    let mut raw = Vec::new();
    File::open(path)?.take(LEN_MAX + 1).read_to_end(&mut raw)?;
    decode(&raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn encode(memory: &Memory) -> Vec<u8> {
    let mut dict = Dict::new();
    if let Some(guid) = memory.guid {
        dict = dict.bytes("guid", guid.0);
    }
    let mut hosts = Vec::new();
    for &addr in memory.hosts.iter().take(HOSTS_MAX) {
        compact::push(&mut hosts, addr.into());
    }
    dict.bytes("hosts", hosts).into_bytes()
}

fn decode(raw: &[u8]) -> Option<Memory> {
    if raw.len() as u64 > LEN_MAX {
        return None;
    }
    let value = Value::parse(raw, Limits::MESSAGE).ok()?;
    let bytes = |key: &[u8]| value.dict_get(key).and_then(|value| value.as_bytes());
    let guid = bytes(b"guid").and_then(|raw| raw.try_into().ok()).map(Guid);
    let hosts = compact::read_v4(bytes(b"hosts")?).filter_map(|addr| match addr {
        SocketAddr::V4(addr) => Some(addr),
        SocketAddr::V6(_) => None,
    });
    Some(Memory { guid, hosts: hosts.take(HOSTS_MAX).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let hosts = vec!["198.18.0.1:6346".parse().unwrap(), "127.0.0.1:5".parse().unwrap()];
        Memory { guid: Some(Guid([4; 16])), hosts }
    }

    #[test]
    fn what_is_written_is_read_again_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (saved, before) = Saved::open(&state);
        assert_eq!(before, Memory::default());
        let saved = saved.unwrap();
        saved.write(&memory()).unwrap();
        let (second, seen) = Saved::open(&state);
        assert!(second.is_none(), "the first still runs");
        assert_eq!((seen.guid, seen.hosts), (None, memory().hosts));
        saved.write(&Memory { guid: Some(Guid([5; 16])), hosts: Vec::new() }).unwrap();
        drop(saved);
        let (_, seen) = Saved::open(&state);
        assert_eq!(seen, Memory { guid: Some(Guid([5; 16])), ..memory() });
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        for raw in [&b""[..], b"d", b"de", b"d5:hosts3:abce", &[b'x'; 4096], &[b'd'; 70_000]] {
            std::fs::write(dir.path().join("gnutella.hosts"), raw).unwrap();
            let (saved, seen) = Saved::open(dir.path());
            assert_eq!((saved.is_some(), seen), (true, Memory::default()), "{raw:?}");
        }
    }
}
