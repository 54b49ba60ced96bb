//! Content to move, and proof that it arrived.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// Writes `len` bytes that do not compress and that `seed` names; folders in between are made.
///
/// # Errors
/// Whatever the file system says.
pub fn write(path: &Path, len: u64, seed: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut state = seed;
    for at in (0..len).step_by(8) {
        // SplitMix64: one multiplication chain per 8 bytes, every seed its own stream.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (word ^ (word >> 31)).to_le_bytes();
        let take = usize::try_from((len - at).min(8)).unwrap_or(8);
        file.write_all(&word[..take])?;
    }
    file.flush()
}

/// SHA-256 of every file at or below `root`, by its path relative to `root` (empty for a single file).
///
/// # Errors
/// Whatever the file system says.
pub fn digests(root: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else {
            let inside = path.strip_prefix(root).map_err(io::Error::other)?;
            found.insert(inside.to_string_lossy().into_owned(), digest(&path)?);
        }
    }
    Ok(found)
}

/// SHA-256 of one file, in hex.
///
/// # Errors
/// Whatever the file system says.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut hasher = Sha256::new();
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
