//! What is kept until the next run: the hashes of files that have not changed since.
//!
//! One bencoded dictionary with a check over all of it. What is damaged, of another version or larger than anything we
//! write is no record, and costs hashing again.

use super::FILES_MAX;
use super::hasher::Hashes;
use crate::bencode::{Dict, Limits, Value};
use crate::hash::sha1;
use crate::id::InfoHash;
use crate::proto::fasttrack::UuHash;
use crate::storage::Stamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of the format.
const FORMAT: u64 = 1;
/// Bytes of a path; a file with a longer one is hashed at every start.
const PATH_LEN_MAX: usize = 4096;
/// How much is read: what all files need with paths of ordinary length.
const LIMITS: Limits = Limits { depth: 2, tokens: 2 * FILES_MAX + 16, bytes: 128 << 20 };
/// How long after a change a file must have been opened for hashing, in nanoseconds. Clocks of file systems are coarse,
/// the worst of them count in two seconds: a second change at once could leave the same time.
const SETTLED_NS: i64 = 2_500_000_000;

/// What was found of one file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// Size and time when it was hashed.
    pub stamp: Stamp,
    /// What names its content.
    pub hashes: Hashes,
    /// The torrent that was made of it alone.
    pub torrent: Option<InfoHash>,
    /// Whether its time tells that it is still the same, see [`is_settled`]. If not, it must be hashed again at the next
    /// look, and is not kept until then.
    pub settled: bool,
}

/// Files by their absolute paths.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    files: BTreeMap<Vec<u8>, Known>,
}

/// Why a record is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareRecordError {
    /// Cut, altered, or not ours at all.
    #[error("the record of shared files is damaged ({0} bytes)")]
    Damaged(usize),
    /// Written by another version.
    #[error("the record of shared files is not of this version")]
    Version,
}

/// Whether the time of a file will tell of every change after it was opened for hashing: at `opened_ns` nanoseconds
/// since 1970, when it had been seen with this time for so long. The latter tells of a time in the future, too, of a
/// clock that is ahead of ours.
pub fn is_settled(stamp: &Stamp, opened_ns: i64, unchanged: Duration) -> bool {
    stamp.mtime_ns.saturating_add(SETTLED_NS) < opened_ns
        || unchanged > Duration::from_nanos(SETTLED_NS.unsigned_abs())
}

impl Record {
    /// What a file is known as, if it has not changed since. Otherwise it must be hashed.
    pub fn get(&self, path: &[u8], stamp: &Stamp) -> Option<&Known> {
        self.files.get(path).filter(|known| known.stamp == *stamp)
    }

    /// Remembers a file. `false` if its path is too long to be kept.
    pub fn insert(&mut self, path: Vec<u8>, known: Known) -> bool {
        let fits = path.len() <= PATH_LEN_MAX;
        if fits {
            self.files.insert(path, known);
        }
        fits
    }

    /// Forgets the files below a folder that are not among `there`; whether there were any.
    pub fn keep_below(&mut self, folder: &[u8], there: impl Fn(&[u8]) -> bool) -> bool {
        let before = self.files.len();
        self.files.retain(|path, _| !is_below(path, folder) || there(path));
        self.files.len() < before
    }

    /// Takes over what another process has written since, as far as there is room; but nothing below `folders`, of which
    /// all that is there is known here.
    pub fn absorb<F: AsRef<[u8]>>(&mut self, other: Self, folders: &[F]) {
        let known_here = |path: &[u8]| folders.iter().any(|folder| is_below(path, folder.as_ref()));
        for (path, known) in other.files {
            if self.files.len() >= FILES_MAX {
                return;
            }
            if !known_here(&path) {
                self.files.entry(path).or_insert(known);
            }
        }
    }

