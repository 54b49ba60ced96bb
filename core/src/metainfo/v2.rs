//! The version 2 half of a hybrid, as far as a version 1 client must look: does it list the same files?
//!
//! It reads no piece layer and checks no merkle root; nothing is downloaded by version 2 yet.

use super::error::MetainfoError;
use crate::bencode::Value;

/// A file as both halves describe it: raw path elements and length.
pub(super) type RawEntry<'a> = (Vec<&'a [u8]>, u64);

/// Whether the `file tree` lists the files of the version 1 half: same paths, lengths and order.
///
/// Two clients that each trust another half would otherwise trade different content under one name.
//= BEP 52 §upgrade path
pub(super) fn same_files<'a>(
    tree: &Value<'a>,
    v1: impl Iterator<Item = RawEntry<'a>>,
) -> Result<(), MetainfoError> {
    let v1: Vec<_> = v1.collect();
    let v2 = leaves(tree);
    let differing = v1.iter().zip(&v2).find(|(a, b)| a != b).map(|(a, _)| a);
    let unpaired = || v1.get(v2.len()).or_else(|| v2.get(v1.len()));
    match differing.or_else(unpaired) {
        None => Ok(()),
        Some((path, _)) => {
            let path = super::info::lossy(&path.join(&b'/'));
            Err(MetainfoError::Inconsistent { path })
        }
    }
}

/// Every file of a tree. What is neither a folder nor a file is left out, and missed by the comparison.
fn leaves<'a>(tree: &Value<'a>) -> Vec<RawEntry<'a>> {
    let mut found = Vec::new();
    // Open folders; bencode's depth limit bounds them.
    let mut open: Vec<_> = tree.as_dict().into_iter().collect();
    let mut path = Vec::new();
    while let Some(folder) = open.last_mut() {
        match folder.next() {
            None => {
                open.pop();
                path.pop();
            }
            Some((b"", file)) => {
                let len = file.at("length").and_then(|v| v.as_uint()).unwrap_or(0);
                found.push((path.clone(), len));
            }
            Some((name, inner)) => {
                if let Some(inner) = inner.as_dict() {
                    open.push(inner);
                    path.push(name);
                }
            }
        }
    }
    found
}
