//! The info dictionary: files, sizes and piece hashes, checked against one another.

use super::error::{MetainfoError, Place};
use super::names::{self, Tree};
use super::v2;
use crate::bencode::{Kind, Limits, Value};
use crate::geometry::{Geometry, PieceIndex, Version};
use crate::hash::{sha1, sha256};
use crate::id::{InfoHash, InfoHashV2, PieceHash, TorrentHashes};
use bytes::Bytes;

/// Most folders and file name of one path. A torrent with a deeper one is refused. libtorrent's limit.
pub const PATH_DEPTH_MAX: usize = 100;
/// Most path elements of all files together, about 100 MB of memory. A torrent with more is refused.
pub const PATH_PARTS_MAX: usize = 1_000_000;
/// Bytes of a version 1 piece hash.
const SHA1_LEN: usize = 20;

/// What the info hash covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// Safe name of the file or top folder.
    pub name: String,
    /// Sizes. A hybrid is cut and checked as version 1, so its version here is [`Version::V1`].
    pub geometry: Geometry,
    /// In the order of the torrent, padding included, so that indices mean what others mean by them.
    pub files: Vec<FileEntry>,
    /// One file that stands alone, without a folder around it.
    pub single: bool,
    /// Peers may come from its trackers only.
    //= BEP 27
    pub private: bool,
    /// Where it was published; makes the info hash differ between trackers.
    pub source: Option<String>,
    /// What every piece hashes to.
    pub pieces: PieceHashes,
    /// Indices of entries that describe symlinks. They have no bytes and are marked as padding, so that
    /// nothing is made of them.
    pub symlinks: Vec<usize>,
    pub(super) hashes: TorrentHashes,
}

/// One file, or a stretch of padding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileEntry {
    /// Safe elements, unique in the torrent unless `pad`. The first is the torrent's name: the top folder,
    /// or the file itself when it stands alone.
    pub path: Vec<String>,
    /// Bytes.
    pub len: u64,
    /// Offset of its first byte in the torrent.
    pub offset: u64,
    /// Holds zeros that belong on no disk.
    //= BEP 47 §padding files
    pub pad: bool,
    /// May be run.
    pub executable: bool,
    /// Should not be shown.
    pub hidden: bool,
}

/// The piece hashes of a torrent: 20 bytes each, as they came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PieceHashes(Bytes);

impl PieceHashes {
    /// What this piece must hash to; `None` if the torrent has no such piece.
    pub fn of(&self, piece: PieceIndex) -> Option<PieceHash> {
        let start = piece.idx().checked_mul(SHA1_LEN)?;
        let hash = self.0.get(start..start.checked_add(SHA1_LEN)?)?;
        Some(PieceHash::Sha1(hash.try_into().ok()?))
    }

    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.0.len() / SHA1_LEN
    }

    /// Never true of a torrent that was parsed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The entries of an info dictionary that mean something to us, found in one walk over it.
#[derive(Default)]
struct Raw<'a> {
    attr: Option<Value<'a>>,
    file_tree: Option<Value<'a>>,
    files: Option<Value<'a>>,
    length: Option<Value<'a>>,
    meta_version: Option<Value<'a>>,
    name: Option<Value<'a>>,
    name_utf8: Option<Value<'a>>,
    piece_length: Option<Value<'a>>,
    pieces: Option<Value<'a>>,
    private: Option<Value<'a>>,
    source: Option<Value<'a>>,
}

impl<'a> Raw<'a> {
    fn find(info: &Value<'a>) -> Result<Self, MetainfoError> {
        let at = Place::of("info");
        let wrong = MetainfoError::Kind { at, got: info.kind(), want: Kind::Dict };
        let mut raw = Self::default();
        for (key, value) in info.as_dict().ok_or(wrong)? {
            let slot = match key {
                b"attr" => &mut raw.attr,
                b"file tree" => &mut raw.file_tree,
                b"files" => &mut raw.files,
                b"length" => &mut raw.length,
                b"meta version" => &mut raw.meta_version,
                b"name" => &mut raw.name,
                b"name.utf-8" => &mut raw.name_utf8,
                b"piece length" => &mut raw.piece_length,
                b"pieces" => &mut raw.pieces,
                b"private" => &mut raw.private,
                b"source" => &mut raw.source,
                _ => continue,
            };
            *slot = Some(value);
        }
        Ok(raw)
    }
}