    /// Files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Self-checking bytes, of the files that are settled. Of more than [`FILES_MAX`] the last ones are left out, as are
    /// those that would make it longer than what is read.
    pub fn encode(&self) -> Vec<u8> {
        let mut room = LIMITS.bytes - 1024;
        let mut files = Dict::new();
        let settled = self.files.iter().filter(|(_, known)| known.settled);
        for (path, known) in settled.take(FILES_MAX) {
            let Some(left) = room.checked_sub(path.len() + ENTRY_LEN_MAX) else { break };
            room = left;
            files = files.bytes(path, known.encode());
        }
        let files = files.into_bytes();
        Dict::new()
            .int("format", FORMAT)
            .bytes("check", sha1([&files[..]]))
            .raw("files", &files)
            .into_bytes()
    }

    /// Reads what [`Self::encode`] wrote; anything else is an error, whatever its length.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShareRecordError> {
        let damaged = || ShareRecordError::Damaged(bytes.len());
        let value = Value::parse(bytes, LIMITS).map_err(|_| damaged())?;
        let format = value.at("format").and_then(|format| format.as_uint()).ok_or_else(damaged)?;
        if format != FORMAT {
            return Err(ShareRecordError::Version);
        }
        let files = value.at("files").ok_or_else(damaged)?;
        let check = value.at("check").and_then(|check| check.as_bytes());
        if check != Some(&sha1([files.raw()])) {
            return Err(damaged());
        }
        let entries = files.as_dict().ok_or_else(damaged)?;
        let known = entries.map(|(path, known)| {
            let known = Known::decode(known.as_bytes()?)?;
            Some((path.to_vec(), known))
        });
        Ok(Self { files: known.collect::<Option<_>>().ok_or_else(damaged)? })
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| folder.ends_with(b"/") || rest.starts_with(b"/"))
}

/// Bytes of one file beside its path: the longest value, and the lengths of both.
const ENTRY_LEN_MAX: usize = 92 + 16;

impl Known {
    fn encode(&self) -> Vec<u8> {
        let Self { stamp, hashes: Hashes { sha1, md5, uu }, torrent, .. } = self;
        let mut out = Vec::with_capacity(ENTRY_LEN_MAX);
        out.extend_from_slice(&stamp.len.to_be_bytes());
        out.extend_from_slice(&stamp.mtime_ns.to_be_bytes());
        out.extend_from_slice(sha1);
        out.extend_from_slice(md5);
        out.extend_from_slice(&uu.0);
        if let Some(torrent) = torrent {
            out.extend_from_slice(&torrent.0);
        }
        out
    }

    fn decode(mut raw: &[u8]) -> Option<Self> {
        let stamp = Stamp {
            len: u64::from_be_bytes(take(&mut raw)?),
            mtime_ns: i64::from_be_bytes(take(&mut raw)?),
        };
        let hashes =
            Hashes { sha1: take(&mut raw)?, md5: take(&mut raw)?, uu: UuHash(take(&mut raw)?) };
        let torrent = if raw.is_empty() { None } else { Some(InfoHash(take(&mut raw)?)) };
        raw.is_empty().then_some(Self { stamp, hashes, torrent, settled: true })
    }
}

