//! What leaves on one connection: everything that is queued goes out in as few system calls as possible.
//!
//! Keeps the order in which the torrent said things. Payload is never copied: a block is a header from a small
//! buffer and a slice of what was read from disk.

use super::closed::Closed;
use super::connection::{FromPeer, Shared, ToPeer};
use bytes::{Buf, Bytes, BytesMut};
use gaggle_core::geometry::Block;
use gaggle_core::proto::peer::piece_header;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes after which no more is taken from the queue before they are written.
const PASS_BYTES: usize = 1024 * 1024;
/// Slices for one system call: 32 blocks with their headers.
const SLICES_MAX: usize = 64;

/// Writes what the torrent queues until it wants the connection closed, or the peer takes nothing for
/// `unread_timeout`.
pub(super) async fn write(
    mut socket: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<ToPeer>,
    out: &mpsc::Sender<FromPeer>,
    shared: &Shared,
    unread_timeout: Duration,
) -> Closed {
    let mut outbox = Outbox::default();
    loop {
        let mut next = tokio::select! {
            biased; // reports wait while there is something to write
            next = queue.recv() => next,
            Ok(permit) = out.reserve(), if shared.has_sent() => {
                report(permit, shared);
                continue;
            }
        };
        let mut close = false;
        loop {
            match next {
                Some(ToPeer::Blocks(blocks)) => outbox.blocks(blocks),
                Some(ToPeer::Messages(messages)) => {
                    messages.iter().for_each(|message| message.encode_into(&mut outbox.control));
                }
                Some(ToPeer::MetadataKnown { pieces }) => {
                    shared.pieces.store(pieces, Ordering::Relaxed);
                }
                Some(ToPeer::Close) | None => close = true,
            }
            if close || outbox.len() >= PASS_BYTES {
                break;
            }
            match queue.try_recv() {
                Ok(more) => next = Some(more),
                Err(_) => break, // empty, or closed: the next recv says which
            }
        }
        outbox.flush_control();
        while outbox.queued > 0 {
            match outbox.write(&mut socket, unread_timeout).await {
                Ok(payload) => shared.sent.fetch_add(payload, Ordering::Relaxed),
                Err(closed) => return closed,
            };
            // A slow peer takes long over a pass; the torrent should see it move.
            if outbox.queued > 0
                && shared.has_sent()
                && let Ok(permit) = out.try_reserve()
            {
                report(permit, shared);
            }
        }
        if close {
            return Closed::ByUs;
        }
    }
}

/// Tells the torrent what was sent, unless the reader has just done so.
fn report(permit: mpsc::Permit<'_, FromPeer>, shared: &Shared) {
    let items: Vec<_> = shared.take_sent().collect();
    if !items.is_empty() {
        permit.send(FromPeer { peer: shared.peer, items });
    }
}

/// Bytes on their way out, in order.
#[derive(Default)]
struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Messages and headers behind the last chunk.
    control: BytesMut,
    /// Bytes in `chunks`.
    queued: usize,
}

enum Chunk {
    Control(Bytes),
    Payload(Bytes),
}

impl Outbox {
    fn len(&self) -> usize {
        self.queued + self.control.len()
    }

    fn blocks(&mut self, blocks: Vec<(Block, Bytes)>) {
        for (block, data) in blocks {
            debug_assert_eq!(data.len(), block.len as usize, "the disk read what was asked");
            let header = piece_header(block.piece.0, block.begin, block.len);
            self.control.extend_from_slice(&header);
            self.flush_control();
            self.push(Chunk::Payload(data));
        }
    }

    fn flush_control(&mut self) {
        if !self.control.is_empty() {
            let control = self.control.split().freeze();
            self.push(Chunk::Control(control));
        }
    }

    fn push(&mut self, chunk: Chunk) {
        self.queued += chunk.bytes().len();
        self.chunks.push_back(chunk);
    }

    /// One system call; the payload bytes that it took.
    async fn write(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        unread_timeout: Duration,
    ) -> Result<u64, Closed> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk.bytes());
        }
        let slices = &slices[..self.chunks.len().min(SLICES_MAX)];
        let written = timeout(unread_timeout, socket.write_vectored(slices))
            .await
            .map_err(|_| Closed::Unread(unread_timeout))??;
        if written == 0 { Err(Closed::ByPeer) } else { Ok(self.advance(written)) }
    }

    fn advance(&mut self, mut written: usize) -> u64 {
        self.queued -= written;
        let mut payload = 0;
        while let Some(front) = self.chunks.front_mut() {
            let (bytes, is_payload) = match front {
                Chunk::Control(bytes) => (bytes, false),
                Chunk::Payload(bytes) => (bytes, true),
            };
            let taken = bytes.len().min(written);
            bytes.advance(taken);
            written -= taken;
            payload += if is_payload { taken as u64 } else { 0 };
            if !bytes.is_empty() {
                break;
            }
            self.chunks.pop_front();
        }
        payload
    }
}

impl Chunk {
    const fn bytes(&self) -> &Bytes {
        match self {
            Self::Control(bytes) | Self::Payload(bytes) => bytes,
        }
    }
}
