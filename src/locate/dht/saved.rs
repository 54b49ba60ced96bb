//! What a node remembers until its next start: `dht.nodes` in the state folder, or `dht-NAME.nodes` for a network of
//! one's own: who keeps to that one must not be led to the public one by what the last run has seen.
//!
//! A hint and no more: whatever it holds is asked before it is believed. Written to a temporary file and renamed.
//! Never shared by two nodes at a time: the second has no id from it and leaves it alone.

use gaggle_core::bencode::{Dict, Limits, Value};
use gaggle_core::compact;
use gaggle_core::id::NodeId;
use gaggle_core::overlay::kademlia::Snapshot;
use gaggle_core::proto::krpc::Contact;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A longer file is none of ours.
const LEN_MAX: u64 = 1 << 20;
/// Bytes of an id.
const ID_LEN: usize = 20;

/// The file, while it is ours to write.
#[derive(Debug)]
pub(super) struct Saved {
    path: PathBuf,
    _lock: File,
}

impl Saved {
    /// Reads what is there. The first is `None` if another node has it, or if nothing shall be written.
    pub(super) fn open(
        dir: &Path,
        network: Option<&str>,
        to_write: bool,
    ) -> (Option<Self>, Snapshot) {
        let path = file(dir, network);
        let snapshot = read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "cannot read {}; it is made anew", path.display());
            }
            Snapshot::default()
        });
        let saved = if to_write { lock(dir, path).ok() } else { None };
        match saved {
            Some(_) => (saved, snapshot),
            None => (None, Snapshot { id_v4: None, id_v6: None, ..snapshot }),
        }
    }

    /// Replaces the file. Without nodes the old ones are better.
    pub(super) fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        if snapshot.nodes.is_empty() {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&encode(snapshot))?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)
    }
}

fn lock(dir: &Path, path: PathBuf) -> io::Result<Saved> {
    std::fs::create_dir_all(dir)?;
    let lock = path.with_extension("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(lock)?;
    lock.try_lock()?;
    Ok(Saved { path, _lock: lock })
}

/// The file of a network; `None` is the public one.
pub(super) fn file(dir: &Path, network: Option<&str>) -> PathBuf {
    match network {
        None => dir.join("dht.nodes"),
        Some(name) => dir.join(format!("dht-{name}.nodes")),
    }
}

/// What the file says.
pub(super) fn read(path: &Path) -> io::Result<Snapshot> {
    let mut raw = Vec::new();
    File::open(path)?.take(LEN_MAX + 1).read_to_end(&mut raw)?;
    decode(&raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut dict = Dict::new();
    for (key, id) in [("id4", snapshot.id_v4), ("id6", snapshot.id_v6)] {
        if let Some(id) = id {
            dict = dict.bytes(key, id.0);
        }
    }
    for (key, v6) in [("nodes4", false), ("nodes6", true)] {
        let mut packed = Vec::new();
        for node in snapshot.nodes.iter().filter(|node| node.addr.is_ipv6() == v6) {
            packed.extend_from_slice(&node.id.0);
            compact::push(&mut packed, node.addr);
        }
        dict = dict.bytes(key, packed);
    }
    dict.into_bytes()
}

fn decode(raw: &[u8]) -> Option<Snapshot> {
    if raw.len() as u64 > LEN_MAX {
        return None;
    }
    let value = Value::parse(raw, Limits::MESSAGE).ok()?;
    let bytes = |key: &[u8]| value.dict_get(key).and_then(|value| value.as_bytes());
    let id = |key: &[u8]| bytes(key).and_then(|raw| raw.try_into().ok()).map(NodeId);
    let mut nodes = Vec::new();
    for (key, len) in [(&b"nodes4"[..], compact::V4_LEN), (b"nodes6", compact::V6_LEN)] {
        for raw in bytes(key).unwrap_or_default().chunks_exact(ID_LEN + len) {
            let (id, packed) = raw.split_first_chunk::<ID_LEN>()?;
            let addr = match len {
                compact::V4_LEN => compact::read_v4(packed).next(),
                _ => compact::read_v6(packed).next(),
            };
            nodes.extend(addr.map(|addr| Contact { id: NodeId(*id), addr }));
        }
    }
    Some(Snapshot { id_v4: id(b"id4"), id_v6: id(b"id6"), nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let node = |n: u8, addr: &str| Contact { id: NodeId([n; 20]), addr: addr.parse().unwrap() };
        Snapshot {
            id_v4: Some(NodeId([4; 20])),
            id_v6: None,
            nodes: vec![node(1, "198.18.0.1:6881"), node(2, "[2001:db8::1]:5")],
        }
    }

    #[test]
    fn what_is_written_is_read_again_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (saved, before) = Saved::open(&state, None, true);
        assert_eq!(before, Snapshot::default());
        let saved = saved.unwrap();
        saved.write(&snapshot()).unwrap();
        let (second, seen) = Saved::open(&state, None, true);
        assert!(second.is_none(), "the first still runs");
        assert_eq!((seen.id_v4, seen.nodes), (None, snapshot().nodes));
        saved.write(&Snapshot::default()).unwrap(); // nobody answered: the old ones are kept
        drop(saved);
        let (saved, seen) = Saved::open(&state, None, true);
        assert!(saved.is_some());
        assert_eq!(seen, snapshot());
        let (own, seen) = Saved::open(&state, Some("own"), true);
        assert_eq!(seen, Snapshot::default(), "a network of one's own hears nothing of it");
        own.unwrap()
            .write(&Snapshot { nodes: snapshot().nodes[..1].to_vec(), ..snapshot() })
            .unwrap();
        assert_eq!(read(&file(&state, None)).unwrap(), snapshot(), "nor the other way round");
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        for raw in [&b""[..], b"d", b"de", b"d6:nodes43:abce", b"d3:id43:abce", &[b'x'; 4096]] {
            std::fs::write(file(dir.path(), None), raw).unwrap();
            let (_, seen) = Saved::open(dir.path(), None, true);
            assert_eq!(seen, Snapshot::default(), "{raw:?}");
        }
    }
}