fn take<const N: usize>(raw: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = raw.split_first_chunk()?;
    *raw = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(n: u8) -> Known {
        let hashes = Hashes { sha1: [n; 20], md5: [n; 16], uu: UuHash([n; 20]) };
        let stamp = Stamp { len: u64::from(n) << 40, mtime_ns: -7 };
        Known { stamp, hashes, torrent: (n == 2).then_some(InfoHash([n; 20])), settled: true }
    }

    fn record() -> Record {
        let mut record = Record::default();
        for (path, n) in [("/a/one", 1), ("/a/b/two", 2), ("/ab/three", 3)] {
            assert!(record.insert(path.into(), known(n)));
        }
        record
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Record::decode(&record().encode()), Ok(record()));
        assert_eq!(Record::decode(&Record::default().encode()), Ok(Record::default()));
        let mut fresh = record();
        fresh.insert(b"/a/fresh".to_vec(), Known { settled: false, ..known(4) });
        assert!(fresh.get(b"/a/fresh", &known(4).stamp).is_some());
        assert_eq!(Record::decode(&fresh.encode()), Ok(record()), "only what is settled is kept");
    }

    #[test]
    fn a_changed_file_is_not_known() {
        let (record, known) = (record(), known(1));
        assert_eq!(record.get(b"/a/one", &known.stamp), Some(&known));
        let Stamp { len, mtime_ns } = known.stamp;
        for stamp in [Stamp { len: len + 1, mtime_ns }, Stamp { len, mtime_ns: mtime_ns + 1 }] {
            assert_eq!(record.get(b"/a/one", &stamp), None);
        }
        assert_eq!(record.get(b"/a/two", &known.stamp), None);
    }

    #[test]
    fn a_time_tells_when_it_is_old_enough() {
        let at = |mtime_ns| Stamp { len: 1, mtime_ns };
        let second = 1_000_000_000;
        let seen_for = is_settled;
        let is_settled = |stamp: &Stamp, opened_ns| seen_for(stamp, opened_ns, Duration::ZERO);
        assert!(is_settled(&at(7 * second), 10 * second));
        assert!(!is_settled(&at(8 * second), 10 * second));
        assert!(!is_settled(&at(20 * second), 10 * second), "from the future");
        assert!(!is_settled(&at(i64::MAX), 10 * second) && is_settled(&at(i64::MIN), 0));
        let future = at(20 * second);
        assert!(!seen_for(&future, 10 * second, Duration::from_millis(2500)));
        assert!(seen_for(&future, 10 * second, Duration::from_millis(2501)));
    }

    #[test]
    fn files_that_are_gone_are_forgotten_where_we_looked() {
        let mut record = record();
        assert!(record.keep_below(b"/a", |path| path == b"/a/one"));
        assert!(!record.keep_below(b"/a", |path| path == b"/a/one"));
        assert_eq!(record.len(), 2);
        assert!(record.get(b"/ab/three", &known(3).stamp).is_some(), "another folder");
        assert!(record.keep_below(b"/", |_| false) && record.is_empty());
    }

    #[test]
    fn what_another_process_wrote_is_taken_over() {
        let mut ours = Record::default();
        ours.insert(b"/a/one".to_vec(), known(9));
        ours.absorb(record(), &["/a/b"]);
        assert_eq!(ours.len(), 2, "what is gone from our folder does not come back");
        ours.absorb(record(), &[""; 0]);
        assert_eq!(ours.len(), 3);
        assert_eq!(ours.get(b"/a/one", &known(9).stamp), Some(&known(9)), "ours is newer");
    }

    #[test]
    fn long_paths_are_not_kept() {
        let mut record = Record::default();
        assert!(!record.insert(vec![b'x'; PATH_LEN_MAX + 1], known(1)) && record.is_empty());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let version = Dict::new().int("format", 2u8).into_bytes();
        assert_eq!(Record::decode(&version), Err(ShareRecordError::Version));
        let of = |files: Dict| {
            let files = files.into_bytes();
            let check = sha1([&files[..]]);
            Dict::new().int("format", 1u8).bytes("check", check).raw("files", &files).into_bytes()
        };
        let short = known(1).encode();
        for bad in [
            Vec::new(),
            b"de".to_vec(),
            b"d6:formati1ee".to_vec(),
            b"d6:formati-1ee".to_vec(),
            of(Dict::new().int("/a", 1u8)),
            of(Dict::new().bytes("/a", &short[..71])),
            of(Dict::new().bytes("/a", [&short[..], b"x"].concat())),
            b"l".repeat(1 << 20),
        ] {
            let len = bad.len();
            assert_eq!(Record::decode(&bad), Err(ShareRecordError::Damaged(len)));
        }
    }

    proptest! {
        #[test]
        fn damage_anywhere_is_seen(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
            let mut raw = record().encode();
            let at = at.index(raw.len());
            if cut { raw.truncate(at) } else { raw[at] ^= flip }
            prop_assert!(Record::decode(&raw).is_err());
        }

        #[test]
        fn hostile_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Record::decode(&raw);
        }
    }
}