impl Info {
    /// Reads an info dictionary out of checked bencode; `bytes` are its own bytes, for the piece hashes.
    pub(super) fn parse(info: &Value<'_>, bytes: &Bytes) -> Result<Self, MetainfoError> {
        let raw = Raw::find(info)?;
        let hashes = hashes(&raw, bytes)?;
        let name = name(&raw, &hashes)?;
        let piece_len = need_len(raw.piece_length, Place::of("info.piece length"))?;
        let listed = match raw.files {
            Some(files) => Listed::many(&name, &files)?,
            None => Listed::one(&name, &raw)?,
        };
        if !listed.files.iter().any(|file| file.len > 0 && !file.pad) {
            return Err(MetainfoError::NoFiles);
        }
        let geometry = Geometry::new(Version::V1, listed.total, piece_len)?;
        if let (TorrentHashes::Hybrid(..), Some(tree)) = (hashes, raw.file_tree) {
            v2::same_files(&tree, v1_files(&raw))?;
        }
        Ok(Self {
            name,
            geometry,
            files: listed.files,
            single: raw.files.is_none(),
            private: says_private(raw.private),
            source: raw.source.and_then(|v| v.as_bytes()).map(lossy),
            pieces: pieces(&raw, bytes, info.span().start, &geometry)?,
            symlinks: listed.symlinks,
            hashes,
        })
    }
}

/// Whether the raw bytes of an info dictionary say that peers come from the trackers only. What cannot be read says
/// nothing.
//= BEP 27
pub fn is_private(info: &[u8]) -> bool {
    Value::parse(info, Limits::TORRENT).is_ok_and(|info| says_private(info.at("private")))
}

/// Whoever writes anything but zero here means to keep it private.
fn says_private(private: Option<Value<'_>>) -> bool {
    private.and_then(|value| value.as_int()).is_some_and(|n| n != 0)
}

fn hashes(raw: &Raw<'_>, bytes: &Bytes) -> Result<TorrentHashes, MetainfoError> {
    let version = raw.meta_version.and_then(|v| v.as_int()).unwrap_or(1);
    let v1 = || InfoHash(sha1([&bytes[..]]));
    match version {
        1 => Ok(TorrentHashes::V1(v1())),
        2 if raw.pieces.is_some() => {
            Ok(TorrentHashes::Hybrid(v1(), InfoHashV2(sha256([&bytes[..]]))))
        }
        2 => Err(MetainfoError::V2Only),
        other => Err(MetainfoError::UnknownVersion(other)),
    }
}

/// Old writers put the name in a local character set beside one in UTF-8. Where nothing of the name is
/// safe, the info hash stands in, as with libtorrent: two such torrents do not meet in one folder.
fn name(raw: &Raw<'_>, hashes: &TorrentHashes) -> Result<String, MetainfoError> {
    let utf8 = raw.name_utf8.and_then(|v| v.as_bytes());
    let bytes = match utf8 {
        Some(bytes) => bytes,
        None => need_bytes(raw.name, Place::of("info.name"))?,
    };
    match names::safe(bytes).into_owned() {
        nothing if nothing == "_" && bytes != b"_" => Ok(hashes.wire().to_string()),
        name => Ok(name),
    }
}

fn pieces(
    raw: &Raw<'_>,
    bytes: &Bytes,
    info_start: usize,
    geometry: &Geometry,
) -> Result<PieceHashes, MetainfoError> {
    let at = Place::of("info.pieces");
    let hashes = need_bytes(raw.pieces, at)?;
    let want = geometry.pieces() as usize * SHA1_LEN;
    if hashes.len() != want {
        return Err(MetainfoError::Pieces { got: hashes.len(), want });
    }
    let end = raw.pieces.map_or(0, |v| v.span().end) - info_start;
    Ok(PieceHashes(bytes.slice(end - hashes.len()..end)))
}

