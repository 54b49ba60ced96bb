//! The resume record: what is known to lie safely on disk, and the list of pieces finished since.
//!
//! Encoding only. A record that is cut, altered or of another torrent is refused as a whole, never half believed.
//! The list beside it is append-only and made of entries that check themselves, so a torn tail costs one entry.

use crate::bitfield::Bitfield;
use crate::geometry::{Geometry, PieceIndex, Version};
use crate::hash::sha1;
use crate::id::{InfoHash, InfoHashV2, TorrentHashes};

/// Bytes of one entry of the unsynced list.
pub const ENTRY_LEN: usize = 8;
/// Longest output path that is kept; a longer one makes every start hash everything.
pub const OUT_DIR_MAX: usize = 4096;

const MAGIC: &[u8; 8] = b"GGRESUM1"; // the digit is the version of the format
const TRAILER: usize = 20;

/// Size and time of a file when it was recorded: a cheap sign that somebody else wrote to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    /// Last modification in nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// What the record says of one file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FileRecord {
    /// 0 when it was not wanted.
    pub priority: u8,
    /// Whether it had its own place in the output folder.
    pub stored: bool,
    /// `None` if it did not exist.
    pub stamp: Option<Stamp>,
}

/// Everything that outlives the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Which torrent.
    pub hashes: TorrentHashes,
    /// Its sizes.
    pub geometry: Geometry,
    /// Bytes of the output folder's absolute path.
    pub out_dir: Vec<u8>,
    /// Pieces whose data was fdatasync'ed before this record was made.
    pub durable: Bitfield,
    /// One entry per file of the torrent.
    pub files: Vec<FileRecord>,
    /// The parts file, if it existed.
    pub parts: Option<Stamp>,
    /// Payload bytes received, over all runs.
    pub downloaded: u64,
    /// Payload bytes sent, over all runs.
    pub uploaded: u64,
}

/// Why a record is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The trailing hash does not cover these bytes.
    #[error("the resume record is damaged ({0} bytes)")]
    Checksum(usize),
    /// The hash is right, but the fields make no sense.
    #[error("the resume record is malformed at byte {0}")]
    Malformed(usize),
    /// Written by another version, or not a record.
    #[error("not a resume record of this version")]
    Version,
}

impl Record {
    /// Self-checking bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(256 + self.files.len() * 27 + self.geometry.pieces() as usize / 8);
        out.extend_from_slice(MAGIC);
        encode_hashes(&mut out, &self.hashes);
        out.push(match self.geometry.version() {
            Version::V1 => 1,
            Version::V2 => 2,
            Version::Hybrid => 3,
        });
        out.extend_from_slice(&self.geometry.total().to_be_bytes());
        out.extend_from_slice(&self.geometry.piece_len().to_be_bytes());
        let out_dir = if self.out_dir.len() > OUT_DIR_MAX { &[][..] } else { &self.out_dir };
        out.extend_from_slice(&(out_dir.len() as u32).to_be_bytes());
        out.extend_from_slice(out_dir);
        out.extend_from_slice(&self.downloaded.to_be_bytes());
        out.extend_from_slice(&self.uploaded.to_be_bytes());
        encode_stamp(&mut out, self.parts);
        out.extend_from_slice(&(self.files.len() as u32).to_be_bytes());
        for file in &self.files {
            out.push(file.priority);
            out.push(u8::from(file.stored));
            encode_stamp(&mut out, file.stamp);
        }
        out.extend_from_slice(&self.durable.to_wire());
        let check = sha1([&out[..]]);
        out.extend_from_slice(&check);
        out
    }

    /// Reads what [`Self::encode`] wrote; anything else is an error, whatever its length.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if !bytes.starts_with(MAGIC) {
            return Err(RecordError::Version);
        }
        let body_len = bytes.len().saturating_sub(TRAILER);
        let (body, check) = bytes.split_at(body_len);
        if sha1([body]) != check {
            return Err(RecordError::Checksum(bytes.len()));
        }
        let mut input = Input { body, at: MAGIC.len() };
        input.record().ok_or(RecordError::Malformed(input.at))
    }

    /// Whether the record is of this torrent.
    pub fn fits(&self, hashes: &TorrentHashes, geometry: &Geometry, files: usize) -> bool {
        self.hashes == *hashes && self.geometry == *geometry && self.files.len() == files
    }

    /// Per file, whether it was stored.
    pub fn stored(&self) -> Vec<bool> {
        self.files.iter().map(|file| file.stored).collect()
    }
}

