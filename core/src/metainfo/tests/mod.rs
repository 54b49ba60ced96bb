//! Torrents in parts, for the tests of this module.

mod attacks;
mod build;
mod load;
mod magnet;

use super::Metainfo;
use crate::bencode::{Dict, Limits, List, Value};

/// One piece of 16 KiB or less, named `temp`.
fn bare_info() -> Dict {
    Dict::new().bytes("name", "temp").int("piece length", 16384).bytes("pieces", [7; 20])
}

fn single() -> Dict {
    bare_info().int("length", 425)
}

fn torrent(info: Dict) -> Vec<u8> {
    Dict::new().dict("info", info).into_bytes()
}

fn file(len: i64, path: &[&str]) -> Dict {
    Dict::new().int("length", len).list("path", List::of_bytes(path))
}

fn files(list: impl IntoIterator<Item = Dict>) -> Dict {
    bare_info().list("files", list.into_iter().fold(List::new(), List::dict))
}

fn paths(metainfo: &Metainfo) -> Vec<String> {
    metainfo.info.files.iter().map(|file| file.path.join("/")).collect()
}

/// `info` with one of its entries left out.
fn without(info: Dict, key: &[u8]) -> Dict {
    let bytes = info.into_bytes();
    let entries = Value::parse(&bytes, Limits::TORRENT).unwrap();
    let kept = entries.as_dict().unwrap().filter(|(k, _)| *k != key);
    kept.fold(Dict::new(), |dict, (k, v)| dict.raw(k, v.raw()))
}
