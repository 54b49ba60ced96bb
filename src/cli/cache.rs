//! The metadata that magnets brought, kept so that the next time begins at once.
//!
//! A cache: it may be deleted at any time, and one that cannot be written costs nothing but time.

use super::create::write_whole;
use super::env::Env;
use crate::engine::What;
use gaggle_core::id::{InfoHash, TorrentHashes};
use gaggle_core::metainfo::{Magnet, Metainfo};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keeps the metadata of a magnet.
pub(super) fn keep(env: &Env, metainfo: &Metainfo) {
    let path = path(&env.dirs.cache, metainfo.info_hash());
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let kept = folder.is_ok() && write_whole(&path, &metainfo.to_bytes()).is_ok();
    if !kept {
        tracing::debug!(path = %path.display(), "cannot keep the metadata");
    }
}

/// Takes metadata that an earlier run brought; the link's trackers stay those that count.
pub(super) fn recall(env: &Env, what: What) -> What {
    let What::Magnet(magnet) = &what else { return what };
    match read(&env.dirs.cache, magnet) {
        Some(metainfo) => What::Metainfo(Arc::new(metainfo)),
        None => what,
    }
}

fn read(cache: &Path, magnet: &Magnet) -> Option<Metainfo> {
    let bytes = std::fs::read(path(cache, magnet.info_hash())).ok()?;
    let mut metainfo = Metainfo::parse(&bytes).ok()?;
    // The file may be anything: what it holds is hashed, and must be what the link names.
    is_named(magnet.hashes, metainfo.hashes()).then_some(())?;
    metainfo.trackers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect();
    Some(metainfo)
}

/// Whether a link to `named` means the torrent `found`: a link may name one hash of a hybrid.
fn is_named(named: TorrentHashes, found: TorrentHashes) -> bool {
    use TorrentHashes::{Hybrid, V1, V2};
    match (named, found) {
        (V1(named), Hybrid(v1, _)) => named == v1,
        (V2(named), Hybrid(_, v2)) => named == v2,
        (named, found) => named == found,
    }
}

fn path(cache: &Path, hash: InfoHash) -> PathBuf {
    cache.join("metadata").join(format!("{hash}.torrent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::id::InfoHashV2;

    #[test]
    fn a_link_may_name_one_hash_of_a_hybrid() {
        let (v1, v2) = (InfoHash([1; 20]), InfoHashV2([2; 32]));
        let hybrid = TorrentHashes::Hybrid(v1, v2);
        assert!(is_named(TorrentHashes::V1(v1), hybrid) && is_named(TorrentHashes::V2(v2), hybrid));
        assert!(is_named(hybrid, hybrid) && is_named(TorrentHashes::V1(v1), TorrentHashes::V1(v1)));
        assert!(!is_named(TorrentHashes::V1(InfoHash([9; 20])), hybrid));
        assert!(!is_named(hybrid, TorrentHashes::V1(v1)));
    }
}