/// Files as far as they are read.
struct Listed {
    files: Vec<FileEntry>,
    symlinks: Vec<usize>,
    total: u64,
}

impl Listed {
    fn one(name: &str, raw: &Raw<'_>) -> Result<Self, MetainfoError> {
        let len = need_len(raw.length, Place::of("info.length"))?;
        let attr = Attr::read(raw.attr);
        let file = FileEntry {
            path: vec![name.to_owned()],
            len,
            offset: 0,
            pad: false, // a lone file of padding makes no sense, and would make the torrent vanish
            executable: attr.has(b'x'),
            hidden: attr.has(b'h'),
        };
        Ok(Self { files: vec![file], symlinks: Vec::new(), total: len })
    }

    fn many(name: &str, files: &Value<'_>) -> Result<Self, MetainfoError> {
        let at = Place::of("info.files");
        let wrong = MetainfoError::Kind { at, got: files.kind(), want: Kind::List };
        let mut listed = Self { files: Vec::new(), symlinks: Vec::new(), total: 0 };
        let mut tree = Tree::default();
        let mut parts = 0;
        for (index, entry) in files.as_list().ok_or(wrong)?.enumerate() {
            let raw = RawFile::find(index, &entry)?;
            let file = listed.entry(index, name, &raw, &mut tree)?;
            parts += file.path.len();
            if parts > PATH_PARTS_MAX {
                return Err(MetainfoError::TooManyParts { max: PATH_PARTS_MAX });
            }
            listed.files.push(file);
        }
        Ok(listed)
    }

    fn entry(
        &mut self,
        index: usize,
        name: &str,
        raw: &RawFile<'_>,
        tree: &mut Tree,
    ) -> Result<FileEntry, MetainfoError> {
        let attr = Attr::read(raw.attr);
        let symlink = attr.has(b'l') && raw.target.is_some();
        // A symlink takes up no bytes, whatever length is written beside it.
        let pad = attr.has(b'p') || raw.is_bitcomet_padding();
        let place = Place::file(index, "length");
        let len = if symlink { 0 } else { need_len(raw.length, place)? };
        let offset = self.total;
        let total = offset.checked_add(len).filter(|&sum| i64::try_from(sum).is_ok());
        self.total = total.ok_or(MetainfoError::SizeOverflow { at: place })?;
        let path = if symlink {
            check_strings(raw.target, Place::file(index, "symlink path"))?;
            self.symlinks.push(index);
            safe_path(index, name, raw)?
        } else if pad {
            vec![name.to_owned(), ".pad".to_owned(), len.to_string()]
        } else {
            let path = safe_path(index, name, raw)?;
            let max = names::COLLISIONS_MAX;
            tree.place(path).ok_or(MetainfoError::Collisions { max })?
        };
        Ok(FileEntry {
            path,
            len,
            offset,
            pad: symlink || pad,
            executable: attr.has(b'x'),
            hidden: attr.has(b'h'),
        })
    }
}

/// The entries of one element of `files`.
#[derive(Default)]
struct RawFile<'a> {
    attr: Option<Value<'a>>,
    length: Option<Value<'a>>,
    path: Option<Value<'a>>,
    path_utf8: Option<Value<'a>>,
    target: Option<Value<'a>>,
}

impl<'a> RawFile<'a> {
    fn find(index: usize, entry: &Value<'a>) -> Result<Self, MetainfoError> {
        let at = Place::file(index, "");
        let wrong = MetainfoError::Kind { at, got: entry.kind(), want: Kind::Dict };
        let mut raw = Self::default();
        for (key, value) in entry.as_dict().ok_or(wrong)? {
            let slot = match key {
                b"attr" => &mut raw.attr,
                b"length" => &mut raw.length,
                b"path" => &mut raw.path,
                b"path.utf-8" => &mut raw.path_utf8,
                b"symlink path" => &mut raw.target,
                _ => continue,
            };
            *slot = Some(value);
        }
        Ok(raw)
    }

