//! What must hold after every step, whatever happens.

use super::host::HostId;
use super::world::World;

/// Looks at a host that a step has touched; an error ends the run.
pub type Oracle = fn(&World, HostId) -> Result<(), String>;

/// The oracles that exist.
pub mod oracle {
    use super::{HostId, World};
    use crate::lab::disk::Disk;

    /// A piece counts as there only if its right bytes lie on the disk.
    pub fn kept_pieces_hash_right(world: &World, id: HostId) -> Result<(), String> {
        let host = world.host(id);
        let Some(have) = host.machine.as_ref().and_then(|machine| machine.have()) else {
            return Ok(());
        };
        // Looked at only when it has changed: a set that only grows changes with its size.
        if have.count() == host.counted {
            return Ok(());
        }
        match have.ones().find(|&piece| !host.disk.good().has(piece)) {
            Some(piece) => Err(format!("host {} counts piece {} that is not right", id.0, piece.0)),
            None => Ok(()),
        }
    }

    /// No stream, disk or block buffer of a host grows without end.
    pub fn queues_bounded(world: &World, id: HostId) -> Result<(), String> {
        let host = world.host(id);
        let pieces = host.torrent.geometry.pieces() as usize;
        for &way in host.conns.values() {
            let (messages, payload) = world.backlog(way);
            if messages > MESSAGES_MAX + pieces || payload > PAYLOAD_MAX {
                return Err(format!(
                    "host {} has {messages} messages with {payload} bytes of content waiting for one peer",
                    id.0
                ));
            }
        }
        let piece = u64::from(host.torrent.geometry.piece_len());
        let (read, write) = host.disk.backlog(&host.torrent.geometry);
        let readers = host.conns.len() as u64;
        // What was to be read for peers that have left since is read all the same.
        if read > (readers + LEAVERS) * PAYLOAD_MAX || write > WRITE_MAX + readers * piece {
            return Err(format!("host {} has {read} B to read, {write} B to write", id.0));
        }
        held(&host.disk, pieces, id)
    }

    fn held(disk: &Disk, pieces: usize, id: HostId) -> Result<(), String> {
        let blocks = disk.held();
        let most = HELD_MAX.max(pieces);
        if blocks > most {
            return Err(format!("host {} holds {blocks} blocks in memory", id.0));
        }
        Ok(())
    }

    /// Messages that may wait for one peer, beside one `have` per piece: all requests both ways, answered.
    const MESSAGES_MAX: usize = 3 * 2000;
    /// Bytes of content that may wait for one peer: the torrent's own watermark and one read above it.
    const PAYLOAD_MAX: u64 = (4 << 20) + (256 << 10);
    /// Peers that may leave at once while the disk reads for them.
    const LEAVERS: u64 = 16;
    /// Bytes that may wait to be written, beside what was already asked for when the limit was reached.
    const WRITE_MAX: u64 = 64 << 20;
    /// Blocks that may be held for unfinished pieces: 64 MiB.
    const HELD_MAX: usize = 4096;
}