/// One line of the unsynced list: written before the piece is, so that a kill at any moment leaves no piece
/// half written and unlisted.
pub fn list_entry(info_hash: InfoHash, piece: PieceIndex) -> [u8; ENTRY_LEN] {
    let index = piece.0.to_be_bytes();
    let check = sha1([&info_hash.0[..], &index[..]]);
    let mut entry = [0; ENTRY_LEN];
    entry[..4].copy_from_slice(&index);
    entry[4..].copy_from_slice(&check[..4]);
    entry
}

/// The pieces of an unsynced list. Entries that do not check (torn, zeroed or of another torrent) are passed over.
pub fn read_list(info_hash: InfoHash, geometry: &Geometry, bytes: &[u8]) -> Bitfield {
    let mut listed = Bitfield::empty(geometry.pieces());
    for entry in bytes.chunks_exact(ENTRY_LEN) {
        let index = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        if let Some(piece) = geometry.piece(index)
            && entry == list_entry(info_hash, piece)
        {
            listed.insert(piece);
        }
    }
    listed
}

fn encode_hashes(out: &mut Vec<u8>, hashes: &TorrentHashes) {
    match hashes {
        TorrentHashes::V1(v1) => {
            out.push(1);
            out.extend_from_slice(&v1.0);
        }
        TorrentHashes::V2(v2) => {
            out.push(2);
            out.extend_from_slice(&v2.0);
        }
        TorrentHashes::Hybrid(v1, v2) => {
            out.push(3);
            out.extend_from_slice(&v1.0);
            out.extend_from_slice(&v2.0);
        }
    }
}

fn encode_stamp(out: &mut Vec<u8>, stamp: Option<Stamp>) {
    out.push(u8::from(stamp.is_some()));
    if let Some(Stamp { len, mtime_ns }) = stamp {
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&mtime_ns.to_be_bytes());
    }
}

struct Input<'a> {
    body: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn record(&mut self) -> Option<Record> {
        let hashes = self.hashes()?;
        let version = match self.u8()? {
            1 => Version::V1,
            2 => Version::V2,
            3 => Version::Hybrid,
            _ => return None,
        };
        let total = self.u64()?;
        let geometry = Geometry::new(version, total, u64::from(self.u32()?)).ok()?;
        let out_dir_len = self.u32()? as usize;
        let out_dir = self.take(out_dir_len)?.to_vec();
        let (downloaded, uploaded) = (self.u64()?, self.u64()?);
        let parts = self.stamp()?;
        let count = self.u32()? as usize;
        if count > self.body.len() - self.at {
            return None; // a file takes more than one byte: refuse before allocating for it
        }
        let files = (0..count).map(|_| self.file()).collect::<Option<Vec<_>>>()?;
        let field = self.take((geometry.pieces() as usize).div_ceil(8))?.to_vec();
        let durable = Bitfield::from_wire(&field, geometry.pieces())?;
        let record =
            Record { hashes, geometry, out_dir, durable, files, parts, downloaded, uploaded };
        (self.at == self.body.len()).then_some(record)
    }

    fn hashes(&mut self) -> Option<TorrentHashes> {
        Some(match self.u8()? {
            1 => TorrentHashes::V1(InfoHash(self.array()?)),
            2 => TorrentHashes::V2(InfoHashV2(self.array()?)),
            3 => TorrentHashes::Hybrid(InfoHash(self.array()?), InfoHashV2(self.array()?)),
            _ => return None,
        })
    }

    fn file(&mut self) -> Option<FileRecord> {
        let priority = self.u8()?;
        let stored = self.flag()?;
        Some(FileRecord { priority, stored, stamp: self.stamp()? })
    }

    fn stamp(&mut self) -> Option<Option<Stamp>> {
        if !self.flag()? {
            return Some(None);
        }
        let len = self.u64()?;
        Some(Some(Stamp { len, mtime_ns: i64::from_be_bytes(self.array()?) }))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let taken = self.body.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }
}