    /// BitComet named its padding before there was an attribute for it; libtorrent knows it as well.
    fn is_bitcomet_padding(&self) -> bool {
        let last = self.path.and_then(|v| v.as_list()).and_then(Iterator::last);
        last.and_then(|v| v.as_bytes()).is_some_and(|name| name.starts_with(b"_____padding_file_"))
    }
}

/// Raw path and length of every version 1 file that is not padding.
fn v1_files<'a>(raw: &Raw<'a>) -> impl Iterator<Item = v2::RawEntry<'a>> + use<'a> {
    let alone = match raw.files {
        Some(_) => None,
        None => raw.name.and_then(|v| v.as_bytes()).map(|name| (vec![name], raw.length)),
    };
    let listed = raw.files.and_then(|v| v.as_list()).into_iter().flatten().enumerate();
    let listed = listed.filter_map(|(index, entry)| {
        let file = RawFile::find(index, &entry).ok()?;
        let attr = Attr::read(file.attr);
        let path = file.path.and_then(|v| v.as_list()).into_iter().flatten();
        let length = file.length.filter(|_| !attr.has(b'l'));
        (!attr.has(b'p')).then(|| (path.filter_map(|v| v.as_bytes()).collect(), length))
    });
    let length = |value: Option<Value<'_>>| value.and_then(|v| v.as_uint()).unwrap_or(0);
    alone.into_iter().chain(listed).map(move |(path, len)| (path, length(len)))
}

/// The attribute letters of a file.
//= BEP 47 §extended file attributes
struct Attr<'a>(&'a [u8]);

impl<'a> Attr<'a> {
    fn read(value: Option<Value<'a>>) -> Self {
        Self(value.and_then(|v| v.as_bytes()).unwrap_or_default())
    }

    fn has(&self, letter: u8) -> bool {
        self.0.contains(&letter)
    }
}

fn safe_path(index: usize, top: &str, raw: &RawFile<'_>) -> Result<Vec<String>, MetainfoError> {
    let at = Place::file(index, "path");
    let list = raw.path_utf8.filter(|v| v.kind() == Kind::List).or(raw.path);
    check_strings(list, at)?;
    let elements = list.and_then(|v| v.as_list()).into_iter().flatten();
    let mut path = vec![top.to_owned()];
    path.extend(elements.filter_map(|v| v.as_bytes()).map(|raw| names::safe(raw).into_owned()));
    let parts = path.len() - 1;
    if !(1..=PATH_DEPTH_MAX).contains(&parts) {
        return Err(MetainfoError::PathDepth { at, parts, max: PATH_DEPTH_MAX });
    }
    Ok(path)
}

fn check_strings(list: Option<Value<'_>>, at: Place) -> Result<(), MetainfoError> {
    let list = list.ok_or(MetainfoError::Missing { at })?;
    let wrong = MetainfoError::Kind { at, got: list.kind(), want: Kind::List };
    match list.as_list().ok_or(wrong)?.find(|item| item.kind() != Kind::Bytes) {
        Some(item) => Err(MetainfoError::Kind { at, got: item.kind(), want: Kind::Bytes }),
        None => Ok(()),
    }
}

fn need_bytes<'a>(value: Option<Value<'a>>, at: Place) -> Result<&'a [u8], MetainfoError> {
    let value = value.ok_or(MetainfoError::Missing { at })?;
    value.as_bytes().ok_or(MetainfoError::Kind { at, got: value.kind(), want: Kind::Bytes })
}

fn need_len(value: Option<Value<'_>>, at: Place) -> Result<u64, MetainfoError> {
    let value = value.ok_or(MetainfoError::Missing { at })?;
    let wrong = MetainfoError::Kind { at, got: value.kind(), want: Kind::Int };
    let int = value.as_int().ok_or(wrong)?;
    int.try_into().map_err(|_| MetainfoError::Negative { at })
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
